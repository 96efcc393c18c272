//! One `#!` line at a time, and the text an untrue condition skips (Kamailio core cookbook, "define").

use super::Condition;
use super::Define;
use super::Preprocessor;
use super::ifexp;
use super::subst::Subst;
use crate::script::diag::Diagnostic;
use crate::script::diag::did_you_mean;
use crate::script::lex;
use crate::script::span::Span;

/// Every directive.
const DIRECTIVES: &[&str] = &[
    "define",
    "def",
    "trydef",
    "trydefine",
    "redefine",
    "redef",
    "undefine",
    "undef",
    "tryundefine",
    "tryundef",
    "defenv",
    "defenvs",
    "trydefenv",
    "trydefenvs",
    "defexp",
    "defexps",
    "ifdef",
    "ifndef",
    "ifexp",
    "else",
    "endif",
    "subst",
    "substdef",
    "substdefs",
    "include_file",
    "import_file",
];

/// First lines that name the language; they mean nothing more.
const FLAVOURS: &[&str] = &["KAMAILIO", "SER", "OPENSER", "MAXCOMPAT", "ALL"];

/// Whether a word is a directive.
pub(super) fn is_known(word: &str) -> bool {
    DIRECTIVES.contains(&word)
}

/// A line cut into the directive's word and its rest, by offsets.
struct Line {
    word: (usize, usize),
    rest: (usize, usize),
    /// Behind the line, its continuation lines included.
    next: usize,
}

impl Preprocessor<'_> {
    /// Obeys the directive whose mark is `start..mark_end`, and moves behind its line.
    pub(super) fn directive(&mut self, start: usize, mark_end: usize) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let text = frame.text.clone();
        let line = cut(text.get(..frame.limit).unwrap_or(""), mark_end);
        frame.at = line.next;
        let slice = |range: (usize, usize)| text.get(range.0..range.1).unwrap_or("");
        let (word, rest) = (slice(line.word), slice(line.rest));
        let at = self.span(start, line.word.1);
        let rest_at = self.span(line.rest.0, line.rest.1);
        match word {
            "define" | "def" | "trydef" | "trydefine" | "redefine" | "redef" => {
                self.define(word, rest, at, rest_at)
            }
            "undefine" | "undef" | "tryundefine" | "tryundef" => self.undefine(word, rest, at),
            "defenv" | "defenvs" | "trydefenv" | "trydefenvs" => {
                self.define_environment(word, rest, at, rest_at)
            }
            "defexp" | "defexps" => self.define_expression(word, rest, at, rest_at),
            "ifdef" | "ifndef" | "ifexp" => {
                let (holds, kept) = self.condition(word, rest, at, rest_at);
                self.open_condition(at, kept, holds);
            }
            "else" => self.otherwise(at),
            "endif" => self.end(at),
            "subst" | "substdef" | "substdefs" => self.substitution(word, rest, rest_at),
            "include_file" | "import_file" => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.at = line.rest.0;
                }
                self.include(word, at);
            }
            _ if FLAVOURS.contains(&word) || word.is_empty() => {}
            _ => {
                let help = did_you_mean(word, DIRECTIVES.iter().copied());
                let message = format!("unknown directive `#!{word}` is read as a comment");
                self.found
                    .push(Diagnostic::warning("preprocessor", at, message).maybe_help(help));
            }
        }
    }

    fn define(&mut self, word: &str, rest: &str, at: Span, rest_at: Span) {
        let name_length = lex::name_length(rest);
        let name = &rest[..name_length];
        if name.is_empty() {
            self.error("define", at, format!("`#!{word}` needs a name"));
            return;
        }
        let value = rest[name_length..].trim();
        let value_at = rest.len() - rest[name_length..].trim_start().len();
        let body = (!value.is_empty()).then(|| rest_at.part(value_at, value_at + value.len()));
        let name_at = rest_at.part(0, name_length);
        self.put(word, name, name_at, body);
    }

    /// Enters a define by the rules of its directive.
    fn put(&mut self, word: &str, name: &str, at: Span, body: Option<Span>) {
        let define = Define {
            body,
            at,
            given: false,
        };
        let Some(known) = self.defines.get(name) else {
            self.defines.insert(name.to_owned(), define);
            return;
        };
        match word {
            "trydef" | "trydefine" => {}
            "redefine" | "redef" => {
                self.defines.insert(name.to_owned(), define);
            }
            _ if known.given => {
                let message = format!("`{name}` is already given by the command line, which is kept");
                let report = Diagnostic::warning("define", at, message);
                self.found
                    .push(report.help("`#!trydef` says so without this warning"));
            }
            _ => {
                let known_at = known.at;
                let report = Diagnostic::error("define", at, format!("`{name}` is already defined"))
                    .label(known_at, "first defined here")
                    .help("use `#!trydef` to keep the first value, `#!redefine` to replace it");
                self.found.push(report);
            }
        }
    }

    fn undefine(&mut self, word: &str, rest: &str, at: Span) {
        let name = &rest[..lex::name_length(rest)];
        if name.is_empty() {
            self.error("define", at, format!("`#!{word}` needs a name"));
        } else {
            self.defines.remove(name);
        }
    }

    /// `#!defenv ID=VARIABLE`; the `s` forms put the value in quotes.
    fn define_environment(&mut self, word: &str, rest: &str, at: Span, rest_at: Span) {
        let spec = rest.trim();
        let (name, variable) = spec
            .split_once('=')
            .map_or((spec, spec), |(n, v)| (n.trim(), v.trim()));
        if name.is_empty() || lex::name_length(name) != name.len() {
            self.error(
                "define",
                at,
                format!("`#!{word}` needs `NAME` or `NAME=VARIABLE`"),
            );
            return;
        }
        match std::env::var(variable) {
            Ok(value) => {
                let value = if word.ends_with('s') {
                    quoted(&value)
                } else {
                    value
                };
                self.put_text(
                    "redefine",
                    name,
                    rest_at,
                    &value,
                    &format!("environment variable {variable}"),
                );
            }
            Err(_) if word.starts_with("try") => {}
            Err(_) => {
                let report = Diagnostic::error(
                    "define",
                    rest_at,
                    format!("environment variable `{variable}` is not set"),
                );
                self.found
                    .push(report.help("`#!trydefenv` allows it to be missing"));
            }
        }
    }

    fn define_expression(&mut self, word: &str, rest: &str, at: Span, rest_at: Span) {
        let name = &rest[..lex::name_length(rest)];
        if name.is_empty() {
            self.error("define", at, format!("`#!{word}` needs a name and an expression"));
            return;
        }
        let expression = rest[name.len()..].trim();
        match ifexp::evaluate(expression, &|id| self.look_up(id)) {
            Ok(value) => {
                let value = if word == "defexps" {
                    quoted(&value.to_string())
                } else {
                    value.to_string()
                };
                self.put_text(
                    "define",
                    name,
                    rest_at.part(0, name.len()),
                    &value,
                    &format!("{word} {name}"),
                );
            }
            Err(error) => self.error("preprocessor", rest_at, error.to_string()),
        }
    }

    /// Enters a define whose text stands in no file.
    fn put_text(&mut self, word: &str, name: &str, at: Span, value: &str, origin: &str) {
        let file = self.sources.add(format!("<{origin}>"), value);
        self.put(word, name, at, Some(Span::new(file, 0, value.len())));
    }

    /// The value of a define in an expression: 0 when unknown, 1 without a text.
    fn look_up(&self, name: &str) -> ifexp::Value {
        match self.defines.get(name) {
            None => ifexp::Value::Number(0.0),
            Some(Define { body: None, .. }) => ifexp::Value::Number(1.0),
            Some(Define { body: Some(body), .. }) => {
                let text = self.sources.quote(*body).trim();
                let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                let inner =
                    inner.or_else(|| text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')));
                ifexp::Value::Text(inner.unwrap_or(text).to_owned())
            }
        }
    }

    /// Whether the condition holds, and which directive it was.
    fn condition(&mut self, word: &str, rest: &str, at: Span, rest_at: Span) -> (bool, &'static str) {
        if word == "ifexp" {
            return match ifexp::evaluate(rest.trim(), &|id| self.look_up(id)) {
                Ok(value) => (value.is_true(), "ifexp"),
                Err(error) => {
                    self.error("preprocessor", rest_at, error.to_string());
                    (false, "ifexp")
                }
            };
        }
        let name = &rest[..lex::name_length(rest)];
        if name.is_empty() {
            self.error("preprocessor", at, format!("`#!{word}` needs a name"));
        }
        let defined = self.defines.contains_key(name);
        if word == "ifdef" {
            (defined, "ifdef")
        } else {
            (!defined, "ifndef")
        }
    }

    fn open_condition(&mut self, at: Span, word: &'static str, holds: bool) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        frame.conditions.push(Condition {
            at,
            word,
            other: None,
        });
        if !holds {
            self.skip();
        }
    }

    fn otherwise(&mut self, at: Span) {
        let open = self
            .frames
            .last_mut()
            .and_then(|frame| frame.conditions.last_mut());
        match open {
            None => self.error("preprocessor", at, "`#!else` without its `#!ifdef`"),
            Some(condition) => {
                let (twice, opened) = (condition.other.replace(at), condition.at);
                if let Some(first) = twice {
                    let report =
                        Diagnostic::error("preprocessor", at, "a second `#!else` for the same condition");
                    self.found
                        .push(report.label(first, "the first").label(opened, "the condition"));
                }
                self.skip();
            }
        }
    }

    fn end(&mut self, at: Span) {
        let closed = self.frames.last_mut().and_then(|frame| frame.conditions.pop());
        if closed.is_none() {
            self.error("preprocessor", at, "`#!endif` without its `#!ifdef`");
        }
    }

    /// Skips lines up to the `#!else` or `#!endif` of the innermost condition: nothing in between is looked at.
    fn skip(&mut self) {
        let mut depth = 0usize;
        loop {
            let Some(frame) = self.frames.last_mut() else {
                return;
            };
            let text = frame.text.clone();
            let within = text.get(..frame.limit).unwrap_or("");
            let rest = within.get(frame.at..).unwrap_or("");
            if rest.is_empty() {
                return;
            }
            let length = rest.find('\n').map_or(rest.len(), |n| n + 1);
            let line = rest.get(..length).unwrap_or("");
            let start = frame.at + (line.len() - line.trim_start().len());
            frame.at += length;
            let Some(after) = line
                .trim_start()
                .strip_prefix("#!")
                .or(line.trim_start().strip_prefix("!!"))
            else {
                continue;
            };
            let word = &after[..lex::name_length(after)];
            match word {
                "ifdef" | "ifndef" | "ifexp" => depth += 1,
                "endif" if depth > 0 => depth -= 1,
                "endif" => {
                    self.frames.last_mut().and_then(|frame| frame.conditions.pop());
                    return;
                }
                "else" if depth == 0 => {
                    let at = self.span(start, start + 2 + word.len());
                    let Some(condition) = self
                        .frames
                        .last_mut()
                        .and_then(|frame| frame.conditions.last_mut())
                    else {
                        return;
                    };
                    let (twice, opened) = (condition.other.replace(at), condition.at);
                    let Some(first) = twice else { return };
                    let report =
                        Diagnostic::error("preprocessor", at, "a second `#!else` for the same condition");
                    self.found
                        .push(report.label(first, "the first").label(opened, "the condition"));
                }
                _ => {}
            }
        }
    }

    /// `#!subst "/what/with/flags"`; `substdef` also defines the name, `substdefs` in quotes.
    pub(super) fn substitution(&mut self, word: &str, rest: &str, at: Span) {
        let text = rest.trim();
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let inner = inner.or_else(|| text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')));
        match Subst::parse(inner.unwrap_or(text)) {
            Ok((subst, what, with)) => {
                self.substs.push(subst);
                if word != "subst" {
                    let value = if word == "substdefs" { quoted(&with) } else { with };
                    if lex::name_length(&what) == what.len() {
                        self.put_text("define", &what, at, &value, &format!("{word} {what}"));
                    } else {
                        self.error(
                            "preprocessor",
                            at,
                            format!("`{what}` is not a name that `#!{word}` can define"),
                        );
                    }
                }
            }
            Err(error) => {
                let report = Diagnostic::error("preprocessor", at, error.to_string());
                self.found
                    .push(report.help("a substitution is written \"/what/with/flags\""));
            }
        }
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Cuts the line of a directive whose mark ends at `at`; a trailing backslash continues it.
fn cut(text: &str, at: usize) -> Line {
    let rest = text.get(at..).unwrap_or("");
    let mut end = 0;
    let mut next = rest.len();
    while let Some(found) = rest.get(end..).and_then(|rest| rest.find('\n')) {
        end += found;
        let before = rest.get(..end).unwrap_or("").trim_end_matches('\r');
        if before.ends_with('\\') {
            end += 1;
            continue;
        }
        next = end + 1;
        break;
    }
    if next == rest.len() && !rest.ends_with('\n') {
        end = rest.len();
    }
    let line = rest.get(..end).unwrap_or("");
    let word_length = lex::name_length(line);
    let body = line.get(word_length..).unwrap_or("");
    let start = word_length + (body.len() - body.trim_start().len());
    let stop = line.trim_end().len().max(start);
    Line {
        word: (at, at + word_length),
        rest: (at + start, at + stop),
        next: at + next,
    }
}
