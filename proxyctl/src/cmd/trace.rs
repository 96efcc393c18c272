//! `trace`: the messages of calls as they come and go, drawn as a ladder (subscription `trace`).

mod ladder;

use std::fmt::Write as _;
use std::io;
use std::io::Write as _;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use shared::report::Output;
use shared::report::Paint;
use shared::report::Report;
use shared::report::printable;
use shared::rpc::trace::Message;
use shared::rpc::trace::TRACE;
use shared::rpc::trace::Traced;

use crate::Answer;
use crate::Error;
use crate::context::Context;
use ladder::Ladder;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl trace                                  every message, until Ctrl-C
  proxyctl trace from=alice                       the calls of a user
  proxyctl trace method=INVITE to=bob --count 20
  proxyctl trace -v src=192.0.2.7 --seconds 60    with the whole messages
  proxyctl --output json trace status=5xx         one object a line

A call is followed whole, from the first of its messages that fits on. Conditions: method=, from=, to=, ruri= (a URI, \
user@host, user or host), callid=, src= (an address, or address:port), status= (486 or 4xx); all must hold. Credentials \
are shown as ***. Calls do not wait for who follows: messages that are not taken in time are left out, and counted.";

/// The longest wait for one message; then the time is looked at.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Names of the columns of `--output csv`: the fields but the text of the message.
const COLUMNS: [&str; 13] = [
    "time",
    "direction",
    "source",
    "destination",
    "method",
    "request_uri",
    "status",
    "reason",
    "cseq",
    "call_id",
    "from",
    "to",
    "size",
];

/// What to follow, and how long.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Conditions for a call to be followed
    #[arg(value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// End after so many messages
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// Show whole messages
    #[arg(short, long)]
    verbose: bool,
}

/// Follows messages and shows each as it comes.
pub(crate) fn trace(context: &Context<'_>, what: &Trace) -> Result<Answer, Error> {
    let start = Instant::now();
    let end = what.seconds.map(Duration::from_secs);
    let mut told = context
        .client()
        .subscribe(TRACE, &[json!(what.filter.join(" "))])?;
    context.note(format_args!("following messages; Ctrl-C ends it"));
    let mut form = Form::new(context.output, what.verbose);
    let mut count = 0;
    while what.count.is_none_or(|most| count < most) {
        let left = match end.map(|end| end.checked_sub(start.elapsed())) {
            Some(None) => break,
            Some(Some(left)) => left.min(PATIENCE),
            None => PATIENCE,
        };
        let Some(traced) = told.next(left)? else { continue };
        if !print(&form.show(traced)?)? {
            break;
        }
        count += 1;
    }
    if count == 0 {
        context.note(format_args!("no such message came"));
    }
    Ok(Answer::printed())
}

/// Writes to standard output; false when nobody reads it any more.
fn print(text: &str) -> Result<bool, Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::Print(error.to_string())),
    }
}

/// How messages are shown.
struct Form {
    output: Output,
    verbose: bool,
    ladder: Ladder,
    has_begun: bool,
}

impl Form {
    fn new(output: Output, verbose: bool) -> Self {
        Self {
            output,
            verbose,
            ladder: Ladder::default(),
            has_begun: false,
        }
    }

    /// The text for one thing told.
    fn show(&mut self, told: Value) -> Result<String, Error> {
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        Ok(match self.output {
            Output::Json => format!("{told}\n"),
            Output::Yaml => format!("---\n{}", Report::Tree(told).render(Output::Yaml, Paint::Mono)),
            Output::Csv => {
                let mut report = Report::rows(&COLUMNS);
                report.push(COLUMNS.map(|name| told.get(name).cloned().unwrap_or_default()));
                let text = report.render(Output::Csv, Paint::Mono);
                match text.split_once('\n').filter(|_| has_begun) {
                    Some((_, row)) => row.to_owned(),
                    None => text,
                }
            }
            Output::Table | Output::Plain => match traced(told)? {
                Traced::Message(message) => self.drawn(&message),
                Traced::Dropped { dropped } => {
                    format!(
                        "... {dropped} messages are left out here: they came faster than they were taken\n"
                    )
                }
            },
        })
    }

    fn drawn(&mut self, message: &Message) -> String {
        let mut text = self.ladder.draw(message);
        if self.verbose {
            for line in message.message.lines() {
                let _ = writeln!(text, "    {}", printable(line));
            }
        }
        text
    }
}

fn traced(told: Value) -> Result<Traced, Error> {
    serde_json::from_value(told).map_err(|error| Error::Answer {
        method: TRACE.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use shared::rpc::trace::Direction;

    use super::*;

    /// A message between proxyd and a peer of 192.0.2.0/24.
    pub(super) fn message(direction: Direction, peer: u8, line: &str, call_id: &str) -> Message {
        let (peer, ours) = (
            format!("udp:192.0.2.{peer}:5060"),
            "udp:127.0.0.1:5060".to_owned(),
        );
        let (source, destination) = match direction {
            Direction::In => (peer, ours),
            Direction::Out => (ours, peer),
        };
        let (status, words) = match line.split_once(' ') {
            Some((status, reason)) => (status.parse().ok(), reason),
            None => (None, line),
        };
        Message {
            time: "2026-11-23T03:02:41.123456+00:00".to_owned(),
            direction,
            source,
            destination,
            method: "INVITE".to_owned(),
            request_uri: status.is_none().then(|| words.to_owned()),
            status,
            reason: status.map(|_| words.to_owned()),
            cseq: Some(7),
            call_id: call_id.to_owned(),
            from: "sip:al@a.test".to_owned(),
            to: "sip:bob@b.test".to_owned(),
            size: 3,
            message: "a\r\nb\u{1b}\r\n".to_owned(),
        }
    }

    #[test]
    fn each_form_goes_on() {
        let told = || serde_json::to_value(message(Direction::In, 7, "sip:bob@b.test", "c1")).unwrap();
        let show = |output| {
            let mut form = Form::new(output, true);
            [told(), json!({ "dropped": 3 }), told()].map(|told| form.show(told).unwrap())
        };
        let [first, dropped, last] = show(Output::Json);
        assert_eq!((first.lines().count(), &*dropped), (1, "{\"dropped\":3}\n"));
        assert_eq!(first, last);
        let [first, _, last] = show(Output::Csv);
        assert_eq!(first, format!("{}\n{last}", COLUMNS.join(",")));
        let [first, dropped, _] = show(Output::Yaml);
        assert!(first.starts_with("---\ntime: "), "{first}");
        assert_eq!(dropped, "---\ndropped: 3\n");
        let [first, dropped, last] = show(Output::Plain);
        assert!(first.ends_with("    a\n    b \n"), "{first}");
        assert!(dropped.starts_with("... 3 messages"), "{dropped}");
        assert!(last.lines().count() < first.lines().count(), "{last}");
    }
}
