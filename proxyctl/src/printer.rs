//! Rows printed while they arrive: a million need the memory of a few hundred; of a table, whose columns are aligned, a few thousand.

use std::io;
use std::io::Write as _;

use serde_json::Value;
use shared::report::Output;
use shared::report::Paint;
use shared::report::Report;

use crate::Answer;
use crate::Error;

/// Rows rendered at once where they need not be aligned.
const BLOCK: usize = 500;
/// Rows of one table; more begin another, with its own header.
const TABLE: usize = 5000;

/// An answer of rows of unknown number.
pub(crate) struct Printer {
    output: Output,
    columns: Vec<String>,
    rows: Report,
    has_begun: bool,
    is_closed: bool,
}

impl Printer {
    pub(crate) fn new(output: Output, columns: &[&str]) -> Self {
        Self {
            output,
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            rows: Report::rows(columns),
            has_begun: false,
            is_closed: false,
        }
    }

    /// Takes a row.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = Value>) -> io::Result<()> {
        self.rows.push(row);
        let most = if self.output == Output::Table {
            TABLE
        } else {
            BLOCK
        };
        if self.rows.len() < most {
            return Ok(());
        }
        self.flush()
    }

    /// Ends the answer; what is left is printed as any other.
    pub(crate) fn finish(mut self) -> Result<Answer, Error> {
        if !self.has_begun {
            return Ok(Answer::report(self.rows));
        }
        self.flush().map_err(|e| Error::Print(e.to_string()))?;
        if self.output == Output::Json {
            self.write("\n]\n").map_err(|e| Error::Print(e.to_string()))?;
        }
        Ok(Answer::printed())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let block =
            std::mem::replace(&mut self.rows, Report::rows(&columns)).render(self.output, Paint::Mono);
        let text = joined(self.output, &block, self.has_begun);
        self.has_begun = true;
        self.write(&text)
    }

    /// A reader that has gone away is no error, and gets no more.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            done => done,
        }
    }
}

/// A block as a part of the whole: lists joined, headers once.
fn joined(output: Output, block: &str, has_begun: bool) -> String {
    match output {
        Output::Json => {
            let inner = block
                .trim_start_matches('[')
                .trim_end()
                .trim_end_matches(']')
                .trim_end();
            format!("{}{inner}", if has_begun { "," } else { "[" })
        }
        Output::Csv if has_begun => block
            .split_once('\n')
            .map_or_else(String::new, |(_, rows)| rows.to_owned()),
        Output::Csv | Output::Yaml | Output::Plain | Output::Table => block.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_make_one_answer() {
        let block = |n: i64| {
            let mut report = Report::rows(&["n", "t"]);
            report.push([json!(n), json!("]")]);
            report
        };
        for output in [Output::Json, Output::Csv, Output::Yaml, Output::Plain] {
            let mut whole = block(1);
            whole.push([json!(2), json!("]")]);
            let mut text = joined(output, &block(1).render(output, Paint::Mono), false);
            text += &joined(output, &block(2).render(output, Paint::Mono), true);
            if output == Output::Json {
                text += "\n]\n";
            }
            assert_eq!(text, whole.render(output, Paint::Mono), "{output}");
        }
    }
}
