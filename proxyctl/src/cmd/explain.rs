//! `explain`: what the script would do with a message (RPC `core.explain`).

use std::fmt::Write as _;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use shared::rpc::core;

use crate::Answer;
use crate::Error;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl explain invite.sip                        each line that runs, what it tests, what would be sent
  proxyctl explain -v invite.sip                     with the whole messages
  proxyctl explain invite.sip --source tcp:10.0.1.102:5060
  proxyctl explain invite.sip --script new.cfg       through a script that is not in force yet
  proxyctl --output json explain - < invite.sip

Nothing is sent and nothing is changed: registrations, hash tables, accounting and counters stay as they are, and
functions that would write are shown as held back. The message is a request as on the wire; bare line feeds serve too.";

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// File with a SIP request; - is standard input
    file: PathBuf,
    /// Where it comes from [default: what its topmost Via names]
    #[arg(long, value_name = "TRANSPORT:ADDRESS:PORT")]
    source: Option<String>,
    /// Script to run instead of the one in force
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Show whole messages
    #[arg(short, long)]
    verbose: bool,
}

/// Asks the daemon and prints the path.
pub(crate) fn explain(context: &Context<'_>, what: &Explain) -> Result<Answer, Error> {
    let message = message_of(&what.file)?;
    let script = match &what.script {
        None => String::new(),
        Some(path) => std::path::absolute(path)
            .map_err(|error| Error::file("read", path, &error))?
            .display()
            .to_string(),
    };
    let source = what.source.clone().unwrap_or_default();
    let report = context.call(core::EXPLAIN, &[json!(message), json!(source), json!(script)])?;
    let words = words_of(&report, what.verbose);
    Ok(Answer::new(words, report))
}

fn message_of(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(path).map(|read| bytes = read)
    };
    read.map_err(|error| Error::file("read", path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// The report as people read it: a line of the script once, what happened there below it.
fn words_of(report: &Value, verbose: bool) -> String {
    let mut out = format!(
        "from {} at {}\n",
        text(report, "source"),
        text(report, "received_at")
    );
    let mut last = None;
    for step in list(report, "steps") {
        let place = (text(step, "file"), number(step, "line"), text(step, "text"));
        if last != Some(place) {
            let indent = usize::try_from(number(step, "depth")).unwrap_or(0).clamp(1, 20) * 2 - 2;
            let _ = writeln!(out, "{:indent$}{}:{}: {}", "", place.0, place.1, place.2);
            last = Some(place);
        }
        let indent = usize::try_from(number(step, "depth")).unwrap_or(0).clamp(1, 20) * 2 + 2;
        let what = match (text(step, "what"), text(step, "result")) {
            ("enter", _) => String::new(),
            ("leave", code) => format!("returns {code}"),
            ("condition", yes) => yes.to_owned(),
            ("call" | "assign", result) => result.to_owned(),
            (word, "") => word.to_owned(),
            (word, result) => format!("{word}: {result}"),
        };
        let values: Vec<String> = step
            .get("values")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name} is {value}"))
            .collect();
        let line = [what, values.join(", ")]
            .into_iter()
            .filter(|part| !part.is_empty());
        let line = line.collect::<Vec<_>>().join("; ");
        if !line.is_empty() {
            let _ = writeln!(out, "{:indent$}{line}", "");
        }
    }
    if number(report, "omitted") > 0 {
        let _ = writeln!(out, "{} more steps are not shown", number(report, "omitted"));
    }
    let _ = writeln!(out, "ends with {}", text(report, "end"));
    let mut sent = list(report, "sent").peekable();
    if sent.peek().is_none() {
        out.push_str("nothing would be sent\n");
    }
    for one in sent {
        let to = match text(one, "to") {
            "" => "nowhere: it cannot be resolved",
            to => to,
        };
        let _ = writeln!(
            out,
            "would {} {} to {to}",
            verb(text(one, "kind")),
            text(one, "line")
        );
        if verbose {
            for line in text(one, "message").lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// `reply` is `answer`; a request of our own is sent.
fn verb(kind: &str) -> &str {
    match kind {
        "reply" => "answer",
        "request" => "send",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_in_words() {
        let report = json!({
            "source": "udp:192.0.2.1:5060", "received_at": "udp:127.0.0.1:5060", "omitted": 0, "end": "exit",
            "steps": [
                {"file": "a.cfg", "line": 1, "depth": 1, "text": "request_route {", "what": "enter", "result": "", "values": {}},
                {"file": "a.cfg", "line": 2, "depth": 1, "text": "if ($rU == 1) {", "what": "condition", "result": "true", "values": {"$rU": "1"}},
                {"file": "a.cfg", "line": 3, "depth": 1, "text": "save(\"location\");", "what": "note", "result": "x", "values": {}},
                {"file": "a.cfg", "line": 3, "depth": 1, "text": "save(\"location\");", "what": "call", "result": "save() = 1", "values": {}},
            ],
            "sent": [{"kind": "reply", "line": "SIP/2.0 200 OK", "to": "udp:192.0.2.1:5060", "from": null, "message": "SIP/2.0 200 OK\r\n\r\n"}],
        });
        assert_eq!(
            words_of(&report, true),
            "from udp:192.0.2.1:5060 at udp:127.0.0.1:5060\na.cfg:1: request_route {\na.cfg:2: if ($rU == 1) {\n    \
             true; $rU is \"1\"\na.cfg:3: save(\"location\");\n    note: x\n    save() = 1\nends with exit\n\
             would answer SIP/2.0 200 OK to udp:192.0.2.1:5060\n    SIP/2.0 200 OK"
        );
    }
}
