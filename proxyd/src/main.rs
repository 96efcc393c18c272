//! Starts the daemon.

use std::process::ExitCode;

/// Freed on another thread, memory costs a third of what it does with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    proxyd::main()
}
