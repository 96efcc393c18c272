//! `import` and `export`: lists of rows as CSV, JSON lines, JSON or YAML.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use shared::db::Backend;
use shared::db::Row;
use shared::db::Select;
use shared::report::Output;
use shared::report::Report;

use super::apply;
use super::subscriber::Storage;
use super::table;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::printer::Printer;
use crate::site;
use crate::site::Action;
use crate::site::KINDS;
use crate::site::Kind;
use crate::site::Prune;

pub(crate) const IMPORT: &str = "\
Examples:
  proxyctl import users.csv                      username,domain,password with a header line
  proxyctl import users.jsonl --update           {\"user\":\"alice@example.org\",\"password\":\"…\"} a line
  proxyctl import carriers.csv --section addresses
  proxyctl export subscribers -o csv | ssh other proxyctl import -

All or nothing: a row that is wrong, or is there already, changes nothing. Columns are those of `proxyctl apply`; in CSV,
groups and aliases are words with blanks between them.";

pub(crate) const EXPORT: &str = "\
Examples:
  proxyctl export > site.yaml                    everything, as `proxyctl apply` reads it
  proxyctl export addresses dispatcher
  proxyctl export subscribers -o csv             as `proxyctl import` reads it; hashes included
  proxyctl export subscribers --lines            JSON lines";

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// CSV with a header line, JSON lines, or a JSON list; - is standard input
    file: PathBuf,
    /// What it lists
    #[arg(long, default_value = "subscribers")]
    section: Section,
    /// Change rows that are there
    #[arg(long, conflicts_with = "skip")]
    update: bool,
    /// Leave rows that are there
    #[arg(long)]
    skip: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Sections; none means all
    sections: Vec<Section>,
    /// One JSON object a line
    #[arg(long)]
    lines: bool,
}

/// A section of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Section {
    Domains,
    Subscribers,
    Groups,
    Aliases,
    SpeedDials,
    Addresses,
    Trusted,
    Dispatcher,
}

/// What becomes of rows that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Present {
    Refuse,
    Update,
    Skip,
}

impl Section {
    fn kind(self) -> &'static Kind {
        match self {
            Self::Domains => &site::DOMAINS,
            Self::Subscribers => &site::SUBSCRIBERS,
            Self::Groups => &site::GROUPS,
            Self::Aliases => &site::ALIASES,
            Self::SpeedDials => &site::SPEED_DIALS,
            Self::Addresses => &site::ADDRESSES,
            Self::Trusted => &site::TRUSTED,
            Self::Dispatcher => &site::DISPATCHER,
        }
    }
}

/// Imports.
pub(crate) fn import(context: &Context<'_>, import: &Import) -> Result<Answer, Error> {
    let kind = import.section.kind();
    let present = match (import.update, import.skip) {
        (true, _) => Present::Update,
        (false, true) => Present::Skip,
        (false, false) => Present::Refuse,
    };
    let items = site::read_records(context, kind.name, &import.file)?;
    let mut tables: Vec<&str> = items.iter().map(|item| item.kind.table).collect();
    tables.push(kind.table);
    tables.sort_unstable();
    tables.dedup();
    let mut db = if import.dry_run {
        context.read(&tables)?
    } else {
        context.open(&tables)?
    };
    let make = |db: &mut dyn Backend| {
        let plan = site::plan(db, &items, &Prune::No, Storage::told(context))?;
        apply::without_present(plan, present, &items)
    };
    let plan = if import.dry_run {
        make(db.as_mut())?
    } else {
        apply::write(context, db.as_mut(), make)?
    };
    let live = if import.dry_run {
        crate::context::Reloaded::No
    } else {
        apply::reload_once(context, &plan)
    };
    let (added, changed) = (plan.count(Action::Add), plan.count(Action::Change));
    let same = items.len().saturating_sub(added + changed);
    let would = if import.dry_run { "would be " } else { "" };
    let words = format!(
        "{would}added {added}, {would}changed {changed}, left as they are {same}{}",
        live.words()
    );
    let data = json!({ "dry_run": import.dry_run, "section": kind.name, "added": added, "changed": changed,
        "unchanged": same, "live": live.is_live() });
    Ok(Answer::new(words, data))
}

/// Exports.
pub(crate) fn export(context: &Context<'_>, export: &Export) -> Result<Answer, Error> {
    let kinds: Vec<&'static Kind> = if export.sections.is_empty() {
        KINDS.to_vec()
    } else {
        export.sections.iter().map(|section| section.kind()).collect()
    };
    let tables: Vec<&str> = kinds.iter().map(|kind| kind.table).collect();
    let mut db = context.read(&tables)?;
    match (export.lines, context.output, kinds.as_slice()) {
        (true, _, [kind]) => {
            let mut lines = Printer::new(Output::Plain, &["line"]);
            each(db.as_mut(), kind, &mut |record| {
                lines.push([json!(Value::Object(record).to_string())])
            })?;
            lines.finish().map(|answer| Answer {
                data: answer.data.map(plain),
                words: None,
            })
        }
        (false, Output::Csv, [kind]) => {
            let columns: Vec<&str> = fields(kind).iter().map(|(field, _)| *field).collect();
            let mut rows = Printer::new(Output::Csv, &columns);
            each(db.as_mut(), kind, &mut |record| {
                rows.push(record.into_iter().map(|(_, value)| value))
            })?;
            rows.finish()
        }
        (true, ..) | (_, Output::Csv, _) => Err(Error::Usage(
            "CSV and JSON lines hold one section: name one".to_owned(),
        )),
        (false, _, kinds) => {
            let mut document = Map::new();
            for kind in kinds {
                let mut records = Vec::new();
                each(db.as_mut(), kind, &mut |record| {
                    records.push(Value::Object(record));
                    Ok(())
                })?;
                document.insert(kind.name.to_owned(), Value::Array(records));
            }
            let tree = Report::Tree(Value::Object(document));
            let words = tree.render(Output::Yaml, shared::report::Paint::Mono);
            Ok(Answer {
                data: Some(tree),
                words: Some(words),
            })
        }
    }
}

/// Rows of one column as they are.
fn plain(report: Report) -> Report {
    Report::Text(report.render(Output::Plain, shared::report::Paint::Mono))
}

/// Fields of a record, with the columns they are made of.
fn fields(kind: &Kind) -> &'static [(&'static str, &'static [&'static str])] {
    match kind.name {
        "domains" => &[("domain", &["domain"]), ("did", &["did"])],
        "subscribers" => &[
            ("user", &["username"]),
            ("domain", &["domain"]),
            ("password", &["password"]),
            ("ha1", &["ha1"]),
            ("ha1b", &["ha1b"]),
        ],
        "groups" => &[
            ("user", &["username"]),
            ("domain", &["domain"]),
            ("group", &["grp"]),
        ],
        "aliases" => &[
            ("alias", &["alias_username", "alias_domain"]),
            ("user", &["username", "domain"]),
        ],
        "speed_dials" => &[
            ("user", &["username", "domain"]),
            ("number", &["sd_username", "sd_domain"]),
            ("uri", &["new_uri"]),
            ("description", &["description"]),
        ],
        "addresses" => &[
            ("group", &["grp"]),
            ("address", &["ip_addr"]),
            ("mask", &["mask"]),
            ("port", &["port"]),
            ("tag", &["tag"]),
        ],
        "trusted" => &[
            ("src_ip", &["src_ip"]),
            ("proto", &["proto"]),
            ("from_pattern", &["from_pattern"]),
            ("ruri_pattern", &["ruri_pattern"]),
            ("tag", &["tag"]),
            ("priority", &["priority"]),
        ],
        _ => &[
            ("set", &["setid"]),
            ("destination", &["destination"]),
            ("flags", &["flags"]),
            ("priority", &["priority"]),
            ("attrs", &["attrs"]),
            ("description", &["description"]),
        ],
    }
}

fn each(
    db: &mut dyn Backend,
    kind: &Kind,
    visit: &mut dyn FnMut(Map<String, Value>) -> std::io::Result<()>,
) -> Result<(), Error> {
    let mut failed = None;
    db.each(&Select::from(kind.table).order_by("id"), &mut |row: Row<'_>| {
        let field = |(name, columns): &(&str, &[&str])| {
            let value = match columns {
                [column] => table::cell(row, column),
                columns => {
                    let parts: Vec<String> = columns
                        .iter()
                        .filter_map(|column| row.get(column))
                        .map(ToString::to_string)
                        .collect();
                    json!(parts.join("@"))
                }
            };
            (
                (*name).to_owned(),
                if value.is_null() { json!("") } else { value },
            )
        };
        if failed.is_none() {
            failed = visit(fields(kind).iter().map(field).collect()).err();
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), |error| Err(Error::Print(error.to_string())))
}
