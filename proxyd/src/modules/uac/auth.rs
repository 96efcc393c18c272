//! Answering challenges of other servers (RFC 3261 §22.2, §22.3, RFC 7616, RFC 8760).

use super::Uac;
use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::program::PvRef;
use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Hex;
use shared::digest::Qop;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::header::auth::Auth;
use std::borrow::Cow;
use std::sync::Arc;

/// The first use of a nonce.
const NC: &[u8] = b"00000001";

/// What a password is given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// HA1 in hexadecimal digits.
    Ha1,
}

/// Who we are for a server.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) user: Vec<u8>,
    /// The realm it is for; empty: any.
    pub(crate) realm: Vec<u8>,
    pub(crate) password: Vec<u8>,
    pub(crate) form: Form,
}

/// What an answer is computed over.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) uri: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) cnonce: &'a [u8],
}

/// The challenges of a 401 or 407.
pub(super) fn challenges(reply: &Message) -> impl Iterator<Item = Auth<'_>> {
    let name = if reply.status() == 407 {
        HeaderName::ProxyAuthenticate
    } else {
        HeaderName::WwwAuthenticate
    };
    let all = reply
        .all(name)
        .filter_map(|header| Auth::parse(reply.value(header)).ok());
    all.filter(|challenge| challenge.is_digest() && challenge.nonce.is_some())
}

/// The header line that answers a challenge; none when its algorithm is unknown or the HA1 is of another one.
pub(crate) fn answer(
    status: u16,
    challenge: &Auth<'_>,
    who: &Credential,
    request: &Request<'_>,
) -> Option<Vec<u8>> {
    let algorithm = match challenge.algorithm {
        None => Algorithm::Md5,
        Some(name) => Algorithm::from_bytes(name)?,
    };
    let realm = challenge.realm_text();
    let ha1 = match who.form {
        Form::Plain => digest::ha1(algorithm, &who.user, &realm, &who.password),
        Form::Ha1 => Hex::from_bytes(&who.password).filter(|hex| hex.algorithm() == algorithm)?,
    };
    let (qop, qop_name) = if challenge.offers_qop(b"auth") {
        (
            Qop::Auth {
                nc: NC,
                cnonce: request.cnonce,
            },
            "auth",
        )
    } else if challenge.offers_qop(b"auth-int") {
        (
            Qop::AuthInt {
                nc: NC,
                cnonce: request.cnonce,
                body: request.body,
            },
            "auth-int",
        )
    } else {
        (Qop::None, "")
    };
    let nonce = challenge.nonce?;
    let ha2 = digest::ha2(algorithm, request.method, request.uri, qop);
    let response = digest::response(&ha1, nonce, qop, &ha2);
    let name: &[u8] = if status == 407 {
        b"Proxy-Authorization: Digest "
    } else {
        b"Authorization: Digest "
    };
    let mut out = name.to_vec();
    let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    add(&[
        b"username=\"",
        &escaped(&who.user),
        b"\", realm=\"",
        challenge.realm.unwrap_or_default(),
    ]);
    add(&[b"\", nonce=\"", nonce, b"\", uri=\"", request.uri, b"\""]);
    if let Some(opaque) = challenge.opaque {
        add(&[b", opaque=\"", opaque, b"\""]);
    }
    if !qop_name.is_empty() {
        add(&[
            b", qop=",
            qop_name.as_bytes(),
            b", nc=",
            NC,
            b", cnonce=\"",
            request.cnonce,
            b"\"",
        ]);
    }
    let algorithm: &[u8] = if algorithm == Algorithm::Md5 {
        b"MD5"
    } else {
        b"SHA-256"
    };
    add(&[
        b", response=\"",
        response.as_bytes(),
        b"\", algorithm=",
        algorithm,
        b"\r\n",
    ]);
    Some(out)
}

/// A text for between quotes (RFC 3261 §25.1 quoted-string).
fn escaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text
        .iter()
        .any(|byte| matches!(byte, b'"' | b'\\' | b'\r' | b'\n'))
    {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 4);
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\r' | b'\n' => {}
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// A client nonce.
pub(super) fn cnonce(env: &mut Env<'_>) -> Vec<u8> {
    format!("{:016x}", env.host.random()).into_bytes()
}

/// `uac_auth([mode])`.
pub(super) fn uac_auth(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Uac>() else {
        return Code::FALSE;
    };
    let form = if call.int(0) & 1 == 1 {
        Form::Ha1
    } else {
        Form::Plain
    };
    let cnonce = cnonce(call.env);
    let env = &mut *call.env;
    let view = env.host.transaction();
    let Some(reply) = view
        .as_ref()
        .and_then(|view| view.reply)
        .filter(|r| matches!(r.status(), 401 | 407))
    else {
        log::error("uac", format_args!("uac_auth: the reply is neither 401 nor 407"));
        return Code::FALSE;
    };
    let request = Request {
        method: env.ctx.msg.method().as_bytes(),
        uri: env.ctx.uri(),
        body: env.ctx.msg.body(),
        cnonce: &cnonce,
    };
    let line = challenges(reply).find_map(|challenge| {
        let who = credential(state, env, &challenge.realm_text(), form)?;
        answer(reply.status(), &challenge, &who, &request)
    });
    let Some(line) = line else {
        log::error(
            "uac",
            format_args!("uac_auth: no credential fits a challenge of the reply"),
        );
        return Code::FALSE;
    };
    drop(view);
    env.ctx.lumps.append_header(&env.ctx.msg, &line);
    env.ctx.uri_is_new = true;
    Code::TRUE
}

/// The credential for a realm: what the script set, else one of the parameter `credential`.
fn credential(state: &Uac, env: &Env<'_>, realm: &[u8], form: Form) -> Option<Credential> {
    let read = |pv: &Option<Arc<PvRef>>| {
        pv.as_ref()
            .map(|pv| pv.read(env).into_text().into_owned())
            .unwrap_or_default()
    };
    let user = read(&state.auth_user);
    let own_realm = read(&state.auth_realm);
    if !user.is_empty() && (own_realm.is_empty() || own_realm == realm) {
        return Some(Credential {
            user,
            realm: realm.to_vec(),
            password: read(&state.auth_password),
            form,
        });
    }
    state
        .credentials
        .iter()
        .find(|known| known.realm == realm)
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kamailio 5.6.3 sent these to a server that asked so.
    #[test]
    fn answers_are_kamailios() {
        let who = |user: &str, password: &str| Credential {
            user: user.into(),
            realm: Vec::new(),
            password: password.into(),
            form: Form::Plain,
        };
        let line = |status, challenge: &str, who: &Credential, uri: &str, cnonce: &str, method: &str| {
            let challenge = Auth::parse(challenge.as_bytes()).unwrap();
            let request = Request {
                method: method.as_bytes(),
                uri: uri.as_bytes(),
                body: b"",
                cnonce: cnonce.as_bytes(),
            };
            answer(status, &challenge, who, &request).map(|line| String::from_utf8_lossy(&line).into_owned())
        };
        let found = line(
            401,
            "Digest realm=\"rd.lan\", nonce=\"nn\"",
            &who("au", "ap"),
            "sip:rd.lan",
            "",
            "REGISTER",
        );
        let expected = "Authorization: Digest username=\"au\", realm=\"rd.lan\", nonce=\"nn\", uri=\"sip:rd.lan\", \
                        response=\"5d4cda77bd05b424b4edb770558d7608\", algorithm=MD5\r\n";
        assert_eq!(found.as_deref(), Some(expected));
        let asked = "Digest realm=\"realm1\", nonce=\"nn1\", qop=\"auth\", opaque=\"o\"";
        let found = line(
            401,
            asked,
            &who("joe", "pw"),
            "sip:auth@t.lan",
            "6534024",
            "OPTIONS",
        );
        let expected = "Authorization: Digest username=\"joe\", realm=\"realm1\", nonce=\"nn1\", uri=\"sip:auth@t.lan\", \
                        opaque=\"o\", qop=auth, nc=00000001, cnonce=\"6534024\", \
                        response=\"b933344a365d78e98a57f28e676a03cd\", algorithm=MD5\r\n";
        assert_eq!(found.as_deref(), Some(expected));
        let asked = "Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5";
        assert_eq!(line(407, asked, &who("joe", "pw"), "sip:x", "", "OPTIONS"), None);
        let sha = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256";
        assert!(
            line(407, sha, &who("a\"b", "pw"), "sip:x", "", "OPTIONS")
                .unwrap()
                .contains("username=\"a\\\"b\"")
        );
    }
}
