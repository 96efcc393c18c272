//! Unix sockets with an owner and a mode from their first moment, removed again at the end.

use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use socket2::Domain;
use socket2::SockAddr;
use socket2::Socket;
use socket2::Type;

/// Who may use a socket or FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Mode bits.
    pub mode: u32,
    /// Owner, if not ours.
    pub user: Option<u32>,
    /// Group, if not ours.
    pub group: Option<u32>,
}

impl Access {
    /// A mode with our own user and group.
    pub const fn mode(mode: u32) -> Self {
        Self {
            mode,
            user: None,
            group: None,
        }
    }

    /// Gives a file its mode and owner.
    pub fn apply(&self, path: &Path) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        if self.user.is_some() || self.group.is_some() {
            std::os::unix::fs::chown(path, self.user, self.group).map_err(|e| match e.kind() {
                io::ErrorKind::PermissionDenied => io::Error::new(
                    e.kind(),
                    "its owner or group cannot be set: that takes root, or an account that is in the group",
                ),
                _ => e,
            })?;
        }
        Ok(())
    }
}

/// Removes a socket or FIFO at the end, unless somebody else has put another in its place.
#[derive(Debug)]
pub struct Removed {
    path: PathBuf,
    /// Device, inode and birth: an inode number alone is soon used again.
    inode: Option<(u64, u64, Option<SystemTime>)>,
}

impl Removed {
    /// Will remove what lies at `path` now.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            inode: inode(path),
        }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            // It may be gone already, or its folder.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64, Option<SystemTime>)> {
    std::fs::symlink_metadata(path)
        .ok()
        .map(|m| (m.dev(), m.ino(), m.created().ok()))
}

/// Binds a non-blocking stream socket.
pub fn bind_stream(path: &Path, access: Access) -> io::Result<(std::os::unix::net::UnixListener, Removed)> {
    let (socket, guard) = bind(path, Type::STREAM, access)?;
    socket.listen(128)?;
    Ok((OwnedFd::from(socket).into(), guard))
}

/// Binds a non-blocking datagram socket.
pub fn bind_datagram(path: &Path, access: Access) -> io::Result<(std::os::unix::net::UnixDatagram, Removed)> {
    let (socket, guard) = bind(path, Type::DGRAM, access)?;
    Ok((OwnedFd::from(socket).into(), guard))
}

fn bind(path: &Path, kind: Type, access: Access) -> io::Result<(Socket, Removed)> {
    let addr = SockAddr::unix(path)?;
    remove_stale(path, &addr, kind)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    // unix(7): the file gets the mode of the socket, so that there is no moment with a wider one.
    let file = File::from(OwnedFd::from(socket.try_clone()?));
    file.set_permissions(Permissions::from_mode(access.mode))?;
    drop(file);
    socket.bind(&addr)?;
    let guard = Removed::new(path);
    access.apply(path)?;
    socket.set_nonblocking(true)?;
    Ok((socket, guard))
}

/// Removes a socket that a dead process left behind; one that answers stays and is an error.
fn remove_stale(path: &Path, addr: &SockAddr, kind: Type) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        let text = format!("{} exists and is no socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    if Socket::new(Domain::UNIX, kind, None)?.connect(addr).is_ok() {
        let text = format!("{} is in use by another process", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_their_mode_and_go_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mode = || {
            std::fs::metadata(&path)
                .map(|m| m.permissions().mode() & 0o777)
                .ok()
        };
        let (first, guard) = bind_stream(&path, Access::mode(0o660)).unwrap();
        assert_eq!(mode(), Some(0o660));
        assert_eq!(
            bind_stream(&path, Access::mode(0o660)).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        let (_second, newer) = bind_datagram(&path, Access::mode(0o600)).unwrap();
        assert_eq!(mode(), Some(0o600));
        drop(guard);
        assert_eq!(mode(), Some(0o600), "not ours any more");
        drop(newer);
        assert_eq!(mode(), None);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(
            bind_stream(&path, Access::mode(0o660)).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }
}
