//! Sockets: framing, not meaning (RFC 3261 §18).

pub mod dns;
mod queue;
pub mod resolve;
mod sys;
pub mod udp;

pub use queue::Queue;
