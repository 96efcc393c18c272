//! Parts of the daemon on their own, for small benchmarks: a script that handles messages, a location table.

use super::Runtime;
use super::endpoints::Endpoints;
use super::load;
use super::load::Surroundings;
use super::receive::Receiver;
use crate::control::methods::Methods;
use crate::modules::MODULES;
use crate::modules::usrloc::contact::Binding;
use crate::modules::usrloc::store::NoSink;
use crate::modules::usrloc::store::Order;
use crate::modules::usrloc::store::Store;
use crate::proxy::context::Source;
use crate::proxy::sockets::Listener;
use crate::proxy::sockets::Sockets;
use crate::script::compile;
use crate::script::compile::Additions;
use crate::script::parse;
use crate::script::preprocess::Files;
use crate::script::preprocess::Options;
use crate::stats::Statistics;
use crate::transport::conn::Connections;
use crate::transport::conn::StreamOptions;
use crate::transport::resolve::ResolveOptions;
use crate::transport::udp::UdpOptions;
use crate::transport::udp::UdpSocket;
use shared::net::Transport;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A script that is all there is.
struct One(&'static str);

impl Files for One {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }
}

/// A runtime for a script without mistakes, with the socket udp:127.0.0.1:5060, behind which another one may be open.
pub(crate) fn runtime(
    script: &'static str,
    udp: Option<UdpSocket>,
    tokio: &tokio::runtime::Handle,
) -> Arc<Runtime> {
    let parsed = parse::load(&One(script), Path::new("a.cfg"), &Options::default());
    let compiled = compile::compile(parsed, MODULES, &Additions::default());
    let found = compiled.found.lines(compiled.program.sources(), false);
    assert!(compiled.is_ok(), "{found}");
    let statistics = Arc::new(Statistics::new());
    let around = Surroundings {
        statistics: &statistics,
        methods: &Arc::new(Methods::new()),
        run_dir: Path::new("/nonexistent"),
        control: tokio,
        trial: false,
    };
    let script = load::initialise(compiled, None, &around).expect("modules that start");
    let sockets = Sockets {
        listeners: vec![Listener::new(Transport::Udp, OURS, None, None)],
        aliases: Vec::new(),
    };
    let streams = Connections::new(
        tokio.clone(),
        StreamOptions::default(),
        Arc::new(|_| true),
        Arc::new(|_| {}),
    );
    let endpoints = Endpoints {
        sockets,
        udp: vec![udp.map(Arc::new)],
    };
    Arc::new(Runtime::new(
        Arc::new(script),
        endpoints,
        streams,
        Arc::default(),
        statistics,
        tokio.clone(),
        ResolveOptions::default(),
    ))
}

const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5060);

/// A worker that handles messages by a script; what it sends is not read.
pub struct Worker {
    receiver: Receiver,
    source: Source,
    _peer: UdpSocket,
    _tokio: tokio::runtime::Runtime,
}

impl Worker {
    /// A worker with a script without mistakes.
    pub fn new(script: &'static str) -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime on this thread alone");
        let [ours, peer] = [(); 2].map(|()| {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            UdpSocket::bind(any, &UdpOptions::default()).expect("a free port")
        });
        let mut receiver = Receiver::new(runtime(script, Some(ours), tokio.handle()), 0);
        receiver.begin_batch();
        Self {
            receiver,
            source: Source {
                peer: peer.local(),
                local: OURS,
                transport: Transport::Udp,
                socket: 0,
                conn: None,
            },
            _peer: peer,
            _tokio: tokio,
        }
    }

    /// Handles a message as if it had come by UDP, and sends what it causes.
    pub fn handle(&mut self, message: &[u8]) {
        self.receiver.message(message, self.source);
        self.receiver.live.outbox.flush();
    }

    /// The value of a counter by its group and name.
    pub fn counter(&self, name: &str) -> Option<i64> {
        self.receiver.live.runtime.statistics.value(name)
    }
}

/// A location table in memory with one contact for each of many users.
pub struct Locations {
    store: Store,
    users: u32,
    next: u32,
    aor: String,
    ruid: String,
}

impl Locations {
    /// A table of so many users.
    pub fn new(users: u32) -> Self {
        let mut locations = Self {
            store: Store::new(6, Order::Q, ahash::RandomState::with_seed(7)),
            users,
            next: 0,
            aor: String::new(),
            ruid: String::new(),
        };
        for _ in 0..users {
            locations.turn();
            locations.insert();
        }
        locations
    }

    /// Goes on to another user, far from the last.
    fn turn(&mut self) {
        use std::fmt::Write as _;
        self.next = (self.next + 7919) % self.users;
        self.aor.clear();
        self.ruid.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.aor, "user{:07}@bench.test", self.next);
        let _ = write!(self.ruid, "uloc-1-5f2a-1b-{:07}", self.next);
    }

    fn insert(&self) -> bool {
        let binding = self.binding(3600);
        let inserted = |edit: &mut crate::modules::usrloc::store::Edit<'_>| edit.insert(&binding).is_ok();
        self.store.edit(self.aor.as_bytes(), &NoSink, inserted)
    }

    fn binding(&self, expires: u32) -> Binding<'_> {
        Binding {
            aor: self.aor.as_bytes(),
            address: b"sip:user@192.0.2.17:5062;transport=udp;ob",
            ruid: self.ruid.as_bytes(),
            call_id: b"843817637684230@998sdasdh09",
            user_agent: b"Softphone 5.8.1",
            socket: b"udp:127.0.0.1:5060",
            expires,
            cseq: 1826,
            ..Binding::default()
        }
    }

    /// Finds the contact of another user; false when there is none.
    pub fn find(&mut self) -> bool {
        self.turn();
        self.store
            .read(self.aor.as_bytes(), |contacts| contacts.len() == 1)
    }

    /// Refreshes the contact of another user; false when there is none.
    pub fn refresh(&mut self) -> bool {
        self.turn();
        let binding = self.binding(7200);
        self.store.edit(self.aor.as_bytes(), &NoSink, |edit| {
            edit.update(0, &binding).is_ok()
        })
    }

    /// Removes the contact of another user and adds it again; false when that failed.
    pub fn replace(&mut self) -> bool {
        self.turn();
        self.store.edit(self.aor.as_bytes(), &NoSink, |edit| edit.clear());
        self.insert()
    }
}
