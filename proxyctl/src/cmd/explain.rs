//! `explain`: what the script would do with a message, or did with one (RPCs `core.explain`, `core.explain_live`).

use std::fmt::Write as _;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use shared::rpc::core;

use crate::Answer;
use crate::Error;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl explain invite.sip                        each line that runs, and what would be sent
  proxyctl explain -v invite.sip                     with the whole messages
  proxyctl explain invite.sip --source tcp:10.0.1.102:5060
  proxyctl explain invite.sip --script new.cfg       through a script that is not in force yet
  proxyctl --output json explain - < invite.sip
  proxyctl explain --live method=INVITE from=alice   the next such message, as it is handled
  proxyctl explain --live src=192.0.2.7 --wait 600
  proxyctl explain --live status=486                 replies, when their status is asked for

Nothing is sent and nothing is changed: registrations, hash tables, accounting and counters stay as they are, and \
functions that would write are shown as held back. The message is a request as on the wire; bare line feeds serve too. \
With --live the message is handled as any other. Conditions: method=, from=, to=, ruri= (a URI, user@host, user or host), \
callid=, src= (an address, or address:port), status= (486 or 4xx); all must hold, and without any the next request is shown.";

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// File with a SIP request; - is standard input
    #[arg(required_unless_present = "live")]
    file: Option<PathBuf>,
    /// Wait for the next message of the network that fits these conditions
    #[arg(long, value_name = "NAME=VALUE", num_args = 0.., conflicts_with_all = ["file", "source", "script"])]
    live: Option<Vec<String>>,
    /// Seconds to wait for it
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "live", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Where the request comes from [default: what its topmost Via names]
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
    let report = match (&what.live, &what.file) {
        (Some(conditions), _) => {
            let wait = Duration::from_secs(what.wait);
            let params = [json!(conditions.join(" ")), json!(what.wait)];
            context.client().patient(wait).call(core::EXPLAIN_LIVE, &params)?
        }
        (None, file) => rehearsed(context, what, file.as_deref().unwrap_or(Path::new("-")))?,
    };
    let words = words_of(&report, what.verbose);
    Ok(Answer::new(words, report))
}

/// The report about a message that the daemon does not really handle.
fn rehearsed(context: &Context<'_>, what: &Explain, file: &Path) -> Result<Value, Error> {
    let message = message_of(file)?;
    let script = match &what.script {
        None => String::new(),
        Some(path) => std::path::absolute(path)
            .map_err(|error| Error::file("read", path, &error))?
            .display()
            .to_string(),
    };
    let source = what.source.clone().unwrap_or_default();
    context.call(core::EXPLAIN, &[json!(message), json!(source), json!(script)])
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
    let live = report.get("live").and_then(Value::as_bool) == Some(true);
    let mut out = format!(
        "from {} at {}\n",
        text(report, "source"),
        text(report, "received_at")
    );
    if live {
        let message = text(report, "message").lines();
        for line in message.take(if verbose { usize::MAX } else { 1 }) {
            let _ = writeln!(out, "    {line}");
        }
    }
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
        out.push_str(if live {
            "nothing was sent\n"
        } else {
            "nothing would be sent\n"
        });
    }
    for one in sent {
        let to = match text(one, "to") {
            "" => "nowhere: it cannot be resolved",
            to => to,
        };
        let _ = writeln!(
            out,
            "{} {} to {to}",
            verb(text(one, "kind"), live),
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

/// What is done with a message of this kind, or was.
fn verb(kind: &str, live: bool) -> &str {
    match (kind, live) {
        ("reply", true) => "sent",
        ("reply", false) => "would answer",
        ("relay", true) => "relayed",
        ("relay", false) => "would relay",
        ("forward", false) => "would forward",
        (_, true) => "sent",
        (_, false) => "would send",
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
        let live = json!({
            "source": "udp:192.0.2.1:5060", "received_at": "udp:127.0.0.1:5060", "omitted": 0, "end": "exit", "steps": [],
            "sent": [], "live": true, "message": "BYE sip:b@b.test SIP/2.0\r\n\r\n",
        });
        assert_eq!(
            words_of(&live, false),
            "from udp:192.0.2.1:5060 at udp:127.0.0.1:5060\n    BYE sip:b@b.test SIP/2.0\nends with exit\nnothing was sent"
        );
    }
}
