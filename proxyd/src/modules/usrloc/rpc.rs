//! `ul.*`: what an operator sees and changes of the location tables (Kamailio usrloc, RPC Commands).

use super::COMMIT_TIMEOUT;
use super::Usrloc;
use super::contact::Binding;
use super::contact::Contact;
use super::contact::NO_CONNECTION;
use super::contact::Q_UNSET;
use super::expire::seconds;
use super::store::Contacts;
use super::table::Domain;
use super::table::Mode;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use serde_json::Value;
use shared::db::Op;
use shared::db::Select;
use shared::rpc::ul;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// The methods of this module.
pub(super) static RPCS: &[Rpc] = &[
    Rpc {
        name: "ul.dump",
        doc: "Dump user location tables. Parameters: [brief].",
        call: dump,
    },
    Rpc {
        name: "ul.lookup",
        doc: "Lookup one AOR. Parameters: table, AOR.",
        call: lookup,
    },
    Rpc {
        name: "ul.add",
        doc: "Add a contact. Parameters: table, AOR, contact, expires, q, path, flags, cflags, methods, [received, [socket]].",
        call: add,
    },
    Rpc {
        name: "ul.rm",
        doc: "Delete an AOR with its contacts. Parameters: table, AOR.",
        call: remove,
    },
    Rpc {
        name: "ul.rm_contact",
        doc: "Delete a contact. Parameters: table, AOR, contact.",
        call: remove_contact,
    },
    Rpc {
        name: "ul.flush",
        doc: "Write what is not in the database yet.",
        call: flush,
    },
    Rpc {
        name: "ul.db_users",
        doc: "Count users with contacts in the database. Parameters: table.",
        call: db_users,
    },
    Rpc {
        name: "ul.db_contacts",
        doc: "Count unexpired contacts in the database. Parameters: table.",
        call: db_contacts,
    },
    Rpc {
        name: "ul.db_expired_contacts",
        doc: "Count expired contacts in the database. Parameters: table.",
        call: db_expired_contacts,
    },
];

fn usrloc(script: &Script) -> Result<&Usrloc, RpcFault> {
    script
        .states
        .get::<Usrloc>()
        .ok_or_else(|| RpcFault::failed("module usrloc is not loaded"))
}

fn now() -> u32 {
    seconds(crate::clock::wall())
}

fn dump(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let brief = call.opt_str(0)?.is_some_and(|word| word == "brief");
    let usrloc = usrloc(script)?;
    let (size, domains) = (usrloc.size, usrloc.tables().all());
    Ok(RpcReply::stream(move |out| {
        out.write_all(b"{\"Domains\":[")?;
        for (index, domain) in domains.iter().enumerate() {
            if index > 0 {
                out.write_all(b",")?;
            }
            dump_domain(domain, size, brief, out)?;
        }
        out.write_all(b"]}")
    }))
}

/// Writes a table shard by shard: what is gathered under a lock goes out without it, however slow the reader is.
fn dump_domain(domain: &Domain, size: u64, brief: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let mut text = Vec::new();
    text.extend_from_slice(b"{\"Domain\":{\"Domain\":");
    json_text(&mut text, domain.name.as_bytes());
    text.extend_from_slice(b",\"Size\":");
    text.extend_from_slice(size.to_string().as_bytes());
    text.extend_from_slice(b",\"AoRs\":[");
    let (now, committed, mut first) = (now(), domain.committed(), true);
    for shard in 0..domain.store().shards() {
        domain.store().each_in_shard(shard, |contacts| {
            let Some(aor) = contacts.clone().next().map(|contact| contact.aor()) else {
                return;
            };
            if !std::mem::replace(&mut first, false) {
                text.push(b',');
            }
            if brief {
                text.extend_from_slice(b"{\"AoR\":");
                json_text(&mut text, aor);
                text.push(b'}');
            } else {
                text.extend_from_slice(b"{\"Info\":{\"AoR\":");
                json_text(&mut text, aor);
                text.extend_from_slice(b",\"HashID\":");
                text.extend_from_slice(aor_hash(aor).to_string().as_bytes());
                text.extend_from_slice(b",\"Contacts\":");
                json_contacts(&mut text, contacts, now, committed);
                text.extend_from_slice(b"}}");
            }
        });
        out.write_all(&text)?;
        text.clear();
    }
    let counts = domain.counts();
    write!(
        out,
        "],\"Stats\":{{\"Records\":{},\"Max-Slots\":{}}}}}}}",
        counts.users, counts.fullest
    )
}

fn lookup(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let usrloc = usrloc(script)?;
    let (domain, aor) = table_and_aor(call, usrloc, "Not enough parameters (table and AOR to lookup)")?;
    let mut text = Vec::new();
    let found = domain.read(&aor, |contacts| {
        let found = contacts.len() > 0;
        text.extend_from_slice(b"{\"AoR\":");
        json_text(&mut text, &aor);
        text.extend_from_slice(b",\"Contacts\":");
        json_contacts(&mut text, contacts, now(), domain.committed());
        text.push(b'}');
        found
    });
    match found {
        Ok(true) => Ok(RpcReply::stream(move |out| out.write_all(&text))),
        Ok(false) => Err(RpcFault::failed("AOR not found in location table")),
        Err(_) => Err(unavailable()),
    }
}

fn remove(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let (domain, aor) = table_and_aor(
        call,
        usrloc(script)?,
        "Not enough parameters (table and AOR to lookup)",
    )?;
    let ((), ticket) = domain
        .edit(&aor, |edit| edit.clear())
        .map_err(|_| unavailable())?;
    ticket.wait(COMMIT_TIMEOUT).map_err(|_| unavailable())?;
    Ok(RpcReply::empty())
}

fn remove_contact(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    const USAGE: &str = "Not enough parameters (table, AOR and contact)";
    let Ok(Some(address)) = call.opt_str(2) else {
        return Err(RpcFault::failed(USAGE));
    };
    let usrloc = usrloc(script)?;
    let (domain, aor) = table_and_aor(call, usrloc, USAGE)?;
    let (result, ticket) = domain
        .edit(&aor, |edit| {
            if edit.contacts().len() == 0 {
                return Err(RpcFault::not_found("AOR not found"));
            }
            let wanted = Binding {
                address: address.as_bytes(),
                ..Binding::default()
            };
            let at = usrloc.matching.position(edit.contacts(), &wanted).or_else(|| {
                // Matching by Call-ID or Path has neither here: the URI as it stands decides.
                edit.contacts()
                    .position(|contact| contact.address() == wanted.address)
            });
            at.map(|at| edit.remove(at))
                .ok_or_else(|| RpcFault::not_found("Contact not found"))
        })
        .map_err(|_| unavailable())?;
    result?;
    ticket.wait(COMMIT_TIMEOUT).map_err(|_| unavailable())?;
    Ok(RpcReply::empty())
}

fn add(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let usage = || RpcFault::failed("Not enough parameters or wrong format");
    let text = |index| call.opt_str(index).map_err(|_| usage());
    let needed = |index| call.opt_int(index).ok().flatten().ok_or_else(usage);
    if call.count() < 9 {
        return Err(usage());
    }
    let address = text(2)?.filter(|address| !address.is_empty()).ok_or_else(usage)?;
    let (expires, flags, cflags, methods) = (needed(3)?, needed(6)?, needed(7)?, needed(8)?);
    let q = call.opt_float(4).ok().flatten().ok_or_else(usage)?;
    let set = |value: Option<std::borrow::Cow<'_, str>>| {
        value
            .filter(|value| !matches!(&**value, "" | "." | "0"))
            .map_or_else(Vec::new, |value| value.into_owned().into_bytes())
    };
    let (path, received, socket) = (set(text(5)?), set(text(9)?), set(text(10)?));
    let usrloc = usrloc(script)?;
    let (domain, aor) = table_and_aor(call, usrloc, "Not enough parameters or wrong format")?;
    let now = now();
    let ruid = usrloc.new_ruid();
    let binding = Binding {
        aor: &aor,
        address: address.as_bytes(),
        ruid: &ruid,
        call_id: RPC_CALL_ID,
        cseq: 1,
        user_agent: RPC_USER_AGENT,
        path: &path,
        received: &received,
        socket: &socket,
        expires: if expires == 0 {
            0
        } else {
            u32::try_from(i64::from(now).saturating_add(expires))
                .unwrap_or(u32::MAX)
                .max(1)
        },
        // Kamailio: any q is taken here, also one above 1.
        q: if q < 0.0 {
            Q_UNSET
        } else {
            (q * 1000.0).min(f64::from(i16::MAX)) as i16
        },
        flags: flags as u32,
        cflags: cflags as u32,
        methods: methods as u32,
        modified: now,
        last_keepalive: now,
        server_id: usrloc.server_id(),
        connection: NO_CONNECTION,
        keepalive: cflags as u32 & usrloc.nat_bflag != 0,
        ..Binding::default()
    };
    let (result, ticket) = domain
        .edit(&aor, |edit| {
            match usrloc.matching.position(edit.contacts(), &binding) {
                Some(at) => edit.update(at, &Binding { ruid: b"", ..binding }),
                None => edit.insert(&binding),
            }
        })
        .map_err(|_| unavailable())?;
    result.map_err(|_| usage())?;
    ticket.wait(COMMIT_TIMEOUT).map_err(|_| unavailable())?;
    Ok(RpcReply::empty())
}

/// Kamailio: Call-ID and User-Agent of contacts added by hand, by which its tools know them.
const RPC_CALL_ID: &[u8] = b"dfjrewr12386fd6-343@kamailio.rpc";
const RPC_USER_AGENT: &[u8] = b"kamailio SIP Router - RPC Server";

fn flush(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    match usrloc(script)?.tables().journal() {
        Some(journal) if !journal.flush(Duration::from_secs(10)) => Err(unavailable()),
        _ => Ok(RpcReply::empty()),
    }
}

fn db_contacts(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    count(call, script, Op::Gt)
}

fn db_expired_contacts(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    count(call, script, Op::Le)
}

fn db_users(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let usrloc = usrloc(script)?;
    let (database, table) = database_and_table(call, usrloc)?;
    let layout = usrloc.tables().layout();
    let columns = [layout.username(), layout.domain()];
    let mut users = ahash::AHashSet::new();
    for select in unexpired(usrloc, &table, Op::Gt) {
        let select = select.columns(&columns);
        let result = database.with(|db| {
            db.each(&select, &mut |row| {
                let cell = |index| {
                    row.at(index)
                        .map_or_else(Vec::new, |value| value.to_bytes().into_owned())
                };
                users.insert((cell(0), cell(1)));
                Ok(())
            })
        });
        result.map_err(|_| RpcFault::failed("Failed to query AoR count"))?;
    }
    Ok(Value::from(users.len()).into())
}

fn count(call: &RpcCall<'_>, script: &Arc<Script>, op: Op) -> RpcResult {
    let usrloc = usrloc(script)?;
    let (database, table) = database_and_table(call, usrloc)?;
    let mut total = 0;
    for select in unexpired(usrloc, &table, op) {
        total += database
            .with(|db| db.count(&select))
            .map_err(|_| RpcFault::failed("Failed to query contact count"))?;
    }
    Ok(Value::from(total).into())
}

/// Rows that end after now, or have ended; permanent ones, whose end is in 1970, never do.
fn unexpired<'a>(usrloc: &'a Usrloc, table: &'a str, op: Op) -> Vec<Select<'a>> {
    let layout = usrloc.tables().layout();
    let (now, epoch) = (layout.time(now()), layout.time(PERMANENT_BEFORE));
    let all = || Select::from(table);
    match op {
        Op::Gt => vec![
            all().filter(layout.expires(), Op::Gt, now),
            all().filter(layout.expires(), Op::Le, epoch),
        ],
        _ => vec![
            all()
                .filter(layout.expires(), Op::Le, now)
                .filter(layout.expires(), Op::Gt, epoch),
        ],
    }
}

/// Rows of permanent contacts bear the second 0, give or take what time zones and Julian days make of it.
const PERMANENT_BEFORE: u32 = 86_400;

fn database_and_table<'u>(
    call: &RpcCall<'_>,
    usrloc: &'u Usrloc,
) -> Result<(&'u Arc<crate::modules::database::Database>, String), RpcFault> {
    let mode = usrloc.tables().settings.mode;
    let Some(database) = usrloc.tables().database().filter(|_| mode != Mode::Memory) else {
        return Err(RpcFault::failed(format!(
            "Command is not supported in db_mode={}",
            mode.number()
        )));
    };
    let Ok(Some(table)) = call.opt_str(0) else {
        return Err(RpcFault::failed("Not enough parameters (table to lookup)"));
    };
    Ok((database, table.into_owned()))
}

fn table_and_aor(
    call: &RpcCall<'_>,
    usrloc: &Usrloc,
    usage: &'static str,
) -> Result<(Arc<Domain>, Vec<u8>), RpcFault> {
    let (Ok(Some(table)), Ok(Some(aor))) = (call.opt_str(0), call.opt_str(1)) else {
        return Err(RpcFault::failed(usage));
    };
    let domain = usrloc
        .tables()
        .find(table.as_bytes())
        .ok_or_else(|| RpcFault::failed("Domain table not found"))?;
    let mut aor = aor.into_owned().into_bytes();
    match memchr::memchr(b'@', &aor) {
        Some(at) if !usrloc.use_domain() => aor.truncate(at),
        None if usrloc.use_domain() => return Err(RpcFault::failed(ul::DOMAIN_MISSING)),
        _ => {}
    }
    if !usrloc.case_sensitive {
        aor.make_ascii_lowercase();
    }
    Ok((domain, aor))
}

fn unavailable() -> RpcFault {
    RpcFault::failed("the database does not answer; the change is kept and will be written")
}

fn json_contacts(out: &mut Vec<u8>, contacts: Contacts<'_>, now: u32, committed: u64) {
    out.push(b'[');
    for (index, contact) in contacts.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"Contact\":");
        json_contact(out, contact, now, committed);
        out.push(b'}');
    }
    out.push(b']');
}

fn json_contact(out: &mut Vec<u8>, contact: Contact<'_>, now: u32, committed: u64) {
    fn name(out: &mut Vec<u8>, name: &str) {
        out.push(if out.last() == Some(&b'{') { b'"' } else { b',' });
        if out.last() == Some(&b',') {
            out.push(b'"');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    }
    let text = |out: &mut Vec<u8>, label, value: &[u8]| {
        name(out, label);
        json_text(out, value);
    };
    let maybe = |out: &mut Vec<u8>, label, value: &[u8]| {
        text(out, label, if value.is_empty() { b"[not set]" } else { value })
    };
    let number = |out: &mut Vec<u8>, label, value: i64| {
        name(out, label);
        crate::script::value::print_int(value, out);
    };
    out.push(b'{');
    text(out, "Address", contact.address());
    match contact.expires() {
        0 => text(out, "Expires", b"permanent"),
        end if end <= now => text(out, "Expires", b"expired"),
        end => number(out, "Expires", i64::from(end - now)),
    }
    name(out, "Q");
    json_q(out, contact.q());
    text(out, "Call-ID", contact.call_id());
    number(out, "CSeq", contact.cseq().into());
    maybe(out, "User-Agent", contact.user_agent);
    maybe(out, "Received", contact.received());
    maybe(out, "Path", contact.path);
    text(out, "State", contact.sync(committed).name().as_bytes());
    number(out, "Flags", contact.flags().into());
    number(out, "CFlags", contact.cflags().into());
    maybe(out, "Socket", contact.socket);
    number(out, "Methods", contact.methods().into());
    text(out, "Ruid", contact.ruid());
    maybe(out, "Instance", contact.instance());
    number(out, "Reg-Id", contact.reg_id().into());
    number(out, "Server-Id", contact.server_id().into());
    number(
        out,
        "Tcpconn-Id",
        contact
            .connection()
            .map_or(-1, |id| i64::try_from(id).unwrap_or(-1)),
    );
    number(out, "Keepalive", contact.keepalive().into());
    number(out, "Last-Keepalive", contact.last_keepalive().into());
    number(out, "KA-Roundtrip", contact.roundtrip().into());
    number(out, "Last-Modified", contact.modified().into());
    out.push(b'}');
}

/// Kamailio: whole numbers stand without a fraction, others with six digits of it; unset is -1.
fn json_q(out: &mut Vec<u8>, q: i16) {
    let text = match q {
        Q_UNSET => "-1".to_owned(),
        q if q % 1000 == 0 => (q / 1000).to_string(),
        q => format!("{}.{:03}000", q / 1000, q % 1000),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Writes text as a JSON string; bytes that are no UTF-8 are shown as the replacement character.
fn json_text(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| (b' '..0x7f).contains(b) && !matches!(b, b'"' | b'\\');
    if text.iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    // A string always is JSON, and memory takes it.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
}

/// The number that Kamailio shows for an address: its hash over four bytes at a time, high ones first.
pub(crate) fn aor_hash(aor: &[u8]) -> u32 {
    let sum = aor.chunks(4).fold(0u32, |sum, chunk| {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        sum.wrapping_add(word ^ word >> 3)
    });
    sum.wrapping_add(sum >> 11)
        .wrapping_add((sum >> 13).wrapping_add(sum >> 23))
}

#[cfg(test)]
mod tests {
    use super::super::contact::OwnedContact;
    use super::*;

    #[test]
    fn hashes_are_those_that_kamailio_shows() {
        for (aor, hash) in [
            ("", 0),
            ("bob", 7_222_211),
            ("zed", 7_683_094),
            ("alice", 1_834_153_949),
            ("nosup", 1_672_622_023),
            ("recv", 2_084_386_455),
            ("explicit", 3_460_741_723),
            ("zed@x.org", 3_967_441_663),
        ] {
            assert_eq!(aor_hash(aor.as_bytes()), hash, "{aor}");
        }
    }

    #[test]
    fn a_contact_reads_as_in_kamailio() {
        let binding = Binding {
            aor: b"alice",
            address: b"sip:a\"3@127.9.9.1",
            ruid: b"uloc-1-2-5",
            call_id: b"c6",
            cseq: 6,
            user_agent: b"f\xffoo",
            socket: b"udp:127.0.0.1:25060",
            expires: 1600,
            modified: 1000,
            last_keepalive: 1000,
            q: 200,
            methods: 513,
            ..Binding::default()
        };
        let owned = OwnedContact::of(&binding).unwrap();
        let mut out = Vec::new();
        json_contact(&mut out, owned.view(), 1000, 1);
        let expected = concat!(
            r#"{"Address":"sip:a\"3@127.9.9.1","Expires":600,"Q":0.200000,"Call-ID":"c6","CSeq":6,"User-Agent":"f"#,
            "\u{fffd}",
            r#"oo","Received":"[not set]","Path":"[not set]","State":"CS_NEW","Flags":0,"CFlags":0,"#,
            r#""Socket":"udp:127.0.0.1:25060","Methods":513,"Ruid":"uloc-1-2-5","Instance":"[not set]","Reg-Id":0,"#,
            r#""Server-Id":0,"Tcpconn-Id":-1,"Keepalive":0,"Last-Keepalive":1000,"KA-Roundtrip":0,"Last-Modified":1000}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        for (q, text) in [
            (-1, "-1"),
            (0, "0"),
            (1000, "1"),
            (2000, "2"),
            (123, "0.123000"),
            (5, "0.005000"),
        ] {
            let mut out = Vec::new();
            json_q(&mut out, q);
            assert_eq!(out, text.as_bytes());
        }
    }
}
