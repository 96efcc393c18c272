//! The called phone: answers INVITE with 180 and 200, BYE with 200, and keeps nothing (RFC 3261 §8.2.6).

use super::batch::Outbox;
use super::message::Fields;
use super::message::after;
use super::message::finish;
use super::message::number;
use super::message::put;

/// A user agent server that lives behind the proxy.
pub(crate) struct Callee {
    contact: String,
    session: Vec<u8>,
    /// ACKs that arrived for an answered INVITE.
    pub(crate) acknowledged: u64,
}

impl Callee {
    /// Answers calls with the given session description, at the given address.
    pub(crate) fn new(contact: String, session: Vec<u8>) -> Self {
        Self {
            contact,
            session,
            acknowledged: 0,
        }
    }

    /// Answers one request; an error says how the proxy got it wrong.
    pub(crate) fn receive(&mut self, request: &[u8], out: &mut Outbox) -> Result<(), &'static str> {
        let fields = Fields::read(request).ok_or("callee: not a SIP message")?;
        let method = fields
            .first_line
            .split(|&byte| byte == b' ')
            .next()
            .unwrap_or_default();
        let initial = method == b"INVITE";
        if fields.vias != 2 {
            return Err("callee: request without exactly two Via values");
        }
        if number(fields.max_forwards) != 69 {
            return Err("callee: Max-Forwards was not decremented from 70");
        }
        if initial == after(fields.to, b";tag=").starts_with(b"c") {
            return Err("callee: To tag missing or unexpected");
        }
        match method {
            b"INVITE" => {
                if fields.record_routes == 0 {
                    return Err("callee: INVITE without Record-Route");
                }
                out.push(|out| self.reply(request, b"SIP/2.0 180 Ringing", b";tag=c1", b"", out));
                out.push(|out| self.reply(request, b"SIP/2.0 200 OK", b";tag=c1", &self.session, out));
                Ok(())
            }
            b"BYE" => {
                out.push(|out| self.reply(request, b"SIP/2.0 200 OK", b"", b"", out));
                Ok(())
            }
            b"ACK" => {
                self.acknowledged += 1;
                Ok(())
            }
            _ => Err("callee: a method that was never sent"),
        }
    }

    fn reply(&self, request: &[u8], status: &[u8], tag: &[u8], body: &[u8], out: &mut Vec<u8>) {
        put(out, &[status, b"\r\n"]);
        for line in request.split(|&byte| byte == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match line.split(|&byte| byte == b':').next().unwrap_or_default() {
                b"" => break,
                b"Via" | b"Record-Route" | b"From" | b"Call-ID" | b"CSeq" => put(out, &[line, b"\r\n"]),
                b"To" => put(out, &[line, tag, b"\r\n"]),
                _ => {}
            }
        }
        put(out, &[b"Contact: <", self.contact.as_bytes(), b">\r\n"]);
        finish(out, body);
    }
}
