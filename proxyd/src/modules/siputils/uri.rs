//! URIs compared, changed and made of telephone numbers (Kamailio siputils; RFC 3261 §19.1, RFC 3966).

use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::pv::change_uri;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::Param;
use shared::sip::Params;
use shared::sip::Scheme;
use shared::sip::Uri;
use shared::sip::UriParts;

/// A parameter of the Request-URI: absent, a flag, or its value.
///
/// Kamailio: with `user=phone` those of the number are looked at, as in a tel URI, unless `phone2tel=no`.
fn found<'c>(call: &'c Call<'_, '_>) -> Option<Option<&'c [u8]>> {
    let name = call.text(0);
    let uri = Uri::parse(call.env.ctx.uri()).ok()?;
    let is_phone = matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
        && uri
            .param(b"user")
            .flatten()
            .is_some_and(|user| user.eq_ignore_ascii_case(b"phone"));
    if !is_phone || call.env.script.program.setting_int("phone2tel") == Some(0) {
        return uri.param(&name);
    }
    let number = uri.user.unwrap_or_default();
    let at = number.iter().position(|byte| *byte == b';')?;
    let mut params = Params::new(number.get(at + 1..)?);
    params
        .find(|param| param.name.eq_ignore_ascii_case(&name))
        .map(|param| param.value)
}

pub(super) fn uri_param(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.has(1).then(|| call.text(1));
    Code::from(match (found(call), wanted) {
        (Some(None), None) => true,
        (Some(Some(value)), Some(wanted)) => value.eq_ignore_ascii_case(&wanted),
        _ => false,
    })
}

pub(super) fn uri_param_any(call: &mut Call<'_, '_>) -> Code {
    let uri = Uri::parse(call.env.ctx.uri());
    Code::from(uri.is_ok_and(|uri| uri.param(&call.text(0)).is_some()))
}

pub(super) fn get_uri_param(call: &mut Call<'_, '_>) -> Code {
    let Some(value) = found(call).map(|value| value.unwrap_or_default().to_vec()) else {
        return Code::FALSE;
    };
    Code::from(call.assign(1, Value::owned(value)))
}

pub(super) fn add_uri_param(call: &mut Call<'_, '_>) -> Code {
    let param = call.text_owned(0);
    if param.is_empty() {
        return Code::TRUE;
    }
    let old = call.env.ctx.uri().to_vec();
    let Ok(uri) = Uri::parse(&old) else {
        return Code::FALSE;
    };
    let params = if uri.params.is_empty() {
        param
    } else {
        [uri.params, b";", &param].concat()
    };
    Code::from(change_uri(call.env.ctx, |parts, params| parts.params = params, &params).is_ok())
}

pub(super) fn uri_param_rm(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    let old = call.env.ctx.uri().to_vec();
    let Ok(uri) = Uri::parse(&old) else {
        return Code::FALSE;
    };
    if uri.param(&name).is_none() {
        return Code::TRUE;
    }
    let params = without(uri.params, &name);
    Code::from(change_uri(call.env.ctx, |parts, params| parts.params = params, &params).is_ok())
}

/// Parameters without one of them.
pub(super) fn without(params: &[u8], name: &[u8]) -> Vec<u8> {
    let kept: Vec<Vec<u8>> = Params::new(params)
        .filter(|param| !param.name.eq_ignore_ascii_case(name))
        .map(|param| written(&param))
        .collect();
    kept.join(b";".as_slice())
}

fn written(param: &Param<'_>) -> Vec<u8> {
    match param.value {
        Some(value) => [param.name, b"=", value].concat(),
        None => param.name.to_vec(),
    }
}

/// A number without what only makes it readable (RFC 3966 §5.1.1).
fn bare(number: &[u8]) -> Vec<u8> {
    number
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
        .collect()
}

/// Assigns what a tel URI becomes; 2 when it is none.
fn tel(call: &mut Call<'_, '_>, user: impl FnOnce(&Uri<'_>) -> Vec<u8>) -> Code {
    let (text, host) = (call.text_owned(0), call.text_owned(1));
    let Ok(uri) = Uri::parse(&text) else {
        return Code(2);
    };
    if uri.scheme != Scheme::Tel {
        return Code(2);
    }
    let user = user(&uri);
    let made = UriParts {
        scheme: b"sip",
        user: Some(&user),
        password: None,
        host: &host,
        port: None,
        params: b"user=phone",
        headers: b"",
    };
    Code::from(call.assign(2, Value::owned(made.to_vec())))
}

pub(super) fn tel2sip(call: &mut Call<'_, '_>) -> Code {
    tel(call, |uri| {
        let mut user = bare(uri.user.unwrap_or_default());
        for param in Params::new(uri.params) {
            user.push(b';');
            user.extend(written(&param).to_ascii_lowercase());
        }
        user
    })
}

pub(super) fn tel2sip2(call: &mut Call<'_, '_>) -> Code {
    tel(call, |uri| {
        let mut user = bare(uri.user.unwrap_or_default());
        let mut params: Vec<(Vec<u8>, Option<Vec<u8>>)> = Params::new(uri.params)
            .map(|param| {
                (
                    param.name.to_ascii_lowercase(),
                    param.value.map(<[u8]>::to_ascii_lowercase),
                )
            })
            .filter_map(|(name, value)| match (&*name, value) {
                // a domain as context says nothing in a SIP URI; a number loses its separators
                (b"phone-context", Some(value)) if value.starts_with(b"+") => {
                    Some((name, Some(bare(&value))))
                }
                (b"phone-context", _) => None,
                (b"ext", Some(value)) => Some((name, Some(bare(&value)))),
                (_, value) => Some((name, value)),
            })
            .collect();
        // RFC 3966 §5.1.5: isub or ext first, then phone-context, then by name
        let rank = |name: &[u8]| match name {
            b"isub" | b"ext" => 0,
            b"phone-context" => 1,
            _ => 2,
        };
        params.sort_by(|a, b| (rank(&a.0), &a.0).cmp(&(rank(&b.0), &b.0)));
        for (name, value) in params {
            user.push(b';');
            user.extend_from_slice(&name);
            if let Some(value) = value {
                user.push(b'=');
                user.extend_from_slice(&value);
            }
        }
        user
    })
}

pub(super) fn cmp_uri(call: &mut Call<'_, '_>) -> Code {
    let (first, second) = (call.text(0), call.text(1));
    match (Uri::parse(&first), Uri::parse(&second)) {
        (Ok(first), Ok(second)) => Code::from(first.same(&second)),
        _ => Code::FALSE,
    }
}

pub(super) fn cmp_aor(call: &mut Call<'_, '_>) -> Code {
    let (first, second) = (call.text(0), call.text(1));
    let same = |a: &Uri<'_>, b: &Uri<'_>| {
        // Kamailio: the port of sips is 5060 here too
        let port = |uri: &Uri<'_>| uri.port.unwrap_or(5060);
        a.user == b.user && a.host.eq_ignore_ascii_case(b.host) && port(a) == port(b)
    };
    match (Uri::parse(&first), Uri::parse(&second)) {
        (Ok(first), Ok(second)) => Code::from(same(&first, &second)),
        _ => Code(-2),
    }
}

pub(super) fn cmp_hdr_name(call: &mut Call<'_, '_>) -> Code {
    let (first, second) = (call.text(0), call.text(1));
    match (HeaderName::from_bytes(&first), HeaderName::from_bytes(&second)) {
        (HeaderName::Other, HeaderName::Other) => Code::from(first.eq_ignore_ascii_case(&second)),
        (first, second) => Code::from(first == second),
    }
}

fn set_part(call: &mut Call<'_, '_>, change: impl for<'a> FnOnce(&mut UriParts<'a>, &'a [u8])) -> Code {
    let (text, part) = (call.text_owned(0), call.text_owned(1));
    let Ok(uri) = Uri::parse(&text) else {
        return Code::FALSE;
    };
    let mut parts = uri.parts();
    change(&mut parts, &part);
    let made = parts.to_vec();
    Code::from(call.assign(0, Value::owned(made)))
}

pub(super) fn set_uri_user(call: &mut Call<'_, '_>) -> Code {
    set_part(call, |parts, user| {
        parts.user = (!user.is_empty()).then_some(user)
    })
}

pub(super) fn set_uri_host(call: &mut Call<'_, '_>) -> Code {
    if call.text(1).is_empty() {
        return Code::FALSE;
    }
    set_part(call, |parts, host| parts.host = host)
}

pub(super) fn is_gruu(call: &mut Call<'_, '_>) -> Code {
    let given = call.text(0);
    let text = if given.is_empty() {
        call.env.ctx.uri()
    } else {
        &given
    };
    match Uri::parse(text).ok().and_then(|uri| uri.param(b"gr")) {
        Some(Some(_)) => Code(1),
        Some(None) => Code(2),
        None => Code::FALSE,
    }
}
