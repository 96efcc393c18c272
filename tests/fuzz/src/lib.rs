//! What each fuzz target does with its bytes, and where a search may begin.

pub mod message;
pub mod rpc;
pub mod script;
pub mod stream;
pub mod uri;
