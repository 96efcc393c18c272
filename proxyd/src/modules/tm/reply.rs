//! Answering in a transaction, naming its routes, and asking how its branches ended.

use crate::modules::sl;
use crate::script::host::BranchView;
use crate::script::host::TransactionView;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Routes;

pub(super) fn t_reply(call: &mut Call<'_, '_>) -> Code {
    let Some((status, reason)) = sl::status_and_reason(call) else {
        crate::log::error(
            "tm",
            format_args!("t_reply: {:?} is no status between 100 and 699", call.value(0)),
        );
        return Code::FALSE;
    };
    let (host, scope) = call.split();
    host.transaction_reply(scope, status, &reason)
}

pub(super) fn t_reply_error(call: &mut Call<'_, '_>) -> Code {
    let (status, reason) = call.env.ctx.failure.reply("TM");
    let (host, scope) = call.split();
    host.transaction_reply(scope, status, reason.as_bytes())
}

pub(super) fn t_retransmit_reply(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    let answered = host.transaction().is_some_and(|t| t.status > 0);
    if answered {
        host.check_transaction(scope);
    }
    Code::from(answered)
}

pub(super) fn t_on_failure(call: &mut Call<'_, '_>) -> Code {
    let route = call.route(0, Routes::FAILURE);
    call.env.host.intent().armed.failure = route;
    Code::TRUE
}

pub(super) fn t_on_reply(call: &mut Call<'_, '_>) -> Code {
    let route = call.route(0, Routes::ONREPLY);
    call.env.host.intent().armed.reply = route;
    Code::TRUE
}

pub(super) fn t_on_branch(call: &mut Call<'_, '_>) -> Code {
    let route = call.route(0, Routes::BRANCH);
    call.env.host.intent().armed.branch = route;
    Code::TRUE
}

pub(super) fn t_on_branch_failure(call: &mut Call<'_, '_>) -> Code {
    let route = call.route(0, Routes::BRANCH_FAILURE);
    call.env.host.intent().armed.branch_failure = route;
    Code::TRUE
}

pub(super) fn t_is_set(call: &mut Call<'_, '_>) -> Code {
    let armed = call.env.host.intent().armed;
    let target = call.text(0);
    Code::from(match &*target {
        b"branch_route" => armed.branch.is_some(),
        b"failure_route" => armed.failure.is_some(),
        b"onreply_route" => armed.reply.is_some(),
        _ => false,
    })
}

fn asks(call: &Call<'_, '_>, question: impl FnOnce(&TransactionView<'_>) -> bool) -> Code {
    Code::from(call.env.host.transaction().is_some_and(|view| question(&view)))
}

fn current<'a>(view: &TransactionView<'a>) -> Option<BranchView<'a>> {
    view.branches.get(view.current_branch).copied()
}

/// In a reply's route the reply's status counts, in a failure route that of the best branch, else the last one sent.
pub(super) fn t_check_status(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call.regex(0) else {
        return Code::FALSE;
    };
    let status = if call.env.route.meets(Routes::ONREPLY.or(Routes::REPLY)) {
        call.env.ctx.msg.status()
    } else {
        let failed = call.env.route.meets(Routes::FAILURE.or(Routes::BRANCH_FAILURE));
        let view = call.env.host.transaction();
        view.map_or(0, |t| if failed { t.reply_status } else { t.status })
    };
    Code::from(status > 0 && regex.is_match(status.to_string().as_bytes()))
}

pub(super) fn t_grep_status(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.int(0);
    asks(call, |view| {
        view.branches
            .iter()
            .any(|branch| branch.replied && i64::from(branch.status) == wanted)
    })
}

pub(super) fn t_get_status_code(call: &mut Call<'_, '_>) -> Code {
    let status = call.env.host.transaction().map_or(0, |view| view.status);
    if status == 0 {
        Code::FALSE
    } else {
        Code(i32::from(status))
    }
}

pub(super) fn t_is_canceled(call: &mut Call<'_, '_>) -> Code {
    asks(call, |view| view.cancelled)
}

pub(super) fn t_is_expired(call: &mut Call<'_, '_>) -> Code {
    asks(call, |view| view.expired)
}

pub(super) fn t_branch_timeout(call: &mut Call<'_, '_>) -> Code {
    asks(call, |view| current(view).is_some_and(|branch| branch.timed_out))
}

pub(super) fn t_branch_replied(call: &mut Call<'_, '_>) -> Code {
    asks(call, |view| current(view).is_some_and(|branch| branch.replied))
}

pub(super) fn t_any_timeout(call: &mut Call<'_, '_>) -> Code {
    asks(call, |view| view.branches.iter().any(|branch| branch.timed_out))
}

pub(super) fn t_any_replied(call: &mut Call<'_, '_>) -> Code {
    asks(call, |view| view.branches.iter().any(|branch| branch.replied))
}

pub(super) fn t_drop_replies(call: &mut Call<'_, '_>) -> Code {
    if !call.text(0).starts_with(b"n") {
        call.env.host.drop_replies();
    }
    Code::TRUE
}
