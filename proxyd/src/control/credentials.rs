//! Datagrams with the word of the kernel about who sent them: SO_PASSCRED and SCM_CREDENTIALS, unix(7).
#![expect(unsafe_code, reason = "the standard library cannot receive ancillary data")]

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use socket2::SockRef;
use tokio::net::UnixDatagram;

/// Room for the credentials, aligned as the kernel wants it, and for nothing else: descriptors that a client sends along
/// would become ours.
type Control = [u64; 4];

/// A datagram's sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sender {
    /// Its own name, where it has one.
    pub(super) path: Option<PathBuf>,
    /// Process, user and group.
    pub(super) ids: Option<(i32, u32, u32)>,
}

/// Asks the kernel for the credentials of senders.
pub(super) fn ask(socket: &UnixDatagram) -> io::Result<()> {
    SockRef::from(socket).set_passcred(true)
}

/// Takes the next datagram, without waiting.
pub(super) fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
    let mut control = Control::default();
    // SAFETY: both are plain C structures, for which zeros are a value.
    let (mut name, mut message) = unsafe {
        (
            MaybeUninit::<libc::sockaddr_un>::zeroed().assume_init(),
            MaybeUninit::<libc::msghdr>::zeroed().assume_init(),
        )
    };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer and length in `message` is that of a variable of this function or of `buffer`.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel filled `control` and says in `message` how far.
    let ids = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        header
            .as_ref()
            .filter(|h| (h.cmsg_level, h.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS))
            .map(|_| libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned())
    };
    let sender = Sender {
        path: path(&name),
        ids: ids.map(|ids| (ids.pid, ids.uid, ids.gid)),
    };
    Ok((length, sender))
}

/// The name up to its first zero: abstract names begin with one, and whoever has no name has only those.
fn path(name: &libc::sockaddr_un) -> Option<PathBuf> {
    let bytes: Vec<u8> = name
        .sun_path
        .iter()
        .map(|c| *c as u8)
        .take_while(|b| *b != 0)
        .collect();
    Some(Path::new(OsStr::from_bytes(&bytes)).to_owned()).filter(|_| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::Interest;

    #[tokio::test]
    async fn senders_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let server = UnixDatagram::bind(dir.path().join("s")).unwrap();
        ask(&server).unwrap();
        let mut buffer = [0; 16];
        let (named, nameless) = (
            UnixDatagram::bind(dir.path().join("c")).unwrap(),
            UnixDatagram::unbound().unwrap(),
        );
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        let ids = Some((std::process::id() as i32, uid.as_raw(), gid.as_raw()));
        for (client, path) in [(&named, Some(dir.path().join("c"))), (&nameless, None)] {
            client.send_to(b"hello", dir.path().join("s")).await.unwrap();
            let received = server
                .async_io(Interest::READABLE, || receive(&server, &mut buffer))
                .await;
            assert_eq!(received.unwrap(), (5, Sender { path, ids }));
            assert_eq!(&buffer[..5], b"hello");
        }
        let none = receive(&server, &mut buffer);
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
