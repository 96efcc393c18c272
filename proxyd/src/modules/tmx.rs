//! `loadmodule "tmx"`: more about transactions: `$T_…`, suspending, cancelling, route kinds.

use crate::proxy::context::Context;
use crate::script::host::BranchView;
use crate::script::host::TransactionView;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::Routes;
use crate::script::nowhere::expand_of;
use crate::script::value::Value;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[Param::Ignored(
        "precheck_trans",
        "copies of a request wait in t_check_trans()",
    )],
    functions: &[
        Function {
            names: &["t_precheck_trans"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "False: a copy of a request that another worker handles waits in t_check_trans().",
            call: t_precheck_trans,
        },
        Function {
            names: &["t_cancel_branches"],
            args: &[Arg::Text("which")],
            routes: Routes::ONREPLY.or(Routes::FAILURE).or(Routes::EVENT),
            doc: "Cancels `all`, `others` or `this` branch.",
            call: t_cancel_branches,
        },
        Function::anywhere(
            &["t_reply_callid"],
            &[
                Arg::Text("callid"),
                Arg::Text("cseq"),
                Arg::Text("code"),
                Arg::Text("reason"),
            ],
            "Answers the transaction with this Call-ID and CSeq; here: the current one.",
            t_reply_callid,
        ),
        Function::anywhere(
            &["t_is_request_route"],
            &[],
            "True in a request route.",
            t_is_request_route,
        ),
        Function::anywhere(
            &["t_is_failure_route"],
            &[],
            "True in a failure route.",
            t_is_failure_route,
        ),
        Function::anywhere(
            &["t_is_branch_route"],
            &[],
            "True in a branch route.",
            t_is_branch_route,
        ),
        Function::anywhere(
            &["t_is_reply_route"],
            &[],
            "True in a route for replies.",
            t_is_reply_route,
        ),
        Function {
            names: &["t_suspend"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::FAILURE),
            doc: "Lets the transaction wait for t_continue(); $T(id_index) and $T(id_label) name it.",
            call: t_suspend,
        },
        Function::anywhere(
            &["t_continue"],
            &[
                Arg::Int("index"),
                Arg::Int("label"),
                Arg::Route("route", Routes::REQUEST),
            ],
            "Goes on with a suspended transaction in a route.",
            t_continue,
        ),
        Function::anywhere(
            &["t_flush_flags", "t_flush_xflags"],
            &[],
            "True; flags are the transaction's own here.",
            t_flush_flags,
        ),
        Function {
            names: &["t_drop"],
            args: &[Arg::OptInt("mode")],
            routes: Routes::REQUEST,
            doc: "Ends the transaction without an answer.",
            call: t_flush_flags,
        },
    ],
    pvs: &[
        Pv {
            names: &["T_branch_idx"],
            param: PvParam::None,
            doc: "The branch a branch_route or onreply_route is about; elsewhere how many there are.",
            compile: None,
            get: branch_index,
            set: None,
        },
        Pv {
            names: &["T_reply_code"],
            param: PvParam::None,
            doc: "Status of the reply: of the branch that failed, or last sent.",
            compile: None,
            get: reply_code,
            set: None,
        },
        Pv {
            names: &["T_reply_reason"],
            param: PvParam::None,
            doc: "Its reason.",
            compile: None,
            get: reply_reason,
            set: None,
        },
        Pv {
            names: &["T_reply_last"],
            param: PvParam::None,
            doc: "Status of the last reply received.",
            compile: None,
            get: reply_code,
            set: None,
        },
        Pv {
            names: &["T_reply_ruid"],
            param: PvParam::None,
            doc: "The ruid of the contact that the branch went to.",
            compile: None,
            get: |env, _| {
                of_branch(env, |branch| {
                    branch.ruid.map(<[u8]>::to_vec).map_or(Value::Null, Value::owned)
                })
            },
            set: None,
        },
        Pv {
            names: &["T_branch"],
            param: PvParam::Required,
            doc: "$T_branch(flags), $T_branch(uri): of the branch that the route is about.",
            compile: Some(branch_part),
            get: |env, spec| match spec.data {
                PvData::Number(0) => of_branch(env, |branch| Value::Int(i64::from(branch.flags))),
                _ => of_branch(env, |branch| Value::owned(branch.uri)),
            },
            set: None,
        },
        Pv {
            names: &["T_req"],
            param: PvParam::Required,
            doc: "$T_req($pv): the variable of the transaction's request.",
            compile: Some(other_message),
            get: of_request,
            set: None,
        },
        Pv {
            names: &["T_rpl"],
            param: PvParam::Required,
            doc: "$T_rpl($pv): the variable of the reply that the route is about.",
            compile: Some(other_message),
            get: of_reply,
            set: None,
        },
        Pv {
            names: &["T_inv"],
            param: PvParam::Required,
            doc: "$T_inv($pv): the variable of the INVITE that a CANCEL is for.",
            compile: Some(other_message),
            get: of_request,
            set: None,
        },
        Pv {
            names: &["T"],
            param: PvParam::Required,
            doc: "$T(id_index), $T(id_label), $T(reply_code), $T(branch_index), $T(reply_reason), $T(method).",
            compile: None,
            get: named,
            set: None,
        },
    ],
    ..ModuleDef::new("tmx", "More functions and variables about transactions.")
};

fn t_precheck_trans(_call: &mut Call<'_, '_>) -> Code {
    Code::FALSE
}

fn t_cancel_branches(call: &mut Call<'_, '_>) -> Code {
    let which = match &*call.text(0) {
        b"all" => 0,
        b"others" => 1,
        b"this" => 2,
        _ => return Code::FALSE,
    };
    let (host, scope) = call.split();
    host.cancel_branches(scope, which)
}

fn t_reply_callid(call: &mut Call<'_, '_>) -> Code {
    if *call.text(0) != *call.env.ctx.msg.call_id() {
        return Code::FALSE;
    }
    let Ok(status) = u16::try_from(call.int(2)) else {
        return Code::FALSE;
    };
    let reason = call.text_owned(3);
    let (host, scope) = call.split();
    host.transaction_reply(scope, status, &reason)
}

fn t_is_request_route(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.route == Routes::REQUEST)
}

fn t_is_failure_route(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.route == Routes::FAILURE)
}

fn t_is_branch_route(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.route == Routes::BRANCH)
}

fn t_is_reply_route(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.route.meets(Routes::ONREPLY.or(Routes::REPLY)))
}

fn t_suspend(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    Code::from(host.suspend(scope).is_some())
}

fn t_continue(call: &mut Call<'_, '_>) -> Code {
    let (Ok(index), Ok(label)) = (u32::try_from(call.int(0)), u32::try_from(call.int(1))) else {
        return Code::FALSE;
    };
    let Some(route) = call.route(2, Routes::REQUEST) else {
        return Code::FALSE;
    };
    call.env.host.resume((index, label), route)
}

fn t_flush_flags(_call: &mut Call<'_, '_>) -> Code {
    Code::TRUE
}

fn index(view: &TransactionView<'_>, route: Routes) -> i64 {
    let one = route.meets(Routes::BRANCH.or(Routes::ONREPLY).or(Routes::REPLY));
    i64::try_from(if one {
        view.current_branch
    } else {
        view.branches.len()
    })
    .unwrap_or(0)
}

fn branch_index<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    // Kamailio: the route of every reply knows no transaction yet
    if env.route.meets(Routes::REPLY) {
        return Value::Int(-1);
    }
    Value::Int(env.host.transaction().map_or(0, |view| index(&view, env.route)))
}

fn status(env: &Env<'_>, view: &TransactionView<'_>) -> i64 {
    if env.ctx.msg.is_reply() {
        i64::from(env.ctx.msg.status())
    } else if env.route.meets(Routes::FAILURE.or(Routes::BRANCH_FAILURE)) {
        i64::from(view.reply_status)
    } else {
        i64::from(view.status)
    }
}

fn reply_code<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    Value::Int(env.host.transaction().map_or(0, |view| status(env, &view)))
}

fn reply_reason<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    if env.ctx.msg.is_reply() {
        return Value::text(env.ctx.msg.reason());
    }
    let Some(view) = env.host.transaction() else {
        return Value::Null;
    };
    if view.reply_reason.is_empty() && view.reply_status >= 300 {
        return Value::owned(shared::sip::status::reason(view.reply_status));
    }
    Value::owned(view.reply_reason)
}

fn named<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some(view) = env.host.transaction() else {
        return Value::Null;
    };
    match &*spec.text(env) {
        b"id_index" | b"id_index_n" => Value::Int(i64::from(view.id.0)),
        b"id_label" | b"id_label_n" => Value::Int(i64::from(view.id.1)),
        b"reply_code" | b"reply_last" => Value::Int(status(env, &view)),
        b"branch_index" => Value::Int(index(&view, env.route)),
        b"reply_reason" => reply_reason(env, spec),
        b"reply_type" => Value::Int(i64::from(view.reply.is_none())),
        b"method" => match view.request {
            Some(request) => Value::owned(request.msg.method().as_bytes()),
            None => Value::text(env.ctx.msg.method().as_bytes()),
        },
        _ => Value::Null,
    }
}

fn branch_part(inner: &PvInner<'_>) -> Result<PvData, String> {
    match inner.text {
        b"flags" => Ok(PvData::Number(0)),
        b"uri" => Ok(PvData::Number(1)),
        _ => Err("is neither flags nor uri".to_owned()),
    }
}

/// Something of the branch that the route is about.
fn of_branch<'e>(env: &Env<'_>, get: impl FnOnce(&BranchView<'_>) -> Value<'e>) -> Value<'e> {
    let view = env.host.transaction();
    let branch = view
        .as_ref()
        .and_then(|view| view.branches.get(view.current_branch));
    branch.map_or(Value::Null, get)
}

fn other_message(inner: &PvInner<'_>) -> Result<PvData, String> {
    (inner.parse)(inner.text).map(PvData::Format)
}

fn of_request<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let PvData::Format(format) = &spec.data else {
        return Value::Null;
    };
    let Some(view) = env.host.transaction() else {
        return Value::Null;
    };
    match view.request {
        Some(request) => expand_of(env, request.clone(), format),
        None => Value::owned(format.expand(env).into_owned()),
    }
}

fn of_reply<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let PvData::Format(format) = &spec.data else {
        return Value::Null;
    };
    if env.ctx.msg.is_reply() {
        return Value::owned(format.expand(env).into_owned());
    }
    let Some(view) = env.host.transaction() else {
        return Value::Null;
    };
    let Some(reply) = view.reply else {
        return Value::Null;
    };
    expand_of(
        env,
        Context {
            msg: reply.clone(),
            ..Context::default()
        },
        format,
    )
}
