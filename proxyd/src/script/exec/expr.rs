//! Expressions: conversions and operators as Kamailio has them (core cookbook, "Operators").
//!
//! Kamailio: integers have 32 bits; the right operand becomes what the left one is; a text that is no number counts as 0.

use super::Run;
use super::stmt::Flow;
use crate::script::ast::BinaryOp;
use crate::script::module::Env;
use crate::script::program::End;
use crate::script::program::Expr;
use crate::script::program::Keyword;
use crate::script::program::Node;
use crate::script::program::Pure;
use crate::script::program::Test;
use crate::script::program::Unary;
use crate::script::value::Value;
use crate::script::value::print_int;
use shared::regex::Regex;
use shared::sip::Uri;
use std::borrow::Cow;

/// The integer that a whole text spells; 0 when it does not.
pub(in crate::script) fn int_of(value: &Value<'_>) -> i64 {
    match value {
        Value::Null => 0,
        Value::Int(n) => *n,
        Value::Str(text) => whole_int(text).unwrap_or(0),
    }
}

/// The integer of 32 bits that a whole text spells, in decimal or, after `0x`, in hexadecimal digits.
pub(in crate::script) fn whole_int(text: &[u8]) -> Option<i64> {
    if let Some(digits) = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X")) {
        let digits = std::str::from_utf8(digits).ok()?;
        let bits = u32::from_str_radix(digits, 16).ok()?;
        return Some(i64::from(narrow(i64::from(bits))));
    }
    let digits = text
        .strip_prefix(b"-")
        .or(text.strip_prefix(b"+"))
        .unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    crate::script::value::leading_int(text).filter(|number| i32::try_from(*number).is_ok())
}

/// Whether a condition holds with a value.
pub(super) fn is_true(value: &Value<'_>) -> bool {
    int_of(value) > 0
}

fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, Value::Int(n)) => *n == 0,
        (Value::Null, Value::Str(text)) => text.is_empty(),
        (Value::Int(n), right) => *n == int_of(right),
        (Value::Str(text), right) => is_text(right, text),
    }
}

/// Whether a value's text is this one.
pub(super) fn is_text(value: &Value<'_>, text: &[u8]) -> bool {
    match value {
        Value::Null => text.is_empty(),
        Value::Int(n) => {
            // only a text without leading zeros can be what an integer prints
            let canonical = !text.starts_with(b"+")
                && (text == b"0" || !text.starts_with(b"0"))
                && !text.starts_with(b"-0");
            canonical && whole_int(text) == Some(*n)
        }
        Value::Str(own) => **own == *text,
    }
}

/// The result of an operator; none when there is none, as for a division by zero.
pub(in crate::script) fn apply<'v>(op: BinaryOp, left: Value<'v>, right: Value<'v>) -> Option<Value<'v>> {
    let truth = |yes: bool| Some(Value::Int(i64::from(yes)));
    match op {
        BinaryOp::Or => return truth(int_of(&left) != 0 || int_of(&right) != 0),
        BinaryOp::And => return truth(int_of(&left) != 0 && int_of(&right) != 0),
        BinaryOp::Equal => return truth(equal(&left, &right)),
        BinaryOp::NotEqual => return truth(!equal(&left, &right)),
        BinaryOp::StrEqual => return truth(left.to_text() == right.to_text()),
        BinaryOp::StrNotEqual => return truth(left.to_text() != right.to_text()),
        BinaryOp::Match | BinaryOp::NotMatch => {
            let matched =
                Regex::cached(&right.to_text()).is_some_and(|regex| regex.is_match(&left.to_text()));
            return truth(matched == (op == BinaryOp::Match));
        }
        BinaryOp::Plus if !matches!(left, Value::Int(_)) => {
            let mut text = left.into_text().into_owned();
            match right {
                Value::Null => {}
                Value::Int(n) => print_int(n, &mut text),
                Value::Str(more) => text.extend_from_slice(&more),
            }
            return Some(Value::Str(Cow::Owned(text)));
        }
        _ => {}
    }
    let (a, b) = (int_of(&left), int_of(&right));
    let (i, j) = (narrow(a), narrow(b));
    let shift = (j as u32) & 31;
    let number = match op {
        BinaryOp::Less => return truth(a < b),
        BinaryOp::LessEqual => return truth(a <= b),
        BinaryOp::Greater => return truth(a > b),
        BinaryOp::GreaterEqual => return truth(a >= b),
        BinaryOp::IntEqual => return truth(a == b),
        BinaryOp::IntNotEqual => return truth(a != b),
        BinaryOp::Plus => i.wrapping_add(j),
        BinaryOp::Minus => i.wrapping_sub(j),
        BinaryOp::Times => i.wrapping_mul(j),
        BinaryOp::Divide if j == 0 => return None,
        BinaryOp::Modulo if j == 0 => return None,
        BinaryOp::Divide => i.wrapping_div(j),
        BinaryOp::Modulo => i.wrapping_rem(j),
        BinaryOp::BitOr => i | j,
        BinaryOp::BitAnd => i & j,
        BinaryOp::BitXor => i ^ j,
        BinaryOp::ShiftLeft => i.wrapping_shl(shift),
        BinaryOp::ShiftRight => i.wrapping_shr(shift),
        // handled above
        BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::StrEqual
        | BinaryOp::StrNotEqual
        | BinaryOp::Match
        | BinaryOp::NotMatch => return None,
    };
    Some(Value::Int(i64::from(number)))
}

/// Kamailio: arithmetic wraps at 32 bits.
fn narrow(n: i64) -> i32 {
    n as i32
}

/// The result of an operator before its operand.
pub(in crate::script) fn apply_unary(op: Unary, value: Value<'_>) -> Value<'_> {
    match op {
        Unary::Not => Value::Int(i64::from(int_of(&value) == 0)),
        Unary::Minus => Value::Int(i64::from(narrow(int_of(&value)).wrapping_neg())),
        Unary::BitNot => Value::Int(i64::from(!narrow(int_of(&value)))),
        Unary::Int => Value::Int(int_of(&value)),
        Unary::Str => Value::Str(value.into_text()),
        Unary::Defined => Value::Int(i64::from(!value.is_null())),
        Unary::StrLen => Value::Int(i64::try_from(value.to_text().len()).unwrap_or(i64::MAX)),
        Unary::StrEmpty => Value::Int(i64::from(match &value {
            Value::Null => true,
            Value::Int(_) => false,
            Value::Str(text) => text.is_empty(),
        })),
    }
}

impl Expr {
    /// Its value; null when it has none.
    pub fn read<'e>(&'e self, env: &'e Env<'_>) -> Value<'e> {
        self.value(env).unwrap_or(Value::Null)
    }

    /// Its value; none after a division by zero.
    pub(super) fn value<'e>(&'e self, env: &'e Env<'_>) -> Option<Value<'e>> {
        Some(match &self.0 {
            Pure::Null => Value::Null,
            Pure::Int(n) => Value::Int(*n),
            Pure::Text(text) => Value::text(text),
            Pure::Pv(pv) => pv.read(env),
            Pure::Keyword(keyword) => keyword.read(env),
            Pure::Unary(op, inner) => apply_unary(*op, inner.value(env)?),
            Pure::Binary(BinaryOp::And | BinaryOp::Or, _) => Value::Int(i64::from(self.holds(env))),
            Pure::Binary(op, pair) => return apply(*op, pair.0.value(env)?, pair.1.value(env)?),
            Pure::Test(test, negate) => Value::Int(i64::from(test.holds(env) != *negate)),
        })
    }

    /// Whether a condition holds with it.
    pub(super) fn holds(&self, env: &Env<'_>) -> bool {
        match &self.0 {
            Pure::Test(test, negate) => test.holds(env) != *negate,
            Pure::Binary(BinaryOp::And, pair) => pair.0.operand_holds(env) && pair.1.operand_holds(env),
            Pure::Binary(BinaryOp::Or, pair) => pair.0.operand_holds(env) || pair.1.operand_holds(env),
            _ => self.value(env).is_some_and(|value| is_true(&value)),
        }
    }

    /// Whether it counts as true for an operator: any number but 0 does.
    fn operand_holds(&self, env: &Env<'_>) -> bool {
        match &self.0 {
            Pure::Test(..) | Pure::Binary(BinaryOp::And | BinaryOp::Or, _) => self.holds(env),
            _ => self.value(env).is_some_and(|value| int_of(&value) != 0),
        }
    }
}

impl Test {
    fn holds(&self, env: &Env<'_>) -> bool {
        match self {
            Self::IsNull(expr) => expr.read(env).is_null(),
            Self::EqualText(expr, text) => match expr.read(env) {
                // the right operand becomes what the left one is
                // Kamailio: a comparison with "" asks whether a text is empty
                Value::Int(n) => !text.is_empty() && n == whole_int(text).unwrap_or(0),
                value => is_text(&value, text),
            },
            Self::EqualInt(expr, n) => match expr.read(env) {
                Value::Str(own) => is_text(&Value::Int(*n), &own),
                value => int_of(&value) == *n,
            },
            Self::Match(expr, regex) => match expr.read(env) {
                Value::Str(text) => regex.is_match(&text),
                value => regex.is_match(&value.to_text()),
            },
            Self::Network(end, nets) => {
                let ip = end.address(env).ip();
                nets.iter().any(|net| net.contains(&ip))
            }
            Self::Myself(keyword) => keyword.is_myself(env),
            Self::Transport(transport) => env.ctx.source.transport == *transport,
            Self::Family6(six) => env.ctx.source.peer.is_ipv6() == *six,
        }
    }
}

impl End {
    fn address(self, env: &Env<'_>) -> std::net::SocketAddr {
        match self {
            Self::Peer => env.ctx.source.peer,
            Self::Local => env.ctx.source.local,
        }
    }
}

impl Keyword {
    /// What it stands for.
    pub(super) fn read<'e>(self, env: &'e Env<'_>) -> Value<'e> {
        let ctx = &*env.ctx;
        match self {
            Self::Method => Value::text(ctx.msg.method().as_bytes()),
            Self::Uri => Value::text(ctx.uri()),
            Self::FromUri => ctx.msg.from().map_or(Value::Null, |from| Value::text(from.uri)),
            Self::ToUri => ctx.msg.to().map_or(Value::Null, |to| Value::text(to.uri)),
            Self::Status => match (ctx.msg.status(), ctx.answered) {
                (0, 0) => Value::Null,
                (0, answered) => Value::Int(i64::from(answered)),
                (status, _) => Value::Int(i64::from(status)),
            },
            Self::SrcIp => Value::owned(ctx.source.peer.ip().to_string().into_bytes()),
            Self::DstIp => Value::owned(ctx.source.local.ip().to_string().into_bytes()),
            Self::SrcPort => Value::Int(i64::from(ctx.source.peer.port())),
            Self::DstPort => Value::Int(i64::from(ctx.source.local.port())),
            Self::Proto => Value::text(ctx.source.transport.as_str().as_bytes()),
            Self::Af => Value::text(if ctx.source.peer.is_ipv6() {
                b"INET6"
            } else {
                b"INET"
            }),
            Self::MsgLen => Value::Int(i64::try_from(ctx.msg.as_bytes().len()).unwrap_or(i64::MAX)),
        }
    }

    /// Whether it names this proxy.
    fn is_myself(self, env: &Env<'_>) -> bool {
        let ctx = &*env.ctx;
        let uri = match self {
            Self::Uri => Some(ctx.uri()),
            Self::FromUri => ctx.msg.from().map(|from| from.uri),
            Self::ToUri => ctx.msg.to().map(|to| to.uri),
            Self::SrcIp | Self::DstIp => {
                let end = if self == Self::SrcIp {
                    End::Peer
                } else {
                    End::Local
                };
                let ip = end.address(env).ip();
                return env
                    .host
                    .sockets()
                    .listeners
                    .iter()
                    .any(|listener| listener.address.ip() == ip)
                    || env.is_myself(ip.to_string().as_bytes(), 0);
            }
            _ => None,
        };
        let Some(Ok(uri)) = uri.map(Uri::parse) else {
            return false;
        };
        // Kamailio: `sips:` without a port means 5060
        let tls = uri
            .param(b"transport")
            .flatten()
            .is_some_and(|name| name.eq_ignore_ascii_case(b"tls"));
        let default = if tls { 5061 } else { 5060 };
        env.is_myself(uri.host, uri.port.filter(|port| *port != 0).unwrap_or(default))
    }
}

impl<'a> Run<'a> {
    /// The value of an expression; none when it has none. A function that gives 0 ends the script.
    pub(super) fn value(
        &mut self,
        node: &'a Node,
        env: &mut Env<'a>,
    ) -> Result<Option<Value<'static>>, Flow> {
        Ok(match node {
            Node::Pure(expr) => expr.value(env).map(Value::into_owned),
            Node::Call(invoke) => Some(Value::Int(i64::from(self.call(invoke, env)?))),
            Node::Route(call) => Some(Value::Int(self.call_route(call, env)?)),
            Node::Unary(Unary::Not, inner) => Some(Value::Int(i64::from(!self.operand_holds(inner, env)?))),
            Node::Unary(op, inner) => self.operand(inner, env)?.map(|value| apply_unary(*op, value)),
            Node::Binary(BinaryOp::And | BinaryOp::Or, _) => {
                Some(Value::Int(i64::from(self.holds(node, env)?)))
            }
            Node::Binary(op, pair) => {
                let Some(left) = self.operand(&pair.0, env)? else {
                    return Ok(None);
                };
                let Some(right) = self.operand(&pair.1, env)? else {
                    return Ok(None);
                };
                apply(*op, left, right)
            }
            Node::Choose(three) => {
                let chosen = if self.holds(&three.0, env)? {
                    &three.1
                } else {
                    &three.2
                };
                self.value(chosen, env)?
            }
        })
    }

    /// The value of an operand: of a function or route only whether it succeeded.
    pub(super) fn operand(
        &mut self,
        node: &'a Node,
        env: &mut Env<'a>,
    ) -> Result<Option<Value<'static>>, Flow> {
        match node {
            Node::Call(_) | Node::Route(_) => Ok(Some(Value::Int(i64::from(self.holds(node, env)?)))),
            _ => self.value(node, env),
        }
    }

    /// Whether a condition holds.
    pub(super) fn holds(&mut self, node: &'a Node, env: &mut Env<'a>) -> Result<bool, Flow> {
        match node {
            Node::Pure(expr) => Ok(expr.holds(env)),
            Node::Call(invoke) => Ok(self.call(invoke, env)? > 0),
            Node::Route(call) => Ok(self.call_route(call, env)? > 0),
            Node::Unary(Unary::Not, inner) => Ok(!self.operand_holds(inner, env)?),
            Node::Binary(BinaryOp::And, pair) => {
                Ok(self.operand_holds(&pair.0, env)? && self.operand_holds(&pair.1, env)?)
            }
            Node::Binary(BinaryOp::Or, pair) => {
                Ok(self.operand_holds(&pair.0, env)? || self.operand_holds(&pair.1, env)?)
            }
            Node::Unary(..) | Node::Binary(..) | Node::Choose(_) => {
                Ok(self.value(node, env)?.is_some_and(|value| is_true(&value)))
            }
        }
    }

    /// Whether an operand counts as true: a function does above 0, any number but 0.
    fn operand_holds(&mut self, node: &'a Node, env: &mut Env<'a>) -> Result<bool, Flow> {
        match node {
            Node::Pure(expr) => Ok(expr.operand_holds(env)),
            Node::Call(_) | Node::Route(_) | Node::Unary(Unary::Not, _) => self.holds(node, env),
            Node::Binary(BinaryOp::And | BinaryOp::Or, _) => self.holds(node, env),
            Node::Unary(..) | Node::Binary(..) | Node::Choose(_) => {
                Ok(self.value(node, env)?.is_some_and(|value| int_of(&value) != 0))
            }
        }
    }
}
