//! Transports of SIP as the `transport` parameter and the Via header name them (RFC 3261 §19.1.1, §20.42, RFC 7118 §5).

use std::fmt;
use std::str::FromStr;

/// A transport that carries SIP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// WebSocket over TCP (RFC 7118).
    Ws,
    /// WebSocket over TLS (RFC 7118).
    Wss,
    /// SCTP (RFC 4168).
    Sctp,
}

/// A transport name nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown transport `{0}`: known are udp, tcp, tls, ws, wss and sctp")]
pub struct UnknownTransport(pub String);

impl Transport {
    /// Every transport, in the order of their names in messages of errors.
    pub const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss, Self::Sctp];

    /// Reads a name in any case, from a URI parameter, a Via header or a socket specification.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|t| t.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Names it as a URI parameter does: `udp`, `tcp`, `tls`, `ws`, `wss`, `sctp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Sctp => "sctp",
        }
    }

    /// Names it as a URI does: secure WebSocket is `ws` too, as TLS is told by the scheme (RFC 7118 §5.2).
    pub const fn uri_name(self) -> &'static str {
        match self {
            Self::Wss => Self::Ws.as_str(),
            other => other.as_str(),
        }
    }

    /// The transport of a stream that goes on in WebSocket.
    pub const fn upgraded(self) -> Self {
        match self {
            Self::Tcp => Self::Ws,
            Self::Tls => Self::Wss,
            other => other,
        }
    }

    /// Whether it is WebSocket, whose connections are made by clients alone (RFC 7118 §5).
    pub const fn is_web(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Names it as a Via header does: `UDP`, `TCP`, `TLS`, `WS`, `WSS`, `SCTP`.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Sctp => "SCTP",
        }
    }

    /// Port assumed where a URI names none (RFC 3261 §19.1.2, RFC 7118 §5.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp | Self::Sctp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// Tells whether retransmissions are the transport's business (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Tells whether the hop is encrypted, as `sips:` demands (RFC 3261 §26.2.2).
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Tells whether messages arrive on a connection that a peer may hold open.
    pub const fn is_connection(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(name.as_bytes()).ok_or_else(|| UnknownTransport(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for transport in Transport::ALL {
            assert_eq!(transport.as_str().parse(), Ok(transport));
            assert_eq!(Transport::from_bytes(transport.via().as_bytes()), Some(transport));
        }
        assert_eq!("UdP".parse(), Ok(Transport::Udp));
        assert!(
            "dccp"
                .parse::<Transport>()
                .unwrap_err()
                .to_string()
                .contains("`dccp`")
        );
        assert_eq!(Transport::from_bytes(b""), None);
    }

    #[test]
    fn default_ports() {
        let ports: Vec<u16> = Transport::ALL.iter().map(|t| t.default_port()).collect();
        assert_eq!(ports, [5060, 5060, 5061, 80, 443, 5060]);
    }
}
