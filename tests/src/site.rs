//! Addresses for one test: a loopback address of its own, so that tests and test runs never meet.

use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// Where one test's server and user agents live.
#[derive(Clone, Debug)]
pub struct Site {
    /// The server's IPv4 socket, for UDP and TCP.
    pub server: SocketAddr,
    /// The server's IPv4 socket for TLS.
    pub server_tls: SocketAddr,
    /// The server's IPv6 socket.
    pub server6: SocketAddr,
    carrier: SocketAddr,
    _taken: Arc<UdpSocket>,
}

static NEXT: AtomicU32 = AtomicU32::new(1);

impl Site {
    /// Takes the next free address.
    #[expect(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Self {
        // Another test run may have the same part of the network: an address is taken by a port that nobody uses.
        let (host, taken) = loop {
            let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let host = [127, 22, (process % 251) as u8 + 2, (number % 250) as u8 + 2];
            if let Ok(socket) = UdpSocket::bind(SocketAddr::from((host, 22_059))) {
                break (host, socket);
            }
        };
        let carrier = [127, 22, 1, host[3]];
        Self {
            server: (host, 22_060).into(),
            server_tls: (host, 22_061).into(),
            server6: (Ipv6Addr::LOCALHOST, free_port6()).into(),
            carrier: (carrier, 0).into(),
            _taken: Arc::new(taken),
        }
    }

    /// Returns an address that no other user agent of this site has.
    pub fn carrier(&self) -> SocketAddr {
        self.carrier
    }

    /// Returns an address for a user agent, whose port is chosen when it is opened.
    pub fn user_agent(&self, ipv6: bool) -> SocketAddr {
        if ipv6 {
            (Ipv6Addr::LOCALHOST, 0).into()
        } else {
            (self.server.ip(), 0).into()
        }
    }

    /// Returns the server's sockets as `-l` takes them.
    pub fn listen(&self) -> Vec<String> {
        let (four, six) = (self.server, self.server6);
        vec![
            format!("udp:{four}"),
            format!("tcp:{four}"),
            format!("udp:{six}"),
            format!("tcp:{six}"),
        ]
    }
}

/// Finds a port of ::1 that is free for UDP and TCP; every test shares that one address.
fn free_port6() -> u16 {
    loop {
        let Ok(socket) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return 22_061;
        };
        let port = socket.local_addr().map_or(0, |address| address.port());
        if TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
