//! Which variables a statement reads, and what they hold: the values that `explain` shows.

use crate::script::module::CompiledArg;
use crate::script::module::Env;
use crate::script::program::End;
use crate::script::program::Expr;
use crate::script::program::Format;
use crate::script::program::Invoke;
use crate::script::program::Keyword;
use crate::script::program::Node;
use crate::script::program::Pure;
use crate::script::program::PvRef;
use crate::script::program::Test;

/// Variables as written, with their values.
pub(super) type Seen = Vec<(Box<str>, Box<[u8]>)>;

/// Variables of one statement.
const MOST: usize = 32;

/// Bytes of one value.
const LONGEST: usize = 1024;

/// What an expression reads, functions in it left out: they tell for themselves.
#[cold]
pub(super) fn of_node(node: &Node, env: &Env<'_>) -> Seen {
    let mut seen = Seen::new();
    walk(node, env, &mut seen);
    seen
}

/// What the arguments of a function read.
pub(super) fn of_call(invoke: &Invoke, env: &Env<'_>) -> Seen {
    let mut seen = Seen::new();
    for arg in &invoke.args {
        match arg {
            CompiledArg::Format(format) => of_format(format, env, &mut seen),
            CompiledArg::Pv(pv) => variable(pv, env, &mut seen),
            CompiledArg::Expr(expr) => pure(expr, env, &mut seen),
            CompiledArg::Absent
            | CompiledArg::Int(_)
            | CompiledArg::Text(_)
            | CompiledArg::Regex(_)
            | CompiledArg::Subst(_)
            | CompiledArg::Route(_) => {}
        }
    }
    seen
}

fn of_format(format: &Format, env: &Env<'_>, seen: &mut Seen) {
    format.variables().for_each(|pv| variable(pv, env, seen));
}

fn walk(node: &Node, env: &Env<'_>, seen: &mut Seen) {
    match node {
        Node::Pure(expr) => pure(expr, env, seen),
        Node::Call(_) | Node::Route(_) => {}
        Node::Unary(_, inner) => walk(inner, env, seen),
        Node::Binary(_, pair) => {
            walk(&pair.0, env, seen);
            walk(&pair.1, env, seen);
        }
        Node::Choose(three) => {
            walk(&three.0, env, seen);
            walk(&three.1, env, seen);
            walk(&three.2, env, seen);
        }
    }
}

fn pure(expr: &Expr, env: &Env<'_>, seen: &mut Seen) {
    match &expr.0 {
        Pure::Null | Pure::Int(_) | Pure::Text(_) => {}
        Pure::Pv(pv) => variable(pv, env, seen),
        Pure::Keyword(word) => keyword(*word, env, seen),
        Pure::Unary(_, inner) => pure(inner, env, seen),
        Pure::Binary(_, pair) => {
            pure(&pair.0, env, seen);
            pure(&pair.1, env, seen);
        }
        Pure::Test(test, _) => match &**test {
            Test::IsNull(inner)
            | Test::EqualText(inner, _)
            | Test::EqualInt(inner, _)
            | Test::Match(inner, _) => pure(inner, env, seen),
            Test::Network(End::Peer, _) => keyword(Keyword::SrcIp, env, seen),
            Test::Network(End::Local, _) => keyword(Keyword::DstIp, env, seen),
            Test::Myself(word) => keyword(*word, env, seen),
            Test::Transport(_) => keyword(Keyword::Proto, env, seen),
            Test::Family6(_) => keyword(Keyword::Af, env, seen),
        },
    }
}

fn variable(pv: &PvRef, env: &Env<'_>, seen: &mut Seen) {
    if is_wanted(pv.text(), seen) {
        let mut value = Vec::new();
        pv.print(env, &mut value);
        add(pv.text(), value, seen);
    }
}

fn keyword(word: Keyword, env: &Env<'_>, seen: &mut Seen) {
    let name = match word {
        Keyword::Method => "method",
        Keyword::Uri => "uri",
        Keyword::FromUri => "from_uri",
        Keyword::ToUri => "to_uri",
        Keyword::Status => "status",
        Keyword::SrcIp => "src_ip",
        Keyword::DstIp => "dst_ip",
        Keyword::SrcPort => "src_port",
        Keyword::DstPort => "dst_port",
        Keyword::Proto => "proto",
        Keyword::Af => "af",
        Keyword::MsgLen => "msg:len",
    };
    if is_wanted(name, seen) {
        let mut value = Vec::new();
        word.read(env).print(&mut value);
        add(name, value, seen);
    }
}

fn is_wanted(name: &str, seen: &Seen) -> bool {
    seen.len() < MOST && seen.iter().all(|(known, _)| **known != *name)
}

fn add(name: &str, mut value: Vec<u8>, seen: &mut Seen) {
    value.truncate(LONGEST);
    seen.push((name.into(), value.into_boxed_slice()));
}
