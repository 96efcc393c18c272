//! `alias`: permanent contacts in the location table `aliases` (Kamailio kamctl, usrloc).

use clap::Subcommand;

use super::ul;
use super::ul::Table;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::user::User;

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
        after_help = "Examples:\n  proxyctl alias show\n  proxyctl alias show 1000\n  proxyctl alias show --brief"
    )]
    Show(ul::Show),
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
    /// Remove aliases from the database that expired long ago
    #[command(
        after_help = "Examples:\n  proxyctl alias dbclean          expired for an hour\n  proxyctl alias dbclean 86400"
    )]
    Dbclean {
        /// Seconds since the expiry
        #[arg(default_value = "3600")]
        seconds: String,
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
        Verb::Show(what) => what.run(context, Table::Aliases),
        Verb::Add(what) => {
            hides_nobody(context, &what.user)?;
            ul::add(context, Table::Aliases, what)
        }
        Verb::Dbclean { seconds } => ul::clean(context, Table::Aliases, seconds),
        Verb::Rm { user, contact } => ul::remove(context, Table::Aliases, user, contact.as_deref()),
        Verb::Showdb { user } => ul::showdb(context, Table::Aliases, user.as_deref()),
    }
}

/// Refuses an alias with the name of a subscriber, whose calls it would take; without a database there are none.
fn hides_nobody(context: &Context<'_>, name: &str) -> Result<(), Error> {
    let Ok(mut db) = context.read(&["subscriber"]) else {
        return Ok(());
    };
    let user = User::existing(context, db.as_mut(), "subscriber", name)?;
    if user.is_subscriber(db.as_mut())? {
        return Err(Error::Exists {
            what: "subscriber",
            name: user.to_string(),
            hint: ": an alias of that name would take the calls",
        });
    }
    Ok(())
}
