//! Sixteen bytes looked at together: the search under every scan of short text (RFC 3261 §25.1).

use wide::u8x16;

/// Up to sixteen bytes, the missing ones zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block(u8x16);

/// The bytes of a block that satisfy a condition: all bits set in those, none in others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places(u8x16);

impl Block {
    /// How many bytes a block holds.
    pub(crate) const LEN: usize = 16;

    /// Takes sixteen bytes.
    #[inline(always)]
    pub(crate) fn new(bytes: &[u8; Self::LEN]) -> Self {
        Self(u8x16::new(*bytes))
    }

    /// Where `b` stands.
    #[inline(always)]
    pub(crate) fn equal(self, b: u8) -> Places {
        Places(self.0.simd_eq(u8x16::splat(b)))
    }

    /// Where a byte from `low` to `high` stands.
    #[inline(always)]
    pub(crate) fn within(self, low: u8, high: u8) -> Places {
        let above = self.0 - u8x16::splat(low);
        Places(above.simd_eq(above.min(u8x16::splat(high - low))))
    }

    /// Where a letter stands, an ASCII one.
    #[inline(always)]
    pub(crate) fn letter(self) -> Places {
        Self(self.0 | u8x16::splat(0x20)).within(b'a', b'z')
    }
}

impl Places {
    /// The offset of the first one; 32 when there is none.
    #[inline(always)]
    pub(crate) fn first(self) -> usize {
        self.bits().trailing_zeros() as usize
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.0.to_bitmask()
    }

    /// The others.
    #[inline(always)]
    pub(crate) fn not(self) -> Self {
        Self(!self.0)
    }
}

impl std::ops::BitOr for Places {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Offset of the first byte that `find` points out.
#[inline(always)]
pub(crate) fn position(data: &[u8], find: impl Fn(Block) -> Places) -> Option<usize> {
    let at = position_within(data, 0, data.len(), find);
    (at < data.len()).then_some(at)
}

/// Offset of the first byte from `from` to `to` that `find` points out, else `to`.
///
/// What follows `to` is looked at as well where that saves cutting the last block.
#[inline(always)]
pub(crate) fn position_within(data: &[u8], from: usize, to: usize, find: impl Fn(Block) -> Places) -> usize {
    // Most searches end in the first block.
    let Some(bytes) = data.get(from..).and_then(|rest| rest.first_chunk()) else {
        return last_position(data, from, to, find);
    };
    let found = find(Block::new(bytes)).bits();
    if found != 0 {
        return (from + found.trailing_zeros() as usize).min(to);
    }
    let mut at = from + Block::LEN;
    if at >= to {
        return to;
    }
    let len = (to - at).next_multiple_of(Block::LEN);
    let (blocks, whole) = match data.get(at..at + len) {
        Some(blocks) => (blocks.as_chunks().0, true),
        None => (data.get(at..to).unwrap_or_default().as_chunks().0, false),
    };
    for bytes in blocks {
        let found = find(Block::new(bytes)).bits();
        if found != 0 {
            return (at + found.trailing_zeros() as usize).min(to);
        }
        at += Block::LEN;
    }
    if whole {
        to
    } else {
        last_position(data, at, to, find)
    }
}

/// Does the same where less than a block is left.
#[cold]
fn last_position(data: &[u8], from: usize, to: usize, find: impl Fn(Block) -> Places) -> usize {
    let rest = data.get(from..to).unwrap_or_default();
    let found = find(Block::new(&word(rest).to_le_bytes())).bits();
    (from + found.trailing_zeros() as usize).min(to)
}

/// The offsets in a part of `data` that `find` points out, in order.
#[derive(Debug, Clone)]
pub(crate) struct Positions<'a, F> {
    data: &'a [u8],
    /// Where the next two blocks begin.
    next: usize,
    end: usize,
    /// Those of the two blocks before that are still to be told.
    found: u32,
    find: F,
}

impl<'a, F: Fn(Block) -> Places> Positions<'a, F> {
    pub(crate) const fn new(data: &'a [u8], from: usize, end: usize, find: F) -> Self {
        Self {
            data,
            next: from,
            end,
            found: 0,
            find,
        }
    }

    #[inline(always)]
    fn look(&self) -> u32 {
        let rest = self.data.get(self.next..).unwrap_or_default();
        let Some([low, high]) = rest
            .first_chunk::<{ 2 * Block::LEN }>()
            .map(|both| both.as_chunks().0)
        else {
            return self.look_at_last(rest);
        };
        let bits = |half| (self.find)(Block::new(half)).bits();
        bits(low) | bits(high) << Block::LEN
    }

    #[cold]
    fn look_at_last(&self, rest: &[u8]) -> u32 {
        let (low, high) = rest.split_at_checked(Block::LEN).unwrap_or((rest, b""));
        let bits = |part| (self.find)(Block::new(&word(part).to_le_bytes())).bits();
        bits(low) | bits(high) << Block::LEN
    }
}

impl<F: Fn(Block) -> Places> Iterator for Positions<'_, F> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            if self.next >= self.end {
                return None;
            }
            self.found = self.look();
            self.next += 2 * Block::LEN;
        }
        let at = self.next - 2 * Block::LEN + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        (at < self.end).then_some(at)
    }
}

/// The first sixteen bytes as a little-endian number, missing ones zero.
#[inline]
pub(crate) fn word(data: &[u8]) -> u128 {
    if let Some(chunk) = data.first_chunk() {
        return u128::from_le_bytes(*chunk);
    }
    // The last bytes are loaded together with some that were loaded before, which are the same.
    if let (Some(first), Some(last)) = (data.first_chunk(), data.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        let high = last.unbounded_shr(128 - 8 * data.len() as u32);
        return u128::from(high) << 64 | u128::from(first);
    }
    if let (Some(first), Some(last)) = (data.first_chunk(), data.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u128::from(u64::from(first) | u64::from(last) << (8 * (data.len() - 4)));
    }
    let low = data.iter().rev().fold(0u32, |low, b| low << 8 | u32::from(*b));
    u128::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_walk_finds(data in prop::collection::vec(any::<u8>(), 0..70), b: u8, low: u8, more: u8) {
            let high = low.saturating_add(more);
            let walk = |keep: &dyn Fn(u8) -> bool| data.iter().position(|b| keep(*b));
            prop_assert_eq!(position(&data, |x| x.equal(b)), walk(&|x| x == b));
            prop_assert_eq!(position(&data, |x| x.equal(b).not()), walk(&|x| x != b));
            prop_assert_eq!(position(&data, |x| x.within(low, high)), walk(&|x| (low..=high).contains(&x)));
            prop_assert_eq!(position(&data, |x| x.letter().not()), walk(&|x| !x.is_ascii_alphabetic()));
            let (from, to) = (data.len() / 3, data.len() / 2);
            let part = data[from..to].iter().position(|x| *x == b).map_or(to, |at| from + at);
            prop_assert_eq!(position_within(&data, from, to, |x| x.equal(b)), part);
            let all: Vec<_> = (from..to).filter(|at| data[*at] == b).collect();
            prop_assert_eq!(Positions::new(&data, from, to, |x| x.equal(b)).collect::<Vec<_>>(), all);
            prop_assert_eq!(
                position(&data, |x| x.letter() | x.equal(b)),
                walk(&|x| x.is_ascii_alphabetic() || x == b)
            );
        }

        #[test]
        fn words_are_padded(data in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut padded = [0; 16];
            let len = data.len().min(16);
            padded[..len].copy_from_slice(&data[..len]);
            prop_assert_eq!(word(&data), u128::from_le_bytes(padded));
        }
    }
}
