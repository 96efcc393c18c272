//! `uac.reg_*`: registrations at other servers for operators.

use super::Registrations;
use super::Uac;
use super::lookup::Action;
use super::record::Profile;
use super::record::Record;
use crate::clock;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::sync::Arc;

/// The methods.
pub(super) const RPCS: &[Rpc] = &[
    Rpc {
        name: "uac.reg_active",
        doc: "Switches registering on (1) or off (0).",
        call: active,
    },
    Rpc {
        name: "uac.reg_add",
        doc: "Adds a registration: the columns of uacreg in order, `.` for none.",
        call: add,
    },
    Rpc {
        name: "uac.reg_disable",
        doc: "Stops a registration: attribute, value.",
        call: |c, s| change(c, s, Action::Disable),
    },
    Rpc {
        name: "uac.reg_dump",
        doc: "Lists all registrations.",
        call: dump,
    },
    Rpc {
        name: "uac.reg_enable",
        doc: "Begins a registration again: attribute, value.",
        call: |c, s| change(c, s, Action::Enable),
    },
    Rpc {
        name: "uac.reg_info",
        doc: "Shows a registration: attribute, value.",
        call: info,
    },
    Rpc {
        name: "uac.reg_refresh",
        doc: "Reads one row anew: l_uuid.",
        call: refresh,
    },
    Rpc {
        name: "uac.reg_register",
        doc: "Registers now: attribute, value.",
        call: |c, s| change(c, s, Action::Register),
    },
    Rpc {
        name: "uac.reg_reload",
        doc: "Reads the table anew.",
        call: reload,
    },
    Rpc {
        name: "uac.reg_remove",
        doc: "Removes a registration: l_uuid.",
        call: remove,
    },
    Rpc {
        name: "uac.reg_unregister",
        doc: "Unregisters now: attribute, value.",
        call: |c, s| change(c, s, Action::Unregister),
    },
];

fn registrations(script: &Arc<Script>) -> Result<&Registrations, RpcFault> {
    let state = script.states.get::<Uac>();
    state
        .and_then(|state| state.registrations.as_ref())
        .ok_or_else(|| RpcFault::failed("Not enabled"))
}

fn now() -> u64 {
    clock::wall().as_secs()
}

fn show(registrations: &Registrations, record: &Record) -> Value {
    let p = &record.profile;
    let or_none = |text: &str| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text.to_owned()
        }
    };
    let contact = if p.contact_addr.is_empty() {
        &registrations.contact_addr
    } else {
        &p.contact_addr
    };
    let mut out = Map::new();
    let mut add = |name: &str, value: Value| out.insert(name.to_owned(), value);
    add("l_uuid", json!(p.l_uuid));
    add("l_username", json!(p.l_username));
    add("l_domain", json!(p.l_domain));
    add("r_username", json!(p.r_username));
    add("r_domain", json!(p.r_domain));
    add("realm", json!(p.realm));
    add("auth_username", json!(p.auth_username));
    add("auth_password", json!(or_none(&p.auth_password)));
    add("auth_ha1", json!(or_none(&p.auth_ha1)));
    add("auth_proxy", json!(p.auth_proxy));
    add("expires", json!(p.expires));
    add("flags", json!(record.flags));
    add(
        "diff_expires",
        json!(record.timer_expires.cast_signed() - now().cast_signed()),
    );
    add("timer_expires", json!(record.timer_expires));
    add("reg_init", json!(record.reg_init));
    add("reg_delay", json!(p.reg_delay));
    add("contact_addr", json!(contact));
    if !p.contact_user.is_empty() {
        add("contact_user", json!(p.contact_user));
    }
    add(
        "socket",
        if p.socket.is_empty() {
            Value::Null
        } else {
            json!(p.socket)
        },
    );
    Value::Object(out)
}

fn dump(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let registrations = registrations(script)?;
    let records = registrations.records.lock();
    let rows: Vec<Value> = records
        .values()
        .map(|record| show(registrations, record))
        .collect();
    Ok(Value::from(rows).into())
}

fn filter(call: &RpcCall<'_>) -> Result<(String, String), RpcFault> {
    let invalid = |_| RpcFault::bad_request("Invalid Parameters");
    Ok((
        call.str(0).map_err(invalid)?.into_owned(),
        call.str(1).map_err(invalid)?.into_owned(),
    ))
}

fn info(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let registrations = registrations(script)?;
    let (name, value) = filter(call)?;
    if Profile::default().field(&name).is_none() {
        return Err(RpcFault::bad_request("Unsupported filter attribute"));
    }
    let records = registrations.records.lock();
    let found = records
        .values()
        .find(|record| record.profile.field(&name) == Some(&value));
    found
        .map(|record| show(registrations, record).into())
        .ok_or_else(|| RpcFault::not_found("Record not found"))
}

fn change(call: &RpcCall<'_>, script: &Arc<Script>, action: Action) -> RpcResult {
    let (name, value) = filter(call)?;
    if Profile::default().field(&name).is_none() {
        return Err(RpcFault::bad_request("Unsupported filter attribute"));
    }
    registrations(script)?
        .change(&name, &value, action)
        .map_err(|_| RpcFault::not_found("Record not found"))?;
    Ok(RpcReply::empty())
}

fn active(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let mode = call
        .int(0)
        .map_err(|_| RpcFault::bad_request("Invalid Parameters"))?;
    let old = registrations(script)?.set_active(mode);
    Ok(json!({ "omode": old, "nmode": mode }).into())
}

fn reload(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    registrations(script)?
        .reload(now())
        .map_err(|error| RpcFault::failed(format!("Failed to reload records: {error}")))?;
    Ok(RpcReply::empty())
}

fn refresh(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let uuid = call
        .str(0)
        .map_err(|_| RpcFault::bad_request("Invalid Parameters"))?;
    let found = registrations(script)?
        .refresh(&uuid, now())
        .map_err(|error| RpcFault::failed(error.to_string()))?;
    if found {
        Ok(RpcReply::empty())
    } else {
        Err(RpcFault::not_found("Record not found"))
    }
}

fn remove(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let uuid = call
        .str(0)
        .map_err(|_| RpcFault::bad_request("Invalid Parameters"))?;
    let mut records = registrations(script)?.records.lock();
    let record = records
        .get_mut(&*uuid)
        .filter(|record| !record.leaving)
        .ok_or_else(|| RpcFault::not_found("Record not found"))?;
    Action::Unregister.apply(record);
    record.leaving = true;
    Ok(RpcReply::empty())
}

fn add(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let invalid = |_| RpcFault::bad_request("Invalid Parameters");
    let text = |at: usize| match call.str(at) {
        Ok(text) if text == "." => Ok(String::new()),
        Ok(text) => Ok(text.into_owned()),
        Err(fault) => Err(invalid(fault)),
    };
    let optional = |at: usize| {
        if call.value(at).is_some() {
            text(at)
        } else {
            Ok(String::new())
        }
    };
    let profile = Profile {
        l_uuid: text(0)?,
        l_username: text(1)?,
        l_domain: text(2)?,
        r_username: text(3)?,
        r_domain: text(4)?,
        realm: text(5)?,
        auth_username: text(6)?,
        auth_password: text(7)?,
        auth_ha1: text(8)?,
        auth_proxy: text(9)?,
        expires: u32::try_from(call.int(10).map_err(invalid)?).unwrap_or(0),
        flags: call.int(11).map_err(invalid)?,
        reg_delay: u64::try_from(call.int(12).map_err(invalid)?).unwrap_or(0),
        socket: optional(13)?,
        contact_addr: optional(14)?,
        contact_user: optional(15)?,
    };
    if let Some(flaw) = profile.flaw() {
        return Err(RpcFault::failed(format!("Failed to add record: {flaw}")));
    }
    let mut records = registrations(script)?.records.lock();
    if records.get(&profile.l_uuid).is_some_and(|record| !record.leaving) {
        return Err(RpcFault::new(409, "uuid already exists"));
    }
    records.insert(profile.l_uuid.clone(), Record::new(profile, now()));
    Ok(RpcReply::empty())
}
