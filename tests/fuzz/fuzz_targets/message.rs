//! Any bytes as a message: every view of it, then a reply's worth of edits (RFC 3261 §7).
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::sip::Message;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = Message::parse(data) else { return };
    let _ = (message.method(), message.request_uri(), message.status(), message.reason(), message.body());
    let _ = (message.call_id(), message.from_tag(), message.to_tag(), message.max_forwards());
    let _ = (message.content_length(), message.expires(), message.cseq());
    let _ = (message.from(), message.to(), message.top_via());
    for header in message.headers() {
        let _ = (message.name(header), message.value(header));
    }
    for contact in message.contacts() {
        let _ = contact.map(|contact| contact.q());
    }
    for via in message.vias() {
        let _ = via.via().map(|via| via.branch().map(<[u8]>::len));
    }
    let _ = (message.routes().count(), message.record_routes().count());
    let mut again = Message::default();
    assert!(again.reparse(message.as_bytes()).is_ok(), "what was read once is read again");
});
