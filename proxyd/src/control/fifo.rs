//! JSON-RPC over a FIFO (Kamailio module jsonrpcs, `fifo_name`): one object after the other, each reply to the FIFO
//! that the call names.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fifo_file::make;
use super::jsonrpc::Dialect;
use super::lenient;
use super::methods::Methods;
use super::methods::Peer;
use super::methods::PeerTransport;
use super::unix::Access;
use super::unix::Removed;
use crate::log;

/// The longest call.
const LONGEST: usize = 1 << 20;
/// How long the rest of a call may take: what is cut off would swallow the calls of others behind it.
const REST: Duration = Duration::from_secs(1);
/// Calls cut off one behind the other for the next whole one still to be found.
const HALVES: usize = 16;
/// How long a reply waits for its reader.
const PATIENCE: Duration = Duration::from_secs(3);
/// Calls under way at once.
const CALLS: usize = 16;
/// Replies that wait at once, and their bytes.
const REPLIES: usize = 512;
const WAITING: usize = 64 << 20;
/// The first pause between two looks for a reader, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// How the FIFO is made.
#[derive(Clone, Debug)]
pub struct FifoOptions {
    /// Where it lies.
    pub path: PathBuf,
    /// Who may write to it.
    pub access: Access,
    /// Where the FIFOs of replies lie (`fifo_reply_dir`).
    pub reply_dir: PathBuf,
    /// The look of replies.
    pub dialect: Dialect,
}

/// A FIFO in service; dropping it stops it and removes its file.
pub struct Fifo {
    task: JoinHandle<()>,
    _file: Removed,
}

impl Fifo {
    /// Makes the FIFO, and serves it on `runtime`.
    pub fn serve(
        runtime: &tokio::runtime::Handle,
        options: FifoOptions,
        methods: Arc<Methods>,
    ) -> io::Result<Self> {
        make(&options.path, options.access.mode)?;
        let file = Removed::new(&options.path);
        options.access.apply(&options.path)?;
        let receiver = {
            let _inside = runtime.enter();
            // Open for writing, too: it does not end when the last writer goes.
            pipe::OpenOptions::new()
                .read_write(true)
                .open_receiver(&options.path)?
        };
        let task = runtime.spawn(read(receiver, options, methods));
        Ok(Self { task, _file: file })
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut fifo: pipe::Receiver, options: FifoOptions, methods: Arc<Methods>) {
    let (mut objects, room) = (Objects::default(), Arc::new(Room::new()));
    let mut chunk = vec![0; 16 << 10];
    loop {
        let read = match objects.is_open() {
            true => tokio::time::timeout(REST, fifo.read(&mut chunk)).await,
            false => Ok(fifo.read(&mut chunk).await),
        };
        let mut next = match read {
            Ok(Ok(n)) => {
                objects.feed(chunk.get(..n).unwrap_or_default());
                objects.next()
            }
            Ok(Err(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(_) => {
                log::warning(
                    "jsonrpcs",
                    format_args!("FIFO: a call that was cut off is left out"),
                );
                objects.next_behind_half()
            }
        };
        while let Some(call) = next {
            let Ok(permit) = room.calls.clone().acquire_owned().await else {
                return;
            };
            let (options, methods, room) = (options.clone(), methods.clone(), room.clone());
            tokio::spawn(async move {
                let reply = answer(&options, call, methods).await;
                let Some((path, reply)) = reply else { return };
                // A reply that has its place keeps no other call from running.
                let Some(place) = room.place(reply.len()).await else {
                    return;
                };
                drop(permit);
                deliver(&path, &reply).await;
                drop(place);
            });
            next = objects.next();
        }
    }
}

/// Bounds what is under way.
struct Room {
    calls: Arc<Semaphore>,
    /// In KiB: each reply counts for its length and its share of [`REPLIES`].
    replies: Arc<Semaphore>,
}

impl Room {
    fn new() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(CALLS)),
            replies: Arc::new(Semaphore::new(WAITING >> 10)),
        }
    }

    async fn place(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = ((WAITING / REPLIES + len) >> 10).min(WAITING >> 10);
        let wanted = u32::try_from(wanted).ok()?;
        self.replies.clone().acquire_many_owned(wanted).await.ok()
    }
}

/// Runs a call; its reply, and the FIFO that is to have it.
async fn answer(options: &FifoOptions, call: Vec<u8>, methods: Arc<Methods>) -> Option<(PathBuf, Vec<u8>)> {
    let reply_path = reply_path(&call, &options.reply_dir);
    let dialect = options.dialect;
    let run = tokio::task::spawn_blocking(move || {
        methods.handle_text(&call, dialect, &Peer::anonymous(PeerTransport::Fifo, ""))
    });
    reply_path.zip(run.await.ok().flatten())
}

async fn deliver(path: &Path, reply: &[u8]) {
    let sent = tokio::time::timeout(PATIENCE, write_reply(path, reply)).await;
    let error = match sent {
        Ok(Ok(())) => return,
        Ok(Err(e)) => e,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    log::warning(
        "jsonrpcs",
        format_args!("reply to FIFO {} not written: {error}", path.display()),
    );
}

/// The FIFO for the reply: a plain name, so that no call writes elsewhere.
fn reply_path(call: &[u8], dir: &Path) -> Option<PathBuf> {
    let value = lenient::parse(call).ok()?;
    let name = value.get("reply_name")?.as_str()?;
    let plain = !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
    plain.then(|| dir.join(name))
}

async fn write_reply(path: &Path, reply: &[u8]) -> io::Result<()> {
    let (mut pause, longest) = PAUSES;
    let mut fifo = loop {
        match pipe::OpenOptions::new().open_sender(path) {
            Ok(fifo) => break fifo,
            // fifo(7): nobody reads yet.
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            Err(e) => return Err(e),
        }
    };
    fifo.write_all(reply).await
}

/// Cuts JSON objects and arrays from a stream by their brackets.
#[derive(Default)]
pub(super) struct Objects {
    buffer: Vec<u8>,
    scanned: usize,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Objects {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether an object has begun and not ended.
    fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// The next whole object; what stands between objects is dropped.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(&b) = self.buffer.get(self.scanned) {
            self.scanned += 1;
            match b {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' if self.depth > 0 => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => {
                    if self.depth == 0 {
                        self.buffer.drain(..self.scanned - 1);
                        self.scanned = 1;
                    }
                    self.depth += 1;
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let rest = self.buffer.split_off(self.scanned);
                        self.scanned = 0;
                        return Some(std::mem::replace(&mut self.buffer, rest));
                    }
                }
                _ => {}
            }
        }
        if self.depth == 0 || self.buffer.len() > LONGEST {
            *self = Self::default();
        }
        None
    }

    /// The next whole object behind one that has begun and will not end.
    fn next_behind_half(&mut self) -> Option<Vec<u8>> {
        for _ in 0..HALVES {
            let behind = self
                .buffer
                .split_off(self.next_start().unwrap_or(self.buffer.len()));
            *self = Self {
                buffer: behind,
                ..Self::default()
            };
            let next = self.next();
            if next.is_some() || !self.is_open() {
                return next;
            }
        }
        *self = Self::default();
        None
    }

    /// Where something behind the first byte looks like a call: a brace, then a name.
    fn next_start(&self) -> Option<usize> {
        let mut bytes = self.buffer.iter().enumerate().skip(1);
        let mut brace = None;
        bytes.find_map(|(at, b)| {
            match b {
                b'{' => brace = Some(at),
                b'"' => return brace,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => brace = None,
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;

    use serde_json::Value;

    use super::*;
    use crate::control::jsonrpc::Layout;
    use crate::control::methods::RpcDef;

    #[test]
    fn objects_are_cut_wherever_the_stream_breaks() {
        let text = br#"junk {"a":"}\"{"}
            [1,{"b":[2]}]}} {"c":{}} {"open":"#;
        for size in 1..text.len() {
            let (mut objects, mut found) = (Objects::default(), Vec::new());
            for chunk in text.chunks(size) {
                objects.feed(chunk);
                while let Some(object) = objects.next() {
                    found.push(String::from_utf8(object).unwrap());
                }
            }
            assert_eq!(
                found,
                [r#"{"a":"}\"{"}"#, r#"[1,{"b":[2]}]"#, r#"{"c":{}}"#],
                "{size}"
            );
        }
        let brackets = "[".repeat(1000);
        for half in ["{\"a\":\"x", "{{[{", "{\"a\":\"\\", "[1,", &brackets] {
            let mut objects = Objects::default();
            objects.feed(half.as_bytes());
            objects.feed(br#"{"b":2}{"c":3}"#);
            assert_eq!((objects.next(), objects.is_open()), (None, true), "{half}");
            assert_eq!(objects.next_behind_half(), Some(br#"{"b":2}"#.to_vec()), "{half}");
            assert_eq!(objects.next(), Some(br#"{"c":3}"#.to_vec()), "{half}");
        }
        let mut endless = Objects::default();
        endless.feed("{\"".repeat(3 * HALVES).as_bytes());
        assert_eq!((endless.next(), endless.next_behind_half()), (None, None));
        assert!(!endless.is_open());
        endless.feed(&vec![b'['; LONGEST + 1]);
        assert_eq!(endless.next(), None);
        endless.feed(b"{}");
        assert_eq!(endless.next(), Some(b"{}".to_vec()));
    }

    #[test]
    fn replies_go_to_plain_names_only() {
        let dir = Path::new("/tmp");
        let path = |name: &str| reply_path(format!(r#"{{"reply_name":"{name}"}}"#).as_bytes(), dir);
        assert_eq!(path("r1"), Some(PathBuf::from("/tmp/r1")));
        for name in ["", "..", "a/b", "/etc/x"] {
            assert_eq!(path(name), None, "{name}");
        }
        assert_eq!(reply_path(b"{}", dir), None);
    }

    /// A FIFO in a folder whose only method echoes.
    fn open(dir: &Path) -> (Fifo, PathBuf) {
        let methods = Arc::new(Methods::new());
        methods.add([RpcDef::new("echo", "Echoes.", |c| {
            Ok(Value::from(c.params.to_vec()).into())
        })]);
        let path = dir.join("rpc.fifo");
        let options = FifoOptions {
            path: path.clone(),
            access: Access::mode(0o660),
            reply_dir: dir.to_owned(),
            dialect: Dialect::Kamailio(Layout::Compact),
        };
        let fifo = Fifo::serve(&tokio::runtime::Handle::current(), options, methods).unwrap();
        (fifo, path)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_is_answered_in_its_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, path) = open(dir.path());
        let reply = dir.path().join("reply");
        make(&reply, 0o600).unwrap();
        let text = tokio::task::spawn_blocking(move || {
            let mut w = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            w.write_all(br#"{"method":"echo","params":[1],"reply_name":"reply","id":7}"#)
                .unwrap();
            let mut text = String::new();
            std::fs::File::open(reply)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        });
        assert_eq!(text.await.unwrap(), r#"{"jsonrpc":"2.0","result":[1],"id":7}"#);
        drop(fifo);
        assert!(!dir.path().join("rpc.fifo").exists());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn neither_halves_nor_absent_readers_hold_others() {
        let dir = tempfile::tempdir().unwrap();
        let (_fifo, path) = open(dir.path());
        make(&dir.path().join("nobody"), 0o600).unwrap();
        make(&dir.path().join("reply"), 0o600).unwrap();
        let unread = br#"{"method":"echo","reply_name":"nobody"}"#;
        let call = br#"{"method":"echo","params":[1],"reply_name":"reply","id":7}"#;
        let reply = dir.path().join("reply");
        let asked = tokio::task::spawn_blocking(move || {
            let mut w = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            for _ in 0..100 {
                w.write_all(unread).unwrap();
            }
            w.write_all(br#"{"method":"echo","par"#).unwrap();
            w.write_all(call).unwrap();
            std::fs::read_to_string(reply).unwrap()
        });
        let text = tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("soon")
            .unwrap();
        assert_eq!(text, r#"{"jsonrpc":"2.0","result":[1],"id":7}"#);
    }
}
