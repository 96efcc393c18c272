//! `domain`: domains that are ours (Kamailio domain, table `domain`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;
use shared::db::Value;
use shared::report::Report;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::clock;
use crate::context::Context;

pub(crate) const RELOAD: &str = "domain.reload";
pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl domain add example.org
  proxyctl domain add example.net example      with a domain id
  proxyctl domain showdb
  proxyctl domain show                         what the daemon has in memory
  proxyctl domain rm example.org";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Domains in the daemon's memory
    #[command(visible_alias = "dump", after_help = "Examples:\n  proxyctl domain show")]
    Show,
    /// Domains in the database
    #[command(visible_alias = "list", after_help = "Examples:\n  proxyctl domain showdb")]
    Showdb,
    /// Make the daemon read the table again
    #[command(after_help = "Examples:\n  proxyctl domain reload")]
    Reload,
    /// Add a domain
    #[command(
        after_help = "Examples:\n  proxyctl domain add example.org\n  proxyctl domain add example.net example"
    )]
    Add {
        /// Domain
        domain: String,
        /// Domain id, which domains may share
        did: Option<String>,
    },
    /// Remove a domain
    #[command(after_help = "Examples:\n  proxyctl domain rm example.org")]
    Rm {
        /// Domain
        domain: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show => dump(context),
        Verb::Showdb => {
            let mut db = context.read(&["domain"])?;
            table::show(context, db.as_mut(), &Select::from("domain").order_by("domain"))
        }
        Verb::Reload => table::reloaded(context, "domain", RELOAD),
        Verb::Add { domain, did } => {
            check::domain(domain)?;
            if let Some(did) = did {
                check::word("domain id", did, 64)?;
            }
            let mut db = context.open(&["domain"])?;
            let row = Insert::into("domain")
                .set("domain", domain)
                .set("did", did.as_ref().map_or(Value::Null, Value::from))
                .set("last_modified", Value::DateTime(clock::now()));
            db.insert(&row).map_err(|error| {
                if error.is_duplicate() {
                    Error::exists("domain", domain)
                } else {
                    error.into()
                }
            })?;
            let data = json!({ "domain": domain, "did": did });
            Ok(table::changed(context, &format!("added {domain}"), data, RELOAD))
        }
        Verb::Rm { domain } => {
            let mut db = context.open(&["domain"])?;
            if db.delete(&Delete::from("domain").eq("domain", domain))? == 0 {
                return Err(Error::not_found("domain", domain));
            }
            let data = json!({ "domain": domain });
            Ok(table::changed(
                context,
                &format!("removed {domain}"),
                data,
                RELOAD,
            ))
        }
    }
}

fn dump(context: &Context<'_>) -> Result<Answer, Error> {
    let dump = context.call("domain.dump", &[])?;
    let list = dump
        .get("domains")
        .or_else(|| dump.get(0)?.get("domains"))
        .unwrap_or(&dump);
    let mut report = Report::rows(&["domain", "did"]);
    for row in list.as_array().into_iter().flatten() {
        let of = |name: &str| row.get(name).cloned().unwrap_or_default();
        report.push([of("domain"), of("did")]);
    }
    Ok(Answer::report(report))
}
