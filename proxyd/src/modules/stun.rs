//! `loadmodule "stun"`: answers STUN binding requests on the SIP port (RFC 5389 §7.3.1, RFC 5626 §8, Kamailio stun module).

use crate::script::module::ModuleDef;
use crate::script::module::Script;
use std::net::IpAddr;
use std::net::SocketAddr;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef::new(
    "stun",
    "Answers STUN binding requests on the SIP ports: keep-alives of RFC 5626.",
);

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
/// What a request of RFC 5389 has behind its length, and one of RFC 3489 has not.
const MAGIC_COOKIE: u32 = 0x2112_a442;
const MAPPED_ADDRESS: u16 = 0x0001;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Attributes up to this one must be understood.
const MUST: u16 = 0x7fff;
/// Those of them that a request may carry without meaning here: RFC 3489's and credentials.
const KNOWN: [u16; 8] = [
    0x0002,
    0x0003,
    0x0004,
    0x0005,
    0x0006,
    0x0008,
    MAPPED_ADDRESS,
    XOR_MAPPED_ADDRESS,
];
const HEAD: usize = 20;

/// The answer to a datagram from `peer`, when it is a binding request and the script loads the module.
pub(crate) fn answer(script: &Script, datagram: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    if !matches!(datagram.first(), Some(0)) || !script.has("stun") {
        return None;
    }
    binding_response(datagram, peer)
}

fn binding_response(datagram: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    let request = Request::read(datagram)?;
    let unknown: Vec<u16> = request
        .attributes()
        .filter(|a| *a <= MUST && !KNOWN.contains(a))
        .collect();
    let modern = request.cookie == MAGIC_COOKIE;
    let mut out = Writer::new(
        if unknown.is_empty() {
            BINDING_SUCCESS
        } else {
            BINDING_ERROR
        },
        &request,
    );
    if !unknown.is_empty() {
        out.attribute(ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
        let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        out.attribute(UNKNOWN_ATTRIBUTES, &list);
    } else if modern {
        out.attribute(XOR_MAPPED_ADDRESS, &address(peer, request.id));
    } else {
        out.attribute(MAPPED_ADDRESS, &address(peer, &[0; 16]));
    }
    if modern && request.attributes().any(|kind| kind == FINGERPRINT) {
        out.fingerprint();
    }
    Some(out.bytes)
}

/// An address as an attribute has it, every bit of port and address turned by `mask` (RFC 5389 §15.1, §15.2).
fn address(peer: SocketAddr, mask: &[u8]) -> Vec<u8> {
    let (family, ip) = match peer.ip().to_canonical() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let turned =
        |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect() };
    [vec![0, family], turned(&peer.port().to_be_bytes()), turned(&ip)].concat()
}

struct Request<'a> {
    cookie: u32,
    /// Cookie and transaction id.
    id: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a binding request whose length is right; none otherwise.
    fn read(datagram: &'a [u8]) -> Option<Self> {
        let (head, attributes) = datagram.split_at_checked(HEAD)?;
        let (fixed, id) = head.split_at_checked(4)?;
        let kind = u16::from_be_bytes([*fixed.first()?, *fixed.get(1)?]);
        let length = u16::from_be_bytes([*fixed.get(2)?, *fixed.get(3)?]);
        let right = kind == BINDING_REQUEST && usize::from(length) == attributes.len();
        let cookie = u32::from_be_bytes(id.get(..4)?.try_into().ok()?);
        right.then_some(Self {
            cookie,
            id,
            attributes,
        })
    }

    /// The kinds of its attributes, up to the first that is cut off.
    fn attributes(&self) -> impl Iterator<Item = u16> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            let (head, value) = rest.split_at_checked(4)?;
            let kind = u16::from_be_bytes([*head.first()?, *head.get(1)?]);
            let length = u16::from_be_bytes([*head.get(2)?, *head.get(3)?]);
            rest = value.get(usize::from(length).next_multiple_of(4)..)?;
            Some(kind)
        })
    }
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn new(kind: u16, request: &Request<'_>) -> Self {
        let bytes = [&kind.to_be_bytes()[..], &[0, 0], request.id].concat();
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(self.bytes.len() - HEAD);
    }

    fn set_length(&mut self, length: usize) {
        let length = u16::try_from(length).unwrap_or(0).to_be_bytes();
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&length);
        }
    }

    /// The check of all before it, whose length counts it already (RFC 5389 §15.5).
    fn fingerprint(&mut self) {
        self.set_length(self.bytes.len() - HEAD + 8);
        let check = crc32fast::hash(&self.bytes) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &[u8; 12] = b"0123456789ab";

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).expect("short").to_be_bytes();
        [&[0, 1][..], &length, &MAGIC_COOKIE.to_be_bytes(), ID, attributes].concat()
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn rfc_5769_addresses() {
        // RFC 5769 §2.2, §2.3: the addresses of the sample responses
        let id = [
            0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
        ];
        let v4 = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(address(peer("192.0.2.1:32853"), &id), v4);
        let v6 = [
            0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe,
            0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(
            address(peer("[2001:db8:1234:5678:11:2233:4455:6677]:32853"), &id),
            v6
        );
    }

    #[test]
    fn a_binding_request_is_answered() {
        let answer = binding_response(&request(&[]), peer("192.0.2.1:32853")).expect("an answer");
        let expected = [
            &[1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42][..],
            ID,
            &[0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43],
        ];
        assert_eq!(answer, expected.concat());
    }

    #[test]
    fn a_request_of_rfc_3489_is_answered_plainly() {
        let mut old = request(&[]);
        old[4..8].copy_from_slice(b"old!");
        let answer = binding_response(&old, peer("192.0.2.1:5060")).expect("an answer");
        assert_eq!(answer[20..], [0, 1, 0, 8, 0, 1, 0x13, 0xc4, 192, 0, 2, 1]);
    }

    #[test]
    fn a_fingerprint_is_answered_by_one() {
        let answer = binding_response(&request(&[0x80, 0x28, 0, 4, 1, 2, 3, 4]), peer("192.0.2.1:5060"))
            .expect("an answer");
        let (before, check) = answer.split_at(answer.len() - 8);
        assert_eq!(check[..4], [0x80, 0x28, 0, 4]);
        assert_eq!(
            check[4..],
            (crc32fast::hash(before) ^ FINGERPRINT_XOR).to_be_bytes()
        );
        assert_eq!(usize::from(answer[3]), answer.len() - HEAD);
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_refused() {
        let answer = binding_response(&request(&[0x00, 0x24, 0, 4, 0, 0, 0, 1]), peer("192.0.2.1:5060"))
            .expect("an answer");
        assert_eq!(answer[..2], [1, 0x11]);
        assert!(answer.windows(4).any(|bytes| bytes == [0, 0, 4, 20]));
        assert!(answer.ends_with(&[0, 10, 0, 2, 0, 0x24, 0, 0]));
    }

    #[test]
    fn other_datagrams_are_not_answered() {
        for datagram in [
            &b""[..],
            b"\0\x01",
            b"INVITE sip:a@b SIP/2.0\r\n\r\n",
            &request(&[1])[..20],
            &[0; 40],
        ] {
            assert_eq!(binding_response(datagram, peer("192.0.2.1:5060")), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = binding_response(&bytes, peer("[::1]:5060"));
            let _ = binding_response(&request(&bytes), peer("[::1]:5060"));
        }
    }
}
