//! `rpc METHOD [ARG…]`: any method of the daemon (Kamailio's kamcmd).

use std::io;
use std::io::Write as _;

use clap::Args;
use serde_json::Value;
use shared::report::Output;
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
        return Ok(Answer::report(report_of(context.call(method, params)?)));
    }
    // Written while it arrives: a dump may be larger than memory.
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut json = serde_json::Serializer::pretty(&mut out);
    let copied = context.client().read(method, params, Copy(&mut json));
    copied?;
    match out.write_all(b"\n").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Print(error.to_string())),
        _ => Ok(Answer::printed()),
    }
}

/// A text as a text, not as a string of JSON.
fn report_of(result: Value) -> Report {
    match result {
        Value::String(text) => Report::Text(text),
        Value::Object(object) if object.is_empty() => Report::Text("ok".to_owned()),
        other => Report::Tree(other),
    }
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
