//! Calls and replies as datagrams, on a unix or UDP socket: one packet each way.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockAddr;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::net::UnixDatagram;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::credentials;
use super::methods::Peer;
use super::methods::PeerTransport;
use super::unix::Access;
use super::unix::Removed;
use super::unix::bind_datagram;
use crate::log;

/// The longest call.
const LONGEST: usize = 256 << 10;
/// Room asked of the kernel for replies under way.
const SEND_BUFFER: usize = 16 << 20;
/// Calls under way at once; more are left in the kernel's queue.
const CALLS: usize = 16;
/// Replies that wait for room in their readers' queues; more are dropped.
const LATE: usize = 16;
/// How long a reply waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two tries to send it.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a datagram socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramAddr {
    /// A path.
    Unix(PathBuf, Access),
    /// An address.
    Udp(SocketAddr),
}

/// What is spoken.
pub(super) trait Speech: Send + Sync + 'static {
    /// The module, for logs.
    const MODULE: &'static str;
    /// The way calls come.
    const TRANSPORT: PeerTransport;
    /// The longest reply that clients can read.
    const LONGEST: usize;

    /// Runs a call on a thread that may wait.
    fn answer(&self, call: &[u8], peer: &Peer) -> Option<Vec<u8>>;

    /// What is said instead of a reply that no datagram holds: nothing is cut off in silence.
    fn too_long(&self, call: &[u8], len: usize) -> Vec<u8>;
}

/// A socket in service; dropping it stops it and removes its file.
pub(super) struct Packets {
    task: JoinHandle<()>,
    local: Option<SocketAddr>,
    _file: Option<Removed>,
}

enum Io {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

/// Where a reply goes, and its name for logs.
struct Return(SockAddr, String);

impl Packets {
    /// Opens the socket, and serves it on `runtime`.
    pub(super) fn serve<S: Speech>(
        runtime: &tokio::runtime::Handle,
        addr: &DatagramAddr,
        speech: S,
    ) -> io::Result<Self> {
        let _inside = runtime.enter();
        let (io, local, file) = match addr {
            DatagramAddr::Unix(path, access) => {
                let (socket, file) = bind_datagram(path, *access)?;
                // Kept at what the kernel allows: a longer reply is refused then.
                let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
                let socket = UnixDatagram::from_std(socket)?;
                credentials::ask(&socket)?;
                (Io::Unix(socket), None, Some(file))
            }
            DatagramAddr::Udp(addr) => {
                let socket = std::net::UdpSocket::bind(addr)?;
                socket.set_nonblocking(true)?;
                let local = socket.local_addr()?;
                (Io::Udp(UdpSocket::from_std(socket)?), Some(local), None)
            }
        };
        Ok(Self {
            task: runtime.spawn(serve(Arc::new(io), Arc::new(speech))),
            local,
            _file: file,
        })
    }

    /// The address of a UDP socket.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.local
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Io {
    async fn receive(
        &self,
        buffer: &mut [u8],
        transport: PeerTransport,
    ) -> io::Result<(usize, Peer, Option<Return>)> {
        match self {
            Self::Unix(socket) => {
                let receive = || credentials::receive(socket, buffer);
                let (n, from) = socket.async_io(Interest::READABLE, receive).await?;
                let address = from.path.as_ref().map(|path| path.display().to_string());
                let peer = Peer {
                    pid: from.ids.map(|(pid, ..)| pid),
                    uid: from.ids.map(|(_, uid, _)| uid),
                    gid: from.ids.map(|(.., gid)| gid),
                    ..Peer::anonymous(transport, address.clone().unwrap_or_default())
                };
                let to = from.path.and_then(|path| SockAddr::unix(path).ok());
                Ok((n, peer, to.zip(address).map(|(to, name)| Return(to, name))))
            }
            Self::Udp(socket) => {
                let (n, from) = socket.recv_from(buffer).await?;
                let name = from.to_string();
                Ok((
                    n,
                    Peer::anonymous(transport, &*name),
                    Some(Return(from.into(), name)),
                ))
            }
        }
    }

    /// Sends without waiting. The readiness that tokio knows is that of this socket, not of the one at the other end.
    fn send(&self, bytes: &[u8], to: &SockAddr) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => SockRef::from(socket).send_to(bytes, to),
            Self::Udp(socket) => SockRef::from(socket).send_to(bytes, to),
        }
    }
}

async fn serve<S: Speech>(io: Arc<Io>, speech: Arc<S>) {
    let mut buffer = vec![0; LONGEST];
    let (calls, late) = (Arc::new(Semaphore::new(CALLS)), Arc::new(Semaphore::new(LATE)));
    loop {
        let Ok(permit) = calls.clone().acquire_owned().await else {
            return;
        };
        let Ok((n, peer, to)) = io.receive(&mut buffer, S::TRANSPORT).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let call = buffer.get(..n).unwrap_or_default().to_vec();
        let (io, speech, late) = (io.clone(), speech.clone(), late.clone());
        tokio::spawn(async move {
            let run = tokio::task::spawn_blocking({
                let speech = speech.clone();
                move || speech.answer(&call, &peer).map(|reply| (call, reply))
            });
            let reply = run.await;
            // A reply that waits for its reader keeps no other call from running.
            drop(permit);
            if let (Ok(Some((call, reply))), Some(to)) = (reply, to) {
                deliver(&io, &*speech, &call, reply, &to, &late).await;
            }
        });
    }
}

async fn deliver<S: Speech>(
    io: &Io,
    speech: &S,
    call: &[u8],
    mut reply: Vec<u8>,
    Return(to, name): &Return,
    late: &Semaphore,
) {
    if reply.len() > S::LONGEST {
        reply = speech.too_long(call, reply.len());
    }
    let sent = send(io, &reply, to, late).await;
    if let Err(e) = &sent
        && matches!(e.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
    {
        let refusal = speech.too_long(call, reply.len());
        // Whoever cannot take even that has gone.
        let _ = io.send(&refusal, to);
    } else if let Err(e) = sent {
        log::warning(S::MODULE, format_args!("reply to {name} not sent: {e}"));
    }
}

/// Sends, and tries for a while where the reader's queue is full.
async fn send(io: &Io, bytes: &[u8], to: &SockAddr, late: &Semaphore) -> io::Result<()> {
    let full = |sent: &io::Result<usize>| matches!(sent, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
    let mut sent = io.send(bytes, to);
    if full(&sent)
        && let Ok(_place) = late.try_acquire()
    {
        let mut left = PATIENCE;
        while full(&sent) && !left.is_zero() {
            tokio::time::sleep(PAUSE).await;
            left = left.saturating_sub(PAUSE);
            sent = io.send(bytes, to);
        }
    }
    sent.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Speech for Echo {
        const MODULE: &'static str = "test";
        const TRANSPORT: PeerTransport = PeerTransport::Datagram;
        const LONGEST: usize = 1000;

        fn answer(&self, call: &[u8], peer: &Peer) -> Option<Vec<u8>> {
            Some([call, b" from ", peer.to_string().as_bytes()].concat())
        }

        fn too_long(&self, _: &[u8], len: usize) -> Vec<u8> {
            format!("{len} is too long").into_bytes()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_do_not_read_hold_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let addr = DatagramAddr::Unix(path.clone(), Access::mode(0o660));
        let _served = Packets::serve(&tokio::runtime::Handle::current(), &addr, Echo).unwrap();
        let deaf = UnixDatagram::bind(dir.path().join("deaf")).unwrap();
        for _ in 0..200 {
            deaf.send_to(b"x", &path).await.unwrap();
        }
        let client = UnixDatagram::bind(dir.path().join("client")).unwrap();
        let mut buffer = [0; 2000];
        let expected = format!(
            "pid {}, {} over datagram",
            std::process::id(),
            dir.path().join("client").display()
        );
        for (call, expected) in [
            (&b"hello"[..], expected),
            (&[b'x'; 1500], "is too long".to_owned()),
        ] {
            client.send_to(call, &path).await.unwrap();
            let read = tokio::time::timeout(PATIENCE, client.recv(&mut buffer));
            let n = read.await.expect("soon").unwrap();
            let reply = String::from_utf8_lossy(&buffer[..n]).into_owned();
            assert!(reply.ends_with(&expected), "{reply}");
        }
    }
}
