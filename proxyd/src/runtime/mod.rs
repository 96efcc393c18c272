//! The only room that sees every other: the runtime owns the parts, `receive` handles one message.

pub mod clock;
pub mod ids;
pub mod stats;
