//! `cr`: routes to carriers by prefix (Kamailio carrierroute, tables `carrierroute`, `carrier_name`, `domain_name`).

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use shared::db::Backend;
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

const RELOAD: &str = "cr.reload_routes";
pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl cr addcn 1 carrier-one
  proxyctl cr adddn 10 pstn
  proxyctl cr addcarrier carrier-one 4930 pstn gw1.example.org 0.7
  proxyctl cr show
  proxyctl cr rmcarrier carrier-one 4930 pstn

Carriers and domains are given by number or by name.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Routes in the database, with the names of carriers and domains
    #[command(visible_alias = "list", after_help = "Examples:\n  proxyctl cr show")]
    Show,
    /// Names of carriers
    #[command(after_help = "Examples:\n  proxyctl cr carriers")]
    Carriers,
    /// Names of domains
    #[command(after_help = "Examples:\n  proxyctl cr domains")]
    Domains,
    /// Routes in the daemon's memory
    #[command(after_help = "Examples:\n  proxyctl cr dump")]
    Dump,
    /// Make the daemon read the tables again
    #[command(after_help = "Examples:\n  proxyctl cr reload")]
    Reload,
    /// Name a carrier
    #[command(after_help = "Examples:\n  proxyctl cr addcn 1 carrier-one")]
    Addcn {
        /// Number
        id: String,
        /// Name
        name: String,
    },
    /// Remove the name of a carrier
    #[command(after_help = "Examples:\n  proxyctl cr rmcn 1")]
    Rmcn {
        /// Number
        id: String,
    },
    /// Name a domain
    #[command(after_help = "Examples:\n  proxyctl cr adddn 10 pstn")]
    Adddn {
        /// Number
        id: String,
        /// Name
        name: String,
    },
    /// Remove the name of a domain
    #[command(after_help = "Examples:\n  proxyctl cr rmdn 10")]
    Rmdn {
        /// Number
        id: String,
    },
    /// Add a route
    #[command(
        after_help = "Examples:\n  proxyctl cr addcarrier 1 4930 10 gw1.example.org\n  proxyctl cr addcarrier carrier-one 49 pstn gw1.example.org 0.7 2 00 '' 0 0 'half of Germany'"
    )]
    Addcarrier(Route),
    /// Remove routes
    #[command(after_help = "Examples:\n  proxyctl cr rmcarrier carrier-one 4930 pstn")]
    Rmcarrier {
        /// Number or name of the carrier
        carrier: String,
        /// Prefix
        scan_prefix: String,
        /// Number or name of the domain
        domain: String,
    },
}

/// A route.
#[derive(Debug, Args)]
pub(crate) struct Route {
    /// Number or name of the carrier
    carrier: String,
    /// Prefix of the numbers it is for; empty is all
    scan_prefix: String,
    /// Number or name of the domain
    domain: String,
    /// Host it leads to
    rewrite_host: String,
    /// Share of the calls, from 0 to 1
    #[arg(default_value = "1")]
    prob: String,
    /// Digits that are taken off the front
    #[arg(default_value = "0")]
    strip: String,
    /// Digits that are put in front
    #[arg(default_value = "")]
    rewrite_prefix: String,
    /// Digits that are put behind
    #[arg(default_value = "")]
    rewrite_suffix: String,
    /// Flags that are looked at
    #[arg(default_value = "0")]
    mask: String,
    /// Flags that a call must have among them
    #[arg(default_value = "0")]
    flags: String,
    /// Comment
    #[arg(default_value = "")]
    description: String,
}

/// A table of names.
struct Names {
    table: &'static str,
    column: &'static str,
    what: &'static str,
}

const CARRIERS: Names = Names {
    table: "carrier_name",
    column: "carrier",
    what: "carrier",
};
const DOMAINS: Names = Names {
    table: "domain_name",
    column: "domain",
    what: "carrier domain",
};

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show => show(context),
        Verb::Carriers => CARRIERS.show(context),
        Verb::Domains => DOMAINS.show(context),
        Verb::Dump => rpc::show(context, "cr.dump_routes", &[]),
        Verb::Reload => table::reloaded(context, "carrierroute", RELOAD),
        Verb::Addcn { id, name } => CARRIERS.add(context, id, name),
        Verb::Rmcn { id } => CARRIERS.remove(context, id),
        Verb::Adddn { id, name } => DOMAINS.add(context, id, name),
        Verb::Rmdn { id } => DOMAINS.remove(context, id),
        Verb::Addcarrier(route) => add(context, route),
        Verb::Rmcarrier {
            carrier,
            scan_prefix,
            domain,
        } => remove(context, carrier, scan_prefix, domain),
    }
}

impl Names {
    fn show(&self, context: &Context<'_>) -> Result<Answer, Error> {
        let mut db = context.read(&[self.table])?;
        table::show(context, db.as_mut(), &Select::from(self.table).order_by("id"))
    }

    fn add(&self, context: &Context<'_>, id: &str, name: &str) -> Result<Answer, Error> {
        let id = self.number(id)?;
        check::word("name", name, 64)?;
        let mut db = context.open(&[self.table])?;
        let row = Insert::into(self.table).set("id", id).set(self.column, name);
        db.insert(&row).map_err(|error| {
            if error.is_duplicate() {
                Error::exists(self.what, id.to_string())
            } else {
                error.into()
            }
        })?;
        let data = json!({ "id": id, "name": name });
        let words = format!("added {} {id} as {name}", self.what);
        Ok(table::changed(context, &words, data, RELOAD))
    }

    fn remove(&self, context: &Context<'_>, id: &str) -> Result<Answer, Error> {
        let id = self.number(id)?;
        let mut db = context.open(&[self.table])?;
        if db.delete(&Delete::from(self.table).eq("id", id))? == 0 {
            return Err(Error::not_found(self.what, id.to_string()));
        }
        let words = format!("removed {} {id}", self.what);
        Ok(table::changed(context, &words, json!({ "id": id }), RELOAD))
    }

    fn number(&self, id: &str) -> Result<i64, Error> {
        Ok(check::number("the number", id, 0, i64::from(u32::MAX))?)
    }

    /// The number that a number or a name stands for.
    fn id_of(&self, db: &mut dyn Backend, word: &str) -> Result<i64, Error> {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return self.number(word);
        }
        let rows = db.query(&Select::from(self.table).columns(&["id"]).eq(self.column, word))?;
        let found = rows.iter().next().and_then(|row| row.int("id"));
        found.ok_or_else(|| Error::not_found(self.what, word))
    }

    /// Numbers with their names.
    fn all(&self, db: &mut dyn Backend) -> Result<Vec<(Option<i64>, String)>, Error> {
        let rows = db.query(&Select::from(self.table))?;
        let name =
            |row: shared::db::Row<'_>| row.get(self.column).map(ToString::to_string).unwrap_or_default();
        Ok(rows.iter().map(|row| (row.int("id"), name(row))).collect())
    }
}

fn show(context: &Context<'_>) -> Result<Answer, Error> {
    let mut db = context.read(&["carrierroute", CARRIERS.table, DOMAINS.table])?;
    let (carriers, domains) = (CARRIERS.all(db.as_mut())?, DOMAINS.all(db.as_mut())?);
    let order = ["carrier", "scan_prefix", "domain", "prob"];
    let select = order
        .into_iter()
        .fold(Select::from("carrierroute"), Select::order_by);
    let columns = [
        "id",
        "carrier",
        "carrier_name",
        "domain",
        "domain_name",
        "scan_prefix",
        "flags",
        "mask",
        "prob",
        "strip",
        "rewrite_host",
        "rewrite_prefix",
        "rewrite_suffix",
        "description",
    ];
    let name = |names: &[(Option<i64>, String)], id: Option<i64>| {
        let found = names.iter().find(|(known, _)| *known == id);
        found.map(|(_, name)| name.clone())
    };
    let mut report = Report::rows(&columns);
    for row in db.query(&select)?.iter() {
        report.push(columns.map(|column| match column {
            "carrier_name" => json!(name(&carriers, row.int("carrier"))),
            "domain_name" => json!(name(&domains, row.int("domain"))),
            column => table::cell(row, column),
        }));
    }
    Ok(Answer::report(report))
}

fn add(context: &Context<'_>, route: &Route) -> Result<Answer, Error> {
    let most = i64::from(u32::MAX);
    let prob: f64 = route
        .prob
        .parse()
        .ok()
        .filter(|prob| (0.0..=1.0).contains(prob))
        .ok_or_else(|| Error::Usage(format!("`{}` is not a share from 0 to 1", route.prob)))?;
    let strip = check::number("strip", &route.strip, 0, 64)?;
    let flags = check::number("flags", &route.flags, 0, most)?;
    let mask = check::number("mask", &route.mask, 0, most)?;
    check::text("prefix", &route.scan_prefix, 64)?;
    check::text("host", &route.rewrite_host, 255)?;
    check::text("prefix in front", &route.rewrite_prefix, 64)?;
    check::text("suffix", &route.rewrite_suffix, 64)?;
    check::text("comment", &route.description, 255)?;
    let mut db = context.open(&["carrierroute", CARRIERS.table, DOMAINS.table])?;
    let carrier = CARRIERS.id_of(db.as_mut(), &route.carrier)?;
    let domain = DOMAINS.id_of(db.as_mut(), &route.domain)?;
    let row = Insert::into("carrierroute")
        .set("carrier", carrier)
        .set("domain", domain)
        .set("scan_prefix", &route.scan_prefix)
        .set("flags", flags)
        .set("mask", mask)
        .set("prob", prob)
        .set("strip", strip)
        .set("rewrite_host", &route.rewrite_host)
        .set("rewrite_prefix", &route.rewrite_prefix)
        .set("rewrite_suffix", &route.rewrite_suffix)
        .set("description", &route.description);
    db.insert(&row)?;
    let data = json!({
        "carrier": carrier, "scan_prefix": route.scan_prefix, "domain": domain, "rewrite_host": route.rewrite_host,
    });
    let words = format!(
        "added a route for {} to {}",
        shown(&route.scan_prefix),
        route.rewrite_host
    );
    Ok(table::changed(context, &words, data, RELOAD))
}

fn remove(context: &Context<'_>, carrier: &str, prefix: &str, domain: &str) -> Result<Answer, Error> {
    let mut db = context.open(&["carrierroute", CARRIERS.table, DOMAINS.table])?;
    let carrier_id = CARRIERS.id_of(db.as_mut(), carrier)?;
    let domain_id = DOMAINS.id_of(db.as_mut(), domain)?;
    let delete = Delete::from("carrierroute")
        .eq("carrier", carrier_id)
        .eq("scan_prefix", prefix)
        .eq("domain", domain_id);
    let removed = db.delete(&delete)?;
    if removed == 0 {
        let name = format!("{prefix}` of carrier `{carrier}` in domain `{domain}");
        return Err(Error::not_found("route", name));
    }
    let data =
        json!({ "carrier": carrier_id, "scan_prefix": prefix, "domain": domain_id, "removed": removed });
    let routes = if removed == 1 { "route" } else { "routes" };
    let words = format!("removed {removed} {routes} for {}", shown(prefix));
    Ok(table::changed(context, &words, data, RELOAD))
}

fn shown(prefix: &str) -> &str {
    if prefix.is_empty() { "all numbers" } else { prefix }
}
