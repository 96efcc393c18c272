//! Choosing destinations: `ds_select_dst` and its kin, one algorithm after the other.

use super::Dispatcher;
use super::Place;
use super::destination::Destination;
use super::hash;
use super::sets::Set;
use crate::log;
use crate::proxy::branch::Branch;
use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::script::lists::Item;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::Method;
use shared::sip::Uri;
use shared::sip::header::auth::Auth;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A destination that was selected.
pub(super) struct Chosen {
    set: i64,
    destination: Arc<Destination>,
    /// Its load is counted (algorithm 10).
    counted: bool,
}

const PARALLEL: i64 = 12;

/// `ds_select_dst(set, algorithm[, limit])` and its kin.
pub(super) fn select(call: &mut Call<'_, '_>, place: Place) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let (set, algorithm, limit) = (call.int(0), call.int(1), call.int(2));
    let env = &mut *call.env;
    if place == Place::Dst && !state.force_dst && env.ctx.dst_uri.is_some() {
        log::error(
            "dispatcher",
            format_args!("destination is already set and force_dst is 0"),
        );
        return Code::FALSE;
    }
    let mut chosen = Vec::new();
    if !choose(state, env, set, algorithm, room(limit), &mut chosen) {
        return Code::FALSE;
    }
    if algorithm == PARALLEL {
        return fork(state, env, &chosen, place);
    }
    finish(state, env, &chosen, place)
}

/// `ds_select_routes(rules, mode[, limit])`.
pub(super) fn select_routes(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    let rules = call.text_owned(0);
    let place = match call.text(1).first() {
        Some(b'0' | b'd' | b'D') => Place::Dst,
        Some(b'1' | b'r' | b'R') => Place::Domain,
        Some(b'2' | b'x' | b'X') => Place::List,
        _ => {
            log::error(
                "dispatcher",
                format_args!("ds_select_routes: mode is none of d, r, x"),
            );
            return Code::FALSE;
        }
    };
    let most = room(call.int(2));
    let env = &mut *call.env;
    let mut chosen = Vec::new();
    for rule in rules.split(|byte| *byte == b';').filter(|rule| !rule.is_empty()) {
        let text = std::str::from_utf8(rule).unwrap_or_default();
        let parsed = text
            .split_once('=')
            .and_then(|(set, alg)| Some((set.parse().ok()?, alg.parse().ok()?)));
        let Some((set, algorithm)) = parsed else {
            log::error(
                "dispatcher",
                format_args!("ds_select_routes: invalid rule {text:?}: set=algorithm expected"),
            );
            return Code::FALSE;
        };
        if chosen.len() < most {
            // a set without a destination to offer leaves it to the next one
            choose(state, env, set, algorithm, most, &mut chosen);
        }
    }
    if chosen.is_empty() {
        Code::FALSE
    } else {
        finish(state, env, &chosen, place)
    }
}

fn room(limit: i64) -> usize {
    usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX)
}

/// Adds what the algorithm chooses of a set, the first choice first; false when there is nothing.
fn choose(
    state: &Dispatcher,
    env: &mut Env<'_>,
    id: i64,
    algorithm: i64,
    most: usize,
    chosen: &mut Vec<Chosen>,
) -> bool {
    let sets = state.sets.load();
    let Some(set) = sets.get(id) else {
        log::error("dispatcher", format_args!("destination set [{id}] not found"));
        return false;
    };
    let all = &set.destinations;
    // with `use_default` the last one is only for when the others cannot be had
    let turns = if state.use_default && all.len() > 1 {
        all.len() - 1
    } else {
        all.len()
    };
    let counted =
        algorithm == 10 && env.may_write() && state.counts_loads() && env.ctx.msg.method() == Method::Invite;
    let start = if counted {
        least_loaded(set)
    } else {
        place_of(state, env, set, algorithm, turns)
    };
    let Some(start) = start else { return false };
    let found = (0..turns).map(|step| (start + step) % turns.max(1));
    let active = |at: &usize| all.get(*at).is_some_and(|destination| destination.is_active());
    let mut order: Vec<usize> = found.filter(active).collect();
    if state.use_default && all.len() > 1 {
        order.extend(Some(all.len() - 1).filter(active));
    }
    let Some(first) = order.first().copied() else {
        return false;
    };
    let turns_on = matches!(algorithm, 4 | 13) || (algorithm == 5 && authorized_user(env.ctx).is_none());
    if turns_on && env.may_write() {
        set.next.store((first + 1) % turns.max(1), Ordering::Relaxed);
    }
    if !state.failover() && algorithm != PARALLEL {
        order.truncate(1);
    }
    let mut entries = order.into_iter().filter_map(|at| all.get(at));
    if counted && let Some(first) = all.get(first) {
        count_load(state, env, id, first);
        entries.next();
        chosen.push(Chosen {
            set: id,
            destination: Arc::clone(first),
            counted,
        });
    }
    for destination in entries {
        if chosen.len() >= most {
            break;
        }
        let full = counted && is_full(destination);
        if !full {
            chosen.push(Chosen {
                set: id,
                destination: Arc::clone(destination),
                counted,
            });
        }
    }
    true
}

/// Where the algorithm begins in a set.
fn place_of(state: &Dispatcher, env: &mut Env<'_>, set: &Set, algorithm: i64, turns: usize) -> Option<usize> {
    let modulo = |hash: u32| (turns > 0).then(|| hash as usize % turns);
    let round_robin = || Some(set.next.load(Ordering::Relaxed));
    let uri = |text: Option<&[u8]>| {
        let uri = Uri::parse(text?).ok()?;
        modulo(hash::uri_hash(&uri, state.hashed()))
    };
    match algorithm {
        0 => modulo(hash::hash(&[env.ctx.msg.call_id()])),
        1 => uri(env.ctx.msg.from().map(|from| from.uri)),
        2 => uri(env.ctx.msg.to().map(|to| to.uri)),
        3 => uri(Some(env.ctx.uri())),
        4 => round_robin(),
        5 => match authorized_user(env.ctx) {
            Some(user) => modulo(hash::hash(&[user])),
            None => round_robin(),
        },
        6 => (turns > 0).then(|| (env.host.random() >> 16) as usize % turns),
        7 => {
            let Some(format) = &state.hash_pvar else {
                log::error(
                    "dispatcher",
                    format_args!("algorithm 7 needs the parameter hash_pvar"),
                );
                return None;
            };
            let text = format.expand(env);
            if text.is_empty() {
                log::error(
                    "dispatcher",
                    format_args!("can't get PV hash: hash_pvar is empty"),
                );
                return None;
            }
            modulo(hash::hash(&[&text]))
        }
        8 | 10 | PARALLEL => Some(0),
        9 => Some(set.by_weight()),
        11 => Some(by_relative_weight(set)),
        13 => Some(fastest(state, set)),
        _ => {
            log::warning(
                "dispatcher",
                format_args!("algo {algorithm} not implemented - using first entry..."),
            );
            Some(0)
        }
    }
}

/// The user of the credentials that a request carries.
fn authorized_user(ctx: &Context) -> Option<&[u8]> {
    let value = ctx
        .msg
        .first(HeaderName::ProxyAuthorization)
        .or_else(|| ctx.msg.first(HeaderName::Authorization))?;
    Auth::parse(value).ok()?.username
}

fn is_full(destination: &Destination) -> bool {
    let most = destination.attributes.max_load;
    most > 0 && destination.load.load(Ordering::Relaxed) >= most
}

/// The active destination with the fewest calls that has room.
fn least_loaded(set: &Set) -> Option<usize> {
    let open = set
        .destinations
        .iter()
        .enumerate()
        .filter(|(_, d)| d.is_active() && !is_full(d));
    open.min_by_key(|(_, destination)| destination.load.load(Ordering::Relaxed))
        .map(|(at, _)| at)
}

fn count_load(state: &Dispatcher, env: &Env<'_>, set: i64, destination: &Destination) {
    let duid = &destination.attributes.duid;
    if duid.is_empty() {
        log::error(
            "dispatcher",
            format_args!("a destination of set {set} has no duid: its load is not counted"),
        );
        return;
    }
    let expires = env.host.now().saturating_add(state.init_expire);
    state
        .loads
        .add(&state.sets.load(), env.ctx.msg.call_id(), set, duid, expires);
}

fn by_relative_weight(set: &Set) -> usize {
    set.by_relative_weight(|destination| {
        let weight = f64::from(destination.attributes.relative_weight);
        if !destination.attributes.congestion_control {
            return weight;
        }
        // each millisecond of congestion costs one point of tolerance
        let tolerance = f64::from(destination.attributes.weight);
        weight * (tolerance - destination.latency.lock().congestion()).max(0.0) / tolerance.max(1.0)
    })
}

/// The next in turn of those with the highest priority, lowered by how slowly they answer.
fn fastest(state: &Dispatcher, set: &Set) -> usize {
    let adjusted = |destination: &Destination| {
        let latency = destination.latency.lock();
        let slow = if destination.attributes.congestion_control {
            latency.congestion()
        } else {
            latency.estimate
        };
        let slow = if state.latency_stats { slow as i64 } else { 0 };
        destination.priority - slow.checked_div(destination.priority).unwrap_or(0)
    };
    let all = &set.destinations;
    let best = all.iter().filter(|d| d.is_active()).map(|d| adjusted(d)).max();
    let start = set.next.load(Ordering::Relaxed);
    let mut turns = (0..all.len()).map(|step| (start + step) % all.len());
    turns
        .find(|at| {
            all.get(*at)
                .is_some_and(|d| d.is_active() && Some(adjusted(d)) == best)
        })
        .unwrap_or(0)
}

/// Puts what was chosen into the lists, and the first of it to use.
fn finish(state: &Dispatcher, env: &mut Env<'_>, chosen: &[Chosen], place: Place) -> Code {
    let Some(first) = chosen.first() else {
        return Code::FALSE;
    };
    if state.failover() {
        for one in chosen.iter().rev() {
            let item = item(state, env, one);
            env.lists.xavp.push(&state.xavp_dst, item);
        }
    }
    count(state, env, if state.failover() { chosen.len() } else { 0 });
    let socket = state.socket_of(env, &first.destination);
    put(
        env,
        &first.destination.uri,
        &first.destination.domain,
        socket,
        place,
    );
    Code::TRUE
}

fn count(state: &Dispatcher, env: &mut Env<'_>, count: usize) {
    if state.xavp_ctx_mode & 1 == 0 {
        let count = Value::Int(i64::try_from(count).unwrap_or(0));
        env.lists
            .xavp
            .push(&state.xavp_ctx, Item::Fields(vec![(b"cnt"[..].into(), count)]));
    }
}

/// The fields of `$xavp(_dsdst_)`.
fn item(state: &Dispatcher, env: &Env<'_>, chosen: &Chosen) -> Item {
    let destination = &chosen.destination;
    let attributes = &destination.attributes;
    let mut fields: Vec<(Box<[u8]>, Value<'static>)> = Vec::with_capacity(6);
    let mut add = |name: &[u8], value: Value<'static>| fields.push((name.into(), value));
    add(b"uri", Value::owned(&*destination.uri));
    add(b"grp", Value::Int(chosen.set));
    if let Some(body) = state
        .attributes(destination)
        .filter(|_| state.xavp_dst_mode & 1 == 0)
    {
        add(b"attrs", Value::owned(body));
    }
    if let Some(socket) = state.socket_of(env, destination) {
        add(b"sock", Value::Int(socket.into()));
    }
    if state.xavp_dst_mode & 2 != 0 && !attributes.socket.is_empty() {
        add(b"socket", Value::owned(&*attributes.socket));
    }
    if state.xavp_dst_mode & 4 != 0 && !attributes.socket_name.is_empty() {
        add(b"sockname", Value::owned(&*attributes.socket_name));
    }
    if chosen.counted && !attributes.duid.is_empty() {
        add(b"dstid", Value::owned(&*attributes.duid));
    }
    Item::Fields(fields)
}

/// Sets next hop or Request-URI.
fn put(env: &mut Env<'_>, uri: &[u8], domain: &[u8], socket: Option<SocketId>, place: Place) {
    match place {
        Place::Dst => env.ctx.set_dst_uri(Some(uri.to_vec())),
        Place::Domain => {
            let new = with_domain(env.ctx.uri(), domain);
            env.ctx.set_uri(new);
        }
        Place::List => return,
    }
    if socket.is_some() {
        env.ctx.send_socket = socket;
    }
}

/// A URI with everything behind its user replaced.
fn with_domain(uri: &[u8], domain: &[u8]) -> Vec<u8> {
    let kept = match Uri::parse(uri) {
        Ok(parsed) if parsed.user.is_some() => uri.iter().position(|byte| *byte == b'@'),
        _ => uri.iter().position(|byte| *byte == b':'),
    };
    let head = kept.and_then(|at| uri.get(..=at)).unwrap_or(b"sip:");
    [head, domain].concat()
}

/// Algorithm 12: a branch for each destination.
fn fork(state: &Dispatcher, env: &mut Env<'_>, chosen: &[Chosen], place: Place) -> Code {
    let Some((first, rest)) = chosen.split_first() else {
        return Code::FALSE;
    };
    if place == Place::List {
        return Code::TRUE;
    }
    let uri = env.ctx.uri().to_vec();
    for one in rest {
        let destination = &one.destination;
        let mut target = match place {
            Place::Domain => Branch::new(with_domain(&uri, &destination.domain)),
            Place::Dst | Place::List => Branch {
                dst_uri: Some(destination.uri.clone()),
                ..Branch::new(uri.clone())
            },
        };
        target.socket = state.socket_of(env, destination);
        if env.ctx.append_branch(target).is_err() {
            log::warning(
                "dispatcher",
                format_args!(
                    "set {} has more destinations than a request may have branches",
                    one.set
                ),
            );
            break;
        }
    }
    count(state, env, 0);
    let socket = state.socket_of(env, &first.destination);
    put(
        env,
        &first.destination.uri,
        &first.destination.domain,
        socket,
        place,
    );
    Code::TRUE
}

/// Whether the current entry of the list is used, or the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Current,
    Next,
}

/// `ds_next_dst`, `ds_next_domain`, `ds_set_dst`, `ds_set_domain`.
pub(super) fn take(call: &mut Call<'_, '_>, step: Step, place: Place) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    if !state.failover() {
        log::warning("dispatcher", format_args!("failover support disabled"));
        return Code::FALSE;
    }
    let env = &mut *call.env;
    let root = &*state.xavp_dst;
    if step == Step::Next && !env.lists.xavp.remove(root, 0) {
        return Code::FALSE;
    }
    let Some(entry) = current(env, root) else {
        return Code::FALSE;
    };
    if step == Step::Next
        && let Some(duid) = &entry.duid
    {
        let expires = env.host.now().saturating_add(state.init_expire);
        state.loads.add(
            &state.sets.load(),
            env.ctx.msg.call_id(),
            entry.set,
            duid,
            expires,
        );
    }
    let domain = entry
        .uri
        .iter()
        .position(|byte| *byte == b'@')
        .or_else(|| entry.uri.iter().position(|byte| *byte == b':'));
    let domain = domain.and_then(|at| entry.uri.get(at + 1..)).unwrap_or_default();
    put(env, &entry.uri, domain, entry.socket, place);
    Code::TRUE
}

/// The entry in use.
pub(super) struct Current {
    pub(super) set: i64,
    pub(super) uri: Vec<u8>,
    socket: Option<SocketId>,
    duid: Option<Vec<u8>>,
}

/// Reads the first entry of the list.
pub(super) fn current(env: &Env<'_>, root: &[u8]) -> Option<Current> {
    let field = |name: &[u8]| env.lists.xavp.field(root, name);
    Some(Current {
        set: field(b"grp").map_or(0, Value::to_int),
        uri: field(b"uri")?.to_text().into_owned(),
        socket: field(b"sock").and_then(|value| SocketId::try_from(value.to_int()).ok()),
        duid: field(b"dstid").map(|value| value.to_text().into_owned()),
    })
}
