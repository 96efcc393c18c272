//! Scenarios: files of SEND, EXPECT, WAIT and RPC steps over real sockets; the words are explained in tests/scenarios/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use thiserror::Error;

use crate::message::Message;
use crate::pattern;
use crate::pattern::Variables;
use crate::record::Record;
use crate::secure;
use crate::secure::Identity;
use crate::site::Site;
use crate::subject::Launch;
use crate::subject::RpcError;
use crate::subject::Server;
use crate::subject::StartError;
use crate::subject::Subject;
use crate::tables;
use crate::ua::Transport;
use crate::ua::Ua;
use crate::wait;

/// The domain of every scenario.
pub const DOMAIN: &str = "test.lan";

/// Why a scenario failed.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// A step did not go as the file says.
    #[error("{file}:{line}: {what}\n{transcript}")]
    Step {
        /// The scenario.
        file: String,
        /// The line of the step.
        line: usize,
        /// What was found instead.
        what: String,
        /// Everything sent and received, then the server's log.
        transcript: String,
    },
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(String, io::Error),
}

#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Words(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

/// One step: its words, and the indented lines below it.
struct Step {
    line: usize,
    words: Vec<String>,
    block: Vec<String>,
}

/// The script that Debian's Kamailio ships.
pub const STOCK: &str = "/etc/kamailio/kamailio.cfg";

/// Where Debian keeps the statements that make Kamailio's tables in SQLite.
const SCHEMA: &str = "/usr/share/kamailio/db_sqlite";

/// The port of a scenario's first user agent over IPv4; the others follow.
const FIRST_PORT: u16 = 22_071;

/// Runs one scenario file against a subject.
pub fn run(path: &Path, subject: Subject) -> Result<(), ScenarioError> {
    play(path, subject, &Site::new()).map(drop)
}

/// Runs one scenario file against a subject at a site, and returns everything that was seen.
pub fn play(path: &Path, subject: Subject, site: &Site) -> Result<Record, ScenarioError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ScenarioError::File(file.clone(), error))?;
    let folder = tempfile::Builder::new().prefix("proxyd-scenario-").tempdir();
    let folder = folder.map_err(|error| ScenarioError::File(file.clone(), error))?;
    let database = folder.path().join("test.db");
    let scripts = path.parent().unwrap_or(Path::new("."));
    let variables = Variables::from([
        ("domain".to_owned(), DOMAIN.to_owned()),
        ("database".to_owned(), format!("sqlite:///{}", database.display())),
        ("folder".to_owned(), folder.path().display().to_string()),
        ("here".to_owned(), scripts.display().to_string()),
        ("host".to_owned(), site.server.ip().to_string()),
        ("server".to_owned(), site.server.to_string()),
        ("server_tls".to_owned(), site.server_tls.to_string()),
        ("server6".to_owned(), site.server6.to_string()),
    ]);
    let mut stage = Stage {
        subject,
        scripts,
        folder: folder.path(),
        site: site.clone(),
        server: None,
        launch: Launch::default(),
        agents: BTreeMap::new(),
        requests: BTreeMap::new(),
        variables,
        transcript: String::new(),
        record: Record::default(),
        queries: Vec::new(),
        database: None,
    };
    for step in steps(&text) {
        if let Err(failure) = stage.perform(&step) {
            let log = stage.server.as_ref().map(Server::log).unwrap_or_default();
            let transcript = format!("{}--- log\n{log}", stage.transcript);
            return Err(ScenarioError::Step {
                file,
                line: step.line,
                what: failure.to_string(),
                transcript,
            });
        }
    }
    Ok(stage.close())
}

/// Returns what a file says must differ between the subjects: the lines below its DIFFERS steps.
pub fn differences(text: &str, site: &Site) -> Vec<String> {
    let steps = steps(text);
    let differing = steps
        .iter()
        .filter(|step| step.words.first().is_some_and(|word| word == "DIFFERS"));
    let host = site.server.ip().to_string();
    let lines = differing.flat_map(|step| &step.block);
    lines.map(|line| line.replace("{host}", &host)).collect()
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(line) = line.strip_prefix("    ") {
            if let Some(step) = steps.last_mut() {
                step.block.push(line.to_owned());
            }
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            let words = line.split_whitespace().map(str::to_owned).collect();
            steps.push(Step {
                line: number + 1,
                words,
                block: Vec::new(),
            });
        }
    }
    steps
}

struct Stage<'a> {
    subject: Subject,
    scripts: &'a Path,
    folder: &'a Path,
    site: Site,
    server: Option<Server>,
    launch: Launch,
    agents: BTreeMap<String, Ua>,
    requests: BTreeMap<String, Message>,
    variables: Variables,
    transcript: String,
    record: Record,
    queries: Vec<String>,
    /// Open all the time: a server that opens a database in WAL mode first would lock out its other processes.
    database: Option<Connection>,
}

impl Stage<'_> {
    fn perform(&mut self, step: &Step) -> Result<(), Failure> {
        let mut words = Vec::new();
        // Reasons are prose.
        if step.words.first().is_some_and(|word| word == "DIFFERS") {
            return Ok(());
        }
        for word in &step.words {
            words.push(pattern::expand(word, &self.variables)?);
        }
        // A line for one subject only records where the two differ on purpose.
        let only = words
            .first()
            .and_then(|word| word.strip_prefix('@'))
            .map(str::to_owned);
        if let Some(only) = only {
            if (only == "kamailio") != (self.subject == Subject::Kamailio) {
                return Ok(());
            }
            words.remove(0);
        }
        let dialog = match words.iter().position(|word| word == "as") {
            Some(at) => words.drain(at..).nth(1).ok_or_else(|| "as what?".to_owned())?,
            None => "dialog".to_owned(),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["SERVER", script, defines @ ..] => self.start(script, defines),
            ["SCRIPT", rest @ ..] => {
                let script = self.write("kamailio.cfg", step)?;
                self.start_script(script, rest)
            }
            ["STOCK", options @ ..] => self.start_stock(options, step),
            ["FILE", name] => self.write(name, step).map(drop),
            ["CERTIFICATES", names @ ..] => Ok(secure::make_certificates(self.folder, names)?),
            ["CHECK"] => self.check_script(step),
            ["TABLES", names @ ..] => {
                for name in names {
                    let statements = fs::read_to_string(format!("{SCHEMA}/{name}-create.sql"))?;
                    self.database()?.execute_batch(&statements)?;
                }
                Ok(())
            }
            ["SQL"] => {
                let statements = known(&step.block.join("\n"), &self.variables);
                Ok(self.database()?.execute_batch(&statements)?)
            }
            ["QUERY", query @ ..] => {
                self.queries.push(query.join(" "));
                Ok(())
            }
            ["RESTART"] => self.restart(),
            ["UA", name, kind] => self.open(name, kind),
            ["REQUEST", name, method, to] => {
                let extra = self.fields(step)?;
                let sent = self.agent(name)?.request(&dialog, method, to, &extra)?;
                self.log(name, "sends", &sent);
                Ok(())
            }
            ["AUTHORIZE", name, user, password] => {
                let sent = self.agent(name)?.authorize(&dialog, user, password)?;
                self.log(name, "sends", &sent);
                Ok(())
            }
            ["RESEND", name] => Ok(self.agent(name)?.resend(&dialog)?),
            ["SEND", name] => self.send(name, step),
            ["EXPECT", name, what, rest @ ..] => self.expect(name, what, rest, step),
            ["REPLY", name, status @ ..] => {
                let extra = self.fields(step)?;
                // `to METHOD` names an earlier request than the last.
                let (status, key) = match status {
                    [status @ .., "to", method] => (status, format!("{name} {method}")),
                    status => (status, (*name).to_owned()),
                };
                let request = self
                    .requests
                    .get(&key)
                    .cloned()
                    .ok_or("nothing to reply to".to_owned())?;
                let sent = self.agent(name)?.reply(&request, &status.join(" "), &extra)?;
                self.log(name, "sends", &sent);
                Ok(())
            }
            ["ADOPT", name] => {
                let request = self.requests.get(&format!("{name} INVITE")).cloned();
                let request = request.ok_or("no INVITE to adopt".to_owned())?;
                self.agent(name)?.adopt(&dialog, &request);
                Ok(())
            }
            ["NONE", name] => self.none(name),
            ["WAIT", "LOG", text @ ..] => {
                let text = text.join(" ");
                let found = self.server()?.await_log(&text);
                if found {
                    Ok(())
                } else {
                    Err(format!("the log never said {text:?}").into())
                }
            }
            ["RPC", method, params @ ..] => self.rpc(method, &params.join(" "), step, Duration::ZERO),
            ["WAIT", "RPC", method, params @ ..] => self.rpc(method, &params.join(" "), step, wait::PATIENCE),
            ["SUBSCRIBER", user, password] => {
                let connection = self.database()?;
                Ok(tables::add_subscriber(connection, user, DOMAIN, password)?)
            }
            _ => Err(format!("no such step: {}", words.join(" ")).into()),
        }
    }

    fn start(&mut self, script: &str, defines: &[&str]) -> Result<(), Failure> {
        self.launch.script = fs::canonicalize(self.scripts.join(script))?;
        self.launch.listen = self.site.listen();
        self.serve(defines)
    }

    /// Starts a script of the scenario's own, over UDP and the other transports named.
    fn start_script(&mut self, script: PathBuf, transports: &[&str]) -> Result<(), Failure> {
        self.launch.script = script;
        let mut transports = transports.to_vec();
        transports.insert(0, "udp");
        let sockets = transports.iter().map(|name| match *name {
            "tls" => format!("tls:{}", self.site.server_tls),
            name => format!("{name}:{}", self.site.server),
        });
        self.launch.listen = sockets.collect();
        self.serve(&[])
    }

    /// Starts the script that Kamailio ships with these options; the block goes to the file it imports.
    fn start_stock(&mut self, options: &[&str], step: &Step) -> Result<(), Failure> {
        let script = String::from_utf8_lossy(&fs::read(STOCK)?).into_owned();
        // Several workers would answer in any order; the tests' database is SQLite.
        let script = script
            .replace("children=8", "children=1")
            .replace("db_mysql.so", "db_sqlite.so")
            .replace(
                "/etc/kamailio/tls.cfg",
                &self.folder.join("tls.cfg").display().to_string(),
            );
        let path = self.folder.join("kamailio.cfg");
        fs::write(&path, script)?;
        if options.contains(&"WITH_MYSQL") {
            self.database()?;
        }
        let mut local = format!("alias=\"{DOMAIN}\"\n");
        for option in options {
            local.push_str(&format!("#!define {option}\n"));
        }
        local.push_str(&known(&step.block.join("\n"), &self.variables));
        fs::write(self.folder.join("kamailio-local.cfg"), local + "\n")?;
        let secure = options.contains(&"WITH_TLS").then_some("tls");
        self.start_script(path, secure.as_slice())
    }

    /// Writes the block of a step to a file; the names of variables that the block does not mean stay as they are.
    fn write(&mut self, name: &str, step: &Step) -> Result<PathBuf, Failure> {
        let path = self.folder.join(name);
        let text = known(&step.block.join("\n"), &self.variables);
        fs::write(&path, text + "\n")?;
        Ok(path)
    }

    /// Notes whether the subject accepts a script that is only checked.
    fn check_script(&mut self, step: &Step) -> Result<(), Failure> {
        let script = self.write("checked.cfg", step)?;
        let mut command = Command::new(self.subject.program());
        command
            .arg("-c")
            .arg("-f")
            .arg(script)
            .args(["-Y"])
            .arg(self.folder);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir(self.folder);
        let verdict = if command.status()?.success() {
            "accepted"
        } else {
            "refused"
        };
        self.record.found(&format!("check: line {} {verdict}", step.line));
        Ok(())
    }

    /// Notes the rows of a query.
    fn query(&mut self, query: &str) -> Result<(), Failure> {
        let connection = self.database()?;
        let mut statement = connection.prepare(query)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let mut values = Vec::new();
            for column in 0..columns {
                values.push(format!("{:?}", row.get::<_, rusqlite::types::Value>(column)?));
            }
            lines.push(format!("row: {}", values.join(" ")));
        }
        drop(rows);
        drop(statement);
        lines.iter().for_each(|line| self.record.found(line));
        Ok(())
    }

    /// Opens the database of the scenario, which is made when first asked for.
    fn database(&mut self) -> Result<&Connection, Failure> {
        if self.database.is_none() {
            self.launch
                .defines
                .push(format!("DBURL=\"{}\"", self.variables["database"]));
            self.database = Some(tables::create(&self.folder.join("test.db"))?);
        }
        self.database
            .as_ref()
            .ok_or_else(|| "no database".to_owned().into())
    }

    /// Stops the server and returns everything that was seen.
    fn close(mut self) -> Record {
        let log = match &mut self.server {
            Some(server) => {
                server.settle();
                server.stop();
                server.log()
            }
            None => String::new(),
        };
        for (name, agent) in &mut self.agents {
            for message in agent.waiting() {
                self.record.received(name, &message);
            }
        }
        self.record.logged(&log);
        // What is written behind is written by now.
        for query in std::mem::take(&mut self.queries) {
            if let Err(failure) = self.query(&query) {
                self.record.found(&format!("row: {failure}"));
            }
        }
        self.record
    }

    fn serve(&mut self, defines: &[&str]) -> Result<(), Failure> {
        self.launch
            .defines
            .extend(defines.iter().map(|&define| define.to_owned()));
        self.launch.folder = Some(self.folder.join("server"));
        if self.subject == Subject::Kamailio {
            self.launch.options = ["-m", "32", "-M", "8"].map(str::to_owned).to_vec();
        }
        self.server = Some(Server::start(self.subject, &self.launch)?);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Failure> {
        // The old one must be gone before the new one takes its sockets.
        drop(self.server.take());
        self.server = Some(Server::start(self.subject, &self.launch)?);
        Ok(())
    }

    fn open(&mut self, name: &str, kind: &str) -> Result<(), Failure> {
        let ipv6 = kind.ends_with('6');
        let transport = match kind.trim_end_matches('6') {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            "ws" => Transport::Ws,
            "wss" => Transport::Wss,
            other => return Err(format!("no such transport: {other}").into()),
        };
        let server = match transport {
            secure if secure.is_secure() => self.site.server_tls,
            _ if ipv6 => self.site.server6,
            _ => self.site.server,
        };
        let mut address = self.site.user_agent(ipv6);
        if !ipv6 {
            address.set_port(FIRST_PORT + u16::try_from(self.agents.len()).unwrap_or_default());
        }
        // A program that is just being started may hold the previous run's socket for a moment.
        let free = |error: &io::Error| error.kind() != io::ErrorKind::AddrInUse;
        let open = || Ua::open(name, transport, address, server, DOMAIN);
        let agent = wait::until(wait::PATIENCE, || match open() {
            Err(error) if !free(&error) => None,
            opened => Some(opened),
        });
        let mut agent = agent.unwrap_or_else(open)?;
        if transport.is_secure() {
            agent.identify(Identity::new(self.folder, name, DOMAIN)?);
        }
        self.variables
            .insert(format!("{name}.address"), agent.address.to_string());
        self.variables.insert(format!("{name}.contact"), agent.contact());
        self.variables.insert(format!("{name}.aor"), agent.aor());
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    fn send(&mut self, name: &str, step: &Step) -> Result<(), Failure> {
        let mut text = String::new();
        for line in &step.block {
            text.push_str(&pattern::expand(line, &self.variables)?);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        self.transcript.push_str(&format!("--- {name} sends\n{text}"));
        self.record.sent(&text);
        Ok(self.agent(name)?.send_bytes(text.as_bytes())?)
    }

    fn expect(&mut self, name: &str, what: &str, rest: &[&str], step: &Step) -> Result<(), Failure> {
        let seconds = rest
            .iter()
            .position(|&word| word == "within")
            .and_then(|at| rest.get(at + 1));
        let seconds = seconds.and_then(|word| word.trim_end_matches('s').parse().ok());
        let limit = seconds.map_or(wait::PATIENCE, Duration::from_secs_f64);
        let message = loop {
            let message = self
                .agent(name)?
                .receive(limit)
                .ok_or_else(|| format!("{name} waited in vain for {what}"))?;
            self.log(name, "receives", &message);
            // 100 Trying may come or not, unless it is what we wait for (RFC 3261 §17.2.1).
            if message.status() == Some(100) && what != "100" {
                continue;
            }
            break message;
        };
        let kind = message
            .status()
            .map_or_else(|| message.method().to_owned(), |status| status.to_string());
        if pattern::matches(what, &kind).is_none() {
            return Err(format!("{name} expected {what} and received {:?}", message.start).into());
        }
        if message.status().is_none() {
            self.requests.insert(name.to_owned(), message.clone());
            self.requests.insert(format!("{name} {kind}"), message.clone());
        } else {
            self.agent(name)?.note(&message);
        }
        for line in &step.block {
            let line = pattern::expand(line, &self.variables)?;
            let (header, wanted) = line
                .split_once(':')
                .ok_or_else(|| format!("not a check: {line}"))?;
            let captured = check(&message, header.trim(), wanted.trim())?;
            self.variables.extend(captured);
        }
        Ok(())
    }

    /// Checks that nothing arrived, after the server has answered a later question on the same worker.
    fn none(&mut self, name: &str) -> Result<(), Failure> {
        let server = self.site.server;
        let socket = UdpSocket::bind((server.ip(), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let address = socket.local_addr()?;
        let mut attempt = 0;
        let answered = wait::until(wait::PATIENCE, || {
            attempt += 1;
            let request = format!(
                "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bKfence{attempt}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:fence@{DOMAIN}>;tag=1\r\nTo: <sip:{DOMAIN}>\r\n\
                 Call-ID: fence{attempt}x{address}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            socket
                .send(request.as_bytes())
                .and_then(|_| socket.recv(&mut [0; 4096]))
                .ok()
        });
        answered.ok_or("the server does not answer any more".to_owned())?;
        let mut waiting = self.agent(name)?.waiting();
        for message in &waiting {
            self.log(name, "receives", message);
        }
        waiting.retain(|message| message.status() != Some(100));
        match waiting.first() {
            None => Ok(()),
            Some(message) => Err(format!("{name} expected nothing and received {:?}", message.start).into()),
        }
    }

    fn rpc(&mut self, method: &str, params: &str, step: &Step, limit: Duration) -> Result<(), Failure> {
        let params = if params.is_empty() { "[]" } else { params };
        let params: Value = serde_json::from_str(params).map_err(|error| format!("parameters: {error}"))?;
        let mut wanted = Vec::new();
        for line in &step.block {
            let line = pattern::expand(line, &self.variables)?;
            let (place, text) = line
                .split_once(": ")
                .ok_or_else(|| format!("not a check: {line}"))?;
            wanted.push((place.to_owned(), text.trim().to_owned()));
        }
        let server = self.server()?;
        let (mut last, mut answered) = (String::new(), Value::Null);
        let found = wait::until(limit, || {
            let answer = match server.rpc(method, &params) {
                Ok(answer) => answer,
                Err(RpcError::Refused { code, message }) => {
                    serde_json::json!({"error": {"code": code, "message": message}})
                }
                Err(error) => Value::String(error.to_string()),
            };
            last = format!("{method} answers {answer:#}");
            let mut captured = Variables::new();
            for (place, text) in &wanted {
                let value = answer.pointer(place)?;
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                captured.extend(pattern::matches(text, &value)?);
            }
            answered = answer;
            Some(captured)
        });
        self.variables.extend(found.ok_or(last)?);
        self.record.answered(method, &answered);
        Ok(())
    }

    fn fields(&self, step: &Step) -> Result<Vec<(String, String)>, Failure> {
        let mut fields = Vec::new();
        for line in &step.block {
            let line = pattern::expand(line, &self.variables)?;
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("not a header: {line}"))?;
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(fields)
    }

    fn agent(&mut self, name: &str) -> Result<&mut Ua, Failure> {
        self.agents
            .get_mut(name)
            .ok_or_else(|| format!("no user agent is named {name}").into())
    }

    fn server(&self) -> Result<&Server, Failure> {
        self.server
            .as_ref()
            .ok_or_else(|| "no server was started".to_owned().into())
    }

    fn log(&mut self, name: &str, verb: &str, message: &Message) {
        let text = String::from_utf8_lossy(&message.write()).into_owned();
        self.transcript.push_str(&format!("--- {name} {verb}\n{text}\n"));
        if let Some(source) = self.agents.get(name).and_then(Ua::source) {
            self.record.connected(name, source);
        }
        if verb == "sends" {
            self.record.sent(&text);
        } else {
            self.record.received(name, message);
        }
    }
}

/// Puts in the values of the variables that there are, and leaves every other pair of braces alone.
fn known(text: &str, variables: &Variables) -> String {
    let mut text = text.to_owned();
    for (name, value) in variables {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

/// Checks one header: `Via[2]: pattern` the second value, `count(Via): 2` how many, an empty pattern none at all.
fn check(message: &Message, header: &str, wanted: &str) -> Result<Variables, String> {
    if let Some(name) = header
        .strip_prefix("count(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let count = message.values(name).count().to_string();
        return pattern::matches(wanted, &count)
            .ok_or_else(|| format!("{count} values of {name}, not {wanted}"));
    }
    let value = match header {
        "Request-URI" => Some(message.uri()),
        "Start" => Some(message.start.as_str()),
        "Body" => Some(message.body.as_str()),
        _ => match header.split_once('[') {
            Some((name, index)) => {
                let index: usize = index
                    .trim_end_matches(']')
                    .parse()
                    .map_err(|_| format!("not an index: {header}"))?;
                message.values(name).nth(index.saturating_sub(1))
            }
            None => message.value(header),
        },
    };
    match (value, wanted) {
        (None, "") => Ok(Variables::new()),
        (Some(value), "") => Err(format!("{header} should not be there and says {value:?}")),
        (None, _) => Err(format!("{header} is not there; {wanted:?} was expected")),
        (Some(value), _) => pattern::matches(wanted, value)
            .ok_or_else(|| format!("{header} says {value:?}; {wanted:?} was expected")),
    }
}
