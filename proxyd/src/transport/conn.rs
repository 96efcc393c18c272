//! Open connections and their reuse (RFC 3261 §18.1.1, RFC 5923, RFC 5626).

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;
use parking_lot::RwLock;
use shared::net::Keepalive;
use shared::net::Secured;
use shared::net::Transport;
use shared::sip::frame::FrameError;
use shared::sip::frame::Limits;
use smallvec::SmallVec;
use socket2::TcpKeepalive;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use super::tally::ConnRow;
pub use super::tally::Numbers;
use super::tls::Profiles;

/// Names a connection; never used twice.
pub type ConnId = u64;
/// Names a listening socket: its index in the list of sockets.
pub type SocketId = u16;

/// A message that arrived.
#[derive(Debug)]
pub struct Inbound {
    /// The whole message, from its first line to the end of its body.
    pub bytes: Vec<u8>,
    /// The peer.
    pub source: SocketAddr,
    /// The address of the listening socket.
    pub local: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// The connection it came by.
    pub conn: Option<ConnId>,
    /// The listening socket.
    pub socket: SocketId,
    /// Why the stream cannot be read behind these headers: to be answered 400; the connection is closed then.
    pub broken: Option<FrameError>,
}

/// Takes a message; false: there is no room for it.
pub type Deliver = Arc<dyn Fn(Inbound) -> bool + Send + Sync>;

/// What happens to connections.
#[derive(Debug)]
pub enum ConnEvent {
    /// A connection is open.
    Opened(ConnRow),
    /// A connection is no more.
    Closed(ConnRow),
    /// A message could not be sent: no connection could be made, or it broke.
    SendFailed {
        /// The message.
        bytes: Vec<u8>,
        /// How it should have gone.
        transport: Transport,
        /// Where to.
        remote: SocketAddr,
        /// Why not.
        error: io::ErrorKind,
    },
}

/// Hears of connections, on a thread of the runtime: must not wait.
pub type OnEvent = Arc<dyn Fn(ConnEvent) + Send + Sync>;

/// Bounds and times of stream connections (core cookbook, `tcp_*`).
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// `tcp_max_connections`.
    pub max_connections: usize,
    /// `tls_max_connections`: those of the above that may be encrypted.
    pub max_tls_connections: usize,
    /// `tcp_accept_iplimit`: connections one address may have open here; 0 is no limit.
    pub per_address: usize,
    /// `tcp_connection_lifetime`: how long a connection may be idle.
    pub lifetime: Duration,
    /// `tcp_connect_timeout`.
    pub connect_timeout: Duration,
    /// `tcp_send_timeout`.
    pub send_timeout: Duration,
    /// `tcp_conn_wq_max`: bytes that may wait for one connection.
    pub queue_bytes: usize,
    /// `tcp_no_connect`: never open a connection.
    pub no_connect: bool,
    /// `tcp_crlf_ping`: answer double CRLF.
    pub crlf_ping: bool,
    /// `tcp_keepalive`, with `tcp_keepidle`, `tcp_keepintvl` and `tcp_keepcnt`; none: idle peers are not probed.
    pub keepalive: Option<TcpKeepalive>,
    /// `tos`: type-of-service byte of what is sent.
    pub tos: Option<u32>,
    /// Size of messages (`tcp_rd_buf_size`), and whether Content-Length may be missing (`tcp_accept_no_cl`).
    pub limits: Limits,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            max_connections: 2048,
            max_tls_connections: 2048,
            per_address: 1024,
            lifetime: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(10),
            queue_bytes: 512 << 10,
            no_connect: false,
            crlf_ping: true,
            keepalive: Some(TcpKeepalive::new()),
            tos: None,
            limits: Limits::default(),
        }
    }
}

/// Where a message goes on a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamTarget {
    /// How.
    pub transport: Transport,
    /// Where.
    pub remote: SocketAddr,
    /// The connection to use, if it is still open.
    pub conn: Option<ConnId>,
    /// The listening socket whose address a new connection is made from, and to which what arrives on it belongs.
    pub socket: SocketId,
    /// The address of that socket.
    pub local: SocketAddr,
    /// Whether a new connection may be made.
    pub connect: Connect,
}

/// Whether a new connection may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// It may.
    Allowed,
    /// Only an open one is used (`set_forward_no_connect`).
    Forbidden,
}

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection, and none may be made.
    #[error("no open connection")]
    NotConnected,
    /// Too much waits for this connection already.
    #[error("connection's send queue is full")]
    QueueFull,
    /// As many connections are open as may be.
    #[error("too many connections")]
    TooMany,
    /// The transport is no stream, or not served.
    #[error("transport `{0}` is not served")]
    Transport(Transport),
}

/// What a connection's task is told.
pub(super) enum Order {
    Send(Vec<u8>),
    /// Goes on in WebSocket when everything before was written.
    Upgrade(Keepalive),
    /// Sends a control frame; only in WebSocket.
    Control(Control),
    /// Ends the connection when everything before was written.
    Close,
}

/// A frame about a WebSocket connection itself (RFC 6455 §5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Ends it, with a status and a reason.
    Close(u16, String),
    /// Has to be answered.
    Ping(Vec<u8>),
    /// Answers one, or nothing.
    Pong(Vec<u8>),
}

/// One connection, as its task and its users share it.
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// What it began as.
    stream: Transport,
    pub(super) web: AtomicBool,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    socket: AtomicU16,
    pub(super) accepted: bool,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) queued: AtomicUsize,
    pub(super) open: AtomicBool,
    /// Idle time allowed, in milliseconds.
    pub(super) lifetime: AtomicU64,
    pub(super) active: Mutex<Instant>,
    /// What TLS settled, once it has.
    pub(super) secured: OnceLock<Arc<Secured>>,
    /// Ports that stand for it besides the peer's own (RFC 5923).
    aliases: Mutex<SmallVec<[u16; 2]>>,
}

impl Conn {
    pub(super) fn transport(&self) -> Transport {
        if self.web.load(Relaxed) {
            self.stream.upgraded()
        } else {
            self.stream
        }
    }

    pub(super) fn socket(&self) -> SocketId {
        self.socket.load(Relaxed)
    }

    /// What arrived on it.
    pub(super) fn inbound(&self, bytes: Vec<u8>, broken: Option<FrameError>) -> Inbound {
        Inbound {
            bytes,
            source: self.remote,
            local: self.local,
            transport: self.transport(),
            conn: Some(self.id),
            socket: self.socket(),
            broken,
        }
    }

    /// So many bytes wait no more.
    pub(super) fn sent(&self, len: usize) {
        // Pongs are not counted when they are queued; the counter must not run below zero for them.
        let _ = self
            .queued
            .fetch_update(Relaxed, Relaxed, |q| Some(q.saturating_sub(len)));
    }

    pub(super) fn touch(&self) {
        *self.active.lock() = Instant::now();
    }

    pub(super) fn deadline(&self) -> Instant {
        *self.active.lock() + Duration::from_millis(self.lifetime.load(Relaxed))
    }

    pub(super) fn row(&self) -> ConnRow {
        ConnRow {
            id: self.id,
            transport: self.transport(),
            remote: self.remote,
            local: self.local,
            socket: self.socket(),
            open: self.open.load(Relaxed),
            accepted: self.accepted,
            idle: self.active.lock().elapsed().as_secs(),
            lifetime: self.lifetime.load(Relaxed) / 1000,
            queued: self.queued.load(Relaxed),
            secured: self.secured.get().cloned(),
        }
    }
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<ConnId, Arc<Conn>>,
    by_peer: HashMap<(Transport, SocketAddr), SmallVec<[ConnId; 1]>, RandomState>,
    accepted_from: HashMap<IpAddr, usize, RandomState>,
    tls: usize,
}

impl Table {
    fn forget(&mut self, peer: &(Transport, SocketAddr), id: ConnId) {
        if let Some(ids) = self.by_peer.get_mut(peer) {
            ids.retain(|own| *own != id);
            if ids.is_empty() {
                self.by_peer.remove(peer);
            }
        }
    }
}

/// All connections of the daemon.
#[derive(Clone)]
pub struct Connections(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: StreamOptions,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) deliver: Deliver,
    pub(super) events: OnEvent,
    pub(super) numbers: Numbers,
    pub(super) listeners: Mutex<Vec<(SocketId, AbortHandle)>>,
    pub(super) profiles: OnceLock<Arc<dyn Profiles>>,
    next_id: AtomicU64,
    table: RwLock<Table>,
}

/// What a new connection is known by from its beginning.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) socket: SocketId,
    pub(super) accepted: bool,
}

impl Connections {
    /// No connections yet. Tasks run on `runtime`; `deliver` takes what arrives.
    pub fn new(
        runtime: tokio::runtime::Handle,
        options: StreamOptions,
        deliver: Deliver,
        events: OnEvent,
    ) -> Self {
        Self(Arc::new(Inner {
            options,
            runtime,
            deliver,
            events,
            numbers: Numbers::default(),
            listeners: Mutex::default(),
            profiles: OnceLock::new(),
            next_id: AtomicU64::new(1),
            table: RwLock::default(),
        }))
    }

    /// Says how connections are secured; only the first call counts.
    pub fn secure_by(&self, profiles: Arc<dyn Profiles>) {
        // A second call would name the same script.
        let _ = self.0.profiles.set(profiles);
    }

    /// What TLS settled for a connection; none for one in the clear, or whose handshake is not over.
    pub fn secured(&self, id: ConnId) -> Option<Arc<Secured>> {
        self.0.get(id)?.secured.get().cloned()
    }

    /// Queues a message for its target, on an open connection or on a new one; never waits.
    pub fn send(&self, target: &StreamTarget, bytes: Vec<u8>) -> Result<ConnId, SendError> {
        let open = target.conn.and_then(|id| self.0.get(id));
        let open = open.or_else(|| self.0.find(target.transport, target.remote));
        let conn = match open {
            Some(conn) => conn,
            None if target.connect == Connect::Forbidden || self.0.options.no_connect => {
                return Err(SendError::NotConnected);
            }
            None => super::tcp::connect(self, target)?,
        };
        self.0.queue(&conn, bytes)?;
        Ok(conn.id)
    }

    /// Queues a message for an open connection.
    pub fn send_on(&self, id: ConnId, bytes: Vec<u8>) -> Result<(), SendError> {
        let conn = self.0.get(id).ok_or(SendError::NotConnected)?;
        self.0.queue(&conn, bytes)
    }

    /// The newest connection to a peer.
    pub fn find(&self, transport: Transport, remote: SocketAddr) -> Option<ConnId> {
        self.0.find(transport, remote).map(|conn| conn.id)
    }

    /// The listening socket that the connection to a peer belongs to.
    pub fn socket(&self, transport: Transport, remote: SocketAddr) -> Option<SocketId> {
        self.0.find(transport, remote).map(|conn| conn.socket())
    }

    /// Whether a connection is still there.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.0.table.read().by_id.contains_key(&id)
    }

    /// Closes a connection once everything queued for it was written.
    pub fn close(&self, id: ConnId) {
        if let Some(conn) = self.0.get(id) {
            // A task that is gone has closed it already.
            let _ = conn.orders.send(Order::Close);
        }
    }

    /// Goes on in WebSocket after these bytes, as a listening socket of that transport; false when it does so already.
    pub fn upgrade(&self, id: ConnId, bytes: Vec<u8>, socket: SocketId, keepalive: Keepalive) -> bool {
        self.0.become_web(id, bytes, socket, keepalive)
    }

    /// Sends a control frame on a WebSocket connection; false when there is none of this number.
    pub fn control(&self, id: ConnId, frame: Control) -> bool {
        let conn = self.0.get(id).filter(|conn| conn.transport().is_web());
        conn.is_some_and(|conn| conn.orders.send(Order::Control(frame)).is_ok())
    }

    /// Lets another port of the peer lead to this connection (RFC 5923 §3, `force_tcp_alias`).
    pub fn add_alias(&self, id: ConnId, port: u16) {
        let mut table = self.0.table.write();
        let Some(conn) = table.by_id.get(&id).cloned() else {
            return;
        };
        let mut aliases = conn.aliases.lock();
        if port == conn.remote.port() || aliases.contains(&port) || aliases.len() >= 4 {
            return;
        }
        aliases.push(port);
        let peer = SocketAddr::new(conn.remote.ip(), port);
        table
            .by_peer
            .entry((conn.transport(), peer))
            .or_default()
            .push(id);
    }

    /// Sets how long a connection may be idle, as a registration may want it.
    pub fn set_lifetime(&self, id: ConnId, lifetime: Duration) {
        if let Some(conn) = self.0.get(id) {
            conn.lifetime.store(
                u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX / 2),
                Relaxed,
            );
        }
    }

    /// One connection.
    pub fn row(&self, id: ConnId) -> Option<ConnRow> {
        self.0.get(id).map(|conn| conn.row())
    }

    /// All connections, by number.
    pub fn rows(&self) -> Vec<ConnRow> {
        let mut rows: Vec<_> = self
            .0
            .table
            .read()
            .by_id
            .values()
            .map(|conn| conn.row())
            .collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// How many are open, and how many of them encrypted.
    pub fn count(&self) -> (usize, usize) {
        let table = self.0.table.read();
        (table.by_id.len(), table.tls)
    }

    /// The bounds in force.
    pub fn options(&self) -> &StreamOptions {
        &self.0.options
    }

    /// What was counted.
    pub fn numbers(&self) -> &Numbers {
        &self.0.numbers
    }

    /// Stops listening and closes every connection.
    pub fn shut_down(&self) {
        self.0
            .listeners
            .lock()
            .drain(..)
            .for_each(|(_, task)| task.abort());
        let ids: Vec<ConnId> = self.0.table.read().by_id.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
    }
}

impl Inner {
    fn get(&self, id: ConnId) -> Option<Arc<Conn>> {
        self.table.read().by_id.get(&id).cloned()
    }

    fn find(&self, transport: Transport, remote: SocketAddr) -> Option<Arc<Conn>> {
        let table = self.table.read();
        let id = table.by_peer.get(&(transport, remote))?.last()?;
        table.by_id.get(id).cloned()
    }

    /// Enters a connection under the transport that it goes on with.
    fn become_web(&self, id: ConnId, bytes: Vec<u8>, socket: SocketId, keepalive: Keepalive) -> bool {
        let mut table = self.table.write();
        let Some(conn) = table.by_id.get(&id).cloned() else {
            return false;
        };
        let ports: SmallVec<[u16; 4]> = {
            let aliases = conn.aliases.lock();
            aliases.iter().copied().chain([conn.remote.port()]).collect()
        };
        let before = conn.transport();
        if conn.web.swap(true, Relaxed) {
            return false;
        }
        conn.socket.store(socket, Relaxed);
        for port in ports {
            let peer = SocketAddr::new(conn.remote.ip(), port);
            table.forget(&(before, peer), id);
            table
                .by_peer
                .entry((conn.transport(), peer))
                .or_default()
                .push(id);
        }
        // The table is still locked: nobody finds a WebSocket connection that has not been told to be one.
        let queued = self.queue(&conn, bytes);
        queued.is_ok() && conn.orders.send(Order::Upgrade(keepalive)).is_ok()
    }

    fn queue(&self, conn: &Conn, bytes: Vec<u8>) -> Result<(), SendError> {
        let len = bytes.len();
        if conn.queued.fetch_add(len, Relaxed).saturating_add(len) > self.options.queue_bytes {
            conn.queued.fetch_sub(len, Relaxed);
            self.numbers.sendq_full.fetch_add(1, Relaxed);
            return Err(SendError::QueueFull);
        }
        conn.orders
            .send(Order::Send(bytes))
            .map_err(|_| SendError::NotConnected)
    }

    /// Enters a connection in the table, if there is room for it.
    pub(super) fn enter(&self, ends: Ends) -> Result<(Arc<Conn>, mpsc::UnboundedReceiver<Order>), SendError> {
        let mut table = self.table.write();
        let secure = ends.transport.is_secure();
        let from = table.accepted_from.get(&ends.remote.ip()).copied().unwrap_or(0);
        let too_many_from = ends.accepted && self.options.per_address > 0 && from >= self.options.per_address;
        let full = table.by_id.len() >= self.options.max_connections;
        if full || too_many_from || (secure && table.tls >= self.options.max_tls_connections) {
            self.numbers.local_reject.fetch_add(1, Relaxed);
            return Err(SendError::TooMany);
        }
        let (orders, queue) = mpsc::unbounded_channel();
        let id = self.next_id.fetch_add(1, Relaxed);
        let lifetime = u64::try_from(self.options.lifetime.as_millis()).unwrap_or(u64::MAX / 2);
        let conn = Arc::new(Conn {
            id,
            stream: ends.transport,
            web: AtomicBool::new(false),
            remote: ends.remote,
            local: ends.local,
            socket: AtomicU16::new(ends.socket),
            accepted: ends.accepted,
            orders,
            queued: AtomicUsize::new(0),
            open: AtomicBool::new(ends.accepted && !secure),
            lifetime: AtomicU64::new(lifetime),
            active: Mutex::new(Instant::now()),
            secured: OnceLock::new(),
            aliases: Mutex::default(),
        });
        table.by_id.insert(id, conn.clone());
        table
            .by_peer
            .entry((ends.transport, ends.remote))
            .or_default()
            .push(id);
        table.tls += usize::from(secure);
        if ends.accepted {
            *table.accepted_from.entry(ends.remote.ip()).or_default() += 1;
        }
        Ok((conn, queue))
    }

    /// Takes a connection out of the table; nobody finds it any more.
    pub(super) fn leave(&self, conn: &Conn) {
        let mut table = self.table.write();
        if table.by_id.remove(&conn.id).is_none() {
            return;
        }
        let aliases = conn.aliases.lock().clone();
        for port in aliases.into_iter().chain([conn.remote.port()]) {
            let key = (conn.transport(), SocketAddr::new(conn.remote.ip(), port));
            table.forget(&key, conn.id);
        }
        table.tls = table.tls.saturating_sub(usize::from(conn.stream.is_secure()));
        if conn.accepted
            && let Some(n) = table.accepted_from.get_mut(&conn.remote.ip())
        {
            *n = n.saturating_sub(1);
            if *n == 0 {
                table.accepted_from.remove(&conn.remote.ip());
            }
        }
    }
}
