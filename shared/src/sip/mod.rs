//! SIP as values: bytes in, views out (RFC 3261 §7, §19, §20, §25).
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod block;
pub mod build;
pub mod error;
mod first_line;
pub mod frame;
pub mod header;
mod index;
pub mod list;
pub mod lump;
mod mandatory;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod params;
pub mod scan;
pub mod status;
#[cfg(test)]
mod torture;
pub mod uri;

pub use error::{Missing, ParseError};
pub use header::HeaderName;
pub use header::contact::Contact;
pub use header::cseq::CSeq;
pub use header::route::Route;
pub use header::via::Via;
pub use index::Header;
pub use list::ListValue;
pub use lump::Lumps;
pub use message::Message;
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::{Param, Params};
pub use uri::{Scheme, Uri, UriParts};
