//! The system calls of batched UDP: recvmmsg(2) and sendmmsg(2) with the segments of udp(7).
#![expect(
    unsafe_code,
    reason = "the batched calls take arrays of pointers that no safe interface offers"
)]

use std::io;
use std::mem;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;
use std::os::fd::RawFd;
use std::ptr;

/// A socket address as the kernel wants it.
#[derive(Clone, Copy)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    pub(super) fn new(addr: SocketAddr) -> (Self, libc::socklen_t) {
        match addr {
            SocketAddr::V4(a) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: a.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(a.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                let mut name = Self::empty();
                name.v4 = v4;
                (name, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(a) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: a.port().to_be(),
                    sin6_flowinfo: a.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: a.ip().octets(),
                    },
                    sin6_scope_id: a.scope_id(),
                };
                (
                    Self { v6 },
                    mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t,
                )
            }
        }
    }

    fn empty() -> Self {
        // SAFETY: both variants are plain integers, for which all zeroes is a value.
        unsafe { mem::zeroed() }
    }

    /// The address, or the unspecified one when the kernel wrote another family.
    fn decode(&self) -> SocketAddr {
        // SAFETY: the union begins zeroed, so that every byte of both variants is initialised; any bytes are
        // a value of either.
        unsafe {
            match i32::from(self.v4.sin_family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                    SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port)))
                }
                libc::AF_INET6 => {
                    let a = &self.v6;
                    let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
                    let port = u16::from_be(a.sin6_port);
                    SocketAddr::V6(SocketAddrV6::new(ip, port, a.sin6_flowinfo, a.sin6_scope_id))
                }
                _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            }
        }
    }
}

/// Headers, scatter lists and names of one batched call; linked together anew before every call.
pub(super) struct Vectors {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<Name>,
    segments: Vec<Segments>,
}

// SAFETY: the pointers inside are written and used within one call under `&mut self`; none outlives it.
unsafe impl Send for Vectors {}

impl Vectors {
    pub(super) fn new(slots: usize) -> Self {
        // SAFETY: null pointers and zero lengths are values of both structures.
        let (header, iovec) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            headers: vec![header; slots],
            iovecs: vec![iovec; slots],
            names: vec![Name::empty(); slots],
            segments: vec![Segments::to_send(0); slots],
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.headers.len()
    }

    /// Links a header to `pieces` scatter entries from `first` on, and to its name.
    fn link(&mut self, index: usize, first: usize, pieces: usize, namelen: libc::socklen_t) {
        let iov = self.iovecs[first..].as_mut_ptr();
        let name = &raw mut self.names[index];
        let header = &mut self.headers[index];
        header.msg_len = 0;
        header.msg_hdr.msg_iov = iov;
        header.msg_hdr.msg_iovlen = pieces as _;
        header.msg_hdr.msg_name = name.cast();
        header.msg_hdr.msg_namelen = namelen;
        header.msg_hdr.msg_control = ptr::null_mut();
        header.msg_hdr.msg_controllen = 0;
        header.msg_hdr.msg_flags = 0;
    }

    /// Receives into `buffer`, cut in slots of `size` bytes; the number of datagrams.
    pub(super) fn receive(
        &mut self,
        fd: RawFd,
        buffer: &mut [u8],
        size: usize,
        flags: i32,
    ) -> io::Result<usize> {
        let slots = self.slots().min(buffer.len() / size.max(1));
        let base = buffer.as_mut_ptr();
        for index in 0..slots {
            self.iovecs[index] = libc::iovec {
                iov_base: base.wrapping_add(index * size).cast(),
                iov_len: size,
            };
            self.link(index, index, 1, mem::size_of::<Name>() as libc::socklen_t);
            self.control(index);
        }
        let headers = self.headers.as_mut_ptr();
        // SAFETY: `slots` headers are linked above to `size` bytes each inside `buffer`, and to names and control
        // messages of the lengths given; all of them live until the call returns.
        let n = unsafe { libc::recvmmsg(fd, headers, slots as u32, flags, ptr::null_mut()) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(n as usize)
        }
    }

    /// Lets a header carry its control message.
    fn control(&mut self, index: usize) {
        let segments = &raw mut self.segments[index];
        let header = &mut self.headers[index].msg_hdr;
        header.msg_control = segments.cast();
        header.msg_controllen = mem::size_of::<Segments>() as _;
    }

    /// Bytes received in a slot, and how many of them each datagram has; the last one may have less.
    pub(super) fn received(&self, index: usize) -> (usize, usize) {
        let Some(header) = self.headers.get(index) else {
            return (0, 0);
        };
        let len = header.msg_len as usize;
        let told = header.msg_hdr.msg_controllen != 0;
        let segments = self.segments.get(index).filter(|_| told);
        (len, segments.and_then(Segments::received).unwrap_or(len))
    }

    /// Who sent what is in a slot.
    pub(super) fn source(&self, index: usize) -> Option<SocketAddr> {
        self.names.get(index).map(Name::decode)
    }

    /// Sends one message for each group, whose pieces are datagrams of one length to one destination; how many
    /// groups went out. A group of several leaves in one message that the kernel cuts (udp(7), `UDP_SEGMENT`).
    pub(super) fn send<'a, P: Iterator<Item = &'a [u8]>>(
        &mut self,
        fd: RawFd,
        groups: impl Iterator<Item = (SocketAddr, usize, P)>,
    ) -> io::Result<usize> {
        let (mut count, mut used) = (0, 0);
        for (destination, size, pieces) in groups.take(self.slots()) {
            let (name, len) = Name::new(destination);
            self.names[count] = name;
            let first = used;
            for (piece, iovec) in pieces.zip(&mut self.iovecs[first..]) {
                *iovec = libc::iovec {
                    iov_base: piece.as_ptr().cast_mut().cast(),
                    iov_len: piece.len(),
                };
                used += 1;
            }
            self.link(count, first, used - first, len);
            if used - first > 1 {
                self.segments[count] = Segments::to_send(size);
                self.control(count);
            }
            count += 1;
        }
        let headers = self.headers.as_mut_ptr();
        // SAFETY: `count` headers are linked above to borrowed bytes, which the kernel only reads, to names and,
        // where there are several pieces, to one control message; all of them live until the call returns.
        let n = unsafe { libc::sendmmsg(fd, headers, count as u32, libc::MSG_NOSIGNAL) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(n as usize)
        }
    }
}

/// The control message that tells how long the datagrams of one message are: asks the kernel to cut it
/// (udp(7), `UDP_SEGMENT`), or says how it was joined (`UDP_GRO`).
#[derive(Clone, Copy)]
#[repr(C)]
struct Segments {
    header: libc::cmsghdr,
    /// Bytes of each datagram, of 16 bits to the kernel and of 32 from it; padded to the alignment of a control message.
    size: [u8; 8],
}

impl Segments {
    fn to_send(size: usize) -> Self {
        // SAFETY: every field of a control message's header is an integer.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = (mem::size_of::<libc::cmsghdr>() + mem::size_of::<u16>()) as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&u16::try_from(size).unwrap_or(u16::MAX).to_ne_bytes());
        Self { header, size: bytes }
    }

    fn received(&self) -> Option<usize> {
        let [a, b, c, d, ..] = self.size;
        let size = usize::try_from(libc::c_int::from_ne_bytes([a, b, c, d])).ok()?;
        let ours = self.header.cmsg_level == libc::SOL_UDP && self.header.cmsg_type == libc::UDP_GRO;
        (ours && size > 0).then_some(size)
    }
}

/// Lets the kernel hand over datagrams of one length from one peer as one message (udp(7), `UDP_GRO`, Linux 5.0); where
/// it cannot, they arrive one by one.
pub(super) fn join_received(fd: RawFd) {
    let on: libc::c_int = 1;
    let len = mem::size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes, which is the size of `on`.
    unsafe { libc::setsockopt(fd, libc::SOL_UDP, libc::UDP_GRO, (&raw const on).cast(), len) };
}

/// Whether the kernel can cut one message into datagrams (Linux 4.18 and later).
pub(super) fn can_cut(fd: RawFd) -> bool {
    let (mut value, mut len): (libc::c_int, _) = (0, mem::size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `value`.
    unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(fd, libc::SOL_UDP, libc::UDP_SEGMENT, value, &raw mut len) == 0
    }
}

/// Bytes that a socket's receive queue holds and may hold, with what the kernel keeps about them (`SO_MEMINFO`, Linux 4.12).
pub(super) fn receive_memory(fd: RawFd) -> Option<(u32, u32)> {
    let mut numbers = [0_u32; 9];
    let mut len = mem::size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `numbers`.
    let result = unsafe {
        let numbers = (&raw mut numbers).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, numbers, &raw mut len)
    };
    let [used, all, ..] = numbers;
    (result == 0).then_some((used, all))
}

/// Says what becomes of datagrams longer than the path's MTU (`IP_MTU_DISCOVER`, `IPV6_MTU_DISCOVER`).
pub(super) fn discover_path_mtu(fd: RawFd, addr: SocketAddr, way: libc::c_int) -> io::Result<()> {
    let (level, option) = mtu_option(addr);
    let len = mem::size_of_val(&way) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes, which is the size of `way`.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const way).cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn mtu_option(addr: SocketAddr) -> (libc::c_int, libc::c_int) {
    if addr.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    }
}

/// What a socket does with datagrams longer than the path's MTU.
#[cfg(test)]
pub(super) fn path_mtu_discovery(fd: RawFd, addr: SocketAddr) -> io::Result<libc::c_int> {
    let (level, option) = mtu_option(addr);
    let mut way = -1;
    let mut len = mem::size_of_val(&way) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `way`.
    let result = unsafe { libc::getsockopt(fd, level, option, (&raw mut way).cast(), &raw mut len) };
    if result == 0 {
        Ok(way)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_both_ways() {
        for text in [
            "127.0.0.1:5060",
            "255.1.2.3:65535",
            "[::1]:5060",
            "[2001:db8::7%3]:5061",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::new(addr).0.decode(), addr, "{text}");
        }
    }
}
