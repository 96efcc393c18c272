//! What an accounting record says, as a line and as rows (Kamailio module acc, "Overview", "Extra accounting").

use super::Acc;
use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::TransactionEnd;
use crate::script::program::Format;
use crate::script::value::print_int;
use shared::db::Value;
use shared::sip::Message;
use shared::sip::Uri;
use std::borrow::Cow;
use std::time::Duration;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: Vec<u8>,
    pub(super) reason: Vec<u8>,
    pub(super) to_tag: Vec<u8>,
}

impl Outcome {
    /// The end of a transaction. Kamailio: a reply made here counts with the usual phrase of its status.
    pub(super) fn of(acc: &Acc, end: &TransactionEnd<'_>) -> Self {
        match end.reply {
            Some(reply) => Self::from_reply(acc, reply, end.status, end.reason, end.to_tag),
            None => {
                let reason = shared::sip::status::reason(end.status).as_bytes().to_vec();
                Self {
                    code: end.status.to_string().into_bytes(),
                    reason,
                    to_tag: end.to_tag.to_vec(),
                }
            }
        }
    }

    pub(super) fn from_reply(acc: &Acc, reply: &Message, status: u16, reason: &[u8], to_tag: &[u8]) -> Self {
        let header = reply
            .all_named(b"Reason")
            .next()
            .map(|header| reply.value(header));
        let reason = header.filter(|_| acc.reason_from_header).unwrap_or(reason);
        Self {
            code: status.to_string().into_bytes(),
            reason: reason.to_vec(),
            to_tag: to_tag.to_vec(),
        }
    }

    /// A comment of a script: three digits in front are a status.
    pub(super) fn from_comment(comment: &[u8]) -> Self {
        let (code, rest) = match comment.split_first_chunk::<3>() {
            Some((code, rest)) if code.iter().all(u8::is_ascii_digit) => {
                (code.to_vec(), rest.trim_ascii_start())
            }
            _ => (Vec::new(), comment),
        };
        Self {
            code,
            reason: rest.to_vec(),
            to_tag: Vec::new(),
        }
    }
}

/// What is told of the time besides the time (`time_mode`).
#[derive(Debug, Clone, Default)]
pub(super) struct TimeMode {
    mode: i64,
    name: String,
    fraction_name: String,
    form: String,
}

impl TimeMode {
    pub(super) fn new(init: &Init<'_>) -> Result<Self, InitError> {
        let mode = init.int("time_mode");
        if !(0..=4).contains(&mode) {
            return Err(InitError::Param {
                name: "time_mode",
                why: format!("{mode} is not 0 to 4"),
            });
        }
        let this = Self {
            mode,
            name: init.text("time_attr"),
            fraction_name: init.text("time_exten"),
            form: init.text("time_format"),
        };
        for (name, text, wanted) in [
            ("time_attr", &this.name, mode > 0),
            ("time_exten", &this.fraction_name, mode == 1),
        ] {
            if wanted && text.is_empty() {
                return Err(InitError::Param {
                    name,
                    why: format!("time_mode {mode} needs it"),
                });
            }
        }
        Ok(this)
    }

    pub(super) fn columns(&self) -> Vec<String> {
        match self.mode {
            0 => Vec::new(),
            1 => vec![self.name.clone(), self.fraction_name.clone()],
            _ => vec![self.name.clone()],
        }
    }

    fn values(&self, wall: Duration, row: &mut Vec<Value>) {
        let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        match self.mode {
            0 => {}
            1 => row.extend([Value::Int(seconds), Value::Int(wall.subsec_micros().into())]),
            2 => row.push(Value::Double(wall.as_millis() as f64 / 1000.0)),
            _ => row.push(Value::Text(self.text(seconds).into_bytes())),
        }
    }

    fn line(&self, wall: Duration, out: &mut Vec<u8>) {
        let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        let (name, value) = match self.mode {
            0 => return,
            1 => (&self.fraction_name, wall.subsec_micros().to_string()),
            2 => (
                &self.name,
                format!("{}.{:03}", wall.as_secs(), wall.subsec_millis()),
            ),
            _ => (&self.name, self.text(seconds)),
        };
        field(out, name, value.as_bytes());
    }

    /// The date in the form wanted; what is no date in it stays as it is.
    fn text(&self, seconds: i64) -> String {
        let date = if self.mode == 4 {
            shared::db::to_utc(seconds)
        } else {
            shared::db::to_local(seconds)
        };
        let part = |from: usize, to: usize| date.get(from..to).unwrap_or_default();
        let mut out = String::with_capacity(date.len());
        let mut form = self.form.chars();
        while let Some(c) = form.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match form.next() {
                Some('Y') => out.push_str(part(0, 4)),
                Some('y') => out.push_str(part(2, 4)),
                Some('m') => out.push_str(part(5, 7)),
                Some('d') => out.push_str(part(8, 10)),
                Some('H') => out.push_str(part(11, 13)),
                Some('M') => out.push_str(part(14, 16)),
                Some('S') => out.push_str(part(17, 19)),
                Some('F') => out.push_str(part(0, 10)),
                Some('T') => out.push_str(part(11, 19)),
                Some('s') => out.push_str(&seconds.to_string()),
                Some('%') | None => out.push('%'),
                Some(other) => out.extend(['%', other]),
            }
        }
        out
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(b';');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    out.extend_from_slice(value);
}

impl Acc {
    /// Accounts to the log, to a table, or both.
    pub(super) fn account(
        &self,
        env: &mut Env<'_>,
        what: &str,
        outcome: &Outcome,
        log: bool,
        table: Option<&Format>,
    ) {
        if log {
            self.log(env, what, outcome);
        }
        if let Some(table) = table {
            let table = table.expand(env).into_owned();
            self.store(env, &table, outcome);
        }
    }

    /// Writes the line of a record.
    pub(super) fn log(&self, env: &Env<'_>, what: &str, outcome: &Outcome) {
        if !crate::log::enabled_for("acc", self.log_level) {
            return;
        }
        let wall = env.host.wall();
        let mut line = Vec::with_capacity(256);
        line.extend_from_slice(b"timestamp=");
        print_int(i64::try_from(wall.as_secs()).unwrap_or(i64::MAX), &mut line);
        let (from_tag, to_tag) = self.tags(env, outcome);
        let msg = &env.ctx.msg;
        for (name, value) in [
            ("method", msg.method().as_bytes()),
            ("from_tag", from_tag),
            ("to_tag", to_tag),
            ("call_id", msg.call_id()),
            ("code", &outcome.code),
            ("reason", &outcome.reason),
        ] {
            field(&mut line, name, value);
        }
        self.time.line(wall, &mut line);
        for (name, value) in &self.log_extra {
            field(&mut line, name, &value.expand(env));
        }
        for leg in 0..self.leg_count(env) {
            for (name, avp) in &self.legs {
                field(&mut line, name, &leg_value(env, avp, leg).unwrap_or_default());
            }
        }
        let line = String::from_utf8_lossy(&line);
        crate::log::write(self.log_level, "", format_args!("ACC: {what}: {line}"));
    }

    /// Hands the rows of a record to the writer: one, or one for each leg.
    pub(super) fn store(&self, env: &mut Env<'_>, table: &[u8], outcome: &Outcome) {
        let Some(writer) = &self.writer else { return };
        let wall = env.host.wall();
        let (from_tag, to_tag) = self.tags(env, outcome);
        let msg = &env.ctx.msg;
        let mut row: Vec<Value> = [
            msg.method().as_bytes(),
            from_tag,
            to_tag,
            msg.call_id(),
            &outcome.code,
            &outcome.reason,
        ]
        .map(Value::text)
        .into();
        row.push(Value::DateTime(i64::try_from(wall.as_secs()).unwrap_or(i64::MAX)));
        self.time.values(wall, &mut row);
        for (_, value) in &self.db_extra {
            let text = value.expand(env);
            let null = self.null_extra && text.is_empty();
            row.push(if null { Value::Null } else { Value::text(&text) });
        }
        let table = String::from_utf8_lossy(table).into_owned();
        if self.legs.is_empty() {
            writer.push(&table, row);
        } else {
            for leg in 0..self.leg_count(env) {
                let mut row = row.clone();
                row.extend(
                    self.legs
                        .iter()
                        .map(|(_, avp)| leg_value(env, avp, leg).map_or(Value::Null, Value::text)),
                );
                writer.push(&table, row);
            }
        }
        writer.wake(env.host);
    }

    /// How many legs the AVPs tell of; with none there is one of empty values.
    fn leg_count(&self, env: &Env<'_>) -> usize {
        let count = |(_, avp): &(Box<str>, Box<[u8]>)| env.lists.avps(avp).count();
        self.legs.iter().map(count).max().map_or(0, |most| most.max(1))
    }

    /// From and To tag, swapped for a request against the direction of its dialog.
    fn tags<'m>(&self, env: &'m Env<'_>, outcome: &'m Outcome) -> (&'m [u8], &'m [u8]) {
        let msg = &env.ctx.msg;
        let from_tag = msg.from_tag();
        let to_tag = if outcome.to_tag.is_empty() {
            msg.to_tag()
        } else {
            &outcome.to_tag
        };
        if self.detect_direction && is_upstream(env) {
            (to_tag, from_tag)
        } else {
            (from_tag, to_tag)
        }
    }
}

fn leg_value<'e>(env: &'e Env<'_>, avp: &'e [u8], leg: usize) -> Option<Cow<'e, [u8]>> {
    env.lists.avps(avp).nth(leg).map(|value| value.to_text())
}

/// Whether the request goes from callee to caller: the From tag that our Route remembers is another.
fn is_upstream(env: &Env<'_>) -> bool {
    let ctx = &env.ctx;
    let Some(uri) = ctx.route_uri.as_deref().filter(|_| !ctx.msg.to_tag().is_empty()) else {
        return false;
    };
    let ftag = Uri::parse(uri).ok().and_then(|uri| uri.param(b"ftag").flatten());
    ftag.is_some_and(|ftag| ftag != ctx.msg.from_tag())
}
