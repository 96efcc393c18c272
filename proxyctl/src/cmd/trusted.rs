//! `trusted`: peers trusted by address, transport and patterns (Kamailio permissions, table `trusted`).

use clap::Subcommand;
use serde_json::json;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value;
use shared::net::cidr;
use shared::regex::Options;
use shared::regex::Regex;
use shared::rpc::permissions;

use super::rpc;
use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl trusted add 192.0.2.10 udp '^sip:.*@example\\.org$' carrier
  proxyctl trusted add 192.0.2.11 any
  proxyctl trusted show
  proxyctl trusted rm 192.0.2.10";

const PROTOCOLS: [&str; 8] = ["any", "udp", "tcp", "tls", "sctp", "ws", "wss", "none"];

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Peers in the database
    #[command(
        visible_alias = "list",
        visible_alias = "showdb",
        after_help = "Examples:\n  proxyctl trusted show"
    )]
    Show,
    /// Peers in the daemon's memory
    #[command(after_help = "Examples:\n  proxyctl trusted dump")]
    Dump,
    /// Make the daemon read the table again
    #[command(after_help = "Examples:\n  proxyctl trusted reload")]
    Reload,
    /// Add a peer
    #[command(
        after_help = "Examples:\n  proxyctl trusted add 192.0.2.10 udp '^sip:.*@example\\.org$' carrier\n  proxyctl trusted add 192.0.2.11 any"
    )]
    Add {
        /// Source address
        src_ip: String,
        /// any, udp, tcp, tls, sctp, ws, wss or none
        #[arg(default_value = "any")]
        proto: String,
        /// Regular expression for the From URI
        from_pattern: Option<String>,
        /// Tag
        tag: Option<String>,
        /// Regular expression for the Request-URI
        #[arg(long)]
        ruri_pattern: Option<String>,
        /// Order among the rows of an address
        #[arg(long, default_value = "0")]
        priority: String,
    },
    /// Remove every row of an address
    #[command(after_help = "Examples:\n  proxyctl trusted rm 192.0.2.10")]
    Rm {
        /// Source address
        src_ip: String,
    },
}

/// A row, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) src_ip: String,
    pub(crate) proto: String,
    pub(crate) from_pattern: Option<String>,
    pub(crate) ruri_pattern: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) priority: i64,
}

impl Entry {
    /// Checks the words of a row.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        let ip = cidr::parse_ip(&self.src_ip).map_err(check::Invalid::from)?;
        let proto = self.proto.to_ascii_lowercase();
        if !PROTOCOLS.contains(&proto.as_str()) {
            return Err(check::Invalid::Word {
                what: "the transport",
                text: self.proto,
                known: "any, udp, tcp, tls, sctp, ws, wss and none",
            }
            .into());
        }
        for (what, text) in [
            ("From pattern", &self.from_pattern),
            ("Request-URI pattern", &self.ruri_pattern),
            ("tag", &self.tag),
        ] {
            check::text(what, text.as_deref().unwrap_or_default(), 64)?;
        }
        for pattern in [&self.from_pattern, &self.ruri_pattern].into_iter().flatten() {
            Regex::compile(pattern.as_bytes(), Options::PLAIN).map_err(check::Invalid::from)?;
        }
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            src_ip: ip.to_string(),
            proto,
            from_pattern: given(self.from_pattern),
            ruri_pattern: given(self.ruri_pattern),
            tag: given(self.tag),
            priority: self.priority,
        })
    }

    /// Tells whether a row says the same already.
    fn exists(&self, db: &mut dyn Backend) -> Result<bool, Error> {
        let same = Select::from("trusted")
            .eq("src_ip", &self.src_ip)
            .eq("proto", &self.proto);
        let text = |row: &Row<'_>, column| row.str(column).filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(db.query(&same)?.iter().any(|row| {
            text(&row, "from_pattern") == self.from_pattern
                && text(&row, "ruri_pattern") == self.ruri_pattern
                && text(&row, "tag") == self.tag
        }))
    }

    pub(crate) fn insert(&self) -> Insert<'static> {
        let or_null = |text: &Option<String>| text.as_ref().map_or(Value::Null, Value::from);
        Insert::into("trusted")
            .set("src_ip", &self.src_ip)
            .set("proto", &self.proto)
            .set("from_pattern", or_null(&self.from_pattern))
            .set("ruri_pattern", or_null(&self.ruri_pattern))
            .set("tag", or_null(&self.tag))
            .set("priority", self.priority)
    }
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Show => {
            let mut db = context.read(&["trusted"])?;
            let select = Select::from("trusted").order_by("src_ip").order_by("priority");
            table::show(context, db.as_mut(), &select)
        }
        Verb::Dump => rpc::show(context, permissions::TRUSTED_DUMP, &[]),
        Verb::Reload => table::reloaded(context, "trusted", permissions::TRUSTED_RELOAD),
        Verb::Add {
            src_ip,
            proto,
            from_pattern,
            tag,
            ruri_pattern,
            priority,
        } => {
            let entry = Entry {
                src_ip: src_ip.clone(),
                proto: proto.clone(),
                from_pattern: from_pattern.clone(),
                ruri_pattern: ruri_pattern.clone(),
                tag: tag.clone(),
                priority: check::number("the priority", priority, i64::from(i32::MIN), i64::from(i32::MAX))?,
            }
            .checked()?;
            let mut db = context.open(&["trusted"])?;
            shared::db::transaction(db.as_mut(), |db| {
                if entry.exists(db)? {
                    let name = format!("{} {}", entry.src_ip, entry.proto);
                    return Err(Error::exists("trusted peer", name));
                }
                db.insert(&entry.insert()).map_err(Error::from)
            })?;
            let live = context.reload(permissions::TRUSTED_RELOAD);
            let data = json!({ "src_ip": entry.src_ip, "proto": entry.proto, "from_pattern": entry.from_pattern,
                "ruri_pattern": entry.ruri_pattern, "tag": entry.tag, "priority": entry.priority,
                "live": live.is_live() });
            let words = format!("added {} {}{}", entry.src_ip, entry.proto, live.words());
            Ok(Answer::new(words, data))
        }
        Verb::Rm { src_ip } => {
            let ip = cidr::parse_ip(src_ip).map_or_else(|_| src_ip.clone(), |ip| ip.to_string());
            let removed = context
                .open(&["trusted"])?
                .delete(&Delete::from("trusted").eq("src_ip", &ip))?;
            if removed == 0 {
                return Err(Error::not_found("trusted peer", ip));
            }
            let data = json!({ "src_ip": ip, "removed": removed });
            Ok(table::changed(
                context,
                &format!("removed {ip}"),
                data,
                permissions::TRUSTED_RELOAD,
            ))
        }
    }
}
