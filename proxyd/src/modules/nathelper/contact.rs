//! Contact and Request-URI of clients behind NAT: rewritten, or marked with where they were seen (nathelper, RFC 5923).

use super::Nathelper;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::value::Value;
use crate::script::value::print_int;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::ListValue;
use shared::sip::Message;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::params::Params;
use std::cell::Cell;
use std::net::IpAddr;
use std::ops::Range;

thread_local! {
    /// The message whose Contact was rewritten last: save() stores what it became.
    static REWRITTEN: Cell<u64> = const { Cell::new(0) };
}

/// Whether the Contact of this message was rewritten.
fn is_rewritten(ctx: &Context) -> bool {
    ctx.id != 0 && REWRITTEN.get() == ctx.id
}

/// One Contact value and its URI, with their places in the message.
struct Found<'m> {
    value: ListValue<'m>,
    addr: NameAddr<'m>,
    uri: Uri<'m>,
    range: Range<usize>,
}

/// The Contacts whose URIs can be read; a star is none.
fn contacts(ctx: &Context) -> impl Iterator<Item = Found<'_>> {
    ctx.msg.values(HeaderName::Contact).filter_map(|value| {
        let addr = value.name_addr().ok()?;
        let uri = Uri::parse(addr.uri).ok()?;
        let start = value.range.start + offset(value.bytes, addr.uri);
        Some(Found {
            range: start..start + addr.uri.len(),
            value,
            addr,
            uri,
        })
    })
}

/// Where a part lies in the text it was cut from.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// Where host and port end in a URI's text.
fn hostport(text: &[u8], uri: &Uri<'_>) -> Range<usize> {
    let start = offset(text, uri.host);
    let mut end = start + uri.host.len();
    if uri.port.is_some() {
        let digits = text.get(end + 1..).unwrap_or_default();
        end += 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count();
    }
    start..end
}

/// Where parameters end in a URI's text: before its headers.
fn params_end(text: &[u8], uri: &Uri<'_>) -> usize {
    if uri.headers.is_empty() {
        text.len()
    } else {
        offset(text, uri.headers).saturating_sub(1)
    }
}

fn write_ip(out: &mut Vec<u8>, ip: IpAddr) {
    use std::io::Write;
    // Writing to memory does not fail.
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "{ip}"),
        IpAddr::V6(ip) => write!(out, "[{ip}]"),
    };
}

fn write_place(out: &mut Vec<u8>, source: &Source, between: u8) {
    write_ip(out, source.peer.ip());
    out.push(between);
    print_int(source.peer.port().into(), out);
}

/// The source of a message as a URI: `sip:10.0.0.1:5060;transport=tcp`.
pub(crate) fn source_uri(source: &Source) -> Vec<u8> {
    let mut uri = b"sip:".to_vec();
    write_place(&mut uri, source, b':');
    if source.transport != Transport::Udp {
        uri.extend_from_slice(b";transport=");
        uri.extend_from_slice(source.transport.uri_name().as_bytes());
    }
    uri
}

/// The message with what was made of its Contact, if anything was.
pub(crate) fn rewritten(ctx: &Context) -> Option<Message> {
    is_rewritten(ctx)
        .then(|| Message::parse(ctx.lumps.apply(&ctx.msg)).ok())
        .flatten()
}

/// Applies an edit to every Contact that was not rewritten before: the range to be replaced and what comes there.
fn edit(env: &mut Env<'_>, make: impl Fn(&Found<'_>, &Source) -> Option<(Range<usize>, Vec<u8>)>) -> Code {
    let source = env.ctx.source;
    let lumps = &env.ctx.lumps;
    let untouched = |found: &Found<'_>| {
        let place = hostport(found.addr.uri, &found.uri);
        !lumps.is_deleted(found.range.start + place.start)
    };
    let edits: Vec<_> = contacts(env.ctx)
        .filter(untouched)
        .map(|found| make(&found, &source))
        .collect();
    if edits.is_empty() {
        return Code::FALSE;
    }
    for (range, bytes) in edits.into_iter().flatten() {
        env.ctx.lumps.replace(range, &bytes);
    }
    REWRITTEN.set(env.ctx.id);
    Code::TRUE
}

pub(super) fn fix_nated_contact(call: &mut Call<'_, '_>) -> Code {
    edit(call.env, |found, source| {
        let place = hostport(found.addr.uri, &found.uri);
        let mut bytes = Vec::new();
        write_place(&mut bytes, source, b':');
        Some((
            found.range.start + place.start..found.range.start + place.end,
            bytes,
        ))
    })
}

/// The number that stands for a transport in an alias.
fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => b'1',
        Transport::Tcp => b'2',
        Transport::Tls => b'3',
        Transport::Sctp => b'4',
        Transport::Ws => b'5',
        Transport::Wss => b'6',
    }
}

fn write_alias(out: &mut Vec<u8>, name: &[u8], source: &Source) {
    out.push(b';');
    out.extend_from_slice(name);
    out.push(b'=');
    write_place(out, source, b'~');
    out.push(b'~');
    out.push(number(source.transport));
}

/// Puts text in a URI at a place; an address without brackets gets them, lest its parameters become the header's.
fn insert(found: &Found<'_>, text: &[u8], at: usize, added: &[u8]) -> (Range<usize>, Vec<u8>) {
    let bare = !found.value.bytes.contains(&b'<');
    let (head, tail) = text.split_at_checked(at).unwrap_or((text, b""));
    let (open, close): (&[u8], &[u8]) = if bare { (b"<", b">") } else { (b"", b"") };
    (found.range.clone(), [open, head, added, tail, close].concat())
}

pub(super) fn set_contact_alias(call: &mut Call<'_, '_>) -> Code {
    let Some(nathelper) = call.state::<Nathelper>() else {
        return Code::FALSE;
    };
    let trim = call.int(0) != 0;
    edit(call.env, |found, source| {
        let mut alias = Vec::new();
        write_alias(&mut alias, &nathelper.alias_name, source);
        let without = if trim {
            without_alias(found.addr.uri, &found.uri, &nathelper.alias_name)
        } else {
            None
        };
        let text = without.as_deref().unwrap_or(found.addr.uri);
        let uri = Uri::parse(text).ok()?;
        Some(insert(found, text, params_end(text, &uri), &alias))
    })
}

/// A URI without its alias; none when it has none.
fn without_alias(text: &[u8], uri: &Uri<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let mut out = text.to_vec();
    for alias in aliases(uri, name).collect::<Vec<_>>().into_iter().rev() {
        out.drain(alias.place(text));
    }
    (out.len() < text.len()).then_some(out)
}

pub(super) fn add_contact_alias(call: &mut Call<'_, '_>) -> Code {
    let Some(nathelper) = call.state::<Nathelper>() else {
        return Code::FALSE;
    };
    let contact = call.env.ctx.msg.first(HeaderName::Contact);
    match contact {
        None => return Code(2),
        Some(b"*") => return Code::FALSE,
        Some(_) => {}
    }
    let mut given = call.env.ctx.source;
    let forced = call.has(0);
    if forced {
        let text = |n| String::from_utf8_lossy(&call.text(n)).into_owned();
        let ip = text(0)
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        let (Ok(ip), Ok(port)) = (ip, text(1).parse::<u16>()) else {
            crate::log::error(
                "nathelper",
                format_args!("{:?} {:?} is no address and port", text(0), text(1)),
            );
            return Code::FALSE;
        };
        let Some(transport) = Transport::from_bytes(text(2).as_bytes()) else {
            crate::log::error(
                "nathelper",
                format_args!("proto param value {} is not a known protocol", text(2)),
            );
            return Code::FALSE;
        };
        given.peer = (ip, port).into();
        given.transport = transport;
    }
    edit(call.env, |found, _| {
        let uri = &found.uri;
        let host = std::str::from_utf8(uri.host_bare())
            .ok()
            .and_then(|host| host.parse::<IpAddr>().ok());
        let transport = uri.param(b"transport").flatten().and_then(Transport::from_bytes);
        // Kamailio: a URI that does not name its transport is not the same place.
        let same = host == Some(given.peer.ip())
            && uri.port_or_default() == given.peer.port()
            && transport == Some(given.transport);
        if same && !forced {
            return None;
        }
        let mut alias = Vec::new();
        write_alias(&mut alias, &nathelper.alias_name, &given);
        Some(insert(
            found,
            found.addr.uri,
            hostport(found.addr.uri, uri).end,
            &alias,
        ))
    })
}

/// An alias parameter in a URI.
struct Alias<'u> {
    name: &'u [u8],
    value: &'u [u8],
}

fn aliases<'u>(uri: &Uri<'u>, name: &[u8]) -> impl Iterator<Item = Alias<'u>> {
    Params::new(uri.params)
        .filter(move |param| param.name.eq_ignore_ascii_case(name))
        .filter_map(|param| {
            Some(Alias {
                name: param.name,
                value: param.value?,
            })
        })
}

impl Alias<'_> {
    /// Where it lies in the URI's text, with the semicolon before it.
    fn place(&self, text: &[u8]) -> Range<usize> {
        let start = offset(text, self.name).saturating_sub(1);
        start..offset(text, self.value) + self.value.len()
    }

    /// The place it names as a URI; none when it is no alias, an error when its transport is unknown.
    fn uri(&self) -> Option<Result<Vec<u8>, ()>> {
        let mut parts = self.value.rsplitn(3, |b| *b == b'~');
        let (transport, port, ip) = (parts.next()?, parts.next()?, parts.next()?);
        let port: u16 = std::str::from_utf8(port).ok()?.parse().ok()?;
        let bare = ip
            .strip_prefix(b"[")
            .and_then(|ip| ip.strip_suffix(b"]"))
            .unwrap_or(ip);
        let ip: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
        let transport = match transport {
            b"1" => Transport::Udp,
            b"2" => Transport::Tcp,
            b"3" => Transport::Tls,
            b"4" => Transport::Sctp,
            b"5" | b"6" => Transport::Ws,
            _ => return Some(Err(())),
        };
        Some(Ok(source_uri(&Source {
            peer: (ip, port).into(),
            transport,
            ..Source::default()
        })))
    }
}

pub(super) fn handle_ruri_alias(call: &mut Call<'_, '_>) -> Code {
    const NO_ALIAS: Code = Code(2);
    let Some(nathelper) = call.state::<Nathelper>() else {
        return Code::FALSE;
    };
    let last = call.int(0) != 0;
    let ctx = &mut *call.env.ctx;
    let text = ctx.uri();
    let Ok(uri) = Uri::parse(text) else {
        return Code::FALSE;
    };
    let all = || aliases(&uri, &nathelper.alias_name);
    let found = if last { all().last() } else { all().next() };
    let Some(alias) = found else { return NO_ALIAS };
    match alias.uri() {
        None => NO_ALIAS,
        Some(Err(())) => {
            crate::log::error("nathelper", format_args!("unknown proto in alias param"));
            Code::FALSE
        }
        Some(Ok(place)) => {
            let mut rest = text.to_vec();
            rest.drain(alias.place(text));
            ctx.set_uri(rest);
            ctx.set_dst_uri(Some(place));
            Code::TRUE
        }
    }
}

pub(super) fn set_alias_to_pv(call: &mut Call<'_, '_>) -> Code {
    let Some(nathelper) = call.state::<Nathelper>() else {
        return Code::FALSE;
    };
    let place = contacts(call.env.ctx)
        .find_map(|found| aliases(&found.uri, &nathelper.alias_name).next()?.uri()?.ok());
    match place {
        Some(place) => Code::from(call.assign(0, Value::owned(place))),
        None => {
            crate::log::error("nathelper", format_args!("no alias in the Contact"));
            Code::FALSE
        }
    }
}

pub(super) fn fix_nated_register(call: &mut Call<'_, '_>) -> Code {
    let Some(nathelper) = call.state::<Nathelper>() else {
        return Code::FALSE;
    };
    let Some(pv) = &nathelper.received_avp else {
        crate::log::error(
            "nathelper",
            format_args!("fix_nated_register() needs the parameter received_avp"),
        );
        return Code::FALSE;
    };
    let uri = source_uri(&call.env.ctx.source);
    Code::from(pv.write(call.env, Value::owned(uri)).is_ok())
}

pub(super) fn add_rcv_param(call: &mut Call<'_, '_>) -> Code {
    let in_uri = call.int(0) != 0;
    let source = source_uri(&call.env.ctx.source);
    let edits: Vec<(usize, Vec<u8>)> = contacts(call.env.ctx)
        .map(|found| {
            if in_uri {
                let at = found.range.start + params_end(found.addr.uri, &found.uri);
                (at, [b";received=", &source[..]].concat())
            } else {
                (
                    found.value.range.end,
                    [b";received=\"", &source[..], b"\""].concat(),
                )
            }
        })
        .collect();
    for (at, text) in &edits {
        call.env.ctx.lumps.insert(*at, text);
    }
    Code::from(!edits.is_empty())
}
