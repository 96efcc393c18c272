//! Between connections and the tls module: which profile secures a connection, and `tls.*` about those that are open.

use super::Runtime;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcDef;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::modules::tls;
use crate::transport::conn::ConnRow;
use crate::transport::tls::Profile;
use crate::transport::tls::Profiles;
use rustls::ClientConfig;
use rustls::ServerConfig;
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Weak;

/// The profiles of the script in force.
pub(super) struct ScriptProfiles(pub(super) Weak<Runtime>);

impl ScriptProfiles {
    fn in_force(&self) -> Option<Arc<tls::Profiles>> {
        let runtime = self.0.upgrade()?;
        let script = runtime.script.load();
        Some(tls::of(&script)?.profiles())
    }
}

fn profile<C>(profile: &tls::Profile<C>) -> Profile<C> {
    Profile {
        config: Arc::clone(&profile.config),
        own: profile.own.clone(),
        server_name: profile.server_name.clone(),
        judge: profile.judge(),
    }
}

impl Profiles for ScriptProfiles {
    fn server(&self, local: SocketAddr, name: Option<&str>) -> Option<Profile<ServerConfig>> {
        self.in_force()?.server(local, name).map(profile)
    }

    fn client(&self, remote: SocketAddr) -> Option<Profile<ClientConfig>> {
        self.in_force()?.client(remote).map(profile)
    }
}

type Work = fn(&RpcCall<'_>, &Runtime) -> RpcResult;

const METHODS: &[(&str, &str, Work)] = &[
    ("tls.info", "Shows how many connections there are.", info),
    ("tls.kill", "Ends a connection: its number.", kill),
    ("tls.list", "Lists the connections under TLS.", list),
];

/// The methods, for a script that loads tls.
pub(crate) fn methods(runtime: &Arc<Runtime>) -> Vec<RpcDef> {
    let def = |(name, doc, work): &(&'static str, &'static str, Work)| {
        let (runtime, work) = (Arc::clone(runtime), *work);
        RpcDef::new(name, doc, move |call: &RpcCall<'_>| {
            if !runtime.script.load().has("tls") {
                return Err(RpcFault::failed("module tls is not loaded"));
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

fn connections(runtime: &Runtime) -> impl Iterator<Item = ConnRow> {
    let rows = runtime.streams.rows().into_iter();
    rows.filter(|row| row.transport.is_secure())
}

fn info(_: &RpcCall<'_>, runtime: &Runtime) -> RpcResult {
    let (_, open) = runtime.streams.count();
    let queued: usize = connections(runtime).map(|row| row.queued).sum();
    Ok(json!({
        "max_connections": runtime.streams.options().max_tls_connections,
        "opened_connections": open,
        "clear_text_write_queued_bytes": queued,
    })
    .into())
}

fn list(_: &RpcCall<'_>, runtime: &Runtime) -> RpcResult {
    Ok(Value::Array(connections(runtime).map(|row| shown(&row)).collect()).into())
}

fn shown(row: &ConnRow) -> Value {
    let state = match (row.open, row.accepted) {
        (true, _) => "established",
        (false, true) => "tls_accept",
        (false, false) => "tls_connect",
    };
    let secured = row.secured.as_deref();
    json!({
        "id": row.id,
        "sni": secured.and_then(|secured| secured.server_name.as_deref()).unwrap_or("N/A"),
        "timeout": row.lifetime.saturating_sub(row.idle),
        "src_ip": row.remote.ip().to_string(),
        "src_port": row.remote.port(),
        "dst_ip": row.local.ip().to_string(),
        "dst_port": row.local.port(),
        "cipher": secured.map_or("unknown", |secured| secured.description.trim_end()),
        "ct_wq_size": row.queued,
        "enc_rd_buf": 0,
        "flags": 0,
        "state": state,
    })
}

fn kill(call: &RpcCall<'_>, runtime: &Runtime) -> RpcResult {
    let id = u64::try_from(call.int(0)?).unwrap_or(0);
    if !connections(runtime).any(|row| row.id == id) {
        return Ok("TLS connection id not found".into());
    }
    runtime.streams.close(id);
    Ok("OK".into())
}
