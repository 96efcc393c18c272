//! `loadmodule "mqueue"`: queues of keys and values between routes (Kamailio module mqueue).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many items a queue without a size holds.
const MOST: usize = 100_000;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List(
            "mqueue",
            "A queue: name=…;size=…;addmode=0|1|2; without a size the oldest of 100000 items gives way.",
        ),
        Param::List(
            "mqueue_name",
            "A queue with the size and mode of the parameters below.",
        ),
        Param::Int("mqueue_size", 0, "Size of the queues of mqueue_name."),
        Param::Int(
            "mqueue_addmode",
            0,
            "Their mode: 0 every item, 1 the oldest of a key, 2 the newest of a key.",
        ),
        Param::Ignored("db_url", "queues are kept in memory: dbmode is refused"),
    ],
    functions: &[
        Function::anywhere(
            &["mq_add"],
            &[Arg::Text("queue"), Arg::Text("key"), Arg::Text("value")],
            "Adds an item; the oldest one gives way when the queue is full.",
            mq_add,
        ),
        Function::anywhere(
            &["mq_fetch"],
            &[Arg::Text("queue")],
            "Takes the oldest item, for $mqk and $mqv; -2 when there is none.",
            mq_fetch,
        ),
        Function::anywhere(
            &["mq_pv_free"],
            &[Arg::Text("queue")],
            "Forgets what was fetched.",
            mq_pv_free,
        ),
        Function::anywhere(
            &["mq_size"],
            &[Arg::Text("queue")],
            "How many items a queue has; -1 none, -2 no such queue.",
            mq_size,
        ),
    ],
    pvs: &[
        Pv {
            names: &["mqk"],
            param: PvParam::Required,
            doc: "$mqk(queue): the key fetched last by this worker.",
            compile: None,
            get: |env, spec| fetched(env, spec, |item| &item.0),
            set: None,
        },
        Pv {
            names: &["mqv"],
            param: PvParam::Required,
            doc: "$mqv(queue): its value.",
            compile: None,
            get: |env, spec| fetched(env, spec, |item| &item.1),
            set: None,
        },
        Pv {
            names: &["mq_size"],
            param: PvParam::Required,
            doc: "$mq_size(queue): how many items a queue has.",
            compile: None,
            get: |env, spec| {
                let queues = env.state::<Queues>();
                let queue = queues.and_then(|queues| queues.named(&spec.text(env)));
                queue.map_or(Value::text(b""), |queue| Value::Int(queue.len()))
            },
            set: None,
        },
    ],
    rpcs: &[
        Rpc {
            name: "mqueue.get_size",
            doc: "How many items a queue has: name.",
            call: rpc_size,
        },
        Rpc {
            name: "mqueue.get_sizes",
            doc: "How many items each queue has.",
            call: rpc_sizes,
        },
        Rpc {
            name: "mqueue.fetch",
            doc: "Takes the oldest item of a queue: name.",
            call: rpc_fetch,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("mqueue", "Queues of keys and values.")
};

/// What happens to items of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    All,
    Oldest,
    Newest,
}

/// Key and value.
type Item = (Box<[u8]>, Box<[u8]>);

struct Queue {
    name: String,
    size: usize,
    mode: Mode,
    /// Shared with the queue of the same name after a reload.
    items: Arc<Mutex<VecDeque<Item>>>,
}

impl Queue {
    /// Reads `name=…;size=…;addmode=…`.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut name, mut size, mut mode) = ("", 0, 0);
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (attribute, value) = pair.split_once('=').ok_or("expected attribute=value")?;
            let value = value.trim();
            let number = || {
                value
                    .parse::<i64>()
                    .map_err(|_| format!("{value:?} is no number"))
            };
            match attribute.trim() {
                "name" => name = value,
                "size" => size = number()?,
                "addmode" => mode = number()?,
                "dbmode" if number()? == 0 => {}
                "dbmode" => return Err("queues are not kept in a database".to_owned()),
                other => return Err(format!("{other:?} is none of name, size, addmode, dbmode")),
            }
        }
        Self::new(name, size, mode)
    }

    fn new(name: &str, size: i64, mode: i64) -> Result<Self, String> {
        let mode = match mode {
            0 => Mode::All,
            1 => Mode::Oldest,
            2 => Mode::Newest,
            other => return Err(format!("addmode {other} is none of 0, 1, 2")),
        };
        if name.is_empty() {
            return Err("it has no name".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            size: usize::try_from(size)
                .ok()
                .filter(|size| (1..=MOST).contains(size))
                .unwrap_or(MOST),
            mode,
            items: Arc::default(),
        })
    }

    fn add(&self, key: &[u8], value: &[u8]) {
        let mut items = self.items.lock();
        let known = match self.mode {
            Mode::All => None,
            Mode::Oldest | Mode::Newest => items.iter().position(|(own, _)| **own == *key),
        };
        match (known, self.mode) {
            (Some(_), Mode::Oldest) => return,
            (Some(at), _) => drop(items.remove(at)),
            (None, _) => {}
        }
        while items.len() >= self.size {
            items.pop_front();
        }
        items.push_back((key.into(), value.into()));
    }

    fn fetch(&self) -> Option<Item> {
        self.items.lock().pop_front()
    }

    fn len(&self) -> i64 {
        i64::try_from(self.items.lock().len()).unwrap_or(i64::MAX)
    }
}

struct Queues {
    all: Vec<Queue>,
    /// What each worker fetched last, by queue.
    fetched: Mutex<BTreeMap<(usize, String), Item>>,
}

impl Queues {
    fn named(&self, name: &[u8]) -> Option<&Queue> {
        self.all.iter().find(|queue| queue.name.as_bytes() == name)
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let mut all = Vec::new();
    for text in init.list("mqueue") {
        all.push(Queue::parse(&text).map_err(|why| InitError::Param {
            name: "mqueue",
            why: format!("{text:?}: {why}"),
        })?);
    }
    let (size, mode) = (init.int("mqueue_size"), init.int("mqueue_addmode"));
    for name in init.list("mqueue_name") {
        all.push(Queue::new(&name, size, mode).map_err(|why| InitError::Param {
            name: "mqueue_name",
            why: format!("{name:?}: {why}"),
        })?);
    }
    if let Some(previous) = init.previous::<Queues>() {
        for queue in &mut all {
            if let Some(before) = previous.named(queue.name.as_bytes()) {
                queue.items = Arc::clone(&before.items);
            }
        }
    }
    Ok(Arc::new(Queues {
        all,
        fetched: Mutex::default(),
    }))
}

/// The queue of the first argument, and all of them.
fn queue<'a>(call: &Call<'a, '_>) -> Option<(&'a Queues, &'a Queue)> {
    let queues = call.state::<Queues>()?;
    let found = queues.named(&call.text(0));
    if found.is_none() {
        crate::log::error(
            "mqueue",
            format_args!("{}: no queue {:?}", call.name, call.value(0)),
        );
    }
    Some((queues, found?))
}

fn mq_add(call: &mut Call<'_, '_>) -> Code {
    let Some((_, queue)) = queue(call) else {
        return Code::FALSE;
    };
    queue.add(&call.text(1), &call.text(2));
    Code::TRUE
}

fn mq_fetch(call: &mut Call<'_, '_>) -> Code {
    let Some((queues, queue)) = queue(call) else {
        return Code::FALSE;
    };
    let place = (call.env.host.worker().0, queue.name.clone());
    match queue.fetch() {
        Some(item) => {
            queues.fetched.lock().insert(place, item);
            Code::TRUE
        }
        None => {
            queues.fetched.lock().remove(&place);
            Code(-2)
        }
    }
}

fn mq_pv_free(call: &mut Call<'_, '_>) -> Code {
    if let Some((queues, queue)) = queue(call) {
        let place = (call.env.host.worker().0, queue.name.clone());
        queues.fetched.lock().remove(&place);
    }
    Code::TRUE
}

fn mq_size(call: &mut Call<'_, '_>) -> Code {
    let size = match queue(call) {
        Some((_, queue)) => queue.len(),
        None => return Code(-2),
    };
    Code(if size == 0 {
        -1
    } else {
        i32::try_from(size).unwrap_or(i32::MAX)
    })
}

fn fetched<'e>(env: &'e Env<'_>, spec: &'e PvSpec, part: fn(&Item) -> &[u8]) -> Value<'e> {
    let Some(queues) = env.state::<Queues>() else {
        return Value::Null;
    };
    let name = String::from_utf8_lossy(&spec.text(env)).into_owned();
    let fetched = queues.fetched.lock();
    let item = fetched.get(&(env.host.worker().0, name));
    item.map_or(Value::Null, |item| Value::text_or_null(part(item)).into_owned())
}

fn queues(script: &Arc<Script>) -> Result<&Queues, RpcFault> {
    let queues = script.states.get::<Queues>();
    queues.ok_or_else(|| RpcFault::failed("module mqueue is not loaded"))
}

fn size_of(queue: &Queue) -> serde_json::Value {
    json!({ "name": queue.name, "size": queue.len() })
}

fn rpc_size(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let name = call.str(0).map_err(|_| RpcFault::bad_request("No queue name"))?;
    if name.is_empty() {
        return Err(RpcFault::bad_request("Invalid queue name"));
    }
    let queue = queues(script)?.named(name.as_bytes());
    let queue = queue.ok_or_else(|| RpcFault::not_found("No such queue"))?;
    Ok(RpcReply::Value(size_of(queue)))
}

fn rpc_sizes(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let sizes: Vec<_> = queues(script)?.all.iter().map(size_of).collect();
    Ok(RpcReply::Value(sizes.into()))
}

fn rpc_fetch(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let name = call.str(0).map_err(|_| RpcFault::failed("No queue name"))?;
    if name.is_empty() {
        return Err(RpcFault::failed("Invalid queue name"));
    }
    let queue = queues(script)?.named(name.as_bytes());
    let queue = queue.ok_or_else(|| RpcFault::failed("No such queue"))?;
    let (key, value) = queue.fetch().ok_or_else(|| RpcFault::not_found("Empty queue"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(RpcReply::Value(json!({ "key": text(&key), "val": text(&value) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions() {
        for (text, expected) in [
            ("name=a", Some(("a", MOST, Mode::All))),
            ("name=a;size=2;", Some(("a", 2, Mode::All))),
            ("name=a; addmode=2; dbmode=0", Some(("a", MOST, Mode::Newest))),
            ("size=2", None),
            ("name=a;addmode=3", None),
            ("name=a;dbmode=1", None),
            ("name", None),
        ] {
            let queue = Queue::parse(text).ok();
            let parts = queue.as_ref().map(|queue| (&*queue.name, queue.size, queue.mode));
            assert_eq!(parts, expected, "{text}");
        }
    }

    #[test]
    fn full_queues_and_unique_keys() {
        for (text, expected) in [
            ("name=q", "a=1 b=2 a=3 c=4"),
            ("name=q;size=2", "a=3 c=4"),
            ("name=q;addmode=1", "a=1 b=2 c=4"),
            ("name=q;addmode=2", "b=2 a=3 c=4"),
            ("name=q;addmode=2;size=2", "a=3 c=4"),
        ] {
            let queue = Queue::parse(text).unwrap();
            for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
                queue.add(key.as_bytes(), value.as_bytes());
            }
            let items: Vec<String> = std::iter::from_fn(|| queue.fetch())
                .map(|(key, value)| {
                    format!(
                        "{}={}",
                        String::from_utf8_lossy(&key),
                        String::from_utf8_lossy(&value)
                    )
                })
                .collect();
            assert_eq!(items.join(" "), expected, "{text}");
        }
    }
}
