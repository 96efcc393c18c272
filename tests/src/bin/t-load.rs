//! Runs the load generator once: `t-load LOAD --server ADDR --caller ADDR --callee ADDR [options]`, a JSON outcome on standard output.

use std::env;
use std::io;
use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;

use tests::load;
use tests::load::Load;
use tests::load::Pace;
use tests::load::Plan;

const USAGE: &str = "usage: t-load LOAD --server ADDR --caller ADDR --callee ADDR [--domain NAME] [--users N] \
    [--window N | --rate N] [--count N] [--seconds S] [--warm-up S] [--pids PID,…] [--challenged] [--no-prepare]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(plan) = plan(&arguments) else {
        let names: Vec<&str> = Load::ALL.iter().map(|(name, _)| *name).collect();
        return complain(&format!("{USAGE}\nloads: {}", names.join(" ")));
    };
    let outcome = match load::run(&plan) {
        Ok(outcome) => outcome,
        Err(error) => return complain(&format!("t-load: {error}")),
    };
    match serde_json::to_string(&outcome).map(|text| writeln!(io::stdout(), "{text}")) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn plan(arguments: &[String]) -> Option<Plan> {
    let (load, options) = arguments.split_first()?;
    Some(Plan {
        load: Load::named(load)?,
        pace: match option(options, "--rate") {
            Some(rate) => Pace::Rate(rate),
            None => Pace::Window(option(options, "--window").unwrap_or(64)),
        },
        server: option(options, "--server")?,
        caller: option(options, "--caller")?,
        callee: option(options, "--callee")?,
        domain: option(options, "--domain").unwrap_or_else(|| "bench.test".to_owned()),
        users: option(options, "--users").unwrap_or(1000),
        challenged: options.iter().any(|word| word == "--challenged"),
        count: option(options, "--count"),
        seconds: option(options, "--seconds").unwrap_or(if option::<u64>(options, "--count").is_some() {
            1e6
        } else {
            3.0
        }),
        warm_up: option(options, "--warm-up").unwrap_or(0.0),
        pids: option::<String>(options, "--pids")
            .unwrap_or_default()
            .split(',')
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        prepare: !options.iter().any(|word| word == "--no-prepare"),
    })
}

fn option<T: FromStr>(options: &[String], name: &str) -> Option<T> {
    let at = options.iter().position(|word| word == name)?;
    options.get(at + 1)?.parse().ok()
}

fn complain(text: &str) -> ExitCode {
    match writeln!(io::stderr(), "{text}") {
        Ok(()) => ExitCode::from(2),
        Err(_) => ExitCode::FAILURE,
    }
}
