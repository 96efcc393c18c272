//! Other names in From and To: `uac_replace_from` and its kin, and putting back what was there.

use super::Uac;
use super::store;
use crate::log;
use crate::proxy::loose_route;
use crate::proxy::loose_route::Direction;
use crate::script::lists::Originals;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::NameAddr;
use shared::sip::Uri;
use std::ops::Range;

/// Whether replacements are remembered, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restore {
    /// Not at all.
    None,
    /// Replies are restored; requests only by `uac_restore_from()`.
    Manual,
    /// Replies and requests within the dialog are restored.
    Auto,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    From,
    To,
}

impl End {
    fn header(self) -> HeaderName {
        match self {
            Self::From => HeaderName::From,
            Self::To => HeaderName::To,
        }
    }

    fn parameter(self, state: &Uac) -> &[u8] {
        match self {
            Self::From => &state.from_param,
            Self::To => &state.to_param,
        }
    }

    /// The header in which the same party stands in requests of the other direction.
    fn other(self) -> Self {
        match self {
            Self::From => Self::To,
            Self::To => Self::From,
        }
    }
}

/// Where name and URI stand in the message.
struct Place<'a> {
    addr: NameAddr<'a>,
    display: Range<usize>,
    uri: Range<usize>,
    brackets: bool,
    /// Name and URI as they stand, without parameters.
    head: &'a [u8],
}

fn place(msg: &Message, end: End) -> Option<Place<'_>> {
    let header = msg.first_header(end.header())?;
    let value = msg.value(header);
    let addr = NameAddr::parse(value).ok()?;
    let whole = msg.as_bytes();
    let range = |part: &[u8]| {
        let at = (part.as_ptr().addr()).checked_sub(whole.as_ptr().addr())?;
        (at + part.len() <= whole.len()).then_some(at..at + part.len())
    };
    let value_range = range(value)?;
    let uri = range(addr.uri)?;
    let brackets = uri.start.checked_sub(1).and_then(|at| whole.get(at)) == Some(&b'<');
    let display = if addr.display.is_empty() {
        value_range.start..value_range.start
    } else {
        range(addr.display)?
    };
    let head = whole.get(value_range.start..uri.end + usize::from(brackets))?;
    Some(Place {
        addr,
        display,
        uri,
        brackets,
        head,
    })
}

/// `uac_replace_from([display,] uri)` and `uac_replace_to`.
pub(super) fn replace(call: &mut Call<'_, '_>, end: End) -> Code {
    let Some(state) = call.state::<Uac>() else {
        return Code::FALSE;
    };
    let (display, uri) = match call.count() {
        1 => (None, call.text_owned(0)),
        _ => (Some(call.text_owned(0)), call.text_owned(1)),
    };
    if [&uri, display.as_ref().unwrap_or(&uri)]
        .iter()
        .any(|text| text.iter().any(|b| matches!(b, b'\r' | b'\n')))
    {
        log::error("uac", format_args!("a name or URI with a line end is refused"));
        return Code::FALSE;
    }
    let env = &mut *call.env;
    let Some(place) = place(&env.ctx.msg, end) else {
        log::error(
            "uac",
            format_args!("the request has no {} that can be read", end.header().as_str()),
        );
        return Code::FALSE;
    };
    let lumps = &mut env.ctx.lumps;
    let mut needs_brackets = false;
    match &display {
        None => {}
        Some(name) if name.is_empty() => lumps.delete(place.display.clone()),
        Some(name) if !place.addr.display.is_empty() => lumps.replace(place.display.clone(), name),
        Some(name) if place.brackets => lumps.insert(place.uri.start - 1, &[name, &b" "[..]].concat()),
        Some(name) => {
            needs_brackets = true;
            lumps.insert(place.uri.start, &[name, &b" <"[..]].concat());
        }
    }
    let new = if uri.is_empty() { place.addr.uri } else { &*uri };
    let text = if needs_brackets {
        [new, b">"].concat()
    } else {
        new.to_vec()
    };
    if needs_brackets || !uri.is_empty() {
        lumps.replace(place.uri.clone(), &text);
    }
    if uri.is_empty() || state.restore == Restore::None {
        return Code::TRUE;
    }
    let head = place.head.to_vec();
    let param = [
        b";",
        end.parameter(state),
        b"=",
        &store::encode(place.addr.uri, &uri, &state.password),
    ]
    .concat();
    env.ctx.rr_params.extend_from_slice(&param);
    remember(env, end, head);
    Code::TRUE
}

fn remember(env: &mut Env<'_>, end: End, head: Vec<u8>) {
    let originals = env.lists.originals.get_or_insert_default();
    let slot = match end {
        End::From => &mut originals.from,
        End::To => &mut originals.to,
    };
    // a second replacement still hides what was received
    slot.get_or_insert(head);
}

/// A request within a dialog: the other party's name for each end takes the place of this one's.
pub(super) fn loose_routed(env: &mut Env<'_>) {
    let Some(state) = env.state::<Uac>() else { return };
    if state.restore == Restore::Auto {
        restore(state, env, End::From);
        restore(state, env, End::To);
    }
}

/// Applies what our Route tells of an end that was replaced when the dialog began; false when it tells nothing.
fn restore(state: &Uac, env: &mut Env<'_>, replaced: End) -> bool {
    let Some(route) = env.ctx.route_uri.as_deref() else {
        return false;
    };
    let param = Uri::parse(route)
        .ok()
        .and_then(|uri| uri.param(replaced.parameter(state)).flatten());
    let Some(param) = param else { return false };
    let end = match loose_route::direction(route, env.ctx.msg.from_tag()) {
        Direction::Downstream => replaced,
        Direction::Upstream => replaced.other(),
    };
    let Some(place) = place(&env.ctx.msg, end) else {
        return false;
    };
    let Some(uri) = store::decode(param, place.addr.uri, &state.password) else {
        log::warning(
            "uac",
            format_args!(
                "the Route's {} does not fit",
                String::from_utf8_lossy(end.parameter(state))
            ),
        );
        return false;
    };
    if Uri::parse(&uri).is_err() {
        log::warning("uac", format_args!("what the Route hides is no URI"));
        return false;
    }
    env.ctx.lumps.replace(place.uri, &uri);
    let head = place.head.to_vec();
    remember(env, end, head);
    true
}

/// `uac_restore_from()`, `uac_restore_to()`.
pub(super) fn restore_now(call: &mut Call<'_, '_>, end: End) -> Code {
    let Some(state) = call.state::<Uac>() else {
        return Code::FALSE;
    };
    // the party may have been either end when the dialog began
    let upstream = call.env.ctx.route_uri.as_deref().is_some_and(|route| {
        loose_route::direction(route, call.env.ctx.msg.from_tag()) == Direction::Upstream
    });
    Code::from(restore(state, call.env, if upstream { end.other() } else { end }))
}

/// A reply on its way back: names and URIs become those that the request came with.
pub(super) fn response_forwarded(env: &mut Env<'_>) {
    let Some(originals) = env.lists.originals.as_deref() else {
        return;
    };
    let Originals { from, to } = originals;
    let pairs = [(End::From, from), (End::To, to)];
    let edits = pairs.into_iter().filter_map(|(end, head)| {
        let (head, place) = (head.as_deref()?, place(&env.ctx.msg, end)?);
        let start = place
            .display
            .start
            .min(place.uri.start.saturating_sub(usize::from(place.brackets)));
        let range = start..place.uri.end + usize::from(place.brackets);
        (place.head != head).then(|| (range, head.to_vec()))
    });
    let edits: Vec<(Range<usize>, Vec<u8>)> = edits.collect();
    for (range, head) in edits {
        env.ctx.lumps.replace(range, &head);
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::script::testing::Bench;

    fn replaced(from: &str, display: &str, uri: &str) -> (String, String) {
        let mut bench = Bench::new(&[(&MODULE, &[])]);
        bench.receive(&format!(
            "OPTIONS sip:u@t.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: {from};tag=1\n\
             To: <sip:b@t.lan>\nCall-ID: c\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n"
        ));
        assert_eq!(bench.call("uac_replace_from", &[display, uri]), 1);
        let out = bench.ctx.lumps.apply(&bench.ctx.msg);
        let sent = String::from_utf8_lossy(&out).into_owned();
        let line = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("From:"))
                .unwrap_or_default()
                .to_owned()
        };
        let params = String::from_utf8_lossy(&bench.ctx.rr_params).into_owned();
        let lists = std::mem::take(&mut bench.lists);
        bench.receive(&sent.replace("OPTIONS sip:u@t.lan SIP/2.0", "SIP/2.0 200 OK"));
        bench.lists = lists;
        response_forwarded(&mut bench.env());
        let back = bench.ctx.lumps.apply(&bench.ctx.msg);
        (
            format!("{} {params}", line(&sent)),
            line(&String::from_utf8_lossy(&back)),
        )
    }

    /// As Kamailio 5.6.3 did it.
    #[test]
    fn names_and_uris_are_replaced_and_restored() {
        for (from, display, uri, sent, back) in [
            (
                "<sip:a@test.lan>",
                "Anon",
                "sip:q@r.s",
                "From: Anon <sip:q@r.s>;tag=1 ;vsf=AAAAABAABksAdC5sYW4-",
                "From: <sip:a@test.lan>;tag=1",
            ),
            (
                "sip:a@test.lan",
                "Anon",
                "",
                "From: Anon <sip:a@test.lan>;tag=1 ",
                "From: Anon <sip:a@test.lan>;tag=1",
            ),
            (
                "\"O\" <sip:a@test.lan>",
                "Z",
                "sip:q@r.s",
                "From: Z <sip:q@r.s>;tag=1 ;vsf=AAAAABAABksAdC5sYW4-",
                "From: \"O\" <sip:a@test.lan>;tag=1",
            ),
            (
                "\"O\" <sip:a@test.lan>",
                "",
                "sip:q@r.s",
                "From:  <sip:q@r.s>;tag=1 ;vsf=AAAAABAABksAdC5sYW4-",
                "From:  \"O\" <sip:a@test.lan>;tag=1",
            ),
            (
                "sip:a@test.lan",
                "",
                "sip:q@r.s",
                "From: sip:q@r.s;tag=1 ;vsf=AAAAABAABksAdC5sYW4-",
                "From: sip:a@test.lan;tag=1",
            ),
            (
                "O O <sip:a@test.lan>;x=y",
                "",
                "sip:q@r.s",
                "From:  <sip:q@r.s>;x=y;tag=1 ;vsf=AAAAABAABksAdC5sYW4-",
                "From:  O O <sip:a@test.lan>;x=y;tag=1",
            ),
        ] {
            assert_eq!(
                replaced(from, display, uri),
                (sent.to_owned(), back.to_owned()),
                "{from} {display}"
            );
        }
    }

    #[test]
    fn requests_within_the_dialog_follow() {
        let mut bench = Bench::new(&[(&MODULE, &[])]);
        let request = |from: &str, to: &str, ftag: &str| {
            format!(
                "BYE sip:u@t.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: {from};tag={ftag}\n\
                 To: {to};tag=9\nCall-ID: c\nCSeq: 2 BYE\nContent-Length: 0\n\n"
            )
        };
        let route = b"sip:127.0.0.1;lr;ftag=1;vsf=AAAAABAABksAdC5sYW4-".to_vec();
        for (from, to, ftag, expected) in [
            (
                "<sip:a@test.lan>",
                "<sip:b@t.lan>",
                "1",
                "From: <sip:q@r.s>;tag=1",
            ),
            (
                "<sip:b@t.lan>",
                "Z <sip:q@r.s>",
                "2",
                "To: Z <sip:a@test.lan>;tag=9",
            ),
        ] {
            bench.receive(&request(from, to, ftag));
            bench.ctx.route_uri = Some(route.clone());
            loose_routed(&mut bench.env());
            let out = bench.ctx.lumps.apply(&bench.ctx.msg);
            assert!(String::from_utf8_lossy(&out).contains(expected), "{expected}");
        }
    }
}
