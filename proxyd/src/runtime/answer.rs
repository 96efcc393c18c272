//! Replies made here in a transaction, and whoever is told of its end.

use super::Guard;
use super::host::Live;
use super::reply::Answer;
use super::transaction::Transaction;
use crate::ids::TagKind;
use crate::proxy::context::Context;
use crate::script::host::Scope;
use crate::script::module::Code;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::TransactionEnd;
use crate::script::program::MessageEvent;
use crate::script::vars::Vars;
use crate::transaction::action::Action;
use crate::transaction::action::Origin;
use crate::transaction::action::ServerEvent;
use shared::sip::Message;

impl Live {
    /// Makes and sends a reply in a transaction, whoever holds its request.
    pub(crate) fn respond_locally(
        &mut self,
        guard: &mut Guard,
        request: &mut Context,
        status: u16,
        reason: &[u8],
    ) {
        let bytes = self.write_answer(request, status, reason);
        let event = self.script.program.message_event(MessageEvent::Response);
        let told = event.map(|_| bytes.clone());
        self.send_answer(guard, status, bytes);
        if let Some(bytes) = told {
            self.tell(MessageEvent::Response, &bytes);
        }
    }

    /// Makes a reply with the stateful To tag.
    pub(super) fn write_answer(&mut self, request: &mut Context, status: u16, reason: &[u8]) -> Vec<u8> {
        let mut bytes = self.buffers.take();
        let answer = Answer {
            keys: &self.runtime.keys,
            script: &self.script,
            status,
            reason,
            kind: TagKind::Stateful,
        };
        answer.write(request, &mut bytes);
        request.answered = status;
        bytes
    }

    /// Sends a reply made here, of which no event route is told.
    pub(super) fn send_answer(&mut self, guard: &mut Guard, status: u16, bytes: Vec<u8>) {
        self.send_upstream(guard, status, bytes);
        self.runtime.counters.rpl_sent(status, true);
    }

    /// Sends a reply to whoever sent the request, unless nothing is left of it, and keeps it for as long as it may have to be repeated.
    pub(super) fn send_upstream(&mut self, t: &mut Transaction, status: u16, bytes: Vec<u8>) {
        // Kamailio: a local 2xx is not repeated until its ACK; INVITEs are answered 2xx by real user agents.
        let event = ServerEvent::Respond(status, Origin::Relayed);
        let actions = t.server.on(event, self.now, &t.timers, t.reply_to.is_reliable());
        t.status = status;
        if !actions.contains(Action::SendResponse) {
            return self.buffers.put(bytes);
        }
        if bytes.is_empty() {
            self.buffers.put(std::mem::take(&mut t.reply));
            return;
        }
        self.outbox
            .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                out.extend_from_slice(&bytes)
            });
        let spare = if !t.server.repeats() {
            bytes
        } else if status >= 200 && !t.is_invite() {
            // this one is kept for seconds: no larger than it has to be
            self.buffers
                .put(std::mem::replace(&mut t.reply, bytes.as_slice().into()));
            bytes
        } else {
            std::mem::replace(&mut t.reply, bytes)
        };
        self.buffers.put(spare);
    }

    /// `t_reply`: a final one ends every branch.
    pub(crate) fn reply_in_transaction(&mut self, mut scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        if self.current.is_none() {
            let made = self.begin_transaction(scope.again());
            if !made.is_true() {
                return made;
            }
        }
        let Some(mut guard) = self.current.take() else {
            return Code::FALSE;
        };
        if guard.status >= 200 {
            self.current = Some(guard);
            return Code::FALSE;
        }
        if let (true, Some(mut request)) = (scope.route == RouteKind::ONREPLY, guard.request.take()) {
            // the context is a reply: the answer is to the request
            self.respond_locally(&mut guard, &mut request, status, reason);
            guard.request = Some(request);
        } else {
            self.respond_locally(&mut guard, scope.ctx, status, reason);
        }
        if status >= 200 {
            self.cancel_pending_for(&mut guard, scope.script, || format!("SIP;cause={status}").into());
            let heard = guard.heard_uri();
            let uri = heard.map(|uri| scope.ctx.new_uri.replace(uri));
            self.current = Some(guard);
            let tag = self.runtime.keys.tag(&scope.ctx.msg, TagKind::Stateful);
            let end = TransactionEnd {
                status,
                reason,
                reply: None,
                to_tag: &tag,
            };
            self.run_response_out(scope.again(), &end);
            if let Some(uri) = uri {
                scope.ctx.new_uri = uri;
            }
        } else {
            self.current = Some(guard);
        }
        Code::TRUE
    }

    pub(super) fn run_response_out(&mut self, mut scope: Scope<'_>, end: &TransactionEnd<'_>) {
        scope.route = RouteKind::REQUEST;
        for hook in scope.script.hooks() {
            if let Hook::ResponseOut(run) = hook {
                run(&mut scope.again().env(self), end);
            }
        }
    }

    /// The same for a reply made here, outside the request's own route.
    pub(super) fn response_out(
        &mut self,
        guard: Guard,
        status: u16,
        reason: &[u8],
        reply: Option<&Message>,
        vars: &mut Vars,
    ) -> Guard {
        let heard = guard.heard_uri();
        let (guard, _) = self.on_request(guard, vars, RouteKind::REQUEST, |live, mut scope| {
            let tag = live.runtime.keys.tag(&scope.ctx.msg, TagKind::Stateful);
            let end = TransactionEnd {
                status,
                reason,
                reply,
                to_tag: &tag,
            };
            let uri = heard.map(|uri| scope.ctx.new_uri.replace(uri));
            live.run_response_out(scope.again(), &end);
            if let Some(uri) = uri {
                scope.ctx.new_uri = uri;
            }
        });
        guard
    }
}
