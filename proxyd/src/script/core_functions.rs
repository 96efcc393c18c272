//! Functions that need no `loadmodule` (Kamailio core cookbook, "Core Functions").

use super::host::RelayOptions;
use super::module::Arg;
use super::module::Call;
use super::module::Code;
use super::module::CompiledArg;
use super::module::Function;
use super::module::Routes;
use super::pv::request::change;
use crate::log::Level;
use crate::proxy::context::Advertised;
use crate::proxy::context::Context;
use crate::proxy::context::Switches;
use shared::net::SocketSpec;

const CHANGING: Routes = Routes::REQUESTS;
const NOT_REPLIES: Routes = Routes::REQUESTS.or(Routes::ONSEND);

const fn row(
    names: &'static [&'static str],
    args: &'static [Arg],
    routes: Routes,
    doc: &'static str,
    call: fn(&mut Call<'_, '_>) -> Code,
) -> Function {
    Function {
        names,
        args,
        routes,
        doc,
        call,
    }
}

/// Every core function.
#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    row(&["setflag"], &[Arg::Flag("flag")], Routes::ANY, "Sets a message flag.", |call| flag(call, |flags, bit| { *flags |= bit; true })),
    row(&["resetflag"], &[Arg::Flag("flag")], Routes::ANY, "Clears a message flag.", |call| flag(call, |flags, bit| { *flags &= !bit; true })),
    row(&["isflagset"], &[Arg::Flag("flag")], Routes::ANY, "True when a message flag is set.", |call| flag(call, |flags, bit| *flags & bit != 0)),
    row(&["rewriteuri", "seturi"], &[Arg::Text("uri")], CHANGING, "Replaces the Request-URI.", set_uri),
    row(&["rewriteuser", "setuser", "setu"], &[Arg::Text("user")], CHANGING, "Replaces the user of the Request-URI.", set_user),
    row(&["rewriteuserpass", "setuserpass", "setup"], &[Arg::Text("user:password")], CHANGING, "Replaces user and password of the Request-URI.", set_user_password),
    row(&["rewritehost", "sethost", "seth"], &[Arg::Text("host")], CHANGING, "Replaces the host of the Request-URI.", set_host),
    row(&["rewriteport", "setport", "setp"], &[Arg::Text("port")], CHANGING, "Replaces the port of the Request-URI.", set_port),
    row(&["rewritehostport", "sethostport", "sethp"], &[Arg::Text("host:port")], CHANGING, "Replaces host and port of the Request-URI.", set_host_port),
    row(&["rewritehostporttrans", "sethostporttrans", "sethpt"], &[Arg::Text("host:port;transport=t")], CHANGING, "Replaces host, port and transport of the Request-URI.", set_host_port_transport),
    row(&["prefix"], &[Arg::Text("text")], CHANGING, "Puts a text before the user of the Request-URI.", prefix),
    row(&["strip"], &[Arg::Int("count")], CHANGING, "Removes characters at the start of the Request-URI's user.", |call| strip(call, |user, n| user.get(n..))),
    row(&["strip_tail"], &[Arg::Int("count")], CHANGING, "Removes characters at the end of the Request-URI's user.", |call| strip(call, |user, n| user.get(..user.len().checked_sub(n)?))),
    row(&["userphone"], &[], CHANGING, "Adds user=phone to the Request-URI.", user_phone),
    row(&["remove_branch"], &[Arg::OptInt("index")], CHANGING, "Removes the first appended branch, or the one at an index; -1 is the last.", remove_branch),
    row(&["revert_uri"], &[], CHANGING, "Takes back every change of the Request-URI.", revert_uri),
    row(&["forward", "forward_udp", "forward_tcp", "forward_tls", "forward_sctp", "send", "send_tcp"], &[Arg::OptText("host"), Arg::OptText("port")], NOT_REPLIES, "Forwards without a transaction, to $du or the Request-URI unless a host is given.", forward),
    row(&["force_rport", "add_rport"], &[], Routes::ANY, "Sends the reply to the source port (RFC 3581).", |call| switch(call, |switches| switches.force_rport = true)),
    row(&["add_local_rport"], &[], Routes::ANY, "Asks for rport in our own Via (RFC 3581).", |call| switch(call, |switches| switches.local_rport = true)),
    row(&["set_forward_no_connect"], &[], Routes::ANY, "Forwards on an open connection only.", |call| switch(call, |switches| switches.forward_no_connect = true)),
    row(&["set_forward_close"], &[], Routes::ANY, "Closes the connection after forwarding.", |call| switch(call, |switches| switches.forward_close = true)),
    row(&["set_reply_no_connect"], &[], Routes::ANY, "Sends replies on an open connection only.", |call| switch(call, |switches| switches.reply_no_connect = true)),
    row(&["set_reply_close"], &[], Routes::ANY, "Closes the connection after the reply.", |call| switch(call, |switches| switches.reply_close = true)),
    row(&["force_send_socket"], &[Arg::Literal("socket")], Routes::ANY, "Sends from this socket.", force_send_socket),
    row(&["force_tcp_alias", "add_tcp_alias"], &[Arg::OptInt("port")], Routes::ANY, "Sends what goes to this port of the peer, or to that of its Via, on the connection of this message.", force_tcp_alias),
    row(&["udp_mtu_try_proto"], &[Arg::Literal("transport")], Routes::ANY, "Accepted: a request goes by the transport of its next hop, however long it is.", |_| Code::TRUE),
    row(&["set_advertised_address"], &[Arg::Text("host")], Routes::ANY, "Names this host in our Via and Record-Route of this message.", set_advertised_address),
    row(&["set_advertised_port"], &[Arg::Int("port")], Routes::ANY, "Names this port in our Via and Record-Route of this message.", set_advertised_port),
    row(&["setavpflag"], &[Arg::Pv("avp"), Arg::Literal("flag")], Routes::ANY, "Sets a flag, declared by avpflags, of an AVP.", |call| avp_flag(call, |flags, bit| { *flags |= bit; true })),
    row(&["resetavpflag"], &[Arg::Pv("avp"), Arg::Literal("flag")], Routes::ANY, "Clears a flag of an AVP.", |call| avp_flag(call, |flags, bit| { *flags &= !bit; true })),
    row(&["isavpflagset"], &[Arg::Pv("avp"), Arg::Literal("flag")], Routes::ANY, "True when a flag of an AVP is set.", |call| avp_flag(call, |flags, bit| *flags & bit != 0)),
    row(&["exec"], &[Arg::Text("command")], Routes::ANY, "Runs a shell command and waits for it.", exec),
    row(&["error"], &[Arg::Text("text"), Arg::Text("text")], Routes::ANY, "Writes two texts to the log.", error),
    row(&["log"], &[Arg::Text("level or text"), Arg::OptText("text")], Routes::ANY, "Writes a log line.", log),
];

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.names.contains(&name))
}

fn flag(call: &mut Call<'_, '_>, act: fn(&mut u32, u32) -> bool) -> Code {
    let bit = u32::try_from(call.int(0)).ok().and_then(|n| 1u32.checked_shl(n));
    bit.map_or(Code::FALSE, |bit| act(&mut call.env.ctx.flags, bit).into())
}

fn remove_branch(call: &mut Call<'_, '_>) -> Code {
    let index = call.int(0);
    let branches = &mut call.env.ctx.branches;
    let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    let at = if index < 0 {
        branches.len().checked_sub(back)
    } else {
        Some(back)
    };
    if let Some(at) = at.filter(|at| *at < branches.len()) {
        branches.remove(at);
    }
    Code::TRUE
}

fn advertise(call: &mut Call<'_, '_>, set: impl FnOnce(&mut Advertised)) -> Code {
    set(call.env.ctx.advertised.get_or_insert_default());
    Code::TRUE
}

fn set_advertised_address(call: &mut Call<'_, '_>) -> Code {
    let host = String::from_utf8_lossy(&call.text(0)).into_owned();
    advertise(call, |shown| shown.host = Some(host))
}

fn set_advertised_port(call: &mut Call<'_, '_>) -> Code {
    match u16::try_from(call.int(0)) {
        Ok(port) if port > 0 => advertise(call, |shown| shown.port = Some(port)),
        _ => Code::FALSE,
    }
}

fn avp_flag(call: &mut Call<'_, '_>, act: fn(&mut u32, u32) -> bool) -> Code {
    let name = call.text_owned(1);
    let name = String::from_utf8_lossy(&name);
    let declared = call.env.script.program.avp_flags.get(&*name).copied();
    let number = declared.or_else(|| name.parse().ok());
    let Some(bit) = number.and_then(|n| 1u32.checked_shl(n)) else {
        return Code::FALSE;
    };
    let Some(CompiledArg::Pv(pv)) = call.args.first() else {
        return Code::FALSE;
    };
    let flags = super::pv::lists::flags(call.env, pv);
    flags.is_some_and(|flags| act(flags, bit)).into()
}

/// Kamailio: the message's worker waits for the command, and the script goes on whatever it gives.
fn exec(call: &mut Call<'_, '_>) -> Code {
    use std::os::unix::ffi::OsStrExt;
    let command = call.text_owned(0);
    let command = std::ffi::OsStr::from_bytes(&command);
    let status = std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => crate::log::notice("core", format_args!("exec() returned {status}")),
        Err(why) => crate::log::error("core", format_args!("exec(): {why}")),
    }
    Code::TRUE
}

fn error(call: &mut Call<'_, '_>) -> Code {
    let (first, second) = (call.text_owned(0), call.text_owned(1));
    let text = [&first[..], b": ", &second].concat();
    crate::log::script(Level::Error, &text);
    Code::TRUE
}

fn switch(call: &mut Call<'_, '_>, set: fn(&mut Switches)) -> Code {
    set(&mut call.env.ctx.switches);
    Code::TRUE
}

/// The connection leads to another port of the peer as well; nothing to do for a datagram.
pub(crate) fn force_tcp_alias(call: &mut Call<'_, '_>) -> Code {
    let port = match call.opt_int(0) {
        Some(port) => u16::try_from(port).ok().filter(|port| *port != 0),
        None => via_port(call.env.ctx),
    };
    let Some(port) = port else { return Code::FALSE };
    if let Some(conn) = call.env.ctx.source.conn {
        call.env.host.alias_connection(conn, port);
    }
    Code::TRUE
}

/// The port that the sender of a message says it listens on.
fn via_port(ctx: &Context) -> Option<u16> {
    let via = ctx.msg.top_via()?;
    Some(via.port.unwrap_or(ctx.source.transport.default_port()))
}

fn set_uri(call: &mut Call<'_, '_>) -> Code {
    let uri = call.text_owned(0);
    if uri.is_empty() {
        return Code::FALSE;
    }
    call.env.ctx.set_uri(uri);
    Code::TRUE
}

fn set_user(call: &mut Call<'_, '_>) -> Code {
    let user = call.text_owned(0);
    change(
        call.env.ctx,
        |parts, user| parts.user = (!user.is_empty()).then_some(user),
        &user,
    )
    .is_ok()
    .into()
}

fn set_user_password(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(0);
    let edited = change(
        call.env.ctx,
        |parts, text| {
            let at = memchr::memchr(b':', text);
            let (user, password) = at.map_or((text, None), |at| {
                (text.get(..at).unwrap_or(text), text.get(at + 1..))
            });
            (parts.user, parts.password) = (Some(user), password);
        },
        &text,
    );
    edited.is_ok().into()
}

fn set_host(call: &mut Call<'_, '_>) -> Code {
    let host = call.text_owned(0);
    if host.is_empty() {
        return Code::FALSE;
    }
    change(call.env.ctx, |parts, host| parts.host = host, &host)
        .is_ok()
        .into()
}

fn set_port(call: &mut Call<'_, '_>) -> Code {
    let port = call.text(0);
    if port.is_empty() {
        return change(call.env.ctx, |parts, _| parts.port = None, b"")
            .is_ok()
            .into();
    }
    let number = std::str::from_utf8(&port)
        .ok()
        .and_then(|text| text.parse::<u16>().ok());
    let Some(number) = number else { return Code::FALSE };
    change(call.env.ctx, |parts, _| parts.port = Some(number), b"")
        .is_ok()
        .into()
}

/// Host, port and whatever follows a semicolon.
fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    // a colon within brackets belongs to an IPv6 address
    let from = memchr::memrchr(b']', text).map_or(0, |at| at + 1);
    match memchr::memchr(b':', text.get(from..)?) {
        None => Some((text, None)),
        Some(at) => {
            let port = std::str::from_utf8(text.get(from + at + 1..)?)
                .ok()?
                .parse()
                .ok()?;
            Some((text.get(..from + at)?, Some(port)))
        }
    }
}

fn set_host_port(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(0);
    let Some((host, port)) = host_port(&text).filter(|(host, _)| !host.is_empty()) else {
        return Code::FALSE;
    };
    let host = host.to_vec();
    change(
        call.env.ctx,
        |parts, host| (parts.host, parts.port) = (host, port),
        &host,
    )
    .is_ok()
    .into()
}

fn set_host_port_transport(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(0);
    let (address, params) = match memchr::memchr(b';', &text) {
        Some(at) => (
            text.get(..at).unwrap_or(&text),
            text.get(at + 1..).unwrap_or_default(),
        ),
        None => (text.as_slice(), b"".as_slice()),
    };
    let Some((host, port)) = host_port(address).filter(|(host, _)| !host.is_empty()) else {
        return Code::FALSE;
    };
    let host = host.to_vec();
    if change(
        call.env.ctx,
        |parts, host| (parts.host, parts.port) = (host, port),
        &host,
    )
    .is_err()
    {
        return Code::FALSE;
    }
    let kept = uri_params_without(call.env.ctx.uri(), b"transport");
    let all: Vec<&[u8]> = kept
        .iter()
        .map(Vec::as_slice)
        .chain((!params.is_empty()).then_some(params))
        .collect();
    let all = all.join(&b';');
    change(call.env.ctx, |parts, all| parts.params = all, &all)
        .is_ok()
        .into()
}

/// The parameters of a URI but one.
fn uri_params_without(uri: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
    let Ok(uri) = shared::sip::Uri::parse(uri) else {
        return Vec::new();
    };
    let all = uri
        .params
        .split(|byte| *byte == b';')
        .filter(|param| !param.is_empty());
    all.filter(|param| {
        !param
            .split(|byte| *byte == b'=')
            .next()
            .unwrap_or_default()
            .eq_ignore_ascii_case(name)
    })
    .map(<[u8]>::to_vec)
    .collect()
}

fn prefix(call: &mut Call<'_, '_>) -> Code {
    let mut user = call.text_owned(0);
    if user.is_empty() {
        return Code::TRUE;
    }
    let Ok(uri) = shared::sip::Uri::parse(call.env.ctx.uri()) else {
        return Code::FALSE;
    };
    user.extend_from_slice(uri.user.unwrap_or_default());
    change(call.env.ctx, |parts, user| parts.user = Some(user), &user)
        .is_ok()
        .into()
}

fn strip(call: &mut Call<'_, '_>, cut: fn(&[u8], usize) -> Option<&[u8]>) -> Code {
    let Ok(count) = usize::try_from(call.int(0)) else {
        return Code::FALSE;
    };
    let Ok(uri) = shared::sip::Uri::parse(call.env.ctx.uri()) else {
        return Code::FALSE;
    };
    let Some(user) = uri.user else { return Code::FALSE };
    // Kamailio: stripping more than there is leaves no user
    let user = cut(user, count).unwrap_or_default().to_vec();
    change(
        call.env.ctx,
        |parts, user| parts.user = (!user.is_empty()).then_some(user),
        &user,
    )
    .is_ok()
    .into()
}

fn user_phone(call: &mut Call<'_, '_>) -> Code {
    let mut all = uri_params_without(call.env.ctx.uri(), b"user");
    all.push(b"user=phone".to_vec());
    let all = all.join(&b';');
    change(call.env.ctx, |parts, all| parts.params = all, &all)
        .is_ok()
        .into()
}

fn revert_uri(call: &mut Call<'_, '_>) -> Code {
    call.env.ctx.new_uri = None;
    call.env.ctx.uri_is_new = true;
    Code::TRUE
}

fn forward(call: &mut Call<'_, '_>) -> Code {
    let mut target = RelayOptions::default().target;
    let host = call.text_owned(0);
    // Kamailio: forward(uri:host, uri:port) is the same as forward()
    if !host.is_empty() && !host.starts_with(b"uri:") {
        let mut uri = b"sip:".to_vec();
        uri.extend_from_slice(&host);
        let port = call.text(1);
        if !port.is_empty() && !port.starts_with(b"uri:") {
            uri.push(b':');
            uri.extend_from_slice(&port);
        }
        drop(port);
        if let Some(transport) = call.name.split_once('_').map(|(_, transport)| transport) {
            uri.extend_from_slice(b";transport=");
            uri.extend_from_slice(transport.as_bytes());
        }
        target = call.env.host.resolve(&uri, call.env.ctx.send_socket);
        if target.is_none() {
            call.env.ctx.failure = crate::proxy::context::Failure::Unresolvable;
            return Code::FALSE;
        }
    }
    let (host, scope) = call.split();
    host.forward(scope, target)
}

fn force_send_socket(call: &mut Call<'_, '_>) -> Code {
    let text = call.text(0);
    let spec = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.parse::<SocketSpec>().ok());
    let found = spec.and_then(|spec| {
        let port = spec.port_or_default();
        let sockets = call.env.host.sockets();
        sockets.position(|listener| {
            Some(listener.address.ip()) == spec.ip()
                && listener.address.port() == port
                && spec
                    .transport
                    .is_none_or(|transport| transport == listener.transport)
        })
    });
    drop(text);
    match found {
        Some(socket) => {
            call.env.ctx.send_socket = Some(socket);
            Code::TRUE
        }
        None => {
            crate::log::error(
                "core",
                format_args!("force_send_socket: {:?} is no socket of ours", call.text(0)),
            );
            Code::FALSE
        }
    }
}

/// Kamailio: one argument is logged at the level of debugging, two at the first one's.
fn log(call: &mut Call<'_, '_>) -> Code {
    if !call.env.may_write() {
        let text = call.text_owned(usize::from(call.has(1)));
        call.env
            .note(format_args!("log: {}", String::from_utf8_lossy(&text)));
        return Code::TRUE;
    }
    if call.has(1) {
        let level = match call.value(0) {
            super::value::Value::Int(n) => Level::from_number(n),
            other => {
                let name = String::from_utf8_lossy(&other.to_text()).into_owned();
                Level::from_name(&name).unwrap_or(Level::Error)
            }
        };
        crate::log::script(level, &call.text(1));
    } else {
        crate::log::script(Level::Debug, &call.text(0));
    }
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once() {
        let mut all: Vec<&str> = FUNCTIONS
            .iter()
            .flat_map(|function| function.names.iter().copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, expected) in [
            ("h", Some(("h", None))),
            ("h:5060", Some(("h", Some(5060)))),
            ("[::1]:5060", Some(("[::1]", Some(5060)))),
            ("[::1]", Some(("[::1]", None))),
            ("h:x", None),
            ("h:99999", None),
        ] {
            let got = host_port(text.as_bytes());
            assert_eq!(
                got,
                expected.map(|(host, port): (&str, _)| (host.as_bytes(), port)),
                "{text}"
            );
        }
    }
}
