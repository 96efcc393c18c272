//! `loadmodule "async"`: requests that wait, and work beside them (Kamailio module async).

use super::rtimer;
use crate::script::host::Millis;
use crate::script::host::RouteId;
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
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::value::Value;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests that wait, and tasks that are to be run: more are refused.
const MOST: usize = 100_000;
/// The longest waits, in milliseconds.
const LONGEST: (Millis, Millis) = (100_000, 30_000);
/// How often it is looked what is due, in milliseconds.
const TICK: Millis = 10;
/// The group of workers that a task has which names none.
const FIRST_GROUP: &[u8] = b"default";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm", "tmx"],
    params: &[
        Param::Ignored("workers", "what is due runs on the worker of timers"),
        Param::Int(
            "ms_timer",
            0,
            "Above 0 allows async_ms_route; what is due is looked for every 10 ms.",
        ),
        Param::Int(
            "return",
            0,
            "What the functions that suspend return; 0 ends the script.",
        ),
        Param::Ignored("mode", "tm is always there"),
    ],
    functions: &[
        Function {
            names: &["async_route"],
            args: &[Arg::Route("route", Routes::REQUEST), Arg::Int("seconds")],
            routes: Routes::REQUEST,
            doc: "Suspends the request and goes on with it in a route after at most 100 seconds.",
            call: async_route,
        },
        Function {
            names: &["async_ms_route"],
            args: &[Arg::Route("route", Routes::REQUEST), Arg::Int("milliseconds")],
            routes: Routes::REQUEST,
            doc: "The same after at most 30000 milliseconds.",
            call: async_ms_route,
        },
        Function {
            names: &["async_task_route"],
            args: &[Arg::Route("route", Routes::REQUEST)],
            routes: Routes::REQUEST,
            doc: "Suspends the request and goes on with it in a route at once, on another thread.",
            call: async_task_route,
        },
        Function {
            names: &["async_task_group_route"],
            args: &[Arg::Route("route", Routes::REQUEST), Arg::Text("group")],
            routes: Routes::REQUEST,
            doc: "The same; the group is $async(gname) there.",
            call: async_task_route,
        },
        Function::anywhere(
            &["async_task_data"],
            &[Arg::Text("route"), Arg::Text("data")],
            "Runs a route on a request that nobody sent, with the data in $async(data).",
            async_task_data,
        ),
        Function::anywhere(
            &["async_task_group_data"],
            &[Arg::Text("route"), Arg::Text("group"), Arg::Text("data")],
            "The same; the group is $async(gname) there.",
            async_task_group_data,
        ),
    ],
    pvs: &[Pv {
        names: &["async"],
        param: PvParam::Required,
        doc: "Of the task that runs: $async(data), $async(gname).",
        compile: Some(|inner| match inner.text {
            b"data" => Ok(PvData::Number(0)),
            b"gname" => Ok(PvData::Number(1)),
            _ => Err("it is `data` or `gname`".to_owned()),
        }),
        get: get_async,
        set: None,
    }],
    timers: &[ModuleTimer {
        name: "async",
        interval: |_| Some(TICK),
        run,
    }],
    init: Some(init),
    ..ModuleDef::new("async", "Requests that wait, and work beside them.")
};

/// A request that waits: when it is due, its transaction, where it goes on.
type Waiting = Reverse<(Millis, (u32, u32), RouteId)>;

/// A route to be run on its own.
struct Task {
    route: Vec<u8>,
    group: Vec<u8>,
    data: Vec<u8>,
}

/// What is to be done; a reload keeps it.
#[derive(Default)]
struct Agenda {
    waiting: Mutex<BinaryHeap<Waiting>>,
    tasks: Mutex<VecDeque<Task>>,
}

struct Async {
    agenda: Arc<Agenda>,
    in_milliseconds: bool,
    code: Code,
}

thread_local! {
    /// Data and group of the task that this thread runs.
    static RUNNING: RefCell<Option<(Vec<u8>, Vec<u8>)>> = const { RefCell::new(None) };
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let code = i32::try_from(init.int("return")).unwrap_or(0);
    let previous = init.previous::<Async>();
    Ok(Arc::new(Async {
        agenda: previous
            .map(|previous| Arc::clone(&previous.agenda))
            .unwrap_or_default(),
        in_milliseconds: init.int("ms_timer") > 0,
        code: if code == 0 { Code::EXIT } else { Code(code) },
    }))
}

/// Suspends the request for so long; false when it cannot be.
fn wait(call: &mut Call<'_, '_>, pause: i64, longest: Millis) -> Code {
    let Some(state) = call.state::<Async>() else {
        return Code::FALSE;
    };
    let pause = Millis::try_from(pause).ok().filter(|pause| *pause <= longest);
    let (Some(pause), Some(route)) = (pause, call.route(0, Routes::REQUEST)) else {
        crate::log::error(
            "async",
            format_args!(
                "{}: needs a route that there is and a time from 0 to {longest} ms",
                call.name
            ),
        );
        return Code::FALSE;
    };
    if state.agenda.waiting.lock().len() >= MOST {
        crate::log::error(
            "async",
            format_args!("{}: {MOST} requests wait already", call.name),
        );
        return Code::FALSE;
    }
    let due = call.env.host.now().saturating_add(pause);
    let (host, scope) = call.split();
    let Some(id) = host.suspend(scope) else {
        return Code::FALSE;
    };
    state.agenda.waiting.lock().push(Reverse((due, id, route)));
    state.code
}

fn async_route(call: &mut Call<'_, '_>) -> Code {
    let seconds = call.int(1);
    wait(call, seconds.saturating_mul(1000), LONGEST.0)
}

fn async_ms_route(call: &mut Call<'_, '_>) -> Code {
    if !call.state::<Async>().is_some_and(|state| state.in_milliseconds) {
        crate::log::error(
            "async",
            format_args!("async_ms_route: needs modparam(\"async\", \"ms_timer\", 10)"),
        );
        return Code::FALSE;
    }
    let pause = call.int(1);
    wait(call, pause, LONGEST.1)
}

fn async_task_route(call: &mut Call<'_, '_>) -> Code {
    wait(call, 0, 0)
}

fn add(call: &Call<'_, '_>, group: Vec<u8>, data: Vec<u8>) -> Code {
    let (Some(state), route) = (call.state::<Async>(), call.text_owned(0)) else {
        return Code::FALSE;
    };
    let mut tasks = state.agenda.tasks.lock();
    if call.env.script.program.route(&route).is_none() || tasks.len() >= MOST {
        let route = String::from_utf8_lossy(&route);
        crate::log::error(
            "async",
            format_args!("{}: no route[{route}], or {MOST} tasks wait already", call.name),
        );
        return Code::FALSE;
    }
    tasks.push_back(Task { route, group, data });
    Code::TRUE
}

fn async_task_data(call: &mut Call<'_, '_>) -> Code {
    add(call, FIRST_GROUP.to_vec(), call.text_owned(1))
}

fn async_task_group_data(call: &mut Call<'_, '_>) -> Code {
    add(call, call.text_owned(1), call.text_owned(2))
}

/// Goes on with the requests that are due and runs the tasks that came before now.
fn run(env: &mut Env<'_>) {
    let Some(state) = env.state::<Async>() else { return };
    let now = env.host.now();
    loop {
        let mut waiting = state.agenda.waiting.lock();
        if waiting.peek().is_none_or(|Reverse((due, ..))| *due > now) {
            break;
        }
        let Some(Reverse((_, id, route))) = waiting.pop() else {
            break;
        };
        drop(waiting);
        env.host.resume(id, route);
    }
    let tasks = std::mem::take(&mut *state.agenda.tasks.lock());
    for task in tasks {
        RUNNING.set(Some((task.data, task.group)));
        rtimer::run_route(env, &task.route);
        RUNNING.set(None);
    }
}

fn get_async<'e>(_: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    RUNNING.with_borrow(|running| match (running, &spec.data) {
        (Some((data, _)), PvData::Number(0)) => Value::owned(data.as_slice()),
        (Some((_, group)), _) => Value::owned(group.as_slice()),
        (None, _) => Value::Null,
    })
}
