//! `monitor`: counters of the daemon that refresh (Kamailio kamctl).

use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::Duration;

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

use crate::Answer;
use crate::Error;
use crate::clock;
use crate::context::Context;

pub(crate) const MONITOR: &str = "\
Examples:
  proxyctl monitor                 refreshes every two seconds; Ctrl-C ends it
  proxyctl monitor --interval 5
  proxyctl monitor --count 1 --output json";

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
