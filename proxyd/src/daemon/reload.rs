//! A new script in place of the old one: everything that can fail comes before anything is swapped.

use super::Inner;
use super::StartError;
use super::configure;
use super::script::compile_script;
use super::script::compiled;
use super::start_modules;
use crate::args::Args;
use crate::control::methods::Methods;
use crate::control::methods::RpcFault;
use crate::log;
use crate::proxy::context::SocketId;
use crate::runtime::endpoints::Change;
use crate::runtime::load;
use crate::runtime::load::Surroundings;
use crate::script::compile::Compiled;
use crate::script::module::Loaded;
use crate::script::module::Script;
use crate::stats::Statistics;
use shared::net::Transport;
use shared::rpc::core::Reloaded;
use std::path::Path;
use std::sync::Arc;

/// Core parameters that are read at the start only; those of sockets also when one is opened.
const AT_START: &[&str] = &[
    "children",
    "dns_cache_max_ttl",
    "dns_cache_min_ttl",
    "dns_cache_negative_ttl",
    "dns_retr_no",
    "dns_retr_time",
    "dns_srv_lb",
    "dns_try_ipv6",
    "dns_try_naptr",
    "ip_free_bind",
    "log_engine_type",
    "log_facility",
    "log_name",
    "log_stderror",
    "maxbuffer",
    "maxsndbuffer",
    "mcast_loopback",
    "mcast_ttl",
    "pmtu_discovery",
    "tcp_accept_iplimit",
    "tcp_accept_no_cl",
    "tcp_conn_wq_max",
    "tcp_connect_timeout",
    "tcp_connection_lifetime",
    "tcp_crlf_ping",
    "tcp_keepalive",
    "tcp_keepcnt",
    "tcp_keepidle",
    "tcp_keepintvl",
    "tcp_listen_backlog",
    "tcp_max_connections",
    "tcp_no_connect",
    "tcp_rd_buf_size",
    "tcp_reuse_port",
    "tcp_send_timeout",
    "tls_max_connections",
    "tos",
    "use_dns_failover",
];

impl Inner {
    /// Compiles the script anew and swaps it in; the old one stays when anything fails.
    pub(super) fn reload(&self) -> Result<Reloaded, StartError> {
        let _one = self.reloading.lock();
        let old = self.runtime.script.load_full();
        // once for nothing: a module that refuses has not touched what the old script shares with the new one
        self.rehearse(compiled(&self.args, &self.layout)?, &old)?;
        let compiled = compiled(&self.args, &self.layout)?;
        let changing = self.runtime.changing.lock();
        let now = self.runtime.endpoints.load_full();
        let change = configure::sockets(&compiled, &self.args, &now)?;
        let around = Surroundings {
            statistics: &self.runtime.statistics,
            methods: &self.methods,
            run_dir: &self.layout.run,
            control: &self.control,
            trial: false,
        };
        let script = Arc::new(load::initialise(compiled, Some(&old), &around)?);
        start_modules(&script)?;
        let reloaded = Reloaded {
            opened: change.names(opened(&change)),
            closed: change.names(change.ended.iter().copied()),
            at_restart: at_restart(&old, &script),
        };
        self.runtime.endpoints.store(Arc::new(change.next.clone()));
        drop(changing);
        self.publish(&script);
        if let Some(level) = new_level(&old, &script) {
            log::set_level(level);
        }
        self.runtime.tracers.attach(&script);
        self.runtime.script.store(script);
        for id in &change.ended {
            if change
                .next
                .sockets
                .get(*id)
                .is_some_and(|l| l.transport != Transport::Udp)
            {
                self.runtime.streams.stop_listening(*id);
            }
        }
        self.serve(change)?;
        log::notice("core", format_args!("script reloaded"));
        Ok(reloaded)
    }

    /// Initialises every module beside those in force, and forgets them.
    fn rehearse(&self, compiled: Compiled, now: &Script) -> Result<Script, load::LoadError> {
        let around = Surroundings {
            // counters and methods of its own: nobody shall see them
            statistics: &Arc::new(Statistics::new()),
            methods: &Arc::new(Methods::new()),
            run_dir: &self.layout.run,
            control: &self.control,
            trial: true,
        };
        load::initialise(compiled, Some(now), &around)
    }

    /// Another script with the options of this daemon and the tables of the one in force; it is never started.
    pub(super) fn other_script(&self, path: &Path) -> Result<Script, RpcFault> {
        let args = Args {
            config: Some(path.to_owned()),
            ..self.args.clone()
        };
        let _one = self.reloading.lock();
        let compiled = compile_script(&args, &self.layout);
        if !compiled.is_ok() {
            let text = compiled.found.lines(compiled.program.sources(), false);
            return Err(RpcFault::bad_request(text));
        }
        let now = self.runtime.script.load_full();
        self.rehearse(compiled, &now)
            .map_err(|error| RpcFault::failed(error.to_string()))
    }
}

/// The numbers of the new sockets.
fn opened(change: &Change) -> Vec<SocketId> {
    let tcp = change.tcp.iter().map(|(id, _)| *id);
    change.udp.iter().copied().chain(tcp).collect()
}

/// `debug`, when the new script has another one: a level set by RPC stays otherwise.
fn new_level(old: &Script, new: &Script) -> Option<i32> {
    let level = |script: &Script| script.program.setting_int("debug");
    let wanted = level(new).filter(|_| level(old) != level(new))?;
    i32::try_from(wanted).ok()
}

/// Parameters that differ and take effect at the next start only.
fn at_restart(old: &Script, new: &Script) -> Vec<String> {
    let differs = |name: &&&str| old.program.settings(name) != new.program.settings(name);
    let mut names: Vec<String> = AT_START
        .iter()
        .filter(differs)
        .map(|name| (*name).to_owned())
        .collect();
    for module in &new.modules {
        let same = |other: &&Loaded| other.def.name == module.def.name;
        let Some(before) = old.modules.iter().find(same) else {
            continue;
        };
        let differs = |name: &&&str| !before.params.of(name).eq(module.params.of(name));
        let fixed = module.def.fixed.iter().filter(differs);
        names.extend(fixed.map(|name| format!("{}:{name}", module.def.name)));
    }
    names
}
