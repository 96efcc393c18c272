//! The interpreter: runs one route block of a compiled script.

mod expr;
mod held;
mod seen;
mod stmt;
pub mod trace;

use super::host::RouteId;
use super::module::Env;
use super::module::RouteKind;
use super::program::Program;
use super::span::Span;
pub(in crate::script) use expr::apply;
pub(in crate::script) use expr::apply_unary;
pub(in crate::script) use expr::int_of;
pub(in crate::script) use expr::whole_int;
pub(in crate::script) use held::is_held_variable;
use stmt::Flow;

/// How a route ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What it returned.
    pub code: i64,
    /// `exit` or `drop` ended the script, not only this route.
    pub exited: bool,
    /// `drop` was called: a reply goes no further, a branch is not sent.
    pub dropped: bool,
}

/// What the interpreter keeps while it runs.
struct Run<'a> {
    program: &'a Program,
    /// The result of the last statement: what a block returns that has no `return`.
    code: i64,
    /// How many route blocks are open.
    depth: u32,
    dropped: bool,
    /// The end of the script was written down.
    ended: bool,
    /// The statement under way.
    at: Option<Span>,
}

/// Runs an event route on the message under way, if the script has it.
pub fn run_event(name: &str, env: &mut Env<'_>) {
    let Some(route) = env.script.program.event_route(name) else {
        return;
    };
    let mut inner = Env {
        ctx: &mut *env.ctx,
        lists: &mut *env.lists,
        vars: &mut *env.vars,
        script: env.script,
        host: &mut *env.host,
        route: RouteKind::EVENT,
        rc: 0,
    };
    run(route, &mut inner);
}

/// Runs a route block.
pub fn run(route: RouteId, env: &mut Env<'_>) -> Verdict {
    let program = &env.script.program;
    let mut run = Run {
        program,
        code: 1,
        depth: 0,
        dropped: false,
        ended: false,
        at: None,
    };
    let flow = run.route(route, env);
    Verdict {
        code: run.code,
        exited: flow == Flow::Exit,
        dropped: run.dropped,
    }
}

#[cfg(test)]
pub(in crate::script) mod tests;
