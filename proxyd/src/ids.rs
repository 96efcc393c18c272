//! Tags, branches and Call-IDs: unpredictable, or derived from a request so that each copy of it gets the same.

use ahash::RandomState;
use rand::Rng;
use shared::sip::Message;
use std::hash::BuildHasher;
use std::hash::Hasher;

/// Keys of one process: what is derived with them means nothing to another one.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: [u8; 8],
    tags: RandomState,
}

/// What a local To tag answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    /// A reply without a transaction: its ACK is dropped before the script.
    Stateless,
    /// A reply of a transaction.
    Stateful,
}

impl Keys {
    /// New keys.
    pub fn new() -> Self {
        let mut random = rand::rng();
        let mut prefix = [0; 8];
        write_hex(random.next_u32().into(), &mut prefix);
        let tags = RandomState::with_seeds(
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
        );
        Self { prefix, tags }
    }

    /// The To tag of replies made here to this request (RFC 3261 §19.3): the same for each copy of it.
    pub fn tag(&self, request: &Message, kind: TagKind) -> [u8; 26] {
        let mut hasher = self.tags.build_hasher();
        hasher.write(request.call_id());
        hasher.write(request.from_tag());
        if let Some(via) = request.top_via() {
            hasher.write(via.branch().unwrap_or_default());
        }
        hasher.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
        let mut tag = [b'-'; 26];
        tag[..8].copy_from_slice(&self.prefix);
        tag[8] = match kind {
            TagKind::Stateless => b's',
            TagKind::Stateful => b't',
        };
        write_hex(hasher.finish(), &mut tag[10..]);
        tag
    }

    /// Whether a To tag is one of our stateless replies'.
    pub fn is_stateless_tag(&self, tag: &[u8]) -> bool {
        tag.len() == 26 && tag.starts_with(&self.prefix) && tag.get(8) == Some(&b's')
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the low digits of a number in hexadecimal, as many as fit.
pub fn write_hex(number: u64, out: &mut [u8]) {
    let mut rest = number;
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
}

/// A Call-ID or tag of our own requests: 128 unpredictable bits in hexadecimal.
pub fn token() -> [u8; 32] {
    let mut random = rand::rng();
    let mut out = [0; 32];
    let (high, low) = out.split_at_mut(16);
    write_hex(random.next_u64(), high);
    write_hex(random.next_u64(), low);
    out
}
