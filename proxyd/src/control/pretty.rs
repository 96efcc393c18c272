//! The layout of Kamailio's `jsonrpcs` replies (`pretty_format`), applied to JSON text while it passes.

use std::io;
use std::io::Write;

/// Whether a reply is indented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As short as can be.
    Compact,
    /// One member a line, indented by tabs; arrays stay on their line.
    Indented,
}

/// Re-renders compact JSON: layout as asked, fractions with six digits.
pub(super) struct Pretty<W> {
    out: W,
    layout: Layout,
    /// Open brackets: true for an object.
    open: Vec<bool>,
    state: State,
    number: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// Just behind `{`: whether a member follows is not known.
    Opened,
    Text,
    Escape,
    Number,
}

impl<W: Write> Pretty<W> {
    /// Writes to `out`; the text is at `depth` brackets already, all of objects.
    pub(super) fn new(out: W, layout: Layout, depth: usize) -> Self {
        Self {
            out,
            layout,
            open: vec![true; depth],
            state: State::Between,
            number: Vec::new(),
        }
    }

    /// Ends the text.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end_number()?;
        Ok(self.out)
    }

    fn newline(&mut self) -> io::Result<()> {
        if self.layout == Layout::Indented {
            self.out.write_all(b"\n")?;
            for _ in 0..self.open.len() {
                self.out.write_all(b"\t")?;
            }
        }
        Ok(())
    }

    fn end_number(&mut self) -> io::Result<()> {
        if self.state != State::Number {
            return Ok(());
        }
        self.state = State::Between;
        let number = std::mem::take(&mut self.number);
        let text = std::str::from_utf8(&number).unwrap_or_default();
        let fraction = number.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
        match text.parse::<f64>() {
            Ok(n) if fraction && n.fract() == 0.0 && n.abs() < 1e15 => write!(self.out, "{n:.0}")?,
            Ok(n) if fraction => write!(self.out, "{n:.6}")?,
            _ => self.out.write_all(&number)?,
        }
        self.number = number;
        self.number.clear();
        Ok(())
    }

    fn byte(&mut self, b: u8) -> io::Result<()> {
        match self.state {
            State::Text => {
                self.state = match b {
                    b'"' => State::Between,
                    b'\\' => State::Escape,
                    _ => State::Text,
                };
                return self.out.write_all(&[b]);
            }
            State::Escape => {
                self.state = State::Text;
                return self.out.write_all(&[b]);
            }
            State::Number if b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-') => {
                self.number.push(b);
                return Ok(());
            }
            State::Number => self.end_number()?,
            State::Opened if b != b'}' => {
                self.state = State::Between;
                self.newline()?;
            }
            State::Opened | State::Between => {}
        }
        let indented = self.layout == Layout::Indented;
        match b {
            b'{' => {
                self.open.push(true);
                self.state = State::Opened;
                self.out.write_all(b"{")
            }
            b'[' => {
                self.open.push(false);
                self.out.write_all(b"[")
            }
            b'}' => {
                self.state = State::Between;
                self.open.pop();
                self.newline()?;
                self.out.write_all(b"}")
            }
            b']' => {
                self.open.pop();
                self.out.write_all(b"]")
            }
            b',' => {
                self.out.write_all(b",")?;
                match self.open.last() {
                    Some(true) | None => self.newline(),
                    Some(false) if indented => self.out.write_all(b" "),
                    Some(false) => Ok(()),
                }
            }
            b':' => self.out.write_all(if indented { b":\t" } else { b":" }),
            b'"' => {
                self.state = State::Text;
                self.out.write_all(b"\"")
            }
            b'-' | b'0'..=b'9' => {
                self.state = State::Number;
                self.number.push(b);
                Ok(())
            }
            b' ' | b'\t' | b'\r' | b'\n' => Ok(()),
            _ => self.out.write_all(&[b]),
        }
    }
}

impl<W: Write> Write for Pretty<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut rest = text;
        while let Some((&b, after)) = rest.split_first() {
            if self.state == State::Text {
                // The bulk of a reply is text: copied in runs.
                let run = rest
                    .iter()
                    .position(|b| matches!(b, b'"' | b'\\'))
                    .unwrap_or(rest.len());
                if let Some((plain, tail)) = rest.split_at_checked(run).filter(|(plain, _)| !plain.is_empty())
                {
                    self.out.write_all(plain)?;
                    rest = tail;
                    continue;
                }
            }
            self.byte(b)?;
            rest = after;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str, layout: Layout) -> String {
        let mut pretty = Pretty::new(Vec::new(), layout, 0);
        for chunk in text.as_bytes().chunks(3) {
            pretty.write_all(chunk).unwrap();
        }
        String::from_utf8(pretty.finish().unwrap()).unwrap()
    }

    #[test]
    fn kamailio_layout_of_objects_and_arrays() {
        let table = [
            (
                r#"{"jsonrpc":"2.0","result":["a", "3"],"id":1}"#,
                "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t[\"a\", \"3\"],\n\t\"id\":\t1\n}",
            ),
            (
                r#"{"result":{},"id":1}"#,
                "{\n\t\"result\":\t{\n\t},\n\t\"id\":\t1\n}",
            ),
            (
                r#"{"r":[{"I":0},{"I":1}]}"#,
                "{\n\t\"r\":\t[{\n\t\t\t\"I\":\t0\n\t\t}, {\n\t\t\t\"I\":\t1\n\t\t}]\n}",
            ),
            (r#"[]"#, "[]"),
            (
                r#"{"a":[1.5,2.0,-1,1e3,true,null]}"#,
                "{\n\t\"a\":\t[1.500000, 2, -1, 1000, true, null]\n}",
            ),
            (r#"{"a:{[,\"":"\\"}"#, "{\n\t\"a:{[,\\\"\":\t\"\\\\\"\n}"),
            ("1.25", "1.250000"),
        ];
        for (input, expected) in table {
            assert_eq!(render(input, Layout::Indented), expected);
        }
        assert_eq!(render(r#"{"a": [1, {}]}"#, Layout::Compact), r#"{"a":[1,{}]}"#);
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(text in "\\PC{0,20}", n: i64, list in proptest::collection::vec("[a-z\\\\\"]{0,6}", 0..4)) {
            let value = serde_json::json!({ "t": text, "n": n, "l": list, "e": {}, "o": { "x": [[], {}] } });
            for layout in [Layout::Compact, Layout::Indented] {
                let shown = render(&value.to_string(), layout);
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value.clone());
            }
        }
    }
}
