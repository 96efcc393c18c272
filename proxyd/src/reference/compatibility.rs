//! docs/compatibility.md: the names of docs/inventory.txt, and which of them are here.

use super::core_rpcs;
use crate::modules;
use crate::modules::MODULES;
use crate::script::core_functions;
use crate::script::core_params;
use crate::script::core_params::Kind;
use crate::script::module::Function;
use crate::script::module::Param;
use crate::script::parse;
use crate::script::preprocess::Files;
use crate::script::preprocess::Options;
use crate::script::pv;
use crate::script::transform;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::Path;

const HEAD: &str = "\
# Compatibility

What Kamailio offers, name by name, and whether it is here. The names are those of its cookbooks and module pages of August
2026 and of the configuration file it ships; this page is made from docs/inventory.txt and the tables of the daemon. A name
that is *without effect* is accepted, and `proxyd -c -v` says why it has no meaning here. A name that is *not here* is an
error that `proxyd -c` reports with its place: nothing is ignored in silence.
";

const SETS: [(&str, &str); 5] = [
    (
        "stock",
        "The configuration file that Kamailio ships, with every option",
    ),
    ("tutorial", "What a public course and the other example files add"),
    ("public", "What public configuration files use most"),
    ("rpc", "RPCs that tools and operators call"),
    ("manual", "The cookbooks and the modules' pages"),
];

const KINDS: [(&str, &str); 8] = [
    ("module", "modules"),
    ("core", "core parameters"),
    ("function", "functions"),
    ("parameter", "parameters"),
    ("pv", "pseudo-variables"),
    ("transformation", "transformations"),
    ("event", "events"),
    ("rpc", "RPCs"),
];

/// What the cookbook lists among functions and parameters, and is a word of the grammar.
const WORDS: [&str; 3] = ["avpflags", "selval", "socket"];

/// A line of the inventory that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} of the inventory is neither `SET KIND GROUP: NAME …`, `language KIND NAME => TEXT` nor `differ SUBJECT: TEXT`: `{text}`"
)]
pub struct InventoryError {
    /// Its number.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// What became of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Here,
    WithoutEffect,
    NotHere,
}

/// The names of one kind that belong to one group, each with its fate.
struct Group<'a> {
    set: &'a str,
    kind: &'a str,
    name: &'a str,
    members: Vec<(&'a str, Fate)>,
}

/// Makes the page.
pub fn compatibility(inventory: &str) -> Result<String, InventoryError> {
    let (mut groups, mut language, mut differ): (Vec<Group<'_>>, Vec<_>, Vec<_>) = Default::default();
    let rpcs = rpcs();
    let lines = inventory
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    for (at, line) in lines {
        let wrong = || InventoryError {
            line: at + 1,
            text: line.to_owned(),
        };
        if let Some(rest) = line.strip_prefix("language ") {
            let (head, text) = rest.split_once(" => ").ok_or_else(wrong)?;
            let (kind, name) = head.split_once(' ').ok_or_else(wrong)?;
            language.push((kind, name, reads(&unescaped(text))));
        } else if let Some(rest) = line.strip_prefix("differ ") {
            differ.push(rest.split_once(": ").ok_or_else(wrong)?);
        } else {
            let (head, names) = line.split_once(": ").ok_or_else(wrong)?;
            let mut words = head.split(' ');
            let (Some(set), Some(kind), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            if SETS.iter().all(|(known, _)| *known != set) || KINDS.iter().all(|(known, _)| *known != kind) {
                return Err(wrong());
            }
            let members = names
                .split_whitespace()
                .map(|member| (member, fate(kind, name, member, &rpcs)));
            match groups
                .last_mut()
                .filter(|last| (last.set, last.kind, last.name) == (set, kind, name))
            {
                Some(last) => last.members.extend(members),
                None => groups.push(Group {
                    set,
                    kind,
                    name,
                    members: members.collect(),
                }),
            }
        }
    }
    let mut out = HEAD.to_owned();
    summary(&mut out, &groups, &language);
    differences(&mut out, &differ);
    language_table(&mut out, &language);
    for (set, title) in SETS {
        let _ = writeln!(
            out,
            "\n## {title}\n\n| | here | without effect | not here |\n|---|---|---|---|"
        );
        for (kind, title) in KINDS {
            for group in groups
                .iter()
                .filter(|group| group.set == set && group.kind == kind)
            {
                row(&mut out, title, group);
            }
        }
    }
    Ok(out)
}

fn summary(out: &mut String, groups: &[Group<'_>], language: &[(&str, &str, bool)]) {
    out.push_str(
        "\n## In numbers\n\n| | names | here | without effect | not here |\n|---|---:|---:|---:|---:|\n",
    );
    let read = language.iter().filter(|(.., read)| *read).count();
    let _ = writeln!(
        out,
        "| language | {} | {read} | 0 | {} |",
        language.len(),
        language.len() - read
    );
    for (set, title) in SETS {
        let members = || {
            groups
                .iter()
                .filter(|group| group.set == set)
                .flat_map(|group| &group.members)
        };
        let count = |wanted: Fate| members().filter(|(_, fate)| *fate == wanted).count();
        let _ = writeln!(
            out,
            "| {title} | {} | {} | {} | {} |",
            members().count(),
            count(Fate::Here),
            count(Fate::WithoutEffect),
            count(Fate::NotHere)
        );
    }
}

fn differences(out: &mut String, differ: &[(&str, &str)]) {
    out.push_str("\n## Different on purpose\n\n| | |\n|---|---|\n");
    for (subject, text) in differ {
        let _ = writeln!(out, "| {subject} | {} |", text.replace('|', "\\|"));
    }
}

fn language_table(out: &mut String, language: &[(&str, &str, bool)]) {
    out.push_str("\n## The language\n\n| | here | not here |\n|---|---|---|\n");
    let mut kinds: Vec<&str> = language.iter().map(|(kind, ..)| *kind).collect();
    kinds.dedup();
    for kind in kinds {
        let of = |wanted: bool| {
            let rows = language
                .iter()
                .filter(|(k, _, read)| *k == kind && *read == wanted);
            cell(rows.map(|(_, name, _)| *name))
        };
        let _ = writeln!(out, "| {kind}s | {} | {} |", of(true), of(false));
    }
}

fn row(out: &mut String, title: &str, group: &Group<'_>) {
    let of = |wanted: Fate| {
        let mut names: Vec<&str> = group
            .members
            .iter()
            .filter(|(_, fate)| *fate == wanted)
            .map(|(name, _)| *name)
            .collect();
        names.sort_unstable();
        cell(names.into_iter())
    };
    let title = if group.name == "-" {
        title.to_owned()
    } else {
        format!("{}: {title}", group.name)
    };
    let _ = writeln!(
        out,
        "| {title} | {} | {} | {} |",
        of(Fate::Here),
        of(Fate::WithoutEffect),
        of(Fate::NotHere)
    );
}

fn cell<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names
        .map(|name| format!("`{}`", name.replace('|', "\\|")))
        .collect();
    names.join(" ")
}

fn fate(kind: &str, group: &str, name: &str, rpcs: &BTreeSet<String>) -> Fate {
    let here = match kind {
        _ if WORDS.contains(&name) => true,
        "module" => modules::find(name).is_some(),
        "core" => return core_param(name),
        "parameter" => return parameter(group, name),
        "function" => {
            let mut rows = MODULES.iter().flat_map(|module| module.functions);
            let row = core_functions::find(name).or_else(|| rows.find(|row| row.names.contains(&name)));
            match row.map(Function::without_effect) {
                Some(Some(_)) => return Fate::WithoutEffect,
                found => found.is_some(),
            }
        }
        "pv" => {
            let mut rows = MODULES.iter().flat_map(|module| module.pvs);
            pv::find(name.as_bytes()).is_some() || rows.any(|row| row.names.contains(&name))
        }
        "transformation" => {
            let mut rows = MODULES.iter().flat_map(|module| module.transformations);
            transform::find(name.as_bytes()).is_some() || rows.any(|row| row.name == name)
        }
        "event" => {
            // `tm:branch-failure:id`: what is behind the second colon is the script's to choose.
            let mut rows = MODULES.iter().flat_map(|module| module.events);
            rows.any(|event| {
                let any = event
                    .strip_suffix('*')
                    .is_some_and(|start| name.starts_with(start));
                any || *event == name || name.strip_prefix(event).is_some_and(|rest| rest.starts_with(':'))
            })
        }
        _ => rpcs.contains(name),
    };
    if here { Fate::Here } else { Fate::NotHere }
}

fn core_param(name: &str) -> Fate {
    match core_params::find(name).map(|param| param.kind) {
        Some(Kind::Ignored(_)) => Fate::WithoutEffect,
        Some(_) => Fate::Here,
        None => Fate::NotHere,
    }
}

fn parameter(module: &str, name: &str) -> Fate {
    let row =
        modules::find(module).and_then(|module| module.params.iter().find(|param| param.name() == name));
    match row {
        Some(Param::Ignored(..)) => Fate::WithoutEffect,
        Some(_) => Fate::Here,
        None => Fate::NotHere,
    }
}

fn rpcs() -> BTreeSet<String> {
    let of_modules = MODULES
        .iter()
        .flat_map(|module| module.rpcs)
        .map(|rpc| rpc.name.to_owned());
    core_rpcs()
        .into_iter()
        .map(|(name, _)| name)
        .chain(of_modules)
        .collect()
}

/// Whether a script is read without an error.
fn reads(script: &str) -> bool {
    struct One<'a>(&'a str);
    impl Files for One<'_> {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            match path.file_name().and_then(|name| name.to_str()) {
                Some("script.cfg") => Ok(self.0.as_bytes().to_vec()),
                Some("other.cfg") => Ok(b"# nothing\n".to_vec()),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }
    parse::load(&One(script), Path::new("script.cfg"), &Options::default())
        .found
        .errors()
        == 0
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_here() {
        let inventory = "# a comment\nstock function -: t_relay no_such_thing\nstock core -: debug memdbg\n\
                         language statement exit => request_route {\\nexit; }\nlanguage statement nothing => route {\n\
                         differ a subject: a | b\n";
        let page = compatibility(inventory).unwrap();
        assert!(page.contains("| language | 2 | 1 | 0 | 1 |"), "{page}");
        assert!(
            page.contains("| functions | `t_relay` |  | `no_such_thing` |"),
            "{page}"
        );
        assert!(
            page.contains("| core parameters | `debug` | `memdbg` |  |"),
            "{page}"
        );
        assert!(page.contains("| a subject | a \\| b |"), "{page}");
        for wrong in [
            "stock",
            "stock function",
            "language a b",
            "differ a",
            "other function -: a",
            "stock other -: a",
        ] {
            assert!(compatibility(wrong).is_err(), "{wrong}");
        }
    }
}
