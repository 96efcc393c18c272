//! The command line, from which help, completions and man pages are made.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use shared::report::Output;

use crate::Error;
use crate::cmd::Command;

const EXAMPLES: &str = "\
Examples:
  proxyctl add 61312341234 supersecretpassword     a user, as with kamctl
  proxyctl add alice@example.org --generate        with a password made here
  proxyctl address add 200 10.0.1.102 32 5060 'Carrier IP address'
  proxyctl ul show                                 who is registered
  proxyctl ul.dump                                 any RPC by its name, as with kamcmd
  proxyctl --output json rpc ul.lookup location alice
  proxyctl apply -f site.yaml --dry-run            what a declarative file would change

The daemon is reached at control.sock in --home or in the run folder (/run/proxyd). The database is the one of --db-url, \
of DB_URL, of DBENGINE with DB_PATH or DBHOST, DBNAME, DBRWUSER and DBRWPW in the environment or the resource file \
(proxyctlrc, in the form of a kamctlrc), or the embedded SQLite file.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or value, 3 not found, 4 already exists, 5 daemon not reachable, \
6 database not reachable.";

/// Administers proxyd: subscribers, addresses, registrations, reloads, any RPC.
#[derive(Debug, Parser)]
#[command(name = "proxyctl", bin_name = "proxyctl", version, after_help = EXAMPLES, disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Form of the answer [default: table on a terminal, else plain]
    #[arg(short, long, global = true, value_name = "FORM", help_heading = "Global options",
        value_parser = PossibleValuesParser::new(["table", "json", "yaml", "csv", "plain"]).map(|word| word.parse::<Output>().unwrap_or(Output::Plain)))]
    pub(crate) output: Option<Output>,

    /// Say nothing when all went well
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,

    /// Folder with database, socket and resource file [env: PROXYD_HOME]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) home: Option<PathBuf>,

    /// Database: sqlite:///path, mysql://user:password@host/name, postgres://… or text:///folder
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) db_url: Option<String>,

    /// Control socket of the daemon
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub(crate) socket: Option<PathBuf>,

    /// Resource file, a kamctlrc too [env: PROXYCTLRC]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) rc: Option<PathBuf>,

    /// Do not tell the daemon what has changed
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_reload: bool,

    /// Confirm beforehand what would be asked before something is lost
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) yes: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The program's name with the global options that were given.
    pub(crate) fn globals(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["proxyctl".into()];
        let paths = [
            ("--home", &self.home),
            ("--socket", &self.socket),
            ("--rc", &self.rc),
        ];
        for (name, path) in paths {
            words.extend(
                path.iter()
                    .flat_map(|path| [name.into(), path.clone().into_os_string()]),
            );
        }
        let texts = [
            ("--db-url", self.db_url.clone()),
            ("--output", self.output.map(|output| output.to_string())),
        ];
        for (name, text) in texts {
            words.extend(text.into_iter().flat_map(|text| [name.into(), text.into()]));
        }
        let flags = [
            ("--quiet", self.quiet),
            ("--no-reload", self.no_reload),
            ("--yes", self.yes),
        ];
        words.extend(
            flags
                .into_iter()
                .filter(|(_, is_set)| *is_set)
                .map(|(name, _)| name.into()),
        );
        words
    }
}

/// Global options that take a value, which is no command.
const VALUED: [&str; 6] = ["-o", "--output", "--home", "--db-url", "--socket", "--rc"];

/// Commands of kamctl that mean nothing here, and what does instead.
const ABSENT: [(&str, &str); 5] = [
    ("trap", GDB),
    ("pstrap", GDB),
    (
        "showdb",
        "`proxyctl show` lists subscribers, `proxyctl ul showdb` the contacts in the database",
    ),
    (
        "userdb",
        "`proxyctl show` lists subscribers, `proxyctl ul showdb` the contacts in the database",
    ),
    (
        "rpcprint",
        "`proxyctl --output json rpc METHOD` prints the daemon's answer",
    ),
];
const GDB: &str = "proxyd is one process: `gdb -p PID -batch -ex 'thread apply all bt'` shows what its threads do, and `proxyctl ps` its PID";

/// The command line as clap reads it; an error for a command of kamctl that has no counterpart.
pub(crate) fn command_line(line: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Error> {
    let words = expanded(line);
    let command = command(&words).and_then(|at| words.get(at));
    match ABSENT
        .iter()
        .find(|(name, _)| command.is_some_and(|word| word == name))
    {
        Some((name, instead)) => Err(Error::Usage(format!("there is no `{name}`: {instead}"))),
        None => Ok(words),
    }
}

/// Where the command stands, after the global options.
fn command(words: &[OsString]) -> Option<usize> {
    let mut is_value = false;
    let command = words.iter().skip(1).position(|word| {
        let text = word.to_string_lossy();
        if is_value || text.starts_with('-') {
            is_value = !is_value && VALUED.contains(&&*text);
            return false;
        }
        true
    });
    command.map(|at| at + 1)
}

/// Writes `rpc` before a command with a dot in its name, as every RPC is a command with kamcmd, and `--help` for kamctl's `NOUN help`.
fn expanded(line: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = line.collect();
    if let Some(at) = command(&words) {
        let is_rpc = words.get(at).is_some_and(|word| {
            let text = word.to_string_lossy();
            text.contains('.') && !text.contains('/') && !text.starts_with('.')
        });
        if is_rpc {
            words.insert(at, "rpc".into());
        } else if words.len() == at + 1 && words.last().is_some_and(|word| word == "help") {
            words = vec!["proxyctl".into(), "--help".into()];
        } else if words.len() == at + 2 && words.last().is_some_and(|word| word == "help") {
            let is_noun = words
                .get(at)
                .and_then(|noun| Args::command().find_subcommand(noun).cloned());
            if let (Some(noun), Some(last)) = (is_noun, words.last_mut())
                && noun.has_subcommands()
            {
                *last = "--help".into();
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold() {
        Args::command().debug_assert();
    }

    #[test]
    fn methods_are_commands() {
        let table = [
            ("proxyctl ul.dump", "proxyctl rpc ul.dump"),
            (
                "proxyctl --home a.b ul.dump x",
                "proxyctl --home a.b rpc ul.dump x",
            ),
            (
                "proxyctl --home=a.b -q ul.dump",
                "proxyctl --home=a.b -q rpc ul.dump",
            ),
            ("proxyctl ul show", "proxyctl ul show"),
            ("proxyctl rpc ul.dump", "proxyctl rpc ul.dump"),
            ("proxyctl", "proxyctl"),
            ("proxyctl speeddial help", "proxyctl speeddial --help"),
            ("proxyctl show help", "proxyctl show help"),
            ("proxyctl help", "proxyctl --help"),
        ];
        for (line, expected) in table {
            let words = expanded(line.split(' ').map(OsString::from));
            assert_eq!(words.join(&OsString::from(" ")), *expected);
        }
    }

    #[test]
    fn what_is_absent_says_what_to_do_instead() {
        let read = |line: &str| command_line(line.split(' ').map(OsString::from));
        assert!(read("proxyctl show trap").is_ok());
        for (name, _) in ABSENT {
            let error = read(&format!("proxyctl --home trap {name} x")).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("there is no `{name}`: ")),
                "{error}"
            );
        }
    }
}
