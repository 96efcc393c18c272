//! `$sel(…)` and `@…`: selects (Kamailio selects cookbook).

use super::class;
use super::custom;
use super::custom::Named;
use super::request::host;
use super::request::user;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::Via;
use shared::sip::scan::CommaList;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    custom::ROW,
    class(
        &["sel"],
        "A select: cfg_get.group.name, via[1].host, from.uri.user, hf_value.Name, …",
        compile,
        read,
        None,
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
    /// One value of the comma lists of all headers of a name, or all of them.
    Header(Box<[u8]>, Option<i64>),
    /// Whether a header lists a value.
    Lists(Box<[u8]>, Box<[u8]>),
    Whole(HeaderName),
    Branches,
    RequestUri(Vec<Box<[u8]>>),
    NextHop(Vec<Box<[u8]>>),
    DestinationUri(Vec<Box<[u8]>>),
    Address(HeaderName, Vec<Box<[u8]>>),
    Via(i64, Vec<Box<[u8]>>),
    Source(End, Part),
    Pid,
    Now,
}

/// A part of the message's own text.
#[derive(Debug, Clone, Copy)]
enum Text {
    Whole,
    FirstLine,
    Body,
    Length,
    /// 1 a request, 2 a reply.
    Type,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Peer,
    Local,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Ip,
    Port,
    IpPort,
    Proto,
}

/// A step of a select: its name and index.
type Step = (Box<[u8]>, Option<i64>);

/// The steps of a select; `["name"]` is a step of its own.
fn steps(text: &[u8]) -> Result<Vec<Step>, String> {
    let text = text.trim_ascii().strip_prefix(b"@").unwrap_or(text.trim_ascii());
    let mut steps = Vec::new();
    for one in text.split(|byte| *byte == b'.') {
        let (name, index) = match memchr::memchr(b'[', one) {
            Some(open) => {
                let inner = one
                    .get(open + 1..)
                    .unwrap_or_default()
                    .strip_suffix(b"]")
                    .unwrap_or_default();
                (one.get(..open).unwrap_or_default(), Some(inner))
            }
            None => (one, None),
        };
        if name.is_empty() {
            return Err("a step of the select is empty".into());
        }
        match index.map(|inner| {
            (
                inner,
                std::str::from_utf8(inner)
                    .ok()
                    .and_then(|digits| digits.parse().ok()),
            )
        }) {
            None => steps.push((name.into(), None)),
            Some((_, Some(n))) => steps.push((name.into(), Some(n))),
            Some((inner, None)) => {
                steps.push((name.into(), None));
                let bare = inner
                    .strip_prefix(b"\"")
                    .and_then(|i| i.strip_suffix(b"\""))
                    .unwrap_or(inner);
                steps.push((bare.into(), None));
            }
        }
    }
    Ok(steps)
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
    let rest: Vec<Box<[u8]>> = steps.iter().skip(1).map(|(name, ..)| name.clone()).collect();
    let index = index.unwrap_or(1);
    let header = |name: &[u8]| name.iter().map(|b| if *b == b'_' { b'-' } else { *b }).collect();
    let one = rest.first().map(|name| &**name);
    let select = match (&**first, one) {
        (b"method", None) => Select::Method,
        (b"msg", None | Some(b"request" | b"response")) => Select::Message(Text::Whole),
        (b"msg", Some(b"first_line")) => Select::Message(Text::FirstLine),
        (b"msg", Some(b"body")) => Select::Message(Text::Body),
        (b"msg", Some(b"len")) => Select::Message(Text::Length),
        (b"msg", Some(b"type")) => Select::Message(Text::Type),
        (b"call_id", None) => Select::CallId,
        (b"cseq", None) => Select::CSeq(None),
        (b"cseq", Some(b"num")) => Select::CSeq(Some(true)),
        (b"cseq", Some(b"method")) => Select::CSeq(Some(false)),
        (b"hf_value" | b"hf_body", Some(name)) => {
            Select::Header(header(name), steps.get(1).and_then(|step| step.1))
        }
        (b"hf_value2" | b"msg", Some(name)) => Select::Header(header(name), Some(1)),
        (b"hf_value_exists", Some(name)) => {
            Select::Lists(header(name), rest.get(1).cloned().ok_or_else(unknown)?)
        }
        (b"expires", None) => Select::Whole(HeaderName::Expires),
        (b"max_forwards", None) => Select::Whole(HeaderName::MaxForwards),
        (b"record_route" | b"rr", None) => Select::Whole(HeaderName::RecordRoute),
        (b"date", None) => Select::Whole(HeaderName::Date),
        (b"branch", Some(b"count")) => Select::Branches,
        (b"ruri", _) => Select::RequestUri(rest),
        (b"next_hop", _) => Select::NextHop(rest),
        (b"dst_uri", _) => Select::DestinationUri(rest),
        (b"from" | b"f", _) => Select::Address(HeaderName::From, rest),
        (b"to" | b"t", _) => Select::Address(HeaderName::To, rest),
        (b"contact" | b"m", _) => Select::Address(HeaderName::Contact, rest),
        (b"via" | b"v", _) => Select::Via(index, rest),
        (b"src", Some(part)) => Select::Source(End::Peer, place(part).ok_or_else(unknown)?),
        (b"dst" | b"rcv", Some(part)) => Select::Source(End::Local, place(part).ok_or_else(unknown)?),
        (b"proto", None) => Select::Source(End::Peer, Part::Proto),
        (b"sys", Some(b"pid")) => Select::Pid,
        (b"sys", Some(b"now")) => Select::Now,
        _ => return Err(unknown()),
    };
    Ok(PvData::Other(Box::new(select)))
}

fn place(name: &[u8]) -> Option<Part> {
    Some(match name {
        b"ip" => Part::Ip,
        b"port" => Part::Port,
        b"ip_port" => Part::IpPort,
        b"proto" => Part::Proto,
        _ => return None,
    })
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let msg = &env.ctx.msg;
    match spec.other::<Select>() {
        None => Value::Null,
        // Kamailio: what a select finds is text
        Some(Select::Custom(named)) => match named.read(env) {
            Value::Int(number) => Value::owned(number.to_string().into_bytes()),
            text => text,
        },
        Some(Select::Method) => Value::text(msg.method().as_bytes()),
        Some(Select::Message(part)) => match part {
            Text::Whole => Value::text(msg.as_bytes()),
            Text::FirstLine => Value::text(msg.first_line().trim_ascii_end()),
            Text::Body => Value::text(msg.body()),
            Text::Length => Value::Int(i64::try_from(msg.as_bytes().len()).unwrap_or(i64::MAX)),
            Text::Type => Value::Int(if msg.is_request() { 1 } else { 2 }),
        },
        Some(Select::CallId) => Value::text_or_null(msg.call_id()),
        Some(Select::CSeq(None)) => Value::maybe(msg.first(HeaderName::CSeq)),
        Some(Select::CSeq(Some(number))) => msg.cseq().map_or(Value::Null, |cseq| {
            if *number {
                Value::Int(i64::from(cseq.number))
            } else {
                Value::owned(cseq.method.as_bytes())
            }
        }),
        Some(Select::Header(name, index)) => {
            let all: Vec<&[u8]> = listed(msg, name).collect();
            match index {
                None if all.is_empty() => Value::Null,
                None => Value::owned(all.join(&b","[..])),
                Some(index) => Value::maybe(nth(*index, all.len()).and_then(|at| all.get(at).copied())),
            }
        }
        Some(Select::Lists(name, wanted)) => {
            let found = listed(msg, name).any(|value| *value == **wanted);
            Value::owned(if found { *b"1" } else { *b"0" })
        }
        Some(Select::Whole(name)) => Value::maybe(msg.first(*name)),
        Some(Select::Branches) => Value::Int(i64::try_from(env.ctx.branches.len()).unwrap_or(i64::MAX)),
        Some(Select::RequestUri(path)) => uri_part(env.ctx.uri(), path),
        Some(Select::NextHop(path)) => {
            uri_part(env.ctx.dst_uri.as_deref().unwrap_or_else(|| env.ctx.uri()), path)
        }
        Some(Select::DestinationUri(path)) => {
            let uri = env.ctx.dst_uri.as_deref();
            uri.map_or(Value::Null, |uri| uri_part(uri, path))
        }
        Some(Select::Address(name, path)) => address_part(env, *name, path),
        Some(Select::Via(index, path)) => via_part(env, *index, path),
        Some(Select::Source(end, part)) => source_part(env, *end, *part),
        Some(Select::Pid) => Value::Int(i64::from(env.host.worker().1)),
        Some(Select::Now) => Value::Int(i64::try_from(env.host.wall().as_secs()).unwrap_or(i64::MAX)),
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

fn uri_part<'e>(text: &'e [u8], path: &[Box<[u8]>]) -> Value<'e> {
    let Some(step) = path.first() else {
        return Value::text_or_null(text);
    };
    let Ok(uri) = Uri::parse(text) else {
        return Value::Null;
    };
    match &**step {
        b"user" => user(text),
        b"pwd" => Value::maybe(uri.password),
        b"host" => host(text),
        b"hostport" => Value::owned(match uri.port {
            Some(port) => [uri.host, b":", port.to_string().as_bytes()].concat(),
            None => uri.host.to_vec(),
        }),
        b"port" => uri.port.map_or(Value::Null, |port| Value::Int(i64::from(port))),
        b"type" | b"scheme" => Value::text(uri.scheme_name),
        b"params" => match path.get(1) {
            Some(name) => Value::maybe(uri.param(name).map(Option::unwrap_or_default)),
            None => Value::text_or_null(uri.params),
        },
        b"transport" => Value::maybe(uri.param(b"transport").flatten()),
        _ => Value::Null,
    }
}

fn address_part<'e>(env: &'e Env<'_>, name: HeaderName, path: &[Box<[u8]>]) -> Value<'e> {
    let msg = &env.ctx.msg;
    let value = msg.first(name);
    let Some(step) = path.first() else {
        return Value::maybe(value);
    };
    let addr = if name == HeaderName::Contact {
        // Kamailio: of several contacts in one header the last comes first
        let mut values = msg.values(name).filter(|value| value.bytes != b"*");
        let first = values.next();
        let rest =
            values.take_while(|value| first.as_ref().is_some_and(|first| first.header == value.header));
        rest.last()
            .or(first.clone())
            .and_then(|value| value.name_addr().ok())
    } else {
        value.and_then(|value| NameAddr::parse(value).ok())
    };
    let Some(addr) = addr else { return Value::Null };
    match &**step {
        b"uri" => uri_part(addr.uri, path.get(1..).unwrap_or_default()),
        b"tag" => Value::maybe(addr.tag()),
        b"name" => Value::text_or_null(addr.display),
        b"params" => match path.get(1) {
            Some(name) => Value::maybe(addr.param(name).map(Option::unwrap_or_default)),
            None => Value::text_or_null(addr.params.strip_prefix(b";").unwrap_or(addr.params)),
        },
        other => Value::maybe(addr.param(other).flatten()),
    }
}

fn via_part<'e>(env: &'e Env<'_>, index: i64, path: &[Box<[u8]>]) -> Value<'e> {
    let msg = &env.ctx.msg;
    // Kamailio: whatever is below 0 is the first
    let at = usize::try_from(index).unwrap_or(1).checked_sub(1);
    let Some(text) = at.and_then(|at| msg.vias().nth(at)).map(|value| value.bytes) else {
        return Value::Null;
    };
    let (Some(step), Ok(via)) = (path.first(), Via::parse(text)) else {
        return Value::text(text);
    };
    match &**step {
        b"name" => Value::text(via.protocol),
        b"version" => Value::text(via.version),
        b"transport" => Value::text(via.transport),
        b"host" => Value::text(via.host),
        b"port" => via.port.map_or(Value::Null, |port| Value::Int(i64::from(port))),
        b"branch" => Value::maybe(via.branch()),
        b"received" => Value::maybe(via.received()),
        b"params" => match path.get(1) {
            Some(name) => Value::maybe(via.param(name).flatten()),
            None => Value::text_or_null(via.params),
        },
        other => Value::maybe(via.param(other).flatten()),
    }
}

fn source_part<'e>(env: &'e Env<'_>, end: End, part: Part) -> Value<'e> {
    let source = &env.ctx.source;
    let address = match end {
        End::Peer => source.peer,
        End::Local => source.local,
    };
    match part {
        Part::Ip => Value::owned(address.ip().to_string().into_bytes()),
        Part::Port => Value::Int(i64::from(address.port())),
        Part::IpPort => Value::owned(address.to_string().into_bytes()),
        Part::Proto => Value::text(source.transport.as_str().as_bytes()),
    }
}
