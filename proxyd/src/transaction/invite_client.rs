//! INVITE client transaction: RFC 3261 §17.1.1, Figure 5, with the accepted state of RFC 6026 §7.2 and Timer C of §16.6.

use crate::transaction::action::Action;
use crate::transaction::action::Actions;
use crate::transaction::action::ClientEvent;
use crate::transaction::repeat::Repeat;
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use crate::transaction::timer::after;

/// The states of Figure 5, and `Abandoned` for a branch whose user was told of a timeout while a response may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not sent yet.
    Initial,
    /// Sent, no response.
    Calling,
    /// Answered provisionally.
    Proceeding,
    /// Answered 3xx to 6xx; repeated responses are acknowledged.
    Completed,
    /// Answered 2xx; repeated ones are passed up.
    Accepted,
    /// Given up by Timer C after a CANCEL: a late negative response is acknowledged, a late 2xx passed up.
    Abandoned,
    /// Finished.
    Terminated,
}

/// One branch of a forwarded INVITE.
#[derive(Clone, Copy, Debug)]
pub struct InviteClient {
    state: State,
    cancel: Cancel,
    highest: u16,
    retransmit: Repeat,
    end: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    Wanted,
    Sent,
}

impl Default for InviteClient {
    fn default() -> Self {
        Self::new()
    }
}

impl InviteClient {
    /// Makes a branch that waits for [`ClientEvent::Start`].
    pub fn new() -> Self {
        Self {
            state: State::Initial,
            cancel: Cancel::No,
            highest: 0,
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
        matches!(self.state, State::Initial | State::Calling | State::Proceeding)
    }

    /// Whether the request may still have to be sent again, acknowledged or cancelled.
    pub fn needs_request(&self) -> bool {
        !matches!(self.state, State::Accepted | State::Terminated)
    }

    /// Whether the branch was asked to be cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancel != Cancel::No
    }

    /// When the machine next wants a [`ClientEvent::Tick`], or [`NEVER`].
    pub fn next_deadline(&self) -> Millis {
        self.retransmit.at().min(self.end)
    }

    /// Takes one event and tells what to do.
    pub fn on(&mut self, event: ClientEvent, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match event {
            ClientEvent::Start => self.start(now, timers, reliable),
            ClientEvent::Response(status) => match status {
                100..=199 => self.provisional(status, now, timers),
                200..=299 => self.accept(now, timers),
                300..=699 => self.reject(now, timers, reliable),
                0..=99 | 700.. => Actions::NONE,
            },
            ClientEvent::Cancel => self.cancel(now, timers),
            ClientEvent::Tick => self.tick(now, timers),
            ClientEvent::Expire if self.is_pending() => self.expire(now, timers),
            ClientEvent::Expire => Actions::NONE,
            ClientEvent::TransportError => self.fail(),
        }
    }

    fn start(&mut self, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        match self.state {
            State::Initial => {
                self.state = State::Calling;
                self.end = after(now, timers.timer_b());
                if !reliable {
                    self.retransmit = Repeat::from(now, timers);
                }
                Actions::of(&[Action::SendRequest])
            }
            State::Calling
            | State::Proceeding
            | State::Completed
            | State::Accepted
            | State::Abandoned
            | State::Terminated => Actions::NONE,
        }
    }

    fn provisional(&mut self, status: u16, now: Millis, timers: &Timers) -> Actions {
        match self.state {
            State::Calling => {
                self.state = State::Proceeding;
                self.retransmit = Repeat::OFF;
                self.end = after(now, timers.timer_c());
            }
            State::Proceeding => {
                // RFC 3261 §16.7 step 2: Timer C restarts for 101 to 199. A cancelled branch has a deadline of its own.
                let increasing = status >= 180 && status > self.highest;
                if status > 100
                    && self.cancel == Cancel::No
                    && (timers.restart_fr_on_each_reply || increasing)
                {
                    self.end = after(now, timers.timer_c());
                }
            }
            State::Initial | State::Completed | State::Accepted | State::Abandoned | State::Terminated => {
                return Actions::NONE;
            }
        }
        self.highest = self.highest.max(status);
        match self.cancel {
            Cancel::No => Actions::of(&[Action::PassUp]),
            Cancel::Wanted => self.send_cancel(now, timers),
            Cancel::Sent => Actions::NONE,
        }
    }

    fn accept(&mut self, now: Millis, timers: &Timers) -> Actions {
        match self.state {
            State::Calling | State::Proceeding | State::Abandoned => {
                self.state = State::Accepted;
                self.retransmit = Repeat::OFF;
                self.end = after(now, timers.timer_m());
                Actions::of(&[Action::PassUp])
            }
            State::Accepted => Actions::of(&[Action::PassUp]),
            State::Initial | State::Completed | State::Terminated => Actions::NONE,
        }
    }

    fn reject(&mut self, now: Millis, timers: &Timers, reliable: bool) -> Actions {
        let actions = match self.state {
            State::Calling | State::Proceeding => Actions::of(&[Action::SendAck, Action::PassUp]),
            State::Abandoned => Actions::of(&[Action::SendAck]),
            State::Completed => return Actions::of(&[Action::SendAck]),
            State::Initial | State::Accepted | State::Terminated => return Actions::NONE,
        };
        self.retransmit = Repeat::OFF;
        match timers.timer_d(reliable) {
            0 => actions.and(self.terminate()),
            linger => {
                self.state = State::Completed;
                self.end = after(now, linger);
                actions
            }
        }
    }

    fn cancel(&mut self, now: Millis, timers: &Timers) -> Actions {
        if self.cancel != Cancel::No {
            return Actions::NONE;
        }
        match self.state {
            State::Initial => {
                self.cancel = Cancel::Wanted;
                Actions::of(&[self.terminate()])
            }
            // RFC 3261 §9.1: no CANCEL before a provisional response, which the repeated INVITE still asks for.
            State::Calling => {
                self.cancel = Cancel::Wanted;
                Actions::NONE
            }
            State::Proceeding => self.send_cancel(now, timers),
            State::Completed | State::Accepted | State::Abandoned | State::Terminated => Actions::NONE,
        }
    }

    fn send_cancel(&mut self, now: Millis, timers: &Timers) -> Actions {
        self.cancel = Cancel::Sent;
        // RFC 3261 §9.1: 64*T1 after the CANCEL the branch counts as cancelled, answered or not.
        self.end = self
            .end
            .min(after(now, Millis::from(timers.first_interval()) * 64));
        Actions::of(&[Action::SendCancel])
    }

    fn tick(&mut self, now: Millis, timers: &Timers) -> Actions {
        if now >= self.end {
            return self.expire(now, timers);
        }
        if self.retransmit.is_due(now, timers) {
            return Actions::of(&[Action::RetransmitRequest]);
        }
        Actions::NONE
    }

    fn expire(&mut self, now: Millis, timers: &Timers) -> Actions {
        match self.state {
            State::Calling => Actions::of(&[Action::Timeout, self.terminate()]),
            State::Proceeding => {
                self.state = State::Abandoned;
                self.end = after(now, timers.timer_h());
                let actions = Actions::of(&[Action::Timeout]);
                if self.cancel == Cancel::No {
                    self.cancel = Cancel::Sent;
                    return actions.and(Action::SendCancel);
                }
                actions
            }
            State::Completed | State::Accepted | State::Abandoned => Actions::of(&[self.terminate()]),
            State::Initial | State::Terminated => Actions::NONE,
        }
    }

    fn fail(&mut self) -> Actions {
        match self.state {
            State::Calling | State::Completed => Actions::of(&[Action::TransportError, self.terminate()]),
            State::Initial | State::Proceeding | State::Accepted | State::Abandoned | State::Terminated => {
                Actions::NONE
            }
        }
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
    use ClientEvent::{Cancel as Quit, Expire, Response as R, Start, Tick, TransportError};
    use proptest::prelude::*;

    const UDP: bool = false;
    const TCP: bool = true;

    #[test]
    fn figure_5_with_rfc_6026() {
        use State::{Abandoned, Accepted, Calling, Completed, Initial, Proceeding, Terminated};
        let rows: &[Row<'_, ClientEvent, State>] = &[
            (&[(0, Start)], UDP, Calling, &[A::SendRequest]),
            (&[(0, Tick)], UDP, Initial, &[]),
            (&[(0, R(180))], UDP, Initial, &[]),
            (&[(0, TransportError)], UDP, Initial, &[]),
            (&[(0, Quit)], UDP, Terminated, &[A::Terminated]),
            // Calling
            (&[(0, Start), (499, Tick)], UDP, Calling, &[]),
            (&[(0, Start), (500, Tick)], UDP, Calling, &[A::RetransmitRequest]),
            (&[(0, Start), (500, Tick)], TCP, Calling, &[]),
            (
                &[(0, Start), (30_000, Tick)],
                UDP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (
                &[(0, Start), (30_000, Tick)],
                TCP,
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
            (&[(0, Start), (9, R(200))], UDP, Accepted, &[A::PassUp]),
            (
                &[(0, Start), (9, R(486))],
                UDP,
                Completed,
                &[A::SendAck, A::PassUp],
            ),
            (
                &[(0, Start), (9, R(302))],
                TCP,
                Terminated,
                &[A::SendAck, A::PassUp, A::Terminated],
            ),
            (&[(0, Start), (9, R(99))], UDP, Calling, &[]),
            (&[(0, Start), (9, R(700))], UDP, Calling, &[]),
            (&[(0, Start), (9, Quit)], UDP, Calling, &[]),
            (
                &[(0, Start), (9, Quit), (500, Tick)],
                UDP,
                Calling,
                &[A::RetransmitRequest],
            ),
            (
                &[(0, Start), (9, Quit), (600, R(180))],
                UDP,
                Proceeding,
                &[A::SendCancel],
            ),
            (
                &[(0, Start), (9, Quit), (600, R(180)), (700, R(183))],
                UDP,
                Proceeding,
                &[],
            ),
            (&[(0, Start), (9, Start)], UDP, Calling, &[]),
            // Proceeding
            (&[(0, Start), (9, R(100)), (500, Tick)], UDP, Proceeding, &[]),
            (
                &[(0, Start), (9, R(100)), (20, R(180))],
                UDP,
                Proceeding,
                &[A::PassUp],
            ),
            (
                &[(0, Start), (9, R(180)), (20, R(200))],
                UDP,
                Accepted,
                &[A::PassUp],
            ),
            (
                &[(0, Start), (9, R(180)), (20, R(603))],
                UDP,
                Completed,
                &[A::SendAck, A::PassUp],
            ),
            (
                &[(0, Start), (9, R(180)), (20, R(603))],
                TCP,
                Terminated,
                &[A::SendAck, A::PassUp, A::Terminated],
            ),
            (
                &[(0, Start), (9, R(180)), (20, TransportError)],
                UDP,
                Proceeding,
                &[],
            ),
            (
                &[(0, Start), (9, R(180)), (20, Quit)],
                UDP,
                Proceeding,
                &[A::SendCancel],
            ),
            (
                &[(0, Start), (9, R(180)), (20, Quit), (30, Quit)],
                UDP,
                Proceeding,
                &[],
            ),
            (
                &[(0, Start), (9, R(180)), (20, Quit), (30, R(200))],
                UDP,
                Accepted,
                &[A::PassUp],
            ),
            (
                &[(0, Start), (9, R(180)), (20, Quit), (32_020, Tick)],
                UDP,
                Abandoned,
                &[A::Timeout],
            ),
            (&[(0, Start), (9, R(180)), (120_008, Tick)], UDP, Proceeding, &[]),
            (
                &[(0, Start), (9, R(180)), (120_009, Tick)],
                UDP,
                Abandoned,
                &[A::SendCancel, A::Timeout],
            ),
            (
                &[(0, Start), (9, R(180)), (90_000, R(180)), (120_009, Tick)],
                UDP,
                Proceeding,
                &[],
            ),
            (
                &[(0, Start), (9, R(180)), (90_000, R(100)), (120_009, Tick)],
                UDP,
                Abandoned,
                &[A::SendCancel, A::Timeout],
            ),
            (
                &[(0, Start), (9, R(180)), (100, Expire)],
                UDP,
                Abandoned,
                &[A::SendCancel, A::Timeout],
            ),
            (
                &[(0, Start), (100, Expire)],
                UDP,
                Terminated,
                &[A::Timeout, A::Terminated],
            ),
            (&[(0, Start), (9, R(200)), (100, Expire)], UDP, Accepted, &[]),
            // Abandoned
            (
                &[(0, Start), (9, R(180)), (120_009, Tick), (120_010, R(487))],
                UDP,
                Completed,
                &[A::SendAck],
            ),
            (
                &[(0, Start), (9, R(180)), (120_009, Tick), (120_010, R(487))],
                TCP,
                Terminated,
                &[A::SendAck, A::Terminated],
            ),
            (
                &[(0, Start), (9, R(180)), (120_009, Tick), (120_010, R(200))],
                UDP,
                Accepted,
                &[A::PassUp],
            ),
            (
                &[(0, Start), (9, R(180)), (120_009, Tick), (120_010, R(183))],
                UDP,
                Abandoned,
                &[],
            ),
            (
                &[(0, Start), (9, R(180)), (120_009, Tick), (150_009, Tick)],
                UDP,
                Terminated,
                &[A::Terminated],
            ),
            // Completed
            (
                &[(0, Start), (9, R(486)), (20, R(486))],
                UDP,
                Completed,
                &[A::SendAck],
            ),
            (&[(0, Start), (9, R(486)), (20, R(180))], UDP, Completed, &[]),
            (&[(0, Start), (9, R(486)), (20, R(200))], UDP, Completed, &[]),
            (&[(0, Start), (9, R(486)), (500, Tick)], UDP, Completed, &[]),
            (&[(0, Start), (9, R(486)), (20, Quit)], UDP, Completed, &[]),
            (
                &[(0, Start), (9, R(486)), (5_009, Tick)],
                UDP,
                Terminated,
                &[A::Terminated],
            ),
            (
                &[(0, Start), (9, R(486)), (20, TransportError)],
                UDP,
                Terminated,
                &[A::TransportError, A::Terminated],
            ),
            // Accepted
            (
                &[(0, Start), (9, R(200)), (20, R(200))],
                UDP,
                Accepted,
                &[A::PassUp],
            ),
            (&[(0, Start), (9, R(200)), (20, R(180))], UDP, Accepted, &[]),
            (&[(0, Start), (9, R(200)), (20, R(486))], UDP, Accepted, &[]),
            (
                &[(0, Start), (9, R(200)), (20, TransportError)],
                UDP,
                Accepted,
                &[],
            ),
            (&[(0, Start), (9, R(200)), (20, Quit)], UDP, Accepted, &[]),
            (&[(0, Start), (9, R(200)), (32_008, Tick)], TCP, Accepted, &[]),
            (
                &[(0, Start), (9, R(200)), (32_009, Tick)],
                TCP,
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
                &[(0, Start), (30_000, Tick), (30_001, R(486))],
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
            InviteClient::new,
            |machine, event, now, reliable| machine.on(event, now, &Timers::default(), reliable),
            InviteClient::state,
        );
    }

    #[test]
    fn kamailio_caps_timer_a_at_t2() {
        let mut machine = InviteClient::new();
        let timers = Timers::default();
        machine.on(Start, 0, &timers, UDP);
        let mut sent = Vec::new();
        while machine.state() == State::Calling {
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

    #[test]
    fn without_restart_only_an_increasing_response_restarts_timer_c() {
        let timers = Timers {
            restart_fr_on_each_reply: false,
            ..Timers::default()
        };
        for (again, ends) in [
            (180, 120_009),
            (183, 121_000),
            (181, 121_000),
            (100, 120_009),
            (170, 120_009),
        ] {
            let mut machine = InviteClient::new();
            machine.on(Start, 0, &timers, UDP);
            machine.on(R(180), 9, &timers, UDP);
            machine.on(R(again), 1_000, &timers, UDP);
            assert_eq!(machine.next_deadline(), ends, "{again}");
        }
    }

    fn event() -> impl Strategy<Value = ClientEvent> {
        prop_oneof![
            Just(Start),
            Just(Quit),
            Just(Tick),
            Just(TransportError),
            any::<u16>().prop_map(R),
            prop::sample::select(vec![100, 180, 200, 302, 486, 603]).prop_map(R),
        ]
    }

    proptest! {
        #[test]
        fn any_order_of_events_is_survived(
            events in prop::collection::vec((0..40_000u64, event()), 1..60),
            reliable in any::<bool>(),
        ) {
            let (mut machine, mut now, mut finals) = (InviteClient::new(), 0, 0);
            for (step, event) in events {
                now += step;
                let (before, kept) = (machine.state(), machine.needs_request());
                let actions = machine.on(event, now, &Timers::default(), reliable);
                let uses = [A::RetransmitRequest, A::SendAck, A::SendCancel];
                prop_assert!(kept || !uses.iter().any(|action| actions.contains(*action)));
                if before == State::Terminated {
                    prop_assert!(actions.is_empty());
                    prop_assert_eq!(machine.next_deadline(), NEVER);
                }
                prop_assert!(!(reliable && actions.contains(A::RetransmitRequest)));
                prop_assert_eq!(actions.contains(A::Terminated), before != State::Terminated && machine.state() == State::Terminated);
                finals += usize::from(actions.contains(A::Timeout));
                prop_assert!(finals <= 1);
                let waits = machine.next_deadline() != NEVER;
                prop_assert_eq!(waits, !matches!(machine.state(), State::Initial | State::Terminated));
            }
        }
    }
}
