//! `acl`: groups of users (Kamailio group, table `grp`).

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
  proxyctl acl grant alice int ld
  proxyctl acl show alice
  proxyctl acl revoke alice ld
  proxyctl acl revoke alice            from every group

VERIFY_ACL=1 accepts only groups of ACL_GROUPS, VERIFY_USER=1 only users who exist.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Groups of a user, or everybody's
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  proxyctl acl show\n  proxyctl acl show alice"
    )]
    Show {
        /// User, or user@domain
        user: Option<String>,
    },
    /// Put a user into groups
    #[command(
        visible_alias = "add",
        after_help = "Examples:\n  proxyctl acl grant alice int ld"
    )]
    Grant {
        /// User, or user@domain
        user: String,
        /// Groups
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Take a user out of groups, or out of all
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  proxyctl acl revoke alice ld\n  proxyctl acl revoke alice"
    )]
    Revoke {
        /// User, or user@domain
        user: String,
        /// Groups; none means all
        groups: Vec<String>,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show { user } => show(context, user.as_deref()),
        Verb::Grant { user, groups } => grant(context, user, groups),
        Verb::Revoke { user, groups } => revoke(context, user, groups),
    }
}

fn show(context: &Context<'_>, user: Option<&str>) -> Result<Answer, Error> {
    let mut db = context.read(&["grp"])?;
    let mut select = Select::from("grp").order_by("username").order_by("grp");
    if let Some(user) = user {
        let user = User::existing(context, db.as_mut(), "grp", user)?;
        select = select.eq("username", user.name).eq("domain", user.domain);
    }
    table::show(context, db.as_mut(), &select)
}

fn grant(context: &Context<'_>, user: &str, groups: &[String]) -> Result<Answer, Error> {
    for group in groups {
        verify(context, group)?;
    }
    let verify_user = context.settings.flag("VERIFY_USER").unwrap_or(false);
    let mut db = context.open(if verify_user {
        &["grp", "subscriber"]
    } else {
        &["grp"]
    })?;
    let has_subscribers = verify_user || db.table_exists("subscriber")?;
    let user = match (verify_user, has_subscribers) {
        (true, _) => User::subscriber(context, db.as_mut(), user)?,
        (false, true) => User::existing(context, db.as_mut(), "subscriber", user)?,
        (false, false) => User::existing(context, db.as_mut(), "grp", user)?,
    };
    shared::db::transaction(db.as_mut(), |db| {
        for group in groups {
            let row = Insert::into("grp")
                .set("username", &user.name)
                .set("domain", &user.domain)
                .set("grp", group)
                .set("last_modified", Value::DateTime(clock::now()));
            db.insert(&row).map_err(|error| {
                if error.is_duplicate() {
                    Error::exists("group", format!("{group}` of `{user}"))
                } else {
                    error.into()
                }
            })?;
        }
        Ok::<_, Error>(())
    })?;
    let data = json!({ "username": user.name, "domain": user.domain, "groups": groups });
    Ok(Answer::new(format!("{user} is in {}", groups.join(", ")), data))
}

fn revoke(context: &Context<'_>, user: &str, groups: &[String]) -> Result<Answer, Error> {
    let mut db = context.open(&["grp"])?;
    let user = User::existing(context, db.as_mut(), "grp", user)?;
    let all = Delete::from("grp")
        .eq("username", &user.name)
        .eq("domain", &user.domain);
    let removed = shared::db::transaction(db.as_mut(), |db| {
        if groups.is_empty() {
            return match db.delete(&all)? {
                0 => Err(Error::not_found("group of", user.to_string())),
                n => Ok(n),
            };
        }
        let mut removed = 0;
        for group in groups {
            match db.delete(&all.clone().eq("grp", group))? {
                0 => return Err(Error::not_found("group", format!("{group}` of `{user}"))),
                n => removed += n,
            }
        }
        Ok(removed)
    })?;
    let what = if groups.is_empty() {
        "every group".to_owned()
    } else {
        groups.join(", ")
    };
    let data = json!({ "username": user.name, "domain": user.domain, "groups": groups, "removed": removed });
    Ok(Answer::new(format!("{user} is out of {what}"), data))
}

fn verify(context: &Context<'_>, group: &str) -> Result<(), Error> {
    check::word("group", group, 64)?;
    if context.settings.flag("VERIFY_ACL") != Some(true) {
        return Ok(());
    }
    let known = context.settings.get("ACL_GROUPS").unwrap_or_default();
    if known.split_whitespace().any(|word| word == group) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "`{group}` is none of the groups in ACL_GROUPS: {known}"
    )))
}
