//! What RFC 3263 asks of DNS: addresses, SRV (RFC 2782) and NAPTR (RFC 3403) records, and the hosts file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::DnsError;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;

use parking_lot::Mutex;
use shared::net::Naptr;

/// The longest an answer is kept, whatever its TTL says.
const LONGEST: Duration = Duration::from_secs(3600);
/// The shortest: who suspended a request for an answer has to find it.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a refusal without SOA is remembered (RFC 2308 §5 leaves it to us).
const REFUSED: Duration = Duration::from_secs(30);

/// Records of one kind, with the time they may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records<T> {
    /// In the order of the answer.
    pub list: Vec<T>,
    /// The smallest TTL.
    pub ttl: Duration,
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among those of the same priority.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// Host, without a final dot; empty where the service does not exist.
    pub target: String,
}

/// Why DNS gave no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsFailure {
    /// The name has no such records.
    #[error("no such records")]
    None {
        /// How long that may be remembered.
        ttl: Duration,
    },
    /// Nobody answered in time.
    #[error("no answer from the name server")]
    Timeout,
    /// The text is no domain name.
    #[error("not a domain name")]
    BadName,
    /// The server could not say.
    #[error("name server failed: {0}")]
    Server(String),
}

/// How name servers are asked.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// Servers to ask instead of those of resolv.conf.
    pub servers: Vec<IpAddr>,
    /// Time for one attempt (`dns_retr_time`).
    pub timeout: Duration,
    /// Attempts after the first (`dns_retr_no`).
    pub retries: usize,
    /// The shortest and the longest time an answer is kept (`dns_cache_min_ttl`, `dns_cache_max_ttl`).
    pub ttl: (Duration, Duration),
    /// How long a refusal is kept, whatever it says itself (`dns_cache_negative_ttl`).
    pub negative_ttl: Option<Duration>,
}

impl DnsOptions {
    /// How long an answer with this TTL is kept.
    pub(super) fn kept(&self, ttl: Duration) -> Duration {
        let (least, most) = self.ttl;
        ttl.min(most).max(least).max(SHORTEST)
    }

    /// How long a refusal with this TTL is kept.
    pub(super) fn kept_refused(&self, ttl: Duration) -> Duration {
        self.negative_ttl.unwrap_or(ttl).max(SHORTEST)
    }
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(1),
            retries: 1,
            ttl: (Duration::ZERO, LONGEST),
            negative_ttl: None,
        }
    }
}

/// A source of records.
pub enum Dns {
    /// Name servers.
    Servers(Box<TokioResolver>),
    /// A fixed table, for tests and for machines without DNS.
    Table(Table),
}

/// Fixed records by lower-case name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// A and AAAA.
    pub addresses: HashMap<String, Vec<IpAddr>>,
    /// SRV.
    pub srv: HashMap<String, Vec<Srv>>,
    /// NAPTR.
    pub naptr: HashMap<String, Vec<Naptr>>,
    /// Names that are never answered.
    pub silent: Vec<String>,
}

impl Dns {
    /// Asks the servers of resolv.conf, or those of the options; an empty table where there are none.
    pub fn new(options: &DnsOptions) -> Self {
        let builder = if options.servers.is_empty() {
            TokioResolver::builder_tokio().ok()
        } else {
            let servers = options
                .servers
                .iter()
                .map(|ip| NameServerConfig::udp_and_tcp(*ip))
                .collect();
            let config = ResolverConfig::from_name_servers(servers);
            Some(TokioResolver::builder_with_config(
                config,
                TokioRuntimeProvider::default(),
            ))
        };
        let resolver = builder.and_then(|mut builder| {
            let o = builder.options_mut();
            o.timeout = options.timeout;
            o.attempts = options.retries;
            o.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            o.cache_size = 1024;
            o.positive_max_ttl = Some(options.ttl.1);
            o.negative_max_ttl = Some(options.kept_refused(LONGEST));
            builder.build().ok()
        });
        resolver.map_or_else(|| Self::Table(Table::default()), |r| Self::Servers(Box::new(r)))
    }

    /// IPv4 addresses of a host.
    pub async fn a(&self, name: &str) -> Result<Records<IpAddr>, DnsFailure> {
        let take = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            _ => None,
        };
        match self {
            Self::Servers(r) => ask(r, name, RecordType::A, take).await,
            Self::Table(t) => t.answer(&t.addresses, name, |ip| ip.is_ipv4()).await,
        }
    }

    /// IPv6 addresses of a host.
    pub async fn aaaa(&self, name: &str) -> Result<Records<IpAddr>, DnsFailure> {
        let take = |data: &RData| match data {
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        };
        match self {
            Self::Servers(r) => ask(r, name, RecordType::AAAA, take).await,
            Self::Table(t) => t.answer(&t.addresses, name, |ip| ip.is_ipv6()).await,
        }
    }

    /// Servers of a service such as `_sip._udp.example.org`.
    pub async fn srv(&self, name: &str) -> Result<Records<Srv>, DnsFailure> {
        let take = |data: &RData| match data {
            RData::SRV(s) => Some(Srv {
                priority: s.priority,
                weight: s.weight,
                port: s.port,
                target: plain(&s.target.to_ascii()),
            }),
            _ => None,
        };
        match self {
            Self::Servers(r) => ask(r, name, RecordType::SRV, take).await,
            Self::Table(t) => t.answer(&t.srv, name, |_| true).await,
        }
    }

    /// Services of a domain, or the ENUM records of a number.
    pub async fn naptr(&self, name: &str) -> Result<Records<Naptr>, DnsFailure> {
        let take = |data: &RData| match data {
            RData::NAPTR(n) => Some(Naptr {
                order: n.order,
                preference: n.preference,
                flags: n.flags.to_vec(),
                services: n.services.to_vec(),
                regexp: n.regexp.to_vec(),
                replacement: plain(&n.replacement.to_ascii()),
            }),
            _ => None,
        };
        match self {
            Self::Servers(r) => ask(r, name, RecordType::NAPTR, take).await,
            Self::Table(t) => t.answer(&t.naptr, name, |_| true).await,
        }
    }
}

impl Table {
    async fn answer<T: Clone>(
        &self,
        map: &HashMap<String, Vec<T>>,
        name: &str,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Records<T>, DnsFailure> {
        if self.silent.iter().any(|s| s == name) {
            std::future::pending::<()>().await;
        }
        let list: Vec<T> = map
            .get(name)
            .into_iter()
            .flatten()
            .filter(|r| keep(r))
            .cloned()
            .collect();
        if list.is_empty() {
            Err(DnsFailure::None { ttl: REFUSED })
        } else {
            Ok(Records { list, ttl: LONGEST })
        }
    }
}

async fn ask<T>(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    take: impl Fn(&RData) -> Option<T>,
) -> Result<Records<T>, DnsFailure> {
    // A name with a dot is complete; one without may be meant relative to the search list of resolv.conf.
    let name = if name.contains('.') && !name.ends_with('.') {
        format!("{name}.")
    } else {
        name.to_owned()
    };
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let answers = lookup.answers();
            let list: Vec<T> = answers.iter().filter_map(|record| take(&record.data)).collect();
            let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or(0);
            let ttl = Duration::from_secs(ttl.into()).min(LONGEST);
            if list.is_empty() {
                Err(DnsFailure::None { ttl: REFUSED })
            } else {
                Ok(Records { list, ttl })
            }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = none
                .negative_ttl
                .map_or(REFUSED, |s| Duration::from_secs(s.into()))
                .min(LONGEST);
            Err(DnsFailure::None { ttl })
        }
        Err(NetError::Timeout) => Err(DnsFailure::Timeout),
        Err(NetError::Proto(_)) => Err(DnsFailure::BadName),
        Err(e) => Err(DnsFailure::Server(e.to_string())),
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The hosts file, read again when it changed.
pub struct Hosts {
    path: PathBuf,
    /// When the file was changed, and what it held then.
    read: Mutex<(Option<SystemTime>, ByName)>,
}

type ByName = HashMap<String, Vec<IpAddr>>;

impl Hosts {
    /// The file at `path`, commonly `/etc/hosts`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read: Mutex::new((None, HashMap::new())),
        }
    }

    /// Addresses of a lower-case name; `localhost` has them always (RFC 6761 §6.3).
    pub fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut read = self.read.lock();
        let modified = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if modified != read.0 {
            let text = std::fs::read(&self.path).unwrap_or_default();
            *read = (modified, parse_hosts(&String::from_utf8_lossy(&text)));
        }
        let found = read.1.get(name).cloned();
        let localhost = || vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        found.or_else(|| (name == "localhost").then(localhost))
    }
}

fn parse_hosts(text: &str) -> ByName {
    let mut hosts = ByName::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(ip) = words.next().and_then(|ip| ip.parse().ok()) else {
            continue;
        };
        for name in words {
            hosts.entry(plain(name)).or_default().push(ip);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files_are_read() {
        let hosts = parse_hosts("# a\n10.0.0.1 Gw.Example gw # b\n::1\tgw\nnonsense x\n10.0.0.2");
        let ips = |name: &str| {
            hosts
                .get(name)
                .map(|l| l.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(ips("gw.example"), Some(vec!["10.0.0.1".to_owned()]));
        assert_eq!(ips("gw"), Some(vec!["10.0.0.1".to_owned(), "::1".to_owned()]));
        assert_eq!(ips("x"), None);
    }

    #[test]
    fn localhost_needs_no_file() {
        let hosts = Hosts::new("/nonexistent");
        assert_eq!(hosts.find("localhost").map(|l| l.len()), Some(2));
        assert_eq!(hosts.find("other"), None);
    }
}
