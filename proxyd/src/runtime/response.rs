//! A reply from downstream: to its branch, through its routes, and upstream when it is the one (RFC 3261 §16.7).

use super::Guard;
use super::host::Live;
use super::reply::Answer;
use super::transaction::Cancelling;
use super::transaction::Server;
use super::transaction::Transaction;
use crate::ids::TagKind;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::context::Context;
use crate::proxy::context::Target;
use crate::proxy::response;
use crate::proxy::response::Best;
use crate::proxy::response::Candidate;
use crate::proxy::response::Rules;
use crate::script::host::LocalReply;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::module::TransactionEnd;
use crate::script::vars::Vars;
use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::ClientEvent;
use crate::transaction::action::Origin;
use crate::transaction::action::ServerEvent;
use crate::transaction::key;
use crate::transaction::non_invite_client::NonInviteClient;
use crate::transaction::timer::NEVER;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::build::write_ack;
use shared::sip::build::write_cancel;
use std::sync::Arc;

/// How a branch without a reply of its own ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// No answer in time.
    Timeout,
    /// The transport failed.
    Unreachable,
}

impl Live {
    /// Handles a reply; `ctx` is swapped for a fresh one when the transaction keeps it.
    pub(crate) fn receive_reply(&mut self, ctx: &mut Box<Context>, lists: &mut Lists, vars: &mut Vars) {
        let script = Arc::clone(&self.script);
        if let Some(route) = script.program.reply_route() {
            let verdict = self.run(route, RouteKind::REPLY, ctx, lists, vars, &script);
            if verdict.dropped {
                return;
            }
        }
        let found = ctx.msg.top_via().and_then(|via| key::Branch::read(via.branch()?));
        let located =
            found.and_then(|own| Some((self.runtime.transactions.by_id(own.id)?, usize::from(own.number))));
        let Some((found, number)) = located else {
            if !self.forward_reply_stateless(ctx) {
                crate::log::debug(
                    "tm",
                    format_args!("reply {} without a transaction", ctx.msg.status()),
                );
            }
            return;
        };
        let mut guard = found.transaction.lock_arc();
        let (timers, invite) = (guard.timers, guard.invite);
        let Some(branch) = guard.branches.get_mut(number) else {
            return;
        };
        let status = ctx.msg.status();
        let reliable = branch.reliable();
        let cancel = ctx.msg.method() == Method::Cancel;
        if cancel && invite {
            if let Some(cancelling) = &mut branch.cancelling {
                cancelling
                    .client
                    .on(ClientEvent::Response(status), self.now, &timers, reliable);
            }
            return self.settle(guard);
        }
        if cancel != is_cancel(&branch.sent) || (ctx.msg.method() == Method::Invite) != invite {
            return;
        }
        self.runtime.counters.rpl_received();
        branch.replied = true;
        let actions = branch
            .client
            .on(ClientEvent::Response(status), self.now, &timers, reliable);
        if actions.contains(Action::SendAck) {
            self.send_ack(&guard, number, &ctx.msg);
        }
        self.act_on_branch(&mut guard, number, actions, b"");
        if actions.contains(Action::PassUp) {
            guard.current_branch = number;
            guard = self.pass_up(guard, number, ctx, vars);
        }
        self.settle(guard);
    }

    /// Runs the onreply route of a reply and takes it towards the caller.
    fn pass_up(&mut self, mut guard: Guard, number: usize, ctx: &mut Box<Context>, vars: &mut Vars) -> Guard {
        let status = ctx.msg.status();
        let script = Arc::clone(&guard.script);
        if let Some(branch) = guard.branches.get_mut(number) {
            branch.status = status;
            ctx.bflags = branch.flags;
        }
        if let Some(request) = &guard.request {
            ctx.flags = request.flags;
        }
        if let Some(route) = guard.intent.armed.reply {
            let mut lists = std::mem::take(&mut guard.lists);
            self.current = Some(guard);
            let verdict = self.run(route, RouteKind::ONREPLY, ctx, &mut lists, vars, &script);
            let Some(back) = self.current.take() else {
                unreachable!("the route leaves its transaction")
            };
            guard = back;
            guard.lists = lists;
            if let Some(request) = &mut guard.request {
                request.flags = ctx.flags;
            }
            if let Some(branch) = guard.branches.get_mut(number) {
                branch.flags = ctx.bflags;
            }
            if verdict.dropped && status < 200 {
                return guard;
            }
        }
        if status < 200 {
            let relay_100 = script.states.get::<Tm>().is_some_and(|tm| tm.relay_100);
            if guard.status < 200 && (status > 100 || relay_100) && !guard.replicate {
                self.relay_reply(&mut guard, ctx, vars, &script);
            }
            return guard;
        }
        if status < 300 {
            if !guard.replicate {
                self.relay_reply(&mut guard, ctx, vars, &script);
            }
            let reason = cancel_reason(&script, "SIP;cause=200;text=\"Call completed elsewhere\"");
            self.cancel_all(&mut guard, &reason);
            if matches!(guard.server, Server::Local) {
                guard = self.finish_local(guard, status, Some(&ctx.msg), vars);
            }
            return guard;
        }
        let kept = std::mem::replace(ctx, self.runtime.spares.take());
        if let Some(branch) = guard.branches.get_mut(number) {
            branch.reply = Some(kept);
        }
        let no_6xx = guard.intent.disable & disable::SIX_XX != 0
            || script.states.get::<Tm>().is_some_and(|tm| tm.disable_6xx_block);
        if status >= 600 && !no_6xx {
            let reason = cancel_reason(&script, &format!("SIP;cause={status}"));
            self.cancel_all(&mut guard, &reason);
        }
        self.finish_leg(guard, vars)
    }

    /// When every branch of the leg has failed: the failure route, then the best reply.
    fn finish_leg(&mut self, mut guard: Guard, vars: &mut Vars) -> Guard {
        if guard.status >= 200 || guard.is_pending() {
            return guard;
        }
        let script = Arc::clone(&guard.script);
        let Some(best) = Self::choose(&guard) else {
            return guard;
        };
        guard.current_branch = best;
        if matches!(guard.server, Server::Local) {
            let status = guard.branches.get(best).map_or(408, |branch| branch.status);
            let reply = guard
                .branches
                .get_mut(best)
                .and_then(|branch| branch.reply.take());
            return self.finish_local(guard, status, reply.as_ref().map(|ctx| &ctx.msg), vars);
        }
        guard = self.leg_failed(guard, best, vars, &script);
        if let (Some(route), false) = (guard.intent.armed.failure.take(), guard.replicate)
            && let Some(mut request) = guard.request.take()
        {
            let mut lists = std::mem::take(&mut guard.lists);
            // Kamailio: what a failure route changes in the request holds for its own leg
            let lumps = request.lumps.clone();
            let target = (
                request.new_uri.clone(),
                request.dst_uri.clone(),
                request.path.clone(),
            );
            request.uri_is_new = false;
            self.current = Some(guard);
            self.run(route, RouteKind::FAILURE, &mut request, &mut lists, vars, &script);
            let Some(back) = self.current.take() else {
                unreachable!("the route leaves its transaction")
            };
            guard = back;
            request.lumps = lumps;
            (request.new_uri, request.dst_uri, request.path) = target;
            request.branches.clear();
            guard.request = Some(request);
            guard.lists = lists;
            if guard.status >= 200 || guard.is_pending() {
                return guard;
            }
        }
        let Some(best) = Self::choose(&guard) else {
            return guard;
        };
        guard.current_branch = best;
        self.send_best(guard, best, vars, &script)
    }

    /// Tells modules that every branch of a leg has failed.
    fn leg_failed(&mut self, mut guard: Guard, best: usize, vars: &mut Vars, script: &Script) -> Guard {
        if !script.hooks().any(|hook| matches!(hook, Hook::LegFailed(_))) {
            return guard;
        }
        let Some(mut request) = guard.request.take() else {
            return guard;
        };
        let mut lists = std::mem::take(&mut guard.lists);
        let reply = guard
            .branches
            .get_mut(best)
            .and_then(|branch| branch.reply.take());
        let status = guard.branches.get(best).map_or(408, |branch| branch.status);
        let made = made_here(status, script.states.get::<Tm>());
        let end = TransactionEnd {
            status: if reply.is_some() { status } else { made.0 },
            reason: reply.as_ref().map_or(&made.1[..], |ctx| ctx.msg.reason()),
            reply: reply.as_ref().map(|ctx| &ctx.msg),
            to_tag: reply.as_ref().map_or(b"", |ctx| ctx.msg.to_tag()),
        };
        self.current = Some(guard);
        for hook in script.hooks() {
            if let Hook::LegFailed(run) = hook {
                let (ctx, lists, route) = (&mut *request, &mut lists, RouteKind::FAILURE);
                run(
                    &mut Env {
                        ctx,
                        lists,
                        vars,
                        script,
                        host: self,
                        route,
                        rc: 0,
                    },
                    &end,
                );
            }
        }
        let Some(mut guard) = self.current.take() else {
            unreachable!("a hook leaves its transaction")
        };
        if let Some(branch) = guard.branches.get_mut(best) {
            branch.reply = reply;
        }
        guard.request = Some(request);
        guard.lists = lists;
        guard
    }

    /// Sends the reply of the branch that was chosen, or makes the one that it never gave.
    fn send_best(&mut self, mut guard: Guard, best: usize, vars: &mut Vars, script: &Script) -> Guard {
        if guard.replicate {
            guard.status = guard.branches.get(best).map_or(408, |branch| branch.status);
            guard.server = Server::Local;
            return guard;
        }
        let tm = script.states.get::<Tm>();
        let status = guard.branches.get(best).map_or(408, |branch| branch.status);
        let reply = guard
            .branches
            .get_mut(best)
            .and_then(|branch| branch.reply.take());
        let remap = status == 503 && tm.is_none_or(|tm| tm.remap_503_500);
        match reply {
            Some(mut reply) if !remap => {
                if matches!(status, 401 | 407) && tm.is_none_or(|tm| tm.aggregate_challenges) {
                    aggregate(&mut reply, &guard, best);
                }
                self.relay_reply(&mut guard, &mut reply, vars, script);
                if let Some(branch) = guard.branches.get_mut(best) {
                    branch.reply = Some(reply);
                }
            }
            other => {
                let (status, reason) = match other {
                    Some(reply) => (500, reply.msg.reason().to_vec()),
                    None if guard.cancelled => (487, b"Request Terminated".to_vec()),
                    None => made_here(status, tm),
                };
                if let Some(mut request) = guard.request.take() {
                    let lists = std::mem::take(&mut guard.lists);
                    self.respond_locally(&mut guard, &mut request, status, &reason);
                    guard.request = Some(request);
                    guard.lists = lists;
                    guard = self.response_out(guard, status, &reason, None, vars);
                }
            }
        }
        guard
    }

    /// The branch whose final reply is the best (RFC 3261 §16.7 step 6).
    ///
    /// Kamailio: those of earlier legs of a serial fork had their turn, whatever `failure_reply_mode` says.
    fn choose(guard: &Transaction) -> Option<usize> {
        let first = guard.leg;
        let candidates = guard
            .branches
            .iter()
            .enumerate()
            .filter(|(number, branch)| *number >= first && branch.status >= 200 && !branch.dropped);
        let candidates = candidates.map(|(number, branch)| {
            (
                number,
                Candidate {
                    status: branch.status,
                    made_here: branch.reply.is_none(),
                },
            )
        });
        match response::choose(candidates, &Rules::default()) {
            Some(Best::Forward(branch) | Best::Challenges(branch) | Best::Unavailable(branch)) => {
                Some(branch)
            }
            None => guard.branches.len().checked_sub(1),
        }
    }

    /// Forwards a reply upstream in its transaction.
    fn relay_reply(&mut self, guard: &mut Guard, ctx: &mut Context, vars: &mut Vars, script: &Script) {
        if matches!(guard.server, Server::Local) {
            return;
        }
        for hook in script.hooks() {
            if let Hook::ResponseForwarded(run) = hook {
                let mut lists = std::mem::take(&mut guard.lists);
                let mut env = Env {
                    ctx,
                    lists: &mut lists,
                    vars,
                    script,
                    host: self,
                    route: RouteKind::ONREPLY,
                    rc: 0,
                };
                run(&mut env);
                guard.lists = lists;
            }
        }
        let status = ctx
            .new_status
            .as_ref()
            .map_or(ctx.msg.status(), |(status, _)| *status);
        let mut bytes = std::mem::take(&mut guard.reply);
        bytes.clear();
        write_upstream(&mut bytes, &mut self.lumps, ctx);
        guard.reply = bytes;
        let t = &mut **guard;
        let reliable = t.reliable();
        let actions = t.server.on(
            ServerEvent::Respond(status, Origin::Relayed),
            self.now,
            &t.timers,
            reliable,
        );
        if actions.contains(Action::SendResponse) {
            self.outbox
                .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                    out.extend_from_slice(&t.reply)
                });
        }
        let is_end = status >= 200 && t.status < 200;
        t.status = status;
        self.runtime.counters.rpl_sent(status, false);
        if is_end {
            self.announce_end(guard, status, ctx, vars, script);
        }
    }

    /// Tells accounting that a final reply went upstream.
    fn announce_end(
        &mut self,
        guard: &mut Guard,
        status: u16,
        reply: &Context,
        vars: &mut Vars,
        script: &Script,
    ) {
        if !script.hooks().any(|hook| matches!(hook, Hook::ResponseOut(_))) {
            return;
        }
        let Some(mut request) = guard.request.take() else {
            return;
        };
        let mut lists = std::mem::take(&mut guard.lists);
        let end = TransactionEnd {
            status,
            reason: reply.msg.reason(),
            reply: Some(&reply.msg),
            to_tag: reply.msg.to_tag(),
        };
        // Kamailio: accounting sees the Request-URI of the branch that answered
        let answered = guard
            .branches
            .get(guard.current_branch)
            .map(|branch| branch.uri.clone());
        let uri = std::mem::replace(&mut request.new_uri, answered);
        self.run_response_out(&mut request, &mut lists, vars, script, &end);
        request.new_uri = uri;
        guard.request = Some(request);
        guard.lists = lists;
    }

    fn run_response_out(
        &mut self,
        request: &mut Context,
        lists: &mut Lists,
        vars: &mut Vars,
        script: &Script,
        end: &TransactionEnd<'_>,
    ) {
        for hook in script.hooks() {
            if let Hook::ResponseOut(run) = hook {
                let route = RouteKind::REQUEST;
                let mut env = Env {
                    ctx: request,
                    lists,
                    vars,
                    script,
                    host: self,
                    route,
                    rc: 0,
                };
                run(&mut env, end);
            }
        }
    }

    /// The same for a reply made here, outside the request's own route.
    fn response_out(
        &mut self,
        mut guard: Guard,
        status: u16,
        reason: &[u8],
        reply: Option<&Message>,
        vars: &mut Vars,
    ) -> Guard {
        let script = Arc::clone(&guard.script);
        if let Some(mut request) = guard.request.take() {
            let mut lists = std::mem::take(&mut guard.lists);
            let tag = self.runtime.keys.tag(&request.msg, TagKind::Stateful);
            let end = TransactionEnd {
                status,
                reason,
                reply,
                to_tag: &tag,
            };
            self.current = Some(guard);
            self.run_response_out(&mut request, &mut lists, vars, &script, &end);
            let Some(back) = self.current.take() else {
                unreachable!("a hook leaves its transaction")
            };
            guard = back;
            guard.request = Some(request);
            guard.lists = lists;
        }
        guard
    }

    /// Makes and sends a reply in a transaction, whoever holds its request.
    pub(crate) fn respond_locally(
        &mut self,
        guard: &mut Guard,
        request: &mut Context,
        status: u16,
        reason: &[u8],
    ) {
        let mut bytes = std::mem::take(&mut guard.reply);
        bytes.clear();
        let answer = Answer {
            keys: &self.runtime.keys,
            script: &self.script,
            status,
            reason,
            kind: TagKind::Stateful,
        };
        answer.write(request, &mut bytes);
        request.answered = status;
        guard.reply = bytes;
        let t = &mut **guard;
        let reliable = t.reliable();
        // Kamailio: a local 2xx is not repeated until its ACK; INVITEs are answered 2xx by real user agents.
        let actions = t.server.on(
            ServerEvent::Respond(status, Origin::Relayed),
            self.now,
            &t.timers,
            reliable,
        );
        if actions.contains(Action::SendResponse) {
            self.outbox
                .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                    out.extend_from_slice(&t.reply)
                });
        }
        t.status = status;
        self.runtime.counters.rpl_sent(status, true);
    }

    /// `t_reply`: a final one ends every branch.
    pub(crate) fn reply_in_transaction(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        let Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        } = scope;
        if self.current.is_none() {
            let made = self.begin_transaction(Scope {
                ctx,
                lists,
                vars,
                script,
                route,
            });
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
        if let (true, Some(request)) = (route == RouteKind::ONREPLY, guard.request.take()) {
            // the context is a reply: the answer is to the request
            let mut request = request;
            self.respond_locally(&mut guard, &mut request, status, reason);
            guard.request = Some(request);
        } else {
            self.respond_locally(&mut guard, ctx, status, reason);
        }
        if status >= 200 {
            let header = cancel_reason(script, &format!("SIP;cause={status}"));
            self.cancel_all(&mut guard, &header);
            self.current = Some(guard);
            let tag = self.runtime.keys.tag(&ctx.msg, TagKind::Stateful);
            let end = TransactionEnd {
                status,
                reason,
                reply: None,
                to_tag: &tag,
            };
            self.run_response_out(ctx, lists, vars, script, &end);
        } else {
            self.current = Some(guard);
        }
        Code::TRUE
    }

    /// Does what a client machine asks for, besides ACKs and passing up.
    pub(crate) fn act_on_branch(
        &mut self,
        guard: &mut Guard,
        number: usize,
        actions: Actions,
        cancel_headers: &[u8],
    ) {
        let (timers, answered) = (guard.timers, guard.status >= 200);
        let Some(branch) = guard.branches.get_mut(number) else {
            return;
        };
        // once the caller has its answer nobody else is asked again
        if actions.contains(Action::RetransmitRequest) && !answered {
            self.outbox
                .send_with(&self.endpoints.sockets, &branch.target, |out| {
                    out.extend_from_slice(&branch.sent)
                });
        }
        if actions.contains(Action::SendCancel)
            && let Ok(sent) = Message::parse(branch.sent.clone())
        {
            let mut bytes = Vec::with_capacity(512);
            write_cancel(&mut bytes, &sent, cancel_headers);
            let mut client = NonInviteClient::new();
            let reliable = branch.reliable();
            client.on(ClientEvent::Start, self.now, &timers, reliable);
            self.outbox
                .send_with(&self.endpoints.sockets, &branch.target, |out| {
                    out.extend_from_slice(&bytes)
                });
            branch.cancelling = Some(Box::new(Cancelling { client, sent: bytes }));
        }
    }

    fn send_ack(&mut self, guard: &Guard, number: usize, reply: &Message) {
        let Some(branch) = guard.branches.get(number) else {
            return;
        };
        let Ok(sent) = Message::parse(branch.sent.clone()) else {
            return;
        };
        self.outbox
            .send_with(&self.endpoints.sockets, &branch.target, |out| {
                write_ack(out, &sent, reply)
            });
    }

    /// Time has passed for a transaction.
    pub(crate) fn tick(&mut self, mut guard: Guard, vars: &mut Vars) {
        guard.armed = NEVER;
        let timers = guard.timers;
        let mut ended = false;
        for number in 0..guard.branches.len() {
            let Some(branch) = guard.branches.get_mut(number) else {
                continue;
            };
            let reliable = branch.reliable();
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
            let ending = if actions.contains(Action::Timeout) || actions.contains(Action::Lifetime) {
                Some(Ending::Timeout)
            } else if actions.contains(Action::TransportError) {
                Some(Ending::Unreachable)
            } else {
                None
            };
            if let (Some(ending), Some(branch)) = (ending, guard.branches.get_mut(number)) {
                branch.status = if ending == Ending::Timeout { 408 } else { 503 };
                branch.timed_out = ending == Ending::Timeout;
                guard.current_branch = number;
                ended = true;
            }
        }
        let reliable = guard.reliable();
        let t = &mut *guard;
        let actions = t.server.on(ServerEvent::Tick, self.now, &timers, reliable);
        if actions.contains(Action::RetransmitResponse) && !t.reply.is_empty() {
            self.outbox
                .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                    out.extend_from_slice(&t.reply)
                });
        }
        if actions.contains(Action::Lifetime) && guard.status < 200 {
            guard
                .branches
                .iter_mut()
                .filter(|branch| branch.status < 200)
                .for_each(|branch| {
                    branch.status = 408;
                    branch.timed_out = true;
                });
            self.cancel_all(&mut guard, b"");
            ended = true;
        }
        if ended {
            guard = self.finish_leg(guard, vars);
        }
        self.settle(guard);
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
        let mut guard = found.transaction.lock_arc();
        let (timers, number) = (guard.timers, usize::from(own.number));
        let Some(branch) = guard.branches.get_mut(number) else {
            return;
        };
        let reliable = branch.reliable();
        let actions = branch
            .client
            .on(ClientEvent::TransportError, self.now, &timers, reliable);
        if actions.contains(Action::TransportError) {
            branch.status = 503;
            guard.current_branch = number;
            guard = self.finish_leg(guard, vars);
        }
        self.settle(guard);
    }

    /// Runs the route of a transaction that was suspended (`t_continue`).
    pub(crate) fn go_on(&mut self, mut guard: Guard, route: crate::script::host::RouteId, vars: &mut Vars) {
        if !std::mem::take(&mut guard.suspended) || guard.status >= 200 {
            return self.settle(guard);
        }
        let script = Arc::clone(&guard.script);
        let Some(mut request) = guard.request.take() else {
            return;
        };
        let mut lists = std::mem::take(&mut guard.lists);
        self.current = Some(guard);
        self.run(route, RouteKind::REQUEST, &mut request, &mut lists, vars, &script);
        let Some(mut guard) = self.current.take() else {
            unreachable!("the route leaves its transaction")
        };
        if guard.branches.is_empty() && guard.status < 200 && !guard.suspended {
            self.respond_locally(&mut guard, &mut request, 500, b"Server Internal Error");
        }
        guard.request = Some(request);
        guard.lists = lists;
        self.settle(guard);
    }

    /// Calls back whoever made a request of our own.
    fn finish_local(
        &mut self,
        mut guard: Guard,
        status: u16,
        reply: Option<&Message>,
        _vars: &mut Vars,
    ) -> Guard {
        guard.status = status;
        let Some(done) = guard.done.take() else {
            return guard;
        };
        let script = Arc::clone(&guard.script);
        let request = guard
            .branches
            .first()
            .map(|branch| branch.sent.clone())
            .unwrap_or_default();
        // the lock stays held: the callback may send requests, which are transactions of their own
        done(&mut LocalReply {
            status,
            message: reply,
            request: &request,
            host: self,
            script: &script,
        });
        guard
    }

    /// Arms the timer for what is due next, or takes an ended transaction out of the table.
    pub(crate) fn settle(&mut self, mut guard: Guard) {
        if guard.is_over() {
            let id = guard.id;
            let kept = guard.branches.iter_mut().filter_map(|branch| branch.reply.take());
            kept.for_each(|reply| self.runtime.spares.put(reply));
            guard
                .request
                .take()
                .into_iter()
                .for_each(|request| self.runtime.spares.put(request));
            drop(guard);
            if self.runtime.transactions.remove(id).is_some() {
                self.runtime.counters.tm_freed();
            }
            return;
        }
        // No route will ask for the request any more; a 2xx to an INVITE may be followed by another one.
        let answered = guard.status >= if guard.invite { 300 } else { 200 };
        if answered && !guard.is_pending() {
            guard
                .request
                .take()
                .into_iter()
                .for_each(|request| self.runtime.spares.put(request));
        }
        let deadline = guard.next_deadline();
        if deadline < guard.armed {
            guard.armed = deadline;
            self.runtime.transactions.arm(guard.id, deadline);
        }
    }

    /// Sends a reply on by its next Via (RFC 3261 §16.11); false when there is none.
    pub(crate) fn forward_reply_stateless(&mut self, ctx: &mut Context) -> bool {
        let Some(via) = ctx.msg.vias().nth(1).and_then(|value| value.via().ok()) else {
            return false;
        };
        let next = response::destination(&via);
        let (Some(peer), Some(transport)) = (next.address(), next.transport) else {
            return false;
        };
        let target = Target {
            peer,
            transport,
            socket: None,
            conn: next.connection,
        };
        let lumps = &mut self.lumps;
        let sent = self.outbox.send_with(&self.endpoints.sockets, &target, |out| {
            write_upstream(out, lumps, ctx)
        });
        self.runtime.counters.fwd_reply();
        sent
    }
}

/// Writes a reply as it goes upstream: without our Via, edits applied, with another status if a route set one.
fn write_upstream(out: &mut Vec<u8>, lumps: &mut shared::sip::Lumps, ctx: &Context) {
    let Some((status, reason)) = &ctx.new_status else {
        return response::strip_top_via(&ctx.msg, &ctx.lumps, lumps, out);
    };
    let line = [b"SIP/2.0 ", status.to_string().as_bytes(), b" ", reason].concat();
    let mut edits = ctx.lumps.clone();
    edits.replace(ctx.msg.first_line_range(), &line);
    response::strip_top_via(&ctx.msg, &edits, lumps, out);
}

fn is_cancel(sent: &[u8]) -> bool {
    sent.starts_with(b"CANCEL ")
}

/// A Reason header line for CANCELs made here (RFC 3326), unless switched off.
fn cancel_reason(script: &Script, value: &str) -> Vec<u8> {
    let wanted = script.states.get::<Tm>().is_none_or(|tm| tm.local_cancel_reason);
    if wanted {
        format!("Reason: {value}\r\n").into_bytes()
    } else {
        Vec::new()
    }
}

/// The reply for a branch that gave none.
fn made_here(status: u16, tm: Option<&Tm>) -> (u16, Vec<u8>) {
    match (status, tm) {
        (408, Some(tm)) => (tm.reply_408_code, tm.reply_408_reason.clone().into_bytes()),
        (408, None) => (408, b"Request Timeout".to_vec()),
        _ => (500, b"Server Internal Error".to_vec()),
    }
}

/// Puts the challenges of the other branches into the best 401 or 407 (RFC 3261 §16.7 step 7).
fn aggregate(best: &mut Context, guard: &Transaction, chosen: usize) {
    let others = guard.branches.iter().enumerate().filter(|(number, branch)| {
        *number >= guard.leg && *number != chosen && matches!(branch.status, 401 | 407)
    });
    for (_, branch) in others {
        let Some(reply) = &branch.reply else { continue };
        let mut lines = Vec::new();
        response::challenges(&reply.msg, &mut lines);
        best.lumps.append_header(&best.msg, &lines);
    }
}
