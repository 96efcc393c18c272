//! All that a running script may ask of the proxy.

use super::lists::Lists;
use super::module::Code;
use super::module::Env;
use super::module::RouteKind;
use super::module::Script;
use super::vars::Vars;
use crate::proxy::branch::Branch;
use crate::proxy::context::ConnId;
use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Sockets;
use shared::net::Keepalive;
use shared::net::Naptr;
use shared::net::Secured;
use shared::net::Transport;
use shared::sip::Message;
use std::net::SocketAddr;
use std::sync::Arc;

/// Monotonic milliseconds.
pub type Millis = u64;

/// What a script runs on, without the proxy behind it: handed to [`Host`] methods that run routes themselves.
pub struct Scope<'a> {
    /// The message under way.
    pub ctx: &'a mut Context,
    /// Its `$avp` and `$xavp`.
    pub lists: &'a mut Lists,
    /// `$var` of this worker.
    pub vars: &'a mut Vars,
    /// The script that the message began with.
    pub script: &'a Script,
    /// The kind of route that runs.
    pub route: RouteKind,
}

impl<'a> Scope<'a> {
    /// What a route or a hook works in, on this proxy.
    pub fn env(self, host: &'a mut dyn Host) -> Env<'a> {
        Env {
            ctx: self.ctx,
            lists: self.lists,
            vars: self.vars,
            script: self.script,
            host,
            route: self.route,
            rc: 0,
        }
    }

    /// The same for a call that is not the last one.
    pub fn again(&mut self) -> Scope<'_> {
        Scope {
            ctx: self.ctx,
            lists: self.lists,
            vars: self.vars,
            script: self.script,
            route: self.route,
        }
    }
}

/// Routes armed for a transaction by `t_on_failure` and its kin; names are resolved to ids when they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Armed {
    /// `t_on_failure`.
    pub failure: Option<RouteId>,
    /// `t_on_reply`.
    pub reply: Option<RouteId>,
    /// `t_on_branch`.
    pub branch: Option<RouteId>,
    /// `t_on_branch_failure`.
    pub branch_failure: Option<RouteId>,
}

/// Index of a route block in its program.
pub type RouteId = u32;

/// Timer values a script sets for its transaction (`t_set_fr`, `t_set_retr`, `t_set_max_lifetime`), in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimerOverrides {
    /// Until the first provisional reply.
    pub fr: Option<u32>,
    /// Until the final reply to an INVITE.
    pub fr_inv: Option<u32>,
    /// First retransmission interval.
    pub retr_t1: Option<u32>,
    /// Largest retransmission interval.
    pub retr_t2: Option<u32>,
    /// Longest life of an INVITE transaction.
    pub max_inv: Option<u32>,
    /// Longest life of another transaction.
    pub max_noninv: Option<u32>,
}

/// What a script may see and set of the transaction it works in, or of the one that its request will create.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// Routes to run for it.
    pub armed: Armed,
    /// Its timers.
    pub timers: TimerOverrides,
    /// `t_set_auto_inv_100(0)`.
    pub no_auto_100: bool,
    /// `t_set_disable_internal_reply`, `t_set_disable_failover` and such: bits by module tm.
    pub disable: u32,
}

/// The state of one branch, as scripts and accounting see it.
#[derive(Debug, Clone, Copy)]
pub struct BranchView<'a> {
    /// Last status received; 0 none.
    pub status: u16,
    /// The branch ended by a timer (`t_branch_timeout`).
    pub timed_out: bool,
    /// Something was received on it before the reply that the route is about.
    pub replied: bool,
    /// Its Request-URI.
    pub uri: &'a [u8],
    /// Its branch flags.
    pub flags: u32,
    /// The ruid of the contact it goes to.
    pub ruid: Option<&'a [u8]>,
    /// +sip.instance of that contact.
    pub instance: Option<&'a [u8]>,
    /// Its Path vector.
    pub path: Option<&'a [u8]>,
    /// Its final reply; none when it has none, or it was made here.
    pub reply: Option<&'a Message>,
}

/// A read-only view of the current transaction.
pub struct TransactionView<'a> {
    /// Its hash index and label: `$T(id_index)`, `$T(id_label)`.
    pub id: (u32, u32),
    /// The request that made it; none while it is the message that the route works on.
    pub request: Option<&'a Context>,
    /// The last status sent upstream; 0 none.
    pub status: u16,
    /// The reply that is the best so far, in failure and reply routes: status line and message, none when made here.
    pub reply: Option<&'a Message>,
    /// Status of the best reply (`$T_reply_code`).
    pub reply_status: u16,
    /// Its reason (`$T_reply_reason`).
    pub reply_reason: &'a [u8],
    /// Branches.
    pub branches: Vec<BranchView<'a>>,
    /// First branch of the current leg: older ones were tried by an earlier serial fork.
    pub first_branch: usize,
    /// The branch that the current route is about.
    pub current_branch: usize,
    /// CANCEL was received for it.
    pub cancelled: bool,
    /// Its longest life is over.
    pub expired: bool,
    /// It was made by [`Host::originate`].
    pub local: bool,
}

/// Names a transaction that need not be the current one.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// `$T(id_index)` and `$T(id_label)`.
    Id(u32, u32),
    /// Call-ID and CSeq number of its request.
    Call(&'a [u8], u32),
}

/// What a script wants of a transaction that need not be the current one.
#[derive(Debug)]
pub enum Deed {
    /// Cancels its INVITE, sets a flag of it unless that is 0, and tells why when there is a cause (`t_cancel_callid`).
    Cancel {
        /// The flag.
        flag: u32,
        /// The status in Reason (RFC 3326).
        cause: Option<u16>,
    },
    /// Cancels one branch of its INVITE (`t_cancel_branch_idx`).
    CancelBranch(usize),
    /// Answers it (`t_reply_callid`).
    Reply(u16, Vec<u8>),
    /// Sends it to these targets, too (`t_cell_append_branches`).
    Append(Vec<Branch>),
}

/// A request that the proxy itself sends in a transaction of its own (`uac_req_send`, pings, NOTIFY).
#[derive(Default)]
pub struct LocalRequest {
    /// Its method.
    pub method: Vec<u8>,
    /// Its Request-URI.
    pub uri: Vec<u8>,
    /// Next hop; none: the Request-URI's.
    pub dst_uri: Option<Vec<u8>>,
    /// From value with its tag left out, `<sip:…>` or a URI.
    pub from: Vec<u8>,
    /// From tag; none: a new one.
    pub from_tag: Option<Vec<u8>>,
    /// To value.
    pub to: Vec<u8>,
    /// To tag, within a dialog.
    pub to_tag: Option<Vec<u8>>,
    /// Call-ID; none: a new one.
    pub call_id: Option<Vec<u8>>,
    /// CSeq number.
    pub cseq: u32,
    /// Further header lines, each ended by CRLF.
    pub headers: Vec<u8>,
    /// Body; its Content-Type is among the headers.
    pub body: Vec<u8>,
    /// Socket to send from.
    pub socket: Option<SocketId>,
    /// Its timers, where they are not tm's.
    pub timers: TimerOverrides,
    /// Whoever made it acknowledges a 2xx to its INVITE.
    pub no_ack: bool,
    /// Called once with the final reply, or with 408 and no message.
    pub done: Option<Box<dyn FnOnce(&mut LocalReply<'_>) + Send>>,
}

/// The end of a [`LocalRequest`].
pub struct LocalReply<'a> {
    /// Its status; 408 and 477 are made here.
    pub status: u16,
    /// The reply; none when made here.
    pub message: Option<&'a Message>,
    /// The request as it was sent.
    pub request: &'a [u8],
    /// The proxy, to go on with.
    pub host: &'a mut dyn Host,
    /// The script in force.
    pub script: &'a Script,
}

impl LocalReply<'_> {
    /// Works on a message in an event route's surroundings, with lists and variables of its own.
    pub fn with_message<R>(&mut self, msg: Message, work: impl FnOnce(&mut Env<'_>) -> R) -> R {
        let mut ctx = Context {
            msg,
            ..Context::default()
        };
        let (mut lists, mut vars) = (Lists::default(), Vars::default());
        work(&mut Env {
            ctx: &mut ctx,
            lists: &mut lists,
            vars: &mut vars,
            script: self.script,
            host: &mut *self.host,
            route: RouteKind::EVENT,
            rc: 0,
        })
    }
}

/// How `t_relay` and `forward` differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayOptions {
    /// A fixed next hop (`t_relay_to_udp(host, port)`).
    pub target: Option<Target>,
    /// `t_replicate`: replies are not passed on.
    pub replicate: bool,
    /// Do not answer 100.
    pub no_100: bool,
    /// Do not answer when nothing can be sent.
    pub no_error_reply: bool,
}

/// What `t_newtran` and `t_check_trans` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// Nothing: a new request.
    None,
    /// A retransmission; it was answered from the transaction.
    Retransmission,
    /// The transaction that a CANCEL or an ACK belongs to.
    Related,
    /// An ACK to a 2xx that passes end to end.
    EndToEndAck,
}

/// Work for another thread: it may block, and ends with what the message worker shall do.
pub type Job = Box<dyn FnOnce() + Send>;

/// An answer that is ready: sends it.
pub type HeldReply = Box<dyn FnOnce() + Send>;

/// The proxy, as scripts and modules see it. The live one sends; the one of `explain` only writes down.
pub trait Host {
    /// Monotonic time.
    fn now(&self) -> Millis;
    /// Wall time since 1970-01-01 UTC.
    fn wall(&self) -> std::time::Duration;
    /// Unpredictable bits.
    fn random(&mut self) -> u64;
    /// Whether nothing may leave and nothing may be changed: `explain`.
    fn is_sandbox(&self) -> bool {
        false
    }
    /// What we listen on and answer to.
    fn sockets(&self) -> &Sockets;
    /// The number of the batch that the message came in, never 0; 0 where there are no batches. What was looked up for
    /// one message of a batch holds for the others, which had arrived by then.
    fn batch(&self) -> u64 {
        0
    }
    /// Shows the messages of the batch that are still to be handled, as they came: what all of them need can be asked for
    /// at once.
    fn each_ahead(&self, visit: &mut dyn FnMut(&[u8])) {
        let _ = visit;
    }
    /// Number and process id of this worker.
    fn worker(&self) -> (usize, u32);

    /// Whether a connection to this peer is open.
    fn is_connected(&self, transport: Transport, peer: SocketAddr) -> bool {
        let _ = (transport, peer);
        false
    }
    /// Lets another port of the peer lead to this connection as well (`force_tcp_alias`).
    fn alias_connection(&mut self, conn: ConnId, port: u16) {
        let _ = (conn, port);
    }
    /// What TLS settled for a connection; none for one in the clear.
    fn secured(&self, conn: ConnId) -> Option<Arc<Secured>> {
        let _ = conn;
        None
    }
    /// Finds where a URI leads (RFC 3263); none when it cannot be resolved.
    fn resolve(&mut self, uri: &[u8], socket: Option<SocketId>) -> Option<Target>;
    /// The NAPTR records of a name (RFC 3403), asked of the name servers now; none where there are none, or no answer.
    fn naptr(&mut self, name: &str) -> Vec<Naptr> {
        let _ = name;
        Vec::new()
    }
    /// Sends bytes as they are; false when they could not be queued.
    fn send(&mut self, target: &Target, bytes: &[u8]) -> bool;
    /// Answers without a transaction (`sl_send_reply`).
    fn reply_stateless(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code;
    /// Makes an answer that some other thread sends, once it is known to be true; none where that cannot be.
    fn held_reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Option<HeldReply> {
        let _ = (scope, status, reason);
        None
    }
    /// Answers in the transaction when there is one, else without (`send_reply`).
    fn reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code;
    /// Forwards without a transaction (`forward`).
    fn forward(&mut self, scope: Scope<'_>, target: Option<Target>) -> Code;
    /// The To tag that replies to this request made here carry; made at first use.
    fn local_tag(&mut self, ctx: &Context) -> Vec<u8>;

    /// Makes the server transaction of a request (`t_newtran`); negative: it was a retransmission or failed.
    fn new_transaction(&mut self, scope: Scope<'_>) -> Code;
    /// Looks for the transaction a request belongs to, absorbing retransmissions (`t_check_trans`).
    fn check_transaction(&mut self, scope: Scope<'_>) -> Matched;
    /// Whether a transaction of this request exists already, without touching it (`t_precheck_trans`).
    fn precheck_transaction(&mut self, ctx: &Context) -> bool;
    /// Forwards in a transaction to every branch of the context (`t_relay`).
    fn relay(&mut self, scope: Scope<'_>, options: RelayOptions) -> Code;
    /// Answers in the transaction (`t_reply`).
    fn transaction_reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code;
    /// Lets go of a transaction that needs nothing more of this script (`t_release`).
    fn release_transaction(&mut self);
    /// Ends the transaction with this status and sends nothing (`t_drop`); false when there is none.
    fn drop_transaction(&mut self, status: u16) -> bool {
        let _ = status;
        false
    }
    /// Does something to another transaction, now or soon after; false when there is none of that name.
    fn leave(&mut self, named: Named<'_>, deed: Deed) -> bool {
        let _ = (named, deed);
        false
    }
    /// Cancels pending branches (`t_cancel_branches`): which ones by bit.
    fn cancel_branches(&mut self, scope: Scope<'_>, which: u32) -> Code;
    /// Forgets the replies of the branches tried so far (`t_drop_replies`).
    fn drop_replies(&mut self);
    /// What routes and timers the transaction shall have: of the current one, else of the one to come.
    fn intent(&mut self) -> &mut Intent;
    /// The current transaction.
    fn transaction(&self) -> Option<TransactionView<'_>>;
    /// What arrived and made the transaction that a reply or a CANCEL belongs to, while none is current.
    fn related_request(&self, ctx: &Context) -> Option<Context> {
        let _ = ctx;
        None
    }
    /// The lists of the current transaction, while a reply runs its own.
    fn transaction_request(&mut self) -> Option<&mut Context>;
    /// Sends a request of our own.
    fn originate(&mut self, request: LocalRequest) -> Code;
    /// Suspends the transaction: (index, label) to continue it with (`t_suspend`).
    fn suspend(&mut self, scope: Scope<'_>) -> Option<(u32, u32)>;
    /// Goes on with a suspended transaction in a route of the given name (`t_continue`).
    fn resume(&mut self, id: (u32, u32), route: RouteId) -> Code;
    /// Runs work that may block on another thread.
    fn spawn(&mut self, job: Job);
    /// An HTTP reply on the connection that a request came by (`xhttp_reply`).
    fn http_reply(&mut self, ctx: &Context, bytes: &[u8]) -> bool;
    /// The same, after which the connection goes on in WebSocket; false when it cannot (`ws_handle_handshake`).
    fn upgrade(&mut self, ctx: &Context, answer: &[u8], keepalive: &Keepalive) -> bool {
        let _ = (ctx, answer, keepalive);
        false
    }
    /// Ends a WebSocket connection; false when there is none of this number (`ws_close`).
    fn close_websocket(&mut self, conn: ConnId, status: u16, reason: &str) -> bool {
        let _ = (conn, status, reason);
        false
    }
}
