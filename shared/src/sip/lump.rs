//! Recorded edits of a message, applied once while it is written out (RFC 3261 §16.6; Kamailio's lumps).

use std::ops::Range;

use smallvec::SmallVec;

use crate::sip::build::ViaFix;
use crate::sip::build::write_via;
use crate::sip::header::HeaderName;
use crate::sip::index::Header;
use crate::sip::list::ListValue;
use crate::sip::message::Message;
use crate::sip::scan::Span;
use crate::sip::scan::write_number;

/// Edits over the bytes of one message; offsets are those of the unedited message.
///
/// ```
/// use shared::sip::{HeaderName, Lumps, Message};
/// let message = Message::parse("BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nSubject: x\r\n\r\n")?;
/// let mut lumps = Lumps::default();
/// lumps.set_request_uri(&message, b"sip:c@d");
/// lumps.delete_header(message.first_header(HeaderName::Subject).unwrap());
/// lumps.append_header(&message, b"X-New: 1\r\n");
/// assert_eq!(lumps.apply(&message), b"BYE sip:c@d SIP/2.0\r\nTo: <sip:a@b>\r\nX-New: 1\r\n\r\n");
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lumps {
    text: Vec<u8>,
    /// Ascending by offset; equal offsets in the order in which they shall be written.
    inserts: SmallVec<[Insert; 8]>,
    /// Ascending, neither overlapping nor touching.
    deletes: SmallVec<[Deleted; 8]>,
    body: Option<Span>,
    content_length: ContentLength,
}

#[derive(Debug, Clone, Copy)]
struct Insert {
    at: usize,
    text: Span,
}

#[derive(Debug, Clone, Copy)]
struct Deleted {
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ContentLength {
    /// Corrected when the body changes.
    #[default]
    WhenChanged,
    /// Corrected or added, as streams need it.
    Always,
}

impl Lumps {
    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.deletes.is_empty() && self.body.is_none()
    }

    /// True when the message is written as it stands, its Content-Length included.
    pub fn is_untouched(&self) -> bool {
        self.is_empty() && self.content_length == ContentLength::WhenChanged
    }

    /// Forgets all edits and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.inserts.clear();
        self.deletes.clear();
        self.body = None;
        self.content_length = ContentLength::default();
    }

    /// Inserts `bytes` at an offset, after what was already inserted there.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        let slot = self.inserts.partition_point(|i| i.at <= at);
        self.insert_in(slot, at, bytes);
    }

    /// Inserts `bytes` at an offset, before what was already inserted there.
    pub fn insert_ahead(&mut self, at: usize, bytes: &[u8]) {
        let slot = self.inserts.partition_point(|i| i.at < at);
        self.insert_in(slot, at, bytes);
    }

    /// Inserts whole lines before a header.
    pub fn insert_before(&mut self, header: &Header, lines: &[u8]) {
        self.insert(header.field.start as usize, lines);
    }

    /// Inserts whole lines after a header.
    pub fn insert_after(&mut self, header: &Header, lines: &[u8]) {
        self.insert(header.field.end as usize, lines);
    }

    /// Deletes a range; what is inserted within it is written all the same.
    pub fn delete(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        let from = self.deletes.partition_point(|d| d.end < start);
        let to = self.deletes.partition_point(|d| d.start <= end);
        for merged in self.deletes.drain(from..to.max(from)) {
            start = start.min(merged.start);
            end = end.max(merged.end);
        }
        self.deletes.insert(from, Deleted { start, end });
    }

    /// Deletes a whole header field.
    pub fn delete_header(&mut self, header: &Header) {
        self.delete(header.field.start as usize..header.field.end as usize);
    }

    /// Deletes one value of a comma list with its comma, or the header when no value is left in it.
    pub fn delete_value(&mut self, message: &Message, value: &ListValue<'_>) {
        let Some(header) = message.headers().get(value.header) else {
            return;
        };
        let mut before = None;
        let mut after = None;
        for other in message
            .values(header.name)
            .filter(|o| o.header == value.header && !self.is_deleted(o.range.start))
        {
            if other.range.start < value.range.start {
                before = Some(other.range.end);
            } else if other.range.start > value.range.start {
                after.get_or_insert(other.range.start);
            }
        }
        match (before, after) {
            (Some(before), _) => self.delete(before..value.range.end),
            (None, Some(after)) => self.delete(value.range.start..after),
            (None, None) => self.delete_header(header),
        }
    }

    /// Replaces a range.
    pub fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        self.insert(range.start, bytes);
        self.delete(range);
    }

    /// Replaces the value of a header.
    pub fn replace_value(&mut self, header: &Header, value: &[u8]) {
        self.replace(header.value.start as usize..header.value.end as usize, value);
    }

    /// Notes in the topmost Via where the request came from (§18.2.1, RFC 3581).
    pub fn fix_top_via(&mut self, message: &Message, fix: &ViaFix<'_>) {
        let Some(via) = message.vias().next() else { return };
        let start = self.text.len();
        write_via(&mut self.text, via.bytes, fix);
        let text = Span::new(start, self.text.len());
        let slot = self.inserts.partition_point(|i| i.at <= via.range.start);
        self.inserts.insert(
            slot,
            Insert {
                at: via.range.start,
                text,
            },
        );
        self.delete(via.range);
    }

    /// Replaces the Request-URI.
    pub fn set_request_uri(&mut self, message: &Message, uri: &[u8]) {
        self.replace(message.request_uri_range(), uri);
    }

    /// Adds whole lines after the last header.
    pub fn append_header(&mut self, message: &Message, lines: &[u8]) {
        self.insert(message.headers_end(), lines);
    }

    /// Adds whole lines before the first header.
    pub fn prepend_header(&mut self, message: &Message, lines: &[u8]) {
        self.insert(message.headers_start(), lines);
    }

    /// Adds whole lines after the last header that `name` spells, or after all headers.
    pub fn append_header_after(&mut self, message: &Message, name: &[u8], lines: &[u8]) {
        match message.all_named(name).next_back() {
            Some(header) => self.insert_after(header, lines),
            None => self.append_header(message, lines),
        }
    }

    /// Adds whole lines before the first header that `name` spells, or before all headers.
    pub fn insert_header_before(&mut self, message: &Message, name: &[u8], lines: &[u8]) {
        match message.all_named(name).next() {
            Some(header) => self.insert_before(header, lines),
            None => self.prepend_header(message, lines),
        }
    }

    /// Replaces the whole body; Content-Length follows.
    pub fn set_body(&mut self, body: &[u8]) {
        self.body = Some(self.keep(body));
    }

    /// Asks for a Content-Length in what is written, as streams need it (§18.3).
    pub fn require_content_length(&mut self) {
        self.content_length = ContentLength::Always;
    }

    /// Records the edits of `other`, made for the same message, after those recorded here.
    pub fn extend(&mut self, other: &Self) {
        for insert in &other.inserts {
            self.insert(insert.at, insert.text.cut(&other.text));
        }
        for deleted in &other.deletes {
            self.delete(deleted.start..deleted.end);
        }
        if let Some(body) = other.body {
            self.set_body(body.cut(&other.text));
        }
        if other.content_length == ContentLength::Always {
            self.require_content_length();
        }
    }

    /// True when the byte at `offset` is deleted.
    pub fn is_deleted(&self, offset: usize) -> bool {
        let at = self.deletes.partition_point(|d| d.end <= offset);
        self.deletes.get(at).is_some_and(|d| d.start <= offset)
    }

    /// The edited message as new bytes.
    pub fn apply(&self, message: &Message) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.as_bytes().len() + self.text.len() + 32);
        self.write(message, &mut out);
        out
    }

    /// True when no edit lies before `offset`.
    pub fn is_untouched_before(&self, offset: usize) -> bool {
        self.inserts.first().is_none_or(|insert| insert.at >= offset)
            && self.deletes.first().is_none_or(|deleted| deleted.start >= offset)
    }

    /// Appends the edited message to `out`.
    pub fn write(&self, message: &Message, out: &mut Vec<u8>) {
        self.write_from(message, 0, out);
    }

    /// Appends what follows `from`, which lies before any Content-Length, with its edits.
    pub fn write_from(&self, message: &Message, from: usize, out: &mut Vec<u8>) {
        let bytes = message.as_bytes();
        let headers_end = message.headers_end();
        let body = message.body_range();
        let length = self.wanted_content_length(message);
        let counted = message
            .first_header(HeaderName::ContentLength)
            .filter(|h| !self.is_deleted(h.field.start as usize));
        match (length, counted) {
            (Some(length), Some(header)) => {
                self.copy(bytes, from..header.value.start as usize, End::Open, out);
                write_number(out, length);
                self.copy(bytes, header.value.end as usize..headers_end, End::Open, out);
            }
            _ => self.copy(bytes, from..headers_end, End::Open, out),
        }
        // A cut message may lack the end of its last line.
        if out.last() != Some(&b'\n') {
            out.extend_from_slice(b"\r\n");
        }
        self.copy(bytes, headers_end..headers_end, End::Closed, out);
        if let (Some(length), None) = (length, counted) {
            out.extend_from_slice(b"Content-Length: ");
            write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if headers_end == body.start {
            out.extend_from_slice(b"\r\n");
        } else {
            self.copy_after(bytes, headers_end..body.start, End::Open, out);
        }
        match self.body {
            Some(new) => out.extend_from_slice(new.cut(&self.text)),
            None if headers_end == body.start => self.copy_after(bytes, body, End::Closed, out),
            None => self.copy(bytes, body, End::Closed, out),
        }
    }

    fn insert_in(&mut self, slot: usize, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let text = self.keep(bytes);
        self.inserts.insert(slot, Insert { at, text });
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        Span::new(start, self.text.len())
    }

    /// The number to write, when Content-Length is to be touched.
    fn wanted_content_length(&self, message: &Message) -> Option<u64> {
        let body = message.body_range();
        if let Some(new) = self.body {
            return Some(new.range().len() as u64);
        }
        let first = if message.headers_end() == body.start {
            body.start + 1
        } else {
            body.start
        };
        let inserted = self.inserts.iter().filter(|i| (first..=body.end).contains(&i.at));
        let deleted = self
            .deletes
            .iter()
            .map(|d| d.end.min(body.end).saturating_sub(d.start.max(body.start)));
        let (added, removed) = (
            inserted.map(|i| i.text.range().len()).sum::<usize>(),
            deleted.sum::<usize>(),
        );
        let touched = added > 0 || removed > 0 || self.content_length == ContentLength::Always;
        touched.then(|| (body.len() + added - removed) as u64)
    }

    /// Copies a range with its edits; insertions at its end belong to it only when it is closed.
    fn copy(&self, bytes: &[u8], range: Range<usize>, end: End, out: &mut Vec<u8>) {
        let from = self.inserts.partition_point(|i| i.at < range.start);
        self.copy_from(from, bytes, range, end, out);
    }

    /// Copies a range like `copy`, without the insertions at its start.
    fn copy_after(&self, bytes: &[u8], range: Range<usize>, end: End, out: &mut Vec<u8>) {
        let from = self.inserts.partition_point(|i| i.at <= range.start);
        self.copy_from(from, bytes, range, end, out);
    }

    fn copy_from(&self, from: usize, bytes: &[u8], range: Range<usize>, end: End, out: &mut Vec<u8>) {
        let first = self.deletes.partition_point(|d| d.end <= range.start);
        let mut deletes = self.deletes.get(first..).unwrap_or_default();
        let mut pos = range.start;
        for insert in self.inserts.get(from..).unwrap_or_default() {
            if insert.at > range.end || insert.at == range.end && end == End::Open {
                break;
            }
            copy_kept(bytes, pos..insert.at, &mut deletes, out);
            out.extend_from_slice(insert.text.cut(&self.text));
            pos = insert.at;
        }
        copy_kept(bytes, pos..range.end, &mut deletes, out);
    }
}

/// Copies what of a range is not deleted. `deletes` begins with the first that may reach into the range, and is left so
/// for the range that follows.
fn copy_kept(bytes: &[u8], range: Range<usize>, deletes: &mut &[Deleted], out: &mut Vec<u8>) {
    let mut pos = range.start;
    while let [first, rest @ ..] = *deletes
        && first.start < range.end
    {
        out.extend_from_slice(bytes.get(pos..first.start).unwrap_or_default());
        pos = first.end.min(range.end);
        if first.end > range.end {
            break;
        }
        *deletes = rest;
    }
    out.extend_from_slice(bytes.get(pos..range.end).unwrap_or_default());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "INVITE sip:a@b SIP/2.0\r\n\
        Via: SIP/2.0/UDP one;rport;branch=z9hG4bK1, SIP/2.0/UDP two\r\n\
        Route: <sip:r1;lr>, <sip:r2;lr>,<sip:r3;lr>\r\n\
        To: <sip:a@b>\r\n\
        Content-Length: 4\r\n\
        Subject: s\r\n\r\nbody";

    fn edited(edit: impl FnOnce(&Message, &mut Lumps)) -> String {
        let message = Message::parse(TEXT).unwrap();
        let mut lumps = Lumps::default();
        edit(&message, &mut lumps);
        String::from_utf8(lumps.apply(&message)).unwrap()
    }

    fn with(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from));
        TEXT.replacen(from, to, 1)
    }

    #[test]
    fn nothing() {
        assert_eq!(edited(|_, l| assert!(l.is_empty())), TEXT);
    }

    #[test]
    fn headers() {
        let to = |m: &Message| m.first_header(HeaderName::To).unwrap().clone();
        type Edit = fn(&Message, &mut Lumps);
        let table: &[(Edit, String)] = &[
            (
                |m, l| l.prepend_header(m, b"A: 1\r\n"),
                with("Via", "A: 1\r\nVia"),
            ),
            (
                |m, l| l.append_header(m, b"A: 1\r\n"),
                with("s\r\n\r\n", "s\r\nA: 1\r\n\r\n"),
            ),
            (
                |m, l| l.append_header_after(m, b"t", b"A: 1\r\n"),
                with("Content", "A: 1\r\nContent"),
            ),
            (
                |m, l| l.append_header_after(m, b"None", b"A: 1\r\n"),
                with("s\r\n\r\n", "s\r\nA: 1\r\n\r\n"),
            ),
            (
                |m, l| l.insert_header_before(m, b"to", b"A: 1\r\n"),
                with("To", "A: 1\r\nTo"),
            ),
            (
                |m, l| l.insert_header_before(m, b"None", b"A: 1\r\n"),
                with("Via", "A: 1\r\nVia"),
            ),
            (|m, l| l.set_request_uri(m, b"sip:c"), with("sip:a@b", "sip:c")),
            (
                |m, l| l.delete_header(m.first_header(HeaderName::To).unwrap()),
                with("To: <sip:a@b>\r\n", ""),
            ),
            (
                |m, l| l.replace_value(m.first_header(HeaderName::To).unwrap(), b"x"),
                with("To: <sip:a@b>", "To: x"),
            ),
        ];
        for (edit, expected) in table {
            assert_eq!(&edited(edit), expected);
        }
        let order = edited(|m, l| {
            l.insert_before(&to(m), b"A: 1\r\n");
            l.insert_before(&to(m), b"A: 2\r\n");
            l.insert_ahead(to(m).field.start as usize, b"A: 0\r\n");
            l.insert_after(&to(m), b"A: 3\r\n");
            l.delete_header(&to(m));
        });
        assert_eq!(
            order,
            with("To: <sip:a@b>\r\n", "A: 0\r\nA: 1\r\nA: 2\r\nA: 3\r\n")
        );
    }

    #[test]
    fn list_values() {
        let routes = "Route: <sip:r1;lr>, <sip:r2;lr>,<sip:r3;lr>\r\n";
        let table: &[(&[usize], &str)] = &[
            (&[0], "Route: <sip:r2;lr>,<sip:r3;lr>\r\n"),
            (&[1], "Route: <sip:r1;lr>,<sip:r3;lr>\r\n"),
            (&[2], "Route: <sip:r1;lr>, <sip:r2;lr>\r\n"),
            (&[0, 1], "Route: <sip:r3;lr>\r\n"),
            (&[1, 0], "Route: <sip:r3;lr>\r\n"),
            (&[1, 2], "Route: <sip:r1;lr>\r\n"),
            (&[2, 1], "Route: <sip:r1;lr>\r\n"),
            (&[0, 2], "Route: <sip:r2;lr>\r\n"),
            (&[2, 0, 1], ""),
            (&[0, 1, 2], ""),
        ];
        for (indices, expected) in table {
            let got = edited(|m, l| {
                for at in *indices {
                    l.delete_value(m, &m.routes().nth(*at).unwrap());
                }
            });
            assert_eq!(got, with(routes, expected), "{indices:?}");
        }
    }

    #[test]
    fn bodies() {
        let length =
            |text: String, n: &str| text.replace("Content-Length: 4", &format!("Content-Length: {n}"));
        assert_eq!(
            edited(|_, l| l.set_body(b"")),
            length(with("\r\nbody", "\r\n"), "0")
        );
        assert_eq!(
            edited(|_, l| l.set_body(b"longer body!")),
            length(with("\r\nbody", "\r\nlonger body!"), "12")
        );
        let inner = edited(|m, l| {
            let at = m.body_range();
            l.insert(at.start, b"<<");
            l.insert(at.end, b">>>");
            l.delete(at.start + 1..at.start + 3);
        });
        assert_eq!(inner, length(with("\r\nbody", "\r\n<<by>>>"), "7"));
        let added = edited(|m, l| {
            l.delete_header(m.first_header(HeaderName::ContentLength).unwrap());
            l.set_body(b"x");
        });
        assert_eq!(
            added,
            with("Content-Length: 4\r\n", "").replace("s\r\n\r\nbody", "s\r\nContent-Length: 1\r\n\r\nx")
        );
        let bare = Message::parse("OPTIONS sip:a SIP/2.0\r\nTo: a\r\n\r\n").unwrap();
        let mut lumps = Lumps::default();
        assert_eq!(lumps.apply(&bare), bare.as_bytes());
        lumps.require_content_length();
        assert_eq!(
            lumps.apply(&bare),
            b"OPTIONS sip:a SIP/2.0\r\nTo: a\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn vias() {
        let fixed = edited(|m, l| {
            l.fix_top_via(
                m,
                &ViaFix {
                    received: Some(b"1.2.3.4"),
                    rport: Some(5),
                },
            )
        });
        assert_eq!(
            fixed,
            with(
                "one;rport;branch=z9hG4bK1",
                "one;rport=5;branch=z9hG4bK1;received=1.2.3.4"
            )
        );
    }

    #[test]
    fn cut_messages_get_their_blank_line() {
        let cut = Message::parse("OPTIONS sip:a SIP/2.0\r\nTo: a\r\n").unwrap();
        let mut lumps = Lumps::default();
        lumps.append_header(&cut, b"A: 1\r\n");
        assert_eq!(
            lumps.apply(&cut),
            b"OPTIONS sip:a SIP/2.0\r\nTo: a\r\nA: 1\r\n\r\n"
        );
        let cut = Message::parse("OPTIONS sip:a SIP/2.0\r\nTo: a").unwrap();
        lumps.clear();
        lumps.append_header(&cut, b"A: 1\r\n");
        lumps.set_body(b"x");
        assert_eq!(
            lumps.apply(&cut),
            b"OPTIONS sip:a SIP/2.0\r\nTo: a\r\nA: 1\r\nContent-Length: 1\r\n\r\nx"
        );
    }

    #[test]
    fn extended() {
        let got = edited(|m, l| {
            l.append_header(m, b"A: 1\r\n");
            let mut branch = Lumps::default();
            branch.append_header(m, b"A: 2\r\n");
            branch.delete_header(m.first_header(HeaderName::To).unwrap());
            branch.set_body(b"yo");
            l.extend(&branch);
        });
        let expected = with("s\r\n\r\nbody", "s\r\nA: 1\r\nA: 2\r\n\r\nyo").replace("To: <sip:a@b>\r\n", "");
        assert_eq!(got, expected.replace("Length: 4", "Length: 2"));
        let mut lumps = Lumps::default();
        lumps.set_body(b"x");
        lumps.clear();
        assert!(lumps.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Edit {
        Insert(usize, String),
        Ahead(usize, String),
        Delete(usize, usize),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        // Offsets stay within the headers, whose Content-Length is not counted anew.
        let at = 0usize..60;
        prop_oneof![
            (at.clone(), "[A-Z]{0,3}").prop_map(|(at, text)| Edit::Insert(at, text)),
            (at.clone(), "[A-Z]{0,3}").prop_map(|(at, text)| Edit::Ahead(at, text)),
            (at, 0usize..20).prop_map(|(at, len)| Edit::Delete(at, at + len)),
        ]
    }

    proptest! {
        #[test]
        fn as_the_naive_model(edits in prop::collection::vec(edit(), 0..12)) {
            let message = Message::parse(TEXT).unwrap();
            let mut lumps = Lumps::default();
            let mut inserts = vec![String::new(); TEXT.len() + 1];
            let mut kept = vec![true; TEXT.len()];
            for edit in edits {
                match edit {
                    Edit::Insert(at, text) => { inserts[at].push_str(&text); lumps.insert(at, text.as_bytes()); }
                    Edit::Ahead(at, text) => { inserts[at].insert_str(0, &text); lumps.insert_ahead(at, text.as_bytes()); }
                    Edit::Delete(from, to) => { kept[from..to].fill(false); lumps.delete(from..to); }
                }
            }
            let mut expected = String::new();
            for (at, b) in TEXT.char_indices() {
                expected.push_str(&inserts[at]);
                if kept[at] {
                    expected.push(b);
                }
            }
            for (at, kept) in kept.iter().enumerate() {
                prop_assert_eq!(lumps.is_deleted(at), !kept);
            }
            prop_assert_eq!(String::from_utf8(lumps.apply(&message)).unwrap(), expected);
        }

        #[test]
        fn any_offsets_never_panic(edits in prop::collection::vec((0usize..400, 0usize..400), 0..8), body: Option<Vec<u8>>) {
            let message = Message::parse(TEXT).unwrap();
            let mut lumps = Lumps::default();
            for (a, b) in edits {
                lumps.replace(a..b, b"x");
            }
            if let Some(body) = body {
                lumps.set_body(&body);
            }
            lumps.apply(&message);
        }
    }
}
