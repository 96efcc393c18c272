//! Any bytes as a stream, whole and in two pieces: both ways the same frames (RFC 3261 §18.3).

use shared::sip::frame::Framer;
use shared::sip::frame::Limits;

/// The first byte says where the stream is cut.
pub const SEEDS: &[&[u8]] = &[
    b"\x14A b SIP/2.0\r\nl: 2\r\n\r\nhi\r\n\r\nB c SIP/2.0\nContent-Length : 1\n\nx\r\n",
    b"\x05\r\n\r\n\r\nC d SIP/2.0\r\nContent-Length:\r\n 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
];

pub fn run(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else {
        return;
    };
    let (first, second) = data.split_at(usize::from(cut).min(data.len()));
    assert_eq!(
        frames(&[data]),
        frames(&[first, second]),
        "a split of the stream changes nothing"
    );
}

fn frames(pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let limits = Limits {
        headers: 4096,
        body: 4096,
        accept_no_cl: false,
    };
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
