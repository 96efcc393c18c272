//! Messages on the wire, for those who watch them.

use shared::net::Transport;
use shared::rpc::trace::Direction;
use shared::sip::Message;
use std::net::SocketAddr;

/// The way of a message.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// To us or from us.
    pub direction: Direction,
    /// What carries it.
    pub transport: Transport,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// It is a reply made without a transaction, or the ACK to one.
    pub stateless: bool,
}

/// A module that watches messages ([`super::module::Hook::Tap`]): on every worker, before they are handled and as they leave.
pub trait Tap: Send + Sync {
    /// Whether it wants to see messages now; asked for each one.
    fn wants(&self) -> bool;
    /// Shows it a message, which is `bytes` on the wire.
    fn see(&self, msg: &Message, bytes: &[u8], way: Way);
}
