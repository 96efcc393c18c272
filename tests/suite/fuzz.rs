//! The fuzz targets on a stable compiler: a bounded walk from their seeds, the same each time.
#![expect(unreachable_pub, reason = "each target is part of a library as well")]

use std::panic;
use std::panic::AssertUnwindSafe;

#[path = "../fuzz/src/message.rs"]
mod message;
#[path = "../fuzz/src/rpc.rs"]
mod rpc;
#[path = "../fuzz/src/script.rs"]
mod script;
#[path = "../fuzz/src/stream.rs"]
mod stream;
#[path = "../fuzz/src/uri.rs"]
mod uri;

const ROUNDS: u32 = 20_000;

/// What breaks a grammar, or begins another part of it.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"\\",
    b"<",
    b">",
    b"=",
    b"@",
    b"?",
    b"&",
    b"%",
    b"/",
    b"[",
    b"]",
    b"{",
    b"}",
    b"(",
    b")",
    b"$",
    b"#",
    b"\0",
    b"\xff",
    b"\r\n ",
    b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"l:4294967296\r\n",
    b"v:",
    b"SIP/2.0",
    b";rport=",
    b";tag=",
    b"sip:",
    b"tel:",
    b"%41",
    b"#!define A A\n",
    b"if (",
];

/// A generator of Marsaglia's, so that a failure can be seen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// Changes a few places: a byte, a piece put in, a part left out or repeated.
    fn change(&mut self, data: &mut Vec<u8>) {
        for _ in 0..=self.below(5) {
            let at = self.below(data.len() + 1);
            let end = (at + self.below(24)).min(data.len());
            match self.below(5) {
                0 => data.splice(at..end, None).for_each(drop),
                1 => data.splice(at..at, data[at..end].to_vec()).for_each(drop),
                2 => data.splice(at..at, Some(self.below(256) as u8)).for_each(drop),
                3 => data
                    .splice(at..end, PIECES[self.below(PIECES.len())].iter().copied())
                    .for_each(drop),
                _ => data
                    .splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())
                    .for_each(drop),
            }
        }
    }
}

fn walk(seeds: &[&[u8]], run: fn(&[u8])) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..ROUNDS {
        let mut data = seeds[dice.below(seeds.len())].to_vec();
        if round >= seeds.len() as u32 {
            dice.change(&mut data);
        }
        let survived = panic::catch_unwind(AssertUnwindSafe(|| run(&data)));
        assert!(survived.is_ok(), "round {round}: {}", data.escape_ascii());
    }
}

#[test]
fn messages() {
    walk(message::SEEDS, message::run);
}

#[test]
fn calls() {
    walk(rpc::SEEDS, rpc::run);
}

#[test]
fn scripts() {
    walk(script::SEEDS, script::run);
}

#[test]
fn streams() {
    walk(stream::SEEDS, stream::run);
}

#[test]
fn uris() {
    walk(uri::SEEDS, uri::run);
}
