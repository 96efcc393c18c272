//! Any bytes as a call of the control plane.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::rpc::run(data));
