//! SQL text made of queries as data: names quoted for the engine, values always parameters.

use std::fmt::Write as _;

use super::Delete;
use super::Direction;
use super::Engine;
use super::Error;
use super::Filter;
use super::Insert;
use super::Op;
use super::Select;
use super::Update;
use super::Upsert;
use super::Value;

/// A statement with its parameters in order.
#[derive(Debug)]
pub(super) struct Statement<'q> {
    pub(super) text: String,
    pub(super) params: Vec<&'q Value>,
    engine: Engine,
}

/// Quotes a name of a table or column for an engine; `schema.table` is two names.
pub(super) fn quoted(engine: Engine, name: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(name.len() + 2);
    push_name(&mut out, engine, name)?;
    Ok(out)
}

impl<'q> Statement<'q> {
    pub(super) fn select(engine: Engine, select: &'q Select<'_>) -> Result<Self, Error> {
        let mut sql = Self::new(engine, "SELECT ");
        if select.count {
            sql.text.push_str("COUNT(*) AS count");
        } else if select.columns.is_empty() {
            sql.text.push('*');
        } else {
            sql.names(&select.columns)?;
        }
        sql.text.push_str(" FROM ");
        sql.name(select.table)?;
        sql.filters(&select.filters)?;
        if let Some((column, values)) = &select.one_of {
            sql.one_of(select.filters.is_empty(), column, values)?;
        }
        for (index, (column, direction)) in select.order.iter().enumerate() {
            sql.text.push_str(if index == 0 { " ORDER BY " } else { ", " });
            sql.name(column)?;
            if *direction == Direction::Descending {
                sql.text.push_str(" DESC");
            }
        }
        if let Some(limit) = select.limit {
            let _ = write!(sql.text, " LIMIT {limit}");
            if select.offset > 0 {
                let _ = write!(sql.text, " OFFSET {}", select.offset);
            }
        }
        Ok(sql)
    }

    /// Writes rows `from..to` of an insert as one statement.
    pub(super) fn insert(
        engine: Engine,
        insert: &'q Insert<'_>,
        from: usize,
        to: usize,
    ) -> Result<Self, Error> {
        let mut sql = Self::new(engine, "INSERT INTO ");
        sql.name(insert.table)?;
        if insert.columns.is_empty() {
            sql.text.push_str(if engine == Engine::MySql {
                " () VALUES ()"
            } else {
                " DEFAULT VALUES"
            });
            return Ok(sql);
        }
        sql.text.push_str(" (");
        sql.names(&insert.columns)?;
        sql.text.push_str(") VALUES ");
        for (index, row) in insert.rows.get(from..to).unwrap_or_default().iter().enumerate() {
            let (found, wanted) = (row.len(), insert.columns.len());
            if found != wanted {
                return Err(Error::Width {
                    table: insert.table.to_owned(),
                    found,
                    wanted,
                });
            }
            sql.text.push_str(if index == 0 { "(" } else { ", (" });
            for (index, value) in row.iter().enumerate() {
                if index > 0 {
                    sql.text.push_str(", ");
                }
                sql.value(value);
            }
            sql.text.push(')');
        }
        Ok(sql)
    }

    pub(super) fn upsert(
        engine: Engine,
        upsert: &'q Upsert<'_>,
        from: usize,
        to: usize,
    ) -> Result<Self, Error> {
        let mut sql = Self::insert(engine, &upsert.insert, from, to)?;
        let changed: Vec<&str> = upsert
            .insert
            .columns
            .iter()
            .copied()
            .filter(|c| !upsert.key.contains(c))
            .collect();
        if engine == Engine::MySql {
            sql.text.push_str(" ON DUPLICATE KEY UPDATE ");
            // With nothing to change, a column set to itself makes the duplicate harmless.
            let changed = if changed.is_empty() { &upsert.key } else { &changed };
            for (index, column) in changed.iter().enumerate() {
                if index > 0 {
                    sql.text.push_str(", ");
                }
                sql.name(column)?;
                sql.text.push_str(" = VALUES(");
                sql.name(column)?;
                sql.text.push(')');
            }
            return Ok(sql);
        }
        sql.text.push_str(" ON CONFLICT (");
        sql.names(&upsert.key)?;
        sql.text.push_str(if changed.is_empty() {
            ") DO NOTHING"
        } else {
            ") DO UPDATE SET "
        });
        for (index, column) in changed.iter().enumerate() {
            if index > 0 {
                sql.text.push_str(", ");
            }
            sql.name(column)?;
            sql.text.push_str(" = excluded.");
            sql.name(column)?;
        }
        Ok(sql)
    }

    pub(super) fn update(engine: Engine, update: &'q Update<'_>) -> Result<Self, Error> {
        let mut sql = Self::new(engine, "UPDATE ");
        sql.name(update.table)?;
        sql.text.push_str(" SET ");
        for (index, (column, value)) in update.set.iter().enumerate() {
            if index > 0 {
                sql.text.push_str(", ");
            }
            sql.name(column)?;
            sql.text.push_str(" = ");
            sql.value(value);
        }
        sql.filters(&update.filters)?;
        Ok(sql)
    }

    pub(super) fn delete(engine: Engine, delete: &'q Delete<'_>) -> Result<Self, Error> {
        let mut sql = Self::new(engine, "DELETE FROM ");
        sql.name(delete.table)?;
        sql.filters(&delete.filters)?;
        Ok(sql)
    }

    fn new(engine: Engine, start: &str) -> Self {
        let mut text = String::with_capacity(256);
        text.push_str(start);
        Self {
            text,
            params: Vec::new(),
            engine,
        }
    }

    fn name(&mut self, name: &str) -> Result<(), Error> {
        push_name(&mut self.text, self.engine, name)
    }

    fn names(&mut self, names: &[&str]) -> Result<(), Error> {
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                self.text.push_str(", ");
            }
            self.name(name)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &'q Value) {
        // PostgreSQL wants to know the type of every parameter, and NULL has none.
        if self.engine == Engine::Postgres && value.is_null() {
            self.text.push_str("NULL");
            return;
        }
        self.params.push(value);
        match (self.engine, value) {
            (Engine::Postgres, Value::DateTime(_)) => {
                let _ = write!(self.text, "${}::timestamp", self.params.len());
            }
            (Engine::Postgres, _) => {
                let _ = write!(self.text, "${}", self.params.len());
            }
            _ => self.text.push('?'),
        }
    }

    fn filters(&mut self, filters: &'q [Filter<'_>]) -> Result<(), Error> {
        for (index, filter) in filters.iter().enumerate() {
            self.text.push_str(if index == 0 { " WHERE " } else { " AND " });
            self.name(filter.column)?;
            match (&filter.value, filter.op) {
                (Value::Null, Op::Ne) => self.text.push_str(" IS NOT NULL"),
                (Value::Null, _) => self.text.push_str(" IS NULL"),
                (value, op) => {
                    self.text.push(' ');
                    self.text.push_str(op.as_str());
                    self.text.push(' ');
                    self.value(value);
                }
            }
        }
        Ok(())
    }

    fn one_of(&mut self, first: bool, column: &str, values: &'q [Value]) -> Result<(), Error> {
        self.text.push_str(if first { " WHERE " } else { " AND " });
        self.name(column)?;
        self.text.push_str(" IN (");
        if values.is_empty() {
            self.text.push_str("NULL");
        }
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.text.push_str(", ");
            }
            self.value(value);
        }
        self.text.push(')');
        Ok(())
    }
}

/// Kamailio: names are sent to PostgreSQL unquoted and so folded to lower case; quoted, they must be folded here.
fn push_name(out: &mut String, engine: Engine, name: &str) -> Result<(), Error> {
    // SQLite takes a double-quoted name of no column for a string; backquotes it always takes for a name.
    let quote = if engine == Engine::Postgres { '"' } else { '`' };
    for (index, part) in name.split('.').enumerate() {
        if part.is_empty() || part.contains('\0') {
            return Err(Error::Name(name.to_owned()));
        }
        if index > 0 {
            out.push('.');
        }
        out.push(quote);
        let start = out.len();
        for (index, piece) in part.split(quote).enumerate() {
            if index > 0 {
                out.extend([quote; 2]);
            }
            out.push_str(piece);
        }
        if engine == Engine::Postgres
            && let Some(written) = out.get_mut(start..)
        {
            written.make_ascii_lowercase();
        }
        out.push(quote);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_for_each_engine() {
        let select = Select::from("location")
            .columns(&["partition", "contact"])
            .eq("username", "a")
            .eq("domain", None::<&str>);
        let select = select
            .filter("expires", Op::Gt, Value::DateTime(0))
            .order_by_descending("q")
            .limit(3);
        let table = [
            (
                Engine::Sqlite,
                "SELECT `partition`, `contact` FROM `location` WHERE `username` = ? AND `domain` IS NULL AND `expires` > ? ORDER BY `q` DESC LIMIT 3",
            ),
            (
                Engine::Postgres,
                "SELECT \"partition\", \"contact\" FROM \"location\" WHERE \"username\" = $1 AND \"domain\" IS NULL AND \"expires\" > $2::timestamp ORDER BY \"q\" DESC LIMIT 3",
            ),
        ];
        for (engine, text) in table {
            assert_eq!(Statement::select(engine, &select).unwrap().text, text);
        }
        let upsert = Insert::into("t").set("k", 1).set("v", 2).or_update(&["k"]);
        let table = [
            (
                Engine::MySql,
                "INSERT INTO `t` (`k`, `v`) VALUES (?, ?) ON DUPLICATE KEY UPDATE `v` = VALUES(`v`)",
            ),
            (
                Engine::Sqlite,
                "INSERT INTO `t` (`k`, `v`) VALUES (?, ?) ON CONFLICT (`k`) DO UPDATE SET `v` = excluded.`v`",
            ),
        ];
        for (engine, text) in table {
            assert_eq!(Statement::upsert(engine, &upsert, 0, 1).unwrap().text, text);
        }
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(
            quoted(Engine::Sqlite, "a`; DROP TABLE b").unwrap(),
            "`a``; DROP TABLE b`"
        );
        assert_eq!(
            quoted(Engine::Postgres, "Public.A\"b").unwrap(),
            "\"public\".\"a\"\"b\""
        );
        for bad in ["", "a.", "a\0b"] {
            assert!(quoted(Engine::MySql, bad).is_err());
        }
    }
}
