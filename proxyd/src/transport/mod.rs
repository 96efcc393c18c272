//! Sockets: framing, not meaning (RFC 3261 §18).

pub mod conn;
pub mod dns;
pub mod interfaces;
pub mod memory;
pub mod options;
mod queue;
pub mod resolve;
pub mod send_batch;
mod servers;
mod sys;
pub mod tally;
mod tcp;
pub mod tls;
pub mod udp;
pub(crate) mod waiting;
mod ws;

pub use queue::Queue;
