//! Start, signals, stop, in that order.

mod configure;
pub(crate) mod methods;
mod reload;
mod script;
mod workers;

pub use script::compile_script;

use crate::args::Args;
use crate::control::core_rpcs;
use crate::control::methods::Methods;
use crate::control::methods::RpcCall;
use crate::control::push;
use crate::control::rights::Rights;
use crate::control::servers::id_of;
use crate::control::socket::Control;
use crate::control::socket::ControlOptions;
use crate::control::socket::ControlSocket;
use crate::control::threads;
use crate::control::unix;
use crate::log;
use crate::runtime::Ended;
use crate::runtime::Runtime;
use crate::runtime::endpoints::Endpoints;
use crate::runtime::filter::Filter;
use crate::runtime::listen::ListenError;
use crate::runtime::load;
use crate::runtime::load::LoadError;
use crate::runtime::load::Surroundings;
use crate::runtime::receive;
use crate::runtime::status::tcp_statistics;
use crate::script::module::InitError;
use crate::script::module::Script;
use crate::script::program::Program;
use crate::stats::Statistics;
use crate::transport::Queue;
use crate::transport::conn::ConnEvent;
use crate::transport::conn::Connections;
use crate::transport::conn::Inbound;
use parking_lot::Mutex;
use shared::db;
use shared::paths::Places;
use shared::rpc::trace::TRACE;
use shared::rpc::trace::UNTRACE;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// Threads that serve connections: they cut streams into messages, the stream worker does the rest.
const CONNECTION_THREADS: usize = 2;

/// Messages of connections that may wait for a worker.
const STREAM_QUEUE: usize = 4096;

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
    /// Threads or signals, which the system does not give.
    #[error("{what}: {error}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why it is not given.
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

/// Says what the system did not give.
fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError::System { what, error }
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

/// The connections; what the timer worker has no room for when they end goes unnoticed.
fn connections(
    io: &tokio::runtime::Runtime,
    program: &Program,
    queue: &Arc<Queue<Inbound>>,
    ended: &Arc<Ended>,
) -> Connections {
    let queue = Arc::clone(queue);
    let deliver = Arc::new(move |inbound: Inbound| queue.push(inbound).is_ok());
    let ended = Arc::clone(ended);
    let events = Arc::new(move |event: ConnEvent| {
        let _ = match event {
            ConnEvent::SendFailed { bytes, .. } => ended.unsent.leave(bytes),
            ConnEvent::Closed(row) if row.transport.is_web() => ended.closed.leave(row),
            ConnEvent::Opened(_) | ConnEvent::Closed(_) => true,
        };
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
        script::prepare(&args, &layout)?;
        let compiled = script::compiled(&args, &layout)?;
        let program = &compiled.program;
        configure::log(&args, program);
        let change = configure::sockets(&compiled, &args, &Endpoints::default())?;
        let children = configure::children(&args, program);
        let control = threads::runtime().map_err(system("control threads"))?;
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONNECTION_THREADS)
            .thread_name("proxyd-io")
            .enable_all()
            .build()
            .map_err(system("connection threads"))?;
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
        daemon.inner.start_workers().map_err(system("worker threads"))?;
        daemon.inner.serve(change)?;
        core_rpcs::memory_statistics(&statistics);
        tcp_statistics(&daemon.inner.runtime);
        daemon.inner.add_methods();
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
    /// Waits for what ends the daemon: SIGTERM, SIGINT, an RPC; SIGHUP reloads.
    async fn signals(&self) -> Result<(), StartError> {
        let listen = |kind| signal(kind).map_err(system("signal handler"));
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
