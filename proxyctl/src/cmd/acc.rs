//! `acc`: accounting records (Kamailio acc, tables `acc` and `missed_calls`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Engine;
use shared::db::Op;
use shared::db::Select;
use shared::db::Value;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::clock;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl acc initdb                  add the columns that the stock script writes
  proxyctl acc recent 600
  proxyctl acc showdb --limit 100
  proxyctl acc showdb --missed";

/// The columns of the stock script's db_extra.
const EXTRA: [(&str, u16); 6] = [
    ("src_user", 64),
    ("src_domain", 128),
    ("src_ip", 64),
    ("dst_ouser", 64),
    ("dst_user", 64),
    ("dst_domain", 128),
];

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add the columns src_user, src_domain, src_ip, dst_ouser, dst_user, dst_domain
    #[command(after_help = "Examples:\n  proxyctl acc initdb")]
    Initdb,
    /// Show the records
    #[command(
        visible_alias = "show",
        after_help = "Examples:\n  proxyctl acc showdb\n  proxyctl acc showdb --limit 100"
    )]
    Showdb {
        /// At most so many, the newest
        #[arg(long)]
        limit: Option<u64>,
        /// Missed calls
        #[arg(long)]
        missed: bool,
    },
    /// Show the records of the last seconds
    #[command(after_help = "Examples:\n  proxyctl acc recent\n  proxyctl acc recent 3600")]
    Recent {
        /// Seconds
        #[arg(default_value = "300")]
        seconds: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Initdb => init(context),
        Verb::Showdb { limit, missed } => {
            let name = if *missed { "missed_calls" } else { "acc" };
            let mut select = Select::from(name)
                .order_by_descending("time")
                .order_by_descending("id");
            if let Some(limit) = limit {
                select = select.limit(*limit);
            }
            let mut db = context.read(&[name])?;
            table::show(context, db.as_mut(), &select)
        }
        Verb::Recent { seconds } => {
            let seconds = check::number("the time", seconds, 0, i64::from(i32::MAX))?;
            let since = Value::DateTime(clock::now().saturating_sub(seconds));
            let select = Select::from("acc")
                .filter("time", Op::Ge, since)
                .order_by("time")
                .order_by("id");
            let mut db = context.read(&["acc"])?;
            table::show(context, db.as_mut(), &select)
        }
    }
}

fn init(context: &Context<'_>) -> Result<Answer, Error> {
    let mut db = context.open(&["acc", "missed_calls"])?;
    if db.engine() == Engine::Text {
        return Err(shared::db::Error::Unsupported {
            engine: "text",
            what: "new columns",
        }
        .into());
    }
    let mut added = Vec::new();
    shared::db::transaction(db.as_mut(), |db| {
        for name in ["acc", "missed_calls"] {
            let columns = db.columns(name)?;
            for (column, length) in EXTRA {
                if columns.iter().any(|known| known.name == column) {
                    continue;
                }
                // Names and lengths are ours, from the table above.
                db.raw(
                    &format!("ALTER TABLE {name} ADD COLUMN {column} VARCHAR({length}) NOT NULL DEFAULT ''"),
                    &[],
                )?;
                added.push(format!("{name}.{column}"));
            }
        }
        Ok::<_, Error>(())
    })?;
    let words = if added.is_empty() {
        "every column is there already".to_owned()
    } else {
        format!("added {}", added.join(", "))
    };
    Ok(Answer::new(words, json!({ "added": added })))
}
