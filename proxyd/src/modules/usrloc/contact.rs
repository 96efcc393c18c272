//! One binding (RFC 3261 §10): its numbers and texts packed into a single allocation.

/// No q was given.
pub(crate) const Q_UNSET: i16 = -1;

/// Every method: no Allow header said otherwise.
pub(crate) const ALL_METHODS: u32 = u32::MAX;

/// Everything there is to say of a binding, as the registrar, an RPC or the database brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding<'a> {
    /// Address of record, canonical.
    pub(crate) aor: &'a [u8],
    /// The contact URI.
    pub(crate) address: &'a [u8],
    /// Record unique id.
    pub(crate) ruid: &'a [u8],
    /// Call-ID of the REGISTER.
    pub(crate) call_id: &'a [u8],
    /// Where the REGISTER came from, as a URI; empty when it is not behind NAT.
    pub(crate) received: &'a [u8],
    /// `+sip.instance` with its angle brackets.
    pub(crate) instance: &'a [u8],
    /// Attributes kept with the contact (`xavp_contact`), in their packed form.
    pub(crate) attributes: &'a [u8],
    /// Path vector (RFC 3327).
    pub(crate) path: &'a [u8],
    /// User-Agent of the REGISTER.
    pub(crate) user_agent: &'a [u8],
    /// Socket it arrived at: `udp:10.0.0.1:5060`.
    pub(crate) socket: &'a [u8],
    /// Seconds since 1970 when it ends; 0 never.
    pub(crate) expires: u32,
    /// Seconds since 1970 of the last change.
    pub(crate) modified: u32,
    /// CSeq number of the REGISTER.
    pub(crate) cseq: u32,
    /// q in thousandths, or [`Q_UNSET`].
    pub(crate) q: i16,
    /// Kamailio's internal flags of the record.
    pub(crate) flags: u32,
    /// Branch flags.
    pub(crate) cflags: u32,
    /// Methods the contact understands, one bit each.
    pub(crate) methods: u32,
    /// reg-id (RFC 5626); 0 none.
    pub(crate) reg_id: u32,
    /// `server_id` of the proxy that saved it.
    pub(crate) server_id: u32,
    /// Connection it came by; [`NO_CONNECTION`] for datagrams.
    pub(crate) connection: u64,
    /// Second in which it last answered a keepalive.
    pub(crate) last_keepalive: u32,
    /// Microseconds that the last keepalive took.
    pub(crate) roundtrip: u32,
    /// It answers keepalives: Kamailio's column `keepalive`.
    pub(crate) keepalive: bool,
    /// Never written to the database (`save("location", "0x01")`).
    pub(crate) memory_only: bool,
}

/// The binding came by a datagram.
pub(crate) const NO_CONNECTION: u64 = u64::MAX;

impl Default for Binding<'_> {
    fn default() -> Self {
        Self {
            aor: b"",
            address: b"",
            ruid: b"",
            call_id: b"",
            received: b"",
            instance: b"",
            attributes: b"",
            path: b"",
            user_agent: b"",
            socket: b"",
            expires: 0,
            modified: 0,
            cseq: 0,
            q: Q_UNSET,
            flags: 0,
            cflags: 0,
            methods: ALL_METHODS,
            reg_id: 0,
            server_id: 0,
            connection: NO_CONNECTION,
            last_keepalive: 0,
            roundtrip: 0,
            keepalive: false,
            memory_only: false,
        }
    }
}

/// A packed contact: the numbers at fixed places, then the texts that are its own.
pub(super) type Packed = Box<[u8]>;

// Places of the numbers, little endian.
const EXPIRES: usize = 0;
const MODIFIED: usize = 4;
const CSEQ: usize = 8;
const FLAGS: usize = 12;
const CFLAGS: usize = 16;
const METHODS: usize = 20;
const USER_AGENT: usize = 24;
const SOCKET: usize = 28;
const PATH: usize = 32;
const REG_ID: usize = 36;
const SERVER_ID: usize = 40;
const DUE: usize = 44;
const SEQUENCE: usize = 48;
const LAST_KEEPALIVE: usize = 52;
const ROUNDTRIP: usize = 56;
const CONNECTION: usize = 60;
const Q: usize = 68;
const BITS: usize = 70;
const LENGTHS: usize = 71;
const TEXTS: usize = LENGTHS + 2 * OWN_TEXTS;

/// How many texts a contact has for itself: aor, address, ruid, call_id, received, instance, attributes.
const OWN_TEXTS: usize = 7;

const BIT_MEMORY_ONLY: u8 = 1;
const BIT_KEEPALIVE: u8 = 2;
const BIT_NEW: u8 = 4;

/// The three texts that contacts share: User-Agent, socket, Path.
pub(super) type Shared = [u32; 3];

/// Writes a binding in packed form; none when a text is longer than a packed contact can hold.
pub(super) fn pack(binding: &Binding<'_>, shared: Shared, out: &mut Vec<u8>) -> Option<()> {
    let texts = own_texts(binding);
    // Written where its size is known, so that no place is checked for room.
    let mut head = [0; TEXTS];
    for (index, text) in texts.iter().enumerate() {
        put(
            &mut head,
            LENGTHS + 2 * index,
            &u16::try_from(text.len()).ok()?.to_le_bytes(),
        );
    }
    for (at, value) in [
        (EXPIRES, binding.expires),
        (MODIFIED, binding.modified),
        (CSEQ, binding.cseq),
        (FLAGS, binding.flags),
        (CFLAGS, binding.cflags),
        (METHODS, binding.methods),
        (USER_AGENT, shared[0]),
        (SOCKET, shared[1]),
        (PATH, shared[2]),
        (REG_ID, binding.reg_id),
        (SERVER_ID, binding.server_id),
        (LAST_KEEPALIVE, binding.last_keepalive),
        (ROUNDTRIP, binding.roundtrip),
    ] {
        put_u32(&mut head, at, value);
    }
    put(&mut head, CONNECTION, &binding.connection.to_le_bytes());
    put(&mut head, Q, &binding.q.to_le_bytes());
    let bits = if binding.memory_only { BIT_MEMORY_ONLY } else { 0 }
        | if binding.keepalive { BIT_KEEPALIVE } else { 0 };
    put(&mut head, BITS, &[bits]);
    out.clear();
    out.extend_from_slice(&head);
    for text in texts {
        out.extend_from_slice(text);
    }
    Some(())
}

fn own_texts<'a>(binding: &Binding<'a>) -> [&'a [u8]; OWN_TEXTS] {
    [
        binding.aor,
        binding.address,
        binding.ruid,
        binding.call_id,
        binding.received,
        binding.instance,
        binding.attributes,
    ]
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |four| u32::from_le_bytes(*four))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |two| u16::from_le_bytes(*two))
}

/// The ids of the shared texts.
pub(super) fn shared(bytes: &[u8]) -> Shared {
    [
        u32_at(bytes, USER_AGENT),
        u32_at(bytes, SOCKET),
        u32_at(bytes, PATH),
    ]
}

/// The second for which the contact stands in its shard's queue.
pub(super) fn due(bytes: &[u8]) -> u32 {
    u32_at(bytes, DUE)
}

/// Notes the second for which it stands in the queue.
pub(super) fn set_due(bytes: &mut [u8], due: u32) {
    put_u32(bytes, DUE, due);
}

/// Notes the journal's number of its last change, and whether that made it.
pub(super) fn set_journal(bytes: &mut [u8], sequence: u32, new: bool) {
    put_u32(bytes, SEQUENCE, sequence);
    if let Some(bits) = bytes.get_mut(BITS) {
        *bits = if new { *bits | BIT_NEW } else { *bits & !BIT_NEW };
    }
}

/// Notes the answer to a keepalive.
pub(super) fn set_keepalive(bytes: &mut [u8], second: u32, roundtrip: u32) {
    put_u32(bytes, LAST_KEEPALIVE, second);
    put_u32(bytes, ROUNDTRIP, roundtrip);
    if let Some(bits) = bytes.get_mut(BITS) {
        *bits |= BIT_KEEPALIVE;
    }
}

/// A view of a contact.
#[derive(Clone, Copy)]
pub(crate) struct Contact<'a> {
    bytes: &'a [u8],
    /// User-Agent of the REGISTER.
    pub(crate) user_agent: &'a [u8],
    /// Socket it arrived at.
    pub(crate) socket: &'a [u8],
    /// Path vector.
    pub(crate) path: &'a [u8],
}

/// How a contact stands with the database (Kamailio's `cstate_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// `CS_NEW`: never written.
    New,
    /// `CS_SYNC`: the database knows all of it.
    Synced,
    /// `CS_DIRTY`: written, then changed.
    Dirty,
}

impl Sync {
    /// Its name in `ul.dump`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "CS_NEW",
            Self::Synced => "CS_SYNC",
            Self::Dirty => "CS_DIRTY",
        }
    }
}

macro_rules! numbers {
    ($($name:ident: $place:ident, $doc:literal;)*) => {
        $(#[doc = $doc]
        pub(crate) fn $name(&self) -> u32 {
            u32_at(self.bytes, $place)
        })*
    };
}

macro_rules! own_texts {
    ($($name:ident: $index:literal, $doc:literal;)*) => {
        $(#[doc = $doc]
        pub(crate) fn $name(&self) -> &'a [u8] {
            self.own($index)
        })*
    };
}

impl<'a> Contact<'a> {
    pub(super) fn new(bytes: &'a [u8], user_agent: &'a [u8], socket: &'a [u8], path: &'a [u8]) -> Self {
        Self {
            bytes,
            user_agent,
            socket,
            path,
        }
    }

    numbers! {
        expires: EXPIRES, "Second in which it ends; 0 never.";
        modified: MODIFIED, "Second of the last change.";
        cseq: CSEQ, "CSeq number of the REGISTER.";
        flags: FLAGS, "Internal flags.";
        cflags: CFLAGS, "Branch flags.";
        methods: METHODS, "Methods it understands.";
        reg_id: REG_ID, "reg-id; 0 none.";
        server_id: SERVER_ID, "Proxy that saved it.";
        last_keepalive: LAST_KEEPALIVE, "Second of its last sign of life.";
        roundtrip: ROUNDTRIP, "Microseconds of the last keepalive.";
    }

    own_texts! {
        aor: 0, "Address of record.";
        address: 1, "The contact URI.";
        ruid: 2, "Record unique id.";
        call_id: 3, "Call-ID of the REGISTER.";
        received: 4, "Where the REGISTER came from; empty: unset.";
        instance: 5, "`+sip.instance`; empty: unset.";
        attributes: 6, "Packed attributes.";
    }

    /// q in thousandths, or [`Q_UNSET`].
    pub(crate) fn q(&self) -> i16 {
        u16_at(self.bytes, Q).cast_signed()
    }

    /// The connection it came by, if by one.
    pub(crate) fn connection(&self) -> Option<u64> {
        let eight = self.bytes.get(CONNECTION..).and_then(|rest| rest.first_chunk());
        eight
            .map(|eight| u64::from_le_bytes(*eight))
            .filter(|id| *id != NO_CONNECTION)
    }

    /// Never written to the database.
    pub(crate) fn is_memory_only(&self) -> bool {
        self.bit(BIT_MEMORY_ONLY)
    }

    /// Answers keepalives.
    pub(crate) fn keepalive(&self) -> bool {
        self.bit(BIT_KEEPALIVE)
    }

    /// How it stands with a database that has all changes up to `committed`.
    pub(crate) fn sync(&self, committed: u64) -> Sync {
        let sequence = u32_at(self.bytes, SEQUENCE);
        // The low half is enough: changes are written within seconds, long before 2^31 of them.
        let behind = (committed as u32).wrapping_sub(sequence).cast_signed() < 0;
        match (sequence, behind) {
            (0, _) => Sync::New,
            (_, false) => Sync::Synced,
            (_, true) if self.bit(BIT_NEW) => Sync::New,
            (_, true) => Sync::Dirty,
        }
    }

    /// Whether it may still be used at this second (Kamailio: it ends with the second named, not after it).
    pub(crate) fn is_alive(&self, now: u32) -> bool {
        self.expires() == 0 || self.expires() > now
    }

    /// Seconds left; a permanent contact has none to count.
    pub(crate) fn remaining(&self, now: u32) -> u32 {
        self.expires().saturating_sub(now)
    }

    /// Whether it understands all of these methods.
    pub(crate) fn allows(&self, methods: u32) -> bool {
        self.methods() & methods == methods
    }

    /// All of it, to be changed and stored again.
    pub(crate) fn binding(&self) -> Binding<'a> {
        Binding {
            aor: self.aor(),
            address: self.address(),
            ruid: self.ruid(),
            call_id: self.call_id(),
            received: self.received(),
            instance: self.instance(),
            attributes: self.attributes(),
            path: self.path,
            user_agent: self.user_agent,
            socket: self.socket,
            expires: self.expires(),
            modified: self.modified(),
            cseq: self.cseq(),
            q: self.q(),
            flags: self.flags(),
            cflags: self.cflags(),
            methods: self.methods(),
            reg_id: self.reg_id(),
            server_id: self.server_id(),
            connection: self.connection().unwrap_or(NO_CONNECTION),
            last_keepalive: self.last_keepalive(),
            roundtrip: self.roundtrip(),
            keepalive: self.keepalive(),
            memory_only: self.is_memory_only(),
        }
    }

    /// A copy that outlives the store's lock.
    pub(crate) fn to_owned(self) -> OwnedContact {
        let shared = [self.user_agent, self.socket, self.path];
        let mut bytes =
            Vec::with_capacity(self.bytes.len() + shared.iter().map(|text| text.len()).sum::<usize>());
        bytes.extend_from_slice(self.bytes);
        for (at, text) in [USER_AGENT, SOCKET, PATH].into_iter().zip(shared) {
            // No text of a message is longer than its 32-bit ranges.
            put_u32(&mut bytes, at, text.len() as u32);
            bytes.extend_from_slice(text);
        }
        OwnedContact(bytes.into())
    }

    fn bit(&self, bit: u8) -> bool {
        self.bytes.get(BITS).is_some_and(|bits| bits & bit != 0)
    }

    fn own(&self, index: usize) -> &'a [u8] {
        let start = TEXTS + (0..index).map(|n| self.length(n)).sum::<usize>();
        self.bytes
            .get(start..start + self.length(index))
            .unwrap_or_default()
    }

    fn length(&self, index: usize) -> usize {
        usize::from(u16_at(self.bytes, LENGTHS + 2 * index))
    }
}

/// A contact taken out of the store: in place of the ids of its shared texts stand their lengths, and they follow its own.
#[derive(Debug, Clone)]
pub(crate) struct OwnedContact(Box<[u8]>);

/// More than most contacts take, so that packing one does not look for room again and again.
const USUAL: usize = 512;

impl OwnedContact {
    /// A binding that was never in the store; none when a text is too long.
    pub(crate) fn of(binding: &Binding<'_>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(USUAL);
        pack(binding, Shared::default(), &mut bytes)?;
        Some(Contact::new(&bytes, binding.user_agent, binding.socket, binding.path).to_owned())
    }

    /// Its view.
    pub(crate) fn view(&self) -> Contact<'_> {
        let own = TEXTS
            + (0..OWN_TEXTS)
                .map(|n| usize::from(u16_at(&self.0, LENGTHS + 2 * n)))
                .sum::<usize>();
        let mut rest = self.0.get(own..).unwrap_or_default();
        let mut next = |place| {
            let (text, tail) = rest
                .split_at_checked(u32_at(&self.0, place) as usize)
                .unwrap_or_default();
            rest = tail;
            text
        };
        let (user_agent, socket, path) = (next(USER_AGENT), next(SOCKET), next(PATH));
        Contact::new(&self.0, user_agent, socket, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 10),
            numbers in proptest::collection::vec(any::<u32>(), 11),
            q in -1i16..=1000,
            connection: u64,
            bits in any::<(bool, bool)>(),
        ) {
            let binding = Binding {
                aor: &texts[0], address: &texts[1], ruid: &texts[2], call_id: &texts[3], received: &texts[4],
                instance: &texts[5], attributes: &texts[6], path: &texts[7], user_agent: &texts[8], socket: &texts[9],
                expires: numbers[0], modified: numbers[1], cseq: numbers[2], q, flags: numbers[3], cflags: numbers[4],
                methods: numbers[5], reg_id: numbers[6], server_id: numbers[7], connection,
                last_keepalive: numbers[8], roundtrip: numbers[9], keepalive: bits.0, memory_only: bits.1,
            };
            let owned = OwnedContact::of(&binding).unwrap();
            prop_assert_eq!(owned.view().binding(), binding);
            let again = owned.view().to_owned();
            prop_assert_eq!(again.view().binding(), binding);
        }
    }

    #[test]
    fn a_text_too_long_is_refused() {
        let long = vec![b'x'; 70_000];
        assert!(
            OwnedContact::of(&Binding {
                call_id: &long,
                ..Binding::default()
            })
            .is_none()
        );
        assert!(
            OwnedContact::of(&Binding {
                user_agent: &long,
                ..Binding::default()
            })
            .is_some()
        );
    }

    #[test]
    fn a_contact_ends_with_its_second() {
        for (expires, now, alive) in [
            (0, u32::MAX, true),
            (100, 99, true),
            (100, 100, false),
            (100, 101, false),
        ] {
            let owned = OwnedContact::of(&Binding {
                expires,
                ..Binding::default()
            })
            .unwrap();
            assert_eq!(owned.view().is_alive(now), alive, "{expires} at {now}");
        }
    }

    #[test]
    fn its_state_follows_the_journal() {
        let mut bytes = Vec::new();
        pack(&Binding::default(), Shared::default(), &mut bytes).unwrap();
        let state = |bytes: &[u8], committed| Contact::new(bytes, b"", b"", b"").sync(committed);
        assert_eq!(state(&bytes, 0), Sync::New);
        set_journal(&mut bytes, 5, true);
        assert_eq!((state(&bytes, 4), state(&bytes, 5)), (Sync::New, Sync::Synced));
        set_journal(&mut bytes, 9, false);
        assert_eq!((state(&bytes, 8), state(&bytes, 9)), (Sync::Dirty, Sync::Synced));
        assert_eq!(state(&bytes, (1 << 32) + 9), Sync::Synced);
    }
}
