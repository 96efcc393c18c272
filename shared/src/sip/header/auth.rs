//! Authorization and challenges: the parameters of Digest (RFC 3261 §20.7, §20.44, RFC 7616).

use std::borrow::Cow;

use crate::sip::error::ParseError;
use crate::sip::params::unescape_quoted;
use crate::sip::scan::Cursor;
use crate::sip::scan::is_lws;

/// The value of Authorization, Proxy-Authorization, WWW-Authenticate or Proxy-Authenticate; quoted values without their quotes, escapes kept.
///
/// ```
/// use shared::sip::header::auth::Auth;
/// let auth = Auth::parse(b"Digest username=\"bob\", realm=\"biloxi.com\", nonce=\"dcd9\", uri=\"sip:biloxi.com\", \
///     qop=auth, nc=00000001, cnonce=\"0a4f\", response=\"6629\"")?;
/// assert!(auth.is_digest());
/// assert_eq!(auth.username, Some(&b"bob"[..]));
/// assert_eq!(auth.nc_number(), Some(1));
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the parameter of its name")]
pub struct Auth<'a> {
    /// The scheme, `Digest`.
    pub scheme: &'a [u8],
    pub username: Option<&'a [u8]>,
    pub realm: Option<&'a [u8]>,
    pub nonce: Option<&'a [u8]>,
    pub uri: Option<&'a [u8]>,
    pub response: Option<&'a [u8]>,
    pub algorithm: Option<&'a [u8]>,
    pub cnonce: Option<&'a [u8]>,
    pub opaque: Option<&'a [u8]>,
    pub qop: Option<&'a [u8]>,
    pub nc: Option<&'a [u8]>,
    pub stale: Option<&'a [u8]>,
    pub domain: Option<&'a [u8]>,
    /// All parameters as they stand.
    pub params: &'a [u8],
}

/// What a client sends.
pub type Authorization<'a> = Auth<'a>;
/// What a server asks.
pub type Challenge<'a> = Auth<'a>;

impl<'a> Auth<'a> {
    /// Reads a header value; of a parameter given twice the first counts.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut at = Cursor::new(value);
        let scheme = at.skip_lws().token();
        if scheme.is_empty() || !at.peek().is_none_or(is_lws) {
            return Err(error("invalid authentication scheme", at.pos()));
        }
        let params = at.skip_lws().rest();
        let mut auth = Self {
            scheme,
            params,
            ..Self::default()
        };
        if !auth.is_digest() {
            return Ok(auth);
        }
        let base = at.pos();
        for param in AuthParams::new(params) {
            let AuthParam { name, value, .. } = param.map_err(|e| e.shifted(base))?;
            if let Some(field) = auth.field(name)
                && field.is_none()
            {
                *field = Some(value);
            }
        }
        Ok(auth)
    }

    /// True for the Digest scheme.
    pub const fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// The nonce count, which is hexadecimal.
    pub fn nc_number(&self) -> Option<u32> {
        let text = str::from_utf8(self.nc?).ok()?;
        if text.len() > 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(text, 16).ok()
    }

    /// True when the challenge says `stale=true`.
    pub fn is_stale(&self) -> bool {
        self.stale.is_some_and(|s| s.eq_ignore_ascii_case(b"true"))
    }

    /// True when the comma list in `qop` offers `wanted`.
    pub fn offers_qop(&self, wanted: &[u8]) -> bool {
        self.qop.is_some_and(|q| {
            q.split(|b| *b == b',')
                .any(|o| o.trim_ascii().eq_ignore_ascii_case(wanted))
        })
    }

    /// The user name without escapes.
    pub fn username_text(&self) -> Cow<'a, [u8]> {
        unescape_quoted(self.username.unwrap_or_default())
    }

    /// The realm without escapes.
    pub fn realm_text(&self) -> Cow<'a, [u8]> {
        unescape_quoted(self.realm.unwrap_or_default())
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        Some(match name.len() {
            2 if is(b"nc") => &mut self.nc,
            3 if is(b"uri") => &mut self.uri,
            3 if is(b"qop") => &mut self.qop,
            5 if is(b"realm") => &mut self.realm,
            5 if is(b"nonce") => &mut self.nonce,
            5 if is(b"stale") => &mut self.stale,
            6 if is(b"cnonce") => &mut self.cnonce,
            6 if is(b"opaque") => &mut self.opaque,
            6 if is(b"domain") => &mut self.domain,
            8 if is(b"username") => &mut self.username,
            8 if is(b"response") => &mut self.response,
            9 if is(b"algorithm") => &mut self.algorithm,
            _ => return None,
        })
    }
}

/// One parameter of an authentication header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthParam<'a> {
    /// The name as spelt.
    pub name: &'a [u8],
    /// The value without quotes, escapes kept.
    pub value: &'a [u8],
    /// Whether the value was quoted.
    pub quoted: bool,
}

/// The parameters of an authentication header, split at commas.
#[derive(Debug, Clone)]
pub struct AuthParams<'a> {
    at: Cursor<'a>,
    failed: bool,
}

impl<'a> AuthParams<'a> {
    /// Walks what follows the scheme.
    pub const fn new(params: &'a [u8]) -> Self {
        Self {
            at: Cursor::new(params),
            failed: false,
        }
    }

    fn one(&mut self) -> Result<AuthParam<'a>, ParseError> {
        let name = self.at.token();
        if name.is_empty() || !self.at.skip_lws().eat(b'=') {
            return Err(error("invalid authentication parameter", self.at.pos()));
        }
        let start = self.at.skip_lws().pos();
        let quoted = self.at.peek() == Some(b'"');
        let value = if quoted {
            self.at
                .quoted()
                .ok_or(error("unterminated quoted string", start))?
        } else {
            self.at.take_while(|b| b != b',' && !is_lws(b))
        };
        if !matches!(self.at.skip_lws().peek(), None | Some(b',')) {
            return Err(error("no comma after an authentication parameter", self.at.pos()));
        }
        Ok(AuthParam { name, value, quoted })
    }
}

impl<'a> Iterator for AuthParams<'a> {
    type Item = Result<AuthParam<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.at.take_while(|b| b == b',' || is_lws(b));
        if self.failed || self.at.peek().is_none() {
            return None;
        }
        let one = self.one();
        self.failed = one.is_err();
        Some(one)
    }
}

const fn error(what: &'static str, offset: usize) -> ParseError {
    ParseError::new(what, offset, "20.7")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials() {
        let auth = Auth::parse(
            b"DIGEST USERNAME = \"a\\\"b\" ,realm=\"x, y\",\r\n nonce=\"\", uri=\"sip:h;a=b\",response=\"00\" , algorithm=MD5,nc=0000000a,qop=\"auth\", realm=\"z\",x=y",
        )
        .unwrap();
        assert!(auth.is_digest());
        assert_eq!(auth.username, Some(&b"a\\\"b"[..]));
        assert_eq!(&*auth.username_text(), b"a\"b");
        assert_eq!((auth.realm, auth.nonce), (Some(&b"x, y"[..]), Some(&b""[..])));
        assert_eq!(
            (auth.uri, auth.algorithm),
            (Some(&b"sip:h;a=b"[..]), Some(&b"MD5"[..]))
        );
        assert_eq!((auth.nc_number(), auth.offers_qop(b"auth")), (Some(10), true));
        assert_eq!((auth.opaque, auth.cnonce), (None, None));
    }

    #[test]
    fn challenges() {
        let auth = Auth::parse(
            b"Digest realm=\"r\", qop=\"auth, auth-int\", stale=TRUE, nonce=\"n\", domain=\"sip:a\"",
        )
        .unwrap();
        assert!(auth.is_stale() && auth.offers_qop(b"auth-int") && !auth.offers_qop(b"x"));
        assert_eq!(auth.domain, Some(&b"sip:a"[..]));
    }

    #[test]
    fn refused() {
        for input in [
            "",
            "Digest realm=\"open",
            "Digest realm",
            "Digest =x",
            "Digest a=\"b\" c=\"d\"",
            "Dig\"est",
        ] {
            assert!(Auth::parse(input.as_bytes()).is_err(), "{input:?}");
        }
        assert!(!Auth::parse(b"Basic QWxhZGRpbjo=").unwrap().is_digest());
        for nc in ["", "0000000g", "000000001", "+1"] {
            assert_eq!(
                Auth {
                    nc: Some(nc.as_bytes()),
                    ..Auth::default()
                }
                .nc_number(),
                None,
                "{nc:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            let _ = Auth::parse(&data);
        }

        #[test]
        fn almost_digest_never_panics(text in "Digest [a-z=\", \\\\]{0,40}") {
            let _ = Auth::parse(text.as_bytes());
        }
    }
}
