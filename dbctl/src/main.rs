//! Starts the schema tool.

fn main() {}
