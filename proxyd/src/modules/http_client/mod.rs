//! `loadmodule "http_client"`: questions to web servers, for whose answer the script waits (Kamailio module http_client).

mod connections;
#[cfg(test)]
mod tests;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::modules::http;
use crate::modules::http::Client;
use crate::modules::http::Failure;
use crate::modules::http::Reply;
use crate::modules::http::Request;
use crate::modules::http::Settings;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use crate::stats::Counter;
use connections::Connection;
use serde_json::json;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Seconds that a server may take where the script does not say, and where it wants no limit.
const TIMEOUT: i64 = 4;
const LONGEST: Duration = Duration::from_secs(30);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("httpredirect", 0, "Follow redirects, up to 10."),
        Param::Text("httpproxy", "", "URL of a proxy for all servers."),
        Param::Int("httpproxyport", 0, "Its port, when the URL has none."),
        Param::Text(
            "useragent",
            "",
            "The User-Agent header; not given, that of SIP requests.",
        ),
        Param::Int("maxdatasize", 0, "The longest answer, bytes; 0 is 10 MiB."),
        Param::Int(
            "connection_timeout",
            TIMEOUT,
            "Seconds that a server may take in all; the worker waits for it so long. 0 is 4.",
        ),
        Param::Int(
            "timeout_mode",
            1,
            "Times are 1 seconds or 2 milliseconds; 0: all are 30 seconds.",
        ),
        Param::Int(
            "response_headers",
            0,
            "Keep the headers of answers for $httprhdr().",
        ),
        Param::Text("client_cert", "", "File with the certificate that is shown."),
        Param::Text("client_key", "", "File with its key."),
        Param::Text(
            "cacert",
            "",
            "File with the authorities of servers; not given, those of the machine.",
        ),
        Param::Int("verify_peer", 1, "0 accepts every certificate."),
        Param::Ignored(
            "verify_host",
            "a certificate that is checked is checked for the name too",
        ),
        Param::Ignored("cipher_suites", "only strong ones are offered"),
        Param::Ignored("tlsversion", "TLS 1.2 and 1.3 are offered"),
        Param::Int(
            "authmethod",
            3,
            "How credentials may be sent: bits 1 basic, 2 digest; 1 alone sends them unasked.",
        ),
        Param::Int(
            "keep_connections",
            0,
            "Connections are kept for the next question.",
        ),
        Param::Int(
            "query_result",
            1,
            "What http_client_query() gives: 0 the answer, 1 its first line.",
        ),
        Param::Int(
            "query_maxdatasize",
            0,
            "The longest answer to it, bytes; 0 is 10 MiB.",
        ),
        Param::List("httpcon", "A server for http_connect(): name=>url;param=value…"),
        Param::Text("config_file", "", "File with such servers, a [section] each."),
        Param::Ignored("netinterface", "the system chooses the way"),
    ],
    functions: &[
        Function::anywhere(
            &["http_client_query"],
            &[Arg::Text("url"), Arg::Pv("result")],
            "Asks a server (GET) for a line or, by query_result, all of its answer; returns the status, below 100 why there is none.",
            |call| query(call, None, &[]),
        ),
        Function::anywhere(
            &["http_client_query"],
            &[Arg::Text("url"), Arg::Text("body"), Arg::Pv("result")],
            "The same with a body (POST).",
            |call| query(call, None, &[1]),
        ),
        Function::anywhere(
            &["http_client_query"],
            &[
                Arg::Text("url"),
                Arg::Text("body"),
                Arg::Text("headers"),
                Arg::Pv("result"),
            ],
            "The same with headers.",
            |call| query(call, None, &[1, 2]),
        ),
        Function::anywhere(
            &["http_client_get"],
            &[
                Arg::Text("url"),
                Arg::Text("body"),
                Arg::Text("headers"),
                Arg::Pv("result"),
            ],
            "Asks a server by GET, whatever the body.",
            |call| query(call, Some("GET".to_owned()), &[1, 2]),
        ),
        Function::anywhere(
            &["http_client_request"],
            &[
                Arg::Text("method"),
                Arg::Text("url"),
                Arg::Text("body"),
                Arg::Text("headers"),
                Arg::Pv("result"),
            ],
            "Asks a server by any method.",
            |call| {
                let method = String::from_utf8_lossy(&call.text(0)).into_owned();
                query(call, Some(method), &[2, 3])
            },
        ),
        Function::anywhere(
            &["http_client_response_headers_set"],
            &[Arg::Int("mode")],
            "With 1 the headers of answers are kept for $httprhdr().",
            |call| {
                let keeps = Some(call.int(0) != 0);
                HEADERS.set(Kept { keeps, reply: None });
                Code::TRUE
            },
        ),
        Function::anywhere(
            &["http_client_response_headers_clear"],
            &[],
            "Forgets those kept.",
            |_| {
                HEADERS.with_borrow_mut(|kept| kept.reply = None);
                Code::TRUE
            },
        ),
        Function::anywhere(
            &["http_connect"],
            &[Arg::Text("connection"), Arg::Text("url"), Arg::Pv("result")],
            "Asks a server of httpcon (GET) for its answer; returns the status, below 100 why there is none.",
            |call| connect(call, None),
        ),
        Function::anywhere(
            &["http_connect"],
            &[
                Arg::Text("connection"),
                Arg::Text("url"),
                Arg::Text("content_type"),
                Arg::Text("data"),
                Arg::Pv("result"),
            ],
            "The same with a body (POST).",
            |call| connect(call, Some((2, 3))),
        ),
        Function::anywhere(
            &["http_connect_raw"],
            &[
                Arg::Text("connection"),
                Arg::Text("url"),
                Arg::Text("content_type"),
                Arg::Literal("data"),
                Arg::Pv("result"),
            ],
            "The same; pseudo-variables in the body are sent as they stand.",
            |call| connect(call, Some((2, 3))),
        ),
        Function::anywhere(
            &["http_get_redirect"],
            &[Arg::Text("connection"), Arg::Pv("result")],
            "Where the last answer of a server of httpcon was found.",
            get_redirect,
        ),
    ],
    pvs: &[
        Pv {
            names: &["curlerror"],
            param: PvParam::Required,
            doc: "What a result below 100 means: $curlerror(28).",
            compile: None,
            get: curl_error,
            set: None,
        },
        Pv {
            names: &["httprhdr"],
            param: PvParam::Required,
            doc: "A header of the last answer, where http_client_response_headers_set(1) was called.",
            compile: None,
            get: kept_header,
            set: None,
        },
    ],
    rpcs: &[Rpc {
        name: "httpclient.listcon",
        doc: "The servers of httpcon.",
        call: list,
    }],
    init: Some(init),
    ..ModuleDef::new("http_client", "Questions to web servers.")
};

/// The headers that a worker kept.
#[derive(Default)]
struct Kept {
    /// Whether it does, where its script has said.
    keeps: Option<bool>,
    reply: Option<Reply>,
}

thread_local! {
    static HEADERS: RefCell<Kept> = RefCell::default();
}

/// What the module works with.
struct HttpClient {
    client: Client,
    first_line: bool,
    keeps_headers: bool,
    authmethod: i64,
    connections: Vec<Connection>,
    ok: Arc<Counter>,
    failed: Arc<Counter>,
}

impl HttpClient {
    fn connection(&self, name: &[u8]) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|connection| connection.name.as_bytes() == name)
    }

    /// Asks, and counts.
    fn ask(&self, client: &Client, request: &Request) -> Result<Reply, Failure> {
        let result = client.fetch(request);
        // Kamailio: what is not granted is a failure too
        let granted = matches!(&result, Ok(reply) if (200..300).contains(&reply.status));
        if granted { &self.ok } else { &self.failed }.inc();
        result
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let refuse = |name: &'static str| move |why: String| InitError::Param { name, why };
    let general = settings(init)?;
    let defaults = connections::Defaults {
        authmethod: init.int("authmethod"),
        unit: unit(init)?,
        settings: &general,
    };
    let mut connections = Vec::new();
    for text in init.list("httpcon") {
        let one = connections::of_parameter(&text, &defaults);
        connections.push(one.map_err(refuse("httpcon"))?);
    }
    let file = init.text("config_file");
    if !file.is_empty() {
        let text = std::fs::read_to_string(&file).map_err(|error| InitError::Io {
            path: file.clone(),
            error,
        })?;
        let more = connections::of_file(&text, &defaults);
        connections.extend(more.map_err(|why| refuse("config_file")(format!("{file}: {why}")))?);
    }
    let most = limit(init, "query_maxdatasize")?.or(general.most);
    let client = Client::new(&Settings {
        most,
        ..general.clone()
    });
    let number = i64::try_from(connections.len()).unwrap_or(i64::MAX);
    init.statistics.gauge("httpclient", "connections", move || number);
    Ok(Arc::new(HttpClient {
        client: client.map_err(refuse("client_cert"))?,
        first_line: init.int("query_result") != 0,
        keeps_headers: init.int("response_headers") != 0,
        authmethod: defaults.authmethod,
        connections,
        ok: init.statistics.counter("httpclient", "connok"),
        failed: init.statistics.counter("httpclient", "connfail"),
    }))
}

/// A limit in bytes; 0 is none.
fn limit(init: &Init<'_>, name: &'static str) -> Result<Option<u64>, InitError> {
    let bytes = u64::try_from(init.int(name)).map_err(|_| InitError::Param {
        name,
        why: "it is 0 or more".to_owned(),
    })?;
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

/// What times are counted in; none: there is no limit but ours.
fn unit(init: &Init<'_>) -> Result<Option<Duration>, InitError> {
    match init.int("timeout_mode") {
        0 => Ok(None),
        1 => Ok(Some(Duration::from_secs(1))),
        2 => Ok(Some(Duration::from_millis(1))),
        _ => Err(InitError::Param {
            name: "timeout_mode",
            why: "it is 0, 1 or 2".to_owned(),
        }),
    }
}

/// The settings of servers that say nothing else.
fn settings(init: &Init<'_>) -> Result<Settings, InitError> {
    let refuse = |name: &'static str, why: &str| InitError::Param {
        name,
        why: why.to_owned(),
    };
    let path = |name: &str| {
        Some(init.text(name))
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    let time = u64::try_from(init.int("connection_timeout"))
        .ok()
        .filter(|time| *time > 0)
        .unwrap_or(TIMEOUT.unsigned_abs());
    let timeout = unit(init)?.map_or(LONGEST, |unit| {
        unit.saturating_mul(u32::try_from(time).unwrap_or(u32::MAX))
    });
    let own = match (path("client_cert"), path("client_key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(refuse("client_cert", "client_cert and client_key go together")),
    };
    let proxy = match (init.text("httpproxy"), init.int("httpproxyport")) {
        (proxy, _) if proxy.is_empty() => None,
        (proxy, 0) => Some(proxy),
        (proxy, port) => Some(format!("{proxy}:{port}")),
    };
    let mut user_agent = init.text("useragent");
    if user_agent.is_empty() {
        let own = init.program.user_agent_header().unwrap_or(b"proxyd");
        user_agent = String::from_utf8_lossy(own).into_owned();
    }
    Ok(Settings {
        timeout,
        redirects: init.int("httpredirect") != 0,
        user_agent,
        most: limit(init, "maxdatasize")?,
        verify: init.int("verify_peer") != 0,
        authorities: path("cacert"),
        own,
        proxy,
        keeps: init.int("keep_connections") != 0,
    })
}

fn text(call: &Call<'_, '_>, n: usize) -> String {
    String::from_utf8_lossy(&call.text(n)).into_owned()
}

/// What the script gets: the status, or the number of the failure; the answer goes to the last argument.
fn settle(
    call: &mut Call<'_, '_>,
    url: &str,
    result: Result<Reply, Failure>,
    shown: impl FnOnce(&Reply) -> Vec<u8>,
) -> Code {
    let last = call.args.len().saturating_sub(1);
    match result {
        Ok(reply) => {
            let value = shown(&reply);
            call.assign(last, Value::owned(&value[..]));
            let code = Code(reply.status.into());
            let general = call
                .state::<HttpClient>()
                .is_some_and(|state| state.keeps_headers);
            HEADERS
                .with_borrow_mut(|kept| kept.reply = Some(reply).filter(|_| kept.keeps.unwrap_or(general)));
            code
        }
        Err(failure) => {
            crate::log::warning("http_client", format_args!("{}: {url}: {failure}", call.name));
            call.assign(last, Value::text(b""));
            Code(failure.code.into())
        }
    }
}

/// Asks for a URL; `at` are the arguments with the body and the headers, which stand behind the URL.
fn query(call: &mut Call<'_, '_>, method: Option<String>, at: &[usize]) -> Code {
    let Some(state) = call.state::<HttpClient>() else {
        return Code::FALSE;
    };
    let url = text(call, at.first().map_or(0, |body| body - 1));
    let request = Request {
        method,
        url: url.clone(),
        body: at.first().map(|n| call.text_owned(*n)).unwrap_or_default(),
        headers: at.get(1).map(|n| call.text_owned(*n)).unwrap_or_default(),
        authmethod: state.authmethod,
        ..Request::default()
    };
    let result = state.ask(&state.client, &request);
    let first_line = state.first_line;
    settle(call, &url, result, |reply| match reply.status {
        // Kamailio: what a server says of its own failure is not shown
        500.. => Vec::new(),
        _ if first_line => {
            let mut lines = reply.body.split(|byte| matches!(byte, b'\n' | b'\r'));
            lines.next().unwrap_or_default().to_vec()
        }
        _ => reply.body.clone(),
    })
}

/// Asks a server of `httpcon`, and those it fails over to; `data` are the arguments with the type and the body.
fn connect(call: &mut Call<'_, '_>, data: Option<(usize, usize)>) -> Code {
    let Some(state) = call.state::<HttpClient>() else {
        return Code::FALSE;
    };
    let name = call.text_owned(0);
    let Some(mut connection) = state.connection(&name) else {
        let name = String::from_utf8_lossy(&name);
        crate::log::error(
            "http_client",
            format_args!("{}: no connection {name:?}", call.name),
        );
        call.assign(call.args.len().saturating_sub(1), Value::text(b""));
        return Code::FALSE;
    };
    let path = text(call, 1);
    let content_type = data.map(|(kind, _)| [b"Content-Type: ", &*call.text(kind)].concat());
    // each is tried once, so that no circle has an end to be waited for
    let mut left = state.connections.len();
    loop {
        let joint = if path.is_empty() || path.starts_with('/') || connection.base.ends_with('/') {
            ""
        } else {
            "/"
        };
        let base = match path.starts_with('/') {
            true => connection.base.trim_end_matches('/'),
            false => &connection.base,
        };
        let url = format!("{base}{joint}{path}");
        let request = Request {
            method: data.map(|_| "POST".to_owned()),
            url: url.clone(),
            headers: content_type.clone().unwrap_or_default(),
            body: data.map(|(_, body)| call.text_owned(body)).unwrap_or_default(),
            credentials: connection.credentials.clone(),
            authmethod: connection.authmethod,
        };
        let result = state.ask(&connection.client, &request);
        if let Ok(reply) = &result {
            connection.last_url.lock().clone_from(&reply.url);
        }
        left -= 1;
        let failed = !matches!(&result, Ok(reply) if reply.status < 500);
        let next = connection.failover.as_deref().filter(|_| failed && left > 0);
        match next.and_then(|next| state.connection(next.as_bytes())) {
            Some(next) => {
                crate::log::error(
                    "http_client",
                    format_args!("{} failed, {} is asked", connection.name, next.name),
                );
                connection = next;
            }
            None => return settle(call, &url, result, |reply| reply.body.clone()),
        }
    }
}

fn get_redirect(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<HttpClient>() else {
        return Code::FALSE;
    };
    let name = call.text_owned(0);
    let Some(url) = state.connection(&name).map(|one| one.last_url.lock().clone()) else {
        return Code::FALSE;
    };
    Code::from(call.assign(1, Value::owned(url.as_bytes())))
}

fn curl_error<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let code = match &spec.data {
        PvData::Format(_) | PvData::Text(_) => crate::script::value::leading_int(&spec.text(env)),
        _ => None,
    };
    let code = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
    let text = match http::meaning(code) {
        Some(text) => text,
        None if code >= 100 => "HTTP result code",
        None => "No error",
    };
    Value::text(text.as_bytes())
}

fn kept_header<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let name = spec.text(env);
    HEADERS.with_borrow(|kept| {
        let value = kept.reply.as_ref().and_then(|reply| reply.values(&name).next());
        value.map_or(Value::Null, Value::owned)
    })
}

fn list(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = script
        .states
        .get::<HttpClient>()
        .filter(|state| !state.connections.is_empty())
        .ok_or_else(|| RpcFault::failed("No Connection Definitions"))?;
    let rows = state.connections.iter().map(|one| {
        let (schema, rest) = one.base.split_once("://").unwrap_or(("http", &one.base));
        let uri = rest.rsplit_once('@').map_or(rest, |(_, uri)| uri);
        json!({ "CONNECTION": {
            "NAME": one.name,
            "SCHEMA": schema,
            "URI": uri,
            "TIMEOUT": one.settings.timeout.as_secs(),
            "USERAGENT": one.settings.user_agent,
            "FAILOVER": one.failover,
        } })
    });
    Ok(RpcReply::Value(rows.collect::<Vec<_>>().into()))
}
