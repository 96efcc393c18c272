//! `rpc METHOD [ARG…]`: any method of the daemon (Kamailio's kamcmd).

use std::io;
use std::io::Write as _;

use clap::Args;
use serde_json::Map;
use serde_json::Value;
use shared::report::Output;
use shared::report::Paint;
use shared::report::Report;
use shared::rpc::argument;

use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::stream::Copy;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl rpc core.version
  proxyctl rpc ul.lookup location alice
  proxyctl rpc htable.sets table key s:123     s: makes text of what reads as a number
  proxyctl ul.dump brief                       the same without `rpc`
  proxyctl rpc system.listMethods              what there is
  proxyctl rpc system.methodHelp ul.add        what a method does

Arguments that read as numbers are sent as numbers; `s:` in front makes text, `i:` an integer, `d:` a fraction.";

/// A call.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// Name of the method
    method: String,
    /// Parameters
    #[arg(allow_negative_numbers = true)]
    params: Vec<String>,
}

/// Calls it.
pub(crate) fn run(context: &Context<'_>, call: &Call) -> Result<Answer, Error> {
    let params: Vec<Value> = call.params.iter().map(|word| argument(word)).collect();
    show(context, method_of(&call.method), &params)
}

/// Calls a method and shows its result as it is.
pub(crate) fn show(context: &Context<'_>, method: &str, params: &[Value]) -> Result<Answer, Error> {
    if context.output != Output::Json {
        let result = context.call(method, params)?;
        return Ok(Answer::report(report_of(result, context.output)));
    }
    // Written while it arrives: a dump may be larger than memory.
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut json = serde_json::Serializer::pretty(&mut out);
    context.stream(method, params, Copy(&mut json))?;
    match out.write_all(b"\n").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Print(error.to_string())),
        _ => Ok(Answer::printed()),
    }
}

/// Calls a method that changes something; what it answers is for the ear only.
pub(crate) fn change(context: &Context<'_>, method: &str, params: &[Value]) -> Result<Answer, Error> {
    let report = report_of(context.call(method, params)?, context.output);
    let form = match context.output {
        Output::Table => Output::Table,
        _ => Output::Plain,
    };
    Ok(Answer {
        words: Some(report.render(form, Paint::of_stdout())),
        data: Some(report),
    })
}

/// A text as a text, not as a string of JSON; lists of objects as rows where rows are wanted.
fn report_of(result: Value, output: Output) -> Report {
    match result {
        Value::String(text) => Report::Text(text),
        Value::Object(object) if object.is_empty() => Report::Text("ok".to_owned()),
        Value::Array(list) if !matches!(output, Output::Json | Output::Yaml) => {
            Report::Tree(Value::Array(list.iter().map(flat).collect()))
        }
        other => Report::Tree(other),
    }
}

/// An object without objects in it: `{"a":{"b":1,"c":{"d":2}}}` becomes `{"b":1,"c.d":2}`.
fn flat(entry: &Value) -> Value {
    fn walk(prefix: &str, object: &Map<String, Value>, out: &mut Map<String, Value>) {
        for (name, value) in object {
            let name = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                Value::Object(inner) => walk(&name, inner, out),
                leaf => {
                    out.insert(name, leaf.clone());
                }
            }
        }
    }
    let Value::Object(mut object) = entry.clone() else {
        return entry.clone();
    };
    // Kamailio: an element of a list of structures is an object with one member that names its kind.
    while object.len() == 1
        && let Some(Value::Object(inner)) = object.values().next()
    {
        object = inner.clone();
    }
    let mut out = Map::new();
    walk("", &object, &mut out);
    Value::Object(out)
}

/// kamcmd's short names.
fn method_of(word: &str) -> &str {
    match word {
        "ps" => "core.psx",
        "ls" | "list" => "system.listMethods",
        "ver" | "version" => "core.version",
        "who" => "ctl.who",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_structures_become_rows() {
        let table = [
            (json!({"a": {"b": 1, "c": {"d": 2}}}), json!({"b": 1, "c.d": 2})),
            (json!({"a": 1, "b": {"c": 2}}), json!({"a": 1, "b.c": 2})),
            (
                json!({"table": 1, "item": {"ip": "x", "port": 0}}),
                json!({"table": 1, "item.ip": "x", "item.port": 0}),
            ),
            (json!("x"), json!("x")),
            (json!({"a": {}}), json!({})),
        ];
        for (entry, expected) in table {
            assert_eq!(flat(&entry), expected);
        }
    }
}
