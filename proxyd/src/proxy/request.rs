//! Checking and preparing a request to be forwarded: RFC 3261 §16.3, §16.6, §16.11, §18.2.1.

use crate::proxy::context::NewBody;
use crate::proxy::record_route::Hop;
use crate::transaction::key::Branch;
use crate::transaction::key::MAGIC_COOKIE;
use crate::transaction::key::Parts;
use crate::transaction::key::has_cookie;
use shared::sip::HeaderName;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::Via;
use shared::sip::build::ViaFix;
use shared::sip::build::write_via;
use shared::sip::scan::CommaList;
use shared::sip::scan::write_number;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;

/// Why a request must not be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Max-Forwards has reached 0.
    TooManyHops,
    /// Max-Forwards is no number.
    BadMaxForwards,
    /// Proxy-Require names an extension we lack; [`unsupported`] lists them.
    BadExtension,
}

impl Rejection {
    /// The status and reason of the answer.
    pub fn reply(self) -> (u16, &'static str) {
        match self {
            Self::TooManyHops => (483, "Too Many Hops"),
            Self::BadMaxForwards => (400, "Bad Max-Forwards"),
            Self::BadExtension => (420, "Bad Extension"),
        }
    }
}

/// Checks Max-Forwards and Proxy-Require (RFC 3261 §16.3 steps 3 and 5).
pub fn check(request: &Message, supported: &[&str]) -> Result<(), Rejection> {
    match (request.first(HeaderName::MaxForwards), request.max_forwards()) {
        (Some(_), Some(0)) => return Err(Rejection::TooManyHops),
        (Some(_), None) => return Err(Rejection::BadMaxForwards),
        (Some(_), Some(_)) | (None, _) => {}
    }
    let mut lacking = Vec::new();
    unsupported(request, supported, &mut lacking);
    if lacking.is_empty() {
        Ok(())
    } else {
        Err(Rejection::BadExtension)
    }
}

/// Appends the option tags of Proxy-Require that are not among `supported`, as the value of Unsupported.
pub fn unsupported(request: &Message, supported: &[&str], out: &mut Vec<u8>) {
    for header in request.all(HeaderName::ProxyRequire) {
        for tag in CommaList::new(request.value(header)) {
            if supported
                .iter()
                .any(|known| known.as_bytes().eq_ignore_ascii_case(tag))
            {
                continue;
            }
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(tag);
        }
    }
}

/// The parts of a request that transactions are matched by.
pub fn parts(request: &Message) -> Parts<'_> {
    let top = request.vias().next();
    let via = request.top_via();
    Parts {
        method: request.method().as_bytes(),
        call_id: request.call_id(),
        cseq: request.cseq().map_or(0, |cseq| cseq.number),
        branch: via.as_ref().and_then(Via::branch).unwrap_or_default(),
        host: via.as_ref().map_or(b"", |via| via.host),
        port: via.as_ref().and_then(|via| via.port),
        from_tag: request.from_tag(),
        to_tag: request.to_tag(),
        uri: request.request_uri(),
        via: top.map_or(b"", |top| top.bytes),
    }
}

/// The hash of all that routing depends on, for our branch: equal on return means a loop, different a spiral.
///
/// RFC 3261 §16.6 step 8, without the topmost Via, as RFC 5393 §4.2.2 corrects it.
pub fn routed_hash(request: &Message, hasher: &ahash::RandomState) -> u64 {
    let mut state = hasher.build_hasher();
    request.request_uri().hash(&mut state);
    request.call_id().hash(&mut state);
    request.from_tag().hash(&mut state);
    request.to_tag().hash(&mut state);
    state.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
    for header in request.headers() {
        if matches!(
            header.name,
            HeaderName::Route | HeaderName::ProxyRequire | HeaderName::ProxyAuthorization
        ) {
            request.value(header).hash(&mut state);
        }
    }
    state.finish()
}

/// Whether a request was here before and would be routed the same way again (RFC 3261 §16.3 step 4): answer 482.
pub fn is_loop(request: &Message, is_own: impl Fn(&Via<'_>) -> bool, routed: u64) -> bool {
    request.vias().any(|value| {
        value.via().is_ok_and(|via| {
            let branch = via.branch().and_then(Branch::read);
            branch.is_some_and(|branch| branch.routed == routed) && is_own(&via)
        })
    })
}

/// Appends the branch of a request that is forwarded without a transaction, the same for its retransmissions, its ACK
/// and its CANCEL (RFC 3261 §16.11).
pub fn stateless_branch(request: &Message, number: u8, hasher: &ahash::RandomState, out: &mut Vec<u8>) {
    let parts = parts(request);
    let mut state = hasher.build_hasher();
    if has_cookie(parts.branch) {
        parts.branch.hash(&mut state);
        parts.host.to_ascii_lowercase().hash(&mut state);
        parts.port.hash(&mut state);
    } else {
        parts.via.hash(&mut state);
    }
    parts.call_id.hash(&mut state);
    parts.from_tag.hash(&mut state);
    parts.uri.hash(&mut state);
    state.write_u32(parts.cseq);
    state.write_u8(number);
    out.extend_from_slice(MAGIC_COOKIE);
    // The `s` keeps it from being read as the branch of a transaction.
    let written = write!(out, "s{:016x}.{number:x}", state.finish());
    debug_assert!(written.is_ok());
}

/// The branch parameter of our Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViaBranch<'a> {
    /// Of a transaction.
    Transaction(Branch),
    /// As it stands.
    Text(&'a [u8]),
}

/// The Via that we put on top.
#[derive(Debug, Clone, Copy)]
pub struct ViaLine<'a> {
    /// Transport and sent-by.
    pub hop: Hop<'a>,
    /// The branch.
    pub branch: ViaBranch<'a>,
    /// Asks for `rport` (RFC 3581, `add_local_rport()`).
    pub rport: bool,
    /// The connection that the request came by, which its responses take: `;i=`.
    pub connection: Option<u64>,
    /// Asks the next hop to reuse the connection (RFC 5923).
    pub alias: bool,
}

impl ViaLine<'_> {
    /// Appends the header line.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Via: SIP/2.0/");
        out.extend_from_slice(self.hop.transport.via().as_bytes());
        out.push(b' ');
        self.hop.write(out);
        out.extend_from_slice(b";branch=");
        match self.branch {
            ViaBranch::Transaction(branch) => branch.write(out),
            ViaBranch::Text(text) => out.extend_from_slice(text),
        }
        if self.rport {
            out.extend_from_slice(b";rport");
        }
        if let Some(connection) = self.connection {
            let written = write!(out, ";i={connection:x}");
            debug_assert!(written.is_ok());
        }
        if self.alias {
            out.extend_from_slice(b";alias");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What is changed in a request on its way out, besides its lumps.
#[derive(Debug, Clone, Copy)]
pub struct ForwardPlan<'a> {
    /// The new Request-URI.
    pub uri: Option<&'a [u8]>,
    /// Our Via.
    pub via: ViaLine<'a>,
    /// What the Via of the sender learns (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fix: ViaFix<'a>,
    /// The new Max-Forwards; `None` leaves it alone, as a script decides by `mf_process_maxfwd_header`.
    pub max_forwards: Option<u32>,
    /// Record-Route lines to put before all else.
    pub record_route: &'a [u8],
    /// A Path vector, `<sip:…>,<sip:…>`, to put before the Routes there are (RFC 3327).
    pub path: Option<&'a [u8]>,
    /// A body that replaces the one received.
    pub body: Option<&'a NewBody>,
    /// Whether the transport needs a Content-Length (RFC 3261 §18.3).
    pub content_length: bool,
}

/// Appends the request as it leaves: its own lumps and the plan's changes, applied once. `scratch` keeps its memory.
pub fn write_forwarded(
    request: &Message,
    lumps: &Lumps,
    plan: &ForwardPlan<'_>,
    scratch: &mut Lumps,
    out: &mut Vec<u8>,
) {
    // The end of `out` serves as a buffer for pieces on their way into the lumps.
    let start = out.len();
    scratch.clear();
    scratch.extend(lumps);
    if let Some(uri) = plan.uri.filter(|uri| *uri != request.request_uri()) {
        scratch.set_request_uri(request, uri);
    }
    scratch.insert(request.headers_start(), plan.record_route);
    plan.via.write(out);
    let top = request.first_header(HeaderName::Via);
    let via_at = top.map_or(request.headers_start(), |header| header.field.start as usize);
    scratch.insert(via_at, out.get(start..).unwrap_or_default());
    out.truncate(start);
    if (plan.fix.received.is_some() || plan.fix.rport.is_some())
        && let Some(previous) = request.vias().next()
        && !scratch.is_deleted(previous.range.start)
    {
        write_via(out, previous.bytes, &plan.fix);
        scratch.replace(previous.range, out.get(start..).unwrap_or_default());
        out.truncate(start);
    }
    if let Some(value) = plan.max_forwards {
        match request.first_header(HeaderName::MaxForwards) {
            Some(header) if !scratch.is_deleted(header.value.start as usize) => {
                write_number(out, value.into());
                scratch.replace_value(header, out.get(start..).unwrap_or_default());
            }
            Some(_) => {}
            None => {
                out.extend_from_slice(b"Max-Forwards: ");
                write_number(out, value.into());
                out.extend_from_slice(b"\r\n");
                scratch.append_header(request, out.get(start..).unwrap_or_default());
            }
        }
        out.truncate(start);
    }
    if let Some(path) = plan.path.filter(|path| !path.is_empty()) {
        out.extend_from_slice(b"Route: ");
        out.extend_from_slice(path);
        out.extend_from_slice(b"\r\n");
        let line = out.get(start..).unwrap_or_default();
        match (
            request.first_header(HeaderName::Route),
            request.all(HeaderName::Via).next_back(),
        ) {
            (Some(route), _) => scratch.insert_before(route, line),
            (None, Some(via)) => scratch.insert_after(via, line),
            (None, None) => scratch.append_header(request, line),
        }
        out.truncate(start);
    }
    if let Some(body) = plan.body {
        replace_body(request, body, scratch);
    }
    if plan.content_length {
        scratch.require_content_length();
    }
    scratch.write(request, out);
}

fn replace_body(request: &Message, new: &NewBody, lumps: &mut Lumps) {
    lumps.set_body(&new.body);
    let header = request.first_header(HeaderName::ContentType);
    match (&new.content_type, header) {
        _ if new.body.is_empty() => {
            if let Some(header) = header {
                lumps.delete_header(header);
            }
        }
        (Some(kind), Some(header)) => lumps.replace_value(header, kind),
        (Some(kind), None) => {
            let mut line = b"Content-Type: ".to_vec();
            line.extend_from_slice(kind);
            line.extend_from_slice(b"\r\n");
            lumps.append_header(request, &line);
        }
        (None, _) => {}
    }
}

/// The text of an address, made without allocating; an IPv6 address without brackets, as `received` has it.
#[derive(Debug, Clone, Copy)]
pub struct AddressText {
    bytes: [u8; 46],
    len: u8,
}

impl AddressText {
    /// Writes an address.
    pub fn new(address: IpAddr) -> Self {
        let mut bytes = [0; 46];
        let mut rest = &mut bytes[..];
        let written = match address {
            // By hand: formatting costs ten times as much, and this runs for each message.
            IpAddr::V4(address) => write_v4(address.octets(), &mut rest),
            IpAddr::V6(address) => write!(rest, "{address}"),
        };
        debug_assert!(written.is_ok());
        let len = 46 - rest.len();
        Self {
            bytes,
            len: u8::try_from(len).unwrap_or(0),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

fn write_v4(octets: [u8; 4], mut out: impl Write) -> std::io::Result<()> {
    let mut text = [b'.'; 16];
    let mut len = 0;
    let mut push = |byte: u8| {
        if let Some(place) = text.get_mut(len) {
            *place = byte;
            len += 1;
        }
    };
    for (number, octet) in octets.into_iter().enumerate() {
        if number > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    out.write_all(text.get(..len).unwrap_or_default())
}

/// What the top Via of a request from `peer` learns: `received` when its host is another or `rport` stands there, and
/// the source port when `rport` asks for it or is forced. `text` is the peer's address.
pub fn via_fix<'a>(via: &Via<'_>, peer: SocketAddr, force_rport: bool, text: &'a AddressText) -> ViaFix<'a> {
    let asked = force_rport || via.rport().is_some();
    let bare = via
        .host
        .strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
        .unwrap_or(via.host);
    // The text of the common case is compared first; an IPv6 address has many.
    let same = bare == text.as_bytes()
        || std::str::from_utf8(bare)
            .ok()
            .and_then(|host| host.parse::<IpAddr>().ok())
            == Some(peer.ip());
    // Kamailio: a forced rport alone does not bring received; one that was asked for does (RFC 3581 §4).
    let received = !same || via.rport().is_some() || via.received().is_some();
    ViaFix {
        received: received.then(|| text.as_bytes()),
        rport: asked.then(|| peer.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::key::Id;
    use proptest::prelude::*;
    use shared::net::Transport;

    fn hasher() -> ahash::RandomState {
        ahash::RandomState::with_seeds(1, 2, 3, 4)
    }

    const PLAN: ForwardPlan<'static> = ForwardPlan {
        uri: None,
        via: ViaLine {
            hop: Hop {
                host: b"10.1.1.1",
                port: b"5060",
                transport: Transport::Udp,
            },
            branch: ViaBranch::Text(b"z9hG4bKx"),
            rport: false,
            connection: None,
            alias: false,
        },
        fix: ViaFix {
            received: None,
            rport: None,
        },
        max_forwards: None,
        record_route: b"",
        path: None,
        body: None,
        content_length: false,
    };

    const INVITE: &str = "INVITE sip:b@x SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKa, SIP/2.0/UDP 10.0.0.0\r\n\
        From: <sip:a@x>;tag=f\r\n\
        To: <sip:b@x>\r\n\
        Call-ID: c\r\n\
        CSeq: 1 INVITE\r\n\
        Max-Forwards: 70\r\n\
        Content-Type: text/plain\r\n\
        Content-Length: 2\r\n\r\nhi";

    fn forwarded(text: &str, edit: impl Fn(&Message, &mut Lumps), plan: &ForwardPlan<'_>) -> String {
        let request = Message::parse(text).unwrap();
        let mut lumps = Lumps::default();
        edit(&request, &mut lumps);
        let (mut scratch, mut out) = (Lumps::default(), b"before|".to_vec());
        write_forwarded(&request, &lumps, plan, &mut scratch, &mut out);
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("before|")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn an_empty_plan_adds_a_via() {
        let out = forwarded(INVITE, |_, _| {}, &PLAN);
        assert_eq!(
            out,
            INVITE.replacen("Via: ", "Via: SIP/2.0/UDP 10.1.1.1;branch=z9hG4bKx\r\nVia: ", 1)
        );
    }

    #[test]
    fn everything_at_once() {
        let body = NewBody {
            body: b"hello".to_vec(),
            content_type: Some(b"text/html".to_vec()),
        };
        let branch = Branch {
            id: Id {
                index: 0x1f,
                label: 2,
            },
            routed: 0xabc,
            number: 3,
        };
        let plan = ForwardPlan {
            uri: Some(b"sip:c@y"),
            via: ViaLine {
                hop: Hop {
                    port: b"5080",
                    transport: Transport::Tcp,
                    ..PLAN.via.hop
                },
                branch: ViaBranch::Transaction(branch),
                rport: true,
                connection: Some(31),
                alias: true,
            },
            fix: ViaFix {
                received: Some(b"10.0.0.9"),
                rport: Some(4000),
            },
            max_forwards: Some(69),
            record_route: b"Record-Route: <sip:10.1.1.1;lr>\r\n",
            path: Some(b"<sip:edge;lr>"),
            body: Some(&body),
            content_length: true,
        };
        let out = forwarded(
            INVITE,
            |request, lumps| lumps.append_header(request, b"X: 1\r\n"),
            &plan,
        );
        let expected = "INVITE sip:c@y SIP/2.0\r\n\
            Record-Route: <sip:10.1.1.1;lr>\r\n\
            Via: SIP/2.0/TCP 10.1.1.1:5080;branch=z9hG4bK1f.2.0000000000000abc.3;rport;i=1f;alias\r\n\
            Via: SIP/2.0/UDP 10.0.0.1:5060;rport=4000;branch=z9hG4bKa;received=10.0.0.9, SIP/2.0/UDP 10.0.0.0\r\n\
            Route: <sip:edge;lr>\r\n\
            From: <sip:a@x>;tag=f\r\n\
            To: <sip:b@x>\r\n\
            Call-ID: c\r\n\
            CSeq: 1 INVITE\r\n\
            Max-Forwards: 69\r\n\
            Content-Type: text/html\r\n\
            Content-Length: 5\r\n\
            X: 1\r\n\r\nhello";
        assert_eq!(out, expected);
    }

    #[test]
    fn what_a_script_removed_stays_removed() {
        let plan = ForwardPlan {
            max_forwards: Some(69),
            ..PLAN
        };
        let out = forwarded(
            INVITE,
            |request, lumps| lumps.delete_header(request.first_header(HeaderName::MaxForwards).unwrap()),
            &plan,
        );
        assert!(!out.contains("Max-Forwards"));
        let without = INVITE.replace("Max-Forwards: 70\r\n", "");
        assert!(forwarded(&without, |_, _| {}, &plan).contains("Max-Forwards: 69\r\n"));
        let empty = NewBody {
            body: Vec::new(),
            content_type: None,
        };
        let out = forwarded(
            INVITE,
            |_, _| {},
            &ForwardPlan {
                body: Some(&empty),
                ..PLAN
            },
        );
        assert!(
            out.ends_with("Content-Length: 0\r\n\r\n") && !out.contains("Content-Type"),
            "{out}"
        );
    }

    #[test]
    fn a_path_goes_before_the_routes() {
        let routed = INVITE.replace("From:", "Route: <sip:p>\r\nFrom:");
        let out = forwarded(
            &routed,
            |_, _| {},
            &ForwardPlan {
                path: Some(b"<sip:q>,<sip:r>"),
                ..PLAN
            },
        );
        assert!(
            out.contains("Route: <sip:q>,<sip:r>\r\nRoute: <sip:p>\r\n"),
            "{out}"
        );
    }

    #[test]
    fn section_16_3() {
        for (headers, expected) in [
            ("Max-Forwards: 70\r\n", Ok(())),
            ("", Ok(())),
            ("Max-Forwards: 0\r\n", Err(Rejection::TooManyHops)),
            ("Max-Forwards: x\r\n", Err(Rejection::BadMaxForwards)),
            ("Proxy-Require: Path\r\n", Ok(())),
            (
                "Proxy-Require: path, foo\r\nProxy-Require: bar\r\n",
                Err(Rejection::BadExtension),
            ),
        ] {
            let request = Message::parse(format!("OPTIONS sip:a SIP/2.0\r\n{headers}\r\n")).unwrap();
            assert_eq!(check(&request, &["path"]), expected, "{headers}");
            if expected == Err(Rejection::BadExtension) {
                let mut out = Vec::new();
                unsupported(&request, &["path"], &mut out);
                assert_eq!(out, b"foo, bar");
            }
        }
    }

    #[test]
    fn a_loop_is_not_a_spiral() {
        let request = Message::parse(INVITE).unwrap();
        let routed = routed_hash(&request, &hasher());
        let branch = Branch {
            id: Id { index: 1, label: 2 },
            routed,
            number: 0,
        };
        let plan = ForwardPlan {
            via: ViaLine {
                branch: ViaBranch::Transaction(branch),
                ..PLAN.via
            },
            ..PLAN
        };
        let own = |via: &Via<'_>| via.host == b"10.1.1.1";
        let back = |plan: &ForwardPlan<'_>, edit: fn(&Message, &mut Lumps)| {
            let request = Message::parse(forwarded(INVITE, edit, plan)).unwrap();
            is_loop(&request, own, routed_hash(&request, &hasher()))
        };
        assert!(!is_loop(&request, own, routed));
        assert!(back(&plan, |_, _| {}));
        assert!(back(
            &ForwardPlan {
                max_forwards: Some(1),
                ..plan
            },
            |_, _| {}
        ));
        assert!(!back(
            &ForwardPlan {
                uri: Some(b"sip:c@x"),
                ..plan
            },
            |_, _| {}
        ));
        assert!(!back(&plan, |request, lumps| lumps
            .append_header(request, b"Route: <sip:p;lr>\r\n")));
        let foreign = Hop {
            host: b"10.2.2.2",
            ..PLAN.via.hop
        };
        assert!(!back(
            &ForwardPlan {
                via: ViaLine {
                    hop: foreign,
                    ..plan.via
                },
                ..plan
            },
            |_, _| {}
        ));
    }

    #[test]
    fn a_stateless_branch_is_shared_by_ack_and_cancel() {
        let branch = |text: &str| {
            let mut out = Vec::new();
            stateless_branch(&Message::parse(text).unwrap(), 0, &hasher(), &mut out);
            assert!(has_cookie(&out) && Branch::read(&out).is_none());
            out
        };
        let invite = branch(INVITE);
        for same in [
            INVITE.replace("INVITE", "CANCEL"),
            INVITE
                .replace("INVITE", "ACK")
                .replace("To: <sip:b@x>", "To: <sip:b@x>;tag=t"),
        ] {
            assert_eq!(branch(&same), invite);
        }
        for other in [
            INVITE.replace("z9hG4bKa", "z9hG4bKb"),
            INVITE.replace("CSeq: 1", "CSeq: 2"),
            INVITE.replace("10.0.0.1", "10.0.0.2"),
        ] {
            assert_ne!(branch(&other), invite);
        }
    }

    #[test]
    fn the_sender_learns_what_it_may_not_know() {
        let rows = [
            ("SIP/2.0/UDP 10.0.0.9:5060", false, (None, None)),
            ("SIP/2.0/UDP 10.0.0.1:5060", false, (Some("10.0.0.9"), None)),
            ("SIP/2.0/UDP a.example", false, (Some("10.0.0.9"), None)),
            (
                "SIP/2.0/UDP 10.0.0.9;rport",
                false,
                (Some("10.0.0.9"), Some(4000)),
            ),
            ("SIP/2.0/UDP 10.0.0.9", true, (None, Some(4000))),
            (
                "SIP/2.0/UDP 10.0.0.9;received=1.2.3.4",
                false,
                (Some("10.0.0.9"), None),
            ),
        ];
        let peer = SocketAddr::from(([10, 0, 0, 9], 4000));
        let text = AddressText::new(peer.ip());
        for (via, force, (received, rport)) in rows {
            let fix = via_fix(&Via::parse(via.as_bytes()).unwrap(), peer, force, &text);
            assert_eq!(
                (fix.received, fix.rport),
                (received.map(str::as_bytes), rport),
                "{via} {force}"
            );
        }
        let peer: SocketAddr = "[2001:db8::1]:4000".parse().unwrap();
        let text = AddressText::new(peer.ip());
        assert_eq!(text.as_bytes(), b"2001:db8::1");
        let via = Via::parse(b"SIP/2.0/UDP [2001:0db8:0:0::1]:5060").unwrap();
        assert_eq!(via_fix(&via, peer, false, &text).received, None);
        let longest = AddressText::new("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".parse().unwrap());
        assert_eq!(longest.as_bytes(), b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }

    proptest! {
        #[test]
        fn any_request_is_forwarded(junk in prop::collection::vec(prop::sample::select(vec![
            "Via: ,", "v: SIP/2.0/UDP a;rport=", "Route: <", "Max-Forwards: ", "Via:", " folded", "Content-Length: 99", "X",
            "CSeq: x", "From: ;tag", "Content-Type: a/b",
        ]), 0..8)) {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n\r\nbody", junk.join("\r\n"));
            let Ok(request) = Message::parse(text) else { return Ok(()) };
            let body = NewBody { body: b"x".to_vec(), content_type: Some(b"y/z".to_vec()) };
            let plan = ForwardPlan {
                uri: Some(b"sip:b"), fix: ViaFix { received: Some(b"1"), rport: Some(2) }, max_forwards: Some(1),
                record_route: b"Record-Route: <sip:a>\r\n", path: Some(b"<sip:p>"), body: Some(&body), content_length: true, ..PLAN
            };
            let mut out = Vec::new();
            write_forwarded(&request, &Lumps::default(), &plan, &mut Lumps::default(), &mut out);
            let mut branch = Vec::new();
            stateless_branch(&request, 1, &hasher(), &mut branch);
            routed_hash(&request, &hasher());
            prop_assert!(out.starts_with(b"OPTIONS sip:b SIP/2.0\r\n"));
        }
    }
}
