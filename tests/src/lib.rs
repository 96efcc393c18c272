//! The test harness: speaks bytes and processes, never our parser.

pub mod bench;
pub mod load;
pub mod subject;
pub mod wait;
