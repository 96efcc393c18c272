//! Reads the tables `address` and `trusted`, or the address file; rows that make no sense are told and left out.

use super::address::Addresses;
use super::address::SubnetMode;
use super::trusted::Rule;
use super::trusted::Trusted;
use crate::modules::database::Database;
use crate::script::module::Init;
use shared::db::Error;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Rows that are read again at a time, some 50 µs, and the break after them: a processor that has calls to handle does so then,
/// whenever its system would next have taken it from this thread.
const AT_A_TIME: u64 = 128;
const BREAK: Duration = Duration::from_micros(50);

/// What a table is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The start, for which everything waits.
    First,
    /// A reload, while calls are handled.
    Again,
}

/// How far a reading is.
pub(super) struct Pace {
    reading: Reading,
    rows: u64,
    breaks: u64,
}

impl Pace {
    pub(super) fn new(reading: Reading) -> Self {
        Self {
            reading,
            rows: 0,
            breaks: 0,
        }
    }

    /// How many breaks there were.
    pub(super) fn breaks(&self) -> u64 {
        self.breaks
    }

    /// Counts a row or line, the first being 1, and takes a break when it is due.
    fn step(&mut self) -> u64 {
        self.rows += 1;
        if self.reading == Reading::Again && self.rows.is_multiple_of(AT_A_TIME) {
            self.breaks += 1;
            std::thread::park_timeout(BREAK);
        }
        self.rows
    }
}

/// Where the tables are.
pub(super) struct Source {
    pub(super) db: Option<Arc<Database>>,
    pub(super) address_file: Option<PathBuf>,
    pub(super) mode: SubnetMode,
    address_table: String,
    trusted_table: String,
    group: String,
    address: String,
    mask: String,
    port: String,
    source: String,
    proto: String,
    from: String,
    ruri: String,
    tag: String,
    priority: String,
}

/// Why a table was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The database.
    #[error(transparent)]
    Database(#[from] Error),
    /// The address file.
    #[error("{path}: {error}")]
    File {
        /// Where.
        path: String,
        /// What.
        error: std::io::Error,
    },
}

impl Source {
    pub(super) fn new(init: &Init<'_>, db: Option<Arc<Database>>, address_file: Option<PathBuf>) -> Self {
        let longest = init.int("subnet_match_mode") == 1;
        Self {
            db,
            address_file,
            mode: if longest {
                SubnetMode::Longest
            } else {
                SubnetMode::First
            },
            address_table: init.text("address_table"),
            trusted_table: init.text("trusted_table"),
            group: init.text("grp_col"),
            address: init.text("ip_addr_col"),
            mask: init.text("mask_col"),
            port: init.text("port_col"),
            source: init.text("source_col"),
            proto: init.text("proto_col"),
            from: init.text("from_col"),
            ruri: init.text("ruri_col"),
            tag: init.text("tag_col"),
            priority: init.text("priority_col"),
        }
    }

    /// Checks the versions of the tables wanted.
    pub(super) fn check(&self, address: bool, trusted: bool) -> Result<(), Error> {
        let Some(db) = &self.db else { return Ok(()) };
        for (wanted, table, name) in [
            (
                address && self.address_file.is_none(),
                &self.address_table,
                "address",
            ),
            (trusted, &self.trusted_table, "trusted"),
        ] {
            if wanted && let Some(layout) = shared::db::schema::table(name) {
                db.check_version(table, layout)?;
            }
        }
        Ok(())
    }

    /// The whole of `address`; about as many rows are expected as there were.
    pub(super) fn addresses(&self, before: &Addresses, pace: &mut Pace) -> Result<Addresses, LoadError> {
        let mut table = Addresses::like(before, self.mode);
        if let Some(path) = &self.address_file {
            let failed = |error| LoadError::File {
                path: path.display().to_string(),
                error,
            };
            let file = File::open(path).map_err(failed)?;
            for line in BufReader::new(file).lines() {
                let (line, number) = (line.map_err(failed)?, pace.step());
                if let Err(why) = add_line(&mut table, &line) {
                    let path = path.display();
                    crate::log::error(
                        "permissions",
                        format_args!("{path}:{number}: {why}: record ignored"),
                    );
                }
            }
        } else if let Some(db) = &self.db {
            let columns = [&self.group, &self.address, &self.mask, &self.port, &self.tag].map(String::as_str);
            let select = Select::from(&self.address_table).columns(&columns);
            db.with(|db| {
                db.each(&select, &mut |row| {
                    let number = pace.step();
                    if let Err(why) = add_row(&mut table, &row) {
                        let name = &self.address_table;
                        crate::log::error(
                            "permissions",
                            format_args!("table {name}, row {number}: {why}: row ignored"),
                        );
                    }
                    Ok(())
                })
            })?;
        }
        Ok(table)
    }

    /// The whole of `trusted`, or what it has for one source.
    pub(super) fn trusted(&self, source: Option<&[u8]>) -> Result<Trusted, LoadError> {
        let Some(db) = &self.db else {
            return Ok(Trusted::default());
        };
        let columns = [
            &self.source,
            &self.proto,
            &self.from,
            &self.ruri,
            &self.tag,
            &self.priority,
        ];
        let mut select = Select::from(&self.trusted_table).columns(&columns.map(String::as_str));
        if let Some(source) = source {
            select = select.eq(&self.source, source);
        }
        let mut rules = Vec::new();
        db.with(|db| {
            db.each(&select, &mut |row| {
                match rule(&row) {
                    Ok(rule) => rules.extend(rule),
                    Err(why) => {
                        let (table, source) = (
                            &self.trusted_table,
                            row.at(0).map(Value::to_string).unwrap_or_default(),
                        );
                        crate::log::error(
                            "permissions",
                            format_args!("table {table}, {source}: {why}: row ignored"),
                        );
                    }
                }
                Ok(())
            })
        })?;
        Ok(Trusted::new(rules))
    }
}

fn add_row(table: &mut Addresses, row: &Row<'_>) -> Result<(), String> {
    let int = |at: usize, what: &str| -> Result<i64, String> {
        let cell = row
            .at(at)
            .filter(|cell| !cell.is_null())
            .ok_or_else(|| format!("{what} is NULL"))?;
        cell.as_int()
            .ok_or_else(|| format!("{what} {:?} is no number", cell.to_string()))
    };
    let address = row
        .at(1)
        .filter(|cell| !cell.is_null())
        .ok_or("the address is NULL")?
        .to_string();
    // Kamailio: an empty tag is none
    let tag = row
        .at(4)
        .filter(|cell| !cell.is_null())
        .map(Value::to_bytes)
        .filter(|tag| !tag.is_empty());
    let add = table.add(
        int(0, "group")?,
        &address,
        Some(int(2, "mask")?),
        int(3, "port")?,
        tag.as_deref(),
    );
    add.map_err(|why| format!("{address}: {why}"))
}

/// `GROUP ADDRESS [MASK [PORT [TAG]]]`, a comment after `#`.
fn add_line(table: &mut Addresses, line: &str) -> Result<(), String> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(group) = words.next() else { return Ok(()) };
    let number = |word: &str, what: &str| word.parse().map_err(|_| format!("{what} {word:?} is no number"));
    let group = number(group, "group")?;
    let address = words.next().ok_or("the address is missing")?;
    let mask = words.next().map(|word| number(word, "mask")).transpose()?;
    let port = words
        .next()
        .map(|word| number(word, "port"))
        .transpose()?
        .unwrap_or(0);
    let tag = words.next();
    match words.next() {
        Some(extra) => Err(format!("{extra:?} is too much")),
        None => table.add(group, address, mask, port, tag.map(str::as_bytes)),
    }
}

fn rule(row: &Row<'_>) -> Result<Option<Rule>, String> {
    let text = |at: usize| row.at(at).filter(|cell| !cell.is_null()).map(Value::to_string);
    let source = text(0).ok_or("the source is NULL")?;
    let proto = text(1).ok_or("the protocol is NULL")?;
    let (from, ruri, tag) = (text(2), text(3), text(4));
    let priority = row.at(5).and_then(Value::as_int).unwrap_or(0);
    let patterns = [from.as_deref(), ruri.as_deref()];
    Rule::new(
        &source,
        proto.as_bytes(),
        patterns,
        tag.as_deref().map(str::as_bytes),
        priority,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_address_file() {
        for (line, expected) in [
            ("1 127.0.0.1 32 0 tag1", Ok(1)),
            ("1 10.0.0.10", Ok(1)),
            ("3 [1:5ee::900d:c0de]", Ok(1)),
            ("4 10.9.0.0 16 5060 t4 # x", Ok(1)),
            ("5 host.example.com", Ok(1)),
            ("# comment", Ok(0)),
            ("", Ok(0)),
            ("7", Err("the address is missing")),
            ("bad 1.2.3.4", Err("group \"bad\" is no number")),
            ("6 1.2.3.4 33", Err("mask 33 is out of range")),
            ("6 1.2.3.4 32 x", Err("port \"x\" is no number")),
            ("6 1.2.3.4 32 0 tag more", Err("\"more\" is too much")),
        ] {
            let mut table = Addresses::default();
            let result = add_line(&mut table, line);
            match expected {
                Ok(rows) => assert_eq!((result, table.len()), (Ok(()), rows), "{line}"),
                Err(why) => assert!(result.is_err_and(|error| error.contains(why)), "{line}"),
            }
        }
    }
}
