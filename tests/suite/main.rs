//! Every integration test, in one binary.

mod layering;
mod scenarios;
mod sipp;
mod sources;
mod support;
mod tidy;
mod tutorial;
