//! Challenges: `www_challenge`, `proxy_challenge`, `auth_challenge` (RFC 3261 §22.2, §22.3, RFC 8760).

use super::Auth;
use super::credentials::Role;
use super::mark;
use super::nonce::OFFERED_MD5;
use super::nonce::OFFERED_SHA256;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::digest::Algorithm;
use shared::sip::Method;
use smallvec::SmallVec;

/// What a challenge asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quality {
    None,
    Auth,
    AuthInt,
}

impl Quality {
    fn of(flags: i64) -> Self {
        if flags & 2 != 0 {
            Self::AuthInt
        } else if flags & 1 != 0 {
            Self::Auth
        } else {
            Self::None
        }
    }
}

type Algorithms = SmallVec<[Algorithm; 2]>;

/// One challenge to be written.
pub(super) struct Challenge<'r> {
    pub(super) role: Role,
    pub(super) realm: &'r [u8],
    pub(super) quality: Quality,
    pub(super) stale: bool,
    /// The hashes to offer; none: the module's.
    pub(super) algorithms: &'r [Algorithm],
}

impl Auth {
    /// Appends one challenge line for each algorithm, all with one nonce.
    pub(super) fn write_challenge(&self, env: &mut Env<'_>, challenge: &Challenge<'_>, out: &mut Vec<u8>) {
        let Challenge {
            role,
            realm,
            quality,
            stale,
            algorithms,
        } = *challenge;
        let realm = self.strip(realm);
        let chosen = mark::chosen(env.ctx.id).or(self.algorithm);
        let single = [chosen.unwrap_or(Algorithm::Md5)];
        let named = !algorithms.is_empty() || chosen.is_some();
        let algorithms = if algorithms.is_empty() {
            &single[..]
        } else {
            algorithms
        };
        let offered = algorithms.iter().fold(0, |bits, algorithm| {
            bits | match algorithm {
                Algorithm::Md5 => OFFERED_MD5,
                Algorithm::Sha256 => OFFERED_SHA256,
            }
        });
        let mut nonce = Vec::with_capacity(44);
        let random = env.host.random();
        let ties = self.ties(env);
        let parts = ties.as_ref().map(super::Ties::parts);
        let parts = parts.as_ref().map_or(&[][..], |parts| &parts[..]);
        self.nonces
            .write(&mut nonce, super::seconds(env.host), offered, parts, random);
        for algorithm in algorithms {
            out.extend_from_slice(match role {
                Role::Www => b"WWW-Authenticate: Digest realm=\"",
                Role::Proxy => b"Proxy-Authenticate: Digest realm=\"",
            });
            write_quoted(realm, out);
            out.extend_from_slice(b"\", nonce=\"");
            out.extend_from_slice(&nonce);
            out.push(b'"');
            out.extend_from_slice(match quality {
                Quality::None => b"",
                Quality::Auth => b", qop=\"auth\"",
                Quality::AuthInt => b", qop=\"auth-int\"",
            });
            if stale {
                out.extend_from_slice(b", stale=true");
            }
            // Kamailio: no algorithm parameter for MD5 unless the script names it; old phones stumble over it.
            if named {
                out.extend_from_slice(b", algorithm=");
                out.extend_from_slice(algorithm.as_str().as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\r' | b'\n' | 0 => {}
            _ => out.push(*byte),
        }
    }
}

fn algorithms(call: &Call<'_, '_>) -> Option<Algorithms> {
    let text = call.text(2);
    let names = text
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty());
    names.map(Algorithm::from_bytes).collect()
}

fn challenge(call: &mut Call<'_, '_>, role: Role) -> Code {
    let Some(state) = call.state::<Auth>() else {
        return Code::FALSE;
    };
    let flags = call.int(1);
    let realm = call.text_owned(0);
    let refuse = |call: &mut Call<'_, '_>| {
        if flags & 4 == 0 {
            let (host, scope) = call.split();
            host.reply(scope, 500, b"Internal Server Error");
        }
        Code::FALSE
    };
    if call.env.ctx.msg.method() == Method::Ack {
        return Code::FALSE;
    }
    if mark::failed(call.env.ctx.id) {
        return refuse(call);
    }
    if realm.is_empty() {
        crate::log::error(
            "auth",
            format_args!("{}: invalid realm value - empty content", call.name),
        );
        return refuse(call);
    }
    let Some(algorithms) = algorithms(call) else {
        crate::log::error(
            "auth",
            format_args!("{}: algorithms are MD5 and SHA-256", call.name),
        );
        return refuse(call);
    };
    let stale = flags & 16 != 0 || state.is_stale(call.env, role, state.strip(&realm));
    let before = call.env.ctx.reply_headers.len();
    let mut lines = std::mem::take(&mut call.env.ctx.reply_headers);
    let quality = Quality::of(flags);
    let challenge = Challenge {
        role,
        realm: &realm,
        quality,
        stale,
        algorithms: &algorithms,
    };
    state.write_challenge(call.env, &challenge, &mut lines);
    call.env.ctx.reply_headers = lines;
    let (status, reason): (u16, &[u8]) = match role {
        Role::Www => (401, b"Unauthorized"),
        Role::Proxy => (407, b"Proxy Authentication Required"),
    };
    let (host, scope) = call.split();
    let code = if state.force_stateless_reply {
        host.reply_stateless(scope, status, reason)
    } else {
        host.reply(scope, status, reason)
    };
    call.env.ctx.reply_headers.truncate(before);
    code
}

pub(super) fn www_challenge(call: &mut Call<'_, '_>) -> Code {
    challenge(call, Role::Www)
}

pub(super) fn proxy_challenge(call: &mut Call<'_, '_>) -> Code {
    challenge(call, Role::Proxy)
}

pub(super) fn auth_challenge(call: &mut Call<'_, '_>) -> Code {
    let role = Role::of(call.env.ctx);
    challenge(call, role)
}

/// Kamailio: the flags are those of `www_challenge`, whatever its page says.
pub(super) fn auth_get_www_authenticate(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Auth>() else {
        return Code::FALSE;
    };
    let (realm, flags) = (call.text_owned(0), call.int(1));
    if realm.is_empty() {
        crate::log::error(
            "auth",
            format_args!("{}: invalid realm value - empty content", call.name),
        );
        return Code::FALSE;
    }
    let mut line = Vec::new();
    let quality = Quality::of(flags);
    let stale = flags & 16 != 0;
    let challenge = Challenge {
        role: Role::Www,
        realm: &realm,
        quality,
        stale,
        algorithms: &[],
    };
    state.write_challenge(call.env, &challenge, &mut line);
    call.assign(2, crate::script::value::Value::owned(line)).into()
}
