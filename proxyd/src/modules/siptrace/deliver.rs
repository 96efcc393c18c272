//! What was traced goes to the table and to capture servers, on the worker of timers.

use super::Siptrace;
use super::follow::Wish;
use super::hep::Head;
use super::hep::Payload;
use super::xheaders;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::script::exec;
use crate::script::lists::Lists;
use crate::script::module::Env;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::tap::Way;
use parking_lot::Mutex;
use shared::db::Value;
use shared::rpc::trace::Direction;
use shared::sip::Message;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What runs before a message that trace_mode wants is delivered.
pub(super) const EVENT: &str = "siptrace:msg";

/// What may wait, bytes.
const MOST_WAITING: usize = 16 << 20;

thread_local! {
    /// This thread sends a copy, which is not traced itself.
    static COPYING: Cell<bool> = const { Cell::new(false) };
    /// The message that `event_route[siptrace:msg]` runs for.
    static SHOWN: Cell<Option<Way>> = const { Cell::new(None) };
}

/// Whether what this thread sends is a copy.
pub(super) fn is_copying() -> bool {
    COPYING.get()
}

/// The way of the message that the event route runs for.
pub(super) fn shown() -> Option<Way> {
    SHOWN.get()
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sinks {
    pub(super) rows: bool,
    pub(super) hep: bool,
    pub(super) plain: bool,
    /// The event route has its say first.
    pub(super) event: bool,
}

/// A message that was traced.
pub(super) struct Traced {
    pub(super) at: Duration,
    pub(super) way: Way,
    pub(super) bytes: Vec<u8>,
    pub(super) wish: Arc<Wish>,
    pub(super) sinks: Sinks,
}

/// A line for the capture server (`hlog`).
pub(super) struct Line {
    pub(super) at: Duration,
    pub(super) correlation: Vec<u8>,
    pub(super) text: Vec<u8>,
}

pub(super) enum Item {
    Message(Traced),
    Line(Line),
}

impl Item {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Message(traced) => traced.bytes.len(),
                Self::Line(line) => line.text.len() + line.correlation.len(),
            }
    }
}

/// What waits to be delivered.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    lost: u64,
}

impl Queue {
    /// Adds an item; false when there is no room.
    pub(super) fn push(&self, item: Item) -> bool {
        let mut waiting = self.0.lock();
        let weight = item.weight();
        if waiting.bytes + weight > MOST_WAITING {
            waiting.lost += 1;
            if waiting.lost.is_power_of_two() {
                let lost = waiting.lost;
                crate::log::error(
                    "siptrace",
                    format_args!("{lost} messages were not traced: too many wait"),
                );
            }
            return false;
        }
        waiting.bytes += weight;
        waiting.items.push_back(item);
        true
    }

    fn pop(&self) -> Option<Item> {
        let mut waiting = self.0.lock();
        let item = waiting.items.pop_front()?;
        waiting.bytes -= item.weight();
        Some(item)
    }
}

/// What a row and a copy tell of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: Duration,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) method: String,
    pub(super) direction: &'static str,
}

impl Told {
    fn of(traced: &Traced, msg: &Message, local: &str) -> Self {
        let Way {
            direction,
            transport,
            source,
            destination,
            ..
        } = traced.way;
        let text = |address: SocketAddr| format!("{transport}:{address}");
        let (from, direction) = match direction {
            Direction::Out if !local.is_empty() => (local.to_owned(), "out"),
            Direction::Out => (text(source), "out"),
            Direction::In => (text(source), "in"),
        };
        Self {
            at: traced.at,
            from,
            to: text(destination),
            method: String::from_utf8_lossy(msg.method().as_bytes()).into_owned(),
            direction,
        }
    }
}

/// Delivers all that waits.
pub(super) fn deliver(env: &mut Env<'_>) {
    let Some(state) = env.state::<Siptrace>() else {
        return;
    };
    let mut wrote = false;
    while let Some(item) = state.shared.queue.pop() {
        match item {
            Item::Message(traced) => wrote |= message(env, state, traced),
            Item::Line(line) => log_line(env, state, &line),
        }
    }
    if let Some(rows) = state.rows.as_ref().filter(|_| wrote) {
        rows.wake(env.host);
    }
    state.shared.followed.sweep(env.host.now());
}

/// Puts what waits into rows, for the end: nothing can be sent any more, and what the event route has not seen is left out.
pub(super) fn deliver_rows(state: &Siptrace, script: &Script) {
    let seen_first = script.program.event_route(EVENT).is_some();
    while let Some(item) = state.shared.queue.pop() {
        if let Item::Message(traced) = item
            && traced.sinks.rows
            && !(traced.sinks.event && seen_first)
            && let Ok(msg) = Message::parse(&traced.bytes[..])
        {
            let told = Told::of(&traced, &msg, &state.local);
            state.write(&traced.wish, &told, &msg);
        }
    }
    if let Some(rows) = &state.rows {
        rows.drain();
    }
}

/// Delivers a message; true when rows were written.
fn message(env: &mut Env<'_>, state: &Siptrace, traced: Traced) -> bool {
    let Ok(mut msg) = Message::parse(&traced.bytes[..]) else {
        return false;
    };
    if traced.sinks.event && is_dropped(env, traced.way, &msg) {
        return false;
    }
    let mut told = Told::of(&traced, &msg, &state.local);
    if state.xheaders_read {
        let Some((other, rest)) = xheaders::read(&msg) else {
            return false;
        };
        told = other;
        let Ok(bare) = Message::parse(rest) else {
            return false;
        };
        msg = bare;
    }
    let counter = if msg.is_reply() {
        &state.replies
    } else {
        &state.requests
    };
    counter.inc();
    if traced.sinks.rows {
        state.write(&traced.wish, &told, &msg);
    }
    if let Some(to) = &traced.wish.to {
        if traced.sinks.plain {
            let bytes = if state.xheaders_write {
                xheaders::write(msg.as_bytes(), &told)
            } else {
                msg.as_bytes().to_vec()
            };
            send(env, state, to, |_| Some(bytes));
        }
        if traced.sinks.hep {
            let head = Head {
                at: told.at,
                transport: traced.way.transport,
                source: address(&told.from).unwrap_or(traced.way.source),
                destination: address(&told.to).unwrap_or(traced.way.destination),
                kind: Payload::Sip,
                correlation: traced.wish.correlation.as_deref(),
            };
            send(env, state, to, |_| state.hep.packet(&head, msg.as_bytes()));
        }
    }
    traced.sinks.rows
}

/// The address in `udp:192.0.2.1:5060`, with or without its transport.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.split_once(':').and_then(|(_, rest)| rest.parse().ok());
    bare.or_else(|| text.parse().ok())
}

fn log_line(env: &mut Env<'_>, state: &Siptrace, line: &Line) {
    let Some(to) = &state.duplicate else { return };
    send(env, state, to, |(source, destination)| {
        let head = Head {
            at: line.at,
            transport: shared::net::Transport::Udp,
            source,
            destination,
            kind: Payload::Log,
            correlation: Some(&line.correlation),
        };
        state.hep.packet(&head, &line.text)
    });
}

/// Sends what is made for our address and theirs.
fn send(
    env: &mut Env<'_>,
    state: &Siptrace,
    to: &[u8],
    make: impl FnOnce((SocketAddr, SocketAddr)) -> Option<Vec<u8>>,
) {
    let socket = state.send_from.as_deref().and_then(|wanted| {
        env.host
            .sockets()
            .position(|l| l.name.as_deref() == Some(wanted) || l.address.to_string() == wanted)
    });
    let Some(target) = env.host.resolve(to, socket) else {
        let to = String::from_utf8_lossy(to);
        crate::log::error("siptrace", format_args!("{to:?} leads nowhere"));
        return;
    };
    let sockets = env.host.sockets();
    let own = target
        .socket
        .or_else(|| sockets.first(target.transport, target.peer.is_ipv6()))
        .and_then(|id| sockets.get(id))
        .map_or(target.peer, |listener| listener.address);
    if let Some(bytes) = make((own, target.peer)) {
        COPYING.set(true);
        env.host.send(&target, &bytes);
        COPYING.set(false);
    }
}

/// Whether `event_route[siptrace:msg]` drops a message.
fn is_dropped(env: &mut Env<'_>, way: Way, msg: &Message) -> bool {
    let Some(route) = env.script.program.event_route(EVENT) else {
        return false;
    };
    let (peer, local) = match way.direction {
        Direction::In => (way.source, way.destination),
        Direction::Out => (way.destination, way.source),
    };
    let mut ctx = Context {
        msg: msg.clone(),
        source: Source {
            peer,
            local,
            transport: way.transport,
            ..Source::default()
        },
        ..Context::default()
    };
    let mut lists = Lists::default();
    let mut inner = env.with(&mut ctx, RouteKind::EVENT);
    inner.lists = &mut lists;
    SHOWN.set(Some(way));
    let verdict = exec::run(route, &mut inner);
    SHOWN.set(None);
    verdict.dropped
}

impl Siptrace {
    /// A row without a user, and one for each.
    fn write(&self, wish: &Wish, told: &Told, msg: &Message) {
        let Some(rows) = &self.rows else { return };
        let table = wish.table.as_deref().unwrap_or(&self.table);
        let status = if msg.is_reply() {
            msg.status().to_string()
        } else {
            String::new()
        };
        let users = std::iter::once(&b""[..]).chain(wish.users.iter().map(|user| &**user));
        for user in users {
            let row = vec![
                Value::DateTime(i64::try_from(told.at.as_secs()).unwrap_or(i64::MAX)),
                Value::Int(told.at.subsec_micros().into()),
                Value::text(msg.call_id()),
                Value::text(user),
                Value::text(msg.as_bytes()),
                Value::text(&told.method),
                Value::text(&status),
                Value::text(&told.from),
                Value::text(&told.to),
                Value::text(msg.from_tag()),
                Value::text(msg.to_tag()),
                Value::text(told.direction),
            ];
            rows.push(table, row);
        }
    }
}
