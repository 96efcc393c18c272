//! JSON as Kamailio's clients write it: kamctl puts line ends into its strings as they are, which RFC 8259 §7 forbids.

use std::borrow::Cow;

use serde_json::Value;

/// Reads a text, with control characters in strings taken as they are.
pub(super) fn parse(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).or_else(|error| match escaped(text) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(text) => serde_json::from_slice(&text),
    })
}

fn escaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(u8::is_ascii_control) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    let (mut in_string, mut after_backslash) = (false, false);
    for &b in text {
        match b {
            0..0x20 if in_string => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            _ => out.push(b),
        }
        if b == b'"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = in_string && b == b'\\' && !after_backslash;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn control_characters_stay_what_they_are() {
        let table = [
            ("{\"a\":\"x\r\ny\tz\"}", Some(json!({"a": "x\r\ny\tz"}))),
            ("{\n\"a\" : \"\\\"\n\"}\n", Some(json!({"a": "\"\n"}))),
            ("[\"\\\\\"\n, 1]", Some(json!(["\\", 1]))),
            ("{\"a\":\"x", None),
            ("nonsense\n", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()).ok(), expected, "{text:?}");
        }
    }
}
