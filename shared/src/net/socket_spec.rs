//! Socket specifications such as `udp:10.0.0.1:5060 advertise 192.0.2.1:5060` (Kamailio core cookbook, `listen`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Transport;

/// Where a socket lives: an address, a name to be resolved (host or interface), or all addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address; IPv6 is written in brackets.
    Ip(IpAddr),
    /// A host name or an interface such as `eth0`, left to whoever binds.
    Name(String),
    /// `*` or `any`: every address of the machine.
    Any,
}

/// What is written into Via and Record-Route instead of the bound address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Advertise {
    /// Address or name peers should use.
    pub host: Host,
    /// Port peers should use, when it differs.
    pub port: Option<u16>,
}

/// One socket as `listen=`, `-l` or `force_send_socket()` names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocketSpec {
    /// `None` when only an address was given, which means UDP and TCP in a `listen`.
    pub transport: Option<Transport>,
    /// Where to bind.
    pub host: Host,
    /// `None` when the default of the transport is meant.
    pub port: Option<u16>,
    /// The public face, if there is one.
    pub advertise: Option<Advertise>,
    /// `name "text"`: what a script may call the socket.
    pub name: Option<String>,
}

/// Why a socket specification cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing where a host should be.
    #[error("socket `{0}` names no address: write it as udp:10.0.0.1:5060")]
    NoHost(String),
    /// The part before the first colon is not a transport.
    #[error(
        "socket `{spec}` begins with `{found}`, which is no transport: known are udp, tcp, tls, ws, wss and sctp"
    )]
    Transport {
        /// The whole text.
        spec: String,
        /// The unknown word.
        found: String,
    },
    /// The last part is not a port.
    #[error("socket `{spec}` has the port `{found}`: a port is a number from 1 to 65535")]
    Port {
        /// The whole text.
        spec: String,
        /// The offending part.
        found: String,
    },
    /// Brackets without an IPv6 address between them.
    #[error("socket `{0}` has brackets that hold no IPv6 address")]
    Brackets(String),
    /// An IPv6 address followed by more, without brackets.
    #[error("socket `{0}` holds an IPv6 address without brackets: write it as udp:[::1]:5060")]
    BareIpv6(String),
    /// A host with characters no host name or interface has.
    #[error(
        "socket `{spec}` has the host `{found}`, which is neither an address, a host name nor an interface"
    )]
    Host {
        /// The whole text.
        spec: String,
        /// The offending part.
        found: String,
    },
    /// Words after the socket that are not `advertise ADDRESS` or `name NAME`.
    #[error(
        "socket `{spec}` is followed by `{found}`: only `advertise ADDRESS[:PORT]` and `name NAME` may stand there"
    )]
    Trailing {
        /// The whole text.
        spec: String,
        /// The first word not understood.
        found: String,
    },
}

impl SocketSpec {
    /// Makes a plain specification of an address.
    pub fn new(transport: Transport, ip: IpAddr, port: u16) -> Self {
        Self {
            transport: Some(transport),
            host: Host::Ip(ip),
            port: Some(port),
            advertise: None,
            name: None,
        }
    }

    /// The port, or the default of its transport (5060 where none is named).
    ///
    /// Kamailio: `listen=ws:…` and `wss:…` bind 5060 and 5061, the ports of the streams beneath.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(match self.transport {
            Some(Transport::Tls | Transport::Wss) => 5061,
            _ => 5060,
        })
    }

    /// The literal address, unless a name or `*` was given.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) | Host::Any => None,
        }
    }
}

impl FromStr for SocketSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let socket = words.next().ok_or_else(|| SpecError::NoHost(text.to_owned()))?;
        let (transport, host, port) = parse_socket(text, socket)?;
        let mut spec = Self {
            transport,
            host,
            port,
            advertise: None,
            name: None,
        };
        while let Some(word) = words.next() {
            let trailing = || SpecError::Trailing {
                spec: text.to_owned(),
                found: word.to_owned(),
            };
            let argument = words.next().ok_or_else(trailing)?;
            match word {
                "advertise" | "advertised_address" => {
                    let (host, port) = parse_host_port(text, argument)?;
                    spec.advertise = Some(Advertise { host, port });
                }
                "name" => spec.name = Some(argument.trim_matches('"').to_owned()),
                _ => return Err(trailing()),
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for SocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(transport) = self.transport {
            write!(f, "{transport}:")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(advertise) = &self.advertise {
            write!(f, " advertise {}", advertise.host)?;
            if let Some(port) = advertise.port {
                write!(f, ":{port}")?;
            }
        }
        if let Some(name) = &self.name {
            write!(f, " name \"{name}\"")?;
        }
        Ok(())
    }
}

fn parse_socket(spec: &str, socket: &str) -> Result<(Option<Transport>, Host, Option<u16>), SpecError> {
    let whole = || -> Result<_, SpecError> {
        let (host, port) = parse_host_port(spec, socket)?;
        Ok((None, host, port))
    };
    if socket.starts_with('[') || socket.parse::<Ipv6Addr>().is_ok() {
        return whole();
    }
    let Some((first, rest)) = socket.split_once(':') else {
        return whole();
    };
    if let Some(transport) = Transport::from_bytes(first.as_bytes()) {
        let (host, port) = parse_host_port(spec, rest)?;
        return Ok((Some(transport), host, port));
    }
    // `10.0.0.1:5060` and `host:5060` have a number behind their only colon; anything else began with a transport.
    if rest.bytes().all(|b| b.is_ascii_digit()) || first.parse::<Ipv4Addr>().is_ok() {
        return whole();
    }
    Err(SpecError::Transport {
        spec: spec.to_owned(),
        found: first.to_owned(),
    })
}

fn parse_host_port(spec: &str, text: &str) -> Result<(Host, Option<u16>), SpecError> {
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let Some((ip, rest)) = inner.split_once(']') else {
            return Err(SpecError::Brackets(spec.to_owned()));
        };
        let ip: Ipv6Addr = ip.parse().map_err(|_| SpecError::Brackets(spec.to_owned()))?;
        let port = match rest {
            "" => None,
            _ => Some(
                rest.strip_prefix(':')
                    .ok_or_else(|| SpecError::Brackets(spec.to_owned()))?,
            ),
        };
        (Host::Ip(IpAddr::V6(ip)), port)
    } else if let Ok(ip) = text.parse::<Ipv6Addr>() {
        (Host::Ip(IpAddr::V6(ip)), None)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) if port.contains(':') => {
                let ipv6 = host.bytes().all(|b| b.is_ascii_hexdigit());
                return Err(if ipv6 {
                    SpecError::BareIpv6(spec.to_owned())
                } else {
                    SpecError::Port {
                        spec: spec.to_owned(),
                        found: port.to_owned(),
                    }
                });
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        (parse_host(spec, host)?, port)
    };
    let port = match port {
        None => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => {
                return Err(SpecError::Port {
                    spec: spec.to_owned(),
                    found: digits.to_owned(),
                });
            }
        },
    };
    Ok((host, port))
}

fn parse_host(spec: &str, host: &str) -> Result<Host, SpecError> {
    if host.is_empty() {
        return Err(SpecError::NoHost(spec.to_owned()));
    }
    if host == "*" || host.eq_ignore_ascii_case("any") {
        return Ok(Host::Any);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    let looks_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let plain = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@'));
    if looks_numeric || !plain {
        return Err(SpecError::Host {
            spec: spec.to_owned(),
            found: host.to_owned(),
        });
    }
    Ok(Host::Name(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_listen_accepts() {
        let table = [
            ("udp:10.0.0.1:5060", Some(Transport::Udp), "10.0.0.1", Some(5060)),
            ("tls:eth0", Some(Transport::Tls), "eth0", None),
            ("UDP:*:5080", Some(Transport::Udp), "*", Some(5080)),
            ("tcp:any:5060", Some(Transport::Tcp), "*", Some(5060)),
            ("udp:[::1]:5060", Some(Transport::Udp), "[::1]", Some(5060)),
            ("[2001:db8::1]", None, "[2001:db8::1]", None),
            ("2001:db8::1", None, "[2001:db8::1]", None),
            ("udp:2001:db8::1", Some(Transport::Udp), "[2001:db8::1]", None),
            ("10.0.0.1", None, "10.0.0.1", None),
            ("10.0.0.1:5070", None, "10.0.0.1", Some(5070)),
            ("sip.example.org:5070", None, "sip.example.org", Some(5070)),
            ("localhost", None, "localhost", None),
        ];
        for (text, transport, host, port) in table {
            let spec: SocketSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (spec.transport, spec.host.to_string().as_str(), spec.port),
                (transport, host, port),
                "{text}"
            );
        }
        let spec: SocketSpec = "udp:10.0.0.1:5060 advertise sip.example.org:5070 name \"lan\""
            .parse()
            .unwrap();
        let advertise = spec.advertise.unwrap();
        assert_eq!(
            (advertise.host, advertise.port),
            (Host::Name("sip.example.org".into()), Some(5070))
        );
        assert_eq!(spec.name.as_deref(), Some("lan"));
    }

    #[test]
    fn refuses_with_the_reason() {
        let table = [
            ("", "names no address"),
            ("udp:", "names no address"),
            ("dccp:10.0.0.1:5060", "`dccp`"),
            ("udp:10.0.0.1:70000", "`70000`"),
            ("udp:10.0.0.1:0", "`0`"),
            ("udp:10.0.0.1:", "port ``"),
            ("udp:[::1:5060", "brackets"),
            ("udp:[10.0.0.1]:5060", "brackets"),
            ("udp:10.0.0.300:5060", "`10.0.0.300`"),
            ("udp:a/b:5060", "`a/b`"),
            ("udp:10.0.0.1:5060 advertize 1.2.3.4", "`advertize`"),
            ("udp:10.0.0.1:5060 advertise", "`advertise`"),
        ];
        for (text, part) in table {
            let error = text.parse::<SocketSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn default_ports() {
        for (text, port) in [
            ("udp:a", 5060),
            ("tls:a", 5061),
            ("ws:a", 5060),
            ("wss:a", 5061),
            ("a", 5060),
            ("ws:a:80", 80),
        ] {
            assert_eq!(
                text.parse::<SocketSpec>().unwrap().port_or_default(),
                port,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(t in 0usize..6, ip: IpAddr, port in 1u16..) {
            let spec = SocketSpec::new(Transport::ALL[t], ip, port);
            prop_assert_eq!(spec.to_string().parse::<SocketSpec>().unwrap(), spec);
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<SocketSpec>();
        }
    }
}
