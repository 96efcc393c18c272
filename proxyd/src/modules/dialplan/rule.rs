//! One rule of a dialplan: what it matches and what it makes of it (Kamailio module dialplan, table `dialplan`).

use super::glob;
use crate::script::module::Env;
use crate::script::program::Format;
use regex::bytes::Captures;
use regex::bytes::Regex;
use regex::bytes::RegexBuilder;

/// Compiles a text with pseudo-variables.
pub(super) type Parse<'a> = &'a dyn Fn(&[u8]) -> Result<Format, String>;

/// A rule as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) dpid: i64,
    pub(super) priority: i64,
    pub(super) operator: i64,
    pub(super) match_exp: String,
    pub(super) match_len: i64,
    pub(super) subst_exp: String,
    pub(super) repl_exp: String,
    pub(super) attrs: String,
}

/// How a rule matches.
enum Matcher {
    Equal(Vec<u8>),
    Regex(Pattern),
    Glob(Vec<u8>),
}

/// A regular expression, compiled with the rule or, with `match_dynamic`, at each use.
enum Pattern {
    Fixed(Regex),
    Dynamic(Format),
}

/// A piece of the replacement.
enum Piece {
    Text(Vec<u8>),
    Group(usize),
    Variables(Format),
}

/// A compiled rule.
pub(super) struct Rule {
    pub(super) row: Row,
    matcher: Matcher,
    subst: Option<Pattern>,
    replacement: Vec<Piece>,
}

/// What a rule made of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Nothing: the rule only has attributes.
    Nothing,
    /// A new text.
    Text(Vec<u8>),
    /// The substitution expression does not fit what the match expression fitted.
    Failed,
}

impl Rule {
    /// Compiles a rule; `parse` finds pseudo-variables where `dynamic` allows them.
    pub(super) fn compile(row: Row, parse: Parse<'_>, dynamic: bool) -> Result<Self, String> {
        let place = |why: String| format!("dpid {} pr {}: {why}", row.dpid, row.priority);
        let matcher = match row.operator {
            0 => Matcher::Equal(row.match_exp.clone().into_bytes()),
            1 => Matcher::Regex(Pattern::new(&row.match_exp, parse, dynamic).map_err(place)?),
            2 => Matcher::Glob(row.match_exp.clone().into_bytes()),
            other => return Err(place(format!("match_op {other} is none of 0, 1, 2"))),
        };
        let subst = match &*row.subst_exp {
            "" => None,
            text => Some(Pattern::new(text, parse, dynamic).map_err(place)?),
        };
        let replacement = pieces(row.repl_exp.as_bytes(), parse).map_err(place)?;
        let highest = replacement
            .iter()
            .filter_map(|p| if let Piece::Group(n) = p { Some(*n) } else { None })
            .max();
        match (&subst, highest) {
            (Some(Pattern::Fixed(regex)), Some(group)) if group >= regex.captures_len() => {
                let (repl, subst, has) = (&row.repl_exp, &row.subst_exp, regex.captures_len() - 1);
                let why = format!(
                    "repl_exp {repl} refers to {group} sub-expressions, but subst_exp {subst} has only {has}"
                );
                return Err(place(why));
            }
            _ => {}
        }
        Ok(Self {
            matcher,
            subst,
            replacement,
            row,
        })
    }

    /// Whether the rule is for this input.
    pub(super) fn matches(&self, input: &[u8], env: Option<&Env<'_>>) -> bool {
        match &self.matcher {
            Matcher::Equal(text) => text == input,
            Matcher::Glob(pattern) => glob::matches(pattern, input),
            Matcher::Regex(pattern) => pattern.is_match(input, env),
        }
    }

    /// What it makes of an input it matches; without an environment pseudo-variables stand as they are written.
    pub(super) fn apply(&self, input: &[u8], env: Option<&Env<'_>>) -> Made {
        if self.replacement.is_empty() {
            return Made::Nothing;
        }
        match &self.subst {
            None => Made::Text(self.build(None, env)),
            Some(Pattern::Fixed(regex)) => match regex.captures(input) {
                Some(groups) => Made::Text(self.build(Some(&groups), env)),
                None => Made::Failed,
            },
            Some(Pattern::Dynamic(format)) => {
                let regex = env.and_then(|env| compile(std::str::from_utf8(&format.expand(env)).ok()?).ok());
                match regex.as_ref().and_then(|regex| regex.captures(input)) {
                    Some(groups) => Made::Text(self.build(Some(&groups), env)),
                    None => Made::Failed,
                }
            }
        }
    }

    fn build(&self, groups: Option<&Captures<'_>>, env: Option<&Env<'_>>) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.replacement {
            match (piece, env) {
                (Piece::Text(text), _) => out.extend_from_slice(text),
                (Piece::Group(n), _) => {
                    let group = groups.and_then(|groups| groups.get(*n));
                    out.extend_from_slice(group.map(|m| m.as_bytes()).unwrap_or_default());
                }
                (Piece::Variables(format), Some(env)) => out.extend_from_slice(&format.expand(env)),
                (Piece::Variables(format), None) => {
                    format
                        .variables()
                        .for_each(|pv| out.extend_from_slice(pv.text().as_bytes()));
                }
            }
        }
        out
    }
}

impl Pattern {
    fn new(text: &str, parse: Parse<'_>, dynamic: bool) -> Result<Self, String> {
        if dynamic && text.contains('$') {
            let format = parse(text.as_bytes())?;
            if format.variables().next().is_some() {
                return Ok(Self::Dynamic(format));
            }
        }
        compile(text).map(Self::Fixed)
    }

    fn is_match(&self, input: &[u8], env: Option<&Env<'_>>) -> bool {
        match self {
            Self::Fixed(regex) => regex.is_match(input),
            Self::Dynamic(format) => {
                let text = env.map(|env| format.expand(env));
                let regex = text.and_then(|text| compile(std::str::from_utf8(&text).ok()?).ok());
                regex.is_some_and(|regex| regex.is_match(input))
            }
        }
    }
}

/// Compiles a regular expression in Perl's syntax, as far as it can be matched in linear time.
fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| {
            let text_of = error.to_string();
            let why = text_of
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            format!("regular expression {text:?}: {why}")
        })
}

/// Takes a replacement apart: `\1` to `\9`, pseudo-variables, text.
fn pieces(text: &[u8], parse: Parse<'_>) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.first()) {
            (b'\\', Some(digit @ b'0'..=b'9')) => {
                push_text(&mut pieces, &mut plain, parse)?;
                pieces.push(Piece::Group(usize::from(digit - b'0')));
                rest = after.get(1..).unwrap_or_default();
            }
            (b'\\', Some(other)) => {
                plain.push(*other);
                rest = after.get(1..).unwrap_or_default();
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    push_text(&mut pieces, &mut plain, parse)?;
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, plain: &mut Vec<u8>, parse: Parse<'_>) -> Result<(), String> {
    let text = std::mem::take(plain);
    if text.is_empty() {
        return Ok(());
    }
    // text and variables each for themselves, so that variables can be shown as they are written
    let mut rest = &*text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        let (head, tail) = rest.split_at(at);
        let end = variable_end(tail);
        let (variable, after) = tail.split_at(end);
        if !head.is_empty() {
            pieces.push(Piece::Text(head.to_vec()));
        }
        if end > 1 {
            pieces.push(Piece::Variables(parse(variable)?));
        } else {
            pieces.push(Piece::Text(variable.to_vec()));
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_vec()));
    }
    Ok(())
}

/// Where a pseudo-variable that begins with a dollar ends: behind its name and its parentheses.
fn variable_end(text: &[u8]) -> usize {
    let mut at = 1;
    while text
        .get(at)
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    {
        at += 1;
    }
    if text.get(at) != Some(&b'(') {
        return at;
    }
    let mut depth = 0usize;
    for (offset, byte) in text.iter().enumerate().skip(at) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return offset + 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(operator: i64, match_exp: &str, subst_exp: &str, repl_exp: &str) -> Result<Rule, String> {
        let row = Row {
            dpid: 1,
            priority: 1,
            operator,
            match_exp: match_exp.into(),
            match_len: 0,
            subst_exp: subst_exp.into(),
            repl_exp: repl_exp.into(),
            attrs: String::new(),
        };
        Rule::compile(row, &|_| Ok(Format::default()), false)
    }

    /// What Kamailio 5.6.3 was seen to make.
    #[test]
    fn rules_translate_as_in_kamailio() {
        for (operator, match_exp, subst, repl, input, expected) in [
            (
                1,
                "^00([1-9][0-9]+)$",
                "^00([1-9][0-9]+)$",
                r"+\1",
                "0049301",
                Some(Made::Text(b"+49301".to_vec())),
            ),
            (0, "112", "", "sos", "112", Some(Made::Text(b"sos".to_vec()))),
            (1, "^.+$", "", "", "x", Some(Made::Nothing)),
            (
                2,
                "q*",
                "^q(.*)$",
                r"Q\1",
                "qab",
                Some(Made::Text(b"Qab".to_vec())),
            ),
            (1, "^s", "s", "T", "sossa", Some(Made::Text(b"T".to_vec()))),
            (1, "^a(.*)$", "^b(.*)$", r"x\1", "abc", Some(Made::Failed)),
            (
                1,
                "^a(.*)$",
                "^a(.*)$",
                r"x\1y\0z",
                "abc",
                Some(Made::Text(b"xbcyabcz".to_vec())),
            ),
            (
                1,
                "(?i)^X([0-9]{2})$",
                "(?i)^X([0-9]{2})$",
                r"pcre\1",
                "x12",
                Some(Made::Text(b"pcre12".to_vec())),
            ),
            (0, "112", "", "sos", "1123", None),
        ] {
            let rule = rule(operator, match_exp, subst, repl).unwrap();
            let made = rule
                .matches(input.as_bytes(), None)
                .then(|| rule.apply(input.as_bytes(), None));
            assert_eq!(made, expected, "{match_exp} {input}");
        }
    }

    #[test]
    fn wrong_rules_are_refused() {
        for (subst, repl, why) in [
            ("^a(.*)$", r"x\1\2", "refers to 2 sub-expressions"),
            ("([bad", "x", "regular expression"),
            (r"(a)\1", "x", "regular expression"),
        ] {
            let refused = rule(1, "^a", subst, repl).err().unwrap();
            assert!(refused.contains(why), "{refused}");
        }
        assert!(rule(7, "x", "", "").is_err());
    }

    #[test]
    fn variables_end_where_they_end() {
        for (text, expected) in [
            ("$rU|", 3),
            ("$var(pre)x", 9),
            ("$(avp(a)[0])x", 12),
            ("$", 1),
            ("$x(", 3),
        ] {
            assert_eq!(variable_end(text.as_bytes()), expected, "{text}");
        }
    }
}
