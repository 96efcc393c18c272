//! Replies made here: who they go to, what they say (RFC 3261 §8.2.6, §18.2.2; RFC 3581).

use super::host::Live;
use crate::ids::Keys;
use crate::ids::TagKind;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::proxy::context::Target;
use crate::proxy::response::datagram_destination;
use crate::proxy::sender::AddressText;
use crate::proxy::sender::via_fix;
use crate::script::host::HeldReply;
use crate::script::module::Code;
use crate::script::module::Script;
use crate::script::program::MessageEvent;
use shared::net::Transport;
use shared::sip::Method;
use shared::sip::build::Reply;
use shared::sip::build::ViaFix;
use shared::sip::build::write_reply;
use std::sync::Arc;

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
            datagram_destination(&via, source.peer, ctx.switches)
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

/// What a reply made here says; a value of its own, so that it can be written straight into the outbox.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) script: &'a Script,
    pub(crate) status: u16,
    pub(crate) reason: &'a [u8],
    pub(crate) kind: TagKind,
}

/// A Warning that tells what was received from where (RFC 3261 §20.43; core parameter `sip_warning`).
fn warning(ctx: &Context, out: &mut Vec<u8>) {
    let Source { local, peer, .. } = &ctx.source;
    let start = format!(
        "Warning: 392 {local} \"Noisy feedback tells:  pid={} req_src_ip={} req_src_port={} in_uri=",
        std::process::id(),
        peer.ip(),
        peer.port()
    );
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(ctx.msg.request_uri());
    out.extend_from_slice(b" out_uri=");
    out.extend_from_slice(ctx.uri());
    out.extend_from_slice(format!(" via_cnt=={}\"\r\n", ctx.msg.vias().count()).as_bytes());
}

impl Answer<'_> {
    /// Appends it as the reply to a request.
    pub(crate) fn write(&self, ctx: &Context, out: &mut Vec<u8>) {
        let Self { status, reason, .. } = *self;
        let tag = (status > 100 && ctx.msg.to_tag().is_empty()).then(|| self.keys.tag(&ctx.msg, self.kind));
        let seen = seen(ctx);
        let mut longer = Vec::new();
        let mut headers = &ctx.reply_headers[..];
        let redirects = (300..400).contains(&status) && (ctx.new_uri.is_some() || !ctx.branches.is_empty());
        if redirects || ctx.switches.sip_warning {
            longer.extend_from_slice(headers);
            if redirects {
                redirect_contacts(ctx, &mut longer);
            }
            if ctx.switches.sip_warning {
                warning(ctx, &mut longer);
            }
            headers = &longer;
        }
        let body = ctx
            .reply_body
            .as_ref()
            .filter(|_| status > 100)
            .map(|new| shared::sip::build::Body {
                content_type: new.content_type.as_deref().unwrap_or_default(),
                bytes: &new.body,
            });
        let reply = Reply {
            status,
            reason,
            to_tag: tag.as_ref().map(|tag| &tag[..]),
            headers,
            server: self.script.program.server_header(),
            body,
            via: fix(ctx, &seen),
        };
        write_reply(out, &ctx.msg, &reply);
    }
}

impl Live {
    /// Answers without a transaction.
    pub(crate) fn send_stateless_reply(&mut self, ctx: &mut Context, status: u16, reason: &[u8]) -> Code {
        if ctx.msg.method() == Method::Ack || ctx.msg.top_via().is_none() {
            return Code::FALSE;
        }
        let target = reply_target(ctx);
        if ctx.switches.reply_no_connect && !self.outbox.is_connected(&target) {
            return Code::FALSE;
        }
        ctx.answered = status;
        // RFC 3261 §13.2.2.4: the ACK to a 2xx is a request of its own, and the script's
        let kind = if status < 300 {
            TagKind::Stateful
        } else {
            TagKind::Stateless
        };
        let Self {
            runtime,
            script,
            endpoints,
            ..
        } = self;
        let answer = Answer {
            keys: &runtime.keys,
            script,
            status,
            reason,
            kind,
        };
        self.outbox.stateless = true;
        let sent = self
            .outbox
            .send_with(&endpoints.sockets, &target, |out| answer.write(ctx, out));
        self.outbox.stateless = false;
        let told = script.program.message_event(MessageEvent::Stateless).map(|_| {
            let mut bytes = Vec::new();
            answer.write(ctx, &mut bytes);
            bytes
        });
        if sent {
            runtime.counters.sl_reply(status);
        } else {
            runtime.counters.sl_failed();
        }
        if let Some(bytes) = told {
            self.tell(MessageEvent::Stateless, &bytes);
        }
        Code::from(sent)
    }

    /// Makes an answer without a transaction, for another thread to send; none for one that goes another way.
    pub(crate) fn hold_stateless_reply(
        &mut self,
        ctx: &Context,
        status: u16,
        reason: &[u8],
    ) -> Option<HeldReply> {
        if self.current.is_some() || ctx.source.transport != Transport::Udp || ctx.msg.top_via().is_none() {
            return None;
        }
        let target = reply_target(ctx);
        let runtime = Arc::clone(&self.runtime);
        let socket = Arc::clone(self.endpoints.udp.get(usize::from(target.socket?))?.as_ref()?);
        let answer = Answer {
            keys: &runtime.keys,
            script: &self.script,
            status,
            reason,
            kind: TagKind::Stateless,
        };
        let mut bytes = Vec::with_capacity(512);
        answer.write(ctx, &mut bytes);
        self.outbox.stateless = true;
        self.outbox.copy(&self.endpoints.sockets, &target, &bytes);
        self.outbox.stateless = false;
        Some(Box::new(move || match socket.send_to(&bytes, target.peer) {
            Ok(_) => runtime.counters.sl_reply(status),
            Err(error) => {
                runtime.counters.sl_failed();
                crate::log::debug("udp", format_args!("sending to {}: {error}", target.peer));
            }
        }))
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
