//! `alias`: permanent contacts in the location table `aliases` (Kamailio kamctl, usrloc).

use clap::Subcommand;

use super::ul;
use super::ul::Table;
use super::ul::Width;
use crate::Answer;
use crate::Error;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl alias add 1000 sip:alice@example.org
  proxyctl alias show
  proxyctl alias rm 1000

The daemon must have the table `aliases`: a script that calls lookup(\"aliases\") or save(\"aliases\").";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Aliases in the daemon's memory
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  proxyctl alias show\n  proxyctl alias show 1000"
    )]
    Show {
        /// User, or user@domain
        user: Option<String>,
    },
    /// Add an alias
    #[command(after_help = "Examples:\n  proxyctl alias add 1000 sip:alice@example.org")]
    Add(ul::Add),
    /// Remove an alias
    #[command(
        after_help = "Examples:\n  proxyctl alias rm 1000\n  proxyctl alias rm 1000 sip:alice@example.org"
    )]
    Rm {
        /// User, or user@domain
        user: String,
        /// Only this contact
        contact: Option<String>,
    },
    /// Aliases in the database
    #[command(after_help = "Examples:\n  proxyctl alias showdb")]
    Showdb {
        /// User, or user@domain
        user: Option<String>,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show { user } => {
            let user = user.as_deref().map(|user| ul::aor(context, user)).transpose()?;
            ul::show(context, Table::Aliases, user.as_deref(), Width::Short)
        }
        Verb::Add(what) => ul::add(context, Table::Aliases, what),
        Verb::Rm { user, contact } => ul::remove(context, Table::Aliases, user, contact.as_deref()),
        Verb::Showdb { user } => ul::showdb(context, Table::Aliases, user.as_deref()),
    }
}
