//! The proxy of `explain`: what a script asks for is written down, nothing leaves and nothing is changed.

use super::Runtime;
use super::endpoints::Endpoints;
use super::forward;
use super::forward::Outgoing;
use super::forward::Scratch;
use super::outbox::Outbox;
use super::relay;
use super::reply;
use crate::ids::TagKind;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::branch::Branch;
use crate::proxy::context::Context;
use crate::proxy::context::Failure;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::forward::ViaBranch;
use crate::proxy::request::parts;
use crate::proxy::request::stateless_branch;
use crate::proxy::sockets::Sockets;
use crate::script::exec;
use crate::script::host::Host;
use crate::script::host::Intent;
use crate::script::host::Job;
use crate::script::host::LocalRequest;
use crate::script::host::Matched;
use crate::script::host::Millis;
use crate::script::host::RelayOptions;
use crate::script::host::RouteId;
use crate::script::host::Scope;
use crate::script::host::TransactionView;
use crate::script::module::Code;
use crate::script::module::RouteKind;
use crate::transaction::key::Lookup;
use shared::net::Naptr;
use shared::net::Transport;
use shared::sip::Method;
use shared::sip::Uri;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Why something would have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// An answer to the sender.
    Reply,
    /// A branch of a transaction.
    Relay,
    /// Without a transaction.
    Forward,
    /// Bytes that a function made.
    Send,
    /// A request of our own.
    Originate,
}

/// What would have been sent.
pub(crate) struct Sent {
    pub(crate) why: Why,
    /// Where; none when it leads nowhere.
    pub(crate) target: Option<Target>,
    pub(crate) bytes: Vec<u8>,
}

/// A proxy that only writes down.
pub(crate) struct Sandbox {
    runtime: Arc<Runtime>,
    endpoints: Arc<Endpoints>,
    intent: Intent,
    /// The last status of a reply in the transaction.
    status: u16,
    scratch: Scratch,
    pub(crate) sent: Vec<Sent>,
}

impl Sandbox {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Self {
            endpoints: runtime.endpoints.load_full(),
            runtime,
            intent: Intent::default(),
            status: 0,
            scratch: Scratch::default(),
            sent: Vec::new(),
        }
    }

    fn answer(&mut self, scope: Scope<'_>, status: u16, reason: &[u8], kind: TagKind) -> Code {
        let ctx = scope.ctx;
        if ctx.msg.method() == Method::Ack || ctx.msg.top_via().is_none() || self.status >= 200 {
            return Code::FALSE;
        }
        ctx.answered = status;
        self.status = status;
        let mut bytes = Vec::new();
        reply::Answer {
            keys: &self.runtime.keys,
            script: scope.script,
            status,
            reason,
            kind,
        }
        .write(ctx, &mut bytes);
        self.sent.push(Sent {
            why: Why::Reply,
            target: Some(reply::reply_target(ctx)),
            bytes,
        });
        Code::TRUE
    }

    /// Writes down one copy of a request.
    fn pass_on(&mut self, ctx: &Context, fixed: Option<Target>, why: Why) -> Result<(), Failure> {
        let target = match fixed {
            Some(target) => target,
            None => relay::next_hop(&self.runtime, ctx)?,
        };
        let sockets = &self.endpoints.sockets;
        let socket = Outbox::socket_for(&self.runtime.streams, sockets, &target);
        let listener = socket
            .and_then(|id| sockets.get(id))
            .ok_or_else(|| Outbox::lacking(sockets, &target))?;
        let named = ctx.named_as(listener);
        let listener = named.as_ref().unwrap_or(listener);
        let number = u8::try_from(self.sent.len()).unwrap_or(u8::MAX);
        let mut via = Vec::new();
        let hashers = self.runtime.transactions.hashers();
        stateless_branch(Lookup::request(&parts(&ctx.msg), hashers).key(), number, &mut via);
        let out = Outgoing {
            listener,
            inbound: sockets.get(ctx.source.socket).unwrap_or(listener),
            branch: ViaBranch::Text(&via),
        };
        let mut bytes = Vec::new();
        forward::write_request(&mut bytes, &mut self.scratch, ctx, &out);
        let target = Some(Target { socket, ..target });
        self.sent.push(Sent { why, target, bytes });
        Ok(())
    }

    /// Runs the branch route on a copy of the context, then writes the branch down; true when it would be sent.
    fn branch(&mut self, branch: Branch, scope: &mut Scope<'_>, options: &RelayOptions) -> bool {
        let mut ctx = scope.ctx.clone();
        ctx.new_uri = Some(branch.uri);
        ctx.dst_uri = branch.dst_uri;
        ctx.path = branch.path;
        ctx.bflags = branch.flags;
        ctx.send_socket = branch.socket;
        if let Some(route) = self.intent.armed.branch {
            let branch = Scope {
                ctx: &mut ctx,
                route: RouteKind::BRANCH,
                ..scope.again()
            };
            if exec::run(route, &mut branch.env(self)).dropped {
                return false;
            }
        }
        match self.pass_on(&ctx, options.target, Why::Relay) {
            Ok(()) => true,
            Err(failure) => {
                scope.ctx.failure = failure;
                false
            }
        }
    }

    /// The answer that a relay gives by itself when it reaches nobody.
    fn answer_failure(&mut self, scope: Scope<'_>, options: &RelayOptions) {
        let forbidden = options.no_error_reply || self.intent.disable & disable::INTERNAL_REPLY != 0;
        if !forbidden {
            let (status, reason) = scope.ctx.failure.reply("TM");
            self.answer(scope, status, reason.as_bytes(), TagKind::Stateful);
        }
    }
}

impl Host for Sandbox {
    fn now(&self) -> Millis {
        crate::clock::now()
    }

    fn wall(&self) -> Duration {
        crate::clock::wall()
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }

    fn is_sandbox(&self) -> bool {
        true
    }

    fn sockets(&self) -> &Sockets {
        &self.endpoints.sockets
    }

    fn worker(&self) -> (usize, u32) {
        // of no worker: what modules keep for one stays as it is
        (usize::MAX, std::process::id())
    }

    fn is_connected(&self, transport: Transport, peer: SocketAddr) -> bool {
        self.runtime.streams.find(transport, peer).is_some()
    }

    fn resolve(&mut self, uri: &[u8], socket: Option<SocketId>) -> Option<Target> {
        self.runtime.resolve(&Uri::parse(uri).ok()?, socket)
    }

    fn naptr(&mut self, name: &str) -> Vec<Naptr> {
        self.runtime.naptr(name)
    }

    fn send(&mut self, target: &Target, bytes: &[u8]) -> bool {
        self.sent.push(Sent {
            why: Why::Send,
            target: Some(*target),
            bytes: bytes.to_vec(),
        });
        true
    }

    fn reply_stateless(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.answer(scope, status, reason, TagKind::Stateless)
    }

    fn reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.answer(scope, status, reason, TagKind::Stateless)
    }

    fn forward(&mut self, scope: Scope<'_>, target: Option<Target>) -> Code {
        let ctx = scope.ctx;
        match self.pass_on(ctx, target, Why::Forward) {
            Ok(()) => Code::TRUE,
            Err(failure) => {
                ctx.failure = failure;
                Code::FALSE
            }
        }
    }

    fn local_tag(&mut self, ctx: &Context) -> Vec<u8> {
        self.runtime.keys.tag(&ctx.msg, TagKind::Stateless).to_vec()
    }

    fn new_transaction(&mut self, scope: Scope<'_>) -> Code {
        Code::from(scope.ctx.msg.method() != Method::Ack)
    }

    fn check_transaction(&mut self, _: Scope<'_>) -> Matched {
        Matched::None
    }

    fn precheck_transaction(&mut self, _: &Context) -> bool {
        false
    }

    fn relay(&mut self, mut scope: Scope<'_>, options: RelayOptions) -> Code {
        // of an ACK or a CANCEL no transaction is known here: it goes on without one
        if matches!(scope.ctx.msg.method(), Method::Ack | Method::Cancel) {
            return self.forward(scope, options.target);
        }
        if self.status >= 200 {
            return Code::FALSE;
        }
        let tm = scope.script.states.get::<Tm>();
        let trying = scope.ctx.msg.method() == Method::Invite
            && self.status == 0
            && !self.intent.no_auto_100
            && !options.no_100
            && tm.is_none_or(|tm| tm.auto_inv_100);
        if trying {
            let reason = tm.map_or("Trying", |tm| &tm.auto_inv_100_reason).as_bytes();
            let scope = Scope {
                ctx: &mut *scope.ctx,
                lists: &mut *scope.lists,
                vars: &mut *scope.vars,
                ..scope
            };
            self.answer(scope, 100, reason, TagKind::Stateful);
        }
        let hops = hops(scope.ctx, &options);
        let none = hops.is_empty();
        let mut sent = false;
        for branch in hops {
            sent |= self.branch(branch, &mut scope, &options);
        }
        scope.ctx.branches.clear();
        scope.ctx.uri_is_new = false;
        if sent {
            scope.ctx.failure = Failure::None;
            return Code::TRUE;
        }
        if none {
            scope.ctx.failure = Failure::NoBranches;
        }
        self.answer_failure(scope, &options);
        Code::FALSE
    }

    fn transaction_reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.answer(scope, status, reason, TagKind::Stateful)
    }

    fn release_transaction(&mut self) {}

    fn drop_transaction(&mut self, _: u16) -> bool {
        self.transaction().is_some()
    }

    fn cancel_branches(&mut self, _: Scope<'_>, _: u32) -> Code {
        Code::TRUE
    }

    fn drop_replies(&mut self) {}

    fn intent(&mut self) -> &mut Intent {
        &mut self.intent
    }

    fn transaction(&self) -> Option<TransactionView<'_>> {
        None
    }

    fn transaction_request(&mut self) -> Option<&mut Context> {
        None
    }

    fn originate(&mut self, request: LocalRequest) -> Code {
        let next = request.dst_uri.as_deref().unwrap_or(&request.uri);
        let target = self.resolve(next, request.socket);
        let mut bytes = Vec::new();
        for part in [
            &request.method[..],
            b" ",
            &request.uri,
            b" SIP/2.0\r\n",
            &request.headers,
            b"\r\n",
            &request.body,
        ] {
            bytes.extend_from_slice(part);
        }
        self.sent.push(Sent {
            why: Why::Originate,
            target,
            bytes,
        });
        Code::TRUE
    }

    fn suspend(&mut self, _: Scope<'_>) -> Option<(u32, u32)> {
        None
    }

    fn resume(&mut self, _: (u32, u32), _: RouteId) -> Code {
        Code::TRUE
    }

    fn spawn(&mut self, _: Job) {
        // work in the background may write: it is not begun
    }

    fn http_reply(&mut self, ctx: &Context, bytes: &[u8]) -> bool {
        self.sent.push(Sent {
            why: Why::Reply,
            target: Some(reply::reply_target(ctx)),
            bytes: bytes.to_vec(),
        });
        true
    }
}

/// The targets of this relay: the Request-URI when it is new, then the appended branches.
fn hops(ctx: &mut Context, options: &RelayOptions) -> Vec<Branch> {
    let mut hops = Vec::with_capacity(1 + ctx.branches.len());
    if ctx.uri_is_new || options.target.is_some() {
        hops.push(Branch {
            uri: ctx.uri().to_vec(),
            dst_uri: ctx.dst_uri.clone(),
            path: ctx.path.clone(),
            flags: ctx.bflags,
            socket: ctx.send_socket,
            ..Branch::default()
        });
    }
    hops.append(&mut ctx.branches);
    hops
}
