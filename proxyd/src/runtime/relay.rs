//! Sending requests on in a transaction, with a branch for each target (RFC 3261 §16.6).

use super::forward::Outgoing;
use super::forward::write_request;
use super::host::Live;
use super::matching::timers;
use super::outbox::Outbox;
use super::transaction::Client;
use super::transaction::ClientBranch;
use super::transaction::Reached;
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
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::vars::Vars;
use crate::transaction::action::Action;
use crate::transaction::action::ClientEvent;
use crate::transaction::key;
use shared::sip::Method;
use shared::sip::Scheme;
use shared::sip::Via;

/// The most branches one transaction may have.
pub(super) const MAX_BRANCHES: usize = 64;

/// What an appended branch sets in the context while its copy of the request is made.
struct Values {
    uri: Option<Vec<u8>>,
    dst_uri: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    flags: u32,
    socket: Option<SocketId>,
    ruid: Option<Vec<u8>>,
    instance: Option<Vec<u8>>,
}

impl Values {
    fn of(ctx: &Context) -> Self {
        Self {
            uri: ctx.new_uri.clone(),
            dst_uri: ctx.dst_uri.clone(),
            path: ctx.path.clone(),
            flags: ctx.bflags,
            socket: ctx.send_socket,
            ruid: ctx.ruid.clone(),
            instance: ctx.instance.clone(),
        }
    }

    fn swap(&mut self, ctx: &mut Context) {
        std::mem::swap(&mut self.uri, &mut ctx.new_uri);
        std::mem::swap(&mut self.dst_uri, &mut ctx.dst_uri);
        std::mem::swap(&mut self.path, &mut ctx.path);
        std::mem::swap(&mut self.flags, &mut ctx.bflags);
        std::mem::swap(&mut self.socket, &mut ctx.send_socket);
        std::mem::swap(&mut self.ruid, &mut ctx.ruid);
        std::mem::swap(&mut self.instance, &mut ctx.instance);
    }
}

impl From<Branch> for Values {
    fn from(branch: Branch) -> Self {
        Self {
            uri: Some(branch.uri),
            dst_uri: branch.dst_uri,
            path: branch.path,
            flags: branch.flags,
            socket: branch.socket,
            ruid: branch.ruid,
            instance: branch.instance,
        }
    }
}

impl Live {
    /// Forwards the request under way to all its targets.
    pub(crate) fn relay_request(&mut self, mut scope: Scope<'_>, options: RelayOptions) -> Code {
        match scope.ctx.msg.method() {
            Method::Ack if self.current.is_none() => return self.relay_ack(scope, options),
            Method::Cancel if self.current.is_none() => return self.relay_cancel(scope, options),
            _ => {}
        }
        if scope.route == RouteKind::REQUEST && self.is_loop(scope.ctx) {
            self.reply(scope, 482, b"Loop Detected");
            return Code::FALSE;
        }
        if self.current.is_none() {
            match self.begin_transaction(scope.again()) {
                Code::EXIT => return Code::TRUE, // a retransmission: answered from its transaction
                code if !code.is_true() => return code,
                _ => {}
            }
        }
        let Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        } = scope;
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
        let (first, earlier, about) = (guard.branches.len(), guard.leg(), guard.current_branch);
        if route != RouteKind::BRANCH_FAILURE {
            guard.set_leg(first);
        }
        // the Request-URI when it is new, then the appended branches
        let own = ctx.uri_is_new || options.target.is_some();
        let appended = ctx.branches.len();
        let tried = own || appended > 0;
        self.current = Some(guard);
        for hook in script.hooks() {
            if let Hook::RequestForwarded(run) = hook {
                let scope = Scope {
                    ctx,
                    lists,
                    vars,
                    script,
                    route,
                };
                run(&mut scope.env(self));
            }
        }
        if own {
            self.add_branch(None, ctx, lists, vars, script, &options);
        }
        // the routes of branches see all of them, and may take some away
        for place in 0..appended {
            let Some(branch) = ctx.branches.get(place).cloned() else {
                break;
            };
            self.add_branch(Some(branch), ctx, lists, vars, script, &options);
        }
        let mut scope = Scope {
            ctx,
            lists,
            vars,
            script,
            route,
        };
        let held = self.send_branches(first, &mut scope);
        scope.ctx.branches.clear();
        scope.ctx.uri_is_new = false;
        let Some(guard) = &mut self.current else {
            return Code::FALSE;
        };
        if route != RouteKind::REQUEST {
            guard.current_branch = about;
        }
        if guard.branches.len() > first {
            scope.ctx.failure = Failure::None;
            return Code::TRUE;
        }
        guard.set_leg(earlier);
        if !tried {
            scope.ctx.failure = Failure::NoBranches;
            // relayed once more without a new target: what was sent goes on
            if guard.is_pending() {
                return Code::FALSE;
            }
        }
        // Kamailio: what went wrong is told only where a request's own route relays, and only if something was tried
        let code = if !tried && guard.intent.disable & disable::INTERNAL_REPLY != 0 {
            Code(-4)
        } else if !tried || held || route == RouteKind::FAILURE {
            Code::FALSE
        } else {
            Code(-i32::from(scope.ctx.failure.number()))
        };
        self.answer_failure(scope, &options);
        code
    }

    /// Kamailio: a relay that reaches nobody answers by itself, unless the script forbids it; failure routes answer later.
    fn answer_failure(&mut self, scope: Scope<'_>, options: &RelayOptions) {
        let Some(guard) = &self.current else { return };
        let forbidden = options.no_error_reply || guard.intent.disable & disable::INTERNAL_REPLY != 0;
        if forbidden || scope.route.meets(RouteKind::FAILURE) || guard.status >= 200 {
            return;
        }
        let (status, reason) = scope.ctx.failure.reply("TM");
        self.reply_in_transaction(scope, status, reason.as_bytes());
    }

    /// Whether the request was here before and would go the same way again (RFC 3261 §16.3 step 4).
    fn is_loop(&self, ctx: &Context) -> bool {
        let sockets = &self.endpoints.sockets;
        let own = |via: &Via<'_>| sockets.is_local(via.host, via.port.unwrap_or(0), None);
        request::is_loop(&ctx.msg, own, || routed_hash(&ctx.msg, &self.runtime.loop_keys))
    }

    /// Answers an INVITE with 100 before it is sent on.
    pub(super) fn try_100(
        &mut self,
        guard: &mut super::Guard,
        ctx: &mut Context,
        tm: Option<&Tm>,
        options: RelayOptions,
    ) {
        let wanted = guard.is_invite()
            && guard.status == 0
            && !guard.intent.no_auto_100
            && !options.no_100
            && tm.is_none_or(|tm| tm.auto_inv_100);
        if wanted {
            let reason = tm.map_or("Trying", |tm| &tm.auto_inv_100_reason).as_bytes();
            self.respond_locally(guard, ctx, 100, reason);
        }
    }

    /// Runs the branch route of one target, the context's own or an appended one, and sends the request there.
    fn add_branch(
        &mut self,
        branch: Option<Branch>,
        ctx: &mut Context,
        lists: &mut Lists,
        vars: &mut Vars,
        script: &Script,
        options: &RelayOptions,
    ) {
        let Some(guard) = &mut self.current else { return };
        let number = guard.branches.len();
        if number >= MAX_BRANCHES {
            ctx.failure = Failure::Overload;
            return;
        }
        guard.current_branch = number;
        let route = guard.intent.armed.branch;
        let saved = match branch {
            Some(branch) => {
                let mut values = Values::from(branch);
                values.swap(ctx);
                Some(values)
            }
            None => route.map(|_| Values::of(ctx)),
        };
        let lumps = route.map(|_| ctx.lumps.clone());
        let dropped = route.is_some_and(|route| {
            let scope = Scope {
                ctx,
                lists,
                vars,
                script,
                route: RouteKind::BRANCH,
            };
            self.run(route, scope).dropped
        });
        if dropped {
            ctx.failure = Failure::NoBranches;
        } else if let Err(failure) = self.prepare_branch(ctx, options) {
            ctx.failure = failure;
        }
        if let Some(lumps) = lumps {
            ctx.lumps = lumps;
        }
        if let Some(msg) = ctx.before_branch.take() {
            ctx.msg = *msg;
        }
        if let Some(mut values) = saved {
            values.swap(ctx);
        }
    }

    /// Writes one copy of the request.
    fn prepare_branch(&mut self, ctx: &Context, options: &RelayOptions) -> Result<(), Failure> {
        let Some(guard) = &mut self.current else {
            return Ok(());
        };
        let target = match options.target {
            Some(target) => target,
            None => next_hop(&self.runtime, ctx)?,
        };
        let sockets = &self.endpoints.sockets;
        let socket = Outbox::socket_for(&self.runtime.streams, sockets, &target);
        let (socket, listener) = socket
            .and_then(|id| Some((id, sockets.get(id)?)))
            .ok_or_else(|| Outbox::lacking(sockets, &target))?;
        let target = Target {
            socket: Some(socket),
            ..target
        };
        if let Some(failure) = self.outbox.refusal(ctx, &target) {
            return Err(failure);
        }
        let id = key::Branch {
            id: guard.id,
            routed: routed_hash(&ctx.msg, &self.runtime.loop_keys),
            number: u8::try_from(guard.branches.len()).unwrap_or(u8::MAX),
        };
        let mut sent = self.buffers.take();
        let named = ctx.named_as(listener);
        let listener = named.as_ref().unwrap_or(listener);
        let out = Outgoing {
            listener,
            inbound: sockets.get(ctx.source.socket).unwrap_or(listener),
            branch: ViaBranch::Transaction(id),
        };
        write_request(&mut sent, &mut self.scratch, ctx, &out);
        let client = Client::new(guard.is_invite());
        let mut branch = ClientBranch::new(client, target, sent, ctx.bflags);
        if ctx.ruid.is_some() || ctx.path.is_some() || ctx.instance.is_some() {
            branch.contact = Some(Box::new(Reached {
                ruid: ctx.ruid.clone(),
                instance: ctx.instance.clone(),
                path: ctx.path.clone(),
            }));
        }
        branch.armed = guard.intent.armed;
        guard.branches.push(branch);
        Ok(())
    }

    /// Sends the branches from this one on; when none could be sent they are forgotten. True when `onsend_route` held one back.
    ///
    /// Kamailio: every branch route has run before the first copy leaves.
    fn send_branches(&mut self, first: usize, scope: &mut Scope<'_>) -> bool {
        let (mut held, mut any) = (false, false);
        let last = self.current.as_ref().map_or(first, |guard| guard.branches.len());
        for number in first..last {
            let unsent = self.take_unsent(number);
            let allowed = unsent.and_then(|(target, bytes)| self.let_go(scope, &target, bytes));
            held |= allowed.is_none();
            if self.start_branch(number, allowed) {
                any = true;
            } else {
                scope.ctx.failure = Failure::Send;
            }
        }
        if let (Some(guard), false) = (&mut self.current, any) {
            guard.branches.truncate(first);
        }
        held
    }

    fn take_unsent(&mut self, number: usize) -> Option<(Target, Vec<u8>)> {
        let branch = self.current.as_mut()?.branches.get_mut(number)?;
        Some((branch.target, std::mem::take(&mut branch.sent)))
    }

    /// Starts the client machine of a branch and sends its request; a branch that cannot be sent ends.
    fn start_branch(&mut self, number: usize, bytes: Option<Vec<u8>>) -> bool {
        let Some(guard) = &mut self.current else {
            return false;
        };
        let t = &mut **guard;
        let Some(branch) = t.branches.get_mut(number) else {
            return false;
        };
        let (now, reliable) = (self.now, branch.target.is_reliable());
        let actions = branch.client.on(ClientEvent::Start, now, &t.timers, reliable);
        let sockets = &self.endpoints.sockets;
        let is_sent = bytes.as_ref().is_some_and(|bytes| {
            !actions.contains(Action::SendRequest)
                || self
                    .outbox
                    .send_with(sockets, &branch.target, |out| out.extend_from_slice(bytes))
        });
        branch.sent = bytes.unwrap_or_default();
        if !is_sent {
            branch
                .client
                .on(ClientEvent::TransportError, now, &t.timers, reliable);
            branch.dropped = true;
            return false;
        }
        if t.cancelled {
            branch.client.on(ClientEvent::Cancel, now, &t.timers, reliable);
        }
        true
    }
}

/// Where a request leads as the script left it.
pub(super) fn next_hop(runtime: &super::Runtime, ctx: &Context) -> Result<Target, Failure> {
    let first_path = ctx.path.as_deref().and_then(first_route);
    let (next, illegible, elsewhere) = match ctx.dst_uri.as_deref().or(first_path) {
        Some(next) => (next, Failure::Unresolvable, Failure::Unresolvable),
        None => (ctx.uri(), Failure::BadUri, Failure::UnsupportedScheme),
    };
    let parsed = shared::sip::Uri::parse(next).map_err(|_| illegible)?;
    if !matches!(parsed.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(elsewhere);
    }
    runtime
        .resolve(&parsed, ctx.send_socket)
        .ok_or(Failure::Unresolvable)
}

/// The first URI of a Path vector.
fn first_route(path: &[u8]) -> Option<&[u8]> {
    let first = shared::sip::scan::CommaList::new(path).next()?;
    shared::sip::NameAddr::parse(first).ok().map(|addr| addr.uri)
}
