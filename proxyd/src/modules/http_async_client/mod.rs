//! `loadmodule "http_async_client"`: questions to web servers, during which the request waits and the worker does not (Kamailio
//! module http_async_client).

mod query;
#[cfg(test)]
mod tests;

use super::rtimer;
use crate::modules::http::Client;
use crate::modules::http::Failure;
use crate::modules::http::Reply;
use crate::modules::http::Settings;
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
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::State;
use crate::script::value::Value;
use crate::stats::Counter;
use ahash::AHashMap;
use parking_lot::Mutex;
use query::Query;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many questions may be open at once; more are refused.
const MOST: usize = 256;
/// How many ways to speak to servers are kept.
const MOST_CLIENTS: usize = 32;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[
        Param::Int(
            "connection_timeout",
            500,
            "Milliseconds that a server may take in all.",
        ),
        Param::Int("tls_verify_peer", 1, "0 accepts every certificate."),
        Param::Text("tls_client_cert", "", "File with the certificate that is shown."),
        Param::Text("tls_client_key", "", "File with its key."),
        Param::Text(
            "tls_ca_path",
            "",
            "Folder, or file, with the authorities of servers; not given, those of the machine.",
        ),
        Param::Int("curl_follow_redirect", 0, "Follow redirects, up to 10."),
        Param::Ignored("workers", "questions wait on threads of their own, 256 at most"),
        Param::Ignored("hash_size", "the table grows as it needs"),
        Param::Ignored("tls_version", "TLS 1.2 and 1.3 are offered"),
        Param::Ignored(
            "tls_verify_host",
            "a certificate that is checked is checked for the name too",
        ),
        Param::Ignored("curl_verbose", "there is no libcurl"),
        Param::Ignored("memory_manager", "there is no libcurl"),
        Param::Ignored("tcp_keepalive", "no connection outlives its question"),
        Param::Ignored("tcp_ka_idle", "no connection outlives its question"),
        Param::Ignored("tcp_ka_interval", "no connection outlives its question"),
    ],
    functions: &[Function::anywhere(
        &["http_async_query"],
        &[Arg::Text("url"), Arg::Text("route")],
        "Asks a server and goes on with the request in a route when it has answered; without a transaction the route runs on its own.",
        http_async_query,
    )],
    pvs: &[
        Pv::class(&["http_req"], "Of the next question: $http_req(hdr|body|method|timeout|username|password|authmethod|suspend|follow_redirect|\
                tls_ca_path|tls_client_cert|tls_client_key); $http_req(all) = $null forgets all.", query::compile, |_, _| Value::Null).settable(query::set),
        Pv {
            names: &["http_req_id"],
            param: PvParam::None,
            doc: "The identifier of the question asked last, in its route of the one answered.",
            compile: None,
            get: |env, _| match shown(env, |done| done.id.clone()) {
                Some(id) => Value::owned(id.as_bytes()),
                None => LAST.with_borrow(|id| Value::text_or_null(id.as_bytes()).into_owned()),
            },
            set: None,
        },
        Pv::plain(&["http_ok"], "1 when the server answered, whatever; 0 when not.", |env, _| shown(env, |done| Value::Int(done.result.is_ok().into())).unwrap_or(Value::Null)),
        Pv {
            names: &["http_err"],
            param: PvParam::None,
            doc: "Why it did not.",
            compile: None,
            get: |env, _| {
                let why = shown(env, |done| done.result.as_ref().err().map(|why| why.text)).flatten();
                why.map_or(Value::Null, |why| Value::text(why.as_bytes()))
            },
            set: None,
        },
        Pv::plain(&["http_rs"], "The status.", |env, _| answer(env, |reply| Value::Int(reply.status.into()))),
        Pv::plain(&["http_rr"], "The reason.", |env, _| answer(env, |reply| Value::owned(reply.reason.as_bytes()))),
        Pv::plain(&["http_rb"], "The body.", |env, _| answer(env, |reply| Value::owned(&reply.body[..]))),
        Pv::plain(&["http_bs"], "How long the body is.", |env, _| answer(env, |reply| length(reply.body.len()))),
        Pv::plain(&["http_mb"], "The answer with its headers.", |env, _| answer(env, |reply| Value::owned(&whole(reply)[..]))),
        Pv::plain(&["http_ml"], "How long that is.", |env, _| answer(env, |reply| length(whole(reply).len()))),
        Pv {
            names: &["http_hdr"],
            param: PvParam::Required,
            doc: "$http_hdr(Name): a header of the answer; [n] one of several.",
            compile: None,
            get: header,
            set: None,
        },
        Pv {
            names: &["http_time"],
            param: PvParam::Required,
            doc: "$http_time(total): microseconds that the answer took.",
            compile: Some(query::compile_time),
            get: |env, _| {
                let took = shown(env, |done| done.took);
                took.map_or(Value::Null, |took| {
                    Value::Int(i64::try_from(took.as_micros()).unwrap_or(i64::MAX))
                })
            },
            set: None,
        },
    ],
    timers: &[ModuleTimer {
        name: "http answers",
        interval: |_| Some(10),
        run: go_on,
    }],
    init: Some(init),
    ..ModuleDef::new(
        "http_async_client",
        "Questions to web servers, while whose answers are awaited others are served.",
    )
};

/// An answer, or why there is none.
struct Done {
    id: String,
    result: Result<Reply, Failure>,
    took: Duration,
    /// The transaction that waits for it; none: the route runs on its own.
    waits: Option<(u32, u32)>,
    route: RouteId,
}

/// What threads and workers share; a reload keeps it.
#[derive(Default)]
struct Desk {
    open: AtomicUsize,
    asked: AtomicU64,
    /// What has come in.
    arrived: Mutex<VecDeque<Done>>,
    /// What transactions look at that have been told to go on.
    given: Mutex<AHashMap<(u32, u32), Arc<Done>>>,
    clients: Mutex<Vec<(Settings, Arc<Client>)>>,
}

impl Desk {
    /// Who speaks to servers in this way.
    fn client(&self, settings: &Settings) -> Result<Arc<Client>, String> {
        let mut clients = self.clients.lock();
        if let Some((_, client)) = clients.iter().find(|(known, _)| known == settings) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::new(settings)?);
        if clients.len() >= MOST_CLIENTS {
            clients.remove(0);
        }
        clients.push((settings.clone(), Arc::clone(&client)));
        Ok(client)
    }
}

/// What the module works with.
struct HttpAsync {
    desk: Arc<Desk>,
    settings: Settings,
    requests: Arc<Counter>,
    replies: Arc<Counter>,
    errors: Arc<Counter>,
    timeouts: Arc<Counter>,
}

thread_local! {
    /// The answer that a route on its own was run for.
    static SHOWN: RefCell<Option<Arc<Done>>> = const { RefCell::new(None) };
    /// The identifier of the question that this worker asked last.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let path = |name: &str| {
        Some(init.text(name))
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    let timeout = u64::try_from(init.int("connection_timeout"))
        .ok()
        .filter(|ms| *ms > 0)
        .ok_or_else(|| InitError::Param {
            name: "connection_timeout",
            why: "it is above 0".to_owned(),
        })?;
    let user_agent = init.program.user_agent_header().unwrap_or(b"proxyd");
    let settings = Settings {
        timeout: Duration::from_millis(timeout),
        redirects: init.int("curl_follow_redirect") != 0,
        user_agent: String::from_utf8_lossy(user_agent).into_owned(),
        most: None,
        verify: init.int("tls_verify_peer") != 0,
        authorities: path("tls_ca_path"),
        own: path("tls_client_cert").zip(path("tls_client_key")),
        proxy: None,
        keeps: false,
    };
    let desk = init
        .previous::<HttpAsync>()
        .map(|previous| Arc::clone(&previous.desk))
        .unwrap_or_default();
    let refuse = |why| InitError::Param {
        name: "tls_client_cert",
        why,
    };
    desk.client(&settings).map_err(refuse)?;
    let counter = |name| init.statistics.counter("http_async_client", name);
    Ok(Arc::new(HttpAsync {
        desk,
        settings,
        requests: counter("requests"),
        replies: counter("replies"),
        errors: counter("errors"),
        timeouts: counter("timeouts"),
    }))
}

fn refused(call: &Call<'_, '_>, why: &str) -> Code {
    crate::log::error("http_async_client", format_args!("{}: {why}", call.name));
    Code::FALSE
}

fn http_async_query(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<HttpAsync>() else {
        return Code::FALSE;
    };
    let query: Query = query::take();
    let url = String::from_utf8_lossy(&call.text(0)).into_owned();
    let name = call.text_owned(1);
    let Some(route) = call.env.script.program.route(&name) else {
        return refused(call, &format!("no route[{}]", String::from_utf8_lossy(&name)));
    };
    let client = match state.desk.client(&query.settings(&state.settings)) {
        Ok(client) => client,
        Err(why) => return refused(call, &why),
    };
    if state.desk.open.load(Ordering::Relaxed) >= MOST {
        return refused(call, "too many questions are open");
    }
    let suspends = query.suspends && call.env.host.transaction().is_some();
    let waits = if suspends {
        let (host, scope) = call.split();
        match host.suspend(scope) {
            Some(id) => Some(id),
            None => return refused(call, "the transaction cannot be suspended"),
        }
    } else {
        None
    };
    let number = state.desk.asked.fetch_add(1, Ordering::Relaxed) + 1;
    let id = format!("{:x}-{number:x}", call.env.host.wall().as_secs());
    LAST.with_borrow_mut(|last| last.clone_from(&id));
    state.requests.inc();
    state.desk.open.fetch_add(1, Ordering::Relaxed);
    let (desk, request) = (Arc::clone(&state.desk), query.request(url));
    call.env.host.spawn(Box::new(move || {
        let begun = crate::clock::wall();
        let result = client.fetch(&request);
        desk.open.fetch_sub(1, Ordering::Relaxed);
        desk.arrived.lock().push_back(Done {
            id,
            result,
            took: crate::clock::wall().saturating_sub(begun),
            waits,
            route,
        });
    }));
    if waits.is_some() { Code::EXIT } else { Code::TRUE }
}

/// Goes on with what has been answered.
fn go_on(env: &mut Env<'_>) {
    let Some(state) = env.state::<HttpAsync>() else {
        return;
    };
    // those of the turn before have run by now: the worker of timers does both, one after the other
    state.desk.given.lock().clear();
    let arrived = std::mem::take(&mut *state.desk.arrived.lock());
    for done in arrived {
        match &done.result {
            Ok(_) => state.replies.inc(),
            Err(why) => {
                state.errors.inc();
                if why.is_timeout() {
                    state.timeouts.inc();
                }
            }
        }
        let done = Arc::new(done);
        match done.waits {
            Some(id) => {
                state.desk.given.lock().insert(id, Arc::clone(&done));
                env.host.resume(id, done.route);
            }
            None => {
                SHOWN.set(Some(Arc::clone(&done)));
                rtimer::run_block(env, done.route);
                SHOWN.set(None);
            }
        }
    }
}

/// Something of the answer that the route runs for.
fn shown<T>(env: &Env<'_>, part: impl FnOnce(&Done) -> T) -> Option<T> {
    let own = SHOWN.with_borrow(Option::clone);
    let done = own.or_else(|| {
        let id = env.host.transaction()?.id;
        let state = env.state::<HttpAsync>()?;
        let given = state.desk.given.lock();
        given.get(&id).map(Arc::clone)
    });
    done.map(|done| part(&done))
}

fn answer<'e>(env: &Env<'_>, part: impl FnOnce(&Reply) -> Value<'e>) -> Value<'e> {
    shown(env, |done| done.result.as_ref().map_or(Value::Null, part)).unwrap_or(Value::Null)
}

fn length<'e>(bytes: usize) -> Value<'e> {
    Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// An answer as it may have been on the wire.
fn whole(reply: &Reply) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} {}\r\n", reply.status, reply.reason).into_bytes();
    for (name, value) in &reply.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&reply.body);
    out
}

fn header<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let name = spec.text(env);
    answer(env, |reply| {
        if spec.is_all() {
            let all: Vec<&[u8]> = reply.values(&name).collect();
            return Value::text_or_null(&all.join(&b","[..])).into_owned();
        }
        let at = spec.at(env).unwrap_or(0);
        let back = usize::try_from(-1 - at);
        let value = match (usize::try_from(at), back) {
            (Ok(at), _) => reply.values(&name).nth(at),
            (_, Ok(back)) => reply.values(&name).rev().nth(back),
            _ => None,
        };
        value.map_or(Value::Null, Value::owned)
    })
}
