//! What enters and leaves the machines of RFC 3261 §17: events in, a small set of actions out.

use std::fmt;

/// What happens to a client transaction (one branch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The request is ready to leave; the first event of every branch.
    Start,
    /// A response with this status arrived.
    Response(u16),
    /// The branch is no longer wanted: CANCEL it as soon as that is allowed.
    Cancel,
    /// Time has passed; deadlines may have come.
    Tick,
    /// The longest life of the transaction is over: the branch ends as by its own timer.
    Expire,
    /// The transport could not deliver the last message.
    TransportError,
}

/// What happens to a server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// The request arrived once more.
    Request,
    /// Its ACK arrived, either that of a negative response or, matched by dialog, that of a 2xx.
    Ack,
    /// The transaction user sends a response with this status.
    Respond(u16, Origin),
    /// Time has passed; deadlines may have come.
    Tick,
    /// The transport could not deliver the last response.
    TransportError,
}

/// Who made a response, which decides who retransmits a 2xx to INVITE (RFC 3261 §13.3.1.4, §16.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This server: it repeats its 2xx until the ACK.
    Local,
    /// A server downstream, which repeats the 2xx itself.
    Relayed,
}

/// One thing a machine asks for; the order of the variants is the order in which to do them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// Send the request of the branch for the first time.
    SendRequest,
    /// Send the same request again.
    RetransmitRequest,
    /// Send the ACK for the response that just arrived (RFC 3261 §17.1.1.3).
    SendAck,
    /// Start a CANCEL for the branch (RFC 3261 §9.1).
    SendCancel,
    /// Send the response the transaction user gave.
    SendResponse,
    /// Send the last response again.
    RetransmitResponse,
    /// Hand the message that just arrived to the transaction user.
    PassUp,
    /// Tell the user that no answer came: a 408 of the branch, or the missing ACK of a server transaction.
    Timeout,
    /// Tell the user that the transport failed: a 503 of the branch.
    TransportError,
    /// Tell the user that the transaction outlived `max_inv_lifetime` or `max_noninv_lifetime`.
    Lifetime,
    /// The machine is finished and will ask for nothing more.
    Terminated,
}

impl Action {
    const ALL: [Self; 11] = [
        Self::SendRequest,
        Self::RetransmitRequest,
        Self::SendAck,
        Self::SendCancel,
        Self::SendResponse,
        Self::RetransmitResponse,
        Self::PassUp,
        Self::Timeout,
        Self::TransportError,
        Self::Lifetime,
        Self::Terminated,
    ];
}

/// The actions that follow one event: a set, each at most once, done in the order of [`Action`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Actions(u16);

impl Actions {
    /// Nothing to do.
    pub const NONE: Self = Self(0);

    /// Makes a set of these actions.
    pub const fn of(actions: &[Action]) -> Self {
        let mut bits = 0;
        let mut rest = actions;
        while let [first, tail @ ..] = rest {
            bits |= 1 << *first as u16;
            rest = tail;
        }
        Self(bits)
    }

    /// Adds one action.
    pub const fn and(self, action: Action) -> Self {
        Self(self.0 | 1 << action as u16)
    }

    /// Whether an action is asked for.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & 1 << action as u16 != 0
    }

    /// Whether nothing is asked for.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions in the order in which to do them.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL
            .into_iter()
            .filter(move |action| self.contains(*action))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterates_in_the_order_of_the_variants() {
        let set = Actions::of(&[Action::Terminated, Action::PassUp, Action::SendAck]);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Action::SendAck, Action::PassUp, Action::Terminated]
        );
        assert_eq!(format!("{set:?}"), "{SendAck, PassUp, Terminated}");
        assert!(Actions::NONE.is_empty() && !set.contains(Action::Timeout));
        assert_eq!(
            Action::ALL.iter().map(|a| 1 << *a as u16).sum::<u16>(),
            (1 << Action::ALL.len()) - 1
        );
    }
}
