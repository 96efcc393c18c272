//! Tokens of the configuration language: words, values, operators, each with its place.

use super::span::Span;
use std::borrow::Cow;

/// An operator or bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Punct {
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
    /// `;`
    Semicolon,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `:`
    Colon,
    /// `=` and, after a letter of its own, `:=`
    Assign,
    /// `+=`
    PlusAssign,
    /// `-=`
    MinusAssign,
    /// `*=`
    StarAssign,
    /// `/=`
    SlashAssign,
    /// `%=`
    PercentAssign,
    /// `|=`
    OrAssign,
    /// `&=`
    AndAssign,
    /// `^=`
    XorAssign,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `&&`
    LogicalAnd,
    /// `||`
    LogicalOr,
    /// `!`
    Not,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// `&`
    Ampersand,
    /// `|`
    Pipe,
    /// `^`
    Caret,
    /// `~`
    Tilde,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

impl Punct {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeftBrace => "{",
            Self::RightBrace => "}",
            Self::LeftParen => "(",
            Self::RightParen => ")",
            Self::LeftBracket => "[",
            Self::RightBracket => "]",
            Self::Semicolon => ";",
            Self::Comma => ",",
            Self::Dot => ".",
            Self::Colon => ":",
            Self::Assign => "=",
            Self::PlusAssign => "+=",
            Self::MinusAssign => "-=",
            Self::StarAssign => "*=",
            Self::SlashAssign => "/=",
            Self::PercentAssign => "%=",
            Self::OrAssign => "|=",
            Self::AndAssign => "&=",
            Self::XorAssign => "^=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::LogicalAnd => "&&",
            Self::LogicalOr => "||",
            Self::Not => "!",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Star => "*",
            Self::Slash => "/",
            Self::Percent => "%",
            Self::Ampersand => "&",
            Self::Pipe => "|",
            Self::Caret => "^",
            Self::Tilde => "~",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
        }
    }
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A word: keyword, name or constant.
    Ident(String),
    /// A number as written.
    Int(String),
    /// An IPv4 or IPv6 address.
    Ip(String),
    /// A string with its escapes resolved and substitutions applied.
    Str(String),
    /// A pseudo-variable as written, dollar included.
    Pv(String),
    /// A select as written, `@` included.
    Select(String),
    /// A regular expression of a `case`, and its flags.
    Regex(String, String),
    /// An operator or bracket.
    Punct(Punct),
    /// Something broken that was reported: what misses behind it is no second mistake.
    Broken,
    /// The end of the script.
    End,
}

/// A token with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
    /// White space or a comment comes before it.
    pub spaced: bool,
    /// It is the first on its line.
    pub first: bool,
}

impl Token {
    /// Whether it is this operator or bracket.
    pub fn is(&self, punct: Punct) -> bool {
        self.kind == TokenKind::Punct(punct)
    }

    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    /// The word, if it is one.
    pub fn word(&self) -> Option<&str> {
        if let TokenKind::Ident(word) = &self.kind {
            Some(word)
        } else {
            None
        }
    }

    /// Its text where several tokens make one name, such as `udp:10.0.0.1:5060`.
    pub fn text(&self) -> &str {
        match &self.kind {
            TokenKind::Ident(text) | TokenKind::Int(text) | TokenKind::Ip(text) | TokenKind::Str(text) => {
                text
            }
            TokenKind::Pv(text) | TokenKind::Select(text) | TokenKind::Regex(text, _) => text,
            TokenKind::Punct(punct) => punct.as_str(),
            TokenKind::Broken | TokenKind::End => "",
        }
    }

    /// What a message calls it.
    pub fn describe(&self) -> Cow<'static, str> {
        match &self.kind {
            TokenKind::Str(_) => "a string".into(),
            TokenKind::End => "the end of the script".into(),
            _ => format!("`{}`", self.text()).into(),
        }
    }
}
