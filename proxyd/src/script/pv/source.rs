//! Where the message came from and which socket received it (Kamailio pseudo-variables cookbook).

use super::refused;
use crate::proxy::context::SocketId;
use crate::proxy::sockets::Listener;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::transform::uri::split_socket;
use crate::script::transform::uri::transport_number;
use crate::script::value::Value;
use shared::net::Transport;
use std::net::IpAddr;
use std::net::SocketAddr;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["si"], "Source address.", |env, _| ip(env.ctx.source.peer.ip())),
    Pv::plain(&["siz"], "Source address, IPv6 in brackets.", |env, _| {
        Value::owned(bracketed(env.ctx.source.peer.ip()).into_bytes())
    }),
    Pv::plain(&["sp"], "Source port.", |env, _| {
        Value::Int(i64::from(env.ctx.source.peer.port()))
    }),
    Pv::plain(&["su"], "Source as a URI, without transport=udp.", |env, _| {
        Value::owned(uri(env.ctx.source.peer, env.ctx.source.transport, Udp::Silent))
    }),
    Pv::plain(&["sut"], "Source as a URI with its transport.", |env, _| {
        Value::owned(uri(env.ctx.source.peer, env.ctx.source.transport, Udp::Named))
    }),
    Pv::plain(&["sas"], "Source as a socket, proto:address:port.", |env, _| {
        Value::owned(socket_text(
            env.ctx.source.transport.uri_name(),
            env.ctx.source.peer,
        ))
    }),
    Pv::plain(&["pr", "proto"], "Transport of the message.", |env, _| {
        Value::text(env.ctx.source.transport.as_str().as_bytes())
    }),
    Pv::plain(&["prid"], "Number of that transport.", |env, _| {
        Value::Int(i64::from(transport_number(env.ctx.source.transport)))
    }),
    Pv::plain(&["conid"], "Id of the connection.", |env, _| {
        env.ctx.source.conn.map_or(Value::Null, |id| {
            Value::Int(i64::try_from(id).unwrap_or(i64::MAX))
        })
    }),
    Pv::plain(&["Ri"], "Address that received the message.", |env, _| {
        ip(env.ctx.source.local.ip())
    }),
    Pv::plain(&["Rp"], "Port that received the message.", |env, _| {
        Value::Int(i64::from(env.ctx.source.local.port()))
    }),
    Pv::plain(
        &["Rn"],
        "Name of the socket that received the message.",
        |env, _| {
            received(env)
                .and_then(|l| l.name.as_deref())
                .map_or(Value::Null, |name| Value::text(name.as_bytes()))
        },
    ),
    Pv::plain(
        &["Ru"],
        "Socket that received the message as a URI, without transport=udp.",
        |env, _| Value::owned(uri(env.ctx.source.local, env.ctx.source.transport, Udp::Silent)),
    ),
    Pv::plain(
        &["Rut"],
        "Socket that received the message as a URI with its transport.",
        |env, _| Value::owned(uri(env.ctx.source.local, env.ctx.source.transport, Udp::Named)),
    ),
    Pv::plain(&["RAi"], "Advertised address of that socket.", advertised_host),
    Pv::plain(&["RAp"], "Advertised port of that socket.", advertised_port),
    Pv::plain(
        &["RAu"],
        "Advertised URI of that socket, without transport=udp.",
        |env, _| Value::owned(advertised_uri(env, Udp::Silent)),
    ),
    Pv::plain(
        &["RAut"],
        "Advertised URI of that socket with its transport.",
        |env, _| Value::owned(advertised_uri(env, Udp::Named)),
    ),
    Pv::plain(
        &["af"],
        "Address family of the source: 2 for IPv4, 10 for IPv6.",
        |env, _| Value::Int(if env.ctx.source.peer.is_ipv4() { 2 } else { 10 }),
    ),
    Pv::plain(&["fs"], "Socket to send from, proto:address:port.", forced).settable(set_forced),
    Pv::plain(&["fsn"], "Name of the socket to send from.", forced_name).settable(set_forced_name),
];

/// Whether `transport=udp` is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Udp {
    Silent,
    Named,
}

/// An address as text, made on the stack first.
fn ip(address: IpAddr) -> Value<'static> {
    Value::owned(address.to_canonical().to_string().into_bytes())
}

fn bracketed(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

fn push_transport(out: &mut String, transport: Transport, udp: Udp) {
    if transport != Transport::Udp || udp == Udp::Named {
        out.push_str(";transport=");
        out.push_str(transport.uri_name());
    }
}

fn uri(address: SocketAddr, transport: Transport, udp: Udp) -> Vec<u8> {
    let mut out = format!("sip:{}:{}", bracketed(address.ip()), address.port());
    push_transport(&mut out, transport, udp);
    out.into_bytes()
}

fn socket_text(transport: &str, address: SocketAddr) -> Vec<u8> {
    format!("{}:{}:{}", transport, bracketed(address.ip()), address.port()).into_bytes()
}

fn received<'e>(env: &'e Env<'_>) -> Option<&'e Listener> {
    env.host.sockets().get(env.ctx.source.socket)
}

/// The advertised host and port of the socket that received the message.
fn advertised<'e>(env: &'e Env<'_>) -> Option<(&'e str, u16)> {
    received(env)?
        .advertise
        .as_ref()
        .map(|(host, port)| (host.as_str(), *port))
}

fn advertised_host<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    match advertised(env) {
        Some((host, _)) => Value::text(host.as_bytes()),
        None => ip(env.ctx.source.local.ip()),
    }
}

fn advertised_port<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    Value::Int(i64::from(
        advertised(env).map_or(env.ctx.source.local.port(), |(_, port)| port),
    ))
}

fn advertised_uri(env: &Env<'_>, udp: Udp) -> Vec<u8> {
    let (local, transport) = (env.ctx.source.local, env.ctx.source.transport);
    let Some((host, port)) = advertised(env) else {
        return uri(local, transport, udp);
    };
    let mut out = format!("sip:{host}:{port}");
    push_transport(&mut out, transport, udp);
    out.into_bytes()
}

fn forced_listener<'e>(env: &'e Env<'_>) -> Option<&'e Listener> {
    env.host.sockets().get(env.ctx.send_socket?)
}

fn forced<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    forced_listener(env).map_or(Value::Null, |l| {
        Value::owned(socket_text(l.transport.as_str(), l.address))
    })
}

fn forced_name<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    let name = forced_listener(env).and_then(|l| l.name.as_deref());
    name.map_or(Value::Null, |name| Value::text(name.as_bytes()))
}

/// The listening socket that `proto:address:port` names; the transport may be missing.
pub(crate) fn find_socket(env: &Env<'_>, text: &[u8]) -> Option<SocketId> {
    let (transport, host, port) = split_socket(text)?;
    let sockets = env.host.sockets();
    let bare = host
        .strip_prefix(b"[")
        .and_then(|h| h.strip_suffix(b"]"))
        .unwrap_or(host);
    let address = std::str::from_utf8(bare)
        .ok()
        .and_then(|text| text.parse::<IpAddr>().ok());
    sockets.position(|listener| {
        let fits = transport.is_none_or(|wanted| wanted == listener.transport);
        let own = address.is_some_and(|ip| ip == listener.address.ip())
            && port.is_none_or(|port| port == listener.address.port());
        let public = listener.advertise.as_ref().is_some_and(|(name, number)| {
            name.as_bytes().eq_ignore_ascii_case(host) && port.is_none_or(|port| port == *number)
        });
        fits && (own || public)
    })
}

/// The listening socket of that name.
pub(crate) fn find_named(env: &Env<'_>, name: &[u8]) -> Option<SocketId> {
    let named = |l: &Listener| l.name.as_deref().is_some_and(|own| own.as_bytes() == name);
    env.host.sockets().position(named)
}

fn set_forced(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let id = match &value {
        Value::Null => None,
        other => Some(find_socket(env, &other.to_text()).ok_or_else(|| refused(other))?),
    };
    env.ctx.send_socket = id;
    Ok(())
}

fn set_forced_name(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let id = match &value {
        Value::Null => None,
        other => Some(find_named(env, &other.to_text()).ok_or_else(|| refused(other))?),
    };
    env.ctx.send_socket = id;
    Ok(())
}
