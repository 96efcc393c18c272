//! Iterators over headers and body lines; up to four of each per worker (Kamailio textopsx).

use crate::modules::textops::headers::lines;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::value::Value;
use std::cell::RefCell;
use std::ops::Range;

/// The most iterators of a kind.
const MOST: usize = 4;

/// A walk under way: none before the first step.
struct Walk {
    name: Box<[u8]>,
    /// The message it walks, by number.
    message: u64,
    at: Option<usize>,
}

/// The walks of one kind.
type Walks = RefCell<Vec<Walk>>;

thread_local! {
    static HEADERS: Walks = const { RefCell::new(Vec::new()) };
    static LINES: Walks = const { RefCell::new(Vec::new()) };
}

fn start(call: &mut Call<'_, '_>, walks: &Walks) -> Code {
    let (name, message) = (call.text(0), call.env.ctx.id);
    let mut walks = walks.borrow_mut();
    walks.retain(|walk| *walk.name != *name && walk.message == message);
    if walks.len() >= MOST {
        crate::log::error(
            "textopsx",
            format_args!("{}: {MOST} iterators are open already", call.name),
        );
        return Code::FALSE;
    }
    walks.push(Walk {
        name: (*name).into(),
        message,
        at: None,
    });
    Code::TRUE
}

fn end(call: &mut Call<'_, '_>, walks: &Walks) -> Code {
    let name = call.text(0);
    let mut walks = walks.borrow_mut();
    let before = walks.len();
    walks.retain(|walk| *walk.name != *name);
    Code::from(walks.len() < before)
}

/// Changes the place of a walk; false when it is not open.
fn step(
    call: &Call<'_, '_>,
    walks: &Walks,
    to: impl FnOnce(Option<usize>) -> Option<usize>,
) -> Option<usize> {
    let (name, message) = (call.text(0), call.env.ctx.id);
    let mut walks = walks.borrow_mut();
    let walk = walks
        .iter_mut()
        .find(|walk| *walk.name == *name && walk.message == message)?;
    let place = to(walk.at)?;
    walk.at = Some(place);
    Some(place)
}

fn place(env: &Env<'_>, walks: &Walks, name: &[u8]) -> Option<usize> {
    let walks = walks.borrow();
    walks
        .iter()
        .find(|walk| *walk.name == *name && walk.message == env.ctx.id)?
        .at
}

pub(super) fn start_headers(call: &mut Call<'_, '_>) -> Code {
    HEADERS.with(|walks| start(call, walks))
}

pub(super) fn end_headers(call: &mut Call<'_, '_>) -> Code {
    HEADERS.with(|walks| end(call, walks))
}

pub(super) fn next_header(call: &mut Call<'_, '_>) -> Code {
    let count = call.env.ctx.msg.headers().len();
    let next = |at: Option<usize>| Some(at.map_or(0, |at| at + 1)).filter(|at| *at < count);
    Code::from(HEADERS.with(|walks| step(call, walks, next)).is_some())
}

pub(super) fn previous_header(call: &mut Call<'_, '_>) -> Code {
    Code::from(
        HEADERS
            .with(|walks| step(call, walks, |at| at?.checked_sub(1)))
            .is_some(),
    )
}

/// Runs `edit` with the header that a walk stands at.
fn at_header(
    call: &mut Call<'_, '_>,
    edit: impl FnOnce(&mut shared::sip::Lumps, &shared::sip::Header),
) -> Code {
    let at = HEADERS.with(|walks| place(call.env, walks, &call.text(0)));
    let ctx = &mut *call.env.ctx;
    match at.and_then(|at| ctx.msg.headers().get(at)) {
        Some(header) => {
            edit(&mut ctx.lumps, header);
            Code::TRUE
        }
        None => Code::FALSE,
    }
}

pub(super) fn remove_header(call: &mut Call<'_, '_>) -> Code {
    at_header(call, |lumps, header| lumps.delete_header(header))
}

pub(super) fn append_header(call: &mut Call<'_, '_>) -> Code {
    let text = lines(call.text(1));
    at_header(call, |lumps, header| lumps.insert_after(header, &text))
}

pub(super) fn insert_header(call: &mut Call<'_, '_>) -> Code {
    let text = lines(call.text(1));
    at_header(call, |lumps, header| lumps.insert_before(header, &text))
}

pub(super) fn header_name<'e>(env: &'e Env<'_>, name: &[u8]) -> Value<'e> {
    let at = HEADERS.with(|walks| place(env, walks, name));
    let msg = &env.ctx.msg;
    Value::maybe(
        at.and_then(|at| msg.headers().get(at))
            .map(|header| msg.name(header)),
    )
}

pub(super) fn header_value<'e>(env: &'e Env<'_>, name: &[u8]) -> Value<'e> {
    let at = HEADERS.with(|walks| place(env, walks, name));
    let msg = &env.ctx.msg;
    Value::maybe(
        at.and_then(|at| msg.headers().get(at))
            .map(|header| msg.value(header)),
    )
}

/// The line of the body that begins at an offset, its end included.
fn line_at(body: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = body.get(start..).filter(|rest| !rest.is_empty())?;
    Some(start..memchr::memchr(b'\n', rest).map_or(body.len(), |at| start + at + 1))
}

pub(super) fn start_lines(call: &mut Call<'_, '_>) -> Code {
    LINES.with(|walks| start(call, walks))
}

pub(super) fn end_lines(call: &mut Call<'_, '_>) -> Code {
    LINES.with(|walks| end(call, walks))
}

pub(super) fn next_line(call: &mut Call<'_, '_>) -> Code {
    let body = call.env.ctx.msg.body();
    let next = |at: Option<usize>| match at {
        None => line_at(body, 0).map(|_| 0),
        Some(at) => line_at(body, line_at(body, at)?.end).map(|line| line.start),
    };
    Code::from(LINES.with(|walks| step(call, walks, next)).is_some())
}

/// The line that a walk stands at, in the body.
fn current(env: &Env<'_>, name: &[u8]) -> Option<Range<usize>> {
    line_at(env.ctx.msg.body(), LINES.with(|walks| place(env, walks, name))?)
}

/// Runs `edit` with the line that a walk stands at, in the message.
fn at_line(call: &mut Call<'_, '_>, edit: impl FnOnce(&mut shared::sip::Lumps, Range<usize>)) -> Code {
    let Some(line) = current(call.env, &call.text(0)) else {
        return Code::FALSE;
    };
    let start = call.env.ctx.msg.body_range().start;
    edit(&mut call.env.ctx.lumps, start + line.start..start + line.end);
    Code::TRUE
}

pub(super) fn remove_line(call: &mut Call<'_, '_>) -> Code {
    at_line(call, |lumps, line| lumps.delete(line))
}

pub(super) fn append_line(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(1);
    at_line(call, |lumps, line| lumps.insert(line.end, &text))
}

pub(super) fn insert_line(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(1);
    at_line(call, |lumps, line| lumps.insert(line.start, &text))
}

pub(super) fn line<'e>(env: &'e Env<'_>, name: &[u8]) -> Value<'e> {
    Value::maybe(current(env, name).and_then(|line| env.ctx.msg.body().get(line)))
}
