//! A request as it is written for its next hop: our Via and Record-Route, the new URI, what the script edited (RFC 3261 §16.6).

use crate::proxy::record_route::Hop;
use crate::transaction::key::Branch;
use shared::sip::HeaderName;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::build::ViaFix;
use shared::sip::build::write_via;
use std::io::Write;

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
    /// Record-Route lines to put before all else.
    pub record_route: &'a [u8],
    /// A Path vector, `<sip:…>,<sip:…>`, to put before the Routes there are (RFC 3327).
    pub path: Option<&'a [u8]>,
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
    if write_plain(request, lumps, plan, out).is_some() {
        return;
    }
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
    if plan.content_length {
        scratch.require_content_length();
    }
    scratch.write(request, out);
}

/// The usual case, written in one pass: the topmost Via stands first, alone in its header, and no edit lies before its end.
fn write_plain(request: &Message, lumps: &Lumps, plan: &ForwardPlan<'_>, out: &mut Vec<u8>) -> Option<()> {
    let top = request
        .headers()
        .first()
        .filter(|header| header.name == HeaderName::Via)?;
    let (bytes, value) = (request.as_bytes(), request.value(top));
    let plain = plan.path.is_none_or(<[u8]>::is_empty)
        && !plan.content_length
        && lumps.is_untouched_before(top.field.end as usize)
        && memchr::memchr(b',', value).is_none();
    if !plain {
        return None;
    }
    let uri = request.request_uri_range();
    let before = bytes.get(..uri.start)?;
    let version = bytes.get(uri.end..top.field.start as usize)?;
    let name = bytes.get(top.field.start as usize..top.value.start as usize)?;
    out.extend_from_slice(before);
    out.extend_from_slice(plan.uri.unwrap_or(request.request_uri()));
    out.extend_from_slice(version);
    out.extend_from_slice(plan.record_route);
    plan.via.write(out);
    out.extend_from_slice(name);
    write_via(out, value, &plan.fix);
    lumps.write_from(request, top.value.end as usize, out);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::request::is_loop;
    use crate::proxy::request::parts;
    use crate::proxy::request::routed_hash;
    use crate::proxy::request::stateless_branch;
    use crate::transaction::key::Hashers;
    use crate::transaction::key::Id;
    use crate::transaction::key::Lookup;
    use proptest::prelude::*;
    use shared::net::Transport;
    use shared::sip::Via;

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
        },
        fix: ViaFix {
            received: None,
            rport: None,
        },
        record_route: b"",
        path: None,
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
            },
            fix: ViaFix {
                received: Some(b"10.0.0.9"),
                rport: Some(4000),
            },
            record_route: b"Record-Route: <sip:10.1.1.1;lr>\r\n",
            path: Some(b"<sip:edge;lr>"),
            content_length: true,
        };
        let out = forwarded(
            INVITE,
            |request, lumps| lumps.append_header(request, b"X: 1\r\n"),
            &plan,
        );
        let expected = "INVITE sip:c@y SIP/2.0\r\n\
            Record-Route: <sip:10.1.1.1;lr>\r\n\
            Via: SIP/2.0/TCP 10.1.1.1:5080;branch=z9hG4bK1f.2.0000000000000abc.3;rport;i=1f\r\n\
            Via: SIP/2.0/UDP 10.0.0.1:5060;rport=4000;branch=z9hG4bKa;received=10.0.0.9, SIP/2.0/UDP 10.0.0.0\r\n\
            Route: <sip:edge;lr>\r\n\
            From: <sip:a@x>;tag=f\r\n\
            To: <sip:b@x>\r\n\
            Call-ID: c\r\n\
            CSeq: 1 INVITE\r\n\
            Max-Forwards: 70\r\n\
            Content-Type: text/plain\r\n\
            Content-Length: 2\r\n\
            X: 1\r\n\r\nhi";
        assert_eq!(out, expected);
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
            is_loop(&request, own, || routed_hash(&request, &hasher()))
        };
        assert!(!is_loop(&request, own, || routed));
        assert!(back(&plan, |_, _| {}));
        assert!(back(&plan, |request, lumps| lumps.replace_value(
            request.first_header(HeaderName::MaxForwards).unwrap(),
            b"1"
        )));
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

    proptest! {
        #[test]
        fn any_request_is_forwarded(junk in prop::collection::vec(prop::sample::select(vec![
            "Via: ,", "v: SIP/2.0/UDP a;rport=", "Route: <", "Max-Forwards: ", "Via:", " folded", "Content-Length: 99", "X",
            "CSeq: x", "From: ;tag", "Content-Type: a/b",
        ]), 0..8)) {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n\r\nbody", junk.join("\r\n"));
            let Ok(request) = Message::parse(text) else { return Ok(()) };
            let plan = ForwardPlan {
                uri: Some(b"sip:b"), fix: ViaFix { received: Some(b"1"), rport: Some(2) },
                record_route: b"Record-Route: <sip:a>\r\n", path: Some(b"<sip:p>"), content_length: true, ..PLAN
            };
            let mut out = Vec::new();
            write_forwarded(&request, &Lumps::default(), &plan, &mut Lumps::default(), &mut out);
            let mut branch = Vec::new();
            let key = Lookup::request(&parts(&request), &Hashers::default()).key();
            stateless_branch(key, 1, &mut branch);
            routed_hash(&request, &hasher());
            prop_assert!(out.starts_with(b"OPTIONS sip:b SIP/2.0\r\n"));
        }
    }
}
