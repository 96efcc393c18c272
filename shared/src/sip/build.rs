//! Replies, ACK and CANCEL made from a request (RFC 3261 §8.2.6, §9.1, §17.1.1.3).

use std::ops::Range;

use crate::sip::block::position_within;
use crate::sip::header::HeaderName;
use crate::sip::index::Header;
use crate::sip::message::Message;
use crate::sip::params::ParamPlace;
use crate::sip::params::Params;
use crate::sip::params::same_name;
use crate::sip::scan::CommaList;
use crate::sip::scan::first_value;
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
    let to_tag = reply.to_tag.filter(|_| request.to_tag().is_empty());
    let mut kept = Kept::new(request);
    let mut top = true;
    for header in request.headers() {
        match header.name {
            HeaderName::Via if top => {
                top = false;
                kept.write_top_via(out, header, &reply.via);
            }
            HeaderName::To if to_tag.is_some() => {
                kept.add(out, header.field.start..header.value.end);
                kept.write(out);
                write_line(out, b";tag=", to_tag.unwrap_or_default());
            }
            HeaderName::Via | HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq => {
                kept.add(out, header.field.clone());
            }
            // §12.1.1: what may make a dialog carries the route set.
            HeaderName::RecordRoute if (101..=299).contains(&reply.status) => {
                kept.add(out, header.field.clone());
            }
            // §8.2.6.1.
            HeaderName::Timestamp if reply.status == 100 => kept.add(out, header.field.clone()),
            _ => {}
        }
    }
    kept.write_lines(out);
    out.extend_from_slice(reply.headers);
    if let Some(body) = reply.body.filter(|b| !b.content_type.is_empty()) {
        write_line(out, b"Content-Type: ", body.content_type);
    }
    if let Some(server) = reply.server {
        write_line(out, b"Server: ", server);
    }
    match reply.body.map_or(&b""[..], |b| b.bytes) {
        [] => out.extend_from_slice(b"Content-Length: 0\r\n\r\n"),
        body => {
            out.extend_from_slice(b"Content-Length: ");
            write_number(out, body.len() as u64);
            out.extend_from_slice(b"\r\n\r\n");
            out.extend_from_slice(body);
        }
    }
}

/// What a reply copies from its request: fields that follow each other are copied at once.
struct Kept<'a> {
    request: &'a Message,
    /// What is still to be copied.
    run: Range<u32>,
}

impl<'a> Kept<'a> {
    const fn new(request: &'a Message) -> Self {
        Self { request, run: 0..0 }
    }

    /// Copies a part of the request, behind those before it.
    #[inline]
    fn add(&mut self, out: &mut Vec<u8>, part: Range<u32>) {
        if self.run.end == part.start {
            self.run.end = part.end;
        } else {
            self.write(out);
            self.run = part;
        }
    }

    /// Writes what is to be copied.
    fn write(&mut self, out: &mut Vec<u8>) {
        let Range { start, end } = std::mem::take(&mut self.run);
        let part = self.request.as_bytes().get(start as usize..end as usize);
        out.extend_from_slice(part.unwrap_or_default());
    }

    /// Writes what is to be copied, with a line end even where a cut message has none.
    fn write_lines(&mut self, out: &mut Vec<u8>) {
        self.write(out);
        if out.last() != Some(&b'\n') {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Copies the topmost Via and fills in what was learnt about its sender.
    fn write_top_via(&mut self, out: &mut Vec<u8>, header: &Header, fix: &ViaFix<'_>) {
        let bytes = self.request.as_bytes();
        let list = header.value.start as usize..header.value.end as usize;
        let top = first_value(bytes, list.clone());
        if top.is_empty() || fix.received.is_none() && fix.rport.is_none() {
            return self.add(out, header.field.clone());
        }
        self.add(out, header.field.start..header.value.start);
        self.write(out);
        write_via_in(out, bytes, top.clone(), fix);
        out.extend_from_slice(bytes.get(top.end..list.end).unwrap_or_default());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the value of a Via with `received` and `rport` filled in, the way a server leaves it for replies.
pub fn write_via(out: &mut Vec<u8>, via: &[u8], fix: &ViaFix<'_>) {
    write_via_in(out, via, 0..via.len(), fix);
}

/// Does what [`write_via`] does with the part of a message that holds the value.
fn write_via_in(out: &mut Vec<u8>, data: &[u8], via: Range<usize>, fix: &ViaFix<'_>) {
    let mut rport = fix.rport;
    let mut received = fix.received;
    let mut done = via.start;
    let params_at = position_within(data, via.start, via.end, |b| b.equal(b';'));
    let mut params = Params::within(data, params_at, via.end);
    while let Some(ParamPlace { name, value }) = params.next_place() {
        let spelt = data.get(name.clone()).unwrap_or_default();
        let is_rport = rport.is_some() && same_name(spelt, b"rport");
        if !is_rport && (received.is_none() || !same_name(spelt, b"received")) {
            continue;
        }
        out.extend_from_slice(data.get(done..name.end).unwrap_or_default());
        out.push(b'=');
        if is_rport {
            write_number(out, u64::from(rport.take().unwrap_or_default()));
        } else {
            out.extend_from_slice(received.take().unwrap_or_default());
        }
        done = match value {
            Some(value) if !value.is_empty() => value.end,
            // An empty value leaves its '=' behind, which was just written.
            Some(_) if data.get(name.end) == Some(&b'=') => name.end + 1,
            _ => name.end,
        };
    }
    out.extend_from_slice(data.get(done..via.end).unwrap_or_default());
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
