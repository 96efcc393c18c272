//! What can be wrong with SIP bytes: a parse error with its place, a lack that deserves an answer (RFC 3261 §8.2, §16.3, §21.4.1).

use crate::sip::header::HeaderName;

/// Bytes that do not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset} (RFC 3261 §{section})")]
pub struct ParseError {
    /// What was wrong, in lower case.
    pub what: &'static str,
    /// Where, counted from the start of what was parsed.
    pub offset: usize,
    /// The section of RFC 3261 that says so.
    pub section: &'static str,
}

impl ParseError {
    /// Makes an error from its three parts.
    pub const fn new(what: &'static str, offset: usize, section: &'static str) -> Self {
        Self {
            what,
            offset,
            section,
        }
    }

    /// Moves the place, for a part parsed out of a larger whole.
    pub const fn shifted(self, by: usize) -> Self {
        Self {
            offset: self.offset.saturating_add(by),
            ..self
        }
    }
}

/// Why a message that could be read must not be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A mandatory header is absent (§8.1.1).
    #[error("missing {} header", .0.as_str())]
    Header(HeaderName),
    /// A mandatory header does not follow its grammar.
    #[error("invalid {} header", .0.as_str())]
    Invalid(HeaderName),
    /// A header that may appear once appears again (§7.3.1).
    #[error("more than one {} header", .0.as_str())]
    Duplicate(HeaderName),
    /// A line among the headers is no header (§7.3.1).
    #[error("malformed header line")]
    HeaderLine,
    /// The request line does not follow its grammar (§7.1).
    #[error("malformed request line")]
    RequestLine,
    /// No blank line ends the headers (§7).
    #[error("no blank line after the headers")]
    BlankLine,
    /// Content-Length is no number or promises more than there is (§18.3, §20.14).
    #[error("invalid Content-Length")]
    ContentLength,
    /// The method of CSeq is not that of the request line (§8.1.1.5).
    #[error("the CSeq method is not that of the request")]
    CSeqMethod,
    /// The protocol version is not SIP/2.0 (§7.1, §21.5.6).
    #[error("unsupported protocol version")]
    Version,
}

impl Missing {
    /// The status that tells a client (RFC 3261 §21.4.1, §21.5.6).
    pub const fn status(&self) -> u16 {
        match self {
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The reason phrase that tells a human.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Header(HeaderName::Via) => "Missing Via Header",
            Self::Header(HeaderName::From) => "Missing From Header",
            Self::Header(HeaderName::To) => "Missing To Header",
            Self::Header(HeaderName::CallId) => "Missing Call-ID Header",
            Self::Header(HeaderName::CSeq) => "Missing CSeq Header",
            Self::Header(_) => "Missing Header",
            Self::Invalid(HeaderName::Via) => "Invalid Via Header",
            Self::Invalid(HeaderName::From) => "Invalid From Header",
            Self::Invalid(HeaderName::To) => "Invalid To Header",
            Self::Invalid(HeaderName::CallId) => "Invalid Call-ID Header",
            Self::Invalid(HeaderName::CSeq) => "Invalid CSeq Header",
            Self::Invalid(HeaderName::MaxForwards) => "Invalid Max-Forwards Header",
            Self::Invalid(_) => "Invalid Header",
            Self::Duplicate(_) => "Duplicate Header",
            Self::HeaderLine => "Malformed Header Line",
            Self::RequestLine => "Malformed Request Line",
            Self::BlankLine => "Missing Blank Line",
            Self::ContentLength => "Invalid Content-Length",
            Self::CSeqMethod => "CSeq method does not match request method",
            Self::Version => "Version Not Supported",
        }
    }
}
