//! `loadmodule "jansson"`: reading and writing JSON texts (Kamailio module jansson).

use self::path::Path;
use crate::script::lists::Item;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::value::Value;
use serde_json::Map;
use serde_json::Value as Json;

mod path;

const CHANGE: &[Arg] = &[
    Arg::Text("type"),
    Arg::Text("path"),
    Arg::Text("value"),
    Arg::Pv("result"),
];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    functions: &[
        Function::anywhere(
            &["jansson_get"],
            &[Arg::Text("path"), Arg::Text("src"), Arg::Pv("dst")],
            "Puts the value at a path (a.b[0].c) of a JSON text into a variable, which stays as it is when there is none.",
            |call| get(call, 0, 1),
        ),
        Function::anywhere(
            &["jansson_get_field"],
            &[Arg::Text("src"), Arg::Text("path"), Arg::Pv("dst")],
            "The same in another order.",
            |call| get(call, 1, 0),
        ),
        Function::anywhere(
            &["jansson_set"],
            CHANGE,
            "Puts a value at a path of the JSON text in a variable; the type is int, real, str, obj, array, true, false or null.",
            |call| change(call, |json, path, value| path.put(json, value)),
        ),
        Function::anywhere(
            &["jansson_append"],
            CHANGE,
            "Adds a value to the array at a path, or the members of an object to the object there.",
            |call| change(call, append),
        ),
        Function::anywhere(
            &["jansson_array_size"],
            &[Arg::Text("path"), Arg::Text("src"), Arg::Pv("dst")],
            "Puts into a variable how many items the array at a path of a JSON text has.",
            array_size,
        ),
        Function::anywhere(
            &["jansson_xdecode"],
            &[Arg::Text("src"), Arg::Text("xavp")],
            "Makes a JSON object an item of a $xavp, or an array of objects as many.",
            jansson_xdecode,
        ),
        Function::anywhere(
            &["jansson_xencode"],
            &[Arg::Text("xavp"), Arg::Pv("dst")],
            "Puts the newest item of a $xavp into a variable, as a JSON object.",
            jansson_xencode,
        ),
    ],
    ..ModuleDef::new("jansson", "Reading and writing JSON.")
};

/// A JSON object or array.
fn parsed(call: &Call<'_, '_>, text: &[u8]) -> Option<Json> {
    let json = serde_json::from_slice::<Json>(text).ok();
    let json = json.filter(|json| json.is_object() || json.is_array());
    if json.is_none() {
        let text = String::from_utf8_lossy(text);
        crate::log::error(
            "jansson",
            format_args!("{}: {text:?} is no JSON object or array", call.name),
        );
    }
    json
}

/// What a path of a JSON text leads to, both arguments of the call.
fn found(call: &Call<'_, '_>, path: usize, src: usize) -> Option<Json> {
    let mut json = parsed(call, &call.text(src))?;
    let path = call.text(path);
    let path = String::from_utf8_lossy(&path);
    Path::parse(&path)?.of(&mut json).map(Json::take)
}

/// A value as the script sees it; objects and arrays are texts.
fn seen(json: Json) -> Value<'static> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Int(i64::from(yes)),
        Json::String(text) => Value::owned(text.into_bytes()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(real)) if number.is_f64() => Value::owned(real.to_string().into_bytes()),
            _ => Value::owned(number.to_string().into_bytes()),
        },
        other => Value::owned(other.to_string().into_bytes()),
    }
}

fn get(call: &mut Call<'_, '_>, path: usize, src: usize) -> Code {
    match found(call, path, src) {
        Some(json) => call.assign(2, seen(json)).into(),
        None => Code::FALSE,
    }
}

fn array_size(call: &mut Call<'_, '_>) -> Code {
    match found(call, 0, 1) {
        Some(Json::Array(items)) => {
            let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
            call.assign(2, Value::Int(size)).into()
        }
        _ => Code::FALSE,
    }
}

/// The value that text of a type means.
fn typed(kind: &[u8], text: &[u8]) -> Option<Json> {
    let number = || std::str::from_utf8(text).ok();
    match kind {
        // Kamailio: no digits are 0
        b"int" | b"integer" if text.is_empty() => Some(Json::from(0)),
        b"int" | b"integer" => number()?.parse::<i64>().ok().map(Json::from),
        b"real" => {
            let number: f64 = number()?.parse().ok()?;
            serde_json::Number::from_f64(number).map(Json::Number)
        }
        b"str" | b"string" => number().map(Json::from),
        b"obj" | b"object" => serde_json::from_slice(text).ok().filter(Json::is_object),
        b"array" => serde_json::from_slice(text).ok().filter(Json::is_array),
        b"true" => Some(Json::Bool(true)),
        b"false" => Some(Json::Bool(false)),
        b"null" => Some(Json::Null),
        _ => None,
    }
}

fn change(call: &mut Call<'_, '_>, how: fn(&mut Json, &Path<'_>, Json) -> bool) -> Code {
    let Some(value) = typed(&call.text(0), &call.text(2)) else {
        let (kind, value) = (call.value(0), call.value(2));
        crate::log::error(
            "jansson",
            format_args!("{}: {value:?} is no value of type {kind:?}", call.name),
        );
        return Code::FALSE;
    };
    let json = match call.value(3) {
        Value::Str(text) => parsed(call, &text),
        _ => Some(Json::Object(Map::new())),
    };
    let Some(mut json) = json else {
        return Code::FALSE;
    };
    let path = call.text_owned(1);
    let path = String::from_utf8_lossy(&path);
    if !Path::parse(&path).is_some_and(|path| how(&mut json, &path, value)) {
        crate::log::error("jansson", format_args!("{}: no place at {path:?}", call.name));
        return Code::FALSE;
    }
    call.assign(3, Value::owned(json.to_string().into_bytes())).into()
}

/// Adds a value to what is at the path; false when that is neither an array nor, like the value, an object.
fn append(json: &mut Json, path: &Path<'_>, value: Json) -> bool {
    match (path.of(json), value) {
        (Some(Json::Array(items)), value) => items.push(value),
        (Some(Json::Object(members)), Json::Object(more)) => members.extend(more),
        _ => return false,
    }
    true
}

fn jansson_xdecode(call: &mut Call<'_, '_>) -> Code {
    let Some(json) = parsed(call, &call.text(0)) else {
        return Code::FALSE;
    };
    let objects = match json {
        Json::Array(items) => items,
        object => vec![object],
    };
    let root = call.text_owned(1);
    for object in objects {
        if let Json::Object(members) = object {
            // the newest first
            let fields = members.into_iter().rev();
            let fields = fields.map(|(name, value)| (name.into_bytes().into(), seen(value)));
            call.env.lists.xavp.push(&root, Item::Fields(fields.collect()));
        }
    }
    Code::TRUE
}

fn jansson_xencode(call: &mut Call<'_, '_>) -> Code {
    let root = call.text_owned(0);
    let Some(Item::Fields(fields)) = call.env.lists.xavp.item(&root, 0) else {
        crate::log::error(
            "jansson",
            format_args!("{}: no fields in {:?}", call.name, call.value(0)),
        );
        return Code::FALSE;
    };
    let mut members = Map::new();
    for (name, value) in fields {
        let value = match value {
            Value::Null => Json::Null,
            Value::Int(number) => Json::from(*number),
            Value::Str(text) => Json::from(&*String::from_utf8_lossy(text)),
        };
        members.entry(String::from_utf8_lossy(name)).or_insert(value);
    }
    let text = Json::Object(members).to_string();
    call.assign(1, Value::owned(text.into_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn values_are_read() {
        let mut stage = Stage::options();
        let json = r#"{"a":1,"s":"x\"y","n":null,"t":true,"f":1.5,"e":1e3,"l":[1,"two",[3]],"o":{"p":"q"}}"#;
        for (path, shown) in [
            ("a", "1"),
            ("s", "x\"y"),
            ("t", "1"),
            ("f", "1.5"),
            ("e", "1000"),
            ("l", r#"[1,"two",[3]]"#),
            ("l[2][0]", "3"),
            ("o.p", "q"),
        ] {
            assert_eq!(
                stage.call(&MODULE, "jansson_get", &[path, json, "$avp(found)"]),
                1,
                "{path}"
            );
            assert_eq!(stage.read("avp(found)"), shown, "{path}");
            assert_eq!(
                stage.call(&MODULE, "jansson_get_field", &[json, path, "$avp(field)"]),
                1,
                "{path}"
            );
            assert_eq!(stage.read("avp(field)"), shown, "{path}");
        }
        for (path, json) in [("none", json), ("a", "{bad"), ("a", "5"), ("a", "")] {
            assert_eq!(
                stage.call(&MODULE, "jansson_get", &[path, json, "$avp(found)"]),
                -1,
                "{path} {json}"
            );
        }
        for (path, size) in [("l", 1), ("l[2]", 1), ("a", -1), ("none", -1)] {
            assert_eq!(
                stage.call(&MODULE, "jansson_array_size", &[path, json, "$avp(n)"]),
                size,
                "{path}"
            );
        }
        assert_eq!(stage.read("avp(n)"), "1");
    }

    #[test]
    fn values_are_written() {
        let mut stage = Stage::options();
        for (function, kind, path, value, code, result) in [
            ("jansson_set", "string", "s", "it", 1, r#"{"s":"it"}"#),
            ("jansson_set", "int", "n.m", "9", 1, r#"{"s":"it","n":{"m":9}}"#),
            (
                "jansson_set",
                "array",
                "n",
                "[true]",
                1,
                r#"{"s":"it","n":[true]}"#,
            ),
            (
                "jansson_append",
                "real",
                "n",
                "0.5",
                1,
                r#"{"s":"it","n":[true,0.5]}"#,
            ),
            (
                "jansson_set",
                "null",
                "n[0]",
                "",
                1,
                r#"{"s":"it","n":[null,0.5]}"#,
            ),
            (
                "jansson_append",
                "obj",
                "",
                r#"{"n":1,"z":2}"#,
                1,
                r#"{"s":"it","n":1,"z":2}"#,
            ),
            ("jansson_append", "int", "n", "1", -1, r#"{"s":"it","n":1,"z":2}"#),
            ("jansson_set", "int", "z", "1x", -1, r#"{"s":"it","n":1,"z":2}"#),
            (
                "jansson_set",
                "boolean",
                "z",
                "1",
                -1,
                r#"{"s":"it","n":1,"z":2}"#,
            ),
            ("jansson_set", "true", "n.x", "", -1, r#"{"s":"it","n":1,"z":2}"#),
        ] {
            let args = [kind, path, value, "$avp(j)"];
            assert_eq!(stage.call(&MODULE, function, &args), code, "{function} {args:?}");
            assert_eq!(stage.read("avp(j)"), result, "{function} {args:?}");
        }
    }

    #[test]
    fn xavps_are_objects() {
        let mut stage = Stage::options();
        let json = r#"[{"a":1,"b":"x"},7,{"c":[1]}]"#;
        assert_eq!(stage.call(&MODULE, "jansson_xdecode", &[json, "j"]), 1);
        for (name, shown) in [
            ("xavp(j=>c)", "[1]"),
            ("xavp(j[1]=>a)", "1"),
            ("xavp(j[1]=>b)", "x"),
            ("xavp(j[2]=>a)", "NULL"),
        ] {
            assert_eq!(stage.read(name), shown, "{name}");
        }
        assert_eq!(stage.call(&MODULE, "jansson_xencode", &["j", "$avp(r)"]), 1);
        assert_eq!(stage.read("avp(r)"), r#"{"c":"[1]"}"#);
        assert_eq!(stage.call(&MODULE, "jansson_xencode", &["none", "$avp(r)"]), -1);
        assert_eq!(stage.call(&MODULE, "jansson_xdecode", &["{bad", "j"]), -1);
    }
}
