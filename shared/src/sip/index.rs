//! Where every header of a message lies, found in one walk (RFC 3261 §7.3).

use std::ops::Range;

use crate::sip::block::Block;
use crate::sip::error::ParseError;
use crate::sip::header::HeaderName;
use crate::sip::header::KNOWN;
use crate::sip::header::Letters;
use crate::sip::mandatory::is_mandatory_single;
use crate::sip::scan::Span;
use crate::sip::scan::find_byte;
use crate::sip::scan::is_token;
use crate::sip::scan::number;
use crate::sip::scan::trim_range;

/// One header field of a [`Message`](crate::sip::Message), as offsets into its bytes.
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

/// The headers of one message and its body.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) headers: Vec<Header>,
    /// The place in `headers` of the first one of each name.
    first: [u16; KNOWN],
    /// Where the blank line begins.
    pub(crate) headers_end: usize,
    pub(crate) body: Span,
    pub(crate) faults: Faults,
}

/// What is wrong with a message that could be read all the same.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) bad_line: bool,
    pub(crate) no_blank_line: bool,
    /// Content-Length is no number or promises more than there is.
    pub(crate) bad_length: bool,
    pub(crate) duplicate: Option<HeaderName>,
}

const ABSENT: u16 = u16::MAX;

impl Default for Index {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            first: [ABSENT; KNOWN],
            headers_end: 0,
            body: Span::default(),
            faults: Faults::default(),
        }
    }
}

impl Index {
    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.headers.clear();
        self.first = [ABSENT; KNOWN];
        self.headers_end = 0;
        self.body = Span::default();
        self.faults = Faults::default();
    }

    /// The first header of a name.
    #[inline]
    pub(crate) fn first(&self, name: HeaderName) -> Option<&Header> {
        self.headers.get(usize::from(*self.first.get(name as usize)?))
    }

    /// The place in `headers` of the first one of a name; past all of them when there is none, the start for other names.
    #[inline]
    pub(crate) fn first_place(&self, name: HeaderName) -> usize {
        self.first.get(name as usize).map_or(0, |at| usize::from(*at))
    }

    /// Finds the headers that begin at `start` and the body behind them, with the line ends from there on; the index must be clear.
    pub(crate) fn read(
        &mut self,
        buf: &[u8],
        mut start: usize,
        mut line_ends: impl Iterator<Item = usize>,
    ) -> Result<(), ParseError> {
        let mut line_end = || line_ends.next().map_or(buf.len(), |at| at + 1);
        let first_byte = |at| buf.get(at).copied().unwrap_or_default();
        let mut first = first_byte(start);
        let body = loop {
            // The blank line, or no line at all.
            if first <= b' ' {
                match buf.get(start..).unwrap_or_default() {
                    [b'\r', b'\n', ..] => break start + 2,
                    [b'\n', ..] => break start + 1,
                    [] => {
                        self.faults.no_blank_line = true;
                        break start;
                    }
                    _ => {}
                }
            }
            let mut end = line_end();
            first = first_byte(end);
            // What begins with white space belongs to the line before it (§7.3.1).
            while first <= b' ' && matches!(first, b' ' | b'\t') {
                end = line_end();
                first = first_byte(end);
            }
            if let Some((name, colon)) = usual_header(buf, start, end) {
                self.push(Header {
                    name,
                    field: start as u32..end as u32,
                    name_range: start as u32..colon as u32,
                    value: colon as u32 + 2..end as u32 - 2,
                })?;
            } else if let Some(header) = Header::read(buf, start, end) {
                self.push(header)?;
            } else {
                self.faults.bad_line = true;
            }
            start = end;
        };
        self.headers_end = start;
        self.find_body(buf, body);
        Ok(())
    }

    /// The body is as long as Content-Length says and not longer than there is (§18.3).
    fn find_body(&mut self, buf: &[u8], start: usize) {
        let present = buf.len().saturating_sub(start);
        let mut len = present;
        if let Some(Header { value, .. }) = self.first(HeaderName::ContentLength) {
            let value = buf.get(value.start as usize..value.end as usize);
            match value.and_then(number).map(|n| n as usize) {
                Some(promised) if promised <= present => len = promised,
                _ => self.faults.bad_length = true,
            }
        }
        self.body = Span::new(start, start + len);
    }

    #[inline(always)]
    fn push(&mut self, header: Header) -> Result<(), ParseError> {
        let place = self.headers.len();
        if place >= usize::from(ABSENT) {
            return Err(ParseError::new(
                "too many headers",
                header.field.start as usize,
                "7.3",
            ));
        }
        if let Some(first) = self.first.get_mut(header.name as usize) {
            if *first == ABSENT {
                *first = place as u16;
            } else if is_mandatory_single(header.name) {
                self.faults.duplicate.get_or_insert(header.name);
            }
        }
        self.headers.push(header);
        Ok(())
    }
}

impl Header {
    /// Reads the field between two offsets; `None` for what is no header.
    #[cold]
    fn read(buf: &[u8], start: usize, end: usize) -> Option<Self> {
        let field = buf.get(start..end)?;
        let colon = find_byte(field, b':')?;
        let spelt = field.get(..colon)?;
        let name_len = spelt.iter().rposition(|b| !matches!(b, b' ' | b'\t'))? + 1;
        let name = spelt.get(..name_len)?;
        if !name.iter().all(|b| is_token(*b)) {
            return None;
        }
        let after = start + colon + 1;
        let value = match trim_range(buf, after..end) {
            value if value.is_empty() => after..after,
            value => value,
        };
        Some(Self {
            name: HeaderName::from_bytes(name),
            field: start as u32..end as u32,
            name_range: start as u32..(start + name_len) as u32,
            value: value.start as u32..value.end as u32,
        })
    }
}

/// The name and the colon of a field between two offsets that is spelt and spaced as nearly all are; `None` for any other.
#[inline(always)]
fn usual_header(buf: &[u8], start: usize, end: usize) -> Option<(HeaderName, usize)> {
    let beginning = buf.get(start..)?.first_chunk()?;
    let len = Block::new(beginning).equal(b':').first();
    let name = HeaderName::usual(Letters::new(beginning, len)?, len)?;
    let colon = start + len;
    match buf.get(colon..end)? {
        [b':', b' ', b'!'..=0xff, b'\r', b'\n'] => Some((name, colon)),
        [b':', b' ', b'!'..=0xff, .., b'!'..=0xff, b'\r', b'\n'] => Some((name, colon)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;
    use crate::sip::NameAddr;
    use crate::sip::Via;
    use crate::sip::header::HEADERS;
    use proptest::prelude::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z9hG4bKnashds8;received=192.0.2.1\r\n\
        Max-Forwards: 70\r\n\
        To: Bob <sip:bob@biloxi.com>\r\n\
        From: \"Alice\" <sip:alice@atlanta.com>;tag=1928301774\r\n\
        Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
        CSeq: 314159 INVITE\r\n\
        Proxy-Authorization: Digest username=\"alice\"\r\n\
        X-Spare: 1\r\n\
        Content-Length: 4\r\n\r\nv=0\n";

    /// The headers, where they end, and whether a line is none, found a byte at a time.
    fn walk(text: &[u8], mut start: usize) -> (Vec<Header>, usize, bool) {
        let is_space = |b: u8| matches!(b, b' ' | b'\t');
        let (mut headers, mut bad) = (Vec::new(), false);
        loop {
            let rest = &text[start..];
            if rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
                return (headers, start, bad);
            }
            let ends = |at: &usize| rest[*at] == b'\n' && !rest.get(at + 1).is_some_and(|b| is_space(*b));
            let len = (0..rest.len()).find(ends).map_or(rest.len(), |at| at + 1);
            let name_len = rest.iter().take_while(|b| is_token(**b)).count();
            let spaces = rest[name_len..].iter().take_while(|b| is_space(**b)).count();
            let colon = name_len + spaces;
            if name_len == 0 || colon >= len || rest[colon] != b':' {
                bad = true;
            } else {
                let text = rest[colon + 1..len].trim_ascii();
                let at = match text {
                    [] => colon + 1,
                    _ => len - rest[colon + 1..len].trim_ascii_start().len(),
                };
                let name = str::from_utf8(&rest[..name_len]).unwrap();
                let spells = |letter: u8| name.as_bytes().eq_ignore_ascii_case(&[letter]);
                let known = HEADERS
                    .iter()
                    .find(|def| def.long.eq_ignore_ascii_case(name) || def.compact.is_some_and(spells));
                headers.push(Header {
                    name: known.map_or(HeaderName::Other, |def| def.name),
                    field: start as u32..(start + len) as u32,
                    name_range: start as u32..(start + name_len) as u32,
                    value: (start + at) as u32..(start + at + text.len()) as u32,
                });
            }
            start += len;
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        let header = prop::sample::select(HEADERS).prop_map(|def| format!("\r\n{}: x", def.long));
        prop_oneof![
            4 => prop::sample::select(vec![
                "\r\n", "\n", "\r", " ", "\t", ":", ": ", " :", ";", ",", "\"", "<", ">", "=", "\0", "\r\n ", "\n\t",
                "\r\n\r\n", "v", "\r\nv:x", "\r\nVIA :\t", "\r\nContent-Length:9", "\r\n: x", "\r\nTo", "é", "tag=", "@[::1]",
            ])
            .prop_map(str::to_owned),
            1 => header,
            1 => "[ -~\r\n]{0,20}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn as_a_walk_finds_them(cuts in prop::collection::vec((35usize..400, 0usize..12, piece()), 0..6)) {
            let mut text = INVITE.as_bytes().to_vec();
            for (at, len, piece) in cuts {
                let at = at.min(text.len());
                text.splice(at..(at + len).min(text.len()), piece.bytes());
            }
            let message = Message::parse(text.clone()).unwrap();
            let first = text.iter().position(|b| *b == b'\n').unwrap() + 1;
            let (headers, end, bad) = walk(&text, first);
            prop_assert_eq!(message.headers(), &headers);
            prop_assert_eq!((message.headers_end(), message.index.faults.bad_line), (end, bad));
            for def in HEADERS {
                let expected = headers.iter().find(|h| h.name == def.name);
                prop_assert_eq!(message.first_header(def.name), expected);
            }
            // What was read with the rest of the message behind it reads alike alone.
            let alone = |name| message.first(name).map(<[u8]>::to_vec);
            let from = alone(HeaderName::From);
            prop_assert_eq!(message.from(), from.as_deref().and_then(|v| NameAddr::parse(v).ok()));
            let via = message.vias().next().map(|v| v.bytes.to_vec());
            let first_via = alone(HeaderName::Via).filter(|v| !v.is_empty()).and(via);
            let first_via = first_via.as_deref().and_then(|v| Via::parse(v).ok());
            if message.all(HeaderName::Via).count() == 1 {
                prop_assert_eq!(message.top_via(), first_via);
            }
        }
    }
}
