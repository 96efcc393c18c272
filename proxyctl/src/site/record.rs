//! The sections of a site file as their author writes them, and the rows they mean.

use std::path::Path;

use serde::Deserialize;
use shared::digest::Hex;

use super::Item;
use super::Kind;
use super::file::contents;
use crate::Error;
use crate::check;
use crate::cmd::address;
use crate::cmd::dispatcher;
use crate::cmd::trusted;
use crate::context::Context;
use crate::user::User;

/// A file. Numbers are read as text: `0049` and `+49` are names here.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Site {
    subscribers: Option<Vec<Subscriber>>,
    groups: Option<Vec<Membership>>,
    aliases: Option<Vec<Alias>>,
    speed_dials: Option<Vec<SpeedDial>>,
    addresses: Option<Vec<Address>>,
    trusted: Option<Vec<Trusted>>,
    domains: Option<Vec<Domain>>,
    #[serde(alias = "dispatchers")]
    dispatcher: Option<Vec<Destination>>,
}

/// A subscriber, with what belongs to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscriber {
    #[serde(alias = "username")]
    user: String,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    password_env: String,
    #[serde(default)]
    password_file: String,
    #[serde(default)]
    ha1: String,
    #[serde(default)]
    ha1b: String,
    groups: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
}

/// A user in a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    #[serde(alias = "username")]
    user: String,
    #[serde(default)]
    domain: String,
    #[serde(alias = "grp")]
    group: String,
}

/// An alias of a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alias {
    alias: String,
    user: String,
}

/// A short number of a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpeedDial {
    user: String,
    number: String,
    uri: String,
    #[serde(default)]
    description: String,
}

/// A trusted address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Address {
    #[serde(alias = "grp")]
    group: String,
    #[serde(alias = "ip_addr")]
    address: String,
    mask: Option<String>,
    port: Option<String>,
    tag: Option<String>,
}

/// A trusted peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trusted {
    src_ip: String,
    proto: Option<String>,
    from_pattern: Option<String>,
    ruri_pattern: Option<String>,
    tag: Option<String>,
    priority: Option<String>,
}

/// A domain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Domain {
    domain: String,
    #[serde(default)]
    did: String,
}

/// A destination of a set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    #[serde(alias = "setid")]
    set: String,
    destination: String,
    flags: Option<String>,
    priority: Option<String>,
    #[serde(default)]
    attrs: String,
    #[serde(default)]
    description: String,
}

/// A record that means rows.
pub(crate) trait Record {
    /// Adds its rows; files it names are sought beside `folder`.
    fn items(&self, context: &Context<'_>, folder: &Path, items: &mut Vec<Item>) -> Result<(), Error>;
}

impl Site {
    /// Every row it means; an error names the section and the place in it.
    pub(crate) fn items(
        &self,
        context: &Context<'_>,
        path: &Path,
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut all = |section: &str, records: Vec<&dyn Record>| -> Result<(), Error> {
            for (index, record) in records.into_iter().enumerate() {
                note_origin(path, format!("{section}[{index}]"), items, |items| {
                    record.items(context, folder, items)
                })?;
            }
            Ok(())
        };
        all("domains", records(&self.domains))?;
        all("subscribers", records(&self.subscribers))?;
        all("groups", records(&self.groups))?;
        all("aliases", records(&self.aliases))?;
        all("speed_dials", records(&self.speed_dials))?;
        all("addresses", records(&self.addresses))?;
        all("trusted", records(&self.trusted))?;
        all("dispatcher", records(&self.dispatcher))
    }

    /// The sections it has, an empty one included: what is not in them may be removed.
    pub(crate) fn sections(&self) -> Vec<&'static str> {
        let subscribers = self.subscribers.iter().flatten();
        let sections = [
            ("domains", self.domains.is_some()),
            ("subscribers", self.subscribers.is_some()),
            (
                "groups",
                self.groups.is_some() || subscribers.clone().any(|s| s.groups.is_some()),
            ),
            (
                "aliases",
                self.aliases.is_some() || subscribers.clone().any(|s| s.aliases.is_some()),
            ),
            ("speed_dials", self.speed_dials.is_some()),
            ("addresses", self.addresses.is_some()),
            ("trusted", self.trusted.is_some()),
            ("dispatcher", self.dispatcher.is_some()),
        ];
        sections
            .into_iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(name, _)| name)
            .collect()
    }
}

fn records<T: Record>(section: &Option<Vec<T>>) -> Vec<&dyn Record> {
    section
        .iter()
        .flatten()
        .map(|record| record as &dyn Record)
        .collect()
}

impl Record for Subscriber {
    fn items(&self, context: &Context<'_>, folder: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let user = account(context, &self.user, &self.domain)?;
        let password = self.secret(context, folder)?;
        let mut values = Vec::new();
        for (column, text) in [("ha1", &self.ha1), ("ha1b", &self.ha1b)] {
            if text.is_empty() {
                continue;
            }
            let hex = Hex::from_bytes(text.as_bytes()).ok_or_else(|| {
                Error::Usage(format!("{column} of {user} is not 32 or 64 hexadecimal digits"))
            })?;
            values.push((column, hex.as_str().to_owned()));
        }
        for group in self.groups.iter().flatten() {
            check::word("group", group, 64)?;
            push(
                items,
                &super::GROUPS,
                vec![user.name.clone(), user.domain.clone(), group.clone()],
                Vec::new(),
            );
        }
        for alias in self.aliases.iter().flatten() {
            let alias = beside(context, alias, &user.domain)?;
            let whose = vec![("username", user.name.clone()), ("domain", user.domain.clone())];
            push(items, &super::ALIASES, vec![alias.name, alias.domain], whose);
        }
        push(items, &super::SUBSCRIBERS, vec![user.name, user.domain], values);
        if let Some(item) = items.last_mut() {
            item.password = password;
        }
        Ok(())
    }
}

impl Subscriber {
    /// The password, where it is told or referred to.
    fn secret(&self, context: &Context<'_>, folder: &Path) -> Result<Option<String>, Error> {
        let told = [&self.password, &self.password_env, &self.password_file]
            .iter()
            .filter(|t| !t.is_empty())
            .count();
        if told > 1 {
            return Err(Error::Usage(
                "password, password_env and password_file exclude one another".to_owned(),
            ));
        }
        let text = if !self.password_env.is_empty() {
            let name = &self.password_env;
            (context.environment)(name)
                .ok_or_else(|| Error::not_found("variable of the environment", name))?
        } else if !self.password_file.is_empty() {
            let path = folder.join(&self.password_file);
            let text = contents(&path)?.trim_end_matches(['\r', '\n']).to_owned();
            if text.is_empty() {
                return Err(Error::Usage(format!("no password in `{}`", path.display())));
            }
            text
        } else {
            self.password.clone()
        };
        check::text("password", &text, 64).map_err(|_| {
            Error::Usage("the password is longer than 64 characters, or has a control character".to_owned())
        })?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

impl Record for Membership {
    fn items(&self, context: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let user = account(context, &self.user, &self.domain)?;
        check::word("group", &self.group, 64)?;
        push(
            items,
            &super::GROUPS,
            vec![user.name, user.domain, self.group.clone()],
            Vec::new(),
        );
        Ok(())
    }
}

impl Record for Alias {
    fn items(&self, context: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let user = account(context, &self.user, "")?;
        let alias = beside(context, &self.alias, &user.domain)?;
        let whose = vec![("username", user.name), ("domain", user.domain)];
        push(items, &super::ALIASES, vec![alias.name, alias.domain], whose);
        Ok(())
    }
}

impl Record for SpeedDial {
    fn items(&self, context: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let user = account(context, &self.user, "")?;
        let number = beside(context, &self.number, &user.domain)?;
        check::sip_uri(&self.uri)?;
        check::text("URI", &self.uri, 255)?;
        check::text("description", &self.description, 64)?;
        let values = vec![
            ("new_uri", self.uri.clone()),
            ("description", self.description.clone()),
        ];
        push(
            items,
            &super::SPEED_DIALS,
            vec![user.name, user.domain, number.name, number.domain],
            values,
        );
        Ok(())
    }
}

impl Record for Address {
    fn items(&self, _: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let entry = address::Entry::new(
            &self.group,
            &self.address,
            given(&self.mask).as_deref(),
            given(&self.port).as_deref().unwrap_or("0"),
            self.tag.as_deref(),
            address::Names::Refused,
        )?;
        let key = vec![
            entry.group.to_string(),
            entry.address,
            entry.mask.to_string(),
            entry.port.to_string(),
        ];
        push(
            items,
            &super::ADDRESSES,
            key,
            vec![("tag", entry.tag.unwrap_or_default())],
        );
        Ok(())
    }
}

impl Record for Trusted {
    fn items(&self, _: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let entry = trusted::Entry {
            src_ip: self.src_ip.clone(),
            proto: self
                .proto
                .clone()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "any".to_owned()),
            from_pattern: self.from_pattern.clone(),
            ruri_pattern: self.ruri_pattern.clone(),
            tag: self.tag.clone(),
            priority: number("the priority", self.priority.as_deref(), i64::from(i32::MIN))?,
        }
        .checked()?;
        let text = Option::unwrap_or_default;
        let key = vec![
            entry.src_ip,
            entry.proto,
            text(entry.from_pattern),
            text(entry.ruri_pattern),
        ];
        push(
            items,
            &super::TRUSTED,
            key,
            vec![("tag", text(entry.tag)), ("priority", entry.priority.to_string())],
        );
        Ok(())
    }
}

impl Record for Domain {
    fn items(&self, _: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        check::domain(&self.domain)?;
        check::text("domain id", &self.did, 64)?;
        push(
            items,
            &super::DOMAINS,
            vec![self.domain.clone()],
            vec![("did", self.did.clone())],
        );
        Ok(())
    }
}

impl Record for Destination {
    fn items(&self, _: &Context<'_>, _: &Path, items: &mut Vec<Item>) -> Result<(), Error> {
        let entry = dispatcher::Entry {
            set: number("the set", Some(&self.set), 0)?,
            destination: self.destination.clone(),
            flags: number("the flags", self.flags.as_deref(), 0)?,
            priority: number("the priority", self.priority.as_deref(), i64::from(i32::MIN))?,
            attrs: self.attrs.clone(),
            description: self.description.clone(),
        }
        .checked()?;
        let values = vec![
            ("flags", entry.flags.to_string()),
            ("priority", entry.priority.to_string()),
            ("attrs", entry.attrs),
            ("description", entry.description),
        ];
        push(
            items,
            &super::DISPATCHER,
            vec![entry.set.to_string(), entry.destination],
            values,
        );
        Ok(())
    }
}

/// Takes the rows of one record, and notes where they are listed.
pub(super) fn note_origin(
    path: &Path,
    place: String,
    items: &mut Vec<Item>,
    take: impl FnOnce(&mut Vec<Item>) -> Result<(), Error>,
) -> Result<(), Error> {
    let before = items.len();
    let origin = format!("{}: {place}", path.display());
    take(items).map_err(|error| Error::Document {
        path: path.to_owned(),
        place,
        error: Box::new(error),
    })?;
    for item in items.iter_mut().skip(before) {
        item.origin.clone_from(&origin);
    }
    Ok(())
}

fn push(items: &mut Vec<Item>, kind: &'static Kind, key: Vec<String>, values: Vec<(&'static str, String)>) {
    items.push(Item {
        kind,
        key,
        values,
        password: None,
        origin: String::new(),
    });
}

fn number(what: &'static str, text: Option<&str>, least: i64) -> Result<i64, Error> {
    match text {
        None | Some("") => Ok(0),
        Some(text) => Ok(check::number(what, text, least, i64::from(i32::MAX))?),
    }
}

/// A user whose domain stands in its name, beside it, or in the settings.
fn account(context: &Context<'_>, user: &str, domain: &str) -> Result<User, Error> {
    if !domain.is_empty() && !user.contains('@') {
        return beside(context, user, domain);
    }
    User::told(context, user)?.map_err(|name| {
        Error::Usage(format!(
            "user `{name}` has no domain: write `{name}@domain`, or set SIP_DOMAIN"
        ))
    })
}

/// A user, of `domain` unless its name says otherwise.
fn beside(context: &Context<'_>, user: &str, domain: &str) -> Result<User, Error> {
    let whole = if user.contains('@') {
        user.to_owned()
    } else {
        format!("{user}@{domain}")
    };
    account(context, &whole, "")
}
