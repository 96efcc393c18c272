//! Where a table of the right version is not as the schema has it: columns too short or of another sort, keys that are gone.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::Table;
use super::migrate::widened;
use crate::db::Backend;
use crate::db::Engine;
use crate::db::Error;
use crate::db::Kind;
use crate::db::Value;

/// Says what differs, in words. Missing columns are not its subject; dbtext has neither lengths nor keys.
pub fn drift(db: &mut dyn Backend, table: &Table) -> Result<Vec<String>, Error> {
    let engine = db.engine();
    if engine == Engine::Text {
        return Ok(Vec::new());
    }
    let mut words = Vec::new();
    for info in db.columns(table.name)? {
        let wanted = table
            .columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(&info.name));
        let Some(wanted) = wanted else { continue };
        let (name, declared) = (&info.name, &info.declared);
        if !serves(info.kind, wanted.kind.kind()) {
            let sql = wanted.kind.sql(engine).to_ascii_lowercase();
            words.push(format!("column {name} is {declared}, wanted is {sql}"));
        } else if let Some((found, wanted)) = widened(engine, &info, wanted) {
            words.push(format!(
                "column {name} takes {found} characters, wanted are {wanted}: run `dbctl migrate`"
            ));
        }
    }
    let unique = unique_indexes(db, table.name)?;
    for index in table.unique {
        if !unique.contains(&index.1.iter().map(|column| (*column).to_owned()).collect()) {
            words.push(format!(
                "no unique index over {}: rows may double",
                index.1.join(", ")
            ));
        }
    }
    Ok(words)
}

/// Whether a column that holds `found` takes what the schema has for it.
fn serves(found: Kind, wanted: Kind) -> bool {
    let is_text = |kind| matches!(kind, Kind::Text | Kind::Blob);
    found == wanted || (is_text(found) && is_text(wanted))
}

/// The columns of each unique index.
fn unique_indexes(db: &mut dyn Backend, table: &str) -> Result<Vec<BTreeSet<String>>, Error> {
    let sql = match db.engine() {
        Engine::Sqlite => {
            "SELECT l.name AS name, i.name AS part FROM pragma_index_list(?) l, pragma_index_info(l.name) i \
             WHERE l.\"unique\" = 1"
        }
        Engine::Postgres => {
            "SELECT i.indexrelid::bigint AS name, a.attname::text AS part FROM pg_index i \
             JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey) \
             WHERE i.indisunique AND c.relname = $1 AND n.nspname = current_schema()"
        }
        Engine::MySql | Engine::Text => {
            "SELECT index_name AS name, column_name AS part FROM information_schema.statistics \
             WHERE table_schema = DATABASE() AND table_name = ? AND non_unique = 0"
        }
    };
    let mut indexes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in db.raw(sql, &[Value::from(table)])?.rows.iter() {
        let name = row.get("name").map(ToString::to_string).unwrap_or_default();
        let column = row.str("part").unwrap_or_default().to_ascii_lowercase();
        indexes.entry(name).or_default().insert(column);
    }
    Ok(indexes.into_values().collect())
}
