//! Datagrams gathered for one system call; equal ones to one peer leave as one message that the kernel cuts (udp(7)).
//!
//! Sending is most of what a short transaction costs. On loopback one of sixteen datagrams of 380 bytes takes the
//! kernel 3.2 microseconds when `sendmmsg` carries each alone, and 1.0 when they travel as one (Linux 6.18).

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::sys;
use super::udp::UdpSocket;

/// Datagrams gathered before one system call; also the most that the kernel cuts from one message.
const SLOTS: usize = 64;
/// A batch with this many bytes is sent before it is full.
const FULL: usize = 1 << 20;
/// The longest datagram that is gathered with others: with its headers it fits the MTU of Ethernet, IPv6 or a tunnel;
/// the kernel does not cut into fragments.
const LONGEST: usize = 1400;
/// The most bytes of one gathered message.
const LARGEST: usize = 65_000;
/// The kinds of [`Order`] that are told apart.
const ORDERS: usize = 256;

/// Datagrams of equal order leave in the order they were queued; others may overtake one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order(u8);

impl Order {
    /// The order of one call: its messages stay in sequence.
    pub fn of_call(call_id: &[u8]) -> Self {
        let (words, _) = call_id.as_chunks();
        let words = words.iter().chain(call_id.last_chunk());
        let mixed = words.fold(0, |mixed: u64, word| {
            (mixed.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        Self((mixed >> 56) as u8)
    }
}

/// Hears of each datagram that the kernel refused; the others still go out.
pub type Refused = fn(SocketAddr, io::Error);

#[derive(Clone, Copy)]
struct Outgoing {
    start: usize,
    end: usize,
    group: u8,
}

/// Datagrams of one length to one destination.
#[derive(Clone, Copy)]
struct Group {
    destination: SocketAddr,
    size: usize,
    count: usize,
}

/// Datagrams that wait for one system call; they share one reused buffer. A full batch is sent at once.
pub struct SendBatch {
    socket: Arc<UdpSocket>,
    refused: Refused,
    vectors: sys::Vectors,
    arena: Vec<u8>,
    queue: Vec<Outgoing>,
    groups: Vec<Group>,
    /// The queue sorted by group.
    sorted: Vec<(usize, usize)>,
    /// The last group that a datagram of each order went to.
    last: [u8; ORDERS],
    /// Datagrams up to this length are gathered; it falls when the kernel refuses.
    longest: usize,
}

impl SendBatch {
    /// An empty batch for what leaves from `socket`.
    pub fn new(socket: Arc<UdpSocket>, refused: Refused) -> Self {
        let can_cut = sys::can_cut(socket.as_raw_fd());
        Self {
            socket,
            refused,
            vectors: sys::Vectors::new(SLOTS),
            arena: Vec::with_capacity(64 << 10),
            queue: Vec::with_capacity(SLOTS),
            groups: Vec::with_capacity(SLOTS),
            sorted: Vec::with_capacity(SLOTS),
            last: [0; ORDERS],
            longest: if can_cut { LONGEST } else { 0 },
        }
    }

    /// Queues what `write` appends to the buffer: a message is written out once, straight to where it is sent from.
    pub fn push_with(&mut self, destination: SocketAddr, order: Order, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        let end = self.arena.len();
        if end > start {
            let group = self.join(destination, end - start, order);
            self.queue.push(Outgoing { start, end, group });
        } else {
            self.arena.resize(start, 0);
        }
        if self.queue.len() >= SLOTS || self.arena.len() >= FULL {
            self.flush();
        }
    }

    /// The group for a datagram: one that it may join without leaving before an earlier one of its order, or a new one.
    fn join(&mut self, destination: SocketAddr, size: usize, order: Order) -> u8 {
        let last = &mut self.last[usize::from(order.0)];
        let fits = |g: &Group| {
            g.size == size
                && g.destination == destination
                && g.count < SLOTS
                && size <= self.longest
                && (g.count + 1) * size <= LARGEST
        };
        let earliest = usize::from(*last);
        let open = self.groups.iter_mut().skip(earliest).position(|group| {
            let fits = fits(group);
            group.count += usize::from(fits);
            fits
        });
        let index = open.map_or(self.groups.len(), |at| earliest + at);
        if open.is_none() {
            self.groups.push(Group {
                destination,
                size,
                count: 1,
            });
        }
        *last = index as u8;
        *last
    }

    /// Whether it sends from this socket.
    pub fn leaves_from(&self, socket: &Arc<UdpSocket>) -> bool {
        Arc::ptr_eq(&self.socket, socket)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends everything that waits; how many datagrams went out.
    pub fn flush(&mut self) -> usize {
        self.sort();
        let (mut group, mut piece, mut sent) = (0, 0, 0);
        while let Some(groups) = self.groups.get(group..).filter(|rest| !rest.is_empty()) {
            let pieces = self.sorted.get(piece..).unwrap_or_default();
            match self
                .vectors
                .send(self.socket.as_raw_fd(), messages(&self.arena, groups, pieces))
            {
                Ok(n) => {
                    let datagrams: usize = groups.iter().take(n).map(|g| g.count).sum();
                    group += n;
                    piece += datagrams;
                    sent += datagrams;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // sendmmsg(2): the error belongs to the first message that was not sent.
                Err(e) => {
                    let Some(&first) = groups.first() else { break };
                    if first.count == 1 {
                        (self.refused)(first.destination, e);
                    } else {
                        self.longest = shorter(self.longest, first.size, &e);
                        sent += self.send_singly(first, pieces);
                    }
                    group += 1;
                    piece += first.count;
                }
            }
        }
        self.clear();
        sent
    }

    #[cold]
    fn send_singly(&self, group: Group, pieces: &[(usize, usize)]) -> usize {
        let own = pieces.iter().take(group.count);
        own.filter(|&&(start, end)| {
            let bytes = self.arena.get(start..end).unwrap_or_default();
            self.socket
                .send_to(bytes, group.destination)
                .map_err(|e| (self.refused)(group.destination, e))
                .is_ok()
        })
        .count()
    }

    /// Brings the datagrams of each group together, in the order they were queued.
    fn sort(&mut self) {
        self.sorted.clear();
        if self.groups.len() == self.queue.len() {
            self.sorted.extend(self.queue.iter().map(|o| (o.start, o.end)));
            return;
        }
        let mut next = [0_u8; SLOTS + 1];
        let mut at = 0;
        for (slot, group) in next.iter_mut().zip(&self.groups) {
            *slot = at;
            at += group.count as u8;
        }
        self.sorted.resize(self.queue.len(), (0, 0));
        for o in &self.queue {
            let slot = &mut next[usize::from(o.group)];
            self.sorted[usize::from(*slot)] = (o.start, o.end);
            *slot += 1;
        }
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.groups.clear();
        self.last = [0; ORDERS];
        self.arena.clear();
        if self.arena.capacity() > FULL * 2 {
            self.arena.shrink_to(64 << 10);
        }
    }
}

/// The groups with their pieces of the arena, as the system call takes them.
fn messages<'a>(
    arena: &'a [u8],
    groups: &'a [Group],
    pieces: &'a [(usize, usize)],
) -> impl Iterator<Item = (SocketAddr, usize, impl Iterator<Item = &'a [u8]>)> {
    let mut at = 0;
    groups.iter().map(move |group| {
        let own = pieces.get(at..at + group.count).unwrap_or_default();
        at += group.count;
        let bytes = own
            .iter()
            .map(|&(start, end)| arena.get(start..end).unwrap_or_default());
        (group.destination, group.size, bytes)
    })
}

/// Up to which length datagrams are gathered after the kernel refused to cut a message into pieces of `size`:
/// the way is narrower than that (`EMSGSIZE`, `EINVAL`), or its device cannot at all (`EIO`).
fn shorter(longest: usize, size: usize, error: &io::Error) -> usize {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE | libc::EINVAL) => longest.min(size.saturating_sub(1)),
        Some(libc::EIO) => 0,
        _ => longest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::udp::Batch;
    use crate::transport::udp::UdpOptions;

    fn pair(addr: &str) -> (SendBatch, UdpSocket) {
        let bind = || UdpSocket::bind(addr.parse().unwrap(), &UdpOptions::default()).unwrap();
        (SendBatch::new(Arc::new(bind()), |_, _| ()), bind())
    }

    fn received(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        while all.len() < count {
            assert!(batch.receive(socket).unwrap() > 0);
            all.extend(batch.iter().map(|d| d.bytes.to_vec()));
        }
        all
    }

    #[test]
    fn an_error_costs_one_datagram() {
        let (mut out, b) = pair("127.0.0.1:0");
        let mut push = |bytes: &[u8], to| out.push_with(to, Order::default(), |w| w.extend_from_slice(bytes));
        push(b"1", b.local());
        push(&[0; 70_000], b.local());
        push(b"2", "[::1]:9".parse().unwrap());
        push(b"3", b.local());
        assert_eq!(out.flush(), 2);
        assert!(out.is_empty());
        assert_eq!(received(&b, 2), [b"1", b"3"]);
    }

    #[test]
    fn a_refused_group_leaves_one_by_one() {
        let (mut out, b) = pair("[::1]:0");
        let nowhere = "127.0.0.1:9".parse().unwrap();
        for destination in [nowhere, b.local()] {
            for byte in 0..3 {
                out.push_with(destination, Order(byte), |w| w.push(byte));
            }
        }
        assert_eq!(out.flush(), 3);
        assert_eq!(received(&b, 3), [[0], [1], [2]]);
    }

    #[test]
    fn a_narrow_way_shortens_what_is_gathered() {
        let error = io::Error::from_raw_os_error;
        assert_eq!(shorter(1400, 900, &error(libc::EINVAL)), 899);
        assert_eq!(shorter(500, 900, &error(libc::EMSGSIZE)), 500);
        assert_eq!(shorter(1400, 900, &error(libc::EIO)), 0);
        assert_eq!(shorter(1400, 900, &error(libc::EPERM)), 1400);
    }

    #[test]
    fn messages_of_a_call_stay_in_sequence() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let (mut out, b) = pair(addr);
            let mut expected: Vec<Vec<u8>> = Vec::new();
            for round in 0..60_u8 {
                let call = round % 7;
                let len = 20 + usize::from(round % 4) * 10;
                let mut message = vec![call; len];
                message[1] = round;
                out.push_with(b.local(), Order(call), |w| w.extend_from_slice(&message));
                expected.push(message);
            }
            assert!(out.groups.len() < 30, "{} groups", out.groups.len());
            assert_eq!(out.flush(), 60);
            let got = received(&b, 60);
            for call in 0..7 {
                let of = |all: &[Vec<u8>]| all.iter().filter(|m| m[0] == call).cloned().collect::<Vec<_>>();
                assert_eq!(of(&got), of(&expected), "call {call}");
            }
        }
    }

    #[test]
    fn a_call_has_one_order_and_calls_spread() {
        assert_eq!(Order::of_call(b"abc@host"), Order::of_call(b"abc@host"));
        let spread: std::collections::BTreeSet<u8> = (0..256)
            .map(|i| Order::of_call(format!("call-{i:08}@10.0.0.1").as_bytes()).0)
            .collect();
        assert!(spread.len() > 100, "{} of 256", spread.len());
    }

    #[test]
    fn a_full_batch_is_one_message_and_leaves_at_once() {
        let (mut out, b) = pair("127.0.0.1:0");
        for i in 0..63 {
            out.push_with(b.local(), Order(i), |w| w.extend_from_slice(&[i; 300]));
        }
        assert_eq!(out.groups.len(), 1);
        out.push_with(b.local(), Order(63), |w| w.extend_from_slice(&[63; 300]));
        assert!(out.is_empty());
        assert_eq!(
            received(&b, 64),
            (0..64).map(|i| vec![i; 300]).collect::<Vec<_>>()
        );
    }
}
