//! One transaction as the runtime keeps it: the server machine, a client machine for each branch, and what they sent.

use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::script::host::Armed;
use crate::script::host::Intent;
use crate::script::host::LocalReply;
use crate::script::lists::Lists;
use crate::script::module::Script;
use crate::transaction::action::Actions;
use crate::transaction::action::ClientEvent;
use crate::transaction::action::ServerEvent;
use crate::transaction::invite_client::InviteClient;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::non_invite_client::NonInviteClient;
use crate::transaction::non_invite_server::NonInviteServer;
use crate::transaction::table::Locked;
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use parking_lot::Mutex;
use shared::sip::Message;
use shared::sip::Method;
use smallvec::SmallVec;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Arc;

/// The server side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    /// RFC 3261 §17.2.1.
    Invite(InviteServer),
    /// RFC 3261 §17.2.2.
    NonInvite(NonInviteServer),
    /// A request of our own has no server side.
    Local,
}

impl Server {
    pub(crate) fn on(&mut self, event: ServerEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self {
            Self::Invite(machine) => machine.on(event, now, timers, reliable),
            Self::NonInvite(machine) => machine.on(event, now, timers, reliable),
            Self::Local => Actions::NONE,
        }
    }

    pub(crate) fn next_deadline(&self) -> Millis {
        match self {
            Self::Invite(machine) => machine.next_deadline(),
            Self::NonInvite(machine) => machine.next_deadline(),
            Self::Local => NEVER,
        }
    }

    /// Whether it is answered, with no timer running but the one that ends it.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_answered() && !machine.repeats(),
            Self::NonInvite(machine) => machine.is_answered(),
            Self::Local => true,
        }
    }

    /// Whether the last reply may have to be sent again.
    pub(crate) fn repeats(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.repeats(),
            Self::NonInvite(machine) => machine.repeats(),
            Self::Local => false,
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.state() == crate::transaction::invite_server::State::Terminated,
            Self::NonInvite(machine) => {
                machine.state() == crate::transaction::non_invite_server::State::Terminated
            }
            Self::Local => true,
        }
    }
}

/// The client side of one branch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    /// RFC 3261 §17.1.1.
    Invite(InviteClient),
    /// RFC 3261 §17.1.2.
    NonInvite(NonInviteClient),
}

impl Client {
    pub(crate) fn new(invite: bool) -> Self {
        if invite {
            Self::Invite(InviteClient::new())
        } else {
            Self::NonInvite(NonInviteClient::new())
        }
    }

    pub(crate) fn on(&mut self, event: ClientEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self {
            Self::Invite(machine) => machine.on(event, now, timers, reliable),
            Self::NonInvite(machine) => machine.on(event, now, timers, reliable),
        }
    }

    /// Ends a machine that has not begun.
    pub(crate) fn abandon(&mut self) {
        self.on(ClientEvent::Cancel, 0, &Timers::default(), false);
    }

    pub(crate) fn next_deadline(&self) -> Millis {
        match self {
            Self::Invite(machine) => machine.next_deadline(),
            Self::NonInvite(machine) => machine.next_deadline(),
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_pending(),
            Self::NonInvite(machine) => machine.is_pending(),
        }
    }

    /// Whether its request may have to be sent again, acknowledged or cancelled.
    pub(crate) fn needs_request(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.needs_request(),
            Self::NonInvite(machine) => machine.is_pending(),
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.state() == crate::transaction::invite_client::State::Terminated,
            Self::NonInvite(machine) => {
                machine.state() == crate::transaction::non_invite_client::State::Terminated
            }
        }
    }
}

/// A CANCEL under way on a branch.
#[derive(Debug)]
pub(crate) struct Cancelling {
    pub(crate) client: NonInviteClient,
    pub(crate) sent: Vec<u8>,
}

/// The contact of a branch, besides its URI.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) ruid: Option<Vec<u8>>,
    /// Its +sip.instance.
    pub(crate) instance: Option<Vec<u8>>,
    /// Its Path vector.
    pub(crate) path: Option<Vec<u8>>,
}

/// One target of a forwarded request.
#[derive(Debug)]
pub(crate) struct ClientBranch {
    pub(crate) client: Client,
    pub(crate) target: Target,
    /// The request as it was sent: retransmitted as it is, and the base of ACK and CANCEL; empty once it is neither.
    pub(crate) sent: Vec<u8>,
    /// Branch flags.
    pub(crate) flags: u32,
    /// Last status; 0 none.
    pub(crate) status: u16,
    /// The final reply with the edits of its onreply route; none when it was made here.
    pub(crate) reply: Option<Box<Context>>,
    /// Ended by a timer.
    pub(crate) timed_out: bool,
    /// Something was received before the reply that a route is about.
    pub(crate) replied: bool,
    /// The routes for its replies and its failure, as they were armed when the branch was made.
    pub(crate) armed: Armed,
    /// Its final reply is not to be chosen any more (`t_drop_replies`).
    pub(crate) dropped: bool,
    /// What else is known of the contact that it goes to; boxed, for a transaction has to stay small.
    pub(crate) contact: Option<Box<Reached>>,
    pub(crate) cancelling: Option<Box<Cancelling>>,
}

impl ClientBranch {
    /// A branch whose request was written and has no reply yet.
    pub(crate) fn new(client: Client, target: Target, sent: Vec<u8>, flags: u32) -> Self {
        Self {
            client,
            target,
            sent,
            flags,
            status: 0,
            reply: None,
            timed_out: false,
            replied: false,
            armed: Armed::default(),
            dropped: false,
            contact: None,
            cancelling: None,
        }
    }

    /// A branch that was never sent, and has failed for want of time: what ends a wait for `t_continue`.
    pub(crate) fn unsent(invite: bool, target: Target) -> Self {
        let mut client = Client::new(invite);
        client.abandon();
        Self {
            status: 408,
            timed_out: true,
            ..Self::new(client, target, Vec::new(), 0)
        }
    }

    /// Its Request-URI, as long as the request is kept.
    pub(crate) fn uri(&self) -> &[u8] {
        self.sent.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
    }
}

/// What to do when a request of our own has its final reply.
pub(crate) type Done = Box<dyn FnOnce(&mut LocalReply<'_>) + Send>;

/// What kind of request it is, as far as that matters to its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invite,
    Cancel,
    Other,
}

impl From<Method<'_>> for Kind {
    fn from(method: Method<'_>) -> Self {
        match method {
            Method::Invite => Self::Invite,
            Method::Cancel => Self::Cancel,
            _ => Self::Other,
        }
    }
}

/// One transaction.
pub(crate) struct Transaction {
    pub(crate) id: super::TransactionId,
    pub(crate) kind: Kind,
    pub(crate) server: Server,
    /// The request; none while the route that handles it holds it.
    pub(crate) request: Option<Box<Context>>,
    pub(crate) lists: Lists,
    pub(crate) intent: Intent,
    pub(crate) timers: Timers,
    pub(crate) branches: SmallVec<[ClientBranch; 1]>,
    /// First branch of the current leg of serial forking.
    pub(super) leg: u8,
    /// The branch that a route is about.
    pub(crate) current_branch: usize,
    /// The branch whose reply went upstream last.
    pub(crate) relayed_branch: Option<u8>,
    /// Status and bytes of the last reply sent upstream.
    pub(crate) status: u16,
    pub(crate) reply: Vec<u8>,
    pub(crate) reply_to: Target,
    /// CANCEL was received.
    pub(crate) cancelled: bool,
    /// Replies go nowhere.
    pub(crate) replicate: bool,
    /// How long it waits for `t_continue`; [`NEVER`] when it does not.
    pub(crate) suspended: Millis,
    /// Answered, and only there to absorb late copies.
    pub(crate) waiting: bool,
    /// Its longest life is over.
    pub(crate) expired: bool,
    pub(crate) script: Arc<Script>,
    pub(crate) done: Option<Done>,
    /// The deadline the timer is armed for.
    pub(crate) armed: Millis,
}

impl Transaction {
    /// A transaction that has neither sent nor answered anything.
    pub(crate) fn new(
        id: super::TransactionId,
        kind: Kind,
        server: Server,
        timers: Timers,
        reply_to: Target,
        script: &Arc<Script>,
    ) -> Self {
        Self {
            id,
            kind,
            server,
            request: None,
            lists: Lists::default(),
            intent: Intent::default(),
            timers,
            branches: SmallVec::new(),
            leg: 0,
            current_branch: 0,
            relayed_branch: None,
            status: 0,
            reply: Vec::new(),
            reply_to,
            cancelled: false,
            replicate: false,
            suspended: NEVER,
            waiting: false,
            expired: false,
            script: Arc::clone(script),
            done: None,
            armed: NEVER,
        }
    }

    /// Whether it is an INVITE's.
    pub(crate) fn is_invite(&self) -> bool {
        self.kind == Kind::Invite
    }

    /// Whether it waits for `t_continue`.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended != NEVER
    }

    /// The first branch of the current leg of serial forking.
    pub(crate) fn leg(&self) -> usize {
        self.leg.into()
    }

    /// Begins a leg at this branch.
    pub(crate) fn set_leg(&mut self, first: usize) {
        self.leg = u8::try_from(first).unwrap_or(u8::MAX);
    }

    /// Whether any branch of the current leg is unanswered.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_suspended() || self.branches.iter().any(|branch| branch.client.is_pending())
    }

    /// Whether its last reply was sent and no route will see another one.
    ///
    /// A 2xx to an INVITE may be followed by others, which go through the reply route (RFC 3261 §13.2.2.4).
    pub(crate) fn is_answered(&self) -> bool {
        let may_follow = self.is_invite()
            && self.status < 300
            && self.branches.iter().any(|branch| branch.armed.reply.is_some());
        self.status >= 200 && !may_follow && !self.is_pending()
    }

    /// When something is due next.
    pub(crate) fn next_deadline(&self) -> Millis {
        let branches = self.branches.iter().map(|branch| {
            let cancel = branch
                .cancelling
                .as_ref()
                .map_or(NEVER, |c| c.client.next_deadline());
            branch.client.next_deadline().min(cancel)
        });
        let first = self.server.next_deadline().min(self.suspended);
        branches.fold(first, Millis::min)
    }

    /// When it ends, once it has nothing to do but to absorb late copies: then a [`Finished`] may take its place.
    pub(crate) fn end(&self) -> Option<Millis> {
        let idle = self.is_answered()
            && self.server.is_settled()
            && self.lists.is_empty()
            && self
                .branches
                .iter()
                .all(|branch| !branch.client.needs_request() && branch.cancelling.is_none());
        let deadlines = self.branches.iter().map(|branch| branch.client.next_deadline());
        let last = deadlines
            .chain([self.server.next_deadline()])
            .filter(|at| *at != NEVER)
            .max();
        last.filter(|_| idle)
    }

    /// Whether nothing can happen to it any more.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_suspended()
            && self.server.is_terminated()
            && self
                .branches
                .iter()
                .all(|branch| branch.client.is_terminated() && branch.cancelling.is_none())
    }

    /// The Request-URI of a branch, as long as its request is kept.
    pub(crate) fn uri_of(&self, branch: usize) -> Option<Vec<u8>> {
        let uri = self.branches.get(branch)?.uri();
        (!uri.is_empty()).then(|| uri.to_vec())
    }

    /// The Request-URI that accounting is told: of the branch whose reply went upstream last, or else of the one at hand.
    ///
    /// Kamailio: that is so also when the answer is made here.
    pub(crate) fn heard_uri(&self) -> Option<Vec<u8>> {
        let last = self
            .relayed_branch
            .map(usize::from)
            .filter(|last| *last >= self.leg());
        self.uri_of(last.unwrap_or(self.current_branch))
    }

    /// The reply of the branch a route is about.
    pub(crate) fn current_reply(&self) -> Option<&Message> {
        self.branches
            .get(self.current_branch)?
            .reply
            .as_ref()
            .map(|ctx| &ctx.msg)
    }
}

/// What is left of a transaction that was answered.
pub(crate) struct Finished {
    pub(crate) id: super::TransactionId,
    /// It was an INVITE's and accepted: other 2xx may follow, and go upstream as well (RFC 6026 §7.2).
    pub(crate) accepted: bool,
    /// The reply that answers further copies of the request; empty for an INVITE.
    pub(crate) reply: Box<[u8]>,
    pub(crate) reply_to: Target,
    /// When late copies are no longer expected.
    pub(crate) end: Millis,
}

/// What the table holds.
pub(crate) enum Slot {
    /// A transaction under way.
    Active(Box<Transaction>),
    /// Its rest.
    Finished(Finished),
}

impl Slot {
    /// The transaction, unless it is finished.
    pub(crate) fn active(&self) -> Option<&Transaction> {
        match self {
            Self::Active(transaction) => Some(transaction),
            Self::Finished(_) => None,
        }
    }

    /// Whether it came by this socket, or waits for an answer at it.
    pub(crate) fn uses(&self, socket: SocketId) -> bool {
        let (reply_to, branches) = match self {
            Self::Active(t) if t.is_over() => return false,
            Self::Active(t) => (&t.reply_to, &t.branches[..]),
            Self::Finished(rest) => (&rest.reply_to, &[][..]),
        };
        let mut targets = branches.iter().map(|branch| &branch.target).chain([reply_to]);
        targets.any(|target| target.socket == Some(socket))
    }
}

/// A transaction under way, locked.
pub(crate) struct Guard(Locked<Slot>);

/// The rest of a transaction, locked.
pub(crate) struct Rest(Locked<Slot>);

impl Guard {
    /// Waits for a transaction; an error when it is finished.
    pub(crate) fn lock(slot: &Arc<Mutex<Slot>>) -> Result<Self, Rest> {
        Self::try_from(slot.lock_arc())
    }

    /// Leaves only the rest of it, and gives the other messages back.
    pub(crate) fn finish(mut self, end: Millis) {
        let rest = Finished {
            id: self.id,
            accepted: self.is_invite() && self.status / 100 == 2,
            reply: std::mem::take(&mut self.reply).into_boxed_slice(),
            reply_to: self.reply_to,
            end,
        };
        *self.0 = Slot::Finished(rest);
    }
}

impl TryFrom<Locked<Slot>> for Guard {
    type Error = Rest;

    fn try_from(slot: Locked<Slot>) -> Result<Self, Rest> {
        match &*slot {
            Slot::Active(_) => Ok(Self(slot)),
            Slot::Finished(_) => Err(Rest(slot)),
        }
    }
}

impl Deref for Guard {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        match &*self.0 {
            Slot::Active(transaction) => transaction,
            Slot::Finished(_) => unreachable!("a guard is made for an active slot, and ends with it"),
        }
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Transaction {
        match &mut *self.0 {
            Slot::Active(transaction) => transaction,
            Slot::Finished(_) => unreachable!("a guard is made for an active slot, and ends with it"),
        }
    }
}

impl Deref for Rest {
    type Target = Finished;

    fn deref(&self) -> &Finished {
        match &*self.0 {
            Slot::Finished(rest) => rest,
            Slot::Active(_) => unreachable!("a finished slot stays so"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call leaves two rests for seconds after it ended.
    #[test]
    fn transactions_are_small() {
        assert!(size_of::<Slot>() <= 104, "{}", size_of::<Slot>());
        assert!(size_of::<Transaction>() <= 608, "{}", size_of::<Transaction>());
    }
}
