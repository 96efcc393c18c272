//! One destination: its address, its attributes, its state (Kamailio module dispatcher, "Destination List File").

use super::latency::Latency;
use parking_lot::Mutex;
use shared::net::Transport;
use shared::sip::Uri;
use std::net::IpAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// Not selected: it failed.
pub(super) const INACTIVE: u32 = 1;
/// Selected still, though it failed lately.
pub(super) const TRYING: u32 = 2;
/// Not selected: an operator says so.
pub(super) const DISABLED: u32 = 4;
/// Pinged.
pub(super) const PROBING: u32 = 8;
/// Not looked up in the DNS when loaded.
pub(super) const NO_DNS: u32 = 16;
/// Never pinged.
pub(super) const NO_PING: u32 = 32;
const STATES: u32 = INACTIVE | TRYING | DISABLED | PROBING;

/// What `attrs` says that the module understands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The whole text.
    pub(super) body: Vec<u8>,
    pub(super) duid: Vec<u8>,
    pub(super) max_load: u32,
    pub(super) weight: u32,
    pub(super) relative_weight: u32,
    pub(super) socket: Vec<u8>,
    pub(super) socket_name: Vec<u8>,
    pub(super) ping_socket: Vec<u8>,
    pub(super) ping_from: Vec<u8>,
    pub(super) outbound_proxy: Vec<u8>,
    pub(super) latency: u32,
    pub(super) congestion_control: bool,
}

impl Attributes {
    /// Reads `name=value;…`; unknown names are the script's own.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut attributes = Self {
            body: body.to_vec(),
            ..Self::default()
        };
        for pair in body.split(|byte| *byte == b';') {
            let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (name, value) = (
                pair.get(..at).unwrap_or_default(),
                pair.get(at + 1..).unwrap_or_default(),
            );
            let number = || {
                std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.trim().parse::<u32>().ok())
                    .unwrap_or(0)
            };
            match name.trim_ascii() {
                b"duid" => attributes.duid = value.to_vec(),
                b"maxload" => attributes.max_load = number(),
                b"weight" => attributes.weight = number(),
                b"rweight" => {
                    attributes.relative_weight = Some(number()).filter(|n| (1..=100).contains(n)).unwrap_or(0)
                }
                b"socket" => attributes.socket = value.to_vec(),
                b"sockname" => attributes.socket_name = value.to_vec(),
                b"ping_socket" => attributes.ping_socket = value.to_vec(),
                b"ping_from" => attributes.ping_from = value.to_vec(),
                b"obproxy" => attributes.outbound_proxy = value.to_vec(),
                b"latency" => attributes.latency = number(),
                b"cc" => attributes.congestion_control = number() == 1,
                _ => {}
            }
        }
        attributes
    }
}

/// One destination of a set.
pub(super) struct Destination {
    pub(super) uri: Vec<u8>,
    /// Host, port and parameters: what `ds_select_domain` puts after the user.
    pub(super) domain: Vec<u8>,
    pub(super) host: String,
    /// 0: none in the URI.
    pub(super) port: u16,
    pub(super) transport: Option<Transport>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) priority: i64,
    pub(super) attributes: Attributes,
    flags: AtomicU32,
    /// Failures in a row while it is tried, successes in a row while it is inactive.
    count: AtomicU32,
    /// Calls sent there (algorithm 10).
    pub(super) load: AtomicU32,
    pub(super) latency: Mutex<Latency>,
}

/// What a change of state means to those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Down,
    Up,
}

/// How often a destination must fail or answer before its state changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    pub(super) probing: u32,
    pub(super) inactive: u32,
}

impl Destination {
    /// Reads one; a scheme that is missing is put in front.
    pub(super) fn new(uri: &[u8], flags: u32, priority: i64, attrs: &[u8]) -> Result<Self, String> {
        let has_scheme = uri.get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"sip:"))
            || uri.get(..5).is_some_and(|s| s.eq_ignore_ascii_case(b"sips:"));
        let uri = if has_scheme {
            uri.to_vec()
        } else {
            [b"sip:", uri].concat()
        };
        let shown = || String::from_utf8_lossy(&uri).into_owned();
        let parsed = Uri::parse(&uri).map_err(|error| format!("bad uri {:?}: {error}", shown()))?;
        let host = std::str::from_utf8(parsed.host_bare())
            .map_err(|_| format!("bad uri {:?}", shown()))?
            .to_owned();
        if host.is_empty() {
            return Err(format!("bad uri {:?}: no host", shown()));
        }
        let transport = parsed
            .param(b"transport")
            .flatten()
            .and_then(Transport::from_bytes);
        let port = parsed.port.unwrap_or(0);
        let after_user = uri
            .iter()
            .position(|byte| *byte == b'@')
            .filter(|_| parsed.user.is_some());
        let after_scheme = uri.iter().position(|byte| *byte == b':').unwrap_or(0);
        let domain = uri
            .get(after_user.unwrap_or(after_scheme) + 1..)
            .unwrap_or_default()
            .to_vec();
        let addresses = if flags & NO_DNS != 0 {
            Vec::new()
        } else {
            resolve(&host)
        };
        if addresses.is_empty() && flags & NO_DNS == 0 {
            return Err(format!(
                "could not resolve {host}; flag 16 keeps it from being looked up"
            ));
        }
        let attributes = Attributes::parse(attrs);
        let latency = Mutex::new(Latency::starting_at(attributes.latency));
        Ok(Self {
            domain,
            host,
            port,
            transport,
            addresses,
            priority,
            attributes,
            flags: AtomicU32::new(flags),
            count: AtomicU32::new(0),
            load: AtomicU32::new(0),
            latency,
            uri,
        })
    }

    /// State and flags.
    pub(super) fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Whether it may be selected.
    pub(super) fn is_active(&self) -> bool {
        self.flags() & (INACTIVE | DISABLED) == 0
    }

    /// The two letters of its state: `AP`, `IX`, …
    pub(super) fn state(&self) -> String {
        let flags = self.flags();
        let first = match flags {
            f if f & INACTIVE != 0 => 'I',
            f if f & DISABLED != 0 => 'D',
            f if f & TRYING != 0 => 'T',
            _ => 'A',
        };
        format!("{first}{}", if flags & PROBING != 0 { 'P' } else { 'X' })
    }

    /// Sets a state without counting, as an operator does.
    pub(super) fn force(&self, state: u32) {
        self.count.store(0, Ordering::Relaxed);
        self.store(state);
    }

    fn store(&self, state: u32) -> u32 {
        let change = |flags: u32| Some(flags & !STATES | state & STATES);
        self.flags
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .unwrap_or_default()
    }

    /// Takes over the state of the destination it replaces.
    pub(super) fn inherit(&self, old: &Self) {
        self.store(old.flags());
        self.count
            .store(old.count.load(Ordering::Relaxed), Ordering::Relaxed);
        self.load
            .store(old.load.load(Ordering::Relaxed), Ordering::Relaxed);
        *self.latency.lock() = old.latency.lock().clone();
    }

    /// Applies a new state by what was found out, with thresholds; tells whether it went up or down.
    pub(super) fn update(&self, state: u32, thresholds: Thresholds) -> Change {
        let old = self.flags() & STATES;
        let mut state = state & STATES;
        if state & TRYING != 0 {
            // what is down already does not come back by failing once more
            if old & INACTIVE != 0 || self.count.fetch_add(1, Ordering::Relaxed) + 1 >= thresholds.probing {
                self.count.store(0, Ordering::Relaxed);
                state = state & !TRYING | INACTIVE;
            }
        } else if state & (INACTIVE | DISABLED) == 0 && old & INACTIVE != 0 {
            if self.count.fetch_add(1, Ordering::Relaxed) + 1 < thresholds.inactive {
                state |= INACTIVE;
            } else {
                self.count.store(0, Ordering::Relaxed);
            }
        } else {
            self.count.store(0, Ordering::Relaxed);
        }
        self.store(state);
        let down = INACTIVE | DISABLED;
        match (old & down != 0, state & down != 0) {
            (false, true) => Change::Down,
            (true, false) => Change::Up,
            _ => Change::None,
        }
    }
}

/// The addresses of a host, by number or by the system's resolver.
pub(super) fn resolve(host: &str) -> Vec<IpAddr> {
    if let Ok(ip) = host.parse() {
        return vec![ip];
    }
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(host, 0));
    let mut addresses: Vec<IpAddr> = found
        .map(|all| all.map(|addr| addr.ip()).collect())
        .unwrap_or_default();
    addresses.dedup();
    addresses
}

/// Reads a state as `ds_mark_dst` and `dispatcher.set_state` take it: one of a, i, d, t and perhaps p, in either case.
pub(super) fn parse_state(text: &[u8]) -> Option<u32> {
    let mut state = 0;
    for (at, letter) in text.iter().enumerate() {
        state |= match (at, letter.to_ascii_lowercase()) {
            (0, b'a') => 0,
            (0, b'i') => INACTIVE,
            (0, b'd') => DISABLED,
            (0, b't') => TRYING,
            (0 | 1, b'p') => PROBING,
            _ => return None,
        };
    }
    (!text.is_empty()).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read() {
        let read =
            Attributes::parse(b"weight=50;duid=a;maxload=3;socket=udp:127.0.0.1:5077;foo=bar;rweight=400");
        assert_eq!((read.weight, read.max_load, read.relative_weight), (50, 3, 0));
        assert_eq!(
            (&*read.duid, &*read.socket),
            (&b"a"[..], &b"udp:127.0.0.1:5077"[..])
        );
        assert_eq!(Attributes::parse(b""), Attributes::default());
    }

    #[test]
    fn uris_are_taken_apart() {
        let destination = Destination::new(b"sip:h@127.0.0.31:5080;transport=tcp", 0, 0, b"").unwrap();
        assert_eq!(destination.domain, b"127.0.0.31:5080;transport=tcp");
        assert_eq!(
            (destination.port, destination.transport),
            (5080, Some(Transport::Tcp))
        );
        assert_eq!(
            Destination::new(b"127.0.0.34", 0, 0, b"").unwrap().uri,
            b"sip:127.0.0.34"
        );
        assert!(Destination::new(b"bad", 0, 0, b"").is_err());
        assert!(Destination::new(b"sip:no.such.host.invalid", NO_DNS, 0, b"").is_ok());
    }

    #[test]
    fn states_change_by_thresholds() {
        let destination = Destination::new(b"sip:127.0.0.1", 0, 0, b"").unwrap();
        let limits = Thresholds {
            probing: 2,
            inactive: 2,
        };
        for (given, change, shown) in [
            (PROBING, Change::None, "AP"),
            (TRYING | PROBING, Change::None, "TP"),
            (TRYING | PROBING, Change::Down, "IP"),
            (TRYING | PROBING, Change::None, "IP"),
            (PROBING, Change::None, "IP"),
            (PROBING, Change::Up, "AP"),
            (DISABLED, Change::Down, "DX"),
            (0, Change::Up, "AX"),
        ] {
            assert_eq!(
                (destination.update(given, limits), &*destination.state()),
                (change, shown)
            );
        }
    }

    #[test]
    fn states_have_letters() {
        for (text, expected) in [
            ("ip", Some(INACTIVE | PROBING)),
            ("A", Some(0)),
            ("p", Some(PROBING)),
            ("TP", Some(TRYING | PROBING)),
            ("px", None),
            ("", None),
            ("zz", None),
        ] {
            assert_eq!(parse_state(text.as_bytes()), expected, "{text}");
        }
    }
}
