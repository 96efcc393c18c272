//! One transaction as the runtime keeps it: the server machine, a client machine for each branch, and what they sent.

use crate::proxy::context::Context;
use crate::proxy::context::Target;
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
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use shared::sip::Message;
use smallvec::SmallVec;
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

/// One target of a forwarded request.
#[derive(Debug)]
pub(crate) struct ClientBranch {
    pub(crate) client: Client,
    pub(crate) target: Target,
    /// The request as it was sent: retransmitted as it is, and the base of ACK and CANCEL.
    pub(crate) sent: Vec<u8>,
    /// Its Request-URI.
    pub(crate) uri: Vec<u8>,
    /// Branch flags.
    pub(crate) flags: u32,
    /// Last status; 0 none.
    pub(crate) status: u16,
    /// The final reply with the edits of its onreply route; none when it was made here.
    pub(crate) reply: Option<Box<Context>>,
    /// Ended by a timer.
    pub(crate) timed_out: bool,
    /// Something was received.
    pub(crate) replied: bool,
    /// Its final reply is not to be chosen any more (`t_drop_replies`).
    pub(crate) dropped: bool,
    pub(crate) cancelling: Option<Box<Cancelling>>,
}

impl ClientBranch {
    pub(crate) fn reliable(&self) -> bool {
        self.target.transport != shared::net::Transport::Udp
    }
}

/// What to do when a request of our own has its final reply.
pub(crate) type Done = Box<dyn FnOnce(&mut LocalReply<'_>) + Send>;

/// One transaction.
pub(crate) struct Transaction {
    pub(crate) id: super::TransactionId,
    pub(crate) invite: bool,
    pub(crate) server: Server,
    /// The request; none while the route that handles it holds it.
    pub(crate) request: Option<Box<Context>>,
    pub(crate) lists: Lists,
    pub(crate) intent: Intent,
    pub(crate) timers: Timers,
    pub(crate) branches: SmallVec<[ClientBranch; 1]>,
    /// First branch of the current leg of serial forking.
    pub(crate) leg: usize,
    /// The branch that a route is about.
    pub(crate) current_branch: usize,
    /// Status and bytes of the last reply sent upstream.
    pub(crate) status: u16,
    pub(crate) reply: Vec<u8>,
    pub(crate) reply_to: Target,
    /// CANCEL was received.
    pub(crate) cancelled: bool,
    /// Replies go nowhere.
    pub(crate) replicate: bool,
    /// Waiting for `t_continue`.
    pub(crate) suspended: bool,
    pub(crate) script: Arc<Script>,
    pub(crate) done: Option<Done>,
    /// The deadline the timer is armed for.
    pub(crate) armed: Millis,
}

impl Transaction {
    /// Whether upstream is reached by a stream.
    pub(crate) fn reliable(&self) -> bool {
        self.reply_to.transport != shared::net::Transport::Udp
    }

    /// Whether any branch of the current leg is unanswered.
    pub(crate) fn is_pending(&self) -> bool {
        self.suspended || self.branches.iter().any(|branch| branch.client.is_pending())
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
        branches.fold(self.server.next_deadline(), Millis::min)
    }

    /// Whether nothing can happen to it any more.
    pub(crate) fn is_over(&self) -> bool {
        !self.suspended
            && self.server.is_terminated()
            && self
                .branches
                .iter()
                .all(|branch| branch.client.is_terminated() && branch.cancelling.is_none())
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
