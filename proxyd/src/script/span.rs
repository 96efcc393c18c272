//! Where a token came from: a range of a source file, with the macro that brought it here (Kamailio core cookbook, "define").

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// A file known to [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A byte range of one source file, and the macro expansion it was read through.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The file the text stands in.
    pub file: FileId,
    /// Byte offset of the first character.
    pub start: u32,
    /// Byte offset behind the last character.
    pub end: u32,
    /// One more than the index of the expansion, 0 when the text was read directly.
    via: u32,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.file.0, self.start, self.end)
    }
}

impl Span {
    /// The range `start..end` of `file`.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        Self {
            file,
            start: offset(start),
            end: offset(end),
            via: 0,
        }
    }

    /// The byte range within the file.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// From the start of this to the end of `other`; this one when they come from different places.
    pub fn to(self, other: Self) -> Self {
        if self.file == other.file && self.via == other.via && self.start <= other.end {
            Self {
                end: other.end.max(self.end),
                ..self
            }
        } else {
            self
        }
    }

    /// The empty range behind the last character.
    pub fn after(self) -> Self {
        Self {
            start: self.end,
            ..self
        }
    }

    /// A part of this range, by offsets relative to its start.
    pub fn part(self, from: usize, to: usize) -> Self {
        let at = |n: usize| self.start.saturating_add(offset(n)).min(self.end);
        Self {
            start: at(from),
            end: at(to).max(at(from)),
            ..self
        }
    }
}

/// Line and column as a person counts them, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line number.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// A file, or a text that stands for one such as a define of the command line.
#[derive(Debug)]
struct Source {
    name: PathBuf,
    text: Arc<str>,
    line_starts: Vec<u32>,
}

#[derive(Debug)]
struct Expansion {
    name: String,
    used_at: Span,
}

/// Every text that took part in a script: resolves spans to names, lines and quotes.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    expansions: Vec<Expansion>,
}

impl Sources {
    /// Adds a text under the name that diagnostics show.
    pub fn add(&mut self, name: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> FileId {
        let text: Arc<str> = text.into();
        let mut line_starts = vec![0];
        line_starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| offset(at + 1)));
        self.files.push(Source {
            name: name.into(),
            text,
            line_starts,
        });
        FileId(offset(self.files.len() - 1))
    }

    /// Records that the macro `name` is replaced at `used_at`; spans of its text are then marked with [`Sources::through`].
    pub fn expand(&mut self, name: &str, used_at: Span) -> u32 {
        self.expansions.push(Expansion {
            name: name.to_owned(),
            used_at,
        });
        offset(self.expansions.len())
    }

    /// Marks a span as read through an expansion.
    pub fn through(span: Span, expansion: u32) -> Span {
        Span {
            via: expansion,
            ..span
        }
    }

    /// The macro that brought the span here and the place that names it.
    pub fn expansion(&self, span: Span) -> Option<(&str, Span)> {
        let index = span.via.checked_sub(1)?;
        let expansion = self.expansions.get(index as usize)?;
        Some((&expansion.name, expansion.used_at))
    }

    /// The outermost place in a file: where the macro was used, or the span itself.
    pub fn root(&self, mut span: Span) -> Span {
        while let Some((_, used_at)) = self.expansion(span) {
            span = used_at;
        }
        span
    }

    /// The name of the file as it was added.
    pub fn name(&self, file: FileId) -> &Path {
        self.files
            .get(file.0 as usize)
            .map_or(Path::new("?"), |source| &source.name)
    }

    /// The whole text of a file.
    pub fn text(&self, file: FileId) -> Arc<str> {
        self.files
            .get(file.0 as usize)
            .map_or_else(|| Arc::from(""), |source| source.text.clone())
    }

    /// The source text of a span, empty when it is out of range.
    pub fn quote(&self, span: Span) -> &str {
        self.files
            .get(span.file.0 as usize)
            .and_then(|source| source.text.get(span.range()))
            .unwrap_or("")
    }

    /// Line and column of the first character of a span.
    pub fn position(&self, span: Span) -> Position {
        let Some(source) = self.files.get(span.file.0 as usize) else {
            return Position { line: 1, column: 1 };
        };
        let line = source.line_starts.partition_point(|start| *start <= span.start);
        let start = source
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let column = source
            .text
            .get(start as usize..span.start as usize)
            .map_or(0, |text| text.chars().count());
        Position {
            line: line.max(1),
            column: column + 1,
        }
    }

    /// The names of all files in the order they were read.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|source| source.name.as_path())
    }
}

impl<'a> codespan_reporting::files::Files<'a> for Sources {
    type FileId = FileId;
    type Name = std::path::Display<'a>;
    type Source = &'a str;

    fn name(&'a self, id: FileId) -> Result<Self::Name, codespan_reporting::files::Error> {
        Ok(self.find(id)?.name.display())
    }

    fn source(&'a self, id: FileId) -> Result<Self::Source, codespan_reporting::files::Error> {
        Ok(&self.find(id)?.text)
    }

    fn line_index(&'a self, id: FileId, byte: usize) -> Result<usize, codespan_reporting::files::Error> {
        let starts = &self.find(id)?.line_starts;
        Ok(starts
            .partition_point(|start| *start as usize <= byte)
            .saturating_sub(1))
    }

    fn line_range(
        &'a self,
        id: FileId,
        line: usize,
    ) -> Result<Range<usize>, codespan_reporting::files::Error> {
        let source = self.find(id)?;
        let too_large = codespan_reporting::files::Error::LineTooLarge {
            given: line,
            max: source.line_starts.len(),
        };
        let start = *source.line_starts.get(line).ok_or(too_large)? as usize;
        let end = source
            .line_starts
            .get(line + 1)
            .map_or(source.text.len(), |next| *next as usize);
        Ok(start..end)
    }
}

impl Sources {
    fn find(&self, id: FileId) -> Result<&Source, codespan_reporting::files::Error> {
        self.files
            .get(id.0 as usize)
            .ok_or(codespan_reporting::files::Error::FileMissing)
    }
}

/// Offsets are 32 bits wide; the preprocessor refuses files beyond that.
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a.cfg", "one\nzwölf x\n\nlast");
        for (at, line, column) in [
            (0, 1, 1),
            (3, 1, 4),
            (4, 2, 1),
            (11, 2, 7),
            (13, 3, 1),
            (14, 4, 1),
            (18, 4, 5),
        ] {
            assert_eq!(
                sources.position(Span::new(file, at, at)),
                Position { line, column },
                "offset {at}"
            );
        }
    }

    #[test]
    fn expansions_nest() {
        let mut sources = Sources::default();
        let file = sources.add("a.cfg", "A B C");
        let outer = sources.expand("A", Span::new(file, 0, 1));
        let inner_use = Sources::through(Span::new(file, 2, 3), outer);
        let inner = sources.expand("B", inner_use);
        let span = Sources::through(Span::new(file, 4, 5), inner);
        assert_eq!(sources.expansion(span), Some(("B", inner_use)));
        assert_eq!(sources.root(span), Span::new(file, 0, 1));
    }
}
