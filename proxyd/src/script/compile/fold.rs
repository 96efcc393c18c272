//! What can be worked out before the script runs.

use crate::script::ast::BinaryOp;
use crate::script::exec;
use crate::script::program::Expr;
use crate::script::program::Pure;
use crate::script::program::Test;
use crate::script::program::Unary;
use crate::script::value::Value;

/// The value of an expression that does not depend on the message.
pub(super) fn constant(expr: &Expr) -> Option<Value<'_>> {
    match &expr.0 {
        Pure::Int(n) => Some(Value::Int(*n)),
        Pure::Text(text) => Some(Value::text(text)),
        Pure::Null | Pure::Pv(_) | Pure::Keyword(_) | Pure::Unary(..) | Pure::Binary(..) | Pure::Test(..) => {
            None
        }
    }
}

fn of_value(value: Value<'_>) -> Expr {
    Expr(match value {
        Value::Null => Pure::Null,
        Value::Int(n) => Pure::Int(n),
        Value::Str(text) => Pure::Text(text.into_owned().into()),
    })
}

/// An operator before its operand, worked out when that is constant.
pub(super) fn unary(op: Unary, inner: Expr) -> Expr {
    match constant(&inner) {
        Some(value) => of_value(exec::apply_unary(op, value)),
        None => Expr(Pure::Unary(op, Box::new(inner))),
    }
}

/// A binary operator, worked out when both operands are constant, else in the form that runs fastest.
pub(super) fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    if let (Some(a), Some(b)) = (constant(&left), constant(&right))
        && let Some(value) = exec::apply(op, a, b)
    {
        return of_value(value);
    }
    // Kamailio: a constant operand leaves the other one as it is
    let truth = |expr: &Expr| constant(expr).map(|value| exec::int_of(&value) != 0);
    match (op, truth(&left), truth(&right)) {
        (BinaryOp::And, Some(true), _) | (BinaryOp::Or, Some(false), _) => return right,
        (BinaryOp::And, _, Some(true)) | (BinaryOp::Or, _, Some(false)) => return left,
        (BinaryOp::And, Some(false), _) | (BinaryOp::And, _, Some(false)) => return Expr(Pure::Int(0)),
        (BinaryOp::Or, Some(true), _) | (BinaryOp::Or, _, Some(true)) => return Expr(Pure::Int(1)),
        _ => {}
    }
    let equality = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
    let negate = op == BinaryOp::NotEqual;
    if equality {
        match right.0 {
            // Kamailio: a comparison with $null asks whether the left side is defined
            Pure::Null => return test(Test::IsNull(left), negate),
            Pure::Int(n) => return test(Test::EqualInt(left, n), negate),
            Pure::Text(text) => return test(Test::EqualText(left, text), negate),
            other => return Expr(Pure::Binary(op, Box::new((left, Expr(other))))),
        }
    }
    Expr(Pure::Binary(op, Box::new((left, right))))
}

/// A comparison as an expression.
pub(super) fn test(test: Test, negate: bool) -> Expr {
    Expr(Pure::Test(Box::new(test), negate))
}
