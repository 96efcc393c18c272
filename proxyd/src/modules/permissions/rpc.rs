//! `permissions.*`: reloads and dumps (Kamailio module permissions, "RPC Commands").

use super::Permissions;
use super::address::Addresses;
use super::address::Row;
use super::files::decide;
use super::load::Pace;
use super::load::Reading;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use serde_json::json;
use shared::rpc::permissions::AddressItem;
use shared::rpc::permissions::AddressRow;
use shared::rpc::permissions::RELOAD_OK;
use std::io;
use std::io::Write;
use std::sync::Arc;

pub(super) static RPCS: &[Rpc] = &[
    Rpc {
        name: "permissions.addressReload",
        doc: "Reads the address table again.",
        call: address_reload,
    },
    Rpc {
        name: "permissions.addressDump",
        doc: "Lists single addresses.",
        call: address_dump,
    },
    Rpc {
        name: "permissions.subnetDump",
        doc: "Lists subnets.",
        call: subnet_dump,
    },
    Rpc {
        name: "permissions.domainDump",
        doc: "Lists domain names.",
        call: domain_dump,
    },
    Rpc {
        name: "permissions.trustedReload",
        doc: "Reads the trusted table again.",
        call: trusted_reload,
    },
    Rpc {
        name: "permissions.trustedDump",
        doc: "Lists trusted peers.",
        call: trusted_dump,
    },
    Rpc {
        name: "permissions.testUri",
        doc: "Tells whether a pair is allowed. Parameters: basename of the files, URI, contact.",
        call: test_uri,
    },
    Rpc {
        name: "permissions.allowUri",
        doc: "Tells whether a pair is allowed. Parameters: basename of the files, URI, contact.",
        call: test_uri,
    },
];

fn state(script: &Arc<Script>) -> Result<&Permissions, RpcFault> {
    script
        .states
        .get::<Permissions>()
        .ok_or_else(|| RpcFault::failed("permissions is not loaded"))
}

fn address_reload(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let mut pace = Pace::new(Reading::Again);
    let rows = state(script)?.read_addresses(&mut pace).map_err(|error| {
        crate::log::error("permissions", format_args!("addressReload: {error}"));
        RpcFault::failed(format!("Reload failed: {error}"))
    })?;
    crate::log::info(
        "permissions",
        format_args!("addressReload: {rows} rows, {} breaks", pace.breaks()),
    );
    Ok(RELOAD_OK.into())
}

fn trusted_reload(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    state(script)?.reload_trusted().map_err(|error| {
        crate::log::error("permissions", format_args!("trustedReload: {error}"));
        RpcFault::failed(format!("Reload failed: {error}"))
    })?;
    Ok(RELOAD_OK.into())
}

/// The tag as dumps show it; Kamailio writes `NULL` for none in some of them.
fn tag<A>(table: &Addresses, row: &Row<A>, none: &str) -> String {
    table.tag(row).map_or_else(
        || none.to_owned(),
        |tag| String::from_utf8_lossy(tag).into_owned(),
    )
}

/// Writes a list row by row, however long it is.
fn list<T: serde::Serialize>(out: &mut dyn Write, rows: impl Iterator<Item = T>) -> io::Result<()> {
    out.write_all(b"[")?;
    for (at, row) in rows.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, &row)?;
    }
    out.write_all(b"]")
}

fn addresses(script: &Arc<Script>) -> Result<Arc<Addresses>, RpcFault> {
    Ok(state(script)?.addresses.load_full())
}

fn address_dump(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let table = addresses(script)?;
    Ok(RpcReply::stream(move |out| {
        let rows = table.hosts.iter().enumerate().map(|(at, row)| AddressRow {
            table: Some(at as u64),
            id: None,
            group: row.group.into(),
            item: AddressItem {
                ip: row.at.to_string(),
                mask: None,
                port: row.port,
                tag: tag(&table, row, "NULL"),
            },
        });
        list(out, rows)
    }))
}

fn subnet_dump(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let table = addresses(script)?;
    Ok(RpcReply::stream(move |out| {
        let rows = table.subnets().into_iter().enumerate().map(|(at, row)| {
            let ip = row.at.address.to_string();
            let item = AddressItem {
                ip,
                mask: Some(row.at.mask),
                port: row.port,
                tag: tag(&table, row, ""),
            };
            AddressRow {
                table: None,
                id: Some(at as u64),
                group: row.group.into(),
                item,
            }
        });
        list(out, rows)
    }))
}

/// Kamailio: repeats the keys `table`, `group`, `item` in one object; we list an object for each.
fn domain_dump(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let table = addresses(script)?;
    Ok(RpcReply::stream(move |out| {
        let rows = table.names.iter().enumerate().map(|(at, row)| {
            let name = String::from_utf8_lossy(&row.at);
            let item = json!({"domain_name": name, "port": row.port, "tag": tag(&table, row, "NULL")});
            json!({"table": at, "group": row.group, "item": item})
        });
        list(out, rows)
    }))
}

/// Kamailio: repeats the keys `table`, `item` in one object; we list an object for each.
fn trusted_dump(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let table = state(script)?
        .trusted
        .load_full()
        .ok_or_else(|| RpcFault::failed("No trusted table"))?;
    Ok(RpcReply::stream(move |out| {
        let rows = table.all().enumerate().map(|(at, rule)| {
            let pattern =
                |p: &Option<super::trusted::Pattern>| p.as_ref().map_or("NULL".into(), |p| p.text.clone());
            let tag = rule.tag.as_deref().map_or("NULL".into(), String::from_utf8_lossy);
            let item = json!({
                "ip": rule.source, "proto": rule.proto.number(), "pattern": pattern(&rule.from),
                "ruri_pattern": pattern(&rule.ruri), "tag": tag, "priority": rule.priority,
            });
            json!({"table": at, "item": item})
        });
        list(out, rows)
    }))
}

fn test_uri(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let missing = |_| RpcFault::failed("Not enough parameters (basename, URI and contact)");
    let basename = call.str(0).map_err(missing)?;
    let (uri, contact) = (call.str(1).map_err(missing)?, call.str(2).map_err(missing)?);
    let [allow, deny] = state.paths(basename.as_bytes());
    if !state.files.knows(&allow) && !state.files.knows(&deny) {
        crate::log::error(
            "permissions",
            format_args!("{}: File <{}> has not been loaded", call.method, allow.display()),
        );
        return Ok("Denied".into());
    }
    let (allow, deny) = (state.files.rules(&allow), state.files.rules(&deny));
    let allowed = decide(&allow, &deny, uri.as_bytes(), &[contact.as_bytes()]);
    Ok(if allowed { "Allowed" } else { "Denied" }.into())
}
