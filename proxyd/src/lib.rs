//! The daemon: a SIP proxy and registrar that runs Kamailio-language routing scripts. Layers, bottom to top.

pub mod script;
pub mod transaction;
pub mod proxy;
pub mod modules;
pub mod transport;
pub mod control;
pub mod runtime;
pub mod log;
pub mod args;
pub mod daemon;
