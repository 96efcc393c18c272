//! `ul`: registrations in the daemon's memory and in the database (Kamailio usrloc, table `location`).

mod contacts;

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use shared::db::Delete;
use shared::db::Op;
use shared::db::Select;
use shared::db::Value;
use shared::rpc::ul;

use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::clock;
use crate::context::Context;
use crate::user::User;

pub(crate) use contacts::{Width, lookup, online, show};

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl ul show                         every contact
  proxyctl ul show alice@example.org
  proxyctl ul show --brief                 users only
  proxyctl ul add alice sip:alice@192.0.2.7:5060         permanent
  proxyctl ul add alice sip:alice@192.0.2.7:5060 3600    for an hour
  proxyctl ul rm alice                     all contacts of a user
  proxyctl ul rm alice sip:alice@192.0.2.7:5060          one contact
  proxyctl ul dump --output json           the daemon's whole answer
  proxyctl ul showdb                       what the database holds";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Contacts in the daemon's memory: all, or those of a user
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  proxyctl ul show\n  proxyctl ul show alice\n  proxyctl ul show --brief\n  proxyctl ul show --wide"
    )]
    Show(Show),
    /// The same; with --output json the daemon's answer as it is
    #[command(after_help = "Examples:\n  proxyctl ul dump\n  proxyctl --output json ul dump")]
    Dump {
        /// Users only
        #[arg(long)]
        brief: bool,
    },
    /// Add a contact: permanent, or with an expiry in seconds
    #[command(
        after_help = "Examples:\n  proxyctl ul add alice sip:alice@192.0.2.7:5060\n  proxyctl ul add alice sip:alice@192.0.2.7:5060 3600 sip:edge.example.org;lr"
    )]
    Add(Add),
    /// Remove all contacts of a user, or one of them
    #[command(
        after_help = "Examples:\n  proxyctl ul rm alice\n  proxyctl ul rm alice sip:alice@192.0.2.7:5060"
    )]
    Rm {
        /// User, or user@domain
        user: String,
        /// Only this contact
        contact: Option<String>,
    },
    /// Contacts in the database: all, or those of a user
    #[command(after_help = "Examples:\n  proxyctl ul showdb\n  proxyctl ul showdb alice")]
    Showdb {
        /// User, or user@domain
        user: Option<String>,
    },
    /// Remove contacts from the database that expired long ago
    #[command(
        after_help = "Examples:\n  proxyctl ul dbclean          expired for an hour\n  proxyctl ul dbclean 86400"
    )]
    Dbclean {
        /// Seconds since the expiry
        #[arg(default_value = "3600")]
        seconds: String,
    },
    /// Write what the daemon has not written to the database yet
    #[command(after_help = "Examples:\n  proxyctl ul flush")]
    Flush,
}

/// Whom to show.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// User, or user@domain
    user: Option<String>,
    /// Users only
    #[arg(long, conflicts_with_all = ["user", "wide"])]
    brief: bool,
    /// Every field of a contact
    #[arg(long)]
    wide: bool,
}

impl Show {
    /// Shows a table as it was asked for.
    pub(crate) fn run(&self, context: &Context<'_>, table: Table) -> Result<Answer, Error> {
        if self.brief {
            return online(context, table);
        }
        let user = self.user.as_deref().map(|user| aor(context, user)).transpose()?;
        show(context, table, user.as_deref(), Width::of(self.wide))
    }
}

/// A new contact.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// User, or user@domain
    pub(super) user: String,
    /// Contact URI
    contact: String,
    /// Seconds until it expires; 0 is never
    #[arg(default_value = "0", allow_negative_numbers = true)]
    expires: String,
    /// Path (RFC 3327)
    path: Option<String>,
}

/// Which location table a noun is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Location,
    Aliases,
}

impl Table {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::Aliases => "aliases",
        }
    }

    /// The command that is about it.
    fn noun(self) -> &'static str {
        match self {
            Self::Location => "ul",
            Self::Aliases => "alias",
        }
    }
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show(what) => what.run(context, Table::Location),
        Verb::Dump { brief: true } => online(context, Table::Location),
        Verb::Dump { brief: false } if context.output == shared::report::Output::Json => {
            rpc::show(context, ul::DUMP, &[])
        }
        Verb::Dump { brief: false } => show(context, Table::Location, None, Width::Short),
        Verb::Add(what) => add(context, Table::Location, what),
        Verb::Rm { user, contact } => remove(context, Table::Location, user, contact.as_deref()),
        Verb::Showdb { user } => showdb(context, Table::Location, user.as_deref()),
        Verb::Dbclean { seconds } => clean(context, Table::Location, seconds),
        Verb::Flush => {
            context.call(ul::FLUSH, &[])?;
            Ok(Answer::new("written", json!({ "flushed": true })))
        }
    }
}

/// The AoR of a user as the daemon is asked for it; a daemon that does not look at domains cuts them off.
pub(crate) fn aor(context: &Context<'_>, text: &str) -> Result<String, Error> {
    Ok(User::told(context, text)?.map_or_else(|name| name, |user| user.to_string()))
}

/// Adds a contact.
pub(crate) fn add(context: &Context<'_>, to: Table, what: &Add) -> Result<Answer, Error> {
    let aor = aor(context, &what.user)?;
    check::sip_uri(&what.contact)?;
    let expires = check::number("the expiry", &what.expires, 0, i64::from(i32::MAX))?;
    if let Some(path) = &what.path {
        check::text("path", path, 512)?;
    }
    let q = match context.settings.get("DEFAULT_Q") {
        None => 1.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|q| (0.0..=1.0).contains(q))
            .ok_or_else(|| Error::Usage(format!("DEFAULT_Q is `{text}`: it is a number from 0 to 1")))?,
    };
    let params = [
        json!(to.name()),
        json!(aor),
        json!(what.contact),
        json!(expires),
        json!(q),
        json!(what.path.as_deref().unwrap_or(".")),
        json!(0),
        json!(0),
        // Every method.
        json!(u32::MAX),
    ];
    context.call(ul::ADD, &params)?;
    let kind = if expires == 0 {
        "permanent".to_owned()
    } else {
        format!("for {expires} s")
    };
    let data = json!({ "aor": aor, "contact": what.contact, "expires": expires });
    Ok(Answer::new(
        format!("added {} to {aor}, {kind}", what.contact),
        data,
    ))
}

/// Removes all contacts of a user, or one.
pub(crate) fn remove(
    context: &Context<'_>,
    from: Table,
    user: &str,
    contact: Option<&str>,
) -> Result<Answer, Error> {
    let aor = aor(context, user)?;
    match contact {
        None => {
            // The daemon removes nobody without a word.
            contacts::lookup(context, from, &aor)?;
            context.call(ul::RM, &[json!(from.name()), json!(aor)])?;
            Ok(Answer::new(
                format!("removed every contact of {aor}"),
                json!({ "aor": aor }),
            ))
        }
        Some(contact) => {
            let removed = context.call(ul::RM_CONTACT, &[json!(from.name()), json!(aor), json!(contact)]);
            removed.map_err(|error| match error {
                Error::Fault(fault) if fault.is_not_found() && !fault.is_unknown_method() => {
                    Error::NotFound {
                        what: "contact",
                        name: format!("{contact}` of `{aor}"),
                        hint: format!(": `proxyctl {} show {aor}` shows what there is", from.noun()),
                    }
                }
                other => other,
            })?;
            Ok(Answer::new(
                format!("removed {contact} of {aor}"),
                json!({ "aor": aor, "contact": contact }),
            ))
        }
    }
}

/// Shows what the database holds.
pub(crate) fn showdb(context: &Context<'_>, of: Table, user: Option<&str>) -> Result<Answer, Error> {
    let columns = [
        "username",
        "domain",
        "contact",
        "expires",
        "q",
        "user_agent",
        "received",
        "path",
        "socket",
        "ruid",
    ];
    let mut select = Select::from(of.name())
        .columns(&columns)
        .order_by("username")
        .order_by("id");
    match user.map(|user| User::told(context, user)).transpose()? {
        None => {}
        // Without use_domain the column of the domain is empty, so a domain is no condition.
        Some(Ok(user)) => select = select.eq("username", user.name),
        Some(Err(name)) => select = select.eq("username", name),
    }
    let mut db = context.read(&[of.name()])?;
    table::show(context, db.as_mut(), &select)
}

/// Removes contacts that expired so many seconds ago from the database.
pub(crate) fn clean(context: &Context<'_>, table: Table, seconds: &str) -> Result<Answer, Error> {
    let seconds = check::number("the age", seconds, 0, i64::from(i32::MAX))?;
    let mut db = context.open(&[table.name()])?;
    let limit = clock::now().saturating_sub(seconds);
    // Kamailio: a permanent contact expires at 0.
    let delete = Delete::from(table.name())
        .filter("expires", Op::Lt, Value::DateTime(limit))
        .filter("expires", Op::Gt, Value::DateTime(86_400));
    let removed = db.delete(&delete)?;
    Ok(Answer::new(
        match removed {
            1 => "removed 1 expired contact".to_owned(),
            n => format!("removed {n} expired contacts"),
        },
        json!({ "removed": removed }),
    ))
}
