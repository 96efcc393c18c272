//! `stats.*` (Kamailio module kex): counters by group and name.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use shared::rpc::stats;

use super::methods::RpcCall;
use super::methods::RpcDef;
use super::methods::RpcFault;
use super::methods::RpcReply;
use super::methods::RpcResult;
use crate::stats::Statistic;
use crate::stats::Statistics;

/// The methods over a set of counters.
pub fn methods(statistics: &Arc<Statistics>) -> Vec<RpcDef> {
    let def = |name, doc, call: fn(&RpcCall<'_>, &Statistics) -> RpcResult| {
        let statistics = statistics.clone();
        RpcDef::new(name, doc, move |c| call(c, &statistics))
    };
    let what = "Parameters: all, group: or name, any number of them.";
    vec![
        def(
            stats::CLEAR_STATISTICS,
            "Sets counters to nothing and returns what they were.",
            clear,
        ),
        def(stats::FETCH, "Returns counters as text by group.name.", |c, s| {
            fetch(c, s, |n| json!(n.to_string()))
        }),
        def(
            stats::FETCHN,
            "Returns counters as numbers by group.name.",
            |c, s| fetch(c, s, |n| json!(n)),
        ),
        def(stats::GET_STATISTICS, what, get),
        def(
            stats::LIST,
            "Lists the names of counters. Parameters: [group:], any number of them.",
            list,
        ),
        def(stats::RESET_STATISTICS, "Sets counters to nothing.", reset),
    ]
}

fn selected(call: &RpcCall<'_>, statistics: &Statistics) -> Result<Vec<Statistic>, RpcFault> {
    if call.count() == 0 {
        return Err(RpcFault::bad_request("Please provide which stats to retrieve"));
    }
    let mut found = Vec::new();
    for id in call.rest(0) {
        found.extend(statistics.select(&id?));
    }
    Ok(found)
}

fn get(call: &RpcCall<'_>, statistics: &Statistics) -> RpcResult {
    let line = |s: Statistic| Value::from(format!("{}:{} = {}", s.group, s.name, s.value));
    Ok(Value::from(
        selected(call, statistics)?
            .into_iter()
            .map(line)
            .collect::<Vec<_>>(),
    )
    .into())
}

fn fetch(call: &RpcCall<'_>, statistics: &Statistics, show: fn(i64) -> Value) -> RpcResult {
    let member = |s: Statistic| (format!("{}.{}", s.group, s.name), show(s.value));
    let members: Map<String, Value> = selected(call, statistics)?.into_iter().map(member).collect();
    Ok(Value::Object(members).into())
}

fn list(call: &RpcCall<'_>, statistics: &Statistics) -> RpcResult {
    let mut found = Vec::new();
    if call.count() == 0 {
        found = statistics.select("all");
    }
    for id in call.rest(0) {
        let id = id?;
        let mut of_id = statistics.select(&id);
        if of_id.is_empty() {
            of_id = statistics.select(&format!("{id}:"));
        }
        found.extend(of_id);
    }
    let names: Vec<String> = found
        .into_iter()
        .map(|s| format!("{}:{}", s.group, s.name))
        .collect();
    Ok(json!(names).into())
}

fn reset(call: &RpcCall<'_>, statistics: &Statistics) -> RpcResult {
    named(call)?;
    for id in call.rest(0) {
        statistics.reset(&id?);
    }
    Ok(RpcReply::empty())
}

fn named(call: &RpcCall<'_>) -> Result<(), RpcFault> {
    if call.count() == 0 {
        return Err(RpcFault::bad_request("Please provide stats name"));
    }
    Ok(())
}

/// Resets counters and tells what they are now and, where that is another value, what they were.
fn clear(call: &RpcCall<'_>, statistics: &Statistics) -> RpcResult {
    named(call)?;
    let before = selected(call, statistics)?;
    reset(call, statistics)?;
    let after = selected(call, statistics)?;
    let lines = before.into_iter().zip(after).map(|(old, new)| {
        let line = format!("{}:{} = {}", new.group, new.name, new.value);
        if old.value == new.value {
            line
        } else {
            format!("{line} ({})", old.value)
        }
    });
    let mut lines: Vec<String> = lines.collect();
    Ok(match lines.len() {
        0 => RpcReply::empty(),
        1 => Value::from(lines.remove(0)).into(),
        _ => Value::from(lines).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::methods::Peer;

    #[test]
    fn counters_in_every_form() {
        let statistics = Arc::new(Statistics::new());
        statistics.counter("tcp", "established").add(2);
        statistics.counter("tcp", "con_reset").add(1);
        statistics.counter("core", "rcv_requests").add(7);
        let defs = methods(&statistics);
        let peer = Peer::internal();
        let run = |method: &str, params: Value| {
            let params = params.as_array().cloned().unwrap_or_default();
            let def = defs.iter().find(|d| d.name == method).unwrap();
            let reply = (def.call)(&RpcCall {
                method,
                params: &params,
                peer: &peer,
            });
            reply
                .and_then(RpcReply::into_value)
                .map_or_else(|f| f.to_string(), |v| v.to_string())
        };
        let table = [
            (
                "stats.get_statistics",
                json!(["tcp:", "rcv_requests", "no"]),
                r#"["tcp:con_reset = 1","tcp:established = 2","core:rcv_requests = 7"]"#,
            ),
            ("stats.get_statistics", json!(["no"]), "[]"),
            (
                "stats.get_statistics",
                json!([]),
                "400 Please provide which stats to retrieve",
            ),
            (
                "stats.fetch",
                json!(["tcp:"]),
                r#"{"tcp.con_reset":"1","tcp.established":"2"}"#,
            ),
            (
                "stats.fetchn",
                json!(["core.rcv_requests"]),
                r#"{"core.rcv_requests":7}"#,
            ),
            (
                "stats.list",
                json!([]),
                r#"["core:rcv_requests","tcp:con_reset","tcp:established"]"#,
            ),
            (
                "stats.list",
                json!(["tcp"]),
                r#"["tcp:con_reset","tcp:established"]"#,
            ),
            ("stats.reset_statistics", json!(["rcv_requests"]), "{}"),
            (
                "stats.fetchn",
                json!(["rcv_requests"]),
                r#"{"core.rcv_requests":0}"#,
            ),
            (
                "stats.clear_statistics",
                json!(["tcp:"]),
                r#"["tcp:con_reset = 0 (1)","tcp:established = 0 (2)"]"#,
            ),
            (
                "stats.fetchn",
                json!(["tcp.established"]),
                r#"{"tcp.established":0}"#,
            ),
        ];
        for (method, params, expected) in table {
            assert_eq!(run(method, params.clone()), expected, "{method} {params}");
        }
    }
}
