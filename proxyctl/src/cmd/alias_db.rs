//! `alias_db`: other names of users in the database (Kamailio alias_db, table `dbaliases`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;

use super::table;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::user::User;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl alias_db add 1000@example.org alice@example.org
  proxyctl alias_db show 1000@example.org      whose alias it is
  proxyctl alias_db list alice@example.org     a user's aliases
  proxyctl alias_db rm 1000@example.org";

/// Columns of the alias itself.
const ALIAS: [&str; 2] = ["alias_username", "alias_domain"];

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Whose an alias is, or all aliases
    #[command(after_help = "Examples:\n  proxyctl alias_db show\n  proxyctl alias_db show 1000@example.org")]
    Show {
        /// Alias, as user@domain
        alias: Option<String>,
    },
    /// Aliases of a user, or all aliases
    #[command(after_help = "Examples:\n  proxyctl alias_db list\n  proxyctl alias_db list alice@example.org")]
    List {
        /// User, or user@domain
        user: Option<String>,
    },
    /// Add an alias of a user
    #[command(after_help = "Examples:\n  proxyctl alias_db add 1000@example.org alice@example.org")]
    Add {
        /// Alias, as user@domain
        alias: String,
        /// User, or user@domain
        user: String,
    },
    /// Remove an alias
    #[command(after_help = "Examples:\n  proxyctl alias_db rm 1000@example.org")]
    Rm {
        /// Alias, as user@domain
        alias: String,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    let select = || {
        Select::from("dbaliases")
            .columns(&["alias_username", "alias_domain", "username", "domain"])
            .order_by("alias_username")
            .order_by("alias_domain")
    };
    match verb {
        Verb::Show { alias: None } | Verb::List { user: None } => {
            let mut db = context.read(&["dbaliases"])?;
            table::show(context, db.as_mut(), &select())
        }
        Verb::Show { alias: Some(alias) } => {
            let mut db = context.read(&["dbaliases"])?;
            let alias = User::existing_in(context, db.as_mut(), "dbaliases", ALIAS, alias)?;
            let select = select()
                .eq("alias_username", &alias.name)
                .eq("alias_domain", &alias.domain);
            let report = table::report(db.as_mut(), &select)?;
            if report.is_empty() {
                Err(Error::not_found("alias", alias.to_string()))
            } else {
                Ok(Answer::report(report))
            }
        }
        Verb::List { user: Some(user) } => {
            let mut db = context.read(&["dbaliases"])?;
            let user = User::existing(context, db.as_mut(), "dbaliases", user)?;
            let select = select().eq("username", user.name).eq("domain", user.domain);
            table::show(context, db.as_mut(), &select)
        }
        Verb::Add { alias, user } => add(context, alias, user),
        Verb::Rm { alias } => {
            let mut db = context.open(&["dbaliases"])?;
            let alias = User::existing_in(context, db.as_mut(), "dbaliases", ALIAS, alias)?;
            let delete = Delete::from("dbaliases")
                .eq("alias_username", &alias.name)
                .eq("alias_domain", &alias.domain);
            if db.delete(&delete)? == 0 {
                return Err(Error::not_found("alias", alias.to_string()));
            }
            Ok(Answer::new(
                format!("removed alias {alias}"),
                json!({ "alias": alias.to_string() }),
            ))
        }
    }
}

fn add(context: &Context<'_>, alias: &str, user: &str) -> Result<Answer, Error> {
    let mut db = context.open(&["dbaliases", "subscriber"])?;
    let user = User::existing(context, db.as_mut(), "subscriber", user)?;
    let alias = User::beside(context, alias, &user)?;
    if context.settings.flag("VERIFY_USER") == Some(true) && !user.is_subscriber(db.as_mut())? {
        return Err(user.unknown(db.as_mut())?);
    }
    shared::db::transaction(db.as_mut(), |db| {
        let taken = Select::from("dbaliases")
            .eq("alias_username", &alias.name)
            .eq("alias_domain", &alias.domain);
        if db.count(&taken)? > 0 {
            return Err(Error::exists("alias", alias.to_string()));
        }
        let row = Insert::into("dbaliases")
            .set("alias_username", &alias.name)
            .set("alias_domain", &alias.domain)
            .set("username", &user.name)
            .set("domain", &user.domain);
        db.insert(&row).map_err(Error::from)
    })?;
    let data = json!({ "alias": alias.to_string(), "user": user.to_string() });
    Ok(Answer::new(format!("{alias} is an alias of {user}"), data))
}
