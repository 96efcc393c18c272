//! HA1 and response arithmetic of HTTP digest authentication (RFC 2617 §3.2.2, RFC 7616 §3.4); stores nothing.

use std::fmt;

use md5::Digest as _;
use md5::Md5;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// A digest algorithm that credentials may use (RFC 8760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `MD5`, 32 hexadecimal digits.
    Md5,
    /// `SHA-256`, 64 hexadecimal digits.
    Sha256,
}

impl Algorithm {
    /// Reads the `algorithm` parameter; absent means MD5 (RFC 2617 §3.2.1). `-sess` forms are not among them.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        [Self::Md5, Self::Sha256]
            .into_iter()
            .find(|a| a.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Names it as the `algorithm` parameter does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Digits in its hexadecimal form.
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 => 64,
        }
    }
}

/// A digest in lower-case hexadecimal, kept in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex {
    algorithm: Algorithm,
    digits: [u8; 64],
}

impl Hex {
    /// Reads a stored digest (an `ha1` column, say): 32 digits are MD5, 64 are SHA-256; upper case is lowered.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let algorithm = match text.len() {
            32 => Algorithm::Md5,
            64 => Algorithm::Sha256,
            _ => return None,
        };
        let mut digits = [0; 64];
        for (to, from) in digits.iter_mut().zip(text) {
            if !from.is_ascii_hexdigit() {
                return None;
            }
            *to = from.to_ascii_lowercase();
        }
        Some(Self { algorithm, digits })
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits
            .get(..self.algorithm.hex_len())
            .unwrap_or(&self.digits)
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The algorithm it came from.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Compares with what a peer sent, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        if other.len() != self.algorithm.hex_len() {
            return false;
        }
        let mut lowered = [0; 64];
        for (to, from) in lowered.iter_mut().zip(other) {
            *to = from.to_ascii_lowercase();
        }
        // Eight digits at a time; the rest of both is zero.
        words(&self.digits).ct_eq(&words(&lowered)).into()
    }

    fn new(algorithm: Algorithm, raw: &[u8]) -> Self {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(raw) {
            #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
            pair.copy_from_slice(&HEX[usize::from(*byte)]);
        }
        Self { algorithm, digits }
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An HA1 is as good as a password: it stays out of logs.
        write!(f, "Hex({}, …)", self.algorithm.as_str())
    }
}

/// `auth` or `auth-int` as the credentials chose it (RFC 2617 §3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop<'a> {
    /// RFC 2069: no `qop`, neither nonce count nor client nonce in the sum.
    None,
    /// `qop=auth` with what it adds.
    Auth {
        /// Eight hexadecimal digits as sent.
        nc: &'a [u8],
        /// The client's nonce.
        cnonce: &'a [u8],
    },
    /// `qop=auth-int`: the body is in the sum too.
    AuthInt {
        /// Eight hexadecimal digits as sent.
        nc: &'a [u8],
        /// The client's nonce.
        cnonce: &'a [u8],
        /// The message body.
        body: &'a [u8],
    },
}

/// Hashes the concatenation of `parts`.
pub fn hash(algorithm: Algorithm, parts: &[&[u8]]) -> Hex {
    match algorithm {
        Algorithm::Md5 => {
            let mut state = Md5::new();
            parts.iter().for_each(|part| state.update(part));
            Hex::new(algorithm, &state.finalize())
        }
        Algorithm::Sha256 => {
            let mut state = Sha256::new();
            parts.iter().for_each(|part| state.update(part));
            Hex::new(algorithm, &state.finalize())
        }
    }
}

/// `H(user ":" realm ":" password)`: what the column `ha1` holds.
pub fn ha1(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> Hex {
    hash(algorithm, &[user, b":", realm, b":", password])
}

/// `H(user "@" domain ":" realm ":" password)`: what the column `ha1b` holds, for phones that send user@domain.
pub fn ha1b(algorithm: Algorithm, user: &[u8], domain: &[u8], realm: &[u8], password: &[u8]) -> Hex {
    hash(algorithm, &[user, b"@", domain, b":", realm, b":", password])
}

/// HA1 of the `-sess` algorithms: `H(HA1 ":" nonce ":" cnonce)` (RFC 7616 §3.4.2).
pub fn ha1_session(ha1: &Hex, nonce: &[u8], cnonce: &[u8]) -> Hex {
    hash(ha1.algorithm, &[ha1.as_bytes(), b":", nonce, b":", cnonce])
}

/// `H(method ":" uri)`, with the body's hash under `auth-int` (RFC 7616 §3.4.3).
pub fn ha2(algorithm: Algorithm, method: &[u8], uri: &[u8], qop: Qop<'_>) -> Hex {
    match qop {
        Qop::AuthInt { body, .. } => {
            let body = hash(algorithm, &[body]);
            hash(algorithm, &[method, b":", uri, b":", body.as_bytes()])
        }
        Qop::None | Qop::Auth { .. } => hash(algorithm, &[method, b":", uri]),
    }
}

/// The `response` value that right credentials carry (RFC 7616 §3.4.1).
pub fn response(ha1: &Hex, nonce: &[u8], qop: Qop<'_>, ha2: &Hex) -> Hex {
    let (h1, h2) = (ha1.as_bytes(), ha2.as_bytes());
    match qop {
        Qop::None => hash(ha1.algorithm, &[h1, b":", nonce, b":", h2]),
        Qop::Auth { nc, cnonce } => hash(
            ha1.algorithm,
            &[h1, b":", nonce, b":", nc, b":", cnonce, b":auth:", h2],
        ),
        Qop::AuthInt { nc, cnonce, .. } => hash(
            ha1.algorithm,
            &[h1, b":", nonce, b":", nc, b":", cnonce, b":auth-int:", h2],
        ),
    }
}

/// Compares two secrets in a time that does not depend on where they differ.
pub fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn words(digits: &[u8; 64]) -> [u64; 8] {
    let (words, _) = digits.as_chunks();
    std::array::from_fn(|index| words.get(index).map_or(0, |word| u64::from_ne_bytes(*word)))
}

/// The two digits of each byte.
static HEX: [[u8; 2]; 256] = {
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            table[byte] = [hex_digit(byte as u8 >> 4), hex_digit(byte as u8 & 15)];
        }
        byte += 1;
    }
    table
};

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2617_section_3_5() {
        let h1 = ha1(
            Algorithm::Md5,
            b"Mufasa",
            b"testrealm@host.com",
            b"Circle Of Life",
        );
        assert_eq!(h1.as_str(), "939e7578ed9e3c518a452acee763bce9");
        let qop = Qop::Auth {
            nc: b"00000001",
            cnonce: b"0a4f113b",
        };
        let h2 = ha2(Algorithm::Md5, b"GET", b"/dir/index.html", qop);
        assert_eq!(h2.as_str(), "39aff3a2bab6126f332b942af96d3366");
        let nonce = b"dcd98b7102dd2f0e8b11d0f600bfb0c093";
        assert_eq!(
            response(&h1, nonce, qop, &h2).as_str(),
            "6629fae49393a05397450978507c4ef1"
        );
        assert_eq!(
            response(&h1, nonce, Qop::None, &h2).as_str(),
            "670fd8c2df070c60b045671b8b24ff02"
        );
    }

    #[test]
    fn rfc7616_section_3_9_1() {
        let realm = b"http-auth@example.org";
        let nonce = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let qop = Qop::Auth {
            nc: b"00000001",
            cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        };
        let table = [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ];
        for (algorithm, expected) in table {
            let h1 = ha1(algorithm, b"Mufasa", realm, b"Circle of Life");
            let h2 = ha2(algorithm, b"GET", b"/dir/index.html", qop);
            assert_eq!(response(&h1, nonce, qop, &h2).as_str(), expected);
        }
    }

    #[test]
    fn stored_digests_are_read_and_compared() {
        let h1 = ha1(Algorithm::Md5, b"alice", b"example.org", b"secret");
        let stored = Hex::from_bytes(h1.as_str().to_uppercase().as_bytes()).unwrap();
        assert_eq!(stored, h1);
        assert!(h1.matches(stored.as_bytes()));
        assert!(!h1.matches(b""));
        assert!(!h1.matches(&[b'0'; 32]));
        for bad in [&b""[..], b"xyz", &[b'g'; 32], &[b'0'; 33]] {
            assert!(Hex::from_bytes(bad).is_none());
        }
        assert_ne!(
            ha1b(
                Algorithm::Md5,
                b"alice",
                b"example.org",
                b"example.org",
                b"secret"
            ),
            h1
        );
        assert!(!format!("{h1:?}").contains(h1.as_str()));
    }

    #[test]
    fn auth_int_covers_the_body() {
        let qop = |body| Qop::AuthInt {
            nc: b"00000001",
            cnonce: b"c",
            body,
        };
        let one = ha2(Algorithm::Md5, b"INVITE", b"sip:a@b", qop(b"v=0"));
        assert_ne!(one, ha2(Algorithm::Md5, b"INVITE", b"sip:a@b", qop(b"v=1")));
    }

    #[test]
    fn algorithms_have_names() {
        assert_eq!(Algorithm::from_bytes(b"md5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_bytes(b"SHA-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::from_bytes(b"MD5-sess"), None);
    }
}
