//! What is ours: the sockets we listen on and the names we answer to (`myself`).

use super::context::SocketId;
use shared::net::Transport;
use std::net::IpAddr;
use std::net::SocketAddr;

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its transport.
    pub transport: Transport,
    /// The bound address.
    pub address: SocketAddr,
    /// What Via and Record-Route show instead, host and port.
    pub advertise: Option<(String, u16)>,
    /// `name "…"` of the listen line.
    pub name: Option<String>,
    /// The address as Via and Record-Route print it: `10.0.0.1` or `[::1]`, or the advertised host.
    pub host_text: String,
    /// The port as Via and Record-Route print it.
    pub port_text: String,
    /// How far a reload has closed it.
    pub state: ListenerState,
    /// An IPv4 address as text, of which it has but one.
    v4_text: Option<String>,
}

/// Whether a socket is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListenerState {
    /// It is.
    #[default]
    Open,
    /// The script has it no more; what came by it is still answered by it.
    Ending,
    /// Its number is kept, for transactions that may name it.
    Closed,
}

impl Listener {
    /// A socket that shows its own address.
    pub fn new(
        transport: Transport,
        address: SocketAddr,
        advertise: Option<(String, u16)>,
        name: Option<String>,
    ) -> Self {
        let host_text = match (&advertise, address.ip()) {
            (Some((host, _)), _) => host.clone(),
            (None, IpAddr::V4(ip)) => ip.to_string(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
        };
        let port_text = advertise
            .as_ref()
            .map_or(address.port(), |(_, port)| *port)
            .to_string();
        let v4_text = match address.ip() {
            IpAddr::V4(ip) => Some(ip.to_string()),
            IpAddr::V6(_) => None,
        };
        Self {
            transport,
            address,
            advertise,
            name,
            host_text,
            port_text,
            state: ListenerState::Open,
            v4_text,
        }
    }

    /// Whether nothing can be sent from it any more.
    pub fn is_closed(&self) -> bool {
        self.state == ListenerState::Closed
    }
}

/// A name we answer to, from `alias=` or the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Only for this transport.
    pub transport: Option<Transport>,
    /// The host, in lower case.
    pub host: String,
    /// Only with this port.
    pub port: Option<u16>,
}

/// All listening sockets and aliases; changes only at reload.
#[derive(Debug, Clone, Default)]
pub struct Sockets {
    /// The sockets by [`SocketId`].
    pub listeners: Vec<Listener>,
    /// The aliases.
    pub aliases: Vec<Alias>,
}

impl Sockets {
    /// The sockets in use.
    pub fn open(&self) -> impl Iterator<Item = (SocketId, &Listener)> {
        let numbered = (0..).zip(&self.listeners);
        numbered.filter(|(_, listener)| listener.state == ListenerState::Open)
    }

    /// The first socket in use that fits.
    pub fn position(&self, fits: impl Fn(&Listener) -> bool) -> Option<SocketId> {
        self.open().find(|(_, listener)| fits(listener)).map(|(id, _)| id)
    }

    /// The socket with this id.
    pub fn get(&self, id: SocketId) -> Option<&Listener> {
        self.listeners.get(usize::from(id))
    }

    /// Whether host and port name this proxy; `port` 0 and no transport match any (Kamailio's `myself`).
    /// Kamailio: a listener that advertises another address answers to both hosts and both ports, in any pairing.
    pub fn is_local(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool {
        let transport_fits = |mine: Transport| transport.is_none_or(|wanted| wanted == mine);
        let fits = |l: &Listener| {
            let shown = l.advertise.as_ref().map(|(_, shown)| *shown);
            (port == 0 || l.address.port() == port || shown == Some(port)) && transport_fits(l.transport)
        };
        let bound = match host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")) {
            None if !host.contains(&b':') => {
                let is_text = |l: &&Listener| l.v4_text.as_ref().is_some_and(|text| text.as_bytes() == host);
                self.answering().filter(is_text).any(fits)
            }
            bare => {
                let text = std::str::from_utf8(bare.unwrap_or(host));
                let ip = text.ok().and_then(|text| text.parse::<IpAddr>().ok());
                ip.is_some_and(|ip| self.answering().any(|l| l.address.ip() == ip && fits(l)))
            }
        };
        if bound {
            return true;
        }
        let advertised = self.answering().any(|l| {
            let names = l.advertise.as_ref().map(|(name, _)| name.as_bytes());
            names.is_some_and(|name| name.eq_ignore_ascii_case(host)) && fits(l)
        });
        advertised
            || self.aliases.iter().any(|alias| {
                (alias.host.as_bytes() == host || alias.host.as_bytes().eq_ignore_ascii_case(host))
                    && (port == 0 || alias.port.is_none_or(|own| own == port))
                    && alias.transport.is_none_or(transport_fits)
            })
    }

    /// The first socket of a transport and address family.
    pub fn first(&self, transport: Transport, v6: bool) -> Option<SocketId> {
        self.position(|l| l.transport == transport && l.address.is_ipv6() == v6)
    }

    /// The socket bound to this address and transport.
    pub fn find(&self, transport: Transport, address: SocketAddr) -> Option<SocketId> {
        self.position(|l| l.transport == transport && l.address == address)
    }

    /// The socket of `udp:192.0.2.1:5060`; without a transport that of UDP.
    pub fn named(&self, text: &str) -> Option<SocketId> {
        let (transport, address) = match text.split_once(':') {
            Some((name, rest)) if Transport::from_bytes(name.as_bytes()).is_some() => {
                (Transport::from_bytes(name.as_bytes())?, rest)
            }
            _ => (Transport::Udp, text),
        };
        self.find(transport, address.parse().ok()?)
    }

    /// The sockets that messages may name.
    fn answering(&self) -> impl Iterator<Item = &Listener> {
        let listeners = self.listeners.iter();
        listeners.filter(|listener| !listener.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn myself_follows_kamailio() {
        let sockets = Sockets {
            listeners: vec![
                Listener::new(
                    Transport::Udp,
                    SocketAddr::from(([10, 0, 0, 1], 5060)),
                    None,
                    None,
                ),
                Listener::new(
                    Transport::Udp,
                    SocketAddr::from(([10, 0, 0, 3], 5060)),
                    Some(("198.51.100.1".into(), 5080)),
                    None,
                ),
            ],
            aliases: vec![Alias {
                transport: None,
                host: "sip.test".into(),
                port: Some(5070),
            }],
        };
        for (host, port, expected) in [
            ("10.0.0.1", 5060, true),
            ("10.0.0.1", 0, true),
            ("10.0.0.1", 5061, false),
            ("10.0.0.2", 5060, false),
            ("10.0.0.3", 5080, true),
            ("198.51.100.1", 5080, true),
            ("198.51.100.1", 5060, true),
            ("198.51.100.1", 5061, false),
            ("SIP.test", 0, true),
            ("sip.test", 5070, true),
            ("sip.test", 5060, false),
        ] {
            assert_eq!(
                sockets.is_local(host.as_bytes(), port, None),
                expected,
                "{host}:{port}"
            );
        }
    }
}
