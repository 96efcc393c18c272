//! Records of whole calls, made of their dialogs (Kamailio module acc, "CDRs").

use super::Acc;
use super::Extra;
use super::extras;
use crate::modules::database::Database;
use crate::modules::dialog;
use crate::modules::row_writer::RowWriter;
use crate::script::module::DialogStep;
use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::InitError;
use shared::db::Value;
use std::sync::Arc;
use std::time::Duration;

/// What a record of a call says, and where it goes.
pub(super) struct Cdr {
    log: bool,
    log_level: crate::log::Level,
    /// The start is the ACK, not the INVITE.
    start_on_confirmed: bool,
    on_failed: bool,
    on_expired: bool,
    /// Variable of the dialog that forbids a record.
    skip: String,
    /// Names of start, end and duration: variables of the dialog, and columns.
    names: [String; 3],
    extra: Vec<Extra>,
    table: String,
    pub(super) writer: Option<Arc<RowWriter>>,
}

impl Cdr {
    /// The records that parameters ask for; none without `cdr_enable`.
    pub(super) fn new(init: &Init<'_>) -> Result<Option<Self>, InitError> {
        if init.int("cdr_enable") == 0 {
            return Ok(None);
        }
        if !init.modules.iter().any(|loaded| loaded.def.name == "dialog") {
            return Err(InitError::Param {
                name: "cdr_enable",
                why: "records are made of dialogs: load the module dialog".to_owned(),
            });
        }
        let names = ["cdr_start_id", "cdr_end_id", "cdr_duration_id"].map(|name| init.text(name));
        let extra = extras(init, "cdr_extra")?;
        let (url, table) = (init.text("db_url"), init.text("cdrs_table"));
        let writer = if url.is_empty() || table.is_empty() {
            None
        } else {
            let columns = names.iter().cloned();
            let columns = columns.chain(extra.iter().map(|(name, _)| name.to_string()));
            let before = init.previous::<Acc>();
            let before = before.and_then(|acc| acc.cdr.as_ref()?.writer.clone());
            Some(RowWriter::after(
                before,
                "acc",
                Database::shared(&url)?,
                columns.collect(),
            ))
        };
        Ok(Some(Self {
            log: init.int("cdr_log_enable") != 0,
            log_level: crate::log::Level::from_number(init.int("log_level")),
            start_on_confirmed: init.int("cdr_start_on_confirmed") != 0,
            on_failed: init.int("cdr_on_failed") != 0,
            on_expired: init.int("cdr_expired_dlg_enable") != 0,
            skip: init.text("cdr_skip"),
            names,
            extra,
            table,
            writer,
        }))
    }

    /// Notes times in the dialog, and writes the record when it is over.
    pub(super) fn step(&self, env: &mut Env<'_>, step: DialogStep) {
        let now = env.host.wall();
        match step {
            DialogStep::Created => self.start(env, now),
            DialogStep::Confirmed if self.start_on_confirmed => self.start(env, now),
            DialogStep::Confirmed => {}
            DialogStep::Ending => self.end(env, now),
            DialogStep::Ended => self.write(env),
            DialogStep::Expired if self.on_expired => self.write(env),
            DialogStep::Failed if self.on_failed => self.write(env),
            DialogStep::Expired | DialogStep::Failed => {}
        }
    }

    fn start(&self, env: &Env<'_>, now: Duration) {
        let [start, end, duration] = &self.names;
        dialog::set_variable(env, start.as_bytes(), stamp(now));
        dialog::set_variable(env, end.as_bytes(), stamp(now));
        dialog::set_variable(env, duration.as_bytes(), b"0".to_vec());
    }

    fn end(&self, env: &Env<'_>, now: Duration) {
        let [start, end, duration] = &self.names;
        let began = dialog::variable(env, start.as_bytes()).and_then(|text| parse(&text));
        dialog::set_variable(env, end.as_bytes(), stamp(now));
        let lasted = began.map_or(Duration::ZERO, |began| now.saturating_sub(began));
        dialog::set_variable(env, duration.as_bytes(), stamp(lasted));
    }

    fn write(&self, env: &mut Env<'_>) {
        if !self.skip.is_empty() && dialog::variable(env, self.skip.as_bytes()).is_some() {
            return;
        }
        let times = self.names.each_ref().map(|name| {
            let text = dialog::variable(env, name.as_bytes()).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        });
        let extra: Vec<Vec<u8>> = self
            .extra
            .iter()
            .map(|(_, value)| value.expand(env).into_owned())
            .collect();
        if self.log {
            self.log(&times, &extra);
        }
        if let Some(writer) = &self.writer {
            let [start, end, duration] = times.map(|text| parse(text.as_bytes()));
            let date = |time: Option<Duration>| {
                let seconds = time.and_then(|time| i64::try_from(time.as_secs()).ok());
                seconds.map_or(Value::Null, Value::DateTime)
            };
            let lasted = duration.map_or(Value::Null, |lasted| Value::Double(lasted.as_secs_f64()));
            let mut row = vec![date(start), date(end), lasted];
            row.extend(extra.into_iter().map(|text| match text.is_empty() {
                true => Value::Null,
                false => Value::Text(text),
            }));
            writer.push(&self.table, row);
            writer.wake(env.host);
        }
    }

    fn log(&self, times: &[String; 3], extra: &[Vec<u8>]) {
        let times = self.names.iter().zip(times);
        let mut fields: Vec<String> = times.map(|(name, text)| format!("{name}={text}")).collect();
        fields.extend(
            self.extra
                .iter()
                .zip(extra)
                .map(|((name, _), text)| format!("{name}={}", String::from_utf8_lossy(text))),
        );
        crate::log::write(self.log_level, "acc", format_args!("{}", fields.join("; ")));
    }
}

/// Seconds with milliseconds, as the dialog keeps them.
fn stamp(time: Duration) -> Vec<u8> {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis()).into_bytes()
}

/// Reads what `stamp` wrote, or whole seconds.
fn parse(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, millis) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = Duration::from_secs(seconds.parse().ok()?);
    seconds.checked_add(Duration::from_millis(millis.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_in_milliseconds() {
        for (millis, text) in [
            (0, "0.000"),
            (1_005, "1.005"),
            (1_700_000_000_999, "1700000000.999"),
        ] {
            let time = Duration::from_millis(millis);
            assert_eq!(stamp(time), text.as_bytes());
            assert_eq!(parse(text.as_bytes()), Some(time));
        }
        assert_eq!(parse(b"5"), Some(Duration::from_secs(5)));
        for text in ["", "x.1", "1.x", "18446744073709551615.1000"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
