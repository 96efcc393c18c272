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

/// A program with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    KamailioTuned,
    ProxydTuned,
    KamailioStock,
    ProxydStock,
    /// What no server can beat: `t-floor`, at the rates of tuned Kamailio.
    Floor,
    /// The same at the rates of stock Kamailio.
    FloorStock,
    /// proxyd whose workers stay awake between datagrams (`--busy-poll`), for the latency at half of Kamailio's rate alone.
    AwakeTuned,
    /// The same with Kamailio's own script.
    AwakeStock,
}

impl Side {
    /// Every side, each Kamailio before those that are compared with it.
    pub(crate) const ALL: [Self; 8] = [
        Self::KamailioTuned,
        Self::ProxydTuned,
        Self::AwakeTuned,
        Self::Floor,
        Self::KamailioStock,
        Self::ProxydStock,
        Self::AwakeStock,
        Self::FloorStock,
    ];

    /// Returns the name the table uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KamailioTuned => "kamailio tuned",
            Self::ProxydTuned => "proxyd",
            Self::KamailioStock => "kamailio stock",
            Self::ProxydStock => "proxyd, stock script",
            Self::Floor => "floor",
            Self::FloorStock => "floor, stock rate",
            Self::AwakeTuned => "proxyd awake",
            Self::AwakeStock => "proxyd awake, stock",
        }
    }

    /// Returns the program.
    pub(crate) fn subject(self) -> Subject {
        match self {
            Self::KamailioTuned | Self::KamailioStock => Subject::Kamailio,
            _ => Subject::Proxyd,
        }
    }

    /// Whether this side belongs to the comparison with Kamailio's own script.
    pub(crate) fn stock(self) -> bool {
        matches!(
            self,
            Self::KamailioStock | Self::ProxydStock | Self::FloorStock | Self::AwakeStock
        )
    }

    /// Whether no server is measured, but what one cannot beat.
    pub(crate) fn floor(self) -> bool {
        matches!(self, Self::Floor | Self::FloorStock)
    }

    /// Whether only the latency below saturation is measured.
    pub(crate) fn awake(self) -> bool {
        matches!(self, Self::AwakeTuned | Self::AwakeStock)
    }

    /// Returns the Kamailio that this side is measured against.
    pub(crate) fn yardstick(self) -> Self {
        if self.stock() {
            Self::KamailioStock
        } else {
            Self::KamailioTuned
        }
    }

    fn host(self) -> &'static str {
        match self {
            Self::KamailioTuned => "127.22.0.10",
            Self::ProxydTuned => "127.22.0.11",
            Self::KamailioStock => "127.22.0.12",
            Self::ProxydStock => "127.22.0.13",
            Self::Floor => "127.22.0.14",
            Self::FloorStock => "127.22.0.15",
            Self::AwakeTuned => "127.22.0.16",
            Self::AwakeStock => "127.22.0.17",
        }
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
    if side.floor() {
        launch.program = Some(subject::built("t-floor"));
    }
    if side.stock() {
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
        if side.subject() == Subject::Kamailio {
            let tuned = [
                "-x", "fm", "-X", "fm", "-m", "3072", "-M", "2048", "-b", "4194304",
            ];
            launch.options = tuned.map(str::to_owned).to_vec();
        }
    }
    if side.awake() {
        launch.options = ["--busy-poll", "500"].map(str::to_owned).to_vec();
    }
    if side == Side::KamailioStock {
        // Its 64 MB of shared memory last a few seconds at these rates; more does not change the processor's work.
        launch.options = ["-m", "512"].map(str::to_owned).to_vec();
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
        if self.side.stock() && row.stock == Stock::Challenged {
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
