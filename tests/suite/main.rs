//! Every integration test, in one binary.

mod baresip;
mod cli;
mod layering;
mod rfc4475;
mod rpc;
mod scenarios;
mod sipp;
mod sources;
mod support;
mod tidy;
mod tutorial;
