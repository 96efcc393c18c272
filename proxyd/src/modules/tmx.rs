//! `loadmodule "tmx"`: more about transactions: `$T_…`, suspending, cancelling, route kinds.

use crate::proxy::context::Context;
use crate::script::host::BranchView;
use crate::script::host::Deed;
use crate::script::host::Named;
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
use shared::sip::Method;

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
            &["t_cancel_branch_idx"],
            &[Arg::Int("tindex"), Arg::Int("tlabel"), Arg::Int("bindex")],
            "Cancels one branch of the INVITE that $T(id_index) and $T(id_label) named.",
            t_cancel_branch_idx,
        ),
        Function::anywhere(
            &["t_reply_callid"],
            &[
                Arg::Text("callid"),
                Arg::Int("cseq"),
                Arg::Int("code"),
                Arg::Text("reason"),
            ],
            "Answers the request with this Call-ID and CSeq.",
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
        Function::anywhere(
            &["t_drop"],
            &[Arg::OptInt("rcode")],
            "Ends the transaction without an answer, and the route; rcode is the status that it is counted with, else 500.",
            t_drop,
        ),
        Function {
            names: &["t_reuse_branch"],
            args: &[],
            routes: Routes::BRANCH_FAILURE.or(Routes::REQUEST),
            doc: "Makes the contact of the branch that failed the target once more: Request-URI, Path, ruid, branch flags.",
            call: t_reuse_branch,
        },
        Function::anywhere(
            &["t_cancel_callid"],
            &[
                Arg::Text("callid"),
                Arg::Int("cseq"),
                Arg::Int("flag"),
                Arg::OptInt("rcode"),
            ],
            "Cancels the INVITE with this Call-ID and CSeq, and sets a flag of it; rcode is the cause in Reason.",
            t_cancel_callid,
        ),
    ],
    pvs: &[
        Pv::plain(
            &["T_branch_idx"],
            "The branch a branch_route or onreply_route is about; elsewhere how many there are.",
            branch_index,
        ),
        Pv::plain(
            &["T_reply_code"],
            "Status of the reply: of the branch that failed, or last sent.",
            reply_code,
        ),
        Pv::plain(&["T_reply_reason"], "Its reason.", reply_reason),
        Pv::plain(
            &["T_reply_last"],
            "Status of the reply that an onreply_route is about; elsewhere empty.",
            reply_last,
        ),
        Pv {
            names: &["T_reply_ruid"],
            param: PvParam::None,
            doc: "The ruid of the contact that the branch went to.",
            compile: None,
            get: |env, _| match view_in(env, ABOUT_BRANCH).as_ref().and_then(current_branch) {
                Some(branch) => Value::owned(branch.ruid.unwrap_or_default()),
                None => Value::text(b""),
            },
            set: None,
        },
        Pv::class(
            &["T_branch"],
            "$T_branch(flags) and, in an onreply_route, $T_branch(uri): of the branch that the route is about.",
            branch_part,
            branch_value,
        ),
        Pv::class(
            &["T_req"],
            "$T_req($pv): in routes for replies, the variable of the request as it arrived.",
            other_message,
            of_request,
        ),
        Pv::class(
            &["T_rpl"],
            "$T_rpl($pv): in failure routes, the variable of the reply.",
            other_message,
            of_reply,
        ),
        Pv::class(
            &["T_inv"],
            "$T_inv($pv): the variable of the INVITE that a CANCEL is for.",
            other_message,
            of_invite,
        ),
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
    let (Ok(cseq), Ok(status)) = (u32::try_from(call.int(1)), u16::try_from(call.int(2))) else {
        return Code::FALSE;
    };
    if !(100..700).contains(&status) {
        return Code::FALSE;
    }
    let (call_id, reason) = (call.text_owned(0), call.text_owned(3));
    let msg = &call.env.ctx.msg;
    let own = msg.call_id() == call_id && msg.cseq().is_some_and(|own| own.number == cseq);
    if own && call.env.host.transaction().is_some() {
        let (host, scope) = call.split();
        return host.transaction_reply(scope, status, &reason);
    }
    let deed = Deed::Reply(status, reason);
    Code::from(call.env.host.leave(Named::Call(&call_id, cseq), deed))
}

fn t_cancel_branch_idx(call: &mut Call<'_, '_>) -> Code {
    let [index, label, branch] = [0, 1, 2].map(|n| u32::try_from(call.int(n)));
    let (Ok(index), Ok(label), Ok(branch)) = (index, label, branch) else {
        return Code::FALSE;
    };
    let deed = Deed::CancelBranch(branch as usize);
    Code::from(call.env.host.leave(Named::Id(index, label), deed))
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

fn t_drop(call: &mut Call<'_, '_>) -> Code {
    let status = call.opt_int(0).and_then(|code| u16::try_from(code).ok());
    let status = status.filter(|status| (200..700).contains(status)).unwrap_or(500);
    if call.env.host.drop_transaction(status) {
        Code::EXIT
    } else {
        Code::FALSE
    }
}

fn t_reuse_branch(call: &mut Call<'_, '_>) -> Code {
    let found = call.env.host.transaction().and_then(|view| {
        let branch = current_branch(&view)?;
        let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        Some((
            branch.uri.to_vec(),
            branch.flags,
            owned(branch.ruid),
            owned(branch.path),
        ))
    });
    let Some((uri, flags, ruid, path)) = found else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    ctx.set_uri(uri);
    ctx.set_dst_uri(None);
    (ctx.bflags, ctx.ruid, ctx.path) = (flags, ruid, path);
    Code::TRUE
}

fn t_cancel_callid(call: &mut Call<'_, '_>) -> Code {
    let (Ok(cseq), Ok(flag)) = (u32::try_from(call.int(1)), u32::try_from(call.int(2))) else {
        return Code::FALSE;
    };
    let cause = call.opt_int(3).and_then(|code| u16::try_from(code).ok());
    let call_id = call.text_owned(0);
    let deed = Deed::Cancel { flag, cause };
    Code::from(call.env.host.leave(Named::Call(&call_id, cseq), deed))
}

/// The routes that are about one branch.
const ABOUT_BRANCH: Routes = Routes::ONREPLY.or(Routes::FAILURE).or(Routes::BRANCH_FAILURE);

/// The current transaction, in routes of these kinds alone.
fn view_in<'e>(env: &'e Env<'_>, routes: Routes) -> Option<TransactionView<'e>> {
    env.host.transaction().filter(|_| env.route.meets(routes))
}

fn current_branch<'v, 'e>(view: &'v TransactionView<'e>) -> Option<&'v BranchView<'e>> {
    view.branches.get(view.current_branch)
}

fn branch_index<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    // Kamailio: the route of every reply knows no branch yet
    if env.route.meets(Routes::REPLY) {
        return Value::Int(-1);
    }
    let index = |view: TransactionView<'_>| {
        if env.route.meets(Routes::FAILURE) {
            view.branches.len()
        } else {
            view.current_branch
        }
    };
    let view = view_in(env, ABOUT_BRANCH.or(Routes::BRANCH));
    Value::Int(view.map_or(0, |view| i64::try_from(index(view)).unwrap_or(0)))
}

fn reply_code<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    if env.ctx.msg.is_reply() {
        return Value::Int(i64::from(env.ctx.msg.status()));
    }
    let failed = env.route.meets(Routes::FAILURE.or(Routes::BRANCH_FAILURE));
    let status = env
        .host
        .transaction()
        .map_or(0, |view| if failed { view.reply_status } else { view.status });
    Value::Int(i64::from(status))
}

fn reply_reason<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    if env.ctx.msg.is_reply() {
        return Value::text(env.ctx.msg.reason());
    }
    match view_in(env, Routes::FAILURE) {
        Some(view) if view.reply.is_none() => Value::owned(shared::sip::status::reason(view.reply_status)),
        Some(view) => Value::owned(view.reply_reason),
        None => Value::text(b""),
    }
}

fn reply_last<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    if env.route.meets(Routes::ONREPLY) {
        Value::Int(i64::from(env.ctx.msg.status()))
    } else {
        Value::text(b"")
    }
}

fn named<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let name = spec.text(env);
    match &*name {
        b"reply_code" => return reply_code(env, spec),
        b"reply_last" => return reply_last(env, spec),
        b"branch_index" => return branch_index(env, spec),
        b"reply_reason" => return reply_reason(env, spec),
        _ => {}
    }
    let Some(view) = env.host.transaction() else {
        return Value::Null;
    };
    match &*name {
        b"id_index" | b"id_index_n" => Value::Int(i64::from(view.id.0)),
        b"id_label" | b"id_label_n" => Value::Int(i64::from(view.id.1)),
        b"reply_type" => {
            let failed = env.route.meets(Routes::FAILURE.or(Routes::BRANCH_FAILURE));
            Value::Int(i64::from(failed && view.reply.is_none()))
        }
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

fn branch_value<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let view = view_in(env, ABOUT_BRANCH);
    match (view.as_ref().and_then(current_branch), &spec.data) {
        (Some(branch), PvData::Number(0)) => Value::Int(i64::from(branch.flags)),
        // Kamailio: the URI only where the reply is being handled
        (Some(branch), _) if env.route.meets(Routes::ONREPLY) => Value::owned(branch.uri),
        _ => Value::Null,
    }
}

fn other_message(inner: &PvInner<'_>) -> Result<PvData, String> {
    (inner.parse)(inner.text).map(PvData::Format)
}

/// The variable of another message.
fn of_message(env: &Env<'_>, spec: &PvSpec, ctx: Option<Context>) -> Value<'static> {
    match (&spec.data, ctx) {
        (PvData::Format(format), Some(ctx)) => expand_of(env, ctx, format),
        _ => Value::Null,
    }
}

fn of_request<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let request = match view_in(env, Routes::ONREPLY) {
        Some(view) => view.request.map(Context::as_received),
        None if env.route.meets(Routes::REPLY) => env.host.related_request(env.ctx),
        None => None,
    };
    of_message(env, spec, request)
}

fn of_invite<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let is_cancel = env.ctx.msg.is_request() && env.ctx.msg.method() == Method::Cancel;
    let invite = is_cancel.then(|| env.host.related_request(env.ctx)).flatten();
    of_message(env, spec, invite)
}

fn of_reply<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let view = view_in(env, Routes::FAILURE.or(Routes::BRANCH_FAILURE));
    let reply = view.and_then(|view| view.reply).map(|reply| Context {
        msg: reply.clone(),
        ..Context::default()
    });
    of_message(env, spec, reply)
}
