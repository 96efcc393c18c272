//! Branches besides the first: `$branch(name)` `$sbranch(name)` `$br` `$bR` (Kamailio pseudo-variables cookbook).

use super::compile_name;
use super::number;
use super::optional;
use super::place;
use super::refused;
use super::source::find_socket;
use crate::proxy::branch::Branch;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;
use std::cell::RefCell;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::class(&["branch"], "A part of an appended branch: uri, dst_uri, path, q, send_socket, count, flags, ruid, location_ua, instance.", |inner| compile_name(inner, PARTS), read).settable(write),
    Pv::class(&["sbranch"], "The same of the static branch that sbranch_* functions use.", |inner| compile_name(inner, PARTS), read_static).settable(write_static),
    Pv::plain(&["br"], "URI of the first appended branch; an assignment appends one.", first).settable(append),
    Pv::plain(&["bR"], "URIs of all appended branches.", all),
];

const PARTS: &[&str] = &[
    "uri",
    "dst_uri",
    "path",
    "q",
    "send_socket",
    "count",
    "flags",
    "ruid",
    "location_ua",
    "instance",
    "otcpid",
];

thread_local! {
    /// The static branch of this worker.
    static STATIC: RefCell<Branch> = RefCell::new(empty());
}

fn empty() -> Branch {
    Branch {
        uri: Vec::new(),
        dst_uri: None,
        path: None,
        q: -1,
        flags: 0,
        socket: None,
        instance: None,
        ruid: None,
        location_ua: None,
    }
}

/// Works on the static branch of this worker.
pub(crate) fn with_static<R>(work: impl FnOnce(&mut Branch) -> R) -> R {
    STATIC.with_borrow_mut(work)
}

/// Forgets the static branch.
pub(crate) fn reset_static() {
    STATIC.with_borrow_mut(|branch| *branch = empty());
}

/// A q in thousandths as text: `0.5`, `1`.
pub(crate) fn q_text(q: i32) -> Option<String> {
    match q {
        ..0 => None,
        1000.. => Some("1".to_owned()),
        0 => Some("0".to_owned()),
        _ => Some(format!("0.{q:03}").trim_end_matches('0').to_owned()),
    }
}

/// A q as thousandths; -1 when it is none.
pub(crate) fn q_number(text: &[u8]) -> i32 {
    shared::sip::header::contact::q_thousandths(text).map_or(-1, i32::from)
}

/// Appends `<uri>;q=…`.
pub(super) fn push_contact(out: &mut Vec<u8>, uri: &[u8], q: i32) {
    out.push(b'<');
    out.extend_from_slice(uri);
    out.push(b'>');
    if let Some(q) = q_text(q) {
        out.extend_from_slice(b";q=");
        out.extend_from_slice(q.as_bytes());
    }
}

fn part<'e>(env: &'e Env<'_>, branch: &'e Branch, which: i64) -> Value<'e> {
    match which {
        0 => Value::text_or_null(&branch.uri),
        1 => optional(branch.dst_uri.as_ref()),
        2 => optional(branch.path.as_ref()),
        // Kamailio: q is shown in thousandths, though it is assigned as a fraction
        3 => {
            if branch.q < 0 {
                Value::Null
            } else {
                Value::Int(i64::from(branch.q))
            }
        }
        4 => match branch.socket.and_then(|id| env.host.sockets().get(id)) {
            Some(l) => Value::owned(format!("{}:{}", l.transport.as_str(), l.address).into_bytes()),
            None => Value::Null,
        },
        6 => Value::Int(i64::from(branch.flags)),
        7 => optional(branch.ruid.as_ref()),
        8 => optional(branch.location_ua.as_ref()),
        9 => optional(branch.instance.as_ref()),
        _ => Value::Null,
    }
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let branches = &env.ctx.branches;
    let which = number(spec);
    if which == 5 {
        // Kamailio: no branches are null, which equals 0
        return if branches.is_empty() {
            Value::Null
        } else {
            Value::Int(branches.len() as i64)
        };
    }
    let found = place(spec.at(env), branches.len()).and_then(|at| branches.get(at));
    found.map_or(Value::Null, |branch| part(env, branch, which))
}

fn write(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let missing = || SetError::Missing("there is no such branch".to_owned());
    let at = place(spec.at(env), env.ctx.branches.len()).ok_or_else(missing)?;
    if number(spec) == 0 && value.is_null() {
        env.ctx.branches.remove(at);
        return Ok(());
    }
    let socket = socket_of(env, spec, &value)?;
    let branch = env.ctx.branches.get_mut(at).ok_or_else(missing)?;
    set_part(branch, number(spec), &value, socket)
}

/// The socket in a value that shall become a branch's.
fn socket_of(env: &Env<'_>, spec: &PvSpec, value: &Value<'_>) -> Result<Option<u16>, SetError> {
    if number(spec) != 4 || value.is_null() {
        return Ok(None);
    }
    find_socket(env, &value.to_text())
        .map(Some)
        .ok_or_else(|| refused(value))
}

fn set_part(branch: &mut Branch, which: i64, value: &Value<'_>, socket: Option<u16>) -> Result<(), SetError> {
    let text = (!value.is_null()).then(|| value.to_text().into_owned());
    match which {
        0 => branch.uri = text.unwrap_or_default(),
        1 => branch.dst_uri = text,
        2 => branch.path = text,
        3 => {
            branch.q = match value {
                Value::Int(thousandths) => i32::try_from(*thousandths).unwrap_or(-1),
                _ => text.map_or(-1, |text| q_number(&text)),
            }
        }
        4 => branch.socket = socket,
        6 => branch.flags = u32::try_from(value.to_int()).map_err(|_| refused(value))?,
        _ => return Err(SetError::Missing("it cannot be assigned to".to_owned())),
    }
    Ok(())
}

fn read_static<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    STATIC.with_borrow(|branch| part(env, branch, number(spec)).into_owned())
}

fn write_static(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let socket = socket_of(env, spec, &value)?;
    with_static(|branch| set_part(branch, number(spec), &value, socket))
}

fn first<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    env.ctx
        .branches
        .first()
        .map_or(Value::Null, |branch| Value::text(&branch.uri))
}

fn append(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    if value.is_null() {
        env.ctx.branches.clear();
        return Ok(());
    }
    let uri = value.to_text();
    if uri.is_empty() {
        return Err(refused(&value));
    }
    let branch = Branch {
        uri: uri.clone().into_owned(),
        ..empty()
    };
    env.ctx.append_branch(branch).map_err(|_| refused(&value))
}

fn all<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    let branches = &env.ctx.branches;
    if branches.is_empty() {
        return Value::Null;
    }
    let mut out = Vec::new();
    for branch in branches {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        // Kamailio: brackets only where a q follows
        if branch.q < 0 {
            out.extend_from_slice(&branch.uri);
        } else {
            push_contact(&mut out, &branch.uri, branch.q);
        }
    }
    Value::owned(out)
}
