//! What several tests begin with: a site, a database with subscribers, a running server.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;

use tempfile::TempDir;
use tests::scenario::DOMAIN;
use tests::site::Site;
use tests::subject;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::tables;
use tests::ua::Transport;
use tests::ua::Ua;

/// A running server with a folder and addresses of its own.
pub(crate) struct House {
    pub(crate) site: Site,
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
}

impl House {
    /// Starts the scenarios' script on a database with these subscribers.
    pub(crate) fn open(defines: &[&str], subscribers: &[(&str, &str)]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/proxy.cfg");
        Self::open_script(&script, defines, subscribers)
    }

    /// Starts a script of the test's own.
    pub(crate) fn open_text(text: &str, defines: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("test.cfg");
        fs::write(&script, text).expect("a file in a folder of our own");
        Self::open_script(&script, defines, &[])
    }

    fn open_script(script: &Path, defines: &[&str], subscribers: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = Site::new();
        let database = folder.path().join("test.db");
        let connection = tables::create(&database).expect("tables in a new file");
        for (user, password) in subscribers {
            tables::add_subscriber(&connection, user, DOMAIN, password).expect("a new subscriber");
        }
        let mut launch = Launch {
            script: script.to_owned(),
            listen: site.listen(),
            defines: defines.iter().map(|&define| define.to_owned()).collect(),
            folder: Some(folder.path().join("server")),
            ..Launch::default()
        };
        launch
            .defines
            .push(format!("DBURL=\"sqlite:///{}\"", database.display()));
        let server = start(&launch);
        Self { site, server, folder }
    }

    /// Opens a user agent over UDP.
    pub(crate) fn agent(&self, name: &str) -> Ua {
        let address = self.site.user_agent(false);
        Ua::open(name, Transport::Udp, address, self.site.server, DOMAIN).expect("a free port")
    }
}

/// Starts the chosen subject.
pub(crate) fn start(launch: &Launch) -> Server {
    let subject = Subject::chosen();
    let mut launch = launch.clone();
    if subject == Subject::Kamailio {
        launch.options.extend(["-m", "64", "-M", "8"].map(str::to_owned));
    }
    Server::start(subject, &launch).unwrap_or_else(|error| panic!("{error}"))
}

/// Plays files four at a time, for most of the time is spent in waiting; what those that failed say, sorted.
pub(crate) fn in_parallel(
    files: Vec<PathBuf>,
    play: impl Fn(&Path) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (queue, failures) = (
        Mutex::new(files.into_iter().rev().collect::<Vec<_>>()),
        Mutex::new(Vec::new()),
    );
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(file) = queue.lock().expect("no holder panics").pop() else {
                        break;
                    };
                    if let Err(error) = play(&file) {
                        failures.lock().expect("no holder panics").push(error);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no holder panicked");
    failures.sort();
    failures
}

/// Runs one of the project's programs with a home folder and returns what it said.
pub(crate) fn tool(name: &str, home: &Path, arguments: &[&str]) -> Output {
    let program: PathBuf = subject::built(name);
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env("PROXYD_HOME", home)
        .env("HOME", home)
        .env("NO_COLOR", "1");
    command.stdin(Stdio::null()).current_dir(home);
    command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Returns what a program wrote, both streams.
pub(crate) fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The words of a line; what stands in single quotes is one.
pub(crate) fn split(line: &str) -> Vec<String> {
    line.split('\'')
        .enumerate()
        .flat_map(|(index, part)| {
            if index % 2 == 1 {
                vec![part.to_owned()]
            } else {
                part.split_whitespace().map(str::to_owned).collect()
            }
        })
        .collect()
}
