//! POSIX extended regular expressions for `=~`, `subst` and module arguments, on an engine that is linear in time.
//!
//! Kamailio compiles them with glibc's `regcomp`; what the engine reads differently is translated, what it cannot
//! say is refused when the script compiles.

use crate::report::printable;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::LazyLock;

/// How an expression is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// Letters match in either case: the rule of `=~`.
    pub ignore_case: bool,
    /// `.` and negated classes stop at a line end, `^` and `$` match there (`REG_NEWLINE`).
    pub newline: bool,
}

impl Options {
    /// Those of `=~`.
    pub const CONDITION: Self = Self {
        ignore_case: true,
        newline: false,
    };
    /// Those of `subst`-like functions and transformations without flags.
    pub const PLAIN: Self = Self {
        ignore_case: false,
        newline: false,
    };
}

/// A compiled expression; cheap to clone.
#[derive(Debug, Clone)]
pub struct Regex(Arc<regex::bytes::Regex>);

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("regular expression `{}`: {why}", printable(pattern))]
pub struct RegexError {
    /// The expression.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Regex {
    /// Compiles an expression.
    pub fn compile(pattern: &[u8], options: Options) -> Result<Self, RegexError> {
        let refuse = |why: String| RegexError {
            pattern: String::from_utf8_lossy(pattern).into_owned(),
            why,
        };
        let translated = translate(pattern).map_err(refuse)?;
        regex::bytes::RegexBuilder::new(&translated)
            .case_insensitive(options.ignore_case)
            .dot_matches_new_line(!options.newline)
            .multi_line(options.newline)
            .unicode(false)
            .octal(false)
            .size_limit(1 << 22)
            .build()
            .map(|regex| Self(Arc::new(regex)))
            .map_err(|error| refuse(short(&error)))
    }

    /// Compiles with the options of `=~`, remembering the last few: for expressions that pseudo-variables make.
    pub fn cached(pattern: &[u8]) -> Option<Self> {
        static RECENT: LazyLock<Mutex<VecDeque<(Box<[u8]>, Option<Regex>)>>> = LazyLock::new(Mutex::default);
        const KEPT: usize = 32;
        if let Some((_, known)) = RECENT.lock().iter().find(|(text, _)| **text == *pattern) {
            return known.clone();
        }
        let compiled = Self::compile(pattern, Options::CONDITION).ok();
        let mut recent = RECENT.lock();
        if recent.len() >= KEPT {
            recent.pop_back();
        }
        recent.push_front((pattern.into(), compiled.clone()));
        compiled
    }

    /// Whether it matches somewhere.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// The ranges of the whole match and of its groups.
    pub fn groups(&self, text: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
        let captures = self.0.captures(text)?;
        Some(captures.iter().map(|group| group.map(|m| m.range())).collect())
    }

    /// The engine's expression, for replacing.
    pub fn engine(&self) -> &regex::bytes::Regex {
        &self.0
    }
}

fn short(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Writes an extended regular expression in the engine's syntax.
fn translate(pattern: &[u8]) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut at = 0;
    let mut repeated = true; // whether the last thing may not be repeated: at the start, after ( | ^
    let mut quantifier = None;
    while let Some(&byte) = pattern.get(at) {
        at += 1;
        match byte {
            b'\\' => {
                let Some(&next) = pattern.get(at) else {
                    return Err("trailing backslash".into());
                };
                at += 1;
                repeated = false;
                match next {
                    b'1'..=b'9' => return Err(format!("back reference \\{} is not supported", next as char)),
                    b'w' | b'W' | b's' | b'S' | b'b' | b'B' => {
                        out.push('\\');
                        out.push(next as char);
                    }
                    b'<' => out.push_str(r"\b{start}"),
                    b'>' => out.push_str(r"\b{end}"),
                    b'`' => out.push_str(r"\A"),
                    b'\'' => out.push_str(r"\z"),
                    literal => push_literal(&mut out, literal), // glibc: \d is the letter d
                }
            }
            b'[' => {
                at = class(pattern, at, &mut out)?;
                repeated = false;
            }
            b'(' => {
                out.push('(');
                repeated = true;
            }
            b'|' | b'^' => {
                out.push(byte as char);
                repeated = true;
            }
            b')' | b'$' | b'.' => {
                out.push(byte as char);
                repeated = false;
            }
            b'*' | b'+' | b'?' if repeated => push_literal(&mut out, byte), // glibc: nothing to repeat
            b'*' | b'+' | b'?' => {
                // a second repetition applies to the first; the engine would read a lazy match
                match (quantifier, byte) {
                    (Some(before), now) if before == now => {}
                    (Some(_), _) => {
                        out.pop();
                        out.push('*');
                    }
                    (None, now) => out.push(now as char),
                }
                quantifier = out.bytes().last();
                continue;
            }
            b'{' => match interval(pattern, at) {
                Some((text, next)) if !repeated => {
                    out.push_str(&text);
                    at = next;
                }
                _ => push_literal(&mut out, b'{'),
            },
            literal => {
                push_literal(&mut out, literal);
                repeated = false;
            }
        }
        quantifier = None;
    }
    Ok(out)
}

/// Appends one byte that stands for itself.
fn push_literal(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ' {
        out.push(byte as char);
    } else if byte.is_ascii_graphic() {
        out.push('\\');
        out.push(byte as char);
    } else {
        out.push_str(&format!(r"\x{byte:02x}"));
    }
}

/// Reads `m}`, `m,}`, `,n}` or `m,n}`.
fn interval(pattern: &[u8], at: usize) -> Option<(String, usize)> {
    let rest = pattern.get(at..)?;
    let end = rest.iter().position(|b| *b == b'}')?;
    let inner = std::str::from_utf8(rest.get(..end)?).ok()?;
    let number = |text: &str| text.is_empty() || text.bytes().all(|b| b.is_ascii_digit());
    let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
    if inner.is_empty() || !number(low) || !number(high) {
        return None;
    }
    let low = if low.is_empty() { "0" } else { low };
    let text = if inner.contains(',') {
        format!("{{{low},{high}}}")
    } else {
        format!("{{{low}}}")
    };
    Some((text, at + end + 1))
}

/// Translates a bracket expression; `at` is after the bracket.
fn class(pattern: &[u8], mut at: usize, out: &mut String) -> Result<usize, String> {
    out.push('[');
    if pattern.get(at) == Some(&b'^') {
        out.push('^');
        at += 1;
    }
    let mut first = true;
    loop {
        let Some(&byte) = pattern.get(at) else {
            return Err("bracket without an end".into());
        };
        at += 1;
        match byte {
            b']' if !first => {
                out.push(']');
                return Ok(at);
            }
            b'[' if pattern.get(at) == Some(&b':') => {
                let rest = pattern.get(at + 1..).unwrap_or_default();
                let Some(end) = rest.windows(2).position(|w| w == b":]") else {
                    return Err("character class without an end".into());
                };
                let name = std::str::from_utf8(rest.get(..end).unwrap_or_default()).unwrap_or_default();
                let known = [
                    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                    "upper", "xdigit",
                ];
                if !known.contains(&name) {
                    return Err(format!("unknown character class {name:?}"));
                }
                out.push_str(&format!("[:{name}:]"));
                at += end + 3;
            }
            b'[' if matches!(pattern.get(at), Some(b'.' | b'=')) => {
                return Err("collating elements are not supported".into());
            }
            b'-' => {
                // between two ends it makes a range; else it is itself
                let opens = first || out.ends_with('[') || out.ends_with("[^");
                let closes = pattern.get(at) == Some(&b']');
                if opens || closes {
                    out.push_str(r"\-")
                } else {
                    out.push('-')
                }
            }
            literal => push_literal(out, literal),
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the engine and glibc read an expression differently: what glibc does is expected.
    #[test]
    fn reads_expressions_as_glibc_does() {
        for (pattern, text, expected) in [
            (r"^[a-z]+$", "x", true),
            ("X", "x", true),
            (r"^\+[1-9][0-9]{3,20}$", "+49301234", true),
            (r"\d+", "123", false),
            (r"\d+", "d", true),
            (r"[[:digit:]]{4}", "a1234", true),
            ("line1.line2", "line1\nline2", true),
            ("^line2", "line1\nline2", false),
            ("", "abc", true),
            (r"\w+", "a", true),
            (r"\<49", "+49", true),
            (r"[a\]", "\\", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[[a]", "[", true),
            ("[a&&b]", "&", true),
            ("a{,2}b", "aab", true),
            ("a{x", "a{x", true),
            ("*a", "*a", true),
            ("(*a)", "*a", true),
            ("a*?b", "b", true),
            ("(x|y)$", "ay", true),
            ("[.]", ".", true),
        ] {
            let regex = Regex::compile(pattern.as_bytes(), Options::CONDITION).expect(pattern);
            assert_eq!(regex.is_match(text.as_bytes()), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for pattern in ["[", "(", r"(a)\1", "[[:nope:]]", "\\"] {
            assert!(
                Regex::compile(pattern.as_bytes(), Options::CONDITION).is_err(),
                "{pattern}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern: Vec<u8>, text: Vec<u8>) {
            if let Ok(regex) = Regex::compile(&pattern, Options::CONDITION) {
                regex.is_match(&text);
            }
        }
    }
}
