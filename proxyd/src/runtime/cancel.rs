//! Ending branches that nobody waits for any more: a CANCEL from upstream, and those made here (RFC 3261 §9, RFC 3326).

use super::Guard;
use super::host::Live;
use super::transaction::Transaction;
use crate::ids::TagKind;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::context::Context;
use crate::script::host::RelayOptions;
use crate::script::host::Scope;
use crate::script::module::Code;
use crate::script::module::Script;
use crate::script::module::TransactionEnd;
use crate::script::vars::Vars;
use crate::transaction::action::ClientEvent;
use crate::transaction::timer::NEVER;
use std::borrow::Cow;

impl Live {
    /// A CANCEL that finds its INVITE is answered and goes to each branch; another one goes on without a transaction.
    pub(super) fn relay_cancel(&mut self, mut scope: Scope<'_>, options: RelayOptions) -> Code {
        let lookup = self.lookup(scope.ctx).cancelled();
        let Some(invite) = self.runtime.transactions.find(&lookup) else {
            let tm = scope.script.states.get::<Tm>();
            return match tm.map_or(0, |tm| tm.unmatched_cancel) {
                2 => Code::TRUE,
                _ => self.forward_stateless(scope, options.target),
            };
        };
        match self.begin_transaction(scope.again()) {
            Code::EXIT => return Code::TRUE,
            code if !code.is_true() => return code,
            _ => {}
        }
        let Some(mut cancel) = self.current.take() else {
            return Code::FALSE;
        };
        let invite = Guard::lock(&invite.transaction).ok();
        let mut invite = invite.map(|guard| self.end_suspended(guard, scope.vars));
        let pending = invite
            .as_ref()
            .is_some_and(|guard| guard.status < 200 && (guard.is_pending() || guard.branches.is_empty()));
        if let Some(guard) = &mut invite {
            guard.cancelled = true;
            let reasons = self.cancel_reasons(guard, scope.ctx, scope.script);
            self.cancel_all(guard, &reasons);
        }
        let reason: &[u8] = if pending {
            b"canceling"
        } else {
            b"ok -- no more pending branches"
        };
        self.respond_locally(&mut cancel, scope.ctx, 200, reason);
        self.current = Some(cancel);
        let tag = self.runtime.keys.tag(&scope.ctx.msg, TagKind::Stateful);
        let end = TransactionEnd {
            status: 200,
            reason,
            reply: None,
            to_tag: &tag,
        };
        self.run_response_out(scope.again(), &end);
        let Some(mut guard) = invite else {
            return Code::TRUE;
        };
        // one that has no branch yet ends at once (RFC 3261 §9.2)
        if guard.branches.is_empty()
            && guard.status < 200
            && let Some(mut request) = guard.request.take()
        {
            self.respond_locally(&mut guard, &mut request, 487, b"Request Terminated");
            guard.request = Some(request);
        }
        self.settle(guard);
        Code::TRUE
    }

    /// A transaction that waits for `t_continue`, not for a branch, ends at once.
    fn end_suspended(&mut self, mut guard: Guard, vars: &mut Vars) -> Guard {
        if std::mem::replace(&mut guard.suspended, NEVER) == NEVER
            || guard.is_pending()
            || guard.status >= 200
        {
            return guard;
        }
        let Some(mut request) = guard.request.take() else {
            return guard;
        };
        let reason = b"Request canceled";
        self.respond_locally(&mut guard, &mut request, 487, reason);
        guard.request = Some(request);
        self.response_out(guard, 487, reason, None, vars)
    }

    /// Reason headers of a received CANCEL, to be put in ours (RFC 3326).
    fn cancel_reasons(&self, invite: &Transaction, ctx: &Context, script: &Script) -> Vec<u8> {
        let mut lines = Vec::new();
        let wanted = script.states.get::<Tm>().is_none_or(|tm| tm.e2e_cancel_reason);
        if wanted && invite.intent.disable & disable::CANCEL_REASON == 0 {
            for header in ctx.msg.all_named(b"Reason") {
                lines.extend_from_slice(b"Reason: ");
                lines.extend_from_slice(ctx.msg.value(header));
                lines.extend_from_slice(b"\r\n");
            }
        }
        lines
    }

    /// Asks every unanswered branch to end; each sends its CANCEL as soon as that is allowed (RFC 3261 §9.1).
    pub(crate) fn cancel_all(&mut self, guard: &mut Guard, headers: &[u8]) {
        self.cancel_where(guard, headers, |_| true);
    }

    /// The same with a Reason (RFC 3326), which is made only when a branch is unanswered and the script wants one.
    pub(super) fn cancel_pending_for(
        &mut self,
        guard: &mut Guard,
        script: &Script,
        reason: impl Fn() -> Cow<'static, str>,
    ) {
        if guard.branches.iter().any(|branch| branch.client.is_pending()) {
            let wanted = script.states.get::<Tm>().is_none_or(|tm| tm.local_cancel_reason);
            let header = wanted.then(|| format!("Reason: {}\r\n", reason()));
            self.cancel_all(guard, header.unwrap_or_default().as_bytes());
        }
    }

    /// The same for the branches that `which` chooses by number.
    pub(crate) fn cancel_where(&mut self, guard: &mut Guard, headers: &[u8], which: impl Fn(usize) -> bool) {
        for number in 0..guard.branches.len() {
            if which(number) {
                let timers = guard.timers;
                let Some(branch) = guard.branches.get_mut(number) else {
                    continue;
                };
                let reliable = branch.target.is_reliable();
                let actions = branch.client.on(ClientEvent::Cancel, self.now, &timers, reliable);
                self.act_on_branch(guard, number, actions, headers);
            }
        }
    }

    /// `t_cancel_branches`: all, all but the current one, or only that one.
    pub(crate) fn cancel_pending(&mut self, _scope: Scope<'_>, which: u32) -> Code {
        let Some(mut guard) = self.current.take() else {
            return Code::FALSE;
        };
        let current = guard.current_branch;
        match which {
            0 => self.cancel_all(&mut guard, b""),
            1 => self.cancel_where(&mut guard, b"", |number| number != current),
            _ => self.cancel_where(&mut guard, b"", |number| number == current),
        }
        self.current = Some(guard);
        Code::TRUE
    }
}
