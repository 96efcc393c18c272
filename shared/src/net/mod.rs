//! Network words the whole workspace shares: transports, socket specifications and address prefixes.

pub mod cidr;
mod socket_spec;
mod transport;

pub use socket_spec::{Advertise, Host, SocketSpec, SpecError};
pub use transport::{Transport, UnknownTransport};
