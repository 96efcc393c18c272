//! Network words the whole workspace shares: transports and what secures them, socket specifications and address prefixes.

pub mod cidr;
mod keepalive;
mod naptr;
mod secured;
mod socket_spec;
mod transport;

pub use keepalive::{Keepalive, KeepaliveFrame};
pub use naptr::Naptr;
pub use secured::{Secured, Verdict};
pub use socket_spec::{Advertise, Host, SocketSpec, SpecError};
pub use transport::{Transport, UnknownTransport};
