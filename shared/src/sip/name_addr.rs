//! `name-addr` and `addr-spec` with header parameters (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;
use std::ops::Range;

use crate::sip::block::Block;
use crate::sip::block::Places;
use crate::sip::block::position_within;
use crate::sip::error::ParseError;
use crate::sip::params::Params;
use crate::sip::params::find;
use crate::sip::params::same_name;
use crate::sip::params::unquote;
use crate::sip::scan::Span;
use crate::sip::scan::find_outside;
use crate::sip::scan::quoted_end;
use crate::sip::scan::trim_range;
use crate::sip::uri::Uri;

/// The value of From, To, Contact, Route and their kin.
///
/// ```
/// use shared::sip::NameAddr;
/// let to = NameAddr::parse(b"\"Bob \\\"B\\\"\" <sip:bob@example.com;lr>;tag=a6c85cf")?;
/// assert_eq!(to.uri, b"sip:bob@example.com;lr");
/// assert_eq!(to.tag(), Some(&b"a6c85cf"[..]));
/// assert_eq!(&*to.display_name(), b"Bob \"B\"");
/// # Ok::<(), shared::sip::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as it stands, quotes included; empty when absent.
    pub display: &'a [u8],
    /// The URI between the brackets, or the bare one.
    pub uri: &'a [u8],
    /// The header parameters from their first `;` on.
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value; without brackets what follows a `;` belongs to the header (§20).
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let trimmed = trim_range(value, 0..value.len());
        let spans = NameAddrSpans::read(value, trimmed.clone()).map_err(|e| e.shifted(trimmed.start))?;
        Ok(spans.view(value))
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param(b"tag").flatten()
    }

    /// A header parameter: `None` absent, `Some(None)` a flag.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        find(self.params, name)
    }

    /// The header parameters in order.
    pub const fn param_iter(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The display name without quotes and escapes.
    pub fn display_name(&self) -> Cow<'a, [u8]> {
        unquote(self.display)
    }

    /// Reads the URI.
    pub fn parsed_uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri)
    }

    /// Writes the value with brackets.
    pub fn write(&self, out: &mut Vec<u8>) {
        if !self.display.is_empty() {
            out.extend_from_slice(self.display);
            out.push(b' ');
        }
        out.push(b'<');
        out.extend_from_slice(self.uri);
        out.push(b'>');
        out.extend_from_slice(self.params);
    }
}

/// The places of an address in its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameAddrSpans {
    display: Span,
    uri: Span,
    params: Span,
    tag: Span,
}

impl NameAddrSpans {
    /// Reads the value that lies between two offsets, without white space around it.
    pub(crate) fn read(whole: &[u8], value: Range<usize>) -> Result<Self, ParseError> {
        let Range { start, end } = value;
        let fail = |what, at: usize| Err(error(what, at - start));
        let part = whole.get(..end).unwrap_or_default();
        let open = if part.get(start) == Some(&b'"') {
            let Some(quoted) = quoted_end(part, start) else {
                return fail("unterminated quoted string", start);
            };
            let at = trim_range(whole, quoted..end).start;
            if part.get(at) != Some(&b'<') {
                return fail("no '<' after the display name", at);
            }
            Some(at)
        } else {
            // A quote or a parameter before any bracket means that there is no bracket.
            let at = position_within(whole, start, end, ends_address);
            (part.get(at) == Some(&b'<')).then_some(at)
        };
        let (display, uri, params) = match open {
            Some(open) => {
                let close = position_within(whole, open + 1, end, |b| b.equal(b'>'));
                if close == end {
                    return fail("no '>' after the URI", open);
                }
                let params = trim_range(whole, close + 1..end);
                if !params.is_empty() && part.get(params.start) != Some(&b';') {
                    return fail("text after the '>' of the URI", close + 1);
                }
                let display = trim_range(whole, start..open);
                (display, trim_range(whole, open + 1..close), params)
            }
            None => {
                let stop = find_outside(whole, start, end, b';');
                (start..start, trim_range(whole, start..stop), stop..end)
            }
        };
        if uri.is_empty() {
            return fail("empty URI", start);
        }
        let spans = Self {
            display: display.into(),
            uri: uri.into(),
            tag: tag(whole, params.clone()).into(),
            params: params.into(),
        };
        Ok(spans)
    }

    pub(crate) fn view<'a>(&self, whole: &'a [u8]) -> NameAddr<'a> {
        NameAddr {
            display: self.display.cut(whole),
            uri: self.uri.cut(whole),
            params: self.params.cut(whole),
        }
    }

    pub(crate) fn tag<'a>(&self, whole: &'a [u8]) -> &'a [u8] {
        self.tag.cut(whole)
    }
}

/// Where the value of the `tag` parameter lies; empty when there is none.
fn tag(whole: &[u8], params: Range<usize>) -> Range<usize> {
    let Range { start, end } = params;
    // Nearly every From and To has a tag for its only parameter: then there is nothing to search.
    if let Some([b';', b't', b'a', b'g', b'=', b'!'..=0xff]) = whole.get(start..start + 6)
        && position_within(whole, start + 5, end, ends_address) == end
    {
        return start + 5..end;
    }
    let mut params = Params::within(whole, start, end);
    while let Some(param) = params.next_place() {
        if whole.get(param.name).is_some_and(|name| same_name(name, b"tag")) {
            return param.value.unwrap_or_default();
        }
    }
    0..0
}

/// Where a bare address or a parameter may end, or what may end it is hidden.
fn ends_address(block: Block) -> Places {
    block.equal(b';') | block.equal(b'"') | block.equal(b'<')
}

const fn error(what: &'static str, offset: usize) -> ParseError {
    ParseError::new(what, offset, "25.1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar() {
        type Parts = Option<(&'static str, &'static str, &'static str)>;
        let table: &[(&str, Parts)] = &[
            ("<sip:a@b>", Some(("", "sip:a@b", ""))),
            ("sip:a@b;tag=1", Some(("", "sip:a@b", ";tag=1"))),
            (
                "A. G. Bell <sip:agb@bell.com> ;tag=a48s",
                Some(("A. G. Bell", "sip:agb@bell.com", ";tag=a48s")),
            ),
            (
                "\"<sip:x>;tag=9\" <sip:a@b>;tag=1",
                Some(("\"<sip:x>;tag=9\"", "sip:a@b", ";tag=1")),
            ),
            ("\"A\\\"\"<sip:a@b>", Some(("\"A\\\"\"", "sip:a@b", ""))),
            (
                "sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
                Some((
                    "",
                    "sip:vivekg@chair-dnrc.example.com",
                    ";   tag    = 1918181833n",
                )),
            ),
            ("sip:a@b;x=\"<>\"", Some(("", "sip:a@b", ";x=\"<>\""))),
            (
                "<tel:+1;phone-context=x>",
                Some(("", "tel:+1;phone-context=x", "")),
            ),
            ("*", Some(("", "*", ""))),
            ("", None),
            ("<>", None),
            ("\"open <sip:a@b>", None),
            ("\"A\" sip:a@b", None),
            ("<sip:a@b", None),
            ("<sip:a@b> x", None),
            (";tag=1", None),
        ];
        for (input, expected) in table {
            let got = NameAddr::parse(input.as_bytes()).ok();
            let expected = expected.map(|(d, u, p)| NameAddr {
                display: d.as_bytes(),
                uri: u.as_bytes(),
                params: p.as_bytes(),
            });
            assert_eq!(got, expected, "{input:?}");
        }
    }

    #[test]
    fn tags() {
        for (input, expected) in [
            ("<sip:a>;TAG=x;y", Some("x")),
            ("<sip:a>;tag = x ", Some("x")),
            ("<sip:a;tag=1>", None),
            ("<sip:a>;tag", None),
        ] {
            assert_eq!(
                NameAddr::parse(input.as_bytes()).unwrap().tag(),
                expected.map(str::as_bytes),
                "{input:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            if let Ok(addr) = NameAddr::parse(&data) {
                let _ = (addr.tag(), addr.display_name(), addr.param_iter().count());
            }
        }

        #[test]
        fn round_trips(display in "(\"[a-z ,;<>]{0,8}\")?", uri in "sip:[a-z;=@]{1,12}", params in "(;[a-z]{1,4}(=[a-z0-9]{1,4})?){0,3}") {
            let addr = NameAddr { display: display.as_bytes(), uri: uri.as_bytes(), params: params.as_bytes() };
            let mut out = Vec::new();
            addr.write(&mut out);
            prop_assert_eq!(NameAddr::parse(&out), Ok(addr));
        }
    }
}
