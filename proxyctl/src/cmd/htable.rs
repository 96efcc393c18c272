//! `htable`: shared hash tables in the daemon's memory (Kamailio htable).

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use super::rpc;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;
use crate::printer::Printer;
use crate::stream::Each;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl htable list
  proxyctl htable dump ipban
  proxyctl htable get ipban 192.0.2.66
  proxyctl htable sets names alice Alice
  proxyctl htable seti ipban 192.0.2.66 1
  proxyctl htable delete ipban 192.0.2.66";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Tables
    #[command(visible_alias = "show", after_help = "Examples:\n  proxyctl htable list")]
    List,
    /// Tables in numbers
    #[command(after_help = "Examples:\n  proxyctl htable stats")]
    Stats,
    /// Everything in a table
    #[command(after_help = "Examples:\n  proxyctl htable dump ipban")]
    Dump {
        /// Table
        table: String,
    },
    /// One value
    #[command(after_help = "Examples:\n  proxyctl htable get ipban 192.0.2.66")]
    Get {
        /// Table
        table: String,
        /// Key
        key: String,
    },
    /// Set a value to text
    #[command(after_help = "Examples:\n  proxyctl htable sets names alice Alice")]
    Sets(Item),
    /// Set a value to a number
    #[command(after_help = "Examples:\n  proxyctl htable seti ipban 192.0.2.66 1")]
    Seti(Item),
    /// Set a value to text, and when it expires
    #[command(after_help = "Examples:\n  proxyctl htable setxs names alice Alice 60")]
    Setxs(ExpiringItem),
    /// Set a value to a number, and when it expires
    #[command(after_help = "Examples:\n  proxyctl htable setxi ipban 192.0.2.66 1 60")]
    Setxi(ExpiringItem),
    /// Set when a value expires
    #[command(after_help = "Examples:\n  proxyctl htable setex ipban 192.0.2.66 60")]
    Setex {
        /// Table
        table: String,
        /// Key
        key: String,
        /// Seconds from now
        seconds: String,
    },
    /// Remove a value
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  proxyctl htable delete ipban 192.0.2.66"
    )]
    Delete {
        /// Table
        table: String,
        /// Key
        key: String,
    },
    /// Remove every value of a table
    #[command(after_help = "Examples:\n  proxyctl htable flush ipban")]
    Flush {
        /// Table
        table: String,
    },
    /// Make the daemon read a table from the database again
    #[command(after_help = "Examples:\n  proxyctl htable reload names")]
    Reload {
        /// Table
        table: String,
    },
    /// Write a table to the database
    #[command(after_help = "Examples:\n  proxyctl htable store names")]
    Store {
        /// Table
        table: String,
    },
}

/// A key and its new value.
#[derive(Debug, Args)]
pub(crate) struct Item {
    /// Table
    table: String,
    /// Key
    key: String,
    /// Value
    #[arg(allow_hyphen_values = true)]
    value: String,
}

/// The same for a while.
#[derive(Debug, Args)]
pub(crate) struct ExpiringItem {
    #[command(flatten)]
    item: Item,
    /// Seconds from now
    seconds: String,
}

impl Item {
    /// The parameters of the RPC that sets it to text.
    fn text(&self) -> Vec<Value> {
        vec![json!(self.table), json!(self.key), json!(self.value)]
    }

    /// The same for a number.
    fn number(&self) -> Result<Vec<Value>, Error> {
        let number = check::number("the value", &self.value, i64::from(i32::MIN), i64::from(i32::MAX))?;
        Ok(vec![json!(self.table), json!(self.key), json!(number)])
    }
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    let age = |text| Ok::<_, Error>(json!(check::number("the time", text, 0, i64::from(i32::MAX))?));
    let set = |method, mut item: Vec<Value>, seconds: Option<Value>| {
        item.extend(seconds);
        rpc::change(context, method, &item)
    };
    match verb {
        Verb::List => rpc::show(context, "htable.listTables", &[]),
        Verb::Stats => rpc::show(context, "htable.stats", &[]),
        Verb::Dump { table } => dump(context, table),
        Verb::Get { table, key } => rpc::show(context, "htable.get", &[json!(table), json!(key)]),
        Verb::Sets(item) => set("htable.sets", item.text(), None),
        Verb::Seti(item) => set("htable.seti", item.number()?, None),
        Verb::Setxs(ExpiringItem { item, seconds }) => set("htable.setxs", item.text(), Some(age(seconds)?)),
        Verb::Setxi(ExpiringItem { item, seconds }) => {
            set("htable.setxi", item.number()?, Some(age(seconds)?))
        }
        Verb::Setex { table, key, seconds } => rpc::change(
            context,
            "htable.setex",
            &[json!(table), json!(key), age(seconds)?],
        ),
        Verb::Delete { table, key } => rpc::change(context, "htable.delete", &[json!(table), json!(key)]),
        Verb::Flush { table } => rpc::change(context, "htable.flush", &[json!(table)]),
        Verb::Reload { table } => rpc::change(context, "htable.reload", &[json!(table)]),
        Verb::Store { table } => rpc::change(context, "htable.store", &[json!(table)]),
    }
}

/// The values of a table, slot by slot as the daemon has them.
fn dump(context: &Context<'_>, table: &str) -> Result<Answer, Error> {
    let mut rows = Printer::new(context.output, &["name", "value", "type"]);
    let mut visit = |item: Value| {
        let of = |name: &str| item.get(name).cloned().unwrap_or_default();
        rows.push([of("name"), of("value"), of("type")])
            .map_err(|e| e.to_string())
    };
    let way = Each::new(&["slot"], &mut visit);
    context.stream("htable.dump", &[json!(table)], way)?;
    rows.finish()
}
