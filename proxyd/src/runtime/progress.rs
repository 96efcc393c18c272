//! What moves a transaction besides messages: time, a broken connection, `t_continue`, its end.

use super::Guard;
use super::host::Live;
use super::transaction::ClientBranch;
use crate::script::module::RouteKind;
use crate::script::vars::Vars;
use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::ClientEvent;
use crate::transaction::action::ServerEvent;
use crate::transaction::key;
use crate::transaction::timer::NEVER;
use shared::sip::Message;

impl Live {
    /// Time has passed for a transaction.
    pub(crate) fn tick(&mut self, mut guard: Guard, vars: &mut Vars) {
        guard.armed = NEVER;
        let timers = guard.timers;
        let mut failed = Vec::new();
        for number in 0..guard.branches.len() {
            let Some(branch) = guard.branches.get_mut(number) else {
                continue;
            };
            let reliable = branch.target.is_reliable();
            if let Some(cancelling) = &mut branch.cancelling {
                let actions = cancelling
                    .client
                    .on(ClientEvent::Tick, self.now, &timers, reliable);
                if actions.contains(Action::RetransmitRequest) {
                    let (target, sent) = (&branch.target, &cancelling.sent);
                    self.outbox
                        .send_with(&self.endpoints.sockets, target, |out| out.extend_from_slice(sent));
                }
                if cancelling.client.state() == crate::transaction::non_invite_client::State::Terminated {
                    branch.cancelling = None;
                }
            }
            let actions = branch.client.on(ClientEvent::Tick, self.now, &timers, reliable);
            self.act_on_branch(&mut guard, number, actions, b"");
            if actions.contains(Action::Timeout) || actions.contains(Action::TransportError) {
                Self::note_ending(&mut guard, number, actions);
                failed.push(number);
            }
        }
        let reliable = guard.reply_to.is_reliable();
        let t = &mut *guard;
        let actions = t.server.on(ServerEvent::Tick, self.now, &timers, reliable);
        if actions.contains(Action::RetransmitResponse) && !t.reply.is_empty() {
            self.outbox
                .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                    out.extend_from_slice(&t.reply)
                });
        }
        if actions.contains(Action::Lifetime) && guard.status < 200 {
            guard.expired = true;
            failed.extend(self.expire_branches(&mut guard));
        }
        if guard.is_suspended() && guard.status < 200 && (guard.expired || guard.suspended <= self.now) {
            failed.push(Self::end_wait(&mut guard));
        }
        let ended = !failed.is_empty();
        for number in failed {
            guard = self.branch_failed(guard, number, vars);
        }
        if ended {
            guard = self.finish_leg(guard, vars);
        }
        self.settle(guard);
    }

    /// Nobody went on with a suspended transaction: that counts as a branch that timed out.
    fn end_wait(guard: &mut Guard) -> usize {
        guard.suspended = NEVER;
        let (number, armed) = (guard.branches.len(), guard.intent.armed);
        let mut branch = ClientBranch::unsent(guard.is_invite(), guard.reply_to);
        branch.armed = armed;
        guard.branches.push(branch);
        guard.set_leg(number);
        guard.current_branch = number;
        number
    }

    /// Notes how a branch without a reply of its own ended: no answer in time, or the transport failed.
    fn note_ending(guard: &mut Guard, number: usize, actions: Actions) {
        guard.current_branch = number;
        if let Some(branch) = guard.branches.get_mut(number) {
            branch.timed_out = actions.contains(Action::Timeout);
            branch.status = if branch.timed_out { 408 } else { 503 };
        }
    }

    /// Ends every unanswered branch of a transaction whose longest life is over, and returns which they were.
    fn expire_branches(&mut self, guard: &mut Guard) -> Vec<usize> {
        let timers = guard.timers;
        let mut ended = Vec::new();
        for number in 0..guard.branches.len() {
            let Some(branch) = guard.branches.get_mut(number) else {
                continue;
            };
            let reliable = branch.target.is_reliable();
            let actions = branch.client.on(ClientEvent::Expire, self.now, &timers, reliable);
            self.act_on_branch(guard, number, actions, b"");
            if actions.contains(Action::Timeout) {
                Self::note_ending(guard, number, actions);
                ended.push(number);
            }
        }
        ended
    }

    /// A request could not be sent on its connection: its branch has failed (RFC 3261 §16.9).
    pub(crate) fn fail_unsent(&mut self, bytes: &[u8], vars: &mut Vars) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        if !message.is_request() {
            return;
        }
        let own = message.top_via().and_then(|via| key::Branch::read(via.branch()?));
        let Some(own) = own else { return };
        let Some(found) = self.runtime.transactions.by_id(own.id) else {
            return;
        };
        let Ok(mut guard) = Guard::lock(&found.transaction) else {
            return;
        };
        let (timers, number) = (guard.timers, usize::from(own.number));
        let Some(branch) = guard.branches.get_mut(number) else {
            return;
        };
        let reliable = branch.target.is_reliable();
        let actions = branch
            .client
            .on(ClientEvent::TransportError, self.now, &timers, reliable);
        if actions.contains(Action::TransportError) {
            branch.status = 503;
            guard.current_branch = number;
            guard = self.branch_failed(guard, number, vars);
            guard = self.finish_leg(guard, vars);
        }
        self.settle(guard);
    }

    /// Runs the route of a transaction that was suspended (`t_continue`).
    pub(crate) fn go_on(&mut self, mut guard: Guard, route: crate::script::host::RouteId, vars: &mut Vars) {
        if std::mem::replace(&mut guard.suspended, NEVER) == NEVER || guard.status >= 200 {
            return self.settle(guard);
        }
        let (mut guard, _) = self.on_request(guard, vars, RouteKind::REQUEST, |live, scope| {
            live.run(route, scope);
        });
        if guard.branches.is_empty()
            && guard.status < 200
            && !guard.is_suspended()
            && let Some(mut request) = guard.request.take()
        {
            self.respond_locally(&mut guard, &mut request, 500, b"Server Internal Error");
            guard.request = Some(request);
        }
        self.settle(guard);
    }
}
