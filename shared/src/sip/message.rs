//! Message: one buffer; first line, header index, body (RFC 3261 §7).

use std::ops::Range;

use crate::sip::block::Positions;
use crate::sip::error::ParseError;
use crate::sip::first_line::FirstLine;
use crate::sip::first_line::Kind;
use crate::sip::header::HeaderName;
use crate::sip::header::cseq::CSeq;
use crate::sip::header::cseq::CSeqSpans;
use crate::sip::header::expires;
use crate::sip::header::via::Via;
use crate::sip::header::via::ViaSpans;
use crate::sip::index::Header;
use crate::sip::index::Index;
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::name_addr::NameAddrSpans;
use crate::sip::scan::first_value;
use crate::sip::scan::number;

/// A SIP request or reply: its bytes and where everything in them lies.
///
/// ```
/// use shared::sip::{HeaderName, Message, Method};
/// let message = Message::parse(
///     "OPTIONS sip:carol@chicago.com SIP/2.0\r\n\
///      Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKhjhs8ass877\r\n\
///      To: <sip:carol@chicago.com>\r\n\
///      f: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
///      Call-ID: a84b4c76e66710\r\n\
///      CSeq: 63104 OPTIONS\r\n\
///      Max-Forwards: 70\r\n\
///      Content-Length: 0\r\n\r\n",
/// )?;
/// assert_eq!(message.method(), Method::Options);
/// assert_eq!(message.request_uri(), b"sip:carol@chicago.com");
/// assert_eq!(message.from_tag(), b"1928301774");
/// assert_eq!(message.first(HeaderName::MaxForwards), Some(&b"70"[..]));
/// assert_eq!(message.mandatory(), Ok(()));
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Message {
    buf: Vec<u8>,
    pub(crate) line: FirstLine,
    pub(crate) index: Index,
    from: Option<NameAddrSpans>,
    to: Option<NameAddrSpans>,
    via: Option<ViaSpans>,
    cseq: Option<CSeqSpans>,
}

impl Message {
    /// Takes over bytes and finds everything in them.
    pub fn parse(data: impl Into<Vec<u8>>) -> Result<Self, ParseError> {
        let mut message = Self {
            buf: data.into(),
            ..Self::default()
        };
        let blank = leading_line_ends(&message.buf);
        if blank > 0 {
            message.buf.drain(..blank);
        }
        message.read()?;
        Ok(message)
    }

    /// Replaces the message by a copy of `data`, reusing all memory; after an error the message is empty.
    pub fn reparse(&mut self, data: &[u8]) -> Result<(), ParseError> {
        self.clear();
        self.buf
            .extend_from_slice(data.get(leading_line_ends(data)..).unwrap_or_default());
        let read = self.read();
        if read.is_err() {
            self.clear();
        }
        read
    }

    /// Empties the message and keeps its memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.line = FirstLine::default();
        self.index.clear();
        self.from = None;
        self.to = None;
        self.via = None;
        self.cseq = None;
    }

    /// All bytes; line ends before the first line are gone (§7.5).
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Gives the bytes away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// True for a request.
    pub fn is_request(&self) -> bool {
        self.line.kind == Kind::Request
    }

    /// True for a reply.
    pub fn is_reply(&self) -> bool {
        self.line.kind == Kind::Reply
    }

    /// The method of the request line, or of CSeq in a reply.
    pub fn method(&self) -> Method<'_> {
        match self.line.kind {
            Kind::Reply => self.cseq().map_or(Method::Other(b""), |c| c.method),
            Kind::Request | Kind::Empty => match self.line.known {
                Some(method) => method,
                None => Method::Other(self.line.method.cut(&self.buf)),
            },
        }
    }

    /// The Request-URI; empty for replies.
    pub fn request_uri(&self) -> &[u8] {
        self.line.uri.cut(&self.buf)
    }

    /// Where the Request-URI lies.
    pub fn request_uri_range(&self) -> Range<usize> {
        self.line.uri.range()
    }

    /// The protocol and version of the first line, `SIP/2.0`.
    pub fn version(&self) -> &[u8] {
        self.line.version.cut(&self.buf)
    }

    /// True when the first line is one of HTTP, which shares SIP's syntax.
    pub fn is_http(&self) -> bool {
        self.version()
            .get(..5)
            .is_some_and(|v| v.eq_ignore_ascii_case(b"HTTP/"))
    }

    /// The status code; 0 for requests.
    pub fn status(&self) -> u16 {
        self.line.status
    }

    /// The reason phrase; empty for requests.
    pub fn reason(&self) -> &[u8] {
        self.line.reason.cut(&self.buf)
    }

    /// The first line without its line end.
    pub fn first_line(&self) -> &[u8] {
        self.line.whole.cut(&self.buf)
    }

    /// Where the first line lies, without its line end.
    pub fn first_line_range(&self) -> Range<usize> {
        self.line.whole.range()
    }

    /// All headers in order.
    pub fn headers(&self) -> &[Header] {
        &self.index.headers
    }

    /// Where the first header begins.
    pub fn headers_start(&self) -> usize {
        self.index
            .headers
            .first()
            .map_or(self.index.headers_end, |h| h.field.start as usize)
    }

    /// Where the blank line after the last header begins.
    pub fn headers_end(&self) -> usize {
        self.index.headers_end
    }

    /// The value of a header, which may contain folding.
    pub fn value(&self, header: &Header) -> &[u8] {
        self.cut(&header.value)
    }

    /// The name of a header as spelt.
    pub fn name(&self, header: &Header) -> &[u8] {
        self.cut(&header.name_range)
    }

    /// The whole field of a header with its line end.
    pub fn field(&self, header: &Header) -> &[u8] {
        self.cut(&header.field)
    }

    /// The first header of a name.
    pub fn first_header(&self, name: HeaderName) -> Option<&Header> {
        self.index.first(name)
    }

    /// The value of the first header of a name.
    pub fn first(&self, name: HeaderName) -> Option<&[u8]> {
        self.first_header(name).map(|h| self.value(h))
    }

    /// Every header of a name in order.
    pub fn all(&self, name: HeaderName) -> impl DoubleEndedIterator<Item = &Header> {
        let from = self.first_index(name);
        self.index
            .headers
            .get(from..)
            .unwrap_or_default()
            .iter()
            .filter(move |h| h.name == name)
    }

    /// Every header that `name` spells, in any case, long or compact.
    pub fn all_named<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a Header> {
        let known = HeaderName::from_bytes(name);
        self.all(known)
            .filter(move |h| known != HeaderName::Other || self.name(h).eq_ignore_ascii_case(name))
    }

    /// The body, as long as Content-Length says and not longer than there is (§18.3).
    pub fn body(&self) -> &[u8] {
        self.index.body.cut(&self.buf)
    }

    /// Where the body lies.
    pub fn body_range(&self) -> Range<usize> {
        self.index.body.range()
    }

    /// The Call-ID; empty when absent.
    pub fn call_id(&self) -> &[u8] {
        self.first(HeaderName::CallId).unwrap_or_default()
    }

    /// The sequence number and method.
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        Some(self.cseq?.view(&self.buf))
    }

    /// The sender.
    pub fn from(&self) -> Option<NameAddr<'_>> {
        Some(self.from?.view(&self.buf))
    }

    /// The recipient.
    pub fn to(&self) -> Option<NameAddr<'_>> {
        Some(self.to?.view(&self.buf))
    }

    /// The tag of From; empty when absent.
    pub fn from_tag(&self) -> &[u8] {
        self.from.map_or(b"", |s| s.tag(&self.buf))
    }

    /// The tag of To; empty when absent.
    pub fn to_tag(&self) -> &[u8] {
        self.to.map_or(b"", |s| s.tag(&self.buf))
    }

    /// The first value of the first Via.
    pub fn top_via(&self) -> Option<Via<'_>> {
        Some(self.via?.view(&self.buf))
    }

    /// The number in Max-Forwards.
    pub fn max_forwards(&self) -> Option<u32> {
        self.first(HeaderName::MaxForwards).and_then(number)
    }

    /// The number in Content-Length.
    pub fn content_length(&self) -> Option<usize> {
        self.first(HeaderName::ContentLength)
            .and_then(number)
            .map(|n| n as usize)
    }

    /// The number in Expires.
    pub fn expires(&self) -> Option<u32> {
        self.first(HeaderName::Expires).and_then(expires::parse)
    }

    /// Index of the first header of a name; past all headers when there is none.
    pub(crate) fn first_index(&self, name: HeaderName) -> usize {
        self.index.first_place(name)
    }

    fn cut(&self, range: &Range<u32>) -> &[u8] {
        self.buf
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }

    /// Reads what is asked of every message; a header that cannot be read counts as absent.
    fn read_mandatory(&mut self) {
        if let Some(value) = self.first_range(HeaderName::Via) {
            self.via = ViaSpans::read(&self.buf, first_value(&self.buf, value)).ok();
        }
        if let Some(value) = self.first_range(HeaderName::From) {
            self.from = NameAddrSpans::read(&self.buf, value).ok();
        }
        if let Some(value) = self.first_range(HeaderName::To) {
            self.to = NameAddrSpans::read(&self.buf, value).ok();
        }
        if let Some(value) = self.first_range(HeaderName::CSeq) {
            self.cseq = CSeqSpans::read(&self.buf, value).ok();
        }
    }

    /// Where the value of the first header of a name lies.
    #[inline]
    fn first_range(&self, name: HeaderName) -> Option<Range<usize>> {
        let value = &self.index.first(name)?.value;
        Some(value.start as usize..value.end as usize)
    }

    /// Finds the first line and the headers; everything must be clear.
    fn read(&mut self) -> Result<(), ParseError> {
        let len = self.buf.len();
        if len >= u32::MAX as usize {
            return Err(ParseError::new("message too large", 0, "7"));
        }
        let mut line_ends = Positions::new(&self.buf, 0, len, |b| b.equal(b'\n'));
        let Some(end) = line_ends.next() else {
            return Err(ParseError::new("first line without an end", len, "7.1"));
        };
        self.line = FirstLine::parse(&self.buf, end)?;
        self.index.read(&self.buf, end + 1, line_ends)?;
        self.read_mandatory();
        Ok(())
    }
}

/// Length of the line ends before the first line, which are ignored (§7.5).
fn leading_line_ends(data: &[u8]) -> usize {
    data.iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(data.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::error::Missing;
    use proptest::prelude::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP a.com;branch=z9hG4bK1, SIP/2.0/TCP b.com;branch=z9hG4bK2\r\n\
        Max-Forwards: 70\r\n\
        t: Bob <sip:bob@biloxi.com>\r\n\
        FROM : Alice <sip:alice@atlanta.com>\r\n ;tag=19283\r\n\
        X-One: 1\r\n\
        v: SIP/2.0/UDP c.com;branch=z9hG4bK3\r\n\
        Call-ID: a84b4c76e66710\r\n\
        CSeq: 314159 INVITE\r\n\
        Contact: \"A, B\" <sip:a@b;x=1,2>;q=0.5 , <sip:c@d>\r\n\
        m: *\r\n\
        x-one:2\r\n\
        Expires: 300\r\n\
        Content-Length: 4\r\n\r\nbodytrailing";

    fn invite() -> Message {
        Message::parse(INVITE).unwrap()
    }

    #[test]
    fn request() {
        let m = invite();
        assert!(m.is_request() && !m.is_reply());
        assert_eq!(m.method(), Method::Invite);
        assert_eq!(m.request_uri(), b"sip:bob@biloxi.com");
        assert_eq!(&m.as_bytes()[m.request_uri_range()], b"sip:bob@biloxi.com");
        assert_eq!(
            (m.version(), m.status(), m.reason()),
            (&b"SIP/2.0"[..], 0, &b""[..])
        );
        assert_eq!(m.first_line(), b"INVITE sip:bob@biloxi.com SIP/2.0");
        assert_eq!(m.call_id(), b"a84b4c76e66710");
        assert_eq!(
            m.cseq(),
            Some(CSeq {
                number: 314_159,
                method: Method::Invite
            })
        );
        assert_eq!((m.from_tag(), m.to_tag()), (&b"19283"[..], &b""[..]));
        assert_eq!(m.to().unwrap().uri, b"sip:bob@biloxi.com");
        assert_eq!(m.from().unwrap().display, b"Alice");
        assert_eq!(
            (m.max_forwards(), m.content_length(), m.expires()),
            (Some(70), Some(4), Some(300))
        );
        assert_eq!(m.body(), b"body");
        assert_eq!(m.mandatory(), Ok(()));
        // Once more, out of the caches.
        assert_eq!(
            m.cseq(),
            Some(CSeq {
                number: 314_159,
                method: Method::Invite
            })
        );
        assert_eq!(m.from_tag(), b"19283");
        for _ in 0..2 {
            let via = m.top_via().unwrap();
            assert_eq!(
                (via.transport, via.host, via.branch()),
                (&b"UDP"[..], &b"a.com"[..], Some(&b"z9hG4bK1"[..]))
            );
        }
    }

    #[test]
    fn headers() {
        let m = invite();
        assert_eq!(m.headers().len(), 13);
        let from = m.first_header(HeaderName::From).unwrap();
        assert_eq!(m.name(from), b"FROM");
        assert_eq!(m.value(from), b"Alice <sip:alice@atlanta.com>\r\n ;tag=19283");
        assert_eq!(
            m.field(from),
            b"FROM : Alice <sip:alice@atlanta.com>\r\n ;tag=19283\r\n"
        );
        let named = |name: &str| {
            m.all_named(name.as_bytes())
                .map(|h| m.value(h).to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(named("X-ONE"), [b"1", b"2"]);
        assert_eq!(named("V").len(), 2);
        assert_eq!(named("contact").len(), 2);
        assert!(named("X-Two").is_empty());
        assert_eq!(m.first(HeaderName::Other), None);
        assert_eq!(m.all(HeaderName::Other).count(), 2);
        assert_eq!(m.first(HeaderName::Subject), None);
        assert_eq!(m.all(HeaderName::Subject).count(), 0);
        assert_eq!(&m.as_bytes()[m.headers_end()..], b"\r\nbodytrailing");
        assert!(m.as_bytes()[m.headers_start()..].starts_with(b"Via"));
    }

    #[test]
    fn lists() {
        let m = invite();
        let vias: Vec<_> = m
            .vias()
            .map(|v| (v.via().unwrap().host.to_vec(), v.header))
            .collect();
        assert_eq!(
            vias,
            [
                (b"a.com".to_vec(), 0),
                (b"b.com".to_vec(), 0),
                (b"c.com".to_vec(), 5)
            ]
        );
        for v in m.vias().chain(m.values(HeaderName::Contact)) {
            assert_eq!(&m.as_bytes()[v.range.clone()], v.bytes);
        }
        let contacts: Vec<_> = m.contacts().map(|c| c.unwrap()).collect();
        assert_eq!(
            contacts.iter().map(|c| c.uri()).collect::<Vec<_>>(),
            [&b"sip:a@b;x=1,2"[..], b"sip:c@d", b"*"]
        );
        assert_eq!((contacts[0].q(), contacts[2].is_star()), (Some(500), true));
        assert_eq!(
            m.routes().count() + m.record_routes().count() + m.paths().count(),
            0
        );
    }

    #[test]
    fn reply() {
        let m = Message::parse("SIP/2.0 200  All  well \nCSeq: 1 FOO\nl:0\n\n").unwrap();
        assert!(m.is_reply() && !m.is_request());
        assert_eq!(
            (m.status(), m.reason(), m.method()),
            (200, &b"All  well"[..], Method::Other(b"FOO"))
        );
        assert_eq!(
            (m.request_uri(), m.first_line()),
            (&b""[..], &b"SIP/2.0 200  All  well "[..])
        );
        assert_eq!(Message::parse("SIP/2.0 486\r\n\r\n").unwrap().reason(), b"");
        assert_eq!(Message::parse("SIP/2.0 486 \r\n\r\n").unwrap().status(), 486);
        assert_eq!(
            Message::parse("SIP/2.0 200 \r\n\r\n").unwrap().method(),
            Method::Other(b"")
        );
    }

    #[test]
    fn first_lines() {
        let table = [
            ("REGISTER   sip:a@b SIP/2.0", Ok("REGISTER sip:a@b SIP/2.0")),
            ("REGISTER sip:a@b  SIP/2.0 ", Ok("REGISTER sip:a@b SIP/2.0")),
            (
                "INVITE sip:user@example.com; lr SIP/2.0",
                Ok("INVITE sip:user@example.com; lr SIP/2.0"),
            ),
            ("OPTIONS sip:a@b SIP/7.0", Ok("OPTIONS sip:a@b SIP/7.0")),
            ("POST /RPC HTTP/1.1", Ok("POST /RPC HTTP/1.1")),
            (
                "!interesting-Method0123456789_*+`.%indeed'~ sip:a SIP/2.0",
                Ok("!interesting-Method0123456789_*+`.%indeed'~ sip:a SIP/2.0"),
            ),
            ("INVITE sip:a@b", Err("no version in the request line")),
            ("INVITE", Err("first line of one word")),
            ("", Err("first line without an end")),
            (" INVITE sip:a@b SIP/2.0", Err("invalid method")),
            ("INV<>ITE sip:a@b SIP/2.0", Err("invalid method")),
            ("INVITE sip:a@b FOO/2.0", Err("no version in the request line")),
            ("INVITE sip:a@b SIP/", Err("no version in the request line")),
            (
                "SIP/2.0 4294967301 better not break the receiver",
                Err("invalid status code"),
            ),
            ("SIP/2.0 2xx OK", Err("invalid status code")),
            ("SIP/2.0 099 x", Err("invalid status code")),
            ("SIP/2.0 OK", Err("invalid status code")),
        ];
        for (line, expected) in table {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            let got = Message::parse(format!("X{line}\r\n\r\n").split_off(1))
                .map(|m| format!("{} {} {}", m.method(), text(m.request_uri()), text(m.version())))
                .map_err(|e| e.what);
            assert_eq!(got, expected.map(str::to_owned), "{line:?}");
        }
        assert_eq!(
            Message::parse("INVITE sip:a@b SIP/2.0").unwrap_err().what,
            "first line without an end"
        );
        assert!(Message::parse("").is_err() && Message::parse("\r\n\r\n").is_err());
        assert!(Message::parse("GET / HTTP/1.1\r\n\r\n").unwrap().is_http());
    }

    #[test]
    fn lenient_lines() {
        // Kamailio: takes lone line feeds, spaces before the colon, and any case of names.
        let m = Message::parse(
            "\r\n\r\nOPTIONS sip:a@b SIP/2.0\nto\t:<sip:a@b>;tag=2\nSUBJECT:\n  folded\n\ttwice \n\nx",
        )
        .unwrap();
        assert_eq!(m.to_tag(), b"2");
        assert_eq!(m.first(HeaderName::Subject), Some(&b"folded\n\ttwice"[..]));
        assert_eq!(m.body(), b"x");
        assert!(m.as_bytes().starts_with(b"OPTIONS"));
        let cut = Message::parse("OPTIONS sip:a@b SIP/2.0\r\nSubject: cut").unwrap();
        assert_eq!(cut.first(HeaderName::Subject), Some(&b"cut"[..]));
        assert_eq!(cut.mandatory(), Err(Missing::Header(HeaderName::Via)));
        let empty = Message::parse("OPTIONS sip:a@b SIP/2.0\r\nSubject:\r\nE: \t \r\n\r\n").unwrap();
        assert_eq!(
            (
                empty.first(HeaderName::Subject),
                empty.first(HeaderName::ContentEncoding)
            ),
            (Some(&b""[..]), Some(&b""[..]))
        );
        let value = &empty.headers()[0].value;
        assert!(empty.as_bytes()[..value.start as usize].ends_with(b"Subject:"));
    }

    #[test]
    fn reuse() {
        let mut m = invite();
        assert_eq!(m.from_tag(), b"19283");
        m.reparse(b"BYE sip:x SIP/2.0\r\nFrom: <sip:b>;tag=new\r\n\r\n")
            .unwrap();
        assert_eq!(
            (m.method(), m.from_tag(), m.call_id()),
            (Method::Bye, &b"new"[..], &b""[..])
        );
        assert!(m.top_via().is_none() && m.cseq().is_none());
        assert!(m.reparse(b"junk").is_err());
        assert_eq!(
            (m.as_bytes(), m.headers().len(), m.method()),
            (&b""[..], 0, Method::Other(b""))
        );
        fn assert_send<T: Send>(_: &T) {}
        assert_send(&m);
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            touch(&data);
        }

        #[test]
        fn almost_messages_never_panic(mut text in "(INVITE sip:a SIP/2\\.0|SIP/2\\.0 200 OK)\r?\n([vftimle]|CSeq|Route|X) ?: ?[ -~]{0,20}\r?\n(([vftiml]|CSeq|Route|X):[ -~\r\n]{0,20}\r\n){0,6}\r?\n?[a-z]{0,3}", cut in 0usize..200) {
            text.truncate(cut);
            touch(text.as_bytes());
        }

        #[test]
        fn reparse_is_parse(a in "[A-Z]{1,4} sip:a SIP/2\\.0\r\n([a-z]{1,3}: [a-z]{0,5}\r\n){0,30}\r\n") {
            let mut reused = invite();
            reused.reparse(a.as_bytes()).unwrap();
            let fresh = Message::parse(a).unwrap();
            prop_assert_eq!(reused.headers(), fresh.headers());
            prop_assert_eq!(reused.mandatory(), fresh.mandatory());
        }
    }

    fn touch(data: &[u8]) {
        if let Ok(m) = Message::parse(data) {
            let _ = (
                m.mandatory(),
                m.from_tag(),
                m.to_tag(),
                m.top_via(),
                m.cseq(),
                m.body(),
                m.method(),
                m.expires(),
            );
            let _ = (
                m.contacts().count(),
                m.routes().filter(|r| r.route().is_ok()).count(),
                m.vias().count(),
            );
            for h in m.headers() {
                assert!(
                    h.field.start <= h.name_range.start
                        && h.name_range.end <= h.value.start
                        && h.value.end <= h.field.end
                );
                let _ = (m.value(h), m.all_named(m.name(h)).count());
            }
        }
    }
}
