//! Who watches: the table `watchers`, and what watchers of watchers are told (RFC 3857).

use super::Presence;
use super::notify;
use super::package::Package;
use super::package::Status;
use super::package::Watcher;
use super::subscription::Subscription;
use crate::script::host::Host;
use shared::db::Delete;
use shared::db::Error;
use shared::db::Insert;
use shared::db::Op;
use shared::db::Select;
use shared::db::Update;

/// How long a watcher that nobody decided about is remembered, s.
const PENDING_KEPT: i64 = 3 * 24 * 3600;

/// What became of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It subscribed, or its status changed by this event (RFC 3858).
    Is(&'static str),
    /// It is gone.
    Gone,
}

/// Notes the status of a watcher in the table.
pub(super) fn record(state: &Presence, subscription: &Subscription, now: i64) -> Result<(), Error> {
    let key = [
        ("presentity_uri", &subscription.presentity),
        ("watcher_username", &subscription.watcher_user),
        ("watcher_domain", &subscription.watcher_domain),
    ];
    let (event, status) = (subscription.event.as_str(), subscription.status as i64);
    let mut select = Select::from(&state.watchers_table)
        .columns(&["status", "reason"])
        .eq("event", event);
    for (column, value) in key {
        select = select.eq(column, &**value);
    }
    state.db.with(|db| {
        let known = db.query(&select)?;
        let Some(row) = known.first() else {
            let mut insert = Insert::into(&state.watchers_table)
                .set("event", event)
                .set("status", status)
                .set("reason", subscription.reason.as_str())
                .set("inserted_time", now);
            for (column, value) in key {
                insert = insert.set(column, &**value);
            }
            return db.insert(&insert).map(drop);
        };
        let same =
            row.int("status") == Some(status) && row.str("reason").unwrap_or_default() == subscription.reason;
        if same {
            return Ok(());
        }
        let mut update = Update::table(&state.watchers_table)
            .eq("event", event)
            .set("status", status)
            .set("reason", subscription.reason.as_str());
        for (column, value) in key {
            update = update.eq(column, &**value);
        }
        db.update(&update).map(drop)
    })
}

/// Forgets watchers that have been pending for long.
pub(super) fn clean(state: &Presence, now: i64) -> Result<(), Error> {
    let delete = Delete::from(&state.watchers_table)
        .eq("status", Status::Pending as i64)
        .filter("inserted_time", Op::Lt, now.saturating_sub(PENDING_KEPT));
    state.db.with(|db| db.delete(&delete)).map(drop)
}

/// Tells those who watch the watchers of this subscription's presentity.
pub(super) fn tell(state: &Presence, host: &mut dyn Host, subscription: &Subscription, change: Change) {
    let Some(package) = state.packages.watching(&subscription.event) else {
        return;
    };
    let now = host.wall().as_secs();
    let (presentity, name) = (&subscription.presentity, package.name());
    let Some(to_tell) = state.heed(state.subscriptions.watching(presentity, name, now)) else {
        return;
    };
    for one in to_tell.iter().filter(|one| one.is_informed()) {
        let body = match change {
            Change::Is(event) => document(&*package, one, "partial", &[describe(subscription, event)]),
            Change::Gone => full(state, &*package, one, now),
        };
        notify::tell(state, host, &*package, one, Some(body));
    }
}

/// The document with every watcher, for a subscription to watcher information.
pub(super) fn full(
    state: &Presence,
    package: &dyn Package,
    subscription: &Subscription,
    now: u64,
) -> Vec<u8> {
    let watched = package.watched().unwrap_or_default();
    let watching = state.heed(
        state
            .subscriptions
            .watching(&subscription.presentity, watched, now),
    );
    let watchers: Vec<Watcher> = watching
        .iter()
        .flatten()
        .map(|one| describe(one, "subscribe"))
        .collect();
    document(package, subscription, "full", &watchers)
}

fn document(
    package: &dyn Package,
    subscription: &Subscription,
    state: &str,
    watchers: &[Watcher],
) -> Vec<u8> {
    let resource = String::from_utf8_lossy(&subscription.presentity);
    package.watcherinfo(&resource, subscription.version, state, watchers)
}

fn describe(subscription: &Subscription, event: &'static str) -> Watcher {
    Watcher {
        id: String::from_utf8_lossy(&subscription.dialog.call_id).into_owned(),
        uri: String::from_utf8_lossy(&subscription.watcher()).into_owned(),
        event,
        status: subscription.status.name(),
    }
}
