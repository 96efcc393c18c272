//! Rows that the daemon would refuse or never use: addresses, URIs and patterns that are none, rows whose owner is gone.

use std::collections::HashSet;

use shared::db;
use shared::db::Backend;
use shared::db::Row;
use shared::db::Select;
use shared::net::cidr;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::Uri;

/// Faults of a table that are put in words; of more only the number is said.
const SHOWN: usize = 3;

/// A table whose rows belong to those of another: its columns, the owner and the owner's columns.
type Owned = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

const USER: &[&str] = &["username", "domain"];

const OWNED: &[Owned] = &[
    ("dbaliases", USER, "subscriber", USER),
    ("domain_attrs", &["did"], "domain", &["did"]),
    ("grp", USER, "subscriber", USER),
    ("lcr_rule_target", &["gw_id"], "lcr_gw", &["id"]),
    ("lcr_rule_target", &["rule_id"], "lcr_rule", &["id"]),
    ("speed_dial", USER, "subscriber", USER),
    ("uri", USER, "subscriber", USER),
];

/// Columns that hold a SIP URI.
const URIS: &[(&str, &str)] = &[
    ("aliases", "contact"),
    ("dispatcher", "destination"),
    ("location", "contact"),
    ("speed_dial", "new_uri"),
];

/// Says what is wrong with the rows of a table.
pub(super) fn wrong(db: &mut dyn Backend, table: &str, exist: &[String]) -> Result<Vec<String>, db::Error> {
    let mut found = Found::default();
    match table {
        "address" => each(db, table, &["id", "ip_addr", "mask", "port"], |row| {
            found.take(row, address(row))
        })?,
        "subscriber" => each(db, table, &["id", "username", "password", "ha1"], |row| {
            found.take(row, credentials(row))
        })?,
        "trusted" => each(db, table, &["id", "from_pattern", "ruri_pattern"], |row| {
            found.take(row, pattern(row))
        })?,
        _ => {}
    }
    for (_, column) in URIS.iter().filter(|(name, _)| *name == table) {
        each(db, table, &["id", column], |row| {
            found.take(row, uri(row.str(column).unwrap_or_default()))
        })?;
    }
    for (_, columns, owner, keys) in OWNED.iter().filter(|(name, ..)| *name == table) {
        if !exist.iter().any(|name| name == owner) {
            continue;
        }
        let mut owners = HashSet::new();
        each(db, owner, keys, |row| {
            owners.insert(key(row, keys));
        })?;
        let all: Vec<&str> = ["id"].iter().chain(columns.iter()).copied().collect();
        each(db, table, &all, |row| {
            let key = key(row, columns);
            let fault = (!owners.contains(&key)).then(|| format!("no {owner} `{}`", key.join("@")));
            found.take(row, fault);
        })?;
    }
    Ok(found.words())
}

#[derive(Default)]
struct Found {
    words: Vec<String>,
    more: usize,
}

impl Found {
    fn take(&mut self, row: Row<'_>, fault: Option<String>) {
        match fault {
            None => {}
            Some(_) if self.words.len() == SHOWN => self.more += 1,
            Some(fault) => {
                let id = row.get("id").map(ToString::to_string).unwrap_or_default();
                self.words.push(format!("row {id}: {fault}"));
            }
        }
    }

    fn words(mut self) -> Vec<String> {
        if self.more > 0 {
            self.words.push(format!("and {} more", self.more));
        }
        self.words
    }
}

fn each(
    db: &mut dyn Backend,
    table: &str,
    columns: &[&str],
    mut visit: impl FnMut(Row<'_>),
) -> Result<(), db::Error> {
    db.each(&Select::from(table).columns(columns), &mut |row| {
        visit(row);
        Ok(())
    })
}

fn key(row: Row<'_>, columns: &[&str]) -> Vec<String> {
    columns
        .iter()
        .map(|column| row.get(column).map(ToString::to_string).unwrap_or_default())
        .collect()
}

fn address(row: Row<'_>) -> Option<String> {
    let text = row.str("ip_addr").unwrap_or_default();
    let number = |column| row.get(column).and_then(db::Value::as_int).unwrap_or(0);
    let port = number("port");
    if !(0..=65_535).contains(&port) {
        return Some(format!("{port} is not a port"));
    }
    match cidr::parse_ip(text) {
        Ok(ip) => cidr::network(ip, number("mask")).err().map(|e| e.to_string()),
        // A domain name stands for its addresses.
        Err(_) if is_name(text) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Whether this can be a domain name: labels, and a last one that is no number.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn credentials(row: Row<'_>) -> Option<String> {
    let is_empty = |column| row.str(column).is_none_or(str::is_empty);
    let name = row.str("username").unwrap_or_default();
    (is_empty("password") && is_empty("ha1")).then(|| format!("`{name}` has no password"))
}

fn pattern(row: Row<'_>) -> Option<String> {
    ["from_pattern", "ruri_pattern"]
        .into_iter()
        .filter_map(|column| row.bytes(column))
        .find_map(|text| Regex::compile(text, Options::PLAIN).err())
        .map(|error| error.to_string())
}

fn uri(text: &str) -> Option<String> {
    let known = ["sip", "sips", "tel"];
    match Uri::parse(text.as_bytes()) {
        Err(error) => Some(format!("`{text}` is not a SIP URI: {error}")),
        Ok(uri) => {
            let scheme = String::from_utf8_lossy(uri.scheme_name).to_ascii_lowercase();
            (!known.contains(&scheme.as_str()))
                .then(|| format!("`{text}` is not a SIP URI: it begins with {scheme}:"))
        }
    }
}
