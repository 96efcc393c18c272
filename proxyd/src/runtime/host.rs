//! The proxy as a running script sees it: [`Host`] for live messages.

use super::Guard;
use super::Runtime;
use super::endpoints::Endpoints;
use super::forward::Scratch;
use super::outbox::Outbox;
use super::overload::Pressure;
use super::relay::MAX_BRANCHES;
use super::spares::Buffers;
use crate::ids::TagKind;
use crate::proxy::context::ConnId;
use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Sockets;
use crate::script::exec;
use crate::script::exec::Verdict;
use crate::script::host::BranchView;
use crate::script::host::Deed;
use crate::script::host::HeldReply;
use crate::script::host::Host;
use crate::script::host::Intent;
use crate::script::host::Job;
use crate::script::host::LocalRequest;
use crate::script::host::Matched;
use crate::script::host::Millis;
use crate::script::host::Named;
use crate::script::host::RelayOptions;
use crate::script::host::RouteId;
use crate::script::host::Scope;
use crate::script::host::TransactionView;
use crate::script::module::Code;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::transaction::key::Lookup;
use crate::transaction::timer::after;
use crate::transport::conn::Control;
use crate::transport::udp::Batch;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::net::Keepalive;
use shared::net::Naptr;
use shared::net::Secured;
use shared::net::Transport;
use shared::sip::Uri;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One worker's side of the proxy.
pub(crate) struct Live {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) outbox: Outbox,
    /// The sockets as they were when the present batch began.
    pub(crate) endpoints: Arc<Endpoints>,
    /// The script the present message began with.
    pub(crate) script: Arc<Script>,
    /// Monotonic time of the present batch.
    pub(crate) now: Millis,
    /// Counts the batches.
    pub(crate) batch: u64,
    /// The datagrams of the present batch, and the first of them that is not begun.
    pub(crate) arrived: Option<(Rc<Batch>, usize)>,
    /// Whether more arrives than can be handled.
    pub(super) pressure: Pressure,
    /// This thread's log lines carry a prefix.
    pub(crate) prefixed: bool,
    /// The transaction of the present message, locked.
    pub(crate) current: Option<Guard>,
    /// What the present request is looked up by, once that was asked.
    pub(crate) lookup: Option<Lookup>,
    /// Routes and timers for a transaction yet to be made.
    pub(crate) intent: Intent,
    /// What writing a message needs besides.
    pub(crate) scratch: Scratch,
    /// Buffers to be used again.
    pub(crate) buffers: Buffers,
    /// The request of the transaction whose reply is being forwarded, for hooks.
    pub(super) lent: Option<Box<Context>>,
    /// An event route about a message of our own runs: what it sends makes no event.
    pub(super) in_event: bool,
    /// The number of this worker.
    pub(crate) worker: usize,
    pub(crate) random: SmallRng,
}

impl Live {
    pub(crate) fn new(runtime: Arc<Runtime>, worker: usize) -> Self {
        let endpoints = runtime.endpoints.load_full();
        let outbox = Outbox::new(
            &endpoints.udp,
            runtime.streams.clone(),
            Arc::clone(&runtime.tracers),
        );
        Self {
            outbox,
            endpoints,
            script: runtime.script.load_full(),
            now: crate::clock::now(),
            batch: 0,
            arrived: None,
            pressure: Pressure::default(),
            prefixed: false,
            current: None,
            lookup: None,
            intent: Intent::default(),
            scratch: Scratch::default(),
            buffers: Buffers::default(),
            lent: None,
            in_event: false,
            worker,
            random: SmallRng::seed_from_u64(rand::rng().next_u64()),
            runtime,
        }
    }

    /// Takes up the script and the sockets that a reload has put in force.
    pub(crate) fn refresh(&mut self) {
        if !std::ptr::eq(&*self.script, &**self.runtime.script.load()) {
            self.script = self.runtime.script.load_full();
        }
        if !std::ptr::eq(&*self.endpoints, &**self.runtime.endpoints.load()) {
            self.endpoints = self.runtime.endpoints.load_full();
            self.outbox.change_sockets(&self.endpoints.udp);
        }
    }

    /// Runs a route block.
    pub(crate) fn run(&mut self, route: RouteId, scope: Scope<'_>) -> Verdict {
        exec::run(route, &mut scope.env(self))
    }

    /// Runs `event_route[name]` when the script has one.
    pub(crate) fn run_event(&mut self, name: &str, scope: Scope<'_>) -> Option<Verdict> {
        let route = scope.script.program.event_route(name)?;
        let scope = Scope {
            route: RouteKind::EVENT,
            ..scope
        };
        Some(self.run(route, scope))
    }
}

impl Host for Live {
    fn now(&self) -> Millis {
        self.now
    }

    fn wall(&self) -> Duration {
        crate::clock::wall()
    }

    fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    fn sockets(&self) -> &Sockets {
        &self.endpoints.sockets
    }

    fn batch(&self) -> u64 {
        self.batch
    }

    fn worker(&self) -> (usize, u32) {
        (self.worker, std::process::id())
    }

    fn each_ahead(&self, visit: &mut dyn FnMut(&[u8])) {
        if let Some((batch, next)) = &self.arrived {
            batch
                .iter()
                .skip(*next)
                .for_each(|datagram| visit(datagram.bytes));
        }
    }

    fn is_connected(&self, transport: Transport, peer: SocketAddr) -> bool {
        self.runtime.streams.find(transport, peer).is_some()
    }

    fn alias_connection(&mut self, conn: ConnId, port: u16) {
        self.runtime.streams.add_alias(conn, port);
    }

    fn secured(&self, conn: ConnId) -> Option<Arc<Secured>> {
        self.runtime.streams.secured(conn)
    }

    fn resolve(&mut self, uri: &[u8], socket: Option<SocketId>) -> Option<Target> {
        let uri = Uri::parse(uri).ok()?;
        self.runtime.resolve(&uri, socket)
    }

    fn naptr(&mut self, name: &str) -> Vec<Naptr> {
        self.runtime.naptr(name)
    }

    fn send(&mut self, target: &Target, bytes: &[u8]) -> bool {
        self.outbox.send_with(&self.endpoints.sockets, target, |out| {
            out.extend_from_slice(bytes)
        })
    }

    fn reply_stateless(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.send_stateless_reply(scope.ctx, status, reason)
    }

    fn held_reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Option<HeldReply> {
        self.hold_stateless_reply(scope.ctx, status, reason)
    }

    fn reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        if self.current.is_some() {
            self.transaction_reply(scope, status, reason)
        } else {
            self.send_stateless_reply(scope.ctx, status, reason)
        }
    }

    fn forward(&mut self, scope: Scope<'_>, target: Option<Target>) -> Code {
        self.forward_stateless(scope, target)
    }

    fn local_tag(&mut self, ctx: &Context) -> Vec<u8> {
        let kind = if self.current.is_some() {
            TagKind::Stateful
        } else {
            TagKind::Stateless
        };
        self.runtime.keys.tag(&ctx.msg, kind).to_vec()
    }

    fn new_transaction(&mut self, scope: Scope<'_>) -> Code {
        self.begin_transaction(scope)
    }

    fn check_transaction(&mut self, scope: Scope<'_>) -> Matched {
        self.match_transaction(scope)
    }

    fn precheck_transaction(&mut self, ctx: &Context) -> bool {
        self.runtime.transactions.contains(&ctx.msg)
    }

    fn relay(&mut self, scope: Scope<'_>, options: RelayOptions) -> Code {
        self.relay_request(scope, options)
    }

    fn transaction_reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.reply_in_transaction(scope, status, reason)
    }

    fn release_transaction(&mut self) {
        // Nothing is held that would need it: an answered transaction ends by its timers.
    }

    fn drop_transaction(&mut self, status: u16) -> bool {
        let Some(mut guard) = self.current.take() else {
            return false;
        };
        if guard.status < 200 {
            self.send_upstream(&mut guard, status, Vec::new());
        }
        self.current = Some(guard);
        true
    }

    fn leave(&mut self, named: Named<'_>, deed: Deed) -> bool {
        self.leave_deed(named, deed)
    }

    fn cancel_branches(&mut self, scope: Scope<'_>, which: u32) -> Code {
        self.cancel_pending(scope, which)
    }

    fn drop_replies(&mut self) {
        if let Some(transaction) = &mut self.current {
            transaction
                .branches
                .iter_mut()
                .for_each(|branch| branch.dropped = true);
        }
    }

    fn intent(&mut self) -> &mut Intent {
        match &mut self.current {
            Some(transaction) => &mut transaction.intent,
            None => &mut self.intent,
        }
    }

    fn transaction(&self) -> Option<TransactionView<'_>> {
        let t = self.current.as_ref()?;
        let best = t.branches.get(t.current_branch);
        let branches = t.branches.iter().map(|branch| BranchView {
            status: branch.status,
            timed_out: branch.timed_out,
            replied: branch.replied,
            uri: branch.uri(),
            flags: branch.flags,
            ruid: branch
                .contact
                .as_deref()
                .and_then(|contact| contact.ruid.as_deref()),
            instance: branch
                .contact
                .as_deref()
                .and_then(|contact| contact.instance.as_deref()),
            path: branch
                .contact
                .as_deref()
                .and_then(|contact| contact.path.as_deref()),
            reply: branch.reply.as_deref().map(|ctx| &ctx.msg),
        });
        Some(TransactionView {
            id: (t.id.index, t.id.label),
            request: t.request.as_deref(),
            status: t.status,
            reply: t.current_reply(),
            reply_status: best.map_or(0, |branch| branch.status),
            reply_reason: t.current_reply().map_or(b"", |reply| reply.reason()),
            branches: branches.collect(),
            first_branch: t.leg(),
            current_branch: t.current_branch,
            cancelled: t.cancelled,
            expired: t.expired,
            local: matches!(t.server, super::transaction::Server::Local),
        })
    }

    fn related_request(&self, ctx: &Context) -> Option<Context> {
        self.find_related(ctx)
    }

    fn transaction_request(&mut self) -> Option<&mut Context> {
        match &mut self.current {
            Some(transaction) => transaction.request.as_deref_mut(),
            None => self.lent.as_deref_mut(),
        }
    }

    fn originate(&mut self, request: LocalRequest) -> Code {
        self.send_local(request)
    }

    fn suspend(&mut self, mut scope: Scope<'_>) -> Option<(u32, u32)> {
        if self.current.is_none() && self.begin_transaction(scope.again()).0 < 0 {
            return None;
        }
        // a failure route may suspend again and again: not for ever
        let ended = |t: &Guard| t.expired || t.branches.len() >= MAX_BRANCHES;
        if self.current.as_ref().is_none_or(ended) {
            return None;
        }
        let mut transaction = self.current.take()?;
        let options = RelayOptions::default();
        self.try_100(&mut transaction, scope.ctx, scope.script.states.get(), options);
        transaction.timers = super::matching::timers(scope.script.states.get(), &transaction.intent.timers);
        transaction.suspended = after(self.now, transaction.timers.timer_b());
        let id = (transaction.id.index, transaction.id.label);
        self.current = Some(transaction);
        Some(id)
    }

    fn resume(&mut self, id: (u32, u32), route: RouteId) -> Code {
        Code::from(self.runtime.resumed.leave((id, route)))
    }

    fn spawn(&mut self, job: Job) {
        self.runtime.spawn(job);
    }

    fn http_reply(&mut self, ctx: &Context, bytes: &[u8]) -> bool {
        let Some(conn) = ctx.source.conn else { return false };
        let sent = self.runtime.streams.send_on(conn, bytes.to_vec()).is_ok();
        if ctx.switches.reply_close {
            self.runtime.streams.close(conn);
        }
        sent
    }

    fn upgrade(&mut self, ctx: &Context, answer: &[u8], keepalive: &Keepalive) -> bool {
        self.upgrade_connection(ctx, answer, keepalive)
    }

    fn close_websocket(&mut self, conn: ConnId, status: u16, reason: &str) -> bool {
        let close = Control::Close(status, reason.to_owned());
        self.runtime.streams.control(conn, close)
    }
}
