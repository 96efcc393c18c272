//! The control plane: one method table behind JSON-RPC on a unix socket and Kamailio's other transports.

pub mod binrpc;
mod body;
pub mod core_rpcs;
mod credentials;
pub mod datagram;
pub mod fifo;
mod fifo_file;
pub mod jsonrpc;
mod lenient;
pub mod methods;
pub mod packets;
mod places;
mod pretty;
pub mod push;
pub mod rights;
pub mod servers;
pub mod socket;
pub mod stats_rpcs;
pub mod threads;
pub mod unix;
mod websocket;
