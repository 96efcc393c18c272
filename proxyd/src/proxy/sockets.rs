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
        Self {
            transport,
            address,
            advertise,
            name,
            host_text,
            port_text,
        }
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
    /// The socket with this id.
    pub fn get(&self, id: SocketId) -> Option<&Listener> {
        self.listeners.get(usize::from(id))
    }

    /// Whether host and port name this proxy; `port` 0 and no transport match any (Kamailio's `myself`).
    pub fn is_local(&self, host: &[u8], port: u16, transport: Option<Transport>) -> bool {
        let transport_fits = |mine: Transport| transport.is_none_or(|wanted| wanted == mine);
        let bare = host
            .strip_prefix(b"[")
            .and_then(|h| h.strip_suffix(b"]"))
            .unwrap_or(host);
        let first = bare.first().copied().unwrap_or(0);
        if first.is_ascii_digit() || bare.contains(&b':') {
            let ip = std::str::from_utf8(bare)
                .ok()
                .and_then(|text| text.parse::<IpAddr>().ok());
            if let Some(ip) = ip {
                let bound = self.listeners.iter().any(|l| {
                    l.address.ip() == ip
                        && (port == 0 || l.address.port() == port)
                        && transport_fits(l.transport)
                });
                if bound {
                    return true;
                }
            }
        }
        let advertised = self.listeners.iter().any(|l| {
            l.advertise.as_ref().is_some_and(|(name, own_port)| {
                name.as_bytes().eq_ignore_ascii_case(host) && (port == 0 || port == *own_port)
            }) && transport_fits(l.transport)
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
        let at = self
            .listeners
            .iter()
            .position(|l| l.transport == transport && l.address.is_ipv6() == v6)?;
        SocketId::try_from(at).ok()
    }

    /// The socket bound to this address and transport.
    pub fn find(&self, transport: Transport, address: SocketAddr) -> Option<SocketId> {
        let at = self
            .listeners
            .iter()
            .position(|l| l.transport == transport && l.address == address)?;
        SocketId::try_from(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn myself_follows_kamailio() {
        let sockets = Sockets {
            listeners: vec![Listener::new(
                Transport::Udp,
                SocketAddr::from(([10, 0, 0, 1], 5060)),
                None,
                None,
            )],
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
