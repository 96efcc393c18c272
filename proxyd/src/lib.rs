//! The daemon: a SIP proxy and registrar that runs Kamailio-language routing scripts. Layers, bottom to top.

pub mod args;
pub(crate) mod calendar;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod ids;
pub mod log;
pub mod modules;
pub mod proxy;
pub mod reference;
pub mod runtime;
pub mod script;
pub mod stats;
pub mod transaction;
pub mod transport;

use crate::args::Args;
use crate::args::CheckOutput;
use crate::daemon::Daemon;
use crate::daemon::Layout;
use clap::Parser;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

/// Tells a child that it was put in the background, and to say on stdout when it serves.
const BACKGROUND: &str = "PROXYD_BACKGROUND";

/// Runs the daemon as the command line asks.
pub fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.modules {
        return print(&reference::modules());
    }
    if args.version && !args.check || args.version_flags {
        return print(&args::version_text());
    }
    if args.check {
        return check(&args);
    }
    let supervised = std::env::var_os("NOTIFY_SOCKET").is_some();
    let background = std::env::var_os(BACKGROUND).is_some();
    if args.foreground == 0 && !args.log_stderr && !args.log_color && !supervised && !background {
        return detach();
    }
    if let Some(folder) = &args.working_dir {
        // Kamailio: the script is looked for where the daemon was started.
        args.config = args.config.map(|path| std::path::absolute(&path).unwrap_or(path));
        if let Err(error) = std::env::set_current_dir(folder) {
            return refuse(&format!("{}: {error}", folder.display()));
        }
    }
    let started = Daemon::start(args).and_then(|daemon| {
        if background {
            let _ = std::io::stdout().lock().write_all(b"ready\n");
        }
        daemon.serve()
    });
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error.to_string()),
    }
}

/// Checks the script and reports: 0 good, 1 not.
fn check(args: &Args) -> ExitCode {
    let compiled = daemon::compile_script(args, &Layout::new(args));
    let sources = compiled.program.sources();
    let written = match args.output {
        CheckOutput::Text => {
            std::io::stderr().write_all(compiled.found.render(sources, args.version).as_bytes())
        }
        CheckOutput::Short => {
            std::io::stderr().write_all(compiled.found.lines(sources, args.version).as_bytes())
        }
        CheckOutput::Json => writeln!(std::io::stdout(), "{}", compiled.found.json(sources)),
    };
    if written.is_err() || !compiled.is_ok() {
        return ExitCode::FAILURE;
    }
    if args.version {
        let _ = std::io::stdout().write_all(modules::without_effect(&compiled.modules).as_bytes());
    }
    if args.output == CheckOutput::Text {
        let _ = std::io::stderr().write_all(b"config file ok, exiting...\n");
    }
    ExitCode::SUCCESS
}

/// Starts again in the background and ends when that one serves or has failed.
fn detach() -> ExitCode {
    let mut arguments = std::env::args_os();
    let own = std::env::current_exe()
        .ok()
        .or_else(|| arguments.next().map(Into::into))
        .unwrap_or_default();
    let child = Command::new(own)
        .args(std::env::args_os().skip(1))
        .env(BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return refuse(&format!("cannot start in the background: {error}")),
    };
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    if line == "ready\n" {
        return ExitCode::SUCCESS;
    }
    let status = child
        .wait()
        .ok()
        .and_then(|status| status.code())
        .and_then(|code| u8::try_from(code).ok());
    ExitCode::from(status.filter(|code| *code != 0).unwrap_or(1))
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "proxyd: {text}");
    ExitCode::FAILURE
}
