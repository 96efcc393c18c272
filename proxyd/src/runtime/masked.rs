//! Messages as they are shown to people: without credentials.

use shared::sip::Message;
use shared::sip::header::HeaderName;
use std::borrow::Cow;

/// The text of a message; `***` stands for what its Authorization and Proxy-Authorization headers say.
pub(super) fn masked(msg: &Message) -> String {
    let bytes = msg.as_bytes();
    let part = |from: usize, to: usize| String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default());
    let mut out = String::with_capacity(bytes.len());
    let mut at = 0;
    let secret = |name| matches!(name, HeaderName::Authorization | HeaderName::ProxyAuthorization);
    for header in msg.headers().iter().filter(|header| secret(header.name)) {
        out.push_str(&part(at, header.value.start as usize));
        out.push_str("***");
        at = header.value.end as usize;
    }
    out.push_str(&part(at, bytes.len()));
    out
}

/// The same of bytes that may be no message; those are shown as they are.
pub(super) fn masked_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match Message::parse(bytes.to_vec()) {
        Ok(msg) => masked(&msg).into(),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let invite = b"INVITE sip:bob@b.test SIP/2.0\r\nCall-ID: c1\r\n\
            proxy-authorization: Digest username=\"al\",\r\n response=\"0123\"\r\nAuthorization: Digest response=\"4567\"\r\n\r\nv=0\r\n";
        assert_eq!(
            masked_bytes(invite),
            "INVITE sip:bob@b.test SIP/2.0\r\nCall-ID: c1\r\nproxy-authorization: ***\r\nAuthorization: ***\r\n\r\nv=0\r\n"
        );
        assert_eq!(masked_bytes(b"\r\n\r\n"), "\r\n\r\n");
    }
}
