//! Locating SIP servers (RFC 3263): from host, port and transport of a URI to addresses in order.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;
use parking_lot::RwLock;
use shared::net::Transport;
use smallvec::SmallVec;
use tokio::sync::watch;
use tokio::time::Instant;

use super::dns::Dns;
use super::dns::DnsFailure;
use super::dns::DnsOptions;
use super::dns::Hosts;
use super::dns::Srv;
use super::servers::Server;
pub use super::servers::Target;
pub use super::servers::Targets;
use super::servers::by_weight;
use super::servers::order;
use super::servers::service_transport;
use super::servers::srv_prefix;

/// Why there is no place to send to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist, or has no address we can use.
    #[error("host `{0}` has no address")]
    NoSuchHost(String),
    /// The name servers are silent.
    #[error("host `{0}` cannot be resolved: no answer from the name server")]
    Timeout(String),
    /// The name servers answered with a failure.
    #[error("host `{0}` cannot be resolved: name server failed")]
    Server(String),
    /// The host is no domain name.
    #[error("host `{0}` is not a domain name")]
    BadName(String),
    /// More lookups are under way than we allow.
    #[error("host `{0}` cannot be resolved: too many lookups are under way")]
    Busy(String),
}

/// What may be looked up, and for how long.
#[derive(Clone, Debug)]
pub struct ResolveOptions {
    /// Name servers.
    pub dns: DnsOptions,
    /// Ask for NAPTR records (`dns_try_naptr`).
    pub naptr: bool,
    /// Ask for SRV records.
    pub srv: bool,
    /// Use IPv6 addresses (`dns_try_ipv6`).
    pub ipv6: bool,
    /// Share by the weights of SRV records (`dns_srv_lb`); the heaviest comes first otherwise.
    pub share: bool,
    /// Try the next address when one fails (`use_dns_failover`).
    pub failover: bool,
    /// Transports we can send with, the preferred one first.
    pub transports: Vec<Transport>,
    /// How long `resolve` holds its caller, and how long a lookup may take at all.
    pub patience: (Duration, Duration),
    /// Names kept.
    pub cache_limit: usize,
    /// Lookups under way at once.
    pub pending_limit: usize,
    /// How long the silence of a name server is remembered.
    pub silence_ttl: Duration,
}

impl Default for ResolveOptions {
    fn default() -> Self {
        Self {
            dns: DnsOptions::default(),
            naptr: false,
            srv: true,
            ipv6: true,
            share: true,
            failover: true,
            transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
            patience: (Duration::from_secs(2), Duration::from_secs(5)),
            cache_limit: 4096,
            pending_limit: 512,
            silence_ttl: Duration::from_secs(5),
        }
    }
}

impl ResolveOptions {
    fn targets(&self, servers: &[Server], random: &mut dyn FnMut() -> u32) -> Targets {
        let mut targets = if self.share {
            order(servers, random)
        } else {
            by_weight(servers)
        };
        if !self.failover {
            targets.truncate(1);
        }
        targets
    }
}

/// What is asked: host, port and transport of a URI, and whether the scheme is `sips`.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Host as it stands in the URI; IPv6 with or without brackets.
    pub host: &'a [u8],
    /// Port, when the URI has one.
    pub port: Option<u16>,
    /// Transport, when the URI has one.
    pub transport: Option<Transport>,
    /// Whether the hop has to be encrypted.
    pub sips: bool,
}

impl Question<'_> {
    /// The answer when the host is an address (RFC 3263 §4.1, §4.2).
    pub fn numeric(&self) -> Option<Target> {
        let text = std::str::from_utf8(self.host).ok()?;
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
        let transport = self.default_transport();
        let port = self.port.filter(|p| *p != 0).unwrap_or(transport.default_port());
        Some(Target {
            transport,
            addr: SocketAddr::new(ip, port),
        })
    }

    fn default_transport(&self) -> Transport {
        match (self.transport, self.sips) {
            (None, true) | (Some(Transport::Tcp), true) => Transport::Tls,
            (Some(Transport::Ws), true) => Transport::Wss,
            (None, false) => Transport::Udp,
            (Some(transport), _) => transport,
        }
    }

    fn kind(&self) -> Kind {
        Kind {
            port: self.port.filter(|p| *p != 0),
            transport: self.transport,
            sips: self.sips,
        }
    }

    fn owned(&self, host: &str) -> Key {
        Key {
            host: host.to_owned(),
            kind: self.kind(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    port: Option<u16>,
    transport: Option<Transport>,
    sips: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    kind: Kind,
}

type Plan = Result<Arc<[Server]>, ResolveError>;
type Kinds = SmallVec<[(Kind, Plan, Instant); 1]>;
type Pending = HashMap<Key, watch::Receiver<Option<Plan>>, RandomState>;

/// Resolves names, and remembers them.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    options: ResolveOptions,
    dns: Dns,
    hosts: Hosts,
    runtime: tokio::runtime::Handle,
    cache: RwLock<HashMap<String, Kinds, RandomState>>,
    pending: Mutex<Pending>,
}

impl Resolver {
    /// Resolves on `runtime` with the name servers of the options.
    pub fn new(runtime: tokio::runtime::Handle, options: ResolveOptions) -> Self {
        let dns = {
            let _inside = runtime.enter();
            Dns::new(&options.dns)
        };
        Self::with_source(runtime, options, dns, Hosts::new("/etc/hosts"))
    }

    /// Resolves from another source of records.
    pub fn with_source(
        runtime: tokio::runtime::Handle,
        options: ResolveOptions,
        dns: Dns,
        hosts: Hosts,
    ) -> Self {
        let (cache, pending) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Inner {
            options,
            dns,
            hosts,
            runtime,
            cache,
            pending,
        }))
    }

    /// Answers without waiting, if the host is an address or known; `random` chooses among SRV weights.
    pub fn lookup_cached(
        &self,
        question: &Question<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Option<Result<Targets, ResolveError>> {
        if let Some(target) = question.numeric() {
            return Some(Ok(Targets::from_slice(&[target])));
        }
        let Some(host) = normal(question.host) else {
            return Some(Err(bad_name(question.host)));
        };
        let plan = self.0.cached(&host, question.kind())?;
        Some(plan.map(|servers| self.0.options.targets(&servers, random)))
    }

    /// Answers, holding the calling thread for two seconds at most.
    ///
    /// Must not be called on a thread of the asynchronous runtime.
    pub fn resolve(
        &self,
        question: &Question<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Targets, ResolveError> {
        if let Some(known) = self.lookup_cached(question, random) {
            return known;
        }
        let Some(host) = normal(question.host) else {
            return Err(bad_name(question.host));
        };
        let (inner, key) = (self.0.clone(), question.owned(&host));
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        self.0.runtime.spawn(async move {
            let _ = tx.send(inner.plan(key).await);
        });
        let plan = rx
            .recv_timeout(self.0.options.patience.0)
            .unwrap_or(Err(ResolveError::Timeout(host)));
        plan.map(|servers| self.0.options.targets(&servers, random))
    }

    /// Answers whenever DNS does.
    pub async fn lookup(
        &self,
        question: &Question<'_>,
        random: &mut (dyn FnMut() -> u32 + Send),
    ) -> Result<Targets, ResolveError> {
        if let Some(known) = self.lookup_cached(question, random) {
            return known;
        }
        let Some(host) = normal(question.host) else {
            return Err(bad_name(question.host));
        };
        let plan = self.0.clone().plan(question.owned(&host)).await;
        plan.map(|servers| self.0.options.targets(&servers, random))
    }

    /// Makes the answer known and then calls `done`, which asks `lookup_cached`: for a suspended transaction.
    pub fn prefetch(&self, question: &Question<'_>, done: impl FnOnce() + Send + 'static) {
        let Some(host) = normal(question.host).filter(|_| question.numeric().is_none()) else {
            return done();
        };
        let (inner, key) = (self.0.clone(), question.owned(&host));
        self.0.runtime.spawn(async move {
            let _ = inner.plan(key).await;
            done();
        });
    }

    /// The source of records, for ENUM and the like.
    pub fn dns(&self) -> &Dns {
        &self.0.dns
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.cache.write().clear();
    }

    /// How many names are remembered.
    pub fn len(&self) -> usize {
        self.0.cache.read().len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn cached(&self, host: &str, kind: Kind) -> Option<Plan> {
        let cache = self.cache.read();
        let (_, plan, until) = cache.get(host)?.iter().find(|(k, ..)| *k == kind)?;
        (*until > Instant::now()).then(|| plan.clone())
    }

    fn remember(&self, key: Key, plan: &Plan, ttl: Duration) {
        let now = Instant::now();
        let mut cache = self.cache.write();
        if cache.len() >= self.options.cache_limit {
            cache.retain(|_, kinds| kinds.iter().any(|(_, _, until)| *until > now));
        }
        if cache.len() >= self.options.cache_limit {
            // Still full of valid names: a flood of them. Any half will do, and costs nothing to choose.
            let mut keep = false;
            cache.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        let kinds = cache.entry(key.host).or_default();
        kinds.retain(|(kind, _, until)| *kind != key.kind && *until > now);
        if kinds.len() < 16 {
            kinds.push((key.kind, plan.clone(), now + ttl));
        }
    }

    /// Looks a plan up, once for all who want it.
    async fn plan(self: Arc<Self>, key: Key) -> Plan {
        if let Some(plan) = self.cached(&key.host, key.kind) {
            return plan;
        }
        let busy = || Err(ResolveError::Busy(key.host.clone()));
        let mut receiver = {
            let mut pending = self.pending.lock();
            match pending.get(&key) {
                Some(receiver) => receiver.clone(),
                None if pending.len() >= self.options.pending_limit => return busy(),
                None => {
                    let (tx, rx) = watch::channel(None);
                    pending.insert(key.clone(), rx.clone());
                    let (inner, key) = (self.clone(), key.clone());
                    self.runtime.spawn(async move {
                        let plan = inner.look_up(&key).await;
                        inner.pending.lock().remove(&key);
                        tx.send_replace(Some(plan));
                    });
                    rx
                }
            }
        };
        let plan = receiver
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|plan| plan.clone());
        plan.unwrap_or_else(busy)
    }

    async fn look_up(&self, key: &Key) -> Plan {
        let found = tokio::time::timeout(self.options.patience.1, self.servers(key)).await;
        let (plan, ttl) = match found.unwrap_or(Err(DnsFailure::Timeout)) {
            Ok((servers, ttl)) => (Ok(Arc::from(servers)), self.options.dns.kept(ttl)),
            Err(failure) => {
                let host = key.host.clone();
                match failure {
                    DnsFailure::None { ttl } => {
                        let ttl = self.options.dns.kept_refused(ttl);
                        (Err(ResolveError::NoSuchHost(host)), ttl)
                    }
                    DnsFailure::Timeout => (Err(ResolveError::Timeout(host)), self.options.silence_ttl),
                    DnsFailure::Server(_) => (Err(ResolveError::Server(host)), self.options.silence_ttl),
                    DnsFailure::BadName => (Err(ResolveError::BadName(host)), self.options.silence_ttl),
                }
            }
        };
        self.remember(key.clone(), &plan, ttl);
        plan
    }

    async fn servers(&self, key: &Key) -> Result<(Vec<Server>, Duration), DnsFailure> {
        let Key { host, kind } = key;
        let question = Question {
            host: host.as_bytes(),
            port: kind.port,
            transport: kind.transport,
            sips: kind.sips,
        };
        let transport = question.default_transport();
        let plain = |addresses| {
            let port = kind.port.unwrap_or(transport.default_port());
            vec![Server {
                priority: 0,
                weight: 0,
                transport,
                port,
                addresses,
            }]
        };
        if let Some(mut addresses) = self.hosts.find(host) {
            addresses.retain(|ip| ip.is_ipv4() || self.options.ipv6);
            return Ok((plain(addresses), Duration::from_secs(10)));
        }
        // RFC 3263 §4.2: with a port there is nothing left to look up but the address.
        if kind.port.is_none() && self.options.srv {
            let found = self.services(host, kind).await?;
            if !found.0.is_empty() {
                return Ok(found);
            }
        }
        let records = self.addresses(host).await?;
        Ok((plain(records.0), records.1))
    }

    /// Servers by NAPTR and SRV; empty when the domain has none.
    async fn services(&self, host: &str, kind: &Kind) -> Result<(Vec<Server>, Duration), DnsFailure> {
        let mut names: Vec<(String, Transport)> = Vec::new();
        if self.options.naptr && kind.transport.is_none() {
            let mut records = self.dns.naptr(host).await.map(|r| r.list).unwrap_or_default();
            records.sort_by_key(|r| (r.order, r.preference));
            let usable = records.into_iter().filter(|r| r.flags.eq_ignore_ascii_case(b"s"));
            names.extend(usable.filter_map(|r| Some((r.replacement, service_transport(&r.services)?))));
            names.retain(|(_, t)| self.options.transports.contains(t) && (!kind.sips || t.is_secure()));
        }
        if names.is_empty() {
            let wanted = |t: &&Transport| match kind.transport {
                Some(transport) => Question {
                    host: &[],
                    port: None,
                    transport: Some(transport),
                    sips: kind.sips,
                }
                .default_transport()
                .eq(*t),
                None => !kind.sips || t.is_secure(),
            };
            let usable = self.options.transports.iter().filter(wanted);
            names.extend(usable.filter_map(|t| Some((format!("{}.{host}", srv_prefix(*t)?), *t))));
        }
        let (mut servers, mut ttl) = (Vec::new(), Duration::from_secs(3600));
        for (rank, (name, transport)) in (0_u32..).zip(names.into_iter().take(4)) {
            match self.dns.srv(&name).await {
                Ok(records) => {
                    ttl = ttl.min(records.ttl);
                    self.add_servers(&mut servers, &records.list, rank, transport, &mut ttl)
                        .await;
                }
                Err(DnsFailure::None { .. } | DnsFailure::BadName | DnsFailure::Server(_)) => {}
                Err(DnsFailure::Timeout) if servers.is_empty() => return Err(DnsFailure::Timeout),
                Err(DnsFailure::Timeout) => break,
            }
        }
        Ok((servers, ttl))
    }

    async fn add_servers(
        &self,
        servers: &mut Vec<Server>,
        records: &[Srv],
        rank: u32,
        transport: Transport,
        ttl: &mut Duration,
    ) {
        for srv in records.iter().filter(|r| !r.target.is_empty()).take(16) {
            let Ok((addresses, address_ttl)) = self.addresses(&srv.target).await else {
                continue;
            };
            *ttl = (*ttl).min(address_ttl);
            let priority = (rank << 16) | u32::from(srv.priority);
            servers.push(Server {
                priority,
                weight: srv.weight,
                transport,
                port: srv.port,
                addresses,
            });
        }
    }

    async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), DnsFailure> {
        if let Some(mut addresses) = self.hosts.find(host) {
            addresses.retain(|ip| ip.is_ipv4() || self.options.ipv6);
            return Ok((addresses, Duration::from_secs(10)));
        }
        if !self.options.ipv6 {
            return self.dns.a(host).await.map(|r| (r.list, r.ttl));
        }
        let (a, aaaa) = tokio::join!(self.dns.a(host), self.dns.aaaa(host));
        match (a, aaaa) {
            (Ok(mut a), Ok(aaaa)) => {
                a.list.extend(aaaa.list);
                Ok((a.list, a.ttl.min(aaaa.ttl)))
            }
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok((one.list, one.ttl)),
            (Err(e), Err(_)) => Err(e),
        }
    }
}

fn normal(host: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(host).ok()?;
    let text = text.strip_suffix('.').unwrap_or(text);
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    (plain && !text.is_empty() && text.len() <= 253).then(|| text.to_ascii_lowercase())
}

fn bad_name(host: &[u8]) -> ResolveError {
    let shown = host.get(..host.len().min(64)).unwrap_or_default();
    ResolveError::BadName(String::from_utf8_lossy(shown).into_owned())
}

#[cfg(test)]
mod tests;
