//! What scripts ask of a dialog besides following it.

use super::Dialogs;
use super::bye;
use super::bye::Whom;
use super::pv;
use super::track;
use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::value::Value;

/// `is_known_dlg()`.
pub(super) fn is_known_dlg(call: &mut Call<'_, '_>) -> Code {
    Code::from(track::current(call.env).is_some())
}

/// What is done with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagAction {
    Set,
    Reset,
    Ask,
}

/// `dlg_setflag(flag)` and its kin.
pub(super) fn flag(call: &mut Call<'_, '_>, action: FlagAction) -> Code {
    let number = u32::try_from(call.int(0)).ok().filter(|n| *n < 32);
    let Some(number) = number else {
        return Code::FALSE;
    };
    let change = |flags: u32| match action {
        FlagAction::Set => flags | 1 << number,
        FlagAction::Reset => flags & !(1 << number),
        FlagAction::Ask => flags,
    };
    let flags = match track::current(call.env) {
        Some((dialog, _)) => {
            let mut inner = dialog.inner.lock();
            inner.flags = change(inner.flags);
            inner.flags
        }
        None => {
            let before = pv::pending(call.env, track::PENDING_CTX, b"flags");
            let flags = change(before.map_or(0, |flags| flags.to_int() as u32));
            pv::set_pending(call.env, track::PENDING_CTX, b"flags", Value::Int(flags.into()));
            flags
        }
    };
    Code::from(action != FlagAction::Ask || flags & 1 << number != 0)
}

/// `dlg_bye(side)`.
pub(super) fn dlg_bye(call: &mut Call<'_, '_>) -> Code {
    let whom = match &*call.text(0) {
        b"caller" => Whom::Caller,
        b"callee" => Whom::Callee,
        b"all" => Whom::Both,
        other => {
            log::error(
                "dialog",
                format_args!(
                    "dlg_bye: {:?} is none of caller, callee, all",
                    String::from_utf8_lossy(other)
                ),
            );
            return Code::FALSE;
        }
    };
    let Some((dialog, _)) = track::current(call.env) else {
        return Code::FALSE;
    };
    bye::send(call.env, &dialog, whom, b"");
    track::end_by_bye(call.env, &dialog);
    Code::TRUE
}

/// `dlg_set_timeout(timeout[, h_entry, h_id])`.
pub(super) fn set_timeout(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dialogs>() else {
        return Code::FALSE;
    };
    let Some(seconds) = u64::try_from(call.int(0)).ok().filter(|seconds| *seconds > 0) else {
        return Code::FALSE;
    };
    let named = match (call.opt_int(1), call.opt_int(2)) {
        (Some(entry), Some(id)) => u32::try_from(entry).ok().zip(u32::try_from(id).ok()),
        _ => None,
    };
    let found = match named {
        Some((entry, id)) => state.table.by_id(entry, id),
        None => track::current(call.env).map(|(dialog, _)| dialog),
    };
    let Some(dialog) = found else { return Code::FALSE };
    let now = call.env.host.wall().as_secs();
    let mut inner = dialog.inner.lock();
    inner.lifetime = seconds;
    if inner.timeout > 0 {
        inner.timeout = now.saturating_add(seconds);
    }
    Code::TRUE
}

/// `dlg_get(callid, ftag, ttag)`: true when there is such a dialog.
pub(super) fn get(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dialogs>() else {
        return Code::FALSE;
    };
    Code::from(
        state
            .table
            .find(&call.text(0), &call.text(1), &call.text(2))
            .is_some(),
    )
}

/// `dlg_get_var(callid, ftag, ttag, name, dst)`.
pub(super) fn get_var(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dialogs>() else {
        return Code::FALSE;
    };
    let found = state.table.find(&call.text(0), &call.text(1), &call.text(2));
    let Some(value) = found.and_then(|(dialog, _)| dialog.variable(&call.text(3))) else {
        return Code::FALSE;
    };
    Code::from(call.assign(4, Value::text(&value)))
}

/// `dlg_set_var(callid, ftag, ttag, name, value)`.
pub(super) fn set_var(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dialogs>() else {
        return Code::FALSE;
    };
    let found = state.table.find(&call.text(0), &call.text(1), &call.text(2));
    let Some((dialog, _)) = found else {
        return Code::FALSE;
    };
    dialog.set_variable(&call.text(3), Some(call.text_owned(4)));
    Code::TRUE
}

/// `dlg_set_property(attr)`, `dlg_reset_property(attr)`: accepted.
pub(super) fn property(call: &mut Call<'_, '_>) -> Code {
    Code::from(track::current(call.env).is_some())
}
