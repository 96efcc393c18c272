//! `dialplan`: translation rules (Kamailio dialplan, table `dialplan`).

use clap::Args;
use clap::Subcommand;
use serde_json::Value as Json;
use serde_json::json;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;
use shared::report::Report;

use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

const RELOAD: &str = "dialplan.reload";
pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl dialplan addrule 1 0 regexp '^0([1-9][0-9]+)$' 0 '^0(.*)$' '+49\\1' national
  proxyctl dialplan show 1
  proxyctl dialplan translate 1 030123456          what the daemon makes of a number
  proxyctl dialplan rmrule 1 0
  proxyctl dialplan rmdpid 1";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Rules in the database
    #[command(
        visible_alias = "list",
        visible_alias = "showdb",
        after_help = "Examples:\n  proxyctl dialplan show\n  proxyctl dialplan show 1"
    )]
    Show {
        /// Only this dialplan
        dpid: Option<String>,
    },
    /// Rules of a dialplan in the daemon's memory
    #[command(after_help = "Examples:\n  proxyctl dialplan dump 1")]
    Dump {
        /// Dialplan
        dpid: String,
    },
    /// Make the daemon read the table again
    #[command(after_help = "Examples:\n  proxyctl dialplan reload")]
    Reload,
    /// Ask the daemon what a dialplan makes of a text
    #[command(after_help = "Examples:\n  proxyctl dialplan translate 1 030123456")]
    Translate {
        /// Dialplan
        dpid: String,
        /// Text
        input: String,
    },
    /// Add a rule
    #[command(
        after_help = "Examples:\n  proxyctl dialplan addrule 1 0 regexp '^0([1-9][0-9]+)$' 0 '^0(.*)$' '+49\\1' national"
    )]
    Addrule(Rule),
    /// Remove every rule of every dialplan
    #[command(after_help = "Examples:\n  proxyctl --yes dialplan rm")]
    Rm,
    /// Remove every rule of a dialplan
    #[command(after_help = "Examples:\n  proxyctl dialplan rmdpid 1")]
    Rmdpid {
        /// Dialplan
        dpid: String,
    },
    /// Remove the rules of a priority
    #[command(after_help = "Examples:\n  proxyctl dialplan rmrule 1 0")]
    Rmrule {
        /// Dialplan
        dpid: String,
        /// Priority
        priority: String,
    },
}

/// A new rule.
#[derive(Debug, Args)]
pub(crate) struct Rule {
    /// Dialplan, a number
    dpid: String,
    /// Priority
    priority: String,
    /// equal, regexp or fnmatch, or its number: 0, 1 or 2
    match_op: String,
    /// What is matched
    #[arg(allow_hyphen_values = true)]
    match_exp: String,
    /// Length of what matches, 0 is any
    #[arg(default_value = "0")]
    match_len: String,
    /// Expression whose groups the replacement takes
    #[arg(default_value = "", allow_hyphen_values = true)]
    subst_exp: String,
    /// Replacement
    #[arg(default_value = "", allow_hyphen_values = true)]
    repl_exp: String,
    /// Attributes handed to the script
    #[arg(default_value = "", allow_hyphen_values = true)]
    attrs: String,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show { dpid } => {
            let mut select = Select::from("dialplan")
                .order_by("dpid")
                .order_by("pr")
                .order_by("id");
            if let Some(dpid) = dpid {
                select = select.eq("dpid", number("the dialplan", dpid)?);
            }
            let mut db = context.read(&["dialplan"])?;
            table::show(context, db.as_mut(), &select)
        }
        Verb::Dump { dpid } => dump(context, number("the dialplan", dpid)?),
        Verb::Reload => table::reloaded(context, "dialplan", RELOAD),
        Verb::Translate { dpid, input } => rpc::show(
            context,
            "dialplan.translate",
            &[json!(number("the dialplan", dpid)?), json!(input)],
        ),
        Verb::Addrule(rule) => add(context, rule),
        Verb::Rm => {
            context.confirm("This removes every rule of every dialplan")?;
            remove(context, &Delete::from("dialplan"), "every dialplan")
        }
        Verb::Rmdpid { dpid } => {
            let delete = Delete::from("dialplan").eq("dpid", number("the dialplan", dpid)?);
            remove(context, &delete, &format!("dialplan {dpid}"))
        }
        Verb::Rmrule { dpid, priority } => {
            let delete = Delete::from("dialplan")
                .eq("dpid", number("the dialplan", dpid)?)
                .eq("pr", number("the priority", priority)?);
            remove(
                context,
                &delete,
                &format!("dialplan {dpid} with priority {priority}"),
            )
        }
    }
}

fn number(what: &'static str, text: &str) -> Result<i64, Error> {
    Ok(check::number(what, text, 0, i64::from(i32::MAX))?)
}

/// The number that the table has for how a rule matches.
fn operator(text: &str) -> Result<i64, check::Invalid> {
    match text {
        "equal" | "0" => Ok(0),
        "regexp" | "1" => Ok(1),
        "fnmatch" | "2" => Ok(2),
        _ => Err(check::Invalid::Word {
            what: "the operator",
            text: text.to_owned(),
            known: "equal, regexp and fnmatch",
        }),
    }
}

fn add(context: &Context<'_>, rule: &Rule) -> Result<Answer, Error> {
    let dpid = number("the dialplan", &rule.dpid)?;
    let priority = number("the priority", &rule.priority)?;
    let operator = operator(&rule.match_op)?;
    let length = number("the length", &rule.match_len)?;
    let texts = [
        ("match", &rule.match_exp, 64),
        ("substitution", &rule.subst_exp, 64),
        ("replacement", &rule.repl_exp, 256),
        ("attributes", &rule.attrs, 64),
    ];
    for (what, text, most) in texts {
        check::text(what, text, most)?;
    }
    let row = Insert::into("dialplan")
        .set("dpid", dpid)
        .set("pr", priority)
        .set("match_op", operator)
        .set("match_exp", &rule.match_exp)
        .set("match_len", length)
        .set("subst_exp", &rule.subst_exp)
        .set("repl_exp", &rule.repl_exp)
        .set("attrs", &rule.attrs);
    context.open(&["dialplan"])?.insert(&row)?;
    let words = format!("added a rule of priority {priority} to dialplan {dpid}");
    let data = json!({ "dpid": dpid, "pr": priority, "match_op": operator, "match_exp": rule.match_exp,
        "match_len": length, "subst_exp": rule.subst_exp, "repl_exp": rule.repl_exp, "attrs": rule.attrs });
    Ok(table::changed(context, &words, data, RELOAD))
}

/// The rules in memory, under the names of the table's columns.
fn dump(context: &Context<'_>, dpid: i64) -> Result<Answer, Error> {
    const FIELDS: [(&str, &str); 7] = [
        ("pr", "PRIO"),
        ("match_op", "MATCHOP"),
        ("match_exp", "MATCHEXP"),
        ("match_len", "MATCHLEN"),
        ("subst_exp", "SUBSTEXP"),
        ("repl_exp", "REPLEXP"),
        ("attrs", "ATTRS"),
    ];
    let found = context.call("dialplan.dump", &[json!(dpid)])?;
    let mut report = Report::rows(&FIELDS.map(|(column, _)| column));
    let entries = found
        .get("ENTRIES")
        .and_then(Json::as_array)
        .into_iter()
        .flatten();
    for entry in entries.filter_map(|entry| entry.get("ENTRY")) {
        report.push(FIELDS.map(|(_, name)| entry.get(name).cloned().unwrap_or_default()));
    }
    Ok(Answer::report(report))
}

fn remove(context: &Context<'_>, delete: &Delete<'_>, name: &str) -> Result<Answer, Error> {
    match context.open(&["dialplan"])?.delete(delete)? {
        0 => Err(Error::not_found("rule in", name)),
        n => Ok(table::changed(
            context,
            &format!("removed the rules in {name}"),
            json!({ "removed": n }),
            RELOAD,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_names_and_numbers() {
        let table = [
            ("equal", Some(0)),
            ("regexp", Some(1)),
            ("fnmatch", Some(2)),
            ("2", Some(2)),
            ("3", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(operator(text).ok(), expected, "{text}");
        }
    }
}
