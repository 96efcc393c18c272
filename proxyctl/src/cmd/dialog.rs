//! `dialog`: calls that are under way (Kamailio dialog, table `dialog`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Select;

use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl dialog show
  proxyctl dialog brief
  proxyctl dialog end 3157 1412            by hash entry and id, as `dialog show` prints them
  proxyctl dialog showdb";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Calls in the daemon's memory
    #[command(
        visible_alias = "list",
        visible_alias = "dump",
        after_help = "Examples:\n  proxyctl dialog show"
    )]
    Show,
    /// The same, the essence only
    #[command(after_help = "Examples:\n  proxyctl dialog brief")]
    Brief,
    /// Calls in numbers
    #[command(after_help = "Examples:\n  proxyctl dialog stats")]
    Stats,
    /// End a call with BYE
    #[command(after_help = "Examples:\n  proxyctl dialog end 3157 1412")]
    End {
        /// Hash entry
        entry: String,
        /// Hash id
        id: String,
    },
    /// Calls in the database
    #[command(after_help = "Examples:\n  proxyctl dialog showdb")]
    Showdb,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show => rpc::show(context, "dlg.list", &[]),
        Verb::Brief => rpc::show(context, "dlg.briefing", &[]),
        Verb::Stats => rpc::show(context, "dlg.stats_active", &[]),
        Verb::End { entry, id } => {
            let number = |text| check::number("the hash", text, 0, i64::from(u32::MAX));
            rpc::change(
                context,
                "dlg.end_dlg",
                &[json!(number(entry)?), json!(number(id)?)],
            )
        }
        Verb::Showdb => {
            let mut db = context.read(&["dialog"])?;
            table::show(context, db.as_mut(), &Select::from("dialog").order_by("id"))
        }
    }
}
