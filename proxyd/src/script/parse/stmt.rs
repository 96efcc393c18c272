//! Statements (Kamailio core cookbook, "Script Statements").

use super::Parser;
use crate::script::ast::BinaryOp;
use crate::script::ast::Call;
use crate::script::ast::Case;
use crate::script::ast::CaseLabel;
use crate::script::ast::Expr;
use crate::script::ast::Name;
use crate::script::ast::Stmt;
use crate::script::ast::StmtKind;
use crate::script::diag::Diagnostic;
use crate::script::span::Span;
use crate::script::token::Punct;
use crate::script::token::TokenKind;

impl Parser<'_> {
    /// The statements of a block whose opening brace was read, up to and over its closing brace.
    pub(super) fn block(&mut self, opened: Span) -> (Vec<Stmt>, Span) {
        let mut body = Vec::new();
        self.open.push(opened);
        loop {
            if self.peek().is(Punct::RightBrace) {
                let closing = self.advance();
                self.open.pop();
                if closing.first {
                    self.compare_indentation(opened, closing.span);
                }
                return (body, closing.span);
            }
            if self.at_end() || self.starts_item() {
                self.unclosed();
                self.open.pop();
                return (body, self.before());
            }
            self.statement_into(&mut body);
        }
    }

    /// Reports the block that lacks its brace, once for all the blocks around it.
    fn unclosed(&mut self) {
        let Some(outermost) = self.open.first().copied() else {
            return;
        };
        if self.reported == Some(self.at) {
            return;
        }
        let innermost = self.open.last().copied().unwrap_or(outermost);
        let (place, count) = (self.behind(), self.open.len());
        let what = if count == 1 {
            "missing `}`".to_owned()
        } else {
            format!("missing {count} `}}`")
        };
        let mut report = Diagnostic::error("syntax", place, what);
        report = match self.suspect {
            Some(suspect) => report
                .label(
                    suspect,
                    "this block's `}` stands further left than it: probably its own is missing",
                )
                .label(outermost, "so that this one is still open"),
            None => report.label(innermost, "to close this block"),
        };
        self.report(report);
    }

    /// A closing brace left of the line that opened its block was probably meant for another.
    fn compare_indentation(&mut self, opened: Span, closed: Span) {
        if self.suspect.is_some()
            || self.sources.expansion(opened).is_some()
            || self.sources.expansion(closed).is_some()
        {
            return;
        }
        let line = self.sources.position(opened).line;
        let text = self.sources.text(opened.file);
        let indent = text
            .lines()
            .nth(line - 1)
            .map_or(0, |line| line.len() - line.trim_start().len());
        if self.sources.position(closed).column < indent + 1 && opened.file == closed.file {
            self.suspect = Some(opened);
        }
    }

    fn statement_into(&mut self, body: &mut Vec<Stmt>) {
        let before = self.at;
        if let Some(stmt) = self.statement() {
            body.push(stmt);
        }
        if self.at == before {
            // nothing was read: whatever stands here was reported
            self.at += 1;
        }
    }

    /// One statement; none after a mistake that left nothing to keep.
    fn statement(&mut self) -> Option<Stmt> {
        if !self.deeper() {
            self.depth -= 1;
            self.recover();
            return None;
        }
        let stmt = self.statement_here();
        self.depth -= 1;
        stmt
    }

    fn statement_here(&mut self) -> Option<Stmt> {
        let token = self.peek().clone();
        let stmt = |kind, span| Some(Stmt { kind, span });
        match token.kind {
            TokenKind::Punct(Punct::Semicolon) => {
                self.at += 1;
                stmt(StmtKind::Empty, token.span)
            }
            TokenKind::Punct(Punct::LeftBrace) => {
                self.at += 1;
                let (body, _) = self.block(token.span);
                stmt(StmtKind::Block(body), token.span)
            }
            TokenKind::Pv(text) => self.assignment(&text, token.span),
            TokenKind::Ident(word) => match word.as_str() {
                "if" => self.if_statement(),
                "while" => self.while_statement(),
                "switch" => self.switch_statement(),
                "break" => self.jump(StmtKind::Break),
                "return" => {
                    let value = self.jump_value();
                    self.finish(StmtKind::Return(value), token.span)
                }
                "exit" => {
                    let value = self.jump_value();
                    self.finish(StmtKind::Exit(value), token.span)
                }
                "drop" => {
                    let value = self.jump_value();
                    self.finish(StmtKind::Drop(value), token.span)
                }
                "else" | "elseif" | "elif" | "elsif" => self.stray_else(&word, token.span),
                "case" | "default" => {
                    let message = format!("`{word}` outside of a `switch`");
                    self.report(Diagnostic::error("syntax", token.span, message));
                    self.at += 1;
                    self.recover();
                    None
                }
                _ => self.call_statement(word, token.span),
            },
            TokenKind::Select(_) => {
                let report = Diagnostic::error("syntax", token.span, "a select can only be read");
                self.report(report);
                self.recover();
                None
            }
            _ => {
                self.unexpected("a statement");
                self.recover();
                None
            }
        }
    }

    /// Reads the semicolon that ends a statement.
    fn finish(&mut self, kind: StmtKind, start: Span) -> Option<Stmt> {
        let span = start.to(self.before());
        self.semicolon();
        Some(Stmt { kind, span })
    }

    fn semicolon(&mut self) {
        if self.eat(Punct::Semicolon) {
            return;
        }
        let next = self.peek();
        if next.first || next.is(Punct::RightBrace) || self.at_end() || self.starts_statement() {
            let report = Diagnostic::error("syntax", self.behind(), "missing `;`");
            self.report(report);
            return;
        }
        self.unexpected("`;`");
        self.recover();
    }

    /// Whether a new statement seems to begin here, in the middle of a line.
    fn starts_statement(&self) -> bool {
        match &self.peek().kind {
            TokenKind::Pv(_) => self.ahead(1).is(Punct::Assign),
            TokenKind::Ident(word) => {
                let keyword =
                    ["if", "while", "switch", "exit", "drop", "return", "break"].contains(&word.as_str());
                keyword
                    || (self.ahead(1).is(Punct::LeftParen)
                        && !["and", "or", "mod", "not"].contains(&word.as_str()))
            }
            _ => false,
        }
    }

    /// Skips what cannot be understood: over the next semicolon, or up to a brace or a line that begins anew.
    fn recover(&mut self) {
        let mut first = true;
        loop {
            let token = self.peek();
            if self.at_end()
                || token.is(Punct::RightBrace)
                || (!first && (self.starts_item() || self.line_starts_statement()))
            {
                break;
            }
            if token.is(Punct::LeftBrace) {
                self.skip_block();
                break;
            }
            if token.is(Punct::Semicolon) {
                self.at += 1;
                break;
            }
            self.at += 1;
            first = false;
        }
        self.reported = Some(self.at).filter(|_| false);
    }

    fn line_starts_statement(&self) -> bool {
        let token = self.peek();
        token.first && matches!(token.kind, TokenKind::Ident(_) | TokenKind::Pv(_))
    }

    fn assignment(&mut self, text: &str, span: Span) -> Option<Stmt> {
        self.at += 1;
        let target = self.pv(text, span);
        let op = match &self.peek().kind {
            TokenKind::Punct(punct) => match punct {
                Punct::Assign => Some(None),
                Punct::PlusAssign => Some(Some(BinaryOp::Plus)),
                Punct::MinusAssign => Some(Some(BinaryOp::Minus)),
                Punct::StarAssign => Some(Some(BinaryOp::Times)),
                Punct::SlashAssign => Some(Some(BinaryOp::Divide)),
                Punct::PercentAssign => Some(Some(BinaryOp::Modulo)),
                Punct::OrAssign => Some(Some(BinaryOp::BitOr)),
                Punct::AndAssign => Some(Some(BinaryOp::BitAnd)),
                Punct::XorAssign => Some(Some(BinaryOp::BitXor)),
                _ => None,
            },
            _ => None,
        };
        let Some(op) = op else {
            if self.peek().is(Punct::Equal) {
                let report = Diagnostic::error("syntax", self.peek().span, "`==` compares");
                self.report(report.help("use `=` to assign"));
            } else {
                self.unexpected("`=` behind a pseudo-variable");
            }
            self.recover();
            return None;
        };
        self.at += 1;
        let value = self.expr();
        let stmt = self.finish(StmtKind::Break, span)?;
        let target = target?;
        Some(Stmt {
            kind: StmtKind::Assign { target, op, value },
            span: stmt.span,
        })
    }

    fn call_statement(&mut self, word: String, span: Span) -> Option<Stmt> {
        let name = Name { text: word, span };
        let next = self.ahead(1);
        if next.is(Punct::LeftParen) {
            self.at += 1;
            let call = self.call(name);
            return self.finish(StmtKind::Call(call), span);
        }
        if next.is(Punct::Semicolon) || next.is(Punct::RightBrace) || next.first {
            self.at += 1;
            let call = Call {
                name,
                args: Vec::new(),
                parens: false,
                span,
            };
            return self.finish(StmtKind::Call(call), span);
        }
        if next.is(Punct::Assign) {
            let message = format!("`{}` is not a pseudo-variable, which begin with `$`", name.text);
            let report = Diagnostic::error("syntax", span, message);
            self.report(report.help("core and module parameters are set outside of route blocks"));
        } else {
            self.at += 1;
            self.unexpected(&format!("`(` behind `{}`", name.text));
        }
        self.recover();
        None
    }

    fn condition(&mut self, keyword: Span) -> Expr {
        if !self.peek().is(Punct::LeftParen) && self.peek().is(Punct::LeftBrace) {
            self.unexpected("a condition in parentheses");
            return Expr {
                kind: crate::script::ast::ExprKind::Error,
                span: keyword,
            };
        }
        self.expr()
    }

    /// The statement that an `if` or `while` governs.
    fn governed(&mut self, keyword: Span) -> Stmt {
        let token = self.peek();
        if token.is(Punct::RightBrace) || self.at_end() || self.starts_item() {
            self.unexpected("a statement");
            return Stmt {
                kind: StmtKind::Empty,
                span: keyword,
            };
        }
        if token.is(Punct::RightParen) {
            let report = Diagnostic::error("syntax", token.span, "`)` without its `(`");
            self.report(report);
            self.at += 1;
        }
        self.statement().unwrap_or(Stmt {
            kind: StmtKind::Empty,
            span: keyword,
        })
    }

    fn if_statement(&mut self) -> Option<Stmt> {
        let keyword = self.advance().span;
        let mut branches = Vec::new();
        let mut otherwise = None;
        let condition = self.condition(keyword);
        let span = keyword.to(self.before());
        branches.push((condition, self.governed(keyword)));
        while self.peek().is_word("else") {
            let other = self.advance().span;
            if self.peek().is_word("if") {
                let keyword = self.advance().span;
                let condition = self.condition(keyword);
                branches.push((condition, self.governed(keyword)));
            } else {
                otherwise = Some(Box::new(self.governed(other)));
                break;
            }
        }
        Some(Stmt {
            kind: StmtKind::If { branches, otherwise },
            span,
        })
    }

    fn stray_else(&mut self, word: &str, span: Span) -> Option<Stmt> {
        let report = if word == "else" {
            Diagnostic::error("syntax", span, "`else` without its `if`")
                .help("a `;` behind the block of the `if` ends it, and more than one statement needs `{ }`")
        } else {
            Diagnostic::error("syntax", span, format!("unknown keyword `{word}`"))
                .help("did you mean `else if`?")
        };
        self.report(report);
        self.at += 1;
        if word != "else" {
            self.condition(span);
        } else if self.peek().is_word("if") {
            self.at += 1;
            self.condition(span);
        }
        Some(self.governed(span))
    }

    fn while_statement(&mut self) -> Option<Stmt> {
        let keyword = self.advance().span;
        let condition = self.condition(keyword);
        let span = keyword.to(self.before());
        let body = Box::new(self.governed(keyword));
        Some(Stmt {
            kind: StmtKind::While { condition, body },
            span,
        })
    }

    fn switch_statement(&mut self) -> Option<Stmt> {
        let keyword = self.advance().span;
        let value = self.condition(keyword);
        let span = keyword.to(self.before());
        if !self.peek().is(Punct::LeftBrace) {
            self.unexpected("`{` behind `switch (…)`");
            self.recover();
            return None;
        }
        let opened = self.advance().span;
        self.open.push(opened);
        let mut cases: Vec<Case> = Vec::new();
        loop {
            let token = self.peek().clone();
            if token.is(Punct::RightBrace) {
                self.at += 1;
                self.open.pop();
                break;
            }
            if self.at_end() || self.starts_item() {
                self.unclosed();
                self.open.pop();
                break;
            }
            match token.word() {
                Some("case" | "default") => {
                    if let Some(label) = self.case_label() {
                        let span = token.span.to(self.before());
                        cases.push(Case {
                            label,
                            body: Vec::new(),
                            span,
                        });
                    }
                }
                _ => match cases.last_mut() {
                    Some(_) => {
                        let mut body = Vec::new();
                        self.statement_into(&mut body);
                        if let Some(case) = cases.last_mut() {
                            case.body.append(&mut body);
                        }
                    }
                    None => {
                        self.unexpected("`case` or `default`");
                        let mut lost = Vec::new();
                        self.statement_into(&mut lost);
                    }
                },
            }
        }
        Some(Stmt {
            kind: StmtKind::Switch { value, cases },
            span,
        })
    }

    fn case_label(&mut self) -> Option<CaseLabel> {
        let default = self.advance().is_word("default");
        let label = if default {
            Some(CaseLabel::Default)
        } else {
            let token = self.peek().clone();
            match token.kind {
                TokenKind::Str(_) => self.string().map(|name| CaseLabel::Str(name.text)),
                TokenKind::Int(text) => {
                    self.at += 1;
                    Some(CaseLabel::Int(self.number(&text, token.span)))
                }
                TokenKind::Punct(Punct::Minus) => match &self.ahead(1).kind {
                    TokenKind::Int(text) => {
                        let text = text.clone();
                        self.at += 2;
                        Some(CaseLabel::Int(self.number(&text, token.span).wrapping_neg()))
                    }
                    _ => None,
                },
                TokenKind::Regex(pattern, flags) => {
                    self.at += 1;
                    Some(CaseLabel::Regex(pattern, flags))
                }
                TokenKind::Punct(Punct::Slash) => {
                    self.at += 1;
                    self.string()
                        .map(|name| CaseLabel::Regex(name.text, String::new()))
                }
                TokenKind::Ident(word) => {
                    self.at += 1;
                    Some(CaseLabel::Word(word))
                }
                _ => None,
            }
        };
        if label.is_none() {
            self.unexpected("a constant");
        }
        if !self.eat(Punct::Colon) {
            if label.is_some() {
                let report = Diagnostic::error("syntax", self.behind(), "missing `:`");
                self.report(report);
            }
            while !self.at_end()
                && !self.peek().first
                && !self.peek().is(Punct::RightBrace)
                && label.is_none()
            {
                self.at += 1;
            }
        }
        label
    }

    fn jump(&mut self, kind: StmtKind) -> Option<Stmt> {
        let span = self.advance().span;
        if self.peek().is(Punct::LeftParen) && self.ahead(1).is(Punct::RightParen) {
            self.at += 2;
        }
        self.finish(kind, span)
    }

    /// The value of `return 1`, `return(1)`, `exit()`.
    fn jump_value(&mut self) -> Option<Expr> {
        self.at += 1;
        let next = self.peek();
        if next.is(Punct::Semicolon) || next.is(Punct::RightBrace) || next.first || self.at_end() {
            return None;
        }
        if next.is(Punct::LeftParen) && self.ahead(1).is(Punct::RightParen) {
            self.at += 2;
            return None;
        }
        Some(self.expr())
    }
}
