//! The table `trusted`: peers by address, transport, From and Request-URI (Kamailio module permissions, "Trusted Requests").

use shared::net::Transport;
use shared::net::cidr;
use shared::regex::Options;
use shared::regex::Regex;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Transports a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proto {
    Any,
    Only(Transport),
}

impl Proto {
    /// `any` or a transport; none for what is neither.
    pub(super) fn from_bytes(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"any") {
            Some(Self::Any)
        } else {
            Transport::from_bytes(name).map(Self::Only)
        }
    }

    fn meets(self, other: Self) -> bool {
        self == Self::Any || other == Self::Any || self == other
    }

    /// The number that `trustedDump` shows (Kamailio's protocol numbers).
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Only(Transport::Udp) => 1,
            Self::Only(Transport::Tcp) => 2,
            Self::Only(Transport::Tls) => 3,
            Self::Only(Transport::Sctp) => 4,
            Self::Only(Transport::Ws) => 5,
            Self::Only(Transport::Wss) => 6,
        }
    }
}

/// A pattern with its text.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) text: Box<str>,
    regex: Regex,
}

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) source: Box<str>,
    pub(super) proto: Proto,
    pub(super) from: Option<Pattern>,
    pub(super) ruri: Option<Pattern>,
    pub(super) tag: Option<Box<[u8]>>,
    pub(super) priority: i64,
}

/// What a request shows to the rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'m> {
    pub(super) proto: Proto,
    pub(super) from: &'m [u8],
    pub(super) ruri: &'m [u8],
}

impl Rule {
    /// Reads a row; `Ok(None)` for the transport `none`, which never matches.
    pub(super) fn new(
        source: &str,
        proto: &[u8],
        patterns: [Option<&str>; 2],
        tag: Option<&[u8]>,
        priority: i64,
    ) -> Result<Option<Self>, String> {
        if proto.eq_ignore_ascii_case(b"none") {
            return Ok(None);
        }
        let unknown = || format!("unknown protocol {:?}", String::from_utf8_lossy(proto));
        let proto = Proto::from_bytes(proto).ok_or_else(unknown)?;
        let compile = |text: Option<&str>| {
            let Some(text) = text.filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let regex = Regex::compile(text.as_bytes(), Options::PLAIN).map_err(|error| error.to_string())?;
            Ok::<_, String>(Some(Pattern {
                text: text.into(),
                regex,
            }))
        };
        let [from, ruri] = patterns;
        let (from, ruri) = (compile(from)?, compile(ruri)?);
        Ok(Some(Self {
            source: source.into(),
            proto,
            from,
            ruri,
            tag: tag.map(Into::into),
            priority,
        }))
    }

    fn fits(&self, shown: Shown<'_>) -> bool {
        let holds =
            |pattern: &Option<Pattern>, text: &[u8]| pattern.as_ref().is_none_or(|p| p.regex.is_match(text));
        self.proto.meets(shown.proto) && holds(&self.from, shown.from) && holds(&self.ruri, shown.ruri)
    }
}

/// Where rules are kept: an address in any spelling, or what is written there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Ip(IpAddr),
    Text(Box<[u8]>),
}

impl Source {
    fn of(text: &[u8]) -> Self {
        match std::str::from_utf8(text)
            .ok()
            .and_then(|text| cidr::parse_ip(text).ok())
        {
            Some(ip) => Self::Ip(ip.to_canonical()),
            None => Self::Text(text.into()),
        }
    }
}

/// All rules by source, those of high priority first.
#[derive(Debug, Default)]
pub(super) struct Trusted {
    by_source: BTreeMap<Source, Vec<Rule>>,
}

impl Trusted {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let mut by_source: BTreeMap<Source, Vec<Rule>> = BTreeMap::new();
        for rule in rules {
            by_source
                .entry(Source::of(rule.source.as_bytes()))
                .or_default()
                .push(rule);
        }
        for rules in by_source.values_mut() {
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        }
        Self { by_source }
    }

    /// Every rule that fits a request from this address.
    pub(super) fn matches<'t, 's>(
        &'t self,
        source: IpAddr,
        shown: Shown<'s>,
    ) -> impl Iterator<Item = &'t Rule> + use<'t, 's> {
        self.of(&Source::Ip(source.to_canonical()))
            .filter(move |rule| rule.fits(shown))
    }

    /// The same for an address given as text.
    pub(super) fn matches_text<'t, 's>(
        &'t self,
        source: &[u8],
        shown: Shown<'s>,
    ) -> impl Iterator<Item = &'t Rule> + use<'t, 's> {
        self.of(&Source::of(source)).filter(move |rule| rule.fits(shown))
    }

    fn of<'t>(&'t self, source: &Source) -> impl Iterator<Item = &'t Rule> + use<'t> {
        self.by_source.get(source).into_iter().flatten()
    }

    /// Every rule, by source.
    pub(super) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.by_source.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        source: &str,
        proto: &str,
        from: Option<&str>,
        ruri: Option<&str>,
        tag: &str,
        priority: i64,
    ) -> Rule {
        Rule::new(
            source,
            proto.as_bytes(),
            [from, ruri],
            Some(tag.as_bytes()),
            priority,
        )
        .unwrap()
        .unwrap()
    }

    #[test]
    fn rules_match_by_priority() {
        let trusted = Trusted::new(vec![
            rule("127.0.0.1", "any", None, None, "p0", 0),
            rule("127.0.0.1", "udp", Some("^sip:alice"), Some("sip:x@"), "p5", 5),
            rule("127.0.0.1", "tcp", Some("^sip:zed"), None, "tcp", 3),
            rule("127.0.0.1", "udp", Some("^sip:ZED"), None, "case", 0),
            rule("peer.example", "any", None, None, "name", 0),
        ]);
        let tags = |source: &str, proto: &str, from: &str| -> Vec<String> {
            let proto = Proto::from_bytes(proto.as_bytes()).unwrap();
            let shown = Shown {
                proto,
                from: from.as_bytes(),
                ruri: b"sip:x@test",
            };
            let rules = trusted.matches_text(source.as_bytes(), shown);
            rules
                .map(|rule| String::from_utf8_lossy(rule.tag.as_deref().unwrap()).into_owned())
                .collect()
        };
        assert_eq!(tags("127.0.0.1", "udp", "sip:alice@x"), ["p5", "p0"]);
        assert_eq!(tags("127.0.0.1", "TCP", "sip:alice@x"), ["p0"]);
        assert_eq!(tags("127.0.0.1", "udp", "sip:zed@x"), ["p0"]);
        assert_eq!(tags("127.0.0.1", "any", "sip:zed@x"), ["tcp", "p0"]);
        assert_eq!(tags("peer.example", "ws", ""), ["name"]);
        assert!(tags("127.0.0.2", "udp", "").is_empty());
        assert_eq!(trusted.all().count(), 5);
    }

    #[test]
    fn bad_rows_are_refused() {
        assert!(Rule::new("x", b"none", [None, None], None, 0).unwrap().is_none());
        assert!(
            Rule::new("x", b"bogus", [None, None], None, 0)
                .unwrap_err()
                .contains("bogus")
        );
        assert!(Rule::new("x", b"udp", [Some("(["), None], None, 0).is_err());
    }
}
