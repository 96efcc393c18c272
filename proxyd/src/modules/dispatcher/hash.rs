//! The hash that spreads calls over a set: the mapping of Kamailio's dispatcher, as its RPC `dispatcher.hash` shows it.

use shared::sip::Scheme;
use shared::sip::Uri;

/// The hash over texts one after the other: sums of big-endian words, each folded on itself.
pub(super) fn hash(parts: &[&[u8]]) -> u32 {
    let fold = |word: u32| word ^ (word >> 3);
    let mut sum = 0u32;
    for part in parts {
        let (words, rest) = part.as_chunks::<4>();
        for word in words {
            sum = sum.wrapping_add(fold(u32::from_be_bytes(*word)));
        }
        // up to three bytes that are left make a shorter word, nothing makes zero
        let last = rest.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        sum = sum.wrapping_add(fold(last));
    }
    sum.wrapping_add(sum >> 11)
        .wrapping_add(sum >> 13)
        .wrapping_add(sum >> 23)
}

/// What of a URI is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UriPart {
    /// User, host, and the port when it is not the scheme's own.
    Whole,
    /// The user, where there is one (`flags` 1).
    User,
}

/// The hash of a URI.
pub(super) fn uri_hash(uri: &Uri<'_>, part: UriPart) -> u32 {
    let user = uri.user.unwrap_or_default();
    if part == UriPart::User && !user.is_empty() {
        return hash(&[user]);
    }
    let own = if uri.scheme == Scheme::Sips { 5061 } else { 5060 };
    match uri.port.filter(|port| *port != 0 && *port != own) {
        Some(port) => hash(&[user, &[uri.host, b":", port.to_string().as_bytes()].concat()]),
        None => hash(&[user, uri.host]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `kamcmd dispatcher.hash` answers.
    #[test]
    fn hashes_as_kamailio_does() {
        for (parts, expected) in [
            (&["a"] as &[&str], 109),
            (&["ab"], 27998),
            (&["abc"], 7_167_810),
            (&["abcd"], 1_834_959_896),
            (&["abcde"], 1_834_960_001),
            (&["abcdefgh"], -684_034_020),
            (&["sip:alice@example.com"], 721_547_707),
            (&["alice", "server.com"], 1_412_806_172),
            (&["alice", "server.com:5080"], -1_225_024_114),
        ] {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(hash(&parts).cast_signed(), expected, "{parts:?}");
        }
    }

    /// The places in a set of five that Kamailio chose for a From URI.
    #[test]
    fn uris_choose_as_in_kamailio() {
        for (uri, expected) in [
            ("sip:alice@example.com", 3),
            ("sip:alice@example.com:5060", 3),
            ("sip:alice@example.com:5080", 3),
            ("sip:example.com", 2),
            ("sip:bob@example.com;x=y", 4),
            ("sip:ALICE@example.com", 1),
            ("sips:alice@example.com:5061", 3),
            ("sip:1234567@10.0.0.1", 1),
        ] {
            let parsed = Uri::parse(uri.as_bytes()).expect(uri);
            assert_eq!(uri_hash(&parsed, UriPart::Whole) % 5, expected, "{uri}");
        }
    }
}
