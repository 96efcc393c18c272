//! Statements: what runs next, and what a block returns (Kamailio core cookbook, "Script Statements").
//!
//! Kamailio: a block without `return` gives the result of its last statement; `return 0` and a function that gives 0
//! end the script; `$rc` is set by functions of modules and by route blocks, while a core function leaves it alone, and in
//! an expression makes it 0.

use super::Run;
use super::expr::int_of;
use super::expr::is_text;
use super::held;
use super::seen;
use super::seen::Seen;
use super::trace;
use super::trace::What;
use crate::script::host::RouteId;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::program::Invoke;
use crate::script::program::Label;
use crate::script::program::Node;
use crate::script::program::Op;
use crate::script::program::PvRef;
use crate::script::program::RouteCall;
use crate::script::program::Stmt;
use crate::script::program::Switch;
use crate::script::span::Span;
use crate::script::value::Value;
use smallvec::SmallVec;

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// What called it goes on.
    Next,
    /// The script ended.
    Exit,
}

/// What a statement leads to.
enum Step {
    /// The next one.
    Next,
    /// The one at this index.
    Jump(u32),
    /// What called the block.
    Return,
}

impl<'a> Run<'a> {
    /// Runs a block; its code is in `self.code`.
    pub(super) fn route(&mut self, route: RouteId, env: &mut Env<'a>) -> Flow {
        let Some(block) = self.program.blocks.get(route as usize) else {
            return Flow::Next;
        };
        self.depth += 1;
        self.note(env, block.span, || What::Enter(route));
        self.code = 1;
        let flow = self.block(&block.body, env);
        let code = self.code;
        self.note(env, block.span, || What::Leave(route, code));
        self.depth -= 1;
        flow
    }

    fn block(&mut self, body: &'a [Stmt], env: &mut Env<'a>) -> Flow {
        let mut rounds: SmallVec<[u32; 4]> = SmallVec::new();
        let mut at = 0usize;
        while let Some(stmt) = body.get(at) {
            self.at = Some(stmt.span);
            match self.statement(stmt, &mut rounds, env) {
                Ok(Step::Next) => at += 1,
                Ok(Step::Jump(target)) => at = target as usize,
                Ok(Step::Return) => return Flow::Next,
                Err(flow) => {
                    if !std::mem::replace(&mut self.ended, true) {
                        let dropped = self.dropped;
                        self.note(env, stmt.span, || if dropped { What::Drop } else { What::Exit });
                    }
                    return flow;
                }
            }
        }
        Flow::Next
    }

    fn statement(
        &mut self,
        stmt: &'a Stmt,
        rounds: &mut SmallVec<[u32; 4]>,
        env: &mut Env<'a>,
    ) -> Result<Step, Flow> {
        match &stmt.op {
            Op::Call(invoke) => {
                let before = env.rc;
                let code = self.call(invoke, env)?;
                if invoke.core {
                    env.rc = before;
                }
                self.code = i64::from(code);
            }
            Op::Route(call) => self.code = self.call_route(call, env)?,
            Op::Assign(target, value) => {
                let seen = self.seen(value, env);
                self.code = match self.value(value, env)? {
                    Some(value) => self.assign(stmt.span, target, value, seen, env),
                    None => {
                        self.complain(stmt.span, "the expression has no value: division by zero");
                        -1
                    }
                };
            }
            Op::Unless(condition, target) => {
                let seen = self.seen(condition, env);
                let yes = self.holds(condition, env)?;
                self.note_with(env, stmt.span, seen, || What::Condition(yes));
                self.code = 1;
                if !yes {
                    return Ok(Step::Jump(*target));
                }
            }
            Op::Jump(target) => return Ok(Step::Jump(*target)),
            Op::Enter => rounds.push(0),
            Op::Leave => {
                rounds.pop();
            }
            Op::Round(condition, target) => {
                let seen = self.seen(condition, env);
                let yes = self.holds(condition, env)?;
                self.note_with(env, stmt.span, seen, || What::Condition(yes));
                self.code = 1;
                if !yes || self.too_many(stmt.span, rounds) {
                    return Ok(Step::Jump(*target));
                }
            }
            Op::Switch(switch) => return self.switch(stmt.span, switch, env),
            Op::Stop | Op::Return(None) => {
                if let Op::Return(_) = stmt.op {
                    self.code = 1;
                }
                return Ok(Step::Return);
            }
            Op::Return(Some(value)) => {
                self.code = self.operand(value, env)?.map_or(-1, |value| int_of(&value));
                return if self.code == 0 {
                    Err(Flow::Exit)
                } else {
                    Ok(Step::Return)
                };
            }
            Op::Exit(value) => return self.finish(value.as_ref(), env),
            Op::Drop(value) => {
                self.dropped = true;
                return self.finish(value.as_ref(), env);
            }
        }
        Ok(Step::Next)
    }

    /// Counts a round of the innermost loop; true when there were too many.
    fn too_many(&mut self, span: Span, rounds: &mut [u32]) -> bool {
        let Some(count) = rounds.last_mut() else {
            return false;
        };
        let limit = self.program.while_limit;
        if limit > 0 && *count >= limit {
            self.complain(
                span,
                &format!("loop stopped after {limit} rounds (max_while_loops)"),
            );
            self.code = -1;
            return true;
        }
        *count += 1;
        false
    }

    /// The value behind `exit` or `drop` is worked out for what it does, and means nothing.
    fn finish(&mut self, value: Option<&'a Node>, env: &mut Env<'a>) -> Result<Step, Flow> {
        if let Some(value) = value {
            self.value(value, env)?;
        }
        self.code = 0;
        Err(Flow::Exit)
    }

    fn assign(
        &mut self,
        span: Span,
        target: &'a PvRef,
        value: Value<'static>,
        seen: Seen,
        env: &mut Env<'a>,
    ) -> i64 {
        if let Some(trace) = &mut env.vars.trace {
            trace.begin(span, self.depth);
            let text = value.to_text().into_owned().into_boxed_slice();
            self.note_with(env, span, seen, || What::Assign(target.text().into(), text));
        }
        match target.write(env, value) {
            Ok(()) => 1,
            Err(error) => {
                self.complain(span, &format!("cannot set {}: {error}", target.text()));
                -1
            }
        }
    }

    fn switch(&mut self, span: Span, switch: &'a Switch, env: &mut Env<'a>) -> Result<Step, Flow> {
        let seen = self.seen(&switch.value, env);
        let value = self.operand(&switch.value, env)?.unwrap_or(Value::Null);
        let label = switch.labels.iter().find(|(label, _)| match label {
            Label::Int(n) => match &value {
                Value::Str(text) => is_text(&Value::Int(*n), text),
                other => int_of(other) == *n,
            },
            Label::Text(text) => is_text(&value, text),
            Label::Regex(regex) => regex.is_match(&value.to_text()),
        });
        self.note_with(env, span, seen, || What::Condition(label.is_some()));
        self.code = 1;
        Ok(Step::Jump(label.map_or(switch.otherwise, |(_, target)| *target)))
    }

    /// Calls a function; 0 ends the script.
    pub(super) fn call(&mut self, invoke: &'a Invoke, env: &mut Env<'a>) -> Result<i32, Flow> {
        let code = if env.vars.trace.is_some() {
            self.traced_call(invoke, env)
        } else {
            call_function(invoke, env)
        };
        env.rc = if invoke.core { 0 } else { i64::from(code.0) };
        if code.0 == 0 { Err(Flow::Exit) } else { Ok(code.0) }
    }

    /// Calls a function and writes it down; in a sandbox those that write count as done.
    #[cold]
    fn traced_call(&mut self, invoke: &'a Invoke, env: &mut Env<'a>) -> Code {
        let span = self.at.unwrap_or_default();
        let seen = seen::of_call(invoke, env);
        if let Some(trace) = &mut env.vars.trace {
            trace.begin(span, self.depth);
        }
        if held::is_held(invoke, env) {
            self.note_with(env, span, seen, || What::HeldBack(invoke.name));
            return Code::TRUE;
        }
        let code = call_function(invoke, env);
        self.note_with(env, span, seen, || What::Call(invoke.name, code.0));
        code
    }

    /// The variables that an expression reads; nothing unless somebody wants to know.
    fn seen(&self, node: &Node, env: &Env<'_>) -> Seen {
        if env.vars.trace.is_some() {
            seen::of_node(node, env)
        } else {
            Seen::new()
        }
    }

    /// Runs a route block for its code; `exit` in it, and 0, end the script.
    pub(super) fn call_route(&mut self, call: &'a RouteCall, env: &mut Env<'a>) -> Result<i64, Flow> {
        let route = match call {
            RouteCall::Block(route) => *route,
            RouteCall::Named(name) => {
                let name = self.value(name, env)?.unwrap_or(Value::Null);
                let text = name.to_text();
                let text = String::from_utf8_lossy(&text);
                match self
                    .program
                    .named(crate::script::ast::RouteKeyword::Request, &text)
                {
                    Some(route) => route,
                    None => {
                        crate::log::error("core", format_args!("there is no route[{text}]"));
                        return Ok(-1);
                    }
                }
            }
        };
        if self.depth >= self.program.route_limit {
            let name = self.program.route_name(route);
            let limit = self.program.route_limit;
            crate::log::error(
                "core",
                format_args!("{name} not run: more than {limit} blocks call each other"),
            );
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
        self.note_with(env, span, Seen::new(), what);
    }

    fn note_with(&self, env: &mut Env<'_>, span: Span, values: Seen, what: impl FnOnce() -> What) {
        if let Some(steps) = &mut env.vars.trace {
            steps.push(trace::Step {
                span,
                depth: self.depth,
                what: what(),
                values,
            });
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

fn call_function<'a>(invoke: &'a Invoke, env: &mut Env<'a>) -> Code {
    (invoke.function.call)(&mut Call {
        env,
        args: &invoke.args,
        name: invoke.name,
        span: invoke.span,
    })
}
