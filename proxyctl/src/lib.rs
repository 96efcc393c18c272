//! The operator's tool: subscribers, addresses, registrations, reloads, any RPC (Kamailio's kamctl and kamcmd in one).

mod args;
mod check;
mod client;
mod clock;
mod cmd;
mod context;
mod error;
mod printer;
mod site;
mod stream;
mod unknown;
mod user;

use std::ffi::OsString;
use std::io;
use std::process;

use clap::CommandFactory as _;
use clap::Parser as _;
use serde_json::Value;
use serde_json::json;
use shared::report::ExitCode;
use shared::report::Output;
use shared::report::Report;
use shared::report::complain;

use args::Args;
use context::Context;
pub use error::Error;

/// What a command says: a sentence or a table for people, a structure for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// For `--output json`, `yaml` and `csv`; `None` when everything is printed already.
    pub data: Option<Report>,
    /// For `--output table` and `plain`, where it differs.
    pub words: Option<String>,
}

/// Runs the program with the process's own arguments.
pub fn main() -> process::ExitCode {
    let line = match args::command_line(std::env::args_os()) {
        Ok(line) => line,
        Err(error) => {
            complain("proxyctl", &error);
            return error.exit_code().into();
        }
    };
    let args = Args::parse_from(line);
    let code = match run_with(&args).and_then(|answer| print(&args, &answer)) {
        Ok(()) => ExitCode::Done,
        Err(Error::Told(code)) => code,
        Err(error) => {
            complain("proxyctl", &error);
            if let (Error::Fault(fault), Some(Output::Json)) = (&error, args.output) {
                let (code, message) = fault.as_kamailio();
                let error = json!({ "code": code, "message": message });
                let reply = json!({ "jsonrpc": "2.0", "error": error, "id": 1 });
                // Where standard output is closed nobody waits for it.
                let _ = Report::Tree(reply).print(Output::Json);
            }
            error.exit_code()
        }
    };
    code.into()
}

/// Runs one command line, its first word being the program's name; prints nothing but what commands stream.
pub fn run(line: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Answer, Error> {
    let line = args::command_line(line.into_iter().map(Into::into))?;
    run_with(&Args::try_parse_from(line).map_err(|e| Error::Usage(e.to_string()))?)
}

/// The command line as clap knows it, for completions and man pages.
pub fn command() -> clap::Command {
    Args::command()
}

fn run_with(args: &Args) -> Result<Answer, Error> {
    let environment = shared::paths::environment;
    cmd::run(&Context::new(args, &environment)?, &args.command)
}

fn print(args: &Args, answer: &Answer) -> Result<(), Error> {
    let output = Output::or_default(args.output);
    let printed: io::Result<()> = match (&answer.words, output, &answer.data) {
        (Some(_), Output::Table | Output::Plain, _) if args.quiet => Ok(()),
        (Some(words), Output::Table | Output::Plain, _) => Report::Text(words.clone()).print(output),
        (_, _, Some(data)) => data.print(output),
        (_, _, None) => Ok(()),
    };
    printed.map_err(|e| Error::Print(e.to_string()))
}

impl Answer {
    /// A sentence, with its facts for programs.
    fn new(words: impl Into<String>, data: Value) -> Self {
        Self {
            data: Some(Report::Tree(data)),
            words: Some(words.into()),
        }
    }

    /// A report that people and programs both read.
    fn report(report: Report) -> Self {
        Self {
            data: Some(report),
            words: None,
        }
    }

    /// Nothing more: it is printed already.
    fn printed() -> Self {
        Self {
            data: None,
            words: None,
        }
    }
}
