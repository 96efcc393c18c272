//! The control plane: one method table behind JSON-RPC on a unix socket and Kamailio's other transports.

mod body;
pub mod jsonrpc;
pub mod methods;
mod pretty;
pub mod socket;
pub mod unix;
mod websocket;
