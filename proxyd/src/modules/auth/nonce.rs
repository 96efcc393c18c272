//! Nonces that need no store: a time and a serial number under a keyed hash (RFC 7616 §5.4, RFC 2104).

use sha2::Digest as _;
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of what a nonce says: creation time, serial number, offer.
const SAID: usize = 9;
/// Bytes of the keyed hash over it.
const MAC: usize = 15;
/// Bytes of a second keyed hash, over the parts of the message that must stay the same.
const TIE: usize = 9;

/// What the challenge offered, so that credentials cannot choose a weaker hash than any of those.
pub(super) const OFFERED_MD5: u8 = 1;
/// SHA-256 was offered.
pub(super) const OFFERED_SHA256: u8 = 2;

/// Makes and checks nonces.
pub(super) struct Nonces {
    inner: Sha256,
    outer: Sha256,
    /// How long a nonce is good for, in seconds.
    pub(super) expire: u32,
    /// How far in the future its creation may seem, in seconds.
    pub(super) max_drift: u32,
    /// What became of the latest nonces.
    pub(super) tracker: Option<Arc<Tracker>>,
}

/// A nonce that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce {
    created: u32,
    serial: u32,
    pub(super) offered: u8,
    expired: bool,
    /// The parts of the message that it was tied to differ now.
    moved: bool,
}

/// Why a nonce is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its time has passed, or it is no longer tracked; a new challenge says `stale=true`.
    Stale,
    /// It served already.
    Reused,
}

impl Nonces {
    pub(super) fn new(secret: &[u8], expire: u32, max_drift: u32, tracker: Option<Arc<Tracker>>) -> Self {
        // RFC 2104 §2: a key longer than a block is hashed first.
        let mut key = [0u8; 64];
        if secret.len() > key.len() {
            key.iter_mut()
                .zip(Sha256::digest(secret))
                .for_each(|(to, from)| *to = from);
        } else {
            key.iter_mut().zip(secret).for_each(|(to, from)| *to = *from);
        }
        let pad = |with: u8| {
            let mut state = Sha256::new();
            state.update(key.map(|byte| byte ^ with));
            state
        };
        Self {
            inner: pad(0x36),
            outer: pad(0x5c),
            expire,
            max_drift,
            tracker,
        }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        for part in parts {
            inner.update(part);
        }
        outer.update(inner.finalize());
        outer.finalize().into()
    }

    fn tie(&self, said: &[u8; SAID], parts: &[&[u8]]) -> [u8; TIE] {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        inner.update(b"tied");
        inner.update(said);
        for part in parts {
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part);
        }
        outer.update(inner.finalize());
        first(&outer.finalize())
    }

    /// Appends a new nonce. `ties` are parts of the request that the next one must repeat, none for no such check.
    pub(super) fn write(&self, out: &mut Vec<u8>, now: u32, offered: u8, ties: &[&[u8]], random: u64) {
        let serial = match &self.tracker {
            Some(tracker) => tracker.begin(),
            None => random as u32,
        };
        let said = said(now, serial, offered);
        let mac = self.mac(&[&said]);
        let mut bytes = [0u8; SAID + MAC + TIE];
        let (head, rest) = bytes.split_at_mut(SAID);
        head.copy_from_slice(&said);
        rest.iter_mut()
            .zip(mac.iter().take(MAC))
            .for_each(|(to, from)| *to = *from);
        let mut length = SAID + MAC;
        if !ties.is_empty() {
            let tie = self.tie(&said, ties);
            rest.iter_mut()
                .skip(MAC)
                .zip(tie)
                .for_each(|(to, from)| *to = from);
            length += TIE;
        }
        encode(bytes.get(..length).unwrap_or_default(), out);
    }

    /// Reads a nonce; none when it is not one of ours.
    pub(super) fn read(&self, text: &[u8], now: u32, ties: &[&[u8]]) -> Option<Nonce> {
        let mut bytes = [0u8; SAID + MAC + TIE];
        let length = decode(text, &mut bytes)?;
        if length != SAID + MAC && length != SAID + MAC + TIE {
            return None;
        }
        let said: [u8; SAID] = first(&bytes);
        let mac = self.mac(&[&said]);
        if !shared::digest::same_secret(mac.get(..MAC)?, bytes.get(SAID..SAID + MAC)?) {
            return None;
        }
        let created = u32::from_be_bytes(first(&said));
        let serial = u32::from_be_bytes(first(said.get(4..)?));
        let expired =
            now > created.saturating_add(self.expire) || created > now.saturating_add(self.max_drift);
        let tied = length == SAID + MAC + TIE;
        let moved = match ties.is_empty() {
            true => false,
            false => !tied || !shared::digest::same_secret(&self.tie(&said, ties), bytes.get(SAID + MAC..)?),
        };
        Some(Nonce {
            created,
            serial,
            offered: said[8],
            expired,
            moved,
        })
    }

    /// Whether a nonce may serve now, without making use of it.
    pub(super) fn check(&self, nonce: Nonce, nc: Option<u32>) -> Result<(), Refused> {
        if nonce.expired {
            return Err(Refused::Stale);
        }
        match &self.tracker {
            Some(tracker) => tracker.check(nonce, nc),
            None if nonce.moved => Err(Refused::Stale),
            None => Ok(()),
        }
    }

    /// Makes use of a nonce after its credentials proved right; false when another request was quicker.
    pub(super) fn consume(&self, nonce: Nonce, nc: Option<u32>) -> Result<(), Refused> {
        self.tracker
            .as_ref()
            .map_or(Ok(()), |tracker| tracker.consume(nonce, nc))
    }
}

/// Remembers the latest nonces: the last nc of each (`nonce_count`), whether it was used (`one_time_nonce`).
pub(super) struct Tracker {
    next: AtomicU32,
    /// Nonces created before are unknown: another process made them.
    since: u32,
    counts: Option<Box<[AtomicU8]>>,
    used: Option<Box<[AtomicU64]>>,
}

impl Tracker {
    /// Room for `2^order` nonces each, where asked for; none when neither is.
    pub(super) fn new(counts: Option<u32>, used: Option<u32>, since: u32, seed: u32) -> Option<Self> {
        if counts.is_none() && used.is_none() {
            return None;
        }
        let counts = counts.map(|order| {
            (0..1usize << order.clamp(3, 28))
                .map(|_| AtomicU8::new(0))
                .collect()
        });
        let used = used.map(|order| {
            (0..1usize << (order.clamp(6, 31) - 6))
                .map(|_| AtomicU64::new(0))
                .collect()
        });
        Some(Self {
            next: AtomicU32::new(seed),
            since,
            counts,
            used,
        })
    }

    /// Whether a reload may keep it: the same parameters.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let sizes = |t: &Self| {
            (
                t.counts.as_ref().map(|c| c.len()),
                t.used.as_ref().map(|u| u.len()),
            )
        };
        sizes(self) == sizes(other)
    }

    fn begin(&self) -> u32 {
        let serial = self.next.fetch_add(1, Relaxed);
        if let Some(cell) = self.count(serial) {
            cell.store(0, Relaxed);
        }
        if let Some((word, bit)) = self.bit(serial) {
            word.fetch_and(!bit, Relaxed);
        }
        serial
    }

    fn count(&self, serial: u32) -> Option<&AtomicU8> {
        let counts = self.counts.as_deref()?;
        counts.get(serial as usize & (counts.len() - 1))
    }

    fn bit(&self, serial: u32) -> Option<(&AtomicU64, u64)> {
        let used = self.used.as_deref()?;
        let at = serial as usize & (used.len() * 64 - 1);
        Some((used.get(at / 64)?, 1 << (at % 64)))
    }

    /// Whether the place of this nonce was not given to a later one.
    fn holds(&self, nonce: Nonce, room: usize) -> bool {
        let age = self.next.load(Relaxed).wrapping_sub(nonce.serial);
        nonce.created >= self.since && age >= 1 && age as usize <= room
    }

    fn check(&self, nonce: Nonce, nc: Option<u32>) -> Result<(), Refused> {
        if let (Some(nc), Some(counts)) = (nc, &self.counts) {
            if !self.holds(nonce, counts.len()) || nc > u32::from(u8::MAX) {
                return Err(Refused::Stale);
            }
            let last = self.count(nonce.serial).map_or(0, |cell| cell.load(Relaxed));
            // Kamailio: a repeated nc counts as stale, so that the client tries again by itself.
            return if nc > u32::from(last) {
                Ok(())
            } else {
                Err(Refused::Stale)
            };
        }
        if let Some(used) = &self.used {
            if !self.holds(nonce, used.len() * 64) {
                return Err(Refused::Stale);
            }
            let spent = self
                .bit(nonce.serial)
                .is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0);
            return if spent { Err(Refused::Reused) } else { Ok(()) };
        }
        if nonce.moved { Err(Refused::Stale) } else { Ok(()) }
    }

    fn consume(&self, nonce: Nonce, nc: Option<u32>) -> Result<(), Refused> {
        if let (Some(nc), Some(_)) = (nc, &self.counts) {
            let nc = u8::try_from(nc).map_err(|_| Refused::Stale)?;
            let last = self
                .count(nonce.serial)
                .map_or(0, |cell| cell.fetch_max(nc, Relaxed));
            return if nc > last { Ok(()) } else { Err(Refused::Stale) };
        }
        let spent = self
            .bit(nonce.serial)
            .is_some_and(|(word, bit)| word.fetch_or(bit, Relaxed) & bit != 0);
        if spent { Err(Refused::Reused) } else { Ok(()) }
    }
}

fn said(now: u32, serial: u32, offered: u8) -> [u8; SAID] {
    let mut said = [offered; SAID];
    let (head, _) = said.split_at_mut(8);
    let (created, number) = head.split_at_mut(4);
    created.copy_from_slice(&now.to_be_bytes());
    number.copy_from_slice(&serial.to_be_bytes());
    said
}

/// The first bytes; what is missing is 0.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 in the alphabet of RFC 4648 §5; the length is a multiple of 3, so there is no padding.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let [a, b, c]: [u8; 3] = first(group);
        let bits = u32::from_be_bytes([0, a, b, c]);
        out.extend([18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize]));
    }
}

fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    if !text.len().is_multiple_of(4) || text.len() / 4 * 3 > out.len() {
        return None;
    }
    for (group, to) in text.chunks_exact(4).zip(out.chunks_exact_mut(3)) {
        let mut bits = 0u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, a, b, c] = bits.to_be_bytes();
        to.copy_from_slice(&[a, b, c]);
    }
    Some(text.len() / 4 * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(tracker: Option<Tracker>) -> Nonces {
        Nonces::new(b"secret", 300, 3, tracker.map(Arc::new))
    }

    fn make(nonces: &Nonces, now: u32, ties: &[&[u8]]) -> Vec<u8> {
        let mut text = Vec::new();
        nonces.write(&mut text, now, OFFERED_MD5, ties, 7);
        text
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let table: [(&[u8], &[u8], &str); 2] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f",
            ),
        ];
        for (key, data, expected) in table {
            let mac = Nonces::new(key, 0, 0, None).mac(&[data]);
            let hex: String = mac.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }

    #[test]
    fn a_nonce_lives_its_time_and_cannot_be_made_up() {
        let nonces = nonces(None);
        let text = make(&nonces, 1000, &[]);
        assert_eq!(text.len(), 32);
        let table = [
            (1000, Ok(())),
            (1300, Ok(())),
            (1301, Err(Refused::Stale)),
            (997, Ok(())),
            (996, Err(Refused::Stale)),
        ];
        for (now, expected) in table {
            let nonce = nonces.read(&text, now, &[]).unwrap();
            assert_eq!(nonces.check(nonce, None), expected, "{now}");
            assert_eq!(nonce.offered, OFFERED_MD5);
        }
        for at in 0..text.len() {
            let mut forged = text.clone();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(nonces.read(&forged, 1000, &[]), None, "{at}");
        }
        for bad in [
            &b""[..],
            b"x",
            b"====",
            &text[..31],
            &[b'A'; 64],
            b"dr-forged-nonce-0123456789",
        ] {
            assert_eq!(nonces.read(bad, 1000, &[]), None);
        }
        assert_eq!(Nonces::new(b"other", 300, 3, None).read(&text, 1000, &[]), None);
    }

    #[test]
    fn a_tied_nonce_is_stale_elsewhere() {
        let nonces = nonces(None);
        let text = make(&nonces, 1000, &[b"sip:a", b"1.2.3.4"]);
        let state = |ties: &[&[u8]]| nonces.check(nonces.read(&text, 1000, ties).unwrap(), None);
        assert_eq!(state(&[b"sip:a", b"1.2.3.4"]), Ok(()));
        assert_eq!(state(&[b"sip:a", b"1.2.3.5"]), Err(Refused::Stale));
        assert_eq!(state(&[b"sip:a1", b".2.3.4"]), Err(Refused::Stale));
        let free = make(&nonces, 1000, &[]);
        assert_eq!(
            nonces.check(nonces.read(&free, 1000, &[b"x"]).unwrap(), None),
            Err(Refused::Stale)
        );
    }

    #[test]
    fn nc_must_rise() {
        let nonces = nonces(Tracker::new(Some(3), None, 0, u32::MAX));
        let text = make(&nonces, 1000, &[]);
        let nonce = nonces.read(&text, 1000, &[]).unwrap();
        assert_eq!(nonces.check(nonce, Some(1)), Ok(()));
        assert_eq!(nonces.consume(nonce, Some(1)), Ok(()));
        assert_eq!(nonces.check(nonce, Some(1)), Err(Refused::Stale));
        assert_eq!(nonces.consume(nonce, Some(1)), Err(Refused::Stale));
        assert_eq!(nonces.check(nonce, Some(255)), Ok(()));
        assert_eq!(nonces.check(nonce, Some(256)), Err(Refused::Stale));
        for _ in 0..8 {
            make(&nonces, 1000, &[]);
        }
        assert_eq!(nonces.check(nonce, Some(9)), Err(Refused::Stale));
    }

    #[test]
    fn a_one_time_nonce_serves_once() {
        let nonces = nonces(Tracker::new(None, Some(6), 900, 5));
        let nonce = nonces.read(&make(&nonces, 1000, &[]), 1000, &[]).unwrap();
        assert_eq!(nonces.check(nonce, Some(1)), Ok(()));
        assert_eq!(nonces.consume(nonce, None), Ok(()));
        assert_eq!(nonces.check(nonce, Some(2)), Err(Refused::Reused));
        assert_eq!(nonces.consume(nonce, None), Err(Refused::Reused));
        let older = nonces.read(&make(&nonces, 899, &[]), 1000, &[]).unwrap();
        assert_eq!(nonces.check(older, None), Err(Refused::Stale));
    }
}
