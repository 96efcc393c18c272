//! Which messages an operator wants to see: the conditions of `explain --live` and `trace`.

use crate::control::methods::RpcFault;
use shared::sip::Message;
use shared::sip::Uri;
use std::net::SocketAddr;

/// What a message must be to be explained or traced: every condition `name=value` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Vec<(Name, String)>);

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Method,
    From,
    To,
    Ruri,
    CallId,
    Src,
    Status,
}

impl Filter {
    const NAMES: &[(&str, Name)] = &[
        ("method", Name::Method),
        ("from", Name::From),
        ("to", Name::To),
        ("ruri", Name::Ruri),
        ("callid", Name::CallId),
        ("src", Name::Src),
        ("status", Name::Status),
    ];

    /// Reads conditions with white space between them; none fits every request.
    pub(crate) fn parse(text: &str) -> Result<Self, RpcFault> {
        let condition = |word: &str| {
            let (name, value) = word.split_once('=')?;
            let (_, name) = Self::NAMES.iter().find(|(known, _)| *known == name)?;
            Some((*name, value.to_owned()))
        };
        let conditions = text.split_whitespace().map(|word| {
            condition(word).ok_or_else(|| {
                let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                RpcFault::bad_request(format!("{word:?} is not NAME=VALUE with a name of {names}"))
            })
        });
        conditions.collect::<Result<_, _>>().map(Self)
    }

    /// Whether any request fits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a message from this address fits; replies only when their status is asked for.
    pub(crate) fn fits(&self, msg: &Message, peer: SocketAddr) -> bool {
        let of_reply = self.0.iter().any(|(name, _)| *name == Name::Status);
        if msg.is_reply() != of_reply {
            return false;
        }
        self.0.iter().all(|(name, value)| match name {
            Name::Method => msg.method().as_bytes().eq_ignore_ascii_case(value.as_bytes()),
            Name::From => msg.from().is_some_and(|from| is_uri(from.uri, value)),
            Name::To => msg.to().is_some_and(|to| is_uri(to.uri, value)),
            Name::Ruri => !of_reply && is_uri(msg.request_uri(), value),
            Name::CallId => msg.call_id() == value.as_bytes(),
            Name::Src => peer.to_string() == *value || peer.ip().to_string() == *value,
            Name::Status => msg.status().to_string() == *value || is_class(value, msg.status()),
        })
    }
}

/// Whether a value is the whole URI, its `user@host`, its user or its host.
fn is_uri(uri: &[u8], value: &str) -> bool {
    if uri == value.as_bytes() {
        return true;
    }
    let Ok(uri) = Uri::parse(uri) else { return false };
    let user = uri.user.unwrap_or_default();
    match value.split_once('@') {
        Some((name, host)) => user == name.as_bytes() && uri.host.eq_ignore_ascii_case(host.as_bytes()),
        None => user == value.as_bytes() || uri.host.eq_ignore_ascii_case(value.as_bytes()),
    }
}

/// `4xx`.
fn is_class(value: &str, status: u16) -> bool {
    value
        .strip_suffix("xx")
        .is_some_and(|class| class == (status / 100).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_choose_messages() {
        let request = b"INVITE sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
            From: \"Al\" <sip:al@a.test>;tag=1\r\nTo: <sip:bob@b.test:5070>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
        let reply = b"SIP/2.0 486 Busy\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
            From: <sip:al@a.test>;tag=1\r\nTo: <sip:bob@b.test>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
        let peer = SocketAddr::from(([192, 0, 2, 1], 5070));
        let request = Message::parse(request.to_vec()).expect("a request");
        let reply = Message::parse(reply.to_vec()).expect("a reply");
        for (filter, of_request, of_reply) in [
            ("", true, false),
            ("method=invite", true, false),
            ("method=BYE", false, false),
            ("from=al", true, false),
            ("from=sip:al@a.test to=bob@b.test", true, false),
            ("from=al to=al", false, false),
            ("ruri=b.test", true, false),
            ("callid=c1 src=192.0.2.1", true, false),
            ("src=192.0.2.1:5070", true, false),
            ("src=192.0.2.1:5071", false, false),
            ("status=486 method=INVITE", false, true),
            ("status=4xx", false, true),
            ("status=5xx", false, false),
        ] {
            let parsed = Filter::parse(filter).expect(filter);
            assert_eq!(parsed.fits(&request, peer), of_request, "{filter}");
            assert_eq!(parsed.fits(&reply, peer), of_reply, "{filter}");
        }
        assert!(Filter::parse("method").is_err());
        assert!(Filter::parse("colour=red").is_err());
    }
}
