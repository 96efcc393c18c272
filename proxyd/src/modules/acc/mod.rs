//! `loadmodule "acc"`: transactions accounted to the log and to tables (Kamailio module acc).

mod cdr;
mod record;
#[cfg(test)]
mod tests;

use crate::modules::database::Database;
use crate::modules::row_writer::RowWriter;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::DialogStep;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::module::TransactionEnd;
use crate::script::program::Format;
use cdr::Cdr;
use record::Outcome;
use record::TimeMode;
use shared::db::schema;
use shared::sip::Method;
use std::sync::Arc;

/// A message flag that a parameter names; none when it is not set.
#[derive(Debug, Clone, Copy)]
struct Flag(Option<u32>);

impl Flag {
    fn of(init: &Init<'_>, name: &'static str) -> Result<Self, InitError> {
        match init.int(name) {
            -1 => Ok(Self(None)),
            n @ 0..=31 => Ok(Self(Some(1 << n))),
            n => Err(InitError::Param {
                name,
                why: format!("{n} is no flag: flags are 0 to 31"),
            }),
        }
    }

    fn is_set(self, env: &Env<'_>) -> bool {
        self.0.is_some_and(|bit| env.ctx.flags & bit != 0)
    }

    fn reset(self, env: &mut Env<'_>) {
        env.ctx.flags &= !self.0.unwrap_or(0);
    }
}

/// A further value: its name and the pseudo-variables it is made of.
type Extra = (Box<str>, Format);

/// A value of each leg: its name and its AVP.
type Leg = (Box<str>, Box<[u8]>);

/// What the module works with.
pub(crate) struct Acc {
    log_flag: Flag,
    log_missed_flag: Flag,
    db_flag: Flag,
    db_missed_flag: Flag,
    failed_flag: Flag,
    failed_filter: Vec<u16>,
    log_level: crate::log::Level,
    log_extra: Vec<Extra>,
    db_extra: Vec<Extra>,
    /// Names and AVPs of `multi_leg_info`.
    legs: Vec<Leg>,
    null_extra: bool,
    table: Format,
    missed_table: Format,
    writer: Option<Arc<RowWriter>>,
    cdr: Option<Cdr>,
    time: TimeMode,
    report_ack: bool,
    report_cancels: bool,
    early_media: bool,
    detect_direction: bool,
    reason_from_header: bool,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[
        Param::Int("log_flag", -1, "Flag of requests accounted to the log."),
        Param::Int(
            "log_missed_flag",
            -1,
            "Flag of requests whose missed calls go to the log.",
        ),
        Param::Int("db_flag", -1, "Flag of requests accounted to the table."),
        Param::Int(
            "db_missed_flag",
            -1,
            "Flag of requests whose missed calls go to the table.",
        ),
        Param::Int(
            "failed_transaction_flag",
            -1,
            "Flag of requests accounted also when they failed.",
        ),
        Param::Text("failed_filter", "", "Statuses not accounted even so: 404,407."),
        Param::Int("log_level", 1, "Level of accounting lines: 1 is NOTICE."),
        Param::Text("log_extra", "", "Further values of log lines: name=$pv;name=$pv."),
        Param::Text("db_url", "", "Database; not given, nothing goes to tables."),
        Param::Text(
            "db_table_acc",
            "acc",
            "Table of transactions; may hold pseudo-variables.",
        ),
        Param::Text("db_table_missed_calls", "missed_calls", "Table of missed calls."),
        Param::Text("db_extra", "", "Further columns: column=$pv;column=$pv."),
        Param::Int(
            "acc_extra_nullable",
            0,
            "An empty further value is NULL in the table.",
        ),
        Param::Text(
            "multi_leg_info",
            "",
            "AVPs with a value for each leg: name=$avp(x);name=$avp(y).",
        ),
        Param::Text("acc_method_column", "method", "Column of the method."),
        Param::Text("acc_from_tag_column", "from_tag", "Column of the From tag."),
        Param::Text("acc_to_tag_column", "to_tag", "Column of the To tag."),
        Param::Text("acc_callid_column", "callid", "Column of the Call-ID."),
        Param::Text("acc_sip_code_column", "sip_code", "Column of the status."),
        Param::Text("acc_sip_reason_column", "sip_reason", "Column of the reason."),
        Param::Text("acc_time_column", "time", "Column of the time."),
        Param::Int(
            "time_mode",
            0,
            "Further time: 1 seconds and microseconds, 2 fraction, 3 local text, 4 UTC text.",
        ),
        Param::Text("time_attr", "", "Name of that further time."),
        Param::Text("time_exten", "", "Name of the microseconds."),
        Param::Text("time_format", "%Y-%m-%d %H:%M:%S", "Form of the text."),
        Param::Int("db_version_check", 1, "Check the versions of the tables."),
        Param::Int("report_ack", 0, "Account ACKs to 2xx, by their own flags."),
        Param::Int("report_cancels", 0, "Account CANCELs."),
        Param::Int("early_media", 0, "Account provisional replies with a body."),
        Param::Int(
            "detect_direction",
            0,
            "Swap the tags of requests from callee to caller.",
        ),
        Param::Int("reason_from_hf", 0, "Take the reason from the Reason header."),
        Param::Ignored("acc_prepare_flag", "every transaction can be marked later"),
        Param::Ignored("acc_prepare_always", "every transaction can be marked later"),
        Param::Ignored("log_facility", "accounting lines go where all lines go"),
        Param::Ignored(
            "db_insert_mode",
            "rows are always written in groups, beside the workers",
        ),
        Param::Ignored("clone_msg", "the request is never shared while it is read"),
        Param::Ignored("acc_extra_size", "there is no limit"),
        Param::Ignored("cdr_extra_size", "there is no limit"),
        Param::Int(
            "cdr_enable",
            0,
            "Make a record of each call that the module dialog follows.",
        ),
        Param::Text("cdr_skip", "", "Variable of the dialog that forbids a record."),
        Param::Int(
            "cdr_expired_dlg_enable",
            0,
            "Make records of calls whose time was over.",
        ),
        Param::Int(
            "cdr_start_on_confirmed",
            0,
            "A call begins with its ACK, not its INVITE.",
        ),
        Param::Ignored("cdr_facility", "records go where all lines go"),
        Param::Text("cdr_extra", "", "Further values of records: name=$pv;name=$pv."),
        Param::Ignored("cdr_extra_nullable", "an empty further value of a record is NULL"),
        Param::Text("cdr_start_id", "start_time", "Variable and column of the start."),
        Param::Text("cdr_end_id", "end_time", "Variable and column of the end."),
        Param::Text(
            "cdr_duration_id",
            "duration",
            "Variable and column of the duration.",
        ),
        Param::Ignored("cdr_duration_mode", "the duration has milliseconds"),
        Param::Int("cdr_log_enable", 1, "Records go to the log."),
        Param::Text("cdrs_table", "", "Table of records; not given, there is none."),
        Param::Int("cdr_on_failed", 1, "Make records of calls that failed."),
    ],
    functions: &[
        Function::anywhere(
            &["acc_log_request"],
            &[Arg::Text("comment")],
            "Accounts the request to the log; a status may begin the comment.",
            acc_log_request,
        ),
        Function::anywhere(
            &["acc_db_request"],
            &[Arg::Text("comment"), Arg::Text("table")],
            "Accounts the request to a table; a status may begin the comment.",
            acc_db_request,
        ),
        Function::anywhere(
            &["acc_request"],
            &[Arg::Text("comment"), Arg::Text("table")],
            "Accounts the request to the log, and to a table when there is a database.",
            acc_request,
        ),
    ],
    timers: &[ModuleTimer {
        name: "rows that could not be written",
        interval: |_| Some(5_000),
        run: |env| {
            for writer in env.state::<Acc>().into_iter().flat_map(Acc::writers) {
                writer.wake(env.host);
            }
        },
    }],
    hooks: &[
        Hook::ResponseOut(response_out),
        Hook::LegFailed(leg_failed),
        Hook::EndToEndAck(end_to_end_ack),
        Hook::ResponseForwarded(response_forwarded),
        Hook::Dialog(dialog_step),
    ],
    init: Some(init),
    stop: Some(stop),
    ..ModuleDef::new("acc", "Accounts transactions to the log and to tables.")
};

/// Reads `name=$pv;name=$pv`.
fn extras(init: &Init<'_>, name: &'static str) -> Result<Vec<Extra>, InitError> {
    let text = init.text(name);
    let refuse = |part: &str, why: &str| InitError::Param {
        name,
        why: format!("{part:?}: {why}"),
    };
    let parts = split_outside(&text).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (label, value) = part
                .split_once('=')
                .ok_or_else(|| refuse(part, "NAME=$pv is wanted"))?;
            let format = (init.parse)(value.trim().as_bytes()).map_err(|why| refuse(part, &why))?;
            Ok((label.trim().into(), format))
        })
        .collect()
}

/// Splits at semicolons that stand in no parentheses or braces.
fn split_outside(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    text.split(move |c| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        c == ';' && depth <= 0
    })
    .map(str::trim)
}

fn legs(init: &Init<'_>) -> Result<Vec<Leg>, InitError> {
    let text = init.text("multi_leg_info");
    let refuse = |part: &str| InitError::Param {
        name: "multi_leg_info",
        why: format!("{part:?} is not NAME=$avp(x)"),
    };
    let parts = split_outside(&text).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (label, avp) = part.split_once('=').ok_or_else(|| refuse(part))?;
            Ok((
                label.trim().into(),
                super::avp_name(avp).ok_or_else(|| refuse(part))?,
            ))
        })
        .collect()
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let format = |name: &'static str| {
        (init.parse)(init.text(name).as_bytes()).map_err(|why| InitError::Param { name, why })
    };
    let (db_extra, legs) = (extras(init, "db_extra")?, legs(init)?);
    let time = TimeMode::new(init)?;
    let mut columns: Vec<String> = [
        "acc_method_column",
        "acc_from_tag_column",
        "acc_to_tag_column",
        "acc_callid_column",
        "acc_sip_code_column",
        "acc_sip_reason_column",
        "acc_time_column",
    ]
    .iter()
    .map(|name| init.text(name))
    .collect();
    columns.extend(time.columns());
    columns.extend(db_extra.iter().map(|(name, _)| name.to_string()));
    columns.extend(legs.iter().map(|(name, _)| name.to_string()));
    let url = init.text("db_url");
    let writer = if url.is_empty() {
        None
    } else {
        Some(writer(init, &url, columns)?)
    };
    let filter = init.text("failed_filter");
    let filter = filter.split(',').map(str::trim).filter(|code| !code.is_empty());
    let failed_filter: Result<Vec<u16>, _> = filter.map(str::parse).collect();
    Ok(Arc::new(Acc {
        log_flag: Flag::of(init, "log_flag")?,
        log_missed_flag: Flag::of(init, "log_missed_flag")?,
        db_flag: Flag::of(init, "db_flag")?,
        db_missed_flag: Flag::of(init, "db_missed_flag")?,
        failed_flag: Flag::of(init, "failed_transaction_flag")?,
        failed_filter: failed_filter.map_err(|error| InitError::Param {
            name: "failed_filter",
            why: error.to_string(),
        })?,
        log_level: crate::log::Level::from_number(init.int("log_level")),
        log_extra: extras(init, "log_extra")?,
        db_extra,
        legs,
        null_extra: init.int("acc_extra_nullable") != 0,
        table: format("db_table_acc")?,
        missed_table: format("db_table_missed_calls")?,
        writer,
        cdr: Cdr::new(init)?,
        time,
        report_ack: init.int("report_ack") != 0,
        report_cancels: init.int("report_cancels") != 0,
        early_media: init.int("early_media") != 0,
        detect_direction: init.int("detect_direction") != 0,
        reason_from_header: init.int("reason_from_hf") != 0,
    }))
}

/// The writer of the tables: that of the script before, when nothing about it changed.
fn writer(init: &Init<'_>, url: &str, columns: Vec<String>) -> Result<Arc<RowWriter>, InitError> {
    let db = Database::shared(url)?;
    if init.int("db_version_check") != 0 {
        for (param, name) in [("db_table_acc", "acc"), ("db_table_missed_calls", "missed_calls")] {
            let table = init.text(param);
            if let Some(layout) = schema::table(name).filter(|_| !table.contains('$')) {
                db.check_version(&table, layout)?;
            }
        }
    }
    let before = init.previous::<Acc>().and_then(|acc| acc.writer.clone());
    Ok(RowWriter::after(before, "acc", db, columns))
}

fn stop(script: &Script) {
    for writer in script.states.get::<Acc>().into_iter().flat_map(Acc::writers) {
        writer.drain();
    }
}

impl Acc {
    fn writers(&self) -> impl Iterator<Item = &Arc<RowWriter>> {
        let of_calls = self.cdr.as_ref().and_then(|cdr| cdr.writer.as_ref());
        self.writer.iter().chain(of_calls)
    }
}

fn dialog_step(env: &mut Env<'_>, step: DialogStep) {
    if let Some(cdr) = env.state::<Acc>().and_then(|acc| acc.cdr.as_ref()) {
        cdr.step(env, step);
    }
}

/// A call that reached nobody is missed once, whatever a failure route makes of it.
fn leg_failed(env: &mut Env<'_>, end: &TransactionEnd<'_>) {
    if env.ctx.msg.method() == Method::Invite {
        missed(env, end);
    }
}

fn missed(env: &mut Env<'_>, end: &TransactionEnd<'_>) {
    let Some(acc) = env.state::<Acc>() else { return };
    let (log, db) = (acc.log_missed_flag.is_set(env), acc.db_missed_flag.is_set(env));
    if log || db {
        let outcome = Outcome::of(acc, end);
        acc.account(env, "call missed", &outcome, log, db.then_some(&acc.missed_table));
        acc.log_missed_flag.reset(env);
        acc.db_missed_flag.reset(env);
    }
}

/// A final reply went upstream.
fn response_out(env: &mut Env<'_>, end: &TransactionEnd<'_>) {
    let Some(acc) = env.state::<Acc>() else { return };
    let method = env.ctx.msg.method();
    if method == Method::Ack || (method == Method::Cancel && !acc.report_cancels) {
        return;
    }
    let failed = end.status >= 300;
    if failed && method == Method::Invite {
        missed(env, end);
    }
    let counts = !failed || (acc.failed_flag.is_set(env) && !acc.failed_filter.contains(&end.status));
    let (log, db) = (acc.log_flag.is_set(env), acc.db_flag.is_set(env));
    if counts && (log || db) {
        let outcome = Outcome::of(acc, end);
        acc.account(
            env,
            "transaction answered",
            &outcome,
            log,
            db.then_some(&acc.table),
        );
    }
}

fn end_to_end_ack(env: &mut Env<'_>) {
    let Some(acc) = env.state::<Acc>().filter(|acc| acc.report_ack) else {
        return;
    };
    let (log, db) = (acc.log_flag.is_set(env), acc.db_flag.is_set(env));
    if log || db {
        let to_tag = env.ctx.msg.to_tag().to_vec();
        let outcome = Outcome {
            code: b"200".to_vec(),
            reason: b"OK".to_vec(),
            to_tag,
        };
        acc.account(
            env,
            "request acknowledged",
            &outcome,
            log,
            db.then_some(&acc.table),
        );
    }
}

/// A provisional reply with a body is about to go upstream: the request is asked for the rest.
fn response_forwarded(env: &mut Env<'_>) {
    let Some(acc) = env.state::<Acc>().filter(|acc| acc.early_media) else {
        return;
    };
    let reply = &env.ctx.msg;
    if !(101..200).contains(&reply.status()) || reply.body().is_empty() {
        return;
    }
    let outcome = Outcome::from_reply(acc, reply, reply.status(), reply.reason(), reply.to_tag());
    let Some(mut request) = env.host.transaction_request().map(|request| request.clone()) else {
        return;
    };
    let mut own = env.with(&mut request, env.route);
    let (log, db) = (acc.log_flag.is_set(&own), acc.db_flag.is_set(&own));
    if log || db {
        acc.account(
            &mut own,
            "transaction answered",
            &outcome,
            log,
            db.then_some(&acc.table),
        );
    }
}

fn acc_log_request(call: &mut Call<'_, '_>) -> Code {
    request(call, true, false)
}

fn acc_db_request(call: &mut Call<'_, '_>) -> Code {
    request(call, false, true)
}

fn acc_request(call: &mut Call<'_, '_>) -> Code {
    request(call, true, true)
}

fn request(call: &mut Call<'_, '_>, log: bool, db: bool) -> Code {
    let comment = call.text_owned(0);
    let table = db.then(|| call.text_owned(1));
    account(call.env, &comment, log, table.as_deref())
}

/// Accounts the request at hand, to the log, to a table, or to both; a status may begin the comment.
pub(crate) fn account(env: &mut Env<'_>, comment: &[u8], log: bool, table: Option<&[u8]>) -> Code {
    let Some(acc) = env.state::<Acc>() else {
        return Code::FALSE;
    };
    let mut outcome = Outcome::from_comment(comment);
    outcome.to_tag = env.ctx.msg.to_tag().to_vec();
    if log {
        acc.log(env, "request accounted", &outcome);
    }
    let Some(table) = table else { return Code::TRUE };
    if acc.writer.is_none() {
        if !log {
            crate::log::error(
                "acc",
                format_args!("a request is to be accounted, but no db_url is set"),
            );
        }
        return log.into();
    }
    acc.store(env, table, &outcome);
    Code::TRUE
}
