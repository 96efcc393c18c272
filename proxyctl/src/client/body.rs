//! The body of an HTTP answer as a stream of bytes (RFC 9112 §6, §7.1).

use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::os::unix::net::UnixStream;

use super::Framing;

/// Reads a body up to its end, however that is marked; a connection lost before is an error.
pub(super) struct Body {
    io: BufReader<UnixStream>,
    framing: Framing,
    /// Bytes to come, of the body or of the chunk.
    left: u64,
    is_over: bool,
}

impl Body {
    pub(super) fn new(io: BufReader<UnixStream>, framing: Framing) -> Self {
        let left = if let Framing::Length(n) = framing { n } else { 0 };
        Self {
            io,
            framing,
            left,
            is_over: framing == Framing::Length(0),
        }
    }

    /// Begins the next chunk.
    fn chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        (&mut self.io).take(1024).read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        if line.is_empty() {
            return Err(lost());
        }
        self.left = u64::from_str_radix(size, 16)
            .map_err(|_| io::Error::other(format!("`{size}` is no chunk size")))?;
        self.is_over = self.left == 0;
        Ok(())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::Chunked && self.left == 0 && !self.is_over {
            self.chunk()?;
        }
        if self.is_over || buffer.is_empty() {
            return Ok(0);
        }
        if self.framing == Framing::UntilClose {
            return self.io.read(buffer);
        }
        let n = (&mut self.io).take(self.left).read(buffer)?;
        if n == 0 {
            return Err(lost());
        }
        self.left = self.left.saturating_sub(n as u64);
        if self.left == 0 {
            match self.framing {
                Framing::Chunked => {
                    let mut end = [0; 2];
                    self.io.read_exact(&mut end)?;
                }
                Framing::Length(_) | Framing::UntilClose => self.is_over = true,
            }
        }
        Ok(n)
    }
}

fn lost() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the connection ended within the answer")
}
