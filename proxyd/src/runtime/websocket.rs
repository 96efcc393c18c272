//! WebSocket connections as scripts and operators act on them: the upgrade, their end, `ws.*` (Kamailio module websocket).

use super::Runtime;
use super::host::Live;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcDef;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::RouteKind;
use crate::script::vars::Vars;
use crate::transport::conn::ConnRow;
use crate::transport::conn::Control;
use serde_json::json;
use shared::net::Keepalive;
use shared::net::Transport;
use std::net::SocketAddr;
use std::sync::Arc;

/// Connections that one answer lists.
const SHOWN: usize = 50;

impl Live {
    /// Answers an HTTP request and goes on in WebSocket, at the listening socket of that transport.
    pub(super) fn upgrade_connection(&self, ctx: &Context, answer: &[u8], keepalive: &Keepalive) -> bool {
        let Source {
            conn: Some(conn),
            local,
            transport,
            ..
        } = ctx.source
        else {
            return false;
        };
        let socket = self.endpoints.sockets.find(transport.upgraded(), local);
        let streams = &self.runtime.streams;
        socket.is_some_and(|socket| streams.upgrade(conn, answer.to_vec(), socket, keepalive.clone()))
    }

    /// Runs `event_route[websocket:closed]` for a connection that is no more.
    pub(super) fn websocket_closed(&mut self, row: &ConnRow, vars: &mut Vars) {
        let script = Arc::clone(&self.script);
        let mut ctx = Context {
            source: Source {
                peer: row.remote,
                local: row.local,
                transport: row.transport,
                socket: row.socket,
                conn: Some(row.id),
            },
            ..Context::default()
        };
        let scope = Scope {
            ctx: &mut ctx,
            lists: &mut Lists::default(),
            vars,
            script: &script,
            route: RouteKind::EVENT,
        };
        self.run_event("websocket:closed", scope);
    }
}

impl Runtime {
    /// The transport that leads to a peer: a URI says `ws` of both kinds of WebSocket (RFC 7118 §5.2).
    pub(super) fn web_transport(&self, transport: Transport, peer: SocketAddr) -> Transport {
        let is_open = |transport| self.streams.find(transport, peer).is_some();
        if transport == Transport::Ws && !is_open(Transport::Ws) && is_open(Transport::Wss) {
            Transport::Wss
        } else {
            transport
        }
    }
}

type Work = fn(&RpcCall<'_>, &Runtime) -> RpcResult;

const METHODS: &[(&str, &str, Work)] = &[
    (
        "ws.close",
        "Ends a WebSocket connection: its number.",
        |call, runtime| control(call, runtime, Control::Close(1000, "Normal closure".to_owned())),
    ),
    (
        "ws.dump",
        "Lists the first 50 WebSocket connections: id_hash, used_desc or used_asc for their order.",
        dump,
    ),
    (
        "ws.ping",
        "Sends a Ping: the number of the connection.",
        |call, runtime| control(call, runtime, Control::Ping(Vec::new())),
    ),
    (
        "ws.pong",
        "Sends a Pong: the number of the connection.",
        |call, runtime| control(call, runtime, Control::Pong(Vec::new())),
    ),
];

/// The methods, for a script that loads websocket.
pub(crate) fn methods(runtime: &Arc<Runtime>) -> Vec<RpcDef> {
    let def = |(name, doc, work): &(&'static str, &'static str, Work)| {
        let (runtime, work) = (Arc::clone(runtime), *work);
        RpcDef::new(name, doc, move |call: &RpcCall<'_>| {
            if !runtime.script.load().has("websocket") {
                return Err(RpcFault::failed("module websocket is not loaded"));
            }
            work(call, &runtime)
        })
    };
    METHODS.iter().map(def).collect()
}

/// Names and help of the methods, for the reference.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    METHODS.iter().map(|(name, doc, _)| (*name, *doc))
}

fn control(call: &RpcCall<'_>, runtime: &Runtime, frame: Control) -> RpcResult {
    let id = u64::try_from(call.int(0)?).unwrap_or(0);
    if runtime.streams.control(id, frame) {
        Ok(RpcReply::empty())
    } else {
        Err(RpcFault::failed("Unknown connection ID"))
    }
}

fn dump(call: &RpcCall<'_>, runtime: &Runtime) -> RpcResult {
    let mut rows = runtime.streams.rows();
    rows.retain(|row| row.transport.is_web());
    match call.opt_str(0)?.as_deref() {
        None | Some("id_hash") => {}
        Some("used_desc") => rows.sort_by_key(|row| row.idle),
        Some("used_asc") => rows.sort_by_key(|row| std::cmp::Reverse(row.idle)),
        Some(_) => return Err(RpcFault::bad_request("Bad display order parameter")),
    }
    let lines: Vec<String> = rows.iter().take(SHOWN).map(line).collect();
    let truncated = if rows.len() > SHOWN { "yes" } else { "no" };
    Ok(json!({
        "connections": lines,
        "info": { "wscounter": lines.len(), "truncated": truncated },
    })
    .into())
}

fn line(row: &ConnRow) -> String {
    let ConnRow {
        id,
        transport,
        remote,
        local,
        idle,
        ..
    } = row;
    let (from, to) = (remote.ip(), local.ip());
    format!(
        "{id}: {transport}:{from}:{} -> {transport}:{to}:{} (state: OPEN,  last used {idle}s ago, sub-protocol: sip)",
        remote.port(),
        local.port()
    )
}
