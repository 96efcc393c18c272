//! BINRPC for kamcmd (Kamailio module ctl, `binrpc`): unix stream and datagram sockets, TCP and UDP.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::methods::Methods;
use super::methods::Peer;
use super::methods::PeerTransport;
use super::methods::RpcCall;
use super::methods::RpcDef;
use super::methods::RpcFault;
use super::methods::RpcReply;
use super::packets::DatagramAddr;
use super::packets::Packets;
use super::packets::Speech;
use super::places::Place;
use super::places::Places;
use super::unix::Access;
use super::unix::Removed;
use super::unix::bind_stream;
use wire::Kind;
use wire::WireError;

mod wire;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(600);

/// Where BINRPC is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BinrpcAddr {
    /// `unix:` or `unixs:`.
    UnixStream(PathBuf, Access),
    /// `unixd:`.
    UnixDatagram(PathBuf, Access),
    /// `tcp:`.
    Tcp(SocketAddr),
    /// `udp:`.
    Udp(SocketAddr),
}

/// Sockets in service; dropping it stops them and removes their files.
pub struct Binrpc {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    packets: Vec<Packets>,
    files: Vec<Removed>,
}

struct Shared {
    methods: Arc<Methods>,
    listening: Mutex<Vec<[String; 4]>>,
    places: Arc<Places>,
    open: Mutex<Vec<(u64, [String; 6])>>,
}

impl Binrpc {
    /// No sockets yet.
    pub fn new(methods: Arc<Methods>) -> Self {
        let (listening, open, places) = (Mutex::default(), Mutex::default(), Places::new(CONNECTIONS));
        let shared = Arc::new(Shared {
            methods,
            listening,
            places,
            open,
        });
        Self {
            shared,
            tasks: Vec::new(),
            packets: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Opens one more socket, and serves it on `runtime`.
    pub fn listen(&mut self, runtime: &tokio::runtime::Handle, addr: &BinrpcAddr) -> io::Result<()> {
        let _inside = runtime.enter();
        let shared = self.shared.clone();
        let (row, task) = match addr {
            BinrpcAddr::UnixStream(path, access) => {
                let (listener, file) = bind_stream(path, *access)?;
                self.files.push(file);
                let listener = UnixListener::from_std(listener)?;
                let own = path.display().to_string();
                let row = ["unix_stream".to_owned(), own.clone(), String::new()];
                (row, Some(runtime.spawn(accept_unix(listener, own, shared))))
            }
            BinrpcAddr::UnixDatagram(path, access) => {
                self.packets(runtime, &DatagramAddr::Unix(path.clone(), *access))?;
                let row = ["unix_dgram".to_owned(), path.display().to_string(), String::new()];
                (row, None)
            }
            BinrpcAddr::Tcp(addr) => {
                let listener = std::net::TcpListener::bind(addr)?;
                listener.set_nonblocking(true)?;
                let local = listener.local_addr()?;
                let row = ["tcp".to_owned(), local.ip().to_string(), local.port().to_string()];
                let listener = TcpListener::from_std(listener)?;
                (row, Some(runtime.spawn(accept_tcp(listener, local, shared))))
            }
            BinrpcAddr::Udp(addr) => {
                let local = self.packets(runtime, &DatagramAddr::Udp(*addr))?.unwrap_or(*addr);
                let row = ["udp".to_owned(), local.ip().to_string(), local.port().to_string()];
                (row, None)
            }
        };
        let [kind, address, port] = row;
        self.shared
            .listening
            .lock()
            .push(["binrpc".to_owned(), kind, address, port]);
        self.tasks.extend(task);
        Ok(())
    }

    /// Opens a datagram socket; the address of one for UDP.
    fn packets(
        &mut self,
        runtime: &tokio::runtime::Handle,
        addr: &DatagramAddr,
    ) -> io::Result<Option<SocketAddr>> {
        let packets = Packets::serve(runtime, addr, Datagrams(self.shared.methods.clone()))?;
        let local = packets.local();
        self.packets.push(packets);
        Ok(local)
    }

    /// `ctl.*`: what is open.
    pub fn methods(&self) -> Vec<RpcDef> {
        let def = |name, doc, show: fn(&Shared) -> Value| {
            let shared = self.shared.clone();
            RpcDef::new(name, doc, move |_| Ok(show(&shared).into()))
        };
        vec![
            def(
                "ctl.connections",
                "Returns how many connections are open here.",
                |s| json!([s.open.lock().len()]),
            ),
            def(
                "ctl.listen",
                "Lists the sockets of this kind: protocol, type, address, port.",
                |s| json!(s.listening.lock().concat()),
            ),
            def(
                "ctl.who",
                "Lists the connections: protocol, type, peer, own end.",
                |s| {
                    let open = s.open.lock();
                    json!(open.iter().flat_map(|(_, row)| row.clone()).collect::<Vec<_>>())
                },
            ),
        ]
    }
}

impl Drop for Binrpc {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn accept_unix(listener: UnixListener, path: String, shared: Arc<Shared>) {
    loop {
        let Ok((io, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let cred = io.peer_cred().ok();
        let peer = Peer {
            uid: cred.as_ref().map(tokio::net::unix::UCred::uid),
            gid: cred.as_ref().map(tokio::net::unix::UCred::gid),
            pid: cred.as_ref().and_then(tokio::net::unix::UCred::pid),
            ..Peer::anonymous(PeerTransport::Binrpc, "")
        };
        let anonymous = "<anonymous unix socket>";
        let row = ["binrpc", "unix_stream", anonymous, "", &path, ""].map(str::to_owned);
        open(io, peer, row, &shared).await;
    }
}

async fn accept_tcp(listener: TcpListener, local: SocketAddr, shared: Arc<Shared>) {
    loop {
        let Ok((io, from)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let peer = Peer::anonymous(PeerTransport::Binrpc, from.to_string());
        let end = |a: SocketAddr| [a.ip().to_string(), a.port().to_string()];
        let ([ip, port], [own, own_port]) = (end(from), end(local));
        open(
            io,
            peer,
            ["binrpc".to_owned(), "tcp".to_owned(), ip, port, own, own_port],
            &shared,
        )
        .await;
    }
}

async fn open<S>(io: S, peer: Peer, row: [String; 6], shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // those that ended before this one began leave the list first
    tokio::task::yield_now().await;
    let Some(place) = shared.places.take().await else {
        return;
    };
    shared.open.lock().push((place.number(), row));
    let shared = shared.clone();
    tokio::spawn(async move {
        tokio::select! {
            // How a connection ends is its peer's business.
            _ = converse(io, &peer, &shared, &place) => {}
            () = place.closed() => {}
        }
        shared.open.lock().retain(|(other, _)| *other != place.number());
    });
}

async fn converse<S>(mut io: S, peer: &Peer, shared: &Shared, place: &Place) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    loop {
        let bad = |e: WireError| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        while let Some(head) = wire::head(&buffer).map_err(bad)? {
            let end = head.len + head.body;
            let Some(packet) = buffer.get(..end).map(<[u8]>::to_vec) else {
                break;
            };
            buffer.drain(..end);
            let under_way = place.begin();
            let reply = answer(packet, peer.clone(), shared.methods.clone()).await;
            // Whoever does not read the reply counts as idle.
            drop(under_way);
            if let Some(reply) = reply {
                tokio::time::timeout(IDLE, io.write_all(&reply)).await??;
            }
        }
        buffer.reserve(4096);
        if tokio::time::timeout(IDLE, io.read_buf(&mut buffer)).await?? == 0 {
            return Ok(());
        }
    }
}

/// BINRPC in datagrams.
struct Datagrams(Arc<Methods>);

impl Speech for Datagrams {
    const MODULE: &'static str = "ctl";
    const TRANSPORT: PeerTransport = PeerTransport::Binrpc;
    const LONGEST: usize = 65_000;

    fn answer(&self, call: &[u8], peer: &Peer) -> Option<Vec<u8>> {
        respond(call, peer, &self.0)
    }

    fn too_long(&self, call: &[u8], len: usize) -> Vec<u8> {
        let head = wire::head(call).ok().flatten();
        let cookie = head.map(|head| head.cookie).unwrap_or_default();
        let text = format!("reply of {len} bytes does not fit in a datagram");
        wire::packet(Kind::Fault, &cookie, &wire::fault_body(500, &text))
    }
}

/// Runs a call on a thread that may wait.
async fn answer(packet: Vec<u8>, peer: Peer, methods: Arc<Methods>) -> Option<Vec<u8>> {
    let run = tokio::task::spawn_blocking(move || respond(&packet, &peer, &methods));
    run.await.ok().flatten()
}

fn respond(packet: &[u8], peer: &Peer, methods: &Methods) -> Option<Vec<u8>> {
    let head = wire::head(packet)
        .ok()
        .flatten()
        .filter(|head| head.kind == Kind::Request)?;
    let body = packet.get(head.len..).unwrap_or_default();
    let refuse = |fault: &RpcFault| {
        wire::packet(
            Kind::Fault,
            &head.cookie,
            &wire::fault_body(fault.code, &fault.message),
        )
    };
    let values = match wire::read(body) {
        Ok(values) => values,
        Err(e) => return Some(refuse(&RpcFault::bad_request(e.to_string()))),
    };
    let Some((Value::String(method), params)) = values.split_first() else {
        return Some(refuse(&RpcFault::bad_request("bad request, missing method name")));
    };
    let result = methods.dispatch(&RpcCall { method, params, peer });
    let unknown = || Err(RpcFault::failed(format!("command {method} not found")));
    Some(
        match result.unwrap_or_else(unknown).and_then(RpcReply::into_value) {
            Ok(value) => wire::packet(Kind::Reply, &head.cookie, &wire::reply_body(&value)),
            Err(fault) => refuse(&fault),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::core_rpcs;
    use crate::control::core_rpcs::Status;

    #[test]
    fn calls_are_answered_under_their_cookie() {
        let methods = Methods::new();
        let status: Arc<dyn Status> = Arc::new(core_rpcs::tests::Fixed);
        methods.add(core_rpcs::methods(&status));
        let peer = Peer::internal();
        let run = |method: &str, params: &[Value]| {
            let call = wire::packet(Kind::Request, &[9, 8, 7, 6], &wire::call_body(method, params));
            let reply = respond(&call, &peer, &methods).unwrap();
            let head = wire::head(&reply).unwrap().unwrap();
            assert_eq!(head.cookie, [9, 8, 7, 6]);
            (head.kind, Value::from(wire::read(&reply[head.len..]).unwrap()))
        };
        assert_eq!(
            run("core.echo", &[json!("a"), json!(3)]),
            (Kind::Reply, json!(["a", "3"]))
        );
        assert_eq!(
            run("nope", &[]),
            (Kind::Fault, json!([500, "command nope not found"]))
        );
        assert_eq!(run("core.tcp_list", &[]), (Kind::Reply, json!([])));
        assert_eq!(run("core.pwd", &[]).1.as_array().map(Vec::len), Some(1));
        assert_eq!(respond(b"\xa1\x13\x00\x01\x02\x03\x04", &peer, &methods), None);
    }
}
