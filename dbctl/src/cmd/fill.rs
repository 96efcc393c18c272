//! Tables that get the rows of others: made where they are missing, emptied, filled.

use shared::db;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Engine;
use shared::db::Insert;
use shared::db::Kind;
use shared::db::schema;
use shared::db::schema::Table;

use crate::Error;
use crate::context::quoted;

/// Rows written with one statement.
const BATCH: usize = 500;

/// A table as another database has it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) table: &'static Table,
    pub(super) columns: Vec<(String, Kind)>,
}

/// A table that is being filled.
pub(super) struct Filling {
    table: &'static Table,
    columns: Vec<String>,
    /// What the columns hold by the schema, where it knows them.
    kinds: Vec<Option<Kind>>,
    rows: Vec<Vec<db::Value>>,
}

/// Makes the tables and the columns that are missing. This is done before the transaction that fills them, which MySQL would
/// end with it.
pub(super) fn prepare(db: &mut dyn Backend, layouts: &[Layout]) -> Result<(), Error> {
    let tables: Vec<&'static Table> = layouts.iter().map(|layout| layout.table).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    db::transaction(db, |db| {
        schema::create(db, &tables)?;
        schema::check_versions(db, &names)?;
        layouts.iter().try_for_each(|layout| add_columns(db, layout))
    })
}

fn add_columns(db: &mut dyn Backend, layout: &Layout) -> Result<(), Error> {
    let existing = db.columns(layout.table.name)?;
    let is_there = |name: &str| {
        existing
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    for (name, kind) in layout.columns.iter().filter(|(name, _)| !is_there(name)) {
        // A column of the operator's own, as accounting has them.
        let engine = db.engine();
        let declared = match (kind, engine) {
            (Kind::Int, _) => "INTEGER",
            (Kind::Double, _) => "REAL",
            (Kind::DateTime, Engine::MySql) => "DATETIME",
            (Kind::DateTime, _) => "TIMESTAMP",
            (Kind::Blob, Engine::Postgres) => "BYTEA",
            (Kind::Blob, _) => "BLOB",
            (Kind::Text, _) => "VARCHAR(255)",
        };
        let (table, name) = (quoted(engine, layout.table.name), quoted(engine, name));
        db.raw(&format!("ALTER TABLE {table} ADD COLUMN {name} {declared}"), &[])?;
    }
    Ok(())
}

impl Filling {
    /// Empties the table.
    pub(super) fn begin(db: &mut dyn Backend, layout: &Layout) -> Result<Self, Error> {
        db.delete(&Delete::from(layout.table.name))?;
        let kind = |(name, _): &(String, Kind)| {
            let columns = layout.table.columns;
            let known = columns.iter().find(|c| c.name.eq_ignore_ascii_case(name));
            known.map(|column| column.kind.kind())
        };
        Ok(Self {
            table: layout.table,
            columns: layout.columns.iter().map(|(name, _)| name.clone()).collect(),
            kinds: layout.columns.iter().map(kind).collect(),
            rows: Vec::with_capacity(BATCH),
        })
    }

    /// How many cells a row has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Takes a row. What dbtext keeps of times and bytes, which are numbers and text there, is made what the column holds.
    pub(super) fn push(&mut self, db: &mut dyn Backend, mut cells: Vec<db::Value>) -> Result<(), db::Error> {
        for (cell, kind) in cells.iter_mut().zip(&self.kinds) {
            if let (db::Value::Int(_), Some(kind @ Kind::DateTime))
            | (db::Value::Text(_), Some(kind @ Kind::Blob)) = (&cell, kind)
            {
                *cell = cell.coerced(*kind).into_owned();
            }
        }
        self.rows.push(cells);
        if self.rows.len() >= BATCH {
            self.write(db)?;
        }
        Ok(())
    }

    /// Writes what is left, and sets the counter of the key behind it: PostgreSQL does not by itself.
    pub(super) fn finish(mut self, db: &mut dyn Backend) -> Result<(), Error> {
        self.write(db)?;
        if db.engine() != Engine::Postgres {
            return Ok(());
        }
        let Table { name, key, .. } = *self.table;
        let (table, column) = (quoted(Engine::Postgres, name), quoted(Engine::Postgres, key));
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{key}'), COALESCE((SELECT MAX({column}) FROM {table}), 0) + 1, false)"
        );
        db.raw(&sql, &[])?;
        Ok(())
    }

    fn write(&mut self, db: &mut dyn Backend) -> Result<(), db::Error> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let rows = std::mem::take(&mut self.rows);
        db.insert(&Insert::rows(self.table.name, &columns, rows))
            .map(|_| ())
    }
}
