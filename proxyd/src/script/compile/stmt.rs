//! Statements.

use super::Compiler;
use crate::script::ast;
use crate::script::ast::CaseLabel;
use crate::script::ast::StmtKind;
use crate::script::diag::Diagnostic;
use crate::script::program::Expr;
use crate::script::program::Label;
use crate::script::program::Node;
use crate::script::program::Op;
use crate::script::program::Pure;
use crate::script::program::Stmt;
use crate::script::program::Switch;
use crate::script::regex::Options;
use crate::script::span::Span;

impl Compiler {
    /// Compiles a list of statements; what is wrong in one does not hide what is wrong in the next.
    pub(super) fn statements(&mut self, body: &[ast::Stmt]) -> Box<[Stmt]> {
        let mut out = Vec::with_capacity(body.len());
        for stmt in body {
            self.statement(stmt, &mut out);
        }
        out.into()
    }

    fn statement(&mut self, stmt: &ast::Stmt, out: &mut Vec<Stmt>) {
        let op = match &stmt.kind {
            StmtKind::Empty => None,
            StmtKind::Block(body) => {
                for stmt in body {
                    self.statement(stmt, out);
                }
                None
            }
            StmtKind::Assign { target, op, value } => self.assignment(target, *op, value, stmt.span),
            StmtKind::Call(call) if call.name.text == "route" => self.route_call(call).map(Op::Route),
            StmtKind::Call(call) => self.invoke(call).map(Op::Call),
            StmtKind::If { branches, otherwise } => {
                let mut compiled = Vec::with_capacity(branches.len());
                for (condition, then) in branches {
                    let condition = self.node(condition);
                    let then = self.statements(std::slice::from_ref(then));
                    compiled.extend(condition.map(|condition| (condition, then)));
                }
                let otherwise = otherwise.as_deref().map(|other| self.statements(std::slice::from_ref(other)));
                Some(Op::If(compiled.into(), otherwise.unwrap_or_default()))
            }
            StmtKind::While { condition, body } => {
                let condition = self.node(condition);
                self.loops += 1;
                let body = self.statements(std::slice::from_ref(body));
                self.loops -= 1;
                condition.map(|condition| Op::While(condition, body))
            }
            StmtKind::Switch { value, cases } => self.switch(value, cases),
            StmtKind::Break => {
                if self.loops == 0 {
                    let report = Diagnostic::warning("break", stmt.span, "`break` outside of a loop or `switch`");
                    self.report(report.help("it ends the route block: `return` says so"));
                }
                Some(Op::Break)
            }
            StmtKind::Return(value) => self.jump(value.as_ref()).map(Op::Return),
            StmtKind::Exit(value) => self.jump(value.as_ref()).map(Op::Exit),
            StmtKind::Drop(value) => self.jump(value.as_ref()).map(Op::Drop),
        };
        out.extend(op.map(|op| Stmt { op, span: stmt.span }));
    }

    /// The value behind `return` and its kin; none when it is wrong.
    fn jump(&mut self, value: Option<&ast::Expr>) -> Option<Option<Node>> {
        match value {
            None => Some(None),
            Some(value) => self.node(value).map(Some),
        }
    }

    fn assignment(
        &mut self,
        target: &ast::Pv,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<Op> {
        let compiled = self.variable(target);
        let value = self.node(value);
        let compiled = compiled?;
        if !target.transformations.is_empty() {
            self.error("assignment", target.span, "a transformation cannot be assigned to");
            return None;
        }
        if compiled.definition().set.is_none() {
            self.error("read-only", target.span, format!("`${}` is read only", target.name));
            return None;
        }
        let value = value?;
        let value = match op {
            None => value,
            Some(op) => {
                let own = Expr(Pure::Pv(self.variable(target)?));
                match value {
                    Node::Pure(value) => Node::Pure(super::fold::binary(op, own, value)),
                    value => Node::Binary(op, Box::new((Node::Pure(own), value))),
                }
            }
        };
        let _ = span;
        Some(Op::Assign(compiled, value))
    }

    fn switch(&mut self, value: &ast::Expr, cases: &[ast::Case]) -> Option<Op> {
        let value = self.node(value);
        let mut labels = Vec::new();
        let mut default = None;
        let mut body = Vec::new();
        let mut seen: Vec<(&CaseLabel, Span)> = Vec::new();
        self.loops += 1;
        for case in cases {
            let at = u32::try_from(body.len()).unwrap_or(u32::MAX);
            if let Some((_, first)) = seen.iter().find(|(label, _)| **label == case.label) {
                let report = Diagnostic::error("duplicate-case", case.span, "this case was there before");
                self.report(report.label(*first, "here"));
            }
            seen.push((&case.label, case.span));
            let label = match &case.label {
                CaseLabel::Default => {
                    default = Some(at);
                    None
                }
                CaseLabel::Int(n) => self.integer(*n, case.span).map(Label::Int),
                CaseLabel::Str(text) => Some(Label::Text(text.as_bytes().into())),
                CaseLabel::Regex(pattern, flags) => {
                    if let Some(unknown) = flags.chars().find(|flag| *flag != 'i') {
                        self.error("regex", case.span, format!("unknown flag `{unknown}` of a regular expression"));
                    }
                    let options = Options { ignore_case: flags.contains('i'), newline: false };
                    self.regex(pattern, case.span, options).map(Label::Regex)
                }
                CaseLabel::Word(word) => match self.program.flag(word) {
                    Some(n) => Some(Label::Int(i64::from(n))),
                    None => {
                        let report = Diagnostic::error("bare-word", case.span, format!("`{word}` is no constant"));
                        self.report(report.help("text stands in quotes, a name needs a `#!define` before"));
                        None
                    }
                },
            };
            labels.extend(label.map(|label| (label, at)));
            body.extend(self.statements(&case.body));
        }
        self.loops -= 1;
        Some(Op::Switch(Box::new(Switch { value: value?, labels: labels.into(), default, body: body.into() })))
    }
}
