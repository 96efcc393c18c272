//! What a worker sends: datagrams in batches by listening socket, stream messages to the connection tasks.

use super::sandbox::Sent;
use super::sandbox::Why;
use super::trace::Tracers;
use crate::proxy::context::Context;
use crate::proxy::context::Failure;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Sockets;
use crate::script::tap::Way;
use crate::transport::conn::Connect;
use crate::transport::conn::Connections;
use crate::transport::conn::StreamTarget;
use crate::transport::send_batch::Order;
use crate::transport::send_batch::SendBatch;
use crate::transport::udp::UdpSocket;
use shared::net::Transport;
use shared::rpc::trace::Direction;
use std::net::SocketAddr;
use std::sync::Arc;

/// The sending side of one worker.
pub(crate) struct Outbox {
    /// One batch for each listening socket; none for those of stream transports.
    batches: Vec<Option<SendBatch>>,
    streams: Connections,
    /// What the datagrams queued next stay in sequence with.
    pub(crate) order: Order,
    /// Copies of what is sent, while somebody wants to know.
    pub(crate) copies: Option<Vec<Sent>>,
    /// What is sent next is a reply without a transaction.
    pub(crate) stateless: bool,
    /// Who follows messages.
    tracers: Arc<Tracers>,
}

impl Outbox {
    /// An outbox over these UDP sockets, by [`SocketId`], and the streams.
    pub(crate) fn new(
        sockets: &[Option<Arc<UdpSocket>>],
        streams: Connections,
        tracers: Arc<Tracers>,
    ) -> Self {
        Self {
            batches: sockets.iter().map(|socket| socket.as_ref().map(batch)).collect(),
            streams,
            order: Order::default(),
            copies: None,
            stateless: false,
            tracers,
        }
    }

    /// Goes on with other sockets; what waits is sent first.
    pub(crate) fn change_sockets(&mut self, sockets: &[Option<Arc<UdpSocket>>]) {
        self.flush();
        self.batches.resize_with(sockets.len(), || None);
        for (batch, socket) in self.batches.iter_mut().zip(sockets) {
            let same = match (&batch, socket) {
                (Some(batch), Some(socket)) => batch.leaves_from(socket),
                (None, None) => true,
                _ => false,
            };
            if !same {
                *batch = socket.as_ref().map(self::batch);
            }
        }
    }

    /// The socket that a message to this target leaves from: towards WebSocket, the one that the peer came by.
    pub(crate) fn socket_for(streams: &Connections, sockets: &Sockets, target: &Target) -> Option<SocketId> {
        let v6 = target.peer.is_ipv6();
        let fits = |id: &SocketId| {
            sockets.get(*id).is_some_and(|l| {
                l.transport == target.transport && l.address.is_ipv6() == v6 && !l.is_closed()
            })
        };
        let came_by = || {
            let web = matches!(target.transport, Transport::Ws | Transport::Wss);
            web.then(|| streams.socket(target.transport, target.peer))?
        };
        target
            .socket
            .or_else(came_by)
            .filter(fits)
            .or_else(|| sockets.first(target.transport, v6))
    }

    /// Why no socket was found for a target: there is none of its transport, or none of its address family.
    pub(crate) fn lacking(sockets: &Sockets, target: &Target) -> Failure {
        if sockets
            .open()
            .any(|(_, listener)| listener.transport == target.transport)
        {
            Failure::Unresolvable
        } else {
            Failure::NoSocket
        }
    }

    /// Sends what `write` appends; false when there is no way to the target.
    pub(crate) fn send_with(
        &mut self,
        sockets: &Sockets,
        target: &Target,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let socket = Self::socket_for(&self.streams, sockets, target);
        if target.transport != Transport::Udp || self.copies.is_some() || self.tracers.is_any() {
            let mut bytes = Vec::with_capacity(1024);
            write(&mut bytes);
            self.copy(sockets, &Target { socket, ..*target }, &bytes);
            if target.transport != Transport::Udp {
                return self.send_stream(sockets, target, socket, bytes);
            }
            return self.send_datagram(socket, target.peer, |out| out.extend_from_slice(&bytes));
        }
        self.send_datagram(socket, target.peer, write)
    }

    /// Whether a message to this target needs no new connection.
    pub(crate) fn is_connected(&self, target: &Target) -> bool {
        target.transport == Transport::Udp
            || target.conn.is_some_and(|id| self.streams.is_open(id))
            || self.streams.find(target.transport, target.peer).is_some()
    }

    /// Why a request may not go there: it needs a connection that its script, or its flow, does not let us make.
    pub(crate) fn refusal(&self, ctx: &Context, target: &Target) -> Option<Failure> {
        let switches = &ctx.switches;
        if !(switches.forward_no_connect || switches.flow) || self.is_connected(target) {
            return None;
        }
        Some(if switches.flow {
            Failure::Flow
        } else {
            Failure::Send
        })
    }

    /// Keeps a copy for whoever wants to know what is sent.
    pub(crate) fn copy(&mut self, sockets: &Sockets, target: &Target, bytes: &[u8]) {
        if self.tracers.is_any()
            && let Some(listener) = target.socket.and_then(|id| sockets.get(id))
        {
            let way = Way {
                direction: Direction::Out,
                transport: target.transport,
                source: listener.address,
                destination: target.peer,
                stateless: self.stateless,
            };
            self.tracers.tell_sent(bytes, way);
        }
        let Some(copies) = &mut self.copies else { return };
        let why = if bytes.starts_with(b"SIP/2.0 ") {
            Why::Reply
        } else {
            Why::Relay
        };
        copies.push(Sent {
            why,
            target: Some(*target),
            bytes: bytes.to_vec(),
        });
    }

    fn send_datagram(
        &mut self,
        socket: Option<SocketId>,
        peer: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(batch) = socket.and_then(|id| self.batches.get_mut(usize::from(id))?.as_mut()) else {
            return false;
        };
        batch.push_with(peer, self.order, write);
        true
    }

    fn send_stream(
        &self,
        sockets: &Sockets,
        target: &Target,
        socket: Option<SocketId>,
        bytes: Vec<u8>,
    ) -> bool {
        let Some((id, listener)) = socket.and_then(|id| Some((id, sockets.get(id)?))) else {
            return false;
        };
        let target = StreamTarget {
            transport: target.transport,
            remote: target.peer,
            conn: target.conn,
            socket: id,
            local: listener.address,
            connect: Connect::Allowed,
        };
        match self.streams.send(&target, bytes) {
            Ok(_) => true,
            Err(error) => {
                crate::log::debug("tcp", format_args!("sending to {}: {error}", target.remote));
                false
            }
        }
    }

    /// Sends everything that waits.
    pub(crate) fn flush(&mut self) {
        for batch in self.batches.iter_mut().flatten().filter(|b| !b.is_empty()) {
            batch.flush();
        }
    }
}

fn batch(socket: &Arc<UdpSocket>) -> SendBatch {
    SendBatch::new(Arc::clone(socket), |peer, error| {
        crate::log::debug("udp", format_args!("sending to {peer}: {error}"));
    })
}
