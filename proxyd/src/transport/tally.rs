//! Connections as operators see them: rows and counters (Kamailio `core.tcp_list`, statistics group `tcp`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use shared::net::Secured;
use shared::net::Transport;

use super::conn::ConnId;
use super::conn::SocketId;

/// A connection as operators see it.
#[derive(Clone, Debug)]
pub struct ConnRow {
    /// Its number.
    pub id: ConnId,
    /// How.
    pub transport: Transport,
    /// The peer.
    pub remote: SocketAddr,
    /// The address of the listening socket.
    pub local: SocketAddr,
    /// The listening socket.
    pub socket: SocketId,
    /// Whether the handshake is over.
    pub open: bool,
    /// Whether the peer made it.
    pub accepted: bool,
    /// Seconds since anything went over it.
    pub idle: u64,
    /// Seconds it may stay idle.
    pub lifetime: u64,
    /// Bytes that wait to be written.
    pub queued: usize,
    /// What TLS settled.
    pub secured: Option<Arc<Secured>>,
}

/// Counters under the names of Kamailio's group `tcp`.
#[derive(Debug, Default)]
pub struct Numbers {
    pub(super) con_reset: AtomicU64,
    pub(super) con_timeout: AtomicU64,
    pub(super) connect_failed: AtomicU64,
    pub(super) connect_success: AtomicU64,
    pub(super) established: AtomicU64,
    pub(super) local_reject: AtomicU64,
    pub(super) passive_open: AtomicU64,
    pub(super) send_timeout: AtomicU64,
    pub(super) sendq_full: AtomicU64,
}

impl Numbers {
    /// Every counter with its name.
    pub fn list(&self) -> [(&'static str, u64); 9] {
        [
            ("con_reset", self.con_reset.load(Relaxed)),
            ("con_timeout", self.con_timeout.load(Relaxed)),
            ("connect_failed", self.connect_failed.load(Relaxed)),
            ("connect_success", self.connect_success.load(Relaxed)),
            ("established", self.established.load(Relaxed)),
            ("local_reject", self.local_reject.load(Relaxed)),
            ("passive_open", self.passive_open.load(Relaxed)),
            ("send_timeout", self.send_timeout.load(Relaxed)),
            ("sendq_full", self.sendq_full.load(Relaxed)),
        ]
    }

    /// One counter by its name; 0 for others.
    pub fn value(&self, name: &str) -> u64 {
        self.list()
            .into_iter()
            .find(|(n, _)| *n == name)
            .map_or(0, |(_, value)| value)
    }
}
