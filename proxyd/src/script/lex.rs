//! Tokens of the configuration language (Kamailio core cookbook, "Generic Elements").

use super::token::Punct;
use super::token::TokenKind;
use logos::Logos;

/// The shape of a token, as the scanner sees it.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[logos(skip r"[ \t\r\n\f]+")]
enum Raw {
    #[regex(r"(#|//)[^\n]*", allow_greedy = true)]
    LineComment,
    #[token("/*")]
    BlockComment,
    #[token("#!")]
    Directive,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*", |_| Literal::Ident)]
    #[regex(r"[0-9]+", |_| Literal::Int, priority = 5)]
    #[regex(r"0[xX][0-9A-Fa-f]*", |_| Literal::Int, priority = 5)]
    #[regex(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", |_| Literal::Ip, priority = 6)]
    #[regex(r"([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}", |_| Literal::Ip, priority = 6)]
    #[regex(
        r"([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?::([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*(:[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)?|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)?",
        |_| Literal::Ip,
        priority = 6
    )]
    #[token("\"", |_| Literal::DoubleQuoted)]
    #[token("'", |_| Literal::SingleQuoted)]
    #[token("$", |_| Literal::Pv)]
    #[token("@", |_| Literal::Select)]
    Literal(Literal),
    #[token("{", |_| Punct::LeftBrace)]
    #[token("}", |_| Punct::RightBrace)]
    #[token("(", |_| Punct::LeftParen)]
    #[token(")", |_| Punct::RightParen)]
    #[token("[", |_| Punct::LeftBracket)]
    #[token("]", |_| Punct::RightBracket)]
    #[token(";", |_| Punct::Semicolon)]
    #[token(",", |_| Punct::Comma)]
    #[token(".", |_| Punct::Dot)]
    #[token(":", |_| Punct::Colon)]
    #[token("=", |_| Punct::Assign)]
    #[token(":=", |_| Punct::Assign)]
    #[token("+=", |_| Punct::PlusAssign)]
    #[token("-=", |_| Punct::MinusAssign)]
    #[token("*=", |_| Punct::StarAssign)]
    #[token("/=", |_| Punct::SlashAssign)]
    #[token("%=", |_| Punct::PercentAssign)]
    #[token("|=", |_| Punct::OrAssign)]
    #[token("&=", |_| Punct::AndAssign)]
    #[token("^=", |_| Punct::XorAssign)]
    #[token("==", |_| Punct::Equal)]
    #[token("!=", |_| Punct::NotEqual)]
    #[token("=~", |_| Punct::Match)]
    #[token("!~", |_| Punct::NotMatch)]
    #[token("<", |_| Punct::Less)]
    #[token("<=", |_| Punct::LessEqual)]
    #[token(">", |_| Punct::Greater)]
    #[token(">=", |_| Punct::GreaterEqual)]
    #[token("&&", |_| Punct::LogicalAnd)]
    #[token("||", |_| Punct::LogicalOr)]
    #[token("!", |_| Punct::Not)]
    #[token("+", |_| Punct::Plus)]
    #[token("-", |_| Punct::Minus)]
    #[token("*", |_| Punct::Star)]
    #[token("/", |_| Punct::Slash)]
    #[token("%", |_| Punct::Percent)]
    #[token("&", |_| Punct::Ampersand)]
    #[token("|", |_| Punct::Pipe)]
    #[token("^", |_| Punct::Caret)]
    #[token("~", |_| Punct::Tilde)]
    #[token("<<", |_| Punct::ShiftLeft)]
    #[token(">>", |_| Punct::ShiftRight)]
    Punct(Punct),
}

/// What is more than an operator; of the last four only the first character is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Literal {
    Ident,
    Int,
    Ip,
    DoubleQuoted,
    SingleQuoted,
    Pv,
    Select,
}

/// What the scanner found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// A token; `raw` strings are not yet touched by substitutions.
    Token(TokenKind),
    /// `#!`: the preprocessor reads the line itself.
    Directive,
    /// Something that is no token.
    Bad(&'static str, String),
    /// The end of the text.
    End,
}

/// One step of the scanner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// What was found.
    pub(super) found: Scanned,
    /// Its byte range in the text.
    pub(super) start: usize,
    /// Its end.
    pub(super) end: usize,
    /// White space or a comment was skipped before it.
    pub(super) spaced: bool,
    /// A line end was skipped before it.
    pub(super) newline: bool,
}

/// Reads the token that begins at or after `at`; `after_case` allows a `/regular expression/`.
pub(super) fn scan(text: &str, at: usize, after_case: bool) -> Step {
    let (mut spaced, mut newline) = (at == 0, at == 0);
    let mut from = at;
    loop {
        let rest = text.get(from..).unwrap_or("");
        let mut lexer = Raw::lexer(rest);
        let step = |found, start: usize, end: usize, skipped: &str| Step {
            found,
            start,
            end,
            spaced: spaced || !skipped.is_empty(),
            newline: newline || skipped.contains('\n'),
        };
        let Some(result) = lexer.next() else {
            return step(Scanned::End, text.len(), text.len(), rest);
        };
        let (start, mut end) = (from + lexer.span().start, from + lexer.span().end);
        let skipped = text.get(from..start).unwrap_or("");
        // "\<newline>" continues a define; anywhere else it is no harm
        let Ok(raw) = result else {
            let rest = text.get(start..).unwrap_or("");
            if rest.starts_with("\\\n") || rest.starts_with("\\\r\n") {
                spaced = true;
                from = start + 1;
                continue;
            }
            let shown: String = rest.chars().take(1).collect();
            let end = (start + shown.len().max(1)).min(text.len());
            return step(Scanned::Bad("unexpected character", shown), start, end, skipped);
        };
        let after = text.get(end..).unwrap_or("");
        let read = match raw {
            Raw::LineComment if text.get(start..).is_some_and(|t| t.starts_with("#!")) => {
                return step(Scanned::Directive, start, start + 2, skipped);
            }
            Raw::Directive => return step(Scanned::Directive, start, end, skipped),
            Raw::LineComment => None,
            Raw::BlockComment => match after.find("*/") {
                Some(length) => {
                    end += length + 2;
                    None
                }
                None => Some(Err(("comment without its `*/`", after.len()))),
            },
            // Kamailio: `case /"expression":`, a slash before a string
            Raw::Punct(Punct::Slash) if after_case && !after.trim_start().starts_with(['"', '\'']) => {
                Some(regex_literal(after))
            }
            Raw::Punct(punct) => Some(Ok((TokenKind::Punct(punct), 0))),
            Raw::Literal(kind) => Some(literal(kind, lexer.slice(), after)),
        };
        match read {
            Some(Ok((kind, more))) => return step(Scanned::Token(kind), start, end + more, skipped),
            Some(Err((mistake, more))) => {
                return step(Scanned::Bad(mistake, String::new()), start, end + more, skipped);
            }
            None => {}
        }
        spaced = true;
        newline |= text.get(from..end).unwrap_or("").contains('\n');
        from = end;
    }
}

/// A token and the bytes of it that were still to be read; or what is wrong, and the bytes that are.
type Read = Result<(TokenKind, usize), (&'static str, usize)>;

/// Reads on behind `first`.
fn literal(kind: Literal, first: &str, after: &str) -> Read {
    let whole = |length: usize| [first, after.get(..length).unwrap_or("")].concat();
    let line = after.find('\n').unwrap_or(after.len());
    match kind {
        Literal::Ident => Ok((TokenKind::Ident(first.to_owned()), 0)),
        Literal::Int => Ok((TokenKind::Int(first.to_owned()), 0)),
        Literal::Ip => Ok((TokenKind::Ip(first.to_owned()), 0)),
        Literal::DoubleQuoted => match double_quoted(after) {
            Some((value, length)) => Ok((TokenKind::Str(value), length)),
            None => Err(("string without its closing `\"`", line)),
        },
        Literal::SingleQuoted => match after.split_once('\'') {
            Some((value, _)) => Ok((TokenKind::Str(value.to_owned()), value.len() + 1)),
            None => Err(("string without its closing `'`", line)),
        },
        Literal::Pv => match pv_length(after) {
            Some(0) => Err(("`$` without a pseudo-variable name", 0)),
            Some(length) => Ok((TokenKind::Pv(whole(length)), length)),
            None => Err(("pseudo-variable without its closing `)`", line)),
        },
        Literal::Select => match select_length(after) {
            0 => Err(("`@` without a select name", 0)),
            length => Ok((TokenKind::Select(whole(length)), length)),
        },
    }
}

/// The value and length of a double-quoted string whose opening quote was read.
///
/// Kamailio: `\n \r \t \a \\ \"`, `\xHH`, octal and an escaped line end are resolved, any other backslash stays.
fn double_quoted(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => {
                let (_, escaped) = chars.next()?;
                match escaped {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    'a' => value.push('\x07'),
                    '\\' | '"' => value.push(escaped),
                    '\n' => {}
                    '\r' if chars.peek().is_some_and(|(_, next)| *next == '\n') => {
                        chars.next();
                    }
                    'x' => match number(text, at + 2, 16, 2) {
                        Some((code, digits)) => {
                            value.push(char::from(code));
                            chars.nth(digits - 1);
                        }
                        None => value.push_str("\\x"),
                    },
                    // a single digit is what `\1` of a substitution needs
                    '0'..='7' => match number(text, at + 1, 8, 3).filter(|(_, digits)| *digits > 1) {
                        Some((code, digits)) => {
                            value.push(char::from(code));
                            chars.nth(digits - 2);
                        }
                        None => {
                            value.push('\\');
                            value.push(escaped);
                        }
                    },
                    other => {
                        value.push('\\');
                        value.push(other);
                    }
                }
            }
            other => value.push(other),
        }
    }
    None
}

/// Up to `most` digits at `at` as an ASCII code.
fn number(text: &str, at: usize, radix: u32, most: usize) -> Option<(u8, usize)> {
    let digits = text
        .get(at..)?
        .chars()
        .take(most)
        .take_while(|c| c.is_digit(radix))
        .count();
    let code = u8::from_str_radix(text.get(at..at + digits)?, radix)
        .ok()
        .filter(u8::is_ascii)?;
    Some((code, digits))
}

/// Reads a `/pattern/flags` whose first slash was read.
fn regex_literal(text: &str) -> Read {
    let unclosed = ("regular expression without its closing `/`", 0);
    let mut pattern = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => break,
            '\\' => match chars.next().ok_or(unclosed)?.1 {
                '/' => pattern.push('/'),
                other => pattern.extend(['\\', other]),
            },
            '/' => {
                let flags = chars.as_str().chars().take_while(char::is_ascii_alphabetic);
                let flags: String = flags.collect();
                let length = at + 1 + flags.len();
                return Ok((TokenKind::Regex(pattern, flags), length));
            }
            other => pattern.push(other),
        }
    }
    Err(unclosed)
}

/// The length of a pseudo-variable behind its dollar: `name`, `name(…)` or `(…)`; none without its closing bracket.
fn pv_length(text: &str) -> Option<usize> {
    let name = name_length(text);
    let rest = text.get(name..).unwrap_or("");
    if !rest.starts_with('(') {
        // `$f.did` is no pseudo-variable, but one mistake
        let attribute = rest
            .strip_prefix('.')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        return Some(name + attribute.map_or(0, |rest| 1 + name_length(rest)));
    }
    if name == 0 && !rest[1..].starts_with(|c: char| is_name(c)) {
        return Some(0);
    }
    closing(rest, '(', ')').map(|end| name + end)
}

/// The length of a pseudo-variable's name; `$?` is the return code.
pub(super) fn name_length(text: &str) -> usize {
    if text.starts_with('?') {
        return 1;
    }
    text.find(|c: char| !is_name(c)).unwrap_or(text.len())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The offset behind the bracket that closes the one `text` begins with.
pub(super) fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return Some(at + c.len_utf8());
            }
        }
    }
    None
}

/// The length of a select behind its `@`: `a.b[1].c["x"]`.
fn select_length(text: &str) -> usize {
    let mut at = 0;
    loop {
        let name = name_length(text.get(at..).unwrap_or(""));
        if name == 0 {
            return at.saturating_sub(1);
        }
        at += name;
        while text.get(at..).is_some_and(|rest| rest.starts_with('[')) {
            let Some(length) = closing(text.get(at..).unwrap_or(""), '[', ']') else {
                return at;
            };
            at += length;
        }
        if !text.get(at..).is_some_and(|rest| rest.starts_with('.')) {
            return at;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::span::Span;
    use crate::script::token::Token;

    fn words(text: &str) -> Vec<String> {
        let (mut out, mut at) = (Vec::new(), 0);
        loop {
            let step = scan(text, at, false);
            match step.found {
                Scanned::End => return out,
                Scanned::Token(TokenKind::Str(value)) => out.push(format!("\"{value}\"")),
                Scanned::Token(kind) => {
                    let token = Token {
                        kind,
                        span: Span::default(),
                        spaced: false,
                        first: false,
                    };
                    out.push(token.text().to_owned());
                }
                Scanned::Directive => out.push("#!".to_owned()),
                Scanned::Bad(what, _) => out.push(format!("<{what}>")),
            }
            at = step.end;
        }
    }

    #[test]
    fn splits_text_into_tokens() {
        for (text, expected) in [
            ("a=1;b = 0x1F", &["a", "=", "1", ";", "b", "=", "0x1F"][..]),
            (
                "10.0.0.0/8 ::1 2001:db8::1 fe80:1:2:3:4:5:6:7",
                &["10.0.0.0", "/", "8", "::1", "2001:db8::1", "fe80:1:2:3:4:5:6:7"],
            ),
            ("case 1: x", &["case", "1", ":", "x"]),
            ("udp:1.2.3.4:5060", &["udp", ":", "1.2.3.4", ":", "5060"]),
            (
                "$var(a)+$(var(x){s.substr,$var(i),3})",
                &["$var(a)", "+", "$(var(x){s.substr,$var(i),3})"],
            ),
            ("$sht(a=>$si::$rU)=$null", &["$sht(a=>$si::$rU)", "=", "$null"]),
            (
                "@cfg_get.a.b==@via[1].host;",
                &["@cfg_get.a.b", "==", "@via[1].host", ";"],
            ),
            ("a# c\n// d\nb /* e\n */ c", &["a", "b", "c"]),
            (
                r#""a\tb\\\"\q\x41\101" 'x\n'"#,
                &["\"a\tb\\\"\\qAA\"", "\"x\\n\""],
            ),
            (
                "a!~b=~c!=d<=e>>f<<1",
                &[
                    "a", "!~", "b", "=~", "c", "!=", "d", "<=", "e", ">>", "f", "<<", "1",
                ],
            ),
            ("\"open", &["<string without its closing `\"`>"]),
            ("x /* open", &["x", "<comment without its `*/`>"]),
            (
                "$ §",
                &["<`$` without a pseudo-variable name>", "<unexpected character>"],
            ),
            ("$(rU{s.len", &["<pseudo-variable without its closing `)`>"]),
            ("#!define", &["#!", "define"]),
            ("$?==1", &["$?", "==", "1"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn a_case_may_hold_a_regular_expression() {
        let step = scan(r" /^a\/[0-9]+/i: x", 0, true);
        assert_eq!(
            step.found,
            Scanned::Token(TokenKind::Regex("^a/[0-9]+".into(), "i".into()))
        );
        assert_eq!(step.end, 14);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            words(&text);
        }

        #[test]
        fn never_panics_on_likely_text(text in r#"[a1:.$@(){}"'\\/#!=\n -]{0,40}"#) {
            words(&text);
        }
    }
}
