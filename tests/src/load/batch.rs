//! Datagrams in batches over one connected UDP socket: `recvmmsg(2)` and `sendmmsg(2)`.
#![expect(unsafe_code, reason = "the standard library has no batched UDP system calls")]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::Arc;

/// Datagrams moved by one system call.
pub(crate) const BATCH: usize = 64;
/// Longest datagram that is received whole.
const DATAGRAM: usize = 4096;

/// Opens a socket that exchanges datagrams with `server` alone.
pub(crate) fn open(local: SocketAddr, server: SocketAddr) -> io::Result<(Inbox, Outbox)> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_send_buffer_size(4 << 20)?;
    socket.bind(&local.into())?;
    socket.connect(&server.into())?;
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from(socket));
    let inbox = Inbox {
        socket: Arc::clone(&socket),
        buffers: vec![vec![0; DATAGRAM]; BATCH],
        lengths: [0; BATCH],
    };
    Ok((
        inbox,
        Outbox {
            socket,
            buffers: vec![Vec::new(); BATCH],
            queued: 0,
            refused: 0,
        },
    ))
}

/// The receiving half of a socket.
pub(crate) struct Inbox {
    socket: Arc<UdpSocket>,
    buffers: Vec<Vec<u8>>,
    lengths: [usize; BATCH],
}

impl Inbox {
    /// Reads what has arrived, at most one batch, and says how many datagrams that was.
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        // SAFETY: both structures are plain data for which all zero bytes are a valid value.
        let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { mem::zeroed() };
        for ((part, header), buffer) in parts.iter_mut().zip(&mut headers).zip(&mut self.buffers) {
            *part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: every header points at a live iovec, which points at a live buffer of the length it states.
        let n = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                flags,
                ptr::null_mut(),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            return nothing(io::Error::last_os_error());
        };
        for (length, header) in self.lengths.iter_mut().zip(&headers).take(n) {
            *length = header.msg_len as usize;
        }
        Ok(n)
    }

    /// Returns one datagram of the last batch.
    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        &self.buffers[index][..self.lengths[index]]
    }

    /// Returns the descriptor to wait on.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The sending half of a socket.
pub(crate) struct Outbox {
    socket: Arc<UdpSocket>,
    buffers: Vec<Vec<u8>>,
    queued: usize,
    refused: u64,
}

impl Outbox {
    /// Queues an empty datagram for the caller to fill; a full batch is sent first.
    pub(crate) fn datagram(&mut self) -> &mut Vec<u8> {
        if self.queued == BATCH {
            self.flush();
        }
        self.queued += 1;
        let buffer = &mut self.buffers[self.queued - 1];
        buffer.clear();
        buffer
    }

    /// Sends everything queued; what the kernel refuses is counted and dropped.
    pub(crate) fn flush(&mut self) {
        // SAFETY: both structures are plain data for which all zero bytes are a valid value.
        let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { mem::zeroed() };
        for ((part, header), buffer) in parts.iter_mut().zip(&mut headers).zip(&mut self.buffers) {
            *part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let mut done = 0;
        while done < self.queued {
            // SAFETY: the headers from `done` to `queued` point at live iovecs over filled buffers.
            let n = unsafe {
                let first = headers.as_mut_ptr().add(done);
                libc::sendmmsg(self.socket.as_raw_fd(), first, (self.queued - done) as u32, 0)
            };
            match usize::try_from(n) {
                Ok(n) => done += n.max(1),
                Err(_) => {
                    // The error belongs to the first datagram that was not sent.
                    self.refused += 1;
                    done += 1;
                }
            }
        }
        self.queued = 0;
    }

    /// Returns how many datagrams the kernel refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
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

fn nothing(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        // A refused connection reports an earlier datagram to a closed port: it is counted as lost by its deadline.
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(0),
        _ => Err(error),
    }
}
