//! Probing: pings at intervals, and what their answers say about a destination.

use super::Dispatcher;
use super::destination::DISABLED;
use super::destination::Destination;
use super::destination::INACTIVE;
use super::destination::NO_PING;
use super::destination::PROBING;
use super::destination::TRYING;
use super::mark;
use super::pv::Event;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::host::Millis;
use crate::script::host::TimerOverrides;
use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::Script;
use shared::sip::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// CSeq number of a ping, as Kamailio's.
const CSEQ: u32 = 10;

/// How destinations are probed.
pub(super) struct Options {
    method: Vec<u8>,
    from: String,
    interval: Millis,
    fr_timer: Option<u32>,
    socket: String,
    outbound_proxy: String,
    /// Statuses that are good besides 200.
    good: Vec<std::ops::RangeInclusive<u16>>,
    mode: i64,
    alpha: f64,
}

impl Options {
    pub(super) fn new(init: &Init<'_>) -> Result<Self, InitError> {
        let codes = init.text("ds_ping_reply_codes");
        Ok(Self {
            method: init.text("ds_ping_method").into_bytes(),
            from: init.text("ds_ping_from"),
            interval: u64::try_from(init.int("ds_ping_interval"))
                .unwrap_or(0)
                .saturating_mul(1000),
            fr_timer: u32::try_from(init.int("ds_ping_fr_timer"))
                .ok()
                .filter(|ms| *ms > 0),
            socket: init.text("ds_ping_socket"),
            outbound_proxy: init.text("outbound_proxy"),
            good: good(&codes).map_err(|why| InitError::Param {
                name: "ds_ping_reply_codes",
                why,
            })?,
            mode: init.int("ds_probing_mode"),
            alpha: init.int("ds_latency_estimator_alpha").clamp(1, 1000) as f64 / 1000.0,
        })
    }

    fn is_good(&self, status: u16) -> bool {
        status == 200 || self.good.iter().any(|range| range.contains(&status))
    }

    fn wants(&self, destination: &Destination) -> bool {
        let flags = destination.flags();
        if flags & (NO_PING | DISABLED) != 0 {
            return false;
        }
        match self.mode {
            1 => true,
            2 => flags & (INACTIVE | PROBING) == INACTIVE | PROBING,
            _ => flags & PROBING != 0,
        }
    }
}

/// Reads `code=403;class=3`.
fn good(text: &str) -> Result<Vec<std::ops::RangeInclusive<u16>>, String> {
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name.trim(), value.trim().parse::<u16>()) {
                ("code", Ok(code @ 100..=699)) => Ok(code..=code),
                ("class", Ok(class @ 1..=6)) => Ok(class * 100..=class * 100 + 99),
                _ => Err(format!("{pair:?} is neither code=NNN nor class=N")),
            }
        })
        .collect()
}

/// When to ping.
pub(super) fn interval(script: &Script) -> Option<Millis> {
    let interval = script.states.get::<Dispatcher>()?.ping.interval;
    (interval > 0).then_some(interval)
}

/// Pings what is to be pinged.
pub(super) fn run(env: &mut Env<'_>) {
    let Some(state) = env.state::<Dispatcher>() else {
        return;
    };
    if state.ping_active.load(Ordering::Relaxed) == 0 {
        return;
    }
    let sets = state.sets.load_full();
    for (set, destination) in sets
        .destinations()
        .filter(|(_, destination)| state.ping.wants(destination))
    {
        let ping = request(state, env, set, destination);
        env.host.originate(ping);
    }
}

fn request(state: &Dispatcher, env: &Env<'_>, set: i64, destination: &Arc<Destination>) -> LocalRequest {
    let attributes = &destination.attributes;
    let own = |special: &[u8], general: &str| {
        if special.is_empty() {
            general.as_bytes().to_vec()
        } else {
            special.to_vec()
        }
    };
    let in_brackets = |uri: &[u8]| {
        if uri.contains(&b'<') {
            uri.to_vec()
        } else {
            [b"<", uri, b">"].concat()
        }
    };
    let proxy = own(&attributes.outbound_proxy, &state.ping.outbound_proxy);
    let socket = own(&attributes.ping_socket, &state.ping.socket);
    let socket = super::socket_at(env, &socket).or_else(|| state.socket_of(env, destination));
    let (watched, sent) = (Arc::clone(destination), env.host.now());
    LocalRequest {
        method: state.ping.method.clone(),
        uri: destination.uri.clone(),
        dst_uri: (!proxy.is_empty()).then_some(proxy),
        from: in_brackets(&own(&attributes.ping_from, &state.ping.from)),
        to: in_brackets(&destination.uri),
        cseq: CSEQ,
        socket,
        timers: TimerOverrides {
            fr: state.ping.fr_timer,
            ..TimerOverrides::default()
        },
        done: Some(Box::new(move |reply: &mut LocalReply<'_>| {
            answered(reply, set, &watched, sent)
        })),
        ..LocalRequest::default()
    }
}

/// Judges the answer to a ping.
fn answered(reply: &mut LocalReply<'_>, set: i64, destination: &Destination, sent: Millis) {
    let script = reply.script;
    let Some(state) = script.states.get::<Dispatcher>() else {
        return;
    };
    if state.latency_stats {
        let mut latency = destination.latency.lock();
        if reply.message.is_some() {
            latency.answered(reply.host.now().saturating_sub(sent) as f64, state.ping.alpha);
        } else {
            latency.timeouts = latency.timeouts.saturating_add(1);
        }
    }
    // it may have been removed, marked or made anew meanwhile
    let sets = state.sets.load_full();
    let Some(destination) = sets.find(set, &destination.uri) else {
        return;
    };
    let flags = destination.flags();
    if flags & DISABLED != 0 {
        return;
    }
    let good = state.ping.is_good(reply.status);
    let keeps = matches!(state.ping.mode, 1 | 3) && (state.ping.mode == 1 || flags & PROBING != 0);
    let next = match (good, keeps) {
        (true, true) => PROBING,
        (true, false) => 0,
        (false, _) => TRYING | PROBING,
    };
    let change = destination.update(next, state.thresholds);
    if change == super::destination::Change::None {
        return;
    }
    let request = if reply.request.is_empty() {
        fallback(&destination.uri)
    } else {
        reply.request.to_vec()
    };
    let Ok(msg) = Message::parse(request) else { return };
    let event = Event {
        set,
        uri: destination.uri.clone(),
        code: reply.status,
        reason: reply.message.map(|message| message.reason().to_vec()),
    };
    reply.with_message(msg, |env| mark::tell(env, change, event));
}

/// What event routes see when nothing was sent.
fn fallback(uri: &[u8]) -> Vec<u8> {
    let head: &[u8] =
        b" SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nFrom: <sip:dispatcher@localhost>;tag=0\r\nTo: <";
    let tail: &[u8] = b">\r\nCall-ID: dispatcher\r\nCSeq: 10 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    [b"OPTIONS ", uri, head, uri, tail].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_codes_are_read() {
        let read = good("class=2;code=403;code=488;class=3").unwrap();
        assert_eq!(read, [200..=299, 403..=403, 488..=488, 300..=399]);
        assert!(good("").unwrap().is_empty());
        for bad in ["code=x", "class=9", "404"] {
            assert!(good(bad).is_err(), "{bad}");
        }
        assert!(Message::parse(fallback(b"sip:127.0.0.1")).is_ok());
    }
}
