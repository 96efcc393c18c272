//! `loadmodule "jsonrpcs"`: JSON-RPC over FIFO, datagrams and HTTP, and from the script (Kamailio module jsonrpcs).

use crate::control::jsonrpc::Dialect;
use crate::control::jsonrpc::Layout;
use crate::control::methods::Methods;
use crate::control::methods::Peer;
use crate::control::methods::PeerTransport;
use crate::control::packets::DatagramAddr;
use crate::control::servers::Servers;
use crate::control::servers::Wanted;
use crate::control::servers::id_of;
use crate::control::unix::Access;
use crate::log;
use crate::modules::xhttp;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::Routes;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use parking_lot::Mutex;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ThreadId;

const HTTP: i64 = 1;
const FIFO: i64 = 2;
const DATAGRAM: i64 = 4;
const TCP: i64 = 8;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    // of a file that serves already
    fixed: &[
        "dgram_group",
        "dgram_mode",
        "dgram_user",
        "fifo_group",
        "fifo_mode",
        "fifo_reply_dir",
        "fifo_user",
        "pretty_format",
    ],
    params: &[
        Param::Int("pretty_format", 1, "Indents replies."),
        Param::Int(
            "transport",
            FIFO | DATAGRAM,
            "Which transports serve: 1 HTTP, 2 FIFO, 4 datagrams; 0 all.",
        ),
        Param::Text(
            "fifo_name",
            "kamailio_rpc.fifo",
            "The FIFO; a relative path is one in the run-time directory.",
        ),
        Param::Int("fifo_mode", 0o660, "Its mode."),
        Param::Text("fifo_group", "", "Its group."),
        Param::Text("fifo_user", "", "Its owner."),
        Param::Text("fifo_reply_dir", "/tmp/", "Where callers make their reply FIFOs."),
        Param::Text(
            "dgram_socket",
            "kamailio_rpc.sock",
            "A unix socket, or udp:address:port.",
        ),
        Param::Int("dgram_mode", 0o660, "Its mode."),
        Param::Text("dgram_group", "", "Its group."),
        Param::Text("dgram_user", "", "Its owner."),
        Param::Text(
            "tcp_socket",
            "",
            "tcp:address:port; refused: use the control socket or xhttp.",
        ),
        Param::Ignored("dgram_workers", "calls run side by side, up to sixteen at a time"),
        Param::Ignored("dgram_timeout", "a reply is queued or refused at once"),
    ],
    functions: &[
        Function {
            names: &["jsonrpc_dispatch"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Runs the call in the body of an HTTP request and answers it; false when it is no JSON.",
            call: jsonrpc_dispatch,
        },
        Function::anywhere(
            &["jsonrpc_exec"],
            &[Arg::Text("cmd")],
            "Runs a call; its result is in $jsonrpl(key). False when it is no JSON.",
            jsonrpc_exec,
        ),
    ],
    pvs: &[Pv::class(
        &["jsonrpl"],
        "$jsonrpl(code), $jsonrpl(text), $jsonrpl(body) of the last jsonrpc_exec().",
        compile_jsonrpl,
        jsonrpl,
    )],
    init: Some(init),
    start: Some(start),
    ..ModuleDef::new("jsonrpcs", "JSON-RPC over FIFO, datagrams and HTTP.")
};

struct JsonRpcs {
    servers: Servers,
    wanted: Vec<Wanted>,
    layout: Layout,
    http: bool,
    /// What `jsonrpc_exec` answered last, one entry a worker.
    last: Mutex<Vec<(ThreadId, Arc<Last>)>>,
}

struct Last {
    code: i32,
    text: String,
    body: Vec<u8>,
}

impl JsonRpcs {
    fn methods(&self) -> &Arc<Methods> {
        self.servers.methods()
    }

    fn last(&self) -> Option<Arc<Last>> {
        let own = std::thread::current().id();
        self.last
            .lock()
            .iter()
            .find(|(id, _)| *id == own)
            .map(|(_, last)| Arc::clone(last))
    }
}

/// Mode and owner of a socket or FIFO, from three parameters.
pub(super) fn access(
    init: &Init<'_>,
    mode: &str,
    user: &'static str,
    group: &'static str,
) -> Result<Access, InitError> {
    let id = |name: &'static str, file: &str| {
        let text = init.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let why = || InitError::Param {
            name,
            why: format!("{text:?} is not in {file}"),
        };
        id_of(&text, file).map(Some).ok_or_else(why)
    };
    Ok(Access {
        mode: u32::try_from(init.int(mode)).unwrap_or(0o600) & 0o777,
        user: id(user, "/etc/passwd")?,
        group: id(group, "/etc/group")?,
    })
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let layout = if init.int("pretty_format") == 0 {
        Layout::Compact
    } else {
        Layout::Indented
    };
    let transport = init.int("transport");
    let on = |bit: i64| transport == 0 || transport & bit != 0;
    let mut wanted = Vec::new();
    let name = init.text("fifo_name");
    if on(FIFO) && !name.is_empty() {
        wanted.push(Wanted::Fifo {
            path: init.run_dir.join(name),
            access: access(init, "fifo_mode", "fifo_user", "fifo_group")?,
            reply_dir: PathBuf::from(init.text("fifo_reply_dir")),
            layout,
        });
    }
    let name = init.text("dgram_socket");
    if on(DATAGRAM) && !name.is_empty() {
        let addr = match name.strip_prefix("udp:") {
            Some(address) => {
                let found = address.to_socket_addrs().ok().and_then(|mut all| all.next());
                let why = || InitError::Param {
                    name: "dgram_socket",
                    why: format!("{address:?} is not address:port"),
                };
                DatagramAddr::Udp(found.ok_or_else(why)?)
            }
            None => {
                let access = access(init, "dgram_mode", "dgram_user", "dgram_group")?;
                DatagramAddr::Unix(
                    init.run_dir.join(name.strip_prefix("unix:").unwrap_or(&name)),
                    access,
                )
            }
        };
        wanted.push(Wanted::Datagram(addr, layout));
    }
    if transport & TCP != 0 && !init.text("tcp_socket").is_empty() {
        let why = "JSON-RPC over bare TCP is not served; use the control socket, or HTTP with xhttp";
        return Err(InitError::Param {
            name: "tcp_socket",
            why: why.into(),
        });
    }
    let previous = init.previous::<JsonRpcs>();
    Ok(Arc::new(JsonRpcs {
        servers: Servers::new(
            init.control,
            init.methods,
            previous.as_deref().map(|state| &state.servers),
        ),
        wanted,
        layout,
        http: on(HTTP),
        last: Mutex::default(),
    }))
}

fn start(script: &Arc<Script>) -> Result<(), InitError> {
    let Some(state) = script.states.get::<JsonRpcs>() else {
        return Ok(());
    };
    state.servers.start(&state.wanted).map_err(|e| InitError::Io {
        path: e.place,
        error: e.error,
    })
}

fn jsonrpc_dispatch(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<JsonRpcs>() else {
        return Code::FALSE;
    };
    let ctx = &*call.env.ctx;
    if !ctx.msg.is_http() || !state.http {
        log::error(
            "jsonrpcs",
            format_args!("jsonrpc_dispatch: no HTTP request, or transport without 1 (HTTP)"),
        );
        return Code::FALSE;
    }
    let body = ctx.msg.body();
    // Kamailio: what is no JSON is not answered; the script learns of it and may answer.
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
        let text = String::from_utf8_lossy(body);
        log::error(
            "jsonrpcs",
            format_args!("invalid json doc [[{}]]", text.get(..200).unwrap_or(&text)),
        );
        return Code::FALSE;
    }
    let peer = Peer::anonymous(PeerTransport::Xhttp, ctx.source.peer.to_string());
    let Some(answer) = state
        .methods()
        .execute(body, Dialect::Kamailio(state.layout), &peer)
    else {
        return Code::from(xhttp::reply(call.env, 204, b"No Content", b"", b""));
    };
    let (status, reason) = (
        u16::try_from(answer.code)
            .ok()
            .filter(|code| (100..700).contains(code)),
        answer.reason.clone(),
    );
    let body = answer.into_bytes();
    Code::from(xhttp::reply(
        call.env,
        status.unwrap_or(500),
        reason.as_bytes(),
        b"application/json",
        &body,
    ))
}

fn jsonrpc_exec(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<JsonRpcs>() else {
        return Code::FALSE;
    };
    let command = call.text(0);
    if serde_json::from_slice::<serde::de::IgnoredAny>(&command).is_err() {
        log::error(
            "jsonrpcs",
            format_args!("invalid json doc [[{}]]", String::from_utf8_lossy(&command)),
        );
        return Code::FALSE;
    }
    let answer = state
        .methods()
        .execute(&command, Dialect::Kamailio(state.layout), &Peer::internal());
    let last = match answer {
        Some(answer) => Last {
            code: answer.code,
            text: answer.reason.clone(),
            body: answer.into_bytes(),
        },
        None => Last {
            code: 200,
            text: "OK".to_owned(),
            body: Vec::new(),
        },
    };
    let own = std::thread::current().id();
    let mut all = state.last.lock();
    all.retain(|(id, _)| *id != own);
    all.push((own, Arc::new(last)));
    Code::TRUE
}

#[derive(Clone, Copy)]
enum Key {
    Code,
    Text,
    Body,
}

fn compile_jsonrpl(inner: &PvInner<'_>) -> Result<PvData, String> {
    let key = match inner.text {
        b"code" => Key::Code,
        b"text" => Key::Text,
        b"body" => Key::Body,
        other => {
            return Err(format!(
                "{:?} is none of code, text, body",
                String::from_utf8_lossy(other)
            ));
        }
    };
    Ok(PvData::Other(Box::new(key)))
}

fn jsonrpl<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let last = env.state::<JsonRpcs>().and_then(JsonRpcs::last);
    let (Some(last), Some(key)) = (last, spec.other::<Key>()) else {
        return Value::Null;
    };
    match key {
        Key::Code => Value::Int(last.code.into()),
        Key::Text => Value::owned(last.text.as_bytes()),
        Key::Body => Value::owned(last.body.as_slice()),
    }
}
