//! What is followed: transactions and dialogs that a script wants traced.

use crate::script::host::Millis;
use ahash::AHashMap;
use parking_lot::Mutex;
use shared::rpc::trace::Direction;
use shared::sip::Message;
use shared::sip::Method;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// How many are followed at once; more are refused.
const MOST: usize = 100_000;
/// How long a transaction is followed without an answer, and a dialog without a message.
const TRANSACTION: Millis = 300_000;
const DIALOG: Millis = 43_200_000;
/// How long one is followed that was answered: copies and the ACK may come (RFC 3261 §17.2.1, timer H).
const ANSWERED: Millis = 32_000;

/// What a script said of what it wants traced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Of the users in the rows, besides a row without one.
    pub(super) users: Vec<Box<[u8]>>,
    /// The table; none: the module's.
    pub(super) table: Option<Arc<str>>,
    /// The URI that copies go to; none: nowhere.
    pub(super) to: Option<Arc<[u8]>>,
    /// The correlation identifier that goes with them.
    pub(super) correlation: Option<Arc<[u8]>>,
}

/// What of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Replies without a transaction to the message.
    StatelessReplies,
    /// The transaction of the message.
    Transaction,
    /// All messages with its Call-ID.
    Dialog,
}

/// A Call-ID with the CSeq number of a transaction; none of a dialog.
type Key = (Box<[u8]>, Option<u32>);

struct Entry {
    wish: Arc<Wish>,
    extent: Extent,
    until: Millis,
    /// The INVITE was answered 2xx: an ACK is no part of its transaction.
    accepted: bool,
}

/// Everything that is followed.
#[derive(Default)]
pub(super) struct Followed {
    count: AtomicUsize,
    entries: Mutex<AHashMap<Key, Entry>>,
}

impl Followed {
    /// Whether there is anything.
    pub(super) fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Begins to follow what a request belongs to; false when there is no room.
    pub(super) fn add(&self, msg: &Message, extent: Extent, wish: Arc<Wish>, now: Millis) -> bool {
        let Some(cseq) = msg.cseq() else { return false };
        let (number, time) = match extent {
            Extent::StatelessReplies => (Some(cseq.number), ANSWERED),
            Extent::Transaction => (Some(cseq.number), TRANSACTION),
            Extent::Dialog => (None, DIALOG),
        };
        let mut entries = self.entries.lock();
        if entries.len() >= MOST {
            entries.retain(|_, entry| entry.until > now);
        }
        if entries.len() >= MOST {
            return false;
        }
        let entry = Entry {
            wish,
            extent,
            until: now.saturating_add(time),
            accepted: false,
        };
        entries.insert((msg.call_id().into(), number), entry);
        self.count.store(entries.len(), Ordering::Relaxed);
        true
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: Millis) {
        if self.is_any() {
            let mut entries = self.entries.lock();
            entries.retain(|_, entry| entry.until > now);
            self.count.store(entries.len(), Ordering::Relaxed);
        }
    }

    /// What is wished for a message on the wire, if it belongs to something that is followed.
    pub(super) fn of(
        &self,
        msg: &Message,
        direction: Direction,
        stateless: bool,
        now: Millis,
    ) -> Option<Arc<Wish>> {
        let cseq = msg.cseq()?;
        let mut key: Key = (msg.call_id().into(), Some(cseq.number));
        let mut entries = self.entries.lock();
        if !entries.contains_key(&key) {
            key.1 = None;
        }
        let entry = entries.get_mut(&key).filter(|entry| entry.until > now)?;
        if entry.extent == Extent::StatelessReplies && !stateless {
            return None;
        }
        if entry.extent == Extent::Transaction && entry.accepted && msg.method() == Method::Ack {
            return None;
        }
        let wish = Arc::clone(&entry.wish);
        match entry.extent {
            Extent::Dialog => entry.until = now.saturating_add(DIALOG),
            Extent::Transaction | Extent::StatelessReplies => {}
        }
        let is_final = msg.is_reply() && msg.status() >= 200 && cseq.method != Method::Cancel;
        if is_final && direction == Direction::Out {
            let (invite, accepted) = (cseq.method == Method::Invite, msg.status() < 300);
            entry.accepted |= invite && accepted;
            let ends = match entry.extent {
                Extent::Dialog => cseq.method == Method::Bye || (invite && !accepted && !entry.accepted),
                Extent::Transaction | Extent::StatelessReplies => true,
            };
            if ends {
                entry.until = now.saturating_add(ANSWERED);
            }
        }
        Some(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::In;
    use Direction::Out;

    fn message(first: &str, cseq: &str) -> Message {
        let text = format!(
            "{first}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: {cseq}\r\n\r\n"
        );
        Message::parse(text).unwrap()
    }

    #[test]
    fn transactions_and_dialogs() {
        let invite = message("INVITE sip:b@b SIP/2.0", "1 INVITE");
        let ringing = message("SIP/2.0 180 Ringing", "1 INVITE");
        let ok = message("SIP/2.0 200 OK", "1 INVITE");
        let busy = message("SIP/2.0 486 Busy", "1 INVITE");
        let ack = message("ACK sip:b@b SIP/2.0", "1 ACK");
        let bye = message("BYE sip:b@b SIP/2.0", "2 BYE");
        let gone = message("SIP/2.0 200 OK", "2 BYE");
        type Step<'a> = (&'a Message, Direction, bool, Millis, bool);
        let cases: [(Extent, &[Step<'_>]); 4] = [
            (
                Extent::Transaction,
                &[
                    (&ringing, In, false, 0, true),
                    (&busy, Out, false, 10, true),
                    (&ack, In, false, 20, true),
                    (&bye, In, false, 30, false),
                    (&ack, In, false, 32_010, false),
                ],
            ),
            (
                Extent::Transaction,
                &[
                    (&ok, Out, false, 0, true),
                    (&ok, Out, false, 1, true),
                    (&ack, In, false, 2, false),
                ],
            ),
            (
                Extent::StatelessReplies,
                &[(&ringing, Out, false, 0, false), (&busy, Out, true, 0, true)],
            ),
            (
                Extent::Dialog,
                &[
                    (&ok, Out, false, 0, true),
                    (&ack, In, false, 1, true),
                    (&bye, In, false, 7_000_000, true),
                    (&gone, Out, false, 7_000_000, true),
                    (&gone, Out, false, 7_031_999, true),
                    (&gone, Out, false, 7_100_000, false),
                ],
            ),
        ];
        for (extent, steps) in cases {
            let followed = Followed::default();
            assert!(!followed.is_any());
            assert!(followed.add(&invite, extent, Arc::default(), 0));
            for (at, (msg, direction, stateless, now, expected)) in steps.iter().enumerate() {
                let found = followed.of(msg, *direction, *stateless, *now);
                assert_eq!(found.is_some(), *expected, "{extent:?} {at}");
            }
            followed.sweep(100_000_000);
            assert!(!followed.is_any());
        }
    }

    #[test]
    fn there_is_a_bound() {
        let followed = Followed::default();
        for n in 0..MOST {
            let msg = message("OPTIONS sip:b@b SIP/2.0", &format!("{n} OPTIONS"));
            assert!(followed.add(&msg, Extent::Transaction, Arc::default(), 0));
        }
        let one_more = message("OPTIONS sip:b@b SIP/2.0", "1000000 OPTIONS");
        assert!(!followed.add(&one_more, Extent::Transaction, Arc::default(), 1));
        assert!(followed.add(&one_more, Extent::Transaction, Arc::default(), TRANSACTION));
        assert_eq!(followed.entries.lock().len(), 1);
    }
}
