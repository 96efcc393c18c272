//! HEADERS: every header with a name of its own, its compact form, single or list (RFC 3261 §7.3, §20 and the IANA registry).

pub mod auth;
pub mod contact;
pub mod cseq;
pub mod expires;
pub mod route;
pub mod via;

use std::fmt;

use crate::sip::block::Block;
use crate::sip::block::word;

/// One row of [`HEADERS`].
#[derive(Debug, Clone, Copy)]
pub struct HeaderDef {
    /// The variant.
    pub name: HeaderName,
    /// The long spelling.
    pub long: &'static str,
    /// The compact form.
    pub compact: Option<u8>,
    /// How often the header may appear.
    pub shape: Shape,
}

/// How often a header may appear in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Once, with one value.
    Single,
    /// Any number of times, each with a comma list.
    List,
    /// Any number of times, each with one value that may hold commas.
    Repeated,
}

macro_rules! headers {
    ($($variant:ident $long:literal $($compact:literal)? $shape:ident;)*) => {
        /// The name of a header.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each is the header of its name")]
        pub enum HeaderName {
            $($variant,)*
            /// A header without a name of its own here.
            Other,
        }

        /// Every header with a name of its own, in the order of the variants.
        pub static HEADERS: &[HeaderDef] = TABLE;

        const TABLE: &[HeaderDef] = &[$(HeaderDef {
            name: HeaderName::$variant,
            long: $long,
            compact: compact_form(&[$($compact)?]),
            shape: Shape::$shape,
        },)*];
    };
}

headers! {
    Via "Via" b'v' List;
    From "From" b'f' Single;
    To "To" b't' Single;
    CallId "Call-ID" b'i' Single;
    CSeq "CSeq" Single;
    Contact "Contact" b'm' List;
    MaxForwards "Max-Forwards" Single;
    Route "Route" List;
    RecordRoute "Record-Route" List;
    ContentLength "Content-Length" b'l' Single;
    ContentType "Content-Type" b'c' Single;
    Expires "Expires" Single;
    Authorization "Authorization" Repeated;
    ProxyAuthorization "Proxy-Authorization" Repeated;
    WwwAuthenticate "WWW-Authenticate" Repeated;
    ProxyAuthenticate "Proxy-Authenticate" Repeated;
    UserAgent "User-Agent" Single;
    Server "Server" Single;
    Allow "Allow" List;
    Supported "Supported" b'k' List;
    Require "Require" List;
    ProxyRequire "Proxy-Require" List;
    Path "Path" List;
    Subject "Subject" b's' Single;
    Event "Event" b'o' Single;
    Accept "Accept" List;
    AcceptContact "Accept-Contact" b'a' List;
    AcceptEncoding "Accept-Encoding" List;
    AcceptLanguage "Accept-Language" List;
    AlertInfo "Alert-Info" List;
    AllowEvents "Allow-Events" b'u' List;
    AuthenticationInfo "Authentication-Info" Single;
    CallInfo "Call-Info" List;
    ContentDisposition "Content-Disposition" Single;
    ContentEncoding "Content-Encoding" b'e' List;
    ContentId "Content-ID" Single;
    ContentLanguage "Content-Language" List;
    Date "Date" Single;
    Diversion "Diversion" List;
    ErrorInfo "Error-Info" List;
    FlowTimer "Flow-Timer" Single;
    Geolocation "Geolocation" List;
    HistoryInfo "History-Info" List;
    Identity "Identity" b'y' Repeated;
    IdentityInfo "Identity-Info" b'n' Single;
    InReplyTo "In-Reply-To" List;
    Join "Join" Single;
    MimeVersion "MIME-Version" Single;
    MinExpires "Min-Expires" Single;
    MinSe "Min-SE" Single;
    Organization "Organization" Single;
    PAccessNetworkInfo "P-Access-Network-Info" List;
    PAssertedIdentity "P-Asserted-Identity" List;
    PAssociatedUri "P-Associated-URI" List;
    PCalledPartyId "P-Called-Party-ID" Single;
    PChargingVector "P-Charging-Vector" Single;
    PPreferredIdentity "P-Preferred-Identity" List;
    PVisitedNetworkId "P-Visited-Network-ID" List;
    Priority "Priority" Single;
    Privacy "Privacy" Single;
    RAck "RAck" Single;
    RSeq "RSeq" Single;
    Reason "Reason" List;
    ReferTo "Refer-To" b'r' Single;
    ReferredBy "Referred-By" b'b' Single;
    RejectContact "Reject-Contact" b'j' List;
    RemotePartyId "Remote-Party-ID" List;
    Replaces "Replaces" Single;
    ReplyTo "Reply-To" Single;
    RequestDisposition "Request-Disposition" b'd' List;
    RetryAfter "Retry-After" Single;
    SecurityClient "Security-Client" List;
    SecurityServer "Security-Server" List;
    SecurityVerify "Security-Verify" List;
    ServiceRoute "Service-Route" List;
    SessionExpires "Session-Expires" b'x' Single;
    SipEtag "SIP-ETag" Single;
    SipIfMatch "SIP-If-Match" Single;
    SubscriptionState "Subscription-State" Single;
    TargetDialog "Target-Dialog" Single;
    Timestamp "Timestamp" Single;
    Unsupported "Unsupported" List;
    Warning "Warning" List;
}

/// How many headers have a name of their own.
pub const KNOWN: usize = TABLE.len();

const fn compact_form(forms: &[u8]) -> Option<u8> {
    match forms {
        [one] => Some(*one),
        _ => None,
    }
}

const SLOTS: usize = 256;
const EMPTY: u8 = u8::MAX;

/// The first sixteen letters of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Letters {
    low: u64,
    high: u64,
}

impl Letters {
    /// Takes the first `len` bytes of `text`, fewer than all; `None` for more.
    #[inline(always)]
    pub(crate) fn new(text: &[u8; Block::LEN], len: usize) -> Option<Self> {
        let mask = MASKS.get(len)?;
        let text = Self::from_word(u128::from_le_bytes(*text));
        Some(Self {
            low: text.low & mask.low,
            high: text.high & mask.high,
        })
    }

    const fn from_word(word: u128) -> Self {
        Self {
            low: word as u64,
            high: (word >> 64) as u64,
        }
    }

    /// A slot of [`LONG`], regardless of case.
    const fn slot(self) -> usize {
        let upper = (self.low ^ self.high) & 0xdfdf_dfdf_dfdf_dfdf;
        (upper.wrapping_mul(MIX) >> 56) as usize
    }
}

/// Masks for the first letters of a text, by their number.
static MASKS: [Letters; Block::LEN] = {
    let mut masks = [Letters::from_word(0); Block::LEN];
    let mut len = 1;
    while len < masks.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            masks[len] = Letters::from_word((1 << (8 * len)) - 1);
        }
        len += 1;
    }
    masks
};

/// A multiplier under which no two names share a slot.
const MIX: u64 = 0xcd94_ec6f_a6c2_0587;

/// A long name as it is looked up.
#[derive(Clone, Copy)]
struct Slot {
    letters: Letters,
    len: usize,
    name: HeaderName,
}

/// Where each long name is looked up; a collision would not compile.
static LONG: [Slot; SLOTS] = {
    let free = Slot {
        letters: Letters::from_word(0),
        len: usize::MAX,
        name: HeaderName::Other,
    };
    let mut slots = [free; SLOTS];
    let mut at = 0;
    while at < TABLE.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            let long = TABLE[at].long.as_bytes();
            let letters = Letters::from_word(first_word(long));
            let slot = &mut slots[letters.slot()];
            assert!(
                matches!(slot.name, HeaderName::Other),
                "two header names share a slot"
            );
            // A longer name is compared as a whole, letter by letter.
            let len = if long.len() > 16 { usize::MAX } else { long.len() };
            *slot = Slot {
                letters,
                len,
                name: TABLE[at].name,
            };
        }
        at += 1;
    }
    slots
};

/// The header that each letter abbreviates.
static COMPACT: [u8; 32] = {
    let mut slots = [EMPTY; 32];
    let mut at = 0;
    while at < TABLE.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        if let Some(letter) = TABLE[at].compact {
            slots[(letter & 31) as usize] = at as u8;
        }
        at += 1;
    }
    slots
};

/// What [`word`] reads, for the compiler.
const fn first_word(name: &[u8]) -> u128 {
    let mut word = 0;
    let mut at = 0;
    while at < name.len() && at < 16 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            word |= (name[at] as u128) << (8 * at);
        }
        at += 1;
    }
    word
}

impl HeaderName {
    /// Names the header that `name` spells, in any case, long or compact.
    pub fn from_bytes(name: &[u8]) -> Self {
        let letters = Letters::from_word(word(name));
        match Self::usual(letters, name.len()) {
            Some(found) => found,
            None => LONG
                .get(letters.slot())
                .map_or(Self::Other, |slot| slot.name.respelt(name)),
        }
    }

    /// Names the header of `len` letters, sixteen at most, that are spelt as in the table.
    #[inline(always)]
    pub(crate) fn usual(letters: Letters, len: usize) -> Option<Self> {
        let slot = LONG.get(letters.slot())?;
        (slot.letters == letters && slot.len == len).then_some(slot.name)
    }

    /// The header itself where `name` spells it in another case, or the one that `name` abbreviates.
    fn respelt(self, name: &[u8]) -> Self {
        if let [letter] = name {
            let at = COMPACT
                .get((letter & 31) as usize)
                .filter(|_| letter.is_ascii_alphabetic());
            return at
                .and_then(|at| HEADERS.get(*at as usize))
                .map_or(Self::Other, |def| def.name);
        }
        let long = self.as_str().as_bytes();
        if long == name || long.eq_ignore_ascii_case(name) {
            self
        } else {
            Self::Other
        }
    }

    /// The row of the table; `None` for [`HeaderName::Other`].
    pub fn def(self) -> Option<&'static HeaderDef> {
        HEADERS.get(self as usize)
    }

    /// The long spelling; empty for [`HeaderName::Other`].
    pub fn as_str(self) -> &'static str {
        self.def().map_or("", |d| d.long)
    }

    /// The compact form.
    pub fn compact(self) -> Option<u8> {
        self.def().and_then(|d| d.compact)
    }

    /// True when a value of the header is a comma list.
    pub fn is_list(self) -> bool {
        self.def().is_some_and(|d| d.shape == Shape::List)
    }

    /// True when the header may appear only once.
    pub fn is_single(self) -> bool {
        self.def().is_some_and(|d| d.shape == Shape::Single)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_found() {
        for (at, def) in HEADERS.iter().enumerate() {
            assert_eq!(def.name as usize, at);
            assert_eq!(
                HeaderName::from_bytes(def.long.as_bytes()),
                def.name,
                "{}",
                def.long
            );
            assert_eq!(
                HeaderName::from_bytes(def.long.to_lowercase().as_bytes()),
                def.name,
                "{}",
                def.long
            );
            assert_eq!(
                HeaderName::from_bytes(def.long.to_uppercase().as_bytes()),
                def.name,
                "{}",
                def.long
            );
            if let Some(letter) = def.compact {
                assert_eq!(HeaderName::from_bytes(&[letter]), def.name, "{}", def.long);
                assert_eq!(
                    HeaderName::from_bytes(&[letter.to_ascii_uppercase()]),
                    def.name,
                    "{}",
                    def.long
                );
            }
        }
    }

    #[test]
    fn other_names() {
        for name in [
            "", "X-Foo", "z", "6", "\u{16}", "Viaa", "Froh", "Contact ", "call_id",
        ] {
            assert_eq!(
                HeaderName::from_bytes(name.as_bytes()),
                HeaderName::Other,
                "{name:?}"
            );
        }
    }
}
