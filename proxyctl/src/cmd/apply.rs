//! `apply`: makes the database hold what a file says, in one transaction.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use shared::db::Backend;
use shared::report::Output;
use shared::report::Report;

use super::subscriber;
use super::subscriber::Storage;
use crate::Answer;
use crate::Error;
use crate::clock;
use crate::context::Context;
use crate::context::Reloaded;
use crate::site;
use crate::site::Action;
use crate::site::Item;
use crate::site::KINDS;
use crate::site::Plan;
use crate::site::Prune;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl apply -f site.yaml --dry-run          what would change
  proxyctl apply -f site.d --prune --wait        a folder; what is not listed goes

A file in YAML or JSON:

  domains: [{domain: example.org}]
  subscribers:
    - user: alice@example.org
      password_env: ALICE_PASSWORD     # or password_file: alice.secret, password: …, ha1: …
      groups: [int]
      aliases: [1000]
  addresses:
    - {group: 200, address: 10.0.1.102, port: 5060, tag: Carrier}
  trusted:
    - {src_ip: 192.0.2.10, proto: udp, from_pattern: '^sip:.*$'}
  groups:      [{user: alice@example.org, group: ld}]
  aliases:     [{alias: 1001@example.org, user: alice@example.org}]
  speed_dials: [{user: alice@example.org, number: 11, uri: 'sip:bob@example.org'}]
  dispatcher:  [{set: 1, destination: 'sip:192.0.2.1:5060', priority: 5}]

Applying twice changes nothing. --prune removes rows of the sections the files have (an empty one too) that they do not \
list. Everything is checked first and written in one transaction; the daemon reads the tables again once.";

/// What to apply.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// File, folder of *.yaml and *.json files, or - for standard input
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Remove rows that no file lists, in the sections the files have; subscribers with what belongs to them
    #[arg(long)]
    prune: bool,
    /// Wait until the daemon serves the new state, at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
    wait: Option<u64>,
}

/// Applies it.
pub(crate) fn run(context: &Context<'_>, apply: &Apply) -> Result<Answer, Error> {
    let mut items = Vec::new();
    let mut sections = BTreeSet::new();
    for path in &apply.files {
        for (path, site) in site::read(path)? {
            site.items(context, &path, &mut items)?;
            sections.extend(site.sections());
        }
    }
    let prune = if apply.prune {
        Prune::Sections(sections.clone())
    } else {
        Prune::No
    };
    let tables: Vec<&str> = KINDS
        .iter()
        .filter(|kind| sections.contains(kind.name))
        .map(|kind| kind.table)
        .collect();
    let storage = Storage::told(context);
    let plan = if apply.dry_run {
        site::plan(context.read(&tables)?.as_mut(), &items, &prune, storage)?
    } else {
        let mut db = context.open(&tables)?;
        write(context, db.as_mut(), |db| site::plan(db, &items, &prune, storage))?
    };
    let reloaded = if apply.dry_run {
        Reloaded::No
    } else {
        subscriber::unregister(context, plan.gone());
        reload(context, &plan, &sections, apply.wait).map_err(|error| Error::NotServed {
            done: counts(&plan, ""),
            error: Box::new(error),
        })?
    };
    Ok(answer(context, &plan, apply.dry_run, reloaded))
}

/// What two servers' transactions that plan and write must not do at once; SQLite and dbtext have one at a time anyway.
const ALONE: &str = "SELECT table_version FROM version WHERE table_name = 'version' FOR UPDATE";

/// Plans and writes in one transaction, so that nothing changes in between.
pub(crate) fn write(
    context: &Context<'_>,
    db: &mut dyn Backend,
    make: impl FnOnce(&mut dyn Backend) -> Result<Plan, Error>,
) -> Result<Plan, Error> {
    shared::db::transaction(db, |db| {
        if db.engine().is_server() {
            db.raw(ALONE, &[])?;
        }
        let plan = make(db)?;
        let progress = context.progress(plan.changes.len() as u64);
        let written = plan.write(db, &progress);
        progress.finish_and_clear();
        written.map(|()| plan)
    })
}

/// Tells the daemon, once for each table.
fn reload(
    context: &Context<'_>,
    plan: &Plan,
    sections: &BTreeSet<&'static str>,
    wait: Option<u64>,
) -> Result<Reloaded, Error> {
    let Some(seconds) = wait else {
        return Ok(reload_once(context, plan));
    };
    // Another run may have written what this daemon has not read yet: what is waited for is told to it anew.
    let methods: BTreeSet<&str> = KINDS
        .iter()
        .filter(|kind| sections.contains(kind.name))
        .filter_map(|kind| kind.reload)
        .collect();
    let limit = Instant::now() + Duration::from_secs(seconds);
    for method in methods.into_iter().chain(["core.version"]) {
        loop {
            match context.call(method, &[]) {
                Ok(_) => break,
                // Without the module nothing is served from that table.
                Err(Error::Fault(fault)) if fault.is_unknown_method() => break,
                Err(error) if Instant::now() >= limit => return Err(error),
                Err(_) => clock::pause(Duration::from_millis(200)),
            }
        }
    }
    Ok(Reloaded::Yes)
}

/// Tells a daemon that runs.
pub(crate) fn reload_once(context: &Context<'_>, plan: &Plan) -> Reloaded {
    let mut answer = Reloaded::No;
    for method in plan.reloads() {
        if context.reload(method) == Reloaded::Yes {
            answer = Reloaded::Yes;
        }
    }
    answer
}

fn answer(context: &Context<'_>, plan: &Plan, is_dry: bool, reloaded: Reloaded) -> Answer {
    let word = |action| match action {
        Action::Add => ("+", "add"),
        Action::Change => ("~", "change"),
        Action::Remove => ("-", "remove"),
    };
    let mut report = Report::rows(&["action", "section", "name", "details"]);
    let mut lines = String::new();
    for change in &plan.changes {
        let (sign, action) = word(change.action);
        report.push([
            json!(action),
            json!(change.kind.name),
            json!(change.title),
            json!(change.details),
        ]);
        let details = if change.details.is_empty() {
            String::new()
        } else {
            format!(": {}", change.details)
        };
        lines.push_str(&format!(
            "{sign} {} {}{details}\n",
            change.kind.noun, change.title
        ));
    }
    if plan.changes.is_empty() {
        lines.push_str("nothing to change");
    } else {
        lines.push_str(&counts(plan, if is_dry { "would be " } else { "" }));
        lines.push_str(reloaded.words());
    }
    if matches!(context.output, Output::Csv) {
        return Answer::report(report);
    }
    let changes: Vec<_> = plan
        .changes
        .iter()
        .map(|change| {
            json!({ "action": word(change.action).1, "section": change.kind.name, "name": change.title, "details": change.details })
        })
        .collect();
    let data = json!({ "dry_run": is_dry, "added": plan.count(Action::Add), "changed": plan.count(Action::Change),
        "removed": plan.count(Action::Remove), "live": reloaded.is_live(), "changes": changes });
    Answer::new(lines, data)
}

fn counts(plan: &Plan, would: &str) -> String {
    let [added, changed, removed] =
        [Action::Add, Action::Change, Action::Remove].map(|action| plan.count(action));
    format!("{would}added {added}, {would}changed {changed}, {would}removed {removed}")
}

/// Refuses rows that are there, or leaves them out.
pub(crate) fn without_present(
    plan: Plan,
    present: super::import::Present,
    items: &[Item],
) -> Result<Plan, Error> {
    match present {
        super::import::Present::Update => Ok(plan),
        super::import::Present::Skip => Ok(Plan {
            changes: plan
                .changes
                .into_iter()
                .filter(|c| c.action == Action::Add)
                .collect(),
        }),
        super::import::Present::Refuse => {
            // Whatever is not added is there.
            let added: BTreeSet<&str> = plan
                .changes
                .iter()
                .filter(|c| c.action == Action::Add)
                .map(|c| c.title.as_str())
                .collect();
            match items.iter().find(|item| !added.contains(item.title().as_str())) {
                None => Ok(plan),
                Some(item) => Err(Error::Exists {
                    what: item.kind.noun,
                    name: item.title(),
                    hint: ": nothing was imported; say --update or --skip",
                }),
            }
        }
    }
}
