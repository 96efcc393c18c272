//! Everything `loadmodule` accepts.

use crate::script::module::Env;
use crate::script::module::ModuleDef;
use crate::script::module::PvSpec;
use crate::script::value::Value;

mod avpops;
mod cfg_rpc;
mod cfgutils;
mod corex;
mod counters;
mod db;
mod debugger;
mod ipops;
mod kex;
mod maxfwd;
mod pv;
mod regex;
mod rr;
mod sanity;
mod siputils;
mod sl;
mod statistics;
pub(crate) mod textops;
pub(crate) mod textopsx;
pub(crate) mod tm;
mod tmx;
mod xlog;

/// Reads a module's pseudo-variable.
type PvGet = for<'e, 'x> fn(&'e Env<'x>, &'e PvSpec) -> Value<'e>;

/// Every module, by name.
pub static MODULES: &[&ModuleDef] = &[
    &avpops::MODULE,
    &cfg_rpc::MODULE,
    &cfgutils::MODULE,
    &corex::MODULE,
    &counters::MODULE,
    &db::MYSQL,
    &db::POSTGRES,
    &db::SQLITE,
    &db::TEXT,
    &debugger::MODULE,
    &ipops::MODULE,
    &kex::MODULE,
    &maxfwd::MODULE,
    &pv::MODULE,
    &regex::MODULE,
    &rr::MODULE,
    &sanity::MODULE,
    &siputils::MODULE,
    &sl::MODULE,
    &statistics::MODULE,
    &textops::MODULE,
    &textopsx::MODULE,
    &tm::MODULE,
    &tmx::MODULE,
    &xlog::MODULE,
];

/// The module of this name, with or without `.so`.
pub fn find(name: &str) -> Option<&'static ModuleDef> {
    let name = name.strip_suffix(".so").unwrap_or(name);
    MODULES.binary_search_by(|module| module.name.cmp(name)).ok().and_then(|at| MODULES.get(at).copied())
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
