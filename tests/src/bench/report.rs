//! The benchmark's table: figures of each side, and ratios with the smallest and largest round.

use std::fs;
use std::io;
use std::io::Write;
use std::process::Command;

use serde_json::json;

use super::BenchError;
use super::Options;
use super::Record;
use super::median;
use super::row::Kind;
use super::row::ROWS;
use super::row::Row;
use super::side::Program;
use super::side::Script;
use crate::load::Outcome;
use crate::subject::Subject;

/// The 99th percentile of the median tenth of a second: whether a goal is reached should not depend on whether the
/// machine stood still for some milliseconds.
const USUAL_P99: &str = "p99 at half rate";

/// The ratios of that aimed at, to tuned and to stock Kamailio.
const P99_GOALS: (f64, f64) = (0.75, 0.25);

/// Prints what was measured where: date, machine, versions.
pub(crate) fn heading(options: &Options, out: &mut impl Write) -> io::Result<()> {
    let machine = machine();
    writeln!(out, "# {}", date())?;
    writeln!(out, "# {machine}")?;
    for (subject, flag) in [(Subject::Kamailio, "-v"), (Subject::Proxyd, "-v")] {
        writeln!(out, "# {}", version(subject, flag))?;
    }
    let (server, generator) = &options.processors;
    writeln!(
        out,
        "# {} rounds of {} s; server on CPU {server}, generator on CPU {generator}",
        options.rounds, options.seconds
    )
}

/// Prints one row: a line for each side, then the ratios.
pub(crate) fn row(row: &Row, records: &[Record], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n## {}: {}", row.name, row.title)?;
    let beside = match row.kind {
        Kind::Overload => "us beyond",
        Kind::Workers(_) => "us with two",
        Kind::Steady | Kind::Fill(_) | Kind::Start(_) => "us at half",
    };
    match row.kind {
        Kind::Start(_) => writeln!(
            out,
            "{:<22}{:>12}{:>12}{:>12}",
            "", "ready ms", "CPU ms", "resident MB"
        )?,
        _ => writeln!(
            out,
            "{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}{:>10}{:>8}{:>8}{:>11}",
            "",
            "us/trans",
            "trans/s",
            "p50 us",
            "p99 us",
            "gen CPU",
            beside,
            "trans/s",
            "p50 us",
            "p99 us",
            "lost",
            "wrong",
            "B/contact"
        )?,
    }
    for record in records {
        line(row, record, out)?;
    }
    for record in records {
        for (name, figure) in own_ratios(row.kind) {
            let pairs = record.saturated.iter().zip(&record.second);
            let values: Vec<f64> = pairs.map(|(first, second)| figure(first, second)).collect();
            if let Some([low, middle, high]) = spread(&values) {
                let side = record.side;
                writeln!(out, "  {name} of {side}: {middle:.2} ({low:.2}-{high:.2})")?;
            }
        }
    }
    for record in records
        .iter()
        .filter(|record| record.which.subject() == Subject::Proxyd)
    {
        let Some(other) = records
            .iter()
            .find(|other| other.which == record.which.yardstick())
        else {
            continue;
        };
        let of = match record.which.program {
            Program::Kamailio | Program::Proxyd => "",
            Program::Awake => " awake",
            Program::Floor => " of the floor",
        };
        let goals = match (record.which.program, record.which.script) {
            (Program::Floor, _) => (None, None),
            (_, Script::Tuned) => (row.goal_tuned, Some(P99_GOALS.0)),
            (_, Script::Stock) => (row.goal_stock, Some(P99_GOALS.1)),
        };
        for (name, ratio) in ratios(row, record, other) {
            let Some([low, middle, high]) = ratio else {
                continue;
            };
            let goal = match name {
                "CPU" if matches!(row.kind, Kind::Start(_)) => None,
                "CPU" | "ready" => goals.0,
                USUAL_P99 => goals.1,
                _ => None,
            };
            let goal = goal.map_or(String::new(), |goal| {
                format!(
                    "  goal {goal:.2}: {}",
                    if middle <= goal { "reached" } else { "missed" }
                )
            });
            let against = other.side;
            writeln!(
                out,
                "  {name}{of} against {against}: {middle:.2} ({low:.2}-{high:.2}){goal}"
            )?;
        }
    }
    Ok(())
}

/// What compares a side's second measurement of a round with its first.
type OwnRatio = (&'static str, fn(&Outcome, &Outcome) -> f64);

fn own_ratios(kind: Kind) -> &'static [OwnRatio] {
    match kind {
        Kind::Overload => &[("goodput beyond, of the most", |most, beyond| {
            beyond.rate / most.rate
        })],
        // The generator takes its share of the second processor, so that throughput alone says too little.
        Kind::Workers(_) => &[
            ("throughput with two workers, of one", |one, two| {
                two.rate / one.rate
            }),
            ("throughput by processor time, of one", |one, two| {
                2.0 * one.cpu_us / two.cpu_us
            }),
        ],
        Kind::Steady | Kind::Fill(_) | Kind::Start(_) => &[],
    }
}

/// Returns everything as JSON.
pub(crate) fn json(records: &[Record]) -> Result<String, BenchError> {
    let versions = [version(Subject::Kamailio, "-v"), version(Subject::Proxyd, "-v")];
    let whole = json!({"date": date(), "machine": machine(), "versions": versions, "records": records});
    Ok(serde_json::to_string_pretty(&whole)?)
}

/// Prints what was lost or wrong; true when nothing was.
pub(crate) fn summary(records: &[Record], out: &mut impl Write) -> io::Result<bool> {
    let mut clean = true;
    for record in records {
        let overloaded = ROWS
            .iter()
            .any(|row| row.name == record.row && row.kind == Kind::Overload);
        // Past saturation something must be lost; how much is the row's own figure.
        let beyond = record
            .second
            .iter()
            .map(|outcome| (outcome, if overloaded { 0 } else { outcome.lost }));
        let all = record
            .saturated
            .iter()
            .map(|outcome| (outcome, outcome.lost))
            .chain(beyond);
        for (outcome, lost) in all {
            let wrong = outcome.wrong;
            if lost + wrong > 0 {
                clean = false;
                writeln!(out, "{} {}: {lost} lost, {wrong} wrong", record.row, record.side)?;
                // The whole messages are in the JSON.
                for example in outcome.wrong_examples.iter().take(1) {
                    writeln!(out, "    {}", example.lines().next().unwrap_or_default())?;
                }
            }
        }
        clean &= record.failure.is_none();
    }
    Ok(clean)
}

fn line(row: &Row, record: &Record, out: &mut impl Write) -> io::Result<()> {
    let full = |figure: fn(&Outcome) -> f64| median(&record.saturated, figure);
    let half = |figure: fn(&Outcome) -> f64| median(&record.second, figure);
    let side = record.side;
    if let Kind::Start(_) = row.kind {
        let (ready, used) = (full(|o| o.seconds * 1e3), full(|o| o.cpu_us / 1e3));
        return writeln!(
            out,
            "{side:<22}{ready:>12.0}{used:>12.0}{:>12.1}",
            full(|o| o.resident.1 as f64 / 1e6)
        );
    }
    if let Some(failure) = &record.failure {
        return writeln!(out, "{side:<22}not measured: {failure}");
    }
    let sum = |figure: fn(&Outcome) -> u64| {
        record
            .saturated
            .iter()
            .chain(&record.second)
            .map(figure)
            .sum::<u64>()
    };
    let reached = if record.which.program == Program::Awake {
        format!("{:>50}", "")
    } else {
        format!(
            "{:>10.2}{:>10.0}{:>10.0}{:>10.0}{:>10.2}",
            full(|o| o.cpu_us),
            full(|o| o.rate),
            full(|o| o.p50_us),
            full(|o| o.p99_us),
            full(|o| o.own_cpu_share),
        )
    };
    let bytes = spread(&record.bytes).map_or(String::new(), |[_, middle, _]| format!("{middle:.0}"));
    writeln!(
        out,
        "{side:<22}{reached}{:>12.2}{:>10.0}{:>10.0}{:>10.0}{:>8}{:>8}{bytes:>11}",
        half(|o| o.cpu_us),
        half(|o| o.rate),
        half(|o| o.p50_us),
        half(|o| o.usual_p99_us),
        sum(|o| o.lost),
        sum(|o| o.wrong),
    )
}

/// Names a figure and gives its ratio round by round, so that what slows both sides down cancels out.
fn ratios(row: &Row, record: &Record, other: &Record) -> Vec<(&'static str, Option<[f64; 3]>)> {
    let by_round = |mine: &[Outcome], theirs: &[Outcome], figure: fn(&Outcome) -> f64| {
        let pairs = mine.iter().zip(theirs).filter(|(_, theirs)| figure(theirs) > 0.0);
        spread(
            &pairs
                .map(|(mine, theirs)| figure(mine) / figure(theirs))
                .collect::<Vec<_>>(),
        )
    };
    if let Kind::Start(_) = row.kind {
        return vec![
            (
                "ready",
                by_round(&record.saturated, &other.saturated, |o| o.seconds),
            ),
            ("CPU", by_round(&record.saturated, &other.saturated, |o| o.cpu_us)),
        ];
    }
    let bytes: Vec<f64> = record
        .bytes
        .iter()
        .zip(&other.bytes)
        .map(|(mine, theirs)| mine / theirs)
        .collect();
    let mut found = vec![
        ("CPU", by_round(&record.saturated, &other.saturated, |o| o.cpu_us)),
        (
            "throughput",
            by_round(&record.saturated, &other.saturated, |o| o.rate),
        ),
        ("bytes per contact", spread(&bytes)),
    ];
    if row.kind == Kind::Steady {
        found.push((
            "CPU at equal rate",
            by_round(&record.second, &other.second, |o| o.cpu_us),
        ));
        found.push((
            USUAL_P99,
            by_round(&record.second, &other.second, |o| o.usual_p99_us),
        ));
        found.push((
            "whole p99 at half rate",
            by_round(&record.second, &other.second, |o| o.p99_us),
        ));
    }
    found
}

/// Returns the smallest, the middle and the largest value.
fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some([*sorted.first()?, *sorted.get(sorted.len() / 2)?, *sorted.last()?])
}

fn date() -> String {
    run("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default()
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown processor");
    let processors = info
        .lines()
        .filter(|line| line.starts_with("processor\t"))
        .count();
    format!(
        "{processors} x {model}, Linux {}",
        run("uname", &["-r"]).unwrap_or_default()
    )
}

fn version(subject: Subject, flag: &str) -> String {
    let program = subject.program().display().to_string();
    let text = run(&program, &[flag]);
    text.and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| format!("{program}: not there"))
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn spread_of_rounds() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some([1.0, 2.0, 3.0]));
    }
}
