//! Bodies of HTTP replies: whole, or in pieces while they are produced.

use std::io;
use std::io::Write;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use hyper::body::Frame;
use jsonrpsee::server::HttpBody;
use tokio::sync::mpsc;

/// Size of a piece.
const CHUNK: usize = 64 << 10;
/// Pieces that may wait: a slow reader holds its producer, not our memory.
const AHEAD: usize = 4;

/// A body.
pub(super) enum Body {
    Full(Option<Bytes>),
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
    Rpc(HttpBody),
}

type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl Body {
    pub(super) fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes).filter(|b| !b.is_empty()))
    }

    pub(super) fn from_rpc(body: HttpBody) -> Self {
        Self::Rpc(body)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Pieces(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|p| p.map(Frame::data).map_err(BodyError::from))),
            Self::Rpc(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|e| -> BodyError { format!("{e}").into() }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Pieces(_) => false,
            Self::Rpc(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Full(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Pieces(_) => hyper::body::SizeHint::default(),
            Self::Rpc(body) => body.size_hint(),
        }
    }
}

/// Where a thread writes what a body is made of; it waits when the reader is slow.
pub(super) struct ChunkWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl ChunkWriter {
    pub(super) fn new() -> (Self, Body) {
        let (pieces, receiver) = mpsc::channel(AHEAD);
        (
            Self {
                pieces,
                buffer: Vec::with_capacity(CHUNK),
            },
            Body::Pieces(receiver),
        )
    }

    /// Sends the last piece, or breaks the reply off so that the reader sees that it is not whole.
    pub(super) fn finish(mut self, written: io::Result<()>) {
        let last = match written {
            Ok(()) => self.flush(),
            Err(e) => Err(e),
        };
        if let Err(e) = last {
            // A reader that has gone does not hear of it.
            let _ = self.pieces.blocking_send(Err(e));
        }
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.pieces
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
