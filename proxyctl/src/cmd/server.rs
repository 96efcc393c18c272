//! Commands about the running daemon: `ps`, `uptime`, `stats`, `version`, `debug`, `reload`, `stop` (RPCs `core.*`, `stats.*`).

use clap::Subcommand;
use serde_json::Value;
use serde_json::json;
use shared::report::Report;
use shared::rpc::core;
use shared::rpc::stats;

use super::rpc;
use crate::Answer;
use crate::Error;
use crate::context::Context;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Processes and threads of the daemon
    #[command(after_help = "Examples:\n  proxyctl ps\n  proxyctl --output json ps")]
    Ps,
    /// When the daemon started, and how long ago
    #[command(after_help = "Examples:\n  proxyctl uptime")]
    Uptime,
    /// Counters: all, those of a group, or one
    #[command(
        after_help = "Examples:\n  proxyctl stats\n  proxyctl stats sl\n  proxyctl stats core:rcv_requests\n  proxyctl stats --reset tm"
    )]
    Stats {
        /// Groups (`sl`) or counters (`core:rcv_requests`)
        names: Vec<String>,
        /// Set them to zero
        #[arg(long)]
        reset: bool,
    },
    /// Version of this program and of the daemon
    #[command(after_help = "Examples:\n  proxyctl version")]
    Version,
    /// Show or set the daemon's log level
    #[command(
        after_help = "Examples:\n  proxyctl debug        the level\n  proxyctl debug 3      everything\n  proxyctl debug -- -1  errors only"
    )]
    Debug {
        /// From -5 (only alerts) to 3 (everything)
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-5..=5))]
        level: Option<i64>,
    },
    /// Read the script again: the new one runs once it compiles, otherwise the old one stays
    #[command(after_help = "Examples:\n  proxyctl reload")]
    Reload,
    /// Stop the daemon
    #[command(after_help = "Examples:\n  proxyctl stop")]
    Stop,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Ps => rpc::show(context, core::PSX, &[]),
        Verb::Uptime => rpc::show(context, core::UPTIME, &[]),
        Verb::Stats { names, reset } => statistics(context, names, *reset),
        Verb::Version => version(context),
        Verb::Debug { level } => rpc::show(
            context,
            core::DEBUG,
            &level.iter().map(|n| json!(n)).collect::<Vec<_>>(),
        ),
        Verb::Reload => reload(context),
        Verb::Stop => stop(context),
    }
}

fn statistics(context: &Context<'_>, names: &[String], reset: bool) -> Result<Answer, Error> {
    let mut params: Vec<Value> = names
        .iter()
        // A bare word is a group, as with kamctl; what the daemon calls a group ends in a colon.
        .map(|name| {
            if name == "all" || name.contains([':', '.']) {
                json!(name)
            } else {
                json!(format!("{name}:"))
            }
        })
        .collect();
    if params.is_empty() {
        params.push(json!("all"));
    }
    if reset {
        context.call(stats::RESET_STATISTICS, &params)?;
        return Ok(Answer::new("counters reset", json!({ "reset": names })));
    }
    let lines = context.call(stats::GET_STATISTICS, &params)?;
    let mut report = Report::rows(&["group", "name", "value"]);
    for line in lines.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let (group, name) = name.trim().split_once(':').unwrap_or(("", name.trim()));
        let value = value.trim();
        report.push([
            json!(group),
            json!(name),
            value.parse::<i64>().map_or_else(|_| json!(value), Value::from),
        ]);
    }
    Ok(Answer::report(report))
}

fn version(context: &Context<'_>) -> Result<Answer, Error> {
    let mut report = Report::rows(&["program", "version"]);
    report.push([json!("proxyctl"), json!(env!("CARGO_PKG_VERSION"))]);
    if context.client().may_be_there() {
        match context.call(core::VERSION, &[]) {
            Ok(version) => report.push([json!("proxyd"), version]),
            Err(error) => context.note(format_args!("{error}")),
        }
    }
    Ok(Answer::report(report))
}

fn reload(context: &Context<'_>) -> Result<Answer, Error> {
    let result = context.call(core::RELOAD, &[])?;
    let words = match &result {
        Value::String(text) => text.clone(),
        _ => "script reloaded".to_owned(),
    };
    Ok(Answer::new(words, result))
}

fn stop(context: &Context<'_>) -> Result<Answer, Error> {
    match context.call(core::KILL, &[]) {
        // It may be gone before it has answered.
        Ok(_) | Err(Error::Daemon(crate::client::Unreachable::Broken { .. })) => {
            Ok(Answer::new("stopped", json!({ "stopped": true })))
        }
        Err(error) => Err(error),
    }
}
