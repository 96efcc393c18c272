//! `mtree`: trees of prefixes (Kamailio mtree, tables `mtree` and `mtrees`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;

use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

const RELOAD: &str = "mtree.reload";
pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl mtree add mtree 4930 berlin
  proxyctl mtree show mtree
  proxyctl mtree dump
  proxyctl mtree match pstn 4930123456 0
  proxyctl mtree rm mtree 4930

A tree is the table of that name, or the rows of that name in the table mtrees.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Prefixes in the database
    #[command(
        visible_alias = "list",
        visible_alias = "showdb",
        after_help = "Examples:\n  proxyctl mtree show mtree"
    )]
    Show {
        /// Tree
        #[arg(default_value = "mtree")]
        tname: String,
    },
    /// Prefixes in the daemon's memory
    #[command(after_help = "Examples:\n  proxyctl mtree dump\n  proxyctl mtree dump pstn")]
    Dump {
        /// Tree; none means all
        tname: Option<String>,
    },
    /// Make the daemon read a tree again
    #[command(after_help = "Examples:\n  proxyctl mtree reload pstn")]
    Reload {
        /// Tree; none means all
        tname: Option<String>,
    },
    /// Ask the daemon for the value of a number
    #[command(after_help = "Examples:\n  proxyctl mtree match pstn 4930123456 0")]
    Match {
        /// Tree
        tname: String,
        /// Number
        number: String,
        /// 0 the longest prefix, 2 all of them
        #[arg(default_value = "0")]
        mode: String,
    },
    /// Add a prefix
    #[command(after_help = "Examples:\n  proxyctl mtree add mtree 4930 berlin")]
    Add {
        /// Tree
        tname: String,
        /// Prefix
        tprefix: String,
        /// Value
        tvalue: String,
    },
    /// Remove a prefix
    #[command(after_help = "Examples:\n  proxyctl mtree rm mtree 4930")]
    Rm {
        /// Tree
        tname: String,
        /// Prefix
        tprefix: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show { tname } => {
            let mut db = context.read(&[])?;
            let tree = Tree::find(db.as_mut(), tname)?;
            let mut select = Select::from(tree.table).order_by("tprefix");
            if let Some(name) = tree.name {
                select = select.eq("tname", name);
            }
            table::show(context, db.as_mut(), &select)
        }
        Verb::Dump { tname } => rpc::show(
            context,
            "mtree.list",
            &tname.iter().map(|t| json!(t)).collect::<Vec<_>>(),
        ),
        Verb::Reload { tname } => {
            context.call(RELOAD, &tname.iter().map(|t| json!(t)).collect::<Vec<_>>())?;
            Ok(Answer::new("mtree reloaded", json!({ "reloaded": tname })))
        }
        Verb::Match { tname, number, mode } => {
            let mode = check::number("the mode", mode, 0, 2)?;
            rpc::show(
                context,
                "mtree.match",
                &[json!(tname), json!(number), json!(mode)],
            )
        }
        Verb::Add {
            tname,
            tprefix,
            tvalue,
        } => {
            check::word("prefix", tprefix, 32)?;
            check::text("value", tvalue, 128)?;
            let mut db = context.open(&[])?;
            let tree = Tree::find(db.as_mut(), tname)?;
            let mut row = Insert::into(tree.table)
                .set("tprefix", tprefix)
                .set("tvalue", tvalue);
            if let Some(name) = tree.name {
                row = row.set("tname", name);
            }
            db.insert(&row).map_err(|error| {
                if error.is_duplicate() {
                    Error::exists("prefix", format!("{tprefix}` of `{tname}"))
                } else {
                    error.into()
                }
            })?;
            let data = json!({ "tname": tname, "tprefix": tprefix, "tvalue": tvalue });
            Ok(table::changed(
                context,
                &format!("added {tprefix} to {tname}"),
                data,
                RELOAD,
            ))
        }
        Verb::Rm { tname, tprefix } => {
            let mut db = context.open(&[])?;
            let tree = Tree::find(db.as_mut(), tname)?;
            let mut delete = Delete::from(tree.table).eq("tprefix", tprefix);
            if let Some(name) = tree.name {
                delete = delete.eq("tname", name);
            }
            match db.delete(&delete)? {
                0 => Err(Error::not_found("prefix", format!("{tprefix}` of `{tname}"))),
                n => {
                    let data = json!({ "tname": tname, "tprefix": tprefix, "removed": n });
                    Ok(table::changed(
                        context,
                        &format!("removed {tprefix} from {tname}"),
                        data,
                        RELOAD,
                    ))
                }
            }
        }
    }
}

/// Where the rows of a tree are.
struct Tree<'a> {
    table: &'a str,
    /// Its name in a table of many trees.
    name: Option<&'a str>,
}

impl<'a> Tree<'a> {
    fn find(db: &mut dyn Backend, tname: &'a str) -> Result<Self, Error> {
        check::word("name of a tree", tname, 128)?;
        if db.table_exists(tname)? {
            let columns = db.columns(tname)?;
            if columns.iter().any(|c| c.name == "tprefix") && columns.iter().any(|c| c.name == "tvalue") {
                return Ok(Self {
                    table: tname,
                    name: None,
                });
            }
            return Err(Error::Usage(format!(
                "table `{tname}` is no tree: it has no columns tprefix and tvalue"
            )));
        }
        if db.table_exists("mtrees")? {
            return Ok(Self {
                table: "mtrees",
                name: Some(tname),
            });
        }
        Err(shared::db::Error::NoTable {
            url: db.url().to_string(),
            table: tname.to_owned(),
        }
        .into())
    }
}
