//! Non-INVITE client transaction: RFC 3261 §17.1.2, Figure 6.

use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::ClientEvent;
use crate::transaction::repeat::Repeat;
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use crate::transaction::timer::after;

/// The states of Figure 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not sent yet.
    Initial,
    /// Sent, no response.
    Trying,
    /// Answered provisionally.
    Proceeding,
    /// Answered finally; repeated responses are absorbed.
    Completed,
    /// Finished.
    Terminated,
}

/// One branch of a forwarded request other than INVITE, or a CANCEL of our own.
#[derive(Clone, Copy, Debug)]
pub struct NonInviteClient {
    state: State,
    retransmit: Repeat,
    end: Millis,
}

impl Default for NonInviteClient {
    fn default() -> Self {
        Self::new()
    }
}

impl NonInviteClient {
    /// Makes a branch that waits for [`ClientEvent::Start`].
    pub fn new() -> Self {
        Self {
            state: State::Initial,
            retransmit: Repeat::OFF,
            end: NEVER,
        }
    }

    /// The state the machine is in.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a final response, or none, is still to come.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Initial | State::Trying | State::Proceeding)
    }

    /// When the machine next wants a [`ClientEvent::Tick`], or [`NEVER`].
    pub fn next_deadline(&self) -> Millis {
        self.retransmit.at().min(self.end)
    }

    /// Takes one event and tells what to do.
    pub fn on(&mut self, event: ClientEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self.state {
            State::Initial => self.start(event, now, timers, reliable),
            State::Trying | State::Proceeding => match event {
                ClientEvent::Response(status) => self.answered(status, now, timers, reliable),
                ClientEvent::Tick => self.tick(now, timers),
                ClientEvent::Expire => Actions::of(&[Action::Timeout, self.terminate()]),
                ClientEvent::TransportError => Actions::of(&[Action::TransportError, self.terminate()]),
                // RFC 3261 §9.1: nothing but an INVITE is cancelled.
                ClientEvent::Cancel | ClientEvent::Start => Actions::NONE,
            },
            State::Completed => match event {
                ClientEvent::Tick if now >= self.end => Actions::of(&[self.terminate()]),
                ClientEvent::Tick
                | ClientEvent::Expire
                | ClientEvent::Response(_)
                | ClientEvent::TransportError
                | ClientEvent::Cancel
                | ClientEvent::Start => Actions::NONE,
            },
            State::Terminated => Actions::NONE,
        }
    }

    fn start(&mut self, event: ClientEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match event {
            ClientEvent::Start => {
                self.state = State::Trying;
                self.end = after(now, timers.timer_f());
                if !reliable {
                    self.retransmit = Repeat::from(now, timers);
                }
                Actions::of(&[Action::SendRequest])
            }
            ClientEvent::Cancel => Actions::of(&[self.terminate()]),
            ClientEvent::Response(_)
            | ClientEvent::Tick
            | ClientEvent::Expire
            | ClientEvent::TransportError => Actions::NONE,
        }
    }

    fn answered(&mut self, status: u16, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match status {
            100..=199 => {
                if self.state == State::Trying && !reliable {
                    // RFC 3261 §17.1.2.2: from now on the request is repeated every T2, but slowly, not never.
                    self.retransmit.slow_down(timers);
                }
                self.state = State::Proceeding;
                Actions::of(&[Action::PassUp])
            }
            200..=699 => {
                self.retransmit = Repeat::OFF;
                let actions = Actions::of(&[Action::PassUp]);
                match timers.timer_k(reliable) {
                    0 => actions.and(self.terminate()),
                    linger => {
                        self.state = State::Completed;
                        self.end = after(now, linger);
                        actions
                    }
                }
            }
            0..=99 | 700.. => Actions::NONE,
        }
    }

    fn tick(&mut self, now: Millis, timers: &Timers) -> Actions {
        if now >= self.end {
            return Actions::of(&[Action::Timeout, self.terminate()]);
        }
        if self.retransmit.is_due(now, timers) {
            return Actions::of(&[Action::RetransmitRequest]);
        }
        Actions::NONE
    }

    fn terminate(&mut self) -> Action {
        self.state = State::Terminated;
        self.retransmit = Repeat::OFF;
        self.end = NEVER;
        Action::Terminated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::action::Action as A;
    use crate::transaction::tests::Row;
    use crate::transaction::tests::follow;
    use ClientEvent::{Cancel, Expire, Response as R, Start, Tick, TransportError};
    use proptest::prelude::*;

    const UDP: bool = false;
    const TCP: bool = true;

    #[test]
    fn figure_6() {
        use State::{Completed, Initial, Proceeding, Terminated, Trying};
        let rows: &[Row<'_, ClientEvent, State>] = &[
            (&[(0, Start)], UDP, Trying, &[A::SendRequest]),
            (&[(0, Tick)], UDP, Initial, &[]),
            (&[(0, R(200))], UDP, Initial, &[]),
            (&[(0, Cancel)], UDP, Terminated, &[A::Terminated]),
            // Trying
            (&[(0, Start), (499, Tick)], UDP, Trying, &[]),
            (&[(0, Start), (500, Tick)], UDP, Trying, &[A::RetransmitRequest]),
            (&[(0, Start), (500, Tick)], TCP, Trying, &[]),
            (
                &[(0, Start), (30_000, Tick)],
                UDP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (
                &[(0, Start), (9, TransportError)],
                UDP,
                Terminated,
                &[A::TransportError, A::Terminated],
            ),
            (&[(0, Start), (9, R(100))], UDP, Proceeding, &[A::PassUp]),
            (&[(0, Start), (9, R(200))], UDP, Completed, &[A::PassUp]),
            (&[(0, Start), (9, R(404))], UDP, Completed, &[A::PassUp]),
            (
                &[(0, Start), (9, R(404))],
                TCP,
                Terminated,
                &[A::PassUp, A::Terminated],
            ),
            (&[(0, Start), (9, R(0))], UDP, Trying, &[]),
            (&[(0, Start), (9, Cancel)], UDP, Trying, &[]),
            // Proceeding
            (
                &[(0, Start), (9, R(100)), (500, Tick)],
                UDP,
                Proceeding,
                &[A::RetransmitRequest],
            ),
            (
                &[(0, Start), (9, R(100)), (500, Tick), (4_499, Tick)],
                UDP,
                Proceeding,
                &[],
            ),
            (
                &[(0, Start), (9, R(100)), (500, Tick), (4_500, Tick)],
                UDP,
                Proceeding,
                &[A::RetransmitRequest],
            ),
            (&[(0, Start), (9, R(100)), (500, Tick)], TCP, Proceeding, &[]),
            (
                &[(0, Start), (9, R(100)), (50, Expire)],
                UDP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (
                &[(0, Start), (9, R(100)), (30_000, Tick)],
                UDP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (
                &[(0, Start), (9, R(100)), (20, TransportError)],
                UDP,
                Terminated,
                &[A::TransportError, A::Terminated],
            ),
            (
                &[(0, Start), (9, R(100)), (20, R(183))],
                UDP,
                Proceeding,
                &[A::PassUp],
            ),
            (
                &[(0, Start), (9, R(100)), (20, R(500))],
                UDP,
                Completed,
                &[A::PassUp],
            ),
            (
                &[(0, Start), (9, R(100)), (20, R(500))],
                TCP,
                Terminated,
                &[A::PassUp, A::Terminated],
            ),
            // Completed
            (&[(0, Start), (9, R(200)), (20, R(200))], UDP, Completed, &[]),
            (&[(0, Start), (9, R(200)), (20, R(100))], UDP, Completed, &[]),
            (&[(0, Start), (9, R(200)), (500, Tick)], UDP, Completed, &[]),
            (
                &[(0, Start), (9, R(200)), (20, TransportError)],
                UDP,
                Completed,
                &[],
            ),
            (
                &[(0, Start), (9, R(200)), (5_009, Tick)],
                UDP,
                Terminated,
                &[A::Terminated],
            ),
            // Terminated
            (
                &[(0, Start), (30_000, Tick), (30_001, R(200))],
                UDP,
                Terminated,
                &[],
            ),
            (
                &[(0, Start), (30_000, Tick), (90_000, Tick)],
                UDP,
                Terminated,
                &[],
            ),
        ];
        follow(
            rows,
            NonInviteClient::new,
            |machine, event, now, reliable| machine.on(event, now, &Timers::default(), reliable),
            NonInviteClient::state,
        );
    }

    #[test]
    fn timer_e_doubles_to_t2() {
        let (mut machine, timers, mut sent) = (NonInviteClient::new(), Timers::default(), Vec::new());
        machine.on(Start, 0, &timers, UDP);
        while machine.is_pending() {
            let now = machine.next_deadline();
            if machine.on(Tick, now, &timers, UDP).contains(A::RetransmitRequest) {
                sent.push(now);
            }
        }
        assert_eq!(
            sent,
            [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500]
        );
    }

    proptest! {
        #[test]
        fn any_order_of_events_is_survived(
            events in prop::collection::vec(
                (0..20_000u64, prop_oneof![
                    Just(Start), Just(Cancel), Just(Tick), Just(TransportError), any::<u16>().prop_map(R), (100..700u16).prop_map(R),
                ]), 1..60),
            reliable in any::<bool>(),
        ) {
            let (mut machine, mut now, mut finals) = (NonInviteClient::new(), 0, 0);
            for (step, event) in events {
                now += step;
                let before = machine.state();
                let actions = machine.on(event, now, &Timers::default(), reliable);
                if before == State::Terminated {
                    prop_assert!(actions.is_empty());
                }
                prop_assert!(!(reliable && actions.contains(A::RetransmitRequest)));
                let ended = actions.contains(A::Timeout) || actions.contains(A::TransportError)
                    || actions.contains(A::PassUp) && matches!(machine.state(), State::Completed | State::Terminated);
                finals += usize::from(ended);
                prop_assert!(finals <= 1);
                prop_assert_eq!(machine.next_deadline() != NEVER, !matches!(machine.state(), State::Initial | State::Terminated));
            }
        }
    }
}
