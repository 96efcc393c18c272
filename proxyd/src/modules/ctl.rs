//! `loadmodule "ctl"`: BINRPC for kamcmd and exporters (Kamailio module ctl).

use super::jsonrpcs::access;
use crate::control::binrpc::BinrpcAddr;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::control::servers::Servers;
use crate::control::servers::Wanted;
use crate::control::unix::Access;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;

/// Port of BINRPC addresses that name none.
const DEFAULT_PORT: u16 = 2049;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    // of a file that serves already
    fixed: &["mode", "user", "group"],
    params: &[
        Param::List(
            "binrpc",
            "Where BINRPC is served: unix:path, unixd:path, tcp:address:port, udp:address:port.",
        ),
        Param::Int("mode", 0o600, "Mode of unix sockets."),
        Param::Text("user", "", "Owner of unix sockets."),
        Param::Text("group", "", "Group of unix sockets."),
        Param::List("fifo", "The obsolete FIFO protocol; refused."),
        Param::Ignored("binrpc_buffer_size", "replies grow as needed"),
        Param::Ignored("binrpc_max_body_size", "replies grow as needed"),
        Param::Ignored("binrpc_struct_max_body_size", "replies grow as needed"),
        Param::Ignored(
            "autoconversion",
            "parameters are always converted where nothing is lost",
        ),
    ],
    rpcs: &[
        Rpc {
            name: "ctl.connections",
            doc: "Returns how many connections are open here.",
            call: describe,
        },
        Rpc {
            name: "ctl.listen",
            doc: "Lists the sockets: protocol, type, address, port.",
            call: describe,
        },
        Rpc {
            name: "ctl.who",
            doc: "Lists the connections: protocol, type, peer, own end.",
            call: describe,
        },
    ],
    init: Some(init),
    start: Some(start),
    ..ModuleDef::new("ctl", "BINRPC, the protocol of kamcmd.")
};

struct Ctl {
    servers: Servers,
    wanted: Vec<Wanted>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    if !init.list("fifo").is_empty() {
        let why = "the old FIFO protocol is not served; jsonrpcs serves JSON-RPC over a FIFO";
        return Err(InitError::Param {
            name: "fifo",
            why: why.into(),
        });
    }
    let access = access(init, "mode", "user", "group")?;
    let mut places = init.list("binrpc");
    if places.is_empty() {
        places.push("unix:kamailio_ctl".to_owned());
    }
    let wanted = places.iter().map(|place| {
        let why = || InitError::Param {
            name: "binrpc",
            why: format!("{place:?} is neither a path nor an address"),
        };
        address(place, init.run_dir, access)
            .map(Wanted::Binrpc)
            .ok_or_else(why)
    });
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let previous = init.previous::<Ctl>();
    let servers = Servers::new(
        init.control,
        init.methods,
        previous.as_deref().map(|state| &state.servers),
    );
    Ok(Arc::new(Ctl { servers, wanted }))
}

fn start(script: &Arc<Script>) -> Result<(), InitError> {
    let Some(state) = script.states.get::<Ctl>() else {
        return Ok(());
    };
    state.servers.start(&state.wanted).map_err(|e| InitError::Io {
        path: e.place,
        error: e.error,
    })
}

fn describe(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = script
        .states
        .get::<Ctl>()
        .ok_or_else(|| RpcFault::failed("Method Not Found"))?;
    state.servers.describe(call)
}

/// Reads `[protocol:]path` or `[protocol:][address:]port`; a relative path is one in the run-time directory.
fn address(text: &str, run_dir: &Path, access: Access) -> Option<BinrpcAddr> {
    let (protocol, rest) = match text.split_once(':') {
        Some((protocol @ ("unix" | "unixs" | "unixd" | "tcp" | "udp"), rest)) => (protocol, rest),
        _ if text.contains('/') => ("unix", text),
        _ => ("udp", text),
    };
    if rest.is_empty() {
        return None;
    }
    match protocol {
        "unixd" => Some(BinrpcAddr::UnixDatagram(run_dir.join(rest), access)),
        "tcp" => internet(rest).map(BinrpcAddr::Tcp),
        "udp" => internet(rest).map(BinrpcAddr::Udp),
        _ => Some(BinrpcAddr::UnixStream(run_dir.join(rest), access)),
    }
}

fn internet(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Some(port) = text.strip_prefix("*:") {
        return Some((Ipv4Addr::UNSPECIFIED, port.parse().ok()?).into());
    }
    let with_port = text.to_socket_addrs().ok().and_then(|mut all| all.next());
    with_port.or_else(|| (text, DEFAULT_PORT).to_socket_addrs().ok()?.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_places_of_the_documentation() {
        let run_dir = Path::new("/run/proxyd");
        for (text, expected) in [
            ("unix:kamailio_ctl", "/run/proxyd/kamailio_ctl"),
            ("unixs:/tmp/unix_stream", "/tmp/unix_stream"),
            ("unixd:/tmp/unix_dgram", "/tmp/unix_dgram"),
            ("/tmp/unix_test", "/tmp/unix_test"),
            ("127.0.0.1:3000", "udp:127.0.0.1:3000"),
            ("tcp:3012", "tcp:0.0.0.0:3012"),
            ("udp:*:3012", "udp:0.0.0.0:3012"),
            ("tcp:127.0.0.1:2046", "tcp:127.0.0.1:2046"),
            ("tcp:127.0.0.1", "tcp:127.0.0.1:2049"),
        ] {
            let found = address(text, run_dir, Access::mode(0o600)).expect(text);
            assert_eq!(Wanted::Binrpc(found).place(), expected, "{text}");
        }
        assert!(address("unix:", run_dir, Access::mode(0o600)).is_none());
    }
}
