//! `address`: addresses trusted by group (Kamailio permissions, table `address`).

use std::net::IpAddr;

use clap::Args;
use clap::Subcommand;
use serde_json::Value as Json;
use serde_json::json;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Select;
use shared::db::Value;
use shared::net::cidr;
use shared::rpc::permissions;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;
use crate::printer::Printer;
use crate::stream::Each;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl address add 200 10.0.1.102 32 5060 'Carrier IP address'
  proxyctl address add 200 10.0.2.0/24             a subnet, any port
  proxyctl address show 200
  proxyctl address rm 200 10.0.1.102
  proxyctl address dump                            what the daemon has in memory
  proxyctl address reload

A change is live at once when the daemon runs; `reload` is for changes made by other means.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Addresses in the database
    #[command(
        visible_alias = "list",
        visible_alias = "showdb",
        after_help = "Examples:\n  proxyctl address show\n  proxyctl address show 200"
    )]
    Show {
        /// Only this group
        group: Option<String>,
    },
    /// Addresses in the daemon's memory
    #[command(after_help = "Examples:\n  proxyctl address dump\n  proxyctl --output json address dump")]
    Dump,
    /// Make the daemon read the table again
    #[command(after_help = "Examples:\n  proxyctl address reload")]
    Reload,
    /// Add an address or a subnet to a group
    #[command(
        after_help = "Examples:\n  proxyctl address add 200 10.0.1.102 32 5060 'Carrier IP address'\n  proxyctl address add 200 2001:db8::/32"
    )]
    Add(Add),
    /// Remove an address from a group
    #[command(
        after_help = "Examples:\n  proxyctl address rm 200 10.0.1.102\n  proxyctl address rm 200 10.0.2.0 24"
    )]
    Rm {
        /// Group
        group: String,
        /// Address, or address/mask
        address: String,
        /// Only with this mask
        mask: Option<String>,
        /// Only with this port
        port: Option<String>,
    },
}

/// A new address.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Group, a number
    group: String,
    /// Address, address/mask, or a domain name with --name
    address: String,
    /// Bits of the mask [default: all, a single host]
    mask: Option<String>,
    /// Port; 0 is any
    #[arg(default_value = "0")]
    port: String,
    /// Tag
    tag: Option<String>,
    /// The address is a domain name
    #[arg(long)]
    name: bool,
}

/// A row of the table, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) group: i64,
    pub(crate) address: String,
    pub(crate) mask: i64,
    pub(crate) port: u16,
    pub(crate) tag: Option<String>,
}

/// Whether a domain name may stand for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Refused,
    Meant,
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show { group } => show(context, group.as_deref()),
        Verb::Dump => dump(context),
        Verb::Reload => {
            context.call(permissions::ADDRESS_RELOAD, &[])?;
            Ok(Answer::new(
                permissions::RELOAD_OK,
                json!({ "reloaded": "address" }),
            ))
        }
        Verb::Add(add) => insert(context, add),
        Verb::Rm {
            group,
            address,
            mask,
            port,
        } => remove(context, group, address, mask.as_deref(), port.as_deref()),
    }
}

impl Entry {
    /// Checks the words of a row.
    pub(crate) fn new(
        group: &str,
        address: &str,
        mask: Option<&str>,
        port: &str,
        tag: Option<&str>,
        names: Names,
    ) -> Result<Self, Error> {
        let group = group_of(group)?;
        let port = check::port(port)?;
        if let Some(tag) = tag {
            check::text("tag", tag, 64)?;
        }
        let tag = tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
        if names == Names::Meant && cidr::parse_ip(address).is_err() {
            check::domain(address).map_err(Error::from)?;
            return Ok(Self {
                group,
                address: address.to_owned(),
                mask: 32,
                port,
                tag,
            });
        }
        let (ip, mask) = address_of(address, mask)?;
        let net = cidr::network(ip, mask.unwrap_or(if ip.is_ipv4() { 32 } else { 128 }))
            .map_err(check::Invalid::from)?;
        Ok(Self {
            group,
            address: ip.to_string(),
            mask: i64::from(net.prefix_len()),
            port,
            tag,
        })
    }

    /// The key under which a row counts as being there.
    fn select(&self) -> Select<'static> {
        Select::from("address")
            .eq("grp", self.group)
            .eq("ip_addr", &self.address)
            .eq("mask", self.mask)
            .eq("port", self.port)
    }

    pub(crate) fn exists(&self, db: &mut dyn Backend) -> Result<bool, Error> {
        Ok(db.count(&self.select())? > 0)
    }

    pub(crate) fn insert(&self, db: &mut dyn Backend) -> Result<(), Error> {
        let row = Insert::into("address")
            .set("grp", self.group)
            .set("ip_addr", &self.address)
            .set("mask", self.mask)
            .set("port", self.port)
            .set("tag", self.tag.as_ref().map_or(Value::Null, Value::from));
        db.insert(&row)?;
        Ok(())
    }

    pub(crate) fn words(&self) -> String {
        let mut words = format!("{}/{}", self.address, self.mask);
        if self.port != 0 {
            words.push_str(&format!(" port {}", self.port));
        }
        words
    }

    fn json(&self) -> Json {
        json!({ "grp": self.group, "ip_addr": self.address, "mask": self.mask, "port": self.port, "tag": self.tag })
    }
}

fn group_of(text: &str) -> Result<i64, Error> {
    Ok(check::number("the group", text, 0, i64::from(i32::MAX))?)
}

/// Reads `address`, `address/mask`, or the two apart.
fn address_of(address: &str, mask: Option<&str>) -> Result<(IpAddr, Option<i64>), Error> {
    let invalid = |e| Error::from(check::Invalid::from(e));
    let (address, mask) = match (address.split_once('/'), mask) {
        (Some((address, mask)), None) => (address, Some(mask)),
        (None, mask) => (address, mask),
        (Some((_, within)), Some(beside)) if within == beside => {
            (address.split('/').next().unwrap_or(address), mask)
        }
        (Some(_), Some(beside)) => {
            return Err(Error::Usage(format!(
                "`{address}` has a mask already, and `{beside}` is another"
            )));
        }
    };
    let mask = mask.map(cidr::parse_mask).transpose().map_err(invalid)?;
    Ok((cidr::parse_ip(address).map_err(invalid)?, mask))
}

fn show(context: &Context<'_>, group: Option<&str>) -> Result<Answer, Error> {
    let mut select = Select::from("address").order_by("grp").order_by("id");
    if let Some(group) = group {
        select = select.eq("grp", group_of(group)?);
    }
    let mut db = context.read(&["address"])?;
    table::show(context, db.as_mut(), &select)
}

fn dump(context: &Context<'_>) -> Result<Answer, Error> {
    let mut printer = Printer::new(context.output, &["group", "ip", "mask", "port", "tag"]);
    let mut visit = |row: Json| {
        let item = row.get("item").unwrap_or(&row);
        let of = |name: &str| item.get(name).cloned().unwrap_or_default();
        let ip = ["ip", "domain_name", "domain"]
            .into_iter()
            .find_map(|name| item.get(name));
        let group = row.get("group").cloned().unwrap_or_default();
        let cells = [
            group,
            ip.cloned().unwrap_or_default(),
            of("mask"),
            of("port"),
            set(of("tag")),
        ];
        printer.push(cells).map_err(|e| e.to_string())
    };
    for method in [
        permissions::ADDRESS_DUMP,
        permissions::SUBNET_DUMP,
        permissions::DOMAIN_DUMP,
    ] {
        match context.stream(method, &[], Each::new(&[], &mut visit)) {
            // Only newer daemons keep names.
            Err(Error::Fault(fault)) if method == permissions::DOMAIN_DUMP && fault.is_unknown_method() => {}
            read => read?,
        }
    }
    printer.finish()
}

/// Kamailio: a tag that is not set is the word NULL, or empty.
fn set(tag: Json) -> Json {
    match tag.as_str() {
        Some("" | "NULL") => Json::Null,
        _ => tag,
    }
}

fn insert(context: &Context<'_>, add: &Add) -> Result<Answer, Error> {
    let names = if add.name { Names::Meant } else { Names::Refused };
    let entry = Entry::new(
        &add.group,
        &add.address,
        add.mask.as_deref(),
        &add.port,
        add.tag.as_deref(),
        names,
    )?;
    let mut db = context.open(&["address"])?;
    shared::db::transaction(db.as_mut(), |db| {
        if entry.exists(db)? {
            return Err(Error::exists(
                "address",
                format!("{}` of group `{}", entry.words(), entry.group),
            ));
        }
        entry.insert(db)
    })?;
    let live = context.reload(permissions::ADDRESS_RELOAD);
    let words = format!("added {} to group {}{}", entry.words(), entry.group, live.words());
    let mut data = entry.json();
    if let Some(object) = data.as_object_mut() {
        object.insert("live".to_owned(), json!(live.is_live()));
    }
    Ok(Answer::new(words, data))
}

fn remove(
    context: &Context<'_>,
    group: &str,
    address: &str,
    mask: Option<&str>,
    port: Option<&str>,
) -> Result<Answer, Error> {
    let number = group_of(group)?;
    let mut delete = Delete::from("address").eq("grp", number);
    delete = match address_of(address, mask) {
        Ok((ip, mask)) => {
            let delete = delete.eq("ip_addr", ip.to_string());
            mask.map_or(delete.clone(), |mask| delete.eq("mask", mask))
        }
        // A row that another tool wrote may hold what we would refuse; it can be removed all the same.
        Err(_) => delete.eq("ip_addr", address),
    };
    if let Some(port) = port {
        delete = delete.eq("port", check::port(port)?);
    }
    let mut db = context.open(&["address"])?;
    let removed = db.delete(&delete)?;
    if removed == 0 {
        return Err(Error::NotFound {
            what: "address",
            name: format!("{address}` of group `{group}"),
            hint: ": see `proxyctl address show`".to_owned(),
        });
    }
    let live = context.reload(permissions::ADDRESS_RELOAD);
    let words = format!("removed {address} from group {group}{}", live.words());
    let data = json!({ "grp": number, "ip_addr": address, "removed": removed, "live": live.is_live() });
    Ok(Answer::new(words, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_rows_or_are_refused() {
        let entry = |address: &str, mask: Option<&str>, port: &str| {
            Entry::new("200", address, mask, port, Some("t"), Names::Refused)
                .map(|e| e.words())
                .map_err(|e| e.to_string())
        };
        let table = [
            ("10.0.1.102", Some("32"), "5060", "10.0.1.102/32 port 5060"),
            ("10.0.1.102", None, "0", "10.0.1.102/32"),
            ("10.0.2.0/24", None, "0", "10.0.2.0/24"),
            ("10.0.2.0/24", Some("24"), "0", "10.0.2.0/24"),
            ("10.0.2.0", Some("255.255.255.0"), "0", "10.0.2.0/24"),
            ("2001:DB8::1", None, "0", "2001:db8::1/128"),
        ];
        for (address, mask, port, expected) in table {
            assert_eq!(entry(address, mask, port).as_deref(), Ok(expected));
        }
        let refused = [
            ("10.0.1.102", Some("33"), "0", "mask 33 is out of range"),
            ("10.0.1.102", Some("24"), "0", "the network is 10.0.1.0/24"),
            ("10.0.1.102", Some("32"), "70000", "`70000` is not a port"),
            ("10.0.1.300", None, "0", "`10.0.1.300` is not an IP address"),
            ("carrier.example.org", None, "0", "is not an IP address"),
            ("10.0.0.0/8", Some("9"), "0", "has a mask already"),
        ];
        for (address, mask, port, part) in refused {
            let error = entry(address, mask, port).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let named = Entry::new("1", "carrier.example.org", None, "0", None, Names::Meant);
        assert_eq!(named.unwrap().words(), "carrier.example.org/32");
        assert!(Entry::new("x", "10.0.0.1", None, "0", None, Names::Refused).is_err());
    }
}
