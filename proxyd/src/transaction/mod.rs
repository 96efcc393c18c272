//! Transactions of RFC 3261 §17 with RFC 6026, as pure machines.
//!
//! A transaction is one server machine ([`invite_server`] or [`non_invite_server`]) and one client machine for each
//! branch ([`invite_client`], [`non_invite_client`]). A machine takes an event and the time and returns the set of
//! [`action::Actions`] to perform; it holds its own deadlines, of which `next_deadline` tells the nearest. Whoever
//! owns the machines arms the transaction in the [`table`] for the nearest of them all and sends a `Tick` to each
//! machine when that moment has come: a machine that is not due answers with nothing.

pub mod action;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod non_invite_client;
pub mod non_invite_server;
mod repeat;
pub mod table;
pub mod timer;

#[cfg(test)]
mod tests {
    use super::action::Action;
    use super::action::Actions;
    use super::timer::Millis;
    use std::fmt::Debug;
    use std::mem::size_of;

    /// A path through a figure: events with their times, whether the transport is reliable, where it leads, what the
    /// last event asks for.
    pub(super) type Row<'a, E, S> = (&'a [(Millis, E)], bool, S, &'a [Action]);

    /// Takes new machines down each path.
    pub(super) fn follow<M, E: Copy + Debug, S: Copy + Debug + PartialEq>(
        rows: &[Row<'_, E, S>],
        new: impl Fn() -> M,
        on: impl Fn(&mut M, E, Millis, bool) -> Actions,
        state: impl Fn(&M) -> S,
    ) {
        for (history, reliable, end, actions) in rows {
            let (mut machine, mut last) = (new(), Actions::NONE);
            for (now, event) in *history {
                last = on(&mut machine, *event, *now, *reliable);
            }
            let expected = (*end, Actions::of(actions));
            assert_eq!(
                (state(&machine), last),
                expected,
                "{history:?} reliable {reliable}"
            );
        }
    }

    #[test]
    fn machines_are_small() {
        assert!(size_of::<super::invite_client::InviteClient>() <= 24);
        assert!(size_of::<super::non_invite_client::NonInviteClient>() <= 24);
        assert!(size_of::<super::invite_server::InviteServer>() <= 32);
        assert!(size_of::<super::non_invite_server::NonInviteServer>() <= 16);
        assert!(size_of::<super::key::Key>() <= 24);
        assert!(size_of::<super::action::Actions>() <= 2);
    }
}
