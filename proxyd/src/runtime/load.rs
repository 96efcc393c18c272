//! From a compiled script to one in force: every module gets its state before anything is swapped.

use crate::control::methods::Methods;
use crate::script::compile::Compiled;
use crate::script::compile::parse_format;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::Script;
use crate::script::module::States;
use crate::stats::Statistics;
use std::path::Path;
use std::sync::Arc;

/// What modules may use while they are initialised.
pub(crate) struct Surroundings<'a> {
    /// Counters.
    pub(crate) statistics: &'a Arc<Statistics>,
    /// The RPC methods.
    pub(crate) methods: &'a Arc<Methods>,
    /// Where run-time files go.
    pub(crate) run_dir: &'a Path,
    /// Serves clients of the control plane.
    pub(crate) control: &'a tokio::runtime::Handle,
    /// The script will only be explained.
    pub(crate) trial: bool,
}

/// A module that cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("module {module}: {error}")]
pub struct LoadError {
    /// The module.
    pub module: &'static str,
    /// Why not.
    pub error: InitError,
}

/// Initialises every module; the compiler has put those that others need first.
pub(crate) fn initialise(
    compiled: Compiled,
    previous: Option<&Script>,
    around: &Surroundings<'_>,
) -> Result<Script, LoadError> {
    let Compiled { program, modules, .. } = compiled;
    let mut states = States::default();
    let parse = |text: &[u8]| parse_format(text, &modules, &program);
    for module in &modules {
        let Some(init) = module.def.init else { continue };
        let state = init(&mut Init {
            module,
            modules: &modules,
            states: &states,
            previous: previous.map(|script| &script.states),
            trial: around.trial,
            program: &program,
            statistics: around.statistics,
            methods: around.methods,
            run_dir: around.run_dir,
            control: around.control,
            parse: &parse,
            wall: crate::clock::wall(),
            seed: rand::random(),
        });
        states.insert(state.map_err(|error| LoadError {
            module: module.def.name,
            error,
        })?);
    }
    Ok(Script {
        program,
        modules,
        states,
    })
}
