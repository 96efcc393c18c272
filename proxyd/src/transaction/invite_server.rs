//! INVITE server transaction: RFC 3261 §17.2.1, Figure 7, with the accepted state of RFC 6026 §7.1.

use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::Origin;
use crate::transaction::action::ServerEvent;
use crate::transaction::repeat::Repeat;
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use crate::transaction::timer::after;

/// The states of Figure 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No final response yet.
    Proceeding,
    /// Answered 3xx to 6xx, the ACK is missing.
    Completed,
    /// Acknowledged; late ACKs are absorbed.
    Confirmed,
    /// Answered 2xx.
    Accepted,
    /// Finished.
    Terminated,
}

/// An INVITE from upstream.
#[derive(Clone, Copy, Debug)]
pub struct InviteServer {
    state: State,
    responded: bool,
    retransmit: Repeat,
    end: Millis,
    unacknowledged: Millis,
}

impl InviteServer {
    /// Makes the transaction of an INVITE that arrived at `now`.
    pub fn new(now: Millis, timers: &Timers) -> Self {
        Self {
            state: State::Proceeding,
            responded: false,
            retransmit: Repeat::OFF,
            end: after(now, timers.max_inv_lifetime),
            unacknowledged: NEVER,
        }
    }

    /// The state the machine is in.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a final response was sent.
    pub fn is_answered(&self) -> bool {
        self.state != State::Proceeding
    }

    /// Whether the last response may have to be sent again.
    pub fn repeats(&self) -> bool {
        let unacknowledged = self.state == State::Accepted && self.unacknowledged != NEVER;
        matches!(self.state, State::Proceeding | State::Completed) || unacknowledged
    }

    /// Changes the moment at which an unanswered transaction is given up (`t_set_max_lifetime`).
    pub fn set_lifetime(&mut self, at: Millis) {
        if self.state == State::Proceeding {
            self.end = at.min(NEVER - 1);
        }
    }

    /// When the machine next wants a [`ServerEvent::Tick`], or [`NEVER`].
    pub fn next_deadline(&self) -> Millis {
        self.retransmit.at().min(self.unacknowledged).min(self.end)
    }

    /// Takes one event and tells what to do.
    pub fn on(&mut self, event: ServerEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match event {
            ServerEvent::Request => self.repeat(),
            ServerEvent::Ack => self.acknowledge(now, timers, reliable),
            ServerEvent::Respond(status, origin) => match status {
                100..=199 => self.provisional(),
                200..=299 => self.accept(origin, now, timers),
                300..=699 => self.reject(now, timers, reliable),
                0..=99 | 700.. => Actions::NONE,
            },
            ServerEvent::Tick => self.tick(now, timers),
            ServerEvent::TransportError => self.fail(),
        }
    }

    fn repeat(&mut self) -> Actions {
        match self.state {
            State::Proceeding if self.responded => Actions::of(&[Action::RetransmitResponse]),
            State::Completed => Actions::of(&[Action::RetransmitResponse]),
            // RFC 6026 §7.1: an accepted INVITE is absorbed; whoever sent the 2xx repeats it.
            State::Proceeding | State::Confirmed | State::Accepted | State::Terminated => Actions::NONE,
        }
    }

    fn acknowledge(&mut self, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self.state {
            State::Completed => {
                self.retransmit = Repeat::OFF;
                match timers.timer_i(reliable) {
                    0 => Actions::of(&[self.terminate()]),
                    linger => {
                        self.state = State::Confirmed;
                        self.end = after(now, linger);
                        Actions::NONE
                    }
                }
            }
            State::Accepted => {
                self.retransmit = Repeat::OFF;
                self.unacknowledged = NEVER;
                Actions::of(&[Action::PassUp])
            }
            State::Proceeding | State::Confirmed | State::Terminated => Actions::NONE,
        }
    }

    fn provisional(&mut self) -> Actions {
        match self.state {
            State::Proceeding => {
                self.responded = true;
                Actions::of(&[Action::SendResponse])
            }
            State::Completed | State::Confirmed | State::Accepted | State::Terminated => Actions::NONE,
        }
    }

    fn accept(&mut self, origin: Origin, now: Millis, timers: &Timers) -> Actions {
        match self.state {
            // RFC 3261 §16.7 step 5: a 2xx goes upstream even after another final response did.
            State::Proceeding | State::Completed | State::Confirmed => {
                self.state = State::Accepted;
                self.end = after(now, timers.timer_l());
                self.retransmit = Repeat::OFF;
                if origin == Origin::Local {
                    // RFC 3261 §13.3.1.4: over any transport, as the next hop may not be reliable.
                    self.retransmit = Repeat::from(now, timers);
                    self.unacknowledged = after(now, timers.timer_h());
                }
                Actions::of(&[Action::SendResponse])
            }
            State::Accepted => Actions::of(&[Action::SendResponse]),
            State::Terminated => Actions::NONE,
        }
    }

    fn reject(&mut self, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self.state {
            State::Proceeding => {
                self.state = State::Completed;
                self.end = after(now, timers.timer_h());
                if !reliable {
                    self.retransmit = Repeat::from(now, timers);
                }
                Actions::of(&[Action::SendResponse])
            }
            State::Completed | State::Confirmed | State::Accepted | State::Terminated => Actions::NONE,
        }
    }

    fn tick(&mut self, now: Millis, timers: &Timers) -> Actions {
        if now >= self.end {
            return self.expire();
        }
        if now >= self.unacknowledged {
            self.unacknowledged = NEVER;
            self.retransmit = Repeat::OFF;
            return Actions::of(&[Action::Timeout]);
        }
        if self.retransmit.is_due(now, timers) {
            return Actions::of(&[Action::RetransmitResponse]);
        }
        Actions::NONE
    }

    fn expire(&mut self) -> Actions {
        match self.state {
            State::Proceeding => {
                self.end = NEVER;
                Actions::of(&[Action::Lifetime])
            }
            State::Completed => Actions::of(&[Action::Timeout, self.terminate()]),
            State::Confirmed | State::Accepted => Actions::of(&[self.terminate()]),
            State::Terminated => Actions::NONE,
        }
    }

    fn fail(&mut self) -> Actions {
        match self.state {
            // RFC 6026 §7.1: the state is kept, so that retransmissions of the INVITE are still absorbed.
            State::Proceeding | State::Completed | State::Accepted => Actions::of(&[Action::TransportError]),
            State::Confirmed | State::Terminated => Actions::NONE,
        }
    }

    fn terminate(&mut self) -> Action {
        self.state = State::Terminated;
        self.retransmit = Repeat::OFF;
        self.unacknowledged = NEVER;
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
    use Origin::{Local, Relayed};
    use ServerEvent::{Ack, Request, Respond, Tick, TransportError};
    use proptest::prelude::*;

    const UDP: bool = false;
    const TCP: bool = true;

    fn send(status: u16) -> ServerEvent {
        Respond(status, Relayed)
    }

    #[test]
    fn figure_7_with_rfc_6026() {
        use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        let rows: &[Row<'_, ServerEvent, State>] = &[
            // Proceeding
            (&[(0, Request)], UDP, Proceeding, &[]),
            (&[(0, send(100))], UDP, Proceeding, &[A::SendResponse]),
            (
                &[(0, send(100)), (9, Request)],
                UDP,
                Proceeding,
                &[A::RetransmitResponse],
            ),
            (
                &[(0, send(100)), (9, send(183))],
                UDP,
                Proceeding,
                &[A::SendResponse],
            ),
            (&[(0, send(200))], UDP, Accepted, &[A::SendResponse]),
            (&[(0, send(404))], UDP, Completed, &[A::SendResponse]),
            (&[(0, send(99))], UDP, Proceeding, &[]),
            (&[(0, Ack)], UDP, Proceeding, &[]),
            (&[(0, TransportError)], UDP, Proceeding, &[A::TransportError]),
            (&[(179_999, Tick)], UDP, Proceeding, &[]),
            (&[(180_000, Tick)], UDP, Proceeding, &[A::Lifetime]),
            (&[(180_000, Tick), (400_000, Tick)], UDP, Proceeding, &[]),
            // Completed
            (
                &[(0, send(404)), (9, Request)],
                UDP,
                Completed,
                &[A::RetransmitResponse],
            ),
            (&[(0, send(404)), (9, send(486))], UDP, Completed, &[]),
            (&[(0, send(404)), (9, send(180))], UDP, Completed, &[]),
            (
                &[(0, send(408)), (9, send(200))],
                UDP,
                Accepted,
                &[A::SendResponse],
            ),
            (
                &[(0, send(404)), (500, Tick)],
                UDP,
                Completed,
                &[A::RetransmitResponse],
            ),
            (&[(0, send(404)), (500, Tick)], TCP, Completed, &[]),
            (
                &[(0, send(404)), (30_000, Tick)],
                UDP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (
                &[(0, send(404)), (30_000, Tick)],
                TCP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (
                &[(0, send(404)), (9, TransportError)],
                UDP,
                Completed,
                &[A::TransportError],
            ),
            (&[(0, send(404)), (9, Ack)], UDP, Confirmed, &[]),
            (&[(0, send(404)), (9, Ack)], TCP, Terminated, &[A::Terminated]),
            // Confirmed
            (&[(0, send(404)), (9, Ack), (10, Ack)], UDP, Confirmed, &[]),
            (&[(0, send(404)), (9, Ack), (10, Request)], UDP, Confirmed, &[]),
            (&[(0, send(404)), (9, Ack), (500, Tick)], UDP, Confirmed, &[]),
            (
                &[(0, send(404)), (9, Ack), (10, TransportError)],
                UDP,
                Confirmed,
                &[],
            ),
            (
                &[(0, send(408)), (9, Ack), (10, send(200))],
                UDP,
                Accepted,
                &[A::SendResponse],
            ),
            (
                &[(0, send(404)), (9, Ack), (5_009, Tick)],
                UDP,
                Terminated,
                &[A::Terminated],
            ),
            // Accepted
            (&[(0, send(200)), (9, Request)], UDP, Accepted, &[]),
            (
                &[(0, send(200)), (9, send(200))],
                UDP,
                Accepted,
                &[A::SendResponse],
            ),
            (&[(0, send(200)), (9, send(486))], UDP, Accepted, &[]),
            (&[(0, send(200)), (9, send(180))], UDP, Accepted, &[]),
            (&[(0, send(200)), (9, Ack)], UDP, Accepted, &[A::PassUp]),
            (&[(0, send(200)), (500, Tick)], UDP, Accepted, &[]),
            (
                &[(0, send(200)), (9, TransportError)],
                UDP,
                Accepted,
                &[A::TransportError],
            ),
            (&[(0, send(200)), (31_999, Tick)], UDP, Accepted, &[]),
            (
                &[(0, send(200)), (32_000, Tick)],
                UDP,
                Terminated,
                &[A::Terminated],
            ),
            (
                &[(0, Respond(200, Local)), (500, Tick)],
                UDP,
                Accepted,
                &[A::RetransmitResponse],
            ),
            (
                &[(0, Respond(200, Local)), (500, Tick)],
                TCP,
                Accepted,
                &[A::RetransmitResponse],
            ),
            (
                &[(0, Respond(200, Local)), (9, Ack), (500, Tick)],
                UDP,
                Accepted,
                &[],
            ),
            (
                &[(0, Respond(200, Local)), (30_000, Tick)],
                UDP,
                Accepted,
                &[A::Timeout],
            ),
            (
                &[(0, Respond(200, Local)), (30_000, Tick), (31_000, Tick)],
                UDP,
                Accepted,
                &[],
            ),
            // Terminated
            (
                &[(0, send(200)), (32_000, Tick), (32_001, Request)],
                UDP,
                Terminated,
                &[],
            ),
            (
                &[(0, send(200)), (32_000, Tick), (32_001, send(200))],
                UDP,
                Terminated,
                &[],
            ),
            (
                &[(0, send(404)), (30_000, Tick), (30_001, Ack)],
                UDP,
                Terminated,
                &[],
            ),
            (
                &[(0, send(404)), (30_000, Tick), (90_000, Tick)],
                UDP,
                Terminated,
                &[],
            ),
        ];
        follow(
            rows,
            || InviteServer::new(0, &Timers::default()),
            |machine, event, now, reliable| machine.on(event, now, &Timers::default(), reliable),
            InviteServer::state,
        );
    }

    #[test]
    fn timer_g_doubles_to_t2() {
        let timers = Timers::default();
        let (mut machine, mut sent) = (InviteServer::new(0, &timers), Vec::new());
        machine.on(send(486), 0, &timers, UDP);
        while machine.state() == State::Completed {
            let now = machine.next_deadline();
            if machine
                .on(Tick, now, &timers, UDP)
                .contains(A::RetransmitResponse)
            {
                sent.push(now);
            }
        }
        assert_eq!(
            sent,
            [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500]
        );
    }

    #[test]
    fn a_changed_lifetime_holds_until_the_answer() {
        let timers = Timers::default();
        let mut machine = InviteServer::new(0, &timers);
        machine.set_lifetime(7_000);
        assert_eq!(machine.on(Tick, 7_000, &timers, UDP), Actions::of(&[A::Lifetime]));
        machine.on(send(408), 7_000, &timers, UDP);
        machine.set_lifetime(8_000);
        assert_eq!(
            machine.on(Tick, 8_000, &timers, TCP),
            Actions::of(&[A::RetransmitResponse])
        );
    }

    proptest! {
        #[test]
        fn any_order_of_events_is_survived(
            events in prop::collection::vec(
                (0..40_000u64, prop_oneof![
                    Just(Request), Just(Ack), Just(Tick), Just(TransportError),
                    (any::<u16>(), any::<bool>()).prop_map(|(s, l)| Respond(s, if l { Local } else { Relayed })),
                    (100..700u16).prop_map(send),
                ]), 1..60),
            reliable in any::<bool>(),
        ) {
            let timers = Timers::default();
            let (mut machine, mut now, mut rejected) = (InviteServer::new(0, &timers), 0, false);
            for (step, event) in events {
                now += step;
                let (before, kept) = (machine.state(), machine.repeats());
                let actions = machine.on(event, now, &timers, reliable);
                prop_assert!(kept || !actions.contains(A::RetransmitResponse));
                if before == State::Terminated {
                    prop_assert!(actions.is_empty());
                    prop_assert_eq!(machine.next_deadline(), NEVER);
                }
                if let (Respond(300..=699, _), true) = (event, actions.contains(A::SendResponse)) {
                    prop_assert!(!rejected, "a second negative response");
                    rejected = true;
                }
                if machine.is_answered() && machine.state() != State::Terminated {
                    prop_assert!(machine.next_deadline() < NEVER);
                }
            }
        }
    }
}
