//! What no server can beat: a program that answers each request without looking at what it asks for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proxyd::transport::send_batch::Order;
use proxyd::transport::send_batch::SendBatch;
use proxyd::transport::udp::Batch;
use proxyd::transport::udp::UdpOptions;
use proxyd::transport::udp::UdpSocket;

use super::message::Fields;

/// Answers every datagram at `address` with a 200 of a usual length, received and sent as proxyd's are, until it is killed.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(address, &UdpOptions::default())?);
    let mut replies = SendBatch::new(Arc::clone(&socket), |_, _| {});
    let mut batch = Batch::default();
    loop {
        batch.receive(&socket)?;
        for datagram in batch.iter() {
            if let Some(request) = Fields::read(datagram.bytes) {
                replies.push_with(datagram.source, Order::default(), |reply| {
                    write_ok(reply, &request, datagram.source);
                });
            }
        }
        replies.flush();
    }
}

/// Appends what RFC 3261 §8.2.6 wants of a reply, with the `received` and `rport` of a server's.
fn write_ok(reply: &mut Vec<u8>, request: &Fields<'_>, source: SocketAddr) {
    let place = format!(";received={};rport={}", source.ip(), source.port());
    for part in [
        b"SIP/2.0 200 OK\r\nVia: ".as_slice(),
        request.via,
        place.as_bytes(),
        b"\r\nFrom: ",
        request.from,
        b"\r\nTo: ",
        request.to,
        b";tag=b27e1a1d33761e85846fc98f5f3a7e58.5a4d4bc2\r\nCall-ID: ",
        request.call_id,
        b"\r\nCSeq: ",
        request.cseq,
        b"\r\nServer: the kernel and nothing else\r\nContent-Length: 0\r\n\r\n",
    ] {
        reply.extend_from_slice(part);
    }
}
