//! A network in memory, for tests with stopped time: what is sent lies in a list until somebody takes it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use shared::net::Transport;

/// One message under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// How it goes.
    pub transport: Transport,
    /// Who sent it.
    pub from: SocketAddr,
    /// Whom it is for.
    pub to: SocketAddr,
    /// The message.
    pub bytes: Vec<u8>,
}

/// The network: clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    under_way: VecDeque<Packet>,
    /// Addresses that lose what is sent to them.
    dead: Vec<SocketAddr>,
}

impl Memory {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends; a dead address takes it and says nothing.
    pub fn send(&self, packet: Packet) {
        let mut wire = self.0.lock();
        if !wire.dead.contains(&packet.to) {
            wire.under_way.push_back(packet);
        }
    }

    /// The oldest message for an address.
    pub fn receive(&self, to: SocketAddr) -> Option<Packet> {
        let mut wire = self.0.lock();
        let at = wire.under_way.iter().position(|p| p.to == to)?;
        wire.under_way.remove(at)
    }

    /// Everything under way, oldest first.
    pub fn drain(&self) -> Vec<Packet> {
        self.0.lock().under_way.drain(..).collect()
    }

    /// How many messages are under way.
    pub fn len(&self) -> usize {
        self.0.lock().under_way.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets an address lose what is sent to it from now on.
    pub fn kill(&self, addr: SocketAddr) {
        self.0.lock().dead.push(addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_own_in_order() {
        let net = Memory::new();
        let addr = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        let packet = |to: u16, byte: u8| Packet {
            transport: Transport::Udp,
            from: addr(1),
            to: addr(to),
            bytes: vec![byte],
        };
        net.kill(addr(4));
        for p in [packet(2, 1), packet(3, 2), packet(2, 3), packet(4, 4)] {
            net.send(p);
        }
        assert_eq!(net.len(), 3);
        assert_eq!(net.receive(addr(3)), Some(packet(3, 2)));
        assert_eq!(net.receive(addr(3)), None);
        assert_eq!(net.drain(), [packet(2, 1), packet(2, 3)]);
        assert!(net.is_empty());
    }
}
