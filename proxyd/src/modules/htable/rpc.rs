//! `htable.*` (Kamailio module htable, "RPC Commands").

use super::Htable;
use super::table::Item;
use super::table::Life;
use super::table::Table;
use super::table::shown_hash;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::value::Value;
use serde_json::Value as Json;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const SET: &str = "Ok. Key set to new value.";

pub(super) static RPCS: &[Rpc] = &[
    Rpc {
        name: "htable.get",
        doc: "Shows an item. Parameters: table, key.",
        call: get,
    },
    Rpc {
        name: "htable.delete",
        doc: "Removes an item. Parameters: table, key.",
        call: delete,
    },
    Rpc {
        name: "htable.sets",
        doc: "Sets a string. Parameters: table, key, value.",
        call: sets,
    },
    Rpc {
        name: "htable.seti",
        doc: "Sets an integer. Parameters: table, key, value.",
        call: seti,
    },
    Rpc {
        name: "htable.setex",
        doc: "Sets an item's end. Parameters: table, key, seconds.",
        call: setex,
    },
    Rpc {
        name: "htable.setxs",
        doc: "Sets a string and its end. Parameters: table, key, value, seconds.",
        call: setxs,
    },
    Rpc {
        name: "htable.setxi",
        doc: "Sets an integer and its end. Parameters: table, key, value, seconds.",
        call: setxi,
    },
    Rpc {
        name: "htable.dump",
        doc: "Lists the items by slot. Parameters: table.",
        call: dump,
    },
    Rpc {
        name: "htable.reload",
        doc: "Reads a table from the database again. Parameters: table.",
        call: reload,
    },
    Rpc {
        name: "htable.store",
        doc: "Writes a table to the database. Parameters: table.",
        call: store,
    },
    Rpc {
        name: "htable.flush",
        doc: "Removes every item. Parameters: table.",
        call: flush,
    },
    Rpc {
        name: "htable.listTables",
        doc: "Lists the tables.",
        call: list_tables,
    },
    Rpc {
        name: "htable.stats",
        doc: "Counts items and slots of the tables.",
        call: stats,
    },
];

fn now() -> u64 {
    crate::clock::wall().as_secs()
}

fn state(script: &Arc<Script>) -> Result<&Htable, RpcFault> {
    script
        .states
        .get::<Htable>()
        .ok_or_else(|| RpcFault::failed("htable is not loaded"))
}

/// The state of a module that has a database.
fn with_database(script: &Arc<Script>) -> Result<&Htable, RpcFault> {
    let state = state(script)?;
    state
        .stored
        .as_ref()
        .ok_or_else(|| RpcFault::failed("No htable db_url"))?;
    Ok(state)
}

fn table<'s>(call: &RpcCall<'_>, script: &'s Arc<Script>) -> Result<&'s Table, RpcFault> {
    let name = call
        .opt_str(0)?
        .ok_or_else(|| RpcFault::failed("No htable name given"))?;
    state(script)?
        .table(name.as_bytes())
        .ok_or_else(|| RpcFault::failed("No such htable"))
}

const SET_USAGE: &str = "Not enough parameters (htable name, key name and value)";
const SETX_USAGE: &str = "Not enough parameters (htable name, key name, value and expire)";

/// A value as JSON with the name of its type.
fn shown(value: &Value<'_>) -> (Json, &'static str) {
    match value {
        Value::Int(n) => (json!(n), "int"),
        Value::Null | Value::Str(_) => (json!(String::from_utf8_lossy(&value.to_text())), "str"),
    }
}

fn get(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(2, "Not enough parameters (htable name and key name)")?;
    let (table, key) = (table(call, script)?, call.str(1)?);
    let item = table.item(key.as_bytes(), now());
    let item = item.ok_or_else(|| RpcFault::failed("Key name doesn't exist in htable."))?;
    let flags = if matches!(item.value, Value::Int(_)) { 0 } else { 2 };
    let expire = match i64::try_from(item.expires) {
        Ok(0) | Err(_) => "NEVER".to_owned(),
        Ok(end) => shared::db::to_local(end),
    };
    Ok(
        json!({"item": {"name": key, "value": shown(&item.value).0, "flags": flags, "expire": expire}})
            .into(),
    )
}

fn delete(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    // Kamailio: the bracket is not closed.
    call.needs(2, "Not enough parameters (htable name & key name")?;
    if table(call, script)?.remove(call.str(1)?.as_bytes()) {
        Ok("Ok. Key deleted.".into())
    } else {
        Err(RpcFault::not_found("Key not found in htable."))
    }
}

fn set(call: &RpcCall<'_>, script: &Arc<Script>, value: Value<'static>, life: Life) -> RpcResult {
    let set = table(call, script)?.set(call.str(1)?.as_bytes(), value, life, now());
    set.map_err(|error| RpcFault::failed(error.to_string()))?;
    Ok(SET.into())
}

fn string(call: &RpcCall<'_>) -> Result<Value<'static>, RpcFault> {
    Ok(Value::owned(call.str(2)?.into_owned().into_bytes()))
}

fn life(call: &RpcCall<'_>) -> Result<Life, RpcFault> {
    Ok(Life::Seconds(u64::try_from(call.int(3)?).unwrap_or(0)))
}

fn sets(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(3, SET_USAGE)?;
    table(call, script)?;
    set(call, script, string(call)?, Life::Defined)
}

fn seti(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(3, SET_USAGE)?;
    table(call, script)?;
    set(call, script, Value::Int(call.int(2)?), Life::Defined)
}

fn setxs(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(4, SETX_USAGE)?;
    table(call, script)?;
    set(call, script, string(call)?, life(call)?)
}

fn setxi(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(4, SETX_USAGE)?;
    table(call, script)?;
    set(call, script, Value::Int(call.int(2)?), life(call)?)
}

fn setex(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(3, "Not enough parameters (htable name, item name and expire)")?;
    let table = table(call, script)?;
    let seconds = u64::try_from(call.int(2)?).unwrap_or(0);
    table.set_end(call.str(1)?.as_bytes(), seconds, now());
    Ok("Ok".into())
}

fn dump(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let items = table(call, script)?.by_slot(now());
    Ok(RpcReply::stream(move |out| {
        out.write_all(b"[")?;
        for (at, slot) in items.chunk_by(|(a, _), (b, _)| a == b).enumerate() {
            if at > 0 {
                out.write_all(b",")?;
            }
            let entry = slot.first().map_or(0, |(entry, _)| *entry);
            let rows: Vec<Json> = slot
                .iter()
                .map(|(_, Item { key, value, .. })| {
                    let (value, kind) = shown(value);
                    json!({"name": String::from_utf8_lossy(key), "value": value, "type": kind})
                })
                .collect();
            serde_json::to_writer(
                &mut *out,
                &json!({"entry": entry, "size": rows.len(), "slot": rows}),
            )?;
        }
        out.write_all(b"]")
    }))
}

fn reload(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = with_database(script)?;
    let table = table(call, script)?;
    match state.load(table, now()) {
        None => Err(RpcFault::failed("No database htable")),
        Some(Ok(())) => Ok("Ok. Htable reloaded.".into()),
        Some(Err(error)) => {
            crate::log::error(
                "htable",
                format_args!("htable.reload {}: {error}", table.definition.name),
            );
            Err(RpcFault::failed(format!("Htable reload failed: {error}")))
        }
    }
}

fn store(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = with_database(script)?;
    let table = table(call, script)?;
    match state.store(table, now()) {
        None => Err(RpcFault::failed("No database htable")),
        Some(Ok(_)) => Ok("Ok. Htable successfully stored to DB.".into()),
        Some(Err(error)) => {
            crate::log::error(
                "htable",
                format_args!("htable.store {}: {error}", table.definition.name),
            );
            Err(RpcFault::failed(format!("Htable store failed: {error}")))
        }
    }
}

fn flush(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    table(call, script)?.clear();
    Ok("Ok. Htable flushed.".into())
}

/// Kamailio: the table defined last comes first.
fn list_tables(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let row = |table: &Table| {
        let d = &table.definition;
        json!({
            "name": d.name, "dbtable": d.dbtable, "dbmode": u8::from(d.write_back), "expire": d.autoexpire,
            "updateexpire": u8::from(d.updateexpire), "size": d.slots, "dmqreplicate": u8::from(d.replicate),
        })
    };
    let rows: Vec<Json> = state(script)?.tables.iter().rev().map(row).collect();
    Ok(Json::from(rows).into())
}

fn stats(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let row = |table: &Table| {
        let slots = table.definition.slots;
        let mut used: BTreeMap<u32, u64> = BTreeMap::new();
        table.each(now(), |item| {
            *used.entry(shown_hash(&item.key) & (slots - 1)).or_default() += 1
        });
        let full = used.len() == slots as usize;
        let min = used.values().min().copied().filter(|_| full).unwrap_or(0);
        let max = used.values().max().copied().unwrap_or(0);
        json!({"name": table.definition.name, "slots": slots, "all": used.values().sum::<u64>(), "min": min, "max": max})
    };
    let rows: Vec<Json> = state(script)?.tables.iter().rev().map(row).collect();
    Ok(Json::from(rows).into())
}
