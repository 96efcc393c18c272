//! Request methods, a closed vocabulary with an open end (RFC 3261 §7.1 and its extensions).

use std::fmt;

/// A request method; compared with case, as §7.1 wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Method<'a> {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Subscribe,
    Notify,
    Publish,
    Info,
    Refer,
    Message,
    Update,
    /// Any other token.
    Other(&'a [u8]),
}

/// Every method with a name of its own: spelling, and the bit it has in Kamailio's `methods` column.
pub const METHODS: &[(Method<'static>, &str, u32)] = &[
    (Method::Invite, "INVITE", 1),
    (Method::Cancel, "CANCEL", 1 << 1),
    (Method::Ack, "ACK", 1 << 2),
    (Method::Bye, "BYE", 1 << 3),
    (Method::Info, "INFO", 1 << 4),
    (Method::Register, "REGISTER", 1 << 5),
    (Method::Subscribe, "SUBSCRIBE", 1 << 6),
    (Method::Notify, "NOTIFY", 1 << 7),
    (Method::Message, "MESSAGE", 1 << 8),
    (Method::Options, "OPTIONS", 1 << 9),
    (Method::Prack, "PRACK", 1 << 10),
    (Method::Update, "UPDATE", 1 << 11),
    (Method::Refer, "REFER", 1 << 12),
    (Method::Publish, "PUBLISH", 1 << 13),
];

impl Method<'static> {
    /// The method of that name, when it has a name of its own.
    pub(crate) const fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"PRACK" => Self::Prack,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"PUBLISH" => Self::Publish,
            b"INFO" => Self::Info,
            b"REFER" => Self::Refer,
            b"MESSAGE" => Self::Message,
            b"UPDATE" => Self::Update,
            _ => return None,
        })
    }
}

impl<'a> Method<'a> {
    /// Names the method that `name` spells.
    #[inline]
    pub const fn from_bytes(name: &'a [u8]) -> Self {
        match Method::named(name) {
            Some(method) => method,
            None => Self::Other(name),
        }
    }

    /// The spelling.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Invite => b"INVITE",
            Self::Ack => b"ACK",
            Self::Bye => b"BYE",
            Self::Cancel => b"CANCEL",
            Self::Options => b"OPTIONS",
            Self::Register => b"REGISTER",
            Self::Prack => b"PRACK",
            Self::Subscribe => b"SUBSCRIBE",
            Self::Notify => b"NOTIFY",
            Self::Publish => b"PUBLISH",
            Self::Info => b"INFO",
            Self::Refer => b"REFER",
            Self::Message => b"MESSAGE",
            Self::Update => b"UPDATE",
            Self::Other(name) => name,
        }
    }

    /// The method's bit in the `methods` column of the location table; 0 for an unnamed one.
    pub fn bit(&self) -> u32 {
        METHODS
            .iter()
            .find(|(m, _, _)| m == self)
            .map_or(0, |(_, _, bit)| *bit)
    }

    /// The union of the bits of a comma list such as the value of Allow or the `methods` parameter.
    pub fn bits(list: &[u8]) -> u32 {
        list.split(|b| *b == b',')
            .map(|name| Method::from_bytes(crate::sip::scan::trim(name)).bit())
            .fold(0, |a, b| a | b)
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_round_trips() {
        for (method, name, bit) in METHODS {
            assert_eq!(Method::from_bytes(name.as_bytes()), *method);
            assert_eq!(method.as_bytes(), name.as_bytes());
            assert_eq!(method.bit(), *bit);
        }
        assert_eq!(Method::from_bytes(b"invite"), Method::Other(b"invite"));
        assert_eq!(Method::Other(b"DO").to_string(), "DO");
        assert_eq!(Method::bits(b"INVITE, ACK,x, BYE"), 13);
    }
}
