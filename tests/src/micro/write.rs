//! Writing: a reply, and a request with the edits of a proxy.

use std::hint::black_box;

use shared::sip::HeaderName;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::build::Reply;
use shared::sip::build::ViaFix;
use shared::sip::build::write_reply;

use super::Operation;
use super::Row;
use super::message;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "write-reply",
        prepare: reply,
    },
    Row {
        name: "write-request",
        prepare: request,
    },
];

fn reply() -> Operation {
    let request = Message::parse(message::OPTIONS).expect("the request is well formed");
    let mut out = Vec::with_capacity(1024);
    Box::new(move || {
        let via = ViaFix {
            received: Some(b"127.0.0.1"),
            rport: Some(40001),
        };
        let reply = Reply {
            status: 200,
            reason: b"OK",
            to_tag: Some(b"b27e1a1d33761e85846fc98f5f3a7e58.4f5e"),
            server: Some(b"proxyd (0.1.0 (x86_64/linux))"),
            via,
            ..Reply::default()
        };
        out.clear();
        write_reply(&mut out, black_box(&request), &reply);
        black_box(&out);
    })
}

fn request() -> Operation {
    let request = Message::parse(message::INVITE).expect("the request is well formed");
    let mut lumps = Lumps::default();
    let mut out = Vec::with_capacity(2048);
    Box::new(move || {
        let request = black_box(&request);
        lumps.clear();
        lumps.prepend_header(
            request,
            b"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKf2a1.7b3c9d0e11223344.0\r\n",
        );
        lumps.prepend_header(request, b"Record-Route: <sip:198.51.100.1;lr>\r\n");
        if let Some(header) = request.first_header(HeaderName::MaxForwards) {
            lumps.replace_value(header, b"69");
        }
        lumps.set_request_uri(request, b"sip:bob@192.0.2.201:5060;transport=udp");
        out.clear();
        lumps.write(request, &mut out);
        black_box(&out);
    })
}
