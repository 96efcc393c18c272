//! Why a command failed, with the exit code that tells a script.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use shared::db;
use shared::db::schema::Group;
use shared::paths::RcError;
use shared::paths::SettingsError;
use shared::report::ExitCode;
use shared::report::Report;

/// A refusal or a failure; printing makes one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no.
    #[error(transparent)]
    Database(#[from] db::Error),
    /// A bad URL on the command line.
    #[error(transparent)]
    Url(#[from] db::UrlError),
    /// Settings that name no database.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A resource file that cannot be read.
    #[error(transparent)]
    Rc(#[from] RcError),
    /// A command line that cannot be read.
    #[error("{0}")]
    Usage(String),
    /// A table nobody knows.
    #[error("`{name}` is neither a group ({}), a module nor a table of the schema{}", groups(), near(.similar))]
    UnknownGroup {
        /// The word.
        name: String,
        /// The most similar known word.
        similar: Option<&'static str>,
    },
    /// A table the schema does not have.
    #[error("the schema has no table `{name}`{}", near(.similar))]
    UnknownTable {
        /// The word.
        name: String,
        /// The most similar known word.
        similar: Option<&'static str>,
    },
    /// A question that nobody can answer, or that was answered with no.
    #[error("{0}")]
    NotConfirmed(String),
    /// Tables with versions of a future.
    #[error("{0}: this program is too old for that database")]
    Newer(String),
    /// Faults found by `check`.
    #[error("{count} of the tables of {url} need attention: {first}")]
    Faults {
        /// The database.
        url: String,
        /// How many.
        count: usize,
        /// The first fault in words.
        first: String,
        /// All that was looked at.
        report: Box<Report>,
    },
    /// A server task without the account for it.
    #[error(
        "{doing} needs the database administrator: set DBROOTUSER and DBROOTPW in the environment or the resource file"
    )]
    NoAdministrator {
        /// The task.
        doing: &'static str,
    },
    /// Neither the database nor the rights to make it.
    #[error(
        "{0}; to create it with its account set DBROOTUSER and DBROOTPW in the environment or the resource file"
    )]
    CannotCreate(Box<Self>),
    /// A command for servers on a file.
    #[error("{command} is for MySQL and PostgreSQL: {url} has no accounts")]
    NoAccounts {
        /// The command.
        command: &'static str,
        /// The database.
        url: String,
    },
    /// A file operation failed.
    #[error("cannot {doing} `{path}`: {reason}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// No such backup.
    #[error("no file `{0}`")]
    NoFile(PathBuf),
    /// A backup that breaks its format.
    #[error("{path}:{line}: {reason}")]
    Backup {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A statement of a script that the database refused.
    #[error("{path}:{line}: {error}")]
    Refused {
        /// The script.
        path: PathBuf,
        /// The line it begins at, from 1.
        line: usize,
        /// What the database says.
        error: Box<Self>,
    },
    /// The target of a copy is its source.
    #[error("source and target are the same database: {0}")]
    SameDatabase(String),
    /// Standard output is closed.
    #[error("cannot write the answer: {0}")]
    Print(String),
}

impl Error {
    /// A file operation that the system refused.
    pub(crate) fn file(doing: &'static str, path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound && doing == "read" {
            return Self::NoFile(path.to_owned());
        }
        Self::File {
            doing,
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::CannotCreate(error) | Self::Refused { error, .. } => error.exit_code(),
            Self::Database(error) if error.is_unreachable() => ExitCode::NoDatabase,
            Self::Database(db::Error::Duplicate(_)) => ExitCode::Exists,
            Self::Database(db::Error::NoTable { .. }) => ExitCode::NotFound,
            Self::Database(db::Error::Url(_)) => ExitCode::Usage,
            Self::Url(_) | Self::Settings(_) | Self::Rc(_) | Self::Usage(_) | Self::NoAccounts { .. } => {
                ExitCode::Usage
            }
            Self::UnknownGroup { .. } | Self::UnknownTable { .. } | Self::NoFile(_) => ExitCode::NotFound,
            Self::Database(_)
            | Self::NotConfirmed(_)
            | Self::Newer(_)
            | Self::Faults { .. }
            | Self::NoAdministrator { .. }
            | Self::File { .. }
            | Self::Backup { .. }
            | Self::SameDatabase(_)
            | Self::Print(_) => ExitCode::Failed,
        }
    }
}

fn groups() -> String {
    let words = Group::ALL.iter().map(|(_, word)| *word);
    words.collect::<Vec<_>>().join(", ")
}

fn near(similar: &Option<&'static str>) -> String {
    similar
        .map(|word| format!(": did you mean `{word}`?"))
        .unwrap_or_default()
}
