//! What at least two members of the workspace need: SIP as values, digest arithmetic, network words, regular expressions, databases, the RPC wire, reports and default places.

pub mod db;
pub mod digest;
pub mod net;
pub mod paths;
pub mod regex;
pub mod report;
pub mod rpc;
pub mod sip;
