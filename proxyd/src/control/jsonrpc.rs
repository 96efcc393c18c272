//! JSON-RPC 2.0 texts in and out, in the standard's way or in that of Kamailio's `jsonrpcs`.

use std::io;
use std::io::Write;

use serde_json::Value;
use serde_json::json;
use shared::rpc::code;

use super::lenient;
use super::methods::Methods;
use super::methods::Peer;
use super::methods::RpcCall;
use super::methods::RpcFault;
use super::methods::RpcReply;
use super::methods::RpcResult;
pub use super::pretty::Layout;
use super::pretty::Pretty;

/// How much one batch may hold.
const BATCH_LIMIT: usize = 1000;
/// Bytes of a batch's replies, which are held until its last call has run: calls behind that are refused.
const BATCH_BYTES: usize = 64 << 20;
const BATCH_FULL: &str = "the replies before are too long for one batch: call it by itself";

/// Whose habits a reply follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The specification: an unknown method is -32601, a call without id is not answered.
    Standard,
    /// Kamailio: an unknown method is 500 "Method Not Found", a call without id is answered without one, `jsonrpc`
    /// need not be there.
    Kamailio(Layout),
}

/// The reply to a text.
pub struct Answer {
    /// 200, or the code of the fault.
    pub code: i32,
    /// "OK", or the message of the fault.
    pub reason: String,
    body: Body,
}

enum Body {
    Text(Vec<u8>),
    Stream {
        reply: super::methods::Stream,
        id: Option<Value>,
        dialect: Dialect,
    },
}

impl Answer {
    /// Writes the reply out; a large one is produced while it is written.
    pub fn write(self, out: &mut dyn Write) -> io::Result<()> {
        match self.body {
            Body::Text(text) => out.write_all(&text),
            Body::Stream { reply, id, dialect } => write_stream(out, reply, id, dialect),
        }
    }

    /// The reply as one text.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.body {
            Body::Text(text) => text,
            Body::Stream { reply, id, dialect } => {
                let mut out = Vec::new();
                match write_stream(&mut out, reply, id.clone(), dialect) {
                    Ok(()) => out,
                    Err(e) => render(&failure(&RpcFault::failed(e.to_string()), id), dialect),
                }
            }
        }
    }

    /// Whether the reply is produced while it is written.
    pub fn is_stream(&self) -> bool {
        matches!(self.body, Body::Stream { .. })
    }
}

impl Methods {
    /// Runs what a text asks for; `None`: nothing is to be answered.
    pub fn execute(&self, text: &[u8], dialect: Dialect, peer: &Peer) -> Option<Answer> {
        let value = match dialect {
            Dialect::Standard => serde_json::from_slice(text),
            Dialect::Kamailio(_) => lenient::parse(text),
        };
        let value: Value = match value {
            Ok(value) => value,
            Err(e) => {
                let message = format!("Parse error: {e}");
                return Some(refused(
                    RpcFault::new(code::PARSE_ERROR, message),
                    Some(Value::Null),
                    dialect,
                ));
            }
        };
        match value {
            Value::Array(calls) if calls.is_empty() => {
                Some(refused(invalid("an empty batch"), Some(Value::Null), dialect))
            }
            Value::Array(calls) if calls.len() > BATCH_LIMIT => Some(refused(
                invalid("too many calls in one batch"),
                Some(Value::Null),
                dialect,
            )),
            Value::Array(calls) => self.batch(&calls, dialect, peer),
            call => self.one(&call, dialect, peer),
        }
    }

    /// Runs what a text asks for and gives the whole reply.
    pub fn handle_text(&self, text: &[u8], dialect: Dialect, peer: &Peer) -> Option<Vec<u8>> {
        self.execute(text, dialect, peer).map(Answer::into_bytes)
    }

    fn batch(&self, calls: &[Value], dialect: Dialect, peer: &Peer) -> Option<Answer> {
        let mut bytes = 0;
        let mut run = |call: &Value| {
            let reply = if bytes > BATCH_BYTES {
                let id = call.get("id").cloned().unwrap_or_default();
                refused(RpcFault::failed(BATCH_FULL), Some(id), dialect)
            } else {
                self.one(call, dialect, peer)?
            };
            let reply = reply.into_bytes();
            bytes += reply.len();
            Some(reply)
        };
        let replies: Vec<Vec<u8>> = calls.iter().filter_map(&mut run).collect();
        if replies.is_empty() {
            return None;
        }
        let mut text = b"[".to_vec();
        text.extend(replies.join(&b", "[..]));
        text.push(b']');
        Some(Answer {
            code: 200,
            reason: "OK".to_owned(),
            body: Body::Text(text),
        })
    }

    fn one(&self, call: &Value, dialect: Dialect, peer: &Peer) -> Option<Answer> {
        let standard = dialect == Dialect::Standard;
        let Value::Object(members) = call else {
            return Some(refused(
                invalid("a call is an object"),
                Some(Value::Null),
                dialect,
            ));
        };
        let id = members.get("id").cloned();
        if id
            .as_ref()
            .is_some_and(|id| id.is_object() || id.is_array() || (standard && id.is_boolean()))
        {
            return Some(refused(
                invalid("an id is text or a number"),
                Some(Value::Null),
                dialect,
            ));
        }
        if standard && members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Some(refused(
                invalid("jsonrpc is not \"2.0\""),
                id.or(Some(Value::Null)),
                dialect,
            ));
        }
        let Some(method) = members.get("method").and_then(Value::as_str) else {
            return Some(refused(invalid("no method"), id.or(Some(Value::Null)), dialect));
        };
        let named: Vec<Value>;
        let params: &[Value] = match members.get("params") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(list)) => list,
            // Kamailio: the order of members counts, their names do not.
            Some(Value::Object(map)) => {
                named = map.values().cloned().collect();
                &named
            }
            Some(_) => {
                return Some(refused(
                    invalid("params is a list"),
                    id.or(Some(Value::Null)),
                    dialect,
                ));
            }
        };
        let result = self.dispatch(&RpcCall { method, params, peer });
        if standard && id.is_none() {
            return None;
        }
        Some(answer(
            result.unwrap_or_else(|| Err(unknown(method, dialect))),
            id,
            dialect,
        ))
    }
}

fn unknown(method: &str, dialect: Dialect) -> RpcFault {
    match dialect {
        Dialect::Standard => RpcFault::new(code::METHOD_NOT_FOUND, format!("Method not found: {method:?}")),
        Dialect::Kamailio(_) => RpcFault::failed("Method Not Found"),
    }
}

fn invalid(why: &str) -> RpcFault {
    RpcFault::new(code::INVALID_REQUEST, format!("Invalid Request: {why}"))
}

fn refused(fault: RpcFault, id: Option<Value>, dialect: Dialect) -> Answer {
    answer(Err(fault), id, dialect)
}

fn answer(result: RpcResult, id: Option<Value>, dialect: Dialect) -> Answer {
    let ok = || (200, "OK".to_owned());
    let ((code, reason), body) = match result {
        Ok(RpcReply::Stream(reply)) => (ok(), Body::Stream { reply, id, dialect }),
        Ok(RpcReply::Value(value)) => (ok(), Body::Text(render(&success(value, id), dialect))),
        Err(fault) => {
            let text = render(&failure(&fault, id), dialect);
            ((fault.code, fault.message.into_owned()), Body::Text(text))
        }
    };
    Answer { code, reason, body }
}

fn success(result: Value, id: Option<Value>) -> Value {
    with_id(json!({ "jsonrpc": "2.0", "result": result }), id)
}

fn failure(fault: &RpcFault, id: Option<Value>) -> Value {
    with_id(
        json!({ "jsonrpc": "2.0", "error": { "code": fault.code, "message": fault.message } }),
        id,
    )
}

fn with_id(mut reply: Value, id: Option<Value>) -> Value {
    if let (Some(members), Some(id)) = (reply.as_object_mut(), id) {
        members.insert("id".to_owned(), id);
    }
    reply
}

fn render(reply: &Value, dialect: Dialect) -> Vec<u8> {
    let compact = reply.to_string().into_bytes();
    let Dialect::Kamailio(layout) = dialect else {
        return compact;
    };
    let mut pretty = Pretty::new(Vec::with_capacity(compact.len() * 2), layout, 0);
    // Writing to a vector does not fail.
    let _ = pretty.write_all(&compact);
    pretty.finish().unwrap_or_default()
}

fn write_stream(
    out: &mut dyn Write,
    reply: super::methods::Stream,
    id: Option<Value>,
    dialect: Dialect,
) -> io::Result<()> {
    let tail = id.map_or_else(|| "}".to_owned(), |id| format!(",\"id\":{id}}}"));
    let head = b"{\"jsonrpc\":\"2.0\",\"result\":";
    match dialect {
        Dialect::Standard => {
            out.write_all(head)?;
            reply(out)?;
            out.write_all(tail.as_bytes())
        }
        Dialect::Kamailio(layout) => {
            let mut pretty = Pretty::new(out, layout, 0);
            pretty.write_all(head)?;
            reply(&mut pretty)?;
            pretty.write_all(tail.as_bytes())?;
            pretty.finish().map(|_| ())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::methods::RpcDef;

    fn methods() -> Methods {
        let methods = Methods::new();
        methods.add([
            RpcDef::new("echo", "Echoes.", |c| Ok(Value::from(c.params.to_vec()).into())),
            RpcDef::new("void", "Nothing.", |_| Ok(RpcReply::empty())),
            RpcDef::new("fault", "Fails.", |_| Err(RpcFault::not_found("not here"))),
            RpcDef::new("flow", "Flows.", |_| {
                Ok(RpcReply::stream(|out| out.write_all(b"[1,{\"a\":2}]")))
            }),
            RpcDef::new("long", "Is long.", |_| {
                Ok(Value::from("x".repeat(BATCH_BYTES)).into())
            }),
            RpcDef::new("broken", "Breaks.", |_| {
                Ok(RpcReply::stream(|_| Err(io::Error::other("lost the table"))))
            }),
        ]);
        methods
    }

    fn run(text: &str, dialect: Dialect) -> Option<String> {
        let reply = methods().handle_text(text.as_bytes(), dialect, &Peer::internal());
        reply.map(|r| String::from_utf8(r).unwrap())
    }

    #[test]
    fn the_standard_way() {
        let e = |code: i32, message: &str, id: &str| {
            Some(format!(
                r#"{{"jsonrpc":"2.0","error":{{"code":{code},"message":"{message}"}},"id":{id}}}"#
            ))
        };
        let ok = |result: &str, id: &str| Some(format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{id}}}"#));
        let table = [
            (
                r#"{"jsonrpc":"2.0","method":"echo","params":["a",3],"id":1}"#,
                ok(r#"["a",3]"#, "1"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"echo","params":{"x":"a","b":3},"id":"q"}"#,
                ok(r#"["a",3]"#, "\"q\""),
            ),
            (r#"{"jsonrpc":"2.0","method":"void","id":1.5}"#, ok("{}", "1.5")),
            (r#"{"jsonrpc":"2.0","method":"void","id":null}"#, ok("{}", "null")),
            (r#"{"jsonrpc":"2.0","method":"void"}"#, None),
            (r#"{"jsonrpc":"2.0","method":"nope"}"#, None),
            (
                r#"{"jsonrpc":"2.0","method":"fault","id":1}"#,
                e(404, "not here", "1"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nope","id":1}"#,
                e(-32601, "Method not found: \\\"nope\\\"", "1"),
            ),
            (
                r#"{"jsonrpc":6,"method":"void","id":1}"#,
                e(-32600, "Invalid Request: jsonrpc is not \\\"2.0\\\"", "1"),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1}"#,
                e(-32600, "Invalid Request: no method", "1"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"void","params":3,"id":1}"#,
                e(-32600, "Invalid Request: params is a list", "1"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"void","id":[]}"#,
                e(-32600, "Invalid Request: an id is text or a number", "null"),
            ),
            ("[]", e(-32600, "Invalid Request: an empty batch", "null")),
            ("7", e(-32600, "Invalid Request: a call is an object", "null")),
            (
                r#"{"jsonrpc":"2.0","method":"flow","id":1}"#,
                ok(r#"[1,{"a":2}]"#, "1"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"broken","id":1}"#,
                e(500, "lost the table", "1"),
            ),
        ];
        for (input, expected) in table {
            assert_eq!(run(input, Dialect::Standard), expected, "{input}");
        }
        assert!(run("garbage", Dialect::Standard).unwrap().contains("-32700"));
        let batch = r#"[{"jsonrpc":"2.0","method":"void"},{"jsonrpc":"2.0","method":"void","id":2},7]"#;
        let shown = run(batch, Dialect::Standard).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&shown)
                .unwrap()
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(
            run(r#"[{"jsonrpc":"2.0","method":"void"}]"#, Dialect::Standard),
            None
        );
    }

    #[test]
    fn kamailio_answers_without_id_and_with_its_own_code() {
        let compact = Dialect::Kamailio(Layout::Compact);
        let table = [
            (
                r#"{"jsonrpc":"2.0","method":"void"}"#,
                r#"{"jsonrpc":"2.0","result":{}}"#,
            ),
            (
                r#"{"method":"void","id":3}"#,
                r#"{"jsonrpc":"2.0","result":{},"id":3}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"nope","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":500,"message":"Method Not Found"},"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"flow","id":1}"#,
                r#"{"jsonrpc":"2.0","result":[1,{"a":2}],"id":1}"#,
            ),
        ];
        for (input, expected) in table {
            assert_eq!(run(input, compact).as_deref(), Some(expected), "{input}");
        }
        let indented = run(table[3].0, Dialect::Kamailio(Layout::Indented)).unwrap();
        let expected =
            "{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t[1, {\n\t\t\t\"a\":\t2\n\t\t}],\n\t\"id\":\t1\n}";
        assert_eq!(indented, expected);
        assert!(run("{\"jsonrpc\":6}", compact).unwrap().contains("no method"));
    }

    #[test]
    fn an_answer_knows_its_code() {
        let peer = Peer::internal();
        let call = br#"{"jsonrpc":"2.0","method":"fault","id":1}"#;
        let answer = methods()
            .execute(call, Dialect::Kamailio(Layout::Compact), &peer)
            .unwrap();
        assert_eq!(
            (answer.code, answer.reason.as_str(), answer.is_stream()),
            (404, "not here", false)
        );
    }

    #[test]
    fn a_batch_is_bounded_by_its_replies() {
        let batch = r#"[{"jsonrpc":"2.0","method":"long","id":1},{"jsonrpc":"2.0","method":"void","id":2}]"#;
        let replies: Value = serde_json::from_str(&run(batch, Dialect::Standard).unwrap()).unwrap();
        assert!(replies[0]["result"].is_string());
        assert_eq!(
            replies[1],
            json!({"jsonrpc": "2.0", "error": {"code": 500, "message": BATCH_FULL}, "id": 2})
        );
    }
}
