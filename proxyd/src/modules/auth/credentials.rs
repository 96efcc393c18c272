//! Credentials of a request: found, checked against a HA1, marked, consumed (RFC 3261 §22, RFC 7616 §3.4).

use super::Auth;
use super::nonce::Nonce;
use super::nonce::OFFERED_MD5;
use super::nonce::OFFERED_SHA256;
use super::nonce::Refused;
use crate::proxy::context::Context;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Hex;
use shared::digest::Qop;
use shared::sip::HeaderName;
use shared::sip::Method;
use shared::sip::Uri;
use shared::sip::header::auth;

/// Whose authentication it is: that of a registrar (401) or that of a proxy (407).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `Authorization`, `WWW-Authenticate`.
    Www,
    /// `Proxy-Authorization`, `Proxy-Authenticate`.
    Proxy,
}

impl Role {
    /// The role of `auth_check` and `auth_challenge`: a registrar's for REGISTER, else a proxy's.
    pub(crate) fn of(ctx: &Context) -> Self {
        if ctx.msg.method() == Method::Register {
            Self::Www
        } else {
            Self::Proxy
        }
    }

    fn header(self) -> HeaderName {
        match self {
            Self::Www => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// Why credentials are refused; the number is what the script sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// They cannot be read, are not for a nonce of ours, or something failed here.
    Error = -1,
    /// The password is wrong.
    Password = -2,
    /// There is no such user.
    UnknownUser = -3,
    /// The nonce is too old.
    Stale = -4,
    /// There are none for this realm.
    Missing = -5,
    /// The nonce served already.
    Reused = -6,
    /// They are right, but another user's than the request says.
    Mismatch = -8,
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        Self(refusal as i32)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stale => Self::Stale,
            Refused::Reused => Self::Reused,
        }
    }
}

/// Credentials with a nonce that may serve; the response is yet to be checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'m> {
    /// The header's parameters.
    pub(crate) auth: auth::Auth<'m>,
    /// The hash they are made with.
    pub(crate) algorithm: Algorithm,
    /// Where their header begins.
    field: u32,
    nonce: Nonce,
    nc: Option<u32>,
    qop: Qop<'m>,
    method: Method<'m>,
}

/// What is left of credentials when the message may be changed again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proven {
    field: u32,
    nonce: Nonce,
    nc: Option<u32>,
}

/// The part of a username before its `@`, and the domain after it.
pub(crate) fn split_user(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'@', name) {
        Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..)),
        None => (name, None),
    }
}

/// The credentials of the request for this realm; `Ok(None)` when the request needs none (RFC 3261 §22.1).
pub(crate) fn admit<'m>(
    state: &Auth,
    env: &'m Env<'_>,
    role: Role,
    realm: &[u8],
    method: Option<&'m [u8]>,
) -> Result<Option<Credentials<'m>>, Refusal> {
    let msg = &env.ctx.msg;
    // Kamailio: a PRACK is let through as well as ACK and CANCEL.
    if matches!(msg.method(), Method::Ack | Method::Cancel | Method::Prack) {
        return Ok(None);
    }
    let mut failure = Refusal::Missing;
    for header in msg.all(role.header()) {
        let Ok(auth) = auth::Auth::parse(msg.value(header)) else {
            failure = Refusal::Error;
            continue;
        };
        let ours = |own: &[u8]| own == realm || own.eq_ignore_ascii_case(realm);
        if !auth.is_digest() || !auth.realm.is_some_and(ours) {
            continue;
        }
        let method = method.map_or(msg.method(), Method::from_bytes);
        return state.read(env, auth, header.field.start, method).map(Some);
    }
    Err(failure)
}

impl Auth {
    fn read<'m>(
        &self,
        env: &'m Env<'_>,
        auth: auth::Auth<'m>,
        field: u32,
        method: Method<'m>,
    ) -> Result<Credentials<'m>, Refusal> {
        let complete = [auth.username, auth.nonce, auth.uri, auth.response];
        if complete.iter().any(|param| param.is_none_or(<[u8]>::is_empty)) {
            return Err(Refusal::Error);
        }
        let (qop, nc) = qop_of(&auth, env.ctx.msg.body())?;
        let now = super::seconds(env.host);
        let ties = self.ties(env);
        let parts = ties.as_ref().map(super::Ties::parts);
        let text = auth.nonce.unwrap_or_default();
        let nonce = self
            .nonces
            .read(text, now, parts.as_ref().map_or(&[], |p| &p[..]))
            .ok_or(Refusal::Error)?;
        let algorithm = algorithm_of(&auth, nonce.offered).ok_or(Refusal::Error)?;
        self.nonces.check(nonce, nc)?;
        Ok(Credentials {
            auth,
            algorithm,
            field,
            nonce,
            nc,
            qop,
            method,
        })
    }

    /// Whether the request carries credentials for a nonce of ours that is past its time.
    pub(super) fn is_stale(&self, env: &Env<'_>, role: Role, realm: &[u8]) -> bool {
        matches!(
            admit(self, env, role, realm, None),
            Err(Refusal::Stale | Refusal::Reused)
        )
    }
}

fn qop_of<'m>(auth: &auth::Auth<'m>, body: &'m [u8]) -> Result<(Qop<'m>, Option<u32>), Refusal> {
    let Some(qop) = auth.qop.filter(|qop| !qop.is_empty()) else {
        return Ok((Qop::None, None));
    };
    let (Some(nc), Some(cnonce), Some(number)) = (auth.nc, auth.cnonce, auth.nc_number()) else {
        return Err(Refusal::Error);
    };
    let qop = if qop.eq_ignore_ascii_case(b"auth") {
        Qop::Auth { nc, cnonce }
    } else if qop.eq_ignore_ascii_case(b"auth-int") {
        Qop::AuthInt { nc, cnonce, body }
    } else {
        return Err(Refusal::Error);
    };
    Ok((qop, Some(number)))
}

/// The hash that credentials are made with, if the challenge offered it (RFC 8760 §2.6).
fn algorithm_of(auth: &auth::Auth<'_>, offered: u8) -> Option<Algorithm> {
    let algorithm = match auth.algorithm {
        Some(name) => Algorithm::from_bytes(name)?,
        None if offered & OFFERED_MD5 == 0 => Algorithm::Sha256,
        None => Algorithm::Md5,
    };
    let bit = match algorithm {
        Algorithm::Md5 => OFFERED_MD5,
        Algorithm::Sha256 => OFFERED_SHA256,
    };
    (offered & bit != 0).then_some(algorithm)
}

impl Credentials<'_> {
    /// Whether the response is that of somebody who knows the password.
    pub(crate) fn prove(&self, ha1: &Hex) -> Result<Proven, Refusal> {
        if ha1.algorithm() != self.algorithm {
            return Err(Refusal::Password);
        }
        let uri = self.auth.uri.unwrap_or_default();
        let ha2 = digest::ha2(self.algorithm, self.method.as_bytes(), uri, self.qop);
        let expected = digest::response(ha1, self.auth.nonce.unwrap_or_default(), self.qop, &ha2);
        if expected.matches(self.auth.response.unwrap_or_default()) {
            Ok(Proven {
                field: self.field,
                nonce: self.nonce,
                nc: self.nc,
            })
        } else {
            Err(Refusal::Password)
        }
    }

    /// The value of Authentication-Info: the proof that the server knows the password too (RFC 7616 §3.5).
    fn authentication_info(&self, ha1: &Hex, out: &mut Vec<u8>) {
        let ha2 = digest::ha2(self.algorithm, b"", self.auth.uri.unwrap_or_default(), self.qop);
        let nonce = self.auth.nonce.unwrap_or_default();
        let proof = digest::response(ha1, nonce, self.qop, &ha2);
        let name: &[u8] = match self.qop {
            Qop::None | Qop::Auth { .. } => b"auth",
            Qop::AuthInt { .. } => b"auth-int",
        };
        let (nc, cnonce) = (
            self.auth.nc.unwrap_or_default(),
            self.auth.cnonce.unwrap_or_default(),
        );
        out.extend_from_slice(b"Authentication-Info: nextnonce=\"");
        for part in [nonce, b"\", qop=", name, b", rspauth=\"", proof.as_bytes(), b"\""] {
            out.extend_from_slice(part);
        }
        if !nc.is_empty() {
            for part in [&b", cnonce=\""[..], cnonce, b"\", nc=", nc] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Auth {
    /// The line that a 2xx shall carry, when `add_authinfo_hdr` asks for it; empty otherwise.
    pub(crate) fn info(&self, credentials: &Credentials<'_>, ha1: &Hex) -> Vec<u8> {
        let mut line = Vec::new();
        if self.add_authinfo {
            credentials.authentication_info(ha1, &mut line);
        }
        line
    }

    /// Makes use of proven credentials: their nonce counts, their header is marked for `consume_credentials`.
    pub(crate) fn accept(&self, env: &mut Env<'_>, proven: Proven, info: &[u8]) -> Result<(), Refusal> {
        if env.may_write() {
            self.nonces.consume(proven.nonce, proven.nc)?;
        }
        env.ctx.authorized = Some(proven.field);
        env.ctx.reply_headers.extend_from_slice(info);
        Ok(())
    }
}

/// Which headers must name the user of the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Flags of the function: 1 check, 2 leave requests out that may be anonymous.
    pub(crate) flags: i64,
    /// Compare domains with the realm too.
    pub(crate) domains: bool,
    /// A REGISTER's From counts besides its To.
    pub(crate) third_party: bool,
}

/// Whether the user of the credentials is the one that From, To and Request-URI name (Kamailio `auth_check`).
pub(crate) fn is_own(env: &Env<'_>, username: &[u8], realm: &[u8], identity: Identity) -> bool {
    let msg = &env.ctx.msg;
    let method = msg.method();
    let anonymous = matches!(
        method,
        Method::Invite | Method::Bye | Method::Prack | Method::Update | Method::Message
    );
    if identity.flags & 1 == 0 || (identity.flags & 2 != 0 && anonymous) {
        return true;
    }
    let (user, _) = split_user(username);
    let names = |uri: Option<&[u8]>| {
        let Some(uri) = uri.and_then(|text| Uri::parse(text).ok()) else {
            return false;
        };
        uri.user.unwrap_or_default() == user && (!identity.domains || uri.host.eq_ignore_ascii_case(realm))
    };
    let from = || names(msg.from().map(|from| from.uri));
    let to = || names(msg.to().map(|to| to.uri));
    match method {
        Method::Register => to() && (identity.third_party || from()),
        Method::Publish => from() && to() && names(Some(env.ctx.uri())),
        _ => from(),
    }
}

/// Removes the headers with the credentials that were accepted; false when there are none.
pub(super) fn consume(state: &Auth, env: &mut Env<'_>) -> bool {
    let authorized = env.ctx.authorized;
    let now = super::seconds(env.host);
    let ctx = &mut *env.ctx;
    let mut found = false;
    let headers = ctx
        .msg
        .all(HeaderName::Authorization)
        .chain(ctx.msg.all(HeaderName::ProxyAuthorization));
    for header in headers {
        let ours = || {
            // Another worker accepted them: what answers a challenge of ours is meant for nobody else.
            let auth = auth::Auth::parse(ctx.msg.value(header)).ok();
            let nonce = auth.and_then(|auth| auth.nonce);
            nonce.is_some_and(|nonce| state.nonces.read(nonce, now, &[]).is_some())
        };
        if authorized.map_or_else(ours, |field| field == header.field.start) {
            ctx.lumps.delete_header(header);
            found = true;
        }
    }
    found
}

/// Whether there are credentials for a realm, right or wrong.
pub(super) fn present(env: &Env<'_>, realm: &[u8]) -> bool {
    let msg = &env.ctx.msg;
    let mut headers = msg
        .all(HeaderName::Authorization)
        .chain(msg.all(HeaderName::ProxyAuthorization));
    headers.any(|header| {
        let auth = auth::Auth::parse(msg.value(header));
        auth.is_ok_and(|auth| auth.realm.is_some_and(|own| own.eq_ignore_ascii_case(realm)))
    })
}
