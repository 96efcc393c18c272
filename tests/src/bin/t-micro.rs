//! Runs one row of the small benchmarks: `t-micro NAME COUNT`, or their names with `--list`.

use std::env;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use tests::micro;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => list(),
        [name, count] => run(name, count),
        _ => None,
    }
    .unwrap_or_else(usage)
}

fn list() -> Option<ExitCode> {
    let names: Vec<&str> = micro::rows().map(|row| row.name).collect();
    writeln!(io::stdout(), "{}", names.join("\n")).ok()?;
    Some(ExitCode::SUCCESS)
}

fn run(name: &str, count: &str) -> Option<ExitCode> {
    let row = micro::rows().find(|row| row.name == name)?;
    let count: u64 = count.parse().ok()?;
    let mut operation = (row.prepare)();
    for _ in 0..count {
        operation();
    }
    Some(ExitCode::SUCCESS)
}

fn usage() -> ExitCode {
    match writeln!(io::stderr(), "usage: t-micro NAME COUNT | --list") {
        Ok(()) => ExitCode::from(2),
        Err(_) => ExitCode::FAILURE,
    }
}
