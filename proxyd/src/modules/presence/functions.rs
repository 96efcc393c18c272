//! What scripts ask and cause beside PUBLISH and SUBSCRIBE.

use super::Presence;
use super::notify;
use super::package::POLITE_BLOCK;
use super::package::Presentity;
use super::package::Standing;
use super::refresh;
use crate::script::module::Call;
use crate::script::module::Code;

/// What `pres_auth_status()` returns where a watcher is refused politely.
const POLITELY: Code = Code(5);

fn presentity(call: &Call<'_, '_>, n: usize) -> Option<Presentity> {
    notify::presentity_of(&call.text(n))
}

/// `pres_auth_status(watcher, presentity)`.
pub(super) fn pres_auth_status(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(presentity)) = (call.state::<Presence>(), presentity(call, 1)) else {
        return Code::FALSE;
    };
    let Some(package) = state.packages.find(b"presence") else {
        return Code::FALSE;
    };
    let watcher = notify::presentity_of(&call.text(0)).map(|watcher| watcher.uri());
    let standing = match (package.rules(), watcher) {
        (_, None) => return Code::FALSE,
        // Kamailio: without rules it is pending, whatever force_active grants to subscriptions.
        (None, _) => Standing::PENDING,
        (Some(rules), Some(watcher)) => {
            let asked = rules.standing(&presentity, &String::from_utf8_lossy(&watcher));
            match state.heed(asked) {
                Some(standing) => standing,
                None => return Code::FALSE,
            }
        }
    };
    if standing.reason == POLITE_BLOCK {
        return POLITELY;
    }
    Code(standing.status as i32)
}

/// `pres_has_subscribers(presentity, event)`.
pub(super) fn pres_has_subscribers(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(presentity)) = (call.state::<Presence>(), presentity(call, 0)) else {
        return Code::FALSE;
    };
    let Some(package) = state.packages.find(&call.text(1)) else {
        return Code::FALSE;
    };
    let now = call.env.host.wall().as_secs();
    let found = state
        .subscriptions
        .watching(&presentity.uri(), package.name(), now);
    state.heed(found).is_some_and(|found| !found.is_empty()).into()
}

/// `pres_refresh_watchers(uri, event, type)`.
pub(super) fn pres_refresh_watchers(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(presentity)) = (call.state::<Presence>(), presentity(call, 0)) else {
        return Code::FALSE;
    };
    let (event, kind) = (call.text_owned(1), call.int(2));
    let host = &mut *call.env.host;
    if kind == 0 {
        refresh::judge_again(state, host, &presentity, &event).into()
    } else {
        refresh::tell_state(state, host, &presentity, &event).into()
    }
}

/// `pres_update_watchers(uri, event)`.
pub(super) fn pres_update_watchers(call: &mut Call<'_, '_>) -> Code {
    let (Some(state), Some(presentity)) = (call.state::<Presence>(), presentity(call, 0)) else {
        return Code::FALSE;
    };
    let event = call.text_owned(1);
    refresh::judge_again(state, call.env.host, &presentity, &event).into()
}
