//! A proxy for unit tests: it writes down what scripts ask for.

use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Alias;
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
use crate::script::module::Code;
use shared::net::Naptr;
use shared::net::Transport;
use std::collections::HashMap;
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

/// A host that answers nothing and remembers everything.
#[derive(Default)]
pub(crate) struct FakeHost {
    /// What we listen on.
    pub(crate) sockets: Sockets,
    /// What was answered.
    pub(crate) replies: Vec<FakeReply>,
    /// What was sent, and where.
    pub(crate) sent: Vec<(Target, Vec<u8>)>,
    /// How often the request was relayed or forwarded.
    pub(crate) relayed: usize,
    /// Requests of our own.
    pub(crate) originated: Vec<LocalRequest>,
    /// Where every URI leads.
    pub(crate) resolves_to: Option<Target>,
    /// NAPTR records by name.
    pub(crate) naptr: HashMap<String, Vec<Naptr>>,
    /// Wall time.
    pub(crate) wall: Duration,
    /// Monotonic time.
    pub(crate) now: Millis,
    /// What routes and timers were asked for.
    pub(crate) intent: Intent,
    /// The number of the batch.
    pub(crate) batch: u64,
    /// The messages of the batch that come after this one.
    pub(crate) ahead: Vec<Vec<u8>>,
    random: u64,
}

impl FakeHost {
    /// One UDP socket at 127.0.0.1:5060, called `main`; the host is also `test.lan`.
    pub(crate) fn new() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 5060));
        let listener = Listener::new(Transport::Udp, address, None, Some("main".to_owned()));
        let alias = Alias {
            transport: None,
            host: "test.lan".to_owned(),
            port: None,
        };
        Self {
            sockets: Sockets {
                listeners: vec![listener],
                aliases: vec![alias],
            },
            wall: Duration::new(1_700_000_000, 123_456_000),
            now: 60_000,
            ..Self::default()
        }
    }

    fn record(&mut self, scope: Scope<'_>, status: u16, reason: &[u8], stateless: bool) -> Code {
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
            .wrapping_add(1_442_695_040_888_963_407);
        self.random
    }
    fn sockets(&self) -> &Sockets {
        &self.sockets
    }
    fn worker(&self) -> (usize, u32) {
        (1, 4711)
    }
    fn batch(&self) -> u64 {
        self.batch
    }
    fn each_ahead(&self, visit: &mut dyn FnMut(&[u8])) {
        self.ahead.iter().for_each(|message| visit(message));
    }
    fn resolve(&mut self, _: &[u8], _: Option<SocketId>) -> Option<Target> {
        self.resolves_to
    }
    fn naptr(&mut self, name: &str) -> Vec<Naptr> {
        self.naptr.get(name).cloned().unwrap_or_default()
    }
    fn send(&mut self, target: &Target, bytes: &[u8]) -> bool {
        self.sent.push((*target, bytes.to_vec()));
        true
    }
    fn reply_stateless(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.record(scope, status, reason, true)
    }
    fn reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.record(scope, status, reason, false)
    }
    fn forward(&mut self, _: Scope<'_>, _: Option<Target>) -> Code {
        self.relayed += 1;
        Code::TRUE
    }
    fn local_tag(&mut self, _: &Context) -> Vec<u8> {
        b"local-tag".to_vec()
    }
    fn new_transaction(&mut self, _: Scope<'_>) -> Code {
        Code::TRUE
    }
    fn check_transaction(&mut self, _: Scope<'_>) -> Matched {
        Matched::None
    }
    fn precheck_transaction(&mut self, _: &Context) -> bool {
        false
    }
    fn relay(&mut self, _: Scope<'_>, _: RelayOptions) -> Code {
        self.relayed += 1;
        Code::TRUE
    }
    fn transaction_reply(&mut self, scope: Scope<'_>, status: u16, reason: &[u8]) -> Code {
        self.reply(scope, status, reason)
    }
    fn release_transaction(&mut self) {}
    fn cancel_branches(&mut self, _: Scope<'_>, _: u32) -> Code {
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
    fn suspend(&mut self, _: Scope<'_>) -> Option<(u32, u32)> {
        None
    }
    fn resume(&mut self, _: (u32, u32), _: RouteId) -> Code {
        Code::FALSE
    }
    fn spawn(&mut self, job: Job) {
        job();
    }
    fn http_reply(&mut self, _: &Context, _: &[u8]) -> bool {
        false
    }
}
