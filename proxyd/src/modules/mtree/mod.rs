//! `loadmodule "mtree"`: values by the longest prefix of a number (Kamailio module mtree).

mod tree;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::log;
use crate::modules::database::Database;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::program::PvRef;
use crate::script::value::Value;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::json;
use shared::db;
use shared::db::Select;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use tree::Duplicates;
use tree::Item;
use tree::Tree;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text("db_url", "", "The database with the trees."),
        Param::Text(
            "db_table",
            "",
            "A table with many trees, told apart by tname_column.",
        ),
        Param::List(
            "mtree",
            "A tree: name=…;dbtable=…;type=0;multi=0;mode=0;cols='…'.",
        ),
        Param::Text("tname_column", "tname", "Column of the tree's name."),
        Param::Text("tprefix_column", "tprefix", "Column of the prefix."),
        Param::Text("tvalue_column", "tvalue", "Column of the value."),
        Param::Text(
            "char_list",
            "0123456789",
            "The characters that prefixes may have.",
        ),
        Param::List("item", "A value for a tree in memory: :tree:prefix:value."),
        Param::Pv("pv_value", "$avp(s:tvalue)", "Gets the value."),
        Param::Pv(
            "pv_values",
            "$avp(s:tvalues)",
            "Gets the values of all prefixes (mode 2).",
        ),
        Param::Pv(
            "pv_dstid",
            "$avp(s:tdstid)",
            "Gets the first number of trees of type 1.",
        ),
        Param::Pv(
            "pv_weight",
            "$avp(s:tweight)",
            "Gets the second number of trees of type 1.",
        ),
        Param::Pv(
            "pv_count",
            "$avp(s:tcount)",
            "Gets how many values of a tree of type 1 matched.",
        ),
        Param::Int(
            "mt_tree_type",
            0,
            "Type of the trees in db_table: 0 text, 1 number:weight, 2 number.",
        ),
        Param::Int(
            "mt_ignore_duplicates",
            0,
            "1: a second value of a prefix is left out.",
        ),
        Param::Int("mt_allow_duplicates", 0, "1: a prefix may have several values."),
        Param::Ignored("fetch_rows", "rows are read one by one"),
        Param::Ignored("connect_mode", "connections are pooled"),
    ],
    functions: &[Function::anywhere(
        &["mt_match"],
        &[Arg::Text("mtree"), Arg::Text("pv"), Arg::Int("mode")],
        "Looks for the longest prefix; with mode 2 for all of them.",
        mt_match,
    )],
    rpcs: &[
        Rpc {
            name: "mtree.list",
            doc: "Lists the prefixes of all trees, or of one: [name].",
            call: list,
        },
        Rpc {
            name: "mtree.match",
            doc: "Looks for the longest prefix: name, text, mode.",
            call: match_rpc,
        },
        Rpc {
            name: "mtree.reload",
            doc: "Reads all trees anew, or one: [name].",
            call: reload,
        },
        Rpc {
            name: "mtree.summary",
            doc: "Shows the size of all trees, or of one: [name].",
            call: summary,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("mtree", "Values by the longest prefix.")
};

/// Where a tree comes from.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    table: String,
    kind: i64,
    /// Rows are of this tree only where `tname` says so.
    multi: bool,
    /// Prefix column and value columns.
    columns: Vec<String>,
    /// In memory only, from `item`.
    in_memory: bool,
}

struct Planted {
    source: Source,
    tree: ArcSwap<Tree>,
    reloads: AtomicU64,
    loaded_at: AtomicU64,
}

struct Trees {
    database: Option<Arc<Database>>,
    name_column: String,
    characters: Vec<u8>,
    duplicates: Duplicates,
    planted: Vec<Planted>,
    items: Vec<(String, String, String)>,
    changing: Mutex<()>,
    value: Option<Arc<PvRef>>,
    values: Option<Arc<PvRef>>,
    dstid: Option<Arc<PvRef>>,
    weight: Option<Arc<PvRef>>,
    count: Option<Arc<PvRef>>,
}

impl Trees {
    fn get(&self, name: &[u8]) -> Option<&Planted> {
        self.planted
            .iter()
            .find(|planted| planted.source.name.as_bytes() == name)
    }

    fn read(&self, source: &Source) -> Result<Tree, String> {
        let mut tree = Tree::new(&self.characters);
        for (_, prefix, value) in self.items.iter().filter(|(name, ..)| *name == source.name) {
            add(
                &mut tree,
                source,
                prefix.as_bytes(),
                value.as_bytes(),
                self.duplicates,
            )?;
        }
        let Some(database) = self.database.as_ref().filter(|_| !source.in_memory) else {
            return Ok(tree);
        };
        let columns: Vec<&str> = source.columns.iter().map(String::as_str).collect();
        let mut select = Select::from(&source.table).columns(&columns);
        if source.multi {
            select = select.eq(&self.name_column, &*source.name);
        }
        let mut wrong = None;
        let read = database.with(|db| {
            db.each(&select, &mut |row| {
                let cell = |cell: &db::Value| cell.to_bytes().into_owned();
                let prefix = row.at(0).map(cell).unwrap_or_default();
                let values: Vec<Vec<u8>> = row.cells().iter().skip(1).map(cell).collect();
                if let Err(why) = add(
                    &mut tree,
                    source,
                    &prefix,
                    &values.join(&b","[..]),
                    self.duplicates,
                ) {
                    wrong.get_or_insert(why);
                }
                Ok(())
            })
        });
        read.map_err(|error| error.to_string())?;
        wrong.map_or(Ok(tree), |why| Err(format!("tree {}: {why}", source.name)))
    }
}

fn add(
    tree: &mut Tree,
    source: &Source,
    prefix: &[u8],
    value: &[u8],
    duplicates: Duplicates,
) -> Result<(), String> {
    let shown = || String::from_utf8_lossy(value).into_owned();
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map_err(|_| format!("value {:?} is no number", shown()))
    };
    let text = std::str::from_utf8(value).unwrap_or_default();
    let item = match source.kind {
        1 => {
            let (id, weight) = text
                .split_once(':')
                .ok_or_else(|| format!("value {:?} is not number:weight", shown()))?;
            Item::Weighted(number(id)?, number(weight)?)
        }
        2 => Item::Int(number(text)?),
        _ => Item::Text(value.to_vec()),
    };
    tree.insert(prefix, item, duplicates)
}

/// Reads `name=…;dbtable=…;…`.
fn source(text: &str, prefix: &str, value: &str) -> Result<Source, String> {
    let mut source = Source {
        name: String::new(),
        table: String::new(),
        kind: 0,
        multi: false,
        columns: vec![prefix.to_owned(), value.to_owned()],
        in_memory: false,
    };
    for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("{pair:?} is not name=value"))?;
        let value = value.trim().trim_matches(|c| c == '\'' || c == '"');
        match name.trim() {
            "name" => source.name = value.to_owned(),
            "dbtable" => source.table = value.to_owned(),
            "type" => {
                source.kind = value
                    .parse()
                    .map_err(|_| format!("type {value:?} is no number"))?
            }
            "multi" => source.multi = value == "1",
            "mode" => source.in_memory = value == "1",
            "cols" => source.columns = value.split(',').map(|column| column.trim().to_owned()).collect(),
            other => return Err(format!("{other:?} is no attribute of a tree")),
        }
    }
    match () {
        () if source.name.is_empty() => Err("a tree needs name=".into()),
        () if source.table.is_empty() && !source.in_memory => {
            Err(format!("tree {}: dbtable= is missing", source.name))
        }
        () if source.columns.len() < 2 => {
            Err(format!("tree {}: cols= needs two columns at least", source.name))
        }
        () => Ok(source),
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let (prefix, value) = (init.text("tprefix_column"), init.text("tvalue_column"));
    let named = init.list("mtree");
    let sources = named.iter().map(|text| source(text, &prefix, &value));
    let mut sources = sources
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| InitError::Param { name: "mtree", why })?;
    let database = if init.is_set("db_url") {
        Some(Database::shared(&init.text("db_url"))?)
    } else {
        None
    };
    let (table, name_column) = (init.text("db_table"), init.text("tname_column"));
    if let (Some(database), true, false) = (&database, sources.is_empty(), table.is_empty()) {
        let mut names: Vec<String> = Vec::new();
        database.with(|db| {
            db.each(&Select::from(&table).columns(&[&name_column]), &mut |row| {
                let name = row.at(0).map(ToString::to_string).unwrap_or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
                Ok(())
            })
        })?;
        let kind = init.int("mt_tree_type");
        let columns = vec![prefix.clone(), value.clone()];
        sources.extend(names.into_iter().map(|name| Source {
            name,
            table: table.clone(),
            kind,
            multi: true,
            columns: columns.clone(),
            in_memory: false,
        }));
    }
    if database.is_none() && sources.iter().any(|source| !source.in_memory) {
        return Err(InitError::Param {
            name: "db_url",
            why: "must be set for trees in a database".into(),
        });
    }
    let items = init.list("item").into_iter().map(|text| {
        let mut letters = text.chars();
        let separator = letters.next()?;
        let mut parts = letters.as_str().splitn(3, separator).map(str::to_owned);
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let why = || InitError::Param {
        name: "item",
        why: "is not :tree:prefix:value".into(),
    };
    let items = items.collect::<Option<Vec<_>>>().ok_or_else(why)?;
    let characters = init.text("char_list").into_bytes();
    let planted = sources.into_iter().map(|source| Planted {
        source,
        tree: ArcSwap::from_pointee(Tree::new(&characters)),
        reloads: AtomicU64::new(0),
        loaded_at: AtomicU64::new(0),
    });
    let state = Trees {
        database,
        name_column,
        duplicates: match (init.int("mt_allow_duplicates"), init.int("mt_ignore_duplicates")) {
            (0, 0) => Duplicates::Refuse,
            (0, _) => Duplicates::Ignore,
            _ => Duplicates::Keep,
        },
        planted: planted.collect(),
        characters,
        items,
        changing: Mutex::default(),
        value: init.pv("pv_value"),
        values: init.pv("pv_values"),
        dstid: init.pv("pv_dstid"),
        weight: init.pv("pv_weight"),
        count: init.pv("pv_count"),
    };
    for planted in &state.planted {
        grow(&state, planted, init.wall.as_secs()).map_err(InitError::Refused)?;
    }
    Ok(Arc::new(state))
}

/// Reads a tree and puts it in the place of the old one.
fn grow(state: &Trees, planted: &Planted, now: u64) -> Result<(), String> {
    let tree = state.read(&planted.source)?;
    planted.tree.store(Arc::new(tree));
    planted.reloads.fetch_add(1, Ordering::Relaxed);
    planted.loaded_at.store(now, Ordering::Relaxed);
    Ok(())
}

fn write(env: &mut Env<'_>, pv: Option<&Arc<PvRef>>, value: Value<'_>) {
    if let Some(pv) = pv
        && let Err(error) = pv.write(env, value)
    {
        log::error("mtree", format_args!("{}: {error}", pv.text()));
    }
}

fn value_of(item: &Item) -> Value<'_> {
    match item {
        Item::Text(text) => Value::text(text),
        Item::Int(n) | Item::Weighted(n, _) => Value::Int(*n),
    }
}

fn mt_match(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Trees>() else {
        return Code::FALSE;
    };
    let (name, number, mode) = (call.text_owned(0), call.text_owned(1), call.int(2));
    let Some(planted) = state.get(&name).filter(|_| !number.is_empty()) else {
        return Code::FALSE;
    };
    let tree = planted.tree.load_full();
    let env = &mut *call.env;
    if planted.source.kind == 1 {
        return weighted(state, env, &tree, &number);
    }
    let Some((_, values)) = tree.longest(&number) else {
        return Code::FALSE;
    };
    if mode != 2 {
        if let Some(value) = values.first() {
            write(env, state.value.as_ref(), value_of(value));
        }
        return Code::TRUE;
    }
    // each is put before the last: that of the longest prefix ends up first
    for value in tree.prefixes(&number).flat_map(|(_, values)| values) {
        write(env, state.values.as_ref(), value_of(value));
    }
    Code::TRUE
}

/// A tree of type 1: destinations of all prefixes, each with the weight of the longest one, by weight.
fn weighted(state: &Trees, env: &mut Env<'_>, tree: &Tree, number: &[u8]) -> Code {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for (_, values) in tree.prefixes(number) {
        for value in values {
            if let Item::Weighted(id, weight) = value {
                found.retain(|(known, _)| known != id);
                found.push((*id, *weight));
            }
        }
    }
    if found.is_empty() {
        return Code::FALSE;
    }
    found.sort_by_key(|(_, weight)| *weight);
    for (id, weight) in &found {
        write(env, state.dstid.as_ref(), Value::Int(*id));
        write(env, state.weight.as_ref(), Value::Int(*weight));
    }
    write(
        env,
        state.count.as_ref(),
        Value::Int(i64::try_from(found.len()).unwrap_or(i64::MAX)),
    );
    Code::TRUE
}

fn state(script: &Arc<Script>) -> Result<&Trees, RpcFault> {
    script
        .states
        .get::<Trees>()
        .ok_or_else(|| RpcFault::failed("mtree is not loaded"))
}

/// The trees that a call names: all without a name.
fn chosen<'a>(call: &RpcCall<'_>, state: &'a Trees) -> Result<impl Iterator<Item = &'a Planted>, RpcFault> {
    let name = call
        .opt_str(0)?
        .map(std::borrow::Cow::into_owned)
        .filter(|name| !name.is_empty());
    Ok(state
        .planted
        .iter()
        .filter(move |planted| name.as_ref().is_none_or(|name| *name == planted.source.name)))
}

fn show(item: &Item) -> serde_json::Value {
    match item {
        Item::Text(text) => String::from_utf8_lossy(text).into(),
        Item::Int(n) => (*n).into(),
        Item::Weighted(id, weight) => format!("{id}:{weight}").into(),
    }
}

fn list(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let mut rows = Vec::new();
    for planted in chosen(call, state(script)?)? {
        let name = &planted.source.name;
        planted.tree.load().walk(&mut |prefix, values| {
            let values: Vec<_> = values.iter().map(show).collect();
            rows.push(json!({ "tname": name, "tprefix": String::from_utf8_lossy(prefix), "tvalue": values }));
        });
    }
    Ok(serde_json::Value::from(rows).into())
}

fn summary(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let row = |planted: &Planted| {
        let tree = planted.tree.load();
        json!({ "table": planted.source.name, "item": {
            "ttype": planted.source.kind,
            "memsize": tree.size(),
            "nrnodes": tree.nodes(),
            "nritems": tree.items,
            "reload_count": planted.reloads.load(Ordering::Relaxed),
            "reload_time": planted.loaded_at.load(Ordering::Relaxed),
        } })
    };
    let rows: Vec<_> = chosen(call, state(script)?)?.map(row).collect();
    if rows.is_empty() {
        return Err(RpcFault::not_found("Tree not found"));
    }
    Ok(serde_json::Value::from(rows).into())
}

fn reload(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    let _alone = state.changing.lock();
    let mut found = false;
    for planted in chosen(call, state)? {
        found = true;
        let last = planted.loaded_at.load(Ordering::Relaxed);
        grow(state, planted, last).map_err(|why| RpcFault::failed(format!("Mtree Reload Failed: {why}")))?;
    }
    if found {
        Ok("Ok. Mtree reloaded.".into())
    } else {
        Err(RpcFault::failed("Can not find specified Mtree"))
    }
}

fn match_rpc(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    call.needs(2, "Invalid Parameters")?;
    let (name, number) = (call.str(0)?, call.str(1)?);
    let planted = state
        .get(name.as_bytes())
        .ok_or_else(|| RpcFault::not_found("Tree not found"))?;
    let tree = planted.tree.load();
    let (prefix, values) = tree
        .longest(number.as_bytes())
        .ok_or_else(|| RpcFault::not_found("Prefix not found"))?;
    let value = values.first().map_or(serde_json::Value::Null, show);
    Ok(json!({ "PREFIX": String::from_utf8_lossy(prefix), "TVALUE": value }).into())
}
