//! The method table (Kamailio "RPC Exports"): what can be called, by whom it was called, what it answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::io::Write;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use shared::rpc::code;

use super::rights;
use super::rights::Rights;
use crate::log;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The way the call came.
    pub transport: PeerTransport,
    /// User id by the kernel's word; none where there is no such word.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Process id.
    pub pid: Option<i32>,
    /// Address or path of the caller, for logs.
    pub address: String,
    /// What it may call.
    pub rights: Rights,
}

/// The way a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTransport {
    /// From this process: a script, a timer, a test.
    Internal,
    /// HTTP on the control socket.
    Http,
    /// WebSocket on the control socket.
    WebSocket,
    /// `jsonrpcs` over a FIFO.
    Fifo,
    /// `jsonrpcs` over a unix or UDP datagram.
    Datagram,
    /// `jsonrpcs` over TCP.
    Tcp,
    /// `xhttp` on a SIP port.
    Xhttp,
    /// `ctl`, for kamcmd.
    Binrpc,
}

impl Peer {
    /// The daemon itself.
    pub fn internal() -> Self {
        Self::anonymous(PeerTransport::Internal, "")
    }

    /// Somebody known by an address alone.
    pub fn anonymous(transport: PeerTransport, address: impl Into<String>) -> Self {
        Self {
            transport,
            uid: None,
            gid: None,
            pid: None,
            address: address.into(),
            rights: Rights::All,
        }
    }
}

/// `uid 0, gid 0, pid 7 over http`, or `192.0.2.1:5060 over xhttp`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [
            ("uid", self.uid.map(i64::from)),
            ("gid", self.gid.map(i64::from)),
            ("pid", self.pid.map(i64::from)),
        ];
        let known = numbers
            .into_iter()
            .filter_map(|(name, number)| Some(format!("{name} {}", number?)));
        let address = Some(self.address.clone()).filter(|address| !address.is_empty());
        let words: Vec<String> = known.chain(address).collect();
        if !words.is_empty() {
            write!(f, "{} ", words.join(", "))?;
        }
        write!(f, "over {}", self.transport)
    }
}

impl fmt::Display for PeerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "itself",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Fifo => "fifo",
            Self::Datagram => "datagram",
            Self::Tcp => "tcp",
            Self::Xhttp => "xhttp",
            Self::Binrpc => "binrpc",
        })
    }
}

/// One call under way.
#[derive(Clone, Copy, Debug)]
pub struct RpcCall<'a> {
    /// Name of the method.
    pub method: &'a str,
    /// Positional parameters; of named ones the values, in their order.
    pub params: &'a [Value],
    /// Who calls.
    pub peer: &'a Peer,
}

impl<'a> RpcCall<'a> {
    /// How many parameters were given.
    pub fn count(&self) -> usize {
        self.params.len()
    }

    /// Fails in a method's own words when one of its first parameters is missing.
    pub fn needs(&self, count: usize, usage: &'static str) -> Result<(), RpcFault> {
        if (0..count).all(|index| self.value(index).is_some()) {
            Ok(())
        } else {
            Err(RpcFault::failed(usage))
        }
    }

    /// A parameter as it came.
    pub fn value(&self, index: usize) -> Option<&'a Value> {
        self.params.get(index).filter(|v| !v.is_null())
    }

    /// A parameter as text; numbers are spelt out.
    pub fn str(&self, index: usize) -> Result<Cow<'a, str>, RpcFault> {
        self.opt_str(index)?.ok_or_else(|| missing(index))
    }

    /// A parameter as text, if it was given.
    pub fn opt_str(&self, index: usize) -> Result<Option<Cow<'a, str>>, RpcFault> {
        match self.value(index) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(Cow::Borrowed(s))),
            Some(Value::Number(n)) => Ok(Some(Cow::Owned(n.to_string()))),
            Some(Value::Bool(b)) => Ok(Some(Cow::Borrowed(if *b { "1" } else { "0" }))),
            Some(_) => Err(wrong(index, "text")),
        }
    }

    /// A parameter as an integer; text may spell one.
    pub fn int(&self, index: usize) -> Result<i64, RpcFault> {
        self.opt_int(index)?.ok_or_else(|| missing(index))
    }

    /// A parameter as an integer, if it was given.
    pub fn opt_int(&self, index: usize) -> Result<Option<i64>, RpcFault> {
        let Some(value) = self.value(index) else {
            return Ok(None);
        };
        let number = match value {
            // Kamailio: a fraction is cut off, not refused.
            Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
            Value::Bool(b) => Some(i64::from(*b)),
            Value::String(s) => integer(s.trim()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        number.map(Some).ok_or_else(|| wrong(index, "an integer"))
    }

    /// A parameter as a number, if it was given.
    pub fn opt_float(&self, index: usize) -> Result<Option<f64>, RpcFault> {
        let Some(value) = self.value(index) else {
            return Ok(None);
        };
        let number = match value {
            Value::String(s) => s.trim().parse().ok(),
            other => other.as_f64(),
        };
        number
            .filter(|n: &f64| n.is_finite())
            .map(Some)
            .ok_or_else(|| wrong(index, "a number"))
    }

    /// The parameters from one on as texts.
    pub fn rest(&self, from: usize) -> impl Iterator<Item = Result<Cow<'a, str>, RpcFault>> {
        let call = *self;
        (from..call.count()).map(move |index| call.str(index))
    }
}

fn integer(text: &str) -> Option<i64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    i64::from_str_radix(digits, radix).ok()
}

fn missing(index: usize) -> RpcFault {
    RpcFault::new(code::BAD_REQUEST, format!("parameter {} is missing", index + 1))
}

fn wrong(index: usize, wanted: &str) -> RpcFault {
    RpcFault::new(
        code::BAD_REQUEST,
        format!("parameter {} is not {wanted}", index + 1),
    )
}

/// An answer in the negative.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {message}")]
pub struct RpcFault {
    /// Kamailio's code: 400, 404, 500 and so on; or JSON-RPC's.
    pub code: i32,
    /// What the caller reads.
    pub message: Cow<'static, str>,
}

impl RpcFault {
    /// A fault with a code.
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// 400: the call is wrong.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::BAD_REQUEST, message)
    }

    /// 403: the method may not be called over this socket.
    pub fn forbidden(method: &str) -> Self {
        Self::new(code::FORBIDDEN, format!("{method} is not allowed on this socket"))
    }

    /// 404: what was asked for is not there.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::NOT_FOUND, message)
    }

    /// 500: it could not be done.
    pub fn failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::FAILED, message)
    }
}

/// Writes a large answer as JSON text, piece by piece.
pub type Stream = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// What a method answers.
pub enum RpcReply {
    /// A value; `{}` when there is nothing to say.
    Value(Value),
    /// JSON text produced while it is sent, for answers that need not fit in memory.
    Stream(Stream),
}

impl RpcReply {
    /// Nothing to say: Kamailio's void methods answer an empty structure.
    pub fn empty() -> Self {
        Self::Value(Value::Object(serde_json::Map::new()))
    }

    /// An answer that is produced while it is sent.
    pub fn stream(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        Self::Stream(Box::new(write))
    }

    /// The answer as a value, produced whole.
    pub fn into_value(self) -> Result<Value, RpcFault> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Stream(write) => {
                let mut text = Vec::new();
                write(&mut text).map_err(|e| RpcFault::failed(format!("answer not produced: {e}")))?;
                serde_json::from_slice(&text)
                    .map_err(|e| RpcFault::failed(format!("answer not produced: {e}")))
            }
        }
    }
}

impl From<Value> for RpcReply {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<&str> for RpcReply {
    fn from(text: &str) -> Self {
        Self::Value(Value::from(text))
    }
}

impl fmt::Debug for RpcReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What a method gives back.
pub type RpcResult = Result<RpcReply, RpcFault>;

/// The work behind a method.
pub type Handler = Arc<dyn Fn(&RpcCall<'_>) -> RpcResult + Send + Sync>;

/// A method as the table holds it.
#[derive(Clone)]
pub struct RpcDef {
    /// `ul.dump`.
    pub name: Cow<'static, str>,
    /// What it does and its parameters, in one line.
    pub doc: Cow<'static, str>,
    /// The work.
    pub call: Handler,
}

impl RpcDef {
    /// A method.
    pub fn new(
        name: &'static str,
        doc: &'static str,
        call: impl Fn(&RpcCall<'_>) -> RpcResult + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            doc: doc.into(),
            call: Arc::new(call),
        }
    }
}

type Table = BTreeMap<Cow<'static, str>, RpcDef>;

/// Every method, in two layers: the daemon's own, and those of the script in force, swapped when it is reloaded.
#[derive(Default)]
pub struct Methods {
    own: ArcSwap<Table>,
    script: ArcSwap<Table>,
}

impl Methods {
    /// A table with no methods but `system.*`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds methods of the daemon itself.
    pub fn add(&self, defs: impl IntoIterator<Item = RpcDef>) {
        let mut table = Table::clone(&self.own.load());
        table.extend(defs.into_iter().map(|def| (def.name.clone(), def)));
        self.own.store(Arc::new(table));
    }

    /// Replaces the methods of the script's modules; calls under way end in the old ones.
    pub fn set_script(&self, defs: impl IntoIterator<Item = RpcDef>) {
        self.script.store(Arc::new(
            defs.into_iter().map(|def| (def.name.clone(), def)).collect(),
        ));
    }

    /// Calls a method; no such method is `None`. What changes something is logged with its caller.
    pub fn dispatch(&self, call: &RpcCall<'_>) -> Option<RpcResult> {
        if !call.peer.rights.allow(call.method) {
            return Some(Err(RpcFault::forbidden(call.method)));
        }
        let result = self.run(call)?;
        if rights::changes(call.method) && call.peer.transport != PeerTransport::Internal {
            audit(call, &result);
        }
        Some(result)
    }

    fn run(&self, call: &RpcCall<'_>) -> Option<RpcResult> {
        match call.method {
            "system.listMethods" => Some(Ok(Value::from(self.names()).into())),
            "system.methodHelp" => Some(self.help(call)),
            "system.methodSignature" => Some(Err(RpcFault::failed(
                "method signatures are not kept; ask system.methodHelp",
            ))),
            name => self.find(name).map(|handler| handler(call)),
        }
    }

    /// Names of all methods, sorted.
    pub fn names(&self) -> Vec<String> {
        let own = self.own.load();
        let script = self.script.load();
        let system = SYSTEM.iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<String> = own
            .keys()
            .chain(script.keys())
            .map(|name| name.to_string())
            .chain(system)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The help line of a method.
    pub fn doc(&self, name: &str) -> Option<Cow<'static, str>> {
        let system = SYSTEM
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, doc)| Cow::Borrowed(*doc));
        let own = || self.own.load().get(name).map(|def| def.doc.clone());
        let script = || self.script.load().get(name).map(|def| def.doc.clone());
        system.or_else(script).or_else(own)
    }

    fn find(&self, name: &str) -> Option<Handler> {
        let in_script = self.script.load().get(name).map(|def| def.call.clone());
        in_script.or_else(|| self.own.load().get(name).map(|def| def.call.clone()))
    }

    fn help(&self, call: &RpcCall<'_>) -> RpcResult {
        let Ok(name) = call.str(0) else {
            return Err(RpcFault::bad_request("Method Name Expected"));
        };
        match self.doc(&name) {
            Some(doc) => Ok(Value::from(doc.into_owned()).into()),
            None => Err(RpcFault::bad_request("command not found")),
        }
    }
}

/// Parameters that a log line shows, and the characters of each: later ones may be passwords.
const SHOWN: (usize, usize) = (3, 64);

/// Writes down who changed what, and how it ended.
fn audit(call: &RpcCall<'_>, result: &RpcResult) {
    let (most, width) = SHOWN;
    let show = |value: &Value| {
        let text = value.to_string();
        match text.char_indices().nth(width) {
            None => text,
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        }
    };
    let mut params: Vec<String> = call.params.iter().take(most).map(show).collect();
    if call.params.len() > most {
        params.push("…".to_owned());
    }
    let (method, params, peer) = (call.method, params.join(", "), call.peer);
    match result {
        Ok(_) => log::notice("core", format_args!("rpc {method}({params}) by {peer}: done")),
        Err(fault) => log::notice("core", format_args!("rpc {method}({params}) by {peer}: {fault}")),
    }
}

const SYSTEM: [(&str, &str); 3] = [
    (
        "system.listMethods",
        "Lists all RPC methods supported by the server.",
    ),
    (
        "system.methodHelp",
        "Prints the help string of a method. Parameters: method.",
    ),
    (
        "system.methodSignature",
        "Returns the signature of a method, which is not kept.",
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_convert_as_callers_expect() {
        let params = [
            json!("5"),
            json!(7),
            json!(2.9),
            json!(true),
            json!("0x10"),
            json!(null),
            json!([]),
            json!("x"),
        ];
        let peer = Peer::internal();
        let call = RpcCall {
            method: "m",
            params: &params,
            peer: &peer,
        };
        let ints: Vec<_> = (0..9)
            .map(|i| call.opt_int(i).map_err(|f| f.message.into_owned()))
            .collect();
        let err = |n: i32| Err(format!("parameter {n} is not an integer"));
        let ok = |n: i64| Ok(Some(n));
        assert_eq!(
            ints,
            [
                ok(5),
                ok(7),
                ok(2),
                ok(1),
                ok(16),
                Ok(None),
                err(7),
                err(8),
                Ok(None)
            ]
        );
        assert_eq!(call.str(1).unwrap(), "7");
        assert_eq!(call.str(3).unwrap(), "1");
        assert_eq!(call.str(5), Err(RpcFault::bad_request("parameter 6 is missing")));
        assert!(call.str(6).is_err());
        assert_eq!(call.opt_float(2), Ok(Some(2.9)));
        assert_eq!(call.opt_float(0), Ok(Some(5.0)));
        assert_eq!(call.rest(6).count(), 2);
    }

    #[test]
    fn the_script_layer_is_swapped_whole() {
        let methods = Methods::new();
        let answer = |text: &'static str| move |_: &RpcCall<'_>| Ok(RpcReply::from(text));
        methods.add([
            RpcDef::new("core.a", "A.", answer("a")),
            RpcDef::new("core.b", "B.", answer("b")),
        ]);
        methods.set_script([RpcDef::new("m.x", "X.", answer("x"))]);
        methods.set_script([RpcDef::new("m.y", "Y.", answer("y"))]);
        assert_eq!(
            methods.names(),
            [
                "core.a",
                "core.b",
                "m.y",
                "system.listMethods",
                "system.methodHelp",
                "system.methodSignature"
            ]
        );
        let peer = Peer::internal();
        let run = |method, params: &[Value]| {
            let reply = methods.dispatch(&RpcCall {
                method,
                params,
                peer: &peer,
            })?;
            Some(reply.and_then(RpcReply::into_value).map_err(|f| f.to_string()))
        };
        assert_eq!(run("m.y", &[]), Some(Ok(json!("y"))));
        assert_eq!(run("m.x", &[]), None);
        assert_eq!(
            run("system.methodHelp", &[json!("core.a")]),
            Some(Ok(json!("A.")))
        );
        assert_eq!(
            run("system.methodHelp", &[json!("no")]),
            Some(Err("400 command not found".into()))
        );
        assert_eq!(
            run("system.methodHelp", &[]),
            Some(Err("400 Method Name Expected".into()))
        );
    }
}
