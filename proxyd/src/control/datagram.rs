//! JSON-RPC over unix or UDP datagrams (Kamailio module jsonrpcs, `dgram_socket`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use shared::rpc::code;

use super::jsonrpc::Dialect;
use super::lenient;
use super::methods::Methods;
use super::methods::Peer;
use super::methods::PeerTransport;
use super::packets::DatagramAddr;
use super::packets::Packets;
use super::packets::Speech;

/// A datagram socket in service; dropping it stops it and removes its file.
pub struct Datagram(Packets);

impl Datagram {
    /// Opens the socket, and serves it on `runtime`.
    pub fn serve(
        runtime: &tokio::runtime::Handle,
        addr: &DatagramAddr,
        dialect: Dialect,
        methods: Arc<Methods>,
    ) -> io::Result<Self> {
        Packets::serve(runtime, addr, Json { dialect, methods }).map(Self)
    }

    /// The address of a UDP socket.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.local()
    }
}

struct Json {
    dialect: Dialect,
    methods: Arc<Methods>,
}

impl Speech for Json {
    const MODULE: &'static str = "jsonrpcs";
    const TRANSPORT: PeerTransport = PeerTransport::Datagram;
    const LONGEST: usize = usize::MAX;

    fn answer(&self, call: &[u8], peer: &Peer) -> Option<Vec<u8>> {
        self.methods.handle_text(call, self.dialect, peer)
    }

    fn too_long(&self, call: &[u8], len: usize) -> Vec<u8> {
        let message =
            format!("reply of {len} bytes does not fit in a datagram: call it over the control socket");
        let mut reply = json!({ "jsonrpc": "2.0", "error": { "code": code::FAILED, "message": message } });
        let id = lenient::parse(call).ok().and_then(|v| v.get("id").cloned());
        if let (Some(members), Some(id)) = (reply.as_object_mut(), id) {
            members.insert("id".to_owned(), id);
        }
        reply.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::net::UdpSocket;
    use tokio::net::UnixDatagram;

    use super::*;
    use crate::control::jsonrpc::Layout;
    use crate::control::methods::RpcDef;
    use crate::control::unix::Access;

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
