//! Refuses values before anything is written: names, domains, ports, URIs, patterns (RFC 3261 §25.1).

use std::net::Ipv6Addr;

use shared::net::cidr::CidrError;
use shared::regex::RegexError;
use shared::report::printable;
use shared::sip::ParseError;
use shared::sip::Uri;

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An address or mask.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// A pattern.
    #[error(transparent)]
    Pattern(#[from] RegexError),
    /// Nothing where a name must stand.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// More than its column holds.
    #[error("{what} `{text}` is too long: {length} characters, {most} fit")]
    Long {
        /// What it is.
        what: &'static str,
        /// The text.
        text: String,
        /// Its length.
        length: usize,
        /// What fits.
        most: usize,
    },
    /// A character that cannot stand there.
    #[error("{what} `{text}` has a character that cannot stand in it: `{character}`")]
    Character {
        /// What it is.
        what: &'static str,
        /// The text.
        text: String,
        /// The character.
        character: String,
    },
    /// No domain name or address.
    #[error("`{0}` is neither a domain name nor an IP address")]
    Domain(String),
    /// A port that is none.
    #[error("`{0}` is not a port: a port is a number from 0 to 65535, 0 being any")]
    Port(String),
    /// A number out of range.
    #[error("{what} is `{text}`: it is a number from {least} to {most}")]
    Number {
        /// What it is.
        what: &'static str,
        /// The text.
        text: String,
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// A URI that cannot be read.
    #[error("`{text}` is not a SIP URI: {reason}")]
    Uri {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A word out of a closed vocabulary.
    #[error("{what} is `{text}`: known are {known}")]
    Word {
        /// What it is.
        what: &'static str,
        /// The text.
        text: String,
        /// The vocabulary.
        known: &'static str,
    },
}

/// Accepts a user name: what RFC 3261 allows in the user part of a URI, without escapes.
pub(crate) fn user(text: &str) -> Result<(), Invalid> {
    let what = "user name";
    fits(what, text, 64)?;
    allowed(what, text, |c| {
        c.is_alphanumeric() || "-_.!~*'()&=+$,;?/#".contains(c)
    })
}

/// Accepts a domain name or an IP address, IPv6 with or without brackets.
pub(crate) fn domain(text: &str) -> Result<(), Invalid> {
    fits("domain", text, 64)?;
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    let refuse = || Invalid::Domain(text.to_owned());
    let labels: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    if !labels.iter().all(is_label) {
        return Err(refuse());
    }
    // What ends in digits is an IPv4 address or a slip of the hand (RFC 1123 §2.1).
    let numeric = labels
        .last()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if numeric && text.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(refuse());
    }
    Ok(())
}

/// Reads a port; 0 is any.
pub(crate) fn port(text: &str) -> Result<u16, Invalid> {
    text.parse().map_err(|_| Invalid::Port(text.to_owned()))
}

/// Reads a number within bounds.
pub(crate) fn number(what: &'static str, text: &str, least: i64, most: i64) -> Result<i64, Invalid> {
    match text.parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(Invalid::Number {
            what,
            text: text.to_owned(),
            least,
            most,
        }),
    }
}

/// Accepts a SIP or SIPS URI with a host.
pub(crate) fn sip_uri(text: &str) -> Result<Uri<'_>, Invalid> {
    let refuse = |reason: String| Invalid::Uri {
        text: text.to_owned(),
        reason,
    };
    let uri = Uri::parse(text.as_bytes()).map_err(|e: ParseError| refuse(e.to_string()))?;
    if !uri.scheme_name.eq_ignore_ascii_case(b"sip") && !uri.scheme_name.eq_ignore_ascii_case(b"sips") {
        return Err(refuse("it begins neither with sip: nor with sips:".to_owned()));
    }
    let host = std::str::from_utf8(uri.host).unwrap_or_default();
    domain(host).map_err(|e| refuse(e.to_string()))?;
    Ok(uri)
}

/// Accepts text that fits its column and is neither empty nor spaced.
pub(crate) fn word(what: &'static str, value: &str, most: usize) -> Result<(), Invalid> {
    fits(what, value, most)?;
    allowed(what, value, |c| !c.is_whitespace())
}

/// Accepts text that fits its column, without control characters; it may be empty.
pub(crate) fn text(what: &'static str, text: &str, most: usize) -> Result<(), Invalid> {
    let length = text.chars().count();
    if length > most {
        return Err(Invalid::Long {
            what,
            text: text.to_owned(),
            length,
            most,
        });
    }
    allowed(what, text, |c| !c.is_control())
}

fn fits(what: &'static str, value: &str, most: usize) -> Result<(), Invalid> {
    if value.is_empty() {
        return Err(Invalid::Empty(what));
    }
    text(what, value, most)
}

fn allowed(what: &'static str, text: &str, allowed: impl Fn(char) -> bool) -> Result<(), Invalid> {
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(character) => Err(Invalid::Character {
            what,
            text: printable(text),
            // What cannot be seen is named.
            character: if character.is_control() {
                character.escape_default().to_string()
            } else {
                character.to_string()
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        for good in ["61312341234", "alice", "a.b-c_d", "+49", "jürgen", "*97", "a'b"] {
            assert_eq!(user(good), Ok(()), "{good}");
        }
        let long = "x".repeat(65);
        let unseen = user("a\nb").unwrap_err().to_string();
        assert_eq!(
            unseen,
            "user name `a b` has a character that cannot stand in it: `\\n`"
        );
        for bad in [
            "",
            "a b",
            "a@b",
            "a:b",
            "<a>",
            "a\n",
            "a\"b",
            "a%41",
            long.as_str(),
        ] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains() {
        for good in [
            "example.org",
            "localhost",
            "10.0.0.1",
            "[2001:db8::1]",
            "2001:db8::1",
            "a_b.c",
            "x1",
            "e.org.",
        ] {
            assert_eq!(domain(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a b",
            "-a.b",
            "a..b",
            "10.0.0.256",
            "1.2.3",
            "a:b",
            "sip:a",
            "a/b",
            "12",
        ] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_and_uris() {
        assert_eq!(port("5060"), Ok(5060));
        for bad in ["70000", "-1", "x", "", "65536"] {
            assert!(port(bad).unwrap_err().to_string().contains("0 to 65535"), "{bad}");
        }
        for good in [
            "sip:a@b.org",
            "sips:b.org:5061;transport=tls",
            "sip:[2001:db8::1]:5060",
            "sip:1@10.0.0.1",
        ] {
            assert!(sip_uri(good).is_ok(), "{good}");
        }
        for bad in [
            "a@b",
            "sip:",
            "tel:+49",
            "http://x",
            "sip:a@10.0.0.300",
            "sip:a@b c",
        ] {
            assert!(sip_uri(bad).is_err(), "{bad}");
        }
    }
}
