//! The sockets we listen on: opened at the start, and compared with what the script wants at a reload.

use super::Runtime;
use super::listen::ListenError;
use super::listen::bind_udp;
use crate::proxy::context::SocketId;
use crate::proxy::sockets::Alias;
use crate::proxy::sockets::Listener;
use crate::proxy::sockets::ListenerState;
use crate::proxy::sockets::Sockets;
use crate::transport::conn::Connections;
use crate::transport::options::SocketOptions;
use crate::transport::udp::UdpSocket;
use shared::net::Transport;
use std::net::TcpListener;
use std::sync::Arc;

/// The sockets in force.
#[derive(Clone, Default)]
pub(crate) struct Endpoints {
    /// What we listen on and answer to.
    pub(crate) sockets: Sockets,
    /// The UDP sockets, by [`SocketId`].
    pub(crate) udp: Vec<Option<Arc<UdpSocket>>>,
}

/// From the sockets in force to those that a script wants: everything that is new is open, nothing serves yet.
pub(crate) struct Change {
    pub(crate) next: Endpoints,
    /// New UDP sockets.
    pub(crate) udp: Vec<SocketId>,
    /// New TCP sockets.
    pub(crate) tcp: Vec<(SocketId, TcpListener)>,
    /// Sockets that the script has no more.
    pub(crate) ended: Vec<SocketId>,
    /// How new sockets are opened.
    options: SocketOptions,
}

impl Endpoints {
    /// Opens what is wanted and not open; numbers stay what they are.
    pub(crate) fn change(
        &self,
        wanted: Vec<Listener>,
        aliases: Vec<Alias>,
        options: SocketOptions,
    ) -> Result<Change, ListenError> {
        let mut change = Change {
            next: self.clone(),
            udp: Vec::new(),
            tcp: Vec::new(),
            ended: Vec::new(),
            options,
        };
        change.next.sockets.aliases = aliases;
        let is = |one: &Listener, other: &Listener| {
            one.transport == other.transport && one.address == other.address
        };
        for (id, listener) in (0..).zip(&mut change.next.sockets.listeners) {
            let gone = !wanted.iter().any(|wanted| is(wanted, listener));
            if gone && listener.state == ListenerState::Open {
                listener.state = ListenerState::Ending;
                change.ended.push(id);
            }
        }
        for listener in wanted {
            let known = change.next.sockets.listeners.iter();
            match known.clone().position(|known| is(known, &listener)) {
                Some(at) => change.restore(at, listener)?,
                None => change.add(listener)?,
            }
        }
        Ok(change)
    }
}

impl Change {
    /// A listener whose place is known: its names may be new, and it may have been closed.
    fn restore(&mut self, at: usize, listener: Listener) -> Result<(), ListenError> {
        let was = self
            .next
            .sockets
            .listeners
            .get(at)
            .map_or(ListenerState::Closed, |l| l.state);
        let id = SocketId::try_from(at).unwrap_or(SocketId::MAX);
        match (was, listener.transport) {
            (ListenerState::Open, _) | (ListenerState::Ending, Transport::Udp) => {}
            _ => self.open(id, &listener)?,
        }
        if let Some(place) = self.next.sockets.listeners.get_mut(at) {
            *place = listener;
        }
        Ok(())
    }

    fn add(&mut self, listener: Listener) -> Result<(), ListenError> {
        let id = SocketId::try_from(self.next.sockets.listeners.len())
            .map_err(|_| ListenError::Name(listener.host_text.clone()))?;
        self.next.udp.push(None);
        self.open(id, &listener)?;
        self.next.sockets.listeners.push(listener);
        Ok(())
    }

    fn open(&mut self, id: SocketId, listener: &Listener) -> Result<(), ListenError> {
        match listener.transport {
            Transport::Udp => {
                let socket = bind_udp(listener, &self.options)?;
                if let Some(place) = self.next.udp.get_mut(usize::from(id)) {
                    *place = Some(socket);
                }
                self.udp.push(id);
            }
            // They have the sockets of the streams beneath.
            Transport::Ws | Transport::Wss => {}
            _ => {
                let bound = Connections::bind(listener.address, &self.options);
                self.tcp
                    .push((id, bound.map_err(|error| ListenError::of(listener, error))?));
            }
        }
        Ok(())
    }

    /// The sockets of these numbers, as `listen` lines name them.
    pub(crate) fn names(&self, ids: impl IntoIterator<Item = SocketId>) -> Vec<String> {
        let listener = |id| self.next.sockets.get(id);
        let names = ids
            .into_iter()
            .filter_map(listener)
            .filter(|l| !l.transport.is_web());
        names.map(|l| format!("{}:{}", l.transport, l.address)).collect()
    }
}

impl Runtime {
    /// Whether a transaction came by this socket or waits for an answer at it.
    pub(crate) fn is_used(&self, id: SocketId) -> bool {
        self.transactions
            .all()
            .any(|found| found.transaction.lock().uses(id))
    }

    /// Closes a UDP socket that the script has no more; false when it has it again, or a reload is under way.
    pub(crate) fn close_udp(&self, id: SocketId) -> bool {
        let Some(_one) = self.changing.try_lock() else {
            return false;
        };
        let mut next = Endpoints::clone(&self.endpoints.load());
        let place = usize::from(id);
        let Some(listener) = next.sockets.listeners.get_mut(place) else {
            return true;
        };
        if listener.state == ListenerState::Open {
            return false;
        }
        listener.state = ListenerState::Closed;
        if let Some(socket) = next.udp.get_mut(place) {
            *socket = None;
        }
        self.endpoints.store(Arc::new(next));
        true
    }
}
