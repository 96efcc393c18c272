//! Our tables, equal in names, types, indexes and versions to those of Kamailio 5.6 (`kamdbctl create`).

mod column;
mod version;

mod acc;
mod carrier;
mod dialog;
mod location;
mod media;
mod messages;
mod permissions;
mod presence;
mod routing;
mod subscriber;
mod topos;
mod uid;

mod drift;
mod migrate;

use std::collections::BTreeMap;

pub use column::{Column, ColumnType};
pub use drift::drift;
pub use migrate::{Plan, Step, apply, plan};

use super::Backend;
use super::Delete;
use super::Engine;
use super::Error;
use super::Insert;
use super::Select;
use super::sql::quoted;

/// Which `dbctl` command makes a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// `dbctl create`.
    Standard,
    /// `dbctl presence`.
    Presence,
    /// `dbctl extra`.
    Extra,
    /// `dbctl add-tables uid`: the `uid_*` modules.
    Uid,
    /// Only `dbctl add-tables MODULE`.
    Other,
}

/// An index: its name, to which SQLite and PostgreSQL put the table's before, and its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index(pub &'static str, pub &'static [&'static str]);

/// A table of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its version in the table `version`.
    pub version: u32,
    /// Other versions whose layout serves as well.
    pub also: &'static [u32],
    /// Which command makes it.
    pub group: Group,
    /// The module it belongs to, which is what `add-tables` takes.
    pub module: &'static str,
    /// Its numbered primary key.
    pub key: &'static str,
    /// Its columns after the key.
    pub columns: &'static [Column],
    /// Unique constraints.
    pub unique: &'static [Index],
    /// Other indexes.
    pub indexes: &'static [Index],
}

/// Every table, by name.
pub static TABLES: &[&Table] = &[
    &acc::ACC,
    &acc::ACC_CDRS,
    &presence::ACTIVE_WATCHERS,
    &permissions::ADDRESS,
    &location::ALIASES,
    &carrier::CARRIER_NAME,
    &carrier::CARRIERFAILUREROUTE,
    &carrier::CARRIERROUTE,
    &messages::CPL,
    &subscriber::DBALIASES,
    &dialog::DIALOG,
    &dialog::DIALOG_VARS,
    &routing::DIALPLAN,
    &routing::DISPATCHER,
    &permissions::DOMAIN,
    &permissions::DOMAIN_ATTRS,
    &carrier::DOMAIN_NAME,
    &permissions::DOMAINPOLICY,
    &carrier::DR_GATEWAYS,
    &carrier::DR_GROUPS,
    &carrier::DR_GW_LISTS,
    &carrier::DR_RULES,
    &permissions::GLOBALBLOCKLIST,
    &subscriber::GRP,
    &media::HTABLE,
    &messages::IMC_MEMBERS,
    &messages::IMC_ROOMS,
    &routing::LCR_GW,
    &routing::LCR_RULE,
    &routing::LCR_RULE_TARGET,
    &location::LOCATION,
    &location::LOCATION_ATTRS,
    &routing::MATRIX,
    &acc::MISSED_CALLS,
    &dialog::MOHQCALLS,
    &dialog::MOHQUEUES,
    &routing::MTREE,
    &routing::MTREES,
    &uid::NDS_TRUSTED_DOMAINS,
    &routing::PDT,
    &media::PL_PIPES,
    &presence::PRESENTITY,
    &presence::PUA,
    &presence::PURPLEMAP,
    &subscriber::RE_GRP,
    &presence::RLS_PRESENTITY,
    &presence::RLS_WATCHERS,
    &media::RTPENGINE,
    &media::RTPPROXY,
    &dialog::SCA_SUBSCRIPTIONS,
    &permissions::SECFILTER,
    &messages::SILO,
    &messages::SIP_TRACE,
    &subscriber::SPEED_DIAL,
    &subscriber::SUBSCRIBER,
    &topos::TOPOS_D,
    &topos::TOPOS_T,
    &permissions::TRUSTED,
    &media::UACREG,
    &uid::UID_CREDENTIALS,
    &uid::UID_DOMAIN,
    &uid::UID_DOMAIN_ATTRS,
    &uid::UID_GLOBAL_ATTRS,
    &uid::UID_URI,
    &uid::UID_URI_ATTRS,
    &uid::UID_USER_ATTRS,
    &subscriber::URI,
    &permissions::USERBLOCKLIST,
    &subscriber::USR_PREFERENCES,
    &version::VERSION,
    &presence::WATCHERS,
    &presence::XCAP,
];

impl Group {
    /// Every group with the word an operator uses for it.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Standard, "standard"),
        (Self::Presence, "presence"),
        (Self::Extra, "extra"),
        (Self::Uid, "uid"),
        (Self::Other, "other"),
    ];

    /// Its tables, by name.
    pub fn tables(self) -> impl Iterator<Item = &'static Table> {
        TABLES.iter().copied().filter(move |table| table.group == self)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(group, _)| *group == self)
            .map_or("other", |(_, word)| word)
    }
}

impl Table {
    const fn new(name: &'static str, version: u32, group: Group, module: &'static str) -> Self {
        Self {
            name,
            version,
            also: &[],
            group,
            module,
            key: "id",
            columns: &[],
            unique: &[],
            indexes: &[],
        }
    }

    /// Tells whether a version found in a database serves.
    pub fn accepts(&self, version: i64) -> bool {
        let serves = |wanted: u32| i64::from(wanted) == version;
        serves(self.version) || self.also.iter().copied().any(serves)
    }

    /// The statements which make it.
    pub fn create_sql(&self, engine: Engine) -> Result<Vec<String>, Error> {
        self.create_sql_as(engine, self.name)
    }

    /// The statements which make it under another name.
    pub fn create_sql_as(&self, engine: Engine, name: &str) -> Result<Vec<String>, Error> {
        let key = match engine {
            Engine::MySql => "INT UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL",
            Engine::Postgres => "SERIAL PRIMARY KEY NOT NULL",
            Engine::Sqlite | Engine::Text => "INTEGER PRIMARY KEY NOT NULL",
        };
        let mut lines = vec![format!("{} {key}", quoted(engine, self.key)?)];
        for column in self.columns {
            lines.push(column_sql(engine, column)?);
        }
        for index in self.unique {
            let (index_name, columns) = self.index_sql(engine, name, index)?;
            lines.push(format!("CONSTRAINT {index_name} UNIQUE ({columns})"));
        }
        let mut statements = vec![format!(
            "CREATE TABLE {} (\n    {}\n)",
            quoted(engine, name)?,
            lines.join(",\n    ")
        )];
        statements.extend(self.index_statements(engine, name)?);
        Ok(statements)
    }

    /// The statements which make its other indexes.
    pub(super) fn index_statements(&self, engine: Engine, name: &str) -> Result<Vec<String>, Error> {
        self.indexes
            .iter()
            .map(|index| {
                let (index_name, columns) = self.index_sql(engine, name, index)?;
                Ok(format!(
                    "CREATE INDEX {index_name} ON {} ({columns})",
                    quoted(engine, name)?
                ))
            })
            .collect()
    }

    fn index_sql(&self, engine: Engine, name: &str, index: &Index) -> Result<(String, String), Error> {
        let index_name = match engine {
            Engine::MySql => quoted(engine, index.0)?,
            Engine::Sqlite | Engine::Postgres | Engine::Text => {
                quoted(engine, &format!("{name}_{}", index.0))?
            }
        };
        let columns: Result<Vec<String>, Error> = index.1.iter().map(|c| quoted(engine, c)).collect();
        Ok((index_name, columns?.join(", ")))
    }
}

/// Finds a table by its name.
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().copied().find(|table| table.name == name)
}

/// The tables of a group (`standard`, `presence`, …), of a module (`acc`, `usrloc`, …), or one by its name.
pub fn tables_of(word: &str) -> Vec<&'static Table> {
    if let Some((group, _)) = Group::ALL.iter().find(|(_, name)| *name == word) {
        return group.tables().collect();
    }
    let of_module: Vec<_> = TABLES
        .iter()
        .copied()
        .filter(|table| table.module == word)
        .collect();
    if of_module.is_empty() {
        table(word).into_iter().collect()
    } else {
        of_module
    }
}

/// Makes those tables which do not exist, with their rows in `version`; returns the names of those made.
///
/// Call it in a transaction: engines that can then make all or nothing (MySQL cannot).
pub fn create(db: &mut dyn Backend, tables: &[&'static Table]) -> Result<Vec<&'static str>, Error> {
    let exist = db.tables()?;
    let mut made = Vec::new();
    let first = table("version")
        .into_iter()
        .filter(|version| !exist.iter().any(|t| t == version.name));
    for table in first.chain(tables.iter().copied().filter(|table| table.name != "version")) {
        if exist.iter().any(|name| name == table.name) {
            continue;
        }
        db.create_table(table)?;
        set_version(db, table.name, table.version)?;
        made.push(table.name);
    }
    Ok(made)
}

/// Writes the version of a table.
pub fn set_version(db: &mut dyn Backend, table: &str, version: u32) -> Result<(), Error> {
    let row = Insert::into("version")
        .set("table_name", table)
        .set("table_version", version);
    db.upsert(&row.or_update(&["table_name"])).map(|_| ())
}

/// Removes a table with its version.
pub fn remove(db: &mut dyn Backend, table: &str) -> Result<(), Error> {
    db.drop_table(table)?;
    if table != "version" && db.table_exists("version")? {
        db.delete(&Delete::from("version").eq("table_name", table))?;
    }
    Ok(())
}

/// Every row of the table `version`.
pub fn versions(db: &mut dyn Backend) -> Result<BTreeMap<String, i64>, Error> {
    let rows = db.query(&Select::from("version").columns(&["table_name", "table_version"]))?;
    let pair = |row: super::Row<'_>| Some((row.str("table_name")?.to_owned(), row.int("table_version")?));
    Ok(rows.iter().filter_map(pair).collect())
}

/// The version of one table, 0 when the table `version` does not name it.
pub fn version_of(db: &mut dyn Backend, table: &str) -> Result<i64, Error> {
    let rows = db.query(
        &Select::from("version")
            .columns(&["table_version"])
            .eq("table_name", table),
    )?;
    Ok(rows.first().and_then(|row| row.at(0)?.as_int()).unwrap_or(0))
}

/// Refuses a database in which one of these tables is absent or of a version that does not serve.
pub fn check_versions(db: &mut dyn Backend, tables: &[&str]) -> Result<(), Error> {
    let found = versions(db)?;
    for name in tables {
        let Some(known) = table(name) else {
            return Err(Error::Name((*name).to_owned()));
        };
        let version = found.get(*name).copied().unwrap_or(0);
        if version == 0 && !db.table_exists(name)? {
            return Err(Error::NoTable {
                url: db.url().to_string(),
                table: (*name).to_owned(),
            });
        }
        if !known.accepts(version) {
            let (url, table) = (db.url().to_string(), (*name).to_owned());
            return Err(Error::Version {
                url,
                table,
                found: version,
                wanted: known.version,
            });
        }
    }
    Ok(())
}

/// Like [`check_versions`], for a table that a script gave another name.
pub fn check_version_as(db: &mut dyn Backend, name: &str, layout: &Table) -> Result<(), Error> {
    let found = version_of(db, name)?;
    if found == 0 && !db.table_exists(name)? {
        return Err(Error::NoTable {
            url: db.url().to_string(),
            table: name.to_owned(),
        });
    }
    if layout.accepts(found) {
        return Ok(());
    }
    Err(Error::Version {
        url: db.url().to_string(),
        table: name.to_owned(),
        found,
        wanted: layout.version,
    })
}

fn column_sql(engine: Engine, column: &Column) -> Result<String, Error> {
    let mut sql = format!("{} {}", quoted(engine, column.name)?, column.kind.sql(engine));
    if let Some(literal) = column.default {
        sql.push_str(" DEFAULT ");
        sql.push_str(literal);
    }
    if !column.null {
        sql.push_str(" NOT NULL");
    }
    Ok(sql)
}

#[cfg(test)]
mod tests;
