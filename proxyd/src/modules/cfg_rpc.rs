//! `loadmodule "cfg_rpc"`: custom parameters shown and changed at run time (Kamailio cfg_rpc).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ParamValue;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::pv::custom::Changed;
use crate::script::pv::custom::Id;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    rpcs: &[
        Rpc {
            name: "cfg.list",
            doc: "Names of the parameters, or those of a group.",
            call: list,
        },
        Rpc {
            name: "cfg.get",
            doc: "The value of a parameter (group, name), or those of a group.",
            call: get,
        },
        Rpc {
            name: "cfg.help",
            doc: "The description of a parameter: group, name.",
            call: help,
        },
        Rpc {
            name: "cfg.diff",
            doc: "Parameters whose change waits for cfg.commit, with both values.",
            call: diff,
        },
        Rpc {
            name: "cfg.set",
            doc: "Sets a parameter: group, name, value.",
            call: |call, script| set_any(call, script, set),
        },
        Rpc {
            name: "cfg.seti",
            doc: "Sets an integer parameter: group, name, value.",
            call: |call, script| set_int(call, script, set),
        },
        Rpc {
            name: "cfg.sets",
            doc: "Sets a text parameter: group, name, value.",
            call: |call, script| set_text(call, script, set),
        },
        Rpc {
            name: "cfg.set_now_int",
            doc: "Sets an integer parameter: group, name, value.",
            call: |call, script| set_int(call, script, set),
        },
        Rpc {
            name: "cfg.set_now_string",
            doc: "Sets a text parameter: group, name, value.",
            call: |call, script| set_text(call, script, set),
        },
        Rpc {
            name: "cfg.set_delayed",
            doc: "Sets a parameter at the next cfg.commit: group, name, value.",
            call: |call, script| set_any(call, script, delay),
        },
        Rpc {
            name: "cfg.set_delayed_int",
            doc: "Sets an integer parameter at the next cfg.commit: group, name, value.",
            call: |call, script| set_int(call, script, delay),
        },
        Rpc {
            name: "cfg.set_delayed_string",
            doc: "Sets a text parameter at the next cfg.commit: group, name, value.",
            call: |call, script| set_text(call, script, delay),
        },
        Rpc {
            name: "cfg.reset",
            doc: "Gives a group, or one parameter, its value of the script again.",
            call: |call, script| reset(call, script, Changed::reset),
        },
        Rpc {
            name: "cfg.del",
            doc: "Gives a parameter its value of the script again: group, name.",
            call: |call, script| reset(call, script, Changed::reset),
        },
        Rpc {
            name: "cfg.del_delayed",
            doc: "Gives a parameter its value of the script again at the next cfg.commit: group, name.",
            call: |call, script| {
                reset(call, script, |changed, group, name| {
                    changed.delay(group, name, None);
                })
            },
        },
        Rpc {
            name: "cfg.commit",
            doc: "Makes the changes that wait.",
            call: commit,
        },
        Rpc {
            name: "cfg.rollback",
            doc: "Forgets the changes that wait.",
            call: |_, script| {
                changed(script)?.take_waiting();
                Ok(RpcReply::empty())
            },
        },
    ],
    init: Some(init),
    ..ModuleDef::new("cfg_rpc", "Custom parameters shown and changed at run time.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let changed = Changed::default();
    // what was changed stays changed, for parameters that the new script still has
    if let Some(previous) = init.previous::<Changed>() {
        for ((group, name), value) in previous.all() {
            if init
                .program
                .custom(&group, &name)
                .is_some_and(|own| same_kind(own, &value))
            {
                changed.set(&group, &name, value);
            }
        }
    }
    Ok(Arc::new(changed))
}

fn same_kind(a: &ParamValue, b: &ParamValue) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn changed(script: &Arc<Script>) -> Result<&Changed, RpcFault> {
    script
        .states
        .get::<Changed>()
        .ok_or_else(|| RpcFault::failed("module cfg_rpc is not loaded"))
}

fn shown(value: &ParamValue) -> Value {
    match value {
        ParamValue::Int(n) => json!(n),
        ParamValue::Text(text) => json!(String::from_utf8_lossy(text)),
    }
}

/// The value of a parameter as it stands; of the core's, only `debug` can be changed.
fn current(script: &Arc<Script>, group: &str, name: &str) -> Option<Value> {
    if (group, name) == ("core", "debug") {
        return Some(json!(crate::log::level()));
    }
    let changed = script
        .states
        .get::<Changed>()
        .and_then(|changed| changed.get(group, name));
    changed
        .as_ref()
        .or_else(|| script.program.custom(group, name))
        .map(shown)
}

fn list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let wanted = call.opt_str(0)?;
    let fits = |group: &str| wanted.as_ref().is_none_or(|wanted| wanted == group);
    let mut names: Vec<String> = Vec::new();
    if fits("core") {
        names.push("core: debug".to_owned());
    }
    let customs = script.program.customs().filter(|(group, ..)| fits(group));
    names.extend(customs.map(|(group, name, ..)| format!("{group}: {name}")));
    Ok(RpcReply::Value(json!(names)))
}

fn get(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(1, "Failed to get the parameters")?;
    let (group, name) = (call.str(0)?, call.opt_str(1)?);
    let missing = || RpcFault::bad_request("Failed to get the variable");
    let Some(name) = name else {
        let customs = script.program.customs().map(|(group, name, ..)| (group, name));
        let all = customs
            .chain([("core", "debug")])
            .filter(|(own, _)| *own == group);
        let members: Map<String, Value> = all
            .filter_map(|(group, name)| Some((name.to_owned(), current(script, group, name)?)))
            .collect();
        return if members.is_empty() {
            Err(missing())
        } else {
            Ok(RpcReply::Value(Value::Object(members)))
        };
    };
    current(script, &group, &name)
        .map(RpcReply::Value)
        .ok_or_else(missing)
}

fn help(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let (group, name) = (call.str(0)?, call.str(1)?);
    let mut customs = script.program.customs();
    if (&*group, &*name) == ("core", "debug") {
        return Ok(RpcReply::Value(json!([
            "debug level",
            "(parameter type is integer)"
        ])));
    }
    match customs.find(|(own, own_name, ..)| *own == group && *own_name == name) {
        Some((_, _, value, description)) => {
            let kind = if matches!(value, ParamValue::Int(_)) {
                "integer"
            } else {
                "string"
            };
            Ok(RpcReply::Value(json!([
                description,
                format!("(parameter type is {kind})")
            ])))
        }
        None => Err(RpcFault::bad_request("Failed to get the variable description")),
    }
}

/// What becomes of a value that fits its parameter.
type Setting = fn(&Arc<Script>, &str, &str, ParamValue) -> RpcResult;

fn set(script: &Arc<Script>, group: &str, name: &str, value: ParamValue) -> RpcResult {
    match (group, name, value) {
        ("core", "debug", ParamValue::Int(level)) => {
            crate::log::set_level(i32::try_from(level).unwrap_or(i32::MAX));
        }
        (_, _, value) => changed(script)?.set(group, name, value),
    }
    Ok(RpcReply::empty())
}

fn delay(script: &Arc<Script>, group: &str, name: &str, value: ParamValue) -> RpcResult {
    changed(script)?.delay(group, name, Some(value));
    Ok(RpcReply::empty())
}

fn commit(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let changed = changed(script)?;
    for ((group, name), value) in changed.take_waiting() {
        match value {
            Some(value) => {
                set(script, &group, &name, value)?;
            }
            None => changed.reset(&group, &name),
        }
    }
    Ok(RpcReply::empty())
}

fn diff(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let row = |((group, name), new): (Id, Option<ParamValue>)| {
        let old = current(script, &group, &name);
        let new = new
            .as_ref()
            .or_else(|| script.program.custom(&group, &name))
            .map(shown);
        json!({ "group name": group, "variable name": name, "old value": old, "new value": new })
    };
    let mut rows: Vec<Value> = changed(script)?.waiting().into_iter().map(row).collect();
    Ok(match rows.len() {
        0 => RpcReply::empty(),
        // Kamailio: a structure for each change, of which JSON keeps one
        1 => RpcReply::Value(rows.remove(0)),
        _ => RpcReply::Value(json!(rows)),
    })
}

fn refused() -> RpcFault {
    RpcFault::bad_request("Failed to set the variable")
}

/// The value as its parameter takes it.
fn fitting(script: &Arc<Script>, group: &str, name: &str, value: ParamValue) -> Result<ParamValue, RpcFault> {
    let level = ParamValue::Int(0);
    let own = match (group, name) {
        ("core", "debug") => &level,
        _ => script.program.custom(group, name).ok_or_else(refused)?,
    };
    Ok(match (own, value) {
        (ParamValue::Int(_), ParamValue::Text(text)) => {
            let number = std::str::from_utf8(&text)
                .ok()
                .and_then(|digits| digits.trim().parse().ok());
            ParamValue::Int(number.ok_or_else(refused)?)
        }
        (ParamValue::Text(_), ParamValue::Int(n)) => ParamValue::Text(n.to_string().into_bytes()),
        (_, value) => value,
    })
}

fn set_int(call: &RpcCall<'_>, script: &Arc<Script>, setting: Setting) -> RpcResult {
    let (group, name, value) = (call.str(0)?, call.str(1)?, ParamValue::Int(integer(call)?));
    setting(script, &group, &name, fitting(script, &group, &name, value)?)
}

/// The value to set; text is no integer, but none at all is a mistake of its own.
fn integer(call: &RpcCall<'_>) -> Result<i64, RpcFault> {
    match call.value(2) {
        Some(_) => call
            .int(2)
            .map_err(|_| RpcFault::bad_request("Failed to set the variable")),
        None => call.int(2),
    }
}

fn set_text(call: &RpcCall<'_>, script: &Arc<Script>, setting: Setting) -> RpcResult {
    let (group, name, text) = (call.str(0)?, call.str(1)?, call.str(2)?);
    let value = ParamValue::Text(text.into_owned().into_bytes());
    setting(script, &group, &name, fitting(script, &group, &name, value)?)
}

fn set_any(call: &RpcCall<'_>, script: &Arc<Script>, setting: Setting) -> RpcResult {
    let number = call.value(2).and_then(Value::as_i64);
    if number.is_some() {
        set_int(call, script, setting)
    } else {
        set_text(call, script, setting)
    }
}

fn reset(call: &RpcCall<'_>, script: &Arc<Script>, reset: fn(&Changed, &str, &str)) -> RpcResult {
    let (group, name, changed) = (call.str(0)?, call.opt_str(1)?, changed(script)?);
    let mut found = false;
    for (own, own_name, ..) in script.program.customs() {
        if own == group && name.as_ref().is_none_or(|name| name == own_name) {
            reset(changed, own, own_name);
            found = true;
        }
    }
    if found {
        Ok(RpcReply::empty())
    } else {
        Err(RpcFault::bad_request("Failed to reset the variable"))
    }
}
