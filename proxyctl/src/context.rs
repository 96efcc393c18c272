//! What every command needs: settings, the database and the daemon they name, and the operator's ear.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::io::BufRead as _;
use std::io::IsTerminal as _;
use std::io::Write as _;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use serde::de::DeserializeSeed;
use serde_json::Value;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Url;
use shared::db::schema;
use shared::paths::Environment;
use shared::paths::Places;
use shared::paths::Settings;
use shared::report::Output;
use shared::rpc::ul;

use crate::Error;
use crate::args::Args;
use crate::client::Client;
use crate::error::Fault;
use crate::unknown;

/// Steps that are so many that a terminal is shown how many are done.
const MANY: u64 = 5_000;

/// Settings of one run.
pub(crate) struct Context<'e> {
    pub(crate) settings: Settings<'e>,
    pub(crate) environment: Environment<'e>,
    pub(crate) places: Places,
    pub(crate) output: Output,
    pub(crate) quiet: bool,
    /// The global options of the command line, for the lines of a shell.
    pub(crate) globals: Vec<OsString>,
    db_url: Option<String>,
    reload: bool,
    yes: bool,
    client: Client,
}

impl<'e> Context<'e> {
    pub(crate) fn new(args: &Args, environment: Environment<'e>) -> Result<Self, Error> {
        let places = Places::find(args.home.as_deref(), environment);
        let settings = Settings::load(args.rc.as_deref(), &places, environment)?;
        let socket = args.socket.clone().unwrap_or_else(|| places.socket_in_use());
        Ok(Self {
            settings,
            environment,
            output: Output::or_default(args.output),
            quiet: args.quiet,
            globals: args.globals(),
            db_url: args.db_url.clone(),
            reload: !args.no_reload,
            yes: args.yes,
            client: Client::new(socket),
            places,
        })
    }

    /// Where the database is.
    pub(crate) fn url(&self) -> Result<Url, Error> {
        Ok(self.settings.database(self.db_url.as_deref(), &self.places)?)
    }

    /// Opens the database, refusing one in which a table is absent or of another version.
    pub(crate) fn open(&self, tables: &[&str]) -> Result<Box<dyn Backend>, Error> {
        let mut db = db::open(&self.url()?)?;
        schema::check_versions(db.as_mut(), tables)?;
        Ok(db)
    }

    /// Opens the database as [`Context::open`], to read only: a file that cannot be written serves too.
    pub(crate) fn read(&self, tables: &[&str]) -> Result<Box<dyn Backend>, Error> {
        let url = self.url()?;
        // A reader of a write-ahead log writes beside it: without that right, the file can only be read read-only.
        let mut db = match db::open(&url) {
            Err(db::Error::ReadOnly(_) | db::Error::Io { .. }) => db::open_with(&url, Access::ReadOnly)?,
            opened => opened?,
        };
        schema::check_versions(db.as_mut(), tables)?;
        Ok(db)
    }

    /// The daemon.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Calls the daemon.
    pub(crate) fn call(&self, method: &str, params: &[Value]) -> Result<Value, Error> {
        let called = self.client.call(method, params);
        called.map_err(|error| self.explained(method, error))
    }

    /// Calls the daemon and reads its answer as it arrives.
    pub(crate) fn stream<T, S>(&self, method: &str, params: &[Value], seed: S) -> Result<T, Error>
    where
        S: for<'de> DeserializeSeed<'de, Value = T>,
    {
        let read = self.client.read(method, params, seed);
        read.map_err(|error| self.explained(method, error))
    }

    /// The refusal of a method, with what may have been meant when there is none of that name.
    fn explained(&self, method: &str, error: Error) -> Error {
        match error {
            Error::Fault(fault) if fault.is_unknown_method() => Error::Fault(Fault {
                hint: unknown::hint(&self.client, method),
                ..fault
            }),
            Error::Fault(fault) if fault.message == ul::DOMAIN_MISSING => Error::Fault(Fault {
                hint: ": write user@domain, or set SIP_DOMAIN in the resource file".to_owned(),
                ..fault
            }),
            other => other,
        }
    }

    /// Tells a running daemon that a table has changed; a daemon that is down, or without the module, reads it later.
    pub(crate) fn reload(&self, method: &str) -> Reloaded {
        if !self.reload || !self.client.may_be_there() {
            return Reloaded::No;
        }
        match self.client.call(method, &[]) {
            Ok(_) => Reloaded::Yes,
            Err(Error::Daemon(_)) => Reloaded::No,
            Err(Error::Fault(fault)) if fault.is_unknown_method() => Reloaded::No,
            Err(error) => {
                self.note(format_args!("saved, but the daemon did not reload it: {error}"));
                Reloaded::No
            }
        }
    }

    /// Shows on a terminal how much of a long work is done.
    pub(crate) fn progress(&self, total: u64) -> ProgressBar {
        let is_shown = !self.quiet && io::stderr().is_terminal() && total > MANY;
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        ProgressBar::with_draw_target(Some(total), target)
    }

    /// Says something beside the answer, on standard error.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) {
        if !self.quiet {
            shared::report::complain("proxyctl", &text);
        }
    }

    /// Asks for a yes before something is lost.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Error> {
        if self.yes {
            return Ok(());
        }
        if !is_interactive() {
            return Err(Error::NotConfirmed(format!("{question}: say --yes to confirm")));
        }
        let _ = write!(io::stderr().lock(), "{question}. Continue? (y/n): ");
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        if read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            Ok(())
        } else {
            Err(Error::NotConfirmed("nothing was changed".to_owned()))
        }
    }
}

/// Whether a daemon took over what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    Yes,
    No,
}

impl Reloaded {
    /// What to add to the answer.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Yes => ", live now",
            Self::No => "",
        }
    }

    pub(crate) fn is_live(self) -> bool {
        self == Self::Yes
    }
}

/// Tells whether both ends of a question are a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
