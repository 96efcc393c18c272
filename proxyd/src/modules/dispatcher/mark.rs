//! States given by the script, calls counted by it, and the event routes that hear of both.

use super::Dispatcher;
use super::destination;
use super::destination::Change;
use super::destination::INACTIVE;
use super::pv;
use super::pv::Event;
use super::select;
use crate::log;
use crate::script::exec;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::sip::Method;

/// The code that an event route is told when a request's route marked the destination.
const BY_SCRIPT: u16 = 820;

/// `ds_mark_dst([state])`.
pub(super) fn mark_dst(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let text = call.text(0);
    let Some(wanted) = (if call.has(0) {
        destination::parse_state(&text)
    } else {
        Some(INACTIVE)
    }) else {
        log::warning(
            "dispatcher",
            format_args!("Failed to parse state flags: {}", String::from_utf8_lossy(&text)),
        );
        return Code::FALSE;
    };
    if !state.failover() {
        log::warning("dispatcher", format_args!("failover support disabled"));
        return Code::FALSE;
    }
    let Some(current) = select::current(call.env, &state.xavp_dst) else {
        return Code::FALSE;
    };
    set_state(state, call.env, current.set, &current.uri, wanted)
}

/// `ds_mark_addr(state, set, uri)`.
pub(super) fn mark_addr(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let Some(wanted) = destination::parse_state(&call.text(0)) else {
        return Code::FALSE;
    };
    let (set, uri) = (call.int(1), call.text_owned(2));
    set_state(state, call.env, set, &uri, wanted)
}

fn set_state(state: &Dispatcher, env: &mut Env<'_>, set: i64, uri: &[u8], wanted: u32) -> Code {
    let change = match state.sets.load().find(set, uri) {
        Some(destination) => destination.update(wanted, state.thresholds),
        None => return Code::FALSE,
    };
    if state.event_mode != 1 {
        let msg = &env.ctx.msg;
        let (code, reason) = if msg.is_reply() {
            (msg.status(), Some(msg.reason().to_vec()))
        } else {
            (BY_SCRIPT, None)
        };
        let uri = uri.to_vec();
        tell(
            env,
            change,
            Event {
                set,
                uri,
                code,
                reason,
            },
        );
    }
    Code::TRUE
}

/// Runs the event route of a change.
pub(super) fn tell(env: &mut Env<'_>, change: Change, event: Event) {
    let name = match change {
        Change::None => return,
        Change::Down => "dispatcher:dst-down",
        Change::Up => "dispatcher:dst-up",
    };
    pv::during(event, || exec::run_event(name, env));
}

/// `ds_load_update()`.
pub(super) fn load_update(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    let (status, method) = (msg.status(), msg.method());
    if status == 0 {
        if matches!(method, Method::Bye | Method::Cancel)
            && !state.loads.remove(&state.sets.load(), msg.call_id())
        {
            log::error(
                "dispatcher",
                format_args!(
                    "cannot find load for ({})",
                    String::from_utf8_lossy(msg.call_id())
                ),
            );
        }
    } else if method == Method::Invite && (200..300).contains(&status) {
        let expires = call.env.host.now().saturating_add(state.expire);
        state.loads.confirm(msg.call_id(), expires);
    }
    Code::TRUE
}

/// `ds_load_unset()`.
pub(super) fn load_unset(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    state.loads.remove(&state.sets.load(), call.env.ctx.msg.call_id());
    Code::TRUE
}
