//! Where names are looked up: functions, pseudo-variables, transformations, events, of the core and of loaded modules.

use crate::script::core_functions;
use crate::script::diag::did_you_mean;
use crate::script::diag::nearest;
use crate::script::kamailio;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Names;
use crate::script::module::Pv;
use crate::script::module::Transformation;
use crate::script::span::Span;
use crate::script::transform;
use ahash::AHashMap;
use std::cell::Cell;

/// Events of the core (core cookbook, "Core Event Routes").
const CORE_EVENTS: &[&str] = &[
    "core:worker-one-init",
    "core:msg-received",
    "core:pre-routing",
    "core:receive-parse-error",
    "core:modinit-before",
    "tcp:closed",
    "tcp:timeout",
    "tcp:reset",
];

/// The names a script may use.
pub(super) struct Lookup {
    /// Every module there is.
    pub(super) modules: &'static [&'static ModuleDef],
    /// The modules that are loaded.
    pub(super) loaded: Vec<&'static ModuleDef>,
    /// Named flags.
    pub(super) flags: AHashMap<String, u32>,
    /// The string whose pseudo-variables are being compiled.
    pub(super) string: Cell<Option<Span>>,
}

impl Names for Lookup {
    fn flag(&self, name: &[u8]) -> Option<u32> {
        self.flags.get(std::str::from_utf8(name).ok()?).copied()
    }
}

impl Lookup {
    pub(super) fn new(modules: &'static [&'static ModuleDef]) -> Self {
        Self {
            modules,
            loaded: Vec::new(),
            flags: AHashMap::new(),
            string: Cell::new(None),
        }
    }

    /// The module of this name, as `loadmodule` writes it: with or without folder and `.so`.
    pub(super) fn module(&self, file: &str) -> Option<&'static ModuleDef> {
        let name = file.rsplit('/').next().unwrap_or(file);
        let name = name.strip_suffix(".so").unwrap_or(name);
        self.modules.iter().find(|module| module.name == name).copied()
    }

    /// What to say about a module that is not there.
    pub(super) fn module_help(&self, name: &str) -> Option<String> {
        if kamailio::modules().any(|known| known == name) {
            return Some("Kamailio has it, proxyd does not".to_owned());
        }
        let here = self.modules.iter().map(|module| module.name);
        did_you_mean(name, here).or_else(|| {
            nearest(name, kamailio::modules())
                .map(|near| format!("did you mean `{near}`? Kamailio has it, proxyd does not"))
        })
    }

    /// The same for a name that one of Kamailio's modules has.
    fn owner_help(&self, name: &str) -> Option<String> {
        kamailio::owner_help(name, |owner| self.module(owner).is_some())
    }

    /// The rows of a function, and whether it is the core's.
    pub(super) fn functions(&self, name: &str) -> (Vec<&'static Function>, bool) {
        if let Some(function) = core_functions::find(name) {
            return (vec![function], true);
        }
        let rows = self.loaded.iter().flat_map(|module| module.functions);
        (rows.filter(|row| row.names.contains(&name)).collect(), false)
    }

    /// What to say about a function that is not there.
    pub(super) fn function_help(&self, name: &str) -> Option<String> {
        let has = |module: &&&'static ModuleDef| module.functions.iter().any(|row| row.names.contains(&name));
        if let Some(module) = self.modules.iter().find(has) {
            return Some(format!("it needs `loadmodule \"{}.so\"`", module.name));
        }
        if let Some(help) = self.owner_help(name) {
            return Some(help);
        }
        let loaded = self
            .loaded
            .iter()
            .flat_map(|module| module.functions)
            .chain(core_functions::FUNCTIONS);
        let near = nearest(name, loaded.flat_map(|row| row.names.iter().copied()));
        if let Some(near) = near {
            return Some(format!("did you mean `{near}`?"));
        }
        let all = self
            .modules
            .iter()
            .flat_map(|module| module.functions.iter().map(move |row| (module, row)));
        let near = nearest(name, all.clone().flat_map(|(_, row)| row.names.iter().copied()))?;
        let (module, _) = all.clone().find(|(_, row)| row.names.contains(&near))?;
        Some(format!(
            "did you mean `{near}`? It needs `loadmodule \"{}.so\"`",
            module.name
        ))
    }

    /// The pseudo-variable of this name.
    pub(super) fn pv(&self, name: &str) -> Option<&'static Pv> {
        let name = if name == "?" { "rc" } else { name };
        crate::script::pv::find(name.as_bytes()).or_else(|| {
            let mut rows = self.loaded.iter().flat_map(|module| module.pvs);
            rows.find(|row| row.names.contains(&name))
        })
    }

    /// What to say about a pseudo-variable that is not there.
    pub(super) fn pv_help(&self, name: &str) -> Option<String> {
        let has = |module: &&&'static ModuleDef| module.pvs.iter().any(|row| row.names.contains(&name));
        if let Some(module) = self.modules.iter().find(has) {
            return Some(format!("it needs `loadmodule \"{}.so\"`", module.name));
        }
        if let Some(help) = self.owner_help(&format!("${name}")) {
            return Some(help);
        }
        let core = crate::script::pv::PVS.iter().flat_map(|table| table.iter());
        let all = core.chain(self.loaded.iter().flat_map(|module| module.pvs));
        let names: Vec<&'static str> = all.flat_map(|row| row.names.iter().copied()).collect();
        // `$rUser`: the name may run into the text behind it
        let exact = names
            .iter()
            .filter(|known| name.starts_with(**known) && known.len() >= 2)
            .max_by_key(|n| n.len());
        match nearest(
            name,
            names
                .iter()
                .copied()
                .filter(|known| known.len().abs_diff(name.len()) <= 2),
        ) {
            Some(near) => Some(format!("did you mean `${near}`?")),
            None => exact.map(|known| format!("did you mean `$({known})` with text behind it?")),
        }
    }

    /// The transformation of this class and name.
    pub(super) fn transformation(&self, name: &str) -> Option<&'static Transformation> {
        transform::find(name.as_bytes()).or_else(|| {
            let mut rows = self.loaded.iter().flat_map(|module| module.transformations);
            rows.find(|row| row.name == name)
        })
    }

    /// What to say about a transformation that is not there.
    pub(super) fn transformation_help(&self, name: &str) -> Option<String> {
        let core = transform::TRANSFORMATIONS.iter().flat_map(|table| table.iter());
        let all = core.chain(self.loaded.iter().flat_map(|module| module.transformations));
        nearest(name, all.map(|row| row.name)).map(|near| format!("did you mean `{{{near}}}`?"))
    }

    /// Whether something raises an event: a loaded module, the core, or a name that the script itself gives.
    pub(super) fn is_event(&self, name: &str) -> bool {
        let known =
            |event: &str| event == name || name.strip_prefix(event).is_some_and(|rest| rest.starts_with(':'));
        CORE_EVENTS.iter().any(|event| known(event))
            || self.loaded.iter().any(|module| {
                module
                    .events
                    .iter()
                    .any(|event| known(event.trim_end_matches('*').trim_end_matches(':')))
            })
    }

    /// What to say about an event that nothing raises.
    pub(super) fn event_help(&self, name: &str) -> Option<String> {
        if let Some(module) = self.modules.iter().find(|module| module.events.contains(&name)) {
            return Some(format!("it needs `loadmodule \"{}.so\"`", module.name));
        }
        if let Some(help) = self.owner_help(name) {
            return Some(help);
        }
        let all = self
            .modules
            .iter()
            .flat_map(|module| module.events.iter().copied());
        did_you_mean(name, all.chain(CORE_EVENTS.iter().copied()))
    }
}
