//! One subscription: the dialog of a SUBSCRIBE, and its row in `active_watchers`.

use super::package::POLITE_BLOCK;
use super::package::Status;
use super::package::uri_of;
use shared::db::Insert;
use shared::db::Row;
use shared::db::Value;

/// What tells dialogs apart (RFC 3261 §12), seen from here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DialogId {
    /// Call-ID.
    pub(super) call_id: Box<[u8]>,
    /// Our tag.
    pub(super) to_tag: Box<[u8]>,
    /// The watcher's tag.
    pub(super) from_tag: Box<[u8]>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) dialog: DialogId,
    /// URI of the presentity.
    pub(super) presentity: Vec<u8>,
    pub(super) watcher_user: Vec<u8>,
    pub(super) watcher_domain: Vec<u8>,
    pub(super) to_user: Vec<u8>,
    pub(super) to_domain: Vec<u8>,
    pub(super) from_user: Vec<u8>,
    pub(super) from_domain: Vec<u8>,
    /// The event package.
    pub(super) event: String,
    /// `id` of Event (RFC 6665 §8.2.1); may be empty.
    pub(super) event_id: Vec<u8>,
    /// CSeq of the last NOTIFY.
    pub(super) local_cseq: u32,
    /// CSeq of the last SUBSCRIBE.
    pub(super) remote_cseq: u32,
    pub(super) contact: Vec<u8>,
    /// The Record-Route values, comma-separated.
    pub(super) record_route: Vec<u8>,
    /// Lifetime granted, s.
    pub(super) expires: u32,
    /// When it ends, seconds of wall time.
    pub(super) ends: u64,
    pub(super) status: Status,
    pub(super) reason: String,
    /// Number of the next document that its watcher is sent.
    pub(super) version: u32,
    /// The socket that the SUBSCRIBE came by: `udp:127.0.0.1:5060`.
    pub(super) socket: String,
    /// Our Contact.
    pub(super) local_contact: Vec<u8>,
    pub(super) user_agent: Vec<u8>,
}

/// The key of the table.
pub(super) const KEY: [&str; 3] = ["callid", "to_tag", "from_tag"];

impl Subscription {
    /// Who watches.
    pub(super) fn watcher(&self) -> Vec<u8> {
        uri_of(&self.watcher_user, &self.watcher_domain)
    }

    /// Whether the watcher is told the state of the presentity.
    pub(super) fn is_informed(&self) -> bool {
        self.status == Status::Active && self.reason != POLITE_BLOCK
    }

    /// Seconds left.
    pub(super) fn remaining(&self, now: u64) -> u64 {
        self.ends.saturating_sub(now)
    }

    /// Counts a NOTIFY about to be sent.
    pub(super) fn advance(&mut self) {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.version = self.version.saturating_add(1);
    }

    /// Its row.
    pub(super) fn insert<'a>(&self, table: &'a str) -> Insert<'a> {
        let optional = |text: &[u8]| {
            if text.is_empty() {
                Value::Null
            } else {
                Value::from(text)
            }
        };
        Insert::into(table)
            .set("presentity_uri", &*self.presentity)
            .set("watcher_username", &*self.watcher_user)
            .set("watcher_domain", &*self.watcher_domain)
            .set("to_user", &*self.to_user)
            .set("to_domain", &*self.to_domain)
            .set("from_user", &*self.from_user)
            .set("from_domain", &*self.from_domain)
            .set("event", self.event.as_str())
            .set("event_id", optional(&self.event_id))
            .set("to_tag", &*self.dialog.to_tag)
            .set("from_tag", &*self.dialog.from_tag)
            .set("callid", &*self.dialog.call_id)
            .set("local_cseq", self.local_cseq)
            .set("remote_cseq", self.remote_cseq)
            .set("contact", &*self.contact)
            .set("record_route", optional(&self.record_route))
            .set("expires", i64::try_from(self.ends).unwrap_or(i64::MAX))
            .set("status", self.status as i64)
            .set("reason", optional(self.reason.as_bytes()))
            .set("version", self.version)
            .set("socket_info", self.socket.as_str())
            .set("local_contact", &*self.local_contact)
            .set("updated", -1)
            .set("updated_winfo", -1)
            .set("flags", 0)
            .set("user_agent", &*self.user_agent)
    }

    /// Reads a row; none when it is not one of ours.
    pub(super) fn of_row(row: &Row<'_>, now: u64) -> Option<Self> {
        let bytes = |name: &str| {
            row.get(name)
                .map(|cell| cell.to_bytes().into_owned())
                .unwrap_or_default()
        };
        let text = |name: &str| String::from_utf8_lossy(&bytes(name)).into_owned();
        let number = |name: &str| row.int(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let ends = u64::try_from(row.int("expires")?).ok()?;
        Some(Self {
            dialog: DialogId {
                call_id: bytes("callid").into(),
                to_tag: bytes("to_tag").into(),
                from_tag: bytes("from_tag").into(),
            },
            presentity: bytes("presentity_uri"),
            watcher_user: bytes("watcher_username"),
            watcher_domain: bytes("watcher_domain"),
            to_user: bytes("to_user"),
            to_domain: bytes("to_domain"),
            from_user: bytes("from_user"),
            from_domain: bytes("from_domain"),
            event: text("event"),
            event_id: bytes("event_id"),
            local_cseq: number("local_cseq"),
            remote_cseq: number("remote_cseq"),
            contact: bytes("contact"),
            record_route: bytes("record_route"),
            expires: u32::try_from(ends.saturating_sub(now)).unwrap_or(u32::MAX),
            ends,
            status: Status::of(row.int("status").unwrap_or(0)),
            reason: text("reason"),
            version: number("version"),
            socket: text("socket_info"),
            local_contact: bytes("local_contact"),
            user_agent: bytes("user_agent"),
        })
    }
}
