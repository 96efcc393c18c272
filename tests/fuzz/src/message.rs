//! Any bytes as a message: every view of it, then a reply's worth of edits (RFC 3261 §7).

use shared::sip::HeaderName;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::build::Reply;
use shared::sip::build::ViaFix;
use shared::sip::build::write_cancel;
use shared::sip::build::write_reply;

pub const SEEDS: &[&[u8]] = &[
    b"INVITE sip:bob@biloxi.com;x=y SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z9hG4bKnashds8\r\n\
        Max-Forwards: 70\r\nTo: Bob <sip:bob@biloxi.com>\r\nFrom: \"Alice\" <sip:alice@atlanta.com>;tag=1928301774\r\n\
        Call-ID: a84b4c76e66710@pc33.atlanta.com\r\nCSeq: 314159 INVITE\r\nContact: <sip:alice@pc33.atlanta.com>;q=0.5, *\r\n\
        Route: <sip:p1;lr>, <sip:p2;lr>\r\nContent-Length: 4\r\n\r\nv=0\n",
    b"SIP/2.0 200 OK\nv: SIP / 2.0 / TCP [::1]:5061 ;\n branch = a;received=1.2.3.4, SIP/2.0/TLS b\nRecord-Route: <sip:p;lr>\n\
        t: sip:a@b;tag=1\nf : \"A, \\\"B\" <sip:a>;tag=\"x;y\"\ni:1\nCSeq: 1\n  INVITE\nm: <tel:+1>;expires=3\nExpires: 60\nl: 0\n\n",
];

pub fn run(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let _ = (
        message.mandatory(),
        message.method(),
        message.request_uri(),
        message.status(),
        message.reason(),
    );
    let _ = (
        message.call_id(),
        message.from_tag(),
        message.to_tag(),
        message.max_forwards(),
        message.body(),
    );
    let _ = (message.content_length(), message.expires(), message.cseq());
    let _ = (message.from(), message.to(), message.top_via());
    for header in message.headers() {
        let _ = (message.name(header), message.value(header));
        assert!(message.first_header(header.name).is_some() || header.name == HeaderName::Other);
    }
    for contact in message.contacts() {
        let _ = contact.map(|contact| contact.q());
    }
    for via in message.vias() {
        let _ = via.via().map(|via| via.branch().map(<[u8]>::len));
    }
    let _ = (message.routes().count(), message.record_routes().count());
    let mut again = Message::default();
    assert!(
        again.reparse(message.as_bytes()).is_ok(),
        "what was read once is read again"
    );
    assert_eq!(again.mandatory(), message.mandatory());
    assert_eq!(
        Lumps::default().apply(&message).get(..message.headers_end()),
        data_of(&message)
    );
    edit(&message);
}

fn data_of(message: &Message) -> Option<&[u8]> {
    message.as_bytes().get(..message.headers_end())
}

/// Writes what is made of a request.
fn edit(message: &Message) {
    let via = ViaFix {
        received: Some(b"192.0.2.1"),
        rport: Some(5060),
    };
    let reply = Reply {
        status: 200,
        reason: b"OK",
        to_tag: Some(b"t"),
        via,
        ..Reply::default()
    };
    let mut out = Vec::new();
    write_reply(&mut out, message, &reply);
    assert!(Message::parse(out).is_ok(), "a reply can be read");
    let mut lumps = Lumps::default();
    lumps.fix_top_via(message, &via);
    lumps.prepend_header(message, b"Via: SIP/2.0/UDP us\r\n");
    for value in message.routes() {
        lumps.delete_value(message, &value);
    }
    lumps.set_body(b"x");
    let edited = Message::parse(lumps.apply(message));
    assert!(
        edited.is_ok_and(|m| m.body() == b"x"),
        "an edited message can be read"
    );
    if message.is_request() {
        let mut out = Vec::new();
        write_cancel(&mut out, message, b"");
        assert!(Message::parse(out).is_ok(), "a CANCEL can be read");
    }
}
