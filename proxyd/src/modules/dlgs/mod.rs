//! `loadmodule "dlgs"`: calls counted and listed, without holding them (Kamailio module dlgs).

mod table;
#[cfg(test)]
mod tests;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::module::TransactionEnd;
use crate::script::value::Value;
use serde_json::json;
use shared::sip::Method;
use std::collections::BTreeSet;
use std::sync::Arc;
use table::Dialog;
use table::Dialogs;
use table::Filter;
use table::Lifetimes;
use table::Stage;

const ATTRIBUTES: [&str; 7] = ["src", "dst", "data", "ruid", "state", "lifetime", "count"];

/// What the module works with.
pub(crate) struct Dlgs {
    dialogs: Dialogs,
    interval: u64,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int(
            "init_lifetime",
            180,
            "How long a call that is not answered is kept, s.",
        ),
        Param::Int("active_lifetime", 10_800, "How long an answered call is kept, s."),
        Param::Int("finish_lifetime", 10, "How long a call that ended is kept, s."),
        Param::Int(
            "timer_interval",
            30,
            "Seconds between looks for calls past their lifetime.",
        ),
        Param::Ignored("hash_size", "the table grows as it needs"),
    ],
    functions: &[
        Function::anywhere(
            &["dlgs_init"],
            &[Arg::Text("src"), Arg::Text("dst"), Arg::Text("data")],
            "Begins to follow the call of an INVITE.",
            dlgs_init,
        ),
        Function::anywhere(
            &["dlgs_update"],
            &[],
            "Moves the call on by an ACK, BYE or CANCEL; replies do so by themselves.",
            dlgs_update,
        ),
        Function::anywhere(
            &["dlgs_count"],
            &[Arg::Text("field"), Arg::Text("operator"), Arg::Text("text")],
            "How many ongoing calls fit, -1 for none; field src, dst, data, any; operator eq, ne, sw, re, fm.",
            dlgs_count,
        ),
        Function::anywhere(
            &["dlgs_tags_add"],
            &[Arg::Text("tag")],
            "Adds a tag to the call.",
            dlgs_tags_add,
        ),
        Function::anywhere(
            &["dlgs_tags_rm"],
            &[Arg::Text("tag")],
            "Removes a tag from the call.",
            dlgs_tags_rm,
        ),
        Function::anywhere(
            &["dlgs_tags_count"],
            &[Arg::Text("tag")],
            "How many ongoing calls have the tag, -1 for none.",
            dlgs_tags_count,
        ),
    ],
    pvs: &[Pv::class(
        &["dlgs"],
        "Of the call of this message: src, dst, data, ruid, state, lifetime; count of ongoing calls.",
        compile,
        attribute,
    )],
    rpcs: &[
        Rpc {
            name: "dlgs.list",
            doc: "Lists the calls.",
            call: list,
        },
        Rpc {
            name: "dlgs.briefing",
            doc: "Lists the calls in brief.",
            call: briefing,
        },
        Rpc {
            name: "dlgs.get",
            doc: "Shows the first call that fits. Parameters: field, operator, text.",
            call: get,
        },
        Rpc {
            name: "dlgs.getall",
            doc: "Lists the calls that fit. Parameters: field, operator, text.",
            call: getall,
        },
        Rpc {
            name: "dlgs.count",
            doc: "Counts ongoing calls that fit. Parameters: field, operator, text.",
            call: count,
        },
        Rpc {
            name: "dlgs.stats",
            doc: "Counts the calls by state.",
            call: stats,
        },
    ],
    timers: &[ModuleTimer {
        name: "calls past their lifetime",
        interval: |script| script.states.get::<Dlgs>().map(|state| state.interval),
        run: |env| {
            if let Some(state) = env.state::<Dlgs>() {
                state.dialogs.expire(env.host.wall().as_secs());
            }
        },
    }],
    hooks: &[
        Hook::ResponseForwarded(response_forwarded),
        Hook::ResponseOut(response_out),
    ],
    init: Some(init),
    ..ModuleDef::new("dlgs", "Follows calls to count and list them.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let seconds = |name: &'static str| -> Result<u64, InitError> {
        let refuse = || InitError::Param {
            name,
            why: format!("{} is not above 0", init.int(name)),
        };
        u64::try_from(init.int(name))
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(refuse)
    };
    let lifetimes = Lifetimes {
        init: seconds("init_lifetime")?,
        active: seconds("active_lifetime")?,
        finish: seconds("finish_lifetime")?,
    };
    let state = Dlgs {
        dialogs: Dialogs::new(lifetimes),
        interval: seconds("timer_interval")?.saturating_mul(1000),
    };
    if let Some(previous) = init.previous::<Dlgs>() {
        state.dialogs.adopt(&previous.dialogs);
    }
    Ok(Arc::new(state))
}

fn dlgs_init(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dlgs>() else {
        return Code::FALSE;
    };
    if call.env.ctx.msg.method() != Method::Invite {
        return Code::FALSE;
    }
    let ruid = format!("{:016x}", call.env.host.random());
    let msg = &call.env.ctx.msg;
    let dialog = Dialog {
        src: call.text(0).as_ref().into(),
        dst: call.text(1).as_ref().into(),
        data: call.text(2).as_ref().into(),
        ruid: ruid.into_bytes().into(),
        call_id: msg.call_id().into(),
        from_tag: msg.from_tag().into(),
        to_tag: msg.to_tag().into(),
        stage: Stage::Init,
        began: call.env.host.wall().as_secs(),
        answered: 0,
        ends: 0,
        tags: BTreeSet::new(),
    };
    let followed = state.dialogs.begin(dialog);
    if !followed {
        crate::log::error("dlgs", format_args!("too many calls: this one is not followed"));
    }
    followed.into()
}

fn dlgs_update(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dlgs>() else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    let stage = match msg.method() {
        _ if msg.is_reply() => return Code::TRUE,
        Method::Ack => Stage::Confirmed,
        Method::Bye => Stage::Terminated,
        Method::Cancel => Stage::NotAnswered,
        _ => return state.dialogs.with(msg.call_id(), |_| ()).is_some().into(),
    };
    state
        .dialogs
        .advance(msg.call_id(), stage, msg.to_tag(), call.env.host.wall().as_secs())
        .into()
}

/// A provisional reply to an INVITE is about to go upstream.
fn response_forwarded(env: &mut Env<'_>) {
    let Some(state) = env.state::<Dlgs>() else { return };
    let msg = &env.ctx.msg;
    let is_invite = msg.cseq().is_some_and(|cseq| cseq.method == Method::Invite);
    if is_invite && (101..200).contains(&msg.status()) {
        state.dialogs.advance(
            msg.call_id(),
            Stage::Progress,
            msg.to_tag(),
            env.host.wall().as_secs(),
        );
    }
}

/// A final reply to an INVITE went upstream.
fn response_out(env: &mut Env<'_>, end: &TransactionEnd<'_>) {
    let Some(state) = env.state::<Dlgs>() else { return };
    let msg = &env.ctx.msg;
    // A refused re-INVITE leaves its call as it is.
    if msg.method() == Method::Invite && msg.to_tag().is_empty() {
        let stage = if end.status < 300 {
            Stage::Answered
        } else {
            Stage::NotAnswered
        };
        state
            .dialogs
            .advance(msg.call_id(), stage, end.to_tag, env.host.wall().as_secs());
    }
}

fn number(count: usize) -> Code {
    if count == 0 {
        Code::FALSE
    } else {
        Code(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

fn dlgs_count(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dlgs>() else {
        return Code::FALSE;
    };
    match Filter::new(&call.text(0), &call.text(1), &call.text(2)) {
        Ok(filter) => number(state.dialogs.count(|dialog| filter.holds(dialog))),
        Err(why) => {
            crate::log::error("dlgs", format_args!("dlgs_count: {why}"));
            Code::FALSE
        }
    }
}

fn with_own(call: &Call<'_, '_>, work: impl FnOnce(&mut Dialog, &[u8]) -> bool) -> Code {
    let Some(state) = call.state::<Dlgs>() else {
        return Code::FALSE;
    };
    let tag = call.text(0);
    let done = state
        .dialogs
        .with(call.env.ctx.msg.call_id(), |dialog| work(dialog, &tag));
    done.unwrap_or(false).into()
}

fn dlgs_tags_add(call: &mut Call<'_, '_>) -> Code {
    with_own(call, Dialog::add_tag)
}

fn dlgs_tags_rm(call: &mut Call<'_, '_>) -> Code {
    with_own(call, |dialog, tag| dialog.tags.remove(tag))
}

fn dlgs_tags_count(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dlgs>() else {
        return Code::FALSE;
    };
    let tag = call.text(0);
    number(state.dialogs.count(|dialog| dialog.tags.contains(&*tag)))
}

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let known = ATTRIBUTES.iter().position(|name| name.as_bytes() == inner.text);
    match known.and_then(|at| i64::try_from(at).ok()) {
        Some(at) => Ok(PvData::Number(at)),
        None => Err(format!(
            "{:?} is none of {}",
            String::from_utf8_lossy(inner.text),
            ATTRIBUTES.join(", ")
        )),
    }
}

fn attribute<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some(state) = env.state::<Dlgs>() else {
        return Value::Null;
    };
    let at = if let PvData::Number(at) = spec.data {
        usize::try_from(at).unwrap_or(usize::MAX)
    } else {
        usize::MAX
    };
    let name = ATTRIBUTES.get(at).copied().unwrap_or_default();
    if name == "count" {
        return Value::Int(i64::try_from(state.dialogs.count(|_| true)).unwrap_or(i64::MAX));
    }
    let now = env.host.wall().as_secs();
    let value = state.dialogs.with(env.ctx.msg.call_id(), |dialog| match name {
        "src" => Value::owned(dialog.src.as_ref()),
        "dst" => Value::owned(dialog.dst.as_ref()),
        "data" => Value::owned(dialog.data.as_ref()),
        "ruid" => Value::owned(dialog.ruid.as_ref()),
        "state" => Value::owned(dialog.stage.name()),
        _ => Value::Int(i64::try_from(dialog.ends.saturating_sub(now)).unwrap_or(i64::MAX)),
    });
    value.unwrap_or_default()
}

fn state(script: &Arc<Script>) -> Result<&Dlgs, RpcFault> {
    script
        .states
        .get::<Dlgs>()
        .ok_or_else(|| RpcFault::failed("dlgs is not loaded"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn full(dialog: &Dialog) -> serde_json::Value {
    let tags: Vec<String> = dialog.tags.iter().map(|tag| text(tag)).collect();
    json!({
        "ruid": text(&dialog.ruid), "src": text(&dialog.src), "dst": text(&dialog.dst), "data": text(&dialog.data),
        "state": dialog.stage.name(), "callid": text(&dialog.call_id), "ftag": text(&dialog.from_tag),
        "ttag": text(&dialog.to_tag), "ts_init": dialog.began, "ts_answer": dialog.answered, "ts_end": dialog.ends, "tags": tags,
    })
}

fn brief(dialog: &Dialog) -> serde_json::Value {
    json!({"src": text(&dialog.src), "dst": text(&dialog.dst), "data": text(&dialog.data), "state": dialog.stage.name()})
}

/// Lists dialogs one by one, however many there are.
fn stream(dialogs: Vec<Dialog>, show: fn(&Dialog) -> serde_json::Value) -> RpcReply {
    RpcReply::stream(move |out| {
        out.write_all(b"[")?;
        for (at, dialog) in dialogs.iter().enumerate() {
            if at > 0 {
                out.write_all(b",")?;
            }
            serde_json::to_writer(&mut *out, &show(dialog))?;
        }
        out.write_all(b"]")
    })
}

fn list(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    Ok(stream(state(script)?.dialogs.select(|_| true), full))
}

fn briefing(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    Ok(stream(state(script)?.dialogs.select(|_| true), brief))
}

fn filter(call: &RpcCall<'_>) -> Result<Filter, RpcFault> {
    let (field, operator, wanted) = (call.str(0)?, call.str(1)?, call.str(2)?);
    Filter::new(field.as_bytes(), operator.as_bytes(), wanted.as_bytes()).map_err(RpcFault::bad_request)
}

fn get(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let filter = filter(call)?;
    let found = state(script)?.dialogs.select(|dialog| filter.holds(dialog));
    found
        .first()
        .map(|dialog| full(dialog).into())
        .ok_or_else(|| RpcFault::not_found("Not found"))
}

fn getall(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let filter = filter(call)?;
    Ok(stream(
        state(script)?.dialogs.select(|dialog| filter.holds(dialog)),
        full,
    ))
}

fn count(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let filter = filter(call)?;
    let count = state(script)?.dialogs.count(|dialog| filter.holds(dialog));
    Ok(json!({ "count": count }).into())
}

fn stats(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let counts = state(script)?.dialogs.by_stage();
    let rows = Stage::ALL
        .iter()
        .zip(counts)
        .map(|(stage, count)| (stage.name().to_owned(), json!(count)));
    Ok(serde_json::Value::Object(rows.collect()).into())
}
