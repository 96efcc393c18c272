//! The only room that sees every other: the runtime owns the parts, `receive` handles one message.

mod answer;
mod best;
mod cancel;
mod chores;
mod counters;
mod elsewhere;
pub(crate) mod endpoints;
mod events;
pub(crate) mod explain;
pub(crate) mod filter;
mod forward;
mod host;
mod lend;
pub(crate) mod listen;
pub(crate) mod load;
mod local;
mod masked;
mod matching;
#[cfg(any(test, feature = "micro"))]
pub mod micro;
mod outbox;
mod overload;
mod progress;
pub(crate) mod receive;
mod relay;
mod reply;
mod response;
mod sandbox;
mod settle;
mod spares;
pub(crate) mod status;
pub(crate) mod timers;
pub(crate) mod tls;
pub(crate) mod tm_rpcs;
pub(crate) mod trace;
mod transaction;
pub(crate) mod websocket;
pub(crate) mod worker;

use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::script::host::Job;
use crate::script::host::RouteId;
use crate::script::module::Script;
use crate::stats::Statistics;
use crate::transaction::key::Id;
use crate::transaction::table::Table;
use crate::transport::conn::ConnRow;
use crate::transport::conn::Connections;
use crate::transport::resolve::Question;
use crate::transport::resolve::ResolveOptions;
use crate::transport::resolve::Resolver;
use arc_swap::ArcSwap;
use chores::Chores;
use counters::Counters;
use endpoints::Endpoints;
use explain::live::Watch;
use parking_lot::Mutex;
use shared::net::Naptr;
use shared::net::Transport;
use shared::sip::Message;
use shared::sip::Uri;
use spares::Spares;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use tm_rpcs::Errand;
use trace::Tracers;
use transaction::Guard;
use transaction::Slot;

/// Names a transaction.
pub(crate) type TransactionId = Id;

/// The most transactions that may live at a time; beyond it new requests are refused with 503.
pub(crate) const MAX_TRANSACTIONS: usize = 1 << 20;

/// What RPCs and routes may have asked of other transactions between two looks of the timer worker.
const MOST_ERRANDS: usize = 4096;

/// How many connections may have ended, and messages with them, between two looks of the timer worker.
const MOST_ENDED: usize = 4096;

/// Locks of the table of transactions: many more than workers, so that they rarely meet.
const SHARDS: usize = 64;

/// Everything the workers share.
pub struct Runtime {
    /// The script in force.
    pub(crate) script: ArcSwap<Script>,
    /// The sockets in force.
    pub(crate) endpoints: ArcSwap<Endpoints>,
    /// Held by whoever changes them.
    pub(crate) changing: Mutex<()>,
    /// Connections of stream transports.
    pub(crate) streams: Connections,
    /// Transactions.
    pub(crate) transactions: TransactionTable,
    /// Names to addresses.
    pub(crate) resolver: Resolver,
    /// Contexts to be used again.
    pub(crate) spares: Spares,
    /// Tags.
    pub(crate) keys: crate::ids::Keys,
    /// Hashes that detect loops and make stateless branches.
    pub(crate) loop_keys: ahash::RandomState,
    /// Who waits for a message to be explained.
    pub(crate) watch: Watch,
    /// Who follows messages.
    pub(crate) tracers: Arc<Tracers>,
    /// Counters of the runtime.
    pub(crate) counters: Counters,
    /// All counters.
    pub(crate) statistics: Arc<Statistics>,
    /// Work for the timer worker, asked for from outside.
    pub(crate) errands: Chores<Errand, MOST_ERRANDS>,
    /// Continuations for the timer worker.
    pub(crate) resumed: Chores<((u32, u32), RouteId), MAX_TRANSACTIONS>,
    /// What connections have left behind, for the timer worker.
    pub(crate) ended: Arc<Ended>,
    /// Set when the daemon stops.
    pub(crate) stopping: AtomicBool,
    /// Wakes whoever stops the daemon.
    pub(crate) stop_asked: tokio::sync::Notify,
    /// Runs jobs that may block.
    pub(crate) tokio: tokio::runtime::Handle,
}

/// What connections have left behind when they ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// Requests that could not be sent, whole.
    pub(crate) unsent: Chores<Vec<u8>, MOST_ENDED>,
    /// Connections of WebSocket.
    pub(crate) closed: Chores<ConnRow, MOST_ENDED>,
}

/// The table of transactions, looked up by message.
pub(crate) struct TransactionTable(Table<Slot>);

impl std::ops::Deref for TransactionTable {
    type Target = Table<Slot>;

    fn deref(&self) -> &Table<Slot> {
        &self.0
    }
}

impl TransactionTable {
    pub(crate) fn new(now: u64) -> Self {
        Self(Table::new(SHARDS, MAX_TRANSACTIONS, 10, now))
    }

    /// Whether the transaction of this request, or the INVITE that a CANCEL is for, is known.
    pub(crate) fn contains(&self, msg: &Message) -> bool {
        let parts = crate::proxy::request::parts(msg);
        let lookup = crate::transaction::key::Lookup::request(&parts, self.hashers());
        self.find(&lookup).is_some()
    }
}

impl Runtime {
    /// Puts the parts together; nothing runs yet.
    pub(crate) fn new(
        script: Arc<Script>,
        endpoints: Endpoints,
        streams: Connections,
        ended: Arc<Ended>,
        statistics: Arc<Statistics>,
        tokio: tokio::runtime::Handle,
        resolving: ResolveOptions,
    ) -> Self {
        let counters = Counters::new(&statistics);
        let tracers = Arc::<Tracers>::default();
        tracers.attach(&script);
        Self {
            script: ArcSwap::new(script),
            endpoints: ArcSwap::from_pointee(endpoints),
            changing: Mutex::default(),
            streams,
            transactions: TransactionTable::new(crate::clock::now()),
            resolver: Resolver::new(tokio.clone(), resolving),
            spares: Spares::default(),
            keys: crate::ids::Keys::new(),
            loop_keys: ahash::RandomState::new(),
            watch: Watch::default(),
            tracers,
            counters,
            statistics,
            errands: Chores::default(),
            resumed: Chores::default(),
            ended,
            stopping: AtomicBool::new(false),
            stop_asked: tokio::sync::Notify::new(),
            tokio,
        }
    }

    /// Connections are secured as the script in force says.
    pub(crate) fn secure_streams(self: &Arc<Self>) {
        let profiles = tls::ScriptProfiles(Arc::downgrade(self));
        self.streams.secure_by(Arc::new(profiles));
    }

    /// Ends the daemon as a signal would.
    pub(crate) fn ask_to_stop(&self) {
        self.stop_asked.notify_one();
    }

    /// Where a URI leads (RFC 3263); none when it cannot be resolved.
    pub(crate) fn resolve(&self, uri: &Uri<'_>, socket: Option<SocketId>) -> Option<Target> {
        let transport = match uri.param(b"transport") {
            Some(Some(name)) => Some(std::str::from_utf8(name).ok()?.parse::<Transport>().ok()?),
            _ => None,
        };
        let forced = socket.and_then(|id| Some(self.endpoints.load().sockets.get(id)?.transport));
        let host = uri.host; // Kamailio: maddr is ignored
        if host.len() > 8
            && host
                .get(host.len() - 8..)
                .is_some_and(|tld| tld.eq_ignore_ascii_case(b".invalid"))
        {
            return None; // RFC 6761 §6.4: such names never exist
        }
        let question = Question {
            host,
            port: uri.port,
            transport: transport.or(forced),
            sips: uri.scheme == shared::sip::Scheme::Sips,
        };
        let target = match question.numeric() {
            Some(target) => target,
            None => self
                .resolver
                .resolve(&question, &mut rand::random::<u32>)
                .ok()?
                .into_iter()
                .next()?,
        };
        Some(Target {
            peer: target.addr,
            transport: self.web_transport(target.transport, target.addr),
            socket,
            conn: None,
        })
    }

    /// The NAPTR records of a name; the thread waits for the name servers.
    pub(crate) fn naptr(&self, name: &str) -> Vec<Naptr> {
        let asked = self.resolver.dns().naptr(name);
        match self.tokio.block_on(asked) {
            Ok(records) => records.list,
            Err(error) => {
                crate::log::debug("dns", format_args!("NAPTR of {name}: {error}"));
                Vec::new()
            }
        }
    }

    /// Runs work that may block, on a thread for such work.
    pub(crate) fn spawn(&self, job: Job) {
        self.tokio.spawn_blocking(job);
    }

    /// Whether the daemon is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
