//! A proxy for unit tests: it writes down what scripts ask for.

use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::proxy::context::Source;
use crate::proxy::context::Target;
use crate::proxy::sockets::Listener;
use crate::proxy::sockets::Sockets;
use crate::script::host::Host;
use crate::script::host::Intent;
use crate::script::host::Job;
use crate::script::host::LocalRequest;
use crate::script::host::Matched;
use crate::script::host::Millis;
use crate::script::host::RelayOptions;
use crate::script::host::RouteId;
use crate::script::host::Scope;
use crate::script::host::TransactionView;
use crate::script::lists::Lists;
use crate::script::module::Call;
use crate::script::module::Code;
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
use crate::script::vars::Vars;
use crate::stats::Statistics;
use shared::net::Transport;
use shared::sip::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// A reply as a script sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FakeReply {
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    /// `append_to_reply` lines at that moment.
    pub(crate) headers: Vec<u8>,
    pub(crate) stateless: bool,
}

/// The fake.
#[derive(Default)]
pub(crate) struct FakeHost {
    pub(crate) now: Millis,
    pub(crate) wall: Duration,
    pub(crate) sockets: Sockets,
    pub(crate) replies: Vec<FakeReply>,
    pub(crate) sent: Vec<(Target, Vec<u8>)>,
    pub(crate) relayed: usize,
    /// Requests of our own.
    pub(crate) originated: Vec<LocalRequest>,
    pub(crate) intent: Intent,
    random: u64,
}

impl FakeHost {
    /// One UDP socket at 127.0.0.1:5060.
    pub(crate) fn new() -> Self {
        let listener = Listener::new(
            Transport::Udp,
            SocketAddr::from(([127, 0, 0, 1], 5060)),
            None,
            None,
        );
        Self {
            wall: Duration::from_secs(1_700_000_000),
            sockets: Sockets {
                listeners: vec![listener],
                aliases: Vec::new(),
            },
            ..Self::default()
        }
    }

    fn record(&mut self, scope: &mut Scope<'_>, status: u16, reason: &[u8], stateless: bool) -> Code {
        scope.ctx.answered = status;
        let headers = scope.ctx.reply_headers.clone();
        self.replies.push(FakeReply {
            status,
            reason: reason.to_vec(),
            headers,
            stateless,
        });
        Code::TRUE
    }
}

impl Host for FakeHost {
    fn now(&self) -> Millis {
        self.now
    }

    fn wall(&self) -> Duration {
        self.wall
    }

    fn random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.random
    }

    fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    fn worker(&self) -> (usize, u32) {
        (0, 1)
    }

    fn resolve(&mut self, _uri: &[u8], _socket: Option<SocketId>) -> Option<Target> {
        None
    }

    fn send(&mut self, target: &Target, bytes: &[u8]) -> bool {
        self.sent.push((*target, bytes.to_vec()));
        true
    }

    fn reply_stateless(&mut self, mut scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.record(&mut scope, status, reason, true)
    }

    fn reply(&mut self, mut scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.record(&mut scope, status, reason, false)
    }

    fn forward(&mut self, _scope: Scope<'_>, _target: Option<Target>) -> Code {
        Code::TRUE
    }

    fn local_tag(&mut self, _ctx: &Context) -> Vec<u8> {
        b"local".to_vec()
    }

    fn new_transaction(&mut self, _scope: Scope<'_>) -> Code {
        Code::TRUE
    }

    fn check_transaction(&mut self, _scope: Scope<'_>) -> Matched {
        Matched::None
    }

    fn precheck_transaction(&mut self, _ctx: &Context) -> bool {
        false
    }

    fn relay(&mut self, _scope: Scope<'_>, _options: RelayOptions) -> Code {
        self.relayed += 1;
        Code::TRUE
    }

    fn transaction_reply(&mut self, mut scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.record(&mut scope, status, reason, false)
    }

    fn release_transaction(&mut self) {}

    fn cancel_branches(&mut self, _scope: Scope<'_>, _which: u32) -> Code {
        Code::TRUE
    }

    fn drop_replies(&mut self) {}

    fn intent(&mut self) -> &mut Intent {
        &mut self.intent
    }

    fn transaction(&self) -> Option<TransactionView<'_>> {
        None
    }

    fn transaction_request(&mut self) -> Option<&mut Context> {
        None
    }

    fn originate(&mut self, request: LocalRequest) -> Code {
        self.originated.push(request);
        Code::TRUE
    }

    fn suspend(&mut self, _scope: Scope<'_>) -> Option<(u32, u32)> {
        None
    }

    fn resume(&mut self, _id: (u32, u32), _route: RouteId) -> Code {
        Code::FALSE
    }

    fn spawn(&mut self, job: Job) {
        job();
    }

    fn http_reply(&mut self, _ctx: &Context, _bytes: &[u8]) -> bool {
        false
    }
}

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
                tokio: crate::script::testing::tokio(),
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
