//! `loadmodule "path"`: Path headers for registrars behind this proxy (RFC 3327, Kamailio path module).

use crate::modules::nathelper::contact::source_uri;
use crate::modules::outbound::Outbound;
use crate::modules::outbound::is_first_hop;
use crate::proxy::context::Context;
use crate::proxy::sockets::Listener;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::value::print_int;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::Uri;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int(
            "use_received",
            0,
            "The received parameter of our own Route is the next hop.",
        ),
        Param::Int("received_format", 0, "received is 0 a URI, 1 ip~port~transport."),
        Param::Text("received_name", "received", "Name of that parameter."),
        Param::Int(
            "enable_r2",
            0,
            "Add a Path for the incoming and one for the outgoing socket.",
        ),
        Param::Int("sockname_mode", 0, "Name the socket in a parameter sn."),
    ],
    functions: &[
        Function {
            names: &["add_path"],
            args: &[Arg::OptText("user"), Arg::OptText("parameters")],
            routes: Routes::REQUEST,
            doc: "Adds a Path with our address.",
            call: |call| add(call, None, 0, Received::No),
        },
        Function {
            names: &["add_path_received"],
            args: &[Arg::OptText("user"), Arg::OptText("parameters")],
            routes: Routes::REQUEST,
            doc: "Adds a Path with our address and where the request came from.",
            call: |call| add(call, None, 0, Received::Yes),
        },
        Function {
            names: &["add_path_advertised_address"],
            args: &[
                Arg::Text("address"),
                Arg::OptText("user"),
                Arg::OptText("parameters"),
            ],
            routes: Routes::REQUEST,
            doc: "Adds a Path with a given address.",
            call: |call| {
                let address = call.text_owned(0);
                add(call, Some(address), 1, Received::No)
            },
        },
        Function {
            names: &["add_path_received_advertised_address"],
            args: &[
                Arg::Text("address"),
                Arg::OptText("user"),
                Arg::OptText("parameters"),
            ],
            routes: Routes::REQUEST,
            doc: "Adds a Path with a given address and where the request came from.",
            call: |call| {
                let address = call.text_owned(0);
                add(call, Some(address), 1, Received::Yes)
            },
        },
    ],
    hooks: &[Hook::RequestIn(use_received)],
    init: Some(init),
    ..ModuleDef::new("path", "Adds Path headers to registrations.")
};

/// Whether the source address is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    No,
    Yes,
}

/// The state of the module.
pub(crate) struct Path {
    use_received: bool,
    as_alias: bool,
    received_name: Vec<u8>,
    enable_r2: bool,
    sockname: bool,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    Ok(Arc::new(Path {
        use_received: init.int("use_received") != 0,
        as_alias: init.int("received_format") != 0,
        received_name: init.text("received_name").into_bytes(),
        enable_r2: init.int("enable_r2") != 0,
        sockname: init.int("sockname_mode") != 0,
    }))
}

fn add(call: &mut Call<'_, '_>, address: Option<Vec<u8>>, first: usize, received: Received) -> Code {
    let Some(path) = call.state::<Path>() else {
        return Code::FALSE;
    };
    let (mut user, parameters) = (call.text_owned(first), call.text_owned(first + 1));
    let env = &mut *call.env;
    let outbound = env.state::<Outbound>().filter(|outbound| outbound.is_wanted(env));
    // RFC 5626 §5.1: ob tells the registrar that the first hop knows of flows
    let mut ob = false;
    if let Some(outbound) = outbound {
        user = outbound.token(&env.ctx.source);
        ob = is_first_hop(&env.ctx.msg);
    }
    let sockets = env.host.sockets();
    let incoming = sockets.get(env.ctx.source.socket);
    let outgoing = env.ctx.send_socket.and_then(|id| sockets.get(id)).or(incoming);
    let Some(outgoing) = outgoing else {
        return Code::FALSE;
    };
    let mut lines = Vec::new();
    let line = |listener: &Listener, lines: &mut Vec<u8>| {
        lines.extend_from_slice(b"Path: <sip:");
        if !user.is_empty() {
            lines.extend_from_slice(&user);
            lines.push(b'@');
        }
        match &address {
            Some(address) => lines.extend_from_slice(address),
            None => write_host(lines, listener),
        }
        lines.extend_from_slice(b";lr");
        if address.is_none() && listener.transport != Transport::Udp {
            lines.extend_from_slice(b";transport=");
            lines.extend_from_slice(listener.transport.as_str().as_bytes());
        }
        if path.sockname
            && let Some(name) = &listener.name
        {
            lines.extend_from_slice(b";sn=");
            lines.extend_from_slice(name.as_bytes());
        }
        if received == Received::Yes {
            write_received(lines, path, env.ctx);
        }
        if ob {
            lines.extend_from_slice(b";ob");
        }
        if !parameters.is_empty() {
            lines.push(b';');
            lines.extend_from_slice(&parameters);
        }
        if path.enable_r2 {
            lines.extend_from_slice(b";r2=on");
        }
        lines.extend_from_slice(b">\r\n");
    };
    line(outgoing, &mut lines);
    if path.enable_r2
        && let Some(incoming) = incoming
    {
        line(incoming, &mut lines);
    }
    let Context { msg, lumps, .. } = &mut *env.ctx;
    // RFC 3327 §5.2: each proxy puts its own before those that are there.
    match msg.first_header(HeaderName::Path) {
        Some(header) => lumps.insert_before(header, &lines),
        None => lumps.append_header(msg, &lines),
    }
    Code::TRUE
}

fn write_host(out: &mut Vec<u8>, listener: &Listener) {
    out.extend_from_slice(listener.host_text.as_bytes());
    if listener.port_text != listener.transport.default_port().to_string() {
        out.push(b':');
        out.extend_from_slice(listener.port_text.as_bytes());
    }
}

fn write_received(out: &mut Vec<u8>, path: &Path, ctx: &Context) {
    out.push(b';');
    out.extend_from_slice(&path.received_name);
    out.push(b'=');
    if path.as_alias {
        let (ip, transport) = (ctx.source.peer.ip().to_string(), ctx.source.transport);
        out.extend_from_slice(ip.as_bytes());
        out.push(b'~');
        print_int(ctx.source.peer.port().into(), out);
        out.push(b'~');
        let order = [
            Transport::Udp,
            Transport::Tcp,
            Transport::Tls,
            Transport::Sctp,
            Transport::Ws,
            Transport::Wss,
        ];
        print_int(
            order
                .iter()
                .position(|t| *t == transport)
                .map_or(1, |at| at as i64 + 1),
            out,
        );
        return;
    }
    for byte in source_uri(&ctx.source) {
        match byte {
            // Inside a parameter's value these would end it.
            b';' => out.extend_from_slice(b"%3B"),
            b'=' => out.extend_from_slice(b"%3D"),
            byte => out.push(byte),
        }
    }
}

/// `use_received`: a request that came by our own Path goes on to where the client was seen.
fn use_received(env: &mut Env<'_>) -> bool {
    let Some(path) = env.state::<Path>().filter(|path| path.use_received) else {
        return true;
    };
    let next = {
        let route = env
            .ctx
            .msg
            .routes()
            .next()
            .and_then(|value| value.name_addr().ok());
        let uri = route.and_then(|addr| Uri::parse(addr.uri).ok());
        let ours = uri.filter(|uri| env.is_own_route(uri));
        let value = ours.and_then(|uri| uri.param(&path.received_name).flatten());
        value
            .map(|value| shared::sip::params::unescape(value).into_owned())
            .filter(|uri| Uri::parse(uri).is_ok())
    };
    if next.is_some() {
        env.ctx.set_dst_uri(next);
    }
    true
}
