//! Registrations in the script: `uac_reg_lookup` and its kin.

use super::Registrations;
use super::Uac;
use super::record::DISABLED;
use super::record::ONGOING;
use super::record::ONLINE;
use super::record::Profile;
use super::record::Wish;
use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::value::Value;
use shared::sip::Uri;

fn registrations<'a>(call: &Call<'_, 'a>) -> Option<&'a Registrations> {
    let found = call.state::<Uac>()?.registrations.as_ref();
    if found.is_none() {
        log::error(
            "uac",
            format_args!("{}: there are no registrations without reg_db_url", call.name),
        );
    }
    found
}

/// `uac_reg_lookup(uuid, dst)`.
pub(super) fn by_uuid(call: &mut Call<'_, '_>) -> Code {
    let Some(registrations) = registrations(call) else {
        return Code::FALSE;
    };
    let uuid = String::from_utf8_lossy(&call.text(0)).into_owned();
    let found = registrations
        .records
        .lock()
        .get(&uuid)
        .map(|record| format!("sip:{}@{}", record.profile.l_username, record.profile.l_domain));
    let Some(uri) = found else { return Code::FALSE };
    Code::from(call.assign(1, Value::text(uri.as_bytes())))
}

/// `uac_reg_lookup_uri(uri, dst)`.
pub(super) fn by_uri(call: &mut Call<'_, '_>) -> Code {
    let Some(registrations) = registrations(call) else {
        return Code::FALSE;
    };
    let text = call.text_owned(0);
    let Ok(uri) = Uri::parse(&text) else {
        return Code::FALSE;
    };
    let found = registrations
        .by_local(uri.user.unwrap_or_default(), uri.host)
        .map(|profile| profile.l_uuid);
    let Some(uuid) = found else { return Code::FALSE };
    Code::from(call.assign(1, Value::text(uuid.as_bytes())))
}

/// `uac_reg_status(uuid)`.
pub(super) fn status(call: &mut Call<'_, '_>) -> Code {
    let Some(registrations) = registrations(call) else {
        return Code::FALSE;
    };
    let uuid = String::from_utf8_lossy(&call.text(0)).into_owned();
    let flags = registrations.records.lock().get(&uuid).map(|record| record.flags);
    Code(match flags {
        None => -1,
        Some(flags) if flags & ONLINE != 0 => 1,
        Some(flags) if flags & ONGOING != 0 => -2,
        Some(flags) if flags & DISABLED != 0 => -3,
        Some(_) => -99,
    })
}

/// `uac_reg_request_to(user, mode)`.
pub(super) fn request_to(call: &mut Call<'_, '_>) -> Code {
    let (Some(registrations), Some(state)) = (registrations(call), call.state::<Uac>()) else {
        return Code::FALSE;
    };
    let (user, mode) = (call.text_owned(0), call.int(1));
    let found: Option<Profile> = if mode & 1 == 1 {
        registrations.by_local(&user, b"")
    } else {
        let uuid = String::from_utf8_lossy(&user).into_owned();
        registrations
            .records
            .lock()
            .get(&uuid)
            .map(|record| record.profile.clone())
    };
    let Some(profile) = found else { return Code::FALSE };
    let (Some(user), Some(realm), Some(password)) =
        (&state.auth_user, &state.auth_realm, &state.auth_password)
    else {
        log::error(
            "uac",
            format_args!(
                "uac_reg_request_to: auth_username_avp, auth_realm_avp, auth_password_avp must be set"
            ),
        );
        return Code::FALSE;
    };
    let env = &mut *call.env;
    env.ctx
        .set_uri(format!("sip:{}@{}", profile.r_username, profile.r_domain).into_bytes());
    env.ctx.set_dst_uri(Some(profile.auth_proxy.clone().into_bytes()));
    let secret = if mode & 2 == 2 {
        &profile.auth_ha1
    } else {
        &profile.auth_password
    };
    for (pv, text) in [
        (user, &profile.auth_username),
        (realm, &profile.realm),
        (password, secret),
    ] {
        if let Err(error) = pv.write(env, Value::text(text.as_bytes())) {
            log::error("uac", format_args!("{}: {error}", pv.text()));
            return Code::FALSE;
        }
    }
    Code::TRUE
}

/// `uac_reg_enable(attr, val)` and its kin.
pub(super) fn change(call: &mut Call<'_, '_>, action: Action) -> Code {
    let Some(registrations) = registrations(call) else {
        return Code::FALSE;
    };
    let text = |n| String::from_utf8_lossy(&call.text(n)).into_owned();
    match registrations.change(&text(0), &text(1), action) {
        Ok(()) => Code::TRUE,
        Err(why) => {
            log::error("uac", format_args!("{}: {why}", call.name));
            Code::FALSE
        }
    }
}

/// `uac_reg_refresh(l_uuid)`.
pub(super) fn refresh(call: &mut Call<'_, '_>) -> Code {
    let Some(registrations) = registrations(call) else {
        return Code::FALSE;
    };
    let uuid = String::from_utf8_lossy(&call.text(0)).into_owned();
    match registrations.refresh(&uuid, call.env.host.wall().as_secs()) {
        Ok(found) => Code::from(found),
        Err(error) => {
            log::error("uac", format_args!("uac_reg_refresh: {error}"));
            Code::FALSE
        }
    }
}

/// What is done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Enable,
    Disable,
    Register,
    Unregister,
}

impl Action {
    /// Applies it; the REGISTER goes out at the next look.
    pub(super) fn apply(self, record: &mut super::record::Record) {
        match self {
            Self::Enable => {
                record.flags &= !DISABLED;
                record.timer_expires = 0;
            }
            Self::Register => {
                record.flags &= !DISABLED;
                record.wish = Wish::Register;
            }
            Self::Disable | Self::Unregister => {
                if record.flags & ONLINE != 0 {
                    record.wish = Wish::Unregister;
                }
                record.flags |= DISABLED;
            }
        }
    }
}
