//! The control plane: one method table behind JSON-RPC on a unix socket and Kamailio's other transports.

pub mod jsonrpc;
pub mod methods;
mod pretty;
