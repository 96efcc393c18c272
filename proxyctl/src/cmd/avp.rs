//! `avp`: preferences of users (Kamailio avpops, table `usr_preferences`).

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;
use shared::db::Value;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::clock;
use crate::context::Context;
use crate::user::User;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl avp add alice@example.org callfwd 0 sip:bob@example.org
  proxyctl avp list -u alice@example.org
  proxyctl avp rm -u alice@example.org -a callfwd

A name without @ is a unique id. Types: 0 name and value are text, 1 a numeric value, 2 a numeric name, 3 both.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List preferences
    #[command(
        visible_alias = "show",
        after_help = "Examples:\n  proxyctl avp list\n  proxyctl avp list -u alice@example.org -a callfwd"
    )]
    List(Which),
    /// Add a preference
    #[command(after_help = "Examples:\n  proxyctl avp add alice@example.org callfwd 0 sip:bob@example.org")]
    Add {
        /// Table
        #[arg(short = 'T', long, default_value = "usr_preferences")]
        table: String,
        /// user@domain, or a unique id
        whose: String,
        /// Name
        attribute: String,
        /// Type, from 0 to 3
        kind: String,
        /// Value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Remove preferences
    #[command(after_help = "Examples:\n  proxyctl avp rm -u alice@example.org -a callfwd")]
    Rm(Which),
}

/// Which preferences.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Table
    #[arg(short = 'T', long, default_value = "usr_preferences")]
    table: String,
    /// user@domain, or a unique id
    #[arg(short, long)]
    user: Option<String>,
    /// Name
    #[arg(short, long)]
    attribute: Option<String>,
    /// Value
    #[arg(short, long)]
    value: Option<String>,
    /// Type, from 0 to 3
    #[arg(short = 't', long = "type")]
    kind: Option<String>,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::List(which) => {
            let conditions = which.conditions()?;
            let mut select = Select::from(&which.table).order_by("id");
            for (column, value) in conditions {
                select = select.eq(column, value);
            }
            let mut db = context.read(&tables(&which.table))?;
            table::show(context, db.as_mut(), &select)
        }
        Verb::Add {
            table,
            whose,
            attribute,
            kind,
            value,
        } => {
            check::word("name", attribute, 32)?;
            check::text("value", value, 128)?;
            let kind = type_of(kind)?;
            if kind & 1 == 1 {
                check::number("the value", value, i64::MIN, i64::MAX)?;
            }
            let mut row = Insert::into(table);
            for (column, value) in owner(whose)? {
                row = row.set(column, value);
            }
            let row = row
                .set("attribute", attribute)
                .set("type", kind)
                .set("value", value)
                .set("last_modified", Value::DateTime(clock::now()));
            context.open(&tables(table))?.insert(&row)?;
            let data = json!({ "user": whose, "attribute": attribute, "type": kind, "value": value });
            Ok(Answer::new(format!("added {attribute} of {whose}"), data))
        }
        Verb::Rm(which) => {
            let conditions = which.conditions()?;
            if conditions.is_empty() {
                context.confirm(&format!("This removes every row of {}", which.table))?;
            }
            let mut delete = Delete::from(&which.table);
            for (column, value) in conditions {
                delete = delete.eq(column, value);
            }
            match context.open(&tables(&which.table))?.delete(&delete)? {
                0 => Err(Error::not_found(
                    "preference",
                    which.attribute.clone().unwrap_or_default(),
                )),
                n => Ok(Answer::new(
                    format!("removed {n} preferences"),
                    json!({ "removed": n }),
                )),
            }
        }
    }
}

impl Which {
    fn conditions(&self) -> Result<Vec<(&'static str, Value)>, Error> {
        let mut conditions = self.user.as_deref().map_or_else(|| Ok(Vec::new()), owner)?;
        conditions.retain(|(_, value)| *value != Value::from(""));
        conditions.extend(
            self.attribute
                .as_ref()
                .map(|name| ("attribute", Value::from(name))),
        );
        conditions.extend(self.value.as_ref().map(|value| ("value", Value::from(value))));
        if let Some(kind) = &self.kind {
            conditions.push(("type", Value::from(type_of(kind)?)));
        }
        Ok(conditions)
    }
}

/// Only our own table has a version to be looked at.
fn tables(name: &str) -> Vec<&str> {
    if name == "usr_preferences" {
        vec![name]
    } else {
        Vec::new()
    }
}

fn type_of(text: &str) -> Result<i64, Error> {
    Ok(check::number("the type", text, 0, 3)?)
}

fn owner(text: &str) -> Result<Vec<(&'static str, Value)>, Error> {
    if let Some((name, domain)) = text.strip_prefix("sip:").unwrap_or(text).rsplit_once('@') {
        let user = User {
            name: name.to_owned(),
            domain: domain.to_owned(),
        };
        check::user(&user.name)?;
        check::domain(&user.domain)?;
        return Ok(vec![
            ("username", user.name.into()),
            ("domain", user.domain.into()),
            ("uuid", "".into()),
        ]);
    }
    check::word("unique id", text, 64)?;
    Ok(vec![
        ("username", "".into()),
        ("domain", "".into()),
        ("uuid", text.into()),
    ])
}
