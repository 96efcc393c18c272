//! What the kernel is asked for when a socket is opened (core cookbook, `tos`, `ip_free_bind`, `maxbuffer`, `pmtu_discovery`, `mcast_*`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::Socket;

use super::sys;

/// The kernel's queue we ask for: its default holds about 166 requests.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How sockets are opened.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// `tos`: type-of-service byte of what is sent.
    pub tos: Option<u32>,
    /// `ip_free_bind`: the address need not exist yet.
    pub free_bind: bool,
    /// `maxbuffer`: receive queue asked for, in bytes.
    pub receive_buffer: usize,
    /// `maxsndbuffer`: send queue asked for, in bytes; the system's when not given.
    pub send_buffer: Option<usize>,
    /// `pmtu_discovery`; the system's way when not given.
    pub path_mtu: Option<PathMtu>,
    /// `mcast_ttl`.
    pub multicast_ttl: Option<u32>,
    /// `mcast_loopback`: whether what is sent to a group is received here, too.
    pub multicast_loop: Option<bool>,
    /// `tcp_listen_backlog`: connections that wait to be accepted.
    pub backlog: i32,
    /// `tcp_reuse_port`: other sockets may listen on the same port of TCP.
    pub tcp_reuse_port: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            tos: None,
            free_bind: false,
            receive_buffer: RECEIVE_BUFFER,
            send_buffer: None,
            path_mtu: None,
            multicast_ttl: None,
            multicast_loop: None,
            backlog: 1024,
            tcp_reuse_port: false,
        }
    }
}

/// What becomes of a datagram that is longer than the path's MTU (ip(7), `IP_MTU_DISCOVER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMtu {
    /// It is cut on its way: no packet has the don't-fragment bit.
    Cut,
    /// It is lost: every packet has that bit, and the kernel cuts none.
    Never,
    /// The kernel cuts it by what it knows of the path.
    Known,
}

impl PathMtu {
    /// The number in the script: 0, 1 or 2.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Cut),
            1 => Some(Self::Never),
            2 => Some(Self::Known),
            _ => None,
        }
    }

    fn kernels(self) -> libc::c_int {
        match self {
            Self::Cut => libc::IP_PMTUDISC_DONT,
            Self::Never => libc::IP_PMTUDISC_DO,
            Self::Known => libc::IP_PMTUDISC_WANT,
        }
    }
}

/// The type of service that a script writes: a number, also a hexadecimal one, or a name of ip(7).
pub fn type_of_service(text: &str) -> Option<u32> {
    let number = match text.to_ascii_uppercase().as_str() {
        "IPTOS_LOWDELAY" => 0x10,
        "IPTOS_THROUGHPUT" => 0x08,
        "IPTOS_RELIABILITY" => 0x04,
        "IPTOS_MINCOST" => 0x02,
        other => match other.strip_prefix("0X") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => other.parse().ok()?,
        },
    };
    (number <= 255).then_some(number)
}

/// Sets the type of service of what a socket sends. A wrong one still delivers: that is no reason to fail.
pub(super) fn mark(socket: &Socket, addr: SocketAddr, tos: Option<u32>) {
    if let Some(tos) = tos {
        let _ = if addr.is_ipv6() {
            socket.set_tclass_v6(tos)
        } else {
            socket.set_tos_v4(tos)
        };
    }
}

impl SocketOptions {
    /// What every socket is asked for before it is bound; an IPv6 one takes IPv6 only.
    pub(super) fn before_bind(&self, socket: &Socket, addr: SocketAddr) -> io::Result<()> {
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if self.free_bind {
            if addr.is_ipv6() {
                socket.set_freebind_v6(true)?;
            } else {
                socket.set_freebind_v4(true)?;
            }
        }
        mark(socket, addr, self.tos);
        Ok(())
    }

    /// What sockets of datagrams are asked for besides.
    pub(super) fn of_datagrams(&self, socket: &Socket, addr: SocketAddr) -> io::Result<()> {
        socket.set_recv_buffer_size(self.receive_buffer)?;
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(path_mtu) = self.path_mtu {
            sys::discover_path_mtu(socket.as_raw_fd(), addr, path_mtu.kernels())?;
        }
        if let Some(ttl) = self.multicast_ttl {
            if addr.is_ipv6() {
                socket.set_multicast_hops_v6(ttl)?;
            } else {
                socket.set_multicast_ttl_v4(ttl)?;
            }
        }
        if let Some(wanted) = self.multicast_loop {
            if addr.is_ipv6() {
                socket.set_multicast_loop_v6(wanted)?;
            } else {
                socket.set_multicast_loop_v4(wanted)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::conn::Connections;
    use crate::transport::udp::UdpOptions;
    use crate::transport::udp::UdpSocket;
    use socket2::SockRef;

    fn options() -> SocketOptions {
        SocketOptions {
            tos: Some(0x10),
            receive_buffer: 8192,
            send_buffer: Some(16_384),
            path_mtu: Some(PathMtu::Never),
            multicast_ttl: Some(7),
            multicast_loop: Some(false),
            tcp_reuse_port: true,
            ..SocketOptions::default()
        }
    }

    #[test]
    fn sockets_of_datagrams_have_what_was_asked_for() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let options = UdpOptions {
                socket: options(),
                ..UdpOptions::default()
            };
            let socket = UdpSocket::bind(addr.parse().unwrap(), &options).unwrap();
            assert_eq!(socket.receive_buffer(), 8192);
            let kernels = SockRef::from(&socket);
            assert_eq!(kernels.send_buffer_size().unwrap(), 2 * 16_384);
            if socket.local().is_ipv6() {
                assert_eq!(kernels.tclass_v6().unwrap(), 0x10);
                assert_eq!(kernels.multicast_hops_v6().unwrap(), 7);
                assert!(!kernels.multicast_loop_v6().unwrap());
            } else {
                assert_eq!(kernels.tos_v4().unwrap(), 0x10);
                assert_eq!(kernels.multicast_ttl_v4().unwrap(), 7);
                assert!(!kernels.multicast_loop_v4().unwrap());
            }
            let discovery = sys::path_mtu_discovery(socket.as_raw_fd(), socket.local()).unwrap();
            assert_eq!(discovery, libc::IP_PMTUDISC_DO);
        }
    }

    #[test]
    fn sockets_of_streams_share_a_port_when_asked() {
        let first = Connections::bind("127.0.0.1:0".parse().unwrap(), &options()).unwrap();
        let addr = first.local_addr().unwrap();
        assert_eq!(SockRef::from(&first).tos_v4().unwrap(), 0x10);
        assert!(Connections::bind(addr, &options()).is_ok());
        assert!(Connections::bind(addr, &SocketOptions::default()).is_err());
    }

    #[test]
    fn an_address_may_be_missing_when_asked() {
        let foreign = "192.0.2.77:0".parse().unwrap();
        let free = SocketOptions {
            free_bind: true,
            ..SocketOptions::default()
        };
        assert!(Connections::bind(foreign, &free).is_ok());
        assert!(Connections::bind(foreign, &SocketOptions::default()).is_err());
    }

    #[test]
    fn types_of_service_are_numbers_or_names() {
        let table = [
            ("IPTOS_LOWDELAY", Some(0x10)),
            ("iptos_mincost", Some(2)),
            ("0xb8", Some(0xb8)),
            ("184", Some(184)),
            ("256", None),
            ("fast", None),
        ];
        for (text, expected) in table {
            assert_eq!(type_of_service(text), expected, "{text}");
        }
    }
}
