//! Any bytes as a stream, whole and in two pieces: both ways the same frames (RFC 3261 §18.3).
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::sip::frame::Framer;
use shared::sip::frame::Limits;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else { return };
    let (first, second) = data.split_at(usize::from(cut).min(data.len()));
    assert_eq!(frames(&[data]), frames(&[first, second]), "a split of the stream changes nothing");
});

fn frames(pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let limits = Limits { headers: 4096, body: 4096, accept_no_cl: false };
    let (mut framer, mut found) = (Framer::new(limits), Vec::new());
    for piece in pieces {
        framer.feed(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => found.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    (found, true)
}
