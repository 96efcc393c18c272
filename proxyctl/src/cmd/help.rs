//! `help`: the reference pages of modules, as the daemon's tables made them.

use clap::Subcommand;
use serde_json::json;

use crate::Answer;
use crate::Error;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl help module              the modules
  proxyctl help module registrar    what one of them has";

/// The pages of all modules: `## name` begins one.
const REFERENCE: &str = include_str!("../../../docs/modules.md");

/// About what.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Parameters, functions, pseudo-variables and RPCs of a module, or the names of all
    #[command(
        after_help = "Examples:\n  proxyctl help module\n  proxyctl help module core\n  proxyctl help module registrar"
    )]
    Module {
        /// As in `loadmodule`, with or without `.so`; `core` for what is there without one
        name: Option<String>,
    },
}

/// Name and page of each module.
fn pages() -> impl Iterator<Item = (&'static str, &'static str)> {
    REFERENCE
        .split("\n## ")
        .skip(1)
        .filter_map(|page| page.split_once('\n'))
}

/// Runs it.
pub(crate) fn run(topic: &Topic) -> Result<Answer, Error> {
    let Topic::Module { name } = topic;
    let Some(name) = name else {
        let names: Vec<&str> = pages().map(|(name, _)| name).collect();
        return Ok(Answer::new(names.join("\n"), json!(names)));
    };
    let wanted = name.strip_suffix(".so").unwrap_or(name);
    let found = pages().find(|(own, _)| *own == wanted);
    let (name, page) = found.ok_or_else(|| Error::NotFound {
        what: "module",
        name: wanted.to_owned(),
        hint: ": `proxyctl help module` lists those there are".to_owned(),
    })?;
    let page = page.trim();
    Ok(Answer::new(
        format!("{name}\n\n{page}"),
        json!({ "module": name, "page": page }),
    ))
}
