//! Serves as the benchmark's floor: takes a server's command line and heeds the socket in it alone, `-l udp:ADDRESS:PORT`.

use std::env;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use tests::load;

fn main() -> ExitCode {
    let socket = env::args().skip_while(|word| word != "-l").nth(1);
    let address = socket
        .as_deref()
        .and_then(|socket| socket.strip_prefix("udp:")?.parse().ok());
    let Some(address) = address else {
        let _ = writeln!(io::stderr(), "usage: t-floor -l udp:ADDRESS:PORT");
        return ExitCode::from(2);
    };
    match load::floor::serve(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "t-floor: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}
