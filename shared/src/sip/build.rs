//! Replies, ACK and CANCEL made from a request (RFC 3261 §8.2.6, §9.1, §17.1.1.3).

use crate::sip::header::HeaderName;
use crate::sip::index::Header;
use crate::sip::message::Message;
use crate::sip::params::Params;
use crate::sip::scan::CommaList;
use crate::sip::scan::Span;
use crate::sip::scan::find_byte;
use crate::sip::scan::write_number;

/// What a reply says beyond what it copies from its request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: &'a [u8],
    /// The tag for To, written when the request has none there (§8.2.6.2).
    pub to_tag: Option<&'a [u8]>,
    /// Further headers as whole lines.
    pub headers: &'a [u8],
    /// The value of Server.
    pub server: Option<&'a [u8]>,
    /// Type and bytes of a body; without a type no Content-Type is written.
    pub body: Option<Body<'a>>,
    /// What is learnt about the sender, for the topmost Via.
    pub via: ViaFix<'a>,
}

/// A body with its type.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// The value of Content-Type; empty for none.
    pub content_type: &'a [u8],
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What the receiver of a request writes into its topmost Via (§18.2.1, RFC 3581 §4).
#[derive(Debug, Clone, Copy, Default)]
pub struct ViaFix<'a> {
    /// The source address, when it shall be noted.
    pub received: Option<&'a [u8]>,
    /// The source port, when it was asked for or is forced.
    pub rport: Option<u16>,
}

/// Appends a reply to `out`; headers keep the order and the spelling they have in the request, as Kamailio's replies do.
pub fn write_reply(out: &mut Vec<u8>, request: &Message, reply: &Reply<'_>) {
    out.extend_from_slice(b"SIP/2.0 ");
    write_number(out, u64::from(reply.status));
    out.push(b' ');
    out.extend_from_slice(reply.reason);
    out.extend_from_slice(b"\r\n");
    let mut top = true;
    for header in request.headers() {
        match header.name {
            HeaderName::Via if top => {
                write_top_via(out, request, header, &reply.via);
                top = false;
            }
            HeaderName::To => write_to(out, request, header, reply.to_tag),
            HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => {
                write_field(out, request, header)
            }
            // §12.1.1: what may make a dialog carries the route set.
            HeaderName::RecordRoute if (101..=299).contains(&reply.status) => {
                write_field(out, request, header)
            }
            // §8.2.6.1.
            HeaderName::Timestamp if reply.status == 100 => write_field(out, request, header),
            _ => {}
        }
    }
    out.extend_from_slice(reply.headers);
    if let Some(body) = reply.body.filter(|b| !b.content_type.is_empty()) {
        write_line(out, b"Content-Type: ", body.content_type);
    }
    if let Some(server) = reply.server {
        write_line(out, b"Server: ", server);
    }
    let body = reply.body.map_or(&b""[..], |b| b.bytes);
    out.extend_from_slice(b"Content-Length: ");
    write_number(out, body.len() as u64);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

/// Appends the value of a Via with `received` and `rport` filled in, the way a server leaves it for replies.
pub fn write_via(out: &mut Vec<u8>, via: &[u8], fix: &ViaFix<'_>) {
    let mut rport = fix.rport;
    let mut received = fix.received;
    let mut done = 0;
    let params_at = find_byte(via, b';').unwrap_or(via.len());
    for param in Params::new(via.get(params_at..).unwrap_or_default()) {
        let name = Span::of(via, param.name).range();
        let end = param.value.map_or(name.end, |v| {
            if v.is_empty() {
                name.end
            } else {
                Span::of(via, v).range().end
            }
        });
        if param.name.eq_ignore_ascii_case(b"rport")
            && let Some(port) = rport.take()
        {
            out.extend_from_slice(via.get(done..name.end).unwrap_or_default());
            out.push(b'=');
            write_number(out, u64::from(port));
        } else if param.name.eq_ignore_ascii_case(b"received")
            && let Some(address) = received.take()
        {
            out.extend_from_slice(via.get(done..name.end).unwrap_or_default());
            out.push(b'=');
            out.extend_from_slice(address);
        } else {
            continue;
        }
        done = end;
        // An empty value leaves its '=' behind, which was just written.
        if let (Some([]), Some(b'=')) = (param.value, via.get(done)) {
            done += 1;
        }
    }
    out.extend_from_slice(via.get(done..).unwrap_or_default());
    if let Some(port) = rport {
        out.extend_from_slice(b";rport=");
        write_number(out, u64::from(port));
    }
    if let Some(address) = received {
        out.extend_from_slice(b";received=");
        out.extend_from_slice(address);
    }
}

/// Appends the ACK for a final reply other than 2xx to the INVITE `sent` (§17.1.1.3).
pub fn write_ack(out: &mut Vec<u8>, sent: &Message, reply: &Message) {
    write_within(out, sent, b"ACK", Some(reply), b"");
}

/// Appends the CANCEL for the request `sent`, with further headers as whole lines (§9.1).
pub fn write_cancel(out: &mut Vec<u8>, sent: &Message, extra_headers: &[u8]) {
    write_within(out, sent, b"CANCEL", None, extra_headers);
}

/// Writes a request that belongs to the transaction of `sent`, with the headers in the order of `sent`, as Kamailio's have.
fn write_within(
    out: &mut Vec<u8>,
    sent: &Message,
    method: &[u8],
    reply: Option<&Message>,
    extra_headers: &[u8],
) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(sent.request_uri());
    out.extend_from_slice(b" SIP/2.0\r\n");
    let mut via = false;
    for header in sent.headers() {
        match header.name {
            HeaderName::Via if !via => {
                let top = CommaList::new(sent.value(header)).next();
                write_line(out, b"Via: ", top.unwrap_or_default());
                via = true;
            }
            HeaderName::To => match reply.and_then(|r| Some((r, r.first_header(HeaderName::To)?))) {
                Some((reply, to)) => write_field(out, reply, to),
                None => write_field(out, sent, header),
            },
            HeaderName::CSeq => {
                out.extend_from_slice(b"CSeq: ");
                write_number(out, sent.cseq().map_or(0, |c| u64::from(c.number)));
                out.push(b' ');
                write_line(out, method, b"");
            }
            HeaderName::From | HeaderName::CallId | HeaderName::Route | HeaderName::MaxForwards => {
                write_field(out, sent, header)
            }
            _ => {}
        }
    }
    if sent.first(HeaderName::MaxForwards).is_none() {
        write_line(out, b"Max-Forwards: ", b"70");
    }
    out.extend_from_slice(extra_headers);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Copies a field as it stands, with a line end even where a cut message has none.
fn write_field(out: &mut Vec<u8>, message: &Message, header: &Header) {
    let field = message.field(header);
    out.extend_from_slice(field);
    if field.last() != Some(&b'\n') {
        out.extend_from_slice(b"\r\n");
    }
}

fn write_top_via(out: &mut Vec<u8>, message: &Message, header: &Header, fix: &ViaFix<'_>) {
    if fix.received.is_none() && fix.rport.is_none() {
        return write_field(out, message, header);
    }
    let value = message.value(header);
    let Some(top) = CommaList::new(value).next() else {
        return write_field(out, message, header);
    };
    let top_end = Span::of(value, top).range().end;
    let field = message.field(header);
    let start = header.value.start.saturating_sub(header.field.start) as usize;
    out.extend_from_slice(field.get(..start).unwrap_or_default());
    write_via(out, top, fix);
    out.extend_from_slice(value.get(top_end..).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

fn write_to(out: &mut Vec<u8>, message: &Message, header: &Header, tag: Option<&[u8]>) {
    match tag.filter(|_| message.to_tag().is_empty()) {
        Some(tag) => {
            let end = header.value.end.saturating_sub(header.field.start) as usize;
            out.extend_from_slice(message.field(header).get(..end).unwrap_or_default());
            write_line(out, b";tag=", tag);
        }
        None => write_field(out, message, header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INVITE: &str = "INVITE sip:b@h SIP/2.0\r\n\
        CSeq:  7   INVITE\r\n\
        v:   SIP/2.0/UDP c:5;branch=z9hG4bK1;rport , SIP/2.0/UDP d\r\n\
        f: \"A\" <sip:a@b>;tag=1\r\n\
        Record-Route: <sip:p;lr>\r\n\
        VIA: SIP/2.0/UDP e\r\n\
        Timestamp: 54\r\n\
        To  : <sip:b@b>\r\n\
        Route: <sip:n;lr>\r\n\
        Max-Forwards: 30\r\n\
        i:  abc\r\n\
        Subject: s\r\n\
        l: 2\r\n\r\nhi";

    fn reply(reply: &Reply<'_>) -> String {
        let mut out = Vec::new();
        write_reply(&mut out, &Message::parse(INVITE).unwrap(), reply);
        assert!(Message::parse(out.clone()).unwrap().mandatory().is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies() {
        let via = ViaFix {
            received: Some(b"10.0.0.1"),
            rport: Some(5070),
        };
        let busy = Reply {
            status: 486,
            reason: b"Busy Here",
            to_tag: Some(b"t"),
            via,
            ..Reply::default()
        };
        let expected = "SIP/2.0 486 Busy Here\r\n\
            CSeq:  7   INVITE\r\n\
            v:   SIP/2.0/UDP c:5;branch=z9hG4bK1;rport=5070;received=10.0.0.1 , SIP/2.0/UDP d\r\n\
            f: \"A\" <sip:a@b>;tag=1\r\n\
            VIA: SIP/2.0/UDP e\r\n\
            To  : <sip:b@b>;tag=t\r\n\
            i:  abc\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(reply(&busy), expected);
        let ok = Reply {
            status: 200,
            reason: b"OK",
            headers: b"X-A: 1\r\n",
            server: Some(b"proxyd"),
            body: Some(Body {
                content_type: b"text/plain",
                bytes: b"hello",
            }),
            ..Reply::default()
        };
        let expected = "SIP/2.0 200 OK\r\n\
            CSeq:  7   INVITE\r\n\
            v:   SIP/2.0/UDP c:5;branch=z9hG4bK1;rport , SIP/2.0/UDP d\r\n\
            f: \"A\" <sip:a@b>;tag=1\r\n\
            Record-Route: <sip:p;lr>\r\n\
            VIA: SIP/2.0/UDP e\r\n\
            To  : <sip:b@b>\r\n\
            i:  abc\r\n\
            X-A: 1\r\n\
            Content-Type: text/plain\r\n\
            Server: proxyd\r\n\
            Content-Length: 5\r\n\r\nhello";
        assert_eq!(reply(&ok), expected);
        for (status, record_route, timestamp) in [
            (100, false, true),
            (183, true, false),
            (299, true, false),
            (300, false, false),
        ] {
            let text = reply(&Reply {
                status,
                ..Reply::default()
            });
            assert_eq!(
                (text.contains("Record-Route"), text.contains("Timestamp")),
                (record_route, timestamp),
                "{status}"
            );
        }
    }

    #[test]
    fn an_existing_tag_stays() {
        let request = Message::parse("BYE sip:b SIP/2.0\r\nTo: <sip:b>;tag=old\r\n\r\n").unwrap();
        let mut out = Vec::new();
        write_reply(
            &mut out,
            &request,
            &Reply {
                status: 481,
                reason: b"x",
                to_tag: Some(b"new"),
                ..Reply::default()
            },
        );
        assert_eq!(
            out,
            b"SIP/2.0 481 x\r\nTo: <sip:b>;tag=old\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn via_fixes() {
        let table = [
            (
                "SIP/2.0/UDP h;rport;branch=1",
                None,
                None,
                "SIP/2.0/UDP h;rport;branch=1",
            ),
            (
                "SIP/2.0/UDP h;rport;branch=1",
                Some("1.1.1.1"),
                Some(9),
                "SIP/2.0/UDP h;rport=9;branch=1;received=1.1.1.1",
            ),
            (
                "SIP/2.0/UDP h;branch=1",
                Some("::1"),
                Some(9),
                "SIP/2.0/UDP h;branch=1;rport=9;received=::1",
            ),
            (
                "SIP/2.0/UDP h",
                Some("1.1.1.1"),
                None,
                "SIP/2.0/UDP h;received=1.1.1.1",
            ),
            (
                "SIP/2.0/UDP h;rport=7;x",
                None,
                Some(9),
                "SIP/2.0/UDP h;rport=9;x",
            ),
            (
                "SIP/2.0/UDP h;RPORT= ;x",
                None,
                Some(9),
                "SIP/2.0/UDP h;RPORT=9 ;x",
            ),
            (
                "SIP/2.0/UDP h;received=9.9.9.9;x",
                Some("1.1.1.1"),
                None,
                "SIP/2.0/UDP h;received=1.1.1.1;x",
            ),
            (
                "SIP/2.0/UDP h;received = 9.9.9.9",
                Some("1.1.1.1"),
                None,
                "SIP/2.0/UDP h;received=1.1.1.1",
            ),
            (
                "SIP/2.0/UDP h;received;rport",
                Some("1.1.1.1"),
                Some(9),
                "SIP/2.0/UDP h;received=1.1.1.1;rport=9",
            ),
        ];
        for (via, received, rport, expected) in table {
            let mut out = Vec::new();
            write_via(
                &mut out,
                via.as_bytes(),
                &ViaFix {
                    received: received.map(str::as_bytes),
                    rport,
                },
            );
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{via}");
        }
    }

    #[test]
    fn ack_and_cancel() {
        let sent = Message::parse(INVITE).unwrap();
        let reply = Message::parse("SIP/2.0 486 Busy\r\nTo: <sip:b@b>;tag=x\r\n\r\n").unwrap();
        let mut out = Vec::new();
        write_ack(&mut out, &sent, &reply);
        let expected = "ACK sip:b@h SIP/2.0\r\n\
            CSeq: 7 ACK\r\n\
            Via: SIP/2.0/UDP c:5;branch=z9hG4bK1;rport\r\n\
            f: \"A\" <sip:a@b>;tag=1\r\n\
            To: <sip:b@b>;tag=x\r\n\
            Route: <sip:n;lr>\r\n\
            Max-Forwards: 30\r\n\
            i:  abc\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        write_cancel(&mut out, &sent, b"Reason: SIP;cause=200\r\n");
        let expected = "CANCEL sip:b@h SIP/2.0\r\n\
            CSeq: 7 CANCEL\r\n\
            Via: SIP/2.0/UDP c:5;branch=z9hG4bK1;rport\r\n\
            f: \"A\" <sip:a@b>;tag=1\r\n\
            To  : <sip:b@b>\r\n\
            Route: <sip:n;lr>\r\n\
            Max-Forwards: 30\r\n\
            i:  abc\r\n\
            Reason: SIP;cause=200\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_request_can_be_answered(headers in "(([vftiml]|CSeq|Route|Record-Route): ?[ -~]{0,20}\r\n){0,8}") {
            let request = Message::parse(format!("INVITE sip:a SIP/2.0\r\n{headers}\r\n")).unwrap();
            let via = ViaFix { received: Some(b"1.1.1.1"), rport: Some(1) };
            let mut out = Vec::new();
            write_reply(&mut out, &request, &Reply { status: 200, to_tag: Some(b"t"), via, ..Reply::default() });
            prop_assert!(Message::parse(out).is_ok());
            let mut out = Vec::new();
            write_cancel(&mut out, &request, b"");
            prop_assert!(Message::parse(out).is_ok());
        }
    }
}
