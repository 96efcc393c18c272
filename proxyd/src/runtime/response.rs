//! A reply from downstream: to its branch, through its routes, and upstream when it is the one (RFC 3261 §16.7).

use super::Guard;
use super::host::Live;
use super::transaction::Cancelling;
use super::transaction::Finished;
use super::transaction::Kind;
use super::transaction::Server;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::context::Context;
use crate::proxy::context::Target;
use crate::proxy::response;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::module::TransactionEnd;
use crate::script::vars::Vars;
use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::ClientEvent;
use crate::transaction::key;
use crate::transaction::non_invite_client::NonInviteClient;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::build::write_ack;
use shared::sip::build::write_cancel;
use std::sync::Arc;

impl Live {
    /// Handles a reply; `ctx` is swapped for a fresh one when the transaction keeps it.
    pub(crate) fn receive_reply(&mut self, ctx: &mut Box<Context>, lists: &mut Lists, vars: &mut Vars) {
        let script = Arc::clone(&self.script);
        if let Some(route) = script.program.reply_route() {
            let scope = Scope {
                ctx,
                lists,
                vars,
                script: &script,
                route: RouteKind::REPLY,
            };
            let verdict = self.run(route, scope);
            if verdict.dropped {
                return;
            }
        }
        let found = ctx.msg.top_via().and_then(|via| key::Branch::read(via.branch()?));
        let located =
            found.and_then(|own| Some((self.runtime.transactions.by_id(own.id)?, usize::from(own.number))));
        let Some((found, number)) = located else {
            let scope = Scope {
                ctx,
                lists,
                vars,
                script: &script,
                route: RouteKind::REPLY,
            };
            if !self.forward_reply_stateless(scope) {
                crate::log::debug(
                    "tm",
                    format_args!("reply {} without a transaction", ctx.msg.status()),
                );
            }
            return;
        };
        let mut guard = match Guard::lock(&found.transaction) {
            Ok(guard) => guard,
            Err(rest) => return self.late_reply(&rest, ctx, vars, &script),
        };
        let (timers, kind) = (guard.timers, guard.kind);
        let Some(branch) = guard.branches.get_mut(number) else {
            return;
        };
        let status = ctx.msg.status();
        let reliable = branch.target.is_reliable();
        let about = Kind::from(ctx.msg.method());
        if about == Kind::Cancel && kind == Kind::Invite {
            if let Some(cancelling) = &mut branch.cancelling {
                cancelling
                    .client
                    .on(ClientEvent::Response(status), self.now, &timers, reliable);
            }
            return self.settle(guard);
        }
        if about != kind {
            return;
        }
        self.runtime.counters.rpl_received();
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
        // routes ask for earlier replies than the one they are about
        if let Some(branch) = guard.branches.get_mut(number) {
            branch.replied = true;
        }
        self.settle(guard);
    }

    /// Runs the onreply route of a reply and takes it towards the caller.
    fn pass_up(&mut self, mut guard: Guard, number: usize, ctx: &mut Box<Context>, vars: &mut Vars) -> Guard {
        let mut status = ctx.msg.status();
        let script = Arc::clone(&guard.script);
        let mut route = None;
        if let Some(branch) = guard.branches.get_mut(number) {
            branch.status = status;
            ctx.bflags = branch.flags;
            route = branch.armed.reply;
        }
        if let Some(request) = &guard.request {
            ctx.flags = request.flags;
        }
        if let Some(route) = route {
            let mut lists = std::mem::take(&mut guard.lists);
            let scope = Scope {
                ctx,
                lists: &mut lists,
                vars,
                script: &script,
                route: RouteKind::ONREPLY,
            };
            let verdict;
            (guard, verdict) = self.lend(guard, |live| live.run(route, scope));
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
            if let (Some((changed, _)), Some(branch)) = (&ctx.new_status, guard.branches.get_mut(number)) {
                status = *changed;
                branch.status = status;
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
            self.cancel_pending_for(&mut guard, &script, || {
                "SIP;cause=200;text=\"Call completed elsewhere\"".into()
            });
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
            self.cancel_pending_for(&mut guard, &script, || format!("SIP;cause={status}").into());
        }
        let guard = self.branch_failed(guard, number, vars);
        self.finish_leg(guard, vars)
    }

    /// Forwards a reply upstream in its transaction.
    pub(super) fn relay_reply(
        &mut self,
        guard: &mut Guard,
        ctx: &mut Context,
        vars: &mut Vars,
        script: &Script,
    ) {
        if matches!(guard.server, Server::Local) {
            return;
        }
        self.lent = guard.request.take();
        let mut lists = std::mem::take(&mut guard.lists);
        self.run_response_forwarded(ctx, &mut lists, vars, script);
        let status = ctx
            .new_status
            .as_ref()
            .map_or(ctx.msg.status(), |(status, _)| *status);
        let mut bytes = self.buffers.take();
        write_upstream(&mut bytes, &mut self.scratch.lumps, ctx);
        let bytes = self.let_reply_go(ctx, &mut lists, vars, script, &guard.reply_to, bytes);
        guard.lists = lists;
        guard.request = self.lent.take();
        let is_end = status >= 200 && guard.status < 200;
        guard.relayed_branch = u8::try_from(guard.current_branch).ok();
        self.send_upstream(guard, status, bytes);
        self.runtime.counters.rpl_sent(status, false);
        if is_end {
            self.announce_end(guard, status, ctx, vars, script);
        }
    }

    /// A reply to a transaction that is answered: only another 2xx to an INVITE goes upstream (RFC 6026 §7.2).
    fn late_reply(&mut self, rest: &Finished, ctx: &mut Context, vars: &mut Vars, script: &Script) {
        self.runtime.counters.rpl_received();
        let status = ctx.msg.status();
        if !rest.accepted || status / 100 != 2 || ctx.msg.method() != Method::Invite {
            return;
        }
        let mut lists = Lists::default();
        self.run_response_forwarded(ctx, &mut lists, vars, script);
        let mut bytes = self.buffers.take();
        write_upstream(&mut bytes, &mut self.scratch.lumps, ctx);
        let bytes = self.let_reply_go(ctx, &mut lists, vars, script, &rest.reply_to, bytes);
        if !bytes.is_empty() {
            self.outbox
                .send_with(&self.endpoints.sockets, &rest.reply_to, |out| {
                    out.extend_from_slice(&bytes)
                });
            self.runtime.counters.rpl_sent(status, false);
        }
        self.buffers.put(bytes);
    }

    /// Runs `onsend_route` for a reply, where the script asks for that; nothing is left of one that it drops.
    fn let_reply_go(
        &mut self,
        ctx: &mut Context,
        lists: &mut Lists,
        vars: &mut Vars,
        script: &Script,
        target: &Target,
        bytes: Vec<u8>,
    ) -> Vec<u8> {
        if !script.program.shows_replies() {
            return bytes;
        }
        let mut scope = Scope {
            ctx,
            lists,
            vars,
            script,
            route: RouteKind::ONREPLY,
        };
        self.let_go(&mut scope, target, bytes).unwrap_or_default()
    }

    fn run_response_forwarded(
        &mut self,
        ctx: &mut Context,
        lists: &mut Lists,
        vars: &mut Vars,
        script: &Script,
    ) {
        for hook in script.hooks() {
            if let Hook::ResponseForwarded(run) = hook {
                let scope = Scope {
                    ctx,
                    lists,
                    vars,
                    script,
                    route: RouteKind::ONREPLY,
                };
                run(&mut scope.env(self));
            }
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
        let answered = guard.uri_of(guard.current_branch);
        let uri = std::mem::replace(&mut request.new_uri, answered);
        let scope = Scope {
            ctx: &mut request,
            lists: &mut lists,
            vars,
            script,
            route: RouteKind::REQUEST,
        };
        self.run_response_out(scope, &end);
        request.new_uri = uri;
        guard.request = Some(request);
        guard.lists = lists;
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
            let reliable = branch.target.is_reliable();
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
}

/// Writes a reply as it goes upstream: without our Via, edits applied, with another status if a route set one.
pub(super) fn write_upstream(out: &mut Vec<u8>, lumps: &mut shared::sip::Lumps, ctx: &Context) {
    let Some((status, reason)) = &ctx.new_status else {
        return response::strip_top_via(&ctx.msg, &ctx.lumps, lumps, out);
    };
    let line = [b"SIP/2.0 ", status.to_string().as_bytes(), b" ", reason].concat();
    let mut edits = ctx.lumps.clone();
    edits.replace(ctx.msg.first_line_range(), &line);
    response::strip_top_via(&ctx.msg, &edits, lumps, out);
}
