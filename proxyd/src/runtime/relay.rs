//! Sending requests on in a transaction, with a branch for each target (RFC 3261 §16.6).

use super::forward::Outgoing;
use super::forward::write_request;
use super::host::Live;
use super::matching::timers;
use super::transaction::Client;
use super::transaction::ClientBranch;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::branch::Branch;
use crate::proxy::context::Context;
use crate::proxy::context::Failure;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::forward::ViaBranch;
use crate::proxy::request;
use crate::proxy::request::routed_hash;
use crate::script::host::Host;
use crate::script::host::RelayOptions;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::transaction::action::Action;
use crate::transaction::action::ClientEvent;
use crate::transaction::key;
use shared::sip::Method;
use shared::sip::Scheme;
use shared::sip::Via;

/// The most branches one transaction may have.
const MAX_BRANCHES: usize = 64;

/// Where one copy of a request goes.
struct Hop {
    branch: Branch,
    target: Target,
}

impl Live {
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
        let sockets = &self.runtime.sockets;
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
        let sockets = &self.runtime.sockets;
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
