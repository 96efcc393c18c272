//! `core.explain`: a message through the script, step by step, in a proxy that only writes down.

pub(crate) mod live;

use super::Runtime;
use super::masked::masked_bytes;
use super::sandbox::Sandbox;
use super::sandbox::Sent;
use super::sandbox::Why;
use crate::control::methods::RpcFault;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::proxy::context::Target;
use crate::script::exec;
use crate::script::exec::Verdict;
use crate::script::exec::trace::Step;
use crate::script::exec::trace::Trace;
use crate::script::exec::trace::What;
use crate::script::host::Host;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::span::Sources;
use crate::script::vars::Vars;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use shared::net::SocketSpec;
use shared::net::Transport;
use shared::sip::Message;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

/// Runs a request through a script and tells what happened and what would have been sent.
pub(crate) fn explain(
    runtime: &Arc<Runtime>,
    script: &Script,
    message: &str,
    source: Option<&str>,
) -> Result<Value, RpcFault> {
    // a file made by hand has bare line feeds
    let wire = if message.contains("\r\n") {
        message.to_owned()
    } else {
        message.replace('\n', "\r\n")
    };
    let msg = Message::parse(wire.into_bytes())
        .map_err(|error| RpcFault::bad_request(format!("the message is not SIP: {error}")))?;
    if !msg.is_request() {
        return Err(RpcFault::bad_request("only a request can be explained"));
    }
    let source = source_of(runtime, &msg, source)?;
    let mut ctx = Context {
        msg,
        source,
        // of no worker's numbers
        id: rand::random::<u64>() | 1 << 63,
        ..Context::default()
    };
    let mut lists = Lists::default();
    let mut vars = Vars::default();
    vars.trace = Some(Box::default());
    let mut sandbox = Sandbox::new(Arc::clone(runtime));
    let verdict = run(&mut sandbox, &mut ctx, &mut lists, &mut vars, script);
    let trace = vars.trace.take().unwrap_or_default();
    Ok(report(runtime, script, &source, &trace, verdict, &sandbox.sent))
}

fn run(
    sandbox: &mut Sandbox,
    ctx: &mut Context,
    lists: &mut Lists,
    vars: &mut Vars,
    script: &Script,
) -> Option<Verdict> {
    let scope = Scope {
        ctx,
        lists,
        vars,
        script,
        route: RouteKind::REQUEST,
    };
    if let Err(missing) = scope.ctx.msg.mandatory() {
        sandbox.reply_stateless(scope, missing.status(), missing.reason().as_bytes());
        return None;
    }
    let route = script.program.request_route()?;
    let mut env = scope.env(sandbox);
    let admitted = script.hooks().all(|hook| match hook {
        Hook::RequestIn(run) => run(&mut env),
        _ => true,
    });
    admitted.then(|| exec::run(route, &mut env))
}

/// Where the message is said to come from: the given place, else the one that its Via names.
fn source_of(runtime: &Runtime, msg: &Message, text: Option<&str>) -> Result<Source, RpcFault> {
    let (transport, peer) = match text {
        Some(text) => {
            let wrong = || RpcFault::bad_request(format!("source {text:?} is not like udp:192.0.2.1:5060"));
            let spec: SocketSpec = text.parse().map_err(|_| wrong())?;
            let shared::net::Host::Ip(ip) = spec.host else {
                return Err(wrong());
            };
            let transport = spec.transport.unwrap_or(Transport::Udp);
            (transport, SocketAddr::new(ip, spec.port.unwrap_or(5060)))
        }
        None => from_via(msg),
    };
    let endpoints = runtime.endpoints.load();
    let sockets = &endpoints.sockets;
    let socket = sockets
        .first(transport, peer.is_ipv6())
        .or_else(|| sockets.first(transport, !peer.is_ipv6()))
        .unwrap_or(0);
    let listener = sockets.get(socket);
    Ok(Source {
        peer,
        local: listener.map_or(SocketAddr::from(([127, 0, 0, 1], 5060)), |l| l.address),
        transport,
        socket,
        conn: None,
    })
}

fn from_via(msg: &Message) -> (Transport, SocketAddr) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let via = msg.top_via();
    let transport = via
        .as_ref()
        .and_then(|via| text(via.transport).to_ascii_lowercase().parse().ok())
        .unwrap_or(Transport::Udp);
    let ip = via
        .as_ref()
        .and_then(|via| text(via.host).trim_matches(['[', ']']).parse::<IpAddr>().ok())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let port = via.and_then(|via| via.port).unwrap_or(5060);
    (transport, SocketAddr::new(ip, port))
}

fn report(
    runtime: &Runtime,
    script: &Script,
    source: &Source,
    trace: &Trace,
    verdict: Option<Verdict>,
    sent: &[Sent],
) -> Value {
    let end = match verdict {
        None => "refused before the script".to_owned(),
        Some(Verdict { dropped: true, .. }) => "drop".to_owned(),
        Some(Verdict { exited: true, .. }) => "exit".to_owned(),
        Some(Verdict { code, .. }) => format!("return {code}"),
    };
    let place = |transport: Transport, address: SocketAddr| format!("{}:{address}", transport.as_str());
    let endpoints = runtime.endpoints.load();
    let going = |target: &Target| {
        let from = target.socket.and_then(|id| endpoints.sockets.get(id));
        (
            place(target.transport, target.peer),
            from.map(|listener| place(listener.transport, listener.address)),
        )
    };
    let sent: Vec<Value> = sent
        .iter()
        .map(|sent| {
            let (to, from) = sent
                .target
                .as_ref()
                .map(going)
                .map_or((None, None), |(to, from)| (Some(to), from));
            let message = masked_bytes(&sent.bytes);
            json!({
                "kind": match sent.why {
                    Why::Reply => "reply",
                    Why::Relay => "relay",
                    Why::Forward => "forward",
                    Why::Send => "send",
                    Why::Originate => "request",
                },
                "line": message.lines().next().unwrap_or_default(),
                "to": to,
                "from": from,
                "message": message,
            })
        })
        .collect();
    let sources = script.program.sources();
    let steps: Vec<Value> = trace
        .steps
        .iter()
        .map(|step| shown(step, script, sources))
        .collect();
    json!({
        "source": place(source.transport, source.peer),
        "received_at": place(source.transport, source.local),
        "steps": steps,
        "omitted": trace.omitted,
        "end": end,
        "sent": sent,
    })
}

/// The line of a text that an offset lies in, without its indentation.
fn line_at(text: &str, at: usize) -> &str {
    let (before, after) = (text.get(..at).unwrap_or(""), text.get(at..).unwrap_or(""));
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(text.len(), |newline| at + newline);
    text.get(start..end).unwrap_or("").trim()
}

/// One step as people and programs read it.
fn shown(step: &Step, script: &Script, sources: &Sources) -> Value {
    let root = sources.root(step.span);
    let whole = sources.text(root.file);
    let text = line_at(&whole, root.range().start);
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (what, result) = match &step.what {
        What::Enter(route) => ("enter", script.program.route_name(*route).to_owned()),
        What::Leave(_, code) => ("leave", code.to_string()),
        What::Condition(yes) => ("condition", yes.to_string()),
        What::Call(name, code) => ("call", format!("{name}() = {code}")),
        What::HeldBack(name) => ("held back", format!("{name}() would write: taken as 1")),
        What::Note(text) => ("note", text.to_string()),
        What::Assign(name, value) => ("assign", format!("{name} = {}", lossy(value))),
        What::Exit => ("exit", String::new()),
        What::Drop => ("drop", String::new()),
    };
    let values: Map<String, Value> = step
        .values
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(lossy(value))))
        .collect();
    json!({
        "file": sources.name(root.file).display().to_string(),
        "line": sources.position(root).line,
        "depth": step.depth,
        "text": text,
        "what": what,
        "result": result,
        "values": values,
    })
}

#[cfg(test)]
mod tests;
