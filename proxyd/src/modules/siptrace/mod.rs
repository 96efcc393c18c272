//! `loadmodule "siptrace"`: messages copied to a table and to capture servers (Kamailio module siptrace).

mod deliver;
mod follow;
mod hep;
#[cfg(test)]
mod tests;
mod xheaders;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::modules::database::Database;
use crate::modules::row_writer::RowWriter;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvParam;
use crate::script::module::RouteKind;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::tap::Tap;
use crate::script::tap::Way;
use crate::script::value::Value;
use crate::stats::Counter;
use deliver::Item;
use deliver::Line;
use deliver::Queue;
use deliver::Sinks;
use deliver::Traced;
use follow::Extent;
use follow::Followed;
use follow::Wish;
use hep::Hep;
use shared::db::schema;
use shared::rpc::trace::Direction;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::Uri;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

const COLUMNS: [(&str, &str, &str); 12] = [
    ("date_column", "time_stamp", "Column of the time."),
    ("time_us_column", "time_us", "Column of its microseconds."),
    ("callid_column", "callid", "Column of the Call-ID."),
    ("traced_user_column", "traced_user", "Column of the traced user."),
    ("msg_column", "msg", "Column of the message."),
    ("method_column", "method", "Column of the method."),
    ("status_column", "status", "Column of a reply's status."),
    ("fromip_column", "fromip", "Column of who sent it."),
    ("toip_column", "toip", "Column of where it went."),
    ("fromtag_column", "fromtag", "Column of the From tag."),
    ("totag_column", "totag", "Column of the To tag."),
    ("direction_column", "direction", "Column of in or out."),
];

const fn column(at: usize) -> Param {
    let (name, default, doc) = COLUMNS[at];
    Param::Text(name, default, doc)
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        super::DB_URL,
        Param::Text("table", "sip_trace", "Table of the messages."),
        column(0),
        column(1),
        column(2),
        column(3),
        column(4),
        column(5),
        column(6),
        column(7),
        column(8),
        column(9),
        column(10),
        column(11),
        Param::Int(
            "trace_flag",
            -1,
            "Flag of requests whose transaction sip_trace() traces, not only the message.",
        ),
        Param::Int("trace_on", 0, "Trace from the start."),
        Param::Text(
            "traced_user_avp",
            "",
            "AVP of traced users: each has a row of the message besides the one without a user.",
        ),
        Param::Text(
            "trace_table_avp",
            "",
            "AVP of the table that messages go to, instead of table.",
        ),
        Param::Text("duplicate_uri", "", "URI that copies of messages go to."),
        Param::Int("trace_to_database", 1, "Write messages to the table."),
        Param::Text(
            "trace_local_ip",
            "",
            "Address told as the sender of what leaves, udp:192.0.2.1:5060.",
        ),
        Param::Int(
            "trace_sl_acks",
            1,
            "Trace the ACKs of replies that were made without a transaction.",
        ),
        Param::Int(
            "xheaders_write",
            0,
            "Copies carry X-Siptrace-* headers that tell their way.",
        ),
        Param::Int(
            "xheaders_read",
            0,
            "Only messages with X-Siptrace-* headers are traced, as those tell.",
        ),
        Param::Int(
            "hep_mode_on",
            0,
            "Copies are encapsulated for a capture server (HEP).",
        ),
        Param::Int("hep_version", 1, "Version of the encapsulation: 1, 2 or 3."),
        Param::Int("hep_capture_id", 1, "Number that names us to the capture server."),
        Param::Text("auth_key", "", "Key for the capture server, in version 3."),
        Param::Text("send_sock_name", "", "Name of the socket that copies leave from."),
        Param::Text("send_sock_addr", "", "Its address, sip:192.0.2.1:5060."),
        Param::Text("force_send_sock", "", "The same."),
        Param::Int(
            "trace_init_mode",
            0,
            "0 both ways to trace, 1 only trace_mode, 2 only functions.",
        ),
        Param::Int(
            "trace_mode",
            0,
            "Trace everything: bits 1 to the capture server, 2 to the table, 4 as it is to duplicate_uri.",
        ),
        Param::Ignored(
            "trace_db_mode",
            "rows are always written in groups, beside the workers",
        ),
        Param::Ignored(
            "trace_delayed",
            "rows are always written in groups, beside the workers",
        ),
        Param::Ignored("evcb_msg", "there are no KEMI languages"),
    ],
    functions: &[
        Function::anywhere(
            &["sip_trace"],
            &[
                Arg::OptText("address"),
                Arg::OptText("correlation_id"),
                Arg::OptText("mode"),
            ],
            "Traces the message as it came, in onsend_route as it leaves; mode t its transaction, d its dialog.",
            sip_trace,
        ),
        Function::anywhere(
            &["sip_trace_mode"],
            &[Arg::Text("mode")],
            "Traces the message (m), its transaction (t) or its dialog (d).",
            sip_trace_mode,
        ),
        Function::anywhere(
            &["hlog"],
            &[Arg::Text("message")],
            "Sends a line to the capture server, under the Call-ID.",
            |call| hlog(call, call.env.ctx.msg.call_id().to_vec(), call.text_owned(0)),
        ),
        Function::anywhere(
            &["hlog"],
            &[Arg::Text("correlation_id"), Arg::Text("message")],
            "The same under another identifier.",
            |call| hlog(call, call.text_owned(0), call.text_owned(1)),
        ),
    ],
    pvs: &[Pv {
        names: &["siptrace"],
        param: PvParam::Required,
        doc: "In event_route[siptrace:msg]: src_addr src_proto src_hostip src_port of the sender, dst_… of where it goes.",
        compile: Some(|inner| {
            let at = SHOWN.iter().position(|name| name.as_bytes() == inner.text);
            let at = at.and_then(|at| i64::try_from(at).ok());
            at.map(PvData::Number)
                .ok_or_else(|| format!("it is one of {}", SHOWN.join(" ")))
        }),
        get: |_, spec| match (&spec.data, deliver::shown()) {
            (PvData::Number(at), Some(way)) => shown_part(way, *at),
            _ => Value::Null,
        },
        set: None,
    }],
    rpcs: &[Rpc {
        name: "siptrace.status",
        doc: "Turns tracing on or off, or tells whether it is: on, off, check.",
        call: status,
    }],
    events: &[deliver::EVENT],
    timers: &[
        ModuleTimer {
            name: "traced messages",
            interval: |_| Some(20),
            run: deliver::deliver,
        },
        ModuleTimer {
            name: "traced rows that could not be written",
            interval: |_| Some(5_000),
            run: |env| {
                if let Some(rows) = env.state::<Siptrace>().and_then(|state| state.rows.as_ref()) {
                    rows.wake(env.host);
                }
            },
        },
    ],
    hooks: &[Hook::Tap(|script| {
        let state: Arc<dyn Tap> = script.states.share::<Siptrace>()?;
        Some(state)
    })],
    init: Some(init),
    stop: Some(|script| {
        if let Some(state) = script.states.get::<Siptrace>() {
            deliver::deliver_rows(state, script);
        }
    }),
    ..ModuleDef::new("siptrace", "Copies messages to a table and to capture servers.")
};

/// What `$siptrace()` can be asked for.
const SHOWN: [&str; 8] = [
    "src_addr",
    "src_proto",
    "src_hostip",
    "src_port",
    "dst_addr",
    "dst_proto",
    "dst_hostip",
    "dst_port",
];

fn shown_part(way: Way, at: i64) -> Value<'static> {
    let address = if at < 4 { way.source } else { way.destination };
    let text = match at % 4 {
        0 => format!("{}:{address}", way.transport),
        1 => way.transport.to_string(),
        2 => address.ip().to_string(),
        _ => return Value::Int(address.port().into()),
    };
    Value::owned(text.as_bytes())
}

/// What a reload keeps.
#[derive(Default)]
struct Shared {
    on: AtomicBool,
    followed: Followed,
    queue: Queue,
}

/// What the module works with.
struct Siptrace {
    shared: Arc<Shared>,
    trace_on: bool,
    flag: u32,
    users: Option<Box<[u8]>>,
    table_avp: Option<Box<[u8]>>,
    table: String,
    rows: Option<Arc<RowWriter>>,
    duplicate: Option<Arc<[u8]>>,
    local: String,
    sl_acks: bool,
    xheaders_write: bool,
    xheaders_read: bool,
    hep_mode: bool,
    hep: Hep,
    send_from: Option<String>,
    /// Functions trace more than the message they are called for.
    follows: bool,
    mode: i64,
    requests: Arc<Counter>,
    replies: Arc<Counter>,
}

impl Siptrace {
    fn is_on(&self) -> bool {
        self.shared.on.load(Ordering::Relaxed)
    }

    /// Where what a script asks for goes.
    fn sinks(&self) -> Sinks {
        Sinks {
            rows: self.rows.is_some(),
            hep: self.hep_mode,
            plain: !self.hep_mode,
            event: false,
        }
    }

    fn push(&self, at: Duration, way: Way, bytes: &[u8], wish: Arc<Wish>, sinks: Sinks) -> bool {
        self.shared.queue.push(Item::Message(Traced {
            at,
            way,
            bytes: bytes.to_vec(),
            wish,
            sinks,
        }))
    }

    /// What is wished for messages that no function asked for.
    fn general(&self) -> Arc<Wish> {
        Arc::new(Wish {
            to: self.duplicate.clone(),
            ..Wish::default()
        })
    }
}

impl Tap for Siptrace {
    fn wants(&self) -> bool {
        self.is_on() && (self.mode != 0 || self.sl_acks || self.shared.followed.is_any())
    }

    fn see(&self, msg: &Message, bytes: &[u8], way: Way) {
        if deliver::is_copying() {
            return;
        }
        let at = crate::clock::wall();
        if self.mode != 0 {
            let sinks = Sinks {
                rows: self.mode & 2 != 0 && self.rows.is_some(),
                hep: self.mode & 1 != 0,
                plain: self.mode & 4 != 0,
                event: true,
            };
            self.push(at, way, bytes, self.general(), sinks);
        }
        if self.sl_acks && way.stateless && way.direction == Direction::In {
            self.push(at, way, bytes, self.general(), self.sinks());
            return;
        }
        if self.shared.followed.is_any() {
            let now = crate::clock::now();
            let wish = self.shared.followed.of(msg, way.direction, way.stateless, now);
            if let Some(wish) = wish {
                self.push(at, way, bytes, wish, self.sinks());
            }
        }
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let refuse = |name: &'static str, why: &str| InitError::Param {
        name,
        why: why.to_owned(),
    };
    let avp = |name: &'static str| match init.text(name).as_str() {
        "" => Ok(None),
        text => super::avp_name(text)
            .map(Some)
            .ok_or_else(|| refuse(name, "it is no AVP, $avp(name)")),
    };
    let flag = match init.int("trace_flag") {
        -1 => 0,
        n @ 0..=31 => 1 << n,
        _ => return Err(refuse("trace_flag", "flags are 0 to 31")),
    };
    let version = match init.int("hep_version") {
        1 => 1,
        2 => 2,
        3 => 3,
        _ => return Err(refuse("hep_version", "it is 1, 2 or 3")),
    };
    let duplicate = init.text("duplicate_uri").into_bytes();
    if !duplicate.is_empty() && Uri::parse(&duplicate).is_err() {
        return Err(refuse("duplicate_uri", "it is no URI"));
    }
    let previous = init.previous::<Siptrace>();
    let shared = previous
        .as_ref()
        .map(|previous| Arc::clone(&previous.shared))
        .unwrap_or_default();
    let trace_on = init.int("trace_on") != 0;
    if !init.trial
        && previous
            .as_ref()
            .is_none_or(|previous| previous.trace_on != trace_on)
    {
        shared.on.store(trace_on, Ordering::Relaxed);
    }
    let (mut mode, starts) = (init.int("trace_mode"), init.int("trace_init_mode"));
    if starts == 2 {
        mode = 0;
    }
    Ok(Arc::new(Siptrace {
        shared,
        trace_on,
        flag,
        users: avp("traced_user_avp")?,
        table_avp: avp("trace_table_avp")?,
        table: init.text("table"),
        rows: rows(init, previous.as_deref())?,
        duplicate: (!duplicate.is_empty()).then(|| duplicate.into()),
        local: init.text("trace_local_ip"),
        sl_acks: starts != 1 && init.int("trace_sl_acks") != 0,
        xheaders_write: init.int("xheaders_write") != 0,
        xheaders_read: init.int("xheaders_read") != 0,
        hep_mode: init.int("hep_mode_on") != 0,
        hep: Hep {
            version,
            capture_id: u32::try_from(init.int("hep_capture_id"))
                .map_err(|_| refuse("hep_capture_id", "it is 0 to 4294967295"))?,
            auth_key: init.text("auth_key").into_bytes(),
        },
        send_from: send_from(init)?,
        follows: starts != 1,
        mode,
        requests: init.statistics.counter("siptrace", "traced_requests"),
        replies: init.statistics.counter("siptrace", "traced_replies"),
    }))
}

/// The writer of the table: that of the script before, when nothing about it changed; none without a database.
fn rows(init: &Init<'_>, previous: Option<&Siptrace>) -> Result<Option<Arc<RowWriter>>, InitError> {
    if init.int("trace_to_database") == 0 {
        return Ok(None);
    }
    let db = Database::shared(&super::db_url(init))?;
    if let Some(layout) = schema::table("sip_trace") {
        db.check_version(&init.text("table"), layout)?;
    }
    let columns: Vec<String> = COLUMNS.iter().map(|(name, ..)| init.text(name)).collect();
    let before = previous.and_then(|previous| previous.rows.as_ref());
    Ok(Some(match before.filter(|rows| rows.writes(&db, &columns)) {
        Some(rows) => Arc::clone(rows),
        None => RowWriter::new("siptrace", db, columns),
    }))
}

/// The name or the address of the socket that copies leave from.
fn send_from(init: &Init<'_>) -> Result<Option<String>, InitError> {
    let name = init.text("send_sock_name");
    if !name.is_empty() {
        return Ok(Some(name));
    }
    for name in ["send_sock_addr", "force_send_sock"] {
        let text = init.text(name);
        if text.is_empty() {
            continue;
        }
        let uri = Uri::parse(text.as_bytes()).ok();
        return match uri.filter(|uri| !uri.host.is_empty()) {
            Some(uri) => {
                let host = String::from_utf8_lossy(uri.host);
                Ok(Some(format!("{host}:{}", uri.port.unwrap_or(5060))))
            }
            None => Err(InitError::Param {
                name,
                why: format!("{text:?} is no URI"),
            }),
        };
    }
    Ok(None)
}

fn sip_trace(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Siptrace>() else {
        return Code::FALSE;
    };
    let mode = call.text_owned(2);
    let extent = match mode.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" if call.env.ctx.flags & state.flag != 0 => Some(Extent::Transaction),
        b"" | b"m" => None,
        b"t" => Some(Extent::Transaction),
        b"d" => Some(Extent::Dialog),
        _ => return refused(call, "the mode is one of m, t, d"),
    };
    trace(call, state, extent)
}

fn sip_trace_mode(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Siptrace>() else {
        return Code::FALSE;
    };
    let extent = match call.text(0).first().map(u8::to_ascii_lowercase) {
        Some(b'm') => None,
        Some(b't') => Some(Extent::Transaction),
        Some(b'd') => Some(Extent::Dialog),
        _ => return refused(call, "the mode is one of m, t, d"),
    };
    trace_to(call, state, extent, state.duplicate.clone(), None)
}

fn trace(call: &mut Call<'_, '_>, state: &Siptrace, extent: Option<Extent>) -> Code {
    let address = call.text_owned(0);
    let to = if address.is_empty() {
        state.duplicate.clone()
    } else if Uri::parse(&address).is_err() {
        return refused(call, "the address is no URI");
    } else {
        Some(address.into())
    };
    if to.is_none() && state.rows.is_none() {
        return refused(call, "there is neither an address nor a table");
    }
    let correlation = call.text_owned(1);
    let correlation = (!correlation.is_empty()).then(|| correlation.into());
    trace_to(call, state, extent, to, correlation)
}

/// Traces the message of the route, and follows what it belongs to.
fn trace_to(
    call: &mut Call<'_, '_>,
    state: &Siptrace,
    extent: Option<Extent>,
    to: Option<Arc<[u8]>>,
    correlation: Option<Arc<[u8]>>,
) -> Code {
    if !state.is_on() {
        return Code::FALSE;
    }
    let env = &call.env;
    let avps = |name: &Option<Box<[u8]>>| -> Vec<Box<[u8]>> {
        let values = name.iter().flat_map(|name| env.lists.avps(name));
        values.map(|value| value.to_text().into_owned().into()).collect()
    };
    let table = avps(&state.table_avp).into_iter().next();
    let wish = Arc::new(Wish {
        users: avps(&state.users),
        table: table.map(|table| String::from_utf8_lossy(&table).into()),
        to,
        correlation,
    });
    let msg = &env.ctx.msg;
    let extent = match extent {
        Some(_) if msg.is_reply() => return refused(call, "only requests have a transaction to trace"),
        Some(Extent::Dialog) if msg.method() != Method::Invite || !env.script.has("dialog") => {
            return refused(call, "a dialog begins with an INVITE and needs the module dialog");
        }
        // Kamailio: so it is for messages that have a traced user
        None if !msg.is_reply() && !wish.users.is_empty() => Some(Extent::StatelessReplies),
        other => other,
    };
    if let Some(extent) = extent.filter(|_| state.follows)
        && !state
            .shared
            .followed
            .add(msg, extent, Arc::clone(&wish), crate::clock::now())
    {
        return refused(call, "too many are traced");
    }
    let source = &env.ctx.source;
    let (way, bytes) = match &env.ctx.sending {
        Some(sending) if env.route == RouteKind::ONSEND => {
            let way = Way {
                direction: Direction::Out,
                transport: sending.target.transport,
                source: sending.local,
                destination: sending.target.peer,
                stateless: false,
            };
            (way, &sending.bytes[..])
        }
        _ => {
            let way = Way {
                direction: Direction::In,
                transport: source.transport,
                source: source.peer,
                destination: source.local,
                stateless: false,
            };
            (way, msg.as_bytes())
        }
    };
    state
        .push(env.host.wall(), way, bytes, wish, state.sinks())
        .into()
}

fn refused(call: &Call<'_, '_>, why: &str) -> Code {
    crate::log::error("siptrace", format_args!("{}: {why}", call.name));
    Code::FALSE
}

fn hlog(call: &mut Call<'_, '_>, correlation: Vec<u8>, text: Vec<u8>) -> Code {
    let Some(state) = call.state::<Siptrace>() else {
        return Code::FALSE;
    };
    if !state.hep_mode || state.hep.version != 3 || state.duplicate.is_none() {
        return refused(call, "it needs hep_mode_on, hep_version 3 and duplicate_uri");
    }
    let line = Line {
        at: call.env.host.wall(),
        correlation,
        text,
    };
    state.shared.queue.push(Item::Line(line)).into()
}

fn status(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = script
        .states
        .get::<Siptrace>()
        .ok_or_else(|| RpcFault::failed("module siptrace is not loaded"))?;
    let wanted = call
        .str(0)
        .map_err(|_| RpcFault::failed("Not enough parameters (on, off or check)"))?;
    match &*wanted {
        "on" => state.shared.on.store(true, Ordering::Relaxed),
        "off" => state.shared.on.store(false, Ordering::Relaxed),
        "check" => {}
        _ => return Err(RpcFault::failed("Bad parameter (on, off or check)")),
    }
    let shown = if state.is_on() { "Enabled" } else { "Disabled" };
    Ok(RpcReply::Value(shown.into()))
}
