//! Everything `loadmodule` accepts.

use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::Loaded;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use std::fmt::Write;

pub(crate) mod auth;
mod auth_db;
mod corex;
mod ctl;
pub(crate) mod database;
mod db;
mod jsonrpcs;
mod kex;
mod maxfwd;
mod nathelper;
mod path;
mod permissions;
mod pv;
pub(crate) mod registrar;
mod rr;
mod sanity;
mod sl;
pub(crate) mod textops;
pub(crate) mod textopsx;
pub(crate) mod tm;
mod tmx;
pub(crate) mod usrloc;
pub(crate) mod xhttp;
mod xlog;

/// Every module, by name.
pub static MODULES: &[&ModuleDef] = &[
    &auth::MODULE,
    &auth_db::MODULE,
    &corex::MODULE,
    &ctl::MODULE,
    &db::MYSQL,
    &db::POSTGRES,
    &db::SQLITE,
    &db::TEXT,
    &jsonrpcs::MODULE,
    &kex::MODULE,
    &maxfwd::MODULE,
    &nathelper::MODULE,
    &path::MODULE,
    &permissions::MODULE,
    &pv::MODULE,
    &registrar::MODULE,
    &rr::MODULE,
    &sanity::MODULE,
    &sl::MODULE,
    &textops::MODULE,
    &textopsx::MODULE,
    &tm::MODULE,
    &tmx::MODULE,
    &usrloc::MODULE,
    &xhttp::MODULE,
    &xlog::MODULE,
];

/// The module of this name, with or without `.so`.
pub fn find(name: &str) -> Option<&'static ModuleDef> {
    let name = name.strip_suffix(".so").unwrap_or(name);
    MODULES.binary_search_by(|module| module.name.cmp(name)).ok().and_then(|at| MODULES.get(at).copied())
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

/// Reads a module's pseudo-variable.
type PvGet = for<'e, 'x> fn(&'e Env<'x>, &'e PvSpec) -> Value<'e>;

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
    let name = inner.strip_prefix("s:").or_else(|| inner.strip_prefix("i:")).unwrap_or(inner);
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
