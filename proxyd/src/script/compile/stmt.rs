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
use crate::script::span::Span;
use shared::regex::Options;

/// The statements of a block as they are made, and the jumps whose target is not known yet.
#[derive(Default)]
pub(super) struct Code {
    out: Vec<Stmt>,
    /// For each open loop or `switch`, the jumps of its `break`s.
    breaks: Vec<Vec<usize>>,
}

impl Code {
    /// The finished block.
    pub(super) fn finish(self) -> Box<[Stmt]> {
        self.out.into()
    }

    fn here(&self) -> u32 {
        u32::try_from(self.out.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, op: Op, span: Span) -> usize {
        self.out.push(Stmt { op, span });
        self.out.len() - 1
    }

    /// Gives jumps the place where the next statement will stand.
    fn land(&mut self, jumps: &[usize]) {
        let target = self.here();
        for at in jumps {
            match self.out.get_mut(*at).map(|stmt| &mut stmt.op) {
                Some(Op::Jump(to) | Op::Unless(_, to) | Op::Round(_, to)) => *to = target,
                Some(Op::Switch(switch)) => switch.otherwise = target,
                _ => {}
            }
        }
    }
}

impl Compiler {
    /// Compiles a list of statements; what is wrong in one does not hide what is wrong in the next.
    pub(super) fn statements(&mut self, body: &[ast::Stmt], code: &mut Code) {
        for stmt in body {
            self.statement(stmt, code);
        }
    }

    fn statement(&mut self, stmt: &ast::Stmt, code: &mut Code) {
        let op = match &stmt.kind {
            StmtKind::Empty => None,
            StmtKind::Block(body) => return self.statements(body, code),
            StmtKind::Assign { target, op, value } => self.assignment(target, *op, value),
            StmtKind::Call(call) if call.name.text == "route" => self.route_call(call).map(Op::Route),
            StmtKind::Call(call) => self.invoke(call).map(Op::Call),
            StmtKind::If { branches, otherwise } => return self.choice(branches, otherwise.as_deref(), code),
            StmtKind::While { condition, body } => return self.repetition(condition, body, stmt.span, code),
            StmtKind::Switch { value, cases } => return self.switch(value, cases, stmt.span, code),
            StmtKind::Break => {
                if let Some(breaks) = code.breaks.last_mut() {
                    breaks.push(code.out.len());
                    Some(Op::Jump(0))
                } else {
                    let report =
                        Diagnostic::warning("break", stmt.span, "`break` outside of a loop or `switch`");
                    self.report(report.help("it ends the route block: `return` says so"));
                    Some(Op::Stop)
                }
            }
            StmtKind::Return(value) => self.jump(value.as_ref()).map(Op::Return),
            StmtKind::Exit(value) => self.jump(value.as_ref()).map(Op::Exit),
            StmtKind::Drop(value) => self.jump(value.as_ref()).map(Op::Drop),
        };
        if let Some(op) = op {
            code.push(op, stmt.span);
        }
    }

    fn choice(
        &mut self,
        branches: &[(ast::Expr, ast::Stmt)],
        otherwise: Option<&ast::Stmt>,
        code: &mut Code,
    ) {
        let mut ends = Vec::new();
        for (at, (condition, then)) in branches.iter().enumerate() {
            let test = self
                .node(condition)
                .map(|node| code.push(Op::Unless(node, 0), condition.span));
            self.statement(then, code);
            if at + 1 < branches.len() || otherwise.is_some() {
                ends.push(code.push(Op::Jump(0), condition.span));
            }
            code.land(test.as_slice());
        }
        if let Some(other) = otherwise {
            self.statement(other, code);
        }
        code.land(&ends);
    }

    fn repetition(&mut self, condition: &ast::Expr, body: &ast::Stmt, span: Span, code: &mut Code) {
        code.push(Op::Enter, span);
        let start = code.here();
        let test = self
            .node(condition)
            .map(|node| code.push(Op::Round(node, 0), condition.span));
        code.breaks.push(Vec::new());
        self.statement(body, code);
        code.push(Op::Jump(start), span);
        code.land(test.as_slice());
        let breaks = code.breaks.pop().unwrap_or_default();
        code.land(&breaks);
        code.push(Op::Leave, span);
    }

    /// The value behind `return` and its kin; none when it is wrong.
    fn jump(&mut self, value: Option<&ast::Expr>) -> Option<Option<Node>> {
        match value {
            None => Some(None),
            Some(value) => self.node(value).map(Some),
        }
    }

    fn assignment(&mut self, target: &ast::Pv, op: Option<ast::BinaryOp>, value: &ast::Expr) -> Option<Op> {
        let compiled = self.variable(target);
        let value = self.node(value);
        let compiled = compiled?;
        if !target.transformations.is_empty() {
            self.error(
                "assignment",
                target.span,
                "a transformation cannot be assigned to",
            );
            return None;
        }
        if compiled.definition().set.is_none() {
            self.error(
                "read-only",
                target.span,
                format!("`${}` is read only", target.name),
            );
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
        Some(Op::Assign(compiled, value))
    }

    fn switch(&mut self, value: &ast::Expr, cases: &[ast::Case], span: Span, code: &mut Code) {
        let value = self.node(value).unwrap_or(Node::Pure(Expr(Pure::Null)));
        let empty = Switch {
            value,
            labels: Box::default(),
            otherwise: 0,
        };
        let at = code.push(Op::Switch(Box::new(empty)), span);
        let mut labels = Vec::new();
        let mut default = None;
        let mut seen: Vec<(&CaseLabel, Span)> = Vec::new();
        code.breaks.push(Vec::new());
        for case in cases {
            if let Some((_, first)) = seen.iter().find(|(label, _)| **label == case.label) {
                let report = Diagnostic::error("duplicate-case", case.span, "this case was there before");
                self.report(report.label(*first, "here"));
            }
            seen.push((&case.label, case.span));
            let target = code.here();
            match self.label(case) {
                Some(Some(label)) => labels.push((label, target)),
                Some(None) => default = Some(target),
                None => {}
            }
            self.statements(&case.body, code);
        }
        let breaks = code.breaks.pop().unwrap_or_default();
        code.land(&breaks);
        let otherwise = default.unwrap_or(code.here());
        if let Some(Op::Switch(switch)) = code.out.get_mut(at).map(|stmt| &mut stmt.op) {
            switch.labels = labels.into();
            switch.otherwise = otherwise;
        }
    }

    /// What a case compares with; `Some(None)` is `default`, none a mistake.
    fn label(&mut self, case: &ast::Case) -> Option<Option<Label>> {
        Some(Some(match &case.label {
            CaseLabel::Default => return Some(None),
            CaseLabel::Int(n) => Label::Int(self.integer(*n, case.span)?),
            CaseLabel::Str(text) => Label::Text(text.as_bytes().into()),
            CaseLabel::Regex(pattern, flags) => {
                if let Some(unknown) = flags.chars().find(|flag| *flag != 'i') {
                    self.error(
                        "regex",
                        case.span,
                        format!("unknown flag `{unknown}` of a regular expression"),
                    );
                }
                let options = Options {
                    ignore_case: flags.contains('i'),
                    newline: false,
                };
                Label::Regex(self.regex(pattern, case.span, options)?)
            }
            CaseLabel::Word(word) => match self.program.flag(word) {
                Some(n) => Label::Int(i64::from(n)),
                None => {
                    let report =
                        Diagnostic::error("bare-word", case.span, format!("`{word}` is no constant"));
                    self.report(report.help("text stands in quotes, a name needs a `#!define` before"));
                    return None;
                }
            },
        }))
    }
}
