//! Proxy behaviour of RFC 3261 §16, pure: target sets, routes, forwarding, choosing a response.

pub mod branch;
pub mod context;
pub mod forward;
pub mod loose_route;
pub mod record_route;
pub mod request;
pub mod response;
pub mod sender;
pub mod sockets;
