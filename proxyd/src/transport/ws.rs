//! WebSocket on a connection that began in HTTP: one message a frame, Ping, Pong and Close (RFC 6455, RFC 7118).

use std::io;
use std::time::Duration;

use futures_util::SinkExt;
use futures_util::StreamExt;
use shared::net::Keepalive;
use shared::net::KeepaliveFrame;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::conn::Control;
use super::conn::Order;
use super::tcp::End;
use super::tcp::LAST_WORDS;
use super::tcp::Life;
use super::tcp::PAUSE;
use super::tcp::REFUSALS;

/// When the next keepalive is due, and whether the last one was answered.
struct Quiet {
    keepalive: Keepalive,
    due: Option<Instant>,
    awaiting: bool,
}

impl Quiet {
    fn new(keepalive: Keepalive) -> Self {
        let mut quiet = Self {
            keepalive,
            due: None,
            awaiting: false,
        };
        quiet.heard();
        quiet
    }

    /// Something came from the peer.
    fn heard(&mut self) {
        self.awaiting = false;
        self.wait();
    }

    fn wait(&mut self) {
        let wanted = self.keepalive.frame != KeepaliveFrame::None && self.keepalive.idle > Duration::ZERO;
        self.due = wanted.then(|| Instant::now() + self.keepalive.idle);
    }

    /// The frame that is due; none when the last was not answered.
    fn next(&mut self) -> Option<Message> {
        let data = self.keepalive.data.clone();
        self.wait();
        match self.keepalive.frame {
            KeepaliveFrame::Ping if std::mem::replace(&mut self.awaiting, true) => None,
            KeepaliveFrame::Ping => Some(Message::Ping(data.into())),
            KeepaliveFrame::Pong | KeepaliveFrame::None => Some(Message::Pong(data.into())),
        }
    }
}

fn close(code: CloseCode, reason: &str) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}

/// What the peer is told about its mistake.
fn complaint(error: &Error) -> Option<Message> {
    match error {
        Error::Capacity(_) => Some(close(CloseCode::Size, "message too big")),
        Error::Utf8(_) => Some(close(CloseCode::Invalid, "text is not UTF-8")),
        Error::Protocol(_) => Some(close(CloseCode::Protocol, "protocol error")),
        _ => None,
    }
}

fn kind(error: &Error) -> io::ErrorKind {
    match error {
        Error::Io(error) => error.kind(),
        _ => io::ErrorKind::InvalidData,
    }
}

impl Life {
    /// Serves the connection until it ends.
    pub(super) async fn exchange_frames<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        keepalive: Keepalive,
    ) -> End {
        let limits = self.connections.0.options.limits;
        let most = limits.headers + limits.body;
        let config = WebSocketConfig::default()
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let read = std::mem::take(self.framer.buffer()).to_vec();
        let mut socket = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
        let mut quiet = Quiet::new(keepalive);
        let mut ending: Option<Instant> = None;
        loop {
            let idle = self.conn.deadline();
            let deadline = [quiet.due, ending].into_iter().flatten().fold(idle, Instant::min);
            let outgoing = tokio::select! {
                frame = socket.next() => {
                    self.conn.touch();
                    quiet.heard();
                    match frame {
                        Some(Ok(frame)) if frame.is_text() || frame.is_binary() => {
                            if !self.hand_over(&frame.into_data()).await {
                                return End::Closed;
                            }
                            continue;
                        }
                        // The next look at the stream answers Ping and Close.
                        Some(Ok(_)) => continue,
                        None | Some(Err(Error::ConnectionClosed)) => return End::Closed,
                        Some(Err(error)) => {
                            if let Some(complaint) = complaint(&error) {
                                let _ = tokio::time::timeout(LAST_WORDS, socket.send(complaint)).await;
                            }
                            return End::Error(kind(&error));
                        }
                    }
                }
                order = self.orders.recv(), if ending.is_none() => match order {
                    Some(Order::Send(bytes)) => self.frame(bytes),
                    Some(Order::Control(Control::Ping(data))) => Message::Ping(data.into()),
                    Some(Order::Control(Control::Pong(data))) => Message::Pong(data.into()),
                    Some(Order::Control(Control::Close(status, reason))) => close(status.into(), &reason),
                    Some(Order::Upgrade(_)) => continue,
                    Some(Order::Close) | None => close(CloseCode::Away, ""),
                },
                () = tokio::time::sleep_until(deadline) => {
                    let now = Instant::now();
                    if ending.is_some_and(|until| until <= now) {
                        return End::Closed;
                    }
                    if idle <= now {
                        return End::Idle;
                    }
                    match quiet.next() {
                        Some(frame) => frame,
                        None => return End::Idle,
                    }
                }
            };
            if outgoing.is_close() {
                ending = Some(Instant::now() + LAST_WORDS);
                quiet.due = None;
            }
            let limit = self.connections.0.options.send_timeout;
            let error = match tokio::time::timeout(limit, socket.send(outgoing.clone())).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => kind(&error),
                Err(_) => io::ErrorKind::TimedOut,
            };
            if matches!(outgoing, Message::Text(_) | Message::Binary(_)) {
                self.unsent.push_back(outgoing.into_data().to_vec());
            }
            return End::Error(error);
        }
    }

    /// A message as a frame: text, unless it holds something else (RFC 7118 §4.1).
    fn frame(&self, bytes: Vec<u8>) -> Message {
        self.conn.sent(bytes.len());
        self.conn.touch();
        match String::from_utf8(bytes) {
            Ok(text) => Message::Text(text.into()),
            Err(error) => Message::Binary(error.into_bytes().into()),
        }
    }

    /// Hands a message over; the connection is not read for a while when there is no room. False when that lasts.
    async fn hand_over(&mut self, bytes: &[u8]) -> bool {
        let delivered = (self.connections.0.deliver)(self.conn.inbound(bytes.to_vec(), None));
        if delivered {
            self.refusals = 0;
            return true;
        }
        self.refusals += 1;
        tokio::time::sleep(PAUSE).await;
        self.refusals < REFUSALS
    }
}
