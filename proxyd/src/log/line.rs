//! How a line looks: Kamailio's form, or one JSON object.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use super::Destination;
use super::Sink;
use super::WORKER;
use super::level::Level;
use crate::clock::wall;

pub(super) fn kamailio_line(
    out: &mut String,
    level: Level,
    module: &str,
    prefix: &str,
    text: &str,
    sink: &Sink,
) -> fmt::Result {
    let pid = std::process::id();
    let coloured = matches!(sink.destination, Destination::Stderr { colour: true });
    match (&sink.destination, &sink.socket) {
        (Destination::Syslog { facility, ident }, Some(_)) => {
            write!(
                out,
                "<{}>{ident}[{pid}]: {level}: ",
                facility * 8 + level.severity()
            )?;
        }
        _ => {
            if coloured {
                out.push_str(level.colour());
            }
            write!(out, "{:2}({pid}) {level}: ", WORKER.get())?;
        }
    }
    out.push_str(prefix);
    if !module.is_empty() {
        write!(out, "{module}: ")?;
    }
    out.push_str(text.trim_end_matches(['\n', '\r']));
    if coloured {
        out.push_str("\x1b[0m");
    }
    out.push('\n');
    Ok(())
}

pub(super) fn json_line(
    out: &mut String,
    level: Level,
    module: &str,
    prefix: &str,
    text: &str,
) -> fmt::Result {
    let time = timestamp(wall());
    let pid = std::process::id();
    write!(
        out,
        "{{\"time\":\"{time}\",\"level\":\"{level}\",\"worker\":{},\"pid\":{pid},",
        WORKER.get()
    )?;
    for (name, value) in [
        ("module", module),
        ("prefix", prefix.trim_end()),
        ("message", text.trim_end()),
    ] {
        if !value.is_empty() || name == "message" {
            write!(out, "\"{name}\":{},", serde_json::Value::from(value))?;
        }
    }
    out.pop();
    out.push_str("}\n");
    Ok(())
}

/// UTC in the form of RFC 3339.
fn timestamp(since_epoch: Duration) -> String {
    let secs = since_epoch.as_secs();
    let (year, month, day) = civil(secs / 86_400);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of the days since 1970-01-01, counted in 400-year cycles that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Format;

    fn line(format: Format, prefix: &str, text: &str) -> String {
        let sink = Sink {
            destination: Destination::Stderr { colour: false },
            format,
            socket: None,
        };
        let mut out = String::new();
        kamailio_line(&mut out, Level::Error, "<script>", prefix, text, &sink).unwrap();
        out
    }

    #[test]
    fn kamailio_lines_have_number_pid_level_and_module() {
        let pid = std::process::id();
        assert_eq!(
            line(Format::Kamailio, "", "text\n"),
            format!(" 0({pid}) ERROR: <script>: text\n")
        );
        assert_eq!(
            line(Format::Kamailio, "{1 INVITE} ", "a\nb"),
            format!(" 0({pid}) ERROR: {{1 INVITE}} <script>: a\nb\n")
        );
        WORKER.set(12);
        assert!(line(Format::Kamailio, "", "x").starts_with(&format!("12({pid}) ")));
    }

    #[test]
    fn json_lines_hold_one_object() {
        let mut out = String::new();
        json_line(&mut out, Level::Debug, "tm", "", "a \"quoted\"\ntext\n").unwrap();
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["level"], "DEBUG");
        assert_eq!(value["message"], "a \"quoted\"\ntext");
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn times_are_civil() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_402_961, "2026-11-23T03:02:41.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
        ];
        for (secs, expected) in table {
            assert_eq!(timestamp(Duration::from_secs(secs)), expected);
        }
    }
}
