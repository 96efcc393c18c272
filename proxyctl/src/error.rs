//! Why a command failed, with the exit code that tells a script.

use std::path::PathBuf;

use shared::db;
use shared::paths::RcError;
use shared::paths::SettingsError;
use shared::report::ExitCode;
use shared::rpc::code;
use shared::rpc::ul;

use crate::check::Invalid;
use crate::client::Unreachable;

/// Kamailio: code 500 stands before these, though they say that something is not there.
const ABSENT: [&str; 5] = [
    ul::AOR_NOT_FOUND,
    "No such htable",
    "Key name doesn't exist in htable.",
    "Dialplan ID not matched",
    "Can not find specified Mtree",
];

/// A refusal or a failure; printing makes one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no.
    #[error(transparent)]
    Database(#[from] db::Error),
    /// Settings that name no database.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A resource file that cannot be read.
    #[error(transparent)]
    Rc(#[from] RcError),
    /// A command line that cannot be read, or a value that cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// A value that is refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The daemon does not answer.
    #[error(transparent)]
    Daemon(#[from] Unreachable),
    /// The daemon refused.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// What was asked for is not there.
    #[error("no {what} `{name}`{hint}")]
    NotFound {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// What to do next, with the punctuation before it.
        hint: String,
    },
    /// What should be made is there already.
    #[error("{what} `{name}` exists already{hint}")]
    Exists {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// What to do next, with the punctuation before it.
        hint: &'static str,
    },
    /// A user name that several domains have.
    #[error("`{name}` is a user of several domains: say which of {users}")]
    Ambiguous {
        /// The name.
        name: String,
        /// The users of that name.
        users: String,
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
    /// An input file that breaks its format.
    #[error("{path}:{line}: {reason}")]
    Input {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A record that means something that is refused.
    #[error("{path}: {place}: {error}")]
    Document {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// Why.
        error: Box<Self>,
    },
    /// A site that is written, and that the daemon has not taken over.
    #[error("{done} in the database, but the daemon does not serve it yet: {error}")]
    NotServed {
        /// What was written.
        done: String,
        /// Why not.
        error: Box<Self>,
    },
    /// A question nobody answered with yes.
    #[error("{0}")]
    NotConfirmed(String),
    /// The answer cannot be read.
    #[error("the daemon's answer to {method} cannot be read: {reason}")]
    Answer {
        /// The method.
        method: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers a request sent over the network.
    #[error("no answer from {target}: {reason}")]
    NoAnswer {
        /// Who was asked.
        target: String,
        /// What happened.
        reason: String,
    },
    /// A program that is run did not do it.
    #[error("{program} failed: {reason}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        reason: String,
    },
    /// It is told already: only the exit code is left.
    #[error("the last command failed")]
    Told(ExitCode),
    /// Standard output is closed.
    #[error("cannot write the answer: {0}")]
    Print(String),
}

/// A refusal by the daemon (JSON-RPC 2.0 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method}: {message} (code {code}){hint}")]
pub struct Fault {
    /// The method called.
    pub method: String,
    /// Its code.
    pub code: i32,
    /// Why.
    pub message: String,
    /// What to do next, with the punctuation before it.
    pub hint: String,
}

impl Fault {
    /// The code and the message as Kamailio's tools print them.
    pub fn as_kamailio(&self) -> (i32, &str) {
        // Kamailio: an unknown method is code 500, where JSON-RPC 2.0 has -32601.
        if self.code == code::METHOD_NOT_FOUND {
            (code::FAILED, "Method Not Found")
        } else {
            (self.code, &self.message)
        }
    }

    /// Tells whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.code, code::NOT_FOUND | code::METHOD_NOT_FOUND)
            || ABSENT.contains(&self.message.as_str())
            || self.is_unknown_method()
    }

    /// Tells whether the daemon has no such method, the module being absent.
    pub fn is_unknown_method(&self) -> bool {
        self.code == code::METHOD_NOT_FOUND || self.message.eq_ignore_ascii_case("method not found")
    }
}

impl Error {
    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            name: name.into(),
            hint: String::new(),
        }
    }

    pub(crate) fn exists(what: &'static str, name: impl Into<String>) -> Self {
        Self::Exists {
            what,
            name: name.into(),
            hint: "",
        }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::File {
            doing,
            path: path.into(),
            reason: error.to_string(),
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Told(code) => *code,
            Self::Database(db::Error::Duplicate(_)) | Self::Exists { .. } => ExitCode::Exists,
            Self::Database(
                db::Error::ReadOnly(_) | db::Error::NoTable { .. } | db::Error::Version { .. },
            ) => ExitCode::NoDatabase,
            Self::Database(error) if error.is_unreachable() => ExitCode::NoDatabase,
            Self::Database(db::Error::Url(_)) => ExitCode::Usage,
            Self::Settings(_)
            | Self::Rc(_)
            | Self::Usage(_)
            | Self::Invalid(_)
            | Self::Ambiguous { .. }
            | Self::Input { .. } => ExitCode::Usage,
            Self::Document { error, .. } | Self::NotServed { error, .. } => error.exit_code(),
            Self::Daemon(_) => ExitCode::NoDaemon,
            Self::NotFound { .. } => ExitCode::NotFound,
            Self::Fault(fault) if fault.is_not_found() => ExitCode::NotFound,
            Self::Fault(_)
            | Self::Database(_)
            | Self::File { .. }
            | Self::NotConfirmed(_)
            | Self::Answer { .. }
            | Self::NoAnswer { .. }
            | Self::Program { .. }
            | Self::Print(_) => ExitCode::Failed,
        }
    }
}
