//! The side-by-side benchmark: proxyd and Debian's Kamailio under the same load in alternating rounds.

mod report;
pub mod row;
mod seed;
mod side;

use std::env;
use std::fs;
use std::io;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use thiserror::Error;

use crate::load::Outcome;
use crate::load::Pace;
use crate::load::process;
use crate::subject::StartError;
use crate::subject::Subject;
use crate::wait;
use row::Database;
use row::Kind;
use row::ROWS;
use row::Row;
use row::Stock;
use side::Places;
use side::Program;
use side::Running;
use side::Script;
use side::Side;
use side::Work;

/// The domain every user belongs to.
pub(crate) const DOMAIN: &str = "bench.test";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows by name; all when empty.
    pub only: Vec<String>,
    /// Alternating rounds.
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
    /// Where to write the result as JSON.
    pub json: Option<PathBuf>,
    /// Programs to leave out: `kamailio` or `proxyd`.
    pub without: Vec<String>,
    /// The folder `tests/bench`.
    pub scripts: PathBuf,
    /// Kamailio's own script.
    pub stock_script: PathBuf,
    /// Processors of the server and of the generator.
    pub processors: (String, String),
}

/// Why the benchmark could not be run.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A file or program could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file is missing.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// SQLite refused.
    #[error("cannot seed the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No private MariaDB server was named.
    #[error("TEST_MYSQL_URL names no usable server: run under tests/databases")]
    NoMariaDb,
    /// A server did not start.
    #[error("{0}: {1}")]
    Start(&'static str, StartError),
    /// The generator failed.
    #[error("load on {0} failed: {1}; the server's log:\n{2}")]
    Load(&'static str, String, String),
    /// The generator's output is not its JSON.
    #[error("generator's output: {0}")]
    Json(#[from] serde_json::Error),
    /// The server never gave the expected answer.
    #[error("{0} did not answer in time; its log:\n{1}")]
    Silent(&'static str, String),
}

impl From<StartError> for BenchError {
    fn from(error: StartError) -> Self {
        Self::Start("server", error)
    }
}

/// Everything one side showed in one row.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) row: &'static str,
    pub(crate) side: &'static str,
    #[serde(skip)]
    pub(crate) which: Side,
    /// Saturated rounds; for a start, `seconds` is the time to the first correct reply.
    pub(crate) saturated: Vec<Outcome>,
    /// What the row's kind measures beside it: at half of its Kamailio's rate, past saturation, with two workers.
    pub(crate) second: Vec<Outcome>,
    /// Resident bytes per contact, by round.
    pub(crate) bytes: Vec<f64>,
    /// Why this side was not measured to the end.
    pub(crate) failure: Option<String>,
}

/// Runs the chosen rows, printing the table as it grows; true when no reply was lost or wrong.
pub fn run(options: &Options, out: &mut impl Write) -> Result<bool, BenchError> {
    let folder = tempfile::Builder::new().prefix("proxyd-bench-").tempdir()?;
    let places = Places {
        scripts: options.scripts.clone(),
        stock_script: options.stock_script.clone(),
        processors: options.processors.clone(),
    };
    report::heading(options, out)?;
    let mut records = Vec::new();
    for row in ROWS
        .iter()
        .filter(|row| options.only.is_empty() || options.only.iter().any(|name| name == row.name))
    {
        let place = folder.path().join(row.name);
        match measure(row, options, &place, &places) {
            Ok(found) => {
                report::row(row, &found, out)?;
                records.extend(found);
            }
            Err(error) => writeln!(out, "{}: not measured: {error}", row.name)?,
        }
        out.flush()?;
        // A row's files are of no use to the next one, and a million contacts are large.
        let _ = fs::remove_dir_all(&place);
    }
    if let Some(path) = &options.json {
        fs::write(path, report::json(&records)?)?;
    }
    Ok(report::summary(&records, out)?)
}

fn measure(row: &Row, options: &Options, folder: &Path, places: &Places) -> Result<Vec<Record>, BenchError> {
    let sides = Side::all().filter(|side| side.belongs_to(row)).filter(|side| {
        let name = if side.subject() == Subject::Kamailio {
            "kamailio"
        } else {
            "proxyd"
        };
        side.subject().program().exists() && !options.without.iter().any(|without| without == name)
    });
    let mut records: Vec<Record> = sides
        .map(|which| Record {
            row: row.name,
            side: which.name(),
            which,
            saturated: Vec::new(),
            second: Vec::new(),
            bytes: Vec::new(),
            failure: None,
        })
        .collect();
    match row.kind {
        Kind::Steady => return steady(row, options, folder, places, records),
        Kind::Fill(contacts) => {
            // A million contacts take their time and vary little.
            let rounds = if contacts > 500_000 { 1 } else { options.rounds };
            in_rounds(rounds, folder, &mut records, |record, place| {
                fill(record, row, contacts, place, places)
            });
        }
        Kind::Start(contacts) => in_rounds(options.rounds, folder, &mut records, |record, place| {
            record
                .saturated
                .push(time_start(record.which, row, contacts, place, places)?);
            Ok(())
        }),
        Kind::Overload => in_rounds(options.rounds, folder, &mut records, |record, place| {
            let running = side::start(record.which, row, None, place, places, None)?;
            running.await_answer()?;
            let most = running.load(row, &Work::saturating(row, options), places)?;
            let beyond = Work {
                pace: Pace::Rate(most.rate * 1.5),
                ..Work::saturating(row, options)
            };
            record.second.push(running.load(row, &beyond, places)?);
            record.saturated.push(most);
            Ok(())
        }),
        Kind::Workers(with_two) => in_rounds(options.rounds, folder, &mut records, |record, place| {
            let one = side::start(record.which, row, None, &place.join("1"), places, None)?;
            one.await_answer()?;
            record
                .saturated
                .push(one.load(row, &Work::saturating(row, options), places)?);
            // Both listen at the same address.
            drop(one);
            let both = Places {
                processors: (places.both(), places.processors.1.clone()),
                ..places.clone()
            };
            let two = Row {
                defines: with_two,
                ..*row
            };
            let running = side::start(record.which, &two, None, &place.join("2"), &both, None)?;
            running.await_answer()?;
            record
                .second
                .push(running.load(row, &Work::saturating(row, options), places)?);
            Ok(())
        }),
    }
    Ok(records)
}

/// Measures one side after the other, round by round; a side that fails is left out from then on.
fn in_rounds(
    rounds: usize,
    folder: &Path,
    records: &mut [Record],
    mut measure: impl FnMut(&mut Record, &Path) -> Result<(), BenchError>,
) {
    for round in 0..rounds {
        for record in records.iter_mut().filter(|record| record.failure.is_none()) {
            let place = folder.join(format!("{}-{round}", record.side));
            record.failure = measure(record, &place).err().map(|error| error.to_string());
        }
    }
}

fn fill(
    record: &mut Record,
    row: &Row,
    contacts: u32,
    place: &Path,
    places: &Places,
) -> Result<(), BenchError> {
    let running = side::start(record.which, row, None, place, places, None)?;
    running.await_answer()?;
    let work = Work {
        pace: Pace::Window(row.window),
        seconds: 0.0,
        count: Some(u64::from(contacts)),
    };
    let outcome = running.load(row, &work, places)?;
    let grown = outcome.resident.1.saturating_sub(outcome.resident.0);
    record.bytes.push(grown as f64 / outcome.done.max(1) as f64);
    record.saturated.push(outcome);
    Ok(())
}

fn steady(
    row: &Row,
    options: &Options,
    folder: &Path,
    places: &Places,
    mut records: Vec<Record>,
) -> Result<Vec<Record>, BenchError> {
    let helper: Option<u32> = match row.database {
        Database::MariaDb => env::var("TEST_MYSQL_PID").ok().and_then(|pid| pid.parse().ok()),
        _ => None,
    };
    if let Some(pid) = helper {
        // The database server shares the processor of the server it works for.
        let pid = u32::to_string(&pid);
        Command::new("taskset")
            .args(["-acp", &places.processors.0, &pid])
            .stdout(Stdio::null())
            .status()?;
    }
    let mut running: Vec<Option<Running>> = Vec::new();
    for record in &mut records {
        let started = steady_side(record.which, row, &folder.join(record.side), places, helper);
        record.failure = started.as_ref().err().map(ToString::to_string);
        running.push(started.ok());
    }
    let mut half = Work::saturating(row, options);
    for _ in 0..options.rounds {
        for step in [Step::Saturated, Step::Half] {
            let reached: Vec<(Side, f64)> = records
                .iter()
                .map(|record| (record.which, median(&record.saturated, |o| o.rate)))
                .collect();
            for (record, server) in records.iter_mut().zip(&running) {
                let (Some(server), None) = (server, &record.failure) else {
                    continue;
                };
                let outcome = match step {
                    Step::Saturated if record.which.program == Program::Awake => continue,
                    Step::Saturated => server.load_alone(row, &Work::saturating(row, options), places),
                    Step::Half => {
                        let found = reached.iter().find(|(side, _)| *side == record.which.yardstick());
                        let Some(&(_, rate)) = found else { continue };
                        half.pace = Pace::Rate(rate / 2.0);
                        server.load_alone(row, &half, places)
                    }
                };
                match (outcome, step) {
                    (Ok(outcome), Step::Saturated) => record.saturated.push(outcome),
                    (Ok(outcome), Step::Half) => record.second.push(outcome),
                    (Err(error), _) => record.failure = Some(error.to_string()),
                }
            }
        }
    }
    Ok(records)
}

/// The two measurements of a steady round.
#[derive(Clone, Copy)]
enum Step {
    Saturated,
    Half,
}

fn steady_side(
    side: Side,
    row: &Row,
    place: &Path,
    places: &Places,
    helper: Option<u32>,
) -> Result<Running, BenchError> {
    fs::create_dir_all(place)?;
    // The stock script needs credentials where the tuned one does not.
    let database = match (side.script, row.stock) {
        (Script::Stock, Stock::Challenged) => Database::Sqlite,
        (Script::Stock, _) => Database::None,
        (Script::Tuned, _) => row.database,
    };
    let url = seed::database(database, row.users, 0, place)?;
    let running = side::start(side, row, url.as_deref(), place, places, helper)?;
    running.await_answer()?;
    running.server.pause();
    Ok(running)
}

/// Starts a server on a table of contacts and waits until it lists the last of them.
fn time_start(
    side: Side,
    row: &Row,
    contacts: u32,
    folder: &Path,
    places: &Places,
) -> Result<Outcome, BenchError> {
    fs::create_dir_all(folder)?;
    let url = seed::database(row.database, 0, contacts, folder)?;
    // Nothing else runs meanwhile: a server may read its tables on every processor.
    let both = Places {
        processors: (places.both(), places.processors.1.clone()),
        ..places.clone()
    };
    let begun = Instant::now();
    let running = side::start(side, row, url.as_deref(), folder, &both, None)?;
    let socket = UdpSocket::bind("127.22.0.2:0")?;
    socket.connect(running.address())?;
    socket.set_read_timeout(Some(Duration::from_millis(2)))?;
    let last = contacts.saturating_sub(1);
    let wanted = format!("sip:u{last:07}@");
    let sent_by = socket.local_addr()?;
    let mut attempt = 0;
    let listed = wait::until(Duration::from_secs(120), || {
        attempt += 1;
        // A REGISTER without Contact asks for the contacts there are (RFC 3261 §10.2.3).
        let request = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {sent_by};branch=z9hG4bKstart{attempt}\r\nMax-Forwards: 70\r\n\
             From: <sip:u{last:07}@{DOMAIN}>;tag=1\r\nTo: <sip:u{last:07}@{DOMAIN}>\r\nCall-ID: start{attempt}\r\n\
             CSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
        );
        let mut buffer = [0; 4096];
        // Until the server listens, sending or receiving fails: that is what is being measured.
        let length = socket
            .send(request.as_bytes())
            .and_then(|_| socket.recv(&mut buffer))
            .ok()?;
        let mut places = buffer.get(..length)?.windows(wanted.len());
        places
            .any(|place| place == wanted.as_bytes())
            .then(|| begun.elapsed())
    });
    if let Some(ready) = listed {
        let family = process::family(running.server.pid());
        // Clock ticks count threads that have ended.
        let used = process::cost(&family).ticks as f64 * 1e7;
        let resident = process::resident(&family);
        return Ok(Outcome {
            done: 1,
            seconds: ready.as_secs_f64(),
            cpu_us: used / 1e3,
            resident: (0, resident),
            ..Outcome::default()
        });
    }
    Err(BenchError::Silent(side.name(), running.server.log()))
}

/// Returns the middle of one figure over all rounds.
pub(crate) fn median(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    let mut values: Vec<f64> = outcomes.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
