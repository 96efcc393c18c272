//! Event packages: what a module teaches the notifier about an event (RFC 6665 §5.4).

use parking_lot::RwLock;
use shared::db::Error;
use std::sync::Arc;

/// Whether a subscription is in force (RFC 6665 §4.1.2); the numbers are those of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is.
    Active = 1,
    /// The presentity has not decided.
    Pending = 2,
    /// It has ended.
    Terminated = 3,
    /// It ended before it was decided (RFC 3857 §4.7.1).
    Waiting = 4,
}

impl Status {
    /// Its word in Subscription-State and in watcher information.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Terminated => "terminated",
            Self::Waiting => "waiting",
        }
    }

    /// The status of a number in a table.
    pub(crate) fn of(number: i64) -> Self {
        match number {
            1 => Self::Active,
            3 => Self::Terminated,
            4 => Self::Waiting,
            _ => Self::Pending,
        }
    }
}

/// The reason of an active subscription that is told nothing (RFC 5025 §3.2.1).
pub(crate) const POLITE_BLOCK: &str = "polite-block";

/// What a presentity grants a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The status.
    pub(crate) status: Status,
    /// Why; empty where there is nothing to say.
    pub(crate) reason: &'static str,
}

impl Standing {
    /// Granted.
    pub(crate) const ACTIVE: Self = Self {
        status: Status::Active,
        reason: "",
    };
    /// Not decided.
    pub(crate) const PENDING: Self = Self {
        status: Status::Pending,
        reason: "",
    };
    /// Refused.
    pub(crate) const REJECTED: Self = Self {
        status: Status::Terminated,
        reason: "rejected",
    };
    /// Granted in appearance.
    pub(crate) const POLITE_BLOCK: Self = Self {
        status: Status::Active,
        reason: POLITE_BLOCK,
    };
}

/// Who may watch whom.
pub(crate) trait Rules: Send + Sync {
    /// What the user of a domain grants a watcher, both as URIs without parameters.
    fn standing(&self, presentity: &Presentity, watcher: &str) -> Result<Standing, Error>;
}

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Presentity {
    /// The user, with escapes resolved; may be empty.
    pub(crate) user: Vec<u8>,
    /// The domain.
    pub(crate) domain: Vec<u8>,
}

impl Presentity {
    /// Its URI.
    pub(crate) fn uri(&self) -> Vec<u8> {
        uri_of(&self.user, &self.domain)
    }
}

/// The SIP URI of a user; the user may be empty.
pub(crate) fn uri_of(user: &[u8], domain: &[u8]) -> Vec<u8> {
    if user.is_empty() {
        [b"sip:", domain].concat()
    } else {
        [b"sip:", user, b"@", domain].concat()
    }
}

/// One watcher, for watcher information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watcher {
    /// What tells this subscription from others.
    pub(crate) id: String,
    /// Who watches.
    pub(crate) uri: String,
    /// What brought it to its status (RFC 3858).
    pub(crate) event: &'static str,
    /// Its status.
    pub(crate) status: &'static str,
}

/// An event package.
pub(crate) trait Package: Send + Sync {
    /// Its name in Event.
    fn name(&self) -> &'static str;
    /// Content-Type of its NOTIFY.
    fn content_type(&self) -> &'static str;
    /// Lifetime of what asks for none, s.
    fn default_expires(&self) -> u32 {
        3600
    }
    /// Whether this body may be published.
    fn accepts(&self, body: &[u8]) -> bool;
    /// The body that tells a watcher what was published, the newest first; none: there is nothing to tell.
    fn document(&self, presentity: &Presentity, bodies: &[&[u8]]) -> Option<Vec<u8>>;
    /// The document as one watcher gets it: `version` is the number of the NOTIFY.
    fn addressed(&self, document: Vec<u8>, _version: u32) -> Vec<u8> {
        document
    }
    /// What watchers are told of a publication that its publisher took back; none: as if it had never been.
    fn offline(&self, _body: &[u8]) -> Option<Vec<u8>> {
        None
    }
    /// Whether the table of watchers has rows for it.
    fn records_watchers(&self) -> bool {
        false
    }
    /// Who may watch; none: everyone.
    fn rules(&self) -> Option<&dyn Rules> {
        None
    }
    /// The package whose watchers it tells of: `presence` for `presence.winfo` (RFC 3857).
    fn watched(&self) -> Option<&'static str> {
        None
    }
    /// A watcher information document; `state` is `full` or `partial`.
    fn watcherinfo(&self, _resource: &str, _version: u32, _state: &str, _watchers: &[Watcher]) -> Vec<u8> {
        Vec::new()
    }
}

/// The packages that modules brought.
#[derive(Default)]
pub(crate) struct Packages {
    list: RwLock<Vec<Arc<dyn Package>>>,
}

impl Packages {
    /// Adds one.
    pub(crate) fn add(&self, package: Arc<dyn Package>) {
        self.list.write().push(package);
    }

    /// The package of this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<dyn Package>> {
        let list = self.list.read();
        list.iter()
            .find(|package| package.name().as_bytes().eq_ignore_ascii_case(name))
            .map(Arc::clone)
    }

    /// The package that tells of the watchers of this one.
    pub(super) fn watching(&self, name: &str) -> Option<Arc<dyn Package>> {
        let list = self.list.read();
        list.iter()
            .find(|package| package.watched() == Some(name))
            .map(Arc::clone)
    }

    /// Their names for Allow-Events, the last added first.
    pub(super) fn names(&self) -> String {
        let list = self.list.read();
        let names: Vec<&str> = list.iter().rev().map(|package| package.name()).collect();
        names.join(", ")
    }
}
