//! Every integration test, in one binary.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod baresip;
mod cli;
mod fuzz;
mod install;
mod layering;
mod modules;
mod rfc4475;
mod rpc;
mod scenarios;
mod sipp;
mod sources;
mod support;
mod tidy;
mod tutorial;
