//! Choosing and forwarding responses: RFC 3261 §16.7 steps 3 to 9 and §18.2.2.

use super::context::Switches;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::Via;
use std::net::IpAddr;
use std::net::SocketAddr;

/// The final response of one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its status.
    pub status: u16,
    /// Whether it was made here, as the 408 of a silent branch is.
    pub made_here: bool,
}

/// How tm's parameters bend the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `aggregate_challenges`: several 401 and 407 become one.
    pub aggregate_challenges: bool,
    /// `remap_503_500`: an upstream 503 becomes a bare 500.
    pub remap_503_500: bool,
    /// `faked_reply_prio`: added to the rank of responses made here.
    pub faked_reply_prio: i32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            aggregate_challenges: true,
            remap_503_500: true,
            faked_reply_prio: 0,
        }
    }
}

/// What goes upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    /// The response of this branch, as it came (or made here, when that branch's was).
    Forward(usize),
    /// A response of our own with the status of this branch and all [`challenges`].
    Challenges(usize),
    /// A 500 of our own in place of this branch's 503 (RFC 3261 §16.7 step 6).
    Unavailable(usize),
}

impl Best {
    /// The branch that was chosen.
    pub fn branch(self) -> usize {
        match self {
            Self::Forward(branch) | Self::Challenges(branch) | Self::Unavailable(branch) => branch,
        }
    }
}

/// The reason phrase of the 500 that stands for a 503.
pub const UNAVAILABLE_REASON: &[u8] = b"Service Unavailable";

/// Chooses the best of the final responses (RFC 3261 §16.7 step 6); `None` when there is none.
pub fn choose(candidates: impl IntoIterator<Item = (usize, Candidate)>, rules: &Rules) -> Option<Best> {
    let mut best: Option<(i32, usize, Candidate)> = None;
    let mut challenging = 0;
    for (branch, candidate) in candidates {
        let penalty = if candidate.made_here {
            rules.faked_reply_prio
        } else {
            0
        };
        let rank = rank(candidate.status).saturating_add(penalty);
        challenging += usize::from(is_challenge(candidate.status) && !candidate.made_here);
        if best.is_none_or(|(lowest, ..)| rank < lowest) {
            best = Some((rank, branch, candidate));
        }
    }
    let (_, branch, candidate) = best?;
    if is_challenge(candidate.status) && challenging > 1 && rules.aggregate_challenges {
        return Some(Best::Challenges(branch));
    }
    if candidate.status == 503 && !candidate.made_here && rules.remap_503_500 {
        return Some(Best::Unavailable(branch));
    }
    Some(Best::Forward(branch))
}

/// The place of a final status in the order of preference: lower wins.
///
/// RFC 3261 §16.7 step 6 asks for 6xx, then the lowest class, then for what makes the caller try again.
/// Kamailio: among 4xx these are 401, 407, 415, 420 and 484; what remains of a class goes by number.
pub fn rank(status: u16) -> i32 {
    let within = i32::from(status % 100);
    match status {
        200..=299 => within,
        600..=699 => 1_000 + within,
        300..=399 => 3_000 + within,
        401 | 407 | 415 | 420 | 484 => 4_000 + within,
        400..=499 => 4_100 + within,
        500..=599 => 5_000 + within,
        100..=199 => 11_000 + within,
        0..=99 | 700.. => 32_000,
    }
}

/// Appends the challenges of a response to `out` as header lines (RFC 3261 §16.7 step 7).
pub fn challenges(response: &Message, out: &mut Vec<u8>) {
    if !is_challenge(response.status()) {
        return;
    }
    for header in response.headers() {
        if matches!(
            header.name,
            HeaderName::WwwAuthenticate | HeaderName::ProxyAuthenticate
        ) {
            out.extend_from_slice(response.name(header));
            out.extend_from_slice(b": ");
            out.extend_from_slice(response.value(header));
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

/// Appends a response without its top Via, which was ours (RFC 3261 §16.7 step 3), with its other edits.
pub fn strip_top_via(response: &Message, lumps: &Lumps, scratch: &mut Lumps, out: &mut Vec<u8>) {
    if lumps.is_untouched() && strip_whole_via(response, out).is_some() {
        return;
    }
    scratch.clear();
    scratch.extend(lumps);
    if let Some(top) = response.vias().next() {
        scratch.delete_value(response, &top);
    }
    scratch.write(response, out);
}

/// The usual case, two copies: nothing was edited, and our Via stands in a header of its own.
fn strip_whole_via(response: &Message, out: &mut Vec<u8>) -> Option<()> {
    let via = response.first_header(HeaderName::Via)?;
    let (body, bytes) = (response.body_range(), response.as_bytes());
    if response.headers_end() == body.start || memchr::memchr(b',', response.value(via)).is_some() {
        return None;
    }
    let before = bytes.get(..via.field.start as usize)?;
    let after = bytes.get(via.field.end as usize..body.end)?;
    out.reserve(before.len() + after.len());
    out.extend_from_slice(before);
    out.extend_from_slice(after);
    Some(())
}

/// Where a response goes, as far as its Via tells (RFC 3261 §18.2.2, RFC 3581 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The transport of the Via, when it is one we know.
    pub transport: Option<Transport>,
    /// An address, or a name to be looked up; an IPv6 address has its brackets here.
    pub host: &'a [u8],
    /// The port; `None` when a name shall be looked up with SRV (§18.2.2 last item, RFC 3263 §5).
    pub port: Option<u16>,
    /// The connection that the request came by, which goes before the address on stream transports.
    pub connection: Option<u64>,
}

impl Destination<'_> {
    /// The address to send to, when the host is one.
    pub fn address(&self) -> Option<SocketAddr> {
        let port = self
            .port
            .or_else(|| self.transport.map(Transport::default_port))
            .unwrap_or(5060);
        Some(SocketAddr::new(address(self.host)?, port))
    }
}

/// Reads where a response goes out of the Via below ours, which is then on top.
pub fn destination<'a>(via: &Via<'a>) -> Destination<'a> {
    let transport = Transport::from_bytes(via.transport);
    let default = transport.map_or(5060, Transport::default_port);
    let sent_by = via.port.unwrap_or(default);
    let connection = via.i().and_then(parse_connection);
    let reliable = transport.is_some_and(Transport::is_reliable);
    let (host, port) = match (via.maddr().filter(|_| !reliable), via.received()) {
        (Some(maddr), _) => (maddr, Some(sent_by)),
        (None, Some(received)) => (received, Some(via.rport().flatten().unwrap_or(sent_by))),
        (None, None) => {
            let named = via.port.is_none() && address(via.host).is_none();
            (
                via.host,
                (!named).then(|| via.rport().flatten().unwrap_or(sent_by)),
            )
        }
    };
    Destination {
        transport,
        host,
        port,
        connection,
    }
}

/// Where the responses to a datagram from `peer` go: to its source port when `rport` asks for it or is forced, else to
/// the port of sent-by; to `maddr` when that is an address; with `reply_to_via` to sent-by when that is one.
pub fn datagram_destination(via: &Via<'_>, peer: SocketAddr, switches: Switches) -> SocketAddr {
    let port = via.port.unwrap_or(5060);
    if let Some(group) = via.maddr().and_then(address) {
        return SocketAddr::new(group, port);
    }
    if switches.force_rport || via.rport().is_some() {
        return peer;
    }
    let named = switches.reply_to_via.then(|| address(via.host)).flatten();
    SocketAddr::new(named.unwrap_or(peer.ip()), port)
}

fn address(host: &[u8]) -> Option<IpAddr> {
    let bare = host
        .strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
        .unwrap_or(host);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

fn parse_connection(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(statuses: &[u16]) -> Option<Best> {
        let all = statuses
            .iter()
            .map(|status| Candidate {
                status: *status,
                made_here: false,
            })
            .enumerate();
        choose(all, &Rules::default())
    }

    #[test]
    fn kamailio_orders_final_responses() {
        let order: [&[u16]; 14] = [
            &[200],
            &[202],
            &[600],
            &[603],
            &[300],
            &[302],
            &[401],
            &[407],
            &[415],
            &[420],
            &[484],
            &[400],
            &[404],
            &[408],
        ];
        let order: Vec<_> = order
            .into_iter()
            .chain([&[480][..], &[486], &[487], &[500], &[502], &[504], &[580]])
            .collect();
        for (place, better) in order.iter().enumerate() {
            for worse in &order[place + 1..] {
                for (a, b) in better.iter().flat_map(|a| worse.iter().map(move |b| (*a, *b))) {
                    assert_eq!(chosen(&[a, b]).map(Best::branch), Some(0), "{a} {b}");
                    assert_eq!(chosen(&[b, a]).map(Best::branch), Some(1), "{b} {a}");
                }
            }
        }
    }

    #[test]
    fn section_16_7_step_6() {
        for (statuses, expected) in [
            (&[][..], None),
            (&[486, 486], Some(Best::Forward(0))),
            (&[503], Some(Best::Unavailable(0))),
            (&[504, 503], Some(Best::Unavailable(1))),
            (&[502, 503], Some(Best::Forward(0))),
            (&[486, 503], Some(Best::Forward(0))),
            (&[401], Some(Best::Forward(0))),
            (&[404, 407], Some(Best::Forward(1))),
            (&[407, 401], Some(Best::Challenges(1))),
            (&[404, 401, 401], Some(Best::Challenges(1))),
            (&[603, 401, 401], Some(Best::Forward(0))),
        ] {
            assert_eq!(chosen(statuses), expected, "{statuses:?}");
        }
    }

    #[test]
    fn rules_bend_the_choice() {
        let local = Candidate {
            status: 408,
            made_here: true,
        };
        let far = |status| Candidate {
            status,
            made_here: false,
        };
        let with = |prio| Rules {
            faked_reply_prio: prio,
            ..Rules::default()
        };
        for (candidates, rules, expected) in [
            (vec![local, far(486)], with(0), Best::Forward(0)),
            (vec![local, far(486)], with(2_000), Best::Forward(1)),
            (vec![local, far(503)], with(2_000), Best::Unavailable(1)),
            (
                vec![far(503)],
                Rules {
                    remap_503_500: false,
                    ..Rules::default()
                },
                Best::Forward(0),
            ),
            (
                vec![Candidate {
                    status: 503,
                    made_here: true,
                }],
                with(0),
                Best::Forward(0),
            ),
            (
                vec![far(401), far(407)],
                Rules {
                    aggregate_challenges: false,
                    ..Rules::default()
                },
                Best::Forward(0),
            ),
        ] {
            assert_eq!(
                choose(candidates.iter().copied().enumerate(), &rules),
                Some(expected),
                "{candidates:?}"
            );
        }
    }

    #[test]
    fn challenges_are_collected() {
        let response = Message::parse(
            "SIP/2.0 407 X\r\nWWW-Authenticate: Digest a\r\nX: y\r\nproxy-authenticate: Digest\r\n b\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
        let mut out = Vec::new();
        challenges(&response, &mut out);
        assert_eq!(
            out,
            b"WWW-Authenticate: Digest a\r\nproxy-authenticate: Digest\r\n b\r\n"
        );
        out.clear();
        challenges(
            &Message::parse("SIP/2.0 404 X\r\nWWW-Authenticate: Digest a\r\n\r\n").unwrap(),
            &mut out,
        );
        assert!(out.is_empty());
    }

    #[test]
    fn the_top_via_goes() {
        for (vias, rest) in [
            (
                "Via: SIP/2.0/UDP a;branch=1\r\nVia: SIP/2.0/UDP b\r\n",
                "Via: SIP/2.0/UDP b\r\n",
            ),
            (
                "v: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b\r\n",
                "v: SIP/2.0/UDP b\r\n",
            ),
            (
                "Via: SIP/2.0/UDP a;branch=1,\r\n SIP/2.0/UDP b , SIP/2.0/UDP c\r\n",
                "Via: SIP/2.0/UDP b , SIP/2.0/UDP c\r\n",
            ),
            ("Via: SIP/2.0/UDP a;branch=1\r\n", ""),
            ("", ""),
        ] {
            let response =
                Message::parse(format!("SIP/2.0 200 OK\r\nX: 1\r\n{vias}To: <sip:a@b>\r\n\r\n")).unwrap();
            let mut lumps = Lumps::default();
            lumps.append_header(&response, b"X-R: 1\r\n");
            let (mut scratch, mut out) = (Lumps::default(), Vec::new());
            strip_top_via(&response, &lumps, &mut scratch, &mut out);
            let expected = format!("SIP/2.0 200 OK\r\nX: 1\r\n{rest}To: <sip:a@b>\r\nX-R: 1\r\n\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{vias:?}");
        }
    }

    #[test]
    fn section_18_2_2() {
        for (via, host, port, connection) in [
            ("SIP/2.0/UDP a.example", "a.example", None, None),
            ("SIP/2.0/UDP a.example:5070", "a.example", Some(5070), None),
            ("SIP/2.0/UDP 10.0.0.1", "10.0.0.1", Some(5060), None),
            ("SIP/2.0/TLS 10.0.0.1", "10.0.0.1", Some(5061), None),
            ("SIP/2.0/UDP [2001:db8::1]:99", "[2001:db8::1]", Some(99), None),
            (
                "SIP/2.0/UDP a.example:5070;received=10.0.0.2",
                "10.0.0.2",
                Some(5070),
                None,
            ),
            (
                "SIP/2.0/UDP a.example;received=10.0.0.2;rport=9",
                "10.0.0.2",
                Some(9),
                None,
            ),
            (
                "SIP/2.0/UDP a.example:5070;rport;received=10.0.0.2",
                "10.0.0.2",
                Some(5070),
                None,
            ),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport=9", "10.0.0.1", Some(9), None),
            (
                "SIP/2.0/UDP a;maddr=224.0.1.75;received=10.0.0.2;rport=9",
                "224.0.1.75",
                Some(5060),
                None,
            ),
            (
                "SIP/2.0/TCP 10.0.0.1;maddr=224.0.1.75;i=1f",
                "10.0.0.1",
                Some(5060),
                Some(31),
            ),
            ("SIP/2.0/TCP 10.0.0.1;i=xyz", "10.0.0.1", Some(5060), None),
        ] {
            let parsed = Via::parse(via.as_bytes()).unwrap();
            let found = destination(&parsed);
            assert_eq!(
                (found.host, found.port, found.connection),
                (host.as_bytes(), port, connection),
                "{via}"
            );
        }
    }

    #[test]
    fn replies_to_datagrams() {
        let peer = SocketAddr::from(([10, 0, 0, 9], 4000));
        let plain = Switches::default();
        let forced = Switches {
            force_rport: true,
            ..plain
        };
        let to_via = Switches {
            reply_to_via: true,
            ..plain
        };
        for (via, switches, expected) in [
            ("SIP/2.0/UDP 10.0.0.1:5070;rport", plain, "10.0.0.9:4000"),
            ("SIP/2.0/UDP 10.0.0.1:5070", forced, "10.0.0.9:4000"),
            ("SIP/2.0/UDP 10.0.0.1:5070", plain, "10.0.0.9:5070"),
            ("SIP/2.0/UDP 10.0.0.1:5070", to_via, "10.0.0.1:5070"),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport", to_via, "10.0.0.9:4000"),
            ("SIP/2.0/UDP a.example:5070", to_via, "10.0.0.9:5070"),
            ("SIP/2.0/UDP a.example", plain, "10.0.0.9:5060"),
            ("SIP/2.0/UDP a.example;maddr=10.0.0.7", plain, "10.0.0.7:5060"),
            ("SIP/2.0/UDP a.example;maddr=b.example", plain, "10.0.0.9:5060"),
        ] {
            let parsed = Via::parse(via.as_bytes()).unwrap();
            assert_eq!(
                datagram_destination(&parsed, peer, switches).to_string(),
                expected,
                "{via} {switches:?}"
            );
        }
    }
}
