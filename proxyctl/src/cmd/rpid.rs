//! `rpid`: the Remote-Party-ID of subscribers, in a column `rpid` that older schemas have (Kamailio auth_db).

use clap::Subcommand;
use serde_json::json;
use shared::db::Backend;
use shared::db::Select;
use shared::db::Update;
use shared::db::Value;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;
use crate::user::User;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl rpid add alice +4930123456
  proxyctl rpid show alice
  proxyctl rpid rm alice

The table subscriber has no column rpid unless you add one:
  proxyctl db exec 'ALTER TABLE subscriber ADD COLUMN rpid VARCHAR(128) DEFAULT NULL'";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Set the Remote-Party-ID of a user
    #[command(after_help = "Examples:\n  proxyctl rpid add alice +4930123456")]
    Add {
        /// User, or user@domain
        user: String,
        /// Its value
        rpid: String,
    },
    /// Remove the Remote-Party-ID of a user
    #[command(after_help = "Examples:\n  proxyctl rpid rm alice")]
    Rm {
        /// User, or user@domain
        user: String,
    },
    /// Show the Remote-Party-ID of a user
    #[command(after_help = "Examples:\n  proxyctl rpid show alice")]
    Show {
        /// User, or user@domain
        user: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Add { user, rpid } => {
            check::word("Remote-Party-ID", rpid, 128)?;
            assign(context, user, Value::from(rpid))
        }
        Verb::Rm { user } => assign(context, user, Value::Null),
        Verb::Show { user } => {
            let mut db = context.read(&["subscriber"])?;
            has_column(db.as_mut())?;
            let user = User::subscriber(context, db.as_mut(), user)?;
            let select = Select::from("subscriber")
                .columns(&["username", "domain", "rpid"])
                .eq("username", user.name)
                .eq("domain", user.domain);
            table::show(context, db.as_mut(), &select)
        }
    }
}

fn assign(context: &Context<'_>, user: &str, value: Value) -> Result<Answer, Error> {
    let mut db = context.open(&["subscriber"])?;
    has_column(db.as_mut())?;
    let user = User::subscriber(context, db.as_mut(), user)?;
    let data = json!({ "user": user.to_string(), "rpid": table::json(&value) });
    let change = Update::table("subscriber")
        .set("rpid", value)
        .eq("username", &user.name)
        .eq("domain", &user.domain);
    db.update(&change)?;
    Ok(Answer::new(
        format!("changed the Remote-Party-ID of {user}"),
        data,
    ))
}

fn has_column(db: &mut dyn Backend) -> Result<(), Error> {
    if db
        .columns("subscriber")?
        .iter()
        .any(|column| column.name == "rpid")
    {
        return Ok(());
    }
    Err(Error::NotFound {
        what: "column",
        name: "rpid".to_owned(),
        hint: " in the table subscriber: `proxyctl rpid --help` says how to add it".to_owned(),
    })
}
