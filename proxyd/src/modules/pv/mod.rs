//! `loadmodule "pv"`: functions and settings of variables (Kamailio pv); the variables themselves are the core's.

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
use crate::script::pv::dynamic;
use crate::script::pv::vars::Shared;
use crate::script::value::Value;
use crate::script::vars;
use serde_json::json;
use std::sync::Arc;

mod sbranch;
mod xavp;

const NAME: &[Arg] = &[Arg::Text("xname")];
const CHILD: &[Arg] = &[Arg::Text("rname"), Arg::Text("cname")];
const SET_INT: &[Arg] = &[Arg::Text("rname"), Arg::Text("cname"), Arg::Int("ival")];
const SET_TEXT: &[Arg] = &[Arg::Text("rname"), Arg::Text("cname"), Arg::Text("sval")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    fixed: &["varset"],
    params: &[
        Param::List("shvset", "First value of a $shv: name=i:5 or name=s:text."),
        Param::List("varset", "First value of a $var: name=i:5 or name=s:text."),
        Param::Ignored("avp_aliases", "AVP aliases are not kept: use the name itself"),
        Param::Ignored("shv_hash_size", "the table grows by itself"),
    ],
    functions: &[
        Function::anywhere(
            &["pv_isset"],
            &[Arg::Pv("pvar")],
            "True when a variable is not null.",
            pv_isset,
        ),
        Function::anywhere(
            &["pv_unset"],
            &[Arg::Pv("pvar")],
            "Sets a variable to null.",
            pv_unset,
        ),
        Function::anywhere(
            &["is_int"],
            &[Arg::Pv("pvar")],
            "True when a variable holds an integer.",
            is_int,
        ),
        Function::anywhere(
            &["typeof"],
            &[Arg::Pv("pvar"), Arg::Text("vtype")],
            "True when a variable's type is int, str or null.",
            type_of,
        ),
        Function::anywhere(
            &["not_empty"],
            &[Arg::Pv("pvar")],
            "True when a variable holds a text that is not empty.",
            not_empty,
        ),
        Function::anywhere(
            &["pv_evalx"],
            &[Arg::Pv("dst"), Arg::Text("fmt")],
            "Assigns a text whose variables are put in twice.",
            pv_evalx,
        ),
        Function::anywhere(
            &["xavp_copy"],
            &[
                Arg::Text("source_name"),
                Arg::Int("source_index"),
                Arg::Text("destination_name"),
                Arg::OptInt("destination_index"),
            ],
            "Copies an item of an XAVP.",
            xavp::copy,
        ),
        Function::anywhere(
            &["xavp_params_explode"],
            &[Arg::Text("sparams"), Arg::Text("xname")],
            "Makes an XAVP of name=value;….",
            xavp::explode,
        ),
        Function::anywhere(
            &["xavp_xparams_explode"],
            &[Arg::Text("sparams"), Arg::Text("sep"), Arg::Text("xname")],
            "The same with another separator.",
            xavp::explode_with,
        ),
        Function::anywhere(
            &["xavu_params_explode"],
            &[Arg::Text("sparams"), Arg::Text("xname")],
            "Makes an XAVU of name=value;….",
            xavp::explode_xavu,
        ),
        Function::anywhere(
            &["xavp_params_implode"],
            &[Arg::Text("xname"), Arg::Pv("pvname")],
            "Makes name=value;… of an XAVP.",
            xavp::implode,
        ),
        Function::anywhere(
            &["xavp_params_implode_qval"],
            &[Arg::Text("xname"), Arg::Pv("pvname")],
            "The same with quoted values.",
            xavp::implode_quoted,
        ),
        Function::anywhere(
            &["xavu_params_implode"],
            &[Arg::Text("xname"), Arg::Pv("pvname")],
            "Makes name=value;… of an XAVU.",
            xavp::implode_xavu,
        ),
        Function::anywhere(
            &["xavp_slist_explode"],
            &[
                Arg::Text("slist"),
                Arg::Text("sep"),
                Arg::Text("mode"),
                Arg::Text("xname"),
            ],
            "Makes an XAVP of a list: field v; mode t trims.",
            xavp::explode_list,
        ),
        Function::anywhere(
            &["xavp_child_seti"],
            SET_INT,
            "Sets a field of an XAVP.",
            |call| xavp::set_child(call, xavp::XAVP),
        ),
        Function::anywhere(
            &["xavi_child_seti"],
            SET_INT,
            "Sets a field of an XAVI.",
            |call| xavp::set_child(call, xavp::XAVI),
        ),
        Function::anywhere(
            &["xavp_child_sets"],
            SET_TEXT,
            "Sets a field of an XAVP.",
            |call| xavp::set_child(call, xavp::XAVP),
        ),
        Function::anywhere(
            &["xavi_child_sets"],
            SET_TEXT,
            "Sets a field of an XAVI.",
            |call| xavp::set_child(call, xavp::XAVI),
        ),
        Function::anywhere(&["xavp_rm"], NAME, "Removes the first item of an XAVP.", |call| {
            xavp::remove(call, xavp::XAVP)
        }),
        Function::anywhere(&["xavi_rm"], NAME, "Removes the first item of an XAVI.", |call| {
            xavp::remove(call, xavp::XAVI)
        }),
        Function::anywhere(
            &["xavp_rm_all"],
            &[Arg::OptText("xname")],
            "Removes an XAVP, or all.",
            |call| xavp::remove_all(call, xavp::XAVP),
        ),
        Function::anywhere(
            &["xavi_rm_all"],
            &[Arg::OptText("xname")],
            "Removes an XAVI, or all.",
            |call| xavp::remove_all(call, xavp::XAVI),
        ),
        Function::anywhere(&["xavp_child_rm"], CHILD, "Removes a field of an XAVP.", |call| {
            xavp::remove_child(call, xavp::XAVP)
        }),
        Function::anywhere(&["xavi_child_rm"], CHILD, "Removes a field of an XAVI.", |call| {
            xavp::remove_child(call, xavp::XAVI)
        }),
        Function::anywhere(
            &["xavp_lshift"],
            &[Arg::Text("xname"), Arg::OptInt("idx")],
            "Removes an item of an XAVP.",
            xavp::left_shift,
        ),
        Function::anywhere(&["pv_xavp_print"], &[], "Logs all XAVPs.", |call| {
            xavp::print(call, xavp::XAVP)
        }),
        Function::anywhere(&["pv_xavu_print"], &[], "Logs all XAVUs.", |call| {
            xavp::print(call, xavp::XAVU)
        }),
        Function::anywhere(&["pv_xavi_print"], &[], "Logs all XAVIs.", |call| {
            xavp::print(call, xavp::XAVI)
        }),
        Function::anywhere(
            &["pv_var_to_xavp"],
            &[Arg::Text("varname"), Arg::Text("xname")],
            "Copies a $var to an XAVP.",
            xavp::from_var,
        ),
        Function::anywhere(
            &["pv_xavp_to_var"],
            NAME,
            "Copies the fields of an XAVP to $vars.",
            xavp::to_vars,
        ),
        Function::anywhere(
            &["xavp_push_dst"],
            NAME,
            "Sets uri, dst_uri, path, q, flags and socket from an XAVP.",
            sbranch::push_dst,
        ),
        Function::anywhere(
            &["sbranch_set_ruri"],
            &[],
            "Makes the static branch the first one.",
            sbranch::set_ruri,
        ),
        Function::anywhere(
            &["sbranch_append"],
            &[],
            "Appends the static branch.",
            sbranch::append,
        ),
        Function::anywhere(
            &["sbranch_reset"],
            &[],
            "Forgets the static branch.",
            sbranch::reset,
        ),
    ],
    rpcs: &[
        Rpc {
            name: "pv.shvSet",
            doc: "Sets a $shv: name, type (int or str), value.",
            call: shv_set,
        },
        Rpc {
            name: "pv.shvGet",
            doc: "Shows a $shv, or all.",
            call: shv_get,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("pv", "Functions and settings of variables.")
};

/// `name=i:5` or `name=s:text`.
fn preset(name: &'static str, text: &str) -> Result<(String, Value<'static>), InitError> {
    let wrong = || InitError::Param {
        name,
        why: format!("{text:?} is not written name=i:NUMBER or name=s:TEXT"),
    };
    let (variable, value) = text.split_once('=').ok_or_else(wrong)?;
    let value = match value.split_once(':') {
        Some(("i" | "I", digits)) => Value::Int(digits.trim().parse().map_err(|_| wrong())?),
        Some(("s" | "S", text)) => Value::owned(text.as_bytes()),
        _ => return Err(wrong()),
    };
    Ok((variable.trim().to_owned(), value))
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let previous = init.previous::<Shared>();
    let shared = Shared::new(previous.as_deref(), Arc::clone(init.statistics));
    for text in init.list("shvset") {
        let (name, value) = preset("shvset", &text)?;
        // a reload leaves a variable what it has become
        if previous.is_none() || shared.get(name.as_bytes()).is_none() {
            shared.set(name.as_bytes(), value);
        }
    }
    for text in init.list("varset") {
        let (name, value) = preset("varset", &text)?;
        if !init.trial {
            vars::preset(vars::slot(name.as_bytes()), value);
        }
    }
    Ok(Arc::new(shared))
}

fn pv_isset(call: &mut Call<'_, '_>) -> Code {
    Code::from(!call.value(0).is_null())
}

fn pv_unset(call: &mut Call<'_, '_>) -> Code {
    call.assign(0, Value::Null);
    Code::TRUE
}

fn is_int(call: &mut Call<'_, '_>) -> Code {
    Code::from(matches!(call.value(0), Value::Int(_)))
}

fn type_of(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text(1);
    Code::from(match call.value(0) {
        Value::Null => &*wanted == b"null",
        Value::Int(_) => &*wanted == b"int",
        Value::Str(_) => &*wanted == b"str",
    })
}

fn not_empty(call: &mut Call<'_, '_>) -> Code {
    Code::from(matches!(call.value(0), Value::Str(text) if !text.is_empty()))
}

fn pv_evalx(call: &mut Call<'_, '_>) -> Code {
    let text = dynamic::expand(call.env, &call.text(1));
    Code::from(call.assign(0, Value::owned(text)))
}

fn shown(name: &[u8], value: &Value<'_>) -> serde_json::Value {
    let name = String::from_utf8_lossy(name);
    match value {
        Value::Int(n) => json!({"name": name, "type": "int", "value": n}),
        other => json!({"name": name, "type": "string", "value": String::from_utf8_lossy(&other.to_text())}),
    }
}

fn shared(script: &Arc<Script>) -> Result<&Shared, RpcFault> {
    script
        .states
        .get::<Shared>()
        .ok_or_else(|| RpcFault::failed("module pv is not loaded"))
}

fn shv_get(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let shared = shared(script)?;
    match call.opt_str(0)? {
        Some(name) => match shared.get(name.as_bytes()) {
            Some(value) => Ok(RpcReply::Value(shown(name.as_bytes(), &value))),
            None => Err(RpcFault::not_found("Variable not found")),
        },
        None => {
            let items: Vec<_> = shared
                .all()
                .iter()
                .map(|(name, value)| json!({"shv": shown(name, value)}))
                .collect();
            Ok(RpcReply::Value(json!({"items": items})))
        }
    }
}

fn shv_set(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    call.needs(1, "Missing parameter varname (Parameters: varname type value)")?;
    call.needs(2, "Missing parameter type (Parameters: varname type value)")?;
    let (shared, name, kind) = (shared(script)?, call.str(0)?, call.str(1)?);
    let value = match &*kind {
        "int" => {
            let missing =
                |_| RpcFault::failed("Missing integer parameter value (Parameters: varname type value)");
            Value::Int(call.int(2).map_err(missing)?)
        }
        "str" => {
            call.needs(3, "Missing parameter value (Parameters: varname type value)")?;
            Value::owned(call.str(2)?.into_owned().into_bytes())
        }
        _ => return Err(RpcFault::failed("Unknown parameter type (Types: int or str)")),
    };
    if shared.get(name.as_bytes()).is_none() {
        return Err(RpcFault::not_found("Variable not found"));
    }
    shared.set(name.as_bytes(), value);
    Ok(RpcReply::from("Ok. Variable set to new value."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn presets_are_typed() {
        assert_eq!(
            preset("shvset", "a=i:5").expect("an integer"),
            ("a".to_owned(), Value::Int(5))
        );
        assert_eq!(
            preset("shvset", "a=s:x:y").expect("a text"),
            ("a".to_owned(), Value::owned(*b"x:y"))
        );
        for text in ["a", "a=5", "a=i:x", "=q:1"] {
            assert!(preset("shvset", text).is_err(), "{text}");
        }
    }

    #[test]
    fn xavps_are_exploded_and_imploded() {
        let mut stage = Stage::options();
        for (name, args, code, pv, expected) in [
            (
                "xavp_params_explode",
                &["k1=v1;k2=v2;k3", "px"][..],
                1,
                "xavp(px=>k1)",
                "v1",
            ),
            ("xavp_params_explode", &["", "px"], -1, "xavp(px=>k3)", ""),
            (
                "xavp_xparams_explode",
                &["a=1&b=2", "&", "q"],
                1,
                "xavp(q=>b)",
                "2",
            ),
            ("xavp_child_seti", &["d", "num", "7"], 1, "xavp(d=>num)", "7"),
            ("xavp_child_sets", &["d", "str", "v"], 1, "xavp(d=>str)", "v"),
            ("xavp_child_rm", &["d", "str"], 1, "xavp(d=>str)", "NULL"),
            ("xavp_rm", &["d"], 1, "xavp(d=>num)", "NULL"),
            ("xavp_rm", &["d"], -1, "xavp(d=>num)", "NULL"),
            (
                "xavp_slist_explode",
                &["x, y ,z", ",", "t", "sl"],
                1,
                "xavp(sl=>v[1])",
                "y",
            ),
            ("xavp_copy", &["px", "0", "copy"], 1, "xavp(copy=>k2)", "v2"),
            ("xavu_params_explode", &["a=1;b=2", "u"], 1, "xavu(u=>b)", "2"),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), code, "{name}{args:?}");
            assert_eq!(stage.read(pv), expected, "{name}{args:?} ${pv}");
        }
        let list = stage.lists.xavp.item(b"px", 0).expect("exploded");
        assert_eq!(
            xavp::text_of(list, false).as_deref(),
            Some(&b"k1=v1;k2=v2;k3;"[..])
        );
        assert_eq!(
            xavp::text_of(list, true).as_deref(),
            Some(&b"k1=\"v1\";k2=\"v2\";k3=\"\";"[..])
        );
    }

    #[test]
    fn the_static_branch() {
        let mut stage = Stage::options();
        assert_eq!(stage.call(&MODULE, "sbranch_reset", &[]), 1);
        assert_eq!(stage.call(&MODULE, "sbranch_append", &[]), -1);
        stage
            .write("sbranch(uri)", Value::text(b"sip:s@b"))
            .expect("a URI");
        stage
            .write("sbranch(dst_uri)", Value::text(b"sip:hop"))
            .expect("a URI");
        assert_eq!(stage.call(&MODULE, "sbranch_append", &[]), 1);
        assert_eq!(stage.read("branch(dst_uri)"), "sip:hop");
        assert_eq!(stage.call(&MODULE, "sbranch_set_ruri", &[]), 1);
        assert_eq!(
            (stage.read("ru"), stage.read("du")),
            ("sip:s@b".into(), "sip:hop".into())
        );
    }
}
