//! What every command needs: settings, the database they name, and the person to ask.

use std::io;
use std::io::BufRead as _;
use std::io::IsTerminal as _;
use std::io::Write as _;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Url;
use shared::paths::Environment;
use shared::paths::Places;
use shared::paths::Settings;
use shared::report::complain;

use crate::Error;
use crate::args::Args;

/// Settings of one run.
pub(crate) struct Context<'e> {
    pub(crate) settings: Settings<'e>,
    pub(crate) url: Url,
    pub(crate) quiet: bool,
    yes: bool,
}

/// The answer to a question about optional tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Yes,
    No,
    Ask,
}

impl<'e> Context<'e> {
    pub(crate) fn new(args: &Args, environment: Environment<'e>) -> Result<Self, Error> {
        let places = Places::find(args.home.as_deref(), environment);
        let settings = Settings::load(args.rc.as_deref(), &places, environment)?;
        let url = settings.database(args.db_url.as_deref(), &places)?;
        Ok(Self {
            settings,
            url,
            quiet: args.quiet,
            yes: args.yes,
        })
    }

    /// The database a command names: a URL, a path, or a name on the same server; without one, the settings'.
    pub(crate) fn named(&self, name: Option<&str>) -> Result<Url, Error> {
        let Some(name) = name else {
            return Ok(self.url.clone());
        };
        if name.contains("://") {
            return Ok(name.parse()?);
        }
        Ok(Url {
            name: name.to_owned(),
            ..self.url.clone()
        })
    }

    /// Shows on a terminal how much of a long work is done: of more than `many` steps.
    pub(crate) fn progress(&self, total: u64, many: u64) -> ProgressBar {
        let is_shown = !self.quiet && io::stderr().is_terminal() && total > many;
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        ProgressBar::with_draw_target(Some(total), target)
    }

    /// Says something beside the answer, on standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            complain("dbctl", &text);
        }
    }

    pub(crate) fn open(&self) -> Result<Box<dyn Backend>, Error> {
        open(&self.url, Access::Existing)
    }

    pub(crate) fn read(&self) -> Result<Box<dyn Backend>, Error> {
        // A reader of a write-ahead log writes beside it: without that right, the file can only be read read-only.
        match open(&self.url, Access::Existing) {
            Err(Error::Database(db::Error::ReadOnly(_) | db::Error::Io { .. })) => {
                open(&self.url, Access::ReadOnly)
            }
            opened => opened,
        }
    }

    /// The server of `url` as its administrator: from the settings, on a terminal with a question for the password.
    pub(crate) fn administrator(&self, url: &Url) -> Result<Option<Url>, Error> {
        let named = self.settings.administrator(url)?;
        if named.as_ref().is_some_and(|root| root.password.is_some())
            || !url.engine.is_server()
            || !is_interactive()
        {
            return Ok(named);
        }
        let user = if url.engine == Engine::Postgres {
            "postgres"
        } else {
            "root"
        };
        let plain = Url {
            user: Some(user.to_owned()),
            password: None,
            name: String::new(),
            ..url.clone()
        };
        let mut root = named.unwrap_or(plain);
        let user = root.user.as_deref().unwrap_or(user);
        let question = format!("Password of the database administrator {user} on {}: ", root.host);
        root.password = rpassword::prompt_password(question)
            .ok()
            .filter(|password| !password.is_empty());
        Ok(Some(root))
    }

    /// Asks for a yes before something is lost.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Error> {
        if self.yes {
            return Ok(());
        }
        if !is_interactive() {
            return Err(Error::NotConfirmed(format!("{question}: say --yes to confirm")));
        }
        if ask(&format!("{question}. Continue?")) {
            Ok(())
        } else {
            Err(Error::NotConfirmed("nothing was changed".to_owned()))
        }
    }

    /// Decides about optional tables: by flag, by key, by asking on a terminal; otherwise no.
    pub(crate) fn wants(&self, flag: bool, key: &str, what: &str) -> bool {
        let choice = if flag {
            Choice::Yes
        } else {
            choice(self.settings.get(key).as_deref())
        };
        match choice {
            Choice::Yes => true,
            Choice::No => false,
            Choice::Ask => is_interactive() && !self.quiet && ask(&format!("Create the {what} tables too?")),
        }
    }
}

/// Opens a database; whole tables are moved here, so statements may take their time.
pub(crate) fn open(url: &Url, access: Access) -> Result<Box<dyn Backend>, Error> {
    let mut patient = url.clone();
    if patient.engine.is_server() && patient.option("timeout").is_none() {
        patient.options.push(("timeout".to_owned(), "0".to_owned()));
    }
    Ok(db::open_with(&patient, access)?)
}

/// Tells whether both ends of a question are a terminal.
fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn ask(question: &str) -> bool {
    let _ = write!(io::stderr().lock(), "{question} (y/n): ");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn choice(value: Option<&str>) -> Choice {
    match value.map(str::to_ascii_lowercase).as_deref() {
        Some("yes" | "y" | "1" | "true" | "on") => Choice::Yes,
        Some("no" | "n" | "0" | "false" | "off") => Choice::No,
        _ => Choice::Ask,
    }
}

/// Writes a text as a literal of the engine's SQL, for the few statements that take no parameters.
pub(crate) fn literal(engine: Engine, text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if engine == Engine::MySql {
        format!("'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Writes a name as the engine's SQL quotes it.
pub(crate) fn quoted(engine: Engine, name: &str) -> String {
    if engine == Engine::Postgres {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        format!("`{}`", name.replace('`', "``"))
    }
}
