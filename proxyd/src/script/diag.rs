//! A message about a script: a code, a place with its source line quoted, and what to do about it.

use std::fmt::Write as _;

use codespan_reporting::diagnostic as codespan;
use codespan_reporting::term;

use super::span::Position;
use super::span::Sources;
use super::span::Span;

/// More than this many messages help nobody; the rest is counted.
const LIMIT: usize = 200;

/// How grave a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The script cannot run.
    Error,
    /// The script runs, probably not as meant.
    Warning,
    /// What became of an accepted setting; shown with `-v`.
    Note,
}

impl Severity {
    /// The word diagnostics begin with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A second place that explains the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is to be seen there.
    pub text: String,
}

/// One finding about a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// A stable word to search for.
    pub code: &'static str,
    /// What is wrong, in lower case.
    pub message: String,
    /// The place.
    pub span: Span,
    /// A remark beside the quoted place.
    pub remark: String,
    /// Other places that matter.
    pub labels: Vec<Label>,
    /// What to do, such as "did you mean `t_relay`?".
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, span, message)
    }

    /// A warning at `span`.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, span, message)
    }

    /// A note at `span`.
    pub fn note(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, span, message)
    }

    fn new(severity: Severity, code: &'static str, span: Span, message: impl Into<String>) -> Self {
        let (remark, labels, notes) = Default::default();
        Self {
            severity,
            code,
            message: message.into(),
            span,
            remark,
            labels,
            notes,
        }
    }

    /// Adds a remark beside the quoted place.
    pub fn remark(mut self, text: impl Into<String>) -> Self {
        self.remark = text.into();
        self
    }

    /// Adds a second place.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds a line of help.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds a line of help when there is one.
    pub fn maybe_help(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }
}

/// The findings of one run, in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    omitted: usize,
}

impl Diagnostics {
    /// Adds a finding; an exact repetition is dropped.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.contains(&diagnostic) {
            return;
        }
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => {}
        }
        if self.list.len() < LIMIT {
            self.list.push(diagnostic);
        } else {
            self.omitted += 1;
        }
    }

    /// Takes over the findings of another run.
    pub fn append(&mut self, other: Self) {
        self.omitted += other.omitted;
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }

    /// Takes back an error that turned out to be the echo of another.
    pub fn withdraw(&mut self, echo: impl Fn(&Diagnostic) -> bool) {
        let before = self.list.len();
        self.list
            .retain(|diagnostic| diagnostic.severity != Severity::Error || !echo(diagnostic));
        self.errors = self.errors.saturating_sub(before - self.list.len());
    }

    /// The number of errors.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// The number of warnings.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// All findings.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Orders the findings by place, so that a reader walks the file once.
    pub fn sort(&mut self, sources: &Sources) {
        self.list.sort_by_key(|diagnostic| {
            let root = sources.root(diagnostic.span);
            (root.file, root.start, diagnostic.severity)
        });
    }

    /// The findings with their source lines quoted, notes only when `verbose`.
    pub fn render(&self, sources: &Sources, verbose: bool) -> String {
        let config = term::Config::default();
        let mut out = String::new();
        for diagnostic in self.shown(verbose) {
            let report = to_codespan(diagnostic, sources);
            if term::emit_to_string(&mut out, &config, sources, &report).is_err() {
                // A span outside its file cannot be quoted; the sentence still can.
                let _ = writeln!(out, "{}", one_line(diagnostic, sources));
            }
        }
        if self.omitted > 0 {
            let _ = writeln!(out, "... and {} more", self.omitted);
        }
        out
    }

    /// One line for each finding: `file:line:column: error[code]: message`.
    pub fn lines(&self, sources: &Sources, verbose: bool) -> String {
        let mut out = String::new();
        for diagnostic in self.shown(verbose) {
            let _ = writeln!(out, "{}", one_line(diagnostic, sources));
        }
        out
    }

    /// The findings as JSON values for `--output json`.
    pub fn json(&self, sources: &Sources) -> serde_json::Value {
        self.list
            .iter()
            .map(|diagnostic| to_json(diagnostic, sources))
            .collect()
    }

    fn shown(&self, verbose: bool) -> impl Iterator<Item = &Diagnostic> {
        self.list
            .iter()
            .filter(move |diagnostic| verbose || diagnostic.severity != Severity::Note)
    }
}

/// `file:line:column: error[code]: message; help`, the form editors jump to.
pub fn one_line(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let Position { line, column } = sources.position(diagnostic.span);
    let name = sources.name(diagnostic.span.file).display();
    let severity = diagnostic.severity.as_str();
    let mut out = format!(
        "{name}:{line}:{column}: {severity}[{}]: {}",
        diagnostic.code, diagnostic.message
    );
    for note in &diagnostic.notes {
        let _ = write!(out, "; {note}");
    }
    out
}

fn to_codespan(diagnostic: &Diagnostic, sources: &Sources) -> codespan::Diagnostic<super::span::FileId> {
    let severity = match diagnostic.severity {
        Severity::Error => codespan::Severity::Error,
        Severity::Warning => codespan::Severity::Warning,
        Severity::Note => codespan::Severity::Note,
    };
    let primary = codespan::Label::primary(diagnostic.span.file, diagnostic.span.range())
        .with_message(&diagnostic.remark);
    let mut labels = vec![primary];
    let mut at = diagnostic.span;
    while let Some((name, used_at)) = sources.expansion(at) {
        labels.push(
            codespan::Label::secondary(used_at.file, used_at.range())
                .with_message(format!("`{name}` is replaced here")),
        );
        at = used_at;
    }
    for label in &diagnostic.labels {
        labels
            .push(codespan::Label::secondary(label.span.file, label.span.range()).with_message(&label.text));
    }
    codespan::Diagnostic::new(severity)
        .with_code(diagnostic.code)
        .with_message(&diagnostic.message)
        .with_labels(labels)
        .with_notes(diagnostic.notes.clone())
}

fn to_json(diagnostic: &Diagnostic, sources: &Sources) -> serde_json::Value {
    let place = |span: Span| {
        let Position { line, column } = sources.position(span);
        let file = sources.name(span.file).display().to_string();
        serde_json::json!({ "file": file, "line": line, "column": column })
    };
    let mut labels: Vec<serde_json::Value> = Vec::new();
    let mut add = |span: Span, text: String| {
        let mut value = place(span);
        value["message"] = text.into();
        labels.push(value);
    };
    let mut at = diagnostic.span;
    while let Some((name, used_at)) = sources.expansion(at) {
        add(used_at, format!("`{name}` is replaced here"));
        at = used_at;
    }
    for label in &diagnostic.labels {
        add(label.span, label.text.clone());
    }
    let mut value = place(diagnostic.span);
    value["severity"] = diagnostic.severity.as_str().into();
    value["code"] = diagnostic.code.into();
    value["message"] = diagnostic.message.as_str().into();
    value["labels"] = labels.into();
    value["help"] = diagnostic.notes.iter().map(String::as_str).collect();
    value
}

/// The candidate nearest to `word` by edit distance, as a question; none when nothing is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// The candidate nearest to `word`; none when nothing is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.chars().count() {
        0 => return None,
        1..=2 => 1,
        3..=5 => 2,
        6..=9 => 3,
        _ => 4,
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = if candidate.eq_ignore_ascii_case(word) {
            0
        } else {
            distance(word, candidate, limit)
        };
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, name)| name)
}

/// Edit distance with neighbouring letters swapped counting as one, capped at `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let substitution = previous[j] + usize::from(x != y);
            let mut best = substitution.min(previous[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = previous;
        previous = row;
    }
    previous.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let names = [
            "t_relay",
            "t_reply",
            "sl_send_reply",
            "is_method",
            "has_totag",
            "xlog",
        ];
        for (word, expected) in [
            ("t_rleay", Some("t_relay")),
            ("T_RELAY", Some("t_relay")),
            ("sl_sendreply", Some("sl_send_reply")),
            ("ismethod", Some("is_method")),
            ("xlgo", Some("xlog")),
            ("completely_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }

    #[test]
    fn renders_the_line_and_the_macro() {
        let mut sources = Sources::default();
        let file = sources.add("a.cfg", "#!define X foo(1)\nX;\n");
        let via = sources.expand("X", Span::new(file, 18, 19));
        let span = Sources::through(Span::new(file, 11, 14), via);
        let mut found = Diagnostics::default();
        found.push(
            Diagnostic::error("unknown-function", span, "unknown function `foo`").help("did you mean `fo`?"),
        );
        let expected = "a.cfg:1:12: error[unknown-function]: unknown function `foo`; did you mean `fo`?\n";
        assert_eq!(found.lines(&sources, false), expected);
        insta::assert_snapshot!(found.render(&sources, false), @r"
        error[unknown-function]: unknown function `foo`
          ┌─ a.cfg:1:12
          │
        1 │ #!define X foo(1)
          │            ^^^
        2 │ X;
          │ - `X` is replaced here
          │
          = did you mean `fo`?
        ");
        assert_eq!(found.json(&sources)[0]["labels"][0]["line"], 2);
    }
}
