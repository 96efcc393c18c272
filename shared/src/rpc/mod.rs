//! The wire between proxyd and its tools: names, parameters, replies, error codes; no I/O (Kamailio "RPC Exports").

use serde_json::Value;

pub mod code;
pub mod core;
pub mod permissions;
pub mod stats;
pub mod tm;
pub mod trace;
pub mod ul;

/// Makes a parameter of a word of a command line, as kamcmd does: a number where it reads as one, else text; `s:`
/// in front makes it text, `i:` an integer, `f:` or `d:` a fraction.
pub fn argument(word: &str) -> Value {
    let text = || Value::from(word);
    match word.split_at_checked(2) {
        Some(("s:", rest)) => return Value::from(rest),
        Some(("i:", rest)) => return rest.parse::<i64>().map_or_else(|_| text(), Value::from),
        Some(("f:" | "d:", rest)) => return fraction(rest).map_or_else(text, Value::from),
        _ => {}
    }
    let digits = word.strip_prefix('-').unwrap_or(word);
    // A leading zero or plus is somebody's telephone number, not arithmetic.
    let plain =
        digits == "0" || (digits.starts_with(|c: char| c.is_ascii_digit()) && !digits.starts_with('0'));
    if plain && let Ok(n) = word.parse::<i64>() {
        return Value::from(n);
    }
    let decimal = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.matches('.').count() == 1;
    let closed =
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.ends_with(|c: char| c.is_ascii_digit());
    if decimal
        && closed
        && let Some(n) = fraction(word)
    {
        return Value::from(n);
    }
    text()
}

fn fraction(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_become_parameters() {
        let table = [
            ("a", json!("a")),
            ("3", json!(3)),
            ("-7", json!(-7)),
            ("0", json!(0)),
            ("2.5", json!(2.5)),
            ("s:3", json!("3")),
            ("i:3", json!(3)),
            ("i:x", json!("i:x")),
            ("f:1", json!(1.0)),
            ("0049", json!("0049")),
            ("+49", json!("+49")),
            ("1.2.3.4", json!("1.2.3.4")),
            ("5.", json!("5.")),
            ("s:", json!("")),
            ("", json!("")),
            ("sip:a@b", json!("sip:a@b")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("é", json!("é")),
        ];
        for (word, expected) in table {
            assert_eq!(argument(word), expected, "{word}");
        }
    }
}
