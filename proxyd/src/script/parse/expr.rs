//! Expressions with Kamailio's precedence (core cookbook, "Operators").

use super::Parser;
use super::pv;
use super::pv::Place;
use crate::script::ast::BinaryOp;
use crate::script::ast::Call;
use crate::script::ast::Expr;
use crate::script::ast::ExprKind;
use crate::script::ast::Name;
use crate::script::ast::Pv;
use crate::script::ast::UnaryOp;
use crate::script::diag::Diagnostic;
use crate::script::span::Span;
use crate::script::token::Punct;
use crate::script::token::TokenKind;

/// More operators than that in one expression are a mistake.
const LENGTH: usize = 1000;

impl Parser<'_> {
    /// A whole expression.
    pub(super) fn expr(&mut self) -> Expr {
        self.binary(0)
    }

    fn broken(&self, span: Span) -> Expr {
        Expr {
            kind: ExprKind::Error,
            span,
        }
    }

    fn binary(&mut self, least: u8) -> Expr {
        let mut left = self.unary();
        let mut length = 0;
        while let Some((op, binding)) = self.operator() {
            if binding <= least {
                break;
            }
            self.at += 1;
            length += 1;
            if length > LENGTH {
                let span = self.before();
                self.report(Diagnostic::error(
                    "syntax",
                    span,
                    format!("more than {LENGTH} operators in a row"),
                ));
                return left;
            }
            let right = self.binary(binding);
            let span = left.span.to(right.span);
            left = Expr {
                kind: ExprKind::Binary(op, Box::new(left), Box::new(right)),
                span,
            };
        }
        left
    }

    /// The binary operator that stands here, and how tightly it binds.
    ///
    /// Kamailio: `&` binds looser than `^`, `<<` looser than `>>`, and all of them looser than `==`.
    fn operator(&self) -> Option<(BinaryOp, u8)> {
        Some(match &self.peek().kind {
            TokenKind::Punct(punct) => match punct {
                Punct::LogicalOr => (BinaryOp::Or, 1),
                Punct::LogicalAnd => (BinaryOp::And, 2),
                Punct::Pipe => (BinaryOp::BitOr, 3),
                Punct::Ampersand => (BinaryOp::BitAnd, 4),
                Punct::Caret => (BinaryOp::BitXor, 5),
                Punct::ShiftLeft => (BinaryOp::ShiftLeft, 6),
                Punct::ShiftRight => (BinaryOp::ShiftRight, 7),
                Punct::Equal => (BinaryOp::Equal, 8),
                Punct::NotEqual => (BinaryOp::NotEqual, 8),
                Punct::Match => (BinaryOp::Match, 8),
                Punct::NotMatch => (BinaryOp::NotMatch, 8),
                Punct::Less => (BinaryOp::Less, 9),
                Punct::LessEqual => (BinaryOp::LessEqual, 9),
                Punct::Greater => (BinaryOp::Greater, 9),
                Punct::GreaterEqual => (BinaryOp::GreaterEqual, 9),
                Punct::Plus => (BinaryOp::Plus, 10),
                Punct::Minus => (BinaryOp::Minus, 10),
                Punct::Star => (BinaryOp::Times, 11),
                Punct::Slash => (BinaryOp::Divide, 11),
                Punct::Percent => (BinaryOp::Modulo, 11),
                _ => return None,
            },
            TokenKind::Ident(word) => match word.as_str() {
                "or" => (BinaryOp::Or, 1),
                "and" => (BinaryOp::And, 2),
                "eq" => (BinaryOp::StrEqual, 8),
                "ne" => (BinaryOp::StrNotEqual, 8),
                "ieq" => (BinaryOp::IntEqual, 8),
                "ine" => (BinaryOp::IntNotEqual, 8),
                "mod" => (BinaryOp::Modulo, 11),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn unary(&mut self) -> Expr {
        let token = self.peek();
        let op = match &token.kind {
            TokenKind::Punct(Punct::Not) => UnaryOp::Not,
            TokenKind::Punct(Punct::Minus) => UnaryOp::Minus,
            TokenKind::Punct(Punct::Tilde) => UnaryOp::BitNot,
            TokenKind::Ident(word) => match word.as_str() {
                "not" => UnaryOp::Not,
                "defined" => UnaryOp::Defined,
                "strlen" => UnaryOp::StrLen,
                "strempty" => UnaryOp::StrEmpty,
                _ => return self.primary(),
            },
            TokenKind::Punct(Punct::LeftParen) if self.ahead(2).is(Punct::RightParen) => {
                match self.ahead(1).word() {
                    Some("int") => UnaryOp::Int,
                    Some("str") => UnaryOp::Str,
                    _ => return self.primary(),
                }
            }
            _ => return self.primary(),
        };
        let span = token.span;
        self.at += if matches!(op, UnaryOp::Int | UnaryOp::Str) {
            3
        } else {
            1
        };
        if !self.deeper() {
            self.depth -= 1;
            return self.broken(span);
        }
        let operand = self.unary();
        self.depth -= 1;
        let span = span.to(operand.span);
        if let (UnaryOp::Minus, ExprKind::Int(n)) = (op, &operand.kind) {
            return Expr {
                kind: ExprKind::Int(n.wrapping_neg()),
                span,
            };
        }
        Expr {
            kind: ExprKind::Unary(op, Box::new(operand)),
            span,
        }
    }

    fn primary(&mut self) -> Expr {
        let token = self.peek().clone();
        match token.kind {
            TokenKind::Str(_) => {
                let Some(Name { text, span }) = self.string() else {
                    return self.broken(token.span);
                };
                Expr {
                    kind: ExprKind::Str(text),
                    span,
                }
            }
            TokenKind::Int(text) => {
                self.at += 1;
                Expr {
                    kind: ExprKind::Int(self.number(&text, token.span)),
                    span: token.span,
                }
            }
            TokenKind::Pv(text) => {
                self.at += 1;
                let kind = self.pv(&text, token.span).map_or(ExprKind::Error, ExprKind::Pv);
                Expr {
                    kind,
                    span: token.span,
                }
            }
            TokenKind::Select(text) => {
                self.at += 1;
                let name = text.strip_prefix('@').unwrap_or(&text).to_owned();
                Expr {
                    kind: ExprKind::Select(name),
                    span: token.span,
                }
            }
            TokenKind::Ip(text) => self.network(text),
            TokenKind::Ident(name) => {
                let next = self.ahead(1);
                if next.is(Punct::LeftParen) {
                    self.at += 1;
                    let call = self.call(Name {
                        text: name,
                        span: token.span,
                    });
                    return Expr {
                        span: call.span,
                        kind: ExprKind::Call(call),
                    };
                }
                self.word()
            }
            TokenKind::Punct(Punct::LeftParen) => {
                self.at += 1;
                if !self.deeper() {
                    self.depth -= 1;
                    return self.broken(token.span);
                }
                let mut inner = self.expr();
                self.comparison_meant(&mut inner);
                self.depth -= 1;
                self.close(Punct::RightParen, token.span);
                Expr {
                    kind: inner.kind,
                    span: token.span.to(self.before()),
                }
            }
            TokenKind::Punct(Punct::LeftBracket) if matches!(self.ahead(1).kind, TokenKind::Ip(_)) => {
                self.at += 1;
                let mut expr = self.primary();
                self.close(Punct::RightBracket, token.span);
                expr.span = token.span.to(self.before());
                expr
            }
            TokenKind::Broken => {
                self.at += 1;
                self.broken(token.span)
            }
            _ => {
                self.unexpected("a value");
                self.broken(token.span)
            }
        }
    }

    /// `if ($x = 1)`: says what was meant, and goes on as if it had been written.
    fn comparison_meant(&mut self, left: &mut Expr) {
        if !self.peek().is(Punct::Assign) {
            return;
        }
        let report = Diagnostic::error("syntax", self.peek().span, "`=` assigns and gives no value");
        self.report(report.help("use `==` to compare"));
        self.at += 1;
        let right = self.expr();
        left.span = left.span.to(right.span);
        left.kind = ExprKind::Error;
    }

    /// A bare word; what stands close to it belongs to it: `msg:len`, `a.example`, `udp:10.0.0.1:5060`.
    fn word(&mut self) -> Expr {
        let first = self.advance();
        let (mut text, mut span) = (first.text().to_owned(), first.span);
        loop {
            let (joint, next) = (self.peek(), self.ahead(1));
            let binds = joint.is(Punct::Dot) || joint.is(Punct::Colon) || joint.is(Punct::Minus);
            let name = matches!(
                next.kind,
                TokenKind::Ident(_) | TokenKind::Int(_) | TokenKind::Ip(_)
            );
            let bracket = next.is(Punct::LeftBracket) && joint.is(Punct::Colon);
            if joint.spaced || next.spaced || !binds || !(name || bracket) {
                return Expr {
                    kind: ExprKind::Word(text),
                    span,
                };
            }
            let parts = if bracket { 4 } else { 2 };
            for _ in 0..parts {
                let token = self.advance();
                text.push_str(token.text());
                span = span.to(token.span);
            }
        }
    }

    /// An address, with its prefix length or mask when one follows.
    fn network(&mut self, mut text: String) -> Expr {
        let mut span = self.advance().span;
        let mask = matches!(self.ahead(1).kind, TokenKind::Int(_) | TokenKind::Ip(_));
        if self.peek().is(Punct::Slash) && mask {
            self.at += 1;
            let token = self.advance();
            text.push('/');
            text.push_str(token.text());
            span = span.to(token.span);
        } else if self.peek().is(Punct::Colon)
            && !self.peek().spaced
            && matches!(self.ahead(1).kind, TokenKind::Int(_))
        {
            self.at += 1;
            let token = self.advance();
            text.push(':');
            text.push_str(token.text());
            return Expr {
                kind: ExprKind::Word(text),
                span: span.to(token.span),
            };
        }
        Expr {
            kind: ExprKind::Network(text),
            span,
        }
    }

    /// The arguments of a function whose opening parenthesis stands here.
    pub(super) fn call(&mut self, name: Name) -> Call {
        let opened = self.advance().span;
        let mut args = Vec::new();
        if !self.deeper() {
            self.depth -= 1;
            return Call {
                span: name.span,
                name,
                args,
                parens: true,
            };
        }
        if !self.peek().is(Punct::RightParen) {
            loop {
                let before = self.at;
                args.push(self.expr());
                if self.eat(Punct::Comma) {
                    continue;
                }
                let next = self.peek();
                let closes = next.is(Punct::RightParen) || next.is(Punct::Semicolon) || next.first;
                if closes || self.at == before || !self.starts_value() {
                    break;
                }
                self.unexpected("`,` or `)`");
            }
        }
        self.depth -= 1;
        self.close(Punct::RightParen, opened);
        Call {
            span: name.span.to(self.before()),
            name,
            args,
            parens: true,
        }
    }

    fn starts_value(&self) -> bool {
        let ends = matches!(self.peek().kind, TokenKind::Punct(_) | TokenKind::End);
        !ends || self.peek().is(Punct::LeftParen)
    }

    /// Takes a pseudo-variable apart; a mistake is reported where it stands.
    pub(super) fn pv(&mut self, text: &str, span: Span) -> Option<Pv> {
        match pv::parse(text, Place::exact(span)) {
            Ok(pv) => Some(pv),
            Err(error) => {
                let at = span.part(error.at, text.len());
                self.found
                    .push(Diagnostic::error("pseudo-variable", at, error.what));
                None
            }
        }
    }
}
