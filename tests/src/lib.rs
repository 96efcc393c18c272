//! The test harness: speaks bytes and processes, never our parser.

pub mod bench;
pub mod digest;
pub mod gap;
pub mod load;
pub mod message;
pub mod micro;
pub mod pattern;
pub mod record;
pub mod scenario;
pub mod secure;
pub mod site;
pub mod subject;
pub mod tables;
pub mod ua;
pub mod wait;
pub mod web;
