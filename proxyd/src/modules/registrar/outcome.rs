//! Why a REGISTER is refused, and how the refusal reads (RFC 3261 §10.3, Kamailio `P-Registrar-Error`).

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A Contact cannot be read.
    ContactParse,
    /// A header other than Contact cannot be read.
    MessageParse,
    /// `*` without `Expires: 0`.
    StarExpires,
    /// `*` beside other contacts.
    StarContacts,
    /// To is no address of record.
    Aor,
    /// A q that is none.
    Q,
    /// More contacts than allowed.
    TooMany,
    /// A contact URI or another text is too long to keep.
    TooLong,
    /// Path without a client that knows Path.
    PathUnsupported,
    /// A Path cannot be read.
    PathParse,
    /// The CSeq is older than what is stored.
    CSeq,
    /// The lifetime is too short.
    TooBrief,
    /// The client requires outbound.
    OutboundOff,
    /// We require outbound.
    OutboundRequired,
    /// The proxy before us does not know outbound.
    FirstHop,
    /// More than one contact has a reg-id.
    RegIds,
    /// The database does not answer.
    Unavailable,
}

impl Refusal {
    /// Status and reason.
    pub(super) fn status(self) -> (u16, &'static str) {
        match self {
            Self::PathUnsupported | Self::OutboundOff => (420, "Bad Extension"),
            Self::OutboundRequired => (421, "Extension Required"),
            Self::TooBrief => (423, "Interval Too Brief"),
            Self::FirstHop => (439, "First Hop Lacks Outbound Support"),
            Self::TooMany | Self::Unavailable => (503, "Service Unavailable"),
            Self::ContactParse
            | Self::MessageParse
            | Self::StarExpires
            | Self::StarContacts
            | Self::Aor
            | Self::Q
            | Self::TooLong
            | Self::PathParse
            | Self::CSeq
            | Self::RegIds => (400, "Bad Request"),
        }
    }

    /// The value of P-Registrar-Error.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::ContactParse => "Contact parse error",
            Self::MessageParse => "Message parse error",
            Self::StarExpires => "* used in contact and expires is not zero",
            Self::StarContacts => "* used in contact and more than 1 contact",
            Self::Aor => "Error while parsing AOR",
            Self::Q => "Invalid q param in contact",
            Self::TooMany => "Too many registered contacts",
            Self::TooLong => "Contact/received too long",
            Self::PathUnsupported => "No support for found Path indicated",
            Self::PathParse => "Path parse error",
            Self::CSeq => "Invalid CSeq number",
            Self::TooBrief => "Interval too brief",
            Self::OutboundOff => "No support for Outbound on server",
            Self::OutboundRequired => "No support for Outbound on client",
            Self::FirstHop => "Proxy or server between client and registrar does not support Outbound",
            Self::RegIds => "Multiple Contact header fields with reg-id",
            Self::Unavailable => "Registration not stored, try again",
        }
    }

    /// What save() returns.
    pub(super) fn code(self) -> i32 {
        if self == Self::TooMany { -2 } else { -1 }
    }

    /// Whether the contacts in force are listed beside it.
    pub(super) fn lists_contacts(self) -> bool {
        matches!(
            self,
            Self::Q | Self::TooMany | Self::PathUnsupported | Self::PathParse | Self::CSeq | Self::TooBrief
        )
    }
}
