//! A bench for unit tests of modules: their states as a script has them, and one message after the other.

use crate::control::methods::Peer;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcReply;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::script::lists::Lists;
use crate::script::module::Call;
use crate::script::module::CompiledArg;
use crate::script::module::Env;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::Loaded;
use crate::script::module::ModuleDef;
use crate::script::module::ParamValue;
use crate::script::module::Params;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::module::States;
use crate::script::program::Program;
use crate::script::span::Span;
use crate::script::testing::FakeHost;
use crate::script::vars::Vars;
use crate::stats::Statistics;
use serde_json::Value;
use serde_json::json;
use shared::net::Transport;
use shared::sip::Message;
use std::net::SocketAddr;
use std::sync::Arc;

/// A message under way with everything that a function may touch.
pub(crate) struct Bench {
    pub(crate) ctx: Context,
    pub(crate) lists: Lists,
    pub(crate) vars: Vars,
    pub(crate) script: Script,
    pub(crate) host: FakeHost,
    pub(crate) route: RouteKind,
}

impl Bench {
    /// Calls an RPC of a module; a fault is `{"fault": …}`.
    pub(crate) fn rpc(&mut self, module: &ModuleDef, method: &str, params: &[Value]) -> Value {
        let script = Arc::new(std::mem::replace(&mut self.script, Self::new(&[]).script));
        let def = module
            .rpcs
            .iter()
            .find(|rpc| rpc.name == method)
            .expect("an RPC of the module");
        let call = RpcCall {
            method,
            params,
            peer: &Peer::internal(),
        };
        let reply = (def.call)(&call, &script).and_then(RpcReply::into_value);
        self.script = Arc::into_inner(script).expect("kept by nobody else");
        reply.unwrap_or_else(|fault| json!({ "fault": fault.to_string() }))
    }

    /// The modules with their parameters, initialised in that order.
    pub(crate) fn new(modules: &[(&'static ModuleDef, &[(&'static str, &str)])]) -> Self {
        Self::try_new(modules, None).expect("modules start")
    }

    /// The same; the states of `previous` live on as at a reload.
    pub(crate) fn try_new(
        modules: &[(&'static ModuleDef, &[(&'static str, &str)])],
        previous: Option<&States>,
    ) -> Result<Self, InitError> {
        let modules: Vec<Loaded> = modules.iter().map(|(def, params)| loaded(def, params)).collect();
        let mut states = States::default();
        let (program, statistics, host) = (
            Program::default(),
            std::sync::Arc::new(Statistics::new()),
            FakeHost::new(),
        );
        let methods = std::sync::Arc::new(crate::control::methods::Methods::new());
        for module in &modules {
            let Some(init) = module.def.init else { continue };
            let state: State = init(&mut Init {
                module,
                modules: &modules,
                states: &states,
                previous,
                trial: false,
                program: &program,
                statistics: &statistics,
                methods: &methods,
                control: crate::script::testing::tokio(),
                run_dir: std::path::Path::new("/nonexistent"),
                parse: &|text| crate::script::compile::parse_format(text, &modules, &program),
                wall: host.wall,
                seed: 42,
            })?;
            states.insert(state);
        }
        let script = Script {
            program,
            modules,
            states,
        };
        let (ctx, lists, vars) = (Context::default(), Lists::default(), Vars::default());
        Ok(Self {
            ctx,
            lists,
            vars,
            script,
            host,
            route: RouteKind::REQUEST,
        })
    }

    /// A new message from 127.0.0.1:5070; line ends in `text` are made CRLF.
    pub(crate) fn receive(&mut self, text: &str) {
        let wire = text.replace("\r\n", "\n").replace('\n', "\r\n");
        self.ctx.msg = Message::parse(wire.into_bytes()).expect("test message parses");
        let id = self.ctx.id + 1;
        let local = SocketAddr::from(([127, 0, 0, 1], 5060));
        let peer = SocketAddr::from(([127, 0, 0, 1], 5070));
        self.ctx.reset(
            Source {
                peer,
                local,
                transport: Transport::Udp,
                socket: 0,
                conn: None,
            },
            id,
        );
    }

    /// What a route would work on.
    pub(crate) fn env(&mut self) -> Env<'_> {
        Env {
            ctx: &mut self.ctx,
            lists: &mut self.lists,
            vars: &mut self.vars,
            script: &self.script,
            host: &mut self.host,
            route: self.route,
            rc: 0,
        }
    }

    /// Calls a function by its script name with constant text arguments.
    pub(crate) fn call(&mut self, name: &str, args: &[&str]) -> i32 {
        let args: Vec<CompiledArg> = args
            .iter()
            .map(|arg| CompiledArg::Text(arg.as_bytes().into()))
            .collect();
        self.call_with(name, &args)
    }

    /// Calls a function with compiled arguments.
    pub(crate) fn call_with(&mut self, name: &str, args: &[CompiledArg]) -> i32 {
        let functions = self.script.modules.iter().flat_map(|module| module.def.functions);
        let mut wanted = functions.filter(|f| f.names.contains(&name));
        let fits = |f: &&crate::script::module::Function| {
            let least = f.args.iter().filter(|arg| !arg.optional()).count();
            (least..=f.args.len()).contains(&args.len())
        };
        let function = wanted.rfind(fits).expect("function with so many arguments");
        let mut env = self.env();
        (function.call)(&mut Call {
            env: &mut env,
            args,
            name,
            span: Span::default(),
        })
        .0
    }
}

fn loaded(def: &'static ModuleDef, params: &[(&'static str, &str)]) -> Loaded {
    let value = |text: &str| {
        text.parse()
            .map_or_else(|_| ParamValue::Text(text.as_bytes().to_vec()), ParamValue::Int)
    };
    let known = |name: &str| def.params.iter().any(|param| param.name() == name);
    for (name, _) in params {
        assert!(known(name), "{} has no parameter {name}", def.name);
    }
    let values = params.iter().map(|(name, text)| (*name, value(text))).collect();
    Loaded {
        def,
        params: Params {
            values,
            pvs: Vec::new(),
        },
    }
}
