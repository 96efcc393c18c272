//! `dispatcher`: sets of destinations (Kamailio dispatcher, table `dispatcher`).

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

pub(crate) const RELOAD: &str = "dispatcher.reload";
pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl dispatcher add 1 sip:192.0.2.1:5060 0 5 'weight=50' 'gateway one'
  proxyctl dispatcher show
  proxyctl dispatcher dump                         what the daemon has in memory, with states
  proxyctl dispatcher state ip 1 sip:192.0.2.1:5060
  proxyctl dispatcher rm 4                         by the row's id
  proxyctl dispatcher rmset 1";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Destinations in the database
    #[command(
        visible_alias = "list",
        visible_alias = "showdb",
        after_help = "Examples:\n  proxyctl dispatcher show\n  proxyctl dispatcher show 1"
    )]
    Show {
        /// Only this set
        set: Option<String>,
    },
    /// Destinations in the daemon's memory, with their states
    #[command(after_help = "Examples:\n  proxyctl dispatcher dump")]
    Dump,
    /// Make the daemon read the table again
    #[command(after_help = "Examples:\n  proxyctl dispatcher reload")]
    Reload,
    /// Add a destination to a set
    #[command(
        visible_alias = "addgw",
        after_help = "Examples:\n  proxyctl dispatcher add 1 sip:192.0.2.1:5060 0 5 'weight=50' 'gateway one'"
    )]
    Add(Add),
    /// Remove a destination by its row's id
    #[command(visible_alias = "rmgw", after_help = "Examples:\n  proxyctl dispatcher rm 4")]
    Rm {
        /// Row id, as shown by `dispatcher show`
        id: String,
    },
    /// Remove a destination from a set by its URI
    #[command(
        alias = "rmip",
        after_help = "Examples:\n  proxyctl dispatcher rmuri 1 sip:192.0.2.1:5060"
    )]
    Rmuri {
        /// Set
        set: String,
        /// SIP URI
        uri: String,
    },
    /// Remove a whole set
    #[command(after_help = "Examples:\n  proxyctl dispatcher rmset 1")]
    Rmset {
        /// Set
        set: String,
    },
    /// Add a destination in memory only: the next reload forgets it
    #[command(after_help = "Examples:\n  proxyctl dispatcher memadd 1 sip:192.0.2.1:5060 0 5 'weight=50'")]
    Memadd(Place),
    /// Remove a destination in memory only: the next reload brings it back
    #[command(after_help = "Examples:\n  proxyctl dispatcher memrm 1 sip:192.0.2.1:5060")]
    Memrm {
        /// Set
        set: String,
        /// SIP URI
        destination: String,
    },
    /// Set the state of a destination in memory
    #[command(
        after_help = "Examples:\n  proxyctl dispatcher state ip 1 sip:192.0.2.1:5060\n  proxyctl dispatcher state a 1 all"
    )]
    State {
        /// a (active), i (inactive), d (disabled), t (trying), each with p for probing
        state: String,
        /// Set
        set: String,
        /// SIP URI, or `all`
        #[arg(default_value = "all")]
        uri: String,
    },
}

/// A new destination.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    place: Place,
    /// Description
    #[arg(default_value = "")]
    description: String,
}

/// What a destination is, but for its description.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Set, a number
    set: String,
    /// SIP URI
    destination: String,
    /// Flags
    #[arg(default_value = "0")]
    flags: String,
    /// Priority
    #[arg(default_value = "0", allow_negative_numbers = true)]
    priority: String,
    /// Attributes such as `weight=50;duid=gw1`
    #[arg(default_value = "")]
    attrs: String,
}

impl Place {
    fn row<'a>(&'a self, description: &'a str) -> Row<'a> {
        Row {
            set: &self.set,
            destination: &self.destination,
            flags: &self.flags,
            priority: &self.priority,
            attrs: &self.attrs,
            description,
        }
    }
}

/// A row, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) set: i64,
    pub(crate) destination: String,
    pub(crate) flags: i64,
    pub(crate) priority: i64,
    pub(crate) attrs: String,
    pub(crate) description: String,
}

impl Entry {
    /// Checks a row.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        check::sip_uri(&self.destination)?;
        check::text("destination", &self.destination, 192)?;
        check::text("attributes", &self.attrs, 128)?;
        check::text("description", &self.description, 64)?;
        Ok(self)
    }

    pub(crate) fn insert(&self) -> Insert<'static> {
        Insert::into("dispatcher")
            .set("setid", self.set)
            .set("destination", &self.destination)
            .set("flags", self.flags)
            .set("priority", self.priority)
            .set("attrs", &self.attrs)
            .set("description", &self.description)
    }
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show { set } => {
            let mut select = Select::from("dispatcher")
                .order_by("setid")
                .order_by_descending("priority")
                .order_by("id");
            if let Some(set) = set {
                select = select.eq("setid", set_of(set)?);
            }
            let mut db = context.read(&["dispatcher"])?;
            table::show(context, db.as_mut(), &select)
        }
        Verb::Dump => dump(context),
        Verb::Reload => table::reloaded(context, "dispatcher", RELOAD),
        Verb::Add(what) => add(context, what),
        Verb::Rm { id } => {
            let id = check::number("the id", id, 1, i64::MAX)?;
            remove(
                context,
                &Delete::from("dispatcher").eq("id", id),
                "destination",
                &id.to_string(),
            )
        }
        Verb::Rmuri { set, uri } => {
            let delete = Delete::from("dispatcher")
                .eq("setid", set_of(set)?)
                .eq("destination", uri);
            remove(context, &delete, "destination", &format!("{uri} of set {set}"))
        }
        Verb::Rmset { set } => remove(
            context,
            &Delete::from("dispatcher").eq("setid", set_of(set)?),
            "set",
            set,
        ),
        Verb::Memadd(place) => memadd(context, &place.row("").checked()?),
        Verb::Memrm { set, destination } => {
            let set = set_of(set)?;
            in_memory(context, set, Some(destination))?;
            rpc::change(context, "dispatcher.remove", &[json!(set), json!(destination)])
        }
        Verb::State { state, set, uri } => {
            let set = set_of(set)?;
            state_of(state)?;
            in_memory(context, set, (uri != "all").then_some(uri))?;
            rpc::change(
                context,
                "dispatcher.set_state",
                &[json!(state), json!(set), json!(uri)],
            )
        }
    }
}

fn set_of(text: &str) -> Result<i64, Error> {
    Ok(check::number("the set", text, 0, i64::from(i32::MAX))?)
}

/// A state as `dispatcher.set_state` reads it: a letter, and whether the destination is probed.
fn state_of(text: &str) -> Result<(), check::Invalid> {
    let letters: Vec<char> = text.to_ascii_lowercase().chars().collect();
    match letters.as_slice() {
        ['a' | 'i' | 'd' | 't'] | ['a' | 'i' | 'd' | 't', 'p'] => Ok(()),
        _ => Err(check::Invalid::Word {
            what: "the state",
            text: text.to_owned(),
            known: "a, i, d and t, each alone or with p",
        }),
    }
}

/// The words of a row.
struct Row<'a> {
    set: &'a str,
    destination: &'a str,
    flags: &'a str,
    priority: &'a str,
    attrs: &'a str,
    description: &'a str,
}

impl Row<'_> {
    fn checked(&self) -> Result<Entry, Error> {
        let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
        Entry {
            set: set_of(self.set)?,
            destination: self.destination.to_owned(),
            flags: check::number("the flags", self.flags, 0, most)?,
            priority: check::number("the priority", self.priority, least, most)?,
            attrs: self.attrs.to_owned(),
            description: self.description.to_owned(),
        }
        .checked()
    }
}

fn memadd(context: &Context<'_>, entry: &Entry) -> Result<Answer, Error> {
    let params = [
        json!(entry.set),
        json!(entry.destination),
        json!(entry.flags),
        json!(entry.priority),
        json!(entry.attrs),
    ];
    rpc::change(context, "dispatcher.add", &params)
}

fn add(context: &Context<'_>, what: &Add) -> Result<Answer, Error> {
    let entry = what.place.row(&what.description).checked()?;
    let mut db = context.open(&["dispatcher"])?;
    shared::db::transaction(db.as_mut(), |db| {
        let same = Select::from("dispatcher")
            .eq("setid", entry.set)
            .eq("destination", &entry.destination);
        if db.count(&same)? > 0 {
            return Err(Error::exists(
                "destination",
                format!("{}` of set `{}", entry.destination, entry.set),
            ));
        }
        db.insert(&entry.insert()).map_err(Error::from)
    })?;
    let words = format!("added {} to set {}", entry.destination, entry.set);
    let data = json!({ "setid": entry.set, "destination": entry.destination, "flags": entry.flags,
        "priority": entry.priority, "attrs": entry.attrs, "description": entry.description });
    Ok(table::changed(context, &words, data, RELOAD))
}

fn remove(
    context: &Context<'_>,
    delete: &Delete<'_>,
    what: &'static str,
    name: &str,
) -> Result<Answer, Error> {
    match context.open(&["dispatcher"])?.delete(delete)? {
        0 => Err(Error::not_found(what, name)),
        n => Ok(table::changed(
            context,
            &format!("removed {what} {name}"),
            json!({ "removed": n }),
            RELOAD,
        )),
    }
}

fn dump(context: &Context<'_>) -> Result<Answer, Error> {
    let mut report = Report::rows(&["set", "uri", "flags", "priority", "attrs"]);
    for target in targets(context)? {
        let of = |name: &str| target.dest.get(name).cloned().unwrap_or_default();
        let attrs = of("ATTRS").get("BODY").cloned().unwrap_or_default();
        report.push([target.set.clone(), of("URI"), of("FLAGS"), of("PRIORITY"), attrs]);
    }
    Ok(Answer::report(report))
}

/// Refuses a set or a destination that the daemon has not in memory.
fn in_memory(context: &Context<'_>, set: i64, uri: Option<&String>) -> Result<(), Error> {
    let fits = |target: &Target| {
        let same = |uri: &String| target.dest.get("URI").and_then(Json::as_str) == Some(uri);
        target.set == json!(set) && uri.is_none_or(same)
    };
    if targets(context)?.iter().any(fits) {
        return Ok(());
    }
    let (what, name) = match uri {
        Some(uri) => ("destination", format!("{uri}` of set `{set}")),
        None => ("set", set.to_string()),
    };
    let hint = " in memory: `proxyctl dispatcher dump` shows what there is".to_owned();
    Err(Error::NotFound { what, name, hint })
}

/// A destination in memory.
struct Target {
    set: Json,
    dest: Json,
}

fn targets(context: &Context<'_>) -> Result<Vec<Target>, Error> {
    let list = match context.call("dispatcher.list", &[]) {
        // Kamailio: an empty list is a refusal.
        Err(Error::Fault(fault)) if fault.message == "No Destination Sets" => return Ok(Vec::new()),
        list => list?,
    };
    let of = |value: &Json, name: &str| value.get(name).cloned().unwrap_or_default();
    let entries = |value: &Json, name: &str| of(value, name).as_array().cloned().unwrap_or_default();
    let mut targets = Vec::new();
    for set in entries(&list, "RECORDS").iter().map(|record| of(record, "SET")) {
        for target in entries(&set, "TARGETS") {
            targets.push(Target {
                set: of(&set, "ID"),
                dest: of(&target, "DEST"),
            });
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_known_letters() {
        for good in ["a", "ip", "D", "tp"] {
            assert_eq!(state_of(good), Ok(()), "{good}");
        }
        for bad in ["", "z", "ax", "app", "1"] {
            assert!(state_of(bad).is_err(), "{bad}");
        }
    }
}
