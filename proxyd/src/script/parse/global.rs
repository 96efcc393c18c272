//! What stands outside of route blocks: parameters, sockets, modules (Kamailio core cookbook, "Global Parameters Section").

use super::Parser;
use crate::script::ast::Constant;
use crate::script::ast::Flag;
use crate::script::ast::Global;
use crate::script::ast::GlobalValue;
use crate::script::ast::Item;
use crate::script::ast::Listen;
use crate::script::ast::ModParam;
use crate::script::ast::Name;
use crate::script::diag::Diagnostic;
use crate::script::span::Span;
use crate::script::token::Punct;
use crate::script::token::TokenKind;

/// Parameters that take a list, which may go on in the next line.
const LISTS: &[&str] = &["alias", "domain", "host_alias"];

impl Parser<'_> {
    /// The setting that begins with `word`.
    pub(super) fn setting(&mut self, word: &str, items: &mut Vec<Item>) {
        let start = self.peek().span;
        match word {
            "loadmodule" | "loadmodulex" => items.extend(self.quoted_name(word).map(Item::LoadModule)),
            "loadpath" | "mpath" => items.extend(self.quoted_name(word).map(Item::LoadPath)),
            "modparam" | "modparamx" => items.extend(self.modparam(word).map(Item::ModParam)),
            "flags" | "avpflags" => {
                self.at += 1;
                let flags = self.flags();
                items.push(if word == "flags" {
                    Item::Flags(flags)
                } else {
                    Item::AvpFlags(flags)
                });
            }
            "listen" => self.listen(start, items),
            "socket" => items.extend(self.socket(start).map(Item::Listen)),
            _ => items.extend(self.global(start).map(Item::Global)),
        }
    }

    /// The end of a setting: a semicolon, or the line's.
    fn end_of_setting(&mut self) {
        if self.eat(Punct::Semicolon) || self.peek().first || self.at_end() || self.next_setting() {
            return;
        }
        self.unexpected("the end of the line");
        self.skip_line();
    }

    fn skip_line(&mut self) {
        while !self.at_end() && !self.peek().first {
            self.at += 1;
        }
    }

    /// Reports a value that is not there: the next line begins something else.
    fn no_value(&mut self) -> bool {
        let missing = self.at_end() || (self.peek().first && self.next_setting());
        if missing {
            let report = Diagnostic::error("syntax", self.behind(), "a value is missing behind `=`");
            self.report(report);
        }
        missing
    }

    /// Whether another setting begins here: `alias=a alias=b`.
    fn next_setting(&self) -> bool {
        let Some(word) = self.peek().word() else {
            return false;
        };
        if self.starts_item() || self.ahead(1).is(Punct::Assign) || self.ahead(1).is(Punct::LeftBrace) {
            return true;
        }
        if matches!(
            word,
            "loadmodule" | "loadmodulex" | "modparam" | "modparamx" | "loadpath" | "mpath" | "flags"
        ) {
            return true;
        }
        // group.name = value, group[1].name = value
        let mut n = 1;
        while self.ahead(n).is(Punct::Dot) && matches!(self.ahead(n + 1).kind, TokenKind::Ident(_)) {
            n += 2;
        }
        (n > 1 && self.ahead(n).is(Punct::Assign))
            || (self.ahead(1).is(Punct::LeftBracket) && self.ahead(3).is(Punct::RightBracket))
    }

    /// `loadmodule "x.so"`, also with `=` or parentheses.
    fn quoted_name(&mut self, word: &str) -> Option<Name> {
        self.at += 1;
        let opened = self.peek().span;
        let parenthesis = self.eat(Punct::LeftParen);
        if !parenthesis {
            self.eat(Punct::Assign);
        }
        let Some(name) = self.string() else {
            self.unexpected(&format!("a name in quotes behind `{word}`"));
            self.skip_line();
            return None;
        };
        if parenthesis {
            self.close(Punct::RightParen, opened);
        }
        self.end_of_setting();
        Some(name)
    }

    fn modparam(&mut self, word: &str) -> Option<ModParam> {
        self.at += 1;
        let opened = self.peek().span;
        if !self.eat(Punct::LeftParen) {
            self.unexpected(&format!("`(` behind `{word}`"));
            self.skip_line();
            return None;
        }
        let modules = self.modparam_name("the name of a module in quotes")?;
        let name = self.modparam_name("the name of a parameter in quotes")?;
        let value = if let Some(Name { text, span }) = self.string() {
            Some(GlobalValue {
                value: Constant::Str(text),
                span,
            })
        } else {
            self.constant()
        };
        let Some(value) = value else {
            self.unexpected("a value in quotes or a number");
            self.skip_modparam();
            return None;
        };
        self.close(Punct::RightParen, opened);
        self.end_of_setting();
        Some(ModParam {
            modules,
            name,
            value,
            expand: word == "modparamx",
        })
    }

    fn modparam_name(&mut self, what: &str) -> Option<Name> {
        let Some(name) = self.string() else {
            self.unexpected(what);
            self.skip_modparam();
            return None;
        };
        if !self.eat(Punct::Comma) {
            let missing = Diagnostic::error("syntax", self.behind(), "missing `,`");
            self.report(missing);
            let value = matches!(
                self.peek().kind,
                TokenKind::Str(_) | TokenKind::Int(_) | TokenKind::Ident(_)
            );
            if !value {
                self.skip_modparam();
                return None;
            }
        }
        Some(name)
    }

    /// Skips to and over the closing parenthesis, or to the next line that begins with a word.
    fn skip_modparam(&mut self) {
        while !self.at_end() && (!self.peek().first || self.peek().word().is_none()) {
            if self.eat(Punct::RightParen) {
                self.eat(Punct::Semicolon);
                return;
            }
            self.at += 1;
        }
    }

    /// A number, or text without quotes.
    fn constant(&mut self) -> Option<GlobalValue> {
        let token = self.peek().clone();
        let minus = token.is(Punct::Minus) && matches!(self.ahead(1).kind, TokenKind::Int(_));
        let at = usize::from(minus);
        if let TokenKind::Int(text) = &self.ahead(at).kind {
            let (text, next) = (text.clone(), self.ahead(at + 1));
            let alone = next.spaced
                || matches!(
                    next.kind,
                    TokenKind::Punct(Punct::Semicolon | Punct::Comma | Punct::RightParen | Punct::RightBrace)
                        | TokenKind::End
                );
            if alone && !next.is(Punct::Colon) {
                let span = self.ahead(at).span;
                self.at += at + 1;
                let number = self.number(&text, span);
                let value = Constant::Int(if minus { number.wrapping_neg() } else { number });
                return Some(GlobalValue {
                    value,
                    span: token.span.to(span),
                });
            }
        }
        self.run().map(|Name { text, span }| GlobalValue {
            value: Constant::Word(text),
            span,
        })
    }

    /// A text in quotes on its own, or a constant.
    fn global_value(&mut self, list: bool) -> Option<GlobalValue> {
        let joined = matches!(self.ahead(1).kind, TokenKind::Punct(Punct::Colon));
        if let TokenKind::Str(text) = &self.peek().kind
            && !joined
        {
            if list {
                let (value, span) = (Constant::Str(text.clone()), self.peek().span);
                self.at += 1;
                return Some(GlobalValue { value, span });
            }
            return self.string().map(|Name { text, span }| GlobalValue {
                value: Constant::Str(text),
                span,
            });
        }
        self.constant()
    }

    fn global(&mut self, start: Span) -> Option<Global> {
        let mut path = Vec::new();
        let mut instance = None;
        loop {
            let token = self.peek().clone();
            let Some(word) = token.word() else {
                self.unexpected("the name of a parameter");
                self.skip_line();
                return None;
            };
            path.push(Name {
                text: word.to_owned(),
                span: token.span,
            });
            self.at += 1;
            if self.peek().is(Punct::LeftBracket) {
                let opened = self.advance().span;
                let key = self.advance();
                if path.first().is_some_and(|name| name.text == "coreparam") {
                    path = vec![Name {
                        text: key.text().to_owned(),
                        span: key.span,
                    }];
                } else {
                    instance = key.text().parse().ok();
                }
                self.close(Punct::RightBracket, opened);
            }
            if !self.eat(Punct::Dot) {
                break;
            }
        }
        let name_end = self.before();
        let bare = path.len() == 1 && matches!(self.peek().kind, TokenKind::Str(_)) && !self.peek().first;
        if !bare && !self.eat(Punct::Assign) {
            let name = path.first().map_or("", |name| name.text.as_str()).to_owned();
            let report = Diagnostic::error(
                "syntax",
                start.to(name_end),
                format!("expected `=` behind `{name}`, found {}", self.peek().describe()),
            );
            self.report(report);
            self.skip_line();
            return None;
        }
        if self.no_value() {
            return None;
        }
        let list = path.len() == 1
            && path
                .first()
                .is_some_and(|name| LISTS.contains(&name.text.as_str()));
        let mut values = Vec::new();
        while values.is_empty()
            || (!self.peek().first && !self.next_setting())
            || (list && !self.next_setting())
        {
            if !values.is_empty() && self.peek().is_word("desc") {
                break;
            }
            match self.global_value(list) {
                Some(value) => values.push(value),
                None => break,
            }
            if list {
                self.eat(Punct::Comma);
            } else {
                break;
            }
        }
        if values.is_empty() {
            self.unexpected("a value");
            self.skip_line();
            return None;
        }
        let mut description = None;
        if self.peek().is_word("desc") || self.peek().is_word("descr") || self.peek().is_word("description") {
            self.at += 1;
            match self.string() {
                Some(name) => description = Some(name.text),
                None => self.unexpected("a description in quotes"),
            }
        }
        let span = start.to(self.before());
        self.end_of_setting();
        Some(Global {
            path,
            instance,
            values,
            description,
            span,
        })
    }

    /// `flags NAME:12, OTHER`
    fn flags(&mut self) -> Vec<Flag> {
        let mut flags = Vec::new();
        loop {
            let token = self.peek().clone();
            let (TokenKind::Ident(text) | TokenKind::Str(text)) = token.kind else {
                self.unexpected("the name of a flag");
                self.skip_line();
                return flags;
            };
            self.at += 1;
            let mut number = None;
            if self.eat(Punct::Colon) {
                match self.peek().kind.clone() {
                    TokenKind::Int(text) => {
                        let span = self.advance().span;
                        number = Some(self.number(&text, span));
                    }
                    _ => self.unexpected("the number of the flag"),
                }
            }
            flags.push(Flag {
                name: Name {
                    text,
                    span: token.span,
                },
                number,
            });
            if !self.eat(Punct::Comma) {
                self.end_of_setting();
                return flags;
            }
        }
    }

    /// `listen=udp:10.0.0.1:5060 advertise 1.2.3.4:5060 name "s1" virtual`, or a list of addresses.
    fn listen(&mut self, start: Span, items: &mut Vec<Item>) {
        self.at += 1;
        if !self.eat(Punct::Assign) {
            self.unexpected("`=` behind `listen`");
            self.skip_line();
            return;
        }
        if self.no_value() {
            return;
        }
        let mut any = false;
        while !any || !self.next_setting() {
            let Some(address) = self.run() else { break };
            any = true;
            let mut listen = Listen {
                span: start.to(address.span),
                address,
                advertise: None,
                name: None,
                is_virtual: false,
                others: Vec::new(),
            };
            while self.listen_option(&mut listen) {}
            listen.span = start.to(self.before());
            items.push(Item::Listen(listen));
            self.eat(Punct::Comma);
        }
        if !any {
            self.unexpected("an address such as `udp:10.0.0.1:5060`");
            self.skip_line();
            return;
        }
        self.end_of_setting();
    }

    /// One of the words behind an address, with its value.
    fn listen_option(&mut self, listen: &mut Listen) -> bool {
        let Some(word) = self.peek().word().map(str::to_owned) else {
            return false;
        };
        if self.peek().first && self.next_setting() {
            return false;
        }
        match word.as_str() {
            "advertise" | "ADVERTISE" => {
                self.at += 1;
                listen.advertise = self.run();
                if listen.advertise.is_none() {
                    self.unexpected("the address to advertise");
                }
            }
            "name" | "NAME" => {
                self.at += 1;
                listen.name = self.string();
                if listen.name.is_none() {
                    self.unexpected("the name of the socket in quotes");
                }
            }
            "virtual" | "VIRTUAL" => {
                self.at += 1;
                listen.is_virtual = true;
            }
            "agname" | "vrf" => {
                let span = self.advance().span;
                if let Some(value) = self.global_value(false) {
                    listen.others.push((Name { text: word, span }, value));
                }
            }
            _ => return false,
        }
        true
    }

    /// `socket = { bind = udp:10.0.0.1:5060; advertise = …; name = "…"; virtual = yes; }`
    fn socket(&mut self, start: Span) -> Option<Listen> {
        self.at += 1;
        self.eat(Punct::Assign);
        if !self.peek().is(Punct::LeftBrace) {
            self.unexpected("`{` behind `socket =`");
            self.skip_line();
            return None;
        }
        let opened = self.advance().span;
        let mut fields = Vec::new();
        while !self.peek().is(Punct::RightBrace) {
            let key = self.peek().clone();
            let Some(word) = key.word() else {
                self.unexpected("an attribute such as `bind`");
                self.skip_block_rest();
                return None;
            };
            let key = Name {
                text: word.to_owned(),
                span: key.span,
            };
            self.at += 1;
            if !self.eat(Punct::Assign) {
                self.unexpected(&format!("`=` behind `{}`", key.text));
                self.skip_block_rest();
                return None;
            }
            let Some(value) = self.global_value(false) else {
                self.unexpected("a value");
                self.skip_block_rest();
                return None;
            };
            self.eat(Punct::Semicolon);
            fields.push((key, value));
        }
        self.at += 1;
        self.eat(Punct::Semicolon);
        let span = start.to(self.before());
        let mut take = |name: &str| {
            let at = fields.iter().position(|(key, _)| key.text == name)?;
            let (_, value) = fields.remove(at);
            Some(Name {
                text: value.value.text(),
                span: value.span,
            })
        };
        let (address, advertise, name, is_virtual) =
            (take("bind"), take("advertise"), take("name"), take("virtual"));
        let Some(address) = address else {
            self.found
                .push(Diagnostic::error("syntax", opened, "a socket needs `bind`"));
            return None;
        };
        let is_virtual = is_virtual.is_some_and(|name| Constant::Word(name.text).as_int() == Some(1));
        Some(Listen {
            address,
            advertise,
            name,
            is_virtual,
            others: fields,
            span,
        })
    }

    fn skip_block_rest(&mut self) {
        while !self.at_end() && !self.eat(Punct::RightBrace) {
            self.at += 1;
        }
    }
}
