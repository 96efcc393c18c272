//! How a module begins: its parameters, what its `init` may use, and the script in force that comes of it.

use super::Hook;
use super::ModuleDef;
use super::Param;
use super::State;
use crate::control::methods::Methods;
use crate::script::program::Format;
use crate::script::program::Program;
use crate::script::program::PvRef;
use std::any::Any;
use std::any::TypeId;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::sync::Arc;

/// Why a module cannot serve with these parameters.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A parameter's value does not fit.
    #[error("parameter {name:?}: {why}")]
    Param {
        /// The parameter.
        name: &'static str,
        /// What is wrong and what to do.
        why: String,
    },
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] shared::db::Error),
    /// A file or socket.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: String,
        /// What.
        error: std::io::Error,
    },
    /// Another module is missing or too old.
    #[error("{0}")]
    Refused(String),
}

/// The value given to a module parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamValue {
    /// An integer.
    Int(i64),
    /// A string.
    Text(Vec<u8>),
}

/// The parameters of one loaded module, in the order they were set.
#[derive(Debug, Default)]
pub struct Params {
    /// Name and value.
    pub values: Vec<(&'static str, ParamValue)>,
    /// Parameters that are pseudo-variables, compiled.
    pub pvs: Vec<(&'static str, Arc<PvRef>)>,
}

impl Params {
    /// Every value of one of them.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ParamValue> {
        let values = self.values.iter().filter(move |(own, _)| *own == name);
        values.map(|(_, value)| value)
    }
}

/// A module as the script loads it.
pub struct Loaded {
    /// Its tables.
    pub def: &'static ModuleDef,
    /// Its parameters.
    pub params: Params,
}

/// What a module's `init` may use.
pub struct Init<'a> {
    /// The module and its parameters.
    pub module: &'a Loaded,
    /// All loaded modules, for a parameter of another one.
    pub modules: &'a [Loaded],
    /// The states made so far (a module is initialised after those it needs).
    pub states: &'a States,
    /// The states of the script before a reload: tables that live on.
    pub previous: Option<&'a States>,
    /// The script will only be explained: nothing of what `previous` shares may be changed, no database written.
    pub trial: bool,
    /// Core parameters and flags.
    pub program: &'a Program,
    /// Counters shown by `stats.*`.
    pub statistics: &'a Arc<crate::stats::Statistics>,
    /// Every RPC method, for modules that serve them by another transport.
    pub methods: &'a Arc<Methods>,
    /// Serves clients of the control plane.
    pub control: &'a tokio::runtime::Handle,
    /// The run-time directory (`-Y`).
    pub run_dir: &'a std::path::Path,
    /// Compiles a text with pseudo-variables, for parameters such as `log_extra`.
    pub parse: &'a dyn Fn(&[u8]) -> Result<Format, String>,
    /// Wall time since 1970-01-01 UTC.
    pub wall: std::time::Duration,
    /// An unpredictable seed.
    pub seed: u64,
}

impl Init<'_> {
    fn last(&self, name: &str) -> Option<&ParamValue> {
        self.module
            .params
            .values
            .iter()
            .rev()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    /// An integer parameter or its default.
    pub fn int(&self, name: &str) -> i64 {
        match self.last(name) {
            Some(ParamValue::Int(n)) => *n,
            Some(ParamValue::Text(text)) => crate::script::value::leading_int(text).unwrap_or(0),
            None => self
                .module
                .def
                .params
                .iter()
                .find_map(|p| default_int(p, name))
                .unwrap_or(0),
        }
    }

    /// A string parameter or its default.
    pub fn text(&self, name: &str) -> String {
        match self.last(name) {
            Some(ParamValue::Int(n)) => n.to_string(),
            Some(ParamValue::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            None => self
                .module
                .def
                .params
                .iter()
                .find_map(|p| default_text(p, name))
                .unwrap_or("")
                .to_owned(),
        }
    }

    /// Every value of a parameter that may be given several times.
    pub fn list(&self, name: &str) -> Vec<String> {
        let given = self.module.params.values.iter().filter(|(n, _)| *n == name);
        given
            .map(|(_, value)| match value {
                ParamValue::Int(n) => n.to_string(),
                ParamValue::Text(text) => String::from_utf8_lossy(text).into_owned(),
            })
            .collect()
    }

    /// A pseudo-variable parameter.
    pub fn pv(&self, name: &str) -> Option<Arc<PvRef>> {
        self.module
            .params
            .pvs
            .iter()
            .rev()
            .find(|(n, _)| *n == name)
            .map(|(_, pv)| Arc::clone(pv))
    }

    /// Whether the script sets it.
    pub fn is_set(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// The state that the module had before the reload.
    pub fn previous<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.previous?.share::<T>()
    }
}

fn default_int(param: &Param, name: &str) -> Option<i64> {
    if let Param::Int(n, value, _) = param {
        (*n == name).then_some(*value)
    } else {
        None
    }
}

fn default_text(param: &Param, name: &str) -> Option<&'static str> {
    match param {
        Param::Text(n, value, _) | Param::Pv(n, value, _) => (*n == name).then_some(*value),
        Param::Int(..) | Param::List(..) | Param::Ignored(..) => None,
    }
}

/// The states of all loaded modules, by type.
#[derive(Default)]
pub struct States {
    by_type: HashMap<TypeId, State, BuildHasherDefault<ByTypeId>>,
}

/// Takes the hash that a `TypeId` is.
#[derive(Default)]
struct ByTypeId(u64);

impl Hasher for ByTypeId {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl States {
    /// The state of a module; none when it is not loaded.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.by_type.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// The same, shared.
    pub fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.by_type.get(&TypeId::of::<T>())?).downcast().ok()
    }

    /// Adds a state.
    pub fn insert(&mut self, state: State) {
        self.by_type.insert((*state).type_id(), state);
    }
}

/// A script in force: the compiled program with the states of its modules.
pub struct Script {
    /// What was compiled.
    pub program: Program,
    /// Loaded modules in order.
    pub modules: Vec<Loaded>,
    /// Their states.
    pub states: States,
}

impl Script {
    /// Every hook of the loaded modules.
    pub fn hooks(&self) -> impl Iterator<Item = &'static Hook> {
        self.modules.iter().flat_map(|module| module.def.hooks)
    }

    /// Whether a module is loaded.
    pub fn has(&self, module: &str) -> bool {
        self.modules.iter().any(|loaded| loaded.def.name == module)
    }
}
