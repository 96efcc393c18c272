//! The configuration language: preprocess, lex, parse, check, compile, execute; no sockets, no tokio.

pub mod host;
pub mod lists;
pub mod module;
pub mod program;
pub mod regex;
pub mod value;
pub mod vars;
