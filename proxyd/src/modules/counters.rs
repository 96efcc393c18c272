//! `loadmodule "counters"`: counters of the script (Kamailio counters).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::stats::Counter;
use crate::stats::Statistics;
use ahash::AHashMap;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List("script_counter", "A counter: [group.]name[( |:)description]."),
        Param::Text("script_cnt_grp_name", "script", "Group of counters without one."),
    ],
    functions: &[
        Function::anywhere(
            &["cnt_inc"],
            &[Arg::Text("name")],
            "Adds one to a counter.",
            cnt_inc,
        ),
        Function::anywhere(
            &["cnt_add"],
            &[Arg::Text("name"), Arg::Int("number")],
            "Adds a number to a counter.",
            cnt_add,
        ),
        Function::anywhere(
            &["cnt_reset"],
            &[Arg::Text("name")],
            "Sets a counter to 0.",
            cnt_reset,
        ),
    ],
    rpcs: &[
        Rpc {
            name: "cnt.get",
            doc: "A counter's value: group, name.",
            call: rpc_get,
        },
        Rpc {
            name: "cnt.get_raw",
            doc: "A counter's value: group, name.",
            call: rpc_get,
        },
        Rpc {
            name: "cnt.reset",
            doc: "Sets a counter to 0: group, name.",
            call: rpc_reset,
        },
        Rpc {
            name: "cnt.list_groups",
            doc: "All groups.",
            call: rpc_groups,
        },
        Rpc {
            name: "cnt.grps_list",
            doc: "All groups.",
            call: rpc_groups,
        },
        Rpc {
            name: "cnt.list_vars",
            doc: "Names of a group's counters.",
            call: rpc_names,
        },
        Rpc {
            name: "cnt.var_list",
            doc: "Names of a group's counters.",
            call: rpc_names,
        },
        Rpc {
            name: "cnt.get_vars",
            doc: "A group's counters with their values.",
            call: rpc_values,
        },
        Rpc {
            name: "cnt.grp_get_all",
            doc: "A group's counters with their values.",
            call: rpc_values,
        },
        Rpc {
            name: "cnt.help",
            doc: "A counter's description: group, name.",
            call: rpc_help,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("counters", "Counters of the script.")
};

struct Counters {
    statistics: Arc<Statistics>,
    /// By name, and by group and name.
    known: AHashMap<String, Arc<Counter>>,
    help: AHashMap<String, String>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let group = init.text("script_cnt_grp_name");
    let mut counters = Counters {
        statistics: Arc::clone(init.statistics),
        known: AHashMap::new(),
        help: AHashMap::new(),
    };
    for text in init.list("script_counter") {
        let (id, help) = match text.split_once([' ', ':']) {
            Some((id, help)) => (id, help.trim()),
            None => (text.as_str(), "custom script counter."),
        };
        let (own, name) = id.split_once('.').unwrap_or((&group, id));
        if own.is_empty() || name.is_empty() {
            let why = format!("{text:?} is not written [group.]name[( |:)description]");
            return Err(InitError::Param {
                name: "script_counter",
                why,
            });
        }
        let counter = counters.statistics.counter(own, name);
        counters.known.insert(id.to_owned(), Arc::clone(&counter));
        counters.known.insert(format!("{own}.{name}"), counter);
        counters.help.insert(format!("{own}.{name}"), help.to_owned());
    }
    Ok(Arc::new(counters))
}

fn with_counter(call: &Call<'_, '_>, work: impl FnOnce(&Counter)) -> Code {
    let name = call.text(0);
    let name = std::str::from_utf8(&name).unwrap_or_default();
    match call
        .state::<Counters>()
        .and_then(|counters| counters.known.get(name))
    {
        Some(counter) => {
            work(counter);
            Code::TRUE
        }
        None => {
            crate::log::error(
                "counters",
                format_args!(
                    "{}: counter {name:?} is not declared by script_counter",
                    call.name
                ),
            );
            Code::FALSE
        }
    }
}

fn cnt_inc(call: &mut Call<'_, '_>) -> Code {
    with_counter(call, Counter::inc)
}

fn cnt_add(call: &mut Call<'_, '_>) -> Code {
    let number = call.int(1);
    with_counter(call, |counter| counter.add(number))
}

fn cnt_reset(call: &mut Call<'_, '_>) -> Code {
    with_counter(call, |counter| counter.set(0))
}

fn counters(script: &Arc<Script>) -> Result<&Counters, RpcFault> {
    script
        .states
        .get::<Counters>()
        .ok_or_else(|| RpcFault::failed("module counters is not loaded"))
}

/// `group.name` of the first two parameters.
fn id(call: &RpcCall<'_>) -> Result<String, RpcFault> {
    Ok(format!("{}.{}", call.str(0)?, call.str(1)?))
}

fn unknown(id: &str) -> RpcFault {
    // Kamailio: the text ends its line.
    RpcFault::bad_request(format!("non-existent counter {id}\n"))
}

fn rpc_get(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    if call.opt_str(1)?.is_none() {
        return rpc_values(call, script);
    }
    let id = id(call)?;
    match counters(script)?.statistics.value(&id) {
        Some(value) => Ok(RpcReply::Value(value.into())),
        None => Err(unknown(&id)),
    }
}

fn rpc_reset(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let (id, statistics) = (id(call)?, &counters(script)?.statistics);
    if statistics.value(&id).is_none() {
        return Err(unknown(&id));
    }
    statistics.reset(&id);
    Ok(RpcReply::empty())
}

fn rpc_groups(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    Ok(RpcReply::Value(counters(script)?.statistics.groups().into()))
}

fn rpc_names(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let all = counters(script)?.statistics.select(&format!("{}:", call.str(0)?));
    Ok(RpcReply::Value(
        all.into_iter().map(|one| one.name).collect::<Vec<_>>().into(),
    ))
}

fn rpc_values(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let all = counters(script)?.statistics.select(&format!("{}:", call.str(0)?));
    let members = all.into_iter().map(|one| (one.name, one.value.into())).collect();
    Ok(RpcReply::Value(serde_json::Value::Object(members)))
}

fn rpc_help(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let (id, counters) = (id(call)?, counters(script)?);
    if counters.statistics.value(&id).is_none() {
        return Err(unknown(&id));
    }
    let known = counters.help.get(&id).map(String::as_str);
    Ok(RpcReply::from(
        known.unwrap_or("kamailio statistic (no description)"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn counters_count() {
        let statistics = Arc::new(Statistics::new());
        let counter = statistics.counter("script", "c1");
        let known = [("c1".to_owned(), Arc::clone(&counter))].into_iter().collect();
        let state = Counters {
            statistics,
            known,
            help: AHashMap::new(),
        };
        let mut stage = Stage::options().with(Arc::new(state));
        for (name, args, expected, value) in [
            ("cnt_inc", &["c1"][..], 1, 1),
            ("cnt_add", &["c1", "4"], 1, 5),
            ("cnt_inc", &["nope"], -1, 5),
            ("cnt_reset", &["c1"], 1, 0),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
            assert_eq!(counter.value(), value, "{name}{args:?}");
        }
    }
}
