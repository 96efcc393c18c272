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
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Ident,
    #[regex(r"[0-9]+", priority = 5)]
    #[regex(r"0[xX][0-9A-Fa-f]*", priority = 5)]
    Int,
    #[regex(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", priority = 6)]
    Ipv4,
    #[regex(r"([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}", priority = 6)]
    #[regex(
        r"([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?::([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*(:[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)?|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)?",
        priority = 6
    )]
    Ipv6,
    #[token("\"")]
    DoubleQuote,
    #[token("'")]
    SingleQuote,
    #[token("$")]
    Dollar,
    #[token("@")]
    At,
    #[token("{")]
    LeftBrace,
    #[token("}")]
    RightBrace,
    #[token("(")]
    LeftParen,
    #[token(")")]
    RightParen,
    #[token("[")]
    LeftBracket,
    #[token("]")]
    RightBracket,
    #[token(";")]
    Semicolon,
    #[token(",")]
    Comma,
    #[token(".")]
    Dot,
    #[token(":")]
    Colon,
    #[token("=")]
    Assign,
    #[token(":=")]
    ColonAssign,
    #[token("+=")]
    PlusAssign,
    #[token("-=")]
    MinusAssign,
    #[token("*=")]
    StarAssign,
    #[token("/=")]
    SlashAssign,
    #[token("%=")]
    PercentAssign,
    #[token("|=")]
    OrAssign,
    #[token("&=")]
    AndAssign,
    #[token("^=")]
    XorAssign,
    #[token("==")]
    Equal,
    #[token("!=")]
    NotEqual,
    #[token("=~")]
    Match,
    #[token("!~")]
    NotMatch,
    #[token("<")]
    Less,
    #[token("<=")]
    LessEqual,
    #[token(">")]
    Greater,
    #[token(">=")]
    GreaterEqual,
    #[token("&&")]
    LogicalAnd,
    #[token("||")]
    LogicalOr,
    #[token("!")]
    Not,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("%")]
    Percent,
    #[token("&")]
    Ampersand,
    #[token("|")]
    Pipe,
    #[token("^")]
    Caret,
    #[token("~")]
    Tilde,
    #[token("<<")]
    ShiftLeft,
    #[token(">>")]
    ShiftRight,
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
            let continued = text
                .get(start..)
                .is_some_and(|t| t.starts_with("\\\n") || t.starts_with("\\\r\n"));
            if continued {
                spaced = true;
                from = start + 1;
                continue;
            }
            let shown: String = text.get(start..).unwrap_or("").chars().take(1).collect();
            end = start + shown.len().max(1);
            return step(
                Scanned::Bad("unexpected character", shown),
                start,
                end.min(text.len()),
                skipped,
            );
        };
        let after = text.get(end..).unwrap_or("");
        let found = match raw {
            Raw::LineComment if text.get(start..).is_some_and(|t| t.starts_with("#!")) => {
                return step(Scanned::Directive, start, start + 2, skipped);
            }
            Raw::Directive => return step(Scanned::Directive, start, end, skipped),
            Raw::LineComment => {
                spaced = true;
                newline |= skipped.contains('\n');
                from = end;
                continue;
            }
            Raw::BlockComment => {
                let Some(length) = after.find("*/") else {
                    return step(
                        Scanned::Bad("comment without its `*/`", String::new()),
                        start,
                        text.len(),
                        skipped,
                    );
                };
                spaced = true;
                let whole = text.get(start..end + length).unwrap_or("");
                newline |= skipped.contains('\n') || whole.contains('\n');
                from = end + length + 2;
                continue;
            }
            // Kamailio: `case /"expression":`, a slash before a string
            Raw::Slash if after_case && after.trim_start().starts_with(['"', '\'']) => {
                Scanned::Token(TokenKind::Punct(Punct::Slash))
            }
            Raw::Slash if after_case => match regex_literal(after) {
                Some((pattern, flags, length)) => {
                    end += length;
                    Scanned::Token(TokenKind::Regex(pattern, flags))
                }
                None => Scanned::Bad("regular expression without its closing `/`", String::new()),
            },
            Raw::DoubleQuote => match double_quoted(after) {
                Some((value, length)) => {
                    end += length;
                    Scanned::Token(TokenKind::Str(value))
                }
                None => {
                    end = line_end(text, start);
                    Scanned::Bad("string without its closing `\"`", String::new())
                }
            },
            Raw::SingleQuote => match after.find('\'') {
                Some(length) => {
                    end += length + 1;
                    Scanned::Token(TokenKind::Str(after.get(..length).unwrap_or("").to_owned()))
                }
                None => {
                    end = line_end(text, start);
                    Scanned::Bad("string without its closing `'`", String::new())
                }
            },
            Raw::Dollar => match pv_length(after) {
                0 => Scanned::Bad("`$` without a pseudo-variable name", String::new()),
                usize::MAX => {
                    end = line_end(text, start);
                    Scanned::Bad("pseudo-variable without its closing `)`", String::new())
                }
                length => {
                    end += length;
                    Scanned::Token(TokenKind::Pv(text.get(start..end).unwrap_or("").to_owned()))
                }
            },
            Raw::At => match select_length(after) {
                0 => Scanned::Bad("`@` without a select name", String::new()),
                length => {
                    end += length;
                    Scanned::Token(TokenKind::Select(text.get(start..end).unwrap_or("").to_owned()))
                }
            },
            Raw::Ident => Scanned::Token(TokenKind::Ident(lexer.slice().to_owned())),
            Raw::Int => Scanned::Token(TokenKind::Int(lexer.slice().to_owned())),
            Raw::Ipv4 | Raw::Ipv6 => Scanned::Token(TokenKind::Ip(lexer.slice().to_owned())),
            other => Scanned::Token(TokenKind::Punct(punct(other))),
        };
        return step(found, start, end, skipped);
    }
}

fn punct(raw: Raw) -> Punct {
    match raw {
        Raw::LeftBrace => Punct::LeftBrace,
        Raw::RightBrace => Punct::RightBrace,
        Raw::LeftParen => Punct::LeftParen,
        Raw::RightParen => Punct::RightParen,
        Raw::LeftBracket => Punct::LeftBracket,
        Raw::RightBracket => Punct::RightBracket,
        Raw::Comma => Punct::Comma,
        Raw::Dot => Punct::Dot,
        Raw::Colon => Punct::Colon,
        Raw::Assign | Raw::ColonAssign => Punct::Assign,
        Raw::PlusAssign => Punct::PlusAssign,
        Raw::MinusAssign => Punct::MinusAssign,
        Raw::StarAssign => Punct::StarAssign,
        Raw::SlashAssign => Punct::SlashAssign,
        Raw::PercentAssign => Punct::PercentAssign,
        Raw::OrAssign => Punct::OrAssign,
        Raw::AndAssign => Punct::AndAssign,
        Raw::XorAssign => Punct::XorAssign,
        Raw::Equal => Punct::Equal,
        Raw::NotEqual => Punct::NotEqual,
        Raw::Match => Punct::Match,
        Raw::NotMatch => Punct::NotMatch,
        Raw::Less => Punct::Less,
        Raw::LessEqual => Punct::LessEqual,
        Raw::Greater => Punct::Greater,
        Raw::GreaterEqual => Punct::GreaterEqual,
        Raw::LogicalAnd => Punct::LogicalAnd,
        Raw::LogicalOr => Punct::LogicalOr,
        Raw::Not => Punct::Not,
        Raw::Plus => Punct::Plus,
        Raw::Minus => Punct::Minus,
        Raw::Star => Punct::Star,
        Raw::Slash => Punct::Slash,
        Raw::Percent => Punct::Percent,
        Raw::Ampersand => Punct::Ampersand,
        Raw::Pipe => Punct::Pipe,
        Raw::Caret => Punct::Caret,
        Raw::Tilde => Punct::Tilde,
        Raw::ShiftLeft => Punct::ShiftLeft,
        Raw::ShiftRight => Punct::ShiftRight,
        // what is left never gets here: it is handled by the caller
        Raw::Semicolon
        | Raw::LineComment
        | Raw::BlockComment
        | Raw::Directive
        | Raw::Ident
        | Raw::Int
        | Raw::Ipv4
        | Raw::Ipv6
        | Raw::DoubleQuote
        | Raw::SingleQuote
        | Raw::Dollar
        | Raw::At => Punct::Semicolon,
    }
}

fn line_end(text: &str, from: usize) -> usize {
    text.get(from..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |n| from + n)
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

/// Pattern, flags and length of a `/pattern/flags` whose first slash was read.
fn regex_literal(text: &str) -> Option<(String, String, usize)> {
    let mut pattern = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => return None,
            '\\' => match chars.next()?.1 {
                '/' => pattern.push('/'),
                other => pattern.extend(['\\', other]),
            },
            '/' => {
                let flags: String = chars
                    .as_str()
                    .chars()
                    .take_while(char::is_ascii_alphabetic)
                    .collect();
                let length = at + 1 + flags.len();
                return Some((pattern, flags, length));
            }
            other => pattern.push(other),
        }
    }
    None
}

/// The length of a pseudo-variable behind its dollar: `name`, `name(…)` or `(…)`; `usize::MAX` without its end.
pub(super) fn pv_length(text: &str) -> usize {
    let name = name_length(text);
    let rest = text.get(name..).unwrap_or("");
    if !rest.starts_with('(') {
        // `$f.did` is no pseudo-variable, but one mistake
        let attribute = rest
            .strip_prefix('.')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        return name + attribute.map_or(0, |rest| 1 + name_length(rest));
    }
    if name == 0 && !rest[1..].starts_with(|c: char| is_name(c)) {
        return 0;
    }
    match closing(rest, '(', ')') {
        Some(end) => name + end,
        None => usize::MAX,
    }
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
