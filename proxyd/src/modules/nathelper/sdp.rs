//! Addresses in session descriptions (RFC 4566 §5.2, §5.7, RFC 3605), as fix_nated_sdp() edits them.

use super::Nathelper;
use crate::proxy::context::Context;
use crate::script::module::Call;
use crate::script::module::Code;
use std::net::IpAddr;
use std::ops::Range;

const DIRECTION: i64 = 1;
const MEDIA: i64 = 2;
const MARK: i64 = 4;
const ORIGIN: i64 = 8;

/// The addresses of all `c=` lines.
pub(super) fn connections(body: &[u8]) -> impl Iterator<Item = IpAddr> {
    let places = addresses(body).filter(|(kind, _)| *kind == Kind::Connection);
    places.filter_map(|(_, range)| std::str::from_utf8(body.get(range)?).ok()?.parse().ok())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connection,
    Origin,
    Rtcp,
}

/// Lines of a body with their places, line ends left out.
fn lines(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = body.get(start..).filter(|rest| !rest.is_empty())?;
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..len).unwrap_or_default();
        let range = start..start + line.strip_suffix(b"\r").unwrap_or(line).len();
        start += len + 1;
        Some(range)
    })
}

/// Places of the addresses in `c=`, `o=` and `a=rtcp:` lines: what follows `IP4` or `IP6`.
fn addresses(body: &[u8]) -> impl Iterator<Item = (Kind, Range<usize>)> {
    lines(body).filter_map(|range| {
        let line = body.get(range.clone())?;
        let kind = match line {
            [b'c', b'=', ..] => Kind::Connection,
            [b'o', b'=', ..] => Kind::Origin,
            _ if line.starts_with(b"a=rtcp:") => Kind::Rtcp,
            _ => return None,
        };
        let at = line
            .windows(4)
            .position(|word| matches!(word, b"IP4 " | b"IP6 "))?
            + 4;
        let address = line.get(at..)?;
        let len = address
            .iter()
            .position(|b| matches!(b, b' ' | b'/'))
            .unwrap_or(address.len());
        let start = range.start + at;
        (len > 0).then_some((kind, start..start + len))
    })
}

pub(super) fn fix_nated_sdp(call: &mut Call<'_, '_>) -> Code {
    /// True, but no address was replaced.
    const NOTHING_REPLACED: Code = Code(2);
    let Some(nathelper) = call.state::<Nathelper>() else {
        return Code::FALSE;
    };
    let flags = call.int(0);
    let given = call.has(1).then(|| call.text_owned(1));
    let Context {
        msg, lumps, source, ..
    } = &mut *call.env.ctx;
    let (body, base) = (msg.body(), msg.body_range().start);
    if body.is_empty() {
        crate::log::error(
            "nathelper",
            format_args!("fix_nated_sdp(): the message has no body"),
        );
        return Code::FALSE;
    }
    let address = match given {
        Some(text) if std::str::from_utf8(&text).is_ok_and(|t| t.parse::<IpAddr>().is_ok()) => text,
        Some(text) => {
            let text = String::from_utf8_lossy(&text);
            crate::log::error(
                "nathelper",
                format_args!("fix_nated_sdp(): {text:?} is no IP address"),
            );
            return Code::FALSE;
        }
        None => source.peer.ip().to_string().into_bytes(),
    };
    let mut old = Vec::new();
    for pass in [MEDIA, ORIGIN] {
        for (kind, range) in addresses(body) {
            if flags & pass == 0 || (kind == Kind::Origin) != (pass == ORIGIN) {
                continue;
            }
            old.extend_from_slice(b"a=oldmediaip:");
            old.extend_from_slice(body.get(range.clone()).unwrap_or_default());
            old.extend_from_slice(b"\r\n");
            lumps.replace(base + range.start..base + range.end, &address);
        }
    }
    let replaced = !old.is_empty();
    let end = base + body.len();
    let mut added = Vec::new();
    if flags & DIRECTION != 0 {
        let mut media = lines(body).filter(|range| {
            body.get(range.clone())
                .is_some_and(|line| line.starts_with(b"m="))
        });
        // Each media section ends where the next begins, the last with the body.
        if media.next().is_some() {
            for next in media {
                lumps.insert(base + next.start, b"a=direction:active\r\n");
            }
            added.extend_from_slice(b"a=direction:active\r\n");
        }
    }
    if flags & MARK != 0 {
        added.extend_from_slice(&nathelper.nortpproxy_str);
    }
    if nathelper.append_sdp_oldmediaip {
        added.extend_from_slice(&old);
    }
    if !added.is_empty() {
        if !body.ends_with(b"\n") {
            lumps.insert(end, b"\r\n");
        }
        lumps.insert(end, &added);
    }
    if replaced || !added.is_empty() {
        lumps.require_content_length();
    }
    if replaced { Code::TRUE } else { NOTHING_REPLACED }
}
