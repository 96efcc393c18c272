//! TCP and TLS over it: listening, connecting, and the life of one connection (RFC 3261 §18.2, §18.3; RFC 5626 §4.4.1).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use shared::net::Keepalive;
use shared::net::Secured;
use shared::net::Transport;
use shared::sip::frame::Frame;
use shared::sip::frame::Framer;
use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_rustls::TlsStream;

use super::conn::Conn;
use super::conn::ConnEvent;
use super::conn::Connections;
use super::conn::Ends;
use super::conn::Order;
use super::conn::SendError;
use super::conn::SocketId;
use super::conn::StreamOptions;
use super::conn::StreamTarget;
use super::options;
use super::options::SocketOptions;
use super::tls;

/// Room made for one read.
const READ: usize = 4096;
/// Buffers are given back when they were larger than this.
const KEEP: usize = 64 << 10;
/// Messages without room for them in a row, after which a connection is closed.
pub(super) const REFUSALS: u32 = 64;
/// How long a connection is not read when there is no room for its messages.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// What the answer to a broken message is waited for.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

impl Connections {
    /// Opens a socket that listens and accepts nothing yet. An IPv6 socket takes IPv6 only.
    pub fn bind(addr: SocketAddr, options: &SocketOptions) -> io::Result<std::net::TcpListener> {
        let listener = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        options.before_bind(&listener, addr)?;
        listener.set_reuse_address(true)?;
        if options.tcp_reuse_port {
            listener.set_reuse_port(true)?;
        }
        listener.set_nonblocking(true)?;
        listener.bind(&addr.into())?;
        listener.listen(options.backlog)?;
        Ok(listener.into())
    }

    /// Accepts connections at a socket; its address.
    pub fn listen(
        &self,
        socket: SocketId,
        transport: Transport,
        listener: std::net::TcpListener,
    ) -> io::Result<SocketAddr> {
        let listener = {
            let _inside = self.0.runtime.enter();
            TcpListener::from_std(listener)?
        };
        let local = listener.local_addr()?;
        let connections = self.clone();
        let task = self.0.runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, remote)) => {
                        let ends = Ends {
                            transport,
                            remote,
                            local,
                            socket,
                            accepted: true,
                        };
                        connections.accept(stream, ends);
                    }
                    // Out of descriptors: that passes.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        self.0.listeners.lock().push((socket, task.abort_handle()));
        Ok(local)
    }

    /// Accepts no more connections at a socket; those that are open stay.
    pub fn stop_listening(&self, socket: SocketId) {
        self.0.listeners.lock().retain(|(own, task)| {
            if *own == socket {
                task.abort();
            }
            *own != socket
        });
    }

    fn accept(&self, stream: TcpStream, ends: Ends) {
        let Ok((conn, orders)) = self.0.enter(ends) else {
            return;
        };
        self.0.numbers.passive_open.fetch_add(1, Relaxed);
        prepare(&stream, ends.remote, &self.0.options);
        let life = Life::new(self.clone(), conn, orders);
        self.0.runtime.spawn(life.begin(stream));
    }
}

/// Starts a connection to a target; what is queued meanwhile goes out when it is open.
pub(super) fn connect(connections: &Connections, target: &StreamTarget) -> Result<Arc<Conn>, SendError> {
    if !matches!(target.transport, Transport::Tcp | Transport::Tls) {
        return Err(SendError::Transport(target.transport));
    }
    let ends = Ends {
        transport: target.transport,
        remote: target.remote,
        local: target.local,
        socket: target.socket,
        accepted: false,
    };
    let (conn, orders) = connections.0.enter(ends)?;
    let life = Life::new(connections.clone(), conn.clone(), orders);
    connections.0.runtime.spawn(life.connect());
    Ok(conn)
}

fn prepare(stream: &TcpStream, remote: SocketAddr, options: &StreamOptions) {
    // They only make it faster or tidier; a connection without them works.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = match &options.keepalive {
        Some(probes) => socket.set_tcp_keepalive(probes),
        None => socket.set_keepalive(false),
    };
    options::mark(&socket, remote, options.tos);
}

async fn dial(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}

/// How far a stream has taken what was written.
enum Written {
    /// So many bytes more.
    Some(usize),
    /// Everything has left.
    All,
}

async fn write_or_flush<W: AsyncWrite + Unpin>(writer: &mut W, rest: &[u8]) -> io::Result<Written> {
    if rest.is_empty() {
        writer.flush().await.map(|()| Written::All)
    } else {
        writer.write(rest).await.map(Written::Some)
    }
}

/// Why a connection ends.
pub(super) enum End {
    Closed,
    Idle,
    Error(io::ErrorKind),
    /// It does not: it goes on in WebSocket.
    Upgrade(Keepalive),
}

/// The task of one connection.
pub(super) struct Life {
    pub(super) connections: Connections,
    pub(super) conn: Arc<Conn>,
    pub(super) orders: UnboundedReceiver<Order>,
    pub(super) framer: Framer,
    /// Messages to be written, the first of which is written up to `written`.
    pub(super) unsent: VecDeque<Vec<u8>>,
    written: usize,
    /// TLS may hold back the end of what was written.
    unflushed: bool,
    /// Reading stops until then.
    paused: Option<Instant>,
    pub(super) refusals: u32,
    /// What the connection goes on with in WebSocket when all is written.
    upgrade: Option<Keepalive>,
    /// Closing: nothing is read, what is unsent goes out until then.
    ending: Option<Instant>,
    /// Something was handed over that has to be answered before the end.
    owed: bool,
    write_deadline: Option<Instant>,
}

impl Life {
    fn new(connections: Connections, conn: Arc<Conn>, orders: UnboundedReceiver<Order>) -> Self {
        let framer = Framer::new(connections.0.options.limits);
        Self {
            connections,
            conn,
            orders,
            framer,
            unsent: VecDeque::new(),
            written: 0,
            unflushed: false,
            paused: None,
            refusals: 0,
            upgrade: None,
            ending: None,
            owed: false,
            write_deadline: None,
        }
    }

    async fn connect(mut self) {
        let (options, numbers) = (&self.connections.0.options, &self.connections.0.numbers);
        let dialled = dial(self.conn.local, self.conn.remote);
        let result = match tokio::time::timeout(options.connect_timeout, dialled).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(stream) => {
                numbers.connect_success.fetch_add(1, Relaxed);
                prepare(&stream, self.conn.remote, options);
                self.begin(stream).await;
            }
            Err(e) => {
                numbers.connect_failed.fetch_add(1, Relaxed);
                self.end(e.kind());
            }
        }
    }

    /// Secures the connection where that is asked for, in the time a connection may take, and serves it.
    async fn begin(mut self, stream: TcpStream) {
        if !self.conn.transport().is_secure() {
            self.conn.open.store(true, Relaxed);
            return self.run(stream).await;
        }
        let limit = self.connections.0.options.connect_timeout;
        let result = match tokio::time::timeout(limit, self.shake_hands(stream)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok((stream, secured)) => {
                // This task alone sets it, once.
                let _ = self.conn.secured.set(Arc::new(secured));
                self.conn.open.store(true, Relaxed);
                self.run(stream).await;
            }
            Err(error) => {
                let remote = self.conn.remote;
                crate::log::info("tls", format_args!("handshake with {remote}: {error}"));
                self.end(error.kind());
            }
        }
    }

    async fn shake_hands(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Secured)> {
        let profiles = self.connections.0.profiles.get();
        let profiles = profiles.ok_or(io::ErrorKind::Unsupported)?;
        if self.conn.accepted {
            tls::accept(profiles.as_ref(), stream, self.conn.local).await
        } else {
            tls::connect(profiles.as_ref(), stream, self.conn.remote).await
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut stream: S) {
        self.connections.0.numbers.established.fetch_add(1, Relaxed);
        self.conn.touch();
        (self.connections.0.events)(ConnEvent::Opened(self.conn.row()));
        let mut end = self.exchange(&mut stream).await;
        if let End::Upgrade(keepalive) = end {
            end = self.exchange_frames(&mut stream, keepalive).await;
        }
        let numbers = &self.connections.0.numbers;
        let error = match end {
            End::Closed | End::Upgrade(_) => io::ErrorKind::ConnectionAborted,
            End::Idle => {
                numbers.con_timeout.fetch_add(1, Relaxed);
                io::ErrorKind::TimedOut
            }
            End::Error(kind) => {
                if kind == io::ErrorKind::TimedOut {
                    numbers.send_timeout.fetch_add(1, Relaxed);
                } else {
                    numbers.con_reset.fetch_add(1, Relaxed);
                }
                kind
            }
        };
        // Nobody finds it any more; what is queued at this moment is reported below.
        self.end(error);
        let _ = tokio::time::timeout(LAST_WORDS, stream.shutdown()).await;
        (self.connections.0.events)(ConnEvent::Closed(self.conn.row()));
    }

    /// Takes the connection out of the table and gives back what was not sent.
    fn end(&mut self, error: io::ErrorKind) {
        self.connections.0.leave(&self.conn);
        self.conn.open.store(false, Relaxed);
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Send(bytes) = order {
                self.unsent.push_back(bytes);
            }
        }
        for bytes in self.unsent.drain(..).filter(|b| b.as_slice() != b"\r\n") {
            let (transport, remote) = (self.conn.transport(), self.conn.remote);
            (self.connections.0.events)(ConnEvent::SendFailed {
                bytes,
                transport,
                remote,
                error,
            });
        }
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> End {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let send_timeout = self.connections.0.options.send_timeout;
        loop {
            let all_sent = self.unsent.is_empty() && !self.unflushed && self.orders.is_empty();
            if self.ending.is_some() && !self.owed && all_sent {
                return End::Closed;
            }
            if self.unsent.is_empty()
                && !self.unflushed
                && let Some(keepalive) = self.upgrade.take()
            {
                return End::Upgrade(keepalive);
            }
            let reading = self.ending.is_none() && self.paused.is_none() && self.upgrade.is_none();
            let deadline = self.next_deadline();
            let buffer = self.framer.buffer();
            if reading && buffer.capacity() - buffer.len() < READ / 2 {
                buffer.reserve(READ);
            }
            let rest = self
                .unsent
                .front()
                .and_then(|b| b.get(self.written..))
                .unwrap_or_default();
            tokio::select! {
                read = reader.read_buf(buffer), if reading => match read {
                    // The peer sends no more; what is queued for it still goes out.
                    Ok(0) => self.end_soon(),
                    // The same without TLS's farewell: messages tell their own length, so nothing can be cut short.
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => self.end_soon(),
                    Ok(_) => {
                        self.conn.touch();
                        if !self.frames() {
                            self.end_soon();
                        }
                    }
                    Err(e) => return End::Error(e.kind()),
                },
                written = write_or_flush(&mut writer, rest), if self.unflushed || !rest.is_empty() => match written {
                    Ok(Written::Some(0)) => return End::Error(io::ErrorKind::WriteZero),
                    Ok(Written::Some(n)) => {
                        self.wrote(n);
                        self.unflushed = self.unsent.is_empty() && self.conn.transport().is_secure();
                        let waiting = self.unflushed || !self.unsent.is_empty();
                        self.write_deadline = waiting.then(|| Instant::now() + send_timeout);
                        self.conn.touch();
                    }
                    Ok(Written::All) => {
                        self.unflushed = false;
                        self.write_deadline = None;
                    }
                    Err(e) => return End::Error(e.kind()),
                },
                order = self.orders.recv(), if self.unsent.len() < 64 && self.upgrade.is_none() => match order {
                    Some(Order::Send(bytes)) => {
                        if bytes.is_empty() {
                            continue;
                        }
                        self.unsent.push_back(bytes);
                        self.write_deadline.get_or_insert_with(|| Instant::now() + send_timeout);
                    }
                    Some(Order::Upgrade(keepalive)) => self.upgrade = Some(keepalive),
                    Some(Order::Control(_)) => {}
                    Some(Order::Close) | None => {
                        self.owed = false;
                        self.end_soon();
                    }
                },
                () = tokio::time::sleep_until(deadline) => {
                    let now = Instant::now();
                    if self.paused.is_some_and(|until| until <= now) {
                        self.paused = None;
                        if !self.frames() {
                            self.end_soon();
                        }
                    } else if self.write_deadline.is_some_and(|until| until <= now) {
                        return End::Error(io::ErrorKind::TimedOut);
                    } else if self.ending.is_some_and(|until| until <= now) {
                        return End::Closed;
                    } else if self.conn.deadline() <= now {
                        return End::Idle;
                    }
                }
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let idle = self.conn.deadline();
        [self.paused, self.write_deadline, self.ending]
            .into_iter()
            .flatten()
            .fold(idle, Instant::min)
    }

    fn end_soon(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        self.ending.get_or_insert(until);
    }

    fn wrote(&mut self, n: usize) {
        self.written += n;
        if let Some(front) = self.unsent.front()
            && self.written >= front.len()
        {
            self.conn.sent(front.len());
            self.unsent.pop_front();
            self.written = 0;
            self.owed = false;
        }
    }

    /// Hands over every whole message; false when nothing more is to be read from the stream.
    fn frames(&mut self) -> bool {
        let inner = self.connections.0.clone();
        let conn = Arc::clone(&self.conn);
        let inbound = |bytes, broken| conn.inbound(bytes, broken);
        loop {
            match self.framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    if (inner.deliver)(inbound(bytes.to_vec(), None)) {
                        self.refusals = 0;
                        continue;
                    }
                    self.refusals += 1;
                    if self.refusals >= REFUSALS {
                        return false;
                    }
                    // TCP holds the peer back while its messages are not read (RFC 3261 §18.3 has no other means).
                    self.paused = Some(Instant::now() + PAUSE);
                    return true;
                }
                Ok(Some(Frame::Ping)) => {
                    if inner.options.crlf_ping && self.unsent.len() < 64 {
                        self.unsent.push_back(b"\r\n".to_vec());
                        let until = Instant::now() + inner.options.send_timeout;
                        self.write_deadline.get_or_insert(until);
                    }
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => {
                    let buffer = self.framer.buffer();
                    if buffer.is_empty() && buffer.capacity() > KEEP {
                        buffer.shrink_to(READ);
                    }
                    return true;
                }
                Err(error) => {
                    let rest = self.framer.buffer();
                    let head = rest
                        .windows(4)
                        .position(|w| w == b"\r\n\r\n")
                        .and_then(|at| rest.get(..at + 4));
                    if let Some(head) = head {
                        self.owed = (inner.deliver)(inbound(head.to_vec(), Some(error)));
                    }
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
