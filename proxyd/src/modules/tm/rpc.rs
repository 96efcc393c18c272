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
    active: Arc<Counter>,
    total: Arc<Counter>,
    local: Arc<Counter>,
    received: Arc<Counter>,
    answered: Arc<Counter>,
    relayed: Arc<Counter>,
    freed: Arc<Counter>,
    classes: Vec<(&'static str, Arc<Counter>)>,
}

impl Counts {
    pub(super) fn new(statistics: &Statistics) -> Self {
        let counter = |name: &str| statistics.counter("tm", name);
        let class = |class: &'static str| (class, counter(&format!("{class}_transactions")));
        Self {
            active: counter("active_transactions"),
            total: counter("total_transactions"),
            local: counter("UAC_transactions"),
            received: counter("received_replies"),
            answered: counter("local_replies"),
            relayed: counter("relayed_replies"),
            freed: counter("freed_transactions"),
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
    put("current", counts.active.value());
    put("waiting", 0);
    put("total", counts.total.value());
    put("total_local", counts.local.value());
    put("rpl_received", counts.received.value());
    put("rpl_generated", counts.answered.value());
    put("rpl_sent", counts.answered.value() + counts.relayed.value());
    for (class, counter) in &counts.classes {
        put(class, counter.value());
    }
    put("created", counts.total.value());
    put("freed", counts.freed.value());
    put("delayed_free", 0);
    Ok(Value::Object(answer).into())
}
