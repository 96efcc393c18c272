//! `loadmodule "corex"`: branches, raw sending, sockets, extended flags, files (Kamailio corex).

mod values;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::proxy::branch::Branch;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::script::core_functions;
use crate::script::host::Scope;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::pv::branch::q_number;
use crate::script::pv::find_named;
use crate::script::pv::find_socket;
use crate::script::transform::uri::split_socket;
use crate::script::value::Value;
use serde_json::json;
use shared::net::Transport;
use shared::sip::HeaderName;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List(
            "alias_subdomains",
            "A domain that is ours with all below it: [proto:]domain[:port].",
        ),
        Param::Ignored("dns_cache", "the resolver's cache is not preset; use /etc/hosts"),
        Param::Ignored("dns_file", "the resolver's cache is not preset; use /etc/hosts"),
        Param::Ignored("evcb_reply_out", "KEMI languages are not embedded"),
        Param::Ignored("nio_intercept", "raw data are not intercepted"),
        Param::Ignored("nio_min_msg_len", "raw data are not intercepted"),
        Param::Ignored("nio_msg_avp", "raw data are not intercepted"),
    ],
    functions: &[
        Function {
            names: &["append_branch"],
            args: &[Arg::OptText("uri"), Arg::OptText("q")],
            routes: Routes::REQUEST.or(Routes::FAILURE).or(Routes::EVENT),
            doc: "Appends a branch; without a URI the Request-URI's.",
            call: append_branch,
        },
        Function::anywhere(
            &["clear_branches"],
            &[],
            "Forgets every target, the Request-URI as well until it is set again.",
            |call| {
                call.env.ctx.branches.clear();
                call.env.ctx.uri_is_new = false;
                Code::TRUE
            },
        ),
        Function::anywhere(
            &["send_udp", "send"],
            &[Arg::OptText("host")],
            "Sends the message as received to host:port by UDP.",
            |call| send_message(call, Transport::Udp),
        ),
        Function::anywhere(
            &["send_tcp"],
            &[Arg::OptText("host")],
            "The same by TCP.",
            |call| send_message(call, Transport::Tcp),
        ),
        Function::anywhere(
            &["send_data"],
            &[Arg::Text("uri"), Arg::Text("data")],
            "Sends bytes to a URI.",
            send_data,
        ),
        Function::anywhere(
            &["sendx"],
            &[Arg::Text("uri"), Arg::Text("sock"), Arg::Text("data")],
            "Sends bytes to a URI from a socket.",
            sendx,
        ),
        Function::anywhere(
            &["is_incoming"],
            &[],
            "False: no raw data are on their way in when a route runs.",
            |_| Code::FALSE,
        ),
        Function::anywhere(
            &["msg_iflag_set"],
            &[Arg::Text("flagname")],
            "Sets an internal flag.",
            |call| internal_flag(call, Change::Set),
        ),
        Function::anywhere(
            &["msg_iflag_reset"],
            &[Arg::Text("flagname")],
            "Clears an internal flag.",
            |call| internal_flag(call, Change::Clear),
        ),
        Function::anywhere(
            &["msg_iflag_is_set"],
            &[Arg::Text("flagname")],
            "True when an internal flag is set.",
            |call| internal_flag(call, Change::Ask),
        ),
        Function::anywhere(
            &["file_read"],
            &[Arg::Text("fpath"), Arg::Pv("var")],
            "Reads a file into a variable.",
            file_read,
        ),
        Function::anywhere(
            &["file_write"],
            &[Arg::Text("fpath"), Arg::Text("content")],
            "Appends a text to a file.",
            file_write,
        ),
        Function::anywhere(
            &["setxflag"],
            &[Arg::Int("flag")],
            "Sets an extended flag, 0 to 63.",
            |call| extended_flag(call, Change::Set),
        ),
        Function::anywhere(
            &["resetxflag"],
            &[Arg::Int("flag")],
            "Clears an extended flag.",
            |call| extended_flag(call, Change::Clear),
        ),
        Function::anywhere(
            &["isxflagset"],
            &[Arg::Int("flag")],
            "True when an extended flag is set.",
            |call| extended_flag(call, Change::Ask),
        ),
        Function::anywhere(
            &["set_send_socket"],
            &[Arg::Text("saddr")],
            "Sets the socket to send from.",
            set_send_socket,
        ),
        Function::anywhere(
            &["set_send_socket_name"],
            &[Arg::Text("sname")],
            "Sets the socket to send from by its name.",
            set_send_socket_name,
        ),
        Function::anywhere(
            &["set_recv_socket"],
            &[Arg::Text("saddr")],
            "Takes another socket for the receiving one.",
            set_recv_socket,
        ),
        Function::anywhere(
            &["set_recv_socket_name"],
            &[Arg::Text("sname")],
            "The same by its name.",
            set_recv_socket_name,
        ),
        Function::anywhere(
            &["set_source_address"],
            &[Arg::Text("saddr")],
            "Takes another address for the source.",
            set_source_address,
        ),
        Function::anywhere(
            &["via_add_srvid"],
            &[Arg::Int("flags")],
            "Accepted: our Via has no parameter srvid.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["via_add_xavp_params"],
            &[Arg::Int("flags")],
            "Accepted: our Via takes nothing from an XAVP.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["via_use_xavp_fields"],
            &[Arg::Int("flags")],
            "Accepted: our Via takes nothing from an XAVP.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["via_reply_add_xavp_params"],
            &[Arg::Int("flags")],
            "Accepted: our Via takes nothing from an XAVP.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["is_faked_msg"],
            &[],
            "True when no message from the network is under way.",
            |call| Code::from(call.env.ctx.source.peer.port() == 0),
        ),
        Function::anywhere(
            &["is_socket_name"],
            &[Arg::Text("sockname")],
            "True when a socket has that name.",
            |call| Code::from(find_named(call.env, &call.text(0)).is_some()),
        ),
        Function {
            names: &["forward_uac"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "Forwards the request without a transaction and with our Via alone: its reply stays here.",
            call: forward_uac,
        },
        Function {
            names: &["forward_uac_uri"],
            args: &[Arg::Text("vuri")],
            routes: Routes::REQUEST,
            doc: "The same, to the next hop that a URI names.",
            call: forward_uac_uri,
        },
        Function::anywhere(
            &["forward_reply"],
            &[],
            "Forwards the reply without a transaction.",
            forward_reply,
        ),
        Function::anywhere(
            &["add_tcp_alias"],
            &[Arg::OptInt("port")],
            "Sends what goes to this port of the peer, or to that of its Via, on the connection of this message.",
            core_functions::force_tcp_alias,
        ),
    ],
    rpcs: &[
        Rpc {
            name: "corex.debug",
            doc: "Shows the log level, or sets it.",
            call: rpc_debug,
        },
        Rpc {
            name: "corex.shm_status",
            doc: "Accepted: there is no shared memory.",
            call: |_, _| Ok(RpcReply::empty()),
        },
        Rpc {
            name: "corex.shm_summary",
            doc: "Accepted: there is no shared memory.",
            call: |_, _| Ok(RpcReply::empty()),
        },
        Rpc {
            name: "corex.pkg_summary",
            doc: "Accepted: there is no private memory.",
            call: |_, _| Ok(RpcReply::empty()),
        },
    ],
    hooks: &[Hook::Myself(is_subdomain)],
    init: Some(init),
    pvs: values::PVS,
    ..ModuleDef::new("corex", "Branches, raw sending, sockets, extended flags, files.")
};

/// Domains that are ours with all below them.
struct Subdomains(Vec<(Vec<u8>, Option<u16>)>);

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let mut domains = Vec::new();
    for text in init.list("alias_subdomains") {
        let Some((_, host, port)) = split_socket(text.as_bytes()) else {
            let why = format!("{text:?} is not written [proto:]domain[:port]");
            return Err(InitError::Param {
                name: "alias_subdomains",
                why,
            });
        };
        domains.push((host.to_ascii_lowercase(), port));
    }
    Ok(Arc::new(Subdomains(domains)))
}

fn is_subdomain(script: &Script, host: &[u8], port: u16) -> bool {
    let Some(Subdomains(domains)) = script.states.get::<Subdomains>() else {
        return false;
    };
    domains.iter().any(|(domain, own)| {
        let Some(start) = host.len().checked_sub(domain.len()) else {
            return false;
        };
        let below = start == 0 || start.checked_sub(1).and_then(|dot| host.get(dot)) == Some(&b'.');
        let fits = port == 0 || own.is_none_or(|own| own == port);
        below
            && fits
            && host
                .get(start..)
                .is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
    })
}

pub(super) fn append_branch(call: &mut Call<'_, '_>) -> Code {
    let ctx = &mut *call.env.ctx;
    let own = Branch {
        uri: ctx.uri().to_vec(),
        dst_uri: ctx.dst_uri.clone(),
        path: ctx.path.clone(),
        q: ctx.q,
        flags: ctx.bflags,
        socket: ctx.send_socket,
        instance: None,
        ruid: ctx.ruid.clone(),
        location_ua: None,
    };
    let (uri, q) = (call.text_owned(0), call.text(1));
    let mut made = if uri.is_empty() {
        own
    } else {
        // Kamailio: the next hop and Path of the first branch go with the new one
        Branch { uri, ..own }
    };
    if !q.is_empty() {
        made.q = q_number(&q);
    }
    Code::from(call.env.ctx.append_branch(made).is_ok())
}

/// Resolves a URI and sends bytes there.
fn send_bytes(call: &mut Call<'_, '_>, uri: &[u8], socket: Option<SocketId>, bytes: &[u8]) -> Code {
    let host = &mut *call.env.host;
    let Some(target) = host.resolve(uri, socket) else {
        crate::log::error(
            "corex",
            format_args!(
                "{}: cannot resolve {:?}",
                call.name,
                uri.escape_ascii().to_string()
            ),
        );
        return Code::FALSE;
    };
    Code::from(host.send(&target, bytes))
}

fn send_message(call: &mut Call<'_, '_>, transport: Transport) -> Code {
    let given = call.text_owned(0);
    let mut uri = if given.is_empty() {
        let ctx = &*call.env.ctx;
        ctx.dst_uri.clone().unwrap_or_else(|| ctx.uri().to_vec())
    } else {
        [b"sip:".as_slice(), &given].concat()
    };
    if transport == Transport::Tcp && !given.is_empty() {
        uri.extend_from_slice(b";transport=tcp");
    }
    let bytes = call.env.ctx.msg.as_bytes().to_vec();
    let socket = call.env.ctx.send_socket;
    send_bytes(call, &uri, socket, &bytes)
}

fn send_data(call: &mut Call<'_, '_>) -> Code {
    let (uri, data) = (call.text_owned(0), call.text_owned(1));
    send_bytes(call, &uri, None, &data)
}

fn sendx(call: &mut Call<'_, '_>) -> Code {
    let (uri, data) = (call.text_owned(0), call.text_owned(2));
    let Some(socket) = find_socket(call.env, &call.text(1)) else {
        crate::log::error("corex", format_args!("sendx: no socket {:?}", call.value(1)));
        return Code::FALSE;
    };
    send_bytes(call, &uri, Some(socket), &data)
}

fn forward_uac(call: &mut Call<'_, '_>) -> Code {
    forward_alone(call, None)
}

fn forward_uac_uri(call: &mut Call<'_, '_>) -> Code {
    let uri = call.text_owned(0);
    forward_alone(call, Some(uri))
}

/// Forwards a copy of the request without the Vias it came with.
fn forward_alone(call: &mut Call<'_, '_>, next: Option<Vec<u8>>) -> Code {
    let mut copy = call.env.ctx.clone();
    for via in copy.msg.all(HeaderName::Via) {
        copy.lumps.delete_header(via);
    }
    if !copy.apply_changes() {
        return Code::FALSE;
    }
    copy.dst_uri = next.or(copy.dst_uri);
    let (host, scope) = call.split();
    let scope = Scope {
        ctx: &mut copy,
        ..scope
    };
    host.forward(scope, None)
}

fn forward_reply(call: &mut Call<'_, '_>) -> Code {
    if !call.env.ctx.msg.is_reply() {
        return Code::FALSE;
    }
    let (host, scope) = call.split();
    let none: Option<Target> = None;
    host.forward(scope, none)
}

/// What is done to a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Set,
    Clear,
    Ask,
}

impl Change {
    fn of(self, flags: &mut u32, bit: u32) -> Code {
        match self {
            Self::Set => *flags |= bit,
            Self::Clear => *flags &= !bit,
            Self::Ask => return Code::from(*flags & bit != 0),
        }
        Code::TRUE
    }
}

fn extended_flag(call: &mut Call<'_, '_>, change: Change) -> Code {
    let Some(number) = u32::try_from(call.int(0)).ok().filter(|number| *number < 64) else {
        return Code::FALSE;
    };
    let words = &mut call.env.ctx.xflags;
    match words.get_mut(if number < 32 { 0 } else { 1 }) {
        Some(word) => change.of(word, 1 << (number % 32)),
        None => Code::FALSE,
    }
}

/// Flags that other programs' modules share; ours decide by other means, so that they are kept by the script alone.
const INTERNAL: &[&[u8]] = &[b"USE_UAC_FROM", b"USE_UAC_TO", b"UAC_AUTH", b"MSG_APPLY_CHANGES"];

thread_local! {
    /// Internal flags with the number of their message.
    static INTERNAL_FLAGS: std::cell::Cell<(u64, u32)> = const { std::cell::Cell::new((0, 0)) };
}

fn internal_flag(call: &mut Call<'_, '_>, change: Change) -> Code {
    let name = call.text(0);
    let known = INTERNAL.iter().position(|known| **known == *name);
    let number = known
        .or_else(|| std::str::from_utf8(&name).ok()?.parse().ok())
        .and_then(|n| u32::try_from(n).ok());
    let Some(number) = number.filter(|number| *number < 32) else {
        crate::log::error(
            "corex",
            format_args!("{}: unknown flag {:?}", call.name, call.value(0)),
        );
        return Code::FALSE;
    };
    let id = call.env.ctx.id;
    let (message, mut flags) = INTERNAL_FLAGS.get();
    if message != id {
        flags = 0;
    }
    let code = change.of(&mut flags, 1 << number);
    INTERNAL_FLAGS.set((id, flags));
    code
}

/// A file is read up to this.
const LONGEST_FILE: u64 = 1 << 20;

fn file_read(call: &mut Call<'_, '_>) -> Code {
    let path = call.text_owned(0);
    let mut content = Vec::new();
    let file = std::fs::File::open(std::ffi::OsStr::from_bytes(&path));
    let read = file.and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut content));
    if read.is_err() {
        crate::log::error(
            "corex",
            format_args!("cannot open file: {}", String::from_utf8_lossy(&path)),
        );
        return Code::FALSE;
    }
    Code::from(call.assign(1, Value::owned(content)))
}

fn file_write(call: &mut Call<'_, '_>) -> Code {
    let (path, content) = (call.text_owned(0), call.text(1));
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(std::ffi::OsStr::from_bytes(&path));
    match file.and_then(|mut file| file.write_all(&content)) {
        Ok(()) => Code::TRUE,
        Err(why) => {
            crate::log::error(
                "corex",
                format_args!("cannot write file {}: {why}", String::from_utf8_lossy(&path)),
            );
            Code::FALSE
        }
    }
}

/// Logs that no socket fits; Kamailio answers true all the same.
fn no_socket(call: &Call<'_, '_>) -> Code {
    let wanted = call.text(0);
    crate::log::warning(
        "corex",
        format_args!("no socket found to match [{}]", String::from_utf8_lossy(&wanted)),
    );
    Code::TRUE
}

fn set_send_socket(call: &mut Call<'_, '_>) -> Code {
    let Some(socket) = find_socket(call.env, &call.text(0)) else {
        return no_socket(call);
    };
    call.env.ctx.send_socket = Some(socket);
    Code::TRUE
}

fn set_send_socket_name(call: &mut Call<'_, '_>) -> Code {
    let Some(socket) = find_named(call.env, &call.text(0)) else {
        return no_socket(call);
    };
    call.env.ctx.send_socket = Some(socket);
    Code::TRUE
}

fn receive_on(call: &mut Call<'_, '_>, socket: Option<SocketId>) -> Code {
    let Some(id) = socket else { return no_socket(call) };
    let Some(address) = call.env.host.sockets().get(id).map(|listener| listener.address) else {
        return Code::FALSE;
    };
    let source = &mut call.env.ctx.source;
    (source.socket, source.local) = (id, address);
    Code::TRUE
}

fn set_recv_socket(call: &mut Call<'_, '_>) -> Code {
    let socket = find_socket(call.env, &call.text(0));
    receive_on(call, socket)
}

fn set_recv_socket_name(call: &mut Call<'_, '_>) -> Code {
    let socket = find_named(call.env, &call.text(0));
    receive_on(call, socket)
}

fn set_source_address(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(0);
    let address = || -> Option<SocketAddr> {
        let (_, host, port) = split_socket(&text)?;
        let bare = host
            .strip_prefix(b"[")
            .and_then(|h| h.strip_suffix(b"]"))
            .unwrap_or(host);
        let ip: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
        Some(SocketAddr::new(ip, port?))
    };
    match address() {
        Some(address) => {
            call.env.ctx.source.peer = address;
            Code::TRUE
        }
        None => {
            crate::log::error(
                "corex",
                format_args!("set_source_address: {:?} is no address", call.value(0)),
            );
            Code::FALSE
        }
    }
}

fn rpc_debug(call: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    let old = crate::log::level();
    let Some(new) = call.opt_int(0)? else {
        return Ok(RpcReply::Value(json!({"debug": old})));
    };
    let new = i32::try_from(new).unwrap_or(old);
    crate::log::set_level(new);
    Ok(RpcReply::Value(json!({"old": old, "new": new})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn kamailio_answers_the_same() {
        let mut stage = Stage::options();
        for (name, args, expected) in [
            ("setxflag", &["1"][..], 1),
            ("isxflagset", &["1"], 1),
            ("isxflagset", &["2"], -1),
            ("resetxflag", &["1"], 1),
            ("isxflagset", &["1"], -1),
            ("setxflag", &["63"], 1),
            ("setxflag", &["64"], -1),
            ("append_branch", &[], 1),
            ("append_branch", &["sip:x@y", "0.5"], 1),
            ("append_branch", &["junk"], 1),
            ("set_send_socket", &["udp:127.0.0.1:5060"], 1),
            ("set_send_socket", &["udp:9.9.9.9:1"], 1),
            ("set_send_socket_name", &["nope"], 1),
            ("set_recv_socket", &["udp:127.0.0.1:5060"], 1),
            ("set_source_address", &["udp:10.1.1.1:99"], 1),
            ("msg_iflag_set", &["USE_UAC_FROM"], 1),
            ("msg_iflag_is_set", &["USE_UAC_FROM"], 1),
            ("msg_iflag_is_set", &["UAC_AUTH"], -1),
            ("file_read", &["/nope", ""], -1),
            ("is_faked_msg", &[], -1),
            ("is_socket_name", &["x"], -1),
            ("is_socket_name", &["main"], 1),
            ("send_data", &["sip:127.0.0.9:5060", "hello"], -1),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
        }
        assert_eq!(
            (stage.read("branch(count)"), stage.read("branch(q)[1]")),
            ("3".into(), "500".into())
        );
        assert_eq!(
            (stage.read("si"), stage.read("sp"), stage.read("fsn")),
            ("10.1.1.1".into(), "99".into(), "main".into())
        );
        let target = Target {
            peer: stage.ctx.source.peer,
            transport: Transport::Udp,
            socket: None,
            conn: None,
        };
        stage.host.resolves_to = Some(target);
        assert_eq!(
            stage.call(&MODULE, "sendx", &["sip:h", "udp:127.0.0.1:5060", "hello"]),
            1
        );
        assert_eq!(stage.host.sent, [(target, b"hello".to_vec())]);
    }
}
