//! Starts the operator's tool.

fn main() {}
