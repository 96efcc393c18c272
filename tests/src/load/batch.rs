//! Datagrams in batches between one socket and one server, by the transport that the daemon itself has.
#![expect(unsafe_code, reason = "the standard library cannot wait for sockets")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use proxyd::transport::send_batch::Order;
use proxyd::transport::send_batch::SendBatch;
use proxyd::transport::udp::Batch;
use proxyd::transport::udp::UdpOptions;
use proxyd::transport::udp::UdpSocket;
use socket2::SockRef;

/// Datagrams moved by one system call.
pub(crate) const BATCH: usize = 64;

/// How many datagrams the kernel refused to send.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Opens a socket that exchanges datagrams with `server` alone.
pub(crate) fn open(local: SocketAddr, server: SocketAddr) -> io::Result<(Inbox, Outbox)> {
    let socket = Arc::new(UdpSocket::bind(local, &UdpOptions::default())?);
    SockRef::from(&*socket).connect(&server.into())?;
    let inbox = Inbox {
        socket: Arc::clone(&socket),
        batch: Batch::new(BATCH),
    };
    let sending = SendBatch::new(socket, |_, _| {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    });
    let outbox = Outbox {
        batch: sending,
        server,
    };
    Ok((inbox, outbox))
}

/// Returns how many datagrams the kernel refused to send from any socket.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// The receiving half of a socket.
pub(crate) struct Inbox {
    socket: Arc<UdpSocket>,
    batch: Batch,
}

impl Inbox {
    /// Reads what has arrived, at most one batch, and says how many datagrams that was.
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        self.batch.poll(&self.socket)
    }

    /// Returns one datagram of the last batch.
    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        self.batch.get(index).map_or(b"", |datagram| datagram.bytes)
    }

    /// Returns the descriptor to wait on.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The sending half of a socket.
pub(crate) struct Outbox {
    batch: SendBatch,
    server: SocketAddr,
}

impl Outbox {
    /// Queues the datagram that `write` writes, behind all others; a full batch is sent at once.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.batch.push_with(self.server, Order::default(), write);
    }

    /// Sends everything queued.
    pub(crate) fn flush(&mut self) {
        self.batch.flush();
    }
}

/// Waits until one of the descriptors is readable, at most `timeout_us` microseconds.
pub(crate) fn wait(descriptors: &[RawFd], timeout_us: u64) {
    let mut set: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let timeout = libc::timespec {
        tv_sec: (timeout_us / 1_000_000) as libc::time_t,
        tv_nsec: (timeout_us % 1_000_000 * 1_000) as libc::c_long,
    };
    // SAFETY: `set` and `timeout` outlive the call; its result is not needed, the caller reads the sockets next.
    unsafe { libc::ppoll(set.as_mut_ptr(), set.len() as libc::nfds_t, &timeout, ptr::null()) };
}
