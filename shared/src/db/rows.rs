//! What a query answers: names of columns, and cells row by row.

use super::Value;

/// All rows of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    names: Vec<String>,
    cells: Vec<Value>,
}

/// One row, borrowed from its answer.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    names: &'a [String],
    cells: &'a [Value],
}

impl Rows {
    /// Makes an empty answer with these columns.
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            cells: Vec::new(),
        }
    }

    /// Adds a row; missing cells become NULL, surplus ones are dropped.
    pub fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        let width = self.names.len();
        let end = self.cells.len() + width;
        self.cells.extend(row.into_iter().take(width));
        self.cells.resize(end, Value::Null);
    }

    /// Adds the rows of an answer with the same columns.
    pub fn append(&mut self, other: Self) {
        if self.names.is_empty() {
            *self = other;
        } else {
            self.cells.extend(other.cells);
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.names.len()).unwrap_or(0)
    }

    /// Tells whether no row matched.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.cells.chunks(self.names.len().max(1)).map(|cells| Row {
            names: &self.names,
            cells,
        })
    }

    /// The first row.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    /// The row at a position.
    pub fn at(&self, index: usize) -> Option<Row<'_>> {
        let width = self.names.len();
        let start = index.checked_mul(width)?;
        Some(Row {
            names: &self.names,
            cells: self.cells.get(start..start.checked_add(width)?)?,
        })
    }
}

impl<'a> Row<'a> {
    /// Makes a row of parts that belong together.
    pub fn new(names: &'a [String], cells: &'a [Value]) -> Self {
        Self { names, cells }
    }

    /// Names of the columns.
    pub fn names(&self) -> &'a [String] {
        self.names
    }

    /// The cells in order.
    pub fn cells(&self) -> &'a [Value] {
        self.cells
    }

    /// The cell of a column, `None` when the answer has no such column.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let index = self.names.iter().position(|n| n.eq_ignore_ascii_case(name))?;
        self.cells.get(index)
    }

    /// The cell at a position.
    pub fn at(&self, index: usize) -> Option<&'a Value> {
        self.cells.get(index)
    }

    /// The integer of a column; `None` for NULL, or what is no number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_int()
    }

    /// The number of a column.
    pub fn double(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_double()
    }

    /// The bytes of a column; `None` for NULL.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name)?.as_bytes()
    }

    /// The text of a column; `None` for NULL, or what is not UTF-8.
    pub fn str(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// The point in time of a column.
    pub fn time(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_width() {
        let mut rows = Rows::new(vec!["a".into(), "b".into()]);
        rows.push([Value::Int(1)]);
        rows.push([Value::Int(2), Value::from("x"), Value::Int(9)]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.first().unwrap().get("b"), Some(&Value::Null));
        assert_eq!(rows.at(1).unwrap().str("B"), Some("x"));
        assert!(rows.at(2).is_none());
        assert!(rows.first().unwrap().get("c").is_none());
        let mut all = Rows::default();
        all.append(rows.clone());
        all.append(rows);
        assert_eq!((all.len(), all.at(3).unwrap().int("a")), (4, Some(2)));
        assert_eq!(Rows::default().len(), 0);
        assert!(Rows::default().first().is_none());
    }
}
