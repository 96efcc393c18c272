//! The daemon: a SIP proxy and registrar that runs Kamailio-language routing scripts. Layers, bottom to top.

pub mod args;
pub mod control;
pub mod daemon;
pub mod log;
pub mod modules;
pub mod proxy;
pub mod runtime;
pub mod script;
pub mod transaction;
pub mod transport;
