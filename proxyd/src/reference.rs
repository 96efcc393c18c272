//! Pages made from the tables: what `--modules` prints, and docs/modules.md.

mod compatibility;

use crate::control::core_rpcs;
use crate::control::methods::Methods;
use crate::control::stats_rpcs;
use crate::daemon;
use crate::modules::MODULES;
use crate::runtime::tls;
use crate::runtime::tm_rpcs;
use crate::runtime::websocket;
use crate::script::core_functions;
use crate::script::core_params;
use crate::script::core_params::CoreParam;
use crate::script::core_params::Kind;
use crate::script::module::Arg;
use crate::script::module::Function;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvParam;
use crate::script::module::Routes;
use crate::script::module::Transformation;
use crate::script::pv;
use crate::script::transform;
use crate::stats::Statistics;
use std::fmt::Write;
use std::sync::Arc;

pub use compatibility::compatibility;

const HEAD: &str = "\
# Reference

Everything that a script, a command line or an operator can name: first what needs no `loadmodule`, then every module in
alphabetical order. `proxyd --modules` prints this page, which is made from the tables the compiler works with.

Arguments in brackets may be left out. Where no place is named, a function may be called in every kind of route.
";

/// The reference page of the core and of every module.
pub fn modules() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## core\n\nWhat is there without a module.\n");
    let params = core_params::CORE_PARAMS.iter();
    section(
        &mut out,
        "Parameters",
        params.map(|param| (names(param.names, ""), core_param(param))),
    );
    section(&mut out, "Functions", functions(core_functions::FUNCTIONS));
    section(
        &mut out,
        "Pseudo-variables",
        pv::PVS.iter().flat_map(|table| pvs(table)),
    );
    section(
        &mut out,
        "Transformations",
        transform::TRANSFORMATIONS
            .iter()
            .flat_map(|table| transformations(table)),
    );
    section(
        &mut out,
        "RPCs",
        core_rpcs()
            .into_iter()
            .map(|(name, doc)| (format!("`{name}`"), doc)),
    );
    for module in MODULES {
        let _ = writeln!(out, "\n## {}\n\n{}", module.name, module.doc);
        if !module.needs.is_empty() {
            let needs: Vec<String> = module.needs.iter().map(|need| format!("`{need}`")).collect();
            let _ = writeln!(out, "\nNeeds {}.", needs.join(", "));
        }
        section(
            &mut out,
            "Parameters",
            module
                .params
                .iter()
                .map(|row| (format!("`{}`", row.name()), param(row))),
        );
        section(&mut out, "Functions", functions(module.functions));
        section(&mut out, "Pseudo-variables", pvs(module.pvs));
        section(
            &mut out,
            "Transformations",
            transformations(module.transformations),
        );
        section(
            &mut out,
            "RPCs",
            module
                .rpcs
                .iter()
                .map(|rpc| (format!("`{}`", rpc.name), rpc.doc.to_owned())),
        );
        let events = module.events.iter();
        section(
            &mut out,
            "Events",
            events.map(|event| (format!("`event_route[{event}]`"), String::new())),
        );
    }
    out
}

/// The RPCs of the daemon itself, which no module brings.
fn core_rpcs() -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = core_rpcs::docs()
        .map(|(name, doc)| (name.to_owned(), doc.to_owned()))
        .collect();
    let methods = Methods::new();
    methods.add(stats_rpcs::methods(&Arc::new(Statistics::new())));
    rows.extend(methods.names().into_iter().map(|name| {
        let doc = methods.doc(&name).unwrap_or_default().into_owned();
        (name, doc)
    }));
    rows.extend(daemon::methods::own().map(|(name, doc)| (name.to_owned(), doc.to_owned())));
    rows.extend(websocket::rows().map(|(name, doc)| (name.to_owned(), doc.to_owned())));
    rows.extend(tls::rows().map(|(name, doc)| (name.to_owned(), doc.to_owned())));
    rows.extend(tm_rpcs::rows().map(|(name, doc)| (name.to_owned(), doc.to_owned())));
    rows.sort();
    rows
}

fn section(out: &mut String, title: &str, rows: impl Iterator<Item = (String, String)>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "\n### {title}\n");
    for (name, doc) in rows {
        let between = if doc.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "- {name}{between}{doc}");
    }
}

/// A row's name with its aliases.
fn names(all: &[&str], behind: &str) -> String {
    let mut names = all.iter();
    let first = names.next().copied().unwrap_or_default();
    let mut text = format!("`{first}{behind}`");
    let others: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if !others.is_empty() {
        let _ = write!(text, " (also {})", others.join(", "));
    }
    text
}

fn core_param(param: &CoreParam) -> String {
    let kind = match param.kind {
        Kind::Int => "number",
        Kind::Bool => "yes or no",
        Kind::Text => "text",
        Kind::Name => "name",
        Kind::Engine => "language",
        Kind::Ignored(why) => return format!("accepted without effect; {why}"),
    };
    format!("({kind}) {}", param.doc)
}

fn param(row: &Param) -> String {
    match row {
        Param::Int(_, default, doc) => format!("(integer, default {default}) {doc}"),
        Param::Text(_, "", doc) => format!("(text) {doc}"),
        Param::Text(_, default, doc) => format!("(text, default `{default}`) {doc}"),
        Param::List(_, doc) => format!("(text, may be set several times) {doc}"),
        Param::Pv(_, "", doc) => format!("(pseudo-variable) {doc}"),
        Param::Pv(_, default, doc) => format!("(pseudo-variable, default `{default}`) {doc}"),
        Param::Ignored(_, why) => format!("accepted without effect; {why}"),
    }
}

fn functions(rows: &'static [Function]) -> impl Iterator<Item = (String, String)> {
    rows.iter().map(|row| {
        let doc = match places(row.routes) {
            Some(places) => format!("{} In {places}.", row.doc),
            None => row.doc.to_owned(),
        };
        (names(row.names, &arguments(row.args)), doc)
    })
}

fn arguments(args: &[Arg]) -> String {
    let name = |arg: &Arg| {
        if arg.optional() {
            format!("[{}]", arg.name())
        } else {
            arg.name().to_owned()
        }
    };
    let names: Vec<String> = args.iter().map(name).collect();
    format!("({})", names.join(", "))
}

/// The kinds of route where a function may be called; none: in all of them.
fn places(routes: Routes) -> Option<String> {
    const NAMES: [(Routes, &str); 8] = [
        (Routes::REQUEST, "request"),
        (Routes::FAILURE, "failure"),
        (Routes::ONREPLY, "onreply"),
        (Routes::BRANCH, "branch"),
        (Routes::ONSEND, "onsend"),
        (Routes::REPLY, "reply"),
        (Routes::EVENT, "event"),
        (Routes::BRANCH_FAILURE, "branch failure"),
    ];
    if routes.contains(Routes::ANY) {
        return None;
    }
    let names: Vec<&str> = NAMES
        .iter()
        .filter(|(kind, _)| routes.contains(*kind))
        .map(|(_, name)| *name)
        .collect();
    Some(format!("{} routes", names.join(", ")))
}

fn pvs(rows: &'static [Pv]) -> impl Iterator<Item = (String, String)> {
    rows.iter().map(|row| {
        let behind = match row.param {
            PvParam::None => "",
            PvParam::Required => "(…)",
            PvParam::Optional => "[(…)]",
        };
        let dollars: Vec<String> = row.names.iter().map(|name| format!("${name}")).collect();
        let dollars: Vec<&str> = dollars.iter().map(String::as_str).collect();
        let settable = if row.set.is_some() {
            " May be assigned to."
        } else {
            ""
        };
        (names(&dollars, behind), format!("{}{settable}", row.doc))
    })
}

fn transformations(rows: &'static [Transformation]) -> impl Iterator<Item = (String, String)> {
    rows.iter().map(|row| {
        let (least, most) = row.params;
        let params = (0..most).map(|at| if at < least { ",…" } else { "[,…]" });
        (
            format!("`{{{}{}}}`", row.name, params.collect::<String>()),
            row.doc.to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs;
    use std::path::Path;
    use std::path::PathBuf;

    use shared::paths::KEYS;
    use shared::paths::Rc;

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Compares a page with the file that holds it; with WRITE_DOCS set it writes the file.
    fn check(file: &str, page: &str) {
        let path = root().join("docs").join(file);
        if env::var_os("WRITE_DOCS").is_some() {
            fs::write(&path, page).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let differs = kept.lines().zip(page.lines()).position(|(kept, now)| kept != now);
        assert!(
            kept == page,
            "docs/{file} is not what the tables say (line {}); refresh it with: WRITE_DOCS=1 cargo test -p proxyd --lib reference",
            differs.map_or(kept.lines().count().min(page.lines().count()), |at| at) + 1,
        );
    }

    #[test]
    fn the_reference_is_fresh() {
        check("modules.md", &modules());
    }

    #[test]
    fn the_table_of_compatibility_is_fresh() {
        let inventory = fs::read_to_string(root().join("docs/inventory.txt")).unwrap();
        check("compatibility.md", &compatibility(&inventory).unwrap());
    }

    #[test]
    fn every_row_is_explained() {
        for module in MODULES {
            assert!(!module.doc.is_empty(), "{}", module.name);
            let documented = module.functions.iter().all(|row| !row.doc.is_empty())
                && module.pvs.iter().all(|row| !row.doc.is_empty())
                && module.transformations.iter().all(|row| !row.doc.is_empty())
                && module.rpcs.iter().all(|row| !row.doc.is_empty());
            assert!(documented, "{} has a row without a word", module.name);
        }
    }

    #[test]
    fn the_sample_resource_file_explains_every_key() {
        let text = fs::read_to_string(root().join("etc/proxyctlrc")).unwrap();
        assert_eq!(
            Rc::parse(&text, &|_| None),
            Rc::default(),
            "nothing is set by default"
        );
        let keys = text
            .lines()
            .filter_map(|line| line.strip_prefix("# ")?.split_once('='))
            .map(|(key, _)| key);
        let is_key = |key: &&str| {
            key.chars()
                .all(|letter| letter.is_ascii_uppercase() || letter == '_')
        };
        let mut explained: Vec<&str> = keys.filter(is_key).collect();
        explained.sort_unstable();
        let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        assert_eq!(explained, known);
    }
}
