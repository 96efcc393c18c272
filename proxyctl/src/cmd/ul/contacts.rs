//! Contacts of a dump as rows, printed while they arrive (Kamailio usrloc `ul.dump`, `ul.lookup`).

use serde_json::Value;
use serde_json::json;
use shared::report::Report;
use shared::rpc::ul;
use shared::rpc::ul::AorEntry;
use shared::rpc::ul::Contact;
use shared::rpc::ul::Expires;

use super::Table;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::printer::Printer;
use crate::stream::Each;

/// How much of a contact is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// What fits a line.
    Short,
    /// Everything.
    Wide,
}

const SHORT: [&str; 7] = [
    "aor",
    "contact",
    "expires",
    "q",
    "received",
    "socket",
    "user_agent",
];
const WIDE: [&str; 15] = [
    "path",
    "call_id",
    "cseq",
    "state",
    "flags",
    "cflags",
    "methods",
    "ruid",
    "instance",
    "reg_id",
    "server_id",
    "tcpconn_id",
    "last_keepalive",
    "ka_roundtrip",
    "last_modified",
];

impl Width {
    pub(crate) fn of(wide: bool) -> Self {
        if wide { Self::Wide } else { Self::Short }
    }

    fn columns(self) -> Vec<&'static str> {
        match self {
            Self::Short => SHORT.to_vec(),
            Self::Wide => SHORT.into_iter().chain(WIDE).collect(),
        }
    }
}

/// Shows the contacts of a table, or of one AoR.
pub(crate) fn show(
    context: &Context<'_>,
    table: Table,
    aor: Option<&str>,
    width: Width,
) -> Result<Answer, Error> {
    let Some(aor) = aor else {
        return all(context, table, width);
    };
    let found = lookup(context, table, aor)?;
    let record: ul::Record = serde_json::from_value(found).map_err(|e| Error::Answer {
        method: ul::LOOKUP.to_owned(),
        reason: e.to_string(),
    })?;
    let mut report = Report::rows(&width.columns());
    record
        .contacts
        .iter()
        .for_each(|entry| report.push(row(&record.aor, &entry.contact, width)));
    Ok(Answer::report(report))
}

/// Asks the daemon for the contacts of an AoR.
pub(crate) fn lookup(context: &Context<'_>, table: Table, aor: &str) -> Result<Value, Error> {
    let found = context.call(ul::LOOKUP, &[json!(table.name()), json!(aor)]);
    found.map_err(|error| match error {
        Error::Fault(fault) if fault.message == ul::AOR_NOT_FOUND => {
            let (what, list) = match table {
                Table::Location => ("registration of", "online"),
                Table::Aliases => ("alias", "alias show --brief"),
            };
            Error::NotFound {
                what,
                name: aor.to_owned(),
                hint: format!(": `proxyctl {list}` shows who there is"),
            }
        }
        other => other,
    })
}

/// Shows who has contacts in a table.
pub(crate) fn online(context: &Context<'_>, table: Table) -> Result<Answer, Error> {
    let mut printer = Printer::new(context.output, &["aor"]);
    let mut visit = |entry: AorEntry| {
        let aor = match entry {
            AorEntry::Full(info) => info.aor,
            AorEntry::Brief(aor) => aor,
        };
        printer.push([json!(aor)]).map_err(|e| e.to_string())
    };
    dump(context, table, &[json!("brief")], &mut visit)?;
    printer.finish()
}

fn all(context: &Context<'_>, table: Table, width: Width) -> Result<Answer, Error> {
    let mut printer = Printer::new(context.output, &width.columns());
    let mut visit = |entry: AorEntry| {
        let AorEntry::Full(info) = entry else {
            return Ok(());
        };
        let mut contacts = info.contacts.iter();
        contacts
            .try_for_each(|entry| printer.push(row(&info.aor, &entry.contact, width)))
            .map_err(|e| e.to_string())
    };
    dump(context, table, &[], &mut visit)?;
    printer.finish()
}

fn dump(
    context: &Context<'_>,
    table: Table,
    params: &[Value],
    visit: &mut dyn FnMut(AorEntry) -> Result<(), String>,
) -> Result<(), Error> {
    let way = Each::new(&["Domains", "Domain", "AoRs"], visit).beside("Domain", table.name());
    context.stream(ul::DUMP, params, way)
}

/// A contact's cells, the short ones first.
fn row(aor: &str, contact: &Contact, width: Width) -> Vec<Value> {
    let set = |text: &str| {
        if text == ul::NOT_SET {
            Value::Null
        } else {
            json!(text)
        }
    };
    let expires = match &contact.expires {
        Expires::Seconds(n) => json!(n),
        Expires::Word(word) => json!(word),
    };
    let mut cells = vec![
        json!(aor),
        json!(contact.address),
        expires,
        // Kamailio: -1 is no q at all.
        if contact.q < 0.0 {
            Value::Null
        } else {
            short(contact.q)
        },
        set(&contact.received),
        set(&contact.socket),
        set(&contact.user_agent),
    ];
    if width == Width::Wide {
        cells.extend([
            set(&contact.path),
            json!(contact.call_id),
            json!(contact.cseq),
            json!(contact.state),
            json!(contact.flags),
            json!(contact.cflags),
            json!(contact.methods),
            json!(contact.ruid),
            set(&contact.instance),
            json!(contact.reg_id),
            json!(contact.server_id),
            json!(contact.tcpconn_id),
            json!(contact.last_keepalive),
            json!(contact.ka_roundtrip),
            json!(contact.last_modified),
        ]);
    }
    cells
}

/// A number without a fraction it does not have.
fn short(q: f64) -> Value {
    if q.fract() == 0.0 && q.abs() < 1e15 {
        json!(q as i64)
    } else {
        json!(q)
    }
}
