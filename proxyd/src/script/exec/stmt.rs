//! Statements: what runs next, and what a block returns (Kamailio core cookbook, "Script Statements").
//!
//! Kamailio: a block without `return` gives the result of its last statement; `return 0` and a function that gives 0
//! end the script; `$rc` is set by functions and route blocks alone.

use super::Run;
use super::expr::int_of;
use super::expr::is_text;
use super::trace::Step;
use super::trace::What;
use crate::script::host::RouteId;
use crate::script::module::Call;
use crate::script::module::Env;
use crate::script::program::Invoke;
use crate::script::program::Label;
use crate::script::program::Op;
use crate::script::program::RouteCall;
use crate::script::program::Stmt;
use crate::script::program::Switch;
use crate::script::span::Span;
use crate::script::value::Value;

/// What comes after a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next one.
    Next,
    /// What stands behind the loop or switch.
    Break,
    /// What called the block.
    Return,
    /// Nothing.
    Exit,
}

impl<'a> Run<'a> {
    /// Runs a block; its code is in `self.code`.
    pub(super) fn route(&mut self, route: RouteId, env: &mut Env<'a>) -> Flow {
        let Some(block) = self.program.blocks.get(route as usize) else { return Flow::Next };
        self.depth += 1;
        self.note(env, block.span, || What::Enter(route));
        self.code = 1;
        let flow = self.list(&block.body, env);
        let code = self.code;
        self.note(env, block.span, || What::Leave(route, code));
        self.depth -= 1;
        if flow == Flow::Exit { Flow::Exit } else { Flow::Next }
    }

    fn list(&mut self, body: &'a [Stmt], env: &mut Env<'a>) -> Flow {
        for stmt in body {
            let flow = self.statement(stmt, env);
            if flow != Flow::Next {
                return flow;
            }
        }
        Flow::Next
    }

    fn statement(&mut self, stmt: &'a Stmt, env: &mut Env<'a>) -> Flow {
        let done = match &stmt.op {
            Op::Call(invoke) => self.call(invoke, env).map(|code| {
                self.code = i64::from(code);
                self.note(env, stmt.span, || What::Call(invoke.name, code));
                Flow::Next
            }),
            Op::Route(call) => self.call_route(call, env).map(|code| {
                self.code = code;
                Flow::Next
            }),
            Op::Assign(target, value) => self.value(value, env).map(|value| {
                self.code = match value {
                    Some(value) => self.assign(stmt.span, target, value, env),
                    None => {
                        self.complain(stmt.span, "the expression has no value: division by zero");
                        -1
                    }
                };
                Flow::Next
            }),
            Op::If(branches, otherwise) => self.choose(stmt.span, branches, otherwise, env),
            Op::While(condition, body) => self.repeat(stmt.span, condition, body, env),
            Op::Switch(switch) => self.switch(stmt.span, switch, env),
            Op::Break => Ok(Flow::Break),
            Op::Return(None) => {
                self.code = 1;
                Ok(Flow::Return)
            }
            Op::Return(Some(value)) => self.value(value, env).map(|value| {
                self.code = value.map_or(-1, |value| int_of(&value));
                if self.code == 0 { Flow::Exit } else { Flow::Return }
            }),
            Op::Exit(value) => self.finish(value.as_ref(), env),
            Op::Drop(value) => {
                self.dropped = true;
                self.finish(value.as_ref(), env)
            }
        };
        match done {
            Ok(Flow::Exit) | Err(_) => {
                let dropped = self.dropped;
                self.note(env, stmt.span, || if dropped { What::Drop } else { What::Exit });
                Flow::Exit
            }
            Ok(flow) => flow,
        }
    }

    /// The value behind `exit` or `drop` is worked out for what it does, and means nothing.
    fn finish(&mut self, value: Option<&'a crate::script::program::Node>, env: &mut Env<'a>) -> Result<Flow, Flow> {
        if let Some(value) = value {
            self.value(value, env)?;
        }
        self.code = 0;
        Ok(Flow::Exit)
    }

    fn assign(
        &mut self,
        span: Span,
        target: &'a crate::script::program::PvRef,
        value: Value<'static>,
        env: &mut Env<'a>,
    ) -> i64 {
        if env.vars.trace.is_some() {
            let text = value.to_text().into_owned().into_boxed_slice();
            self.note(env, span, || What::Assign(target.text().into(), text));
        }
        match target.write(env, value) {
            Ok(()) => 1,
            Err(error) => {
                self.complain(span, &format!("cannot set {}: {error}", target.text()));
                -1
            }
        }
    }

    fn choose(
        &mut self,
        span: Span,
        branches: &'a [(crate::script::program::Node, Box<[Stmt]>)],
        otherwise: &'a [Stmt],
        env: &mut Env<'a>,
    ) -> Result<Flow, Flow> {
        for (condition, body) in branches {
            let yes = self.holds(condition, env)?;
            self.note(env, span, || What::Condition(yes));
            if yes {
                self.code = 1;
                return Ok(self.list(body, env));
            }
        }
        self.code = 1;
        Ok(self.list(otherwise, env))
    }

    fn repeat(
        &mut self,
        span: Span,
        condition: &'a crate::script::program::Node,
        body: &'a [Stmt],
        env: &mut Env<'a>,
    ) -> Result<Flow, Flow> {
        let limit = self.program.while_limit;
        let mut rounds = 0u32;
        while self.holds(condition, env)? {
            self.note(env, span, || What::Condition(true));
            rounds = rounds.saturating_add(1);
            if limit > 0 && rounds > limit {
                self.complain(span, &format!("loop stopped after {limit} rounds (max_while_loops)"));
                self.code = -1;
                return Ok(Flow::Next);
            }
            match self.list(body, env) {
                Flow::Next => {}
                Flow::Break => break,
                flow => return Ok(flow),
            }
        }
        self.code = 1;
        Ok(Flow::Next)
    }

    fn switch(&mut self, span: Span, switch: &'a Switch, env: &mut Env<'a>) -> Result<Flow, Flow> {
        let value = self.value(&switch.value, env)?.unwrap_or(Value::Null);
        let label = switch.labels.iter().find(|(label, _)| match label {
            Label::Int(n) => match &value {
                Value::Str(text) => is_text(&Value::Int(*n), text),
                other => int_of(other) == *n,
            },
            Label::Text(text) => is_text(&value, text),
            Label::Regex(regex) => regex.is_match(&value.to_text()),
        });
        let from = label.map(|(_, from)| *from).or(switch.default);
        self.note(env, span, || What::Condition(from.is_some()));
        self.code = 1;
        let body = from.and_then(|from| switch.body.get(from as usize..)).unwrap_or(&[]);
        Ok(match self.list(body, env) {
            Flow::Break => Flow::Next,
            flow => flow,
        })
    }

    /// Calls a function; 0 ends the script.
    pub(super) fn call(&mut self, invoke: &'a Invoke, env: &mut Env<'a>) -> Result<i32, Flow> {
        let code = (invoke.function.call)(&mut Call { env, args: &invoke.args, name: invoke.name });
        env.rc = i64::from(code.0);
        if code.0 == 0 { Err(Flow::Exit) } else { Ok(code.0) }
    }

    /// Runs a route block for its code; `exit` in it, and 0, end the script.
    pub(super) fn call_route(&mut self, call: &'a RouteCall, env: &mut Env<'a>) -> Result<i64, Flow> {
        let route = match call {
            RouteCall::Block(route) => *route,
            RouteCall::Named(name) => {
                let name = self.value(name, env)?.unwrap_or(Value::Null);
                let text = name.to_text();
                let text = String::from_utf8_lossy(&text);
                match self.program.named(crate::script::ast::RouteKeyword::Request, &text) {
                    Some(route) => route,
                    None => {
                        crate::log::error("core", format_args!("there is no route[{text}]"));
                        return Ok(-1);
                    }
                }
            }
        };
        if self.depth > self.program.route_limit {
            let name = self.program.route_name(route);
            let limit = self.program.route_limit;
            crate::log::error("core", format_args!("{name} not run: more than {limit} blocks call each other"));
            return Ok(-1);
        }
        match self.route(route, env) {
            Flow::Exit => Err(Flow::Exit),
            _ => {
                env.rc = self.code;
                Ok(self.code)
            }
        }
    }

    fn note(&self, env: &mut Env<'_>, span: Span, what: impl FnOnce() -> What) {
        if let Some(trace) = &mut env.vars.trace {
            trace.push(Step { span, depth: self.depth, what: what() });
        }
    }

    #[cold]
    fn complain(&self, span: Span, what: &str) {
        let sources = &self.program.sources;
        let root = sources.root(span);
        let (name, line) = (sources.name(root.file).display(), sources.position(root).line);
        crate::log::error("core", format_args!("{what} at {name}:{line}"));
    }
}
