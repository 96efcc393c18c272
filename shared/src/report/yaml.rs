//! A YAML 1.2 writer for JSON values: block style, strings quoted where they could be read as something else.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes a document; it ends with a line feed.
pub(super) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(list) if !list.is_empty() => write_list(&mut out, list, 0),
        Value::Object(object) if !object.is_empty() => write_entries(&mut out, object.iter(), 0),
        leaf => {
            write_leaf(&mut out, leaf);
            out.push('\n');
        }
    }
    out
}

fn write_list(out: &mut String, list: &[Value], depth: usize) {
    for value in list {
        let _ = write!(out, "{:depth$}-", "");
        match value {
            // The first entry of an object stands beside the dash.
            Value::Object(object) if !object.is_empty() => {
                out.push(' ');
                let start = out.len();
                write_entries(out, object.iter(), depth + 2);
                out.replace_range(start..start + depth + 2, "");
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                write_list(out, inner, depth + 2);
            }
            leaf => {
                out.push(' ');
                write_leaf(out, leaf);
                out.push('\n');
            }
        }
    }
}

fn write_entries<'v>(out: &mut String, entries: impl Iterator<Item = (&'v String, &'v Value)>, depth: usize) {
    for (name, value) in entries {
        let _ = write!(out, "{:depth$}", "");
        write_text(out, name);
        out.push(':');
        match value {
            Value::Object(object) if !object.is_empty() => {
                out.push('\n');
                write_entries(out, object.iter(), depth + 2);
            }
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                write_list(out, list, depth);
            }
            leaf => {
                out.push(' ');
                write_leaf(out, leaf);
                out.push('\n');
            }
        }
    }
}

fn write_leaf(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) => write_text(out, text),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    {
        // JSON's escapes are valid inside YAML's double quotes; what JSON leaves bare and YAML would fold is escaped here.
        let quoted = Value::String(text.to_owned()).to_string();
        for c in quoted.chars() {
            match c {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
    } else if is_plain(text) {
        out.push_str(text);
    } else {
        let _ = write!(out, "'{}'", text.replace('\'', "''"));
    }
}

/// Tells whether a text means itself without quotes, in YAML 1.1 readers too.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "true", "false", "yes", "no", "on", "off", "null", "~", "y", "n", "-",
    ];
    let first_fits = text
        .chars()
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_' || c == '/');
    let fits = |c: char| {
        c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | ' ' | '+' | ';' | '=' | '(' | ')')
    };
    first_fits
        && text.chars().all(fits)
        && !text.ends_with(' ')
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quotes_what_could_be_misread() {
        let table = [
            ("alice", "alice\n"),
            ("", "''\n"),
            ("yes", "'yes'\n"),
            ("1.5", "'1.5'\n"),
            ("2001:db8::1", "'2001:db8::1'\n"),
            ("sip:a@b", "'sip:a@b'\n"),
            ("it's", "'it''s'\n"),
            ("a\nb", "\"a\\nb\"\n"),
            ("- x", "'- x'\n"),
            ("a # b", "'a # b'\n"),
            ("trail ", "'trail '\n"),
        ];
        for (text, expected) in table {
            assert_eq!(to_string(&json!(text)), expected);
        }
    }

    #[test]
    fn nests() {
        let tree = json!({"a": [{"b": 1, "c": [2, [3]]}, {}], "d": {"e": null}, "f": []});
        let expected = "a:\n- b: 1\n  c:\n  - 2\n  -\n    - 3\n- {}\nd:\n  e: null\nf: []\n";
        assert_eq!(to_string(&tree), expected);
    }
}
