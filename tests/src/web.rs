//! WebSocket for user agents: each message a frame, as RFC 7118 has it; the frames are tungstenite's.

use std::io;
use std::io::Read;
use std::io::Write;

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::HandshakeError;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::client;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::secure::Stream;
use crate::wait;

/// A WebSocket connection that is read and written as a stream of messages.
#[derive(Debug)]
pub struct Web {
    socket: WebSocket<Box<dyn Stream>>,
    /// Read and not yet taken.
    rest: Vec<u8>,
}

fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        other => io::Error::other(other),
    }
}

impl Web {
    /// Asks for WebSocket with the sub-protocol of SIP on a connection that never waits.
    pub fn connect(stream: Box<dyn Stream>, host: &str) -> io::Result<Self> {
        let mut request = format!("ws://{host}/").into_client_request().map_err(failed)?;
        let protocol = HeaderValue::from_static("sip");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let mut begun = Some(client(request, stream));
        let done = wait::until(wait::PATIENCE, || match begun.take()? {
            Ok((socket, _)) => Some(Ok(socket)),
            Err(HandshakeError::Failure(error)) => Some(Err(failed(error))),
            Err(HandshakeError::Interrupted(half)) => {
                begun = Some(half.handshake());
                None
            }
        });
        let socket = done.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        let rest = Vec::new();
        Ok(Self { socket, rest })
    }
}

impl Read for Web {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read().map_err(failed)? {
                Message::Text(text) => self.rest.extend_from_slice(text.as_bytes()),
                Message::Binary(bytes) => self.rest.extend_from_slice(&bytes),
                Message::Close(_) => return Ok(0),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        self.rest.drain(..length);
        Ok(length)
    }
}

impl Write for Web {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let frame = match std::str::from_utf8(bytes) {
            Ok(text) => Message::text(text),
            Err(_) => Message::binary(bytes.to_vec()),
        };
        self.socket.send(frame).map_err(failed)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().map_err(failed)
    }
}
