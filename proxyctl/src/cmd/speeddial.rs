//! `speeddial`: short numbers of users (Kamailio speeddial, table `speed_dial`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;
use crate::user::User;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl speeddial add alice@example.org 11@example.org sip:bob@example.org 'Bob'
  proxyctl speeddial list alice@example.org
  proxyctl speeddial show 11@example.org
  proxyctl speeddial rm alice@example.org 11@example.org";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Who has a short number, and for whom
    #[command(after_help = "Examples:\n  proxyctl speeddial show 11@example.org")]
    Show {
        /// Short number, as number@domain
        number: String,
    },
    /// Short numbers of a user, or everybody's
    #[command(after_help = "Examples:\n  proxyctl speeddial list alice@example.org")]
    List {
        /// User, or user@domain
        user: Option<String>,
    },
    /// Give a user a short number
    #[command(
        after_help = "Examples:\n  proxyctl speeddial add alice@example.org 11@example.org sip:bob@example.org 'Bob'"
    )]
    Add {
        /// User, or user@domain
        user: String,
        /// Short number, as number@domain
        number: String,
        /// SIP URI that is called
        uri: String,
        /// Description
        #[arg(default_value = "")]
        description: String,
    },
    /// Take a short number from a user
    #[command(after_help = "Examples:\n  proxyctl speeddial rm alice@example.org 11@example.org")]
    Rm {
        /// User, or user@domain
        user: String,
        /// Short number, as number@domain
        number: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    let select = || {
        Select::from("speed_dial")
            .order_by("username")
            .order_by("sd_username")
    };
    match verb {
        Verb::Show { number } => {
            let mut db = context.read(&["speed_dial"])?;
            let columns = ["sd_username", "sd_domain"];
            let number = User::existing_in(context, db.as_mut(), "speed_dial", columns, number)?;
            let report = table::report(
                db.as_mut(),
                &select()
                    .eq("sd_username", &number.name)
                    .eq("sd_domain", &number.domain),
            )?;
            if report.is_empty() {
                return Err(Error::not_found("speed dial", number.to_string()));
            }
            Ok(Answer::report(report))
        }
        Verb::List { user } => {
            let mut db = context.read(&["speed_dial"])?;
            let mut select = select();
            if let Some(user) = user {
                let user = User::existing(context, db.as_mut(), "speed_dial", user)?;
                select = select.eq("username", user.name).eq("domain", user.domain);
            }
            table::show(context, db.as_mut(), &select)
        }
        Verb::Add {
            user,
            number,
            uri,
            description,
        } => {
            check::sip_uri(uri)?;
            check::text("URI", uri, 255)?;
            check::text("description", description, 64)?;
            let mut db = context.open(&["speed_dial", "subscriber"])?;
            let user = User::existing(context, db.as_mut(), "subscriber", user)?;
            let number = User::beside(context, number, &user)?;
            let row = Insert::into("speed_dial")
                .set("username", &user.name)
                .set("domain", &user.domain)
                .set("sd_username", &number.name)
                .set("sd_domain", &number.domain)
                .set("new_uri", uri)
                .set("fname", "")
                .set("lname", "")
                .set("description", description);
            db.insert(&row).map_err(|error| {
                if error.is_duplicate() {
                    Error::exists("speed dial", format!("{number}` of `{user}"))
                } else {
                    error.into()
                }
            })?;
            let data = json!({ "user": user.to_string(), "number": number.to_string(), "uri": uri });
            Ok(Answer::new(format!("{number} of {user} calls {uri}"), data))
        }
        Verb::Rm { user, number } => {
            let mut db = context.open(&["speed_dial"])?;
            let user = User::existing(context, db.as_mut(), "speed_dial", user)?;
            let number = User::beside(context, number, &user)?;
            let delete = Delete::from("speed_dial")
                .eq("username", &user.name)
                .eq("domain", &user.domain)
                .eq("sd_username", &number.name)
                .eq("sd_domain", &number.domain);
            if db.delete(&delete)? == 0 {
                return Err(Error::not_found("speed dial", format!("{number}` of `{user}")));
            }
            let data = json!({ "user": user.to_string(), "number": number.to_string() });
            Ok(Answer::new(format!("removed {number} of {user}"), data))
        }
    }
}
