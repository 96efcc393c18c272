//! Worker threads: datagrams in and out in batches, stream messages from a queue.

use super::Runtime;
use super::receive::Receiver;
use crate::proxy::context::SocketId;
use crate::proxy::context::Source;
use crate::proxy::sockets::ListenerState;
use crate::script::host::Millis;
use crate::transport::Queue;
use crate::transport::conn::Inbound;
use crate::transport::udp::Batch;
use crate::transport::udp::UdpSocket;
use crate::transport::waiting::Taker;
use crate::transport::waiting::Waiting;
use shared::net::Transport;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a worker waits before it looks whether the daemon stops.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// Datagrams handled by one look at the clock, the queue and what a reload has changed.
const TURN: usize = 64;

/// How often a socket that the script has no more is looked at, and for how long it serves at most: as long as an
/// INVITE may ring. In milliseconds.
const ENDING: (Millis, Millis) = (1000, 180_000);

/// Handles what arrives at one UDP socket until the daemon stops or a reload closes it.
pub(crate) fn serve_udp(
    runtime: Arc<Runtime>,
    worker: usize,
    id: SocketId,
    socket: &UdpSocket,
    waiting: Waiting,
) {
    let local = socket.local();
    // Shared with the messages of the batch while they are handled, and with nobody while it is filled.
    let mut batch = Rc::new(Batch::default());
    let mut taker = Taker::new(waiting);
    let mut receiver = Receiver::new(Arc::clone(&runtime), worker);
    let mut ending = None;
    while !runtime.is_stopping() && !is_over(&receiver, id, &mut ending) {
        let Some(arriving) = Rc::get_mut(&mut batch) else {
            batch = Rc::default();
            continue;
        };
        match taker.take(arriving, socket) {
            Ok(0) => {
                receiver.begin_batch();
                continue;
            }
            Ok(_) => {}
            Err(error) => {
                crate::log::error("udp", format_args!("receiving at {local}: {error}"));
                std::thread::park_timeout(PATIENCE);
                continue;
            }
        }
        for (index, datagram) in batch.iter().enumerate() {
            if index % TURN == 0 {
                receiver.live.outbox.flush();
                receiver.begin_batch();
                // A short batch with room left has emptied the queue.
                let emptied = !batch.is_full() && batch.len() <= TURN;
                let used = if emptied { 0 } else { socket.queue_used() };
                receiver.live.pressure.note(used, receiver.live.now);
            }
            receiver.live.arrived = Some((Rc::clone(&batch), index + 1));
            let peer = datagram.source;
            let source = Source {
                peer,
                local,
                transport: Transport::Udp,
                socket: id,
                conn: None,
            };
            guarded(&mut receiver, datagram.bytes, source);
        }
        receiver.live.arrived = None;
        receiver.live.outbox.flush();
    }
}

/// Whether a socket has served its time: closed by another worker, or of no transaction any more.
fn is_over(receiver: &Receiver, id: SocketId, ending: &mut Option<(Millis, Millis)>) -> bool {
    let state = receiver
        .live
        .endpoints
        .sockets
        .get(id)
        .map(|listener| listener.state);
    match state {
        Some(ListenerState::Open) => {
            *ending = None;
            false
        }
        Some(ListenerState::Ending) => {
            let (runtime, now) = (&receiver.live.runtime, receiver.live.now);
            let (looked, last) = ending.get_or_insert((now, now + ENDING.1));
            if now < *looked + ENDING.0 {
                return false;
            }
            *looked = now;
            (now >= *last || !runtime.is_used(id)) && runtime.close_udp(id)
        }
        Some(ListenerState::Closed) | None => true,
    }
}

/// Handles what the connections deliver until the daemon stops.
pub(crate) fn serve_streams(runtime: Arc<Runtime>, worker: usize, queue: &Queue<Inbound>) {
    let mut receiver = Receiver::new(Arc::clone(&runtime), worker);
    let mut batch = Vec::new();
    while !runtime.is_stopping() {
        let taken = queue.take(&mut batch, 32, PATIENCE);
        receiver.begin_batch();
        if taken == 0 {
            continue;
        }
        for inbound in batch.drain(..) {
            let Inbound {
                bytes,
                source: peer,
                local,
                transport,
                conn,
                socket,
                broken,
            } = inbound;
            if broken.is_none() {
                guarded(
                    &mut receiver,
                    &bytes,
                    Source {
                        peer,
                        local,
                        transport,
                        socket,
                        conn,
                    },
                );
            }
        }
        receiver.live.outbox.flush();
    }
}

/// Handles one message; a defect that panics costs this message, not the daemon.
fn guarded(receiver: &mut Receiver, bytes: &[u8], source: Source) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| receiver.message(bytes, source)));
    if outcome.is_err() {
        crate::log::bug(
            "core",
            format_args!(
                "a message from {} could not be handled; it is dropped",
                source.peer
            ),
        );
        receiver.live.current = None;
        receiver.live.intent = crate::script::host::Intent::default();
        receiver.live.outbox.copies = None;
        receiver.vars.trace = None;
        receiver.ctx = receiver.live.runtime.spares.take();
    }
}
