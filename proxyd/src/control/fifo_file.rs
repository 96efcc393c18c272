//! Making a FIFO: mkfifo(3).

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::mkfifoat;

/// Makes a FIFO; one that is there already is made anew, anything else there is an error.
pub(super) fn make(path: &Path, mode: u32) -> io::Result<()> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_fifo() {
            let text = format!("{} exists and is no FIFO", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        std::fs::remove_file(path)?;
    }
    mkfifoat(CWD, path, Mode::from_raw_mode(mode))?;
    Ok(())
}
