//! The configuration language: preprocess, lex, parse, check, compile, execute; no sockets, no tokio.

pub mod ast;
pub mod compile;
pub mod core_functions;
pub mod core_params;
pub mod diag;
pub mod exec;
pub mod host;
pub(crate) mod kamailio;
pub mod lex;
pub mod lists;
pub mod module;
pub mod nowhere;
pub mod parse;
pub mod preprocess;
pub mod program;
pub mod pv;
pub mod span;
pub mod tap;
#[cfg(test)]
pub(crate) mod testing;
pub mod token;
pub mod transform;
pub mod value;
pub mod vars;
