//! Which transaction a message belongs to: RFC 3261 §17.1.3 for responses, §17.2.3 for requests, with its RFC 2543 fallback.

use std::hash::BuildHasher;
use std::hash::Hasher;

/// Opens every branch made under RFC 3261 (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// Room for any branch made by [`Branch::write`].
pub const MAX_BRANCH: usize = 7 + 8 + 1 + 8 + 1 + 16 + 1 + 2;

/// Names a transaction in the table: where it is, and a label that tells it from earlier ones there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The place in the table, `$T(id_index)` to a script.
    pub index: u32,
    /// The random label, `$T(id_label)` to a script.
    pub label: u32,
}

/// What our own branch parameter says: the transaction and branch that sent the request, and the loop-detection hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The transaction.
    pub id: Id,
    /// The hash of what was routed on (RFC 3261 §16.6 step 8).
    pub routed: u64,
    /// Which branch of the transaction.
    pub number: u8,
}

impl Branch {
    /// Reads a branch parameter; `None` for one that is not of our form.
    pub fn read(branch: &[u8]) -> Option<Self> {
        let mut rest = branch.strip_prefix(MAGIC_COOKIE)?;
        let (index, _) = read_hex(&mut rest)?;
        let (label, _) = read_hex(&mut rest)?;
        let (routed, digits) = read_hex(&mut rest)?;
        let (number, _) = read_hex(&mut rest)?;
        let alone = digits == 16 && rest.is_empty();
        alone.then_some(Self {
            id: Id {
                index: u32::try_from(index).ok()?,
                label: u32::try_from(label).ok()?,
            },
            routed,
            number: u8::try_from(number).ok()?,
        })
    }

    /// Appends the branch parameter's value.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC_COOKIE);
        write_hex(self.id.index.into(), 1, out);
        out.push(b'.');
        write_hex(self.id.label.into(), 1, out);
        out.push(b'.');
        write_hex(self.routed, 16, out);
        out.push(b'.');
        write_hex(self.number.into(), 1, out);
    }
}

/// The request as the matching rules see it; everything borrowed from the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// The method of the request line.
    pub method: &'a [u8],
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// The number in CSeq.
    pub cseq: u32,
    /// The branch of the top Via, empty when it has none.
    pub branch: &'a [u8],
    /// The host of the top Via's sent-by.
    pub host: &'a [u8],
    /// The port of the top Via's sent-by, when given.
    pub port: Option<u16>,
    /// The From tag.
    pub from_tag: &'a [u8],
    /// The To tag.
    pub to_tag: &'a [u8],
    /// The Request-URI.
    pub uri: &'a [u8],
    /// The whole top Via value.
    pub via: &'a [u8],
}

/// What a request is looked up by: the key it would have, and which of the transactions of its branch it means.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    key: Key,
    target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The transaction of this very method.
    Same,
    /// The INVITE an ACK belongs to.
    Invite,
    /// Whatever a CANCEL may cancel: neither ACK nor CANCEL (RFC 3261 §9.2).
    Cancelled,
}

impl Lookup {
    /// Looks for the transaction this request made, or which an ACK for a negative response ends.
    pub fn request(parts: &Parts<'_>, hasher: &Hashers) -> Self {
        let key = Key::new(parts, hasher);
        let target = if key.kind == Kind::Ack {
            Target::Invite
        } else {
            Target::Same
        };
        Self { key, target }
    }

    /// Looks for the transaction that this CANCEL wants to cancel.
    pub fn cancelled(self) -> Self {
        Self {
            target: Target::Cancelled,
            ..self
        }
    }

    /// The hash that chooses shard and slot.
    pub fn hash(&self) -> u64 {
        self.key.hash
    }

    /// The key a new transaction for this request is stored under.
    pub fn key(&self) -> Key {
        self.key
    }
}

/// The seeds of one table's keys: without them nobody can make two requests whose keys agree.
#[derive(Clone, Debug)]
pub struct Hashers([ahash::RandomState; 2]);

impl Default for Hashers {
    fn default() -> Self {
        Self([ahash::RandomState::new(), ahash::RandomState::new()])
    }
}

/// What a transaction is stored under: everything that RFC 3261 §17.2.3 compares, in two seeded hashes.
///
/// Two requests with equal keys are the same request but for one chance in 2^128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    hash: u64,
    check: u64,
    /// Of the method, and of the To tag where the branch is no identifier: what an ACK or CANCEL does not share.
    own: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invite,
    Ack,
    Cancel,
    Other,
}

impl Key {
    fn new(parts: &Parts<'_>, Hashers([first, second]): &Hashers) -> Self {
        // An RFC 2543 branch is no identifier: the whole Via, the Request-URI and the tags take its place.
        let cookie = has_cookie(parts.branch);
        let identity = if cookie { parts.branch } else { parts.via };
        let mut hash = first.build_hasher();
        hash.write(parts.call_id);
        hash.write_u32(parts.cseq);
        hash.write(identity);
        let mut check = second.build_hasher();
        check.write(parts.call_id);
        check.write_u32(parts.cseq);
        check.write(identity);
        check.write_u32(parts.port.map_or(u32::MAX, u32::from));
        for chunk in parts.host.chunks(16) {
            let mut lower = [0; 16];
            for (to, from) in lower.iter_mut().zip(chunk) {
                *to = from.to_ascii_lowercase();
            }
            check.write(&lower);
        }
        let mut own = second.build_hasher();
        own.write(parts.method);
        if !cookie {
            check.write(parts.uri);
            check.write(parts.from_tag);
            own.write(parts.to_tag);
        }
        Self {
            hash: hash.finish(),
            check: check.finish(),
            own: own.finish() as u32,
            kind: match parts.method {
                b"INVITE" => Kind::Invite,
                b"ACK" => Kind::Ack,
                b"CANCEL" => Kind::Cancel,
                _ => Kind::Other,
            },
        }
    }

    /// The hash the transaction is stored under.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The hash that tells requests of equal [`Key::hash`] apart, but not an INVITE from its ACK or CANCEL.
    pub fn check(&self) -> u64 {
        self.check
    }

    /// Whether a request belongs here (RFC 3261 §17.2.3).
    pub fn matches(&self, lookup: &Lookup) -> bool {
        let other = &lookup.key;
        (self.hash, self.check) == (other.hash, other.check)
            && match lookup.target {
                Target::Same => self.own == other.own,
                // The To tag of an ACK is that of our response, which is no part of the request.
                Target::Invite => self.kind == Kind::Invite,
                Target::Cancelled => !matches!(self.kind, Kind::Ack | Kind::Cancel),
            }
    }
}

/// Whether a branch was made under RFC 3261 and thus names its transaction.
pub fn has_cookie(branch: &[u8]) -> bool {
    branch.starts_with(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len()
}

/// Reads a number of one to 16 digits and the dot behind it, unless it is the last; the number and how many digits it has.
fn read_hex(rest: &mut &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (digits, byte) in rest.iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'.' if digits > 0 => {
                *rest = rest.get(digits + 1..).filter(|rest| !rest.is_empty())?;
                return Some((value, digits));
            }
            _ => return None,
        };
        if digits == 16 {
            return None;
        }
        value = value << 4 | u64::from(digit);
    }
    let digits = rest.len();
    *rest = &[];
    (digits > 0).then_some((value, digits))
}

/// Appends a number in lower-case hexadecimal, with zeros before it up to a width of at most 16.
pub fn write_hex(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut text = [0; 16];
    let mut left = value;
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
    }
    let digits = (67 - (value | 1).leading_zeros() as usize) / 4;
    out.extend_from_slice(text.get(16 - digits.max(width)..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INVITE: Parts<'static> = Parts {
        method: b"INVITE",
        call_id: b"1@a",
        cseq: 7,
        branch: b"z9hG4bKx",
        host: b"a.example",
        port: Some(5060),
        from_tag: b"f",
        to_tag: b"",
        uri: b"sip:b@example",
        via: b"SIP/2.0/UDP a.example:5060;branch=z9hG4bKx",
    };

    #[test]
    fn section_17_2_3() {
        let seeds = Hashers::default();
        let key = Lookup::request(&INVITE, &seeds).key();
        let rows: &[(&str, Parts<'_>, bool)] = &[
            ("the same", INVITE, true),
            (
                "its ACK",
                Parts {
                    method: b"ACK",
                    to_tag: b"t",
                    ..INVITE
                },
                true,
            ),
            (
                "another method",
                Parts {
                    method: b"OPTIONS",
                    ..INVITE
                },
                false,
            ),
            (
                "its CANCEL is another transaction",
                Parts {
                    method: b"CANCEL",
                    ..INVITE
                },
                false,
            ),
            (
                "another branch",
                Parts {
                    branch: b"z9hG4bKy",
                    ..INVITE
                },
                false,
            ),
            (
                "another host",
                Parts {
                    host: b"b.example",
                    ..INVITE
                },
                false,
            ),
            (
                "the host in capitals",
                Parts {
                    host: b"A.EXAMPLE",
                    ..INVITE
                },
                true,
            ),
            (
                "another port",
                Parts {
                    port: Some(5061),
                    ..INVITE
                },
                false,
            ),
            ("no port", Parts { port: None, ..INVITE }, false),
            (
                "another Call-ID",
                Parts {
                    call_id: b"2@a",
                    ..INVITE
                },
                false,
            ),
            ("another CSeq", Parts { cseq: 8, ..INVITE }, false),
            (
                "another Request-URI",
                Parts {
                    uri: b"sip:c@example",
                    ..INVITE
                },
                true,
            ),
            (
                "the cookie alone",
                Parts {
                    branch: b"z9hG4bK",
                    ..INVITE
                },
                false,
            ),
        ];
        for (what, parts, expected) in rows {
            assert_eq!(key.matches(&Lookup::request(parts, &seeds)), *expected, "{what}");
        }
        let cancel = Parts {
            method: b"CANCEL",
            ..INVITE
        };
        assert!(key.matches(&Lookup::request(&cancel, &seeds).cancelled()));
        let own = Lookup::request(&cancel, &seeds).key();
        assert!(!own.matches(&Lookup::request(&cancel, &seeds).cancelled()));
    }

    #[test]
    fn section_17_2_3_without_a_cookie() {
        let seeds = Hashers::default();
        let old = Parts {
            branch: b"1",
            via: b"SIP/2.0/UDP a.example:5060;branch=1",
            ..INVITE
        };
        let key = Lookup::request(&old, &seeds).key();
        let rows: &[(&str, Parts<'_>, bool)] = &[
            ("the same", old, true),
            (
                "its ACK",
                Parts {
                    method: b"ACK",
                    to_tag: b"t",
                    ..old
                },
                true,
            ),
            (
                "another Request-URI",
                Parts {
                    uri: b"sip:c@example",
                    ..old
                },
                false,
            ),
            (
                "a longer Request-URI",
                Parts {
                    uri: b"sip:b@example.com",
                    ..old
                },
                false,
            ),
            ("another To tag", Parts { to_tag: b"t", ..old }, false),
            (
                "another From tag",
                Parts {
                    from_tag: b"g",
                    ..old
                },
                false,
            ),
            (
                "another Via",
                Parts {
                    via: b"SIP/2.0/UDP a.example:5060;branch=1;x",
                    ..old
                },
                false,
            ),
            (
                "a new branch",
                Parts {
                    branch: b"z9hG4bKx",
                    ..old
                },
                false,
            ),
        ];
        for (what, parts, expected) in rows {
            assert_eq!(key.matches(&Lookup::request(parts, &seeds)), *expected, "{what}");
        }
        let cancel = Parts {
            method: b"CANCEL",
            ..old
        };
        assert!(key.matches(&Lookup::request(&cancel, &seeds).cancelled()));
    }

    #[test]
    fn branches_that_are_not_ours() {
        for branch in [
            "",
            "z9hG4bK",
            "z9hG4bKcydzigwkX",
            "z9hG4bK1.2.3.4",
            "z9hG4bK1.2.00000000000000ff",
            "z9hG4bK1.2.00000000000000ff.100",
            "z9hG4bK1.2.00000000000000ff.1.",
            "z9hG4bK123456789.2.00000000000000ff.1",
            "z9hG4bK1.2.00000000000000FF.1",
            "z9hG4bK..00000000000000ff.1",
            "1.2.00000000000000ff.1",
            "z9hG4bK48fa.c7b0264a48d3a1ce8e434dde73907802.0",
        ] {
            assert_eq!(Branch::read(branch.as_bytes()), None, "{branch}");
        }
    }

    proptest! {
        #[test]
        fn a_branch_reads_as_written(index: u32, label: u32, routed: u64, number: u8) {
            let branch = Branch { id: Id { index, label }, routed, number };
            let mut text = Vec::new();
            branch.write(&mut text);
            prop_assert!(text.len() <= MAX_BRANCH);
            prop_assert_eq!(Branch::read(&text), Some(branch));
        }

        #[test]
        fn any_branch_is_survived(bytes: Vec<u8>) {
            let mut branch = MAGIC_COOKIE.to_vec();
            branch.extend(bytes);
            let _ = Branch::read(&branch);
        }
    }
}
