//! What can go wrong with a database, in sentences an operator can act on.

use std::path::PathBuf;

use super::UrlError;
use super::schema;
use super::schema::Group;

/// Why a database call failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No file or folder where the database should be.
    #[error("no database at `{0}`: create it with `dbctl create`, or name another with --db-url")]
    Missing(PathBuf),
    /// The server has no such database.
    #[error("server {url} has no database `{name}`: create it with `dbctl create`")]
    NoDatabase {
        /// The server.
        url: String,
        /// The database.
        name: String,
    },
    /// The file is not an SQLite database.
    #[error("`{0}` is not an SQLite database")]
    NotADatabase(PathBuf),
    /// The file cannot be written.
    #[error("database `{0}` is read-only: check the owner and mode of the file and of its folder")]
    ReadOnly(PathBuf),
    /// A file operation failed.
    #[error("cannot {doing} `{path}`: {reason}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The server does not answer.
    #[error("cannot reach database {url}: {reason}")]
    Unreachable {
        /// Where it was sought.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// The server refuses the account.
    #[error("database {url} refuses access: {reason}")]
    Denied {
        /// Where.
        url: String,
        /// What the server says.
        reason: String,
    },
    /// Somebody else holds the lock for too long.
    #[error("database {0} is locked by another program")]
    Busy(String),
    /// No such table.
    #[error("database {url} has no table `{table}`{}", made_by(table))]
    NoTable {
        /// Where.
        url: String,
        /// The table.
        table: String,
    },
    /// No such column.
    #[error("table `{table}` of database {url} has no column `{column}`")]
    NoColumn {
        /// Where.
        url: String,
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A unique key exists already.
    #[error("a row with that key exists already: {0}")]
    Duplicate(String),
    /// A table whose layout is not the expected one.
    #[error("table `{table}` of database {url} has version {found}, wanted is {wanted}: run `dbctl migrate`")]
    Version {
        /// Where.
        url: String,
        /// The table.
        table: String,
        /// Its version, 0 when it has none.
        found: i64,
        /// The version this program was made for.
        wanted: u32,
    },
    /// A name which no table or column can have.
    #[error("`{0}` cannot be the name of a table or column")]
    Name(String),
    /// A row as long as not its columns.
    #[error("a row for table `{table}` has {found} values for {wanted} columns")]
    Width {
        /// The table.
        table: String,
        /// Values given.
        found: usize,
        /// Columns named.
        wanted: usize,
    },
    /// A dbtext file that breaks its format.
    #[error("{path}:{line}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something this engine cannot do.
    #[error("{engine} databases do not support {what}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What was asked.
        what: &'static str,
    },
    /// `commit` or `rollback` without `begin`, or `begin` twice.
    #[error("{0}")]
    Transaction(&'static str),
    /// Anything else the engine says.
    #[error("database {url}: {reason}")]
    Engine {
        /// Where.
        url: String,
        /// What the engine says.
        reason: String,
    },
}

impl Error {
    /// Tells whether the database could not be reached at all, as opposed to refusing a request.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::NoDatabase { .. }
                | Self::NotADatabase(_)
                | Self::Unreachable { .. }
                | Self::Denied { .. }
                | Self::Busy(_)
                | Self::Io { .. }
        )
    }

    /// Tells whether a row was refused because its key exists.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Duplicate(_))
    }
}

/// What makes a table, with the punctuation before it; nothing for a table that is not of the schema.
fn made_by(table: &str) -> String {
    let Some(table) = schema::table(table) else {
        return String::new();
    };
    match table.group {
        Group::Standard => ": `dbctl create` makes it".to_owned(),
        Group::Presence => ": `dbctl presence` makes it".to_owned(),
        Group::Extra | Group::Uid | Group::Other => {
            format!(": `dbctl add-tables {}` makes it", table.module)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_table_is_made_by_a_command() {
        let says = |table: &str| {
            let (url, table) = ("URL".to_owned(), table.to_owned());
            Error::NoTable { url, table }.to_string()
        };
        for (table, hint) in [
            ("subscriber", ": `dbctl create` makes it"),
            ("presentity", ": `dbctl presence` makes it"),
            ("uid_domain", ": `dbctl add-tables uid_domain` makes it"),
            ("carrierroute", ": `dbctl add-tables carrierroute` makes it"),
            ("mine", ""),
        ] {
            assert_eq!(says(table), format!("database URL has no table `{table}`{hint}"));
        }
    }
}
