//! Route, Record-Route, Path: where a request must still go (RFC 3261 §20.30, §20.34, RFC 3327).

use crate::sip::error::ParseError;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;

/// One value of a route set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The address.
    pub addr: NameAddr<'a>,
    /// Its URI.
    pub uri: Uri<'a>,
}

impl<'a> Route<'a> {
    /// Reads one value.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let addr = NameAddr::parse(value)?;
        Ok(Self {
            addr,
            uri: Uri::parse(addr.uri)?,
        })
    }

    /// True when the hop routes loosely (§19.1.1 `lr`).
    pub fn is_loose(&self) -> bool {
        self.uri.param(b"lr").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loose_or_strict() {
        for (input, expected) in [
            ("<sip:p1.example.com;lr>", Some(true)),
            ("<sip:p1.example.com;lr=on;ftag=1>", Some(true)),
            ("<sip:p1.example.com>;lr", Some(false)),
            ("\"P, one\" <sips:p1.example.com;LR>", Some(true)),
            ("p1.example.com", None),
        ] {
            assert_eq!(
                Route::parse(input.as_bytes()).ok().map(|r| r.is_loose()),
                expected,
                "{input:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            let _ = Route::parse(&data);
        }
    }
}
