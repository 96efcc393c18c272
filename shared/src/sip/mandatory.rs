//! What a message must have before anyone acts on it (RFC 3261 §8.1.1, §8.2, §16.3, §18.3).

use crate::sip::error::Missing;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::sip::scan::number;

impl Message {
    /// Says why the message must not be processed although it could be read (§8.1.1, §8.2, §16.3).
    pub fn mandatory(&self) -> Result<(), Missing> {
        if !self.line.is_current {
            return Err(Missing::Version);
        }
        if self.line.is_loose {
            return Err(Missing::RequestLine);
        }
        if self.top_via().is_none() {
            return Err(self.lack_of(HeaderName::Via));
        }
        if self.from().is_none() {
            return Err(self.lack_of(HeaderName::From));
        }
        if self.to().is_none() {
            return Err(self.lack_of(HeaderName::To));
        }
        if self.call_id().is_empty() {
            return Err(self.lack_of(HeaderName::CallId));
        }
        let Some(cseq) = self.cseq() else {
            return Err(self.lack_of(HeaderName::CSeq));
        };
        if let Some(name) = self.index.faults.duplicate {
            return Err(Missing::Duplicate(name));
        }
        if self.is_request() && cseq.method != self.method() {
            return Err(Missing::CSeqMethod);
        }
        if self
            .first(HeaderName::MaxForwards)
            .is_some_and(|value| number(value).is_none())
        {
            return Err(Missing::Invalid(HeaderName::MaxForwards));
        }
        if self.index.faults.no_blank_line {
            return Err(Missing::BlankLine);
        }
        if self.index.faults.bad_length {
            return Err(Missing::ContentLength);
        }
        if self.index.faults.bad_line {
            return Err(Missing::HeaderLine);
        }
        Ok(())
    }

    /// What to say of a mandatory header that could not be read.
    #[cold]
    fn lack_of(&self, name: HeaderName) -> Missing {
        match self.first(name) {
            Some(_) => Missing::Invalid(name),
            None => Missing::Header(name),
        }
    }
}

/// Headers whose repetition makes a message ambiguous for everyone on its path.
pub(crate) const fn is_mandatory_single(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::ContentLength
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lacks() {
        let base = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
            To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
        let table = [
            ("", "", Ok(())),
            ("OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200 OK", Ok(())),
            ("CSeq: 1 OPTIONS", "cseq: 1  \tOPTIONS", Ok(())),
            (
                "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n",
                "",
                Err(Missing::Header(HeaderName::Via)),
            ),
            (
                "From: <sip:a@b>;tag=1\r\n",
                "",
                Err(Missing::Header(HeaderName::From)),
            ),
            ("To: <sip:a@b>\r\n", "", Err(Missing::Header(HeaderName::To))),
            ("Call-ID: 1\r\n", "", Err(Missing::Header(HeaderName::CallId))),
            (
                "Call-ID: 1\r\n",
                "Call-ID:\r\n",
                Err(Missing::Invalid(HeaderName::CallId)),
            ),
            (
                "Call-ID: 1\r\n",
                "i: 1\r\nCall-ID: 2\r\n",
                Err(Missing::Duplicate(HeaderName::CallId)),
            ),
            ("CSeq: 1 OPTIONS\r\n", "", Err(Missing::Header(HeaderName::CSeq))),
            (
                "CSeq: 1 OPTIONS",
                "CSeq: x",
                Err(Missing::Invalid(HeaderName::CSeq)),
            ),
            ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE", Err(Missing::CSeqMethod)),
            (
                "SIP/2.0/UDP h",
                "SIP/2.0/UDP",
                Err(Missing::Invalid(HeaderName::Via)),
            ),
            ("To: <sip:a@b>", "To: \"x", Err(Missing::Invalid(HeaderName::To))),
            (
                "From: <sip:a@b>",
                "From: <sip:a@b",
                Err(Missing::Invalid(HeaderName::From)),
            ),
            (
                "Max-Forwards: 70",
                "Max-Forwards: x",
                Err(Missing::Invalid(HeaderName::MaxForwards)),
            ),
            (
                "Content-Length: 0",
                "Content-Length: -1",
                Err(Missing::ContentLength),
            ),
            (
                "Content-Length: 0",
                "Content-Length: 1",
                Err(Missing::ContentLength),
            ),
            (
                "Content-Length: 0",
                "Content-Length: 99999999999",
                Err(Missing::ContentLength),
            ),
            ("Content-Length: 0\r\n", "", Ok(())),
            ("Content-Length: 0\r\n\r\n", "", Err(Missing::BlankLine)),
            ("Max-Forwards: 70", "Max-Forwards", Err(Missing::HeaderLine)),
            (" SIP/2.0\r\n", " SIP/3.0\r\n", Err(Missing::Version)),
            ("sip:a@b SIP", "<sip:a@b> SIP", Err(Missing::RequestLine)),
            ("sip:a@b SIP", "sip:a@b; lr SIP", Err(Missing::RequestLine)),
            ("sip:a@b SIP", "sip:a@b  SIP", Err(Missing::RequestLine)),
            ("SIP/2.0\r\nVia", "SIP/2.0  \r\nVia", Err(Missing::RequestLine)),
        ];
        for (from, to, expected) in table {
            assert!(base.contains(from));
            let message = Message::parse(base.replacen(from, to, 1)).unwrap();
            assert_eq!(message.mandatory(), expected, "{from:?} -> {to:?}");
        }
        assert_eq!(
            (Missing::Version.status(), Missing::CSeqMethod.status()),
            (505, 400)
        );
        assert_eq!(Missing::Header(HeaderName::Via).to_string(), "missing Via header");
    }
}
