//! Via: the path a request took (RFC 3261 §20.42, rport of RFC 3581, alias of RFC 5923).

use std::ops::Range;

use crate::sip::error::ParseError;
use crate::sip::params::ParamPlace;
use crate::sip::params::Params;
use crate::sip::params::find;
use crate::sip::params::same_name;
use crate::sip::scan::Cursor;
use crate::sip::scan::Span;
use crate::sip::scan::is_lws;
use crate::sip::scan::number;
use crate::sip::scan::trim_range;
use crate::sip::scan::trim_start;
use crate::sip::uri::host_end;
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
    rport: Option<Option<u16>>,
    present: Present,
}

/// Which parameters there are of those that every hop asks for: most Vias have none, and need not be searched again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Present(u8);

impl Present {
    const RECEIVED: Self = Self(1);
    const MADDR: Self = Self(2);
    const I: Self = Self(4);

    const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl<'a> Via<'a> {
    /// Reads one value; white space may stand between all its parts.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let trimmed = trim_range(value, 0..value.len());
        let spans = ViaSpans::read(value, trimmed.clone()).map_err(|e| e.shifted(trimmed.start))?;
        Ok(spans.view(value))
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
    pub const fn rport(&self) -> Option<Option<u16>> {
        self.rport
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
    protocol: Span,
    version: Span,
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
    branch: Option<Span>,
    rport: Option<Option<u16>>,
    present: Present,
}

impl ViaSpans {
    /// Reads the value that lies between two offsets, without white space around it.
    pub(crate) fn read(whole: &[u8], value: Range<usize>) -> Result<Self, ParseError> {
        let Range { start, end } = value;
        let fail = |what, at: usize| error(what, at - start);
        let part = whole.get(..end).unwrap_or_default();
        let ([protocol, version, transport], host_at) = match usual_protocol(part, start) {
            Some(found) => found,
            None => protocol(part, start).map_err(|e| fail(e.what, e.offset))?,
        };
        let host_end = host_end(whole, host_at, end).ok_or_else(|| fail("invalid Via host", host_at))?;
        let mut at = host_end;
        let mut port = None;
        if part.get(at) != Some(&b';') {
            at = end - trim_start(part.get(at..).unwrap_or_default()).len();
            if part.get(at) == Some(&b':') {
                let after = trim_start(part.get(at + 1..).unwrap_or_default());
                let len = after
                    .iter()
                    .position(|b| !b.is_ascii_digit())
                    .unwrap_or(after.len());
                let (digits, after) = after.split_at_checked(len).unwrap_or_default();
                port = Some(port_number(digits).ok_or_else(|| fail("invalid Via port", end - after.len()))?);
                at = end - trim_start(after).len();
            }
        }
        if !matches!(part.get(at), None | Some(b';')) {
            return Err(fail("unexpected character after the Via host", at));
        }
        let mut spans = Self {
            protocol,
            version,
            transport,
            host: Span::new(host_at, host_end),
            port,
            params: Span::new(at, end),
            branch: None,
            rport: None,
            present: Present::default(),
        };
        spans.read_params(whole, at..end);
        Ok(spans)
    }

    /// Notes what every hop asks for; of a parameter given twice the first counts.
    fn read_params(&mut self, whole: &[u8], params: Range<usize>) {
        let mut params = Params::within(whole, params.start, params.end);
        let mut has_branch = false;
        while let Some(ParamPlace { name, value }) = params.next_place() {
            let name = whole.get(name).unwrap_or_default();
            // By length first, as nearly all are told apart by it.
            match name.len() {
                6 if !has_branch && same_name(name, b"branch") => {
                    has_branch = true;
                    self.branch = value.map(Span::from);
                }
                5 if same_name(name, b"rport") => {
                    let port = value.and_then(|v| whole.get(v)).and_then(port_number);
                    self.rport.get_or_insert(port);
                }
                5 if same_name(name, b"maddr") => self.present.add(Present::MADDR),
                8 if same_name(name, b"received") => self.present.add(Present::RECEIVED),
                1 if same_name(name, b"i") => self.present.add(Present::I),
                _ => {}
            }
        }
    }

    #[inline]
    pub(crate) fn view<'a>(&self, whole: &'a [u8]) -> Via<'a> {
        Via {
            protocol: self.protocol.cut(whole),
            version: self.version.cut(whole),
            transport: self.transport.cut(whole),
            host: self.host.cut(whole),
            port: self.port,
            params: self.params.cut(whole),
            branch: self.branch.map(|s| s.cut(whole)),
            rport: self.rport,
            present: self.present,
        }
    }
}

/// Reads the usual spelling of what stands before the host, and where the host begins.
#[inline]
fn usual_protocol(part: &[u8], start: usize) -> Option<([Span; 3], usize)> {
    let (protocol, rest) = part.get(start..)?.split_first_chunk::<8>()?;
    let (transport, host) = rest.split_first_chunk::<4>()?;
    let usual = protocol == b"SIP/2.0/" && matches!(transport, b"UDP " | b"TCP " | b"TLS ");
    if !usual || is_lws(*host.first()?) {
        return None;
    }
    let span = |from, to| Span::new(start + from, start + to);
    Some(([span(0, 3), span(4, 7), span(8, 11)], start + 12))
}

/// Reads what stands before the host, `SIP/2.0/UDP`, and where the host begins.
fn protocol(part: &[u8], start: usize) -> Result<([Span; 3], usize), ParseError> {
    let mut at = Cursor::new(part);
    at.skip(start);
    let name = at.skip_lws().token();
    let first = at.skip_lws().eat(b'/');
    let version = at.skip_lws().token();
    let second = at.skip_lws().eat(b'/');
    let transport = at.skip_lws().token();
    if !(first && second) || name.is_empty() || version.is_empty() || transport.is_empty() {
        return Err(error("invalid Via protocol", at.pos()));
    }
    let gap = at.pos();
    if gap == at.skip_lws().pos() {
        return Err(error("no space before the Via host", gap));
    }
    let places = [name, version, transport].map(|text| Span::of(part, text));
    Ok((places, at.pos()))
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
            prop_assert_eq!(ViaSpans::read(&out, 0..out.len()).unwrap().view(&out), via);
        }
    }
}
