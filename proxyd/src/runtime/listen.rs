//! From `listen` lines to open sockets: names resolved, every failure named.

use crate::proxy::sockets::Listener;
use crate::transport::interfaces;
use crate::transport::interfaces::InterfaceAddress;
use crate::transport::options::SocketOptions;
use crate::transport::udp::UdpOptions;
use crate::transport::udp::UdpSocket;
use shared::net::Host;
use shared::net::SocketSpec;
use shared::net::Transport;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::sync::Arc;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The kernel refuses.
    #[error("cannot listen on {transport}:{address}: {error}")]
    Bind {
        /// The transport.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A name is neither an interface nor a host.
    #[error("cannot listen on {0:?}: no interface and no host has this name")]
    Name(String),
    /// A transport that is not served.
    #[error(
        "cannot listen on {0}: use udp, tcp or tls; WebSocket begins on tcp and tls, with the module websocket"
    )]
    Transport(Transport),
    /// TLS is wanted, and nothing knows its certificates.
    #[error("enable_tls needs the module tls: add `loadmodule \"tls.so\"`")]
    NoTls,
    /// The machine's addresses cannot be read.
    #[error("cannot read the addresses of this machine: {0}")]
    Interfaces(io::Error),
}

impl ListenError {
    /// The kernel refuses this socket.
    pub(crate) fn of(listener: &Listener, error: io::Error) -> Self {
        Self::Bind {
            transport: listener.transport,
            address: listener.address,
            error,
        }
    }
}

/// What is listened on without a `listen` line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    /// `port`.
    pub(crate) port: u16,
    /// `disable_tcp`.
    pub(crate) tcp: bool,
    /// Whether connections may go on in WebSocket: the module is loaded.
    pub(crate) web: bool,
    /// `enable_tls`: the port of sockets that are not asked for, `tls_port_no`.
    pub(crate) tls: Option<u16>,
}

impl Defaults {
    /// The sockets that a line asks for, each with its port.
    ///
    /// Kamailio: one without a transport asks for all, TLS at the port above.
    fn sockets(self, spec: &SocketSpec) -> Result<Vec<(Transport, u16)>, ListenError> {
        let port = spec.port.unwrap_or(self.port);
        match spec.transport {
            Some(Transport::Udp) => Ok(vec![(Transport::Udp, port)]),
            Some(Transport::Tcp) => Ok(self.tcp.then_some((Transport::Tcp, port)).into_iter().collect()),
            Some(Transport::Tls) => {
                let port = self.tls.map(|own| (Transport::Tls, spec.port.unwrap_or(own)));
                Ok(port.filter(|_| self.tcp).into_iter().collect())
            }
            Some(other) => Err(ListenError::Transport(other)),
            None => {
                let tls = self
                    .tls
                    .map(|own| spec.port.map_or(own, |port| port.saturating_add(1)));
                let streams = [
                    Some((Transport::Tcp, port)),
                    tls.map(|port| (Transport::Tls, port)),
                ];
                let streams = streams.into_iter().flatten().filter(|_| self.tcp);
                Ok(std::iter::once((Transport::Udp, port)).chain(streams).collect())
            }
        }
    }
}

/// The listeners that the specifications ask for; UDP before TCP, as Via is chosen by the first that fits.
pub(crate) fn listeners(specs: &[SocketSpec], defaults: Defaults) -> Result<Vec<Listener>, ListenError> {
    let machine = interfaces::addresses().map_err(ListenError::Interfaces)?;
    let everything = [SocketSpec {
        transport: None,
        host: Host::Any,
        port: None,
        advertise: None,
        name: None,
    }];
    let specs = if specs.is_empty() { &everything[..] } else { specs };
    let mut found: Vec<Listener> = Vec::new();
    for spec in specs {
        let sockets = defaults.sockets(spec)?;
        for ip in addresses(&spec.host, &machine)? {
            for (transport, port) in &sockets {
                let address = SocketAddr::new(ip, *port);
                let known = found
                    .iter()
                    .any(|l| l.transport == *transport && l.address == address);
                if !known {
                    let advertise = spec
                        .advertise
                        .as_ref()
                        .map(|a| (host_text(&a.host), a.port.unwrap_or(*port)));
                    let named =
                        |transport| Listener::new(transport, address, advertise.clone(), spec.name.clone());
                    found.push(named(*transport));
                    // Messages of WebSocket come by the same socket and name their own transport.
                    if defaults.web && transport.upgraded() != *transport {
                        found.push(named(transport.upgraded()));
                    }
                }
            }
        }
    }
    Ok(found)
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
        Host::Any => "0.0.0.0".to_owned(),
    }
}

fn addresses(host: &Host, machine: &[InterfaceAddress]) -> Result<Vec<IpAddr>, ListenError> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![*ip]),
        Host::Any => return Ok(machine.iter().map(|a| a.address).collect()),
        Host::Name(name) => name,
    };
    let of_interface: Vec<IpAddr> = machine
        .iter()
        .filter(|a| a.name == *name)
        .map(|a| a.address)
        .collect();
    if !of_interface.is_empty() {
        return Ok(of_interface);
    }
    let resolved = (name.as_str(), 0u16)
        .to_socket_addrs()
        .map_err(|_| ListenError::Name(name.clone()))?;
    Ok(resolved.map(|address| address.ip()).take(1).collect())
}

/// Opens a UDP socket.
pub(crate) fn bind_udp(listener: &Listener, socket: &SocketOptions) -> Result<Arc<UdpSocket>, ListenError> {
    let options = UdpOptions {
        timeout: super::worker::PATIENCE,
        socket: socket.clone(),
        ..UdpOptions::default()
    };
    let socket = UdpSocket::bind(listener.address, &options);
    let socket = socket.map_err(|error| ListenError::of(listener, error))?;
    Ok(Arc::new(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_a_transport_is_two_sockets() {
        let spec = |text: &str| text.parse::<SocketSpec>().expect(text);
        let defaults = Defaults {
            port: 5060,
            tcp: true,
            web: false,
            tls: None,
        };
        let found = listeners(
            &[
                spec("127.0.0.1:5070"),
                spec("udp:127.0.0.1:5070"),
                spec("udp:[::1]"),
            ],
            defaults,
        );
        let found: Vec<String> = found
            .expect("addresses")
            .iter()
            .map(|l| format!("{}:{}", l.transport, l.address))
            .collect();
        assert_eq!(
            found,
            ["udp:127.0.0.1:5070", "tcp:127.0.0.1:5070", "udp:[::1]:5060"]
        );
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        let defaults = Defaults {
            port: 5060,
            tcp: true,
            web: false,
            tls: Some(5061),
        };
        let off = Defaults {
            tls: None,
            ..defaults
        };
        let no_streams = Defaults {
            tcp: false,
            ..defaults
        };
        let rows: [(Defaults, &str, &[&str]); 7] = [
            (
                defaults,
                "127.0.0.1",
                &["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060", "tls:127.0.0.1:5061"],
            ),
            (
                defaults,
                "127.0.0.1:7",
                &["udp:127.0.0.1:7", "tcp:127.0.0.1:7", "tls:127.0.0.1:8"],
            ),
            (defaults, "tls:127.0.0.1", &["tls:127.0.0.1:5061"]),
            (defaults, "tls:127.0.0.1:7", &["tls:127.0.0.1:7"]),
            (defaults, "udp:127.0.0.1", &["udp:127.0.0.1:5060"]),
            (off, "tls:127.0.0.1", &[]),
            (no_streams, "127.0.0.1", &["udp:127.0.0.1:5060"]),
        ];
        for (defaults, line, expected) in rows {
            let found = listeners(&[line.parse().expect(line)], defaults).expect(line);
            let found: Vec<String> = found
                .iter()
                .map(|l| format!("{}:{}", l.transport, l.address))
                .collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_listened_on_is_named() {
        let spec = |text: &str| text.parse::<SocketSpec>().expect(text);
        let defaults = Defaults {
            port: 5060,
            tcp: true,
            web: false,
            tls: None,
        };
        let error = listeners(&[spec("udp:no-such-interface0.invalid:5060")], defaults).expect_err("unknown");
        assert!(
            error.to_string().contains("no-such-interface0.invalid"),
            "{error}"
        );
        let foreign = Listener::new(Transport::Udp, ([203, 0, 113, 1], 5060).into(), None, None);
        let error = bind_udp(&foreign, &SocketOptions::default())
            .map(|_| ())
            .expect_err("foreign");
        assert!(
            error
                .to_string()
                .starts_with("cannot listen on udp:203.0.113.1:5060")
        );
    }
}
