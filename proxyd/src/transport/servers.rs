//! Servers of a domain in the order they are tried (RFC 2782, RFC 3263 §4.1).

use std::cmp::Reverse;
use std::net::IpAddr;
use std::net::SocketAddr;

use shared::net::Transport;
use smallvec::SmallVec;

/// Places tried for one request.
const MOST: usize = 32;

/// One place to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// Where.
    pub addr: SocketAddr,
}

/// Places in the order they are to be tried.
pub type Targets = SmallVec<[Target; 4]>;

/// One server with its addresses; those of one priority share by weight (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) priority: u32,
    pub(super) weight: u16,
    pub(super) transport: Transport,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
}

impl Server {
    fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        self.addresses.iter().map(|ip| Target {
            transport: self.transport,
            addr: SocketAddr::new(*ip, self.port),
        })
    }
}

/// Orders servers by priority and, within one, by their weight alone.
pub(super) fn by_weight(servers: &[Server]) -> Targets {
    let mut sorted: SmallVec<[&Server; 8]> = servers.iter().collect();
    sorted.sort_by_key(|s| (s.priority, Reverse(s.weight)));
    let mut targets: Targets = sorted.into_iter().flat_map(Server::targets).collect();
    targets.truncate(MOST);
    targets
}

/// Orders servers by priority and, within one, by weighted chance (RFC 2782, "Weight").
pub(super) fn order(servers: &[Server], random: &mut dyn FnMut() -> u32) -> Targets {
    let mut rest: SmallVec<[&Server; 8]> = servers.iter().collect();
    rest.sort_by_key(|s| (s.priority, s.weight != 0));
    let mut targets = Targets::new();
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|s| s.priority == first.priority).count();
        let sum: u64 = rest.iter().take(same).map(|s| u64::from(s.weight)).sum();
        let mut chosen = 0;
        if same > 1 {
            let mut left = u64::from(random()) % (sum + 1);
            for (index, server) in rest.iter().take(same).enumerate() {
                chosen = index;
                if left <= u64::from(server.weight) {
                    break;
                }
                left -= u64::from(server.weight);
            }
        }
        targets.extend(rest.remove(chosen).targets());
        if targets.len() >= MOST {
            break;
        }
    }
    targets
}

pub(super) fn srv_prefix(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        Transport::Sctp => Some("_sip._sctp"),
        Transport::Ws | Transport::Wss => None,
    }
}

pub(super) fn service_transport(service: &[u8]) -> Option<Transport> {
    let known: [(&[u8], Transport); 4] = [
        (b"SIP+D2U", Transport::Udp),
        (b"SIP+D2T", Transport::Tcp),
        (b"SIPS+D2T", Transport::Tls),
        (b"SIP+D2S", Transport::Sctp),
    ];
    known
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(service))
        .map(|(_, t)| t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_share_the_load() {
        let server = |weight, port| Server {
            priority: 1,
            weight,
            transport: Transport::Udp,
            port,
            addresses: vec!["10.0.0.1".parse().unwrap()],
        };
        let servers = [server(0, 1), server(10, 2), server(30, 3)];
        let mut firsts = [0; 4];
        for i in 0..41 {
            let mut numbers = [i, 0, 0].into_iter();
            let targets = order(&servers, &mut || numbers.next().unwrap_or(0));
            assert_eq!(targets.len(), 3);
            firsts[usize::from(targets[0].addr.port())] += 1;
        }
        assert_eq!(firsts, [0, 1, 10, 30]);
        let ports: Vec<u16> = by_weight(&servers)
            .iter()
            .map(|target| target.addr.port())
            .collect();
        assert_eq!(ports, [3, 2, 1]);
    }
}
