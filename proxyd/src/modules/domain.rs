//! `loadmodule "domain"`: the domains that are ours (Kamailio module domain).

use super::database::Database;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use ahash::AHashMap;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::json;
use shared::db::Error;
use shared::db::Select;
use shared::db::Value as Cell;
use shared::db::schema;
use shared::sip::Uri;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A domain and what its attributes go by.
#[derive(Debug, PartialEq, Eq)]
struct Domain {
    name: String,
    did: Box<[u8]>,
}

/// An attribute's name and value.
type Attribute = (Box<[u8]>, Value<'static>);

/// The tables as they were read.
#[derive(Debug, Default)]
struct Table {
    domains: Vec<Domain>,
    /// Places by name in lower case.
    by_name: AHashMap<Box<[u8]>, usize>,
    attributes: BTreeMap<Box<[u8]>, Vec<Attribute>>,
}

/// What the module works with.
pub(crate) struct Domains {
    db: Arc<Database>,
    table: ArcSwap<Table>,
    reloading: Mutex<()>,
    names: Names,
    register_myself: bool,
}

/// Tables and columns.
struct Names {
    domain_table: String,
    attrs_table: String,
    did: String,
    domain: String,
    name: String,
    kind: String,
    value: String,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        super::DB_URL,
        Param::Text("domain_table", "domain", "Table of domains."),
        Param::Text("domain_attrs_table", "domain_attrs", "Table of their attributes."),
        Param::Text("did_col", "did", "Column of the domain's id, in both."),
        Param::Text("domain_col", "domain", "Column of the domain."),
        Param::Text("name_col", "name", "Column of the attribute's name."),
        Param::Text("type_col", "type", "Column of its type: 0 integer, 2 string."),
        Param::Text("value_col", "value", "Column of its value."),
        Param::Int("register_myself", 0, "The domains count as myself."),
    ],
    functions: &[
        Function::anywhere(
            &["is_from_local"],
            &[],
            "True when the host of From is one of the domains.",
            is_from_local,
        ),
        Function::anywhere(
            &["is_uri_host_local"],
            &[],
            "True when the host of the Request-URI is one of the domains.",
            is_uri_host_local,
        ),
        Function::anywhere(
            &["is_domain_local"],
            &[Arg::Text("domain")],
            "True when it is one of the domains.",
            is_domain_local,
        ),
        Function::anywhere(
            &["lookup_domain"],
            &[Arg::Text("domain"), Arg::OptText("prefix")],
            "True when it is one of the domains; its attributes and did go into AVPs.",
            lookup_domain,
        ),
    ],
    rpcs: &[
        Rpc {
            name: "domain.reload",
            doc: "Reads the tables again.",
            call: reload,
        },
        Rpc {
            name: "domain.dump",
            doc: "Lists domains and the names of attributes.",
            call: dump,
        },
    ],
    hooks: &[Hook::Myself(is_myself)],
    init: Some(init),
    ..ModuleDef::new("domain", "Knows the domains that are ours by a table.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let db = Database::shared(&super::db_url(init))?;
    let names = Names {
        domain_table: init.text("domain_table"),
        attrs_table: init.text("domain_attrs_table"),
        did: init.text("did_col"),
        domain: init.text("domain_col"),
        name: init.text("name_col"),
        kind: init.text("type_col"),
        value: init.text("value_col"),
    };
    for (table, name) in [
        (&names.domain_table, "domain"),
        (&names.attrs_table, "domain_attrs"),
    ] {
        if let Some(layout) = schema::table(name) {
            db.check_version(table, layout)?;
        }
    }
    let state = Domains {
        db,
        table: ArcSwap::default(),
        reloading: Mutex::new(()),
        names,
        register_myself: init.int("register_myself") != 0,
    };
    state.reload()?;
    Ok(Arc::new(state))
}

/// A name in lower case, without a place on the heap for usual ones.
fn lower(name: &[u8]) -> SmallVec<[u8; 64]> {
    name.iter().map(u8::to_ascii_lowercase).collect()
}

impl Domains {
    fn reload(&self) -> Result<(), Error> {
        let _alone = self.reloading.lock();
        let mut table = Table::default();
        let names = &self.names;
        let select = Select::from(&names.domain_table).columns(&[&names.domain, &names.did]);
        self.db.with(|db| {
            db.each(&select, &mut |row| {
                let cell = |at: usize| row.at(at).map(Cell::to_bytes).unwrap_or_default();
                let name = cell(0);
                if name.is_empty() {
                    let table = &names.domain_table;
                    crate::log::error(
                        "domain",
                        format_args!("table {table}: a domain is empty: row ignored"),
                    );
                    return Ok(());
                }
                let did = Some(cell(1))
                    .filter(|did| !did.is_empty())
                    .unwrap_or_else(|| name.clone());
                table
                    .by_name
                    .insert(lower(&name).as_slice().into(), table.domains.len());
                table.domains.push(Domain {
                    name: String::from_utf8_lossy(&name).into_owned(),
                    did: did.as_ref().into(),
                });
                Ok(())
            })
        })?;
        let columns = [&names.did, &names.name, &names.kind, &names.value].map(String::as_str);
        let select = Select::from(&names.attrs_table).columns(&columns);
        self.db.with(|db| {
            db.each(&select, &mut |row| {
                let cell = |at: usize| row.at(at).map(Cell::to_bytes).unwrap_or_default();
                let value = match row.at(2).and_then(Cell::as_int) {
                    Some(0) => row.at(3).and_then(Cell::as_int).map(Value::Int),
                    Some(2) => Some(Value::owned(cell(3).into_owned())),
                    _ => None,
                };
                let (did, name) = (cell(0), cell(1));
                let Some(value) = value else {
                    let (did, name) = (String::from_utf8_lossy(&did), String::from_utf8_lossy(&name));
                    crate::log::error(
                        "domain",
                        format_args!(
                            "attribute {name} of {did}: its type or value does not fit: row ignored"
                        ),
                    );
                    return Ok(());
                };
                table
                    .attributes
                    .entry(did.as_ref().into())
                    .or_default()
                    .push((name.as_ref().into(), value));
                Ok(())
            })
        })?;
        self.table.store(Arc::new(table));
        Ok(())
    }

    fn has(&self, host: &[u8]) -> bool {
        self.table.load().by_name.contains_key(lower(host).as_slice())
    }
}

fn is_myself(script: &Script, host: &[u8], _port: u16) -> bool {
    let state = script
        .states
        .get::<Domains>()
        .filter(|state| state.register_myself);
    state.is_some_and(|state| state.has(host))
}

fn is_host_local(call: &Call<'_, '_>, uri: Option<&[u8]>) -> Code {
    let Some(state) = call.state::<Domains>() else {
        return Code::FALSE;
    };
    let Some(uri) = uri.and_then(|uri| Uri::parse(uri).ok()) else {
        crate::log::error("domain", format_args!("{}: the URI cannot be read", call.name));
        return Code::FALSE;
    };
    state.has(uri.host).into()
}

fn is_from_local(call: &mut Call<'_, '_>) -> Code {
    is_host_local(call, call.env.ctx.msg.from().map(|from| from.uri))
}

fn is_uri_host_local(call: &mut Call<'_, '_>) -> Code {
    is_host_local(call, Some(call.env.ctx.uri()))
}

fn is_domain_local(call: &mut Call<'_, '_>) -> Code {
    call.state::<Domains>()
        .is_some_and(|state| state.has(&call.text(0)))
        .into()
}

fn lookup_domain(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Domains>() else {
        return Code::FALSE;
    };
    let table = state.table.load();
    let place = table.by_name.get(lower(&call.text(0)).as_slice());
    let Some(domain) = place.and_then(|at| table.domains.get(*at)) else {
        return Code::FALSE;
    };
    let prefix = call.text_owned(1);
    let mut push = |name: &[u8], value: Value<'static>| {
        call.env
            .lists
            .push_avp(&[prefix.as_slice(), name].concat(), value);
    };
    push(b"did", Value::owned(domain.did.as_ref()));
    for (name, value) in table.attributes.get(&domain.did).into_iter().flatten() {
        push(name, value.clone());
    }
    Code::TRUE
}

fn state(script: &Arc<Script>) -> Result<&Domains, RpcFault> {
    script
        .states
        .get::<Domains>()
        .ok_or_else(|| RpcFault::failed("domain is not loaded"))
}

fn reload(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    state(script)?.reload().map_err(|error| {
        crate::log::error("domain", format_args!("domain.reload: {error}"));
        RpcFault::failed(format!("Domain table reload failed: {error}"))
    })?;
    Ok(RpcReply::empty())
}

fn dump(_call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let table = state(script)?.table.load_full();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let domains: Vec<_> = table
        .domains
        .iter()
        .map(|domain| json!({"domain": domain.name, "did": text(&domain.did)}))
        .collect();
    let attributes = table.attributes.iter().map(|(did, list)| {
        let names: Vec<String> = list.iter().map(|(name, _)| text(name)).collect();
        json!({"did": text(did), "attrs": names})
    });
    let attributes: Vec<_> = attributes.collect();
    Ok(json!({"domains": domains, "attributes": attributes}).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::methods::Peer;
    use crate::modules::testing::Db;
    use crate::script::testing::Bench;

    #[test]
    fn domains_are_known() {
        let rows = [
            "INSERT INTO domain (domain, did) VALUES ('local.one', NULL), ('Local.Two', 'd2'), ('', NULL)",
            "INSERT INTO domain_attrs (did, name, type, value) VALUES ('d2', 'a', 2, 'str'), ('d2', 'n', 0, '7'), ('d2', 'x', 1, '7')",
        ];
        let mut db = Db::new(&["domain", "domain_attrs"], &rows);
        let params: &[(&'static str, &str)] = &[("db_url", &db.url), ("register_myself", "1")];
        let mut bench = Bench::new(&[(&MODULE, params)]);
        bench.receive("OPTIONS sip:x@LOCAL.one:5061 SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: <sip:a@far.lan>;tag=f\nTo: <sip:x@y>\nCall-ID: c\nCSeq: 1 OPTIONS\n\n");
        for (name, args, expected) in [
            ("is_from_local", &[][..], -1),
            ("is_uri_host_local", &[], 1),
            ("is_domain_local", &["local.two"], 1),
            ("is_domain_local", &["none"], -1),
            ("lookup_domain", &["LOCAL.two", "p_"], 1),
            ("lookup_domain", &["none"], -1),
        ] {
            assert_eq!(bench.call(name, args), expected, "{name} {args:?}");
        }
        let avp = |name: &[u8]| bench.lists.avps(name).next().cloned();
        assert_eq!(avp(b"p_did"), Some(Value::owned(*b"d2")));
        assert_eq!(
            (avp(b"p_a"), avp(b"p_n")),
            (Some(Value::owned(*b"str")), Some(Value::Int(7)))
        );
        assert!(bench.env().is_myself(b"local.two", 5080));
        assert!(!bench.env().is_myself(b"none", 0));

        db.connection
            .raw("INSERT INTO domain (domain) VALUES ('three')", &[])
            .unwrap();
        let script = Arc::new(bench.script);
        let call = RpcCall {
            method: "domain.reload",
            params: &[],
            peer: &Peer::internal(),
        };
        assert_eq!(reload(&call, &script).unwrap().into_value().unwrap(), json!({}));
        let dumped = dump(&call, &script).unwrap().into_value().unwrap();
        assert_eq!(
            dumped,
            json!({
                "domains": [
                    {"domain": "local.one", "did": "local.one"},
                    {"domain": "Local.Two", "did": "d2"},
                    {"domain": "three", "did": "three"},
                ],
                "attributes": [{"did": "d2", "attrs": ["a", "n"]}],
            })
        );
    }
}
