//! A stage for unit tests: one message, an empty script and a proxy that writes down what it was asked for.

mod bench;
mod fake;

pub(crate) use bench::Bench;
pub(crate) use fake::FakeHost;

use super::lists::Lists;
use super::module::Call;
use super::module::CompiledArg;
use super::module::Env;
use super::module::Function;
use super::module::Index;
use super::module::ModuleDef;
use super::module::Names;
use super::module::PvData;
use super::module::PvInner;
use super::module::PvSpec;
use super::module::Routes;
use super::module::Script;
use super::module::SetError;
use super::module::State;
use super::module::States;
use super::program::Format;
use super::program::Program;
use super::program::PvRef;
use super::span::Span;
use super::value::Value;
use super::vars::Vars;
use crate::proxy::context::Context;
use shared::sip::Message;
use std::net::SocketAddr;

/// Everything that an [`Env`] borrows.
pub(crate) struct Stage {
    /// The message under way.
    pub(crate) ctx: Context,
    /// Its lists.
    pub(crate) lists: Lists,
    /// The worker's variables.
    pub(crate) vars: Vars,
    /// The script.
    pub(crate) script: Script,
    /// The proxy.
    pub(crate) host: FakeHost,
    /// The kind of route.
    pub(crate) route: Routes,
    /// Messages of failed assignments and unknown names.
    pub(crate) rc: i64,
}

impl Stage {
    /// A stage for a message from 127.0.0.2:5060 by UDP to our 127.0.0.1:5060, which is also `test.lan`.
    pub(crate) fn new(message: &str) -> Self {
        let mut ctx = Context {
            msg: Message::parse(message.replace('\n', "\r\n")).expect("a test's message"),
            ..Context::default()
        };
        ctx.source.peer = SocketAddr::from(([127, 0, 0, 2], 5060));
        ctx.source.local = SocketAddr::from(([127, 0, 0, 1], 5060));
        let script = Script {
            program: Program::default(),
            modules: Vec::new(),
            states: States::default(),
        };
        Self {
            ctx,
            lists: Lists::default(),
            vars: Vars::default(),
            script,
            host: FakeHost::new(),
            route: Routes::REQUEST,
            rc: 1,
        }
    }

    /// An OPTIONS request with all that is usual.
    pub(crate) fn options() -> Self {
        Self::new(
            "OPTIONS sip:bob@test.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKabc\nMax-Forwards: 70\n\
             From: \"Al\" <sip:alice@a.example>;tag=ft1\nTo: <sip:bob@test.lan>\nCall-ID: cid-1@x\nCSeq: 7 OPTIONS\n\
             Contact: <sip:alice@127.0.0.2:5060>\nUser-Agent: phone 1.0\nContent-Length: 0\n\n",
        )
    }

    /// Adds a module's state.
    pub(crate) fn with(mut self, state: State) -> Self {
        self.script.states.insert(state);
        self
    }

    /// What a route works on.
    pub(crate) fn env(&mut self) -> Env<'_> {
        Env {
            ctx: &mut self.ctx,
            lists: &mut self.lists,
            vars: &mut self.vars,
            script: &self.script,
            host: &mut self.host,
            route: self.route,
            rc: self.rc,
        }
    }

    /// Reads a core pseudo-variable: `ru`, `hdr(Via)[1]`, `avp(x)[*]`; `NULL` and `E: …` for null and errors.
    pub(crate) fn read(&mut self, pv: &str) -> String {
        let (row, spec) = match compile_pv(pv) {
            Ok(compiled) => compiled,
            Err(why) => return format!("E: {why}"),
        };
        let env = self.env();
        match (row.get)(&env, &spec) {
            Value::Null => "NULL".to_owned(),
            value => String::from_utf8_lossy(&value.to_text()).into_owned(),
        }
    }

    /// Assigns to a core pseudo-variable.
    pub(crate) fn write(&mut self, pv: &str, value: Value<'_>) -> Result<(), SetError> {
        let (row, spec) = compile_pv(pv).expect("a pseudo-variable");
        let set = row.set.expect("it can be assigned to");
        set(&mut self.env(), &spec, value)
    }

    /// Calls a module's function with constant arguments.
    pub(crate) fn call(&mut self, module: &ModuleDef, name: &str, args: &[&str]) -> i32 {
        let compiled: Vec<CompiledArg> = args
            .iter()
            .map(|arg| CompiledArg::Text(arg.as_bytes().into()))
            .collect();
        self.call_with(module, name, compiled)
    }

    /// Calls a module's function with compiled arguments; texts become what the table asks for.
    pub(crate) fn call_with(&mut self, module: &ModuleDef, name: &str, args: Vec<CompiledArg>) -> i32 {
        let function: &Function = module
            .functions
            .iter()
            .find(|row| row.names.contains(&name) && row.args.len() >= args.len())
            .unwrap_or_else(|| panic!("no function {name}"));
        let args: Vec<CompiledArg> = args
            .into_iter()
            .zip(function.args)
            .map(|(arg, kind)| fit(arg, *kind))
            .collect();
        let mut env = self.env();
        (function.call)(&mut Call {
            env: &mut env,
            args: &args,
            name,
            span: Span::default(),
        })
        .0
    }

    /// The message with its edits.
    pub(crate) fn edited(&self) -> String {
        String::from_utf8_lossy(&self.ctx.lumps.apply(&self.ctx.msg)).into_owned()
    }
}

/// Makes of a text what the compiler would make of it.
fn fit(arg: CompiledArg, kind: super::module::Arg) -> CompiledArg {
    use super::module::Arg;
    use super::transform::subst::Subst;
    use shared::regex::Options;
    use shared::regex::Regex;
    let CompiledArg::Text(text) = &arg else { return arg };
    let regex = |options| CompiledArg::Regex(Regex::compile(text, options).expect("a regular expression"));
    match kind {
        Arg::Regex(_) | Arg::OptRegex(_) => regex(Options::CONDITION),
        Arg::LineRegex(_) => regex(Options {
            ignore_case: true,
            newline: true,
        }),
        Arg::Pv(_) | Arg::OptPv(_) if text.starts_with(b"$") => pv(&String::from_utf8_lossy(text)),
        Arg::Subst(_) => CompiledArg::Subst(Subst::constant(text).expect("a substitution")),
        _ => arg,
    }
}

struct NoNames;

impl Names for NoNames {
    fn flag(&self, _: &[u8]) -> Option<u32> {
        None
    }
}

/// Compiles `name`, `name(inner)` or `name(inner)[index]`.
fn compile_pv(text: &str) -> Result<(&'static super::module::Pv, PvSpec), String> {
    let name = text.split(['(', '[']).next().unwrap_or_default();
    let row = super::pv::find(name.as_bytes()).ok_or_else(|| format!("unknown {name}"))?;
    let rest = text.get(name.len()..).unwrap_or_default();
    let (inner, rest) = match rest.strip_prefix('(') {
        Some(open) => open.rsplit_once(')').ok_or("no )")?,
        None => ("", rest),
    };
    let index = match rest.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
        None => Index::None,
        Some("*") => Index::All,
        Some(n) => Index::At(n.parse().map_err(|_| "index")?),
    };
    let parse = |_: &[u8]| Err("no pseudo-variables in tests".to_owned());
    let data = match row.compile {
        Some(compile) => {
            let format = Format::default();
            compile(&PvInner {
                text: inner.as_bytes(),
                format: &format,
                parse: &parse,
                names: &NoNames,
                span: Span::default(),
            })?
        }
        None => PvData::None,
    };
    Ok((row, PvSpec { data, index }))
}

/// A core pseudo-variable as an argument to assign to.
pub(crate) fn pv(text: &str) -> CompiledArg {
    let inner = text.strip_prefix('$').expect("a dollar");
    let (pv, spec) = compile_pv(inner).expect("a pseudo-variable");
    CompiledArg::Pv(PvRef {
        pv,
        spec,
        transformations: [].into(),
        text: text.into(),
    })
}

/// A script that uses no module, compiled.
pub(crate) fn program(text: &str) -> Program {
    super::exec::tests::program(text).program
}

/// A runtime for modules that spawn tasks.
pub(crate) fn tokio() -> &'static tokio::runtime::Handle {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));
    RUNTIME.handle()
}
