//! The commands, one noun a file; kamctl's short forms stand beside the nouns they belong to.

mod acc;
mod acl;
pub(crate) mod address;
mod alias;
mod alias_db;
mod apply;
mod avp;
mod cr;
mod db;
mod dialog;
mod dialplan;
pub(crate) mod dispatcher;
mod domain;
mod explain;
mod help;
mod htable;
mod import;
mod lcr;
mod monitor;
mod mtree;
mod phone;
mod ping;
mod rpc;
mod rpid;
mod server;
mod shell;
mod speeddial;
mod srv;
pub(crate) mod subscriber;
mod table;
mod tls;
mod trace;
pub(crate) mod trusted;
mod uid_domain;
mod ul;

use std::path::PathBuf;

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
    /// Groups of users
    #[command(subcommand, visible_alias = "group", after_help = acl::EXAMPLES)]
    Acl(acl::Verb),
    /// Remote-Party-ID of subscribers
    #[command(subcommand, after_help = rpid::EXAMPLES)]
    Rpid(rpid::Verb),
    /// Other names of users, in the database
    #[command(name = "alias_db", subcommand, visible_alias = "aliasdb", after_help = alias_db::EXAMPLES)]
    AliasDb(alias_db::Verb),
    /// Short numbers of users
    #[command(subcommand, visible_alias = "speed_dial", after_help = speeddial::EXAMPLES)]
    Speeddial(speeddial::Verb),
    /// Preferences of users
    #[command(subcommand, after_help = avp::EXAMPLES)]
    Avp(avp::Verb),
    /// Addresses that are trusted by group: carriers, gateways
    #[command(subcommand, after_help = address::EXAMPLES)]
    Address(address::Verb),
    /// Peers that are trusted by address, transport and patterns
    #[command(subcommand, after_help = trusted::EXAMPLES)]
    Trusted(trusted::Verb),
    /// Registrations: contacts of users
    #[command(subcommand, visible_alias = "location", visible_alias = "usrloc", after_help = ul::EXAMPLES)]
    Ul(ul::Verb),
    /// Permanent contacts in the location table aliases
    #[command(subcommand, after_help = alias::EXAMPLES)]
    Alias(alias::Verb),
    /// Users who are registered
    #[command(after_help = "Examples:\n  proxyctl online")]
    Online,
    /// Domains that are ours
    #[command(subcommand, after_help = domain::EXAMPLES)]
    Domain(domain::Verb),
    /// Domains of the uid modules
    #[command(name = "uid_domain", subcommand, after_help = uid_domain::EXAMPLES)]
    UidDomain(uid_domain::Verb),
    /// Sets of destinations
    #[command(subcommand, after_help = dispatcher::EXAMPLES)]
    Dispatcher(dispatcher::Verb),
    /// Calls under way
    #[command(subcommand, after_help = dialog::EXAMPLES)]
    Dialog(dialog::Verb),
    /// Translation rules
    #[command(subcommand, after_help = dialplan::EXAMPLES)]
    Dialplan(dialplan::Verb),
    /// Trees of prefixes
    #[command(subcommand, after_help = mtree::EXAMPLES)]
    Mtree(mtree::Verb),
    /// Least cost routes
    #[command(subcommand, after_help = lcr::EXAMPLES)]
    Lcr(lcr::Verb),
    /// Routes to carriers by prefix
    #[command(subcommand, after_help = cr::EXAMPLES)]
    Cr(cr::Verb),
    /// Shared hash tables in memory
    #[command(subcommand, after_help = htable::EXAMPLES)]
    Htable(htable::Verb),
    /// Accounting records
    #[command(subcommand, after_help = acc::EXAMPLES)]
    Acc(acc::Verb),
    /// SQL and tables by hand
    #[command(subcommand, after_help = db::EXAMPLES)]
    Db(db::Verb),
    #[command(flatten)]
    Server(server::Verb),
    /// What the script would do with a message, or did with a live one, line by line
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Messages as they come and go, drawn as a ladder of each call
    #[command(after_help = trace::EXAMPLES)]
    Trace(trace::Trace),
    /// Certificates, made by openssl
    #[command(subcommand, after_help = tls::EXAMPLES)]
    Tls(tls::Verb),
    /// Sockets, aliases, methods and modules of the daemon
    #[command(subcommand, after_help = srv::EXAMPLES)]
    Srv(srv::Verb),
    /// Call any RPC: `proxyctl rpc METHOD [ARG…]`, or `proxyctl METHOD [ARG…]` where its name has a dot
    #[command(visible_alias = "kamcmd", aliases = ["ser", "sercmd"], after_help = rpc::EXAMPLES)]
    Rpc(rpc::Call),
    /// Make the database hold what a YAML or JSON file says
    #[command(after_help = apply::EXAMPLES)]
    Apply(apply::Apply),
    /// Add rows from a CSV or JSON lines file, all or nothing
    #[command(after_help = import::IMPORT)]
    Import(import::Import),
    /// Write rows as a file for `apply` or `import`
    #[command(after_help = import::EXPORT)]
    Export(import::Export),
    /// Counters of the daemon, refreshed
    #[command(visible_alias = "moni", aliases = ["console", "con"], after_help = monitor::MONITOR)]
    Monitor(monitor::Monitor),
    /// Ask whether the daemon, a SIP URI or a registered user answers
    #[command(after_help = ping::EXAMPLES)]
    Ping(ping::Ping),
    /// Have a phone read its configuration again (NOTIFY, Event: check-sync)
    #[command(name = "cisco_restart", after_help = phone::EXAMPLES)]
    CiscoRestart(phone::Restart),
    /// Read commands from a prompt, or from a file on standard input
    #[command(
        after_help = "Examples:\n  proxyctl shell\n  proxyctl shell < commands.txt\n\nLines are kept in ~/.proxyctl_history, but for those that may hold a password."
    )]
    Shell,
    /// Print what makes a shell complete our commands
    #[command(
        after_help = "Examples:\n  proxyctl completions bash > /etc/bash_completion.d/proxyctl\n  proxyctl completions zsh > ~/.zfunc/_proxyctl\n  proxyctl completions fish > ~/.config/fish/completions/proxyctl.fish"
    )]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Pages of the reference
    #[command(subcommand, after_help = help::EXAMPLES)]
    Help(help::Topic),
    /// Write manual pages into a folder
    #[command(after_help = "Examples:\n  proxyctl man /usr/local/share/man/man1")]
    Man {
        /// Folder
        folder: PathBuf,
    },
}

/// Runs one command.
pub(crate) fn run(context: &Context<'_>, command: &Command) -> Result<Answer, Error> {
    match command {
        Command::Short(verb) => subscriber::run(context, verb),
        Command::Subscriber(noun) => subscriber::run_noun(context, noun),
        Command::Acl(verb) => acl::run(context, verb),
        Command::Rpid(verb) => rpid::run(context, verb),
        Command::AliasDb(verb) => alias_db::run(context, verb),
        Command::Speeddial(verb) => speeddial::run(context, verb),
        Command::Avp(verb) => avp::run(context, verb),
        Command::Address(verb) => address::run(context, verb),
        Command::Trusted(verb) => trusted::run(context, verb),
        Command::Ul(verb) => ul::run(context, verb),
        Command::Alias(verb) => alias::run(context, verb),
        Command::Online => ul::online(context, ul::Table::Location),
        Command::Domain(verb) => domain::run(context, verb),
        Command::UidDomain(verb) => uid_domain::run(context, verb),
        Command::Dispatcher(verb) => dispatcher::run(context, verb),
        Command::Dialog(verb) => dialog::run(context, verb),
        Command::Dialplan(verb) => dialplan::run(context, verb),
        Command::Mtree(verb) => mtree::run(context, verb),
        Command::Cr(verb) => cr::run(context, verb),
        Command::Lcr(verb) => lcr::run(context, verb),
        Command::Htable(verb) => htable::run(context, verb),
        Command::Acc(verb) => acc::run(context, verb),
        Command::Db(verb) => db::run(context, verb),
        Command::Server(verb) => server::run(context, verb),
        Command::Explain(what) => explain::explain(context, what),
        Command::Trace(what) => trace::trace(context, what),
        Command::Tls(verb) => tls::run(context, verb),
        Command::Srv(verb) => srv::run(context, verb),
        Command::Rpc(call) => rpc::run(context, call),
        Command::Apply(what) => apply::run(context, what),
        Command::Import(what) => import::import(context, what),
        Command::Export(what) => import::export(context, what),
        Command::Monitor(what) => monitor::monitor(context, what),
        Command::Ping(what) => ping::ping(context, what),
        Command::CiscoRestart(what) => phone::restart(context, what),
        Command::Shell => shell::shell(context),
        Command::Completions { shell } => Ok(shell::completions(*shell)),
        Command::Help(topic) => help::run(topic),
        Command::Man { folder } => shell::man(folder),
    }
}
