//! A session description by its lines and media (RFC 8866).

use std::ops::Range;

/// Payload types with a name of their own (RFC 3551 §6), in lower case.
const STATIC: [(&str, &[u8]); 21] = [
    ("pcmu", b"0"),
    ("gsm", b"3"),
    ("g723", b"4"),
    ("dvi4", b"5"),
    ("dvi4", b"6"),
    ("lpc", b"7"),
    ("pcma", b"8"),
    ("g722", b"9"),
    ("l16", b"10"),
    ("l16", b"11"),
    ("qcelp", b"12"),
    ("cn", b"13"),
    ("mpa", b"14"),
    ("g728", b"15"),
    ("g729", b"18"),
    ("celb", b"25"),
    ("jpeg", b"26"),
    ("h261", b"31"),
    ("mpv", b"32"),
    ("mp2t", b"33"),
    ("h263", b"34"),
];

/// Attributes that are about one payload type.
const OF_A_CODEC: [&[u8]; 3] = [b"a=rtpmap:", b"a=fmtp:", b"a=rtcp-fb:"];

/// A session description.
#[derive(Clone, Copy)]
pub(super) struct Sdp<'a> {
    text: &'a [u8],
}

/// One line: its place with and without the line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Range<usize>,
    pub(super) whole: Range<usize>,
}

/// One media description: from its `m=` line to the next.
#[derive(Clone, Copy)]
pub(super) struct Media<'a> {
    sdp: Sdp<'a>,
    start: usize,
    end: usize,
}

impl<'a> Sdp<'a> {
    /// Reads a description; none when it does not begin as one.
    pub(super) fn new(text: &'a [u8]) -> Option<Self> {
        text.starts_with(b"v=").then_some(Self { text })
    }

    fn lines_of(self, range: Range<usize>) -> impl Iterator<Item = Line> {
        let mut start = range.start;
        std::iter::from_fn(move || {
            let rest = self.text.get(start..range.end).filter(|rest| !rest.is_empty())?;
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let line = rest.get(..len)?;
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
            let found = Line {
                text: start..start + bare.len(),
                whole: start..start + len,
            };
            start += len;
            Some(found)
        })
    }

    /// Its lines.
    pub(super) fn lines(self) -> impl Iterator<Item = Line> {
        self.lines_of(0..self.text.len())
    }

    /// All of it.
    pub(super) fn text(self) -> &'a [u8] {
        self.text
    }

    /// The text at a place.
    pub(super) fn at(self, range: &Range<usize>) -> &'a [u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The lines before the first media.
    pub(super) fn session(self) -> impl Iterator<Item = Line> {
        self.lines()
            .take_while(move |line| !self.at(&line.text).starts_with(b"m="))
    }

    /// Its media.
    pub(super) fn media(self) -> Vec<Media<'a>> {
        let starts: Vec<usize> = self
            .lines()
            .filter(|line| self.at(&line.text).starts_with(b"m="))
            .map(|line| line.whole.start)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([self.text.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|(start, end)| Media {
                sdp: self,
                start: *start,
                end,
            })
            .collect()
    }

    /// The media of a type, or all.
    pub(super) fn media_of(self, kind: &[u8]) -> Vec<Media<'a>> {
        let mut media = self.media();
        media.retain(|one| kind.is_empty() || one.kind().eq_ignore_ascii_case(kind));
        media
    }

    /// The payload types that a codec's name means: by `a=rtpmap`, and those that need none.
    pub(super) fn payload_types(self, name: &[u8]) -> Vec<Vec<u8>> {
        let mapped = self.lines().filter_map(|line| {
            let rest = self.at(&line.text).strip_prefix(b"a=rtpmap:")?;
            let space = memchr::memchr(b' ', rest)?;
            let (id, encoding) = rest.split_at_checked(space)?;
            let encoding = encoding.trim_ascii().split(|byte| *byte == b'/').next()?;
            encoding.eq_ignore_ascii_case(name).then(|| id.to_vec())
        });
        let fixed = STATIC
            .iter()
            .filter(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, id)| id.to_vec());
        mapped.chain(fixed).collect()
    }
}

impl<'a> Media<'a> {
    /// From its `m=` line to the next, or the end.
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Its lines.
    pub(super) fn lines(self) -> impl Iterator<Item = Line> {
        self.sdp.lines_of(self.range())
    }

    /// The words of its `m=` line with the blank before each.
    fn words(self) -> Vec<Range<usize>> {
        let Some(line) = self.lines().next() else {
            return Vec::new();
        };
        let mut words = Vec::new();
        let mut start = line.text.start;
        let text = self.sdp.at(&line.text);
        for word in text.split(|byte| *byte == b' ') {
            words.push(start..start + word.len());
            start += word.len() + 1;
        }
        words
    }

    fn word(self, n: usize) -> &'a [u8] {
        self.words()
            .get(n)
            .map(|range| self.sdp.at(range))
            .unwrap_or_default()
    }

    /// `audio`, `video` and so on.
    pub(super) fn kind(self) -> &'a [u8] {
        self.word(0).strip_prefix(b"m=").unwrap_or_default()
    }

    /// `RTP/AVP` and so on.
    pub(super) fn transport(self) -> &'a [u8] {
        self.word(2)
    }

    /// Whether it has a port and is not inactive.
    pub(super) fn is_active(self) -> bool {
        self.word(1) != b"0" && !self.lines().any(|line| self.sdp.at(&line.text) == b"a=inactive")
    }

    /// The formats of its `m=` line, each with its place.
    pub(super) fn formats(self) -> Vec<(&'a [u8], Range<usize>)> {
        self.words()
            .into_iter()
            .skip(3)
            .map(|range| (self.sdp.at(&range), range))
            .filter(|(format, _)| !format.is_empty())
            .collect()
    }

    /// The places of everything that is about a payload type: the format with the blank before it, and attributes.
    pub(super) fn places_of(self, id: &[u8]) -> Vec<Range<usize>> {
        let formats = self.formats().into_iter().filter(|(format, _)| *format == id);
        let formats = formats.map(|(_, range)| range.start.saturating_sub(1)..range.end);
        let is_about = |line: &Line| {
            let text = self.sdp.at(&line.text);
            OF_A_CODEC.iter().any(|prefix| {
                let rest = text.strip_prefix(*prefix).unwrap_or_default();
                rest.split(|byte| *byte == b' ').next() == Some(id)
            })
        };
        let attributes = self.lines().filter(is_about).map(|line| line.whole);
        formats.chain(attributes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] =
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\nm=video 0 RTP/SAVP 96\na=inactive";

    #[test]
    fn media_are_told_apart() {
        let sdp = Sdp::new(TEXT).unwrap();
        let shown: Vec<String> = sdp
            .media()
            .iter()
            .map(|media| {
                let formats: Vec<String> = media
                    .formats()
                    .iter()
                    .map(|(format, _)| String::from_utf8_lossy(format).into_owned())
                    .collect();
                format!(
                    "{} {} {} {}",
                    String::from_utf8_lossy(media.kind()),
                    String::from_utf8_lossy(media.transport()),
                    media.is_active(),
                    formats.join(",")
                )
            })
            .collect();
        assert_eq!(shown, ["audio RTP/AVP true 0,8,101", "video RTP/SAVP false 96"]);
        assert_eq!(sdp.session().count(), 2);
        assert_eq!(sdp.media_of(b"VIDEO").len(), 1);
        assert_eq!(sdp.payload_types(b"Telephone-Event"), [b"101".to_vec()]);
        assert_eq!(sdp.payload_types(b"pcma"), [b"8".to_vec()]);
        let places = sdp.media()[0].places_of(b"101");
        let texts: Vec<&[u8]> = places.iter().map(|range| sdp.at(range)).collect();
        let expected: [&[u8]; 3] = [
            b" 101",
            b"a=rtpmap:101 telephone-event/8000\r\n",
            b"a=fmtp:101 0-16\r\n",
        ];
        assert_eq!(texts, expected);
        assert!(Sdp::new(b"hello").is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text in "v=0\n([ma]=[ a-z0-9:/]{0,12}\r?\n?){0,6}", id in "[0-9]{0,2}") {
            let sdp = Sdp::new(text.as_bytes()).expect("it begins as one");
            for media in sdp.media() {
                let _ = (media.kind(), media.transport(), media.is_active());
                for range in media.places_of(id.as_bytes()) {
                    prop_assert!(range.end <= text.len());
                }
            }
            prop_assert_eq!(sdp.lines().last().map_or(0, |line| line.whole.end), text.len());
        }
    }
}
