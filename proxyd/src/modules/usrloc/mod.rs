//! `loadmodule "usrloc"`: the user location table (Kamailio usrloc module).

pub(crate) mod contact;
pub(crate) mod store;
mod texts;
