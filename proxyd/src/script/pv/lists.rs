//! `$avp(name)` and `$cnt(…)` (Kamailio pseudo-variables cookbook).

use super::xavp::Path;
use super::xavp::joined;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::program::Format;
use crate::script::program::PvRef;
use crate::script::value::Value;
use std::borrow::Cow;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::class(
        &["avp"],
        "A value kept with the transaction; the newest first, [n] older ones, [*] all.",
        compile,
        read,
    )
    .settable(write),
    Pv::class(
        &["cnt"],
        "How many values the AVP or XAVP in the parentheses has.",
        compile_count,
        count,
    ),
];

/// The name in `$avp(…)`: `s:` in front of it says nothing; `i:` stays, for number names are others than digits.
pub(crate) fn avp_name(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    text.strip_prefix(b"s:").unwrap_or(text)
}

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    if inner.text.contains(&b'$') {
        return (inner.parse)(avp_name(inner.text)).map(PvData::Format);
    }
    let name = avp_name(inner.text);
    if name.is_empty() {
        Err("AVP name is empty".into())
    } else {
        Ok(PvData::Text(name.into()))
    }
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let name = spec.text(env);
    if spec.is_all() {
        return joined(env.lists.avps(&name));
    }
    let index = spec.at(env).unwrap_or(0);
    let at = match usize::try_from(index) {
        Ok(at) => at,
        // Kamailio: of the places counted from the end only the last is known, and it is the newest value
        Err(_) if index.unsigned_abs() == env.lists.avps(&name).count() as u64 => 0,
        Err(_) => return Value::Null,
    };
    match name {
        Cow::Borrowed(name) => env.lists.avps(name).nth(at).map_or(Value::Null, Value::borrow),
        Cow::Owned(name) => env
            .lists
            .avps(&name)
            .nth(at)
            .map_or(Value::Null, |value| value.clone()),
    }
}

fn write(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let name = spec.text(env).into_owned();
    let all = spec.is_all();
    // Kamailio: an index other than [*] is not looked at
    match (value, all) {
        (Value::Null, true) => env.lists.clear_avp(&name),
        (Value::Null, false) => {
            env.lists.remove_avp(&name, 0);
        }
        (value, all) => {
            if all {
                env.lists.clear_avp(&name);
            }
            env.lists.push_avp(&name, value.into_owned());
        }
    }
    Ok(())
}

/// The flags of the AVP that a pseudo-variable names; none when it names none, or there is none.
pub(in crate::script) fn flags<'e>(env: &'e mut Env<'_>, pv: &PvRef) -> Option<&'e mut u32> {
    if !pv.pv.names.contains(&"avp") {
        return None;
    }
    let name = pv.spec.text(env).into_owned();
    let at = usize::try_from(pv.spec.at(env).unwrap_or(0)).ok()?;
    env.lists.avp_flags(&name, at)
}

/// What `$cnt` counts.
enum Counted {
    Avp(Result<Box<[u8]>, Format>),
    Xavp(PvSpec),
}

fn compile_count(inner: &PvInner<'_>) -> Result<PvData, String> {
    let wrong = || {
        format!(
            "{:?} is neither an AVP nor an XAVP",
            String::from_utf8_lossy(inner.text)
        )
    };
    let text = inner.text.trim_ascii().strip_prefix(b"$").ok_or_else(wrong)?;
    let open = memchr::memchr(b'(', text).ok_or_else(wrong)?;
    let (class, rest) = (
        text.get(..open).unwrap_or_default(),
        text.get(open + 1..).unwrap_or_default(),
    );
    let name = rest.strip_suffix(b")").ok_or_else(wrong)?;
    let part = PvInner {
        text: name,
        format: inner.format,
        parse: inner.parse,
        names: inner.names,
        span: inner.span,
    };
    let counted = match class {
        b"avp" => match compile(&part)? {
            PvData::Format(format) => Counted::Avp(Err(format)),
            _ => Counted::Avp(Ok(avp_name(name).into())),
        },
        b"xavp" | b"xavi" | b"xavu" => {
            let row = super::find(class).and_then(|row| row.compile).ok_or_else(wrong)?;
            Counted::Xavp(PvSpec {
                data: row(&part)?,
                ..PvSpec::default()
            })
        }
        _ => return Err(wrong()),
    };
    Ok(PvData::Other(Box::new(counted)))
}

fn count<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let n = match spec.other::<Counted>() {
        Some(Counted::Avp(Ok(name))) => env.lists.avps(name).count(),
        Some(Counted::Avp(Err(format))) => env.lists.avps(&format.expand(env)).count(),
        Some(Counted::Xavp(spec)) => spec.other::<Path>().map_or(0, |path| path.count(env)),
        None => 0,
    };
    Value::Int(n as i64)
}
