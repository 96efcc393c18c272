//! Who is meant by a user's name on the command line: `user@domain`, or a name whose domain `SIP_DOMAIN` or the database tells.

use std::fmt;
use std::fs;

use shared::db;
use shared::db::Backend;
use shared::db::Select;

use crate::Error;
use crate::check;
use crate::context::Context;

/// A user of a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) domain: String,
}

/// Where the domain of a new user comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the command line or the settings.
    Told,
    /// From the name of this machine: nobody said.
    Guessed,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.domain)
    }
}

impl User {
    /// Reads `user@domain`, or a user of the domain in the settings; `None` where neither names a domain.
    pub(crate) fn told(context: &Context<'_>, text: &str) -> Result<Result<Self, String>, Error> {
        let text = text.strip_prefix("sip:").unwrap_or(text);
        let (name, domain) = match text.rsplit_once('@') {
            Some((name, domain)) => (name, Some(domain.to_owned())),
            None => (text, context.settings.get("SIP_DOMAIN")),
        };
        check::user(name)?;
        let Some(domain) = domain else {
            return Ok(Err(name.to_owned()));
        };
        check::domain(&domain)?;
        Ok(Ok(Self {
            name: name.to_owned(),
            domain,
        }))
    }

    /// The user to be made; where nobody names a domain it is the name of this machine.
    pub(crate) fn new(context: &Context<'_>, text: &str) -> Result<(Self, Origin), Error> {
        match Self::told(context, text)? {
            Ok(user) => Ok((user, Origin::Told)),
            Err(name) => Ok((
                Self {
                    name,
                    domain: machine(),
                },
                Origin::Guessed,
            )),
        }
    }

    /// A user that a table has already; without a domain the only one of that name.
    pub(crate) fn existing(
        context: &Context<'_>,
        db: &mut dyn Backend,
        table: &str,
        text: &str,
    ) -> Result<Self, Error> {
        Self::existing_in(context, db, table, ["username", "domain"], text)
    }

    /// The same, for other columns than `username` and `domain`.
    pub(crate) fn existing_in(
        context: &Context<'_>,
        db: &mut dyn Backend,
        table: &str,
        columns: [&str; 2],
        text: &str,
    ) -> Result<Self, Error> {
        let [user_column, domain_column] = columns;
        let name = match Self::told(context, text)? {
            Ok(user) => return Ok(user),
            Err(name) => name,
        };
        let select = Select::from(table)
            .columns(&[domain_column])
            .eq(user_column, &name)
            .order_by(domain_column);
        let mut domains: Vec<String> = db
            .query(&select)?
            .iter()
            .filter_map(|r| r.str(domain_column).map(str::to_owned))
            .collect();
        domains.dedup();
        match domains.len() {
            0 => Ok(Self {
                name,
                domain: machine(),
            }),
            1 => Ok(Self {
                name,
                domain: domains.pop().unwrap_or_default(),
            }),
            _ => {
                let users: Vec<String> = domains.iter().map(|domain| format!("{name}@{domain}")).collect();
                Err(Error::Ambiguous {
                    name,
                    users: users.join(", "),
                })
            }
        }
    }

    /// A user that belongs to another: of its domain unless the name says otherwise.
    pub(crate) fn beside(context: &Context<'_>, text: &str, other: &Self) -> Result<Self, Error> {
        let whole = if text.contains('@') {
            text.to_owned()
        } else {
            format!("{text}@{}", other.domain)
        };
        Ok(Self::new(context, &whole)?.0)
    }

    /// A user as [`User::existing`], refusing one that is no subscriber.
    pub(crate) fn subscriber(context: &Context<'_>, db: &mut dyn Backend, text: &str) -> Result<Self, Error> {
        let user = Self::existing(context, db, "subscriber", text)?;
        if user.is_subscriber(db)? {
            Ok(user)
        } else {
            Err(user.unknown(db)?)
        }
    }

    pub(crate) fn is_subscriber(&self, db: &mut dyn Backend) -> Result<bool, db::Error> {
        let select = Select::from("subscriber")
            .eq("username", &self.name)
            .eq("domain", &self.domain);
        Ok(db.count(&select)? > 0)
    }

    /// Says that there is no such subscriber, and who may have been meant.
    pub(crate) fn unknown(&self, db: &mut dyn Backend) -> Result<Error, db::Error> {
        let namesake = Select::from("subscriber")
            .columns(&["domain"])
            .eq("username", &self.name)
            .order_by("domain")
            .limit(1);
        let rows = db.query(&namesake)?;
        let hint = match rows.first().and_then(|row| row.str("domain")) {
            Some(domain) => format!(": did you mean `{}@{domain}`?", self.name),
            None => ": `proxyctl subscriber list` shows who there is".to_owned(),
        };
        Ok(Error::NotFound {
            what: "subscriber",
            name: self.to_string(),
            hint,
        })
    }
}

/// The name of this machine.
fn machine() -> String {
    let read = |path| {
        fs::read_to_string(path)
            .ok()
            .map(|name: String| name.trim().to_owned())
    };
    read("/proc/sys/kernel/hostname")
        .filter(|name| check::domain(name).is_ok())
        .unwrap_or_else(|| "localhost".to_owned())
}
