//! Contact: an address with preference, lifetime and capabilities (RFC 3261 §20.10, RFC 3840, RFC 5626).

use std::borrow::Cow;

use crate::sip::error::ParseError;
use crate::sip::header::expires;
use crate::sip::name_addr::NameAddr;
use crate::sip::params::Params;
use crate::sip::params::unquote;
use crate::sip::scan::find_byte;
use crate::sip::scan::number;
use crate::sip::uri::Uri;

/// One value of a Contact header.
///
/// ```
/// use shared::sip::Contact;
/// let contact = Contact::parse(b"\"Mr. Watson\" <sip:watson@worcester.example.com>;q=0.7;expires=3600")?;
/// assert_eq!(contact.q(), Some(700));
/// assert_eq!(contact.expires(), Some(3600));
/// assert!(Contact::parse(b"*")?.is_star());
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The address; its URI is `*` for the star.
    pub addr: NameAddr<'a>,
}

impl<'a> Contact<'a> {
    /// Reads one value; a bare URI has no headers (§20.10).
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let addr = NameAddr::parse(value)?;
        let bare = find_byte(value, b'<').is_none();
        match find_byte(addr.uri, b'?').filter(|_| bare) {
            Some(at) => Err(ParseError::new("'?' in a URI without brackets", at, "20.10")),
            None => Ok(Self { addr }),
        }
    }

    /// True for `*`, all bindings (§10.2.2).
    pub const fn is_star(&self) -> bool {
        matches!(self.addr.uri, b"*") && self.addr.display.is_empty()
    }

    /// The URI as bytes.
    pub const fn uri(&self) -> &'a [u8] {
        self.addr.uri
    }

    /// Reads the URI.
    pub fn parsed_uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.addr.uri)
    }

    /// The preference in thousandths; `None` when absent or no qvalue.
    pub fn q(&self) -> Option<u16> {
        self.param(b"q").flatten().and_then(q_thousandths)
    }

    /// The preference as a fraction.
    pub fn q_f32(&self) -> Option<f32> {
        self.q().map(|q| f32::from(q) / 1000.0)
    }

    /// The `expires` parameter.
    pub fn expires(&self) -> Option<u32> {
        self.param(b"expires").flatten().and_then(expires::parse)
    }

    /// The `+sip.instance` parameter without its quotes, brackets kept (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<Cow<'a, [u8]>> {
        self.param(b"+sip.instance").flatten().map(unquote)
    }

    /// The `reg-id` parameter (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.param(b"reg-id").flatten().and_then(number)
    }

    /// The `methods` parameter without its quotes (RFC 3840).
    pub fn methods(&self) -> Option<Cow<'a, [u8]>> {
        self.param(b"methods").flatten().map(unquote)
    }

    /// The `received` parameter without its quotes, as Kamailio writes it.
    pub fn received(&self) -> Option<Cow<'a, [u8]>> {
        self.param(b"received").flatten().map(unquote)
    }

    /// A header parameter: `None` absent, `Some(None)` a flag.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.addr.param(name)
    }

    /// The header parameters in order.
    pub const fn param_iter(&self) -> Params<'a> {
        self.addr.param_iter()
    }
}

/// Reads a qvalue, `0` to `1` with up to three decimals, in thousandths.
pub fn q_thousandths(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [b'.', decimals @ ..] => (0, decimals),
        [b @ (b'0' | b'1')] => (u16::from(b - b'0'), &b""[..]),
        [b @ (b'0' | b'1'), b'.', decimals @ ..] => (u16::from(b - b'0'), decimals),
        _ => return None,
    };
    // Kamailio: digits past the third are read and do not count.
    if !decimals.iter().all(u8::is_ascii_digit) || (text.first() == Some(&b'.') && decimals.is_empty()) {
        return None;
    }
    let digit = |at: usize| decimals.get(at).map_or(0, |b| u16::from(b - b'0'));
    let q = whole * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (q <= 1000).then_some(q)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn q_values() {
        for (input, expected) in [
            ("1", Some(1000)),
            ("1.0", Some(1000)),
            ("1.", Some(1000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("0.123", Some(123)),
            ("0.1239", Some(123)),
            (".5", Some(500)),
            (".", None),
            ("1.001", None),
            ("2", None),
            ("0.x", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(q_thousandths(input.as_bytes()), expected, "{input:?}");
        }
    }

    #[test]
    fn parameters() {
        let contact = Contact::parse(
            b"<sip:a@b;ob>;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\";methods=\"INVITE, BYE\";Expires=60;q=.7",
        )
        .unwrap();
        assert_eq!(contact.uri(), b"sip:a@b;ob");
        assert_eq!(contact.reg_id(), Some(1));
        assert_eq!(
            contact.instance().as_deref(),
            Some(&b"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"[..])
        );
        assert_eq!(contact.methods().as_deref(), Some(&b"INVITE, BYE"[..]));
        assert_eq!((contact.expires(), contact.q()), (Some(60), Some(700)));
        assert!(contact.q_f32().is_some_and(|q| (q - 0.7).abs() < 1e-6));
        assert!(!contact.is_star());
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            if let Ok(contact) = Contact::parse(&data) {
                let _ = (contact.q(), contact.expires(), contact.instance(), contact.reg_id());
            }
        }
    }
}
