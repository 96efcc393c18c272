//! Creates, upgrades, backs up, restores and checks the database schema (Kamailio's kamdbctl).

mod args;
mod cmd;
mod context;
mod error;

use std::ffi::OsString;
use std::io;
use std::process;

use clap::CommandFactory as _;
use clap::Parser as _;
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
    /// For `--output json`, `yaml` and `csv`.
    pub data: Report,
    /// For `--output table` and `plain`, where it differs.
    pub words: Option<String>,
}

/// Runs the program with the process's own arguments.
pub fn main() -> process::ExitCode {
    let args = Args::parse();
    let code = match run_with(&args).and_then(|answer| print(&args, &answer)) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            if let Error::Faults { report, .. } = &error {
                // Where standard output is closed nobody waits for it.
                let _ = report.print(Output::or_default(args.output));
            }
            complain("dbctl", &error);
            error.exit_code()
        }
    };
    code.into()
}

/// Runs one command line, its first word being the program's name; prints nothing.
pub fn run(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Answer, Error> {
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
    let printed: io::Result<()> = match (&answer.words, output) {
        (Some(_), Output::Table | Output::Plain) if args.quiet => Ok(()),
        (None, _) if *answer == Answer::nothing() => Ok(()),
        (Some(words), Output::Table | Output::Plain) => Report::Text(words.clone()).print(output),
        _ => answer.data.print(output),
    };
    printed.map_err(|e| Error::Print(e.to_string()))
}
