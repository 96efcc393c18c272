//! SIP, SIPS, tel and urn URIs (RFC 3261 §19.1, RFC 3966, RFC 5031).

use std::borrow::Cow;

use crate::sip::block::Block;
use crate::sip::block::position;
use crate::sip::block::position_within;
use crate::sip::error::ParseError;
use crate::sip::params::Params;
use crate::sip::params::escaped;
use crate::sip::params::find;
use crate::sip::scan::find_byte;
use crate::sip::scan::number;
use crate::sip::scan::write_number;

/// The scheme of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the scheme of its name")]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Urn,
    /// Any other; see [`Uri::scheme_name`].
    Other,
}

/// A view of a URI.
///
/// ```
/// use shared::sip::{Scheme, Uri};
/// let uri = Uri::parse(b"sips:alice:pw@[2001:db8::10]:5070;transport=tcp;lr?Subject=hi")?;
/// assert_eq!(uri.scheme, Scheme::Sips);
/// assert_eq!(uri.user, Some(&b"alice"[..]));
/// assert_eq!(uri.host, b"[2001:db8::10]");
/// assert_eq!(uri.port, Some(5070));
/// assert_eq!(uri.param(b"transport"), Some(Some(&b"tcp"[..])));
/// assert_eq!(uri.param(b"lr"), Some(None));
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The scheme as spelt.
    pub scheme_name: &'a [u8],
    /// The user part; of a tel URI the number, of a URN the namespace.
    pub user: Option<&'a [u8]>,
    /// The password, which nobody should use.
    pub password: Option<&'a [u8]>,
    /// The host, an IPv6 address with its brackets; empty for tel; of a URN the name within its
    /// namespace, of other schemes all that follows the colon.
    pub host: &'a [u8],
    /// The port, when there is one.
    pub port: Option<u16>,
    /// The parameters, without the first `;`.
    pub params: &'a [u8],
    /// The headers, without the `?`.
    pub headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let Some(colon) = find_byte(text, b':') else {
            return Err(error("URI without a scheme", 0));
        };
        let scheme_name = text.get(..colon).unwrap_or_default();
        let rest = text.get(colon + 1..).unwrap_or_default();
        let scheme = match scheme_name.len() {
            3 if scheme_name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            4 if scheme_name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            3 if scheme_name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            3 if scheme_name.eq_ignore_ascii_case(b"urn") => Scheme::Urn,
            _ if is_scheme(scheme_name) => Scheme::Other,
            _ => return Err(error("invalid URI scheme", 0)),
        };
        if let Some(at) = position(text, |b| {
            b.within(0, b' ') | b.equal(b'<') | b.equal(b'>') | b.equal(b'"') | b.equal(0x7f)
        }) {
            return Err(error("character not allowed in a URI", at));
        }
        if rest.is_empty() {
            return Err(error("nothing after the URI scheme", colon));
        }
        let bare = Self {
            scheme,
            scheme_name,
            user: None,
            password: None,
            host: b"",
            port: None,
            params: b"",
            headers: b"",
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => bare.sip(rest, colon + 1),
            Scheme::Tel => {
                let (number, params) = split(rest, b';');
                if number.is_empty() {
                    return Err(error("tel URI without a number", colon + 1));
                }
                Ok(Self {
                    user: Some(number),
                    params: params.unwrap_or_default(),
                    ..bare
                })
            }
            // Kamailio: $rU of a URN is its namespace, $rd what it names there.
            Scheme::Urn => match split(rest, b':') {
                (namespace, Some(name)) if !namespace.is_empty() => Ok(Self {
                    user: Some(namespace),
                    host: name,
                    ..bare
                }),
                _ => Ok(Self { host: rest, ..bare }),
            },
            Scheme::Other => Ok(Self { host: rest, ..bare }),
        }
    }

    fn sip(mut self, rest: &'a [u8], base: usize) -> Result<Self, ParseError> {
        // User parts may hold ';' and '?', host parts no '@' (§19.1.1).
        let (hostport, base) = match find_byte(rest, b'@') {
            Some(at) => {
                let (user, password) = split(rest.get(..at).unwrap_or_default(), b':');
                if user.is_empty() {
                    return Err(error("empty user part", base));
                }
                (self.user, self.password) = (Some(user), password);
                (rest.get(at + 1..).unwrap_or_default(), base + at + 1)
            }
            None => (rest, base),
        };
        let len = host_end(hostport, 0, hostport.len()).ok_or(error("invalid host", base))?;
        let (host, tail) = hostport.split_at_checked(len).unwrap_or_default();
        self.host = host;
        let mut tail = tail;
        if let [b':', after @ ..] = tail {
            let digits = after
                .iter()
                .position(|b| !b.is_ascii_digit())
                .unwrap_or(after.len());
            let (port, left) = after.split_at_checked(digits).unwrap_or_default();
            self.port = Some(port_number(port).ok_or(error("invalid port", base + len + 1))?);
            tail = left;
        }
        match tail {
            [] => {}
            [b';', after @ ..] => {
                let (params, headers) = split(after, b'?');
                (self.params, self.headers) = (params, headers.unwrap_or_default());
            }
            [b'?', after @ ..] => self.headers = after,
            _ => {
                return Err(error(
                    "unexpected character after the host",
                    base + hostport.len() - tail.len(),
                ));
            }
        }
        Ok(self)
    }

    /// A parameter: `None` absent, `Some(None)` a flag.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        if self.params.is_empty() {
            None
        } else {
            find(self.params, name)
        }
    }

    /// The parameters in order.
    pub const fn param_iter(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The `name=value` pairs after the `?` in order.
    pub fn header_iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.headers
            .split(|b| *b == b'&')
            .filter(|h| !h.is_empty())
            .map(|h| {
                let (name, value) = split(h, b'=');
                (name, value.unwrap_or_default())
            })
    }

    /// The host without the brackets of an IPv6 reference.
    pub const fn host_bare(&self) -> &'a [u8] {
        match self.host {
            [b'[', inner @ .., b']'] => inner,
            host => host,
        }
    }

    /// The port to use: given, or 5061 for sips, else 5060.
    pub fn port_or_default(&self) -> u16 {
        self.port
            .unwrap_or(if self.scheme == Scheme::Sips { 5061 } else { 5060 })
    }

    /// The user part without its escapes.
    pub fn user_unescaped(&self) -> Cow<'a, [u8]> {
        crate::sip::params::unescape(self.user.unwrap_or_default())
    }

    /// Compares two URIs by the rules of §19.1.4.
    pub fn same(&self, other: &Uri<'_>) -> bool {
        if self.parts() == other.parts() {
            return true;
        }
        if self.scheme != other.scheme {
            return false;
        }
        match self.scheme {
            Scheme::Sip | Scheme::Sips => {
                same_optional(self.user, other.user)
                    && same_optional(self.password, other.password)
                    && self.host.eq_ignore_ascii_case(other.host)
                    && self.port == other.port
                    && same_params(self, other)
                    && same_headers(self, other)
            }
            Scheme::Tel => {
                same_number(self.user.unwrap_or_default(), other.user.unwrap_or_default())
                    && same_params(self, other)
            }
            Scheme::Urn => {
                let namespaces = (self.user.unwrap_or_default(), other.user.unwrap_or_default());
                namespaces.0.eq_ignore_ascii_case(namespaces.1) && self.host.eq_ignore_ascii_case(other.host)
            }
            Scheme::Other => {
                self.scheme_name.eq_ignore_ascii_case(other.scheme_name) && self.host == other.host
            }
        }
    }

    /// The parts, to be changed and written again.
    pub const fn parts(&self) -> UriParts<'a> {
        UriParts {
            scheme: self.scheme_name,
            user: self.user,
            password: self.password,
            host: self.host,
            port: self.port,
            params: self.params,
            headers: self.headers,
        }
    }
}

/// The parts of a URI to be written.
///
/// ```
/// use shared::sip::{Uri, UriParts};
/// let uri = Uri::parse(b"sip:bob@example.com;lr")?;
/// let changed = UriParts { host: b"10.0.0.1", port: Some(5062), ..uri.parts() };
/// assert_eq!(changed.to_vec(), b"sip:bob@10.0.0.1:5062;lr");
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UriParts<'a> {
    /// The scheme as it shall be spelt.
    pub scheme: &'a [u8],
    /// The user part.
    pub user: Option<&'a [u8]>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// The host with brackets where it needs them.
    pub host: &'a [u8],
    /// The port.
    pub port: Option<u16>,
    /// The parameters, without the first `;`.
    pub params: &'a [u8],
    /// The headers, without the `?`.
    pub headers: &'a [u8],
}

impl UriParts<'_> {
    /// Appends the URI to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.scheme);
        out.push(b':');
        if let Some(user) = self.user {
            out.extend_from_slice(user);
            if let Some(password) = self.password {
                out.push(b':');
                out.extend_from_slice(password);
            }
            if self.scheme.eq_ignore_ascii_case(b"urn") {
                out.push(b':');
            } else if !self.host.is_empty() {
                out.push(b'@');
            }
        }
        out.extend_from_slice(self.host);
        if let Some(port) = self.port {
            out.push(b':');
            write_number(out, u64::from(port));
        }
        for (mark, part) in [(b';', self.params), (b'?', self.headers)] {
            if !part.is_empty() {
                out.push(mark);
                out.extend_from_slice(part);
            }
        }
    }

    /// The URI as new bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.write(&mut out);
        out
    }
}

/// Where the host that begins at `at` ends: a name, an IPv4 address or a bracketed IPv6 address.
pub(crate) fn host_end(data: &[u8], at: usize, to: usize) -> Option<usize> {
    if data.get(at) == Some(&b'[') {
        let close = position_within(data, at, to, |b| b.equal(b']'));
        let inner = data.get(at + 1..close).filter(|_| close < to)?;
        let valid = inner.contains(&b':')
            && inner
                .iter()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        return valid.then_some(close + 1);
    }
    // Kamailio: operators name hosts with underscores; names are judged by whoever resolves them.
    let named = |b: Block| {
        b.letter() | b.within(b'0', b'9') | b.within(b'-', b'.') | b.equal(b'_') | b.within(0x80, 0xff)
    };
    let end = position_within(data, at, to, |b| named(b).not());
    (end > at).then_some(end)
}

/// Reads a port of one to five digits.
pub(crate) fn port_number(digits: &[u8]) -> Option<u16> {
    number(digits).and_then(|n| u16::try_from(n).ok())
}

/// The part before the first `mark`, and the part after it.
fn split(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match find_byte(text, mark) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

fn is_scheme(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn same_optional(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same_text(a, b, false),
        (None, None) => true,
        _ => false,
    }
}

/// Compares text in which an escape equals the byte it stands for.
fn same_text(a: &[u8], b: &[u8], fold_case: bool) -> bool {
    let (mut a, mut b) = (a, b);
    loop {
        match (next_byte(a), next_byte(b)) {
            (None, None) => return true,
            (Some((x, more_a)), Some((y, more_b))) if x == y || fold_case && x.eq_ignore_ascii_case(&y) => {
                (a, b) = (more_a, more_b)
            }
            _ => return false,
        }
    }
}

fn next_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    escaped(text).or_else(|| text.split_first().map(|(first, tail)| (*first, tail)))
}

/// Visual separators and case do not count in a telephone number (RFC 3966 §4).
fn same_number(a: &[u8], b: &[u8]) -> bool {
    let digits = |n: &[u8]| -> Vec<u8> {
        n.iter()
            .filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')'))
            .map(u8::to_ascii_lowercase)
            .collect()
    };
    digits(a) == digits(b)
}

/// A parameter in both must match; one of these in one only makes a difference, any other does not (§19.1.4).
fn same_params(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let counts = |name: &[u8]| {
        a.scheme == Scheme::Tel
            || [&b"user"[..], b"ttl", b"method", b"maddr", b"transport"]
                .iter()
                .any(|n| n.eq_ignore_ascii_case(name))
    };
    let covers = |one: &Uri<'_>, two: &Uri<'_>| {
        one.param_iter().all(|p| match two.param(p.name) {
            Some(value) => same_text(p.value.unwrap_or_default(), value.unwrap_or_default(), true),
            None => !counts(p.name),
        })
    };
    covers(a, b) && covers(b, a)
}

/// Headers are never ignored, their order is (§19.1.4).
fn same_headers(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let covers = |one: &Uri<'_>, two: &Uri<'_>| {
        one.header_iter().all(|(n, v)| {
            two.header_iter()
                .any(|(m, w)| same_text(n, m, true) && same_text(v, w, false))
        })
    };
    a.header_iter().count() == b.header_iter().count() && covers(a, b) && covers(b, a)
}

const fn error(what: &'static str, offset: usize) -> ParseError {
    ParseError::new(what, offset, "19.1.1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(text: &str) -> String {
        let s = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        match Uri::parse(text.as_bytes()) {
            Ok(u) => format!(
                "{:?} {} {} {} {} {} {}",
                u.scheme,
                u.user.map_or("-".into(), s),
                u.password.map_or("-".into(), s),
                s(u.host),
                u.port.map_or("-".into(), |p| p.to_string()),
                s(u.params),
                s(u.headers)
            ),
            Err(e) => format!("{}@{}", e.what, e.offset),
        }
    }

    #[test]
    fn grammar() {
        let table = [
            ("sip:alice@atlanta.com", "Sip alice - atlanta.com -  "),
            ("SIP:atlanta.com", "Sip - - atlanta.com -  "),
            (
                "sips:alice:secret@h:5061;a=b?x=y&z",
                "Sips alice secret h 5061 a=b x=y&z",
            ),
            (
                "sip:+1-212;ext=5:1234@gw.com;user=phone",
                "Sip +1-212;ext=5 1234 gw.com - user=phone ",
            ),
            ("sip:[::1]:5060", "Sip - - [::1] 5060  "),
            ("sip:a@[2001:db8::9:1];lr", "Sip a - [2001:db8::9:1] - lr "),
            ("sip:h?Route=%3Csip:x%3E", "Sip - - h -  Route=%3Csip:x%3E"),
            (
                "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
                "Sip 1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;* &it+has=1,weird!*pas$wo~d_too.(doesn't-it) example.com -  ",
            ),
            (
                "tel:+358-555-1234567;postd=pp22",
                "Tel +358-555-1234567 -  - postd=pp22 ",
            ),
            ("urn:service:sos", "Urn service - sos -  "),
            (
                "nobodyKnowsThisScheme:totallyopaquecontent",
                "Other - - totallyopaquecontent -  ",
            ),
            ("http://x/", "Other - - //x/ -  "),
            ("sip:", "nothing after the URI scheme@3"),
            ("sip", "URI without a scheme@0"),
            ("", "URI without a scheme@0"),
            (":x", "invalid URI scheme@0"),
            ("sip:@h", "empty user part@4"),
            ("sip:a@", "invalid host@6"),
            ("sip:a@h:", "invalid port@8"),
            ("sip:a@h:99999", "invalid port@8"),
            ("sip:a@h:50x", "unexpected character after the host@10"),
            ("sip:a@b@c", "unexpected character after the host@7"),
            ("sip:a@[::1", "invalid host@6"),
            ("sip:a@[x]", "invalid host@6"),
            ("sip:a b@c", "character not allowed in a URI@5"),
            ("sip:a@h;x=<", "character not allowed in a URI@10"),
            ("tel:;x", "tel URI without a number@4"),
        ];
        for (input, expected) in table {
            assert_eq!(show(input), expected, "{input:?}");
        }
    }

    #[test]
    fn same_as_the_rfc_says() {
        let table = [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
                true,
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true),
            (
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
                true,
            ),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
                true,
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
                true,
            ),
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
                false,
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
                false,
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
                false,
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
                false,
            ),
            ("sip:a@b", "sips:a@b", false),
            ("sip:a@b", "sip:b", false),
            ("sip:a:x@b", "sip:a@b", false),
            ("sip:a@b;maddr=1.1.1.1", "sip:a@b", false),
            ("tel:+1-201-555", "tel:+1201555", true),
            ("tel:+1201555;ext=1", "tel:+1201555", false),
            ("urn:service:SOS", "urn:service:sos", true),
        ];
        for (a, b, expected) in table {
            let (one, two) = (
                Uri::parse(a.as_bytes()).unwrap(),
                Uri::parse(b.as_bytes()).unwrap(),
            );
            assert_eq!(one.same(&two), expected, "{a} {b}");
            assert_eq!(two.same(&one), expected, "{b} {a}");
        }
    }

    #[test]
    fn an_empty_name_keeps_its_colon() {
        let uri = Uri::parse(b"urn:service:").unwrap();
        assert_eq!(uri.parts().to_vec(), b"urn:service:");
    }

    #[test]
    fn ports() {
        for (input, expected) in [("sip:h", 5060), ("sips:h", 5061), ("sips:h:7", 7)] {
            assert_eq!(Uri::parse(input.as_bytes()).unwrap().port_or_default(), expected);
        }
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            if let Ok(uri) = Uri::parse(&data) {
                let _ = (uri.param_iter().count(), uri.header_iter().count());
            }
        }

        #[test]
        fn round_trips(text in "(sip|sips|SIP):([a-z0-9;?]{1,5}(:[a-z]{1,3})?@)?([a-z0-9.]{1,9}|\\[[0-9a-f]{1,3}::1\\])(:[0-9]{1,4})?(;[a-z]{1,4}(=[a-z]{1,3})?){0,2}(\\?[a-z]=[a-z])?") {
            let uri = Uri::parse(text.as_bytes()).unwrap();
            let printed = uri.parts().to_vec();
            let again = Uri::parse(&printed).unwrap();
            prop_assert_eq!(again, uri);
            prop_assert!(again.same(&uri));
        }

        #[test]
        fn almost_uris_never_panic(text in "(sip|tel|urn|x):[a-z:@;?&=%\\[\\]<>0-9.]{0,30}") {
            let _ = Uri::parse(text.as_bytes());
        }
    }
}
