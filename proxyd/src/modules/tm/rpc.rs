//! `tm.stats` and its kin.

use super::Tm;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::stats::Counter;
use crate::stats::Statistics;
use serde_json::Map;
use serde_json::Value;
use std::sync::Arc;

pub(super) static RPCS: &[Rpc] = &[Rpc {
    name: "tm.stats",
    doc: "Counts of transactions and replies.",
    call: stats,
}];

/// The counters that the answer is made of.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    current: Arc<Counter>,
    active: Arc<Counter>,
    received: Arc<Counter>,
    served: Arc<Counter>,
    local: Arc<Counter>,
    answered: Arc<Counter>,
    sent: Arc<Counter>,
    classes: Vec<(&'static str, Arc<Counter>)>,
}

impl Counts {
    pub(super) fn new(statistics: &Statistics) -> Self {
        let counter = |name: &str| statistics.lasting("tmx", name);
        let class = |class: &'static str| (class, counter(&format!("{class}_transactions")));
        Self {
            current: counter("inuse_transactions"),
            active: counter("active_transactions"),
            received: counter("rpl_received"),
            served: counter("UAS_transactions"),
            local: counter("UAC_transactions"),
            answered: counter("rpl_generated"),
            sent: counter("rpl_sent"),
            classes: ["6xx", "5xx", "4xx", "3xx", "2xx"].map(class).to_vec(),
        }
    }
}

fn stats(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let tm = script
        .states
        .get::<Tm>()
        .ok_or_else(|| RpcFault::failed("module tm is not loaded"))?;
    let counts = &tm.counts;
    let mut answer = Map::new();
    let mut put = |name: &str, n: i64| answer.insert(name.to_owned(), Value::from(n));
    let (current, total) = (
        counts.current.value(),
        counts.served.value() + counts.local.value(),
    );
    put("current", current);
    put("waiting", current - counts.active.value());
    put("total", total);
    put("total_local", counts.local.value());
    put("rpl_received", counts.received.value());
    put("rpl_generated", counts.answered.value());
    put("rpl_sent", counts.sent.value());
    for (class, counter) in &counts.classes {
        put(class, counter.value());
    }
    put("created", total);
    put("freed", total - current);
    put("delayed_free", 0);
    Ok(Value::Object(answer).into())
}
