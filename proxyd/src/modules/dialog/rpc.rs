//! `dlg.*`: dialogs for operators.

use super::Dialogs;
use super::record::CONFIRMED;
use super::record::CONFIRMED_NA;
use super::record::DELETED;
use super::record::Dialog;
use super::record::EARLY;
use super::record::Inner;
use super::record::Leg;
use super::record::Shared;
use super::record::UNCONFIRMED;
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
use shared::regex::Options;
use shared::regex::Regex;
use std::sync::Arc;

/// The methods.
pub(super) const RPCS: &[Rpc] = &[
    Rpc {
        name: "dlg.briefing",
        doc: "Lists dialogs with the fields asked for: [ftcFTISEs].",
        call: briefing,
    },
    Rpc {
        name: "dlg.dlg_list",
        doc: "Shows one dialog: callid [, from_tag].",
        call: dlg_list,
    },
    Rpc {
        name: "dlg.dlg_list_ctx",
        doc: "Shows one dialog: callid [, from_tag].",
        call: dlg_list,
    },
    Rpc {
        name: "dlg.end_dlg",
        doc: "Sends BYE to both sides: h_entry, h_id [, headers].",
        call: end_dlg,
    },
    Rpc {
        name: "dlg.is_alive",
        doc: "Whether a dialog is confirmed: callid, from_tag, to_tag.",
        call: is_alive,
    },
    Rpc {
        name: "dlg.list",
        doc: "Lists all dialogs.",
        call: list,
    },
    Rpc {
        name: "dlg.list_ctx",
        doc: "Lists all dialogs.",
        call: list,
    },
    Rpc {
        name: "dlg.list_match",
        doc: "Lists dialogs: key, operator, value [, limit].",
        call: list_match,
    },
    Rpc {
        name: "dlg.list_match_ctx",
        doc: "Lists dialogs: key, operator, value [, limit].",
        call: list_match,
    },
    Rpc {
        name: "dlg.profile_get_size",
        doc: "Counts dialogs of a profile: profile [, value].",
        call: profile_get_size,
    },
    Rpc {
        name: "dlg.profile_list",
        doc: "Lists dialogs of a profile: profile [, value].",
        call: profile_list,
    },
    Rpc {
        name: "dlg.stats_active",
        doc: "Counts dialogs by state.",
        call: stats_active,
    },
    Rpc {
        name: "dlg.terminate_dlg",
        doc: "Sends BYE to both sides: callid, from_tag, to_tag.",
        call: terminate_dlg,
    },
];

fn state(script: &Arc<Script>) -> Result<&Dialogs, RpcFault> {
    script
        .states
        .get::<Dialogs>()
        .ok_or_else(|| RpcFault::failed("dialog is not loaded"))
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

fn show_leg(leg: &Leg, known: bool) -> Value {
    let maybe = |value: Value| if known { value } else { Value::Null };
    json!({
        "tag": maybe(text(&leg.tag)),
        "contact": maybe(text(&leg.contact)),
        "cseq": maybe(leg.cseq.to_string().into()),
        "route_set": maybe(text(&leg.route_set.join(&b","[..]))),
        "socket": maybe(leg.socket.clone().into()),
    })
}

/// Kamailio's flags: 512 it was set up by a transaction, 1 it is answered, 2 it is acknowledged, 128 it has variables,
/// 1024 it is in profiles.
fn flags(inner: &Inner) -> u32 {
    512 | u32::from(inner.state >= CONFIRMED_NA)
        | u32::from(inner.state >= CONFIRMED) << 1
        | u32::from(!inner.variables.is_empty()) << 7
        | u32::from(!inner.profiles.is_empty()) << 10
}

fn show(state: &Dialogs, dialog: &Dialog) -> Value {
    let inner = dialog.inner.lock();
    let now = clock::wall().as_secs();
    let is_up = matches!(inner.state, CONFIRMED_NA | CONFIRMED);
    let profiles: Vec<Value> = inner
        .profiles
        .iter()
        .filter_map(|(at, value)| {
            let profile = state.profiles.get(*at)?;
            Some(if profile.has_value {
                one(&profile.name, text(value))
            } else {
                profile.name.clone().into()
            })
        })
        .collect();
    let variables: Vec<Value> = inner
        .variables
        .iter()
        .map(|(name, value)| one(&String::from_utf8_lossy(name), text(value)))
        .collect();
    json!({
        "h_entry": dialog.h_entry,
        "h_id": dialog.h_id,
        "ref": if is_up { 2 } else { 1 },
        "call-id": text(&dialog.call_id),
        "from_uri": text(&dialog.from_uri),
        "to_uri": text(&dialog.to_uri),
        "state": inner.state,
        "start_ts": inner.start_ts,
        "init_ts": dialog.init_ts,
        "end_ts": inner.end_ts,
        "duration": if is_up { now.saturating_sub(inner.start_ts) } else { 0 },
        "timeout": inner.timeout,
        "lifetime": inner.lifetime,
        "dflags": flags(&inner),
        "sflags": inner.flags,
        "iflags": 0,
        "caller": show_leg(&inner.caller, true),
        "callee": show_leg(&inner.callee, !inner.callee.tag.is_empty()),
        "profiles": profiles,
        "variables": variables,
    })
}

fn one(name: &str, value: Value) -> Value {
    let mut map = Map::new();
    map.insert(name.to_owned(), value);
    Value::Object(map)
}

fn list(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let rows: Vec<Value> = state
        .table
        .all()
        .iter()
        .map(|dialog| show(state, dialog))
        .collect();
    Ok(Value::from(rows).into())
}

fn dlg_list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let (call_id, tag) = (call.str(0)?, call.opt_str(1)?);
    let found = state.table.all().into_iter().find(|dialog| {
        let same_tag = tag
            .as_ref()
            .is_none_or(|tag| dialog.inner.lock().caller.tag == tag.as_bytes());
        dialog.call_id == call_id.as_bytes() && same_tag
    });
    Ok(found.map_or_else(RpcReply::empty, |dialog| show(state, &dialog).into()))
}

fn list_match(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(3, "Invalid parameters")?;
    let state = state(script)?;
    let (key, operator, wanted) = (call.str(0)?, call.str(1)?, call.str(2)?);
    if !matches!(&*key, "ruri" | "furi" | "turi" | "callid" | "start_ts") {
        return Err(RpcFault::failed("Invalid matching key parameter"));
    }
    let limit = call
        .opt_int(3)?
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0)
        .unwrap_or(usize::MAX);
    let regex = match &*operator {
        "re" => Some(
            Regex::compile(wanted.as_bytes(), Options::PLAIN)
                .map_err(|e| RpcFault::bad_request(e.to_string()))?,
        ),
        "eq" | "sw" | "gt" | "lt" => None,
        _ => return Err(RpcFault::failed("Invalid matching operator parameter")),
    };
    let fits = |dialog: &&Shared| {
        let start = dialog.inner.lock().start_ts;
        if key == "start_ts" {
            let wanted = wanted.trim_start_matches("s:").parse::<u64>().unwrap_or(0);
            return match &*operator {
                "gt" => start > wanted,
                "lt" => start < wanted,
                _ => start == wanted,
            };
        }
        let value = match &*key {
            "ruri" => &dialog.ruri,
            "furi" => &dialog.from_uri,
            "turi" => &dialog.to_uri,
            _ => &dialog.call_id,
        };
        match (&regex, &*operator) {
            (Some(regex), _) => regex.is_match(value),
            (None, "sw") => value.starts_with(wanted.as_bytes()),
            _ => value == wanted.as_bytes(),
        }
    };
    let all = state.table.all();
    let rows: Vec<Value> = all
        .iter()
        .filter(fits)
        .take(limit)
        .map(|dialog| show(state, dialog))
        .collect();
    if rows.is_empty() {
        Err(RpcFault::not_found("Not found"))
    } else {
        Ok(Value::from(rows).into())
    }
}

fn briefing(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let fields = call.opt_str(0)?.unwrap_or("ftcFT".into());
    let row = |dialog: &Shared| {
        let inner = dialog.inner.lock();
        let mut out = Map::new();
        out.insert("h_entry".into(), dialog.h_entry.into());
        out.insert("h_id".into(), dialog.h_id.into());
        for field in fields.chars() {
            let (name, value): (&str, Value) = match field {
                'f' => ("from_uri", text(&dialog.from_uri)),
                't' => ("to_uri", text(&dialog.to_uri)),
                'c' => ("call-id", text(&dialog.call_id)),
                'F' => ("from_tag", text(&inner.caller.tag)),
                'T' => ("to_tag", text(&inner.callee.tag)),
                'I' => ("init_ts", dialog.init_ts.into()),
                'S' => ("start_ts", inner.start_ts.into()),
                'E' => ("end_ts", inner.end_ts.into()),
                's' => ("state", inner.state.into()),
                _ => continue,
            };
            out.insert(name.into(), value);
        }
        Value::Object(out)
    };
    let rows: Vec<Value> = state(script)?.table.all().iter().map(row).collect();
    Ok(Value::from(rows).into())
}

fn stats_active(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let all = state(script)?.table.all();
    let count = |wanted: u8| all.iter().filter(|dialog| dialog.state() == wanted).count();
    let (starting, connecting) = (count(UNCONFIRMED), count(EARLY));
    let (answering, ongoing) = (count(CONFIRMED_NA), count(CONFIRMED));
    Ok(json!({
        "starting": starting,
        "connecting": connecting,
        "answering": answering,
        "ongoing": ongoing,
        "all": starting + connecting + answering + ongoing,
    })
    .into())
}

fn named(state: &Dialogs, call: &RpcCall<'_>) -> Result<usize, RpcFault> {
    let name = call.str(0)?;
    let at = state.profiles.iter().position(|profile| profile.name == *name);
    at.ok_or_else(|| RpcFault::not_found(format!("Profile not found: {name}")))
}

fn profile_get_size(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let at = named(state, call)?;
    let value = call.opt_str(1)?;
    let size = state
        .profiles
        .get(at)
        .map_or(0, |profile| profile.size(value.as_ref().map(|v| v.as_bytes())));
    Ok(Value::from(size).into())
}

fn profile_list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let at = named(state, call)?;
    let value = call.opt_str(1)?;
    let fits = |dialog: &&Shared| {
        let inner = dialog.inner.lock();
        inner
            .profiles
            .iter()
            .any(|(known, with)| *known == at && value.as_ref().is_none_or(|v| v.as_bytes() == with))
    };
    let rows: Vec<Value> = state
        .table
        .all()
        .iter()
        .filter(fits)
        .map(|dialog| show(state, dialog))
        .collect();
    Ok(Value::from(rows).into())
}

fn by_tags(state: &Dialogs, call: &RpcCall<'_>) -> Result<Option<Shared>, RpcFault> {
    let (call_id, from, to) = (call.str(0)?, call.str(1)?, call.str(2)?);
    let found = state
        .table
        .find(call_id.as_bytes(), from.as_bytes(), to.as_bytes());
    Ok(found
        .map(|(dialog, _)| dialog)
        .filter(|dialog| dialog.inner.lock().callee.tag == to.as_bytes()))
}

fn is_alive(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let usage = "Too few parameters (required callid, from-tag, to-tag)";
    call.needs(3, usage).map_err(|_| RpcFault::bad_request(usage))?;
    let dialog = by_tags(state(script)?, call)?.ok_or_else(|| RpcFault::not_found("Dialog not found"))?;
    match dialog.state() {
        CONFIRMED => Ok("Alive".into()),
        _ => Err(RpcFault::failed("Dialog not in confirmed state")),
    }
}

fn finish(dialog: &Dialog, headers: &[u8]) -> RpcResult {
    let mut inner = dialog.inner.lock();
    if inner.state == DELETED || inner.state < CONFIRMED_NA {
        return Err(RpcFault::failed("Dialog not in confirmed state"));
    }
    inner.end_wish = Some(headers.to_vec());
    Ok(RpcReply::empty())
}

fn terminate_dlg(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let usage = "Need a Callid ,from tag ,to tag";
    call.needs(3, usage).map_err(|_| RpcFault::bad_request(usage))?;
    let found = by_tags(state(script)?, call)?;
    finish(
        &*found.ok_or_else(|| RpcFault::failed("Couldnt find callid in dialog"))?,
        b"",
    )
}

fn end_dlg(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(2, "Invalid parameters")?;
    // A dialog is named by numbers: what is none names no dialog.
    let number = |at| call.int(at).ok().and_then(|number| u32::try_from(number).ok());
    let mut headers = call.opt_str(2)?.unwrap_or_default().into_owned();
    if !headers.is_empty() && !headers.ends_with('\n') {
        headers.push_str("\r\n");
    }
    let found = match (number(0), number(1)) {
        (Some(entry), Some(id)) => state(script)?.table.by_id(entry, id),
        _ => None,
    };
    finish(
        &*found.ok_or_else(|| RpcFault::not_found("Dialog not found"))?,
        headers.as_bytes(),
    )
}
