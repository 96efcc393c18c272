//! Checks of numbers, users, hops and dates (Kamailio siputils).

use super::Settings;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::Method;
use shared::sip::NameAddr;
use shared::sip::Uri;
use std::net::SocketAddr;

pub(super) fn options_reply(call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    if msg.method() != Method::Options {
        crate::log::error("siputils", format_args!("called for non-OPTIONS request"));
        return Code::FALSE;
    }
    if Uri::parse(call.env.ctx.uri()).map_or(true, |uri| uri.user.is_some()) {
        crate::log::error("siputils", format_args!("ruri contains username"));
        return Code::FALSE;
    }
    let lines = call
        .state::<Settings>()
        .map(|settings| settings.options.clone())
        .unwrap_or_default();
    call.env.ctx.reply_headers.extend_from_slice(&lines);
    let (host, scope) = call.split();
    host.reply(scope, 200, b"OK")
}

pub(super) fn is_user(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text(0);
    let proven = call
        .env
        .ctx
        .accepted_credentials()
        .and_then(|credentials| credentials.username);
    Code::from(proven == Some(&*wanted))
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn e164(call: &Call<'_, '_>, text: &[u8]) -> Code {
    let longest = call
        .state::<Settings>()
        .map_or(16, |settings| settings.e164_max_len);
    let fits = text.len() > 2 && text.len() <= longest && text.strip_prefix(b"+").is_some_and(is_digits);
    Code::from(fits)
}

pub(super) fn is_e164(call: &mut Call<'_, '_>) -> Code {
    e164(call, &call.text(0))
}

pub(super) fn is_uri_user_e164(call: &mut Call<'_, '_>) -> Code {
    let uri = call.text(0);
    match Uri::parse(&uri) {
        Ok(uri) => e164(call, uri.user.unwrap_or_default()),
        Err(_) => Code::FALSE,
    }
}

pub(super) fn is_tel_number(call: &mut Call<'_, '_>) -> Code {
    let text = call.text(0);
    if is_digits(text.strip_prefix(b"+").unwrap_or(&text)) {
        Code::TRUE
    } else {
        Code(-2)
    }
}

pub(super) fn is_numeric(call: &mut Call<'_, '_>) -> Code {
    if is_digits(&call.text(0)) {
        Code::TRUE
    } else {
        Code(-2)
    }
}

pub(super) fn is_alphanum(call: &mut Call<'_, '_>) -> Code {
    let (text, further) = (call.text(0), call.text(1));
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || further.contains(byte);
    if !text.is_empty() && text.iter().all(fits) {
        Code::TRUE
    } else {
        Code(-3)
    }
}

pub(super) fn is_supported(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text(0);
    let mut options = call.env.ctx.msg.values(HeaderName::Supported);
    Code::from(options.any(|option| option.bytes.eq_ignore_ascii_case(&wanted)))
}

pub(super) fn is_first_hop(call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    if msg.is_request() {
        return Code::from(msg.vias().nth(1).is_none());
    }
    let Some(top) = msg.record_routes().next() else {
        return Code::TRUE;
    };
    let Ok(top) = top.name_addr() else {
        return Code::FALSE;
    };
    let Ok(uri) = Uri::parse(top.uri) else {
        return Code::FALSE;
    };
    if !call.env.is_myself(uri.host, uri.port.unwrap_or(0)) {
        return Code::FALSE;
    }
    if call.int(0) == 1 {
        return Code::TRUE;
    }
    // an address tells a loop through ourselves, a name does not
    let ip = std::str::from_utf8(uri.host_bare())
        .ok()
        .and_then(|text| text.parse().ok());
    let own = ip.map(|ip: std::net::IpAddr| SocketAddr::new(ip, uri.port_or_default()));
    Code::from(own.is_some_and(|own| own != call.env.ctx.source.peer))
}

/// The URI or address that the AVP of Remote-Party-ID holds.
fn rpid(call: &Call<'_, '_>) -> Option<Vec<u8>> {
    let pv = call.state::<Settings>()?.rpid.as_ref()?;
    match pv.read(call.env) {
        Value::Null => None,
        value => Some(value.into_text().into_owned()).filter(|text| !text.is_empty()),
    }
}

pub(super) fn append_rpid_hf(call: &mut Call<'_, '_>) -> Code {
    let (Some(rpid), Some(settings)) = (rpid(call), call.state::<Settings>()) else {
        return Code::FALSE;
    };
    let prefix = if call.has(0) {
        call.text_owned(0)
    } else {
        settings.rpid_prefix.clone()
    };
    let suffix = if call.has(1) {
        call.text_owned(1)
    } else {
        settings.rpid_suffix.clone()
    };
    let line = [b"Remote-Party-ID: ".as_slice(), &prefix, &rpid, &suffix, b"\r\n"].concat();
    let ctx = &mut *call.env.ctx;
    ctx.lumps.append_header(&ctx.msg, &line);
    Code::TRUE
}

pub(super) fn is_rpid_user_e164(call: &mut Call<'_, '_>) -> Code {
    let Some(rpid) = rpid(call) else {
        return Code::FALSE;
    };
    let uri = NameAddr::parse(&rpid).map_or(rpid.as_slice(), |addr| addr.uri);
    match Uri::parse(uri) {
        Ok(uri) => e164(call, uri.user.unwrap_or_default()),
        Err(_) => Code::FALSE,
    }
}

pub(super) fn hdr_date_check(call: &mut Call<'_, '_>) -> Code {
    let Some(value) = call.env.ctx.msg.first(HeaderName::Date) else {
        return Code::FALSE;
    };
    let Some(date) = std::str::from_utf8(value).ok().and_then(seconds) else {
        return Code(-3);
    };
    let now = i64::try_from(call.env.host.wall().as_secs()).unwrap_or(i64::MAX);
    let age = now.saturating_sub(date);
    if age > call.int(0) {
        crate::log::error("siputils", format_args!("outdated date header value ({age} sec)"));
        return Code(-4);
    }
    Code::TRUE
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Unix time of `Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 §20.17).
pub(super) fn seconds(date: &str) -> Option<i64> {
    let mut words = date.split_once(',')?.1.split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?).ok()? + 1;
    let year: i64 = words
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..10_000).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=31).contains(&day)
        || !(0..24).contains(&hour)
        || !(0..60).contains(&minute)
        || !(0..=60).contains(&second)
    {
        return None;
    }
    // days since 1970 by counting years that begin in March
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}
