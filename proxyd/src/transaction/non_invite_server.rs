//! Non-INVITE server transaction: RFC 3261 §17.2.2, Figure 8.

use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::ServerEvent;
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use crate::transaction::timer::after;

/// The states of Figure 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No response yet.
    Trying,
    /// Answered provisionally.
    Proceeding,
    /// Answered finally.
    Completed,
    /// Finished.
    Terminated,
}

/// A request other than INVITE and ACK from upstream.
#[derive(Clone, Copy, Debug)]
pub struct NonInviteServer {
    state: State,
    end: Millis,
}

impl NonInviteServer {
    /// Makes the transaction of a request that arrived at `now`.
    pub fn new(now: Millis, timers: &Timers) -> Self {
        Self {
            state: State::Trying,
            end: after(now, timers.max_noninv_lifetime),
        }
    }

    /// The state the machine is in.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a final response was sent.
    pub fn is_answered(&self) -> bool {
        matches!(self.state, State::Completed | State::Terminated)
    }

    /// Whether the last response may have to be sent again.
    pub fn repeats(&self) -> bool {
        self.state != State::Terminated
    }

    /// Changes the moment at which an unanswered transaction is given up (`t_set_max_lifetime`).
    pub fn set_lifetime(&mut self, at: Millis) {
        if !self.is_answered() {
            self.end = at.min(NEVER - 1);
        }
    }

    /// When the machine next wants a [`ServerEvent::Tick`], or [`NEVER`].
    pub fn next_deadline(&self) -> Millis {
        self.end
    }

    /// Takes one event and tells what to do.
    pub fn on(&mut self, event: ServerEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self.state {
            State::Trying | State::Proceeding => match event {
                ServerEvent::Request if self.state == State::Proceeding => {
                    Actions::of(&[Action::RetransmitResponse])
                }
                ServerEvent::Respond(status, _) => self.respond(status, now, timers, reliable),
                ServerEvent::Tick if now >= self.end => {
                    self.end = NEVER;
                    Actions::of(&[Action::Lifetime])
                }
                ServerEvent::TransportError if self.state == State::Proceeding => {
                    Actions::of(&[Action::TransportError, self.terminate()])
                }
                ServerEvent::Request | ServerEvent::Ack | ServerEvent::Tick | ServerEvent::TransportError => {
                    Actions::NONE
                }
            },
            State::Completed => match event {
                ServerEvent::Request => Actions::of(&[Action::RetransmitResponse]),
                ServerEvent::Tick if now >= self.end => Actions::of(&[self.terminate()]),
                ServerEvent::TransportError => Actions::of(&[Action::TransportError, self.terminate()]),
                ServerEvent::Respond(..) | ServerEvent::Ack | ServerEvent::Tick => Actions::NONE,
            },
            State::Terminated => Actions::NONE,
        }
    }

    fn respond(&mut self, status: u16, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        let actions = Actions::of(&[Action::SendResponse]);
        match status {
            100..=199 => {
                self.state = State::Proceeding;
                actions
            }
            200..=699 => match timers.timer_j(reliable) {
                0 => actions.and(self.terminate()),
                linger => {
                    self.state = State::Completed;
                    self.end = after(now, linger);
                    actions
                }
            },
            0..=99 | 700.. => Actions::NONE,
        }
    }

    fn terminate(&mut self) -> Action {
        self.state = State::Terminated;
        self.end = NEVER;
        Action::Terminated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::action::Action as A;
    use crate::transaction::action::Origin;
    use crate::transaction::tests::Row;
    use crate::transaction::tests::follow;
    use ServerEvent::{Ack, Request, Respond, Tick, TransportError};
    use proptest::prelude::*;

    const UDP: bool = false;
    const TCP: bool = true;

    fn send(status: u16) -> ServerEvent {
        Respond(status, Origin::Relayed)
    }

    #[test]
    fn figure_8() {
        use State::{Completed, Proceeding, Terminated, Trying};
        let rows: &[Row<'_, ServerEvent, State>] = &[
            // Trying
            (&[(0, Request)], UDP, Trying, &[]),
            (&[(0, Ack)], UDP, Trying, &[]),
            (&[(0, TransportError)], UDP, Trying, &[]),
            (&[(31_999, Tick)], UDP, Trying, &[]),
            (&[(32_000, Tick)], UDP, Trying, &[A::Lifetime]),
            (&[(32_000, Tick), (64_000, Tick)], UDP, Trying, &[]),
            (
                &[(32_000, Tick), (32_000, send(408))],
                UDP,
                Completed,
                &[A::SendResponse],
            ),
            (&[(0, send(100))], UDP, Proceeding, &[A::SendResponse]),
            (&[(0, send(200))], UDP, Completed, &[A::SendResponse]),
            (&[(0, send(503))], UDP, Completed, &[A::SendResponse]),
            (
                &[(0, send(503))],
                TCP,
                Terminated,
                &[A::SendResponse, A::Terminated],
            ),
            (&[(0, send(7))], UDP, Trying, &[]),
            // Proceeding
            (
                &[(0, send(100)), (9, Request)],
                UDP,
                Proceeding,
                &[A::RetransmitResponse],
            ),
            (
                &[(0, send(100)), (9, send(100))],
                UDP,
                Proceeding,
                &[A::SendResponse],
            ),
            (
                &[(0, send(100)), (9, send(404))],
                UDP,
                Completed,
                &[A::SendResponse],
            ),
            (
                &[(0, send(100)), (9, send(404))],
                TCP,
                Terminated,
                &[A::SendResponse, A::Terminated],
            ),
            (
                &[(0, send(100)), (9, TransportError)],
                UDP,
                Terminated,
                &[A::TransportError, A::Terminated],
            ),
            (&[(0, send(100)), (32_000, Tick)], UDP, Proceeding, &[A::Lifetime]),
            // Completed
            (
                &[(0, send(200)), (9, Request)],
                UDP,
                Completed,
                &[A::RetransmitResponse],
            ),
            (&[(0, send(200)), (9, send(200))], UDP, Completed, &[]),
            (&[(0, send(200)), (9, Ack)], UDP, Completed, &[]),
            (
                &[(0, send(200)), (9, TransportError)],
                UDP,
                Terminated,
                &[A::TransportError, A::Terminated],
            ),
            (&[(0, send(200)), (4_999, Tick)], UDP, Completed, &[]),
            (
                &[(0, send(200)), (5_000, Tick)],
                UDP,
                Terminated,
                &[A::Terminated],
            ),
            // Terminated
            (
                &[(0, send(200)), (5_000, Tick), (5_001, Request)],
                UDP,
                Terminated,
                &[],
            ),
            (
                &[(0, send(200)), (5_000, Tick), (5_001, send(200))],
                UDP,
                Terminated,
                &[],
            ),
            (
                &[(0, send(200)), (5_000, Tick), (9_001, Tick)],
                UDP,
                Terminated,
                &[],
            ),
        ];
        follow(
            rows,
            || NonInviteServer::new(0, &Timers::default()),
            |machine, event, now, reliable| machine.on(event, now, &Timers::default(), reliable),
            NonInviteServer::state,
        );
    }

    proptest! {
        #[test]
        fn any_order_of_events_is_survived(
            events in prop::collection::vec(
                (0..20_000u64, prop_oneof![
                    Just(Request), Just(Ack), Just(Tick), Just(TransportError), any::<u16>().prop_map(send), (100..700u16).prop_map(send),
                ]), 1..60),
            reliable in any::<bool>(),
        ) {
            let timers = Timers::default();
            let (mut machine, mut now, mut finals) = (NonInviteServer::new(0, &timers), 0, 0);
            for (step, event) in events {
                now += step;
                let (before, kept) = (machine.state(), machine.repeats());
                let actions = machine.on(event, now, &timers, reliable);
                prop_assert!(kept || !actions.contains(A::RetransmitResponse));
                if before == State::Terminated {
                    prop_assert!(actions.is_empty());
                }
                if let (Respond(200..=699, _), true) = (event, actions.contains(A::SendResponse)) {
                    finals += 1;
                }
                prop_assert!(finals <= 1);
                prop_assert!(!actions.contains(A::RetransmitResponse) || event == Request);
            }
        }
    }
}
