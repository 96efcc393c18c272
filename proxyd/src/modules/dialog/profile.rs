//! Profiles: counting dialogs by what the script says of them (`set_dlg_profile`, `get_profile_size`).

use super::Dialogs;
use super::pv;
use super::record::DELETED;
use super::record::Dialog;
use super::track;
use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::CompiledArg;
use crate::script::value::Value;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// A profile.
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) has_value: bool,
    counts: Mutex<BTreeMap<Box<[u8]>, usize>>,
}

/// Reads `name;name;…`.
pub(super) fn parse(text: &str, has_value: bool) -> impl Iterator<Item = Profile> {
    let names = text.split(';').map(str::trim).filter(|name| !name.is_empty());
    names.map(move |name| {
        // name/s: shared by nodes, of which there is one here
        let name = name.split('/').next().unwrap_or(name).to_owned();
        Profile {
            name,
            has_value,
            counts: Mutex::default(),
        }
    })
}

impl Profile {
    /// How many dialogs are in it, with this value if one is given.
    pub(super) fn size(&self, value: Option<&[u8]>) -> usize {
        let counts = self.counts.lock();
        match value.filter(|_| self.has_value) {
            Some(value) => counts.get(value).copied().unwrap_or(0),
            None => counts.values().sum(),
        }
    }

    fn change(&self, value: &[u8], more: bool) {
        let mut counts = self.counts.lock();
        let count = counts.entry(value.into()).or_default();
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            counts.remove(value);
        }
    }
}

/// Takes a dialog out of all profiles.
pub(super) fn leave_all(state: &Dialogs, dialog: &Dialog) {
    let profiles = std::mem::take(&mut dialog.inner.lock().profiles);
    for (at, value) in profiles {
        if let Some(profile) = state.profiles.get(at) {
            profile.change(&value, false);
        }
    }
}

/// Puts a dialog back into the counters of new profiles, after a reload.
pub(super) fn recount(profiles: &[Profile], old: &[Profile], dialog: &Dialog) {
    let mut inner = dialog.inner.lock();
    let moved = std::mem::take(&mut inner.profiles)
        .into_iter()
        .filter_map(|(at, value)| {
            let name = &old.get(at)?.name;
            let at = profiles.iter().position(|profile| profile.name == *name)?;
            profiles.get(at)?.change(&value, true);
            Some((at, value))
        });
    inner.profiles = moved.collect();
}

/// The profile and value that a call names.
fn named<'a>(call: &Call<'_, 'a>) -> Option<(&'a Dialogs, usize, Vec<u8>)> {
    let state = call.state::<Dialogs>()?;
    let name = call.text(0);
    let Some(at) = state
        .profiles
        .iter()
        .position(|profile| profile.name.as_bytes() == &*name)
    else {
        log::error(
            "dialog",
            format_args!(
                "{}: profile <{}> not defined",
                call.name,
                String::from_utf8_lossy(&name)
            ),
        );
        return None;
    };
    let has_value = state.profiles.get(at).is_some_and(|profile| profile.has_value);
    let value = if has_value { call.text_owned(1) } else { Vec::new() };
    Some((state, at, value))
}

/// `set_dlg_profile(profile[, value])`.
pub(super) fn set(call: &mut Call<'_, '_>) -> Code {
    let Some((state, at, value)) = named(call) else {
        return Code::FALSE;
    };
    match track::current(call.env) {
        Some((dialog, _)) => Code::from(enter(state, &dialog, (at, value))),
        // The dialog that this request makes will be in it.
        None => {
            let name = at.to_string();
            pv::set_pending(
                call.env,
                track::PENDING_PROFILES,
                name.as_bytes(),
                Value::text(&value),
            );
            Code::TRUE
        }
    }
}

/// Puts a dialog into a profile; false when it is over.
pub(super) fn enter(state: &Dialogs, dialog: &Dialog, entry: (usize, Vec<u8>)) -> bool {
    let mut inner = dialog.inner.lock();
    if inner.state == DELETED {
        return false;
    }
    if !inner.profiles.contains(&entry) {
        if let Some(profile) = state.profiles.get(entry.0) {
            profile.change(&entry.1, true);
        }
        inner.profiles.insert(0, entry);
    }
    true
}

/// `unset_dlg_profile(profile[, value])`.
pub(super) fn unset(call: &mut Call<'_, '_>) -> Code {
    let Some((state, at, value)) = named(call) else {
        return Code::FALSE;
    };
    let Some((dialog, _)) = track::current(call.env) else {
        return Code::FALSE;
    };
    let entry = (at, value);
    let mut inner = dialog.inner.lock();
    let Some(place) = inner.profiles.iter().position(|known| *known == entry) else {
        return Code::FALSE;
    };
    inner.profiles.remove(place);
    if let Some(profile) = state.profiles.get(at) {
        profile.change(&entry.1, false);
    }
    Code::TRUE
}

/// `is_in_profile(profile[, value])`.
pub(super) fn is_in(call: &mut Call<'_, '_>) -> Code {
    let Some((_, at, value)) = named(call) else {
        return Code::FALSE;
    };
    let Some((dialog, _)) = track::current(call.env) else {
        return Code::FALSE;
    };
    let any = !call.has(1);
    let inner = dialog.inner.lock();
    Code::from(
        inner
            .profiles
            .iter()
            .any(|(known, with)| *known == at && (any || *with == value)),
    )
}

/// `get_profile_size(profile[, value], size)`.
pub(super) fn size(call: &mut Call<'_, '_>) -> Code {
    let Some((state, at, value)) = named(call) else {
        return Code::FALSE;
    };
    let Some(profile) = state.profiles.get(at) else {
        return Code::FALSE;
    };
    let args = call.args;
    let target = args.iter().rev().find(|arg| !matches!(arg, CompiledArg::Absent));
    let by_value = call.count() == 3 && !value.is_empty();
    let size = Value::Int(i64::try_from(profile.size(by_value.then_some(&*value))).unwrap_or(i64::MAX));
    let pv = match target {
        Some(CompiledArg::Pv(pv)) => Some(pv),
        Some(CompiledArg::Format(format)) => format.variables().next(),
        _ => None,
    };
    let Some(pv) = pv else {
        log::error(
            "dialog",
            format_args!("get_profile_size: the last argument is no variable"),
        );
        return Code::FALSE;
    };
    Code::from(pv.write(call.env, size).is_ok())
}
