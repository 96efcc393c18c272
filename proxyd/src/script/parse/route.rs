//! The top level of a script, and the heads of its route blocks (Kamailio core cookbook, "Routing Blocks").

use super::Parser;
use crate::script::ast::Item;
use crate::script::ast::Name;
use crate::script::ast::Route;
use crate::script::ast::RouteKeyword;
use crate::script::ast::Script;
use crate::script::diag::Diagnostic;
use crate::script::span::Span;
use crate::script::token::Punct;
use crate::script::token::TokenKind;

fn keyword(word: &str) -> Option<RouteKeyword> {
    Some(match word {
        "route" | "request_route" => RouteKeyword::Request,
        "reply_route" => RouteKeyword::Reply,
        "onreply_route" => RouteKeyword::OnReply,
        "failure_route" => RouteKeyword::Failure,
        "branch_route" => RouteKeyword::Branch,
        "onsend_route" => RouteKeyword::OnSend,
        "event_route" => RouteKeyword::Event,
        _ => return None,
    })
}

impl Parser<'_> {
    /// Everything there is.
    pub(super) fn script(&mut self) -> Script {
        let mut script = Script::default();
        while !self.at_end() {
            let before = self.at;
            self.item(&mut script.items);
            if self.at == before {
                self.at += 1;
            }
        }
        script
    }

    /// Whether a route block begins here, or a line in column 1 that belongs to the top level.
    pub(super) fn starts_item(&self) -> bool {
        let token = self.peek();
        let Some(word) = token.word() else { return false };
        let next = self.ahead(1);
        if keyword(word).is_some() {
            return next.is(Punct::LeftBrace) || next.is(Punct::LeftBracket);
        }
        matches!(word, "loadmodule" | "modparam" | "modparamx")
            && token.first
            && self.sources.position(self.sources.root(token.span)).column == 1
    }

    fn item(&mut self, items: &mut Vec<Item>) {
        let token = self.peek().clone();
        match token.kind {
            TokenKind::Punct(Punct::Semicolon) => {
                self.at += 1;
            }
            TokenKind::Ident(word) => {
                if let Some(keyword) = keyword(&word) {
                    items.extend(self.route(&word, keyword).map(Item::Route));
                } else if self.begins_statement(&word) {
                    self.stray();
                } else {
                    self.setting(&word, items);
                }
            }
            TokenKind::Punct(Punct::RightBrace) => {
                let mut report = Diagnostic::error("syntax", token.span, "`}` without its `{`");
                if let Some(end) = self.last_end {
                    report = report.label(end, "the last route block ends here");
                }
                self.report(report);
                self.skip_stray();
            }
            _ => self.stray(),
        }
    }

    fn begins_statement(&self, word: &str) -> bool {
        if matches!(
            word,
            "if" | "while" | "switch" | "else" | "exit" | "drop" | "return" | "break" | "case" | "default"
        ) {
            return true;
        }
        self.ahead(1).is(Punct::LeftParen)
            && !matches!(word, "modparam" | "modparamx" | "loadmodule" | "loadmodulex")
    }

    /// A statement outside of any route block: reported once, however many follow.
    fn stray(&mut self) {
        let token = self.peek();
        let message = match token.kind {
            TokenKind::Ident(_) | TokenKind::Pv(_) => "statement outside of any route block".to_owned(),
            _ => format!(
                "expected a parameter or a route block, found {}",
                token.describe()
            ),
        };
        let mut report = Diagnostic::error("syntax", token.span, message);
        if let Some(end) = self.last_end {
            report = report.label(end, "the last route block ends here: has it a `}` too many?");
        }
        self.report(report);
        self.skip_stray();
    }

    /// Skips to the next line that can only stand at the top level.
    fn skip_stray(&mut self) {
        loop {
            self.at += 1;
            let token = self.peek();
            if self.at_end() || self.starts_item() {
                break;
            }
            let setting = token.first
                && matches!(token.kind, TokenKind::Ident(_))
                && (self.ahead(1).is(Punct::Assign)
                    || token.is_word("modparam")
                    || token.is_word("loadmodule"));
            if setting {
                break;
            }
        }
    }

    fn route(&mut self, word: &str, keyword: RouteKeyword) -> Option<Route> {
        let start = self.advance().span;
        let mut name = None;
        if self.peek().is(Punct::LeftBracket) {
            let opened = self.advance().span;
            name = self.route_name(Punct::RightBracket, opened);
        } else if self.peek().is(Punct::LeftParen) {
            let report = Diagnostic::error(
                "syntax",
                self.peek().span,
                "the name of a route block stands in brackets",
            );
            self.report(report.help(format!("write `{word}[NAME] {{ … }}`; `route(NAME)` calls one")));
            let opened = self.advance().span;
            name = self.route_name(Punct::RightParen, opened);
        }
        let span = start.to(self.before());
        let mut kind = keyword;
        let main = name.as_ref().is_some_and(|name| name.text == "0");
        if keyword == RouteKeyword::OnReply && (name.is_none() || main) {
            kind = RouteKeyword::Reply;
        }
        if main && matches!(kind, RouteKeyword::Request | RouteKeyword::Reply) {
            name = None;
        }
        let opened = if self.peek().is(Punct::LeftBrace) {
            self.advance().span
        } else {
            self.unexpected(&format!("`{{` behind `{word}`"));
            if self.starts_item() || !matches!(self.peek().kind, TokenKind::Ident(_) | TokenKind::Pv(_)) {
                return None;
            }
            span
        };
        self.suspect = None;
        let (body, end) = self.block(opened);
        self.last_end = Some(end);
        self.check_name(word, kind, name.as_ref(), span);
        Some(Route {
            keyword: kind,
            name,
            body,
            span,
            end,
        })
    }

    fn check_name(&mut self, word: &str, kind: RouteKeyword, name: Option<&Name>, span: Span) {
        let message = match (kind, name) {
            (RouteKeyword::Failure | RouteKeyword::Branch | RouteKeyword::Event, None) => {
                format!("`{word}` needs a name in brackets")
            }
            (RouteKeyword::Reply | RouteKeyword::OnSend, Some(_)) => format!("`{word}` takes no name"),
            (RouteKeyword::Request, Some(_)) if word == "request_route" => {
                "`request_route` takes no name: named blocks are `route[NAME]`".to_owned()
            }
            (RouteKeyword::Event, Some(name)) if !name.text.contains(':') => {
                format!("`event_route[{}]` needs the form `module:event`", name.text)
            }
            _ => return,
        };
        self.found.push(Diagnostic::error("route", span, message));
    }

    /// The tokens up to the closing bracket, as one name.
    fn route_name(&mut self, closing: Punct, opened: Span) -> Option<Name> {
        let mut text = String::new();
        let mut span: Option<Span> = None;
        while !self.peek().is(closing) {
            let token = self.peek();
            if self.at_end() || token.first || token.is(Punct::LeftBrace) {
                break;
            }
            let token = self.advance();
            text.push_str(token.text());
            span = Some(span.map_or(token.span, |span| span.to(token.span)));
        }
        self.close(closing, opened);
        match span {
            Some(span) => Some(Name { text, span }),
            None => {
                self.found.push(Diagnostic::error(
                    "route",
                    opened,
                    "a route block's name is missing in its brackets",
                ));
                None
            }
        }
    }
}
