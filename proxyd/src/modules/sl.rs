//! `loadmodule "sl"`: replies without a transaction (RFC 3261 §8.2.7).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::stats::Counter;
use serde_json::Map;
use serde_json::Value;
use smallvec::SmallVec;
use std::sync::Arc;

const ANSWERING: Routes = Routes::REQUEST
    .or(Routes::FAILURE)
    .or(Routes::EVENT)
    .or(Routes::BRANCH_FAILURE);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int(
            "bind_tm",
            1,
            "Answer in the transaction when there is one (send_reply).",
        ),
        Param::Text(
            "default_reason",
            "Internal Server Error",
            "Reason when none is given.",
        ),
        Param::Int("default_code", 500, "Status when none is given."),
        Param::Ignored("event_callback", "KEMI languages are not embedded"),
        Param::Ignored("event_callback_fl_ack", "KEMI languages are not embedded"),
        Param::Ignored("event_callback_lres_sent", "KEMI languages are not embedded"),
        Param::Ignored("rich_redirect", "contacts of a redirect always carry q"),
    ],
    functions: &[
        Function {
            names: &["sl_send_reply", "sl_reply"],
            args: &[Arg::Text("code"), Arg::Text("reason")],
            routes: ANSWERING,
            doc: "Answers without a transaction.",
            call: sl_send_reply,
        },
        Function {
            names: &["send_reply"],
            args: &[Arg::Text("code"), Arg::Text("reason")],
            routes: ANSWERING.or(Routes::ONREPLY),
            doc: "Answers in the transaction when there is one, else without.",
            call: send_reply,
        },
        Function {
            names: &["send_reply_mode"],
            args: &[Arg::Text("code"), Arg::Text("reason"), Arg::OptText("mode")],
            routes: ANSWERING,
            doc: "Like send_reply; mode bit 1 forbids the stateless way.",
            call: send_reply,
        },
        Function {
            names: &["sl_reply_error", "send_reply_error"],
            args: &[],
            routes: ANSWERING,
            doc: "Answers with what the last failure was; nothing when the request was answered already.",
            call: sl_reply_error,
        },
        Function {
            names: &["sl_forward_reply"],
            args: &[Arg::OptText("code"), Arg::OptText("reason")],
            routes: Routes::REPLY,
            doc: "Forwards the reply without a transaction, with another status if given.",
            call: sl_forward_reply,
        },
    ],
    rpcs: &[Rpc {
        name: "sl.stats",
        doc: "Counts of replies without a transaction, by status.",
        call: stats,
    }],
    events: &["sl:filtered-ack", "sl:local-response"],
    init: Some(init),
    ..ModuleDef::new("sl", "Answers without a transaction.")
};

/// What `sl.stats` shows.
struct Sl {
    counts: Vec<(&'static str, Arc<Counter>)>,
}

/// The statuses and classes that are counted, in the order of the answer.
const COUNTED: [&str; 19] = [
    "200", "202", "2xx", "300", "301", "302", "3xx", "400", "401", "403", "404", "407", "408", "483", "4xx",
    "500", "5xx", "6xx", "xxx",
];

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let counter = |name: &'static str| (name, init.statistics.counter("sl", &format!("{name}_replies")));
    // Kamailio: shown, but counted by nothing
    init.statistics.counter("sl", "sent_err_replies");
    Ok(Arc::new(Sl {
        counts: COUNTED.map(counter).to_vec(),
    }))
}

fn stats(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let sl = script
        .states
        .get::<Sl>()
        .ok_or_else(|| RpcFault::failed("module sl is not loaded"))?;
    let mut answer = Map::new();
    for (name, counter) in &sl.counts {
        answer.insert((*name).to_owned(), Value::from(counter.value()));
    }
    Ok(Value::Object(answer).into())
}

/// Status and reason of the first two arguments; none when the status is out of range.
pub(crate) fn status_and_reason(call: &Call<'_, '_>) -> Option<(u16, SmallVec<[u8; 40]>)> {
    let status = u16::try_from(call.int(0))
        .ok()
        .filter(|status| (100..=699).contains(status))?;
    let mut reason = SmallVec::from_slice(&call.text(1));
    if memchr::memchr2(b'\r', b'\n', &reason).is_some() {
        reason.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    }
    Some((status, reason))
}

fn bad_status(call: &Call<'_, '_>) -> Code {
    let name = call.name;
    crate::log::error(
        "sl",
        format_args!("{name}: {:?} is no status between 100 and 699", call.value(0)),
    );
    Code::FALSE
}

fn sl_send_reply(call: &mut Call<'_, '_>) -> Code {
    let Some((status, reason)) = status_and_reason(call) else {
        return bad_status(call);
    };
    let (host, scope) = call.split();
    host.reply_stateless(scope, status, &reason)
}

fn send_reply(call: &mut Call<'_, '_>) -> Code {
    let Some((status, reason)) = status_and_reason(call) else {
        return bad_status(call);
    };
    let (host, scope) = call.split();
    host.reply(scope, status, &reason)
}

/// Kamailio: answers twice when the function that failed has answered; we answer once.
fn sl_reply_error(call: &mut Call<'_, '_>) -> Code {
    if call.env.ctx.answered >= 200 {
        return Code::TRUE;
    }
    let stateful = call.env.host.transaction().is_some();
    let origin = if stateful { "TM" } else { "SL" };
    let (status, reason) = call.env.ctx.failure.reply(origin);
    let (host, scope) = call.split();
    host.reply(scope, status, reason.as_bytes())
}

fn sl_forward_reply(call: &mut Call<'_, '_>) -> Code {
    if call.has(0) {
        let Some((status, reason)) = status_and_reason(call) else {
            return bad_status(call);
        };
        call.env.ctx.new_status = Some((status, reason.into_vec()));
    }
    let (host, scope) = call.split();
    host.forward(scope, None)
}
