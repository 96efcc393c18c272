//! Which transaction a message belongs to: RFC 3261 §17.1.3 for responses, §17.2.3 for requests, with its RFC 2543 fallback.

use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::ops::Range;

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
        let rest = branch.strip_prefix(MAGIC_COOKIE)?;
        let mut parts = rest.split(|byte| *byte == b'.');
        let index = u32::try_from(read_hex(parts.next()?, 8)?).ok()?;
        let label = u32::try_from(read_hex(parts.next()?, 8)?).ok()?;
        let hash = parts.next()?;
        let routed = if hash.len() == 16 {
            read_hex(hash, 16)?
        } else {
            return None;
        };
        let number = u8::try_from(read_hex(parts.next()?, 2)?).ok()?;
        parts.next().is_none().then_some(Self {
            id: Id { index, label },
            routed,
            number,
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

/// What a request is looked up by: a hash of Call-ID, CSeq number and branch, then everything the RFC compares.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    parts: Parts<'a>,
    target: Target,
    hash: u64,
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

impl<'a> Lookup<'a> {
    /// Looks for the transaction this request made, or which an ACK for a negative response ends.
    pub fn request(parts: Parts<'a>, state: &ahash::RandomState) -> Self {
        let target = if parts.method == b"ACK" {
            Target::Invite
        } else {
            Target::Same
        };
        Self {
            parts,
            target,
            hash: hash_request(&parts, state),
        }
    }

    /// Looks for the transaction that a CANCEL wants to cancel.
    pub fn cancelled(parts: Parts<'a>, state: &ahash::RandomState) -> Self {
        Self {
            parts,
            target: Target::Cancelled,
            hash: hash_request(&parts, state),
        }
    }

    /// The hash that chooses shard and slot.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The key a new transaction for this request is stored under.
    pub fn to_key(&self) -> Key {
        Key::new(&self.parts, self.hash)
    }
}

/// What an ACK for a 2xx is looked up by: it shares Call-ID, CSeq number and tags with its INVITE, but no branch (§13.2.2.4).
#[derive(Clone, Copy, Debug)]
pub struct AckLookup<'a> {
    parts: Parts<'a>,
    hash: u64,
}

impl<'a> AckLookup<'a> {
    /// Looks for the INVITE that was accepted with the To tag of this ACK.
    pub fn new(parts: Parts<'a>, state: &ahash::RandomState) -> Self {
        let hash = hash_dialog(parts.call_id, parts.cseq, parts.from_tag, parts.to_tag, state);
        Self { parts, hash }
    }

    /// The hash that chooses shard and slot.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// What a transaction is stored under, in one allocation.
#[derive(Debug)]
pub struct Key {
    hash: u64,
    cseq: u32,
    port: Option<u16>,
    cookie: bool,
    ends: [u32; 5],
    bytes: Box<[u8]>,
}

impl Key {
    fn new(parts: &Parts<'_>, hash: u64) -> Self {
        let cookie = has_cookie(parts.branch);
        // An RFC 2543 branch is no identifier: the whole Via, the Request-URI and the To tag take its place.
        let identity = if cookie { parts.branch } else { parts.via };
        let (uri, to_tag): (&[u8], &[u8]) = if cookie {
            (b"", b"")
        } else {
            (parts.uri, parts.to_tag)
        };
        let mut bytes = Vec::with_capacity(
            parts.method.len()
                + parts.call_id.len()
                + parts.from_tag.len()
                + parts.host.len()
                + identity.len()
                + uri.len()
                + to_tag.len(),
        );
        let mut ends = [0; 5];
        let pieces = [parts.method, parts.call_id, parts.from_tag, parts.host, identity];
        for (end, piece) in ends.iter_mut().zip(pieces) {
            bytes.extend_from_slice(piece);
            *end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        }
        bytes.extend_from_slice(uri);
        bytes.extend_from_slice(to_tag);
        Self {
            hash,
            cseq: parts.cseq,
            port: parts.port,
            cookie,
            ends,
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// The hash the transaction is stored under.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The method of the request that made the transaction.
    pub fn method(&self) -> &[u8] {
        self.piece(0)
    }

    /// Its Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.piece(1)
    }

    /// The hash under which an ACK for a 2xx with this To tag finds the transaction.
    pub fn ack_hash(&self, to_tag: &[u8], state: &ahash::RandomState) -> u64 {
        hash_dialog(self.call_id(), self.cseq, self.piece(2), to_tag, state)
    }

    /// Whether a request belongs here, all of RFC 3261 §17.2.3 compared.
    pub fn matches(&self, lookup: &Lookup<'_>) -> bool {
        let parts = &lookup.parts;
        let method = match lookup.target {
            Target::Same => self.method() == parts.method,
            Target::Invite => self.method() == b"INVITE",
            Target::Cancelled => self.method() != b"CANCEL" && self.method() != b"ACK",
        };
        let cookie = has_cookie(parts.branch);
        method
            && self.hash == lookup.hash
            && self.cseq == parts.cseq
            && self.cookie == cookie
            && self.port == parts.port
            && self.piece(4) == if cookie { parts.branch } else { parts.via }
            && self.call_id() == parts.call_id
            && self.piece(3).eq_ignore_ascii_case(parts.host)
            && (cookie || self.matches_2543(lookup))
    }

    /// Whether an ACK for a 2xx belongs here; its To tag is in the hash it was found by.
    pub fn matches_ack(&self, lookup: &AckLookup<'_>) -> bool {
        let parts = &lookup.parts;
        self.method() == b"INVITE"
            && self.cseq == parts.cseq
            && self.call_id() == parts.call_id
            && self.piece(2) == parts.from_tag
    }

    fn matches_2543(&self, lookup: &Lookup<'_>) -> bool {
        let parts = &lookup.parts;
        let tail = self.bytes.get(self.ends[4] as usize..).unwrap_or_default();
        let Some((uri, to_tag)) = tail.split_at_checked(parts.uri.len()) else {
            return false;
        };
        // The To tag of an ACK is that of our response, which is no part of the request.
        let tag = lookup.target == Target::Invite || to_tag == parts.to_tag;
        uri == parts.uri && tag && self.piece(2) == parts.from_tag
    }

    fn piece(&self, number: usize) -> &[u8] {
        let start = if number == 0 {
            0
        } else {
            self.ends[number - 1] as usize
        };
        self.bytes
            .get(Range {
                start,
                end: self.ends[number] as usize,
            })
            .unwrap_or_default()
    }
}

/// Whether a branch was made under RFC 3261 and thus names its transaction.
pub fn has_cookie(branch: &[u8]) -> bool {
    branch.starts_with(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len()
}

fn hash_request(parts: &Parts<'_>, state: &ahash::RandomState) -> u64 {
    let mut hasher = state.build_hasher();
    parts.call_id.hash(&mut hasher);
    hasher.write_u32(parts.cseq);
    if has_cookie(parts.branch) {
        parts.branch
    } else {
        parts.via
    }
    .hash(&mut hasher);
    hasher.finish()
}

fn hash_dialog(call_id: &[u8], cseq: u32, from: &[u8], to: &[u8], state: &ahash::RandomState) -> u64 {
    let mut hasher = state.build_hasher();
    call_id.hash(&mut hasher);
    hasher.write_u32(cseq);
    from.hash(&mut hasher);
    to.hash(&mut hasher);
    hasher.finish()
}

fn read_hex(digits: &[u8], longest: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > longest {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

fn write_hex(value: u64, width: u32, out: &mut Vec<u8>) {
    let digits = (67 - (value | 1).leading_zeros()) / 4;
    for place in (0..digits.max(width)).rev() {
        let digit = (value >> (4 * place)) as usize & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> ahash::RandomState {
        ahash::RandomState::with_seeds(1, 2, 3, 4)
    }

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
        let key = Lookup::request(INVITE, &state()).to_key();
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
            assert_eq!(
                key.matches(&Lookup::request(*parts, &state())),
                *expected,
                "{what}"
            );
        }
        assert!(key.matches(&Lookup::cancelled(
            Parts {
                method: b"CANCEL",
                ..INVITE
            },
            &state()
        )));
        let cancel = Lookup::request(
            Parts {
                method: b"CANCEL",
                ..INVITE
            },
            &state(),
        )
        .to_key();
        assert!(!cancel.matches(&Lookup::cancelled(
            Parts {
                method: b"CANCEL",
                ..INVITE
            },
            &state()
        )));
        assert_eq!(key.method(), b"INVITE");
        assert_eq!(key.call_id(), b"1@a");
    }

    #[test]
    fn section_17_2_3_without_a_cookie() {
        let old = Parts {
            branch: b"1",
            via: b"SIP/2.0/UDP a.example:5060;branch=1",
            ..INVITE
        };
        let key = Lookup::request(old, &state()).to_key();
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
            assert_eq!(
                key.matches(&Lookup::request(*parts, &state())),
                *expected,
                "{what}"
            );
        }
        assert!(key.matches(&Lookup::cancelled(
            Parts {
                method: b"CANCEL",
                ..old
            },
            &state()
        )));
    }

    #[test]
    fn an_ack_for_a_2xx_matches_by_dialog() {
        let key = Lookup::request(INVITE, &state()).to_key();
        let ack = Parts {
            method: b"ACK",
            branch: b"z9hG4bKother",
            to_tag: b"t1",
            ..INVITE
        };
        let lookup = AckLookup::new(ack, &state());
        assert!(key.matches_ack(&lookup));
        assert_eq!(key.ack_hash(b"t1", &state()), lookup.hash());
        assert_ne!(key.ack_hash(b"t2", &state()), lookup.hash());
        assert!(!key.matches_ack(&AckLookup::new(
            Parts {
                from_tag: b"x",
                ..ack
            },
            &state()
        )));
        assert!(!key.matches_ack(&AckLookup::new(Parts { cseq: 1, ..ack }, &state())));
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
