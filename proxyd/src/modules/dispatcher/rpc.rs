//! `dispatcher.*`: what there is, and changing it while it serves.

use super::Dispatcher;
use super::destination::DISABLED;
use super::destination::Destination;
use super::destination::INACTIVE;
use super::destination::PROBING;
use super::destination::TRYING;
use super::hash;
use super::sets::Inherit;
use super::sets::Set;
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
use std::sync::atomic::Ordering;

/// The methods.
pub(super) const RPCS: &[Rpc] = &[
    Rpc {
        name: "dispatcher.add",
        doc: "Adds a destination in memory: set, uri [, flags, priority, attrs].",
        call: add,
    },
    Rpc {
        name: "dispatcher.hash",
        doc: "Shows the hash of texts: number of slots, value [, value].",
        call: hash,
    },
    Rpc {
        name: "dispatcher.list",
        doc: "Lists the sets; `short` leaves attributes out, `full` adds addresses.",
        call: list,
    },
    Rpc {
        name: "dispatcher.ping_active",
        doc: "Shows whether pings are sent, or sets it: 0 or 1.",
        call: ping_active,
    },
    Rpc {
        name: "dispatcher.reload",
        doc: "Reads the sets anew.",
        call: reload,
    },
    Rpc {
        name: "dispatcher.remove",
        doc: "Removes a destination from memory: set, uri.",
        call: remove,
    },
    Rpc {
        name: "dispatcher.set_duid_state",
        doc: "Sets a state: state, set, duid.",
        call: set_duid_state,
    },
    Rpc {
        name: "dispatcher.set_state",
        doc: "Sets a state: a, i, d or t, and p; set; uri or all.",
        call: set_state,
    },
];

fn state(script: &Arc<Script>) -> Result<&Dispatcher, RpcFault> {
    script
        .states
        .get::<Dispatcher>()
        .ok_or_else(|| RpcFault::failed("dispatcher is not loaded"))
}

fn invalid<T>(_: T) -> RpcFault {
    RpcFault::failed("Invalid Parameters")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Short,
    Usual,
    Full,
}

fn list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let detail = match call.opt_str(0).map_err(invalid)?.as_deref() {
        Some("short") => Detail::Short,
        Some("full") => Detail::Full,
        _ => Detail::Usual,
    };
    let sets = state.sets.load();
    let records: Vec<Value> = sets
        .iter()
        .map(|set| json!({ "SET": show_set(state, set, detail) }))
        .collect();
    if records.is_empty() {
        return Err(RpcFault::failed("No Destination Sets"));
    }
    Ok(json!({ "NRSETS": records.len(), "RECORDS": records }).into())
}

fn show_set(state: &Dispatcher, set: &Set, detail: Detail) -> Value {
    let targets: Vec<Value> = set
        .destinations
        .iter()
        .map(|d| json!({ "DEST": show(state, d, detail) }))
        .collect();
    json!({ "ID": set.id, "TARGETS": targets })
}

fn text(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        Value::Null
    } else {
        String::from_utf8_lossy(bytes).into()
    }
}

fn show(state: &Dispatcher, destination: &Destination, detail: Detail) -> Value {
    let attributes = &destination.attributes;
    let mut out = Map::new();
    let mut add = |name: &str, value: Value| out.insert(name.to_owned(), value);
    add("URI", text(&destination.uri));
    add("FLAGS", destination.state().into());
    add("PRIORITY", destination.priority.into());
    if detail == Detail::Full {
        add("HOST", destination.host.clone().into());
        add(
            "IPADDR",
            destination
                .addresses
                .first()
                .map_or(Value::Null, |ip| ip.to_string().into()),
        );
        add("PORT", destination.port.into());
        add("PROTOID", destination.transport.map_or(0, protocol_number).into());
        add("DNSTIME_SEC", 0.into());
        add("DNSTIME_USEC", 0.into());
    }
    if let Some(body) = state.attributes(destination).filter(|_| detail != Detail::Short) {
        let shown = json!({
            "BODY": text(body),
            "DUID": text(&attributes.duid),
            "MAXLOAD": attributes.max_load,
            "WEIGHT": attributes.weight,
            "RWEIGHT": attributes.relative_weight,
            "SOCKET": text(&attributes.socket),
            "SOCKNAME": text(&attributes.socket_name),
            "OBPROXY": text(&attributes.outbound_proxy),
        });
        add("ATTRS", shown);
    }
    if state.latency_stats {
        let latency = destination.latency.lock();
        let shown = json!({
            "AVG": latency.average,
            "STD": latency.deviation(),
            "EST": latency.estimate,
            "MAX": latency.max as u64,
            "TIMEOUT": latency.timeouts,
        });
        add("LATENCY", shown);
    }
    if state.counts_loads() {
        add(
            "RUNTIME",
            json!({ "DLGLOAD": destination.load.load(Ordering::Relaxed) }),
        );
    }
    Value::Object(out)
}

/// Kamailio's numbers of transports.
fn protocol_number(transport: shared::net::Transport) -> u8 {
    use shared::net::Transport;
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Sctp => 4,
        Transport::Ws => 5,
        Transport::Wss => 6,
    }
}

fn set_state(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    change_state(call, script, |destination, wanted| *destination.uri == *wanted)
}

fn set_duid_state(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    change_state(call, script, |destination, wanted| {
        *destination.attributes.duid == *wanted
    })
}

fn change_state(
    call: &RpcCall<'_>,
    script: &Arc<Script>,
    fits: fn(&Destination, &[u8]) -> bool,
) -> RpcResult {
    let state = state(script)?;
    call.needs(3, "Invalid Parameters")?;
    let letters = call.str(0).map_err(invalid)?;
    if letters.is_empty() {
        return Err(RpcFault::failed("Invalid State Parameter"));
    }
    let flags = wanted_state(letters.as_bytes()).ok_or_else(|| RpcFault::failed("Unknown State Value"))?;
    let (set, wanted) = (call.int(1).map_err(invalid)?, call.str(2).map_err(invalid)?);
    let sets = state.sets.load();
    let all = call.method == "dispatcher.set_state" && wanted == "all";
    let set = sets
        .get(set)
        .ok_or_else(|| RpcFault::failed("State Update Failed"))?;
    let chosen = set
        .destinations
        .iter()
        .filter(|destination| all || fits(destination, wanted.as_bytes()));
    match chosen.map(|destination| destination.force(flags)).count() {
        0 => Err(RpcFault::failed("State Update Failed")),
        _ => Ok("Ok. Dispatcher state updated.".into()),
    }
}

/// The state that an operator names, by letter or number, and `p` for pings; what follows is not looked at.
fn wanted_state(text: &[u8]) -> Option<u32> {
    let pinged = matches!(text.get(1), Some(b'p' | b'P'));
    let pings = if pinged { PROBING } else { 0 };
    Some(match text.first()? {
        b'0' | b'i' | b'I' => INACTIVE | pings,
        b'1' | b'a' | b'A' => pings,
        b'2' | b'd' | b'D' => DISABLED,
        b'3' | b't' | b'T' => TRYING | pings,
        _ => return None,
    })
}

fn reload(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    state(script)?
        .reload()
        .map_err(|why| RpcFault::failed(format!("Reload Failed: {why}")))?;
    Ok("Ok. Dispatcher successfully reloaded.".into())
}

fn ping_active(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let active = &state(script)?.ping_active;
    Ok(match call.opt_int(0).map_err(invalid)? {
        None => json!({ "OldPingState": active.load(Ordering::Relaxed) }),
        Some(new) => {
            let old = active.swap(new, Ordering::Relaxed);
            json!({ "NewPingState": new, "OldPingState": old })
        }
    }
    .into())
}

fn add(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let (set, uri) = (call.int(0).map_err(invalid)?, call.str(1).map_err(invalid)?);
    let flags = call
        .opt_int(2)
        .map_err(invalid)?
        .and_then(|flags| u32::try_from(flags).ok())
        .unwrap_or(0);
    let priority = call.opt_int(3).map_err(invalid)?.unwrap_or(0);
    let attrs = call.opt_str(4).map_err(invalid)?.unwrap_or_default();
    let new = Destination::new(uri.as_bytes(), flags, priority, attrs.as_bytes())
        .map_err(|why| RpcFault::failed(format!("Adding dispatcher destination failed: {why}")))?;
    state
        .replace(|sets| Ok(sets.with(set, new, state.seed)), Inherit::Loads)
        .map_err(RpcFault::failed)?;
    Ok("Ok. Dispatcher destination added.".into())
}

fn remove(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let (set, uri) = (call.int(0).map_err(invalid)?, call.str(1).map_err(invalid)?);
    state
        .replace(
            |sets| Ok(sets.without(set, uri.as_bytes(), state.seed)),
            Inherit::Loads,
        )
        .map_err(RpcFault::failed)?;
    Ok("Ok. Dispatcher destination removed.".into())
}

fn hash(call: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    let slots = call.int(0).map_err(invalid)?;
    let first = call.str(1).map_err(invalid)?;
    let second = call.opt_str(2).map_err(invalid)?.unwrap_or_default();
    let id = hash::hash(&[first.as_bytes(), second.as_bytes()]);
    let slot = u32::try_from(slots)
        .ok()
        .and_then(|slots| id.checked_rem(slots))
        .unwrap_or(0);
    Ok(RpcReply::Value(
        json!({ "hashid": id.cast_signed(), "slot": slot }),
    ))
}
