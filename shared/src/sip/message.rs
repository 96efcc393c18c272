//! Message: one buffer; first line, header index, body (RFC 3261 §7).

use std::cell::Cell;
use std::ops::Range;

use smallvec::SmallVec;

use crate::sip::error::Missing;
use crate::sip::error::ParseError;
use crate::sip::header::HeaderName;
use crate::sip::header::KNOWN;
use crate::sip::header::contact::Contact;
use crate::sip::header::cseq::CSeq;
use crate::sip::header::expires;
use crate::sip::header::route::Route;
use crate::sip::header::via::Via;
use crate::sip::header::via::ViaSpans;
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::name_addr::NameAddrSpans;
use crate::sip::scan::CommaList;
use crate::sip::scan::Span;
use crate::sip::scan::is_lws;
use crate::sip::scan::is_token;
use crate::sip::scan::number;
use crate::sip::scan::trim;

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
#[derive(Debug, Clone)]
pub struct Message {
    buf: Vec<u8>,
    line: FirstLine,
    headers: SmallVec<[Header; INLINE_HEADERS]>,
    first: [u16; KNOWN],
    headers_end: usize,
    body: Span,
    faults: Faults,
    from: Cell<Cached<NameAddrSpans>>,
    to: Cell<Cached<NameAddrSpans>>,
    via: Cell<Cached<ViaSpans>>,
    cseq: Cell<Cached<(u32, Span)>>,
}

/// One header field of a [`Message`], as offsets into its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Which header it is.
    pub name: HeaderName,
    /// The whole field with its line end, folded lines included.
    pub field: Range<u32>,
    /// The name as spelt.
    pub name_range: Range<u32>,
    /// The value without the white space around it.
    pub value: Range<u32>,
}

/// One value of a comma list, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListValue<'a> {
    /// The value, trimmed.
    pub bytes: &'a [u8],
    /// Where it lies in the message.
    pub range: Range<usize>,
    /// The header it stands in, an index into [`Message::headers`].
    pub header: usize,
}

impl<'a> ListValue<'a> {
    /// Reads the value as an address.
    pub fn name_addr(&self) -> Result<NameAddr<'a>, ParseError> {
        NameAddr::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }

    /// Reads the value as a route.
    pub fn route(&self) -> Result<Route<'a>, ParseError> {
        Route::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }

    /// Reads the value as a contact.
    pub fn contact(&self) -> Result<Contact<'a>, ParseError> {
        Contact::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }

    /// Reads the value as a Via.
    pub fn via(&self) -> Result<Via<'a>, ParseError> {
        Via::parse(self.bytes).map_err(|e| e.shifted(self.range.start))
    }
}

const INLINE_HEADERS: usize = 20;
const ABSENT: u16 = u16::MAX;

#[derive(Debug, Clone, Copy, Default)]
struct FirstLine {
    kind: Kind,
    whole: Span,
    method: Span,
    uri: Span,
    version: Span,
    reason: Span,
    status: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Empty,
    Request,
    Reply,
}

#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    bad_line: bool,
    no_blank_line: bool,
    duplicate: Option<HeaderName>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Cached<T> {
    #[default]
    Unread,
    Absent,
    Read(T),
}

impl Default for Message {
    fn default() -> Self {
        Self {
            buf: Vec::new(),
            line: FirstLine::default(),
            headers: SmallVec::new(),
            first: [ABSENT; KNOWN],
            headers_end: 0,
            body: Span::default(),
            faults: Faults::default(),
            from: Cell::default(),
            to: Cell::default(),
            via: Cell::default(),
            cseq: Cell::default(),
        }
    }
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
        message.index()?;
        Ok(message)
    }

    /// Replaces the message by a copy of `data`, reusing all memory; after an error the message is empty.
    pub fn reparse(&mut self, data: &[u8]) -> Result<(), ParseError> {
        self.clear();
        self.buf
            .extend_from_slice(data.get(leading_line_ends(data)..).unwrap_or_default());
        let indexed = self.index();
        if indexed.is_err() {
            self.clear();
        }
        indexed
    }

    /// Empties the message and keeps its memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.line = FirstLine::default();
        self.headers.clear();
        self.first = [ABSENT; KNOWN];
        self.headers_end = 0;
        self.body = Span::default();
        self.faults = Faults::default();
        self.from.set(Cached::Unread);
        self.to.set(Cached::Unread);
        self.via.set(Cached::Unread);
        self.cseq.set(Cached::Unread);
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
            Kind::Request | Kind::Empty => Method::from_bytes(self.line.method.cut(&self.buf)),
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
        &self.headers
    }

    /// Where the first header begins.
    pub fn headers_start(&self) -> usize {
        self.headers
            .first()
            .map_or(self.headers_end, |h| h.field.start as usize)
    }

    /// Where the blank line after the last header begins.
    pub fn headers_end(&self) -> usize {
        self.headers_end
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
        self.headers.get(usize::from(*self.first.get(name as usize)?))
    }

    /// The value of the first header of a name.
    pub fn first(&self, name: HeaderName) -> Option<&[u8]> {
        self.first_header(name).map(|h| self.value(h))
    }

    /// Every header of a name in order.
    pub fn all(&self, name: HeaderName) -> impl DoubleEndedIterator<Item = &Header> {
        let from = self.first.get(name as usize).map_or(0, |at| usize::from(*at));
        self.headers
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

    /// Every value of the comma lists of a header in order.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = ListValue<'_>> {
        let from = self.first.get(name as usize).map_or(0, |at| usize::from(*at));
        let headers = self.headers.get(from..).unwrap_or_default().iter().enumerate();
        headers
            .filter(move |(_, h)| h.name == name)
            .flat_map(move |(at, h)| {
                CommaList::new(self.value(h)).map(move |bytes| {
                    let range = Span::of(&self.buf, bytes).range();
                    ListValue {
                        bytes,
                        range,
                        header: from + at,
                    }
                })
            })
    }

    /// The body, as long as Content-Length says and not longer than there is (§18.3).
    pub fn body(&self) -> &[u8] {
        self.body.cut(&self.buf)
    }

    /// Where the body lies.
    pub fn body_range(&self) -> Range<usize> {
        self.body.range()
    }

    /// The Call-ID; empty when absent.
    pub fn call_id(&self) -> &[u8] {
        self.first(HeaderName::CallId).unwrap_or_default()
    }

    /// The sequence number and method.
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        let (number, method) = cached(&self.cseq, || {
            let value = self.first(HeaderName::CSeq)?;
            let cseq = CSeq::parse(value).ok()?;
            let method = value.get(value.len().checked_sub(cseq.method.as_bytes().len())?..)?;
            Some((cseq.number, Span::of(&self.buf, method)))
        })?;
        Some(CSeq {
            number,
            method: Method::from_bytes(method.cut(&self.buf)),
        })
    }

    /// The sender.
    pub fn from(&self) -> Option<NameAddr<'_>> {
        self.address(&self.from, HeaderName::From)
            .map(|s| s.view(&self.buf))
    }

    /// The recipient.
    pub fn to(&self) -> Option<NameAddr<'_>> {
        self.address(&self.to, HeaderName::To).map(|s| s.view(&self.buf))
    }

    /// The tag of From; empty when absent.
    pub fn from_tag(&self) -> &[u8] {
        self.address(&self.from, HeaderName::From)
            .map_or(b"", |s| s.tag(&self.buf))
    }

    /// The tag of To; empty when absent.
    pub fn to_tag(&self) -> &[u8] {
        self.address(&self.to, HeaderName::To)
            .map_or(b"", |s| s.tag(&self.buf))
    }

    /// The first value of the first Via.
    pub fn top_via(&self) -> Option<Via<'_>> {
        let spans = cached(&self.via, || {
            let via = Via::parse(CommaList::new(self.first(HeaderName::Via)?).next()?).ok()?;
            Some(ViaSpans::of(&self.buf, &via))
        })?;
        Some(spans.view(&self.buf))
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

    /// Every value of every Contact.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, ParseError>> {
        self.values(HeaderName::Contact).map(|v| v.contact())
    }

    /// Every value of every Route.
    pub fn routes(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::Route)
    }

    /// Every value of every Record-Route.
    pub fn record_routes(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::RecordRoute)
    }

    /// Every value of every Via.
    pub fn vias(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::Via)
    }

    /// Every value of every Path.
    pub fn paths(&self) -> impl Iterator<Item = ListValue<'_>> {
        self.values(HeaderName::Path)
    }

    /// Says why the message must not be processed although it could be read (§8.1.1, §8.2, §16.3).
    pub fn mandatory(&self) -> Result<(), Missing> {
        if !self.version().eq_ignore_ascii_case(b"SIP/2.0") {
            return Err(Missing::Version);
        }
        if self.is_request()
            && self
                .request_uri()
                .iter()
                .any(|b| *b <= b' ' || matches!(b, b'<' | b'>' | b'"'))
        {
            return Err(Missing::RequestLine);
        }
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            let present = self.first(name).ok_or(Missing::Header(name))?;
            let valid = match name {
                HeaderName::Via => self.top_via().is_some(),
                HeaderName::From => self.from().is_some(),
                HeaderName::To => self.to().is_some(),
                HeaderName::CSeq => self.cseq().is_some(),
                _ => !present.is_empty(),
            };
            if !valid {
                return Err(Missing::Invalid(name));
            }
        }
        if let Some(name) = self.faults.duplicate {
            return Err(Missing::Duplicate(name));
        }
        if self.is_request() && self.cseq().is_some_and(|c| c.method != self.method()) {
            return Err(Missing::CSeqMethod);
        }
        if self.first(HeaderName::MaxForwards).is_some() && self.max_forwards().is_none() {
            return Err(Missing::Invalid(HeaderName::MaxForwards));
        }
        if self.faults.no_blank_line {
            return Err(Missing::BlankLine);
        }
        if self.first(HeaderName::ContentLength).is_some() && self.content_length() != Some(self.body().len())
        {
            return Err(Missing::ContentLength);
        }
        if self.faults.bad_line {
            return Err(Missing::HeaderLine);
        }
        Ok(())
    }

    fn cut(&self, range: &Range<u32>) -> &[u8] {
        self.buf
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }

    fn address(&self, cell: &Cell<Cached<NameAddrSpans>>, name: HeaderName) -> Option<NameAddrSpans> {
        cached(cell, || {
            let addr = NameAddr::parse(self.first(name)?).ok()?;
            Some(NameAddrSpans::of(&self.buf, &addr))
        })
    }

    fn index(&mut self) -> Result<(), ParseError> {
        let len = self.buf.len();
        if len >= u32::MAX as usize {
            return Err(ParseError::new("message too large", 0, "7"));
        }
        let mut start = match memchr::memchr(b'\n', &self.buf) {
            Some(end) => {
                self.line = first_line(self.buf.get(..end).unwrap_or_default())?;
                end + 1
            }
            None => return Err(ParseError::new("first line without an end", len, "7.1")),
        };
        let body = loop {
            let rest = self.buf.get(start..).unwrap_or_default();
            match rest {
                [b'\r', b'\n', ..] => break start + 2,
                [b'\n', ..] => break start + 1,
                [] => {
                    self.faults.no_blank_line = true;
                    break start;
                }
                _ => {}
            }
            let field_len = field_len(rest);
            self.push_header(start, field_len)?;
            start += field_len;
        };
        self.headers_end = start;
        let promised = self.content_length().unwrap_or(usize::MAX);
        self.body = Span::new(body, body.saturating_add(promised).min(len));
        Ok(())
    }

    fn push_header(&mut self, start: usize, len: usize) -> Result<(), ParseError> {
        let field = self.buf.get(start..start + len).unwrap_or_default();
        let name_len = field.iter().position(|b| !is_token(*b)).unwrap_or(len);
        let name = field.get(..name_len).unwrap_or_default();
        let gap = field.get(name_len..).unwrap_or_default();
        let spaces = gap
            .iter()
            .position(|b| !matches!(b, b' ' | b'\t'))
            .unwrap_or(gap.len());
        let colon = name_len + spaces;
        if name.is_empty() || field.get(colon) != Some(&b':') {
            self.faults.bad_line = true;
            return Ok(());
        }
        let value = Span::of(field, trim(field.get(colon + 1..).unwrap_or_default())).range();
        let value = if value.is_empty() {
            colon + 1..colon + 1
        } else {
            value
        };
        let name = HeaderName::from_bytes(name);
        let index = self.headers.len();
        if index >= usize::from(ABSENT) {
            return Err(ParseError::new("too many headers", start, "7.3"));
        }
        if let Some(first) = self.first.get_mut(name as usize) {
            if *first == ABSENT {
                *first = index as u16;
            } else if is_mandatory_single(name) {
                self.faults.duplicate.get_or_insert(name);
            }
        }
        let at = |offset: usize| (start + offset) as u32;
        self.headers.push(Header {
            name,
            field: at(0)..at(len),
            name_range: at(0)..at(name_len),
            value: at(value.start)..at(value.end),
        });
        Ok(())
    }
}

/// Reads through a cache cell.
fn cached<T: Copy>(cell: &Cell<Cached<T>>, read: impl FnOnce() -> Option<T>) -> Option<T> {
    match cell.get() {
        Cached::Read(value) => Some(value),
        Cached::Absent => None,
        Cached::Unread => {
            let value = read();
            cell.set(value.map_or(Cached::Absent, Cached::Read));
            value
        }
    }
}

/// Headers whose repetition makes a message ambiguous for everyone on its path.
const fn is_mandatory_single(name: HeaderName) -> bool {
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

/// Length of the line ends before the first line, which are ignored (§7.5).
fn leading_line_ends(data: &[u8]) -> usize {
    data.iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(data.len())
}

/// Length of the field at the start of `rest`: a line and the lines folded into it (§7.3.1).
fn field_len(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', rest.get(at..).unwrap_or_default()) {
        at += end + 1;
        if !matches!(rest.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    rest.len()
}

/// Reads a request line or a status line (§7.1, §7.2), tolerant of more than one space.
fn first_line(raw: &[u8]) -> Result<FirstLine, ParseError> {
    let line = raw.strip_suffix(b"\r").unwrap_or(raw);
    let span = |part: &[u8]| Span::of(raw, part);
    let invalid = |what| Err(ParseError::new(what, 0, "7.1"));
    let Some(space) = memchr::memchr2(b' ', b'\t', line) else {
        return invalid("first line of one word");
    };
    let (word, rest) = line.split_at_checked(space).unwrap_or_default();
    let rest = trim(rest);
    if is_version(word) {
        let (code, reason) = rest.split_at_checked(3).unwrap_or_default();
        let Some(status @ 100..=699) = number(code) else {
            return Err(ParseError::new("invalid status code", space + 1, "7.2"));
        };
        if !reason.first().is_none_or(|b| is_lws(*b)) {
            return Err(ParseError::new("invalid status code", space + 1, "7.2"));
        }
        return Ok(FirstLine {
            kind: Kind::Reply,
            whole: span(line),
            version: span(word),
            reason: span(trim(reason)),
            status: status as u16,
            ..FirstLine::default()
        });
    }
    if word.is_empty() || !word.iter().all(|b| is_token(*b)) {
        return invalid("invalid method");
    }
    let Some(last) = memchr::memrchr2(b' ', b'\t', rest) else {
        return invalid("no version in the request line");
    };
    let (uri, version) = rest.split_at_checked(last).unwrap_or_default();
    let version = trim(version);
    if !is_version(version) {
        return Err(ParseError::new(
            "no version in the request line",
            raw.len(),
            "7.1",
        ));
    }
    Ok(FirstLine {
        kind: Kind::Request,
        whole: span(line),
        method: span(word),
        uri: span(trim(uri)),
        version: span(version),
        ..FirstLine::default()
    })
}

/// True for a protocol name that shares SIP's syntax, a slash, and a version.
fn is_version(word: &[u8]) -> bool {
    let Some(slash) = memchr::memchr(b'/', word) else {
        return false;
    };
    let (name, version) = word.split_at_checked(slash).unwrap_or_default();
    (name.eq_ignore_ascii_case(b"SIP") || name.eq_ignore_ascii_case(b"HTTP"))
        && version.get(1).is_some_and(u8::is_ascii_digit)
}
