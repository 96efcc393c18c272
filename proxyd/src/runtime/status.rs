//! What the core's RPC methods ask of the daemon.

use super::Runtime;
use crate::control::core_rpcs::AliasRow;
use crate::control::core_rpcs::SocketRow;
use crate::control::core_rpcs::Status;
use crate::script::module::Hook;
use shared::rpc::core::TcpConnection;
use shared::rpc::core::TcpInfo;
use std::sync::Arc;
use std::time::Duration;

/// The daemon as `core.*` shows it.
pub(crate) struct Running {
    runtime: Arc<Runtime>,
    started: Duration,
    /// Threads for each UDP socket.
    children: usize,
}

impl Running {
    pub(crate) fn new(runtime: Arc<Runtime>, children: usize) -> Self {
        Self {
            runtime,
            started: crate::clock::wall(),
            children,
        }
    }
}

/// Shows the numbers of stream connections as statistics: Kamailio's group `tcp`.
pub(crate) fn tcp_statistics(runtime: &Runtime) {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for (name, _) in runtime.streams.numbers().list() {
        let streams = runtime.streams.clone();
        let value = move || number(streams.numbers().value(name));
        runtime.statistics.gauge("tcp", name, value);
    }
    let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let streams = runtime.streams.clone();
    let open = move || size(streams.count().0);
    runtime
        .statistics
        .gauge("tcp", "current_opened_connections", open);
    let streams = runtime.streams.clone();
    let queued = move || size(streams.rows().iter().map(|row| row.queued).sum());
    runtime
        .statistics
        .gauge("tcp", "current_write_queue_size", queued);
}

impl Status for Running {
    fn times(&self) -> (Duration, Duration) {
        (crate::clock::wall(), self.started)
    }

    fn processes(&self) -> Vec<(i32, String)> {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let endpoints = self.runtime.endpoints.load();
        let mut names = vec!["main process - attendant".to_owned()];
        for socket in endpoints.udp.iter().flatten() {
            let local = socket.local();
            let child = |child| format!("udp receiver child={child} sock={local}");
            names.extend((0..self.children).map(child));
        }
        names.extend(["tcp receiver (generic)", "timer"].map(str::to_owned));
        names.into_iter().map(|name| (pid, name)).collect()
    }

    fn sockets(&self) -> Vec<SocketRow> {
        let row = |listener: &crate::proxy::sockets::Listener| SocketRow {
            proto: listener.transport.to_string(),
            name: listener.address.ip().to_string(),
            address: listener.address.ip().to_string(),
            port: listener.address.port(),
            socket_name: listener.name.clone(),
            advertise: listener
                .advertise
                .as_ref()
                .map(|(host, port)| format!("{host}:{port}")),
        };
        let endpoints = self.runtime.endpoints.load();
        endpoints
            .sockets
            .open()
            .filter(|(_, listener)| !listener.transport.is_web())
            .map(|(_, listener)| row(listener))
            .collect()
    }

    fn aliases(&self) -> (Vec<AliasRow>, bool) {
        let script = self.runtime.script.load();
        let by_module = script.hooks().any(|hook| matches!(hook, Hook::Myself(_)));
        let row = |alias: &crate::proxy::sockets::Alias| AliasRow {
            proto: alias.transport.map(|transport| transport.to_string()),
            address: alias.host.clone(),
            port: alias.port,
        };
        let endpoints = self.runtime.endpoints.load();
        (endpoints.sockets.aliases.iter().map(row).collect(), by_module)
    }

    fn tcp_info(&self) -> TcpInfo {
        let (open, tls) = self.runtime.streams.count();
        let options = self.runtime.streams.options();
        let queued = self
            .runtime
            .streams
            .rows()
            .iter()
            .map(|row| row.queued)
            .sum::<usize>();
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        TcpInfo {
            readers: 1,
            max_connections: number(options.max_connections),
            max_tls_connections: number(options.max_tls_connections),
            opened_connections: number(open),
            opened_tls_connections: number(tls),
            write_queued_bytes: number(queued),
        }
    }

    fn tcp_list(&self) -> Vec<TcpConnection> {
        let seconds = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let row = |row: crate::transport::conn::ConnRow| TcpConnection {
            id: row.id,
            transport: row.transport.to_string().to_ascii_uppercase(),
            state: if row.open { "CONN_OK" } else { "CONN_PENDING" }.to_owned(),
            timeout: seconds(row.lifetime.saturating_sub(row.idle)),
            lifetime: seconds(row.lifetime),
            ref_count: 1,
            src_ip: row.remote.ip().to_string(),
            src_port: row.remote.port(),
            dst_ip: row.local.ip().to_string(),
            dst_port: row.local.port(),
        };
        self.runtime.streams.rows().into_iter().map(row).collect()
    }

    fn tcp_options(&self) -> Vec<(&'static str, i64)> {
        let options = self.runtime.streams.options();
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        vec![
            ("connect_timeout", seconds(options.connect_timeout)),
            ("send_timeout", seconds(options.send_timeout)),
            ("connection_lifetime", seconds(options.lifetime)),
            ("max_connections(soft)", number(options.max_connections)),
            ("max_tls_connections(soft)", number(options.max_tls_connections)),
            ("no_connect", i64::from(options.no_connect)),
            ("conn_wq_max", number(options.queue_bytes)),
            ("keepalive", i64::from(options.keepalive.is_some())),
            ("crlf_ping", i64::from(options.crlf_ping)),
        ]
    }

    fn modules(&self) -> Vec<String> {
        self.runtime
            .script
            .load()
            .modules
            .iter()
            .rev()
            .map(|module| module.def.name.to_owned())
            .collect()
    }

    fn defines(&self) -> Vec<(String, Option<String>)> {
        self.runtime.script.load().program.defines()
    }

    fn signal(&self, number: i32) -> Result<(), String> {
        if number != libc::SIGTERM {
            return Err(format!("signal {number} is not sent: 15 stops the daemon"));
        }
        self.runtime.ask_to_stop();
        Ok(())
    }
}
