//! The table `address`: single addresses, subnets and names in groups (Kamailio module permissions, "Address Permissions").

use ahash::AHashMap;
use ipnet::Ipv4Net;
use ipnet::Ipv6Net;
use prefix_trie::PrefixMap;
use shared::net::cidr;
use smallvec::SmallVec;
use std::net::IpAddr;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<A> {
    pub(super) group: u32,
    /// 0: any.
    pub(super) port: u16,
    pub(super) at: A,
    pub(super) tag: Option<Box<[u8]>>,
}

/// A subnet as it was written, host bits and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) address: IpAddr,
    pub(super) mask: u8,
}

/// Positions of rows, the one that counts first in front.
type Rows = SmallVec<[u32; 2]>;

/// All rows, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) hosts: Vec<Row<IpAddr>>,
    /// By group, within a group as they were loaded: the order that decides which of several counts.
    pub(super) subnets: Vec<Row<Subnet>>,
    pub(super) names: Vec<Row<Box<[u8]>>>,
    by_host: AHashMap<IpAddr, Rows>,
    by_net4: PrefixMap<Ipv4Net, Rows>,
    by_net6: PrefixMap<Ipv6Net, Rows>,
    by_name: AHashMap<Box<[u8]>, Rows>,
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

    fn found(&self) -> Match<'_> {
        Match {
            group: self.group,
            tag: self.tag.as_deref(),
        }
    }
}

impl Addresses {
    pub(super) fn builder(mode: SubnetMode) -> Builder {
        Builder(Self {
            longest: mode == SubnetMode::Longest,
            ..Self::default()
        })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.hosts.len() + self.subnets.len() + self.names.len()
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
        if let Some(rows) = self.by_host.get(&ip) {
            // Kamailio: of rows with one address the last loaded counts.
            let mut rows = rows.iter().rev().filter_map(|at| self.hosts.get(*at as usize));
            if let Some(row) = rows.find(|row| row.fits(port, group)) {
                return Some(row.found());
            }
        }
        let row = match ip {
            IpAddr::V4(ip) => self.choose(self.by_net4.cover_values(&ip.into()), port, group),
            IpAddr::V6(ip) => self.choose(self.by_net6.cover_values(&ip.into()), port, group),
        };
        row.map(Row::found)
    }

    /// Of the rows of all prefixes around an address, the widest first, the one that counts.
    fn choose<'t>(
        &'t self,
        prefixes: impl Iterator<Item = &'t Rows>,
        port: u16,
        group: Option<u32>,
    ) -> Option<&'t Row<Subnet>> {
        let mut best: Option<u32> = None;
        for rows in prefixes {
            let fits = |at: &&u32| {
                self.subnets
                    .get(**at as usize)
                    .is_some_and(|row| row.fits(port, group))
            };
            if let Some(at) = rows.iter().find(fits) {
                best = Some(if self.longest {
                    *at
                } else {
                    best.map_or(*at, |best| best.min(*at))
                });
            }
        }
        self.subnets.get(best? as usize)
    }

    fn find_name(&self, name: &[u8], port: u16, group: Option<u32>) -> Option<Match<'_>> {
        let rows = self.by_name.get(name.to_ascii_lowercase().as_slice())?;
        let mut rows = rows.iter().rev().filter_map(|at| self.names.get(*at as usize));
        rows.find(|row| row.fits(port, group)).map(Row::found)
    }
}

/// A table under construction.
pub(super) struct Builder(Addresses);

impl Builder {
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
        let tag = tag.map(Into::into);
        let Ok(ip) = cidr::parse_ip(address.trim()) else {
            let name: Box<[u8]> = address.trim().as_bytes().to_ascii_lowercase().into();
            if name.is_empty() {
                return Err("the address is empty".to_owned());
            }
            let at = index(self.0.names.len())?;
            self.0.by_name.entry(name.clone()).or_default().push(at);
            self.0.names.push(Row {
                group,
                port,
                at: name,
                tag,
            });
            return Ok(());
        };
        let ip = ip.to_canonical();
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let mask = mask.filter(|mask| *mask != 0).unwrap_or(most);
        let net = cidr::truncated(ip, mask).map_err(|error| error.to_string())?;
        if net.prefix_len() == net.max_prefix_len() {
            let at = index(self.0.hosts.len())?;
            self.0.by_host.entry(ip).or_default().push(at);
            self.0.hosts.push(Row {
                group,
                port,
                at: ip,
                tag,
            });
        } else {
            self.0.subnets.push(Row {
                group,
                port,
                at: Subnet {
                    address: ip,
                    mask: net.prefix_len(),
                },
                tag,
            });
        }
        Ok(())
    }

    /// Sorts and indexes the subnets.
    pub(super) fn finish(mut self) -> Addresses {
        let table = &mut self.0;
        table.subnets.sort_by_key(|row| row.group);
        for (at, row) in table.subnets.iter().enumerate() {
            let Ok(at) = u32::try_from(at) else { break };
            match row.at.address {
                IpAddr::V4(ip) => {
                    let Ok(net) = Ipv4Net::new(ip, row.at.mask) else {
                        continue;
                    };
                    table.by_net4.entry(net.trunc()).or_default().push(at);
                }
                IpAddr::V6(ip) => {
                    let Ok(net) = Ipv6Net::new(ip, row.at.mask) else {
                        continue;
                    };
                    table.by_net6.entry(net.trunc()).or_default().push(at);
                }
            }
        }
        self.0
    }
}

fn index(len: usize) -> Result<u32, String> {
    u32::try_from(len).map_err(|_| "the table is full".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Sample = (i64, &'static str, i64, i64, &'static str);

    fn table(mode: SubnetMode, rows: &[Sample]) -> Addresses {
        let mut builder = Addresses::builder(mode);
        for (group, address, mask, port, tag) in rows {
            builder
                .add(*group, address, Some(*mask), *port, Some(tag.as_bytes()))
                .unwrap();
        }
        builder.finish()
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
        let mut builder = Addresses::builder(SubnetMode::First);
        for (group, address, mask, port, why) in [
            (0, "10.0.0.1", 32, 0, "a group is a number from 1 on"),
            (1, "10.0.0.1", 33, 0, "mask 33 is out of range"),
            (1, "10.0.0.1", -1, 0, "mask -1 is out of range"),
            (1, "10.0.0.1", 32, 65536, "port 65536 is not 0 to 65535"),
            (1, " ", 32, 0, "the address is empty"),
        ] {
            let error = builder.add(group, address, Some(mask), port, None).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(builder.finish().len(), 0);
    }
}
