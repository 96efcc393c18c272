//! `monitor` and `ping`: counters that refresh, and whether somebody answers (RFC 3261 §11).

use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use console::Term;
use serde_json::Value;
use serde_json::json;
use shared::report::Output;
use shared::report::Paint;
use shared::report::Report;
use shared::rpc::core;
use shared::rpc::stats;
use shared::rpc::tm;
use shared::rpc::ul;
use shared::sip::Message;

use super::ul as location;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::clock;
use crate::context::Context;

pub(crate) const MONITOR: &str = "\
Examples:
  proxyctl monitor                 refreshes every two seconds; Ctrl-C ends it
  proxyctl monitor --interval 5
  proxyctl monitor --count 1 --output json";

pub(crate) const PING: &str = "\
Examples:
  proxyctl ping                            does the daemon answer
  proxyctl ping sip:192.0.2.7:5060         does a phone answer OPTIONS
  proxyctl ping alice                      every contact of a user";

/// How often to look.
#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Seconds between two looks
    #[arg(short, long, default_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// End after so many looks
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// SIP URI, user, or nothing for the daemon
    target: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Shows the counters again and again.
pub(crate) fn monitor(context: &Context<'_>, monitor: &Monitor) -> Result<Answer, Error> {
    let is_live = context.output == Output::Table && io::stdout().is_terminal();
    // Into a pipe or a file one look is enough, unless more are asked for.
    let count = monitor.count.or((!is_live).then_some(1));
    let mut before: Vec<(String, i64)> = Vec::new();
    let mut round = 0;
    loop {
        round += 1;
        let now = look(context)?;
        let report = rates(&now, &before, monitor.interval);
        if count == Some(round) {
            return Ok(Answer::report(report));
        }
        let text = if is_live {
            let (rows, _) = Term::stdout().size();
            // Overwritten, not cleared before: it does not flicker.
            format!(
                "\u{1b}[H{}\u{1b}[J",
                screen(&now, &before, monitor.interval, rows.into())
            )
        } else {
            report.render(context.output, Paint::Mono)
        };
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Nobody looks any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Answer::printed()),
            written => written.map_err(|e| Error::Print(e.to_string()))?,
        }
        drop(out);
        before = now;
        clock::pause(Duration::from_secs(monitor.interval));
    }
}

/// The numbers that tell how the daemon fares; what it does not have is left out.
fn look(context: &Context<'_>) -> Result<Vec<(String, i64)>, Error> {
    let uptime = context.call(core::UPTIME, &[])?;
    let mut numbers = vec![(
        "uptime".to_owned(),
        uptime.get("uptime").and_then(Value::as_i64).unwrap_or(0),
    )];
    let optional = [(tm::STATS, "tm"), (tm::SL_STATS, "sl")];
    for (method, group) in optional {
        match context.client().call(method, &[]) {
            Ok(Value::Object(counters)) => numbers.extend(
                counters
                    .iter()
                    .filter_map(|(name, value)| Some((format!("{group}.{name}"), value.as_i64()?))),
            ),
            Ok(_) | Err(Error::Fault(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let groups = [json!("core:"), json!("usrloc:"), json!("shmem:")];
    match context.client().call(stats::FETCHN, &groups) {
        Ok(Value::Object(counters)) => {
            numbers.extend(
                counters
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_i64()?))),
            );
        }
        Ok(_) | Err(Error::Fault(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(numbers)
}

/// What fits a window of so many rows: the counters that are not zero.
fn screen(now: &[(String, i64)], before: &[(String, i64)], interval: u64, rows: usize) -> String {
    // Four lines frame the table, one tells how many are left out.
    let room = rows.saturating_sub(5).max(1);
    let counting: Vec<(String, i64)> = now.iter().filter(|(_, value)| *value != 0).cloned().collect();
    let shown = counting.get(..room).unwrap_or(&counting);
    let mut text = rates(shown, before, interval).render(Output::Table, Paint::of_stdout());
    if counting.len() > shown.len() {
        text.push_str(&format!(
            "{} more do not fit; `proxyctl stats` shows all",
            counting.len() - shown.len()
        ));
    }
    // Each line ends what was longer there before.
    text.replace('\n', "\u{1b}[K\n")
}

fn rates(now: &[(String, i64)], before: &[(String, i64)], interval: u64) -> Report {
    let mut report = Report::rows(&["counter", "value", "per_second"]);
    for (name, value) in now {
        let old = before
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, old)| *old);
        let rate =
            old.map(|old| (value.saturating_sub(old) as f64 / interval.max(1) as f64 * 10.0).round() / 10.0);
        report.push([json!(name), json!(value), rate.map_or(Value::Null, Value::from)]);
    }
    report
}

/// Asks the daemon, a URI, or every contact of a user.
pub(crate) fn ping(context: &Context<'_>, ping: &Ping) -> Result<Answer, Error> {
    let Some(target) = &ping.target else {
        let start = Instant::now();
        let version = context.call(core::VERSION, &[])?;
        let ms = milliseconds(start);
        let words = format!("{} answers in {ms:.2} ms", version.as_str().unwrap_or("proxyd"));
        return Ok(Answer::new(words, json!({ "version": version, "ms": ms })));
    };
    let timeout = Duration::from_secs(ping.timeout);
    let mut report = Report::rows(&["uri", "status", "reason", "ms"]);
    let (mut silent, mut answered) = (None, false);
    let targets = if target.contains(':') {
        vec![target.clone()]
    } else {
        contacts(context, target)?
    };
    for uri in targets {
        match options(&uri, timeout) {
            Ok((status, reason, ms)) => {
                answered = true;
                report.push([json!(uri), json!(status), json!(reason), json!(ms)]);
            }
            Err(error) => {
                report.push([json!(uri), Value::Null, json!(error.to_string()), Value::Null]);
                silent = Some(error);
            }
        }
    }
    match silent {
        Some(error) if !answered => Err(error),
        _ => Ok(Answer::report(report)),
    }
}

fn contacts(context: &Context<'_>, user: &str) -> Result<Vec<String>, Error> {
    let aor = location::aor(context, user)?;
    let found = location::lookup(context, location::Table::Location, &aor)?;
    let record: ul::Record = serde_json::from_value(found).map_err(|e| Error::Answer {
        method: ul::LOOKUP.to_owned(),
        reason: e.to_string(),
    })?;
    let reached = |contact: &ul::Contact| {
        // Behind NAT a phone is where its REGISTER came from.
        if contact.received == ul::NOT_SET {
            contact.address.clone()
        } else {
            contact.received.clone()
        }
    };
    Ok(record
        .contacts
        .iter()
        .map(|entry| reached(&entry.contact))
        .collect())
}

/// Sends OPTIONS over UDP, again every half second, and waits for a final answer.
fn options(uri: &str, timeout: Duration) -> Result<(u16, String, f64), Error> {
    let no_answer = |reason: String| Error::NoAnswer {
        target: uri.to_owned(),
        reason,
    };
    let failed = |error: io::Error| no_answer(error.to_string());
    let target = address(uri)?;
    let any: SocketAddr = if target.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).map_err(failed)?;
    socket.connect(target).map_err(failed)?;
    let ours = socket.local_addr().map_err(failed)?;
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .map_err(failed)?;
    let id: u64 = rand::random();
    let request = format!(
        "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ours};branch=z9hG4bK{id:x};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:proxyctl@{ours}>;tag={id:x}\r\nTo: <{uri}>\r\nCall-ID: {id:x}@proxyctl\r\nCSeq: 1 OPTIONS\r\n\
         Contact: <sip:proxyctl@{ours}>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    );
    let start = Instant::now();
    let mut buffer = vec![0; 65_535];
    let mut last = "nothing came back".to_owned();
    while start.elapsed() < timeout {
        if let Err(error) = socket.send(request.as_bytes()) {
            last = error.to_string();
        }
        match socket.recv(&mut buffer) {
            Ok(n) => {
                let reply = Message::parse(buffer.get(..n).unwrap_or_default()).ok();
                if let Some(reply) = reply.filter(|reply| reply.is_reply() && reply.status() >= 200) {
                    let reason = String::from_utf8_lossy(reply.reason()).into_owned();
                    return Ok((reply.status(), reason, milliseconds(start)));
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => {
                last = error.to_string();
                clock::pause(Duration::from_millis(200));
            }
        }
    }
    Err(no_answer(last))
}

fn address(uri: &str) -> Result<SocketAddr, Error> {
    let parsed = check::sip_uri(uri)?;
    if let Some(Some(transport)) = parsed.param(b"transport")
        && !transport.eq_ignore_ascii_case(b"udp")
    {
        let transport = String::from_utf8_lossy(transport).into_owned();
        return Err(Error::NoAnswer {
            target: uri.to_owned(),
            reason: format!("ping knows UDP only, not {transport}"),
        });
    }
    let host = std::str::from_utf8(parsed.host).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = (bare, parsed.port.unwrap_or(5060))
        .to_socket_addrs()
        .map_err(|e| Error::NoAnswer {
            target: uri.to_owned(),
            reason: e.to_string(),
        })?;
    found.next().ok_or_else(|| Error::NoAnswer {
        target: uri.to_owned(),
        reason: "its host has no address".to_owned(),
    })
}

fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_shows_what_counts_and_fits() {
        let now: Vec<(String, i64)> = (0..20).map(|n| (format!("c{n:02}"), n)).collect();
        let before = vec![("c01".to_owned(), 0)];
        let wide = screen(&now, &before, 2, 50);
        assert!(!wide.contains("c00") && wide.contains("c19"), "{wide}");
        assert!(wide.contains("0.5"), "{wide}");
        let small = screen(&now, &before, 2, 15);
        assert_eq!(small.lines().count(), 15, "{small}");
        assert!(
            small.contains("c10") && small.contains("9 more do not fit"),
            "{small}"
        );
    }
}
