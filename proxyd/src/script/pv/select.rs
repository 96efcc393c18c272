//! `$sel(…)` and `@…`: selects (Kamailio selects cookbook).

mod parts;

use super::custom;
use super::custom::Named;
use crate::calendar;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::transform::uri::bare;
use crate::script::value::Value;
use parts::End;
use parts::Part;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::scan::CommaList;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    custom::ROW,
    Pv::class(
        &["sel"],
        "A select: cfg_get.group.name, via[1].host, from.uri.user, hf_value.Name, …",
        compile,
        read,
    ),
];

/// A compiled select.
#[derive(Debug)]
enum Select {
    Custom(Named),
    Method,
    Message(Text),
    CallId,
    CSeq(Option<bool>),
    /// One value of the comma lists of all headers of a name, or all of them, and what of it.
    Listed(Box<[u8]>, Option<i64>, Path),
    /// Whether a header lists a value.
    Lists(Box<[u8]>, Box<[u8]>),
    /// One header of a name, as it stands.
    Header(Box<[u8]>, i64),
    Event,
    Branches,
    RequestUri(Path),
    NextHop(Path),
    DestinationUri(Path),
    Address(HeaderName, Path),
    Via(i64, Path),
    /// What the credentials for a realm say.
    Credentials(HeaderName, Box<[u8]>, Path),
    Source(End, Part),
    Pid,
    Now(Clock),
}

/// A part of the message's own text.
#[derive(Debug, Clone, Copy)]
enum Text {
    Whole,
    Request,
    Response,
    FirstLine,
    Version,
    Status,
    Reason,
    Headers,
    Body,
    Sdp,
    Length,
    /// 1 a request, 2 a reply.
    Type,
    Number,
    NumberHex,
    Flags,
}

#[derive(Debug, Clone, Copy)]
enum Clock {
    Seconds,
    Local,
    Gmt,
}

/// A step of a select: its name and index.
type Step = (Box<[u8]>, Option<i64>);

/// The names of the steps behind those that chose the select.
type Path = Vec<Box<[u8]>>;

/// Headers that have a select of their own, which gives the value of the first.
const WHOLE: &[&[u8]] = &[
    b"expires",
    b"max_forwards",
    b"date",
    b"content_type",
    b"content_length",
    b"subject",
    b"user_agent",
    b"organization",
    b"priority",
    b"session_expires",
    b"min_se",
    b"identity",
    b"sip_if_match",
];

/// The steps of a select; `["name"]` is a step of its own.
fn steps(text: &[u8]) -> Result<Vec<Step>, String> {
    let text = text.trim_ascii();
    let mut rest = text.strip_prefix(b"@").unwrap_or(text);
    let mut steps: Vec<Step> = Vec::new();
    loop {
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'.' | b'['))
            .unwrap_or(rest.len());
        let (name, more) = rest.split_at(end);
        if name.is_empty() {
            return Err("a step of the select is empty".into());
        }
        steps.push((name.into(), None));
        rest = more;
        while let Some(inner) = rest.strip_prefix(b"[") {
            let close = match inner.strip_prefix(b"\"") {
                Some(quoted) => memchr::memchr(b'"', quoted).map(|end| end + 2),
                None => memchr::memchr(b']', inner),
            };
            let (inner, more) = close
                .filter(|at| inner.get(*at) == Some(&b']'))
                .and_then(|at| Some((inner.get(..at)?, inner.get(at + 1..)?)))
                .ok_or("an index of the select is not closed")?;
            let number = std::str::from_utf8(inner)
                .ok()
                .and_then(|digits| digits.parse().ok());
            match (number, steps.last_mut()) {
                (Some(number), Some(last)) => last.1 = Some(number),
                _ => steps.push((bare(inner).into(), None)),
            }
            rest = more;
        }
        match rest.strip_prefix(b".") {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(steps),
            None => return Err("a step of the select is empty".into()),
        }
    }
}

/// A header's name: selects write `_` for `-`.
fn header(name: &[u8]) -> Box<[u8]> {
    name.iter()
        .map(|byte| if *byte == b'_' { b'-' } else { *byte })
        .collect()
}

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let unknown = || format!("unknown select {:?}", String::from_utf8_lossy(inner.text));
    if let Some(name) = inner.text.strip_prefix(b"cfg_get.") {
        return Named::parse(name).map(|named| PvData::Other(Box::new(Select::Custom(named))));
    }
    let steps = steps(inner.text)?;
    let Some((first, index)) = steps.first() else {
        return Err(unknown());
    };
    let path = |from: usize| -> Path { steps.iter().skip(from).map(|(name, ..)| name.clone()).collect() };
    let name = steps.get(1).map(|(name, _)| &**name);
    let number = steps.get(1).and_then(|(_, index)| *index);
    let select = match (&**first, name) {
        (b"method", None) => Select::Method,
        (b"version", None) => Select::Message(Text::Version),
        (b"status", None) => Select::Message(Text::Status),
        (b"reason", None) => Select::Message(Text::Reason),
        (b"msg", part) => message(part, &steps)?,
        (b"call_id", None) => Select::CallId,
        (b"cseq", None) => Select::CSeq(None),
        (b"cseq", Some(b"num")) => Select::CSeq(Some(true)),
        (b"cseq", Some(b"method")) => Select::CSeq(Some(false)),
        (b"hf_value" | b"hf_body", Some(name)) => Select::Listed(header(name), number, path(2)),
        (b"hf_value2", Some(name)) => Select::Listed(header(name), Some(1), Path::new()),
        (b"hf_value_exists", Some(name)) => {
            Select::Lists(header(name), path(2).into_iter().next().ok_or_else(unknown)?)
        }
        (whole, None) if WHOLE.contains(&whole) => Select::Header(header(whole), 1),
        (b"event", None) => Select::Event,
        (b"branch", Some(b"count")) => Select::Branches,
        (b"ruri", _) => Select::RequestUri(path(1)),
        (b"next_hop", _) => Select::NextHop(path(1)),
        (b"dst_uri", _) => Select::DestinationUri(path(1)),
        (b"from" | b"f", _) => Select::Address(HeaderName::From, path(1)),
        (b"to" | b"t", _) => Select::Address(HeaderName::To, path(1)),
        (b"contact" | b"m", _) => Select::Address(HeaderName::Contact, path(1)),
        (b"refer_to", _) => Select::Address(HeaderName::ReferTo, path(1)),
        (b"rpid", _) => Select::Address(HeaderName::RemotePartyId, path(1)),
        (b"record_route" | b"rr", _) => Select::Address(HeaderName::RecordRoute, path(1)),
        (b"via" | b"v", _) => Select::Via(index.unwrap_or(1), path(1)),
        (b"authorization", Some(realm)) => {
            Select::Credentials(HeaderName::Authorization, realm.into(), path(2))
        }
        (b"proxy_authorization", Some(realm)) => {
            Select::Credentials(HeaderName::ProxyAuthorization, realm.into(), path(2))
        }
        (b"src", Some(part)) => Select::Source(End::Peer, place(part).ok_or_else(unknown)?),
        (b"dst" | b"rcv" | b"received", Some(part)) => {
            Select::Source(End::Local, place(part).ok_or_else(unknown)?)
        }
        (b"proto", None) => Select::Source(End::Peer, Part::Proto),
        (b"sys", Some(b"pid")) => Select::Pid,
        (b"sys", Some(b"now")) => Select::Now(match path(2).first().map(|name| &**name) {
            None => Clock::Seconds,
            Some(b"local") => Clock::Local,
            Some(b"gmt") => Clock::Gmt,
            Some(_) => return Err(unknown()),
        }),
        _ => return Err(unknown()),
    };
    Ok(PvData::Other(Box::new(select)))
}

/// A part of the message, `msg.…`.
fn message(part: Option<&[u8]>, steps: &[Step]) -> Result<Select, String> {
    let more = steps.get(2);
    Ok(Select::Message(match (part, more.map(|(name, _)| &**name)) {
        (None, None) => Text::Whole,
        (Some(b"request"), None) => Text::Request,
        (Some(b"response"), None) => Text::Response,
        (Some(b"first_line"), None) => Text::FirstLine,
        (Some(b"header"), None) => Text::Headers,
        (Some(b"header"), Some(name)) => {
            let number = more.and_then(|(_, index)| *index);
            return Ok(Select::Header(header(name), number.unwrap_or(1)));
        }
        (Some(b"body"), None) => Text::Body,
        (Some(b"body"), Some(b"sdp")) => Text::Sdp,
        (Some(b"len"), None) => Text::Length,
        (Some(b"type"), None) => Text::Type,
        (Some(b"id"), None) => Text::Number,
        (Some(b"id"), Some(b"hex")) => Text::NumberHex,
        (Some(b"flags"), None) => Text::Flags,
        _ => return Err("no such part of the message".to_owned()),
    }))
}

fn place(name: &[u8]) -> Option<Part> {
    Some(match name {
        b"ip" => Part::Ip,
        b"port" => Part::Port,
        b"ip_port" => Part::IpPort,
        b"proto" => Part::Proto,
        b"proto_ip_port" => Part::ProtoIpPort,
        _ => return None,
    })
}

/// Kamailio: what a select finds is text.
fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    match spec
        .other::<Select>()
        .map_or(Value::Null, |select| select.find(env))
    {
        Value::Int(number) => Value::owned(number.to_string()),
        found => found,
    }
}

impl Select {
    fn find<'e>(&'e self, env: &'e Env<'_>) -> Value<'e> {
        let msg = &env.ctx.msg;
        match self {
            Self::Custom(named) => named.read(env),
            Self::Method => Value::text(msg.method().as_bytes()),
            Self::Message(part) => part.of(env),
            Self::CallId => Value::text_or_null(msg.call_id()),
            Self::CSeq(None) => Value::maybe(msg.first(HeaderName::CSeq)),
            Self::CSeq(Some(number)) => msg.cseq().map_or(Value::Null, |cseq| {
                if *number {
                    Value::Int(i64::from(cseq.number))
                } else {
                    Value::owned(cseq.method.as_bytes())
                }
            }),
            Self::Listed(name, index, path) => {
                let all: Vec<&[u8]> = listed(msg, name).collect();
                match index {
                    None if all.is_empty() => Value::Null,
                    None if path.first().is_some_and(|step| **step == *b"uri") => {
                        let uris: Vec<_> = all
                            .iter()
                            .map(|value| parts::address(value, path).into_text())
                            .collect();
                        Value::owned(uris.join(&b","[..]))
                    }
                    None if path.first().is_some_and(|step| **step == *b"name") => all
                        .first()
                        .map_or(Value::Null, |value| parts::address(value, path)),
                    None => Value::owned(all.join(&b","[..])),
                    Some(index) => nth(*index, all.len())
                        .and_then(|at| all.get(at).copied())
                        .map_or(Value::Null, |value| parts::address(value, path)),
                }
            }
            Self::Lists(name, wanted) => {
                let found = listed(msg, name).any(|value| *value == **wanted);
                Value::Int(i64::from(found))
            }
            Self::Header(name, index) => {
                let at = nth(*index, msg.all_named(name).count());
                let header = at.and_then(|at| msg.all_named(name).nth(at));
                Value::maybe(header.map(|header| msg.value(header)))
            }
            Self::Event => {
                let value = msg.first(HeaderName::Event);
                Value::maybe(
                    value
                        .and_then(|value| value.split(|byte| *byte == b';').next())
                        .map(<[u8]>::trim_ascii),
                )
            }
            Self::Branches => Value::Int(i64::try_from(env.ctx.branches.len()).unwrap_or(i64::MAX)),
            Self::RequestUri(path) => parts::uri(env.ctx.uri(), path),
            Self::NextHop(path) => {
                parts::uri(env.ctx.dst_uri.as_deref().unwrap_or_else(|| env.ctx.uri()), path)
            }
            Self::DestinationUri(path) => {
                let uri = env.ctx.dst_uri.as_deref();
                uri.map_or(Value::Null, |uri| parts::uri(uri, path))
            }
            Self::Address(name, path) => parts::header(env, *name, path),
            Self::Via(index, path) => parts::via(env, *index, path),
            Self::Credentials(name, realm, path) => parts::credentials(env, *name, realm, path),
            Self::Source(end, part) => parts::source(env, *end, *part),
            Self::Pid => Value::Int(i64::from(env.host.worker().1)),
            Self::Now(clock) => {
                let now = i64::try_from(env.host.wall().as_secs()).unwrap_or(i64::MAX);
                let time = match clock {
                    Clock::Seconds => return Value::Int(now),
                    Clock::Local => calendar::local(now),
                    Clock::Gmt => calendar::utc(now),
                };
                Value::owned(time.ctime())
            }
        }
    }
}

impl Text {
    fn of<'e>(self, env: &'e Env<'_>) -> Value<'e> {
        let msg = &env.ctx.msg;
        match self {
            Self::Request if msg.is_reply() => Value::Null,
            Self::Response if msg.is_request() => Value::Null,
            Self::Whole | Self::Request | Self::Response => Value::text(msg.as_bytes()),
            Self::FirstLine => Value::text(msg.first_line().trim_ascii_end()),
            Self::Version => Value::text(msg.version()),
            Self::Status if msg.is_request() => Value::Null,
            Self::Status => Value::Int(i64::from(msg.status())),
            Self::Reason if msg.is_request() => Value::Null,
            Self::Reason => Value::text(msg.reason()),
            Self::Headers => Value::maybe(msg.as_bytes().get(msg.headers_start()..msg.body_range().start)),
            Self::Body => Value::text(msg.body()),
            Self::Sdp => {
                let sdp = msg.first(HeaderName::ContentType).is_some_and(|value| {
                    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
                    kind.trim_ascii().eq_ignore_ascii_case(b"application/sdp")
                });
                if sdp { Value::text(msg.body()) } else { Value::Null }
            }
            Self::Length => Value::Int(i64::try_from(msg.as_bytes().len()).unwrap_or(i64::MAX)),
            Self::Type => Value::Int(if msg.is_request() { 1 } else { 2 }),
            Self::Number => Value::Int(env.ctx.id as i64),
            Self::NumberHex => Value::owned(format!("{:08x}", env.ctx.id)),
            Self::Flags => Value::Int(i64::from(env.ctx.flags)),
        }
    }
}

/// The values of all headers of a name, comma lists taken apart.
fn listed<'m>(msg: &'m Message, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
    msg.all_named(name)
        .flat_map(|header| CommaList::new(msg.value(header)))
}

/// The place that an index means: 1 is the first, -1 the last.
fn nth(index: i64, count: usize) -> Option<usize> {
    let back = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 {
        count.checked_sub(back)
    } else {
        Some(back.saturating_sub(1))
    }
}
