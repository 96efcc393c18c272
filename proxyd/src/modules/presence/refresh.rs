//! What happens without a request: rules that change, state that is set elsewhere, time that runs out.

use super::Presence;
use super::notify;
use super::package::Package;
use super::package::Presentity;
use super::package::Rules;
use super::package::Status;
use super::watchers;
use super::watchers::Change;
use crate::script::host::Host;
use crate::script::module::Env;
use shared::db::Error;

/// Work that an operator asked for; the timer does it, as it may send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// The published state changed in the database.
    State(Presentity, String),
    /// The rules changed.
    Rules(Presentity, String),
    /// Remove what has ended now.
    Clean,
}

/// Tasks that wait; more are refused.
pub(super) const TASKS_MAX: usize = 1000;

/// Does what operators asked for.
pub(super) fn run_tasks(env: &mut Env<'_>) {
    let Some(state) = env.state::<Presence>() else {
        return;
    };
    let tasks = std::mem::take(&mut *state.tasks.lock());
    for task in tasks {
        match task {
            Task::State(presentity, event) => {
                tell_state(state, env.host, &presentity, event.as_bytes());
            }
            Task::Rules(presentity, event) => {
                judge_again(state, env.host, &presentity, event.as_bytes());
            }
            Task::Clean => {
                clean_publications(state, env.host);
                clean_subscriptions(state, env.host);
            }
        }
    }
}

/// Tells every watcher the state as it is; false for an event that is not known.
pub(super) fn tell_state(
    state: &Presence,
    host: &mut dyn Host,
    presentity: &Presentity,
    event: &[u8],
) -> bool {
    let Some(package) = state.packages.find(event) else {
        return false;
    };
    let now = host.wall().as_secs();
    let body = notify::published(state, &*package, presentity, now);
    notify::tell_all(state, host, &*package, presentity, body.as_deref(), b"");
    true
}

/// Asks the rules about every watcher again, and tells those for whom something changed; false where there are no rules.
pub(super) fn judge_again(
    state: &Presence,
    host: &mut dyn Host,
    presentity: &Presentity,
    event: &[u8],
) -> bool {
    let Some(package) = state.packages.find(event) else {
        return false;
    };
    let Some(rules) = package.rules() else {
        return false;
    };
    let judged = judge(state, host, presentity, &*package, rules);
    state.heed(judged).is_some()
}

fn judge(
    state: &Presence,
    host: &mut dyn Host,
    presentity: &Presentity,
    package: &dyn Package,
    rules: &dyn Rules,
) -> Result<(), Error> {
    let now = host.wall().as_secs();
    for one in state
        .subscriptions
        .watching(&presentity.uri(), package.name(), now)?
    {
        let standing = rules.standing(presentity, &String::from_utf8_lossy(&one.watcher()))?;
        if (one.status, one.reason.as_str()) == (standing.status, standing.reason) {
            continue;
        }
        let change = |subscription: &mut super::subscription::Subscription| {
            subscription.status = standing.status;
            subscription.reason = standing.reason.to_owned();
        };
        let changed = if standing.status == Status::Terminated {
            let removed = state.subscriptions.remove(&one.dialog, now)?;
            removed.map(|mut subscription| {
                change(&mut subscription);
                subscription
            })
        } else {
            state.subscriptions.update(&one.dialog, now, change)?
        };
        let Some(changed) = changed else { continue };
        if package.records_watchers() {
            state.heed(watchers::record(
                state,
                &changed,
                i64::try_from(now).unwrap_or(i64::MAX),
            ));
        }
        let event = match standing.status {
            Status::Active => "approved",
            Status::Terminated => "rejected",
            Status::Pending | Status::Waiting => "deactivated",
        };
        watchers::tell(state, host, &changed, Change::Is(event));
        let body = notify::body(state, package, &changed, now);
        if changed.status == Status::Terminated {
            notify::tell_last(host, package, changed, body);
        } else {
            notify::tell(state, host, package, &changed, body);
        }
    }
    Ok(())
}

/// Removes publications that have ended, and tells watchers what is left.
pub(super) fn clean_publications(state: &Presence, host: &mut dyn Host) {
    let now = host.wall().as_secs();
    state.heed(watchers::clean(state, i64::try_from(now).unwrap_or(i64::MAX)));
    let ended = state
        .heed(state.publications.remove_ended(now))
        .unwrap_or_default();
    if state.force_delete {
        return;
    }
    for subject in ended {
        tell_state(state, host, &subject.presentity, subject.event.as_bytes());
    }
}

/// Ends subscriptions whose time is over, and writes the others to the database.
pub(super) fn clean_subscriptions(state: &Presence, host: &mut dyn Host) {
    let now = host.wall().as_secs();
    let ended = state.heed(state.subscriptions.take_ended(now));
    for one in ended.unwrap_or_default() {
        watchers::tell(state, host, &one, Change::Gone);
        if let Some(package) = state.packages.find(one.event.as_bytes()) {
            let body = notify::body(state, &*package, &one, now);
            notify::tell_last(host, &*package, one, body);
        }
    }
    state.heed(state.subscriptions.flush());
}
