//! The commands, one noun a file; kamctl's short forms stand beside the nouns they belong to.

mod address;
mod rpc;
mod server;
mod subscriber;
mod table;
mod ul;

use clap::Subcommand;

use crate::Answer;
use crate::Error;
use crate::context::Context;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Short(subscriber::Verb),
    /// Subscribers: who may register and call
    #[command(subcommand, visible_alias = "user", after_help = subscriber::EXAMPLES)]
    Subscriber(subscriber::Noun),
    /// Addresses that are trusted by group: carriers, gateways
    #[command(subcommand, after_help = address::EXAMPLES)]
    Address(address::Verb),
    /// Registrations: contacts of users
    #[command(subcommand, visible_alias = "location", after_help = ul::EXAMPLES)]
    Ul(ul::Verb),
    #[command(flatten)]
    Server(server::Verb),
    /// Call any RPC: `proxyctl rpc METHOD [ARG…]`, or `proxyctl METHOD [ARG…]` where its name has a dot
    #[command(visible_alias = "kamcmd", after_help = rpc::EXAMPLES)]
    Rpc(rpc::Call),
}

/// Runs one command.
pub(crate) fn run(context: &Context<'_>, command: &Command) -> Result<Answer, Error> {
    match command {
        Command::Short(verb) => subscriber::run(context, verb),
        Command::Subscriber(noun) => subscriber::run_noun(context, noun),
        Command::Address(verb) => address::run(context, verb),
        Command::Ul(verb) => ul::run(context, verb),
        Command::Server(verb) => server::run(context, verb),
        Command::Rpc(call) => rpc::run(context, call),
    }
}
