//! Selects, inserts, updates and deletes as data, in the terms of Kamailio's DB API (`lib/srdb1`).

use super::Value;

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`; against NULL it asks whether the column is NULL.
    Eq,
    /// `!=`; against NULL it asks whether the column is not NULL.
    Ne,
    /// `<`
    Lt,
    /// `>`
    Gt,
    /// `<=`
    Le,
    /// `>=`
    Ge,
}

impl Op {
    /// The operator in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "<>",
            Self::Lt => "<",
            Self::Gt => ">",
            Self::Le => "<=",
            Self::Ge => ">=",
        }
    }
}

/// Which way rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// One condition; a query's conditions must all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter<'a> {
    /// The column compared.
    pub column: &'a str,
    /// How.
    pub op: Op,
    /// With what.
    pub value: Value,
}

/// Rows wanted from one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Select<'a> {
    /// The table.
    pub table: &'a str,
    /// Columns in the order wanted; none means all.
    pub columns: Vec<&'a str>,
    /// Conditions which must all hold.
    pub filters: Vec<Filter<'a>>,
    /// A column that must equal one of several values, besides.
    pub one_of: Option<(&'a str, Vec<Value>)>,
    /// Order of the rows.
    pub order: Vec<(&'a str, Direction)>,
    /// At most so many rows.
    pub limit: Option<u64>,
    /// Without so many of the first rows; only with a limit.
    pub offset: u64,
    /// One row with the number of matches in a column `count`, instead of the matches.
    pub count: bool,
}

/// New rows for one table; columns not named get their defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert<'a> {
    /// The table.
    pub table: &'a str,
    /// Columns the values belong to.
    pub columns: Vec<&'a str>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// New values for rows that match.
#[derive(Debug, Clone, PartialEq)]
pub struct Update<'a> {
    /// The table.
    pub table: &'a str,
    /// Columns with their new values.
    pub set: Vec<(&'a str, Value)>,
    /// Conditions which must all hold; none means every row.
    pub filters: Vec<Filter<'a>>,
}

/// Rows to be removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete<'a> {
    /// The table.
    pub table: &'a str,
    /// Conditions which must all hold; none means every row.
    pub filters: Vec<Filter<'a>>,
}

/// Rows inserted, or updated where the key exists already; the key must be a unique index.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert<'a> {
    /// Columns of the unique index.
    pub key: Vec<&'a str>,
    /// The rows.
    pub insert: Insert<'a>,
}

macro_rules! filters {
    ($($name:ident)*) => { $(
        impl<'a> $name<'a> {
            /// Demands that a column equals a value (or is NULL).
            #[must_use]
            pub fn eq(self, column: &'a str, value: impl Into<Value>) -> Self {
                self.filter(column, Op::Eq, value)
            }

            /// Demands that a comparison holds.
            #[must_use]
            pub fn filter(mut self, column: &'a str, op: Op, value: impl Into<Value>) -> Self {
                self.filters.push(Filter { column, op, value: value.into() });
                self
            }
        }
    )* };
}
filters!(Select Update Delete);

impl<'a> Select<'a> {
    /// Begins with every column and row of a table.
    pub fn from(table: &'a str) -> Self {
        Self {
            table,
            columns: Vec::new(),
            filters: Vec::new(),
            one_of: None,
            order: Vec::new(),
            limit: None,
            offset: 0,
            count: false,
        }
    }

    /// Asks for these columns, in this order.
    #[must_use]
    pub fn columns(mut self, columns: &[&'a str]) -> Self {
        self.columns = columns.to_vec();
        self
    }

    /// Demands that a column equals one of these values; none of them is NULL.
    #[must_use]
    pub fn one_of(mut self, column: &'a str, values: Vec<Value>) -> Self {
        self.one_of = Some((column, values));
        self
    }

    /// Orders by a column, smallest first.
    #[must_use]
    pub fn order_by(mut self, column: &'a str) -> Self {
        self.order.push((column, Direction::Ascending));
        self
    }

    /// Orders by a column, largest first.
    #[must_use]
    pub fn order_by_descending(mut self, column: &'a str) -> Self {
        self.order.push((column, Direction::Descending));
        self
    }

    /// Asks for at most so many rows.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Leaves out so many of the first rows; only with a limit.
    #[must_use]
    pub fn offset(mut self, rows: u64) -> Self {
        self.offset = rows;
        self
    }

    /// Asks only how many rows match: one row with one column, `count`.
    #[must_use]
    pub fn count(mut self) -> Self {
        self.count = true;
        self
    }
}

impl<'a> Insert<'a> {
    /// Begins one row.
    pub fn into(table: &'a str) -> Self {
        Self {
            table,
            columns: Vec::new(),
            rows: vec![Vec::new()],
        }
    }

    /// Takes whole rows at once.
    pub fn rows(table: &'a str, columns: &[&'a str], rows: Vec<Vec<Value>>) -> Self {
        Self {
            table,
            columns: columns.to_vec(),
            rows,
        }
    }

    /// Adds a column to the single row.
    #[must_use]
    pub fn set(mut self, column: &'a str, value: impl Into<Value>) -> Self {
        self.columns.push(column);
        if let Some(row) = self.rows.first_mut() {
            row.push(value.into());
        }
        self
    }

    /// Makes an upsert of it.
    #[must_use]
    pub fn or_update(self, key: &[&'a str]) -> Upsert<'a> {
        Upsert {
            key: key.to_vec(),
            insert: self,
        }
    }
}

impl<'a> Update<'a> {
    /// Begins with no change.
    pub fn table(table: &'a str) -> Self {
        Self {
            table,
            set: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// Sets a column.
    #[must_use]
    pub fn set(mut self, column: &'a str, value: impl Into<Value>) -> Self {
        self.set.push((column, value.into()));
        self
    }
}

impl<'a> Delete<'a> {
    /// Begins with every row of a table.
    pub fn from(table: &'a str) -> Self {
        Self {
            table,
            filters: Vec::new(),
        }
    }
}
