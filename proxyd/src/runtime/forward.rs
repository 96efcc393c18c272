//! Sending on without a transaction, requests and replies (RFC 3261 §16.11), and how a request is written as it leaves.

use super::host::Live;
use super::outbox::Outbox;
use super::relay::next_hop;
use super::reply::fix;
use super::reply::seen;
use super::response::write_upstream;
use crate::proxy::context::Context;
use crate::proxy::context::Failure;
use crate::proxy::context::RecordRouteForm;
use crate::proxy::context::Sending;
use crate::proxy::context::Target;
use crate::proxy::forward::ForwardPlan;
use crate::proxy::forward::ViaBranch;
use crate::proxy::forward::ViaLine;
use crate::proxy::forward::write_forwarded;
use crate::proxy::record_route;
use crate::proxy::request::stateless_branch;
use crate::proxy::response;
use crate::proxy::sockets::Listener;
use crate::script::host::Matched;
use crate::script::host::RelayOptions;
use crate::script::host::Scope;
use crate::script::module::Code;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::transaction::key;
use shared::sip::Lumps;
use std::borrow::Cow;

impl Live {
    /// An ACK to a 2xx goes on without a transaction; one to a refusal ends here.
    pub(super) fn relay_ack(&mut self, mut scope: Scope<'_>, options: RelayOptions) -> Code {
        if self.match_transaction(scope.again()) == Matched::Retransmission {
            return Code::TRUE;
        }
        let code = self.forward_stateless(scope.again(), options.target);
        for hook in scope.script.hooks() {
            if let Hook::EndToEndAck(run) = hook {
                run(&mut scope.again().env(self));
            }
        }
        code
    }

    /// Sends a request on without a transaction (RFC 3261 §16.11); a reply goes to its next Via.
    pub(crate) fn forward_stateless(&mut self, scope: Scope<'_>, target: Option<Target>) -> Code {
        let mut scope = scope;
        if scope.ctx.msg.is_reply() {
            return Code::from(self.forward_reply_stateless(scope));
        }
        let ctx = &mut *scope.ctx;
        let target = match target {
            Some(target) => Ok(target),
            None => next_hop(&self.runtime, ctx),
        };
        let target = match target {
            Ok(target) => target,
            Err(failure) => {
                ctx.failure = failure;
                return Code::FALSE;
            }
        };
        let key = self.lookup(ctx).key();
        let sockets = &self.endpoints.sockets;
        let socket = Outbox::socket_for(&self.runtime.streams, sockets, &target);
        let Some((socket, listener)) = socket.and_then(|id| Some((id, sockets.get(id)?))) else {
            ctx.failure = Outbox::lacking(sockets, &target);
            return Code::FALSE;
        };
        let named = ctx.named_as(listener);
        let listener = named.as_ref().unwrap_or(listener);
        let mut branch = Vec::with_capacity(key::MAX_BRANCH);
        stateless_branch(key, 0, &mut branch);
        let out = Outgoing {
            listener,
            inbound: sockets.get(ctx.source.socket).unwrap_or(listener),
            branch: ViaBranch::Text(&branch),
        };
        let target = Target {
            socket: Some(socket),
            ..target
        };
        if let Some(failure) = self.outbox.refusal(ctx, &target) {
            ctx.failure = failure;
            return Code::FALSE;
        }
        let mut bytes = self.buffers.take();
        write_request(&mut bytes, &mut self.scratch, ctx, &out);
        let Some(bytes) = self.let_go(&mut scope, &target, bytes) else {
            return Code::FALSE;
        };
        let sockets = &self.endpoints.sockets;
        let sent = self
            .outbox
            .send_with(sockets, &target, |out| out.extend_from_slice(&bytes));
        self.buffers.put(bytes);
        self.runtime.counters.fwd_request();
        if !sent {
            scope.ctx.failure = Failure::Send;
        }
        Code::from(sent)
    }

    /// Runs `onsend_route`; none when it drops the message.
    pub(super) fn let_go(
        &mut self,
        scope: &mut Scope<'_>,
        target: &Target,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let Some(route) = scope.script.program.onsend_route() else {
            return Some(bytes);
        };
        let listener = target.socket.and_then(|id| self.endpoints.sockets.get(id));
        scope.ctx.sending = Some(Box::new(Sending {
            target: *target,
            local: listener.map_or(scope.ctx.source.local, |listener| listener.address),
            bytes,
        }));
        let sending = Scope {
            route: RouteKind::ONSEND,
            ..scope.again()
        };
        let verdict = self.run(route, sending);
        let bytes = scope.ctx.sending.take()?.bytes;
        if verdict.dropped {
            self.buffers.put(bytes);
            return None;
        }
        Some(bytes)
    }

    /// Sends a reply on by its next Via (RFC 3261 §16.11); false when there is none.
    pub(crate) fn forward_reply_stateless(&mut self, mut scope: Scope<'_>) -> bool {
        let Some(via) = scope.ctx.msg.vias().nth(1).and_then(|value| value.via().ok()) else {
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
        let mut bytes = self.buffers.take();
        write_upstream(&mut bytes, &mut self.scratch.lumps, scope.ctx);
        if scope.script.program.shows_replies() {
            match self.let_go(&mut scope, &target, bytes) {
                Some(allowed) => bytes = allowed,
                None => return true,
            }
        }
        let sent = self.outbox.send_with(&self.endpoints.sockets, &target, |out| {
            out.extend_from_slice(&bytes)
        });
        self.buffers.put(bytes);
        self.runtime.counters.fwd_reply();
        sent
    }
}

/// What writing a message needs besides; its memory is used again.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Edits of the message on its way out.
    pub(super) lumps: Lumps,
    /// Its Record-Route lines.
    lines: Vec<u8>,
}

/// One copy of a request on its way out.
pub(super) struct Outgoing<'a> {
    pub(super) listener: &'a Listener,
    pub(super) inbound: &'a Listener,
    pub(super) branch: ViaBranch<'a>,
}

fn hop(listener: &Listener) -> record_route::Hop<'_> {
    record_route::Hop {
        host: listener.host_text.as_bytes(),
        port: listener.port_text.as_bytes(),
        transport: listener.transport,
    }
}

/// Writes a request as it leaves: edits applied, our Via on top, our Record-Route for the hops it joins.
pub(super) fn write_request(bytes: &mut Vec<u8>, scratch: &mut Scratch, ctx: &Context, out: &Outgoing<'_>) {
    let Scratch { lumps, lines } = scratch;
    lines.clear();
    if let Some(intent) = &ctx.record_route {
        let params = if ctx.rr_params.is_empty() {
            Cow::Borrowed(&intent.params)
        } else {
            Cow::Owned([&intent.params[..], &ctx.rr_params].concat())
        };
        let route = record_route::RecordRoute {
            form: match &intent.form {
                RecordRouteForm::Sockets => record_route::Form::Sockets,
                RecordRouteForm::Advertised(address) => record_route::Form::Advertised(address),
                RecordRouteForm::Preset(first, second) => {
                    record_route::Form::Preset(first, second.as_deref())
                }
            },
            sips: ctx
                .uri()
                .get(..5)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:")),
            user: &intent.user,
            ftag: if intent.ftag { ctx.msg.from_tag() } else { b"" },
            full_lr: intent.full_lr,
            params: &params,
            double: intent.double,
        };
        route.write(&hop(out.inbound), &hop(out.listener), lines);
    }
    let seen = seen(ctx);
    let via = ViaLine {
        hop: hop(out.listener),
        branch: out.branch,
        rport: ctx.switches.local_rport,
        connection: ctx.source.conn,
    };
    let plan = ForwardPlan {
        uri: Some(ctx.uri()),
        via,
        fix: fix(ctx, &seen),
        record_route: lines,
        path: ctx.path.as_deref(),
        content_length: out.listener.transport != shared::net::Transport::Udp,
    };
    write_forwarded(&ctx.msg, &ctx.lumps, &plan, lumps, bytes);
}
