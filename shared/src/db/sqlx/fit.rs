//! Values fitted to the columns they are for: PostgreSQL refuses a parameter of another type.

use std::borrow::Cow;

use super::Server;
use crate::db::Engine;
use crate::db::Error;
use crate::db::Filter;
use crate::db::Insert;
use crate::db::Kind;
use crate::db::Update;
use crate::db::Value;

impl Server {
    pub(super) fn fitted_filters<'f>(
        &mut self,
        table: &str,
        filters: &[Filter<'f>],
    ) -> Result<Option<Vec<Filter<'f>>>, Error> {
        if self.url.engine != Engine::Postgres || filters.is_empty() {
            return Ok(None);
        }
        let kinds = self.kinds(table)?;
        let mut changed = None;
        for (index, filter) in filters.iter().enumerate() {
            if let Some(value) = fitted(kinds, filter.column, &filter.value)
                && let Some(slot) = changed.get_or_insert_with(|| filters.to_vec()).get_mut(index)
            {
                slot.value = value;
            }
        }
        Ok(changed)
    }

    pub(super) fn fitted_insert<'i, 'c>(
        &mut self,
        insert: &'i Insert<'c>,
    ) -> Result<Cow<'i, Insert<'c>>, Error> {
        let mut insert = Cow::Borrowed(insert);
        if self.url.engine != Engine::Postgres {
            return Ok(insert);
        }
        let kinds = self.kinds(insert.table)?;
        for row in 0..insert.rows.len() {
            for cell in 0..insert.columns.len() {
                let column = insert.columns.get(cell).copied().unwrap_or_default();
                let value = insert.rows.get(row).and_then(|row| row.get(cell));
                if let Some(value) = value.and_then(|value| fitted(kinds, column, value))
                    && let Some(slot) = insert
                        .to_mut()
                        .rows
                        .get_mut(row)
                        .and_then(|row| row.get_mut(cell))
                {
                    *slot = value;
                }
            }
        }
        Ok(insert)
    }

    pub(super) fn fitted_update<'u, 'c>(
        &mut self,
        update: &'u Update<'c>,
    ) -> Result<Cow<'u, Update<'c>>, Error> {
        let mut fitted_update = Cow::Borrowed(update);
        if self.url.engine != Engine::Postgres {
            return Ok(fitted_update);
        }
        if let Some(filters) = self.fitted_filters(update.table, &update.filters)? {
            fitted_update.to_mut().filters = filters;
        }
        let kinds = self.kinds(update.table)?;
        for (index, (column, value)) in update.set.iter().enumerate() {
            if let Some(value) = fitted(kinds, column, value)
                && let Some(slot) = fitted_update.to_mut().set.get_mut(index)
            {
                slot.1 = value;
            }
        }
        Ok(fitted_update)
    }
}

/// What a column of a declared type holds.
pub(super) fn kind_of(declared: &str) -> Kind {
    let starts = |words: &[&str]| words.iter().any(|word| declared.starts_with(word));
    if starts(&["timestamp", "date"]) {
        Kind::DateTime
    } else if starts(&["float", "double", "real", "numeric", "decimal"]) {
        Kind::Double
    } else if declared.contains("blob") || starts(&["bytea", "binary", "varbinary"]) {
        Kind::Blob
    } else if declared.contains("int") || starts(&["year", "bool", "serial"]) {
        Kind::Int
    } else {
        Kind::Text
    }
}

fn fitted(kinds: &[(String, Kind)], column: &str, value: &Value) -> Option<Value> {
    let (_, kind) = kinds.iter().find(|(name, _)| name.eq_ignore_ascii_case(column))?;
    match value.coerced(*kind) {
        Cow::Owned(value) => Some(value),
        Cow::Borrowed(_) => None,
    }
}
