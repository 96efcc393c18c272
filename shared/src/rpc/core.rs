//! Replies of `core.*` and `corex.*`.

use serde::Deserialize;
use serde::Serialize;

/// Version: a line of text.
pub const VERSION: &str = "core.version";
/// Start time: [`Uptime`].
pub const UPTIME: &str = "core.uptime";
/// What was built: [`Info`].
pub const INFO: &str = "core.info";
/// Workers, flat: process id, description, and so on.
pub const PS: &str = "core.ps";
/// Workers: a list of [`Process`].
pub const PSX: &str = "core.psx";
/// Memory: [`ShmMem`].
pub const SHMMEM: &str = "core.shmmem";
/// Connections in numbers: [`TcpInfo`].
pub const TCP_INFO: &str = "core.tcp_info";
/// Connections: a list of [`TcpConnection`].
pub const TCP_LIST: &str = "core.tcp_list";
/// Sockets: a list of [`ListedSocket`].
pub const SOCKETS_LIST: &str = "core.sockets_list";
/// Aliases: [`Aliases`].
pub const ALIASES_LIST: &str = "core.aliases_list";
/// Stops the daemon.
pub const KILL: &str = "core.kill";
/// Compiles the script again and puts it in place of the old one: [`Reloaded`].
pub const RELOAD: &str = "core.reload";
/// Runs a message through the script and tells what would happen, without sending or changing anything.
pub const EXPLAIN: &str = "core.explain";
/// Waits for a message of the network and tells what happened to it.
pub const EXPLAIN_LIVE: &str = "core.explain_live";
/// Reads or sets the log level: [`enum@Debug`].
pub const DEBUG: &str = "corex.debug";

/// `core.reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Sockets opened: `udp:192.0.2.1:5060`.
    pub opened: Vec<String>,
    /// Sockets that end.
    pub closed: Vec<String>,
    /// Parameters that differ and take effect at the next start only: `children`, `ctl:mode`.
    pub at_restart: Vec<String>,
}

/// `core.uptime`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Now, in the form of ctime(3).
    pub now: String,
    /// When the daemon started.
    pub up_since: String,
    /// Seconds between.
    pub uptime: u64,
}

/// `core.info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Name and version.
    pub version: String,
    /// Revision of the source.
    pub id: String,
    /// Compiler.
    pub compiler: String,
    /// When it was built.
    pub compiled: String,
    /// What it can do.
    pub flags: String,
}

/// One row of `core.psx`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Index.
    #[serde(rename = "IDX")]
    pub index: u32,
    /// Process or thread id.
    #[serde(rename = "PID")]
    pub pid: i32,
    /// What it does.
    #[serde(rename = "DSC")]
    pub description: String,
}

/// `core.shmmem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShmMem {
    /// Bytes there are.
    pub total: u64,
    /// Bytes not used.
    pub free: u64,
    /// Bytes used.
    pub used: u64,
    /// Bytes used, with their keeping.
    pub real_used: u64,
    /// The most that was ever used.
    pub max_used: u64,
    /// Pieces.
    pub fragments: u64,
}

/// `core.tcp_info`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpInfo {
    /// Threads that read.
    pub readers: u64,
    /// Connections allowed.
    pub max_connections: u64,
    /// TLS connections allowed.
    pub max_tls_connections: u64,
    /// Connections open.
    pub opened_connections: u64,
    /// TLS connections open.
    pub opened_tls_connections: u64,
    /// Bytes that wait to be written.
    pub write_queued_bytes: u64,
}

/// One row of `core.tcp_list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpConnection {
    /// Number of the connection.
    pub id: u64,
    /// `TCP`, `TLS`, `WS`, `WSS`.
    #[serde(rename = "type")]
    pub transport: String,
    /// `CONN_OK` and so on.
    pub state: String,
    /// Seconds it may stay idle.
    pub timeout: i64,
    /// Its lifetime in seconds.
    pub lifetime: i64,
    /// Where it is referred to.
    pub ref_count: u64,
    /// Peer's address.
    pub src_ip: String,
    /// Peer's port.
    pub src_port: u16,
    /// Our address.
    pub dst_ip: String,
    /// Our port.
    pub dst_port: u16,
}

/// One row of `core.sockets_list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSocket {
    /// The socket.
    pub socket: Socket,
}

/// A socket as `core.sockets_list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// `udp`, `tcp` and so on.
    pub proto: String,
    /// The address as configured.
    pub address: String,
    /// The address as bound.
    pub ipaddress: String,
    /// The port, as text.
    pub port: String,
    /// Whether it is a multicast group.
    pub mcast: String,
    /// Whether the outgoing address is chosen by route.
    pub mhomed: String,
    /// Whether its address need not exist yet.
    #[serde(rename = "virtual")]
    pub is_virtual: String,
    /// The public address, if one is advertised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}

/// `core.aliases_list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases {
    /// Whether modules answer for domains, too.
    pub myself_callbacks: String,
    /// The aliases.
    pub aliases: Vec<ListedAlias>,
}

/// One alias in its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedAlias {
    /// The alias.
    pub alias: Alias,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// Transport, `*` for any.
    pub proto: String,
    /// Name or address.
    pub address: String,
    /// Port, `*` for any.
    pub port: String,
}

/// `corex.debug`: the level, or its change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Debug {
    /// The level.
    Level {
        /// From -5 to 3.
        debug: i32,
    },
    /// The level before and after.
    Change {
        /// Before.
        old: i32,
        /// After.
        new: i32,
    },
}
