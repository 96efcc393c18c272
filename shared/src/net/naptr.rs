//! Records that lead from a name to services.

/// A NAPTR record (RFC 3403 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naptr {
    /// Lower is evaluated first.
    pub order: u16,
    /// Preference within one order.
    pub preference: u16,
    /// `s`, `a`, or `u` where the substitution makes a URI.
    pub flags: Vec<u8>,
    /// `SIP+D2U`, `E2U+sip` and so on.
    pub services: Vec<u8>,
    /// Substitution, for `u`.
    pub regexp: Vec<u8>,
    /// The next name to ask for.
    pub replacement: String,
}
