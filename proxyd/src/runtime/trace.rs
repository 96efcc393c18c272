//! `trace`: the messages of calls that fit a filter, as they come and go, for whoever follows them on the control socket.

use super::filter::Filter;
use super::masked::masked;
use crate::calendar::rfc3339;
use crate::control::methods::RpcFault;
use crate::control::push::Feed;
use crate::script::module::Hook;
use crate::script::module::Script;
use crate::script::tap::Tap;
use crate::script::tap::Way;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use shared::rpc::trace::Traced;
use shared::sip::Message;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::unbounded_channel;

/// How many may follow at once.
const MOST: usize = 8;

/// What may wait for one follower, bytes.
const MOST_WAITING: usize = 4 << 20;

/// How many calls one follower follows; the oldest is forgotten.
const MOST_CALLS: usize = 10_000;

/// A copy of a message, for a follower.
struct Copy {
    at: Duration,
    way: Way,
    bytes: Vec<u8>,
}

impl Copy {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// What workers and a follower share about what waits for it.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    /// Messages that found no room since that was told last.
    dropped: AtomicU64,
}

/// Who follows.
#[derive(Default)]
pub(crate) struct Tracers {
    /// How many follow, modules among them; read by workers for each message.
    count: AtomicUsize,
    list: Mutex<Vec<Tracer>>,
    /// Modules of the script in force.
    taps: ArcSwap<Vec<Arc<dyn Tap>>>,
}

struct Tracer {
    filter: Filter,
    calls: Calls,
    backlog: Arc<Backlog>,
    queue: UnboundedSender<Copy>,
}

/// Call-IDs of the calls that are followed.
#[derive(Default)]
struct Calls {
    known: HashSet<Arc<[u8]>>,
    by_age: VecDeque<Arc<[u8]>>,
}

impl Calls {
    fn add(&mut self, call_id: &[u8]) {
        if self.by_age.len() >= MOST_CALLS
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
        let call_id: Arc<[u8]> = call_id.into();
        self.by_age.push_back(Arc::clone(&call_id));
        self.known.insert(call_id);
    }
}

impl Tracer {
    /// Whether the message is of a call that is followed, or begins to be with it.
    fn wants(&mut self, msg: &Message, source: SocketAddr) -> bool {
        if self.filter.is_empty() || self.calls.known.contains(msg.call_id()) {
            return true;
        }
        let fits = self.filter.fits(msg, source);
        if fits {
            self.calls.add(msg.call_id());
        }
        fits
    }

    /// Queues a copy where there is room.
    fn offer(&self, way: Way, bytes: &[u8]) {
        let copy = Copy {
            at: crate::clock::wall(),
            way,
            bytes: Vec::new(),
        };
        let weight = copy.weight() + bytes.len();
        if self.backlog.bytes.load(Ordering::Relaxed) + weight > MOST_WAITING {
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.backlog.bytes.fetch_add(weight, Ordering::Relaxed);
        let bytes = bytes.to_vec();
        // Who followed may be gone by now.
        let _ = self.queue.send(Copy { bytes, ..copy });
    }
}

impl Tracers {
    /// Whether anybody follows.
    pub(crate) fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Goes on with the modules of this script.
    pub(crate) fn attach(&self, script: &Script) {
        let taps = script.hooks().filter_map(|hook| match hook {
            Hook::Tap(make) => make(script),
            _ => None,
        });
        let list = self.list.lock();
        self.taps.store(Arc::new(taps.collect()));
        self.recount(&list);
    }

    fn recount(&self, list: &[Tracer]) {
        let count = list.len() + self.taps.load().len();
        self.count.store(count, Ordering::Relaxed);
    }

    /// Tells followers of a message, which is `bytes` on the wire.
    #[cold]
    pub(crate) fn tell(&self, msg: &Message, bytes: &[u8], way: Way) {
        let taps = self.taps.load();
        for tap in taps.iter().filter(|tap| tap.wants()) {
            tap.see(msg, bytes, way);
        }
        if self.count.load(Ordering::Relaxed) == taps.len() {
            return;
        }
        let mut list = self.list.lock();
        list.retain(|tracer| !tracer.queue.is_closed());
        self.recount(&list);
        for tracer in list.iter_mut() {
            if tracer.wants(msg, way.source) {
                tracer.offer(way, bytes);
            }
        }
    }

    /// Tells followers of a message that leaves.
    #[cold]
    pub(crate) fn tell_sent(&self, bytes: &[u8], way: Way) {
        let taps = self.taps.load();
        let followed = self.count.load(Ordering::Relaxed) > taps.len();
        if !followed && !taps.iter().any(|tap| tap.wants()) {
            return;
        }
        if let Ok(msg) = Message::parse(bytes) {
            self.tell(&msg, bytes, way);
        }
    }

    /// Begins to follow.
    pub(crate) fn follow(&self, filter: Filter) -> Result<Follower, RpcFault> {
        let mut list = self.list.lock();
        list.retain(|tracer| !tracer.queue.is_closed());
        if list.len() >= MOST {
            return Err(RpcFault::failed(format!(
                "{MOST} others trace already; one of them has to end first"
            )));
        }
        let (queue, copies) = unbounded_channel();
        let backlog = Arc::<Backlog>::default();
        list.push(Tracer {
            filter,
            calls: Calls::default(),
            backlog: Arc::clone(&backlog),
            queue,
        });
        self.recount(&list);
        Ok(Follower { copies, backlog })
    }
}

/// One who follows.
pub(crate) struct Follower {
    copies: UnboundedReceiver<Copy>,
    backlog: Arc<Backlog>,
}

impl Feed for Follower {
    type Item = Traced;

    async fn next(&mut self) -> Option<Traced> {
        let copy = match self.copies.try_recv() {
            Ok(copy) => copy,
            Err(_) => {
                let dropped = self.backlog.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    return Some(Traced::Dropped { dropped });
                }
                self.copies.recv().await?
            }
        };
        self.backlog.bytes.fetch_sub(copy.weight(), Ordering::Relaxed);
        Some(Traced::Message(Box::new(described(copy))))
    }
}

/// The message as it is told.
fn described(copy: Copy) -> shared::rpc::trace::Message {
    let Copy { at, way, bytes } = copy;
    let size = bytes.len();
    // It could be read when it was copied.
    let msg = Message::parse(bytes).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let address = |address: SocketAddr| format!("{}:{address}", way.transport);
    let of_reply = msg.is_reply();
    shared::rpc::trace::Message {
        time: rfc3339(at),
        direction: way.direction,
        source: address(way.source),
        destination: address(way.destination),
        method: text(msg.method().as_bytes()),
        request_uri: (!of_reply).then(|| text(msg.request_uri())),
        status: of_reply.then(|| msg.status()),
        reason: of_reply.then(|| text(msg.reason())),
        cseq: msg.cseq().map(|cseq| cseq.number),
        call_id: text(msg.call_id()),
        from: msg.from().map(|from| text(from.uri)).unwrap_or_default(),
        to: msg.to().map(|to| text(to.uri)).unwrap_or_default(),
        size,
        message: masked(&msg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::net::Transport;
    use shared::rpc::trace::Direction;

    const INVITE: &[u8] = b"INVITE sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
        From: \"Al\" <sip:al@a.test>;tag=1\r\nTo: <sip:bob@b.test>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
        proxy-authorization: Digest username=\"al\",\r\n response=\"0123\"\r\nAuthorization: Digest response=\"4567\"\r\n\r\nv=0\r\n";
    const BUSY: &[u8] = b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
        From: \"Al\" <sip:al@a.test>;tag=1\r\nTo: <sip:bob@b.test>;tag=2\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\r\n";

    fn way(direction: Direction) -> Way {
        Way {
            direction,
            transport: Transport::Udp,
            source: SocketAddr::from(([192, 0, 2, 1], 5070)),
            destination: SocketAddr::from(([127, 0, 0, 1], 5060)),
            stateless: false,
        }
    }

    /// What has been told, without waiting.
    fn told(follower: &mut Follower) -> Option<Traced> {
        let waiting = std::pin::pin!(follower.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match waiting.poll(&mut context) {
            std::task::Poll::Ready(told) => told,
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_call_that_fits_is_followed_whole() {
        let tracers = Tracers::default();
        let filter = |text| Filter::parse(text).expect(text);
        let mut of_al = tracers.follow(filter("from=al method=INVITE")).expect("room");
        let mut of_eve = tracers.follow(filter("from=eve")).expect("room");
        let mut of_busy = tracers.follow(filter("status=4xx")).expect("room");
        let mut of_all = tracers.follow(filter("")).expect("room");
        tracers.tell_sent(INVITE, way(Direction::In));
        tracers.tell_sent(BUSY, way(Direction::Out));
        let counts = [&mut of_al, &mut of_eve, &mut of_busy, &mut of_all]
            .map(|follower| std::iter::from_fn(|| told(follower)).count());
        assert_eq!(counts, [2, 0, 1, 2]);
    }

    #[test]
    fn a_message_is_described_without_credentials() {
        let tracers = Tracers::default();
        let mut follower = tracers
            .follow(Filter::parse("").expect("a filter"))
            .expect("room");
        tracers.tell_sent(INVITE, way(Direction::In));
        let Some(Traced::Message(told)) = told(&mut follower) else {
            panic!("a message")
        };
        assert_eq!(
            (&*told.source, &*told.destination),
            ("udp:192.0.2.1:5070", "udp:127.0.0.1:5060")
        );
        assert_eq!((&*told.method, told.cseq, told.status), ("INVITE", Some(7), None));
        assert_eq!((&*told.from, &*told.to), ("sip:al@a.test", "sip:bob@b.test"));
        assert_eq!(told.size, INVITE.len());
        assert!(
            told.message
                .ends_with("CSeq: 7 INVITE\r\nproxy-authorization: ***\r\nAuthorization: ***\r\n\r\nv=0\r\n"),
            "{}",
            told.message
        );
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let tracers = Tracers::default();
        let mut follower = tracers
            .follow(Filter::parse("").expect("a filter"))
            .expect("room");
        let sent = 2 * MOST_WAITING / INVITE.len();
        (0..sent).for_each(|_| tracers.tell_sent(INVITE, way(Direction::In)));
        let told: Vec<Traced> = std::iter::from_fn(|| told(&mut follower)).collect();
        let Some((Traced::Dropped { dropped }, messages)) = told.split_last() else {
            panic!("something was dropped")
        };
        assert_eq!(messages.len() + *dropped as usize, sent);
        assert_eq!(follower.backlog.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn few_may_follow_and_who_is_gone_makes_room() {
        let tracers = Tracers::default();
        let follow = || tracers.follow(Filter::parse("").expect("a filter"));
        let followers: Vec<_> = (0..MOST).map(|_| follow().expect("room")).collect();
        assert!(follow().is_err());
        drop(followers);
        assert!(tracers.is_any());
        tracers.tell_sent(INVITE, way(Direction::In));
        assert!(!tracers.is_any());
        assert!(follow().is_ok());
    }

    #[test]
    fn the_oldest_call_is_forgotten() {
        let mut calls = Calls::default();
        (0..=MOST_CALLS).for_each(|n| calls.add(n.to_string().as_bytes()));
        assert_eq!((calls.known.len(), calls.by_age.len()), (MOST_CALLS, MOST_CALLS));
        assert!(!calls.known.contains(b"0".as_slice()) && calls.known.contains(b"1".as_slice()));
    }
}
