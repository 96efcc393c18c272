//! The configuration language: preprocess, lex, parse, check, compile, execute; no sockets, no tokio.
