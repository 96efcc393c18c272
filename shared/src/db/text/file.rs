//! One dbtext file: `name(type,attribute)` columns, fields between colons, escapes (Kamailio module db_text).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::Metadata;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::db::Error;
use crate::db::Kind;
use crate::db::Value;
use crate::db::schema;
use crate::db::schema::Table;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64, i64, i64, u64);

/// A column as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) declared: String,
    pub(super) null: bool,
    auto: bool,
}

/// A whole table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contents {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self(
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.len(),
        )
    }
}

impl Contents {
    pub(super) fn of_schema(table: &Table) -> Self {
        let key = Column {
            name: table.key.to_owned(),
            kind: Kind::Int,
            declared: "int".to_owned(),
            null: false,
            auto: true,
        };
        let others = table.columns.iter().map(|column| {
            let (kind, declared) = match column.kind.kind() {
                Kind::Int => (Kind::Int, "int"),
                Kind::DateTime => (Kind::Int, "int"),
                Kind::Double => (Kind::Double, "double"),
                Kind::Text | Kind::Blob => (Kind::Text, "string"),
            };
            Column {
                name: column.name.to_owned(),
                kind,
                declared: declared.to_owned(),
                null: column.null,
                auto: false,
            }
        });
        Self {
            columns: std::iter::once(key).chain(others).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let bad = |line: usize, reason: String| Error::Format {
            path: path.to_owned(),
            line,
            reason,
        };
        let mut lines = bytes.split(|&b| b == b'\n').enumerate();
        let header = lines.next().map(|(_, line)| line).unwrap_or_default();
        let header = std::str::from_utf8(header).map_err(|_| bad(1, "the header is not text".to_owned()))?;
        let columns: Result<Vec<Column>, Error> = header
            .split_whitespace()
            .map(|word| parse_column(word).map_err(|reason| bad(1, reason)))
            .collect();
        let columns = columns?;
        if columns.is_empty() {
            return Err(bad(
                1,
                "the first line names no columns: write them as name(type,attribute)".to_owned(),
            ));
        }
        let mut rows = Vec::new();
        for (index, line) in lines {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let fields = split_fields(line);
            if fields.len() != columns.len() {
                let reason = format!("{} fields for {} columns", fields.len(), columns.len());
                return Err(bad(index + 1, reason));
            }
            let cells = columns.iter().zip(fields);
            let cells: Result<Vec<Value>, String> =
                cells.map(|(column, field)| read_field(column, field)).collect();
            rows.push(cells.map_err(|reason| bad(index + 1, reason))?);
        }
        Ok(Self { columns, rows })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for column in &self.columns {
            let attribute = if column.auto {
                ",auto"
            } else if column.null {
                ",null"
            } else {
                ""
            };
            out.extend_from_slice(format!("{}({}{attribute}) ", column.name, column.declared).as_bytes());
        }
        out.push(b'\n');
        for row in &self.rows {
            for (index, value) in row.iter().enumerate() {
                if index > 0 {
                    out.push(b':');
                }
                for &byte in value_bytes(value).iter() {
                    match byte {
                        b'\n' => out.extend_from_slice(b"\\n"),
                        b'\r' => out.extend_from_slice(b"\\r"),
                        b'\t' => out.extend_from_slice(b"\\t"),
                        b'\\' => out.extend_from_slice(b"\\\\"),
                        b':' => out.extend_from_slice(b"\\:"),
                        0 => out.extend_from_slice(b"\\0"),
                        _ => out.push(byte),
                    }
                }
            }
            out.push(b'\n');
        }
        out
    }

    pub(super) fn position(&self, column: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|c| c.name.eq_ignore_ascii_case(column))
    }

    /// Adds rows of the values given; what must differ is gathered once for all of them.
    pub(super) fn append(&mut self, table: &str, at: &[usize], rows: &[Vec<Value>]) -> Result<(), Error> {
        let mut number = self.next_number();
        let mut unique = self.unique(table);
        for values in rows {
            let row = self.fresh(table, at, values, number)?;
            for key in &mut unique {
                if key.of(&row).is_some_and(|cells| !key.seen.insert(cells)) {
                    return Err(Error::Duplicate(format!("{table}.{}", key.columns.join(", "))));
                }
            }
            let taken = self.key().and_then(|at| row.get(at)?.as_int());
            number = number.max(taken.unwrap_or(0).saturating_add(1));
            self.rows.push(row);
        }
        Ok(())
    }

    /// The cells of the rows in each unique index that the schema gives this table.
    fn unique(&self, table: &str) -> Vec<Unique> {
        let mut all = Vec::new();
        for index in schema::table(table).map_or(&[][..], |layout| layout.unique) {
            let at: Option<Vec<usize>> = index.1.iter().map(|column| self.position(column)).collect();
            let Some(at) = at else { continue };
            let mut unique = Unique {
                columns: index.1,
                at,
                seen: HashSet::with_capacity(self.rows.len()),
            };
            let cells: Vec<Vec<u8>> = self.rows.iter().filter_map(|row| unique.of(row)).collect();
            unique.seen.extend(cells);
            all.push(unique);
        }
        all
    }

    /// Makes a row of the values given, the schema's defaults, and `number` for the key.
    pub(super) fn fresh(
        &self,
        table: &str,
        at: &[usize],
        values: &[Value],
        number: i64,
    ) -> Result<Vec<Value>, Error> {
        if at.len() != values.len() {
            return Err(Error::Width {
                table: table.to_owned(),
                found: values.len(),
                wanted: at.len(),
            });
        }
        let layout = schema::table(table);
        let mut row = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            let given = at.iter().position(|&a| a == index).and_then(|i| values.get(i));
            row.push(match given {
                Some(value) if !value.is_null() || column.null => value.coerced(column.kind).into_owned(),
                _ if column.auto => Value::Int(number),
                Some(_) => empty(column.kind),
                None => {
                    let default =
                        layout.and_then(|t| t.columns.iter().find(|c| c.name == column.name)?.default);
                    default_value(column, default)
                }
            });
        }
        Ok(row)
    }

    pub(super) fn assign<'v>(
        &mut self,
        table: &str,
        index: usize,
        values: impl Iterator<Item = (usize, &'v Value)>,
    ) -> Result<(), Error> {
        let Some(mut row) = self.rows.get(index).cloned() else {
            return Ok(());
        };
        for (at, value) in values {
            if let (Some(cell), Some(column)) = (row.get_mut(at), self.columns.get(at)) {
                *cell = if value.is_null() && !column.null {
                    empty(column.kind)
                } else {
                    value.coerced(column.kind).into_owned()
                };
            }
        }
        self.check_unique(table, &row, Some(index))?;
        if let Some(slot) = self.rows.get_mut(index) {
            *slot = row;
        }
        Ok(())
    }

    /// Holds a row against the unique indexes that the schema gives this table.
    pub(super) fn check_unique(
        &self,
        table: &str,
        row: &[Value],
        except: Option<usize>,
    ) -> Result<(), Error> {
        let Some(layout) = schema::table(table) else {
            return Ok(());
        };
        for unique in layout.unique {
            let at: Vec<usize> = unique
                .1
                .iter()
                .filter_map(|column| self.position(column))
                .collect();
            let has_null = at.iter().any(|&a| row.get(a).is_none_or(Value::is_null));
            if at.len() != unique.1.len() || has_null {
                continue;
            }
            let same = |(index, other): (usize, &Vec<Value>)| {
                Some(index) != except && at.iter().all(|&a| other.get(a) == row.get(a))
            };
            if self.rows.iter().enumerate().any(same) {
                return Err(Error::Duplicate(format!("{table}.{}", unique.1.join(", "))));
            }
        }
        Ok(())
    }

    /// The next number for the key.
    pub(super) fn next_number(&self) -> i64 {
        let at = self.key();
        let numbers = self.rows.iter().filter_map(|row| row.get(at?)?.as_int());
        numbers.max().unwrap_or(0).saturating_add(1)
    }

    fn key(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.auto)
    }
}

/// A unique index with what it holds.
struct Unique {
    columns: &'static [&'static str],
    at: Vec<usize>,
    seen: HashSet<Vec<u8>>,
}

impl Unique {
    /// The cells of a row in one; nothing where one is NULL, which differs from itself.
    fn of(&self, row: &[Value]) -> Option<Vec<u8>> {
        let mut cells = Vec::new();
        for at in &self.at {
            let cell = row.get(*at).filter(|cell| !cell.is_null())?;
            let bytes = cell.to_bytes();
            cells.extend(bytes.len().to_le_bytes());
            cells.extend(bytes.iter());
        }
        Some(cells)
    }
}

/// Orders cells: numbers by size, text by bytes, NULL first.
pub(super) fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let (a, b) = (a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null));
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Text(a) | Value::Blob(a), Value::Text(b) | Value::Blob(b)) => a.cmp(b),
        (Value::Int(_) | Value::DateTime(_), Value::Int(_) | Value::DateTime(_)) => {
            a.as_int().cmp(&b.as_int())
        }
        _ => match (a.as_double(), b.as_double()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => value_bytes(a).cmp(&value_bytes(b)),
        },
    }
}

/// Writes a file, for its owner and group only.
pub(super) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn value_bytes(value: &Value) -> std::borrow::Cow<'_, [u8]> {
    match value {
        // Kamailio: dbtext keeps dates as seconds.
        Value::DateTime(t) => std::borrow::Cow::Owned(t.to_string().into_bytes()),
        other => other.to_bytes(),
    }
}

fn parse_column(word: &str) -> Result<Column, String> {
    let refuse = || format!("`{word}` is no column: write it as name(type) or name(type,attribute)");
    let (name, rest) = word.split_once('(').ok_or_else(refuse)?;
    let inside = rest.strip_suffix(')').ok_or_else(refuse)?;
    let mut parts = inside.split(',');
    let declared = parts.next().unwrap_or_default();
    let kind = match declared.to_ascii_lowercase().as_str() {
        "int" | "integer" => Kind::Int,
        "double" | "float" | "real" => Kind::Double,
        "str" | "string" => Kind::Text,
        "blob" => Kind::Blob,
        "date" | "datetime" | "time" => Kind::DateTime,
        _ => {
            return Err(format!(
                "column `{word}` has the type `{declared}`: known are int, double and string"
            ));
        }
    };
    if name.is_empty() {
        return Err(refuse());
    }
    let (mut null, mut auto) = (false, false);
    for attribute in parts {
        match attribute {
            "null" => null = true,
            "auto" => auto = true,
            "" => {}
            _ => {
                return Err(format!(
                    "column `{word}` has the attribute `{attribute}`: known are null and auto"
                ));
            }
        }
    }
    Ok(Column {
        name: name.to_owned(),
        kind,
        declared: declared.to_owned(),
        null,
        auto,
    })
}

fn split_fields(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut fields, mut field, mut escaped) = (Vec::new(), Vec::new(), false);
    for &byte in line {
        match byte {
            _ if escaped => {
                escaped = false;
                field.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    other => other,
                });
            }
            b'\\' => escaped = true,
            b':' => fields.push(std::mem::take(&mut field)),
            _ => field.push(byte),
        }
    }
    fields.push(field);
    fields
}

fn read_field(column: &Column, field: Vec<u8>) -> Result<Value, String> {
    if field.is_empty() {
        let text = matches!(column.kind, Kind::Text | Kind::Blob) && !column.null;
        return Ok(if text { empty(column.kind) } else { Value::Null });
    }
    let value = Value::Text(field);
    let read = match column.kind {
        Kind::Int => value.as_int().map(Value::Int),
        Kind::Double => value.as_double().map(Value::Double),
        Kind::DateTime => value.as_int().map(Value::DateTime),
        Kind::Text => return Ok(value),
        Kind::Blob => return Ok(value.coerced(Kind::Blob).into_owned()),
    };
    read.ok_or_else(|| {
        format!(
            "`{value}` in column `{}` is not of type {}",
            column.name, column.declared
        )
    })
}

fn empty(kind: Kind) -> Value {
    match kind {
        Kind::Int => Value::Int(0),
        Kind::Double => Value::Double(0.0),
        Kind::Text => Value::Text(Vec::new()),
        Kind::Blob => Value::Blob(Vec::new()),
        Kind::DateTime => Value::DateTime(0),
    }
}

fn default_value(column: &Column, literal: Option<&str>) -> Value {
    match literal {
        Some("NULL") | None if column.null => Value::Null,
        Some("NULL") | None => empty(column.kind),
        Some(literal) => {
            let value = Value::from(literal.trim_matches('\''));
            match column.kind {
                // A date's default, in a column of seconds.
                Kind::Int if value.as_int().is_none() => value.as_time().map_or(Value::Int(0), Value::Int),
                kind => value.coerced(kind).into_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_documented_sample() {
        let bytes = b"id(int,auto) name(str) flag(double) desc(str,null)\n1:nick:0.34:a\\tgood\\: friend\n2:cole:-3.75:colleague\n3:bob:2.50:\n";
        let contents = Contents::parse(Path::new("t"), bytes).unwrap();
        assert_eq!(
            contents.rows[0],
            [
                Value::Int(1),
                "nick".into(),
                Value::Double(0.34),
                "a\tgood: friend".into()
            ]
        );
        assert_eq!(contents.rows[2][3], Value::Null);
        assert_eq!(
            Contents::parse(Path::new("t"), &contents.to_bytes()).unwrap(),
            contents
        );
    }

    #[test]
    fn names_the_place_of_a_mistake() {
        let table = [
            (&b""[..], "t:1: the first line names no columns"),
            (b"id\n", "t:1: `id` is no column"),
            (b"id(num)\n", "t:1: column `id(num)` has the type `num`"),
            (b"id(int)\nx\n", "t:2: `x` in column `id` is not of type int"),
            (b"id(int) b(str)\n1:a\n2\n", "t:3: 1 fields for 2 columns"),
        ];
        for (bytes, start) in table {
            let error = Contents::parse(Path::new("t"), bytes).unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text: Vec<u8>, other in "\\PC*") {
            let columns = parse_column("a(string)").map(|a| vec![a.clone(), a]).unwrap();
            let contents = Contents { columns, rows: vec![vec![Value::Text(text), Value::from(other)]] };
            prop_assert_eq!(Contents::parse(Path::new("t"), &contents.to_bytes()).unwrap().rows, contents.rows);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Contents::parse(Path::new("t"), &bytes);
        }
    }
}
