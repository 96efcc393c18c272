//! What routes and RPCs do to a transaction that is not theirs: answer it, cancel it, add branches (Kamailio tmx, `tm.reply`).

use super::Guard;
use super::host::Live;
use super::transaction::Transaction;
use crate::proxy::branch::Branch;
use crate::proxy::context::ReplyBody;
use crate::script::host::Deed;
use crate::script::host::Named;
use crate::script::host::RelayOptions;
use crate::script::module::RouteKind;
use crate::script::vars::Vars;
use crate::transaction::key::Id;
use crate::transaction::timer::NEVER;
use std::sync::Arc;

impl Live {
    /// Does a deed to a transaction; false when there is none of that name, or too much is waiting to be done.
    ///
    /// While this worker holds another one, the worker of the timers does it.
    pub(super) fn leave_deed(&mut self, named: Named<'_>, deed: Deed) -> bool {
        let transactions = &self.runtime.transactions;
        let found = match named {
            Named::Id(index, label) => transactions.by_id(Id { index, label }),
            // one that another worker holds just now is passed over: it may wait for ours
            Named::Call(call_id, cseq) => transactions.all().find(|found| {
                let slot = found.transaction.try_lock();
                slot.is_some_and(|slot| slot.active().is_some_and(|t| fits(t, call_id, cseq, &deed)))
            }),
        };
        let Some(found) = found else { return false };
        if self.current.is_none() {
            return Guard::lock(&found.transaction)
                .map(|guard| self.do_deed(guard, deed, &mut Vars::default()))
                .is_ok();
        }
        self.runtime.errands.leave(Box::new(move |live, vars| {
            if let Ok(guard) = Guard::lock(&found.transaction) {
                live.do_deed(guard, deed, vars);
            }
        }))
    }

    fn do_deed(&mut self, mut guard: Guard, deed: Deed, vars: &mut Vars) {
        match deed {
            Deed::Cancel { flag, cause } => {
                if let (1..32, Some(request)) = (flag, &mut guard.request) {
                    request.flags |= 1 << flag;
                }
                let reason = cause.map_or(String::new(), |cause| match cause {
                    200 => "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n".to_owned(),
                    cause => format!("Reason: SIP;cause={cause}\r\n"),
                });
                self.cancel_all(&mut guard, reason.as_bytes());
            }
            Deed::CancelBranch(branch) => {
                if guard.is_invite() {
                    self.cancel_where(&mut guard, b"", |number| number == branch);
                }
            }
            Deed::Reply(status, reason) => {
                self.answer_other(&mut guard, status, &reason, b"", None);
            }
            Deed::Append(branches) => guard = self.append_branches(guard, branches, vars),
        }
        self.settle(guard);
    }

    /// Answers a request that no route handles now, with these header lines and this body; false when it has its final answer.
    pub(super) fn answer_other(
        &mut self,
        guard: &mut Guard,
        status: u16,
        reason: &[u8],
        headers: &[u8],
        body: Option<Vec<u8>>,
    ) -> bool {
        if guard.status >= 200 {
            return false;
        }
        let Some(mut request) = guard.request.take() else {
            return false;
        };
        request.reply_headers.extend_from_slice(headers);
        if let Some(body) = body {
            request.reply_body = Some(ReplyBody {
                content_type: None,
                body,
            });
        }
        if status >= 200 {
            let script = Arc::clone(&guard.script);
            self.cancel_pending_for(guard, &script, || format!("SIP;cause={status}").into());
            guard.suspended = NEVER;
        }
        self.respond_locally(guard, &mut request, status, reason);
        guard.request = Some(request);
        true
    }

    /// Adds branches to the leg under way; a transaction that was suspended waits for them alone.
    fn append_branches(&mut self, guard: Guard, branches: Vec<Branch>, vars: &mut Vars) -> Guard {
        let (mut guard, added) = self.on_request(guard, vars, RouteKind::BRANCH_FAILURE, |live, scope| {
            scope.ctx.branches = branches;
            scope.ctx.uri_is_new = false;
            let options = RelayOptions {
                no_error_reply: true,
                ..RelayOptions::default()
            };
            live.relay_request(scope, options)
        });
        if added.is_some_and(|code| code.is_true()) {
            guard.suspended = NEVER;
        }
        guard
    }
}

/// Whether it is an unanswered transaction of this name that the deed can be done to.
fn fits(t: &Transaction, call_id: &[u8], cseq: u32, deed: &Deed) -> bool {
    let wanted = t.is_invite() || matches!(deed, Deed::Reply(..));
    let request = t.request.as_ref().filter(|_| wanted && t.status < 200);
    request.is_some_and(|request| {
        let number = request.msg.cseq().map(|cseq| cseq.number);
        request.msg.call_id() == call_id && number == Some(cseq)
    })
}
