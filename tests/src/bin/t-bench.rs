//! Runs the side-by-side benchmark and prints its table; `tests/bench/run` builds and calls it.

use std::env;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use tests::bench;
use tests::bench::Options;
use tests::bench::row::ROWS;

const USAGE: &str = "usage: run [--only NAME[,NAME…]] [--rounds N] [--seconds S] [--json FILE] \
    [--without kamailio|proxyd] [--server-cpu LIST] [--generator-cpu LIST] [--list]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    if arguments.iter().any(|word| word == "--list") {
        let written = ROWS
            .iter()
            .try_for_each(|row| writeln!(out, "{:<10}{}", row.name, row.title));
        return if written.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let Some(options) = options(&arguments) else {
        return complain(USAGE, 2);
    };
    match bench::run(&options, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => complain(&format!("bench: {error}"), 1),
    }
}

fn options(arguments: &[String]) -> Option<Options> {
    let mut options = Options {
        only: Vec::new(),
        rounds: 5,
        seconds: 2.0,
        json: None,
        without: Vec::new(),
        scripts: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/bench")),
        stock_script: PathBuf::from("/etc/kamailio/kamailio.cfg"),
        processors: ("0".to_owned(), "1".to_owned()),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            "--rounds" => options.rounds = value.parse().ok()?,
            "--seconds" => options.seconds = value.parse().ok()?,
            "--json" => options.json = Some(PathBuf::from(value)),
            "--without" => options.without.push(value.clone()),
            "--server-cpu" => options.processors.0.clone_from(value),
            "--generator-cpu" => options.processors.1.clone_from(value),
            _ => return None,
        }
    }
    let known = |name: &String| ROWS.iter().any(|row| row.name == name);
    (options.only.iter().all(known) && options.rounds > 0).then_some(options)
}

fn complain(text: &str, status: u8) -> ExitCode {
    match writeln!(io::stderr(), "{text}") {
        Ok(()) => ExitCode::from(status),
        Err(_) => ExitCode::FAILURE,
    }
}
