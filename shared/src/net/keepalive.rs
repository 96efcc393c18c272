//! How a quiet WebSocket connection is kept alive (RFC 6455 §5.5.2, RFC 7118 §6).

use std::time::Duration;

/// What is sent on a WebSocket connection that is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keepalive {
    /// Which frame.
    pub frame: KeepaliveFrame,
    /// After how long.
    pub idle: Duration,
    /// Its content, at most 125 bytes.
    pub data: Vec<u8>,
}

/// The frames that keep a connection alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepaliveFrame {
    /// None.
    None,
    /// One that has to be answered: who does not answer until the next is gone.
    Ping,
    /// One that has not.
    Pong,
}
