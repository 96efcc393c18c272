//! Starts the operator's tool.

fn main() -> std::process::ExitCode {
    proxyctl::main()
}
