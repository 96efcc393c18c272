//! `loadmodule "kex"`: flags, next hop, `is_myself`, debug level (Kamailio kex); its RPCs are the core's.

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Loaded;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::ParamValue;
use crate::script::module::Routes;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::value::Value;
use serde_json::json;
use shared::net::Transport;
use shared::sip::Scheme;
use shared::sip::Uri;
use std::cell::Cell;
use std::sync::Arc;

const BRANCH_FLAG: &[Arg] = &[Arg::Flag("flag"), Arg::OptInt("branch")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    functions: &[
        Function::anywhere(
            &["setsflag"],
            &[Arg::Flag("flag")],
            "Sets a flag of the script.",
            |call| with_flag(call, |flags, bit| *flags |= bit),
        ),
        Function::anywhere(
            &["resetsflag"],
            &[Arg::Flag("flag")],
            "Clears a flag of the script.",
            |call| with_flag(call, |flags, bit| *flags &= !bit),
        ),
        Function::anywhere(
            &["issflagset"],
            &[Arg::Flag("flag")],
            "True when a flag of the script is set.",
            issflagset,
        ),
        Function::anywhere(
            &["setbflag"],
            BRANCH_FLAG,
            "Sets a flag of a branch, 0 the first.",
            |call| with_branch(call, |flags, bit| *flags |= bit),
        ),
        Function::anywhere(
            &["resetbflag"],
            BRANCH_FLAG,
            "Clears a flag of a branch.",
            |call| with_branch(call, |flags, bit| *flags &= !bit),
        ),
        Function::anywhere(
            &["isbflagset"],
            BRANCH_FLAG,
            "True when a flag of a branch is set.",
            isbflagset,
        ),
        Function::anywhere(
            &["setdsturi"],
            &[Arg::Text("uri")],
            "Sets the next hop.",
            setdsturi,
        ),
        Function::anywhere(&["resetdsturi"], &[], "Clears the next hop.", resetdsturi),
        Function::anywhere(
            &["isdsturiset"],
            &[],
            "True when there is a next hop.",
            isdsturiset,
        ),
        Function::anywhere(
            &["pv_printf", "avp_printf"],
            &[Arg::Pv("var"), Arg::Text("str")],
            "Assigns a text.",
            pv_printf,
        ),
        Function::anywhere(
            &["is_myself"],
            &[Arg::Text("uri")],
            "True when a URI's host and port are ours.",
            is_myself,
        ),
        Function::anywhere(
            &["is_myhost"],
            &[Arg::Text("uri")],
            "True when a URI's host is ours, whatever its port.",
            is_myhost,
        ),
        Function::anywhere(
            &["setdebug"],
            &[Arg::Int("level")],
            "Sets the log level while this worker runs the script.",
            setdebug,
        ),
        Function::anywhere(&["resetdebug"], &[], "Gives the log level back.", resetdebug),
        Function {
            names: &["km_append_branch"],
            args: &[Arg::OptText("uri")],
            routes: Routes::REQUEST.or(Routes::FAILURE),
            doc: "Appends a branch.",
            call: super::corex::append_branch,
        },
    ],
    rpcs: &[
        Rpc {
            name: "modparam.list",
            doc: "The parameters of the loaded modules, or of one: name, type and value.",
            call: list_params,
        },
        Rpc {
            name: "modparam.getn",
            doc: "A number among parameters: module, name.",
            call: |call, script| param_of(call, script, Wanted::Number),
        },
        Rpc {
            name: "modparam.gets",
            doc: "A text among parameters: module, name.",
            call: |call, script| param_of(call, script, Wanted::Text),
        },
    ],
    ..ModuleDef::new("kex", "Flags, next hop, myself, debug level.")
};

/// The value of a parameter as the script set it, else its default; none for one without effect.
fn value_of(module: &Loaded, param: &Param) -> Option<(&'static str, serde_json::Value)> {
    let given = module.params.of(param.name()).last();
    let text = |bytes: &[u8]| json!(String::from_utf8_lossy(bytes));
    Some(match (param, given) {
        (Param::Ignored(..), _) => return None,
        (Param::Int(..), Some(ParamValue::Int(n))) => ("int", json!(n)),
        (Param::Int(_, default, _), None) => ("int", json!(default)),
        (_, Some(ParamValue::Int(n))) => ("string", json!(n.to_string())),
        (_, Some(ParamValue::Text(given))) => ("string", text(given)),
        (Param::Text(_, default, _) | Param::Pv(_, default, _), None) => ("string", json!(default)),
        (Param::List(..), None) => ("string", json!("")),
    })
}

fn list_params(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let wanted = call.opt_str(0)?;
    let modules = script
        .modules
        .iter()
        .filter(|module| wanted.as_deref().is_none_or(|name| name == module.def.name));
    let mut answer = serde_json::Map::new();
    for module in modules {
        let params = module.def.params.iter().filter_map(|param| {
            let (kind, value) = value_of(module, param)?;
            Some(json!({ "name": param.name(), "type": kind, "value": value }))
        });
        answer.insert(module.def.name.to_owned(), params.collect());
    }
    if answer.is_empty() && wanted.is_some() {
        return Err(RpcFault::not_found("module not found"));
    }
    Ok(RpcReply::Value(answer.into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Number,
    Text,
}

fn param_of(call: &RpcCall<'_>, script: &Arc<Script>, wanted: Wanted) -> RpcResult {
    let (module, name) = (call.str(0)?, call.str(1)?);
    let module = script.modules.iter().find(|known| known.def.name == module);
    let module = module.ok_or_else(|| RpcFault::not_found("module not found"))?;
    let param = module.def.params.iter().find(|param| param.name() == name);
    let found = param.and_then(|param| value_of(module, param));
    let (kind, value) = found.ok_or_else(|| RpcFault::not_found("parameter not found"))?;
    if (kind == "int") != (wanted == Wanted::Number) {
        return Err(RpcFault::bad_request(format!("the parameter's type is {kind}")));
    }
    Ok(RpcReply::Value(value))
}

/// The bit of a flag's number.
fn bit(number: i64) -> Option<u32> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number < 32)
        .map(|number| 1 << number)
}

fn with_flag(call: &mut Call<'_, '_>, change: impl FnOnce(&mut u32, u32)) -> Code {
    let Some(bit) = bit(call.int(0)) else {
        return Code::FALSE;
    };
    change(&mut call.env.ctx.sflags, bit);
    Code::TRUE
}

fn issflagset(call: &mut Call<'_, '_>) -> Code {
    Code::from(bit(call.int(0)).is_some_and(|bit| call.env.ctx.sflags & bit != 0))
}

/// The flags of the branch in argument 1, and the bit of argument 0.
fn branch_flags<'c>(call: &'c mut Call<'_, '_>) -> Option<(&'c mut u32, u32)> {
    let (bit, branch) = (bit(call.int(0))?, call.int(1));
    let ctx = &mut *call.env.ctx;
    match usize::try_from(branch).ok()?.checked_sub(1) {
        None => Some((&mut ctx.bflags, bit)),
        Some(at) => Some((&mut ctx.branches.get_mut(at)?.flags, bit)),
    }
}

fn with_branch(call: &mut Call<'_, '_>, change: impl FnOnce(&mut u32, u32)) -> Code {
    let Some((flags, bit)) = branch_flags(call) else {
        return Code::FALSE;
    };
    change(flags, bit);
    Code::TRUE
}

fn isbflagset(call: &mut Call<'_, '_>) -> Code {
    Code::from(branch_flags(call).is_some_and(|(flags, bit)| *flags & bit != 0))
}

fn setdsturi(call: &mut Call<'_, '_>) -> Code {
    let uri = call.text_owned(0);
    if Uri::parse(&uri).is_err() {
        crate::log::error(
            "kex",
            format_args!("setdsturi: {:?} is no URI", uri.escape_ascii().to_string()),
        );
        return Code::FALSE;
    }
    call.env.ctx.set_dst_uri(Some(uri));
    Code::TRUE
}

fn resetdsturi(call: &mut Call<'_, '_>) -> Code {
    call.env.ctx.set_dst_uri(None);
    Code::TRUE
}

fn isdsturiset(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.ctx.dst_uri.is_some())
}

fn pv_printf(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(1);
    Code::from(call.assign(0, Value::owned(text)))
}

/// Host, port and transport of a URI, or of a host.
fn address(text: &[u8]) -> (Vec<u8>, u16, Option<Transport>) {
    match Uri::parse(text) {
        Ok(uri) if matches!(uri.scheme, Scheme::Sip | Scheme::Sips) => {
            let transport = uri.param(b"transport").flatten().and_then(Transport::from_bytes);
            (uri.host.to_vec(), uri.port.unwrap_or(0), transport)
        }
        // Kamailio: all of it is the host then, a port too
        _ => (text.to_vec(), 0, None),
    }
}

fn is_myself(call: &mut Call<'_, '_>) -> Code {
    let (host, port, transport) = address(call.text(0).trim_ascii());
    let sockets = call.env.host.sockets();
    // a socket of another transport does not make a URI ours, a name does
    let listens = sockets.is_local(&host, port, None) && !sockets.is_local(&host, port, transport);
    Code::from(!listens && call.env.is_myself(&host, port))
}

fn is_myhost(call: &mut Call<'_, '_>) -> Code {
    let (host, ..) = address(call.text(0).trim_ascii());
    Code::from(call.env.is_myself(&host, 0))
}

thread_local! {
    /// The level that `resetdebug()` gives back.
    static BEFORE: Cell<Option<i32>> = const { Cell::new(None) };
}

fn setdebug(call: &mut Call<'_, '_>) -> Code {
    let Ok(level) = i32::try_from(call.int(0)) else {
        return Code::FALSE;
    };
    if BEFORE.get().is_none() {
        BEFORE.set(Some(crate::log::level()));
    }
    crate::log::set_level(level);
    Code::TRUE
}

fn resetdebug(_: &mut Call<'_, '_>) -> Code {
    if let Some(level) = BEFORE.take() {
        crate::log::set_level(level);
    }
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn kamailio_answers_the_same() {
        let mut stage = Stage::options();
        for (name, args, expected) in [
            ("is_myself", &["sip:a@test.lan"][..], 1),
            ("is_myself", &["test.lan"], 1),
            ("is_myself", &["sip:a@o.lan"], -1),
            ("is_myself", &["udp:127.0.0.1:5060"], -1),
            ("is_myself", &["127.0.0.1:5060"], -1),
            ("is_myself", &["127.0.0.1"], 1),
            ("is_myself", &["sip:127.0.0.1:5060;transport=udp"], 1),
            ("is_myself", &["sip:127.0.0.1:5060;transport=tcp"], -1),
            ("is_myself", &["sip:a@127.0.0.1:5061"], -1),
            ("is_myhost", &["sip:a@127.0.0.1:5061"], 1),
            ("setdsturi", &["sip:1.1.1.1"], 1),
            ("isdsturiset", &[], 1),
            ("resetdsturi", &[], 1),
            ("isdsturiset", &[], -1),
            ("issflagset", &["3"], -1),
            ("setsflag", &["3"], 1),
            ("issflagset", &["3"], 1),
            ("resetsflag", &["3"], 1),
            ("setbflag", &["2"], 1),
            ("isbflagset", &["2"], 1),
            ("isbflagset", &["2", "0"], 1),
            ("setbflag", &["2", "1"], -1),
            ("km_append_branch", &["sip:b@b"], 1),
            ("setbflag", &["2", "1"], 1),
            ("isbflagset", &["2", "1"], 1),
            ("setbflag", &["40"], -1),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
        }
    }
}
