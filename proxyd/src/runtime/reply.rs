//! Replies made here: who they go to, what they say (RFC 3261 §8.2.6, §18.2.2; RFC 3581).

use super::host::Live;
use crate::ids::TagKind;
use crate::proxy::context::Context;
use crate::proxy::context::Target;
use crate::proxy::request::AddressText;
use crate::proxy::request::via_fix;
use crate::proxy::response::datagram_destination;
use crate::script::module::Code;
use shared::net::Transport;
use shared::sip::Method;
use shared::sip::build::Reply;
use shared::sip::build::ViaFix;
use shared::sip::build::write_reply;

/// The address of the sender as text, for its Via.
pub(crate) fn seen(ctx: &Context) -> AddressText {
    AddressText::new(ctx.source.peer.ip())
}

/// What we write into the sender's Via.
pub(crate) fn fix<'a>(ctx: &Context, seen: &'a AddressText) -> ViaFix<'a> {
    match ctx.msg.top_via() {
        Some(via) => via_fix(&via, ctx.source.peer, ctx.switches.force_rport, seen),
        None => ViaFix::default(),
    }
}

/// Where replies to this request go.
pub(crate) fn reply_target(ctx: &Context) -> Target {
    let source = &ctx.source;
    let peer = match ctx.msg.top_via() {
        Some(via) if source.transport == Transport::Udp => {
            datagram_destination(&via, source.peer, ctx.switches.force_rport)
        }
        _ => source.peer,
    };
    Target {
        peer,
        transport: source.transport,
        socket: Some(source.socket),
        conn: source.conn,
    }
}

/// Contact lines of a redirect: the new Request-URI and every branch, with q.
fn redirect_contacts(ctx: &Context, out: &mut Vec<u8>) {
    let mut first = true;
    let mut contact = |uri: &[u8], q: i32| {
        out.extend_from_slice(if first { b"Contact: <" } else { b", <" });
        first = false;
        out.extend_from_slice(uri);
        out.push(b'>');
        if (0..=1000).contains(&q) {
            out.extend_from_slice(b";q=");
            write_q(q, out);
        }
    };
    if let Some(uri) = &ctx.new_uri {
        contact(uri, ctx.q);
    }
    for branch in &ctx.branches {
        contact(&branch.uri, branch.q);
    }
    if !first {
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes q, in thousandths, as short as it can be.
pub(crate) fn write_q(q: i32, out: &mut Vec<u8>) {
    let q = q.clamp(0, 1000);
    if q == 1000 {
        out.push(b'1');
        return;
    }
    out.push(b'0');
    if q == 0 {
        return;
    }
    out.push(b'.');
    let digits = [q / 100, q / 10 % 10, q % 10].map(|d| b'0' + u8::try_from(d).unwrap_or(0));
    let end = digits.iter().rposition(|d| *d != b'0').map_or(0, |at| at + 1);
    out.extend_from_slice(digits.get(..end).unwrap_or_default());
}

impl Live {
    /// Appends a reply made here.
    pub(crate) fn write_reply(
        &self,
        out: &mut Vec<u8>,
        ctx: &Context,
        status: u16,
        reason: &[u8],
        kind: TagKind,
    ) {
        let tag = self.runtime.keys.tag(&ctx.msg, kind);
        let seen = seen(ctx);
        let mut redirect = Vec::new();
        let mut headers = &ctx.reply_headers[..];
        if (300..400).contains(&status) && (ctx.new_uri.is_some() || !ctx.branches.is_empty()) {
            redirect.extend_from_slice(headers);
            redirect_contacts(ctx, &mut redirect);
            headers = &redirect;
        }
        let body = ctx
            .new_body
            .as_ref()
            .filter(|_| status > 100)
            .map(|new| shared::sip::build::Body {
                content_type: new.content_type.as_deref().unwrap_or_default(),
                bytes: &new.body,
            });
        let reply = Reply {
            status,
            reason,
            to_tag: (status > 100).then_some(&tag[..]),
            headers,
            server: self.script.program.server_header(),
            body,
            via: fix(ctx, &seen),
        };
        write_reply(out, &ctx.msg, &reply);
    }

    /// Answers without a transaction.
    pub(crate) fn send_stateless_reply(&mut self, ctx: &mut Context, status: u16, reason: &[u8]) -> Code {
        if ctx.msg.method() == Method::Ack || ctx.msg.top_via().is_none() {
            return Code::FALSE;
        }
        let target = reply_target(ctx);
        ctx.answered = status;
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        self.write_reply(&mut out, ctx, status, reason, TagKind::Stateless);
        let sent = self.outbox.send_with(&self.runtime.sockets, &target, |buffer| {
            buffer.extend_from_slice(&out)
        });
        self.scratch = out;
        self.runtime.counters.sl_reply(status);
        if sent { Code::TRUE } else { Code::FALSE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_is_written_short() {
        for (q, expected) in [
            (1000, "1"),
            (0, "0"),
            (500, "0.5"),
            (550, "0.55"),
            (123, "0.123"),
            (5, "0.005"),
        ] {
            let mut out = Vec::new();
            write_q(q, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }
}
