//! `loadmodule "debugger"`: levels by module (Kamailio debugger); single steps are `proxyctl explain`.

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::log::Level;
use crate::script::lists::Item;
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
use serde_json::json;
use std::sync::Arc;

const TRACE: &str = "a message's way through the script is shown by proxyctl explain";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("mod_level_mode", 0, "Follow mod_level."),
        Param::List("mod_level", "Log level of a module: name=level."),
        Param::Ignored("cfgtrace", TRACE),
        Param::Ignored("cfgtrace_format", TRACE),
        Param::Ignored("breakpoint", TRACE),
        Param::Ignored("log_level", TRACE),
        Param::Ignored("log_level_name", TRACE),
        Param::Ignored("log_facility", TRACE),
        Param::Ignored("log_prefix", TRACE),
        Param::Ignored("step_usleep", TRACE),
        Param::Ignored("step_loops", TRACE),
        Param::Ignored("mod_hash_size", "the table grows by itself"),
        Param::Ignored(
            "mod_facility_mode",
            "all lines share the facility of log_facility",
        ),
        Param::Ignored("mod_facility", "all lines share the facility of log_facility"),
        Param::Ignored("log_assign", TRACE),
        Param::Ignored("cfgpkgcheck", "memory is checked by the compiler"),
        Param::Ignored("reset_msgid", "messages are numbered on"),
        Param::Ignored("cfgtest", TRACE),
    ],
    functions: &[
        Function::anywhere(
            &["dbg_breakpoint"],
            &[Arg::Text("mode")],
            "Accepted: scripts do not stop.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["dbg_pv_dump"],
            &[Arg::OptInt("mask"), Arg::OptText("level")],
            "Logs AVPs and XAVPs.",
            dbg_pv_dump,
        ),
        Function::anywhere(
            &["dbg_sip_msg"],
            &[Arg::OptText("log_level"), Arg::OptText("facility")],
            "Logs the message with its edits.",
            dbg_sip_msg,
        ),
    ],
    rpcs: &[
        Rpc {
            name: "dbg.mod_level",
            doc: "Sets the log level of a module: name, level.",
            call: set_level,
        },
        Rpc {
            name: "dbg.set_mod_level",
            doc: "Sets the log level of a module: name, level.",
            call: set_level,
        },
        Rpc {
            name: "dbg.get_mod_level",
            doc: "The log level of a module.",
            call: get_level,
        },
        Rpc {
            name: "dbg.reset_msgid",
            doc: "Accepted: messages are numbered on.",
            call: |_, _| Ok(RpcReply::empty()),
        },
        Rpc {
            name: "dbg.ls",
            doc: "Workers that stop at breakpoints: none.",
            call: |_, _| Ok(RpcReply::Value(json!([]))),
        },
    ],
    init: Some(init),
    ..ModuleDef::new("debugger", "Log levels by module.")
};

/// The module has no state of its own; levels live in the log.
struct Debugger;

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    for text in init.list("mod_level") {
        let level = text
            .split_once('=')
            .and_then(|(module, level)| Some((module.trim(), level.trim().parse::<i32>().ok()?)));
        let Some((module, level)) = level else {
            return Err(InitError::Param {
                name: "mod_level",
                why: format!("{text:?} is not written name=level"),
            });
        };
        if init.int("mod_level_mode") != 0 {
            crate::log::set_module_level(module, Some(level));
        }
    }
    Ok(Arc::new(Debugger))
}

/// A level by its name; DEBUG when none is given.
fn level_of(call: &Call<'_, '_>, n: usize) -> Level {
    let name = call.text(n);
    let name = std::str::from_utf8(&name).unwrap_or_default();
    Level::from_name(name.strip_prefix("L_").unwrap_or(name)).unwrap_or(Level::Debug)
}

fn dbg_sip_msg(call: &mut Call<'_, '_>) -> Code {
    let level = level_of(call, 0);
    if crate::log::enabled_for("debugger", level) {
        let text = call.env.ctx.lumps.apply(&call.env.ctx.msg);
        crate::log::write(
            level,
            "debugger",
            format_args!("{}", String::from_utf8_lossy(&text)),
        );
    }
    Code::TRUE
}

fn dbg_pv_dump(call: &mut Call<'_, '_>) -> Code {
    let level = level_of(call, 1);
    if !crate::log::enabled_for("debugger", level) {
        return Code::TRUE;
    }
    for (name, value) in call.env.lists.all_avps() {
        let value = value.to_text();
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(&value));
        crate::log::write(level, "debugger", format_args!("$avp({name}) = {value}"));
    }
    for (name, item) in call.env.lists.xavp.iter() {
        let name = String::from_utf8_lossy(name);
        match item {
            Item::Plain(value) => {
                let value = value.to_text();
                crate::log::write(
                    level,
                    "debugger",
                    format_args!("$xavp({name}) = {}", String::from_utf8_lossy(&value)),
                );
            }
            Item::Fields(fields) => {
                for (field, value) in fields {
                    let (field, value) = (String::from_utf8_lossy(field), value.to_text());
                    let value = String::from_utf8_lossy(&value);
                    crate::log::write(
                        level,
                        "debugger",
                        format_args!("$xavp({name}=>{field}) = {value}"),
                    );
                }
            }
        }
    }
    Code::TRUE
}

fn set_level(call: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    let level = i32::try_from(call.int(1)?).map_err(|_| RpcFault::bad_request("level is out of range"))?;
    crate::log::set_module_level(&call.str(0)?, Some(level));
    Ok(RpcReply::from("200 ok"))
}

fn get_level(call: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    let module = call.str(0)?;
    let level = crate::log::module_level(&module).unwrap_or_else(crate::log::level);
    Ok(RpcReply::Value(serde_json::Value::Object(
        [(module.into_owned(), json!(level))].into_iter().collect(),
    )))
}
