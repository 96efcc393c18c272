//! Streams between real sockets on the loopback device.

use crate::transport::conn::Inbound;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream as Client;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;

use super::*;
use crate::transport::conn::Connect;
use crate::transport::conn::StreamOptions;
use crate::transport::options::SocketOptions;
use crate::transport::tally::ConnRow;
use shared::sip::frame::FrameError;

struct Net {
    connections: Connections,
    inbound: Receiver<Inbound>,
    events: Receiver<ConnEvent>,
    _runtime: tokio::runtime::Runtime,
}

const LONG: Duration = Duration::from_secs(5);

fn net(options: StreamOptions) -> Net {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (tx, inbound) = channel();
    let (etx, events) = channel();
    let deliver = Arc::new(move |m: Inbound| tx.send(m).is_ok());
    let on_event = Arc::new(move |e| etx.send(e).unwrap_or(()));
    let connections = Connections::new(runtime.handle().clone(), options, deliver, on_event);
    Net {
        connections,
        inbound,
        events,
        _runtime: runtime,
    }
}

impl Net {
    fn listen(&self, addr: &str) -> SocketAddr {
        let listener = Connections::bind(addr.parse().unwrap(), &SocketOptions::default()).unwrap();
        self.connections.listen(3, Transport::Tcp, listener).unwrap()
    }

    fn target(&self, remote: SocketAddr) -> StreamTarget {
        let local = SocketAddr::new("127.0.0.1".parse().unwrap(), 5060);
        let (transport, connect) = (Transport::Tcp, Connect::Allowed);
        StreamTarget {
            transport,
            remote,
            conn: None,
            socket: 1,
            local,
            connect,
        }
    }

    fn next(&self) -> Inbound {
        self.inbound.recv_timeout(LONG).unwrap()
    }

    fn closed(&self) -> ConnRow {
        loop {
            if let ConnEvent::Closed(row) = self.events.recv_timeout(LONG).unwrap() {
                return row;
            }
        }
    }
}

const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

#[test]
fn messages_arrive_whole_and_replies_go_back() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let net = net(StreamOptions::default());
        let local = net.listen(addr);
        let mut client = Client::connect(local).unwrap();
        let two = [OPTIONS, b"\r\n\r\n", OPTIONS].concat();
        let (head, tail) = two.split_at(20);
        client.write_all(head).unwrap();
        client.write_all(tail).unwrap();
        let (first, second) = (net.next(), net.next());
        assert_eq!(
            (first.bytes.as_slice(), first.socket, first.local),
            (OPTIONS, 3, local)
        );
        assert_eq!(second.bytes, OPTIONS);
        assert_eq!(first.source, client.local_addr().unwrap());
        let mut pong = [0; 2];
        client.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\r\n");
        let id = first.conn.unwrap();
        assert_eq!(net.connections.find(Transport::Tcp, first.source), Some(id));
        net.connections
            .send_on(id, b"SIP/2.0 200 OK\r\n\r\n".to_vec())
            .unwrap();
        net.connections.close(id);
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, b"SIP/2.0 200 OK\r\n\r\n");
        assert_eq!(net.closed().id, id);
        assert_eq!(net.connections.count(), (0, 0));
        assert_eq!(net.connections.send_on(id, vec![1]), Err(SendError::NotConnected));
    }
}

#[test]
fn a_connection_is_made_once_and_reused() {
    let net = net(StreamOptions::default());
    let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = net.target(peer.local_addr().unwrap());
    let ids: Vec<_> = (0..3)
        .map(|_| net.connections.send(&target, OPTIONS.to_vec()).unwrap())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let (mut stream, _) = peer.accept().unwrap();
    let mut got = vec![0; OPTIONS.len() * 3];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, OPTIONS.repeat(3));
    stream.write_all(OPTIONS).unwrap();
    let inbound = net.next();
    assert_eq!(
        (inbound.conn, inbound.socket, inbound.local),
        (Some(ids[0]), 1, target.local)
    );
    net.connections.add_alias(ids[0], 5099);
    let aliased = SocketAddr::new(target.remote.ip(), 5099);
    assert_eq!(net.connections.find(Transport::Tcp, aliased), Some(ids[0]));
    assert_eq!(net.connections.socket(Transport::Tcp, aliased), Some(1));
    drop(stream);
    net.closed();
    assert_eq!(net.connections.find(Transport::Tcp, aliased), None);
    let no_connect = StreamTarget {
        connect: Connect::Forbidden,
        ..target
    };
    assert_eq!(
        net.connections.send(&no_connect, vec![1]),
        Err(SendError::NotConnected)
    );
    assert_eq!(net.connections.numbers().value("connect_success"), 1);
}

#[test]
fn what_cannot_be_sent_comes_back() {
    let net = net(StreamOptions::default());
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    net.connections
        .send(&net.target(unused), OPTIONS.to_vec())
        .unwrap();
    match net.events.recv_timeout(LONG).unwrap() {
        ConnEvent::SendFailed {
            bytes, remote, error, ..
        } => {
            assert_eq!((bytes.as_slice(), remote), (OPTIONS, unused));
            assert_eq!(error, io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(net.connections.count(), (0, 0));
    let sctp = StreamTarget {
        transport: Transport::Sctp,
        ..net.target(unused)
    };
    assert_eq!(
        net.connections.send(&sctp, vec![1]),
        Err(SendError::Transport(Transport::Sctp))
    );
}

#[test]
fn bounds_hold() {
    let lifetime = Duration::from_millis(100);
    let net = net(StreamOptions {
        max_connections: 1,
        queue_bytes: 100,
        lifetime,
        ..StreamOptions::default()
    });
    let local = net.listen("127.0.0.1:0");
    let mut first = Client::connect(local).unwrap();
    first.write_all(OPTIONS).unwrap();
    let id = net.next().conn.unwrap();
    let mut second = Client::connect(local).unwrap();
    assert_eq!(second.read(&mut [0; 9]).unwrap_or(0), 0, "no room for a second");
    assert_eq!(
        net.connections.send_on(id, vec![0; 101]),
        Err(SendError::QueueFull)
    );
    assert_eq!(first.read(&mut [0; 9]).unwrap(), 0, "idle too long");
    net.closed();
    assert_eq!(net.connections.numbers().value("con_timeout"), 1);
    assert_eq!(net.connections.numbers().value("local_reject"), 1);
}

#[test]
fn a_message_without_length_is_handed_over_for_its_400() {
    let net = net(StreamOptions::default());
    let mut client = Client::connect(net.listen("127.0.0.1:0")).unwrap();
    client
        .write_all(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: x\r\n\r\nrest")
        .unwrap();
    let broken = net.next();
    assert_eq!(broken.broken, Some(FrameError::BadContentLength));
    assert!(broken.bytes.ends_with(b"\r\n\r\n"));
    net.connections
        .send_on(broken.conn.unwrap(), b"SIP/2.0 400 Bad\r\n\r\n".to_vec())
        .unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"SIP/2.0 400 Bad\r\n\r\n");
}
