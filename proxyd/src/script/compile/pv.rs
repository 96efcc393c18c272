//! Pseudo-variables and texts that hold them.

use super::Compiler;
use super::names::Lookup;
use crate::script::ast;
use crate::script::ast::PvIndex;
use crate::script::diag::Diagnostic;
use crate::script::module::Index;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::parse::pv as parse;
use crate::script::parse::pv::Place;
use crate::script::program::Applied;
use crate::script::program::Format;
use crate::script::program::Piece;
use crate::script::program::PvRef;
use crate::script::span::FileId;
use crate::script::span::Span;

/// Something wrong with a pseudo-variable; its range is relative to the text it stands in.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    code: &'static str,
    message: String,
    help: Option<String>,
    range: std::ops::Range<usize>,
}

impl Fault {
    fn new(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
            range: span.range(),
        }
    }

    fn help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }
}

/// The place of a text in itself: offsets count from its start.
fn within(text: &str) -> Place {
    Place::exact(Span::new(FileId::default(), 0, text.len()))
}

impl Lookup {
    /// Compiles a text with pseudo-variables; every fault in it is given.
    pub(super) fn format(&self, text: &str) -> Result<Format, Vec<Fault>> {
        let parts = parse::parse_format(text, within(text)).map_err(|error| {
            let range = error.at..text.len();
            vec![Fault {
                code: "pseudo-variable",
                message: error.what,
                help: None,
                range,
            }]
        })?;
        let mut faults = Vec::new();
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                ast::Part::Text(text) => pieces.push(Piece::Text(text.into_bytes().into())),
                ast::Part::Pv(pv) => match self.variable(&pv, text.get(pv.span.range()).unwrap_or("")) {
                    Ok(compiled) => pieces.push(Piece::Pv(compiled)),
                    Err(fault) => faults.push(fault),
                },
            }
        }
        if faults.is_empty() {
            Ok(Format {
                pieces: pieces.into(),
            })
        } else {
            Err(faults)
        }
    }

    /// The same for modules: the first fault in words.
    pub(super) fn format_bytes(&self, text: &[u8]) -> Result<Format, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the text is no UTF-8".to_owned())?;
        self.format(text).map_err(|faults| {
            let first = faults.into_iter().next();
            first.map_or_else(String::new, |fault| match fault.help {
                Some(help) => format!("{}; {help}", fault.message),
                None => fault.message,
            })
        })
    }

    /// Compiles a pseudo-variable; `text` is how it is written.
    pub(super) fn variable(&self, pv: &ast::Pv, text: &str) -> Result<PvRef, Fault> {
        let row = self.pv(&pv.name).ok_or_else(|| {
            let message = format!("unknown pseudo-variable `${}`", pv.name);
            Fault::new("unknown-pv", message, pv.span).help(self.pv_help(&pv.name))
        })?;
        match (row.param, &pv.inner) {
            (PvParam::None, Some(_)) => {
                return Err(Fault::new(
                    "pv-parameter",
                    format!("`${}` takes no parentheses", pv.name),
                    pv.span,
                ));
            }
            (PvParam::Required, None) => {
                let message = format!("`${0}` needs a name in parentheses, as in `${0}(x)`", pv.name);
                return Err(Fault::new("pv-parameter", message, pv.span).help(self.pv_help_exact(&pv.name)));
            }
            _ => {}
        }
        let inner = pv.inner.as_deref().unwrap_or("");
        let inside = |faults: Vec<Fault>| {
            let first = faults.into_iter().next();
            let (code, message, help) = first.map_or(("pseudo-variable", String::new(), None), |f| {
                (f.code, f.message, f.help)
            });
            Fault::new(code, message, pv.span).help(help)
        };
        let format = self.format(inner).map_err(inside)?;
        let data = match row.compile {
            Some(compile) => {
                let parse = |text: &[u8]| self.format_bytes(text);
                let request = PvInner {
                    text: inner.as_bytes(),
                    format: &format,
                    parse: &parse,
                    names: self,
                    span: self.string.get().unwrap_or(pv.span),
                };
                compile(&request)
                    .map_err(|why| Fault::new("pv-parameter", format!("`{text}`: {why}"), pv.span))?
            }
            None if pv.inner.is_none() => PvData::None,
            None if inner.contains('$') => PvData::Format(format),
            None => PvData::Text(inner.as_bytes().into()),
        };
        let index = match &pv.index {
            None => Index::None,
            Some(PvIndex::At(n)) => Index::At(*n),
            Some(PvIndex::All) => Index::All,
            Some(PvIndex::Pv(inner)) => {
                let shown = format!("${}", inner.name);
                Index::Pv(Box::new(self.variable(inner, &shown)?))
            }
        };
        let transformations = pv
            .transformations
            .iter()
            .map(|t| self.applied(t, pv.span))
            .collect::<Result<_, _>>()?;
        Ok(PvRef {
            pv: row,
            spec: PvSpec { data, index },
            transformations,
            text: text.into(),
        })
    }

    fn pv_help_exact(&self, name: &str) -> Option<String> {
        (name.len() > 2)
            .then(|| self.pv_help(name))
            .flatten()
            .filter(|help| help.contains("needs `loadmodule"))
    }

    fn applied(&self, written: &ast::Transformation, whole: Span) -> Result<Applied, Fault> {
        let span = if written.span.start < written.span.end {
            written.span
        } else {
            whole
        };
        let transformation = self.transformation(&written.name).ok_or_else(|| {
            let message = format!("unknown transformation `{{{}}}`", written.name);
            Fault::new("unknown-transformation", message, span).help(self.transformation_help(&written.name))
        })?;
        let (least, most) = transformation.params;
        let texts = match &written.params {
            None => Vec::new(),
            Some(text) => transformation.split_params(text.as_bytes()),
        };
        if texts.len() < least || (most == 0 && written.params.is_some()) {
            let count = if least == most {
                least.to_string()
            } else {
                format!("{least} to {most}")
            };
            let plural = if count == "1" { "" } else { "s" };
            let message = format!("`{{{}}}` takes {count} parameter{plural}", written.name);
            return Err(Fault::new("transformation-parameter", message, span));
        }
        let mut params = Vec::with_capacity(texts.len());
        for text in texts {
            let text = String::from_utf8_lossy(text);
            params.push(self.format(&text).map_err(|faults| {
                let first = faults.into_iter().next();
                let (code, message) =
                    first.map_or(("pseudo-variable", String::new()), |f| (f.code, f.message));
                Fault::new(code, message, span)
            })?);
        }
        Ok(Applied {
            transformation,
            params: params.into(),
        })
    }
}

impl Compiler {
    /// Compiles a pseudo-variable of the script, or reports what is wrong with it.
    pub(super) fn variable(&mut self, pv: &ast::Pv) -> Option<PvRef> {
        let text = self.program.sources.quote(pv.span).to_owned();
        match self.lookup.variable(pv, &text) {
            Ok(compiled) => Some(compiled),
            Err(fault) => {
                // its own ranges are those of the script already
                let span = if fault.range == pv.span.range() {
                    pv.span
                } else {
                    let from = fault.range.start.saturating_sub(pv.span.start as usize);
                    pv.span.part(from, from + fault.range.len())
                };
                self.fault(fault, span);
                None
            }
        }
    }

    /// Compiles a text in quotes, or reports what is wrong in it.
    pub(super) fn text(&mut self, text: &str, span: Span) -> Option<Format> {
        self.lookup.string.set(Some(span));
        let compiled = self.lookup.format(text);
        self.lookup.string.set(None);
        match compiled {
            Ok(format) => Some(format),
            Err(faults) => {
                let map = offsets(self.program.sources.quote(span), text);
                for fault in faults {
                    let at = |n: usize| map.as_ref().and_then(|map| map.get(n)).copied();
                    let place = match (at(fault.range.start), at(fault.range.end)) {
                        (Some(from), Some(to)) => span.part(from, to),
                        _ => span,
                    };
                    self.fault(fault, place);
                }
                None
            }
        }
    }

    fn fault(&mut self, fault: Fault, span: Span) {
        self.report(Diagnostic::error(fault.code, span, fault.message).maybe_help(fault.help));
    }
}

/// Where each byte of a string's value stands in its literal; none when they do not correspond.
fn offsets(literal: &str, value: &str) -> Option<Vec<usize>> {
    let mut map = Vec::with_capacity(value.len() + 1);
    let mut rest = value;
    let mut at = 1;
    while !rest.is_empty() {
        let written = literal.get(at..)?;
        let next = rest.chars().next()?;
        let length = if written.starts_with('\\') && literal.starts_with('"') {
            let known = match written.chars().nth(1)? {
                'n' => next == '\n',
                'r' => next == '\r',
                't' => next == '\t',
                'a' => next == '\x07',
                c @ ('\\' | '"') => next == c,
                _ => false,
            };
            if known { 2 } else { 1 }
        } else {
            next.len_utf8()
        };
        if length == next.len_utf8() && !written.starts_with(next) {
            return None;
        }
        map.extend(std::iter::repeat_n(at, next.len_utf8()));
        at += length;
        rest = rest.get(next.len_utf8()..)?;
    }
    map.push(at);
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_escapes() {
        for (literal, value, expected) in [
            ("\"ab\"", "ab", Some(vec![1, 2, 3])),
            ("\"a\\nb\"", "a\nb", Some(vec![1, 2, 4, 5])),
            ("\"\\d$x\"", "\\d$x", Some(vec![1, 2, 3, 4, 5])),
            ("'\\n'", "\\n", Some(vec![1, 2, 3])),
            ("\"x\"", "y", None),
        ] {
            assert_eq!(offsets(literal, value), expected, "{literal}");
        }
    }
}
