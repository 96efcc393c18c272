//! The servers that are compared: each is a program with a script, on an address of its own.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::BenchError;
use super::DOMAIN;
use super::Options;
use super::row::Row;
use super::row::Stock;
use crate::load::Outcome;
use crate::load::Pace;
use crate::subject;
use crate::subject::Launch;
use crate::subject::Server;
use crate::subject::Subject;
use crate::wait;

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Kamailio,
    Proxyd,
    /// proxyd whose workers stay awake between datagrams (`--busy-poll`), for the latency at half of Kamailio's rate alone.
    Awake,
    /// What no server can beat: `t-floor`.
    Floor,
}

/// What it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// `tests/bench/tuned.cfg`, an expert's.
    Tuned,
    /// Kamailio's own. The floor, which has no script, is loaded at the rates of the servers that have this one.
    Stock,
}

/// A program with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) program: Program,
    pub(crate) script: Script,
}

impl Side {
    /// Returns every side, each Kamailio before those that are compared with it.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let programs = [Program::Kamailio, Program::Proxyd, Program::Awake, Program::Floor];
        [Script::Tuned, Script::Stock]
            .into_iter()
            .flat_map(move |script| programs.map(|program| Self { program, script }))
    }

    /// Returns the name the table uses.
    pub(crate) fn name(self) -> &'static str {
        match (self.program, self.script) {
            (Program::Kamailio, Script::Tuned) => "kamailio tuned",
            (Program::Kamailio, Script::Stock) => "kamailio stock",
            (Program::Proxyd, Script::Tuned) => "proxyd",
            (Program::Proxyd, Script::Stock) => "proxyd, stock script",
            (Program::Awake, Script::Tuned) => "proxyd awake",
            (Program::Awake, Script::Stock) => "proxyd awake, stock",
            (Program::Floor, Script::Tuned) => "floor",
            (Program::Floor, Script::Stock) => "floor, stock rate",
        }
    }

    /// Returns the subject whose program and ways it has.
    pub(crate) fn subject(self) -> Subject {
        match self.program {
            Program::Kamailio => Subject::Kamailio,
            Program::Proxyd | Program::Awake | Program::Floor => Subject::Proxyd,
        }
    }

    /// Whether a row measures this side.
    pub(crate) fn belongs_to(self, row: &Row) -> bool {
        let with_stock = row.stock != Stock::Absent;
        match self.program {
            Program::Kamailio | Program::Proxyd => self.script == Script::Tuned || with_stock,
            Program::Awake => with_stock,
            Program::Floor => row.floor,
        }
    }

    /// Returns the Kamailio that this side is measured against.
    pub(crate) fn yardstick(self) -> Self {
        Self {
            program: Program::Kamailio,
            ..self
        }
    }

    fn host(self) -> String {
        let number = 10 + 4 * self.script as u8 + self.program as u8;
        format!("127.22.0.{number}")
    }
}

/// Where programs and scripts are.
#[derive(Clone)]
pub(crate) struct Places {
    /// The folder `tests/bench`.
    pub(crate) scripts: PathBuf,
    /// Kamailio's own script.
    pub(crate) stock_script: PathBuf,
    /// Processors of the server and of the generator, as taskset(1) takes them.
    pub(crate) processors: (String, String),
}

impl Places {
    /// Returns the processors of server and generator together.
    pub(crate) fn both(&self) -> String {
        format!("{},{}", self.processors.0, self.processors.1)
    }
}

/// A server under load.
pub(crate) struct Running {
    pub(crate) side: Side,
    pub(crate) server: Server,
    /// The server's own process and that of a database server that works for it.
    pub(crate) pids: Vec<u32>,
}

/// Starts one side for a row on its database.
pub(crate) fn start(
    side: Side,
    row: &Row,
    database: Option<&str>,
    folder: &Path,
    places: &Places,
    helper: Option<u32>,
) -> Result<Running, BenchError> {
    fs::create_dir_all(folder)?;
    let socket = format!("udp:{}:22000", side.host());
    let mut launch = Launch {
        script: places.scripts.join("tuned.cfg"),
        listen: vec![socket],
        defines: row.defines.iter().map(|&define| define.to_owned()).collect(),
        processors: Some(places.processors.0.clone()),
        folder: Some(folder.to_owned()),
        ..Launch::default()
    };
    if side.script == Script::Stock {
        // The stock script asks for a local file beside it: there the operator makes his choices.
        launch.script = folder.join("kamailio.cfg");
        launch.defines.clear();
        fs::copy(&places.stock_script, &launch.script)?;
        let mut local = format!("alias=\"{DOMAIN}\"\n");
        if row.stock == Stock::Challenged {
            let url = database.unwrap_or_default();
            local.push_str("#!define WITH_AUTH\nloadmodule \"db_sqlite.so\"\n");
            local.push_str(&format!("#!define DBURL \"{url}\"\n"));
        }
        fs::write(folder.join("kamailio-local.cfg"), local)?;
    } else {
        launch
            .defines
            .extend(database.map(|url| format!("DBURL=\"{url}\"")));
    }
    let options: &[&str] = match (side.program, side.script) {
        (Program::Kamailio, Script::Tuned) => &[
            "-x", "fm", "-X", "fm", "-m", "3072", "-M", "2048", "-b", "4194304",
        ],
        // Its 64 MB of shared memory last a few seconds at these rates; more does not change the processor's work.
        (Program::Kamailio, Script::Stock) => &["-m", "512"],
        (Program::Awake, _) => &["--busy-poll", "1000"],
        (Program::Proxyd | Program::Floor, _) => &[],
    };
    launch.options = options.iter().map(|&option| option.to_owned()).collect();
    if side.program == Program::Floor {
        launch.program = Some(subject::built("t-floor"));
    }
    let server = Server::start(side.subject(), &launch)?;
    let pids = [server.pid()].into_iter().chain(helper).collect();
    Ok(Running { side, server, pids })
}

impl Running {
    /// Returns the address requests go to.
    pub(crate) fn address(&self) -> String {
        format!("{}:22000", self.side.host())
    }

    /// Waits until the server answers: its sockets open before it has read its tables and started its workers.
    pub(crate) fn await_answer(&self) -> Result<(), BenchError> {
        let socket = UdpSocket::bind("127.22.0.2:0")?;
        socket.connect(self.address())?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let sent_by = socket.local_addr()?;
        let mut attempt = 0;
        let answer = wait::until(Duration::from_secs(60), || {
            attempt += 1;
            let request = format!(
                "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {sent_by};branch=z9hG4bKprobe{attempt}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:probe@{DOMAIN}>;tag=1\r\nTo: <sip:{DOMAIN}>\r\n\
                 Call-ID: probe{attempt}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            socket
                .send(request.as_bytes())
                .and_then(|_| socket.recv(&mut [0; 4096]))
                .ok()
        });
        answer
            .map(|_| ())
            .ok_or_else(|| BenchError::Silent(self.side.name(), self.server.log()))
    }

    /// Puts the row's load on a paused server and returns what was found. The others are paused meanwhile, for their timers
    /// would end the transactions of their own rounds on the processor of this one.
    pub(crate) fn load_alone(&self, row: &Row, work: &Work, places: &Places) -> Result<Outcome, BenchError> {
        self.server.resume();
        let outcome = self.load(row, work, places);
        self.server.pause();
        outcome
    }

    /// Puts the row's load on the server and returns what was found.
    pub(crate) fn load(&self, row: &Row, work: &Work, places: &Places) -> Result<Outcome, BenchError> {
        let name = crate::load::Load::ALL
            .iter()
            .find(|(_, load)| *load == row.load)
            .map_or("", |(name, _)| name);
        let mut command = Command::new("taskset");
        command
            .args(["-c", &places.processors.1])
            .arg(subject::built("t-load"))
            .arg(name);
        command.args([
            "--server",
            &self.address(),
            "--caller",
            "127.22.0.2:22001",
            "--callee",
            "127.22.0.3:22002",
        ]);
        command.args(["--domain", DOMAIN, "--users", &row.users.to_string()]);
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        command.args(["--pids", &pids.join(",")]);
        if self.side.script == Script::Stock && row.stock == Stock::Challenged {
            command.arg("--challenged");
        }
        match work.pace {
            Pace::Window(width) => command.args(["--window", &width.to_string()]),
            Pace::Rate(rate) => command.args(["--rate", &rate.to_string()]),
        };
        match work.count {
            Some(count) => command.args(["--count", &count.to_string()]),
            None => command.args(["--seconds", &work.seconds.to_string(), "--warm-up", "0.3"]),
        };
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(BenchError::Load(self.side.name(), words, self.server.log()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A paused server would not hear that it shall stop.
        self.server.resume();
    }
}

/// How long and how fast one measurement is.
pub(crate) struct Work {
    pub(crate) pace: Pace,
    pub(crate) seconds: f64,
    pub(crate) count: Option<u64>,
}

impl Work {
    /// As much as a window lets through.
    pub(crate) fn saturating(row: &Row, options: &Options) -> Self {
        Self {
            pace: Pace::Window(row.window),
            seconds: options.seconds,
            count: None,
        }
    }
}
