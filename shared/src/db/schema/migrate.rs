//! Brings tables of older layouts up to ours: missing columns and indexes are added, nothing is taken away.

use std::collections::BTreeSet;

use super::Column;
use super::ColumnType;
use super::TABLES;
use super::Table;
use super::column_sql;
use super::set_version;
use super::versions;
use crate::db::Backend;
use crate::db::ColumnInfo;
use crate::db::Engine;
use crate::db::Error;
use crate::db::Insert;
use crate::db::Select;
use crate::db::Value;
use crate::db::sql::quoted;

/// What has to be done to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: &'static str,
    /// Its version, 0 when the table `version` does not name it.
    pub found: i64,
    /// The version it will have.
    pub wanted: u32,
    /// What changes, in words.
    pub changes: Vec<String>,
    statements: Vec<String>,
}

/// What has to be done to a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tables that change.
    pub steps: Vec<Step>,
    /// Tables newer than this program knows, with the versions found and known: these are left alone.
    pub newer: Vec<(&'static str, i64, u32)>,
}

/// Compares every known table that exists with its layout.
pub fn plan(db: &mut dyn Backend) -> Result<Plan, Error> {
    let exist = db.tables()?;
    let has_versions = exist.iter().any(|name| name == "version");
    let versions = if has_versions {
        versions(db)?
    } else {
        Default::default()
    };
    let mut plan = Plan::default();
    for table in TABLES
        .iter()
        .copied()
        .filter(|table| exist.iter().any(|name| name == table.name))
    {
        let found = versions.get(table.name).copied().unwrap_or(0);
        if found > i64::from(table.version) {
            if !table.accepts(found) {
                plan.newer.push((table.name, found, table.version));
            }
            continue;
        }
        let step = compare(db, table, found)?;
        if !step.changes.is_empty() {
            plan.steps.push(step);
        }
    }
    Ok(plan)
}

/// Carries out a plan. Call it in a transaction: engines that can then change all or nothing (MySQL cannot).
pub fn apply(db: &mut dyn Backend, plan: &Plan) -> Result<(), Error> {
    if !db.table_exists("version")?
        && let Some(version) = super::table("version")
    {
        db.create_table(version)?;
        set_version(db, version.name, version.version)?;
    }
    for step in &plan.steps {
        if db.engine() == Engine::Text {
            if let Some(table) = super::table(step.table) {
                rewrite(db, table)?;
            }
        } else {
            for sql in &step.statements {
                db.raw(sql, &[])?;
            }
        }
        set_version(db, step.table, step.wanted)?;
    }
    Ok(())
}

fn compare(db: &mut dyn Backend, table: &'static Table, found: i64) -> Result<Step, Error> {
    let engine = db.engine();
    let columns = db.columns(table.name)?;
    let mut step = Step {
        table: table.name,
        found,
        wanted: table.version,
        changes: Vec::new(),
        statements: Vec::new(),
    };
    for column in table.columns {
        let is_it = |info: &&ColumnInfo| info.name.eq_ignore_ascii_case(column.name);
        compare_column(&mut step, engine, columns.iter().find(is_it), column)?;
    }
    // Indexes are looked at only where the layout is older: an operator may have changed those of a current table.
    if !table.accepts(found) {
        if engine != Engine::Text {
            compare_indexes(&mut step, engine, table, &indexes(db, table.name)?)?;
        }
        step.changes.push(format!("set version {}", table.version));
    }
    Ok(step)
}

/// Adds a column that is missing, and widens one that is too narrow.
fn compare_column(
    step: &mut Step,
    engine: Engine,
    existing: Option<&ColumnInfo>,
    column: &Column,
) -> Result<(), Error> {
    let table = quoted(engine, step.table)?;
    let Some(info) = existing else {
        step.changes.push(format!("add column {}", column.name));
        let column = added(engine, column)?;
        step.statements
            .push(format!("ALTER TABLE {table} ADD COLUMN {column}"));
        return Ok(());
    };
    let Some((from, to)) = widened(engine, info, column) else {
        return Ok(());
    };
    let change = format!("widen column {} from {from} to {to} characters", column.name);
    step.changes.push(change);
    step.statements.push(match engine {
        Engine::Postgres => {
            let name = quoted(engine, column.name)?;
            format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE VARCHAR({to})")
        }
        _ => format!(
            "ALTER TABLE {table} MODIFY COLUMN {}",
            column_sql(engine, column)?
        ),
    });
    Ok(())
}

/// Adds the indexes that are not among those that exist.
fn compare_indexes(
    step: &mut Step,
    engine: Engine,
    table: &Table,
    existing: &BTreeSet<String>,
) -> Result<(), Error> {
    let name = quoted(engine, table.name)?;
    let unique = table.unique.iter().map(|index| (index, "UNIQUE "));
    for (index, unique) in unique.chain(table.indexes.iter().map(|index| (index, ""))) {
        let (index_name, columns) = table.index_sql(engine, table.name, index)?;
        let plain = index_name.trim_matches(['`', '"']);
        if !existing.contains(plain) {
            step.changes.push(format!("add index {plain}"));
            step.statements
                .push(format!("CREATE {unique}INDEX {index_name} ON {name} ({columns})"));
        }
    }
    Ok(())
}

/// A new column: one that must not be NULL needs something for the rows that exist.
fn added(engine: Engine, column: &Column) -> Result<String, Error> {
    let mut column = *column;
    if !column.null && column.default.is_none() {
        column.default = Some(match column.kind {
            ColumnType::Varchar(_) => "''",
            ColumnType::DateTime => "'2000-01-01 00:00:01'",
            // MySQL gives long text and blobs no literal default, and fills existing rows with nothing by itself.
            ColumnType::Text | ColumnType::MediumText | ColumnType::Blob | ColumnType::MediumBlob => {
                if engine == Engine::MySql {
                    return column_sql(engine, &column);
                }
                "''"
            }
            _ => "0",
        });
    }
    column_sql(engine, &column)
}

/// The lengths found and wanted, where a column of text is too short; SQLite and dbtext know no lengths.
pub(super) fn widened(engine: Engine, info: &ColumnInfo, column: &Column) -> Option<(u16, u16)> {
    let ColumnType::Varchar(wanted) = column.kind else {
        return None;
    };
    if !engine.is_server() {
        return None;
    }
    let found = info
        .declared
        .strip_prefix("varchar(")?
        .split(')')
        .next()?
        .parse()
        .ok()?;
    (found < wanted).then_some((found, wanted))
}

fn indexes(db: &mut dyn Backend, table: &str) -> Result<BTreeSet<String>, Error> {
    let sql = match db.engine() {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?",
        Engine::Postgres => {
            "SELECT indexname::text AS name FROM pg_indexes WHERE schemaname = current_schema() AND tablename = $1"
        }
        Engine::MySql | Engine::Text => {
            "SELECT DISTINCT index_name AS name FROM information_schema.statistics \
             WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    let answer = db.raw(sql, &[Value::from(table)])?;
    let mut names: BTreeSet<String> = answer
        .rows
        .iter()
        .filter_map(|row| row.str("name").map(str::to_owned))
        .collect();
    if db.engine() == Engine::Sqlite {
        // SQLite keeps no name for a constraint: its index is known by its columns.
        if let Some(layout) = super::table(table) {
            for unique in layout.unique {
                if has_unique(db, &names, unique.1)? {
                    names.insert(format!("{table}_{}", unique.0));
                }
            }
        }
    }
    Ok(names)
}

fn has_unique(db: &mut dyn Backend, indexes: &BTreeSet<String>, columns: &[&str]) -> Result<bool, Error> {
    for index in indexes.iter().filter(|name| name.starts_with("sqlite_autoindex")) {
        let answer = db.raw("SELECT name FROM pragma_index_info(?)", &[Value::from(index)])?;
        if answer
            .rows
            .iter()
            .map(|row| row.str("name").unwrap_or_default())
            .eq(columns.iter().copied())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// dbtext: the file is written anew with the columns of the layout; columns the layout lacks would be lost and stay out.
fn rewrite(db: &mut dyn Backend, table: &'static Table) -> Result<(), Error> {
    let rows = db.query(&Select::from(table.name))?;
    let known = |name: &str| name == table.key || table.columns.iter().any(|column| column.name == name);
    let names: Vec<&str> = rows
        .names()
        .iter()
        .map(String::as_str)
        .filter(|name| known(name))
        .collect();
    let values = rows.iter().map(|row| {
        names
            .iter()
            .map(|name| row.get(name).cloned().unwrap_or_default())
            .collect()
    });
    let values: Vec<Vec<Value>> = values.collect();
    db.drop_table(table.name)?;
    db.create_table(table)?;
    db.insert(&Insert::rows(table.name, &names, values)).map(|_| ())
}
