//! Items from and to database tables (Kamailio module htable, "Loading from database").

use super::definition::Definition;
use super::table::Content;
use super::table::Item;
use super::table::Table;
use crate::modules::database::Database;
use crate::script::lists::Owned;
use crate::script::module::Init;
use crate::script::value::Value;
use crate::script::value::leading_int;
use shared::db;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Error;
use shared::db::Insert;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value as Cell;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The database and how its tables are laid out.
pub(super) struct Stored {
    pub(super) db: Arc<Database>,
    key_name: String,
    key_type: String,
    value_type: String,
    key_value: String,
    expires: String,
    with_expires: bool,
    size_suffix: String,
}

impl Stored {
    pub(super) fn new(init: &Init<'_>, db: Arc<Database>) -> Self {
        Self {
            db,
            key_name: init.text("key_name_column"),
            key_type: init.text("key_type_column"),
            value_type: init.text("value_type_column"),
            key_value: init.text("key_value_column"),
            expires: init.text("expires_column"),
            with_expires: init.int("db_expires") != 0,
            size_suffix: init.text("array_size_suffix"),
        }
    }

    fn keeps_ends(&self, definition: &Definition) -> bool {
        self.with_expires && definition.autoexpire > 0
    }

    /// Reads all items of a table's database table.
    pub(super) fn load(&self, definition: &Definition, now: u64) -> Result<Content, Error> {
        let content = Content::new();
        let mut left_out = 0u64;
        let mut put = |item: Item| {
            if content.put(item).is_err() {
                left_out += 1;
            }
        };
        if definition.cols.is_empty() {
            self.load_ours(definition, now, &mut put)?;
        } else {
            self.load_columns(definition, now, &mut put)?;
        }
        if left_out > 0 {
            crate::log::error(
                "htable",
                format_args!("{}: full: {left_out} rows left out", definition.name),
            );
        }
        Ok(content)
    }

    /// A table in the layout of `htable`.
    fn load_ours(&self, definition: &Definition, now: u64, put: &mut dyn FnMut(Item)) -> Result<(), Error> {
        let mut columns = vec![
            &*self.key_name,
            &*self.key_type,
            &*self.value_type,
            &*self.key_value,
        ];
        if self.keeps_ends(definition) {
            columns.push(&self.expires);
        }
        let mut arrays: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let select = Select::from(&definition.dbtable).columns(&columns);
        self.db.with(|db| {
            db.each(&select, &mut |row| {
                if let Some(item) = self.item(definition, &row, now, &mut arrays) {
                    put(item);
                }
                Ok(())
            })
        })?;
        for (name, count) in arrays {
            let key = [name.as_slice(), self.size_suffix.as_bytes()].concat();
            put(Item {
                key: key.into(),
                value: Value::Int(count),
                expires: end(definition, now),
            });
        }
        Ok(())
    }

    fn item(
        &self,
        definition: &Definition,
        row: &Row<'_>,
        now: u64,
        arrays: &mut BTreeMap<Vec<u8>, i64>,
    ) -> Option<Item> {
        let table = &definition.dbtable;
        let cell = |at: usize| row.at(at).filter(|cell| !cell.is_null());
        let name = cell(0).map(Cell::to_bytes).filter(|name| !name.is_empty());
        let Some(name) = name else {
            crate::log::error(
                "htable",
                format_args!("table {table}: a key is empty: row ignored"),
            );
            return None;
        };
        let key: Cow<'_, [u8]> = match cell(1).and_then(Cell::as_int).unwrap_or(0) {
            1 => {
                let count = arrays.entry(name.to_vec()).or_default();
                let at = format!("[{count}]");
                *count += 1;
                Cow::Owned([&*name, at.as_bytes()].concat())
            }
            _ => name,
        };
        let text = cell(3).map(Cell::to_bytes).unwrap_or_default();
        let value = match cell(2).and_then(Cell::as_int).unwrap_or(0) {
            1 => Value::Int(leading_int(text.trim_ascii()).unwrap_or(0)),
            _ => Value::owned(text.into_owned()),
        };
        let stored = cell(4)
            .and_then(Cell::as_int)
            .and_then(|n| u64::try_from(n).ok())
            .filter(|end| *end > 0);
        let expires = stored
            .filter(|_| self.keeps_ends(definition))
            .unwrap_or_else(|| end(definition, now));
        (expires == 0 || expires > now).then(|| Item {
            key: key.as_ref().into(),
            value,
            expires,
        })
    }

    /// Any other table: the first column is the key, the others make the value.
    fn load_columns(
        &self,
        definition: &Definition,
        now: u64,
        put: &mut dyn FnMut(Item),
    ) -> Result<(), Error> {
        let columns: Vec<&str> = definition.cols.iter().map(String::as_str).collect();
        let select = Select::from(&definition.dbtable).columns(&columns);
        self.db.with(|db| {
            db.each(&select, &mut |row| {
                let (Some(key), values) = (
                    row.at(0).map(Cell::to_bytes),
                    row.cells().get(1..).unwrap_or_default(),
                ) else {
                    return Ok(());
                };
                if !key.is_empty() {
                    put(Item {
                        key: key.as_ref().into(),
                        value: packed(definition, values),
                        expires: end(definition, now),
                    });
                }
                Ok(())
            })
        })
    }

    /// Writes all items of a table in the place of what its database table held.
    pub(super) fn store(&self, table: &Table, now: u64) -> Result<u64, Error> {
        let definition = &table.definition;
        let mut columns = vec![
            &*self.key_name,
            &*self.key_type,
            &*self.value_type,
            &*self.key_value,
        ];
        if self.keeps_ends(definition) {
            columns.push(&self.expires);
        }
        let mut rows = Vec::with_capacity(table.len());
        table.each(now, |item| {
            let is_int = matches!(item.value, Value::Int(_));
            let mut row = vec![
                Cell::text(&item.key),
                Cell::Int(0),
                Cell::Int(is_int.into()),
                Cell::text(item.value.to_text()),
            ];
            if columns.len() > 4 {
                row.push(Cell::Int(i64::try_from(item.expires).unwrap_or(i64::MAX)));
            }
            rows.push(row);
        });
        let count = rows.len() as u64;
        self.db.with(|db| {
            db::transaction(db, |db: &mut dyn Backend| {
                db.delete(&Delete::from(&definition.dbtable))?;
                db.insert(&Insert::rows(
                    &definition.dbtable,
                    &columns,
                    std::mem::take(&mut rows),
                ))
            })
        })?;
        Ok(count)
    }
}

fn end(definition: &Definition, now: u64) -> u64 {
    if definition.autoexpire == 0 {
        0
    } else {
        now.saturating_add(definition.autoexpire)
    }
}

/// One column keeps its type; several are joined.
fn packed(definition: &Definition, values: &[Cell]) -> Owned {
    match values {
        [Cell::Int(n)] => Value::Int(*n),
        values => {
            let mut text = Vec::new();
            for (at, cell) in values.iter().enumerate() {
                if at > 0 {
                    text.extend_from_slice(definition.coldelim.encode_utf8(&mut [0; 4]).as_bytes());
                }
                if cell.is_null() {
                    text.extend_from_slice(definition.colnull.as_bytes());
                } else {
                    text.extend_from_slice(&cell.to_bytes());
                }
            }
            Value::owned(text)
        }
    }
}
