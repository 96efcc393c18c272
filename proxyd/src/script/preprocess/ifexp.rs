//! The expressions of `#!ifexp` and `#!defexp` (Kamailio core cookbook, "ifexp").

use std::fmt;

/// Deeper parentheses are a mistake.
const DEPTH: usize = 64;

/// A number or a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// Everything but 0 and the empty text.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Number(n) => *n != 0.0,
            Self::Text(text) => !text.is_empty(),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Number(n) => *n,
            Self::Text(text) => text.trim().parse().unwrap_or(0.0),
        }
    }

    fn integer(&self) -> i64 {
        self.number() as i64
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Number(f64::from(u8::from(yes)))
    }
}

/// Why an expression has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpressionError {
    /// It ends too early.
    #[error("the expression ends too early")]
    End,
    /// Something that does not belong there.
    #[error("unexpected `{0}` in the expression")]
    Unexpected(String),
    /// A text without its closing quote.
    #[error("text without its closing quote in the expression")]
    Quote,
    /// Too many parentheses.
    #[error("the expression is nested too deeply")]
    Depth,
}

/// Evaluates an expression; names are looked up among the defines.
pub(super) fn evaluate(text: &str, look_up: &dyn Fn(&str) -> Value) -> Result<Value, ExpressionError> {
    let mut reader = Reader {
        rest: text,
        look_up,
        depth: 0,
    };
    let value = reader.binary(0)?;
    match reader.peek() {
        "" => Ok(value),
        other => Err(ExpressionError::Unexpected(other.to_owned())),
    }
}

/// Binary operators with how tightly they bind.
const OPERATORS: &[(&str, u8)] = &[
    ("||", 1),
    ("&&", 2),
    ("==", 6),
    ("!=", 6),
    ("<=", 7),
    (">=", 7),
    ("<<", 8),
    (">>", 8),
    ("**", 11),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("<", 7),
    (">", 7),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

struct Reader<'a> {
    rest: &'a str,
    look_up: &'a dyn Fn(&str) -> Value,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The next operator, bracket or character.
    fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let operator = OPERATORS.iter().find(|(text, _)| self.rest.starts_with(text));
        let length = operator.map_or_else(
            || self.rest.chars().next().map_or(0, char::len_utf8),
            |(text, _)| text.len(),
        );
        self.rest.get(..length).unwrap_or("")
    }

    fn skip(&mut self, text: &str) {
        self.rest = self.rest.get(text.len()..).unwrap_or("");
    }

    fn binary(&mut self, least: u8) -> Result<Value, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(ExpressionError::Depth);
        }
        let mut left = self.unary()?;
        loop {
            let operator = self.peek();
            let Some((_, binding)) = OPERATORS.iter().find(|(text, _)| *text == operator) else {
                break;
            };
            if *binding <= least {
                break;
            }
            self.skip(operator);
            let right = self.binary(*binding)?;
            left = apply(operator, left, right);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Value, ExpressionError> {
        let next = self.peek();
        let first = next.chars().next().ok_or(ExpressionError::End)?;
        match first {
            '!' | '-' | '^' | '+' if next.len() == 1 => {
                self.skip(next);
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err(ExpressionError::Depth);
                }
                let value = self.unary()?;
                self.depth -= 1;
                Ok(match first {
                    '!' => (!value.is_true()).into(),
                    '-' => Value::Number(-value.number()),
                    '^' => Value::Number(!value.integer() as f64),
                    _ => value,
                })
            }
            '(' => {
                self.skip(next);
                let value = self.binary(0)?;
                match self.peek() {
                    ")" => self.skip(")"),
                    "" => return Err(ExpressionError::End),
                    other => return Err(ExpressionError::Unexpected(other.to_owned())),
                }
                Ok(value)
            }
            '"' | '\'' => {
                let inner = self.rest.get(1..).unwrap_or("");
                let end = inner.find(first).ok_or(ExpressionError::Quote)?;
                let value = inner.get(..end).unwrap_or("").to_owned();
                self.rest = inner.get(end + 1..).unwrap_or("");
                Ok(Value::Text(value))
            }
            '0'..='9' | '.' => {
                let length = self
                    .rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                    .unwrap_or(self.rest.len());
                let text = self.rest.get(..length).unwrap_or("");
                let hex = text
                    .strip_prefix("0x")
                    .and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let value = hex.map(f64::from).or_else(|| text.parse().ok());
                let value = value.ok_or_else(|| ExpressionError::Unexpected(text.to_owned()))?;
                self.skip(text);
                Ok(Value::Number(value))
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let text = self
                    .rest
                    .get(..crate::script::lex::name_length(self.rest))
                    .unwrap_or("");
                self.skip(text);
                Ok((self.look_up)(text))
            }
            _ => Err(ExpressionError::Unexpected(next.to_owned())),
        }
    }
}

/// The right operand becomes what the left one is.
fn apply(operator: &str, left: Value, right: Value) -> Value {
    match operator {
        "&&" => return (left.is_true() && right.is_true()).into(),
        "||" => return (left.is_true() || right.is_true()).into(),
        _ => {}
    }
    if let Value::Text(text) = &left {
        let other = right.to_string();
        match operator {
            "+" => return Value::Text(format!("{text}{other}")),
            "==" => return (*text == other).into(),
            "!=" => return (*text != other).into(),
            "<" => return (*text < other).into(),
            ">" => return (*text > other).into(),
            "<=" => return (*text <= other).into(),
            ">=" => return (*text >= other).into(),
            _ => {}
        }
    }
    let (a, b) = (left.number(), right.number());
    let (i, j) = (left.integer(), right.integer());
    let shift = u32::try_from(j.clamp(0, 63)).unwrap_or(0);
    match operator {
        "+" => Value::Number(a + b),
        "-" => Value::Number(a - b),
        "*" => Value::Number(a * b),
        "/" => Value::Number(if b == 0.0 { 0.0 } else { a / b }),
        "%" => Value::Number(if b == 0.0 { 0.0 } else { a % b }),
        "**" => Value::Number(a.powf(b)),
        "<<" => Value::Number(i.wrapping_shl(shift) as f64),
        ">>" => Value::Number(i.wrapping_shr(shift) as f64),
        "&" => Value::Number((i & j) as f64),
        "|" => Value::Number((i | j) as f64),
        "^" => Value::Number((i ^ j) as f64),
        "==" => (a == b).into(),
        "!=" => (a != b).into(),
        "<" => (a < b).into(),
        ">" => (a > b).into(),
        "<=" => (a <= b).into(),
        _ => (a >= b).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str) -> Value {
        match name {
            "ENV" => Value::Text("production".into()),
            "ON" => Value::Number(1.0),
            _ => Value::Number(0.0),
        }
    }

    #[test]
    fn evaluates() {
        for (text, expected) in [
            ("1 + \"20\"", "21"),
            ("\"1\" + 20", "120"),
            ("4 > \"20\"", "0"),
            ("\"4\" > 20", "1"),
            ("ENV == \"production\" && ON", "1"),
            ("!OFF && ENV != 'test'", "1"),
            ("1<<4", "16"),
            ("(1 + 2) * 3 - 4 / 2", "7"),
            ("2 ** 3 ** 1", "8"),
            ("0x10 | 1", "17"),
            ("1 == 1 || nonsense", "1"),
        ] {
            assert_eq!(
                evaluate(text, &names).map(|value| value.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses() {
        for text in ["", "1 +", "(1", "\"a", "1 2", "$x", "1a2b"] {
            assert!(evaluate(text, &names).is_err(), "{text}");
        }
        assert_eq!(
            evaluate(&"(".repeat(100_000), &names),
            Err(ExpressionError::Depth)
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = evaluate(&text, &names);
        }
    }
}
