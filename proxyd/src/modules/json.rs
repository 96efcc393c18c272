//! `loadmodule "json"`: members of JSON objects (Kamailio module json; its transformations are `script/transform/json.rs`).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::transform::json::bare;
use crate::script::transform::json::spaced;
use crate::script::value::Value;
use serde_json::Value as Json;

const ARGS: &[Arg] = &[Arg::Text("json"), Arg::Text("field"), Arg::Pv("destination")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    functions: &[
        Function::anywhere(
            &["json_get_field"],
            ARGS,
            "Puts a member of a JSON object into a variable as JSON, strings in quotes; false when it is absent or null.",
            |call| member(call, |json| Value::owned(spaced(&json))),
        ),
        Function::anywhere(
            &["json_get_string"],
            ARGS,
            "The same, a string without its quotes.",
            |call| member(call, bare),
        ),
    ],
    ..ModuleDef::new("json", "Members of JSON objects.")
};

fn member(call: &mut Call<'_, '_>, shown: fn(Json) -> Value<'static>) -> Code {
    let found = {
        let (text, name) = (call.text(0), call.text(1));
        let Ok(mut json) = serde_json::from_slice::<Json>(&text) else {
            crate::log::error(
                "json",
                format_args!("{}: {:?} is no JSON", call.name, call.value(0)),
            );
            return Code::FALSE;
        };
        json.get_mut(&*String::from_utf8_lossy(&name)).map(Json::take)
    };
    match found {
        None | Some(Json::Null) => Code::FALSE,
        Some(json) => call.assign(2, shown(json)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn members() {
        let mut stage = Stage::options();
        let json = r#"{"s":"a\"b","n":1,"t":true,"o":{"l":[]},"null":null}"#;
        for (name, field, string) in [
            ("s", r#""a\"b""#, r#"a"b"#),
            ("n", "1", "1"),
            ("t", "true", "true"),
            ("o", r#"{ "l": [ ] }"#, r#"{ "l": [ ] }"#),
        ] {
            assert_eq!(stage.call(&MODULE, "json_get_field", &[json, name, "$avp(f)"]), 1);
            assert_eq!(
                stage.call(&MODULE, "json_get_string", &[json, name, "$avp(s)"]),
                1
            );
            assert_eq!((&*stage.read("avp(f)"), &*stage.read("avp(s)")), (field, string));
        }
        for (json, name) in [
            (json, "null"),
            (json, "none"),
            ("[1]", "0"),
            ("{bad", "a"),
            ("", ""),
        ] {
            assert_eq!(
                stage.call(&MODULE, "json_get_string", &[json, name, "$avp(s)"]),
                -1,
                "{json} {name}"
            );
        }
    }
}
