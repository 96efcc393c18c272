//! The script the daemon runs: a file, or the built-in one with a database of its own.

use super::Layout;
use super::StartError;
use super::at;
use crate::args;
use crate::args::Args;
use crate::modules;
use crate::script::compile;
use crate::script::compile::Additions;
use crate::script::compile::Compiled;
use crate::script::module::ParamValue;
use crate::script::parse;
use crate::script::preprocess;
use crate::script::preprocess::Files;
use shared::db;
use shared::db::Access;
use shared::db::schema;
use std::io;
use std::io::Write;
use std::path::Path;

/// The script that runs without `-f`.
const BUILT_IN: &str = include_str!("../../../etc/proxyd.cfg");

/// What messages call it.
const BUILT_IN_NAME: &str = "built-in.cfg";

/// The files of scripts, the built-in one among them.
struct ScriptFiles;

impl Files for ScriptFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new(BUILT_IN_NAME) {
            Ok(BUILT_IN.as_bytes().to_vec())
        } else {
            std::fs::read(path)
        }
    }
}

/// Compiles the script that the arguments name.
pub fn compile_script(args: &Args, layout: &Layout) -> Compiled {
    let mut defines = args.define.clone();
    let path = match &args.config {
        Some(path) => path.as_path(),
        None => {
            defines.push(format!("DBURL=\"sqlite:///{}\"", layout.database.display()));
            Path::new(BUILT_IN_NAME)
        }
    };
    let substs = [
        ("subst", &args.subst),
        ("substdef", &args.substdef),
        ("substdefs", &args.substdefs),
    ];
    let substs = substs
        .iter()
        .flat_map(|(kind, list)| list.iter().map(|text| ((*kind).to_owned(), text.clone())));
    let options = preprocess::Options {
        defines,
        substs: substs.collect(),
    };
    let parsed = parse::load(&ScriptFiles, path, &options);
    let modparams = args
        .modparam
        .iter()
        .filter_map(|text| args::modparam(text).ok())
        .map(|param| {
            let value = match param.value {
                args::ModValue::Int(n) => ParamValue::Int(n.into()),
                args::ModValue::Text(text) => ParamValue::Text(text.into_bytes()),
            };
            (param.module, param.name, value)
        });
    let additions = Additions {
        modules: args.loadmodule.clone(),
        modparams: modparams.collect(),
    };
    compile::compile(parsed, modules::MODULES, &additions)
}

/// The compiled script; its mistakes are printed.
pub(super) fn compiled(args: &Args, layout: &Layout) -> Result<Compiled, StartError> {
    let compiled = compile_script(args, layout);
    if compiled.is_ok() {
        return Ok(compiled);
    }
    let text = compiled.found.render(compiled.program.sources(), false);
    let _ = io::stderr().lock().write_all(text.as_bytes());
    Err(StartError::Script)
}

/// Makes ready what the built-in script needs, and tells who starts it for the first time how to go on.
pub(super) fn prepare(args: &Args, layout: &Layout) -> Result<(), StartError> {
    if args.config.is_none() && create_database(layout)? {
        first_steps(args, layout);
    }
    Ok(())
}

/// Creates the database of the built-in script when there is none; true when it was created.
fn create_database(layout: &Layout) -> Result<bool, StartError> {
    let path = &layout.database;
    if path.exists() {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let made = db::open_with(&db::Url::sqlite(path.clone()), Access::Create).and_then(|mut database| {
        let tables = schema::tables_of("standard");
        db::transaction(&mut *database, |database| schema::create(database, &tables))
    });
    match made {
        Ok(_) => Ok(true),
        Err(error) => Err(StartError::Database {
            path: path.clone(),
            error,
        }),
    }
}

/// What to do after the first start, on stderr.
fn first_steps(args: &Args, layout: &Layout) {
    let home = args
        .home
        .as_ref()
        .map(|home| format!(" --home {}", home.display()))
        .unwrap_or_default();
    let text = format!(
        "proxyd: created the database {database}\n\
         Next steps, in another shell:\n  \
           proxyctl{home} add alice@example.com          add a user (asks for the password)\n  \
           proxyctl{home} address add 200 10.0.1.102 32 5060 \"Carrier\"   admit a carrier\n  \
           proxyctl{home} ul dump                        see who is registered\n",
        database = layout.database.display()
    );
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
