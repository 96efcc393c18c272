//! `loadmodule "timer"`: route blocks at intervals that the script switches on and off (Kamailio module timer).

use super::rtimer::run_route;
use crate::script::host::Millis;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Script;
use crate::script::module::State;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[Param::List(
        "declare_timer",
        "A timer: id=route,milliseconds,slow|fast[,enable].",
    )],
    functions: &[Function::anywhere(
        &["timer_enable"],
        &[Arg::Literal("timer_id"), Arg::Int("enable")],
        "Switches a timer on (1) or off (0).",
        timer_enable,
    )],
    timers: &[ModuleTimer {
        name: "timer",
        interval: finest,
        run,
    }],
    init: Some(init),
    ..ModuleDef::new("timer", "Route blocks at intervals, switched by the script.")
};

struct Timer {
    id: String,
    route: String,
    interval: Millis,
    enabled: AtomicBool,
    next: AtomicU64,
}

struct Timers(Vec<Timer>);

fn parse(text: &str) -> Option<Timer> {
    let (id, rest) = text.split_once('=')?;
    let parts: Vec<&str> = rest.split(',').map(str::trim).collect();
    let (route, interval) = (parts.first()?, parts.get(1)?.parse::<u64>().ok()?);
    if !matches!(parts.get(2), Some(&("slow" | "fast")) | None) || interval == 0 {
        return None;
    }
    Some(Timer {
        id: id.trim().to_owned(),
        route: (*route).to_owned(),
        interval: interval.max(10),
        enabled: AtomicBool::new(parts.get(3) == Some(&"enable")),
        next: AtomicU64::new(0),
    })
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let mut timers = Vec::new();
    for text in init.list("declare_timer") {
        let why = |what: &str| InitError::Param {
            name: "declare_timer",
            why: format!("{text:?}: {what}"),
        };
        let timer = parse(&text).ok_or_else(|| why("expected id=route,milliseconds,slow|fast[,enable]"))?;
        if init.program.route(timer.route.as_bytes()).is_none() {
            return Err(why("there is no such route"));
        }
        timers.push(timer);
    }
    Ok(Arc::new(Timers(timers)))
}

fn finest(script: &Script) -> Option<Millis> {
    script
        .states
        .get::<Timers>()?
        .0
        .iter()
        .map(|timer| timer.interval)
        .min()
        .map(|ms| ms.min(1000))
}

fn run(env: &mut Env<'_>) {
    let Some(timers) = env.state::<Timers>() else {
        return;
    };
    let now = env.host.now();
    for timer in timers
        .0
        .iter()
        .filter(|timer| timer.enabled.load(Ordering::Relaxed))
    {
        if timer.next.load(Ordering::Relaxed) <= now {
            timer
                .next
                .store(now.saturating_add(timer.interval), Ordering::Relaxed);
            run_route(env, timer.route.as_bytes());
        }
    }
}

fn timer_enable(call: &mut Call<'_, '_>) -> Code {
    let Some(timers) = call.state::<Timers>() else {
        return Code::FALSE;
    };
    let (id, on) = (call.text_owned(0), call.int(1) != 0);
    let Some(timer) = timers.0.iter().find(|timer| timer.id.as_bytes() == id) else {
        return Code::FALSE;
    };
    timer.next.store(
        call.env.host.now().saturating_add(timer.interval),
        Ordering::Relaxed,
    );
    timer.enabled.store(on, Ordering::Relaxed);
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_read() {
        let timer = parse("MY_TIMER=MY_ROUTE,10,slow,enable").unwrap();
        assert_eq!(
            (&*timer.id, &*timer.route, timer.interval),
            ("MY_TIMER", "MY_ROUTE", 10)
        );
        assert!(timer.enabled.load(Ordering::Relaxed));
        assert!(!parse("T=R,500,fast").unwrap().enabled.load(Ordering::Relaxed));
        for bad in ["", "T=R", "T=R,x,slow", "T=R,5,quick"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
