//! `loadmodule "htable"`: hash tables that all workers share, `$sht` (Kamailio module htable).

mod definition;
mod functions;
mod locks;
mod pv;
mod rpc;
mod stored;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use crate::modules::database::Database;
use crate::script::exec;
use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Script;
use crate::script::module::State;
use definition::Definition;
use locks::Locks;
use parking_lot::Mutex;
use shared::db::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use stored::Stored;
use table::Item;
use table::Table;
use worker::Worker;

/// Workers with a state of their own; more share.
const WORKERS: usize = 64;

/// What the module works with.
pub(crate) struct Htable {
    tables: Vec<Table>,
    locks: Vec<Locks>,
    stored: Option<Stored>,
    workers: Box<[Mutex<Worker>]>,
    /// Milliseconds between looks for items past their end.
    interval: u64,
    /// Wall seconds when each table was last read from the database by itself.
    reloaded: Vec<AtomicU64>,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List(
            "htable",
            "A table: NAME=>size=8;autoexpire=120;initval=0;dbtable=x;dbmode=1;cols='a,b';updateexpire=0.",
        ),
        Param::Text("db_url", "", "Database of tables with dbtable."),
        Param::Text("key_name_column", "key_name", "Column of the key."),
        Param::Text(
            "key_type_column",
            "key_type",
            "Column of the key's type: 0 simple, 1 array.",
        ),
        Param::Text(
            "value_type_column",
            "value_type",
            "Column of the value's type: 0 string, 1 integer.",
        ),
        Param::Text("key_value_column", "key_value", "Column of the value."),
        Param::Text("expires_column", "expires", "Column of the end."),
        Param::Text(
            "array_size_suffix",
            "::size",
            "What is added to an array's name for its size.",
        ),
        Param::Int("db_expires", 0, "Load and store ends too."),
        Param::Int(
            "timer_interval",
            20,
            "Seconds between looks for items past their end.",
        ),
        Param::Ignored("timer_procs", "one timer serves all tables"),
        Param::Ignored("fetch_rows", "rows are read one by one"),
        Param::Ignored("enable_dmq", "tables are not replicated"),
        Param::Ignored("dmq_init_sync", "tables are not replicated"),
        Param::Ignored("dmq_peer_id", "tables are not replicated"),
        Param::Ignored("event_callback", "KEMI languages are not embedded"),
        Param::Ignored("event_callback_mode", "mod-init runs when everything is up"),
    ],
    functions: functions::FUNCTIONS,
    pvs: pv::PVS,
    rpcs: rpc::RPCS,
    events: &["htable:mod-init", "htable:expired:*", "htable:reloaded:*"],
    timers: &[ModuleTimer {
        name: "items past their end",
        interval: |script| script.states.get::<Htable>().map(|state| state.interval),
        run: collect,
    }],
    init: Some(init),
    stop: Some(stop),
    ..ModuleDef::new("htable", "Keeps values in tables that all workers share.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let previous = init.previous::<Htable>();
    let refuse = |why: String| InitError::Param { name: "htable", why };
    let mut tables: Vec<Table> = Vec::new();
    for text in init.list("htable") {
        let definition = Definition::parse(&text).map_err(|why| refuse(format!("{text:?}: {why}")))?;
        if tables
            .iter()
            .any(|table| table.definition.name == definition.name)
        {
            return Err(refuse(format!("table {:?} is defined twice", definition.name)));
        }
        if definition.replicate {
            crate::log::warning(
                "htable",
                format_args!("{}: tables are not replicated", definition.name),
            );
        }
        let before = previous
            .as_ref()
            .and_then(|state| state.table(definition.name.as_bytes()));
        tables.push(Table::new(definition, before));
    }
    let url = init.text("db_url");
    let db = if url.is_empty() {
        None
    } else {
        Some(Database::shared(&url)?)
    };
    let now = init.wall.as_secs();
    let state = Htable {
        locks: tables.iter().map(|_| Locks::new()).collect(),
        reloaded: tables.iter().map(|_| AtomicU64::new(now)).collect(),
        stored: db.map(|db| Stored::new(init, db)),
        workers: (0..WORKERS).map(|_| Mutex::default()).collect(),
        interval: u64::try_from(init.int("timer_interval").max(1))
            .unwrap_or(1)
            .saturating_mul(1000),
        tables,
    };
    for table in &state.tables {
        // What a table holds at a reload of the script is newer than what the database has.
        let is_new = previous
            .as_ref()
            .is_none_or(|state| state.table(table.definition.name.as_bytes()).is_none());
        if is_new && let Some(Err(error)) = state.load(table, now) {
            return Err(error.into());
        }
    }
    Ok(Arc::new(state))
}

fn stop(script: &Script) {
    let Some(state) = script.states.get::<Htable>() else {
        return;
    };
    let now = crate::clock::wall().as_secs();
    for table in state.tables.iter().filter(|table| table.definition.write_back) {
        if let Some(Err(error)) = state.store(table, now) {
            crate::log::error("htable", format_args!("{}: {error}", table.definition.name));
        }
    }
}

impl Htable {
    /// The table of that name with its place.
    fn find(&self, name: &[u8]) -> Option<(usize, &Table)> {
        self.tables
            .iter()
            .enumerate()
            .find(|(_, table)| table.definition.name.as_bytes() == name)
    }

    fn table(&self, name: &[u8]) -> Option<&Table> {
        self.find(name).map(|(_, table)| table)
    }

    /// What the worker that runs has under way.
    fn worker(&self, env: &Env<'_>) -> Option<&Mutex<Worker>> {
        self.workers.get(env.host.worker().0 % WORKERS)
    }

    fn stored(&self, table: &Table) -> Option<&Stored> {
        self.stored
            .as_ref()
            .filter(|_| !table.definition.dbtable.is_empty())
    }

    /// Reads a table from the database; none when it has none there.
    fn load(&self, table: &Table, now: u64) -> Option<Result<(), Error>> {
        let stored = self.stored(table)?;
        Some(
            stored
                .load(&table.definition, now)
                .map(|content| table.replace(content)),
        )
    }

    /// Writes a table to the database; none when it has none there, or one of another layout.
    fn store(&self, table: &Table, now: u64) -> Option<Result<u64, Error>> {
        let stored = self.stored(table).filter(|_| table.definition.cols.is_empty())?;
        Some(stored.store(table, now))
    }
}

/// Removes items past their end, tells `event_route[htable:expired:NAME]` of each, and reloads what is due.
fn collect(env: &mut Env<'_>) {
    let Some(state) = env.state::<Htable>() else {
        return;
    };
    let now = env.host.wall().as_secs();
    for (at, table) in state.tables.iter().enumerate() {
        let name = &table.definition.name;
        if table.definition.autoexpire > 0 {
            let event = env.script.program.event_route(&format!("htable:expired:{name}"));
            let ended = |item: &Item| item.expires != 0 && item.expires <= now;
            table.remove_where(ended, |item| {
                let Some(route) = event else { return };
                let set = |env: &Env<'_>, record: Option<Item>| {
                    if let Some(worker) = state.worker(env) {
                        worker.lock().record = record;
                    }
                };
                set(env, Some(item));
                exec::run(route, env);
                set(env, None);
            });
        }
        let every = table.definition.reload_every;
        let due = every > 0
            && state
                .reloaded
                .get(at)
                .is_some_and(|last| now >= last.load(Ordering::Relaxed) + every);
        if due {
            if let Some(last) = state.reloaded.get(at) {
                last.store(now, Ordering::Relaxed);
            }
            match state.load(table, now) {
                Some(Err(error)) => crate::log::error("htable", format_args!("{name}: {error}")),
                Some(Ok(())) => {
                    if let Some(route) = env.script.program.event_route(&format!("htable:reloaded:{name}")) {
                        exec::run(route, env);
                    }
                }
                None => {}
            }
        }
    }
}
