//! How a command reports: table, JSON, YAML, CSV or plain text, with its exit code.

mod yaml;

use std::fmt;
use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::str::FromStr;

use comfy_table::Attribute;
use comfy_table::Cell;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;
use serde_json::Map;
use serde_json::Value;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Boxes, for eyes.
    Table,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
    /// Comma-separated with a header line (RFC 4180).
    Csv,
    /// A line for each row, tabs between cells, no header: for `cut` and `awk`.
    Plain,
}

/// A form nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown output form `{0}`: known are table, json, yaml, csv and plain")]
pub struct UnknownOutput(pub String);

/// What a command's end means to the script that ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// Refused or failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// What should be made exists already.
    Exists = 4,
    /// The daemon cannot be reached.
    NoDaemon = 5,
    /// The database cannot be reached.
    NoDatabase = 6,
}

/// An answer, before it has a form.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Rows under named columns.
    Rows {
        /// Names of the columns.
        columns: Vec<String>,
        /// The rows, each as long as `columns`.
        rows: Vec<Vec<Value>>,
    },
    /// Anything else that has a structure.
    Tree(Value),
    /// A sentence.
    Text(String),
}

impl Output {
    /// Every form with its name.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Table, "table"),
        (Self::Json, "json"),
        (Self::Yaml, "yaml"),
        (Self::Csv, "csv"),
        (Self::Plain, "plain"),
    ];

    /// The form asked for; else a table on a terminal and plain text into a pipe.
    pub fn or_default(asked: Option<Self>) -> Self {
        asked.unwrap_or(if io::stdout().is_terminal() {
            Self::Table
        } else {
            Self::Plain
        })
    }
}

impl FromStr for Output {
    type Err = UnknownOutput;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name));
        found
            .map(|(output, _)| *output)
            .ok_or_else(|| UnknownOutput(name.to_owned()))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(output, _)| output == self)
                .map_or("", |(_, name)| name),
        )
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

impl Report {
    /// Begins an answer of rows.
    pub fn rows(columns: &[&str]) -> Self {
        Self::Rows {
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row to an answer of rows; missing cells become null, surplus ones are dropped.
    pub fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        if let Self::Rows { columns, rows } = self {
            let mut cells: Vec<Value> = row.into_iter().take(columns.len()).collect();
            cells.resize(columns.len(), Value::Null);
            rows.push(cells);
        }
    }

    /// Number of rows, or of entries of a tree that is a list.
    pub fn len(&self) -> usize {
        match self {
            Self::Rows { rows, .. } => rows.len(),
            Self::Tree(Value::Array(list)) => list.len(),
            Self::Tree(_) | Self::Text(_) => 1,
        }
    }

    /// Tells whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives it a form; every line ends with a line feed.
    pub fn render(&self, output: Output, paint: Paint) -> String {
        match output {
            Output::Json => json(&self.to_tree()),
            Output::Yaml => yaml::to_string(&self.to_tree()),
            Output::Table => self.table(paint),
            Output::Csv => self.csv(),
            Output::Plain => self.plain(),
        }
    }

    /// Writes it to standard output; a reader that has gone away is no error.
    pub fn print(&self, output: Output) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out
            .write_all(self.render(output, Paint::of_stdout()).as_bytes())
            .and_then(|()| out.flush())
        {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    fn to_tree(&self) -> Value {
        match self {
            Self::Rows { columns, rows } => {
                let object = |row: &Vec<Value>| {
                    columns
                        .iter()
                        .cloned()
                        .zip(row.iter().cloned())
                        .collect::<Map<_, _>>()
                };
                Value::Array(rows.iter().map(|row| Value::Object(object(row))).collect())
            }
            Self::Tree(tree) => tree.clone(),
            Self::Text(text) => Value::String(text.clone()),
        }
    }

    /// The answer as rows, when its structure is flat enough.
    fn to_rows(&self) -> Option<(Vec<String>, Vec<Vec<Value>>)> {
        match self {
            Self::Rows { columns, rows } => Some((columns.clone(), rows.clone())),
            Self::Tree(Value::Array(list)) => rows_of(list),
            Self::Tree(Value::Object(object)) if object.values().all(is_scalar) => {
                let rows = object
                    .iter()
                    .map(|(name, value)| vec![Value::String(name.clone()), value.clone()]);
                Some((vec!["name".to_owned(), "value".to_owned()], rows.collect()))
            }
            Self::Tree(_) | Self::Text(_) => None,
        }
    }

    fn table(&self, paint: Paint) -> String {
        if let Self::Text(text) = self {
            return line(text);
        }
        let Some((columns, rows)) = self.to_rows() else {
            return yaml::to_string(&self.to_tree());
        };
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Disabled);
        let bold = paint == Paint::Colour;
        table.set_header(columns.iter().map(|name| {
            if bold {
                Cell::new(printable(name)).add_attribute(Attribute::Bold)
            } else {
                Cell::new(printable(name))
            }
        }));
        if bold {
            table.enforce_styling();
        }
        for row in &rows {
            table.add_row(row.iter().map(|cell| Cell::new(printable(&scalar(cell)))));
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        text
    }

    fn csv(&self) -> String {
        let (columns, rows) = self.to_rows().unwrap_or_else(|| self.to_paths());
        let mut writer = csv::Writer::from_writer(Vec::new());
        let cells = |row: &Vec<Value>| row.iter().map(scalar).collect::<Vec<String>>();
        // Writing to memory cannot fail, and every row is as long as the header.
        let _ = writer.write_record(&columns);
        for row in &rows {
            let _ = writer.write_record(cells(row));
        }
        writer
            .into_inner()
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    fn plain(&self) -> String {
        if let Self::Text(text) = self {
            return line(text);
        }
        let (_, rows) = self.to_rows().unwrap_or_else(|| self.to_paths());
        let cells = |row: &Vec<Value>| {
            row.iter()
                .map(|cell| printable(&scalar(cell)))
                .collect::<Vec<_>>()
                .join("\t")
        };
        rows.iter().map(|row| cells(row) + "\n").collect()
    }

    /// Every leaf with the path that leads to it.
    fn to_paths(&self) -> (Vec<String>, Vec<Vec<Value>>) {
        fn walk(prefix: &str, value: &Value, rows: &mut Vec<Vec<Value>>) {
            let join = |name: &str| {
                if prefix.is_empty() {
                    name.to_owned()
                } else {
                    format!("{prefix}.{name}")
                }
            };
            match value {
                Value::Object(object) => object
                    .iter()
                    .for_each(|(name, value)| walk(&join(name), value, rows)),
                Value::Array(list) => {
                    list.iter()
                        .enumerate()
                        .for_each(|(index, value)| walk(&join(&index.to_string()), value, rows));
                }
                leaf => rows.push(vec![Value::String(prefix.to_owned()), leaf.clone()]),
            }
        }
        let mut rows = Vec::new();
        walk("", &self.to_tree(), &mut rows);
        (vec!["name".to_owned(), "value".to_owned()], rows)
    }
}

/// Whether escape sequences may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Only text.
    Mono,
    /// Bold and colours too.
    Colour,
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` says otherwise (no-color.org).
    pub fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !refused {
            Self::Colour
        } else {
            Self::Mono
        }
    }
}

/// Writes an error as one line on standard error: `program: what is wrong`.
pub fn complain(program: &str, error: &dyn fmt::Display) {
    let text = error.to_string();
    let joined = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join(": ");
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{program}: {}", printable(&joined));
}

fn rows_of(list: &[Value]) -> Option<(Vec<String>, Vec<Vec<Value>>)> {
    if list.iter().all(is_scalar) {
        return Some((
            vec!["value".to_owned()],
            list.iter().map(|value| vec![value.clone()]).collect(),
        ));
    }
    let mut columns: Vec<String> = Vec::new();
    for entry in list {
        for (name, value) in entry.as_object()? {
            if !is_scalar(value) {
                return None;
            }
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
    }
    let row = |entry: &Value| {
        columns
            .iter()
            .map(|name| entry.get(name).cloned().unwrap_or_default())
            .collect()
    };
    let rows = list.iter().map(row).collect();
    Some((columns, rows))
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Replaces control characters: what a peer sent must not drive the operator's terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn json(tree: &Value) -> String {
    line(&serde_json::to_string_pretty(tree).unwrap_or_default())
}

fn line(text: &str) -> String {
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Report {
        let mut report = Report::rows(&["user", "ha1", "id"]);
        report.push([json!("alice"), json!("a,\"b\""), json!(1)]);
        report.push([json!("bob\u{1b}[31m"), Value::Null]);
        report
    }

    #[test]
    fn rows_in_every_form() {
        let table = [
            (Output::Plain, "alice\ta,\"b\"\t1\nbob [31m\t\t\n"),
            (
                Output::Csv,
                "user,ha1,id\nalice,\"a,\"\"b\"\"\",1\nbob\u{1b}[31m,,\n",
            ),
            (
                Output::Yaml,
                "- user: alice\n  ha1: 'a,\"b\"'\n  id: 1\n- user: \"bob\\u001b[31m\"\n  ha1: null\n  id: null\n",
            ),
        ];
        for (output, expected) in table {
            assert_eq!(sample().render(output, Paint::Mono), expected, "{output}");
        }
        let json: Value = serde_json::from_str(&sample().render(Output::Json, Paint::Mono)).unwrap();
        assert_eq!(json[0], json!({"user": "alice", "ha1": "a,\"b\"", "id": 1}));
        let boxes = sample().render(Output::Table, Paint::Mono);
        assert!(
            boxes.contains(" user ") && boxes.contains(" alice ") && !boxes.contains('\u{1b}'),
            "{boxes}"
        );
        assert!(sample().render(Output::Table, Paint::Colour).contains('\u{1b}'));
    }

    #[test]
    fn trees_in_every_form() {
        let flat = Report::Tree(json!([{"a": 1}, {"a": 2, "b": "x"}]));
        assert_eq!(flat.render(Output::Csv, Paint::Mono), "a,b\n1,\n2,x\n");
        let nested = Report::Tree(json!({"a": {"b": [1, 2]}, "c": true}));
        assert_eq!(
            nested.render(Output::Plain, Paint::Mono),
            "a.b.0\t1\na.b.1\t2\nc\ttrue\n"
        );
        assert_eq!(
            nested.render(Output::Table, Paint::Mono),
            "a:\n  b:\n  - 1\n  - 2\nc: true\n"
        );
        assert_eq!(
            Report::Text("done".into()).render(Output::Plain, Paint::Mono),
            "done\n"
        );
        assert_eq!(
            Report::Text("done".into()).render(Output::Json, Paint::Mono),
            "\"done\"\n"
        );
        assert_eq!(Report::rows(&["a"]).render(Output::Json, Paint::Mono), "[]\n");
        assert_eq!(Report::rows(&["a"]).render(Output::Plain, Paint::Mono), "");
    }

    #[test]
    fn forms_have_names() {
        for (output, name) in Output::ALL {
            assert_eq!(name.parse(), Ok(output));
            assert_eq!(output.to_string(), name);
        }
        assert!("xml".parse::<Output>().unwrap_err().to_string().contains("`xml`"));
    }
}
