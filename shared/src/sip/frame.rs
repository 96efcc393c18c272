//! Messages out of a stream: Content-Length, keep-alives, "need more" (RFC 3261 §18.3, RFC 5626 §4.4.1).

use crate::sip::header::HeaderName;
use crate::sip::scan::is_token;
use crate::sip::scan::number;
use crate::sip::scan::trim;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// A double CRLF, to be answered with one CRLF.
    Ping,
    /// A single CRLF, the answer to a ping or filling.
    Pong,
}

/// Why a stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The headers are longer than the limit.
    #[error("headers longer than {0} bytes")]
    HeadersTooLarge(usize),
    /// The body is longer than the limit.
    #[error("body of {0} bytes is too large")]
    BodyTooLarge(usize),
    /// Without Content-Length nobody knows where the message ends.
    #[error("message without Content-Length on a stream")]
    NoContentLength,
    /// Content-Length is no number, or is given twice with different numbers.
    #[error("invalid Content-Length on a stream")]
    BadContentLength,
}

/// What a framer puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest first line with headers.
    pub headers: usize,
    /// The longest body.
    pub body: usize,
    /// Takes a message without Content-Length as one without a body.
    pub accept_no_cl: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            headers: 64 * 1024,
            body: 1024 * 1024,
            accept_no_cl: false,
        }
    }
}

/// Collects the bytes of a stream and cuts messages from them.
///
/// ```
/// use shared::sip::frame::{Frame, Framer};
/// let mut framer = Framer::default();
/// framer.feed(b"\r\n\r\nMESSAGE sip:a@b SIP/2.0\r\nl: 2\r\n\r\nhi");
/// assert_eq!(framer.next_frame()?, Some(Frame::Ping));
/// assert_eq!(framer.next_frame()?, Some(Frame::Message(b"MESSAGE sip:a@b SIP/2.0\r\nl: 2\r\n\r\nhi")));
/// assert_eq!(framer.next_frame()?, None);
/// # Ok::<(), shared::sip::frame::FrameError>(())
/// ```
#[derive(Debug, Default)]
pub struct Framer {
    buf: Vec<u8>,
    /// Where the next frame begins; everything before was handed out.
    start: usize,
    /// Where the search for the end of the headers goes on.
    scanned: usize,
    /// Where the message ends, once that is known.
    end: Option<usize>,
    limits: Limits,
}

impl Framer {
    /// Starts an empty stream with limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, data: &[u8]) {
        self.compact();
        self.buf.extend_from_slice(data);
    }

    /// The buffer, for reading into its end; nothing in it may be changed.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.compact();
        &mut self.buf
    }

    /// How many bytes wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buf.len().saturating_sub(self.start)
    }

    /// The next frame; `None` until more bytes come. After an error the stream is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if self.end.is_none() {
            // Lone line feeds and spaces between messages carry nothing.
            while matches!(self.buf.get(self.start), Some(b'\n' | b' ' | b'\t')) {
                self.start += 1;
            }
            match self.buf.get(self.start..).unwrap_or_default() {
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(None),
                [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Some(self.keep_alive(4, Frame::Ping))),
                [b'\r', b'\n', ..] => return Ok(Some(self.keep_alive(2, Frame::Pong))),
                _ => self.scanned = self.scanned.max(self.start),
            }
            self.end = self.find_end()?;
        }
        let Some(end) = self.end.filter(|end| *end <= self.buf.len()) else {
            return Ok(None);
        };
        let start = std::mem::replace(&mut self.start, end);
        self.end = None;
        self.scanned = end;
        Ok(self.buf.get(start..end).map(Frame::Message))
    }

    fn keep_alive(&mut self, len: usize, frame: Frame<'static>) -> Frame<'static> {
        self.start += len;
        frame
    }

    /// Drops what was handed out, so that the buffer stays as small as its largest message.
    fn compact(&mut self) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.scanned = self.scanned.saturating_sub(self.start);
            self.end = self.end.map(|end| end.saturating_sub(self.start));
            self.start = 0;
        }
    }

    fn find_end(&mut self) -> Result<Option<usize>, FrameError> {
        let body = loop {
            let Some(found) = memchr::memchr(b'\n', self.buf.get(self.scanned..).unwrap_or_default()) else {
                self.scanned = self.buf.len();
                break None;
            };
            let at = self.scanned + found;
            match self.buf.get(at + 1..).unwrap_or_default() {
                [b'\n', ..] => break Some(at + 2),
                [b'\r', b'\n', ..] => break Some(at + 3),
                [] | [b'\r'] => {
                    self.scanned = at;
                    break None;
                }
                _ => self.scanned = at + 1,
            }
        };
        let headers_len = body.unwrap_or(self.buf.len()).saturating_sub(self.start);
        if headers_len > self.limits.headers {
            return Err(FrameError::HeadersTooLarge(self.limits.headers));
        }
        let Some(body) = body else { return Ok(None) };
        let head = self.buf.get(self.start..body).unwrap_or_default();
        let length = match content_length(head)? {
            Some(length) => length,
            None if self.limits.accept_no_cl || is_http(head) => 0,
            None => return Err(FrameError::NoContentLength),
        };
        if length > self.limits.body {
            return Err(FrameError::BodyTooLarge(length));
        }
        Ok(Some(body + length))
    }
}

/// Finds the number in Content-Length among whole headers.
fn content_length(head: &[u8]) -> Result<Option<usize>, FrameError> {
    let mut found = None;
    let mut ends = memchr::memchr_iter(b'\n', head).peekable();
    while let Some(end) = ends.next() {
        let line = head.get(end + 1..).unwrap_or_default();
        if !matches!(line.first(), Some(b'C' | b'c' | b'L' | b'l')) {
            continue;
        }
        let name_len = line.iter().position(|b| !is_token(*b)).unwrap_or(line.len());
        let (name, rest) = line.split_at_checked(name_len).unwrap_or_default();
        let colon = rest.iter().position(|b| !matches!(b, b' ' | b'\t'));
        if HeaderName::from_bytes(name) != HeaderName::ContentLength
            || colon.and_then(|at| rest.get(at)) != Some(&b':')
        {
            continue;
        }
        // The number may stand in a folded line.
        let folded = |end: &usize| matches!(head.get(end + 1), Some(b' ' | b'\t'));
        while ends.next_if(folded).is_some() {}
        let value_end = ends.peek().copied().unwrap_or(head.len());
        let value = head.get(end + 1..value_end).unwrap_or_default();
        let value = value
            .get(name_len + colon.unwrap_or_default() + 1..)
            .unwrap_or_default();
        let length = number(trim(value)).ok_or(FrameError::BadContentLength)? as usize;
        if found.is_some_and(|f| f != length) {
            return Err(FrameError::BadContentLength);
        }
        found = Some(length);
    }
    Ok(found)
}

fn is_http(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    line.trim_ascii_end()
        .rsplit(|b| *b == b' ')
        .next()
        .is_some_and(|v| v.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames of `data` cut at `sizes`, as text; an error ends the list.
    fn frames(data: &[u8], sizes: &[usize], limits: Limits) -> Vec<String> {
        let mut framer = Framer::new(limits);
        let mut out = Vec::new();
        let mut rest = data;
        let mut sizes = sizes.iter();
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(rest.len()).clamp(1, rest.len());
            let (now, later) = rest.split_at(size);
            framer.feed(now);
            rest = later;
            loop {
                match framer.next_frame() {
                    Ok(None) => break,
                    Ok(Some(Frame::Message(m))) => out.push(String::from_utf8_lossy(m).into_owned()),
                    Ok(Some(other)) => out.push(format!("{other:?}")),
                    Err(e) => {
                        out.push(e.to_string());
                        return out;
                    }
                }
            }
        }
        out
    }

    const SMALL: Limits = Limits {
        headers: 60,
        body: 10,
        accept_no_cl: false,
    };

    #[test]
    fn streams() {
        let table: &[(&str, &[&str])] = &[
            (
                "A b SIP/2.0\r\nl: 2\r\n\r\nhiB c SIP/2.0\r\nContent-Length:0\r\n\r\n",
                &[
                    "A b SIP/2.0\r\nl: 2\r\n\r\nhi",
                    "B c SIP/2.0\r\nContent-Length:0\r\n\r\n",
                ],
            ),
            (
                "\r\n\r\nA b SIP/2.0\r\nl:0\r\n\r\n\r\n\r\n\r\n\r\n",
                &["Ping", "A b SIP/2.0\r\nl:0\r\n\r\n", "Ping", "Ping"],
            ),
            (
                "\r\nA b SIP/2.0\nCONTENT-LENGTH : 1\n\nx",
                &["Pong", "A b SIP/2.0\nCONTENT-LENGTH : 1\n\nx"],
            ),
            (
                "A b SIP/2.0\r\nl:\r\n  3\r\n\r\nabcd",
                &["A b SIP/2.0\r\nl:\r\n  3\r\n\r\nabc"],
            ),
            ("A b SIP/2.0\r\nl: 3\r\n\r\nab", &[]),
            (
                "A b SIP/2.0\r\n\r\n",
                &["message without Content-Length on a stream"],
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                &["GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
            ),
            (
                "A b SIP/2.0\r\nl: x\r\n\r\n",
                &["invalid Content-Length on a stream"],
            ),
            (
                "A b SIP/2.0\r\nl: -1\r\n\r\n",
                &["invalid Content-Length on a stream"],
            ),
            (
                "A b SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n",
                &["invalid Content-Length on a stream"],
            ),
            (
                "A b SIP/2.0\r\nl: 1\r\n 2\r\n\r\n",
                &["invalid Content-Length on a stream"],
            ),
            (
                "A b SIP/2.0\r\nl: 1\r\nl: 1\r\n\r\nx",
                &["A b SIP/2.0\r\nl: 1\r\nl: 1\r\n\r\nx"],
            ),
            ("A b SIP/2.0\r\nl: 11\r\n\r\n", &["body of 11 bytes is too large"]),
            (
                "A b SIP/2.0\r\nSubject: 123456789012345678901234567890123456789012345678901234567890",
                &["headers longer than 60 bytes"],
            ),
        ];
        for (input, expected) in table {
            assert_eq!(&frames(input.as_bytes(), &[], SMALL), expected, "{input:?}");
            assert_eq!(
                &frames(input.as_bytes(), &[1; 200], SMALL),
                expected,
                "{input:?} byte by byte"
            );
        }
        let lax = Limits {
            accept_no_cl: true,
            ..SMALL
        };
        assert_eq!(frames(b"A b SIP/2.0\r\n\r\n", &[], lax), ["A b SIP/2.0\r\n\r\n"]);
    }

    #[test]
    fn the_buffer_stays_small() {
        let mut framer = Framer::default();
        for _ in 0..1000 {
            framer.feed(b"A b SIP/2.0\r\nl: 2\r\n\r\nhi");
            assert!(matches!(framer.next_frame(), Ok(Some(Frame::Message(_)))));
            assert_eq!(framer.next_frame(), Ok(None));
            assert_eq!(framer.buffered(), 0);
        }
        assert!(framer.buffer().capacity() < 1000);
    }

    proptest! {
        #[test]
        fn any_split_frames_alike(
            parts in prop::collection::vec(prop_oneof![
                Just("A b SIP/2.0\r\nl: 2\r\n\r\nhi"), Just("\r\n\r\n"), Just("\r\n"), Just("\n"), Just(" "), Just("B c SIP/2.0\nX: y\nl:0\n\n"),
                Just("C d SIP/2.0\r\nContent-Length:\r\n 3\r\n\r\n\r\n\r"), Just("D e SIP/2.0\r\n\r\n"),
            ], 0..6),
            sizes in prop::collection::vec(1usize..12, 0..60),
        ) {
            let data = parts.concat();
            prop_assert_eq!(frames(data.as_bytes(), &sizes, SMALL), frames(data.as_bytes(), &[], SMALL));
        }

        #[test]
        fn never_panics(data: Vec<u8>, sizes in prop::collection::vec(1usize..12, 0..20)) {
            frames(&data, &sizes, SMALL);
        }
    }
}
