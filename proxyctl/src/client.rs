//! JSON-RPC 2.0 over HTTP/1.1 on the daemon's control socket (RFC 9112), one call a connection; a large answer is read while it arrives.

mod body;
mod subscription;

use std::fmt;
use std::io;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::Error;
use crate::error::Fault;
use crate::stream::Reply;
use body::Body;

/// How long the daemon may be silent: a reload of a large table answers only when it is done.
const SILENCE: Duration = Duration::from_secs(60);
/// The most that the lines before a body may take.
const HEAD: u64 = 64 << 10;

/// The daemon at its socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    silence: Duration,
}

/// Why the daemon cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No socket.
    #[error(
        "proxyd is not running: no control socket at `{0}`; start proxyd, or name its socket with --socket or --home"
    )]
    Absent(PathBuf),
    /// A socket nobody listens at.
    #[error("proxyd is not running: nobody listens at `{0}`; start proxyd, or name its socket with --socket")]
    Refused(PathBuf),
    /// A socket for others.
    #[error("no permission for the control socket `{path}`{owner}: run as that user or join that group")]
    Denied {
        /// The socket.
        path: PathBuf,
        /// Whose it is and its mode, in brackets.
        owner: String,
    },
    /// No answer, or one that is no HTTP.
    #[error("the control socket `{path}` does not answer: {reason}")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            silence: SILENCE,
        }
    }

    /// The same for a call that is answered after a while.
    pub(crate) fn patient(&self, wait: Duration) -> Self {
        Self {
            socket: self.socket.clone(),
            silence: SILENCE.saturating_add(wait),
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Tells whether it is worth trying.
    pub(crate) fn may_be_there(&self) -> bool {
        self.socket.exists()
    }

    /// Calls a method and keeps its whole result.
    pub(crate) fn call(&self, method: &str, params: &[Value]) -> Result<Value, Error> {
        self.read(method, params, std::marker::PhantomData::<Value>)
    }

    /// Calls a method and reads its result as it arrives.
    pub(crate) fn read<T, S>(&self, method: &str, params: &[Value], seed: S) -> Result<T, Error>
    where
        S: for<'de> DeserializeSeed<'de, Value = T>,
    {
        let call = serde_json::json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
        let body = self.post(&call.to_string())?;
        let mut json = serde_json::Deserializer::from_reader(body);
        match Reply(seed).deserialize(&mut json) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err((code, message))) => Err(Fault {
                method: method.to_owned(),
                code: i32::try_from(code).unwrap_or(i32::MIN),
                message,
                hint: String::new(),
            }
            .into()),
            Err(error) if error.is_io() => Err(self.broken(&error).into()),
            Err(error) => Err(Error::Answer {
                method: method.to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    /// Sends a text; what comes back is read by the caller.
    fn post(&self, text: &str) -> Result<BufReader<Body>, Unreachable> {
        let mut io = UnixStream::connect(&self.socket).map_err(|e| self.refused(&e))?;
        let exchange = || -> io::Result<BufReader<Body>> {
            io.set_read_timeout(Some(self.silence))?;
            io.set_write_timeout(Some(SILENCE))?;
            let head = format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            io.write_all(&[head.as_bytes(), text.as_bytes()].concat())?;
            let mut lines = BufReader::with_capacity(64 << 10, io).take(HEAD);
            let framing = head_of(&mut lines)?;
            Ok(BufReader::with_capacity(
                64 << 10,
                Body::new(lines.into_inner(), framing),
            ))
        };
        exchange().map_err(|e| self.broken(&e))
    }

    fn refused(&self, error: &io::Error) -> Unreachable {
        let path = self.socket.clone();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Unreachable::Absent(path),
            ErrorKind::ConnectionRefused => Unreachable::Refused(path),
            ErrorKind::PermissionDenied => {
                let owner = std::fs::metadata(&path).map_or_else(
                    |_| String::new(),
                    |m| {
                        format!(
                            " (owner {}, group {}, mode {:o})",
                            m.uid(),
                            m.gid(),
                            m.mode() & 0o777
                        )
                    },
                );
                Unreachable::Denied { path, owner }
            }
            _ => self.broken(error),
        }
    }

    fn broken(&self, error: &dyn fmt::Display) -> Unreachable {
        Unreachable::Broken {
            path: self.socket.clone(),
            reason: error.to_string(),
        }
    }
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads the status line and the header fields.
fn head_of(lines: &mut impl io::BufRead) -> io::Result<Framing> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .unwrap_or_default();
    let refused = (status != "200").then(|| line.trim().to_owned());
    let mut framing = Framing::UntilClose;
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the connection ended within the head of the answer",
            ));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(io::Error::other)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunked;
        }
    }
    match refused {
        None => Ok(framing),
        Some(line) if line.is_empty() => Err(io::Error::other("it closed the connection")),
        Some(line) => Err(io::Error::other(format!("it answers `{line}`"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Answers one connection with a text.
    fn answering(answer: &'static str) -> (tempfile::TempDir, Client) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut io, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = io.read(&mut request);
            let _ = io.write_all(answer.as_bytes());
        });
        (dir, Client::new(path))
    }

    #[test]
    fn answers_in_every_framing() {
        let table = [
            "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n{\"jsonrpc\":\"2.0\",\"result\":[1],\"id\":1}\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"res\r\n10;x=y\r\nult\":[1],\"id\":1}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{\"jsonrpc\":\"2.0\",\"result\":[1],\"id\":1}",
        ];
        for answer in table {
            let (_dir, client) = answering(answer);
            assert_eq!(client.call("m", &[]).unwrap(), serde_json::json!([1]), "{answer}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let table = [
            (
                "HTTP/1.1 200 OK\r\n\r\n{\"error\":{\"code\":404,\"message\":\"no\"},\"id\":1}",
                "m: no (code 404)",
                3,
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n{\"id\":1}",
                "neither a result nor an error",
                1,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"result\":",
                "ended",
                5,
            ),
            (
                "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
                "it answers `HTTP/1.1 503 Busy`",
                5,
            ),
            ("", "ended", 5),
        ];
        for (answer, part, code) in table {
            let (_dir, client) = answering(answer);
            let error = client.call("m", &[]).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.exit_code() as u8, code, "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let absent = Client::new(path.clone()).call("m", &[]).unwrap_err();
        assert!(
            matches!(absent, Error::Daemon(Unreachable::Absent(_))),
            "{absent}"
        );
        drop(UnixListener::bind(&path).unwrap());
        let refused = Client::new(path).call("m", &[]).unwrap_err();
        assert!(
            matches!(refused, Error::Daemon(Unreachable::Refused(_))),
            "{refused}"
        );
    }
}
