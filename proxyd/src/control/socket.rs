//! The control socket: JSON-RPC 2.0 over HTTP/1.1 and WebSocket on a unix stream socket, `GET /health`, `GET /metrics`.

use std::convert::Infallible;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use jsonrpsee::server::ServerHandle;
use jsonrpsee::server::StopHandle;
use jsonrpsee::server::stop_channel;
use jsonrpsee::server::ws;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tower::Service;

use super::body::Body;
use super::body::ChunkWriter;
use super::jsonrpc::Dialect;
use super::methods::Methods;
use super::methods::Peer;
use super::methods::PeerTransport;
use super::places::Place;
use super::places::Places;
use super::rights::Rights;
use super::unix::Access;
use super::unix::Removed;
use super::unix::bind_stream;
use super::websocket::WebSocket;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the control socket is opened.
#[derive(Clone, Debug)]
pub struct ControlOptions {
    /// Where it lies.
    pub path: PathBuf,
    /// Who may use it.
    pub access: Access,
    /// What may be called over it.
    pub rights: Rights,
    /// Connections at once.
    pub max_connections: usize,
    /// The longest request.
    pub max_request: usize,
    /// The longest reply over WebSocket, which is not produced piecemeal.
    pub max_response: usize,
}

impl ControlOptions {
    /// A socket at `path` for our user and group.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: Access::mode(0o660),
            rights: Rights::All,
            max_connections: 256,
            max_request: 1 << 20,
            max_response: 256 << 20,
        }
    }
}

/// What the control socket shows.
#[derive(Clone)]
pub struct Control {
    /// The method table.
    pub methods: Arc<Methods>,
    /// Whether the daemon is well, and what it says about itself: `GET /health`.
    pub health: Arc<dyn Fn() -> (bool, serde_json::Value) + Send + Sync>,
    /// Counters in the text format of Prometheus: `GET /metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Methods that push: `trace`.
    pub subscriptions: jsonrpsee::server::Methods,
}

impl Control {
    /// A method table without more.
    pub fn new(methods: Arc<Methods>) -> Self {
        Self {
            methods,
            health: Arc::new(|| (true, serde_json::json!({ "status": "ok" }))),
            metrics: Arc::new(String::new),
            subscriptions: jsonrpsee::server::Methods::new(),
        }
    }
}

/// A control socket in service; dropping it stops it and removes its file.
pub struct ControlSocket {
    handle: ServerHandle,
    _file: Removed,
}

impl ControlSocket {
    /// Opens the socket, and serves it on `runtime`.
    pub fn serve(
        runtime: &tokio::runtime::Handle,
        options: ControlOptions,
        control: Control,
    ) -> io::Result<Self> {
        let (listener, file) = bind_stream(&options.path, options.access)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener)?
        };
        let (stop, handle) = stop_channel();
        runtime.spawn(accept(listener, options, control, stop));
        Ok(Self { handle, _file: file })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
    }
}

async fn accept(listener: UnixListener, options: ControlOptions, control: Control, stop: StopHandle) {
    let places = Places::new(options.max_connections);
    let options = Arc::new(options);
    let ws = WebSocket::new(&control, &options, stop.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.clone().shutdown() => return,
        };
        let twice = |(io, _): (UnixStream, _)| {
            let socket = io.as_fd().try_clone_to_owned()?;
            io::Result::Ok((io, Arc::new(socket.into())))
        };
        let Ok((io, socket)) = accepted.and_then(twice) else {
            // Out of descriptors: that passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = places.take().await else {
            continue;
        };
        let connection = Connection {
            peer: peer_of(&io, &options.rights),
            control: control.clone(),
            options: options.clone(),
            ws: ws.clone(),
            place: Arc::new(place),
            socket,
        };
        tokio::spawn(connection.run(io, stop.clone()));
    }
}

/// The caller by the kernel's word (SO_PEERCRED).
fn peer_of(io: &UnixStream, rights: &Rights) -> Peer {
    let cred = io.peer_cred().ok();
    Peer {
        uid: cred.as_ref().map(tokio::net::unix::UCred::uid),
        gid: cred.as_ref().map(tokio::net::unix::UCred::gid),
        pid: cred.as_ref().and_then(tokio::net::unix::UCred::pid),
        rights: rights.clone(),
        ..Peer::anonymous(PeerTransport::Http, "")
    }
}

#[derive(Clone)]
struct Connection {
    peer: Peer,
    control: Control,
    options: Arc<ControlOptions>,
    ws: WebSocket,
    place: Arc<Place>,
    /// The same socket once more, for closing it whoever reads and writes it.
    socket: Arc<std::os::unix::net::UnixStream>,
}

impl Connection {
    async fn run(self, io: UnixStream, stop: StopHandle) {
        let place = self.place.clone();
        let service = service_fn(move |request| {
            let connection = self.clone();
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        let serving = http.serve_connection(TokioIo::new(io), service).with_upgrades();
        tokio::pin!(serving);
        // How a connection ended is its peer's business.
        tokio::select! {
            _ = &mut serving => {}
            () = place.closed() => {}
            () = stop.shutdown() => {
                serving.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
            }
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        if ws::is_upgrade_request(&request) {
            return self.upgrade(request).await;
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, _) => self.rpc(request).await,
            (&Method::GET | &Method::HEAD, "/health") => {
                let (well, report) = (self.control.health)();
                let status = if well {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                reply(status, "application/json", report.to_string())
            }
            (&Method::GET | &Method::HEAD, "/metrics") => reply(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                (self.control.metrics)(),
            ),
            (&Method::GET | &Method::HEAD, _) => {
                let text = "POST JSON-RPC 2.0 here, or GET /health or /metrics\n";
                reply(StatusCode::NOT_FOUND, "text/plain", text)
            }
            _ => reply(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "POST JSON-RPC 2.0 here\n",
            ),
        }
    }

    /// JSON-RPC, whatever the content type: a plain `curl -d` sends that of a form.
    async fn rpc(self, request: Request<Incoming>) -> Response<Body> {
        let body = Limited::new(request.into_body(), self.options.max_request).collect();
        let text = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) => return reply(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", format!("{e}\n")),
            Err(_) => {
                return reply(
                    StatusCode::REQUEST_TIMEOUT,
                    "text/plain",
                    "the body did not come\n",
                );
            }
        };
        let (methods, peer) = (self.control.methods, self.peer);
        let under_way = self.place.begin();
        let run = tokio::task::spawn_blocking(move || methods.execute(&text, Dialect::Standard, &peer));
        let run = run.await;
        // Whoever does not read the reply counts as idle.
        drop(under_way);
        let answer = match run {
            Ok(Some(answer)) => answer,
            Ok(None) => return reply(StatusCode::NO_CONTENT, "application/json", ""),
            Err(_) => {
                return reply(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "text/plain",
                    "the method failed\n",
                );
            }
        };
        if !answer.is_stream() {
            return reply(StatusCode::OK, "application/json", answer.into_bytes());
        }
        let (mut writer, body) = ChunkWriter::new();
        let place = self.place;
        tokio::task::spawn_blocking(move || {
            let written = answer.write(&mut writer);
            writer.finish(written);
            drop(place);
        });
        with_type(Response::new(body), "application/json")
    }

    async fn upgrade(mut self, mut request: Request<Incoming>) -> Response<Body> {
        let mut service = self.ws.service();
        let (closed, place, socket) = (service.on_session_closed(), self.place.clone(), self.socket);
        tokio::spawn(async move {
            tokio::pin!(closed);
            tokio::select! {
                () = &mut closed => return,
                () = place.closed() => {}
            }
            // No farewell: a peer that does not read would never get to it.
            let _ = socket.shutdown(Shutdown::Both);
            closed.await;
        });
        self.peer.transport = PeerTransport::WebSocket;
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.place);
        match service.call(request).await {
            Ok(response) => response.map(Body::from_rpc),
            Err(e) => reply(StatusCode::BAD_REQUEST, "text/plain", format!("{e}\n")),
        }
    }
}

fn reply(status: StatusCode, content_type: &'static str, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text.into()));
    *response.status_mut() = status;
    with_type(response, content_type)
}

fn with_type(mut response: Response<Body>, content_type: &'static str) -> Response<Body> {
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use jsonrpsee::client_transport::ws::WsTransportClientBuilder;
    use jsonrpsee::core::client::BatchResponse;
    use jsonrpsee::core::client::Client;
    use jsonrpsee::core::client::ClientT;
    use jsonrpsee::core::client::SubscriptionClientT;
    use jsonrpsee::core::params::ArrayParams;
    use jsonrpsee::core::params::BatchRequestBuilder;
    use serde_json::Value;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::control::methods::RpcDef;
    use crate::control::methods::RpcReply;
    use crate::control::push::Feed;
    use crate::control::push::subscription;

    struct Served {
        path: PathBuf,
        notified: Arc<AtomicUsize>,
        _dir: tempfile::TempDir,
        _socket: ControlSocket,
    }

    /// A subscription without news.
    struct Silence;

    impl Feed for Silence {
        type Item = Value;

        async fn next(&mut self) -> Option<Value> {
            std::future::pending().await
        }
    }

    fn served() -> Served {
        served_with(ControlOptions::new("").max_connections)
    }

    fn served_with(max_connections: usize) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let methods = Arc::new(Methods::new());
        let notified = Arc::new(AtomicUsize::new(0));
        let count = notified.clone();
        methods.add([
            RpcDef::new("echo", "Echoes.", |c| Ok(Value::from(c.params.to_vec()).into())),
            RpcDef::new("who", "Tells.", |c| Ok(Value::from(c.peer.uid).into())),
            RpcDef::new("count", "Counts.", move |_| {
                Ok(Value::from(count.fetch_add(1, Relaxed)).into())
            }),
            RpcDef::new("rows", "Streams.", |c| {
                let n = c.int(0)?;
                Ok(RpcReply::stream(move |out| {
                    out.write_all(b"[0")?;
                    (1..n).try_for_each(|i| write!(out, ",{i}"))?;
                    out.write_all(b"]")
                }))
            }),
            RpcDef::new("panic", "Panics.", |_| panic!("on purpose")),
        ]);
        let runtime = tokio::runtime::Handle::current();
        let options = ControlOptions {
            max_connections,
            ..ControlOptions::new(&path)
        };
        let control = Control {
            subscriptions: subscription("listen", "unlisten", |_| Ok(Silence)),
            ..Control::new(methods)
        };
        let socket = ControlSocket::serve(&runtime, options, control).unwrap();
        Served {
            path,
            notified,
            _dir: dir,
            _socket: socket,
        }
    }

    async fn http(path: &std::path::Path, request: &str) -> (String, String) {
        let mut io = UnixStream::connect(path).await.unwrap();
        io.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        io.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    fn post(body: &str) -> String {
        let len = body.len();
        format!(
            "POST /RPC HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
        )
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn http_calls() {
        let s = served();
        let ok = |body: &str| format!(r#"{{"jsonrpc":"2.0","result":{body},"id":1}}"#);
        let (head, body) = http(
            &s.path,
            &post(r#"{"jsonrpc":"2.0","method":"echo","params":[7],"id":1}"#),
        )
        .await;
        assert!(
            head.starts_with("http/1.1 200") && head.contains("content-type: application/json"),
            "{head}"
        );
        assert_eq!(body, ok("[7]"));
        let (_, body) = http(&s.path, &post(r#"{"jsonrpc":"2.0","method":"who","id":1}"#)).await;
        assert_eq!(
            body,
            ok(&std::fs::metadata(&s.path)
                .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
                .unwrap()
                .to_string())
        );
        let (head, body) = http(&s.path, &post(r#"{"jsonrpc":"2.0","method":"count"}"#)).await;
        assert!(head.starts_with("http/1.1 204") && body.is_empty(), "{head}");
        let batch = r#"[{"jsonrpc":"2.0","method":"count"},{"jsonrpc":"2.0","method":"count","id":1}]"#;
        let (_, body) = http(&s.path, &post(batch)).await;
        assert_eq!(body, format!("[{}]", ok("2")));
        assert_eq!(s.notified.load(Relaxed), 3);
        let (head, _) = http(&s.path, &post(r#"{"jsonrpc":"2.0","method":"panic","id":1}"#)).await;
        assert!(head.starts_with("http/1.1 500"), "{head}");
        let (head, body) = http(
            &s.path,
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(
            head.starts_with("http/1.1 200") && body == r#"{"status":"ok"}"#,
            "{head} {body}"
        );
        let (head, _) = http(
            &s.path,
            "DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(head.starts_with("http/1.1 405"), "{head}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn large_answers_are_streamed() {
        let s = served();
        let (head, body) = http(
            &s.path,
            &post(r#"{"jsonrpc":"2.0","method":"rows","params":[200000],"id":1}"#),
        )
        .await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(body.len() > 1 << 20);
        assert!(body.contains("199999],\"id\":1}"), "the end is there");
    }

    async fn client(path: &std::path::Path) -> Client {
        let io = UnixStream::connect(path).await.unwrap();
        let ws = WsTransportClientBuilder::default();
        let (tx, rx) = ws
            .build_with_stream("ws://localhost/".parse().unwrap(), io)
            .await
            .unwrap();
        Client::builder().build_with_tokio(tx, rx)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn websockets_that_say_nothing_make_room() {
        let s = served_with(3);
        let listening = client(&s.path).await;
        let news = listening
            .subscribe::<Value, _>("listen", ArrayParams::new(), "unlisten")
            .await;
        let (idle, busy) = (client(&s.path).await, client(&s.path).await);
        let count = ArrayParams::new;
        idle.request::<Value, _>("count", count()).await.unwrap();
        busy.request::<Value, _>("count", count()).await.unwrap();
        let newcomer = client(&s.path).await;
        newcomer.request::<Value, _>("count", count()).await.unwrap();
        let patience = std::time::Duration::from_secs(10);
        let closed = tokio::time::timeout(patience, idle.on_disconnect()).await;
        assert!(closed.is_ok(), "the longest idle one is closed");
        for client in [&listening, &busy, &newcomer] {
            client.request::<Value, _>("count", count()).await.unwrap();
        }
        assert!(news.is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn websocket_calls() {
        let s = served();
        let client = client(&s.path).await;
        let mut params = ArrayParams::new();
        params.insert("a").unwrap();
        let echoed: Value = client.request("echo", params).await.unwrap();
        assert_eq!(echoed, serde_json::json!(["a"]));
        client.notification("count", ArrayParams::new()).await.unwrap();
        let mut batch = BatchRequestBuilder::new();
        batch.insert("count", ArrayParams::new()).unwrap();
        batch.insert("nope", ArrayParams::new()).unwrap();
        let replies: BatchResponse<'_, Value> = client.batch_request(batch).await.unwrap();
        assert_eq!(
            (replies.num_successful_calls(), replies.num_failed_calls()),
            (1, 1)
        );
        // the notification has no reply that would tell when it is done
        let counted = async {
            while s.notified.load(Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(10);
        assert!(tokio::time::timeout(patience, counted).await.is_ok());
        let mut rows = ArrayParams::new();
        rows.insert(3).unwrap();
        assert_eq!(
            client.request::<Value, _>("rows", rows).await.unwrap(),
            serde_json::json!([0, 1, 2])
        );
        assert!(
            client
                .request::<Value, _>("panic", ArrayParams::new())
                .await
                .is_err()
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dropping_it_removes_the_file() {
        let s = served();
        let path = s.path.clone();
        assert!(path.exists());
        drop(s);
        assert!(!path.exists());
    }
}
