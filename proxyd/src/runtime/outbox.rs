//! What a worker sends: datagrams in batches by listening socket, stream messages to the connection tasks.

use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Sockets;
use crate::transport::conn::Connect;
use crate::transport::conn::Connections;
use crate::transport::conn::StreamTarget;
use crate::transport::send_batch::Order;
use crate::transport::send_batch::SendBatch;
use crate::transport::udp::UdpSocket;
use shared::net::Transport;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The sending side of one worker.
pub(crate) struct Outbox {
    /// One batch for each listening socket; none for those of stream transports.
    batches: Vec<Option<SendBatch>>,
    streams: Connections,
    /// What the datagrams queued next stay in sequence with.
    pub(crate) order: Order,
}

impl Outbox {
    /// An outbox over these UDP sockets, by [`SocketId`], and the streams.
    pub(crate) fn new(sockets: &[Option<Arc<UdpSocket>>], streams: Connections) -> Self {
        let batch = |socket: &Arc<UdpSocket>| SendBatch::new(Arc::clone(socket), refused);
        Self {
            batches: sockets.iter().map(|socket| socket.as_ref().map(batch)).collect(),
            streams,
            order: Order::default(),
        }
    }

    /// The socket that a message to this target leaves from.
    pub(crate) fn socket_for(sockets: &Sockets, target: &Target) -> Option<SocketId> {
        let v6 = target.peer.is_ipv6();
        let fits = |id: &SocketId| {
            sockets
                .get(*id)
                .is_some_and(|l| l.transport == target.transport && l.address.is_ipv6() == v6)
        };
        target
            .socket
            .filter(fits)
            .or_else(|| sockets.first(target.transport, v6))
    }

    /// Sends what `write` appends; false when there is no way to the target.
    pub(crate) fn send_with(
        &mut self,
        sockets: &Sockets,
        target: &Target,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let socket = Self::socket_for(sockets, target);
        if target.transport != Transport::Udp {
            let mut bytes = Vec::with_capacity(1024);
            write(&mut bytes);
            return self.send_stream(sockets, target, socket, bytes);
        }
        let Some(batch) = socket.and_then(|id| self.batches.get_mut(usize::from(id))?.as_mut()) else {
            return false;
        };
        batch.push_with(target.peer, self.order, write);
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

fn refused(peer: SocketAddr, error: io::Error) {
    crate::log::debug("udp", format_args!("sending to {peer}: {error}"));
}
