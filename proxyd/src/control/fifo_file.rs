//! Making a FIFO: mkfifo(3).
#![expect(unsafe_code, reason = "the standard library cannot make a FIFO")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Makes a FIFO; one that is there already is made anew, anything else there is an error.
pub(super) fn make(path: &Path, mode: u32) -> io::Result<()> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_fifo() {
            let text = format!("{} exists and is no FIFO", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        std::fs::remove_file(path)?;
    }
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `name` is a C string that outlives the call.
    if unsafe { libc::mkfifo(name.as_ptr(), mode & 0o7777) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
