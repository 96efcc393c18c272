//! What a site should hold, as data: kinds of rows, files that list them, and the difference to the database.

mod diff;
mod file;
mod record;

use shared::db::Value;
use shared::rpc::permissions;

pub(crate) use diff::{Action, Plan, Prune, plan};
pub(crate) use file::{read, read_records};
pub(crate) use record::Site;

/// A kind of row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its section in a file.
    pub(crate) name: &'static str,
    /// One of it.
    pub(crate) noun: &'static str,
    /// Its table.
    pub(crate) table: &'static str,
    /// Columns that tell one row from another.
    pub(crate) key: &'static [&'static str],
    /// The other columns.
    pub(crate) values: &'static [&'static str],
    /// Columns that hold numbers.
    pub(crate) numeric: &'static [&'static str],
    /// Columns that are NULL where nothing is said.
    pub(crate) nullable: &'static [&'static str],
    /// Columns that nobody should read in a log.
    pub(crate) secret: &'static [&'static str],
    /// Whether a column says when the row was changed.
    pub(crate) is_stamped: bool,
    /// The method by which the daemon reads the table again, where it keeps it in memory.
    pub(crate) reload: Option<&'static str>,
}

impl Kind {
    const fn new(name: &'static str, noun: &'static str, table: &'static str) -> Self {
        Self {
            name,
            noun,
            table,
            key: &[],
            values: &[],
            numeric: &[],
            nullable: &[],
            secret: &[],
            is_stamped: false,
            reload: None,
        }
    }

    /// Makes a cell of a text.
    fn cell(&self, column: &str, text: &str) -> Value {
        if self.nullable.contains(&column) && text.is_empty() {
            return Value::Null;
        }
        match text.parse::<i64>() {
            Ok(n) if self.numeric.contains(&column) => Value::Int(n),
            _ => Value::from(text),
        }
    }

    /// How a row is called.
    fn title(&self, key: &[String]) -> String {
        let part = |index: usize| key.get(index).map_or("", String::as_str);
        let account = |at: usize| format!("{}@{}", part(at), part(at + 1));
        match self.name {
            "subscribers" | "aliases" => account(0),
            "groups" => format!("{} of {}", part(2), account(0)),
            "speed_dials" => format!("{} of {}", account(2), account(0)),
            "addresses" if part(3) == "0" => format!("{}/{} in group {}", part(1), part(2), part(0)),
            "addresses" => format!("{}/{} port {} in group {}", part(1), part(2), part(3), part(0)),
            "dispatcher" => format!("{} in set {}", part(1), part(0)),
            _ => key
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

/// Domains that are ours.
pub(crate) static DOMAINS: Kind = Kind {
    key: &["domain"],
    values: &["did"],
    nullable: &["did"],
    is_stamped: true,
    reload: Some("domain.reload"),
    ..Kind::new("domains", "domain", "domain")
};

/// Who may register and call.
pub(crate) static SUBSCRIBERS: Kind = Kind {
    key: &["username", "domain"],
    values: &["password", "ha1", "ha1b"],
    secret: &["password", "ha1", "ha1b"],
    ..Kind::new("subscribers", "subscriber", "subscriber")
};

/// Users in groups.
pub(crate) static GROUPS: Kind = Kind {
    key: &["username", "domain", "grp"],
    is_stamped: true,
    ..Kind::new("groups", "group", "grp")
};

/// Other names of users.
pub(crate) static ALIASES: Kind = Kind {
    key: &["alias_username", "alias_domain"],
    values: &["username", "domain"],
    ..Kind::new("aliases", "alias", "dbaliases")
};

/// Short numbers of users.
pub(crate) static SPEED_DIALS: Kind = Kind {
    key: &["username", "domain", "sd_username", "sd_domain"],
    values: &["new_uri", "description"],
    ..Kind::new("speed_dials", "speed dial", "speed_dial")
};

/// Addresses trusted by group.
pub(crate) static ADDRESSES: Kind = Kind {
    key: &["grp", "ip_addr", "mask", "port"],
    values: &["tag"],
    numeric: &["grp", "mask", "port"],
    nullable: &["tag"],
    reload: Some(permissions::ADDRESS_RELOAD),
    ..Kind::new("addresses", "address", "address")
};

/// Peers trusted by address, transport and patterns.
pub(crate) static TRUSTED: Kind = Kind {
    key: &["src_ip", "proto", "from_pattern", "ruri_pattern"],
    values: &["tag", "priority"],
    numeric: &["priority"],
    nullable: &["from_pattern", "ruri_pattern", "tag"],
    reload: Some(permissions::TRUSTED_RELOAD),
    ..Kind::new("trusted", "trusted peer", "trusted")
};

/// Destinations of sets.
pub(crate) static DISPATCHER: Kind = Kind {
    key: &["setid", "destination"],
    values: &["flags", "priority", "attrs", "description"],
    numeric: &["setid", "flags", "priority"],
    reload: Some("dispatcher.reload"),
    ..Kind::new("dispatcher", "destination", "dispatcher")
};

/// Every kind, in the order in which rows are written.
pub(crate) static KINDS: [&Kind; 8] = [
    &DOMAINS,
    &SUBSCRIBERS,
    &GROUPS,
    &ALIASES,
    &SPEED_DIALS,
    &ADDRESSES,
    &TRUSTED,
    &DISPATCHER,
];

/// A row that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: &'static Kind,
    /// Cells of the key, in its order.
    pub(crate) key: Vec<String>,
    /// Cells that are told.
    pub(crate) values: Vec<(&'static str, String)>,
    /// A password still to be hashed.
    pub(crate) password: Option<String>,
    /// Where it is listed: `users.csv: line 3`.
    pub(crate) origin: String,
}

impl Item {
    /// Its name, for people.
    pub(crate) fn title(&self) -> String {
        self.kind.title(&self.key)
    }
}
