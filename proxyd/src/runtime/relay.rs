//! Sending requests on: in a transaction with a branch for each target (RFC 3261 §16.6), or without one (§16.11).

use super::host::Live;
use super::reply::fix;
use super::reply::reply_target;
use super::reply::seen;
use super::transaction::Client;
use super::transaction::ClientBranch;
use super::transaction::Server;
use super::transaction::Transaction;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::branch::Branch;
use crate::proxy::context::Context;
use crate::proxy::context::Failure;
use crate::proxy::context::RecordRouteForm;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::record_route;
use crate::proxy::request;
use crate::proxy::request::ForwardPlan;
use crate::proxy::request::ViaBranch;
use crate::proxy::request::ViaLine;
use crate::proxy::request::parts;
use crate::proxy::request::routed_hash;
use crate::proxy::request::stateless_branch;
use crate::proxy::request::write_forwarded;
use crate::proxy::sockets::Listener;
use crate::script::host::Host;
use crate::script::host::Matched;
use crate::script::host::RelayOptions;
use crate::script::host::Scope;
use crate::script::host::TimerOverrides;
use crate::script::lists::Lists;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::transaction::action::Action;
use crate::transaction::action::ClientEvent;
use crate::transaction::action::ServerEvent;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::key;
use crate::transaction::key::Lookup;
use crate::transaction::non_invite_server::NonInviteServer;
use crate::transaction::table::Inserted;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use shared::sip::Method;
use shared::sip::Scheme;
use shared::sip::Via;
use smallvec::SmallVec;

/// The most branches one transaction may have.
const MAX_BRANCHES: usize = 64;

/// The timers of a transaction: the module's, with what the script set for this one.
pub(crate) fn timers(tm: Option<&Tm>, overrides: &TimerOverrides) -> Timers {
    let base = tm.map_or_else(Timers::default, |tm| Timers {
        retr_timer1: tm.retr_timer1,
        retr_timer2: tm.retr_timer2,
        fr_timer: tm.fr_timer,
        fr_inv_timer: tm.fr_inv_timer,
        wt_timer: tm.wt_timer,
        max_inv_lifetime: tm.max_inv_lifetime,
        max_noninv_lifetime: tm.max_noninv_lifetime,
        // Kamailio: an accepted INVITE is kept for wt_timer, not 64*T1; a later 2xx goes on by its Via
        accepted: tm.wt_timer,
        restart_fr_on_each_reply: tm.restart_fr_on_each_reply,
    });
    Timers {
        retr_timer1: overrides.retr_t1.unwrap_or(base.retr_timer1),
        retr_timer2: overrides.retr_t2.unwrap_or(base.retr_timer2),
        fr_timer: overrides.fr.unwrap_or(base.fr_timer),
        fr_inv_timer: overrides.fr_inv.unwrap_or(base.fr_inv_timer),
        max_inv_lifetime: overrides.max_inv.unwrap_or(base.max_inv_lifetime),
        max_noninv_lifetime: overrides.max_noninv.unwrap_or(base.max_noninv_lifetime),
        ..base
    }
}

/// Where one copy of a request goes.
struct Hop {
    branch: Branch,
    target: Target,
}

impl Live {
    /// Makes the server transaction of the request under way.
    pub(crate) fn begin_transaction(&mut self, scope: Scope<'_>) -> Code {
        if self.current.is_some() {
            return Code::TRUE;
        }
        let ctx = scope.ctx;
        let invite = match ctx.msg.method() {
            Method::Ack => return Code::FALSE,
            Method::Invite => true,
            _ => false,
        };
        let table = &self.runtime.transactions;
        let lookup = Lookup::request(parts(&ctx.msg), table.hasher());
        let label = rand::Rng::next_u32(&mut self.random);
        let tm = scope.script.states.get::<Tm>();
        let intent = std::mem::take(&mut self.intent);
        let timers = timers(tm, &intent.timers);
        let (now, script) = (self.now, &self.script);
        let reply_to = reply_target(ctx);
        let inserted = table.insert(&lookup, label, |id| Transaction {
            id,
            invite,
            server: if invite {
                Server::Invite(InviteServer::new(now, &timers))
            } else {
                Server::NonInvite(NonInviteServer::new(now, &timers))
            },
            request: None,
            lists: Lists::default(),
            intent,
            timers,
            branches: SmallVec::new(),
            leg: 0,
            current_branch: 0,
            status: 0,
            reply: Vec::new(),
            reply_to,
            cancelled: false,
            replicate: false,
            suspended: false,
            script: std::sync::Arc::clone(script),
            done: None,
            armed: NEVER,
        });
        match inserted {
            Inserted::New(_, guard) => {
                self.current = Some(guard);
                self.runtime.counters.tm_created();
                Code::TRUE
            }
            Inserted::Known(found) => {
                self.absorb(&found.transaction, ServerEvent::Request);
                Code::EXIT
            }
            Inserted::Full => {
                ctx.failure = Failure::Overload;
                self.runtime.counters.overload();
                Code::FALSE
            }
        }
    }

    /// Lets a known transaction handle a copy of its request or its ACK.
    fn absorb(&mut self, transaction: &std::sync::Arc<parking_lot::Mutex<Transaction>>, event: ServerEvent) {
        let mut guard = transaction.lock_arc();
        let t = &mut *guard;
        let reliable = t.reliable();
        let actions = t.server.on(event, self.now, &t.timers, reliable);
        for action in actions.iter() {
            if action == Action::RetransmitResponse && !t.reply.is_empty() {
                self.outbox
                    .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                        out.extend_from_slice(&t.reply)
                    });
            }
        }
        self.settle(guard);
    }

    /// Looks for the transaction of the request under way.
    pub(crate) fn match_transaction(&mut self, scope: Scope<'_>) -> Matched {
        if self.current.is_some() {
            return Matched::None;
        }
        let msg = &scope.ctx.msg;
        let runtime = std::sync::Arc::clone(&self.runtime);
        let table = &runtime.transactions;
        let parts = parts(msg);
        match msg.method() {
            Method::Cancel => {
                if let Some(found) = table.find(&Lookup::request(parts, table.hasher())) {
                    self.absorb(&found.transaction, ServerEvent::Request);
                    return Matched::Retransmission;
                }
                match table.find(&Lookup::cancelled(parts, table.hasher())) {
                    Some(_) => Matched::Related,
                    None => Matched::None,
                }
            }
            Method::Ack => {
                if let Some(found) = table.find(&Lookup::request(parts, table.hasher())) {
                    let accepted = found.transaction.lock().status / 100 == 2;
                    if accepted {
                        return Matched::EndToEndAck;
                    }
                    self.absorb(&found.transaction, ServerEvent::Ack);
                    return Matched::Retransmission;
                }
                // Kamailio: an ACK with a branch of its own belongs to no transaction here
                Matched::None
            }
            _ => match table.find(&Lookup::request(parts, table.hasher())) {
                Some(found) => {
                    self.absorb(&found.transaction, ServerEvent::Request);
                    Matched::Retransmission
                }
                None => Matched::None,
            },
        }
    }

    /// Forwards the request under way to all its targets.
    pub(crate) fn relay_request(&mut self, scope: Scope<'_>, options: RelayOptions) -> Code {
        let Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        } = scope;
        match ctx.msg.method() {
            Method::Ack if self.current.is_none() => {
                let scope = Scope {
                    ctx,
                    lists,
                    vars,
                    script,
                    route,
                };
                return self.relay_ack(scope, options);
            }
            Method::Cancel if self.current.is_none() => {
                let scope = Scope {
                    ctx,
                    lists,
                    vars,
                    script,
                    route,
                };
                return self.relay_cancel(scope, options);
            }
            _ => {}
        }
        if route == RouteKind::REQUEST && self.is_loop(ctx) {
            let scope = Scope {
                ctx,
                lists,
                vars,
                script,
                route,
            };
            self.reply(scope, 482, b"Loop Detected");
            return Code::FALSE;
        }
        if self.current.is_none() {
            let made = self.begin_transaction(Scope {
                ctx,
                lists,
                vars,
                script,
                route,
            });
            match made {
                Code::EXIT => return Code::TRUE, // a retransmission: answered from its transaction
                code if !code.is_true() => return code,
                _ => {}
            }
        }
        let Some(mut guard) = self.current.take() else {
            return Code::FALSE;
        };
        if guard.status >= 200 {
            self.current = Some(guard);
            return Code::FALSE;
        }
        guard.replicate |= options.replicate;
        let tm = script.states.get::<Tm>();
        guard.timers = timers(tm, &guard.intent.timers);
        self.try_100(&mut guard, ctx, tm, options);
        let (first, earlier) = (guard.branches.len(), guard.leg);
        guard.leg = first;
        let hops = hops(ctx, &options);
        self.current = Some(guard);
        for hook in script.hooks() {
            if let Hook::RequestForwarded(run) = hook {
                run(&mut Env {
                    ctx,
                    lists,
                    vars,
                    script,
                    host: self,
                    route,
                    rc: 0,
                });
            }
        }
        let mut tried = false;
        for branch in hops {
            tried = true;
            self.add_branch(branch, ctx, lists, vars, script, &options);
        }
        ctx.branches.clear();
        ctx.uri_is_new = false;
        let Some(guard) = &mut self.current else {
            return Code::FALSE;
        };
        if guard.branches.len() > first {
            ctx.failure = Failure::None;
            return Code::TRUE;
        }
        guard.leg = earlier;
        if !tried {
            ctx.failure = Failure::NoBranches;
        }
        self.answer_failure(
            Scope {
                ctx,
                lists,
                vars,
                script,
                route,
            },
            &options,
        );
        Code::FALSE
    }

    /// Kamailio: a relay that reaches nobody answers by itself, unless the script forbids it; failure routes answer later.
    fn answer_failure(&mut self, scope: Scope<'_>, options: &RelayOptions) {
        let Some(guard) = &self.current else { return };
        let forbidden = options.no_error_reply || guard.intent.disable & disable::INTERNAL_REPLY != 0;
        if forbidden || scope.route.meets(RouteKind::FAILURE) || guard.status >= 200 {
            return;
        }
        let (status, text) = scope.ctx.failure.reply();
        let reason = format!("{text} ({}/TM)", if status == 500 { 1 } else { status });
        self.reply_in_transaction(scope, status, reason.as_bytes());
    }

    /// Whether the request was here before and would go the same way again (RFC 3261 §16.3 step 4).
    fn is_loop(&self, ctx: &Context) -> bool {
        if ctx.msg.vias().nth(1).is_none() {
            return false; // straight from its sender
        }
        let sockets = &self.endpoints.sockets;
        let own = |via: &Via<'_>| sockets.is_local(via.host, via.port.unwrap_or(0), None);
        request::is_loop(&ctx.msg, own, routed_hash(&ctx.msg, &self.runtime.loop_keys))
    }

    /// Answers an INVITE with 100 before it is sent on.
    fn try_100(
        &mut self,
        guard: &mut super::Guard,
        ctx: &mut Context,
        tm: Option<&Tm>,
        options: RelayOptions,
    ) {
        let wanted = guard.invite
            && guard.status == 0
            && !guard.intent.no_auto_100
            && !options.no_100
            && tm.is_none_or(|tm| tm.auto_inv_100);
        if wanted {
            let reason = tm.map_or("Trying", |tm| &tm.auto_inv_100_reason).as_bytes();
            self.respond_locally(guard, ctx, 100, reason);
        }
    }

    /// Runs the branch route of one target and sends the request there.
    fn add_branch(
        &mut self,
        mut branch: Branch,
        ctx: &mut Context,
        lists: &mut Lists,
        vars: &mut crate::script::vars::Vars,
        script: &Script,
        options: &RelayOptions,
    ) {
        let Some(guard) = &mut self.current else { return };
        let number = guard.branches.len();
        if number >= MAX_BRANCHES {
            ctx.failure = Failure::Overload;
            return;
        }
        let armed = guard.intent.armed.branch;
        guard.current_branch = number;
        let mut saved = None;
        if let Some(route) = armed {
            saved = Some((
                ctx.lumps.clone(),
                ctx.new_uri.take(),
                ctx.dst_uri.take(),
                ctx.path.take(),
                ctx.bflags,
            ));
            ctx.new_uri = Some(std::mem::take(&mut branch.uri));
            ctx.dst_uri = branch.dst_uri.take();
            ctx.path = branch.path.take();
            let (flags, socket) = (ctx.bflags, ctx.send_socket);
            (ctx.bflags, ctx.send_socket) = (branch.flags, branch.socket);
            let verdict = self.run(route, RouteKind::BRANCH, ctx, lists, vars, script);
            branch.uri = ctx.new_uri.take().unwrap_or_default();
            branch.dst_uri = ctx.dst_uri.take();
            branch.path = ctx.path.take();
            (branch.flags, branch.socket) = (ctx.bflags, ctx.send_socket);
            (ctx.bflags, ctx.send_socket) = (flags, socket);
            if verdict.dropped {
                restore(ctx, saved);
                return;
            }
        }
        match self.hop(branch, options) {
            Ok(hop) => self.send_branch(hop, ctx),
            Err(failure) => ctx.failure = failure,
        }
        restore(ctx, saved);
    }

    fn hop(&mut self, branch: Branch, options: &RelayOptions) -> Result<Hop, Failure> {
        let target = match options.target {
            Some(target) => target,
            None => self.next_hop(
                &branch.uri,
                branch.dst_uri.as_deref(),
                branch.path.as_deref(),
                branch.socket,
            )?,
        };
        Ok(Hop { branch, target })
    }

    /// Where a request with this URI, next hop and Path leads.
    pub(crate) fn next_hop(
        &mut self,
        uri: &[u8],
        dst_uri: Option<&[u8]>,
        path: Option<&[u8]>,
        socket: Option<SocketId>,
    ) -> Result<Target, Failure> {
        next_hop(&self.runtime, uri, dst_uri, path, socket)
    }

    /// Writes one copy of the request, starts its client machine and sends it.
    fn send_branch(&mut self, hop: Hop, ctx: &mut Context) {
        let Some(guard) = &mut self.current else { return };
        let Hop { branch, target } = hop;
        let sockets = &self.endpoints.sockets;
        let Some(socket) = super::outbox::Outbox::socket_for(sockets, &target) else {
            ctx.failure = Failure::Send;
            return;
        };
        let Some(listener) = sockets.get(socket) else {
            return;
        };
        let target = Target {
            socket: Some(socket),
            ..target
        };
        if let Some(failure) = self.outbox.refusal(ctx, &target) {
            ctx.failure = failure;
            return;
        }
        let id = key::Branch {
            id: guard.id,
            routed: routed_hash(&ctx.msg, &self.runtime.loop_keys),
            number: u8::try_from(guard.branches.len()).unwrap_or(u8::MAX),
        };
        let mut sent = Vec::with_capacity(ctx.msg.as_bytes().len() + 256);
        let out = Outgoing {
            uri: &branch.uri,
            path: branch.path.as_deref(),
            listener,
            inbound: sockets.get(ctx.source.socket).unwrap_or(listener),
            branch: ViaBranch::Transaction(id),
        };
        write_request(&mut sent, &mut self.lumps, ctx, &out);
        let client = Client::new(guard.invite);
        guard.branches.push(ClientBranch {
            client,
            target,
            sent,
            uri: branch.uri,
            flags: branch.flags,
            status: 0,
            reply: None,
            timed_out: false,
            replied: false,
            dropped: false,
            cancelling: None,
        });
        let timers = guard.timers;
        let cancelled = guard.cancelled;
        let Some(added) = guard.branches.last_mut() else {
            return;
        };
        let reliable = added.reliable();
        let actions = added.client.on(ClientEvent::Start, self.now, &timers, reliable);
        if actions.contains(Action::SendRequest)
            && !self
                .outbox
                .send_with(sockets, &target, |out| out.extend_from_slice(&added.sent))
        {
            guard.branches.pop();
            ctx.failure = Failure::Send;
            return;
        }
        if cancelled {
            added.client.on(ClientEvent::Cancel, self.now, &timers, reliable);
        }
        self.runtime.counters.fwd_request();
    }

    /// An ACK to a 2xx goes on without a transaction; one to a refusal ends here.
    fn relay_ack(&mut self, scope: Scope<'_>, options: RelayOptions) -> Code {
        let Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        } = scope;
        if self.match_transaction(Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        }) == Matched::Retransmission
        {
            return Code::TRUE;
        }
        let code = self.forward_stateless(
            Scope {
                ctx,
                lists,
                vars,
                script,
                route,
            },
            options.target,
        );
        for hook in script.hooks() {
            if let Hook::EndToEndAck(run) = hook {
                let mut env = crate::script::module::Env {
                    ctx,
                    lists,
                    vars,
                    script,
                    host: self,
                    route,
                    rc: 0,
                };
                run(&mut env);
            }
        }
        code
    }

    /// Sends a request on without a transaction (RFC 3261 §16.11); a reply goes to its next Via.
    pub(crate) fn forward_stateless(&mut self, scope: Scope<'_>, target: Option<Target>) -> Code {
        let ctx = scope.ctx;
        if ctx.msg.is_reply() {
            return Code::from(self.forward_reply_stateless(ctx));
        }
        let target = match target {
            Some(target) => Ok(target),
            None => {
                let uri = ctx.uri().to_vec();
                let (dst, path) = (ctx.dst_uri.clone(), ctx.path.clone());
                self.next_hop(&uri, dst.as_deref(), path.as_deref(), ctx.send_socket)
            }
        };
        let target = match target {
            Ok(target) => target,
            Err(failure) => {
                ctx.failure = failure;
                return Code::FALSE;
            }
        };
        let sockets = &self.endpoints.sockets;
        let socket = super::outbox::Outbox::socket_for(sockets, &target);
        let Some((socket, listener)) = socket.and_then(|id| Some((id, sockets.get(id)?))) else {
            ctx.failure = Failure::Send;
            return Code::FALSE;
        };
        let mut branch = Vec::with_capacity(key::MAX_BRANCH);
        stateless_branch(&ctx.msg, 0, &self.runtime.loop_keys, &mut branch);
        let out = Outgoing {
            uri: ctx.uri(),
            path: ctx.path.as_deref(),
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
        let lumps = &mut self.lumps;
        let sent = self
            .outbox
            .send_with(sockets, &target, |bytes| write_request(bytes, lumps, ctx, &out));
        self.runtime.counters.fwd_request();
        if !sent {
            ctx.failure = Failure::Send;
        }
        Code::from(sent)
    }

    /// A CANCEL that finds its INVITE is answered and goes to each branch; another one goes on without a transaction.
    fn relay_cancel(&mut self, scope: Scope<'_>, options: RelayOptions) -> Code {
        let Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        } = scope;
        let runtime = std::sync::Arc::clone(&self.runtime);
        let table = &runtime.transactions;
        let Some(invite) = table.find(&Lookup::cancelled(parts(&ctx.msg), table.hasher())) else {
            return match script.states.get::<Tm>().map_or(0, |tm| tm.unmatched_cancel) {
                2 => Code::TRUE,
                _ => self.forward_stateless(
                    Scope {
                        ctx,
                        lists,
                        vars,
                        script,
                        route,
                    },
                    options.target,
                ),
            };
        };
        match self.begin_transaction(Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        }) {
            Code::EXIT => return Code::TRUE,
            code if !code.is_true() => return code,
            _ => {}
        }
        let Some(mut cancel) = self.current.take() else {
            return Code::FALSE;
        };
        let mut guard = invite.transaction.lock_arc();
        let reason = if guard.status >= 200 || (!guard.is_pending() && !guard.branches.is_empty()) {
            &b"ok -- no more pending branches"[..]
        } else {
            b"canceling"
        };
        guard.cancelled = true;
        let reasons = self.cancel_reasons(&guard, ctx, script);
        self.cancel_all(&mut guard, &reasons);
        self.respond_locally(&mut cancel, ctx, 200, reason);
        self.current = Some(cancel);
        // a transaction that waits for its script, not for a branch, ends at once (RFC 3261 §9.2)
        if guard.branches.is_empty() && guard.status < 200 {
            guard.suspended = false;
            if let Some(mut request) = guard.request.take() {
                self.respond_locally(&mut guard, &mut request, 487, b"Request Terminated");
                guard.request = Some(request);
            }
        }
        self.settle(guard);
        Code::TRUE
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
    pub(crate) fn cancel_all(&mut self, guard: &mut super::Guard, headers: &[u8]) {
        self.cancel_where(guard, headers, |_| true);
    }

    /// The same for the branches that `which` chooses by number.
    pub(crate) fn cancel_where(
        &mut self,
        guard: &mut super::Guard,
        headers: &[u8],
        which: impl Fn(usize) -> bool,
    ) {
        for number in 0..guard.branches.len() {
            if which(number) {
                let timers = guard.timers;
                let Some(branch) = guard.branches.get_mut(number) else {
                    continue;
                };
                let reliable = branch.reliable();
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

type Saved = (
    shared::sip::Lumps,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    u32,
);

fn restore(ctx: &mut Context, saved: Option<Saved>) {
    if let Some((lumps, new_uri, dst_uri, path, bflags)) = saved {
        ctx.lumps = lumps;
        ctx.new_uri = new_uri;
        ctx.dst_uri = dst_uri;
        ctx.path = path;
        ctx.bflags = bflags;
    }
}

/// The targets of this relay: the Request-URI when it is new, then the appended branches.
pub(super) fn hops(ctx: &mut Context, options: &RelayOptions) -> Vec<Branch> {
    let mut hops = Vec::with_capacity(1 + ctx.branches.len());
    if ctx.uri_is_new || options.target.is_some() {
        hops.push(Branch {
            uri: ctx.uri().to_vec(),
            dst_uri: ctx.dst_uri.clone(),
            path: ctx.path.clone(),
            q: ctx.q,
            flags: ctx.bflags,
            socket: ctx.send_socket,
            instance: ctx.instance.clone(),
            ruid: ctx.ruid.clone(),
            location_ua: ctx.location_ua.clone(),
        });
    }
    hops.append(&mut ctx.branches);
    hops
}

/// Where a request with this URI, next hop and Path leads.
pub(super) fn next_hop(
    runtime: &super::Runtime,
    uri: &[u8],
    dst_uri: Option<&[u8]>,
    path: Option<&[u8]>,
    socket: Option<SocketId>,
) -> Result<Target, Failure> {
    let first_path = path.and_then(first_route);
    let next = dst_uri.or(first_path).unwrap_or(uri);
    let parsed = shared::sip::Uri::parse(next).map_err(|_| Failure::BadUri)?;
    if !matches!(parsed.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(Failure::UnsupportedScheme);
    }
    runtime.resolve(&parsed, socket).ok_or(Failure::Unresolvable)
}

/// The first URI of a Path vector.
fn first_route(path: &[u8]) -> Option<&[u8]> {
    let first = shared::sip::scan::CommaList::new(path).next()?;
    shared::sip::NameAddr::parse(first).ok().map(|addr| addr.uri)
}

/// One copy of a request on its way out.
pub(super) struct Outgoing<'a> {
    pub(super) uri: &'a [u8],
    pub(super) path: Option<&'a [u8]>,
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
pub(super) fn write_request(
    bytes: &mut Vec<u8>,
    scratch: &mut shared::sip::Lumps,
    ctx: &Context,
    out: &Outgoing<'_>,
) {
    let mut rr = Vec::new();
    if let Some(intent) = &ctx.record_route {
        let params = [&intent.params[..], &ctx.rr_params].concat();
        let route = record_route::RecordRoute {
            form: match &intent.form {
                RecordRouteForm::Sockets => record_route::Form::Sockets,
                RecordRouteForm::Advertised(address) => record_route::Form::Advertised(address),
                RecordRouteForm::Preset(first, second) => {
                    record_route::Form::Preset(first, second.as_deref())
                }
            },
            sips: out
                .uri
                .get(..5)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:")),
            user: &intent.user,
            ftag: if intent.ftag { ctx.msg.from_tag() } else { b"" },
            full_lr: intent.full_lr,
            params: &params,
            double: intent.double,
        };
        route.write(&hop(out.inbound), &hop(out.listener), &mut rr);
    }
    let seen = seen(ctx);
    let via = ViaLine {
        hop: hop(out.listener),
        branch: out.branch,
        rport: ctx.switches.local_rport,
        connection: ctx.source.conn,
        alias: false,
    };
    let plan = ForwardPlan {
        uri: Some(out.uri),
        via,
        fix: fix(ctx, &seen),
        max_forwards: None,
        record_route: &rr,
        path: out.path,
        body: ctx.new_body.as_ref(),
        content_length: out.listener.transport != shared::net::Transport::Udp,
    };
    write_forwarded(&ctx.msg, &ctx.lumps, &plan, scratch, bytes);
}
