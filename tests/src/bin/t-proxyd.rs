//! `proxyd` for the tests, which spawn it.

fn main() -> std::process::ExitCode {
    proxyd::main()
}
