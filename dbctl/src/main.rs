//! Starts the schema tool.

fn main() -> std::process::ExitCode {
    dbctl::main()
}
