//! `loadmodule "rtimer"`: route blocks at intervals (Kamailio module rtimer).

use crate::proxy::context::Context;
use crate::script::exec;
use crate::script::host::Millis;
use crate::script::host::RouteId;
use crate::script::lists::Lists;
use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::module::State;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// The finest interval.
const FINEST: Millis = 10;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int(
            "default_interval",
            120,
            "Seconds of timers that have no interval.",
        ),
        Param::List(
            "timer",
            "A timer: name=…;interval=seconds, or microseconds with u;mode=….",
        ),
        Param::List("exec", "A route for a timer: timer=…;route=…."),
    ],
    timers: &[ModuleTimer {
        name: "rtimer",
        interval: finest,
        run,
    }],
    init: Some(init),
    ..ModuleDef::new("rtimer", "Route blocks at intervals.")
};

struct Timer {
    name: String,
    interval: Millis,
    routes: Vec<String>,
    next: AtomicU64,
}

struct Timers(Vec<Timer>);

/// The values of `name=value;…`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    pairs(text)
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// Reads an interval in seconds, or in microseconds when it ends in `u`.
fn interval(text: &str) -> Option<Millis> {
    match text.strip_suffix(['u', 'U']) {
        Some(micros) => micros.parse::<u64>().ok().map(|micros| micros / 1000),
        None => text
            .parse::<u64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(1000)),
    }
    .filter(|ms| *ms > 0)
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let default = u64::try_from(init.int("default_interval")).unwrap_or(120).max(1) * 1000;
    let wrong = |name: &'static str, text: &str, what: &str| InitError::Param {
        name,
        why: format!("{text:?}: {what}"),
    };
    let mut timers = Vec::new();
    for text in init.list("timer") {
        let name = value(&text, "name")
            .ok_or_else(|| wrong("timer", &text, "name= is missing"))?
            .to_owned();
        let interval = match value(&text, "interval") {
            None => default,
            Some(given) => {
                interval(given).ok_or_else(|| wrong("timer", &text, "the interval is no number above 0"))?
            }
        };
        timers.push(Timer {
            name,
            interval: interval.max(FINEST),
            routes: Vec::new(),
            next: AtomicU64::new(0),
        });
    }
    for text in init.list("exec") {
        let name = value(&text, "timer").ok_or_else(|| wrong("exec", &text, "timer= is missing"))?;
        let route = value(&text, "route").ok_or_else(|| wrong("exec", &text, "route= is missing"))?;
        if init.program.route(route.as_bytes()).is_none() {
            return Err(wrong("exec", &text, "there is no such route"));
        }
        let timer = timers.iter_mut().find(|timer| timer.name == name);
        timer
            .ok_or_else(|| wrong("exec", &text, "there is no such timer"))?
            .routes
            .push(route.to_owned());
    }
    Ok(Arc::new(Timers(timers)))
}

fn finest(script: &Script) -> Option<Millis> {
    let timers = script.states.get::<Timers>()?;
    let shortest = timers
        .0
        .iter()
        .filter(|timer| !timer.routes.is_empty())
        .map(|timer| timer.interval)
        .min()?;
    Some(shortest.min(1000))
}

fn run(env: &mut Env<'_>) {
    let Some(timers) = env.state::<Timers>() else {
        return;
    };
    let now = env.host.now();
    for timer in &timers.0 {
        let next = timer.next.load(Ordering::Relaxed);
        if next > now {
            continue;
        }
        timer
            .next
            .store(now.saturating_add(timer.interval), Ordering::Relaxed);
        // the first turn comes after one interval
        if next != 0 {
            timer
                .routes
                .iter()
                .for_each(|route| run_route(env, route.as_bytes()));
        }
    }
}

/// Runs a route block on a request that nobody sent.
pub(super) fn run_route(env: &mut Env<'_>, name: &[u8]) {
    if let Some(route) = env.script.program.route(name) {
        run_block(env, route);
    }
}

/// The same for a block that is known.
pub(super) fn run_block(env: &mut Env<'_>, route: RouteId) {
    let mut ctx = Context::default();
    ctx.show_nobody();
    let mut lists = Lists::default();
    let mut inner = env.with(&mut ctx, RouteKind::REQUEST);
    inner.lists = &mut lists;
    exec::run(route, &mut inner);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::context::NOBODY;
    use shared::sip::Message;

    #[test]
    fn intervals_are_read() {
        for (text, expected) in [
            ("10", Some(10_000)),
            ("100000u", Some(100)),
            ("0", None),
            ("x", None),
            ("5u", None),
        ] {
            assert_eq!(interval(text), expected, "{text}");
        }
        assert_eq!(value("name=ta;interval=10;mode=1;", "interval"), Some("10"));
        assert!(Message::parse(NOBODY).is_ok());
    }
}
