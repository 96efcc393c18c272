//! Commands about the running daemon: `ps`, `uptime`, `stats`, `version`, `debug`, `reload`, `stop` (RPCs `core.*`, `stats.*`).

use std::path::PathBuf;
use std::process;
use std::time::Duration;
use std::time::Instant;

use clap::Subcommand;
use serde_json::Value;
use serde_json::json;
use shared::report::Report;
use shared::rpc::core;
use shared::rpc::stats;

use super::rpc;
use crate::Answer;
use crate::Error;
use crate::client::Unreachable;
use crate::clock;
use crate::context::Context;

/// How long a daemon may take to end.
const STOPPING: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Processes and threads of the daemon
    #[command(after_help = "Examples:\n  proxyctl ps\n  proxyctl --output json ps")]
    Ps,
    /// The same, with all that the daemon tells
    #[command(after_help = "Examples:\n  proxyctl psa")]
    Psa,
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
    /// Start the daemon in the background, with STARTUP_CONFIG_FILE and STARTOPTIONS of the resource file
    #[command(after_help = "Examples:\n  proxyctl start\n  proxyctl start -- -l udp:127.0.0.1:5060")]
    Start {
        /// Options for proxyd
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Stop the daemon and start it again
    #[command(after_help = "Examples:\n  proxyctl restart")]
    Restart {
        /// Options for proxyd
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Stop the daemon
    #[command(after_help = "Examples:\n  proxyctl stop")]
    Stop,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Ps => rpc::show(context, core::PSX, &[]),
        Verb::Psa => rpc::show(context, "core.psa", &[]),
        Verb::Start { options } => start(context, options),
        Verb::Restart { options } => {
            stop(context)?;
            start(context, options)
        }
        Verb::Uptime => rpc::show(context, core::UPTIME, &[]),
        Verb::Stats { names, reset } => statistics(context, names, *reset),
        Verb::Version => version(context),
        Verb::Debug { level } => debug(context, *level),
        Verb::Reload => reload(context),
        Verb::Stop => stop(context),
    }
}

/// Shows the daemon's log level, or sets it.
pub(crate) fn debug(context: &Context<'_>, level: Option<i64>) -> Result<Answer, Error> {
    match level {
        None => rpc::show(context, core::DEBUG, &[]),
        Some(level) => rpc::change(context, core::DEBUG, &[json!(level)]),
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
    if report.is_empty() && !names.is_empty() {
        return Err(Error::NotFound {
            what: "statistics",
            name: names.join(", "),
            hint: ": `proxyctl stats` shows all there are".to_owned(),
        });
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
    let reloaded: core::Reloaded = serde_json::from_value(result.clone()).unwrap_or_default();
    let mut words = "script reloaded".to_owned();
    let parts = [
        ("opened", &reloaded.opened),
        ("closed", &reloaded.closed),
        ("at the next start only", &reloaded.at_restart),
    ];
    for (what, names) in parts.iter().filter(|(_, names)| !names.is_empty()) {
        words += &format!("\n{what}: {}", names.join(" "));
    }
    Ok(Answer::new(words, result))
}

/// Starts the program beside this one, else the one on the path; it says itself when it serves.
fn start(context: &Context<'_>, options: &[String]) -> Result<Answer, Error> {
    if context.call(core::VERSION, &[]).is_ok() {
        return Err(Error::exists(
            "a running daemon at",
            context.client().socket().display().to_string(),
        ));
    }
    let beside = std::env::current_exe()
        .ok()
        .map(|path| path.with_file_name("proxyd"))
        .filter(|path| path.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from("proxyd"));
    let mut command = process::Command::new(&program);
    if context.globals.iter().any(|word| word == "--home") {
        command.arg("--home").arg(&context.places.data);
    }
    if let Some(script) = context.settings.get("STARTUP_CONFIG_FILE") {
        command.arg("-f").arg(script);
    }
    if let Some(path) = context.settings.get("PID_FILE") {
        command.arg("-P").arg(path);
    }
    command
        .args(
            context
                .settings
                .get("STARTOPTIONS")
                .unwrap_or_default()
                .split_whitespace(),
        )
        .args(options);
    let status = command.status().map_err(|e| Error::file("start", program, &e))?;
    if !status.success() {
        return Err(Error::Program {
            program: "proxyd",
            reason: "it says above why".to_owned(),
        });
    }
    Ok(Answer::new("started", json!({ "started": true })))
}

fn stop(context: &Context<'_>) -> Result<Answer, Error> {
    match context.call(core::KILL, &[]) {
        // It may be gone before it has answered.
        Ok(_) | Err(Error::Daemon(Unreachable::Broken { .. })) => {}
        Err(error) => return Err(error),
    }
    // Calls are answered while it ends: it has stopped when nobody listens.
    let limit = Instant::now() + STOPPING;
    while Instant::now() < limit && context.call(core::VERSION, &[]).is_ok() {
        clock::pause(Duration::from_millis(50));
    }
    Ok(Answer::new("stopped", json!({ "stopped": true })))
}
