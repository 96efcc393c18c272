//! One dialog: who talks to whom, how far it is, what the script attached to it (RFC 3261 §12).

use parking_lot::Mutex;
use std::sync::Arc;

/// Created by a request, nothing heard yet.
pub(super) const UNCONFIRMED: u8 = 1;
/// A provisional reply with a tag came.
pub(super) const EARLY: u8 = 2;
/// A 2xx came, its ACK did not.
pub(super) const CONFIRMED_NA: u8 = 3;
/// The ACK passed.
pub(super) const CONFIRMED: u8 = 4;
/// Over.
pub(super) const DELETED: u8 = 5;

/// The states of a call that is answered and not over.
pub(super) const ANSWERED: [u8; 2] = [CONFIRMED_NA, CONFIRMED];

/// One side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) tag: Vec<u8>,
    pub(super) contact: Vec<u8>,
    pub(super) cseq: u32,
    /// The routes to it, in the order in which a request of ours names them.
    pub(super) route_set: Vec<Vec<u8>>,
    /// Our socket that it talks to.
    pub(super) socket: String,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) state: u8,
    pub(super) caller: Leg,
    pub(super) callee: Leg,
    /// Wall seconds.
    pub(super) start_ts: u64,
    pub(super) end_ts: u64,
    /// Wall seconds at which it is over; 0 before it is confirmed.
    pub(super) timeout: u64,
    pub(super) lifetime: u64,
    pub(super) flags: u32,
    /// The newest first.
    pub(super) variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Index of the profile, and the value it was set with.
    pub(super) profiles: Vec<(usize, Vec<u8>)>,
    /// BYE is sent to both when the time is over.
    pub(super) timeout_bye: bool,
    pub(super) timeout_route: Vec<u8>,
    /// A BYE ended it whose reply the other modules wait for.
    pub(super) closing: bool,
    /// An operator wants it ended: header lines for the BYEs.
    pub(super) end_wish: Option<Vec<u8>>,
}

/// A dialog.
pub(super) struct Dialog {
    pub(super) h_entry: u32,
    pub(super) h_id: u32,
    pub(super) call_id: Vec<u8>,
    pub(super) from_uri: Vec<u8>,
    pub(super) to_uri: Vec<u8>,
    pub(super) ruri: Vec<u8>,
    /// Wall seconds.
    pub(super) init_ts: u64,
    pub(super) inner: Mutex<Inner>,
}

/// From whom a message within the dialog comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

impl Dialog {
    /// Whether a message with these tags is of this dialog, and whose it is; replies have the request's tags.
    pub(super) fn side(&self, from_tag: &[u8], to_tag: &[u8]) -> Option<Side> {
        let inner = self.inner.lock();
        let callee = &inner.callee.tag;
        if inner.caller.tag == from_tag && (to_tag.is_empty() || callee.is_empty() || callee == to_tag) {
            return Some(Side::Caller);
        }
        (inner.caller.tag == to_tag && (callee == from_tag || callee.is_empty())).then_some(Side::Callee)
    }

    /// What its Record-Route parameter says: both numbers in hexadecimal, the lowest digit first.
    pub(super) fn did(&self) -> String {
        let digits = |n: u32| format!("{n:x}").chars().rev().collect::<String>();
        format!("{}.{}", digits(self.h_entry), digits(self.h_id))
    }

    /// The value of a variable.
    pub(super) fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        inner
            .variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    /// Sets a variable, or removes it.
    pub(super) fn set_variable(&self, name: &[u8], value: Option<Vec<u8>>) {
        let mut inner = self.inner.lock();
        let known = inner.variables.iter().position(|(known, _)| known == name);
        match (known, value) {
            (Some(at), Some(value)) => {
                if let Some((_, slot)) = inner.variables.get_mut(at) {
                    *slot = value;
                }
            }
            (Some(at), None) => drop(inner.variables.remove(at)),
            (None, Some(value)) => inner.variables.insert(0, (name.to_vec(), value)),
            (None, None) => {}
        }
    }

    /// Its state.
    pub(super) fn state(&self) -> u8 {
        self.inner.lock().state
    }
}

/// A dialog, shared.
pub(super) type Shared = Arc<Dialog>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_numbers() {
        let inner = Inner {
            caller: Leg {
                tag: b"a".to_vec(),
                ..Leg::default()
            },
            callee: Leg {
                tag: b"b".to_vec(),
                ..Leg::default()
            },
            ..Inner::default()
        };
        let dialog = Dialog {
            h_entry: 2247,
            h_id: 7464,
            call_id: b"d1".to_vec(),
            from_uri: Vec::new(),
            to_uri: Vec::new(),
            ruri: Vec::new(),
            init_ts: 0,
            inner: Mutex::new(inner),
        };
        assert_eq!(dialog.did(), "7c8.82d1");
        for (from, to, expected) in [
            ("a", "b", Some(Side::Caller)),
            ("a", "", Some(Side::Caller)),
            ("b", "a", Some(Side::Callee)),
            ("a", "x", None),
            ("x", "a", None),
        ] {
            assert_eq!(
                dialog.side(from.as_bytes(), to.as_bytes()),
                expected,
                "{from} {to}"
            );
        }
        dialog.set_variable(b"x", Some(b"1".to_vec()));
        dialog.set_variable(b"x", Some(b"2".to_vec()));
        assert_eq!(dialog.variable(b"x"), Some(b"2".to_vec()));
        dialog.set_variable(b"x", None);
        assert_eq!(dialog.variable(b"x"), None);
    }
}
