//! Everything `loadmodule` accepts.

use crate::script::module::Init;
use crate::script::module::ModuleDef;

pub(crate) mod auth;
mod auth_db;
pub(crate) mod database;
mod permissions;
mod rr;
mod sl;
pub(crate) mod tm;
mod tmx;

/// Every module, by name.
pub static MODULES: &[&ModuleDef] = &[
    &auth::MODULE,
    &auth_db::MODULE,
    &permissions::MODULE,
    &rr::MODULE,
    &sl::MODULE,
    &tm::MODULE,
    &tmx::MODULE,
];

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
