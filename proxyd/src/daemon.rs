//! Start, signals, stop, in that order.

mod configure;
mod reload;
mod workers;

use crate::args;
use crate::args::Args;
use crate::control::core_rpcs;
use crate::control::core_rpcs::Status;
use crate::control::methods::Methods;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcDef;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::control::push;
use crate::control::rights::Rights;
use crate::control::servers::id_of;
use crate::control::socket::Control;
use crate::control::socket::ControlOptions;
use crate::control::socket::ControlSocket;
use crate::control::stats_rpcs;
use crate::control::threads;
use crate::control::unix;
use crate::log;
use crate::modules;
use crate::runtime::Ended;
use crate::runtime::Runtime;
use crate::runtime::endpoints::Endpoints;
use crate::runtime::explain;
use crate::runtime::explain::live::explain_live;
use crate::runtime::filter::Filter;
use crate::runtime::listen::ListenError;
use crate::runtime::load;
use crate::runtime::load::LoadError;
use crate::runtime::load::Surroundings;
use crate::runtime::receive;
use crate::runtime::status::Running;
use crate::runtime::status::tcp_statistics;
use crate::runtime::tls;
use crate::runtime::tm_rpcs;
use crate::runtime::websocket;
use crate::script::compile;
use crate::script::compile::Additions;
use crate::script::compile::Compiled;
use crate::script::module::InitError;
use crate::script::module::ParamValue;
use crate::script::module::Script;
use crate::script::parse;
use crate::script::preprocess;
use crate::script::preprocess::Files;
use crate::script::program::Program;
use crate::stats::Statistics;
use crate::transport::Queue;
use crate::transport::conn::ConnEvent;
use crate::transport::conn::Connections;
use crate::transport::conn::Inbound;
use parking_lot::Mutex;
use shared::db;
use shared::db::Access;
use shared::db::schema;
use shared::paths::Places;
use shared::rpc::trace::TRACE;
use shared::rpc::trace::UNTRACE;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// The script that runs without `-f`.
const BUILT_IN: &str = include_str!("../../etc/proxyd.cfg");

/// What messages call it.
const BUILT_IN_NAME: &str = "built-in.cfg";

/// Messages of connections that may wait for a worker.
const STREAM_QUEUE: usize = 4096;

/// Its own methods, each with its help.
pub(crate) const RPCS: [(&str, &str); 3] = [RELOAD, EXPLAIN, EXPLAIN_LIVE];

const RELOAD: (&str, &str) = (
    "core.reload",
    "Compiles the script anew and swaps it in: tells the sockets opened and closed, and what needs a restart.",
);

const EXPLAIN: (&str, &str) = (
    "core.explain",
    "Runs a request through the script and tells each step and what would be sent, without doing it. \
     Parameters: message, source such as udp:192.0.2.1:5060 (empty: that of the Via), file of another script.",
);

const EXPLAIN_LIVE: (&str, &str) = (
    "core.explain_live",
    "Waits for a message and tells each step of the script it took and what was sent. Parameters: conditions \
     (method= from= to= ruri= callid= src= status=), seconds to wait (60).",
);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The script has mistakes; they were printed.
    #[error("the script has mistakes; nothing was started")]
    Script,
    /// A module cannot serve.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A module cannot start.
    #[error("module {module}: {error}")]
    Module {
        /// The module.
        module: &'static str,
        /// Why.
        error: InitError,
    },
    /// A socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file or folder.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database of the built-in script.
    #[error("database {path}: {error}")]
    Database {
        /// Where.
        path: PathBuf,
        /// Why.
        error: db::Error,
    },
    /// The owner or group of a control socket.
    #[error("`{name}` is not in {file}")]
    Account {
        /// Its name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A `-l` option.
    #[error("option -l: {0}")]
    Socket(#[from] shared::net::SpecError),
}

/// The number of a user or group by its name.
fn account(name: Option<&str>, file: &'static str) -> Result<Option<u32>, StartError> {
    let Some(name) = name else { return Ok(None) };
    let found = id_of(name, file);
    found.map(Some).ok_or_else(|| StartError::Account {
        name: name.to_owned(),
        file,
    })
}

/// Attaches the path to an I/O error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> StartError + '_ {
    move |error| StartError::File {
        path: path.to_owned(),
        error,
    }
}

/// Where this daemon keeps what: `--home`, `-Y`, the system's places or the user's.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The database of the built-in script.
    pub database: PathBuf,
    /// Control socket, FIFO.
    pub run: PathBuf,
}

impl Layout {
    /// Finds the places.
    pub fn new(args: &Args) -> Self {
        let places = Places::find(args.home.as_deref(), &shared::paths::environment);
        let run = args.runtime_dir.clone().unwrap_or_else(|| places.run.clone());
        // A database URL knows absolute paths only. Where there is no working directory the path stays as it is.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Self {
            database: absolute(places.database()),
            run: absolute(run),
        }
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }
}

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
                args::ModValue::Int(n) => ParamValue::Int(n),
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
fn compiled(args: &Args, layout: &Layout) -> Result<Compiled, StartError> {
    let compiled = compile_script(args, layout);
    if compiled.is_ok() {
        return Ok(compiled);
    }
    let text = compiled.found.render(compiled.program.sources(), false);
    let _ = io::stderr().lock().write_all(text.as_bytes());
    Err(StartError::Script)
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

/// Leaves something for the timer worker, as long as there is room.
fn keep<T>(list: &Mutex<Vec<T>>, item: T) {
    let mut list = list.lock();
    if list.len() < STREAM_QUEUE {
        list.push(item);
    }
}

fn connections(
    io: &tokio::runtime::Runtime,
    program: &Program,
    queue: &Arc<Queue<Inbound>>,
    ended: &Arc<Ended>,
) -> Connections {
    let queue = Arc::clone(queue);
    let deliver = Arc::new(move |inbound: Inbound| queue.push(inbound).is_ok());
    let ended = Arc::clone(ended);
    let events = Arc::new(move |event: ConnEvent| match event {
        ConnEvent::SendFailed { bytes, .. } => keep(&ended.unsent, bytes),
        ConnEvent::Closed(row) if row.transport.is_web() => keep(&ended.closed, row),
        ConnEvent::Opened(_) | ConnEvent::Closed(_) => {}
    });
    Connections::new(
        io.handle().clone(),
        configure::stream_options(program),
        deliver,
        events,
    )
}

fn start_modules(script: &Arc<Script>) -> Result<(), StartError> {
    for module in &script.modules {
        if let Some(start) = module.def.start {
            start(script).map_err(|error| StartError::Module {
                module: module.def.name,
                error,
            })?;
        }
    }
    Ok(())
}

/// A running daemon.
pub struct Daemon {
    inner: Arc<Inner>,
    /// Serves connections of SIP, and what scripts leave to wait.
    io: tokio::runtime::Runtime,
    /// Serves the clients of the control plane.
    control: tokio::runtime::Runtime,
}

/// What a reload needs, also when an RPC asks for it.
struct Inner {
    runtime: Arc<Runtime>,
    methods: Arc<Methods>,
    args: Args,
    layout: Layout,
    /// The control plane's threads.
    control: tokio::runtime::Handle,
    /// Messages of connections that wait for a worker.
    queue: Arc<Queue<Inbound>>,
    /// Threads for each UDP socket.
    children: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Threads started so far.
    spawned: AtomicUsize,
    /// One reload at a time.
    reloading: Mutex<()>,
}

impl Daemon {
    /// Compiles, initialises, opens the sockets and starts the workers; what fails leaves nothing behind.
    pub fn start(args: Args) -> Result<Self, StartError> {
        let layout = Layout::new(&args);
        std::fs::create_dir_all(&layout.run).map_err(at(&layout.run))?;
        if args.config.is_none() && create_database(&layout)? {
            first_steps(&args, &layout);
        }
        let compiled = compiled(&args, &layout)?;
        let program = &compiled.program;
        configure::log(&args, program);
        let change = configure::sockets(&compiled, &args, &Endpoints::default())?;
        let children = args
            .children
            .or_else(|| usize::try_from(program.setting_int("children")?).ok());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let children = children.unwrap_or(cores).clamp(1, cores);

        let control = threads::runtime().map_err(at(Path::new("control threads")))?;
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("proxyd-io")
            .enable_all()
            .build()
            .map_err(at(Path::new("connection threads")))?;
        let queue = Arc::new(Queue::new(STREAM_QUEUE));
        let ended = Arc::<Ended>::default();
        let streams = connections(&io, program, &queue, &ended);
        let statistics = Arc::new(Statistics::new());
        let methods = Arc::new(Methods::new());
        let around = Surroundings {
            statistics: &statistics,
            methods: &methods,
            run_dir: &layout.run,
            control: control.handle(),
            trial: false,
        };
        let script = Arc::new(load::initialise(compiled, None, &around)?);
        let runtime = Runtime::new(
            Arc::clone(&script),
            change.next.clone(),
            streams,
            ended,
            Arc::clone(&statistics),
            io.handle().clone(),
            configure::resolving(&script.program),
        );
        let runtime = Arc::new(runtime);
        runtime.secure_streams();
        let inner = Arc::new(Inner {
            runtime,
            methods,
            args,
            layout,
            control: control.handle().clone(),
            queue,
            children,
            threads: Mutex::default(),
            spawned: AtomicUsize::new(0),
            reloading: Mutex::new(()),
        });
        inner.publish(&script);
        start_modules(&script)?;
        let daemon = Self { inner, io, control };
        receive::run_start_events(&daemon.inner.runtime);
        let failed = at(Path::new("worker threads"));
        daemon.inner.start_workers().map_err(failed)?;
        daemon.inner.serve(change)?;
        daemon.inner.methods.add(stats_rpcs::methods(&statistics));
        core_rpcs::memory_statistics(&statistics);
        tcp_statistics(&daemon.inner.runtime);
        let status: Arc<dyn Status> = Arc::new(Running::new(Arc::clone(&daemon.inner.runtime), children));
        daemon.inner.methods.add(core_rpcs::methods(&status));
        daemon.inner.methods.add(tls::methods(&daemon.inner.runtime));
        daemon
            .inner
            .methods
            .add(websocket::methods(&daemon.inner.runtime));
        daemon.inner.methods.add(tm_rpcs::methods(&daemon.inner.runtime));
        let inner = Arc::clone(&daemon.inner);
        let reload = move |_: &RpcCall<'_>| match inner.reload() {
            Ok(reloaded) => Ok(RpcReply::from(serde_json::json!(reloaded))),
            Err(error) => Err(RpcFault::failed(error.to_string())),
        };
        let inner = Arc::clone(&daemon.inner);
        let explain = move |call: &RpcCall<'_>| inner.explain(call);
        let inner = Arc::clone(&daemon.inner);
        let explain_live = move |call: &RpcCall<'_>| inner.explain_live(call);
        daemon.inner.methods.add([
            RpcDef::new(RELOAD.0, RELOAD.1, reload),
            RpcDef::new(EXPLAIN.0, EXPLAIN.1, explain),
            RpcDef::new(EXPLAIN_LIVE.0, EXPLAIN_LIVE.1, explain_live),
        ]);
        Ok(daemon)
    }

    /// Serves until a signal or an RPC ends it.
    pub fn serve(self) -> Result<(), StartError> {
        let control = self.open_control()?;
        let pid_file = self.inner.args.pid_file.clone();
        if let Some(path) = &pid_file {
            std::fs::write(path, format!("{}\n", std::process::id())).map_err(at(path))?;
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let served = self.io.block_on(self.inner.signals());
        drop(control);
        self.stop();
        if let Some(path) = &pid_file {
            let _ = std::fs::remove_file(path);
        }
        served
    }

    /// Opens the control socket, and the one for monitoring where it is asked for.
    fn open_control(&self) -> Result<Vec<ControlSocket>, StartError> {
        let args = &self.inner.args;
        let mut control = Control::new(Arc::clone(&self.inner.methods));
        let statistics = Arc::clone(&self.inner.runtime.statistics);
        control.metrics = Arc::new(move || statistics.prometheus("proxyd"));
        let runtime = Arc::clone(&self.inner.runtime);
        let follow = move |call: &RpcCall<'_>| {
            let filter = Filter::parse(&call.opt_str(0)?.unwrap_or_default())?;
            runtime.tracers.follow(filter)
        };
        control.subscriptions = push::subscription(TRACE, UNTRACE, follow);
        let user = account(args.control_user.as_deref(), "/etc/passwd")?;
        let group = account(args.control_group.as_deref(), "/etc/group")?;
        let mut wanted = vec![ControlOptions {
            access: unix::Access {
                mode: args.control_mode,
                user,
                group,
            },
            ..ControlOptions::new(self.inner.layout.socket())
        }];
        if let Some(path) = &args.monitor_socket {
            wanted.push(ControlOptions {
                access: unix::Access {
                    mode: args.monitor_mode.unwrap_or(args.control_mode),
                    user,
                    group: account(args.monitor_group.as_deref(), "/etc/group")?.or(group),
                },
                rights: if args.monitor_methods.is_empty() {
                    Rights::Reading
                } else {
                    Rights::Only(args.monitor_methods.as_slice().into())
                },
                ..ControlOptions::new(path)
            });
        }
        let open = |options: ControlOptions| {
            let path = options.path.clone();
            ControlSocket::serve(self.control.handle(), options, control.clone()).map_err(at(&path))
        };
        wanted.into_iter().map(open).collect()
    }

    fn stop(self) {
        self.inner.runtime.stopping.store(true, Ordering::Relaxed);
        self.inner.queue.close();
        let threads = std::mem::take(&mut *self.inner.threads.lock());
        for thread in threads {
            let _ = thread.join();
        }
        let script = self.inner.runtime.script.load_full();
        for module in &script.modules {
            if let Some(stop) = module.def.stop {
                stop(&script);
            }
        }
        log::flush();
        for threads in [self.io, self.control] {
            threads.shutdown_timeout(Duration::from_millis(500));
        }
    }
}

impl Inner {
    /// Makes the script's RPC methods callable.
    fn publish(&self, script: &Arc<Script>) {
        let rows = script.modules.iter().flat_map(|module| module.def.rpcs);
        let defs: Vec<RpcDef> = rows
            .map(|rpc| {
                let (script, call) = (Arc::clone(script), rpc.call);
                RpcDef::new(rpc.name, rpc.doc, move |request: &RpcCall<'_>| {
                    call(request, &script)
                })
            })
            .collect();
        self.methods.set_script(defs);
    }

    /// `core.explain`: through the script in force, or through one that is compiled for this alone.
    fn explain(&self, call: &RpcCall<'_>) -> RpcResult {
        let message = call.str(0)?;
        let source = call.opt_str(1)?.filter(|text| !text.is_empty());
        let script = match call.opt_str(2)?.filter(|text| !text.is_empty()) {
            None => self.runtime.script.load_full(),
            Some(file) => Arc::new(self.other_script(Path::new(&*file))?),
        };
        Ok(explain::explain(&self.runtime, &script, &message, source.as_deref())?.into())
    }

    /// `core.explain_live`: the next message of the network that fits.
    fn explain_live(&self, call: &RpcCall<'_>) -> RpcResult {
        let filter = Filter::parse(&call.opt_str(0)?.unwrap_or_default())?;
        let seconds = call.opt_int(1)?.and_then(|n| u64::try_from(n).ok()).unwrap_or(60);
        Ok(explain_live(&self.runtime, &filter, Duration::from_secs(seconds))?.into())
    }

    /// Waits for what ends the daemon: SIGTERM, SIGINT, an RPC; SIGHUP reloads.
    async fn signals(&self) -> Result<(), StartError> {
        let listen = |kind| signal(kind).map_err(at(Path::new("signal handler")));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut hangup = listen(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = self.runtime.stop_asked.notified() => return Ok(()),
                _ = hangup.recv() => {
                    if let Err(error) = self.reload() {
                        log::error("core", format_args!("reload: {error}; the old script stays in force"));
                    }
                }
            }
        }
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
