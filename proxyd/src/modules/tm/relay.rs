//! Sending on in a transaction: `t_relay` and its kin, and serial forking by q.

use super::Tm;
use crate::proxy::branch::Branch;
use crate::proxy::context::Failure;
use crate::script::host::Matched;
use crate::script::host::RelayOptions;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Routes;
use crate::script::module::Script;
use crate::script::value::Value;
use shared::sip::Method;

/// Relays, to the URI made of host, port and transport when a host is given.
fn relay_to(call: &mut Call<'_, '_>, transport: Option<&str>, mut options: RelayOptions) -> Code {
    if call.has(0) {
        let mut uri = b"sip:".to_vec();
        uri.extend_from_slice(&call.text(0));
        if call.has(1) {
            uri.push(b':');
            uri.extend_from_slice(&call.text(1));
        }
        if let Some(transport) = transport {
            uri.extend_from_slice(b";transport=");
            uri.extend_from_slice(transport.as_bytes());
        }
        let socket = call.env.ctx.send_socket;
        options.target = call.env.host.resolve(&uri, socket);
        if options.target.is_none() {
            call.env.ctx.failure = Failure::Unresolvable;
            return Code::FALSE;
        }
    }
    let (host, scope) = call.split();
    host.relay(scope, options)
}

pub(super) fn t_relay(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, None, RelayOptions::default())
}

pub(super) fn t_relay_to_udp(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, Some("udp"), RelayOptions::default())
}

pub(super) fn t_relay_to_tcp(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, Some("tcp"), RelayOptions::default())
}

pub(super) fn t_relay_to_tls(call: &mut Call<'_, '_>) -> Code {
    relay_to(call, Some("tls"), RelayOptions::default())
}

/// `t_relay_to("udp:host:port", "0x01")`; the first argument may be the flags alone.
pub(super) fn t_relay_to(call: &mut Call<'_, '_>) -> Code {
    let flags = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?.trim();
        text.strip_prefix("0x")
            .map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    };
    let first = call.text_owned(0);
    let mut options = RelayOptions::default();
    let bits = if call.has(1) {
        flags(&call.text(1))
    } else {
        flags(&first)
    }
    .unwrap_or(0);
    options.no_100 = bits & 1 != 0;
    options.no_error_reply = bits & 2 != 0;
    if !first.is_empty() && flags(&first).is_none() {
        let (transport, rest) = match first.iter().position(|b| *b == b':') {
            Some(at) if matches!(&first[..at], b"udp" | b"tcp" | b"tls") => (&first[..at], &first[at + 1..]),
            _ => (&b"udp"[..], &first[..]),
        };
        let uri = [b"sip:", rest, b";transport=", transport].concat();
        let socket = call.env.ctx.send_socket;
        options.target = call.env.host.resolve(&uri, socket);
        if options.target.is_none() {
            call.env.ctx.failure = Failure::Unresolvable;
            return Code::FALSE;
        }
    }
    let (host, scope) = call.split();
    host.relay(scope, options)
}

/// `t_replicate("sip:host")`, `t_replicate(host, port)` or to the request's own target.
pub(super) fn t_replicate(call: &mut Call<'_, '_>) -> Code {
    let options = RelayOptions {
        replicate: true,
        ..RelayOptions::default()
    };
    if call.has(0) && !call.has(1) {
        let uri = call.text_owned(0);
        let target = call.env.host.resolve(&uri, None);
        if target.is_none() {
            call.env.ctx.failure = Failure::Unresolvable;
            return Code::FALSE;
        }
        let (host, scope) = call.split();
        return host.relay(scope, RelayOptions { target, ..options });
    }
    relay_to(call, None, options)
}

pub(super) fn t_replicate_udp(call: &mut Call<'_, '_>) -> Code {
    relay_to(
        call,
        Some("udp"),
        RelayOptions {
            replicate: true,
            ..RelayOptions::default()
        },
    )
}

pub(super) fn t_replicate_tcp(call: &mut Call<'_, '_>) -> Code {
    relay_to(
        call,
        Some("tcp"),
        RelayOptions {
            replicate: true,
            ..RelayOptions::default()
        },
    )
}

pub(super) fn t_relay_cancel(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    if !matches!(scope.ctx.msg.method(), Method::Cancel) {
        return Code::TRUE;
    }
    match host.check_transaction(scope) {
        Matched::Related => {
            let (host, scope) = call.split();
            host.relay(scope, RelayOptions::default());
            Code::EXIT
        }
        Matched::Retransmission => Code::EXIT,
        Matched::None | Matched::EndToEndAck => Code::TRUE,
    }
}

pub(super) fn t_newtran(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    host.new_transaction(scope)
}

pub(super) fn t_check_trans(call: &mut Call<'_, '_>) -> Code {
    if call.env.route.meets(Routes::ONREPLY.or(Routes::REPLY)) {
        return t_exists(call);
    }
    let (host, scope) = call.split();
    match host.check_transaction(scope) {
        Matched::None => Code::FALSE,
        Matched::Retransmission => Code::EXIT,
        Matched::Related | Matched::EndToEndAck => Code::TRUE,
    }
}

pub(super) fn t_lookup_request(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.host.precheck_transaction(call.env.ctx))
}

pub(super) fn t_lookup_cancel(call: &mut Call<'_, '_>) -> Code {
    let (host, scope) = call.split();
    let cancel = matches!(scope.ctx.msg.method(), Method::Cancel);
    Code::from(cancel && host.check_transaction(scope) == Matched::Related)
}

pub(super) fn t_exists(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.host.transaction().is_some())
}

pub(super) fn t_release(call: &mut Call<'_, '_>) -> Code {
    call.env.host.release_transaction();
    Code::TRUE
}

/// The list that waiting branches are kept in, one item a branch, lowest q at the bottom.
fn waiting(script: &Script) -> Option<&[u8]> {
    let name = &script.states.get::<Tm>()?.contacts_avp;
    if name.is_empty() {
        crate::log::error(
            "tm",
            format_args!("serial forking needs the parameter contacts_avp"),
        );
        return None;
    }
    Some(name)
}

/// Puts the branches aside, the highest q on top, as `q`, `uri`, `dst_uri`, `path`, `flags` fields.
pub(super) fn t_load_contacts(call: &mut Call<'_, '_>) -> Code {
    let env = &mut *call.env;
    let Some(waiting) = waiting(env.script) else {
        return Code::FALSE;
    };
    let ctx = &mut *env.ctx;
    if ctx.branches.is_empty() {
        return Code::TRUE;
    }
    let first = Branch {
        uri: ctx.uri().to_vec(),
        dst_uri: ctx.dst_uri.take(),
        path: ctx.path.take(),
        q: ctx.q,
        flags: ctx.bflags,
        socket: ctx.send_socket,
        instance: ctx.instance.take(),
        ruid: ctx.ruid.take(),
        location_ua: ctx.location_ua.take(),
    };
    let mut all: Vec<Branch> = std::iter::once(first).chain(ctx.branches.drain(..)).collect();
    all.sort_by_key(|branch| branch.q); // stable: pushed lowest first, so that the highest is on top
    for branch in all {
        env.lists
            .xavp
            .push(waiting, crate::script::lists::Item::Fields(fields(branch)));
    }
    Code::TRUE
}

fn fields(branch: Branch) -> Vec<(Box<[u8]>, Value<'static>)> {
    let optional = |value: Option<Vec<u8>>| value.map_or(Value::Null, Value::owned);
    vec![
        (Box::from(&b"q"[..]), Value::Int(i64::from(branch.q))),
        (Box::from(&b"uri"[..]), Value::owned(branch.uri)),
        (Box::from(&b"dst_uri"[..]), optional(branch.dst_uri)),
        (Box::from(&b"path"[..]), optional(branch.path)),
        (Box::from(&b"flags"[..]), Value::Int(i64::from(branch.flags))),
        (
            Box::from(&b"sock"[..]),
            branch.socket.map_or(Value::Null, |id| Value::Int(i64::from(id))),
        ),
        (Box::from(&b"instance"[..]), optional(branch.instance)),
        (Box::from(&b"ruid"[..]), optional(branch.ruid)),
        (Box::from(&b"ua"[..]), optional(branch.location_ua)),
    ]
}

fn branch(fields: &[(Box<[u8]>, Value<'static>)]) -> Branch {
    let field = |name: &[u8]| {
        fields
            .iter()
            .find(|(n, _)| **n == *name)
            .map_or(Value::Null, |(_, v)| v.clone())
    };
    let text = |name: &[u8]| match field(name) {
        Value::Null => None,
        value => Some(value.into_text().into_owned()),
    };
    Branch {
        uri: text(b"uri").unwrap_or_default(),
        dst_uri: text(b"dst_uri"),
        path: text(b"path"),
        q: i32::try_from(field(b"q").to_int()).unwrap_or(-1),
        flags: u32::try_from(field(b"flags").to_int()).unwrap_or(0),
        socket: u16::try_from(field(b"sock").to_int())
            .ok()
            .filter(|_| !field(b"sock").is_null()),
        instance: text(b"instance"),
        ruid: text(b"ruid"),
        location_ua: text(b"ua"),
    }
}

/// Takes every branch that shares the highest q: the first becomes the request's own, the others are appended.
pub(super) fn t_next_contacts(call: &mut Call<'_, '_>) -> Code {
    let env = &mut *call.env;
    let Some(waiting) = waiting(env.script) else {
        return Code::FALSE;
    };
    let mut taken: Vec<Branch> = Vec::new();
    while let Some(crate::script::lists::Item::Fields(item)) = env.lists.xavp.item(waiting, 0) {
        let next = branch(item);
        if taken.first().is_some_and(|first| first.q != next.q) {
            break;
        }
        taken.push(next);
        env.lists.xavp.remove(waiting, 0);
    }
    let mut taken = taken.into_iter();
    let Some(first) = taken.next() else {
        return Code(-2);
    };
    let ctx = &mut *env.ctx;
    ctx.set_uri(first.uri);
    ctx.set_dst_uri(first.dst_uri);
    ctx.path = first.path;
    ctx.q = first.q;
    ctx.bflags = first.flags;
    ctx.send_socket = first.socket;
    ctx.instance = first.instance;
    ctx.ruid = first.ruid;
    ctx.location_ua = first.location_ua;
    ctx.branches.extend(taken);
    Code::TRUE
}
