//! Bodies of HTTP replies: whole, or in pieces while they are produced.

use std::io;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use jsonrpsee::server::HttpBody;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Size of a piece.
const CHUNK: usize = 64 << 10;
/// Pieces that may wait: a slow reader holds its producer, not our memory.
const AHEAD: usize = 4;
/// How long a reader may take none.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body.
pub(super) enum Body {
    Full(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>, Arc<OnceLock<io::ErrorKind>>),
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
            Self::Pieces(pieces, broken) => pieces.poll_recv(cx).map(|piece| match piece {
                Some(piece) => Some(Ok(Frame::data(piece))),
                // An end that is none: the reader must see that the reply is not whole.
                None => broken.get().map(|kind| Err(io::Error::from(*kind).into())),
            }),
            Self::Rpc(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|e| -> BodyError { format!("{e}").into() }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Pieces(..) => false,
            Self::Rpc(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Full(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Pieces(..) => hyper::body::SizeHint::default(),
            Self::Rpc(body) => body.size_hint(),
        }
    }
}

/// Where a blocking thread writes what a body is made of; it waits when the reader is slow.
pub(super) struct ChunkWriter {
    pieces: mpsc::Sender<Bytes>,
    broken: Arc<OnceLock<io::ErrorKind>>,
    buffer: Vec<u8>,
}

impl ChunkWriter {
    pub(super) fn new() -> (Self, Body) {
        let (pieces, receiver) = mpsc::channel(AHEAD);
        let broken = Arc::new(OnceLock::new());
        (
            Self {
                pieces,
                broken: broken.clone(),
                buffer: Vec::with_capacity(CHUNK),
            },
            Body::Pieces(receiver, broken),
        )
    }

    /// Sends the last piece, or breaks the reply off so that the reader sees that it is not whole.
    pub(super) fn finish(mut self, written: io::Result<()>) {
        if let Err(error) = written.and_then(|()| self.flush()) {
            // Set once, before the channel closes.
            let _ = self.broken.set(error.kind());
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
        let sent = tokio::time::timeout(PATIENCE, self.pieces.send(piece.into()));
        match Handle::current().block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
