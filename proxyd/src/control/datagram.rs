//! JSON-RPC over unix or UDP datagrams (Kamailio module jsonrpcs, `dgram_socket`): one packet each way.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shared::rpc::code;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::net::UnixDatagram;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::jsonrpc::Dialect;
use super::lenient;
use super::methods::Methods;
use super::methods::Peer;
use super::methods::PeerTransport;
use super::unix::Access;
use super::unix::Removed;
use super::unix::bind_datagram;
use crate::log;

/// The longest call.
const LONGEST: usize = 256 << 10;
/// Room asked of the kernel for replies under way.
const SEND_BUFFER: usize = 16 << 20;
/// Calls under way at once; more are left in the kernel's queue.
const CALLS: usize = 16;
/// How long a reply waits for room in its reader's queue.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a datagram socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramAddr {
    /// A path.
    Unix(PathBuf, Access),
    /// An address.
    Udp(SocketAddr),
}

/// A datagram socket in service; dropping it stops it and removes its file.
pub struct Datagram {
    task: JoinHandle<()>,
    local: Option<SocketAddr>,
    _file: Option<Removed>,
}

enum Io {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

enum Sender {
    Unix(PathBuf),
    Udp(SocketAddr),
}

impl Datagram {
    /// Opens the socket, and serves it on `runtime`.
    pub fn serve(
        runtime: &tokio::runtime::Handle,
        addr: &DatagramAddr,
        dialect: Dialect,
        methods: Arc<Methods>,
    ) -> io::Result<Self> {
        let _inside = runtime.enter();
        let (io, local, file) = match addr {
            DatagramAddr::Unix(path, access) => {
                let (socket, file) = bind_datagram(path, *access)?;
                // Kept at what the kernel allows: a longer reply is refused then.
                let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
                (Io::Unix(UnixDatagram::from_std(socket)?), None, Some(file))
            }
            DatagramAddr::Udp(addr) => {
                let socket = std::net::UdpSocket::bind(addr)?;
                socket.set_nonblocking(true)?;
                let local = socket.local_addr()?;
                (Io::Udp(UdpSocket::from_std(socket)?), Some(local), None)
            }
        };
        let task = runtime.spawn(serve(Arc::new(io), dialect, methods));
        Ok(Self {
            task,
            local,
            _file: file,
        })
    }

    /// The address of a UDP socket.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Io {
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Sender>)> {
        match self {
            Self::Unix(socket) => {
                let (n, from) = socket.recv_from(buffer).await?;
                Ok((n, from.as_pathname().map(|p| Sender::Unix(p.to_owned()))))
            }
            Self::Udp(socket) => socket
                .recv_from(buffer)
                .await
                .map(|(n, from)| (n, Some(Sender::Udp(from)))),
        }
    }

    async fn send(&self, bytes: &[u8], to: &Sender) -> io::Result<usize> {
        let sent = async {
            match (self, to) {
                (Self::Unix(socket), Sender::Unix(path)) => socket.send_to(bytes, path).await,
                (Self::Udp(socket), Sender::Udp(addr)) => socket.send_to(bytes, addr).await,
                _ => Ok(0),
            }
        };
        tokio::time::timeout(PATIENCE, sent).await?
    }
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Udp(addr) => addr.fmt(f),
        }
    }
}

async fn serve(io: Arc<Io>, dialect: Dialect, methods: Arc<Methods>) {
    let (mut buffer, room) = (vec![0; LONGEST], Arc::new(Semaphore::new(CALLS)));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((n, from)) = io.receive(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let call = buffer.get(..n).unwrap_or_default().to_vec();
        let (io, methods) = (io.clone(), methods.clone());
        tokio::spawn(async move {
            answer(&io, call, from, dialect, methods).await;
            drop(permit);
        });
    }
}

async fn answer(io: &Io, call: Vec<u8>, from: Option<Sender>, dialect: Dialect, methods: Arc<Methods>) {
    let address = from.as_ref().map(ToString::to_string).unwrap_or_default();
    let run = tokio::task::spawn_blocking(move || {
        let peer = Peer::anonymous(PeerTransport::Datagram, address);
        let reply = methods.handle_text(&call, dialect, &peer);
        reply.map(|reply| (reply, call))
    });
    let (Ok(Some((reply, call))), Some(from)) = (run.await, from) else {
        return;
    };
    let sent = io.send(&reply, &from).await;
    if let Err(e) = &sent
        && matches!(e.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
    {
        let refusal = too_long(&call, reply.len());
        // Whoever cannot take even that has gone.
        let _ = io.send(&refusal, &from).await;
    } else if let Err(e) = sent {
        log::warning("jsonrpcs", format_args!("reply to {from} not sent: {e}"));
    }
}

/// What is said instead of a reply that no datagram holds: nothing is cut off in silence.
fn too_long(call: &[u8], len: usize) -> Vec<u8> {
    let message = format!("reply of {len} bytes does not fit in a datagram: call it over the control socket");
    let mut reply = json!({ "jsonrpc": "2.0", "error": { "code": code::FAILED, "message": message } });
    let id = lenient::parse(call).ok().and_then(|v| v.get("id").cloned());
    if let (Some(members), Some(id)) = (reply.as_object_mut(), id) {
        members.insert("id".to_owned(), id);
    }
    reply.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::control::jsonrpc::Layout;
    use crate::control::methods::RpcDef;

    const DIALECT: Dialect = Dialect::Kamailio(Layout::Compact);

    fn methods() -> Arc<Methods> {
        let methods = Methods::new();
        methods.add([
            RpcDef::new("echo", "Echoes.", |c| Ok(Value::from(c.params.to_vec()).into())),
            RpcDef::new(
                "long",
                "Is long.",
                |_| Ok(Value::from("x".repeat(8 << 20)).into()),
            ),
        ]);
        Arc::new(methods)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn unix_packets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rpc.sock");
        let addr = DatagramAddr::Unix(path.clone(), Access::mode(0o660));
        let _served = Datagram::serve(&tokio::runtime::Handle::current(), &addr, DIALECT, methods()).unwrap();
        let client = UnixDatagram::bind(dir.path().join("client")).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let table = [
            (
                r#"{"method":"echo","params":["a"],"id":1}"#,
                r#"{"jsonrpc":"2.0","result":["a"],"id":1}"#,
            ),
            (
                r#"{"jsonrpc":6}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request: no method"},"id":null}"#,
            ),
            (
                r#"{"method":"long","id":2}"#,
                r#"{"jsonrpc":"2.0","error":{"code":500,"message":"reply of "#,
            ),
        ];
        for (call, expected) in table {
            client.send_to(call.as_bytes(), &path).await.unwrap();
            let n = client.recv(&mut buffer).await.unwrap();
            let reply = String::from_utf8_lossy(&buffer[..n]).into_owned();
            assert!(reply.starts_with(expected), "{call}: {reply}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn udp_packets() {
        let addr = DatagramAddr::Udp("127.0.0.1:0".parse().unwrap());
        let served = Datagram::serve(&tokio::runtime::Handle::current(), &addr, DIALECT, methods()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client
            .send_to(br#"{"method":"echo"}"#, served.local().unwrap())
            .await
            .unwrap();
        let mut buffer = [0; 200];
        let n = client.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..n], br#"{"jsonrpc":"2.0","result":[]}"#);
    }
}
