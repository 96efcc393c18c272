//! Kamailio's other transports as a script asks for them: started with it, kept over a reload when it still wants them.

use super::binrpc::Binrpc;
use super::binrpc::BinrpcAddr;
use super::datagram::Datagram;
use super::fifo::Fifo;
use super::fifo::FifoOptions;
use super::jsonrpc::Dialect;
use super::jsonrpc::Layout;
use super::methods::Methods;
use super::methods::RpcCall;
use super::methods::RpcFault;
use super::methods::RpcResult;
use super::packets::DatagramAddr;
use super::unix::Access;
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// A server that a script wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// JSON-RPC over a FIFO.
    Fifo {
        /// The FIFO.
        path: PathBuf,
        /// Its mode and owner.
        access: Access,
        /// Where reply FIFOs lie.
        reply_dir: PathBuf,
        /// Whether replies are indented.
        layout: Layout,
    },
    /// JSON-RPC over datagrams.
    Datagram(DatagramAddr, Layout),
    /// BINRPC.
    Binrpc(BinrpcAddr),
}

impl Wanted {
    /// Its path, where it has one.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Fifo { path, .. } | Self::Datagram(DatagramAddr::Unix(path, _), _) => Some(path),
            Self::Binrpc(BinrpcAddr::UnixStream(path, _) | BinrpcAddr::UnixDatagram(path, _)) => Some(path),
            Self::Datagram(DatagramAddr::Udp(_), _)
            | Self::Binrpc(BinrpcAddr::Tcp(_) | BinrpcAddr::Udp(_)) => None,
        }
    }

    /// Where it serves, for messages.
    pub fn place(&self) -> String {
        match self {
            Self::Datagram(DatagramAddr::Udp(addr), _) | Self::Binrpc(BinrpcAddr::Udp(addr)) => {
                format!("udp:{addr}")
            }
            Self::Binrpc(BinrpcAddr::Tcp(addr)) => format!("tcp:{addr}"),
            _ => self
                .path()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        }
    }
}

enum Running {
    Fifo { _server: Fifo },
    Datagram { _server: Datagram },
    Binrpc(Binrpc),
}

type Entry = (Wanted, Arc<Running>);

/// The servers of one module of one script.
pub struct Servers {
    runtime: tokio::runtime::Handle,
    methods: Arc<Methods>,
    running: Mutex<Vec<Entry>>,
}

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {error}")]
pub struct ServeError {
    /// Where it should serve.
    pub place: String,
    /// Why it cannot.
    pub error: io::Error,
}

impl Servers {
    /// Servers for a new script; those of the script before it are at hand until [`Self::start`].
    pub fn new(runtime: &tokio::runtime::Handle, methods: &Arc<Methods>, previous: Option<&Self>) -> Self {
        let running = previous
            .map(|servers| servers.running.lock().clone())
            .unwrap_or_default();
        Self {
            runtime: runtime.clone(),
            methods: Arc::clone(methods),
            running: Mutex::new(running),
        }
    }

    /// The method table behind them.
    pub fn methods(&self) -> &Arc<Methods> {
        &self.methods
    }

    /// Starts what is wanted and does not run yet, and lets go of what runs and is not wanted any more.
    pub fn start(&self, wanted: &[Wanted]) -> Result<(), ServeError> {
        let mut running = self.running.lock();
        let mut kept: Vec<Entry> = Vec::with_capacity(wanted.len());
        for want in wanted {
            let same =
                |entry: &&Entry| entry.0 == *want || (want.path().is_some() && entry.0.path() == want.path());
            let entry = match running.iter().find(same) {
                // Only mode, owner or layout differ: the file cannot be made anew while it serves.
                Some(entry) => entry.clone(),
                None => {
                    let server = self.serve(want).map_err(|error| ServeError {
                        place: want.place(),
                        error,
                    })?;
                    (want.clone(), Arc::new(server))
                }
            };
            kept.push(entry);
        }
        *running = kept;
        Ok(())
    }

    fn serve(&self, wanted: &Wanted) -> io::Result<Running> {
        let methods = Arc::clone(&self.methods);
        Ok(match wanted.clone() {
            Wanted::Fifo {
                path,
                access,
                reply_dir,
                layout,
            } => {
                let options = FifoOptions {
                    path,
                    access,
                    reply_dir,
                    dialect: Dialect::Kamailio(layout),
                };
                Running::Fifo {
                    _server: Fifo::serve(&self.runtime, options, methods)?,
                }
            }
            Wanted::Datagram(addr, layout) => {
                let dialect = Dialect::Kamailio(layout);
                Running::Datagram {
                    _server: Datagram::serve(&self.runtime, &addr, dialect, methods)?,
                }
            }
            Wanted::Binrpc(addr) => {
                let mut server = Binrpc::new(methods);
                server.listen(&self.runtime, &addr)?;
                Running::Binrpc(server)
            }
        })
    }

    /// Answers `ctl.connections`, `ctl.listen` and `ctl.who` over all of them.
    pub fn describe(&self, call: &RpcCall<'_>) -> RpcResult {
        let running = self.running.lock();
        let mut rows = Vec::new();
        for (_, server) in running.iter() {
            let Running::Binrpc(server) = &**server else {
                continue;
            };
            let Some(def) = server.methods().into_iter().find(|def| def.name == call.method) else {
                return Err(RpcFault::failed("Method Not Found"));
            };
            match (def.call)(call)?.into_value()? {
                serde_json::Value::Array(more) => rows.extend(more),
                other => rows.push(other),
            }
        }
        if call.method == "ctl.connections" {
            let open: u64 = rows.iter().filter_map(serde_json::Value::as_u64).sum();
            rows = vec![open.into()];
        }
        Ok(serde_json::Value::from(rows).into())
    }
}

/// The number of a user (or group) given by number or name, as `/etc/passwd` (or `/etc/group`) has it.
pub fn id_of(name: &str, file: &str) -> Option<u32> {
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reload_keeps_what_is_still_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let methods = Arc::new(Methods::new());
        let runtime = tokio::runtime::Handle::current();
        let fifo = |name: &str| Wanted::Fifo {
            path: dir.path().join(name),
            access: Access::mode(0o660),
            reply_dir: dir.path().to_owned(),
            layout: Layout::Compact,
        };
        let socket = |name: &str| {
            let addr = DatagramAddr::Unix(dir.path().join(name), Access::mode(0o660));
            Wanted::Datagram(addr, Layout::Compact)
        };
        let first = Servers::new(&runtime, &methods, None);
        first.start(&[fifo("a"), socket("b")]).unwrap();
        let second = Servers::new(&runtime, &methods, Some(&first));
        second.start(&[socket("b"), fifo("c")]).unwrap();
        drop(first);
        let there = |name: &str| dir.path().join(name).exists();
        assert_eq!(["a", "b", "c"].map(there), [false, true, true]);
        let clash = Servers::new(&runtime, &methods, None);
        assert!(
            clash
                .start(&[socket("b")])
                .unwrap_err()
                .to_string()
                .contains("in use")
        );
    }

    #[test]
    fn owners_have_numbers() {
        assert_eq!(id_of("0", "/etc/passwd"), Some(0));
        assert_eq!(id_of("root", "/etc/passwd"), Some(0));
        assert_eq!(id_of("no-such-user-here", "/etc/passwd"), None);
    }
}
