//! Passwords out of pseudo-variables: `pv_www_authenticate` and its kin (Kamailio module auth).

use super::Auth;
use super::challenge::Challenge;
use super::challenge::Quality;
use super::credentials::Identity;
use super::credentials::Proven;
use super::credentials::Refusal;
use super::credentials::Role;
use super::credentials::admit;
use super::credentials::is_own;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::value::Value;
use shared::digest;
use shared::digest::Hex;

/// The password argument is a HA1.
const IS_HA1: i64 = 1;

fn verify(
    state: &Auth,
    call: &Call<'_, '_>,
    role: Role,
    checks: i64,
) -> Result<Option<(Proven, Vec<u8>)>, Refusal> {
    let (given, password) = (call.text(0), call.text(1));
    let realm = state.strip(&given);
    if realm.is_empty() {
        crate::log::error(
            "auth",
            format_args!("{}: invalid realm value - empty content", call.name),
        );
        return Err(Refusal::Error);
    }
    let method = if checks < 0 && call.has(3) {
        call.text(3)
    } else {
        Default::default()
    };
    let method = Some(&*method).filter(|method| !method.is_empty());
    let Some(credentials) = admit(state, call.env, role, realm, method)? else {
        return Ok(None);
    };
    let username = credentials.auth.username_text();
    let ha1 = if call.int(2) & IS_HA1 != 0 {
        Hex::from_bytes(&password).ok_or(Refusal::Password)?
    } else {
        digest::ha1(credentials.algorithm, &username, realm, &password)
    };
    let proven = credentials.prove(&ha1)?;
    let identity = Identity {
        flags: checks.max(0) & 1,
        domains: state.use_domain,
        third_party: true,
    };
    if !is_own(call.env, &username, realm, identity) {
        return Err(Refusal::Mismatch);
    }
    Ok(Some((proven, state.info(&credentials, &ha1))))
}

/// `checks` is negative where the function has no such argument.
fn authenticate(call: &mut Call<'_, '_>, role: Role, checks: i64) -> Code {
    let Some(state) = call.state::<Auth>() else {
        return Code::FALSE;
    };
    let refusal = match verify(state, call, role, checks) {
        Ok(None) => return Code::TRUE,
        Ok(Some((proven, info))) => match state.accept(call.env, proven, &info) {
            Ok(()) => return Code::TRUE,
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    let flags = call.int(2);
    let quality = if flags & 8 != 0 {
        Some(Quality::AuthInt)
    } else if flags & 4 != 0 {
        Some(Quality::Auth)
    } else {
        (flags & 2 != 0).then_some(Quality::None)
    };
    if let Some(quality) = quality {
        let realm = call.text_owned(0);
        let stale = flags & 16 != 0 || matches!(refusal, Refusal::Stale | Refusal::Reused);
        let mut line = Vec::new();
        let challenge = Challenge {
            role,
            realm: &realm,
            quality,
            stale,
            algorithms: &[],
        };
        state.write_challenge(call.env, &challenge, &mut line);
        call.env.lists.push_avp(b"digest_challenge", Value::owned(line));
    }
    refusal.into()
}

pub(super) fn pv_www_authenticate(call: &mut Call<'_, '_>) -> Code {
    authenticate(call, Role::Www, -1)
}

pub(super) fn pv_proxy_authenticate(call: &mut Call<'_, '_>) -> Code {
    authenticate(call, Role::Proxy, -1)
}

pub(super) fn pv_auth_check(call: &mut Call<'_, '_>) -> Code {
    let role = Role::of(call.env.ctx);
    let checks = call.int(3).max(0);
    authenticate(call, role, checks)
}
