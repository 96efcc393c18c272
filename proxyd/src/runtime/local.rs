//! Requests of our own: pings, NOTIFY, `uac_req_send` (RFC 3261 §8.1).

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
use crate::proxy::context::Target;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::module::Code;
use crate::script::program::MessageEvent;
use crate::transaction::action::ClientEvent;
use crate::transaction::key;
use crate::transaction::key::Lookup;
use crate::transaction::key::Parts;
use crate::transaction::table::Inserted;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::NameAddr;
use shared::sip::Uri;
use std::sync::Arc;

impl Live {
    /// Sends a request in a transaction without a server side.
    pub(crate) fn send_local(&mut self, request: LocalRequest) -> Code {
        let next = request.dst_uri.as_deref().unwrap_or(&request.uri);
        let target = shared::sip::Uri::parse(next)
            .ok()
            .and_then(|uri| self.runtime.resolve(&uri, request.socket));
        let runtime = Arc::clone(&self.runtime);
        let endpoints = Arc::clone(&self.endpoints);
        let socket = target
            .as_ref()
            .and_then(|target| Outbox::socket_for(&self.runtime.streams, &endpoints.sockets, target));
        let listener = socket.and_then(|id| endpoints.sockets.get(id));
        let (Some(target), Some(listener)) = (target, listener) else {
            return self.refuse_local(request, 478);
        };
        let target = Target { socket, ..target };
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
        let mut sent = Vec::with_capacity(512 + request.body.len());
        let line = |out: &mut Vec<u8>, parts: &[&[u8]]| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"\r\n");
        };
        line(&mut sent, &[&request.method, b" ", &request.uri, b" SIP/2.0"]);
        let transport = transport_token(listener.transport);
        sent.extend_from_slice(b"Via: SIP/2.0/");
        let (host, port) = (listener.host_text.as_bytes(), listener.port_text.as_bytes());
        line(
            &mut sent,
            &[
                transport,
                b" ",
                host,
                b":",
                port,
                b";branch=",
                &branch_text(&branch),
            ],
        );
        line(
            &mut sent,
            &[b"To: ", &request.to, &tag(request.to_tag.as_deref())],
        );
        line(&mut sent, &[b"From: ", &request.from, &tag(Some(&from_tag))]);
        line(
            &mut sent,
            &[
                b"CSeq: ",
                request.cseq.to_string().as_bytes(),
                b" ",
                &request.method,
            ],
        );
        line(&mut sent, &[b"Call-ID: ", &call_id]);
        line(&mut sent, &[b"Max-Forwards: 70"]);
        line(
            &mut sent,
            &[b"Content-Length: ", request.body.len().to_string().as_bytes()],
        );
        if let Some(agent) = script.program.user_agent_header() {
            line(&mut sent, &[b"User-Agent: ", agent]);
        }
        sent.extend_from_slice(&request.headers);
        sent.extend_from_slice(b"\r\n");
        sent.extend_from_slice(&request.body);
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
        let target = Uri::parse(next)
            .ok()
            .and_then(|next| self.runtime.resolve(&next, None));
        let endpoints = Arc::clone(&self.endpoints);
        let socket = target
            .as_ref()
            .and_then(|target| Outbox::socket_for(&self.runtime.streams, &endpoints.sockets, target));
        let listener = socket.and_then(|id| endpoints.sockets.get(id));
        let (Some(target), Some(listener)) = (target, listener) else {
            return;
        };
        let mut ack = Vec::with_capacity(512);
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| ack.extend_from_slice(part));
            ack.extend_from_slice(b"\r\n");
        };
        let (host, port) = (listener.host_text.as_bytes(), listener.port_text.as_bytes());
        let transport = transport_token(listener.transport);
        let value = |msg: &Message, name| msg.first(name).unwrap_or_default().to_vec();
        line(&[b"ACK ", uri, b" SIP/2.0"]);
        line(&[
            b"Via: SIP/2.0/",
            transport,
            b" ",
            host,
            b":",
            port,
            b";branch=z9hG4bK",
            &ids::token(),
        ]);
        routes.iter().rev().for_each(|route| line(&[b"Route: ", route]));
        line(&[b"From: ", &value(&invite, HeaderName::From)]);
        line(&[b"To: ", &value(reply, HeaderName::To)]);
        line(&[b"Call-ID: ", invite.call_id()]);
        let number = invite.cseq().map_or(0, |cseq| cseq.number).to_string();
        line(&[b"CSeq: ", number.as_bytes(), b" ACK"]);
        line(&[b"Max-Forwards: 70"]);
        line(&[b"Content-Length: 0"]);
        line(&[]);
        let target = Target { socket, ..target };
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

fn tag(tag: Option<&[u8]>) -> Vec<u8> {
    tag.map(|tag| [b";tag=", tag].concat()).unwrap_or_default()
}

fn branch_text(branch: &key::Branch) -> Vec<u8> {
    let mut text = Vec::with_capacity(key::MAX_BRANCH);
    branch.write(&mut text);
    text
}

/// The transport as Via spells it.
pub(crate) fn transport_token(transport: Transport) -> &'static [u8] {
    match transport {
        Transport::Udp => b"UDP",
        Transport::Tcp => b"TCP",
        Transport::Tls => b"TLS",
        Transport::Sctp => b"SCTP",
        Transport::Ws => b"WS",
        Transport::Wss => b"WSS",
    }
}
