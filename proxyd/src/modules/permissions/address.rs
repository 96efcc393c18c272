//! The table `address`: single addresses, subnets and names in groups (Kamailio module permissions, "Address Permissions").

use ahash::AHashMap;
use ipnet::IpNet;
use ipnet::Ipv4Net;
use ipnet::Ipv6Net;
use prefix_trie::PrefixMap;
use shared::net::cidr;
use std::iter;
use std::net::IpAddr;

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row<A> {
    pub(super) group: u32,
    /// 0: any.
    pub(super) port: u16,
    pub(super) at: A,
    tag: Option<Span>,
    /// The row loaded before it at the same place, or `NONE`.
    before: u32,
}

/// Of a row that is the first of its place.
const NONE: u32 = u32::MAX;

/// A piece of the text that all tags make.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

/// A subnet as it was written, host bits and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) address: IpAddr,
    pub(super) mask: u8,
}

/// All rows. Places lead to the last of their rows and that to those before it, so that a table of any size is few pieces of memory: it is
/// let go while calls are handled.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) hosts: Vec<Row<IpAddr>>,
    subnets: Vec<Row<Subnet>>,
    pub(super) names: Vec<Row<Box<[u8]>>>,
    tags: Vec<u8>,
    by_host: AHashMap<IpAddr, u32>,
    by_net4: PrefixMap<Ipv4Net, u32>,
    by_net6: PrefixMap<Ipv6Net, u32>,
    by_name: AHashMap<Box<[u8]>, u32>,
    longest: bool,
}

/// Which of several subnets counts (`subnet_match_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubnetMode {
    /// That of the lowest group, there the one loaded first.
    First,
    /// The narrowest.
    Longest,
}

/// What matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match<'t> {
    pub(super) group: u32,
    pub(super) tag: Option<&'t [u8]>,
}

impl<A> Row<A> {
    fn fits(&self, port: u16, group: Option<u32>) -> bool {
        (self.port == 0 || self.port == port) && group.is_none_or(|wanted| wanted == self.group)
    }

    /// What decides between rows that fit: the lowest group, there the row loaded first.
    fn rank(&self, at: u32) -> (u32, u32) {
        (self.group, at)
    }
}

impl Addresses {
    /// An empty one with room for as many rows as another has.
    pub(super) fn like(other: &Self, mode: SubnetMode) -> Self {
        Self {
            hosts: Vec::with_capacity(other.hosts.len()),
            subnets: Vec::with_capacity(other.subnets.len()),
            tags: Vec::with_capacity(other.tags.len()),
            by_host: AHashMap::with_capacity(other.by_host.len()),
            longest: mode == SubnetMode::Longest,
            ..Self::default()
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.hosts.len() + self.subnets.len() + self.names.len()
    }

    /// The subnets by group, within a group as they were loaded.
    pub(super) fn subnets(&self) -> Vec<&Row<Subnet>> {
        let mut rows: Vec<_> = self.subnets.iter().collect();
        rows.sort_by_key(|row| row.group);
        rows
    }

    /// The tag of one of its rows.
    pub(super) fn tag<A>(&self, row: &Row<A>) -> Option<&[u8]> {
        let Span { start, len } = row.tag?;
        self.tags.get(start as usize..)?.get(..len as usize)
    }

    /// The row for an address or a name; a group that is not asked for is any.
    pub(super) fn find(&self, address: &[u8], port: u16, group: Option<u32>) -> Option<Match<'_>> {
        match std::str::from_utf8(address)
            .ok()
            .and_then(|text| cidr::parse_ip(text).ok())
        {
            Some(ip) => self.find_ip(ip, port, group),
            None => self.find_name(address, port, group),
        }
    }

    /// The row for an address: a single one before a subnet.
    pub(super) fn find_ip(&self, ip: IpAddr, port: u16, group: Option<u32>) -> Option<Match<'_>> {
        let ip = ip.to_canonical();
        // Kamailio: of rows with one address the last loaded counts.
        let mut hosts = chain(&self.hosts, self.by_host.get(&ip));
        if let Some((_, row)) = hosts.find(|(_, row)| row.fits(port, group)) {
            return Some(self.found(row));
        }
        let row = match ip {
            IpAddr::V4(ip) => self.choose(self.by_net4.cover_values(&ip.into()), port, group),
            IpAddr::V6(ip) => self.choose(self.by_net6.cover_values(&ip.into()), port, group),
        };
        row.map(|row| self.found(row))
    }

    /// Of the rows of all prefixes around an address, the widest first, the one that counts.
    fn choose<'t>(
        &'t self,
        prefixes: impl Iterator<Item = &'t u32>,
        port: u16,
        group: Option<u32>,
    ) -> Option<&'t Row<Subnet>> {
        let best_of = |last| {
            chain(&self.subnets, Some(last))
                .filter(|(_, row)| row.fits(port, group))
                .min_by_key(|(at, row)| row.rank(*at))
        };
        let found = prefixes.filter_map(best_of);
        let best = if self.longest {
            found.last()
        } else {
            found.min_by_key(|(at, row)| row.rank(*at))
        };
        best.map(|(_, row)| row)
    }

    fn find_name(&self, name: &[u8], port: u16, group: Option<u32>) -> Option<Match<'_>> {
        let last = self.by_name.get(name.to_ascii_lowercase().as_slice());
        let mut rows = chain(&self.names, last);
        rows.find(|(_, row)| row.fits(port, group))
            .map(|(_, row)| self.found(row))
    }

    fn found<A>(&self, row: &Row<A>) -> Match<'_> {
        Match {
            group: row.group,
            tag: self.tag(row),
        }
    }

    /// Adds a row; the error says what is wrong with it. A mask of 0 or none is that of one host.
    pub(super) fn add(
        &mut self,
        group: i64,
        address: &str,
        mask: Option<i64>,
        port: i64,
        tag: Option<&[u8]>,
    ) -> Result<(), String> {
        let group = u32::try_from(group).ok().filter(|group| *group > 0);
        let group = group.ok_or("a group is a number from 1 on")?;
        let port = u16::try_from(port).map_err(|_| format!("port {port} is not 0 to 65535"))?;
        if address.trim().is_empty() {
            return Err("the address is empty".to_owned());
        }
        let Ok(ip) = cidr::parse_ip(address.trim()) else {
            let name: Box<[u8]> = address.trim().as_bytes().to_ascii_lowercase().into();
            let tag = self.keep(tag)?;
            let last = self.by_name.entry(name.clone()).or_insert(NONE);
            return push(&mut self.names, last, group, port, name, tag);
        };
        let ip = ip.to_canonical();
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let mask = mask.filter(|mask| *mask != 0).unwrap_or(most);
        let net = cidr::truncated(ip, mask).map_err(|error| error.to_string())?;
        let tag = self.keep(tag)?;
        if net.prefix_len() == net.max_prefix_len() {
            let last = self.by_host.entry(ip).or_insert(NONE);
            return push(&mut self.hosts, last, group, port, ip, tag);
        }
        let last = match net {
            IpNet::V4(net) => self.by_net4.entry(net).or_insert(NONE),
            IpNet::V6(net) => self.by_net6.entry(net).or_insert(NONE),
        };
        let subnet = Subnet {
            address: ip,
            mask: net.prefix_len(),
        };
        push(&mut self.subnets, last, group, port, subnet, tag)
    }

    fn keep(&mut self, tag: Option<&[u8]>) -> Result<Option<Span>, String> {
        let Some(tag) = tag else { return Ok(None) };
        let (start, len) = (index(self.tags.len())?, index(tag.len())?);
        self.tags.extend_from_slice(tag);
        Ok(Some(Span { start, len }))
    }
}

/// Adds a row at a place whose last row was `last`.
fn push<A>(
    rows: &mut Vec<Row<A>>,
    last: &mut u32,
    group: u32,
    port: u16,
    at: A,
    tag: Option<Span>,
) -> Result<(), String> {
    let before = std::mem::replace(last, index(rows.len())?);
    rows.push(Row {
        group,
        port,
        at,
        tag,
        before,
    });
    Ok(())
}

/// The rows of a place with their positions, the last loaded first.
fn chain<'t, A>(rows: &'t [Row<A>], last: Option<&u32>) -> impl Iterator<Item = (u32, &'t Row<A>)> {
    let row = |at: u32| Some((at, rows.get(at as usize)?));
    iter::successors(last.and_then(|at| row(*at)), move |(_, last)| row(last.before))
}

fn index(len: usize) -> Result<u32, String> {
    u32::try_from(len)
        .ok()
        .filter(|at| *at < NONE)
        .ok_or_else(|| "the table is full".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Sample = (i64, &'static str, i64, i64, &'static str);

    fn table(mode: SubnetMode, rows: &[Sample]) -> Addresses {
        let mut table = Addresses::like(&Addresses::default(), mode);
        for (group, address, mask, port, tag) in rows {
            table
                .add(*group, address, Some(*mask), *port, Some(tag.as_bytes()))
                .unwrap();
        }
        table
    }

    const ROWS: &[Sample] = &[
        (1, "10.0.0.5", 32, 0, "any"),
        (1, "10.0.0.5", 32, 5060, "port"),
        (2, "2001:db8::", 32, 0, "v6"),
        (3, "Host.example", 32, 0, "name"),
        (4, "10.1.0.0", 16, 0, "wide"),
        (4, "10.1.2.0", 24, 0, "narrow"),
        (8, "10.8.0.1", 0, 0, "mask0"),
        (9, "10.9.1.1", 16, 0, "hostbits"),
        (11, "10.20.0.0", 16, 0, "wide"),
        (10, "10.20.0.0", 24, 5060, "lower"),
        (11, "10.20.0.0", 24, 0, "narrow"),
    ];

    #[test]
    fn the_first_row_counts_as_in_kamailio() {
        let table = table(SubnetMode::First, ROWS);
        assert_eq!(table.len(), ROWS.len());
        for (group, address, port, expected) in [
            (1, "10.0.0.5", 5060, Some((1, "port"))),
            (1, "10.0.0.5", 5061, Some((1, "any"))),
            (2, "10.0.0.5", 5060, None),
            (2, "2001:db8::5", 0, Some((2, "v6"))),
            (2, "[2001:db8::5]", 0, Some((2, "v6"))),
            (2, "2001:db9::5", 0, None),
            (3, "host.example", 0, Some((3, "name"))),
            (0, "10.1.2.3", 77, Some((4, "wide"))),
            (8, "10.8.0.1", 0, Some((8, "mask0"))),
            (8, "10.8.0.2", 0, None),
            (9, "10.9.200.1", 0, Some((9, "hostbits"))),
            (0, "10.20.0.1", 5060, Some((10, "lower"))),
            (0, "10.20.0.1", 1, Some((11, "wide"))),
            (0, "::ffff:10.0.0.5", 1, Some((1, "any"))),
            (0, "", 0, None),
        ] {
            let group = (group > 0).then_some(group);
            let found = table.find(address.as_bytes(), port, group);
            let expected = expected.map(|(group, tag)| Match {
                group,
                tag: Some(tag.as_bytes()),
            });
            assert_eq!(found, expected, "{group:?} {address} {port}");
        }
    }

    #[test]
    fn the_narrowest_counts_when_asked_for() {
        let table = table(SubnetMode::Longest, ROWS);
        for (address, port, tag) in [
            ("10.1.2.3", 0, "narrow"),
            ("10.20.0.1", 1, "narrow"),
            ("10.20.1.1", 1, "wide"),
        ] {
            let found = table.find(address.as_bytes(), port, None).unwrap();
            assert_eq!(found.tag, Some(tag.as_bytes()), "{address}");
        }
    }

    #[test]
    fn bad_rows_say_why() {
        let mut table = Addresses::default();
        for (group, address, mask, port, why) in [
            (0, "10.0.0.1", 32, 0, "a group is a number from 1 on"),
            (1, "10.0.0.1", 33, 0, "mask 33 is out of range"),
            (1, "10.0.0.1", -1, 0, "mask -1 is out of range"),
            (1, "10.0.0.1", 32, 65536, "port 65536 is not 0 to 65535"),
            (1, " ", 32, 0, "the address is empty"),
        ] {
            let error = table.add(group, address, Some(mask), port, None).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(table.len(), 0);
    }
}
