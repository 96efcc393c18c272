//! Requests of our own: pings, NOTIFY, `uac_req_send` (RFC 3261 §8.1).

use super::Runtime;
use super::endpoints::Endpoints;
use super::host::Live;
use super::matching;
use super::outbox::Outbox;
use super::transaction::Client;
use super::transaction::ClientBranch;
use super::transaction::Guard;
use super::transaction::Kind;
use super::transaction::Server;
use super::transaction::Slot;
use super::transaction::Transaction;
use crate::ids;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Listener;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::module::Code;
use crate::script::program::MessageEvent;
use crate::transaction::action::ClientEvent;
use crate::transaction::key;
use crate::transaction::key::Lookup;
use crate::transaction::key::Parts;
use crate::transaction::table::Inserted;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::NameAddr;
use shared::sip::Uri;
use std::sync::Arc;

/// The hops that a request of ours may take (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &[u8] = b"Max-Forwards: 70";

impl Live {
    /// Sends a request in a transaction without a server side.
    pub(crate) fn send_local(&mut self, request: LocalRequest) -> Code {
        let next = request.dst_uri.as_deref().unwrap_or(&request.uri);
        let runtime = Arc::clone(&self.runtime);
        let endpoints = Arc::clone(&self.endpoints);
        let Some((target, listener)) = next_hop(&runtime, &endpoints, next, request.socket) else {
            return self.refuse_local(request, 478);
        };
        let script = Arc::clone(&self.script);
        let timers = matching::timers(script.states.get::<Tm>(), &request.timers);
        let call_id = request.call_id.clone().unwrap_or_else(|| ids::token().to_vec());
        let from_tag = request
            .from_tag
            .clone()
            .unwrap_or_else(|| ids::token()[..16].to_vec());
        let label = rand::Rng::next_u32(&mut self.random);
        let own = ids::token();
        let parts = Parts {
            method: &request.method,
            call_id: &call_id,
            cseq: request.cseq,
            branch: &own,
            via: &own,
            from_tag: &from_tag,
            ..Parts::default()
        };
        let table = &runtime.transactions;
        let kind = Kind::from(Method::from_bytes(&request.method));
        let inserted = table.insert(&Lookup::request(&parts, table.hashers()), label, |id| {
            let new = Transaction::new(id, kind, Server::Local, timers, target, &script);
            Slot::Active(Box::new(new))
        });
        let Inserted::New(id, slot) = inserted else {
            return self.refuse_local(request, 503);
        };
        let Ok(mut guard) = Guard::try_from(slot) else {
            return Code::FALSE;
        };
        let branch = key::Branch {
            id,
            routed: 0,
            number: 0,
        };
        let mut lines = Lines::new(&[&request.method, b" ", &request.uri, b" SIP/2.0"]);
        lines.via(listener, &branch_text(&branch));
        lines.add(&[b"To: ", &request.to, &tag(request.to_tag.as_deref())]);
        lines.add(&[b"From: ", &request.from, &tag(Some(&from_tag))]);
        let number = request.cseq.to_string();
        lines.add(&[b"CSeq: ", number.as_bytes(), b" ", &request.method]);
        lines.add(&[b"Call-ID: ", &call_id]);
        lines.add(&[MAX_FORWARDS]);
        let length = request.body.len().to_string();
        lines.add(&[b"Content-Length: ", length.as_bytes()]);
        if let Some(agent) = script.program.user_agent_header() {
            lines.add(&[b"User-Agent: ", agent]);
        }
        let sent = lines.end(&request.headers, &request.body);
        // what the event route sets is about this transaction, not about the one that a route sends it from
        let (about, current) = (std::mem::take(&mut self.intent), self.current.take());
        let sent = self.local_request(sent, next);
        guard.intent.disable = std::mem::replace(&mut self.intent, about).disable;
        self.current = current;
        let Some(sent) = sent else {
            drop(guard);
            self.runtime.transactions.remove(id);
            return Code::FALSE;
        };
        guard.done = request.done;
        if request.no_ack {
            guard.intent.disable |= disable::AUTO_ACK;
        }
        let client = Client::new(kind == Kind::Invite);
        let mut branch = ClientBranch::new(client, target, sent, 0);
        branch.armed = guard.intent.armed;
        guard.branches.push(branch);
        let now = self.now;
        let Some(branch) = guard.branches.first_mut() else {
            return Code::FALSE;
        };
        let reliable = branch.target.is_reliable();
        branch.client.on(ClientEvent::Start, now, &timers, reliable);
        self.outbox.send_with(&endpoints.sockets, &target, |out| {
            out.extend_from_slice(&branch.sent)
        });
        self.runtime.counters.tm_local();
        self.settle(guard);
        Code::TRUE
    }

    /// Sends the ACK to a 2xx for an INVITE of our own: a request of its own, along the route set of the reply
    /// (RFC 3261 §12.1.2, §13.2.2.4).
    pub(super) fn acknowledge(&mut self, invite: &[u8], reply: &Message) {
        let Ok(invite) = Message::parse(invite) else {
            return;
        };
        let mut contacts = reply.contacts().filter_map(Result::ok);
        let uri = contacts
            .next()
            .map_or(invite.request_uri(), |contact| contact.uri());
        let routes: Vec<&[u8]> = reply.record_routes().map(|value| value.bytes).collect();
        let first = routes.last().and_then(|route| NameAddr::parse(route).ok());
        let next = first.map_or(uri, |route| route.uri);
        let endpoints = Arc::clone(&self.endpoints);
        let Some((target, listener)) = next_hop(&self.runtime, &endpoints, next, None) else {
            return;
        };
        let value = |msg: &Message, name| msg.first(name).unwrap_or_default().to_vec();
        let mut lines = Lines::new(&[b"ACK ", uri, b" SIP/2.0"]);
        lines.via(listener, &[key::MAGIC_COOKIE, &ids::token()].concat());
        for route in routes.iter().rev() {
            lines.add(&[b"Route: ", route]);
        }
        lines.add(&[b"From: ", &value(&invite, HeaderName::From)]);
        lines.add(&[b"To: ", &value(reply, HeaderName::To)]);
        lines.add(&[b"Call-ID: ", invite.call_id()]);
        let number = invite.cseq().map_or(0, |cseq| cseq.number).to_string();
        lines.add(&[b"CSeq: ", number.as_bytes(), b" ACK"]);
        lines.add(&[MAX_FORWARDS]);
        lines.add(&[b"Content-Length: 0"]);
        let ack = lines.end(b"", b"");
        let sent = self
            .outbox
            .send_with(&endpoints.sockets, &target, |out| out.extend_from_slice(&ack));
        if sent {
            self.tell(MessageEvent::AckSent, reply.as_bytes());
        }
    }

    /// Tells the caller that nothing could be sent.
    fn refuse_local(&mut self, request: LocalRequest, status: u16) -> Code {
        if let Some(done) = request.done {
            let script = Arc::clone(&self.script);
            done(&mut LocalReply {
                status,
                message: None,
                request: b"",
                host: self,
                script: &script,
            });
        }
        Code::FALSE
    }
}

/// Where a request of ours goes, and the socket that leads there.
fn next_hop<'a>(
    runtime: &Runtime,
    endpoints: &'a Endpoints,
    next: &[u8],
    socket: Option<SocketId>,
) -> Option<(Target, &'a Listener)> {
    let target = runtime.resolve(&Uri::parse(next).ok()?, socket)?;
    let socket = Outbox::socket_for(&runtime.streams, &endpoints.sockets, &target)?;
    Some((
        Target {
            socket: Some(socket),
            ..target
        },
        endpoints.sockets.get(socket)?,
    ))
}

/// The lines of a request while it is written.
struct Lines(Vec<u8>);

impl Lines {
    fn new(start: &[&[u8]]) -> Self {
        let mut lines = Self(Vec::with_capacity(512));
        lines.add(start);
        lines
    }

    fn add(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        self.0.extend_from_slice(b"\r\n");
    }

    fn via(&mut self, from: &Listener, branch: &[u8]) {
        let transport = from.transport.via().as_bytes();
        let (host, port) = (from.host_text.as_bytes(), from.port_text.as_bytes());
        self.add(&[
            b"Via: SIP/2.0/",
            transport,
            b" ",
            host,
            b":",
            port,
            b";branch=",
            branch,
        ]);
    }

    /// The whole request, with further header lines and its body.
    fn end(mut self, headers: &[u8], body: &[u8]) -> Vec<u8> {
        for part in [headers, b"\r\n", body] {
            self.0.extend_from_slice(part);
        }
        self.0
    }
}

fn tag(tag: Option<&[u8]>) -> Vec<u8> {
    tag.map(|tag| [b";tag=", tag].concat()).unwrap_or_default()
}

fn branch_text(branch: &key::Branch) -> Vec<u8> {
    let mut text = Vec::with_capacity(key::MAX_BRANCH);
    branch.write(&mut text);
    text
}
