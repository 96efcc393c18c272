//! `srv`: the daemon's sockets, aliases, methods and modules (Kamailio kamctl, corex).

use clap::Subcommand;
use shared::rpc::core;

use super::rpc;
use super::server;
use crate::Answer;
use crate::Error;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl srv sockets
  proxyctl srv rpclist
  proxyctl srv debug 3";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Sockets the daemon listens at
    #[command(after_help = "Examples:\n  proxyctl srv sockets")]
    Sockets,
    /// Names the daemon answers to
    #[command(after_help = "Examples:\n  proxyctl srv aliases")]
    Aliases,
    /// Methods the daemon has
    #[command(after_help = "Examples:\n  proxyctl srv rpclist")]
    Rpclist,
    /// Show or set the log level
    #[command(after_help = "Examples:\n  proxyctl srv debug\n  proxyctl srv debug 3")]
    Debug {
        /// From -5 (only alerts) to 3 (everything)
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-5..=5))]
        level: Option<i64>,
    },
    /// Modules the script has loaded
    #[command(after_help = "Examples:\n  proxyctl srv modules")]
    Modules,
    /// Version of the daemon
    #[command(after_help = "Examples:\n  proxyctl srv version")]
    Version,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Sockets => rpc::show(context, "corex.list_sockets", &[]),
        Verb::Aliases => rpc::show(context, "corex.list_aliases", &[]),
        Verb::Rpclist => rpc::show(context, "system.listMethods", &[]),
        Verb::Debug { level } => server::debug(context, *level),
        Verb::Modules => rpc::show(context, "core.modules", &[]),
        Verb::Version => rpc::show(context, core::VERSION, &[]),
    }
}
