//! Every integration test, in one binary.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod baresip;
mod cli;
mod clients;
mod control;
mod databases;
mod differential;
mod fuzz;
mod install;
mod layering;
mod modules;
mod outbound;
mod overload;
mod own_requests;
mod reload;
mod rfc4475;
mod rpc;
mod scenarios;
mod sessions;
mod sipp;
mod sources;
mod support;
mod tidy;
mod tls;
mod tools;
mod trace;
mod tutorial;
mod websocket;
