//! `presence.*`: publications and watchers for operators.

use super::Presence;
use super::notify;
use super::package::Presentity;
use super::publications::Publication;
use super::refresh::TASKS_MAX;
use super::refresh::Task;
use super::subscription::Subscription;
use crate::clock;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use serde_json::Value;
use serde_json::json;
use std::sync::Arc;

/// The methods.
pub(super) const RPCS: &[Rpc] = &[
    Rpc {
        name: "presence.cleanup",
        doc: "Removes publications and subscriptions that have ended, and tells watchers.",
        call: cleanup,
    },
    Rpc {
        name: "presence.presentity_list",
        doc: "Lists the publications in memory (publ_cache 2). Parameter: [full].",
        call: presentity_list,
    },
    Rpc {
        name: "presence.presentity_show",
        doc: "Lists publications in memory. Parameters: basic or full, user or *, domain or *.",
        call: presentity_show,
    },
    Rpc {
        name: "presence.publish_cache_sync",
        doc: "Reads again which publications the database has.",
        call: publish_cache_sync,
    },
    Rpc {
        name: "presence.refreshWatchers",
        doc: "Tells watchers what changed beside PUBLISH. Parameters: uri, event, type: 0 rules, 1 state.",
        call: refresh_watchers,
    },
    Rpc {
        name: "presence.updateWatchers",
        doc: "Asks the rules about every watcher again. Parameters: uri, event.",
        call: update_watchers,
    },
    Rpc {
        name: "presence.watcher_list",
        doc: "Lists the watchers of a presentity. Parameters: basic or full, uri.",
        call: watcher_list,
    },
];

fn state(script: &Arc<Script>) -> Result<&Presence, RpcFault> {
    script
        .states
        .get::<Presence>()
        .ok_or_else(|| RpcFault::failed("presence is not loaded"))
}

fn cleanup(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    give(state(script)?, Task::Clean, "Processing error")?;
    Ok(json!("Reload OK").into())
}

/// Leaves work to the timer.
fn give(state: &Presence, task: Task, refusal: &'static str) -> Result<(), RpcFault> {
    let mut tasks = state.tasks.lock();
    if tasks.len() >= TASKS_MAX {
        return Err(RpcFault::failed(refusal));
    }
    if !tasks.contains(&task) {
        tasks.push(task);
    }
    Ok(())
}

/// The presentity and event that a call names.
fn subject(call: &RpcCall<'_>, least: usize) -> Result<(Presentity, String), RpcFault> {
    if call.count() < least {
        return Err(RpcFault::failed("Not enough parameters"));
    }
    let uri = call.str(0)?;
    let presentity =
        notify::presentity_of(uri.as_bytes()).ok_or_else(|| RpcFault::failed("Execution failed"))?;
    Ok((presentity, call.str(1)?.into_owned()))
}

fn refresh_watchers(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    const FAILED: &str = "Execution failed";
    let state = state(script)?;
    let (presentity, event) = subject(call, 3)?;
    let package = state.packages.find(event.as_bytes());
    let package = package.ok_or_else(|| RpcFault::failed(FAILED))?;
    let task = match call.int(2)? {
        0 if package.rules().is_none() => return Err(RpcFault::failed(FAILED)),
        0 => Task::Rules(presentity, event),
        _ => Task::State(presentity, event),
    };
    give(state, task, FAILED)?;
    Ok(json!({}).into())
}

fn update_watchers(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    const FAILED: &str = "Processing error";
    let state = state(script)?;
    let (presentity, event) = subject(call, 2)?;
    let package = state.packages.find(event.as_bytes());
    if package.is_none_or(|package| package.rules().is_none()) {
        return Err(RpcFault::failed(FAILED));
    }
    give(state, Task::Rules(presentity, event), FAILED)?;
    Ok(json!({}).into())
}

fn publish_cache_sync(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    match state.publications.load() {
        Ok(()) => Ok(json!({}).into()),
        Err(error) => Err(RpcFault::failed(error.to_string())),
    }
}

fn presentity_list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let full = call.opt_str(0)?.is_some_and(|mode| mode.starts_with('f'));
    Ok(publications(state(script)?, full, |_| true))
}

fn presentity_show(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let (mode, user, domain) = (call.str(0)?, call.str(1)?, call.str(2)?);
    let fits = |wanted: &str, value: &[u8]| wanted == "*" || wanted.as_bytes() == value;
    Ok(publications(state(script)?, mode.starts_with('f'), |one| {
        let presentity = &one.subject.presentity;
        fits(&user, &presentity.user) && fits(&domain, &presentity.domain)
    }))
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

fn publications(
    state: &Presence,
    full: bool,
    wanted: impl Fn(&Publication) -> bool,
) -> crate::control::methods::RpcReply {
    let found = state.publications.in_memory();
    let rows: Vec<Value> = found
        .iter()
        .filter(|one| wanted(one))
        .map(|one| {
            let presentity = &one.subject.presentity;
            let mut row = json!({
                "user": text(&presentity.user), "domain": text(&presentity.domain), "event": one.subject.event,
                "etag": text(&one.etag), "sender": text(&one.sender), "expires": one.ends,
            });
            if full {
                row["received_time"] = one.received.into();
                row["priority"] = one.priority.into();
                row["body"] = text(&one.body);
            }
            row
        })
        .collect();
    Value::Array(rows).into()
}

fn watcher_list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let full = call.str(0)?.starts_with('f');
    let uri = call.str(1)?;
    let presentity =
        notify::presentity_of(uri.as_bytes()).ok_or_else(|| RpcFault::failed("Execution failed"))?;
    let now = clock::wall().as_secs();
    let mut rows = Vec::new();
    for event in state.packages.names().split(", ") {
        let found = state.subscriptions.watching(&presentity.uri(), event, now);
        let found = found.map_err(|error| RpcFault::failed(error.to_string()))?;
        rows.extend(found.iter().map(|one| show(one, full)));
    }
    Ok(Value::Array(rows).into())
}

fn show(one: &Subscription, full: bool) -> Value {
    let mut row = json!({
        "pres_uri": text(&one.presentity), "to_user": text(&one.to_user), "to_domain": text(&one.to_domain),
        "from_user": text(&one.from_user), "from_domain": text(&one.from_domain),
        "watcher_user": text(&one.watcher_user), "watcher_domain": text(&one.watcher_domain),
        "contact": text(&one.contact), "event_id": text(&one.event_id), "callid": text(&one.dialog.call_id),
        "user_agent": text(&one.user_agent), "expires": one.ends, "status": one.status as i64, "version": one.version,
    });
    if full {
        row["reason"] = one.reason.as_str().into();
        row["to_tag"] = text(&one.dialog.to_tag);
        row["from_tag"] = text(&one.dialog.from_tag);
        row["socket"] = one.socket.as_str().into();
        row["local_contact"] = text(&one.local_contact);
        row["record_route"] = text(&one.record_route);
        row["remote_cseq"] = one.remote_cseq.into();
        row["local_cseq"] = one.local_cseq.into();
    }
    row
}
