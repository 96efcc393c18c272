//! The only room that sees every other: one message from bytes to verdict.

pub mod stats;
