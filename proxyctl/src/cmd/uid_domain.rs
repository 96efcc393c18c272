//! `uid_domain`: domains of the uid modules (Kamailio uid_domain, table `uid_domain`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;

use super::domain::RELOAD;
use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl uid_domain add example.org
  proxyctl uid_domain add example.net example      another name of the domain `example`
  proxyctl uid_domain showdb
  proxyctl uid_domain rm example.org";

/// To be loaded, canonical, for the web interface: what kamctl sets.
const FLAGS: &str = "37";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Domains in the daemon's memory
    #[command(visible_alias = "dump", after_help = "Examples:\n  proxyctl uid_domain show")]
    Show,
    /// Domains in the database
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  proxyctl uid_domain showdb"
    )]
    Showdb,
    /// Make the daemon read the table again
    #[command(after_help = "Examples:\n  proxyctl uid_domain reload")]
    Reload,
    /// Add a domain
    #[command(
        after_help = "Examples:\n  proxyctl uid_domain add example.org\n  proxyctl uid_domain add example.net example 1"
    )]
    Add {
        /// Domain
        domain: String,
        /// Domain id, which domains may share [default: the domain]
        did: Option<String>,
        /// Flags: 1 to be loaded, 2 disabled, 4 canonical, 32 for the web interface
        #[arg(default_value = FLAGS)]
        flags: String,
    },
    /// Remove a domain
    #[command(after_help = "Examples:\n  proxyctl uid_domain rm example.org")]
    Rm {
        /// Domain
        domain: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show => rpc::show(context, "domain.dump", &[]),
        Verb::Showdb => {
            let mut db = context.read(&["uid_domain"])?;
            let select = Select::from("uid_domain").order_by("did").order_by("domain");
            table::show(context, db.as_mut(), &select)
        }
        Verb::Reload => table::reloaded(context, "uid_domain", RELOAD),
        Verb::Add { domain, did, flags } => add(context, domain, did.as_deref().unwrap_or(domain), flags),
        Verb::Rm { domain } => {
            let mut db = context.open(&["uid_domain"])?;
            if db.delete(&Delete::from("uid_domain").eq("domain", domain))? == 0 {
                return Err(Error::not_found("domain", domain));
            }
            let (words, data) = (format!("removed {domain}"), json!({ "domain": domain }));
            Ok(table::changed(context, &words, data, RELOAD))
        }
    }
}

fn add(context: &Context<'_>, domain: &str, did: &str, flags: &str) -> Result<Answer, Error> {
    check::domain(domain)?;
    check::word("domain id", did, 64)?;
    let flags = check::number("flags", flags, 0, i64::from(u32::MAX))?;
    let mut db = context.open(&["uid_domain"])?;
    let row = Insert::into("uid_domain")
        .set("did", did)
        .set("domain", domain)
        .set("flags", flags);
    db.insert(&row).map_err(|error| {
        if error.is_duplicate() {
            Error::exists("domain", domain)
        } else {
            error.into()
        }
    })?;
    let data = json!({ "domain": domain, "did": did, "flags": flags });
    Ok(table::changed(context, &format!("added {domain}"), data, RELOAD))
}
