//! `#!subst "/what/with/flags"` on the strings of a script (Kamailio core cookbook, "subst").

use shared::regex::Options;
use shared::regex::Regex;

/// Why a substitution was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubstError {
    /// Its delimiters do not come in threes.
    #[error("substitution `{0}` needs its delimiter three times")]
    Delimiters(String),
    /// A flag that does not exist.
    #[error("unknown flag `{0}` of a substitution")]
    Flag(char),
    /// Its expression cannot be compiled.
    #[error(transparent)]
    Regex(#[from] shared::regex::RegexError),
}

/// A compiled substitution.
#[derive(Debug)]
pub(super) struct Subst {
    regex: Regex,
    with: Vec<Part>,
    all: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Group(usize),
}

impl Subst {
    /// Reads `/what/with/flags`, whose delimiter is its first character; gives back what and with, too.
    pub(super) fn parse(text: &str) -> Result<(Self, String, String), SubstError> {
        let refuse = || SubstError::Delimiters(text.to_owned());
        let delimiter = text
            .chars()
            .next()
            .filter(|c| !c.is_alphanumeric() && *c != '\\')
            .ok_or_else(refuse)?;
        let mut fields = vec![String::new()];
        let mut chars = text.chars().skip(1);
        while let Some(c) = chars.next() {
            if c == delimiter && fields.len() < 3 {
                fields.push(String::new());
                continue;
            }
            let Some(field) = fields.last_mut() else { break };
            if c == '\\' {
                match chars.next() {
                    Some(next) if next == delimiter => field.push(next),
                    Some(next) => field.extend(['\\', next]),
                    None => field.push('\\'),
                }
            } else {
                field.push(c);
            }
        }
        let [what, with, flags] = <[String; 3]>::try_from(fields).map_err(|_| refuse())?;
        let (mut ignore_case, mut newline, mut all) = (false, false, false);
        for flag in flags.trim().chars() {
            match flag {
                'i' => ignore_case = true,
                'g' => all = true,
                's' => newline = true,
                other => return Err(SubstError::Flag(other)),
            }
        }
        let regex = Regex::compile(what.as_bytes(), Options { ignore_case, newline })?;
        Ok((
            Self {
                regex,
                with: replacement(&with),
                all,
            },
            what,
            with,
        ))
    }

    /// Replaces in a string.
    pub(super) fn apply(&self, text: &mut String) {
        let engine = self.regex.engine();
        if !engine.is_match(text.as_bytes()) {
            return;
        }
        let limit = if self.all { 0 } else { 1 };
        let replaced = engine.replacen(text.as_bytes(), limit, |groups: &regex::bytes::Captures<'_>| {
            let mut out = Vec::new();
            for part in &self.with {
                match part {
                    Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                    Part::Group(n) => {
                        out.extend_from_slice(groups.get(*n).map_or(b"", |group| group.as_bytes()))
                    }
                }
            }
            out
        });
        *text = String::from_utf8_lossy(&replaced).into_owned();
    }
}

/// `\1` to `\9` stand for groups, `\0` for the whole match.
fn replacement(with: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some(digit @ '0'..='9') => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Group(digit as usize - '0' as usize));
            }
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
    }
    parts.push(Part::Text(text));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_like_the_stream_editor() {
        for (expression, text, expected) in [
            ("/a/b/", "aa", "ba"),
            ("/a/b/g", "aa", "bb"),
            ("/A/b/gi", "aa", "bb"),
            ("!X!a/b!", "-X-", "-a/b-"),
            (r"/K([0-9])/[\1]/g", "K1 K2", "[1] [2]"),
            ("/a/<&>/", "a", "<&>"),
            (r"/a\/b/c/", "a/b", "c"),
            ("/zz/b/", "a", "a"),
        ] {
            let (subst, ..) = Subst::parse(expression).expect(expression);
            let mut text = text.to_owned();
            subst.apply(&mut text);
            assert_eq!(text, expected, "{expression}");
        }
    }

    #[test]
    fn refuses_what_is_no_substitution() {
        for expression in ["", "/", "/a", "/a/b", "abc", "/a/b/x", "/[/b/"] {
            assert!(Subst::parse(expression).is_err(), "{expression}");
        }
    }
}
