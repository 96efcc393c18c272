//! `$name(inner)`, `$(name(inner)[index]{transformation})`, and texts that hold them (Kamailio pseudo-variables page).

use crate::script::ast::Part;
use crate::script::ast::Pv;
use crate::script::ast::PvIndex;
use crate::script::ast::Transformation;
use crate::script::lex;
use crate::script::span::Span;

/// A pseudo-variable in a pseudo-variable in …: more than anyone writes.
const DEPTH: usize = 16;

/// Why a text is no pseudo-variable, and the offset of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PvError {
    /// What is wrong.
    pub what: String,
    /// Where in the text.
    pub at: usize,
}

fn error<T>(what: impl Into<String>, at: usize) -> Result<T, PvError> {
    Err(PvError {
        what: what.into(),
        at,
    })
}

/// Places of a text's bytes in the script.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The text's span.
    pub span: Span,
    /// Offset of the text's first byte in the span; none: offsets do not correspond.
    pub offset: Option<usize>,
}

impl Place {
    /// A text that stands in the script exactly as it is.
    pub fn exact(span: Span) -> Self {
        Self {
            span,
            offset: Some(0),
        }
    }

    /// The span of `from..to` of the text.
    pub fn part(self, from: usize, to: usize) -> Span {
        self.offset
            .map_or(self.span, |offset| self.span.part(offset + from, offset + to))
    }

    /// The place of the text that begins at `from`.
    pub fn behind(self, from: usize) -> Self {
        Self {
            offset: self.offset.map(|offset| offset + from),
            ..self
        }
    }
}

/// Parses a text that is one pseudo-variable and nothing else.
pub fn parse(text: &str, place: Place) -> Result<Pv, PvError> {
    let (pv, length) = parse_prefix(text, place, 0)?;
    if length != text.len() {
        let rest = text.get(length..).unwrap_or("");
        return error(format!("unexpected `{rest}` behind the pseudo-variable"), length);
    }
    Ok(pv)
}

/// Splits a text at its pseudo-variables; `$$` is a dollar, and a dollar before anything else is itself.
pub fn parse_format(text: &str, place: Place) -> Result<Vec<Part>, PvError> {
    format_at(text, place, 0)
}

fn format_at(text: &str, place: Place, depth: usize) -> Result<Vec<Part>, PvError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('$')) {
        literal.push_str(text.get(at..at + found).unwrap_or(""));
        at += found;
        let rest = text.get(at + 1..).unwrap_or("");
        if rest.starts_with('$') {
            literal.push('$');
            at += 2;
            continue;
        }
        if !starts_pv(rest) {
            literal.push('$');
            at += 1;
            continue;
        }
        let behind = place.behind(at);
        let (pv, length) =
            parse_prefix(text.get(at..).unwrap_or(""), behind, depth).map_err(|e| PvError {
                what: e.what,
                at: at + e.at,
            })?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Pv(pv));
        at += length;
    }
    literal.push_str(text.get(at..).unwrap_or(""));
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// Whether what follows a dollar is a pseudo-variable.
fn starts_pv(rest: &str) -> bool {
    let first = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '?');
    first(rest) || rest.strip_prefix('(').is_some_and(first)
}

/// Parses the pseudo-variable a text begins with; gives its length, too.
fn parse_prefix(text: &str, place: Place, depth: usize) -> Result<(Pv, usize), PvError> {
    if depth > DEPTH {
        return error("pseudo-variables are nested too deeply", 0);
    }
    let Some(rest) = text.strip_prefix('$') else {
        return error("a pseudo-variable begins with `$`", 0);
    };
    if let Some(inside) = rest.strip_prefix('(') {
        let Some(end) = lex::closing(rest, '(', ')') else {
            return error("pseudo-variable without its closing `)`", 0);
        };
        let body = inside.get(..end - 2).unwrap_or("");
        let pv = enclosed(body, place, depth)?;
        return Ok((pv, end + 1));
    }
    let name = lex::name_length(rest);
    if name == 0 {
        return error("`$` without a pseudo-variable name", 0);
    }
    let (inner, inner_length) = parentheses(rest.get(name..).unwrap_or(""), name + 1)?;
    let length = 1 + name + inner_length;
    let span = place.part(0, length);
    let name = rest.get(..name).unwrap_or("").to_owned();
    Ok((
        Pv {
            name,
            inner,
            index: None,
            transformations: Vec::new(),
            span,
        },
        length,
    ))
}

/// The text in the parentheses that `text` begins with, if it does, and their length.
fn parentheses(text: &str, at: usize) -> Result<(Option<String>, usize), PvError> {
    if !text.starts_with('(') {
        return Ok((None, 0));
    }
    match lex::closing(text, '(', ')') {
        Some(end) => Ok((text.get(1..end - 1).map(str::to_owned), end)),
        None => error("pseudo-variable without its closing `)`", at),
    }
}

/// `name(inner)[index]{transformation}…`, the text between `$(` and `)`.
fn enclosed(body: &str, place: Place, depth: usize) -> Result<Pv, PvError> {
    // offsets count from the dollar
    let mut at = lex::name_length(body);
    if at == 0 {
        return error("`$(` without a pseudo-variable name", 2);
    }
    let name = body.get(..at).unwrap_or("").to_owned();
    let (inner, length) = parentheses(body.get(at..).unwrap_or(""), at + 2)?;
    at += length;
    let mut index = None;
    let rest = body.get(at..).unwrap_or("");
    if rest.starts_with('[') {
        let Some(end) = lex::closing(rest, '[', ']') else {
            return error("index without its closing `]`", at + 2);
        };
        index = Some(parse_index(
            rest.get(1..end - 1).unwrap_or(""),
            place.behind(at + 3),
            at + 3,
            depth,
        )?);
        at += end;
    }
    let mut transformations = Vec::new();
    loop {
        let rest = body.get(at..).unwrap_or("");
        if rest.is_empty() {
            break;
        }
        if !rest.starts_with('{') {
            return error(format!("unexpected `{rest}` in the pseudo-variable"), at + 2);
        }
        let Some(end) = lex::closing(rest, '{', '}') else {
            return error("transformation without its closing `}`", at + 2);
        };
        let text = rest.get(1..end - 1).unwrap_or("");
        let (name, params) = text
            .split_once(',')
            .map_or((text, None), |(n, p)| (n, Some(p.to_owned())));
        let name = name.trim();
        if !name.contains('.') {
            return error(
                format!("`{{{name}}}` is no transformation: it needs a class and a name, as in `{{s.len}}`"),
                at + 2,
            );
        }
        let span = place.part(at + 2, at + 2 + end);
        transformations.push(Transformation {
            name: name.to_owned(),
            params,
            span,
        });
        at += end;
    }
    Ok(Pv {
        name,
        inner,
        index,
        transformations,
        span: place.part(0, body.len() + 3),
    })
}

fn parse_index(text: &str, place: Place, at: usize, depth: usize) -> Result<PvIndex, PvError> {
    let text = text.trim();
    if text == "*" {
        return Ok(PvIndex::All);
    }
    if text.starts_with('$') {
        let (pv, length) = parse_prefix(text, place, depth + 1).map_err(|e| PvError {
            what: e.what,
            at: at + e.at,
        })?;
        if length == text.len() {
            return Ok(PvIndex::Pv(Box::new(pv)));
        }
    }
    match text.parse() {
        Ok(number) => Ok(PvIndex::At(number)),
        Err(_) => error(
            format!("`[{text}]` is no index: it needs a number, `*` or a pseudo-variable"),
            at,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(pv: &Pv) -> String {
        let mut out = pv.name.clone();
        if let Some(inner) = &pv.inner {
            out.push_str(&format!(" ({inner})"));
        }
        match &pv.index {
            None => {}
            Some(PvIndex::At(n)) => out.push_str(&format!(" [{n}]")),
            Some(PvIndex::All) => out.push_str(" [*]"),
            Some(PvIndex::Pv(pv)) => out.push_str(&format!(" [{}]", show(pv))),
        }
        for transformation in &pv.transformations {
            out.push_str(&format!(
                " {{{}|{}}}",
                transformation.name,
                transformation.params.as_deref().unwrap_or("")
            ));
        }
        out
    }

    #[test]
    fn takes_pseudo_variables_apart() {
        for (text, expected) in [
            ("$rU", "rU"),
            ("$var(x)", "var (x)"),
            ("$(rU)", "rU"),
            ("$sht(a=>$si::$rU)", "sht (a=>$si::$rU)"),
            ("$(avp(a)[0])", "avp (a) [0]"),
            ("$(avp(a)[*])", "avp (a) [*]"),
            ("$(hdr(X-Y)[-1])", "hdr (X-Y) [-1]"),
            ("$(avp(a)[$var(i)])", "avp (a) [var (i)]"),
            (
                "$(var(x){s.substr,$var(i),3}{s.len})",
                "var (x) {s.substr|$var(i),3} {s.len|}",
            ),
            (
                "$(var(x){re.subst,/[0-9]{3}/N/g})",
                "var (x) {re.subst|/[0-9]{3}/N/g}",
            ),
            ("$(var(x){s.select,0, })", "var (x) {s.select|0, }"),
            ("$?", "?"),
            ("$T_branch_idx", "T_branch_idx"),
        ] {
            let pv = parse(text, Place::exact(Span::default())).expect(text);
            assert_eq!(show(&pv), expected, "{text}");
        }
    }

    #[test]
    fn names_what_is_wrong_with_them() {
        for (text, expected) in [
            ("$", "`$` without a pseudo-variable name"),
            ("$var(x", "pseudo-variable without its closing `)`"),
            ("$rU.x", "unexpected `.x` behind the pseudo-variable"),
            ("$(rU{s.len)", "transformation without its closing `}`"),
            (
                "$(rU{len})",
                "`{len}` is no transformation: it needs a class and a name, as in `{s.len}`",
            ),
            (
                "$(avp(a)[x])",
                "`[x]` is no index: it needs a number, `*` or a pseudo-variable",
            ),
            ("$(rU x)", "unexpected ` x` in the pseudo-variable"),
        ] {
            let refused = parse(text, Place::exact(Span::default())).expect_err(text);
            assert_eq!(refused.what, expected, "{text}");
        }
    }

    #[test]
    fn splits_texts() {
        for (text, expected) in [
            ("", &[][..]),
            ("plain", &["'plain'"]),
            ("$rU@$rd", &["rU", "'@'", "rd"]),
            ("$$ rU $$rU", &["'$ rU $rU'"]),
            ("a $ b $5 100%", &["'a $ b $5 100%'"]),
            (
                "$(rU).x $rU-x $rU:$rd",
                &["rU", "'.x '", "rU", "'-x '", "rU", "':'", "rd"],
            ),
            ("[$avp(a)]", &["'['", "avp (a)", "']'"]),
            ("end$", &["'end$'"]),
        ] {
            let parts = parse_format(text, Place::exact(Span::default())).expect(text);
            let shown: Vec<String> = parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => format!("'{text}'"),
                    Part::Pv(pv) => show(pv),
                })
                .collect();
            assert_eq!(shown, expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in r"[$()\[\]{}a.,*0-9é-]{0,40}") {
            let _ = parse_format(&text, Place::exact(Span::default()));
            let _ = parse(&text, Place::exact(Span::default()));
        }
    }
}
