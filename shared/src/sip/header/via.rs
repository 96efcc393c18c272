//! Via: the path a request took (RFC 3261 §20.42, rport of RFC 3581, alias of RFC 5923).

use crate::sip::error::ParseError;
use crate::sip::params::Params;
use crate::sip::params::find;
use crate::sip::scan::Cursor;
use crate::sip::scan::Span;
use crate::sip::scan::number;
use crate::sip::scan::trim;
use crate::sip::uri::host_len;
use crate::sip::uri::port_number;

/// One value of a Via header.
///
/// ```
/// use shared::sip::Via;
/// let via = Via::parse(b"SIP/2.0/UDP pc33.atlanta.com:5066;branch=z9hG4bK776;rport;received=192.0.2.1")?;
/// assert_eq!((via.transport, via.host, via.port), (&b"UDP"[..], &b"pc33.atlanta.com"[..], Some(5066)));
/// assert_eq!(via.branch(), Some(&b"z9hG4bK776"[..]));
/// assert_eq!(via.rport(), Some(None));
/// assert_eq!(via.received(), Some(&b"192.0.2.1"[..]));
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The protocol name, `SIP`.
    pub protocol: &'a [u8],
    /// The protocol version, `2.0`.
    pub version: &'a [u8],
    /// The transport as spelt.
    pub transport: &'a [u8],
    /// The host of `sent-by`, an IPv6 address with its brackets.
    pub host: &'a [u8],
    /// The port of `sent-by`.
    pub port: Option<u16>,
    /// The parameters from their first `;` on.
    pub params: &'a [u8],
    branch: Option<&'a [u8]>,
    present: Present,
}

/// Which parameters there are of those that every hop asks for: most Vias have none, and need not be searched again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Present(u8);

impl Present {
    const RPORT: Self = Self(1);
    const RECEIVED: Self = Self(2);
    const MADDR: Self = Self(4);
    const I: Self = Self(8);

    fn of(name: &[u8]) -> Self {
        // By length first, as nearly all are told apart by it.
        match name.len() {
            5 if name.eq_ignore_ascii_case(b"rport") => Self::RPORT,
            5 if name.eq_ignore_ascii_case(b"maddr") => Self::MADDR,
            8 if name.eq_ignore_ascii_case(b"received") => Self::RECEIVED,
            1 if name.eq_ignore_ascii_case(b"i") => Self::I,
            _ => Self(0),
        }
    }
}

impl<'a> Via<'a> {
    /// Reads one value; white space may stand between all its parts.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut at = Cursor::new(value);
        let protocol = at.skip_lws().token();
        let first = at.skip_lws().eat(b'/');
        let version = at.skip_lws().token();
        let second = at.skip_lws().eat(b'/');
        let transport = at.skip_lws().token();
        if !(first && second) || protocol.is_empty() || version.is_empty() || transport.is_empty() {
            return Err(error("invalid Via protocol", at.pos()));
        }
        let gap = at.pos();
        at.skip_lws();
        if gap == at.pos() {
            return Err(error("no space before the Via host", gap));
        }
        let rest = at.rest();
        let len = host_len(rest).ok_or(error("invalid Via host", at.pos()))?;
        let (host, tail) = rest.split_at_checked(len).unwrap_or_default();
        let tail_at = at.pos() + len;
        let mut at = Cursor::new(tail);
        let mut port = None;
        if at.skip_lws().eat(b':') {
            let digits = at.skip_lws().take_while(|b| b.is_ascii_digit());
            port = Some(port_number(digits).ok_or(error("invalid Via port", tail_at + at.pos()))?);
        }
        let params = trim(at.skip_lws().rest());
        if !params.is_empty() && params.first() != Some(&b';') {
            return Err(error(
                "unexpected character after the Via host",
                tail_at + at.pos(),
            ));
        }
        let (mut branch, mut present) = (None, Present::default());
        for param in Params::new(params) {
            present.0 |= Present::of(param.name).0;
            if branch.is_none() && param.name.eq_ignore_ascii_case(b"branch") {
                branch = Some(param.value);
            }
        }
        let branch = branch.flatten();
        Ok(Self {
            protocol,
            version,
            transport,
            host,
            port,
            params,
            branch,
            present,
        })
    }

    fn present(&self, which: Present, name: &[u8]) -> Option<Option<&'a [u8]>> {
        if self.present.0 & which.0 == 0 {
            None
        } else {
            self.param(name)
        }
    }

    /// The `branch` parameter.
    pub const fn branch(&self) -> Option<&'a [u8]> {
        self.branch
    }

    /// The `rport` parameter: `None` absent, `Some(None)` asked for, `Some(Some(port))` filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.present(Present::RPORT, b"rport")
            .map(|value| value.and_then(port_number))
    }

    /// The `received` parameter.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.present(Present::RECEIVED, b"received").flatten()
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.present(Present::MADDR, b"maddr").flatten()
    }

    /// The `ttl` parameter.
    pub fn ttl(&self) -> Option<u8> {
        self.param(b"ttl")
            .flatten()
            .and_then(number)
            .and_then(|n| u8::try_from(n).ok())
    }

    /// The `comp` parameter (RFC 3486).
    pub fn comp(&self) -> Option<&'a [u8]> {
        self.param(b"comp").flatten()
    }

    /// The `i` parameter, by which Kamailio finds the connection a reply belongs to.
    pub fn i(&self) -> Option<&'a [u8]> {
        self.present(Present::I, b"i").flatten()
    }

    /// The `alias` flag.
    pub fn alias(&self) -> bool {
        self.param(b"alias").is_some()
    }

    /// A parameter: `None` absent, `Some(None)` a flag.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        find(self.params, name)
    }

    /// The parameters in order.
    pub const fn param_iter(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// Writes the value in canonical spacing.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in [
            self.protocol,
            b"/",
            self.version,
            b"/",
            self.transport,
            b" ",
            self.host,
        ] {
            out.extend_from_slice(part);
        }
        if let Some(port) = self.port {
            out.push(b':');
            crate::sip::scan::write_number(out, u64::from(port));
        }
        out.extend_from_slice(self.params);
    }
}

/// The places of a Via in its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ViaSpans {
    parts: [Span; 5],
    port: Option<u16>,
    branch: Option<Span>,
    present: Present,
}

impl ViaSpans {
    pub(crate) fn of(whole: &[u8], via: &Via<'_>) -> Self {
        let span = |part: &[u8]| Span::of(whole, part);
        let parts = [via.protocol, via.version, via.transport, via.host, via.params].map(span);
        Self {
            parts,
            port: via.port,
            branch: via.branch.map(span),
            present: via.present,
        }
    }

    pub(crate) fn view<'a>(&self, whole: &'a [u8]) -> Via<'a> {
        // Not by `map`, which the compiler does not unroll here: this runs several times a message.
        let [protocol, version, transport, host, params] = &self.parts;
        Via {
            protocol: protocol.cut(whole),
            version: version.cut(whole),
            transport: transport.cut(whole),
            host: host.cut(whole),
            port: self.port,
            params: params.cut(whole),
            branch: self.branch.map(|s| s.cut(whole)),
            present: self.present,
        }
    }
}

const fn error(what: &'static str, offset: usize) -> ParseError {
    ParseError::new(what, offset, "20.42")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar() {
        type Parts = Option<(&'static str, &'static str, Option<u16>, Option<&'static str>)>;
        let table: &[(&str, Parts)] = &[
            (
                "SIP/2.0/UDP h;branch=z9hG4bK1",
                Some(("UDP", "h", None, Some("z9hG4bK1"))),
            ),
            (
                "SIP / 2.0\r\n /UDP\r\n 192.0.2.2;branch=390skdjuw",
                Some(("UDP", "192.0.2.2", None, Some("390skdjuw"))),
            ),
            (
                "SIP  /    2.0  /   TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8",
                Some(("TCP", "spindle.example.com", None, Some("z9hG4bK9ikj8"))),
            ),
            (
                "SIP/2.0/TLS [2001:db8::9:255]:5061 ;branch=a",
                Some(("TLS", "[2001:db8::9:255]", Some(5061), Some("a"))),
            ),
            (
                "SIP/2.0/UDP first.example.com: 4000;ttl=16;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
                Some((
                    "UDP",
                    "first.example.com",
                    Some(4000),
                    Some("z9hG4bKa7c6a8dlze.1"),
                )),
            ),
            ("SIP/2.0/UDP h", Some(("UDP", "h", None, None))),
            (
                "SIP/2.0/UDP a_b:5060;branch",
                Some(("UDP", "a_b", Some(5060), None)),
            ),
            ("SIP/2.0/UDP", None),
            ("SIP/2.0 h", None),
            ("SIP/2.0/UDP h:x", None),
            ("SIP/2.0/UDP h:99999", None),
            ("SIP/2.0/UDP h x", None),
            ("", None),
        ];
        for (input, expected) in table {
            let got = Via::parse(input.as_bytes())
                .ok()
                .map(|v| (v.transport, v.host, v.port, v.branch()));
            let expected = expected.map(|(t, h, p, b)| (t.as_bytes(), h.as_bytes(), p, b.map(str::as_bytes)));
            assert_eq!(got, expected, "{input:?}");
        }
    }

    #[test]
    fn parameters() {
        let via = Via::parse(
            b"SIP/2.0/UDP h;rport=5061;received=1.2.3.4;ttl=7;maddr=224.0.0.1;comp=sigcomp;i=a1;alias",
        )
        .unwrap();
        assert_eq!(via.rport(), Some(Some(5061)));
        assert_eq!(via.received(), Some(&b"1.2.3.4"[..]));
        assert_eq!(
            (via.ttl(), via.maddr(), via.comp()),
            (Some(7), Some(&b"224.0.0.1"[..]), Some(&b"sigcomp"[..]))
        );
        assert_eq!((via.i(), via.alias()), (Some(&b"a1"[..]), true));
        assert_eq!(Via::parse(b"SIP/2.0/UDP h;ttl=256").unwrap().ttl(), None);
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            let _ = Via::parse(&data);
        }

        #[test]
        fn round_trips(text in "SIP/2\\.0/(UDP|TCP) ([a-z.]{1,8}|\\[::[0-9a-f]{1,3}\\])(:[0-9]{1,4})?(;[a-z]{1,5}(=[a-z0-9]{1,4})?){0,3}") {
            let via = Via::parse(text.as_bytes()).unwrap();
            let mut out = Vec::new();
            via.write(&mut out);
            prop_assert_eq!(Via::parse(&out), Ok(via));
            prop_assert_eq!(ViaSpans::of(&out, &Via::parse(&out).unwrap()).view(&out), via);
        }
    }
}
