//! Subscriptions in memory, by dialog and by what they watch.

use super::subscription::DialogId;
use super::subscription::Subscription;
use ahash::AHashMap;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Subscriptions that are kept; more are refused.
const SUBSCRIPTIONS_MAX: usize = 250_000;

/// What is watched: URI of the presentity, event.
type Watched = (Vec<u8>, String);

/// The table.
#[derive(Default)]
pub(super) struct Table {
    by_dialog: BTreeMap<DialogId, Subscription>,
    by_presentity: AHashMap<Watched, Vec<DialogId>>,
    /// Changed since the database was written.
    pub(super) changed: BTreeSet<DialogId>,
    /// Removed since the database was written.
    pub(super) removed: BTreeSet<DialogId>,
}

impl Table {
    /// Adds a subscription; false when there are too many.
    pub(super) fn add(&mut self, key: Vec<u8>, subscription: Subscription) -> bool {
        if self.by_dialog.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        let dialog = subscription.dialog.clone();
        let watched = (key, subscription.event.clone());
        self.removed.remove(&dialog);
        self.changed.insert(dialog.clone());
        if self.by_dialog.insert(dialog.clone(), subscription).is_none() {
            self.by_presentity.entry(watched).or_default().push(dialog);
        }
        true
    }

    /// The subscription of a dialog.
    pub(super) fn find(&self, dialog: &DialogId) -> Option<&Subscription> {
        self.by_dialog.get(dialog)
    }

    /// Changes the subscription of a dialog; returns what it became.
    pub(super) fn update(
        &mut self,
        dialog: &DialogId,
        change: impl FnOnce(&mut Subscription),
    ) -> Option<Subscription> {
        let subscription = self.by_dialog.get_mut(dialog)?;
        change(subscription);
        self.changed.insert(dialog.clone());
        Some(subscription.clone())
    }

    /// Removes the subscription of a dialog; `key` makes the key of a presentity.
    pub(super) fn remove(
        &mut self,
        dialog: &DialogId,
        key: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Option<Subscription> {
        let subscription = self.by_dialog.remove(dialog)?;
        let watched = (key(&subscription.presentity), subscription.event.clone());
        if let Some(dialogs) = self.by_presentity.get_mut(&watched) {
            dialogs.retain(|other| other != dialog);
            if dialogs.is_empty() {
                self.by_presentity.remove(&watched);
            }
        }
        self.changed.remove(dialog);
        // Where nothing is ever written, what is no longer remembered here ends in the database by its time.
        if self.removed.len() < SUBSCRIPTIONS_MAX {
            self.removed.insert(dialog.clone());
        }
        Some(subscription)
    }

    /// The subscriptions to an event of a presentity, the oldest first.
    pub(super) fn watching(&self, key: Vec<u8>, event: &str) -> Vec<Subscription> {
        let dialogs = self.by_presentity.get(&(key, event.to_owned()));
        let dialogs = dialogs.map(Vec::as_slice).unwrap_or_default();
        dialogs
            .iter()
            .filter_map(|dialog| self.by_dialog.get(dialog))
            .cloned()
            .collect()
    }

    /// The dialogs of subscriptions that have ended by then.
    pub(super) fn ended(&self, now: u64) -> Vec<DialogId> {
        let ended = self
            .by_dialog
            .iter()
            .filter(|(_, subscription)| subscription.ends <= now);
        ended.map(|(dialog, _)| dialog.clone()).collect()
    }
}
