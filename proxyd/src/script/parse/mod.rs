//! Recursive descent over the tokens; goes on after a mistake, so that one run reports them all.

mod expr;
mod global;
pub mod pv;
mod route;
mod stmt;

use super::ast::Name;
use super::ast::Script;
use super::diag::Diagnostic;
use super::diag::Diagnostics;
use super::preprocess;
use super::preprocess::Files;
use super::preprocess::Options;
use super::span::Sources;
use super::span::Span;
use super::token::Punct;
use super::token::Token;
use super::token::TokenKind;
use std::path::Path;

/// Deeper blocks or parentheses are a mistake.
const DEPTH: usize = 96;

/// A script as read, with all that was found wrong so far.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The tree.
    pub script: Script,
    /// The files it came from.
    pub sources: Sources,
    /// What was found.
    pub found: Diagnostics,
    /// Defines with their texts.
    pub defines: Vec<(String, String)>,
}

/// Reads a script with the files it includes.
pub fn load(files: &dyn Files, path: &Path, options: &Options) -> Parsed {
    let mut parsed = Parsed::default();
    let (tokens, defines) = preprocess::tokens(files, path, options, &mut parsed.sources, &mut parsed.found);
    let mut parser = Parser {
        end: tokens.last().cloned().unwrap_or_else(end_token),
        tokens,
        at: 0,
        sources: &parsed.sources,
        found: &mut parsed.found,
        depth: 0,
        reported: None,
        open: Vec::new(),
        suspect: None,
        last_end: None,
        quote: None,
    };
    parsed.script = parser.script();
    parsed.defines = defines;
    if parser.quote.is_some() {
        parsed
            .found
            .withdraw(|report| report.message.starts_with("string without"));
    }
    parsed
}

fn end_token() -> Token {
    Token {
        kind: TokenKind::End,
        span: Span::default(),
        spaced: true,
        first: true,
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    end: Token,
    sources: &'a Sources,
    found: &'a mut Diagnostics,
    depth: usize,
    /// The token at which the last error was reported: a second one there would be an echo.
    reported: Option<usize>,
    /// Opening braces of the blocks being read.
    open: Vec<Span>,
    /// A block of this route that looks as if its closing brace were another's.
    suspect: Option<Span>,
    /// A string whose closing quote seems to be missing: what follows was read inside out.
    quote: Option<Span>,
    /// The closing brace of the last route block.
    last_end: Option<Span>,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> &Token {
        self.tokens.get(self.at.saturating_add(n)).unwrap_or(&self.end)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        if self.at < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn at_end(&self) -> bool {
        self.peek().kind == TokenKind::End
    }

    /// The place of the token before the current one.
    fn before(&self) -> Span {
        self.at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map_or(self.end.span, |token| token.span)
    }

    /// The place behind the token before the current one; behind the macro's name when it came from one.
    fn behind(&self) -> Span {
        self.sources.root(self.before()).after()
    }

    fn eat(&mut self, punct: Punct) -> bool {
        let found = self.peek().is(punct);
        if found {
            self.at += 1;
        }
        found
    }

    /// Reports a diagnostic unless this token has been complained about.
    fn report(&mut self, mut diagnostic: Diagnostic) {
        let echo = self.reported == Some(self.at) || self.quote.is_some();
        let behind_broken = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let behind_broken = behind_broken.is_some_and(|token| token.kind == TokenKind::Broken);
        if !echo && !behind_broken && self.peek().kind != TokenKind::Broken {
            self.quote = self.open_quote();
            if let Some(span) = self.quote {
                let text = "this string runs over several lines: is its closing quote missing?";
                diagnostic = diagnostic.label(span, text);
            }
            self.found.push(diagnostic);
        }
        self.reported = Some(self.at);
    }

    /// A string of several lines shortly before the current token.
    fn open_quote(&self) -> Option<Span> {
        let near = self.tokens.get(self.at.saturating_sub(4)..=self.at)?;
        let strings = near
            .iter()
            .rev()
            .filter(|token| matches!(token.kind, TokenKind::Str(_)));
        strings
            .map(|token| token.span)
            .find(|span| self.sources.quote(*span).contains('\n'))
    }

    /// Reports what was found where something else was expected.
    fn unexpected(&mut self, expected: &str) {
        let token = self.peek();
        let report = Diagnostic::error(
            "syntax",
            token.span,
            format!("expected {expected}, found {}", token.describe()),
        );
        self.report(report);
    }

    /// A bracket that should stand behind the previous token; its partner is shown.
    fn missing(&mut self, punct: Punct, opened: Span) {
        let text = punct.as_str();
        let report = Diagnostic::error("syntax", self.behind(), format!("missing `{text}`"))
            .label(opened, "to close this one");
        self.report(report);
    }

    /// Reads the bracket that closes `opened`, or reports and finds a place to go on.
    fn close(&mut self, punct: Punct, opened: Span) {
        if self.eat(punct) {
            return;
        }
        let next = self.peek();
        let ends = next.is(Punct::LeftBrace) || next.is(Punct::RightBrace) || next.is(Punct::Semicolon);
        if ends || next.first || self.at_end() {
            self.missing(punct, opened);
            return;
        }
        self.unexpected(&format!("`{}`", punct.as_str()));
        self.skip_to(punct);
    }

    /// Skips to and over a closing bracket on this line, minding brackets in between.
    fn skip_to(&mut self, punct: Punct) {
        let mut depth = 0usize;
        loop {
            let token = self.peek();
            if self.at_end() || token.first || token.is(Punct::LeftBrace) || token.is(Punct::Semicolon) {
                return;
            }
            if depth == 0 && token.is(punct) {
                self.at += 1;
                return;
            }
            if token.is(Punct::LeftParen) || token.is(Punct::LeftBracket) {
                depth += 1;
            } else if token.is(Punct::RightParen) || token.is(Punct::RightBracket) {
                depth = depth.saturating_sub(1);
            }
            self.at += 1;
        }
    }

    /// Skips a block that begins here, brace by brace.
    fn skip_block(&mut self) {
        let mut depth = 0usize;
        while !self.at_end() {
            let token = self.advance();
            if token.is(Punct::LeftBrace) {
                depth += 1;
            } else if token.is(Punct::RightBrace) {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            }
        }
    }

    /// Strings that stand side by side are one.
    fn string(&mut self) -> Option<Name> {
        let TokenKind::Str(first) = &self.peek().kind else {
            return None;
        };
        let mut text = first.clone();
        let mut span = self.advance().span;
        while let TokenKind::Str(next) = &self.peek().kind {
            text.push_str(next);
            span = span.to(self.advance().span);
        }
        Some(Name { text, span })
    }

    /// The value of a number; octal and hexadecimal as in C.
    fn number(&mut self, text: &str, span: Span) -> i64 {
        let value = if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            i64::from_str_radix(digits, 16)
        } else if text.len() > 1 && text.starts_with('0') {
            i64::from_str_radix(text, 8)
        } else {
            text.parse()
        };
        value.unwrap_or_else(|_| {
            let why = if text.starts_with('0') {
                "is no number of its base"
            } else {
                "is too large"
            };
            self.found
                .push(Diagnostic::error("number", span, format!("`{text}` {why}")));
            0
        })
    }

    /// Text made of tokens without space between them: `udp:10.0.0.1:5060`, `a.example`, `M-A`.
    fn run(&mut self) -> Option<Name> {
        let joins = |token: &Token| {
            matches!(
                token.kind,
                TokenKind::Ident(_) | TokenKind::Int(_) | TokenKind::Ip(_) | TokenKind::Str(_)
            ) || [
                Punct::Dot,
                Punct::Colon,
                Punct::Minus,
                Punct::Slash,
                Punct::LeftBracket,
                Punct::RightBracket,
            ]
            .iter()
            .chain(&[Punct::Star, Punct::Plus, Punct::Percent, Punct::Tilde])
            .any(|punct| token.is(*punct))
                || matches!(token.kind, TokenKind::Select(_))
        };
        if !joins(self.peek()) {
            return None;
        }
        let first = self.advance();
        let (mut text, mut span) = (first.text().to_owned(), first.span);
        let mut colon = first.is(Punct::Colon);
        loop {
            let next = self.peek();
            let tight = !next.spaced || (!next.first && (colon || next.is(Punct::Colon)));
            if !tight || !joins(next) {
                return Some(Name { text, span });
            }
            colon = next.is(Punct::Colon);
            let token = self.advance();
            text.push_str(token.text());
            span = span.to(token.span);
        }
    }

    /// One level deeper, unless the script is nested beyond sense.
    fn deeper(&mut self) -> bool {
        self.depth += 1;
        if self.depth > DEPTH {
            let span = self.peek().span;
            self.report(Diagnostic::error(
                "syntax",
                span,
                format!("nested more than {DEPTH} deep"),
            ));
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests;
