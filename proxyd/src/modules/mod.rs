//! Everything `loadmodule` accepts.

use crate::script::module::Init;
use crate::script::module::Loaded;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use std::fmt::Write;

mod acc;
mod alias_db;
mod async_routes;
pub(crate) mod auth;
mod auth_db;
mod avpops;
mod cfg_rpc;
mod cfgutils;
mod corex;
mod counters;
mod ctl;
pub(crate) mod database;
mod db;
mod debugger;
mod dialog;
mod dialplan;
mod dispatcher;
mod dlgs;
mod domain;
mod enum_query;
mod exec;
mod group;
mod htable;
mod http;
mod http_async_client;
mod http_client;
mod ipops;
mod jansson;
mod json;
mod jsonrpcs;
mod kex;
mod maxfwd;
mod media_relay;
mod mqueue;
mod mtree;
mod nathelper;
mod outbound;
mod path;
mod permissions;
mod pike;
mod presence;
mod presence_dialoginfo;
mod presence_mwi;
mod presence_xml;
mod pv;
mod regex;
pub(crate) mod registrar;
mod row_writer;
mod rr;
mod rtimer;
mod rtpengine;
mod rtpproxy;
mod sanity;
mod sdpops;
mod siptrace;
mod siputils;
mod sl;
mod speeddial;
mod sqlops;
mod statistics;
pub(crate) mod stun;
#[cfg(test)]
mod testing;
pub(crate) mod textops;
pub(crate) mod textopsx;
mod timer;
pub(crate) mod tls;
pub(crate) mod tm;
mod tmx;
mod uac;
mod uac_redirect;
mod uri_db;
pub(crate) mod usrloc;
mod websocket;
pub(crate) mod xhttp;
mod xhttp_prom;
mod xlog;
mod xml;

/// Every module, by name.
pub static MODULES: &[&ModuleDef] = &[
    &acc::MODULE,
    &alias_db::MODULE,
    &async_routes::MODULE,
    &auth::MODULE,
    &auth_db::MODULE,
    &avpops::MODULE,
    &cfg_rpc::MODULE,
    &cfgutils::MODULE,
    &corex::MODULE,
    &counters::MODULE,
    &ctl::MODULE,
    &db::MYSQL,
    &db::POSTGRES,
    &db::SQLITE,
    &db::TEXT,
    &debugger::MODULE,
    &dialog::MODULE,
    &dialplan::MODULE,
    &dispatcher::MODULE,
    &dlgs::MODULE,
    &domain::MODULE,
    &enum_query::MODULE,
    &exec::MODULE,
    &group::MODULE,
    &htable::MODULE,
    &http_async_client::MODULE,
    &http_client::MODULE,
    &ipops::MODULE,
    &jansson::MODULE,
    &json::MODULE,
    &jsonrpcs::MODULE,
    &kex::MODULE,
    &maxfwd::MODULE,
    &mqueue::MODULE,
    &mtree::MODULE,
    &nathelper::MODULE,
    &outbound::MODULE,
    &path::MODULE,
    &permissions::MODULE,
    &pike::MODULE,
    &presence::MODULE,
    &presence_dialoginfo::MODULE,
    &presence_mwi::MODULE,
    &presence_xml::MODULE,
    &pv::MODULE,
    &regex::MODULE,
    &registrar::MODULE,
    &rr::MODULE,
    &rtimer::MODULE,
    &rtpengine::MODULE,
    &rtpproxy::MODULE,
    &sanity::MODULE,
    &sdpops::MODULE,
    &siptrace::MODULE,
    &siputils::MODULE,
    &sl::MODULE,
    &speeddial::MODULE,
    &sqlops::MODULE,
    &statistics::MODULE,
    &stun::MODULE,
    &textops::MODULE,
    &textopsx::MODULE,
    &timer::MODULE,
    &tls::MODULE,
    &tm::MODULE,
    &tmx::MODULE,
    &uac::MODULE,
    &uac_redirect::MODULE,
    &uri_db::MODULE,
    &usrloc::MODULE,
    &websocket::MODULE,
    &xhttp::MODULE,
    &xhttp_prom::MODULE,
    &xlog::MODULE,
];

/// The module of this name, with or without `.so`.
pub fn find(name: &str) -> Option<&'static ModuleDef> {
    let name = name.strip_suffix(".so").unwrap_or(name);
    MODULES
        .binary_search_by(|module| module.name.cmp(name))
        .ok()
        .and_then(|at| MODULES.get(at).copied())
}

/// A reference page of every module, made from the tables.
pub fn reference() -> String {
    let mut out = String::new();
    for module in MODULES {
        let _ = writeln!(out, "# {}\n\n{}\n", module.name, module.doc);
        section(
            &mut out,
            "Parameters",
            module
                .params
                .iter()
                .map(|param| (param.name().to_owned(), describe(param))),
        );
        let functions = module.functions.iter().flat_map(|function| {
            let args: Vec<String> = function
                .args
                .iter()
                .map(|arg| {
                    if arg.optional() {
                        format!("[{}]", arg.name())
                    } else {
                        arg.name().to_owned()
                    }
                })
                .collect();
            let args = args.join(", ");
            function
                .names
                .iter()
                .map(move |name| (format!("{name}({args})"), function.doc.to_owned()))
        });
        section(&mut out, "Functions", functions);
        let pvs = module.pvs.iter().flat_map(|pv| {
            pv.names
                .iter()
                .map(|name| (format!("${name}"), pv.doc.to_owned()))
        });
        section(&mut out, "Pseudo-variables", pvs);
        section(
            &mut out,
            "RPCs",
            module
                .rpcs
                .iter()
                .map(|rpc| (rpc.name.to_owned(), rpc.doc.to_owned())),
        );
        section(
            &mut out,
            "Events",
            module
                .events
                .iter()
                .map(|event| ((*event).to_owned(), String::new())),
        );
    }
    out
}

fn section(out: &mut String, title: &str, rows: impl Iterator<Item = (String, String)>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "## {title}\n");
    for (name, doc) in rows {
        let _ = writeln!(out, "- `{name}` {doc}");
    }
    out.push('\n');
}

fn describe(param: &Param) -> String {
    match param {
        Param::Int(_, default, doc) => format!("(integer, {default}) {doc}"),
        Param::Text(_, default, doc) => format!("(string, {default:?}) {doc}"),
        Param::List(_, doc) => format!("(string, repeatable) {doc}"),
        Param::Pv(_, default, doc) => format!("(pseudo-variable, {default:?}) {doc}"),
        Param::Ignored(_, why) => format!("(accepted without effect) {why}"),
    }
}

/// The parameters that a script sets and that have no effect here, with the reason.
pub fn without_effect(modules: &[Loaded]) -> String {
    let mut out = String::new();
    for module in modules {
        for (name, _) in &module.params.values {
            let ignored = module.def.params.iter().find_map(|param| match param {
                Param::Ignored(known, why) if known == name => Some(*why),
                _ => None,
            });
            if let Some(why) = ignored {
                let _ = writeln!(out, "modparam {}.{name}: no effect: {why}", module.def.name);
            }
        }
    }
    out
}

/// The parameter of modules that have the daemon's database unless another is named.
pub(crate) const DB_URL: Param = Param::Text(
    "db_url",
    "",
    "The database; not given, the one that the daemon makes.",
);

/// The database of a module: its `db_url`, else the file that the daemon makes.
pub(crate) fn db_url(init: &Init<'_>) -> String {
    let given = init.text("db_url");
    if !given.is_empty() {
        return given;
    }
    let places = shared::paths::Places::find(None, &shared::paths::environment);
    format!("sqlite:///{}", places.database().display())
}

/// The name of an AVP that a parameter names: `$avp(name)`, `$avp(s:name)` or the bare name.
pub(crate) fn avp_name(text: &str) -> Option<Box<[u8]>> {
    let text = text.trim();
    let inner = match text.strip_prefix('$') {
        Some(pv) => pv.strip_prefix("avp(")?.strip_suffix(')')?.trim(),
        None => text,
    };
    // As the pseudo-variable reads it: `i:` is part of the name.
    let name = inner.strip_prefix("s:").unwrap_or(inner);
    (!name.is_empty()).then(|| name.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(MODULES.is_sorted_by(|a, b| a.name < b.name));
        for module in MODULES {
            assert!(std::ptr::eq(find(module.name).expect("listed"), *module));
        }
    }
}
