//! Where the message shall go: `$du` and its parts, `$ds`, where a reply goes (`$rpl`) (Kamailio pseudo-variables cookbook).

use super::branch::push_contact;
use super::compile_name;
use super::number;
use super::optional;
use super::refused;
use super::request::host;
use super::request::port;
use super::request::transport;
use crate::proxy::context::Sending;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::transform::uri::transport_number;
use crate::script::value::Value;
use shared::net::Transport;
use shared::sip::Via;
use std::net::SocketAddr;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(
        &["du"],
        "Next hop, when it is not the Request-URI's.",
        |env, _| optional(env.ctx.dst_uri.as_ref()),
    )
    .settable(set_du),
    Pv::plain(&["dd"], "Host of the next hop.", |env, _| {
        next_hop(env).map_or(Value::Null, host)
    }),
    Pv::plain(&["dp"], "Port of the next hop.", |env, _| {
        next_hop(env).map_or(Value::Null, port)
    }),
    Pv::plain(&["dP"], "Transport of the next hop.", |env, _| {
        next_hop(env).map_or(Value::Null, transport)
    }),
    Pv::plain(&["ds"], "Destination set as a Contact header.", destination_set),
    Pv::class(
        &["rpl"],
        "Where the reply goes by its second Via: duri, dhost, dport, dproto, dprotoid, cntvia.",
        |inner| compile_name(inner, REPLY),
        reply,
    ),
    Pv::class(
        &["sndto"],
        "In onsend_route, where the request goes: ip af port proto sproto buf len.",
        |inner| compile_name(inner, SENT),
        |env, spec| sent(env, spec, |sending| sending.target.peer),
    ),
    Pv::class(
        &["snd", "sndfrom"],
        "In onsend_route, the socket it leaves from: ip af port proto sproto buf len.",
        |inner| compile_name(inner, SENT),
        |env, spec| sent(env, spec, |sending| sending.local),
    ),
    Pv::class(
        &["nh"],
        "Next hop, $du else $ru: u (uri), d (domain), U (user), p (port), P (transport).",
        |inner| compile_name(inner, HOP),
        hop,
    ),
];

const SENT: &[&str] = &["ip", "af", "port", "proto", "sproto", "buf", "len"];

fn sent<'e>(env: &'e Env<'_>, spec: &'e PvSpec, end: fn(&Sending) -> SocketAddr) -> Value<'e> {
    let Some(sending) = env.ctx.sending.as_deref() else {
        return Value::Null;
    };
    let (end, transport) = (end(sending), sending.target.transport);
    match number(spec) {
        0 => Value::owned(end.ip().to_string().into_bytes()),
        1 => Value::Int(if end.is_ipv4() { 2 } else { 10 }),
        2 => Value::Int(i64::from(end.port())),
        3 => Value::Int(i64::from(transport_number(transport))),
        4 => Value::text(transport.as_str().as_bytes()),
        5 => Value::text(&sending.bytes),
        _ => Value::Int(sending.bytes.len() as i64),
    }
}

fn next_hop<'e>(env: &'e Env<'_>) -> Option<&'e [u8]> {
    env.ctx.dst_uri.as_deref()
}

fn set_du(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let uri = match &value {
        Value::Null => None,
        Value::Str(text) if text.is_empty() => None,
        // Kamailio: what it holds is read when the message is sent, not here
        Value::Str(text) => Some(text.to_vec()),
        other => return Err(refused(other)),
    };
    env.ctx.set_dst_uri(uri);
    Ok(())
}

fn destination_set<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    // Kamailio: null until the Request-URI was changed or a branch appended
    if env.ctx.new_uri.is_none() && env.ctx.branches.is_empty() {
        return Value::Null;
    }
    let mut out = b"Contact: ".to_vec();
    if env.ctx.new_uri.is_some() {
        push_contact(&mut out, env.ctx.uri(), env.ctx.q);
    }
    for branch in &env.ctx.branches {
        if out.len() > b"Contact: ".len() {
            out.extend_from_slice(b", ");
        }
        push_contact(&mut out, &branch.uri, branch.q);
    }
    Value::owned(out)
}

const HOP: &[&str] = &["u", "d", "U", "p", "P"];

fn hop<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let uri = next_hop(env).unwrap_or_else(|| env.ctx.uri());
    match number(spec) {
        0 => Value::text_or_null(uri),
        1 => host(uri),
        2 => super::request::user(uri),
        3 => port(uri),
        _ => transport(uri),
    }
}

const REPLY: &[&str] = &["duri", "dhost", "dport", "dproto", "dprotoid", "cntvia"];

fn reply<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let msg = &env.ctx.msg;
    if !msg.is_reply() {
        return Value::Null;
    }
    if number(spec) == 5 {
        return Value::Int(msg.vias().count() as i64);
    }
    let Some(via) = msg.vias().nth(1).and_then(|value| Via::parse(value.bytes).ok()) else {
        return Value::Null;
    };
    let transport = Transport::from_bytes(via.transport).unwrap_or(Transport::Udp);
    let host = via.received().or(via.maddr()).unwrap_or(via.host);
    let port = via
        .rport()
        .flatten()
        .or(via.port)
        .unwrap_or_else(|| transport.default_port());
    match number(spec) {
        0 => {
            let mut out = [b"sip:".as_slice(), host, format!(":{port}").as_bytes()].concat();
            if transport != Transport::Udp {
                out.extend_from_slice(b";transport=");
                out.extend_from_slice(transport.as_str().as_bytes());
            }
            Value::owned(out)
        }
        1 => Value::text(host),
        2 => Value::Int(i64::from(port)),
        3 => Value::text(transport.as_str().as_bytes()),
        _ => Value::Int(i64::from(transport_number(transport))),
    }
}
