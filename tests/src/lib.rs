//! The test harness: speaks bytes and processes, never our parser.

pub mod load;
