//! Replies made here: who they go to, what they say (RFC 3261 §8.2.6, §18.2.2; RFC 3581).

use super::host::Live;
use super::ids::TagKind;
use crate::proxy::context::Context;
use crate::proxy::context::Target;
use crate::script::module::Code;
use shared::net::Transport;
use shared::sip::Method;
use shared::sip::Via;
use shared::sip::build::Reply;
use shared::sip::build::ViaFix;
use shared::sip::build::write_reply;
use std::fmt::Write;
use std::net::IpAddr;
use std::net::SocketAddr;

/// An address as text without allocating.
#[derive(Default)]
pub(crate) struct IpText {
    bytes: [u8; 46],
    len: usize,
}

impl IpText {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let mut text = Self::default();
        let _ = write!(text, "{ip}"); // 46 bytes hold any address
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for IpText {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.len + s.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Whether the sent-by host of a Via is this address.
fn is_host(host: &[u8], ip: IpAddr, text: &IpText) -> bool {
    match ip {
        IpAddr::V4(_) => host == text.as_bytes(),
        IpAddr::V6(ip) => {
            let bare = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host);
            std::str::from_utf8(bare).ok().and_then(|h| h.parse().ok()) == Some(ip)
        }
    }
}

/// What we write into the sender's Via: where it really sent from.
pub(crate) struct Seen {
    text: IpText,
    received: bool,
    rport: Option<u16>,
}

impl Seen {
    pub(crate) fn of(ctx: &Context) -> Self {
        let peer = ctx.source.peer;
        let text = IpText::new(peer.ip());
        let Some(via) = ctx.msg.top_via() else { return Self { text, received: false, rport: None } };
        let received = !is_host(via.host, peer.ip(), &text);
        let rport = (ctx.switches.force_rport || via.rport().is_some()).then(|| peer.port());
        Self { text, received, rport }
    }

    pub(crate) fn fix(&self) -> ViaFix<'_> {
        ViaFix { received: self.received.then(|| self.text.as_bytes()), rport: self.rport }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        !self.received && self.rport.is_none()
    }
}

/// Where replies to this request go.
pub(crate) fn reply_target(ctx: &Context) -> Target {
    let source = &ctx.source;
    let mut peer = source.peer;
    if source.transport == Transport::Udp
        && let Some(via) = ctx.msg.top_via()
    {
        peer = udp_peer(ctx, &via);
    }
    Target { peer, transport: source.transport, socket: Some(source.socket), conn: source.conn }
}

fn udp_peer(ctx: &Context, via: &Via<'_>) -> SocketAddr {
    let source = ctx.source.peer;
    if let Some(maddr) = via.maddr().and_then(|m| std::str::from_utf8(m).ok()).and_then(|m| m.parse::<IpAddr>().ok()) {
        return SocketAddr::new(maddr, via.port.unwrap_or(5060));
    }
    if ctx.switches.force_rport || via.rport().is_some() {
        return source;
    }
    SocketAddr::new(source.ip(), via.port.unwrap_or(5060))
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
    pub(crate) fn write_reply(&self, out: &mut Vec<u8>, ctx: &Context, status: u16, reason: &[u8], kind: TagKind) {
        let tag = self.runtime.keys.tag(&ctx.msg, kind);
        let seen = Seen::of(ctx);
        let mut redirect = Vec::new();
        let mut headers = &ctx.reply_headers[..];
        if (300..400).contains(&status) && (ctx.new_uri.is_some() || !ctx.branches.is_empty()) {
            redirect.extend_from_slice(headers);
            redirect_contacts(ctx, &mut redirect);
            headers = &redirect;
        }
        let body = ctx.new_body.as_ref().filter(|_| status > 100).map(|new| shared::sip::build::Body {
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
            via: seen.fix(),
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
        let sent = self.outbox.send_with(&self.runtime.sockets, &target, |buffer| buffer.extend_from_slice(&out));
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
        for (q, expected) in [(1000, "1"), (0, "0"), (500, "0.5"), (550, "0.55"), (123, "0.123"), (5, "0.005")] {
            let mut out = Vec::new();
            write_q(q, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }
}
