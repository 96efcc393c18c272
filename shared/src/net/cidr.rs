//! Address prefixes, with errors that name the network meant (RFC 4632 §3.1, RFC 4291 §2.3).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Why an address or a prefix is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The address part cannot be read.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// The mask is not a number or a dotted mask.
    #[error("`{0}` is not a mask: a mask is a number of bits, or dotted as 255.255.255.0")]
    Mask(String),
    /// The mask has more bits than the address.
    #[error("mask {mask} is out of range: {address} is IPv{version} and its mask is from 0 to {most}")]
    MaskRange {
        /// What was asked for.
        mask: i64,
        /// The address it was asked for.
        address: IpAddr,
        /// 4 or 6.
        version: u8,
        /// 32 or 128.
        most: u8,
    },
    /// Bits are set to the right of the mask.
    #[error(
        "{address}/{mask} has host bits set: the network is {network}, a single host is {address}/{host}"
    )]
    HostBits {
        /// The address given.
        address: IpAddr,
        /// The mask given.
        mask: u8,
        /// The network which has that mask.
        network: IpNet,
        /// The mask of one host: 32 or 128.
        host: u8,
    },
}

/// Reads an IPv4 or IPv6 address; IPv6 may stand in brackets.
pub fn parse_ip(text: &str) -> Result<IpAddr, CidrError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse() {
        Ok(IpAddr::V4(_)) if bare.len() != text.len() => Err(CidrError::Address(text.to_owned())),
        Ok(ip) => Ok(ip),
        Err(_) => Err(CidrError::Address(text.to_owned())),
    }
}

/// Makes a network of an address and a mask, refusing host bits.
pub fn network(address: IpAddr, mask: i64) -> Result<IpNet, CidrError> {
    let given = truncated(address, mask)?;
    if given.addr() != address {
        return Err(CidrError::HostBits {
            address,
            mask: given.prefix_len(),
            network: given,
            host: given.max_prefix_len(),
        });
    }
    Ok(given)
}

/// Makes a network of an address and a mask, clearing host bits as packet filters do.
pub fn truncated(address: IpAddr, mask: i64) -> Result<IpNet, CidrError> {
    let (version, most) = if address.is_ipv4() { (4, 32) } else { (6, 128) };
    let range = CidrError::MaskRange {
        mask,
        address,
        version,
        most,
    };
    let bits = u8::try_from(mask).map_err(|_| range.clone())?;
    IpNet::new(address, bits)
        .map(|net| net.trunc())
        .map_err(|_| range)
}

/// Reads `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `[2001:db8::]/32` or a single address, refusing host bits.
pub fn parse_network(text: &str) -> Result<IpNet, CidrError> {
    let (address, mask) = split(text)?;
    network(address, mask)
}

/// Reads the same forms, clearing host bits.
pub fn parse_truncated(text: &str) -> Result<IpNet, CidrError> {
    let (address, mask) = split(text)?;
    truncated(address, mask)
}

/// Reads a mask: bits, or dotted for IPv4.
pub fn parse_mask(text: &str) -> Result<i64, CidrError> {
    let refuse = || CidrError::Mask(text.to_owned());
    if let Ok(dotted) = text.parse::<Ipv4Addr>() {
        let bits = u32::from(dotted);
        let ones = bits.leading_ones();
        return if bits.count_ones() == ones {
            Ok(i64::from(ones))
        } else {
            Err(refuse())
        };
    }
    if text.is_empty()
        || text
            .strip_prefix('-')
            .unwrap_or(text)
            .bytes()
            .any(|b| !b.is_ascii_digit())
    {
        return Err(refuse());
    }
    text.parse().map_err(|_| refuse())
}

fn split(text: &str) -> Result<(IpAddr, i64), CidrError> {
    match text.split_once('/') {
        None => {
            let address = parse_ip(text)?;
            Ok((address, if address.is_ipv4() { 32 } else { 128 }))
        }
        Some((address, mask)) => Ok((parse_ip(address)?, parse_mask(mask)?)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_networks() {
        let table = [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[2001:db8::1]", "2001:db8::1/128"),
        ];
        for (text, net) in table {
            assert_eq!(parse_network(text).unwrap().to_string(), net, "{text}");
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        let table = [
            (
                "10.0.1.102/24",
                "the network is 10.0.1.0/24, a single host is 10.0.1.102/32",
            ),
            (
                "10.0.0.1/33",
                "mask 33 is out of range: 10.0.0.1 is IPv4 and its mask is from 0 to 32",
            ),
            ("2001:db8::/129", "from 0 to 128"),
            ("10.0.0.0/-1", "mask -1 is out of range"),
            ("10.0.0.0/", "`` is not a mask"),
            ("10.0.0.0/255.0.255.0", "`255.0.255.0` is not a mask"),
            ("10.0.0.0/x", "`x` is not a mask"),
            ("10.0.0/8", "`10.0.0` is not an IP address"),
            ("[10.0.0.1]", "`[10.0.0.1]` is not an IP address"),
            ("", "`` is not an IP address"),
        ];
        for (text, part) in table {
            let error = parse_network(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(
            parse_truncated("10.0.1.102/24").unwrap().to_string(),
            "10.0.1.0/24"
        );
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(ip: IpAddr, mask in 0i64..=32) {
            let net = truncated(ip, mask).unwrap();
            prop_assert_eq!(parse_network(&net.to_string()), Ok(net));
        }

        #[test]
        fn never_panics(text in "\\PC{0,30}") {
            let _ = parse_network(&text);
        }
    }
}
