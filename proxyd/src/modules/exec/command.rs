//! One command of the shell, for no longer than it may take.

use std::ffi::OsString;
use std::io::Read;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::Stdio;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How much of what a command writes is read.
const OUTPUT: u64 = 64 * 1024;

/// What to run.
pub(super) struct Command {
    /// For `/bin/sh -c`.
    pub(super) text: Vec<u8>,
    /// Set in its environment.
    pub(super) variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it reads.
    pub(super) input: Option<Vec<u8>>,
    /// Whether what it writes is wanted.
    pub(super) reads: bool,
    time: Duration,
}

/// A command that came to its end.
pub(super) struct Ended {
    pub(super) success: bool,
    output: Vec<u8>,
}

impl Ended {
    /// The lines that it wrote; empty ones do not count.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.output.split(|byte| *byte == b'\n');
        lines.map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
    }
}

/// Why there is no end to speak of.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0}")]
    Start(#[from] std::io::Error),
    #[error("killed after {0:?}")]
    TimedOut(Duration),
}

impl Command {
    pub(super) fn new(text: Vec<u8>, time: Duration) -> Self {
        Self {
            text,
            variables: Vec::new(),
            input: None,
            reads: false,
            time,
        }
    }

    /// Runs it and waits. What is still running when its time has passed is killed with all that it started.
    pub(super) fn run(self) -> Result<Ended, Failed> {
        let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
        let variables = self.variables.into_iter();
        let mut child = std::process::Command::new("/bin/sh")
            .arg0("sh")
            .arg("-c")
            .arg(OsString::from_vec(self.text))
            .envs(variables.map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))))
            .stdin(piped(self.input.is_some()))
            .stdout(piped(self.reads))
            .process_group(0)
            .spawn()?;
        let group = child.id();
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input) {
            // a command need not read, and then its end ends the writing
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let (done, ended) = sync_channel(1);
        std::thread::spawn(move || done.send(finish(child)));
        match ended.recv_timeout(self.time) {
            Ok(ended) => Ok(ended?),
            Err(_) => {
                kill(group);
                Err(Failed::TimedOut(self.time))
            }
        }
    }
}

/// Reads what a command writes, then waits for its status.
fn finish(mut child: Child) -> std::io::Result<Ended> {
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT).read_to_end(&mut output)?;
    }
    let success = child.wait()?.success();
    Ok(Ended { success, output })
}

/// Kills a process group; the shell's own `kill` spares a system call that is not safe Rust.
fn kill(group: u32) {
    let killed = std::process::Command::new("/bin/sh")
        .args(["-c", "kill -s KILL -- -\"$0\"", &group.to_string()])
        .status();
    if let Err(why) = killed {
        crate::log::error("exec", format_args!("killing {group}: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str, time: Duration) -> Command {
        Command::new(text.into(), time)
    }

    #[test]
    fn what_it_writes_is_read() {
        let long = Duration::from_secs(20);
        for (text, input, expected) in [
            ("printf 'a\\r\\n\\nb'", "", &["a", "b"][..]),
            ("cat", "x\ny\n", &["x", "y"]),
            ("exit 3", "never read", &[]),
            ("echo $NAME", "", &["value"]),
        ] {
            let mut command = command(text, long);
            command.reads = true;
            command.input = Some(input.as_bytes().to_vec());
            command.variables = vec![(b"NAME".to_vec(), b"value".to_vec())];
            let ended = command.run().unwrap();
            let lines: Vec<_> = ended.lines().map(String::from_utf8_lossy).collect();
            assert_eq!(lines, expected, "{text}");
            assert_eq!(ended.success, text != "exit 3", "{text}");
        }
    }

    #[test]
    fn what_takes_too_long_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("group");
        let text = format!("echo $$ > {}; sleep 60 | sleep 60", note.display());
        let mut command = command(&text, Duration::from_secs(1));
        command.reads = true;
        assert!(matches!(command.run(), Err(Failed::TimedOut(_))));
        let group = std::fs::read_to_string(note).unwrap();
        let alive = || {
            let asked = std::process::Command::new("/bin/sh")
                .args(["-c", "kill -s 0 -- -\"$0\" 2>/dev/null", group.trim()])
                .status();
            asked.unwrap().success()
        };
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while alive() {
            assert!(std::time::Instant::now() < end, "the group {group} lives on");
        }
    }

    #[test]
    fn commands_that_cannot_be_started() {
        let result = command("a\0b", Duration::from_secs(1)).run();
        assert!(matches!(result, Err(Failed::Start(_))));
    }
}
