//! UDP sockets read and written in batches (RFC 3261 §18).

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::RawFd;
use std::time::Duration;

use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;

use super::options::SocketOptions;
use super::sys;

/// Messages taken by one system call. Each is a datagram, or several of one length from one peer.
pub const BATCH: usize = 32;
/// The largest UDP payload, rounded up: a slot never cuts a message.
const SLOT: usize = 65_536;

/// How a UDP socket is opened.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Several sockets share the address; the kernel spreads peers over them.
    pub reuse_port: bool,
    /// How long a blocking receive waits before it returns empty-handed, so that a worker can be stopped.
    pub timeout: Duration,
    /// What the script asks for.
    pub socket: SocketOptions,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            reuse_port: false,
            timeout: Duration::from_millis(200),
            socket: SocketOptions::default(),
        }
    }
}

/// A bound, blocking UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    receive_buffer: usize,
}

impl UdpSocket {
    /// Opens and binds a socket; an IPv6 one takes IPv6 only.
    pub fn bind(addr: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        options.socket.before_bind(&socket, addr)?;
        options.socket.of_datagrams(&socket, addr)?;
        // The kernel doubles what was asked, for its own books, and caps it at net.core.rmem_max.
        let receive_buffer = socket.recv_buffer_size()? / 2;
        socket.set_read_timeout(Some(options.timeout))?;
        sys::join_received(socket.as_raw_fd());
        socket.bind(&addr.into())?;
        let local = socket.local_addr()?.as_socket().unwrap_or(addr);
        Ok(Self {
            socket,
            local,
            receive_buffer,
        })
    }

    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The receive queue the kernel granted, in bytes: warn when it is less than was asked.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// How much of the receive queue is used, in percent; 0 where the kernel does not tell.
    pub fn queue_used(&self) -> u32 {
        let (used, all) = sys::receive_memory(self.socket.as_raw_fd()).unwrap_or((0, 1));
        u32::try_from(u64::from(used) * 100 / u64::from(all.max(1))).unwrap_or(100)
    }

    /// Sends one datagram at once.
    pub fn send_to(&self, bytes: &[u8], destination: SocketAddr) -> io::Result<()> {
        self.socket.send_to(bytes, &destination.into()).map(|_| ())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// One received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
}

/// Reusable buffers for a batch of received datagrams.
pub struct Batch {
    vectors: sys::Vectors,
    buffer: Vec<u8>,
    /// Slots that the last call filled.
    filled: usize,
    datagrams: Vec<Place>,
}

/// Where a datagram lies.
#[derive(Clone, Copy)]
struct Place {
    start: u32,
    end: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new(BATCH)
    }
}

impl Batch {
    /// Buffers for `slots` messages; memory is used only as far as they reach.
    pub fn new(slots: usize) -> Self {
        let slots = slots.clamp(1, 64);
        Self {
            vectors: sys::Vectors::new(slots),
            buffer: vec![0; slots * SLOT],
            filled: 0,
            datagrams: Vec::with_capacity(slots),
        }
    }

    /// Receives at least one datagram, or none when the socket's time is over.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_WAITFORONE)
    }

    /// Receives what has arrived already.
    pub fn poll(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_DONTWAIT)
    }

    fn receive_with(&mut self, socket: &UdpSocket, flags: i32) -> io::Result<usize> {
        let fd = socket.as_raw_fd();
        self.filled = match self.vectors.receive(fd, &mut self.buffer, SLOT, flags) {
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            // What the kernel reports of an earlier datagram sent from this socket (RFC 1122 §4.1.3.3).
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => 0,
            Err(e) => return Err(e),
        };
        self.datagrams.clear();
        for slot in 0..self.filled {
            let (len, size) = self.vectors.received(slot);
            let start = slot * SLOT;
            let end = start + len.min(SLOT);
            // A datagram of no bytes is one, too.
            let mut at = start;
            loop {
                let next = end.min(at + size);
                self.datagrams.push(Place {
                    start: at as u32,
                    end: next as u32,
                });
                at = next;
                if at >= end {
                    break;
                }
            }
        }
        Ok(self.len())
    }

    /// How many datagrams the last call took.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether the last call filled every slot: more may wait.
    pub fn is_full(&self) -> bool {
        self.filled == self.vectors.slots()
    }

    /// Whether the last call took none.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// One datagram of the last call.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let place = self.datagrams.get(index)?;
        let bytes = self.buffer.get(place.start as usize..place.end as usize)?;
        let source = self.vectors.source(place.start as usize / SLOT)?;
        Some(Datagram { bytes, source })
    }

    /// The datagrams of the last call.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::send_batch::Order;
    use crate::transport::send_batch::SendBatch;
    use std::sync::Arc;

    fn pair(addr: &str) -> (UdpSocket, UdpSocket) {
        let options = UdpOptions {
            timeout: Duration::from_millis(50),
            ..UdpOptions::default()
        };
        let bind = || UdpSocket::bind(addr.parse().unwrap(), &options).unwrap();
        (bind(), bind())
    }

    #[test]
    fn batches_arrive_whole_and_in_order() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = pair(addr);
            let source = a.local();
            let mut out = SendBatch::new(Arc::new(a), |to, e| panic!("{to}: {e}"));
            for i in 0..40_u8 {
                let bytes = vec![i; usize::from(i) + 1];
                out.push_with(b.local(), Order::default(), |w| w.extend_from_slice(&bytes));
            }
            out.push_with(b.local(), Order::default(), |_| ());
            assert_eq!(out.flush(), 40);
            let (mut batch, mut seen) = (Batch::default(), 0_u8);
            while seen < 40 {
                assert!(batch.receive(&b).unwrap() > 0);
                for d in batch.iter() {
                    assert_eq!(d.source, source);
                    assert_eq!(d.bytes, vec![seen; usize::from(seen) + 1]);
                    seen += 1;
                }
            }
            assert_eq!(batch.receive(&b).unwrap(), 0, "ends with the timeout");
            assert_eq!(batch.get(0), None);
        }
    }

    #[test]
    fn what_the_kernel_joins_is_taken_apart() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = pair(addr);
            let mut out = SendBatch::new(Arc::new(a), |to, e| panic!("{to}: {e}"));
            for i in 0..50_u8 {
                out.push_with(b.local(), Order::default(), |w| w.extend_from_slice(&[i; 300]));
            }
            out.flush();
            // One slot: all that it takes at once came as one message.
            let (mut batch, mut seen, mut calls) = (Batch::new(1), 0_u8, 0);
            while seen < 50 {
                assert!(batch.receive(&b).unwrap() > 0);
                for d in batch.iter() {
                    assert_eq!(d.bytes, [seen; 300]);
                    seen += 1;
                }
                calls += 1;
            }
            assert_eq!(calls, 1);
        }
    }

    #[test]
    fn an_empty_datagram_is_one() {
        let (a, b) = pair("127.0.0.1:0");
        a.send_to(b"", b.local()).unwrap();
        let mut batch = Batch::default();
        assert_eq!(batch.receive(&b).unwrap(), 1);
        assert_eq!(batch.get(0).unwrap().bytes, b"");
    }

    #[test]
    fn the_largest_datagram_fits_a_slot() {
        let (a, b) = pair("127.0.0.1:0");
        a.send_to(&vec![7; 65_507], b.local()).unwrap();
        let mut batch = Batch::new(2);
        assert_eq!(batch.receive(&b).unwrap(), 1);
        assert_eq!(batch.get(0).unwrap().bytes.len(), 65_507);
    }

    #[test]
    fn reuse_port_lets_two_bind() {
        let options = UdpOptions {
            reuse_port: true,
            ..UdpOptions::default()
        };
        let a = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        assert!(UdpSocket::bind(a.local(), &options).is_ok());
        assert!(UdpSocket::bind(a.local(), &UdpOptions::default()).is_err());
        assert!(a.receive_buffer() > 0);
    }
}
