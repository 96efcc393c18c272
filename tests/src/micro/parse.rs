//! Reading: a message until it is known to have what every message must have, and a URI.

use std::hint::black_box;

use shared::sip::Message;
use shared::sip::Uri;

use super::Operation;
use super::Row;
use super::message;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "parse-options",
        prepare: || read(message::OPTIONS),
    },
    Row {
        name: "parse-register",
        prepare: || read(message::REGISTER),
    },
    Row {
        name: "parse-invite",
        prepare: || read(message::INVITE),
    },
    Row {
        name: "parse-200",
        prepare: || read(message::OK),
    },
    Row {
        name: "parse-uri",
        prepare: || {
            Box::new(|| assert!(Uri::parse(black_box(b"sip:alice@192.0.2.17:5062;transport=udp;ob")).is_ok()))
        },
    },
];

/// Reads into memory that was used before, as workers do.
fn read(bytes: &'static [u8]) -> Operation {
    let mut message = Message::default();
    Box::new(move || {
        assert!(message.reparse(black_box(bytes)).is_ok());
        assert_eq!(message.mandatory(), Ok(()));
    })
}
