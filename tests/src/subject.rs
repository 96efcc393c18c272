//! The program under test: proxyd, or Debian's Kamailio as the oracle, chosen by `SUBJECT` at run time.

use std::env;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use thiserror::Error;

use crate::load::process;
use crate::wait;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This project's daemon.
    Proxyd,
    /// Debian's Kamailio.
    Kamailio,
}

impl Subject {
    /// Reads the choice from the environment: `SUBJECT=kamailio`, otherwise proxyd.
    pub fn chosen() -> Self {
        match env::var("SUBJECT").as_deref() {
            Ok("kamailio") => Self::Kamailio,
            _ => Self::Proxyd,
        }
    }

    /// Returns the program to start.
    pub fn program(self) -> PathBuf {
        match self {
            Self::Kamailio => {
                env::var_os("KAMAILIO").map_or_else(|| "/usr/sbin/kamailio".into(), PathBuf::from)
            }
            Self::Proxyd => env::var_os("PROXYD").map_or_else(|| built("t-proxyd"), PathBuf::from),
        }
    }
}

/// Returns the path of a program that cargo built beside the running one.
pub fn built(name: &str) -> PathBuf {
    let here = env::current_exe().unwrap_or_default();
    let folder = here.parent().unwrap_or(Path::new("."));
    // A test binary lives one folder below the programs.
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    folder.join(name)
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Another program than the subject's, with the same options.
    pub program: Option<PathBuf>,
    /// The routing script.
    pub script: PathBuf,
    /// Sockets as `-l` takes them: `udp:127.0.0.1:5060`.
    pub listen: Vec<String>,
    /// Preprocessor definitions as `-A` takes them.
    pub defines: Vec<String>,
    /// More options, put at the end.
    pub options: Vec<String>,
    /// The processors it may run on, as taskset(1) takes them.
    pub processors: Option<String>,
    /// Where to keep its files; a temporary folder when absent.
    pub folder: Option<PathBuf>,
}

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The program cannot be run or its folder cannot be made.
    #[error("cannot run {0}: {1}")]
    Run(String, io::Error),
    /// The program ended at once.
    #[error("ended with {0} before it was ready; its log:\n{1}")]
    Ended(ExitStatus, String),
    /// The program did not open its sockets in time.
    #[error("did not open {0:?} in time; its log:\n{1}")]
    Late(Vec<String>, String),
}

/// Why a remote procedure call failed.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The control socket does not answer.
    #[error("control socket: {0}")]
    Socket(#[from] io::Error),
    /// The answer is not JSON.
    #[error("answer is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The server refused.
    #[error("error {code}: {message}")]
    Refused {
        /// The JSON-RPC error code.
        code: i64,
        /// What the server says.
        message: String,
    },
}

/// A running server; it is stopped when dropped.
#[derive(Debug)]
pub struct Server {
    subject: Subject,
    child: Child,
    folder: PathBuf,
    sockets: Vec<String>,
    _temporary: Option<TempDir>,
}

impl Server {
    /// Starts a server and waits until its sockets are open.
    pub fn start(subject: Subject, launch: &Launch) -> Result<Self, StartError> {
        let program = launch.program.clone().unwrap_or_else(|| subject.program());
        let failed = |error| StartError::Run(program.display().to_string(), error);
        let temporary = match &launch.folder {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("proxyd-test-")
                    .tempdir()
                    .map_err(failed)?,
            ),
        };
        let folder = match (&launch.folder, &temporary) {
            (Some(folder), _) => folder.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => env::temp_dir(),
        };
        fs::create_dir_all(folder.join("run")).map_err(failed)?;
        let log = File::create(folder.join("log")).map_err(failed)?;
        let mut command = match &launch.processors {
            Some(processors) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(processors).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.arg("-f").arg(&launch.script).args(["-DD", "-E"]);
        command
            .arg("-Y")
            .arg(folder.join("run"))
            .arg("-w")
            .arg(&folder)
            .arg("-P")
            .arg(folder.join("pid"));
        command.args(launch.listen.iter().flat_map(|socket| ["-l", socket]));
        command.args(launch.defines.iter().flat_map(|define| ["-A", define]));
        command.args(&launch.options);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        command.current_dir(&folder).process_group(0);
        let child = command.spawn().map_err(failed)?;
        let mut server = Self {
            subject,
            child,
            folder,
            sockets: launch.listen.clone(),
            _temporary: temporary,
        };
        server.await_sockets(&launch.listen)?;
        Ok(server)
    }

    /// Returns which program this is.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// Returns the process number of the main process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the folder that holds the server's files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder that holds its sockets.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Returns everything logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log contains a text.
    pub fn await_log(&self, text: &str) -> bool {
        wait::until(wait::PATIENCE, || self.log().contains(text).then_some(())).is_some()
    }

    /// Waits until the server sleeps, so that it has handled what it received.
    pub fn settle(&self) {
        let family = process::family(self.pid());
        wait::until(wait::PATIENCE, || process::are_asleep(&family).then_some(()));
    }

    /// Whether the main process is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Calls a method on the control socket and returns its result.
    pub fn rpc(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).to_string();
        let answer = match self.subject {
            Subject::Kamailio => self.datagram_rpc(&request)?,
            Subject::Proxyd => self.http_rpc(&request)?,
        };
        let mut answer: Value = serde_json::from_slice(&answer)?;
        match answer.get("error") {
            None => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
            Some(error) => Err(RpcError::Refused {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Takes the processor from all its processes, until it is resumed.
    pub fn pause(&self) {
        signal("STOP", &self.group());
    }

    /// Gives a paused server the processor again.
    pub fn resume(&self) {
        signal("CONT", &self.group());
    }

    /// Stops the server as an operator would and returns how it ended.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.end("TERM")
    }

    /// Ends the server without warning, as a crash would.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        self.end("KILL")
    }

    /// Returns the group of its processes as [`signal`] takes it.
    fn group(&self) -> String {
        format!("-{}", self.pid())
    }

    fn end(&mut self, name: &str) -> Option<ExitStatus> {
        let group = self.group();
        if !self.is_alive() {
            signal("KILL", &group);
            return self.child.wait().ok();
        }
        // A crash takes every process of the group; an ordinary stop is the main process's own business.
        signal(name, if name == "KILL" { &group } else { &group[1..] });
        let status = wait::until(wait::PATIENCE, || self.child.try_wait().ok().flatten());
        signal("KILL", &group);
        // Its children may hold the sockets a moment longer; the next server shall have them.
        wait::until(wait::PATIENCE, || {
            let open = self.sockets.iter().any(|socket| is_open(socket));
            (!open).then_some(())
        });
        status.or_else(|| self.child.wait().ok())
    }

    fn await_sockets(&mut self, sockets: &[String]) -> Result<(), StartError> {
        let ready = wait::until(wait::PATIENCE * 6, || {
            let ended = self.child.try_wait().ok().flatten();
            let open = sockets.iter().all(|socket| is_open(socket));
            (ended.is_some() || open).then_some(ended)
        });
        match ready {
            Some(None) => Ok(()),
            Some(Some(status)) => Err(StartError::Ended(status, self.log())),
            None => Err(StartError::Late(sockets.to_vec(), self.log())),
        }
    }

    fn datagram_rpc(&self, request: &str) -> io::Result<Vec<u8>> {
        let own = tempfile::Builder::new().prefix("rpc").tempdir_in(&self.folder)?;
        let socket = UnixDatagram::bind(own.path().join("s"))?;
        socket.set_read_timeout(Some(wait::PATIENCE))?;
        let server = self.folder.join("run/kamailio_rpc.sock");
        let connected = wait::until(wait::PATIENCE, || socket.connect(&server).ok());
        connected.ok_or(io::ErrorKind::TimedOut)?;
        socket.send(request.as_bytes())?;
        let mut answer = vec![0; 1 << 18];
        // With a timeout a call is not taken up again after a signal.
        let received = loop {
            match socket.recv(&mut answer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        answer.truncate(received?);
        Ok(answer)
    }

    fn http_rpc(&self, request: &str) -> io::Result<Vec<u8>> {
        let server = self.folder.join("run/control.sock");
        let stream = wait::until(wait::PATIENCE, || UnixStream::connect(&server).ok());
        let mut stream = stream.ok_or(io::ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(wait::PATIENCE))?;
        let length = request.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {length}\r\n\r\n{request}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let body = answer.split_off(end.ok_or(io::ErrorKind::InvalidData)? + 4);
        let chunked = String::from_utf8_lossy(&answer)
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        if chunked {
            dechunk(&body).ok_or_else(|| io::ErrorKind::InvalidData.into())
        } else {
            Ok(body)
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal to a process, or with a leading `-` to a group of processes.
pub fn signal(name: &str, target: &str) {
    // A target that is gone is what the caller wanted.
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\" 2>/dev/null", name, target])
        .status();
}

/// Whether a socket such as `udp:127.0.0.1:5060` is open on this machine.
pub fn is_open(socket: &str) -> bool {
    let Some((protocol, address)) = socket.split_once(':') else {
        return false;
    };
    let Ok(address) = address.parse::<SocketAddr>() else {
        return false;
    };
    let (table, ip) = match address.ip() {
        IpAddr::V4(ip) => ("", format!("{:08X}", u32::from_ne_bytes(ip.octets()))),
        IpAddr::V6(ip) => {
            let words = ip.octets();
            let words = words
                .chunks_exact(4)
                .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
            ("6", words.map(|word| format!("{word:08X}")).collect())
        }
    };
    let protocol = if protocol == "udp" { "udp" } else { "tcp" };
    // A TCP socket is in state 0A when it listens; a UDP one in 07 when it is not connected.
    let state = if protocol == "udp" { "07" } else { "0A" };
    let wanted = format!("{ip}:{:04X}", address.port());
    let lines = fs::read_to_string(format!("/proc/net/{protocol}{table}")).unwrap_or_default();
    lines.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next() == Some(&wanted) && fields.nth(1) == Some(state)
    })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::dechunk;
    use super::is_open;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(
            dechunk(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_deref(),
            Some(&b"abcde"[..])
        );
        assert_eq!(dechunk(b"5\r\nabc"), None);
    }

    #[test]
    fn open_sockets_are_seen() {
        for host in ["127.0.0.1", "[::1]"] {
            let socket = std::net::UdpSocket::bind(format!("{host}:0")).unwrap();
            let name = format!("udp:{}", socket.local_addr().unwrap());
            assert!(is_open(&name), "{name}");
            drop(socket);
            assert!(!is_open(&name), "{name}");
        }
    }
}
