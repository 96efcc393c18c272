//! Extended lists: `$xavp(a[0]=>b[0])` `$xavi(…)` `$xavu(…)` (Kamailio pseudo-variables cookbook).

use super::refused;
use crate::script::lists::Extended;
use crate::script::lists::Item;
use crate::script::lists::Lists;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::program::Format;
use crate::script::value::Value;
use crate::script::value::leading_int;
use std::borrow::Cow;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::class(
        &["xavp"],
        "A list of values, plain or named: root[n]=>field[n].",
        |inner| compile(inner, Family::Xavp),
        read,
    )
    .settable(write),
    Pv::class(
        &["xavi"],
        "The same, names without case.",
        |inner| compile(inner, Family::Xavi),
        read,
    )
    .settable(write),
    Pv::class(
        &["xavu"],
        "The same with one value a name.",
        |inner| compile(inner, Family::Xavu),
        read,
    )
    .settable(write),
];

/// The longest list of values a text is made of.
const LONGEST: usize = 1 << 16;

/// Which of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `$xavp`.
    Xavp,
    /// `$xavi`.
    Xavi,
    /// `$xavu`.
    Xavu,
}

impl Family {
    /// The list of a message.
    pub(crate) fn of(self, lists: &Lists) -> &Extended {
        match self {
            Self::Xavp => &lists.xavp,
            Self::Xavi => &lists.xavi,
            Self::Xavu => &lists.xavu,
        }
    }

    /// The list of a message, to change.
    pub(crate) fn of_mut(self, lists: &mut Lists) -> &mut Extended {
        match self {
            Self::Xavp => &mut lists.xavp,
            Self::Xavi => &mut lists.xavi,
            Self::Xavu => &mut lists.xavu,
        }
    }

    /// A name as the list keeps it.
    pub(crate) fn key(self, name: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
        if self == Self::Xavi {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            name
        }
    }
}

/// A compiled `root[n]=>field[n]`.
#[derive(Debug)]
pub(crate) struct Path {
    /// Which list.
    pub(crate) family: Family,
    root: Step,
    field: Option<Step>,
}

#[derive(Debug)]
struct Step {
    name: Name,
    index: At,
}

#[derive(Debug)]
enum Name {
    Text(Box<[u8]>),
    Format(Format),
}

#[derive(Debug)]
enum At {
    None,
    Number(i64),
    All,
    Format(Format),
}

/// An index as it stands when the script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// None written.
    None,
    /// A number, negative from the oldest.
    Number(i64),
    /// `[*]`.
    All,
}

fn compile(inner: &PvInner<'_>, family: Family) -> Result<PvData, String> {
    let text = inner.text;
    let (root, field) = match memchr::memmem::find(text, b"=>") {
        Some(arrow) => (text.get(..arrow).unwrap_or_default(), text.get(arrow + 2..)),
        None => (text, None),
    };
    let root = step(inner, root, family)?;
    let field = field.map(|field| step(inner, field, family)).transpose()?;
    Ok(PvData::Other(Box::new(Path { family, root, field })))
}

fn step(inner: &PvInner<'_>, text: &[u8], family: Family) -> Result<Step, String> {
    let text = text.trim_ascii();
    let (name, index) = match (memchr::memchr(b'[', text), text.strip_suffix(b"]")) {
        (Some(open), Some(_)) => {
            let index = text
                .get(open + 1..text.len() - 1)
                .unwrap_or_default()
                .trim_ascii();
            (text.get(..open).unwrap_or_default(), Some(index))
        }
        _ => (text, None),
    };
    if name.is_empty() {
        return Err("name is empty".into());
    }
    let index = match index {
        None => At::None,
        Some(b"*") => At::All,
        Some(index) if index.contains(&b'$') => At::Format((inner.parse)(index)?),
        Some(index) => match std::str::from_utf8(index)
            .ok()
            .and_then(|digits| digits.parse().ok())
        {
            Some(n) => At::Number(n),
            None => return Err(format!("index {:?} is no number", String::from_utf8_lossy(index))),
        },
    };
    let name = if name.contains(&b'$') {
        Name::Format((inner.parse)(name)?)
    } else {
        Name::Text(family.key(Cow::Borrowed(name)).into())
    };
    Ok(Step { name, index })
}

impl Step {
    fn name<'e>(&'e self, env: &'e Env<'_>, family: Family) -> Cow<'e, [u8]> {
        match &self.name {
            Name::Text(text) => Cow::Borrowed(text),
            Name::Format(format) => family.key(format.expand(env)),
        }
    }

    fn index(&self, env: &Env<'_>) -> Chosen {
        match &self.index {
            At::None => Chosen::None,
            At::Number(n) => Chosen::Number(*n),
            At::All => Chosen::All,
            At::Format(format) => Chosen::Number(leading_int(&format.expand(env)).unwrap_or(0)),
        }
    }
}

impl Path {
    /// Root name and index.
    pub(crate) fn root<'e>(&'e self, env: &'e Env<'_>) -> (Cow<'e, [u8]>, Chosen) {
        (self.root.name(env, self.family), self.root.index(env))
    }

    /// Field name and index, when there is a field.
    pub(crate) fn field<'e>(&'e self, env: &'e Env<'_>) -> Option<(Cow<'e, [u8]>, Chosen)> {
        self.field
            .as_ref()
            .map(|field| (field.name(env, self.family), field.index(env)))
    }

    /// How many values it means, for `$cnt`.
    pub(crate) fn count(&self, env: &Env<'_>) -> usize {
        let list = self.family.of(env.lists);
        let (root, chosen) = self.root(env);
        let roots: Vec<&Item> = match chosen {
            Chosen::None | Chosen::All => list.items(&root).collect(),
            Chosen::Number(n) => list.item(&root, n).into_iter().collect(),
        };
        let Some((field, which)) = self.field(env) else {
            return roots.len();
        };
        let fields = |item: &Item| match (item, which) {
            (Item::Plain(_), _) => 0,
            (Item::Fields(fields), Chosen::None | Chosen::All) => named(fields, &field).count(),
            (Item::Fields(fields), Chosen::Number(n)) => usize::from(nth(fields, &field, n).is_some()),
        };
        roots.into_iter().map(fields).sum()
    }
}

type Fields = [(Box<[u8]>, Value<'static>)];

fn named<'a>(fields: &'a Fields, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a Value<'static>> {
    fields
        .iter()
        .filter(move |(known, _)| **known == *name)
        .map(|(_, value)| value)
}

fn nth<'a>(fields: &'a Fields, name: &'a [u8], index: i64) -> Option<&'a Value<'static>> {
    if index >= 0 {
        named(fields, name).nth(usize::try_from(index).ok()?)
    } else {
        named(fields, name).nth_back(usize::try_from(-(index + 1)).ok()?)
    }
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some(path) = spec.other::<Path>() else {
        return Value::Null;
    };
    let (root, chosen) = path.root(env);
    let index = if let Chosen::Number(n) = chosen { n } else { 0 };
    let Some(item) = path.family.of(env.lists).item(&root, index) else {
        return Value::Null;
    };
    match (item, path.field(env)) {
        (Item::Plain(value), None) => value.borrow(),
        // Kamailio shows an address in memory
        (Item::Fields(_), None) => Value::text(b"<<xavp>>"),
        (Item::Plain(_), Some(_)) => Value::Null,
        (Item::Fields(fields), Some((name, Chosen::All))) => joined(named(fields, &name)),
        (Item::Fields(fields), Some((name, which))) => {
            let n = if let Chosen::Number(n) = which { n } else { 0 };
            // the list outlives the name that was looked up in it
            let at = position(fields, &name, n);
            at.and_then(|at| fields.get(at))
                .map_or(Value::Null, |(_, value)| value.borrow())
        }
    }
}

fn position(fields: &Fields, name: &[u8], index: i64) -> Option<usize> {
    let mut places = fields
        .iter()
        .enumerate()
        .filter(|(_, (known, _))| **known == *name)
        .map(|(at, _)| at);
    if index >= 0 {
        places.nth(usize::try_from(index).ok()?)
    } else {
        places.rev().nth(usize::try_from(-(index + 1)).ok()?)
    }
}

/// Values with commas between them, as `[*]` shows them; null without any.
pub(super) fn joined<'a>(values: impl Iterator<Item = &'a Value<'static>>) -> Value<'static> {
    let mut out: Option<Vec<u8>> = None;
    for value in values {
        let all = match &mut out {
            Some(all) => {
                all.extend_from_slice(b", ");
                all
            }
            None => out.insert(Vec::new()),
        };
        all.extend_from_slice(&value.to_text());
        if all.len() > LONGEST {
            break;
        }
    }
    out.map_or(Value::Null, Value::owned)
}

fn write(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let Some(path) = spec.other::<Path>() else {
        return Ok(());
    };
    let (root, chosen) = path.root(env);
    let root = root.into_owned();
    let field = path.field(env).map(|(name, which)| (name.into_owned(), which));
    let list = path.family.of_mut(env.lists);
    let value = value.into_owned();
    match field {
        None => write_root(list, path.family, &root, chosen, value),
        Some((field, which)) => write_field(list, path.family, (&root, chosen), (&field, which), value),
    }
}

/// The place of an index among `count` values.
fn among(chosen: Chosen, count: usize) -> Option<usize> {
    super::place(
        if let Chosen::Number(n) = chosen {
            Some(n)
        } else {
            None
        },
        count,
    )
}

fn write_root(
    list: &mut Extended,
    family: Family,
    root: &[u8],
    chosen: Chosen,
    value: Value<'static>,
) -> Result<(), SetError> {
    let missing = || SetError::Missing(format!("{}[…]", String::from_utf8_lossy(root)));
    let count = list.count(root);
    if value.is_null() {
        if chosen == Chosen::All || family == Family::Xavu {
            list.clear(root);
        } else if let Some(at) = among(chosen, count) {
            list.remove(root, at);
        }
        return Ok(());
    }
    match chosen {
        Chosen::None if family == Family::Xavu => list.clear(root),
        Chosen::None => {}
        Chosen::All => list.clear(root),
        Chosen::Number(_) => {
            let at = among(chosen, count)
                .and_then(|at| i64::try_from(at).ok())
                .ok_or_else(missing)?;
            *list.item_mut(root, at).ok_or_else(missing)? = Item::Plain(value);
            return Ok(());
        }
    }
    list.push(root, Item::Plain(value));
    Ok(())
}

fn write_field(
    list: &mut Extended,
    family: Family,
    (root, chosen): (&[u8], Chosen),
    (field, which): (&[u8], Chosen),
    value: Value<'static>,
) -> Result<(), SetError> {
    let count = list.count(root);
    let plain = |value: &Value<'_>| match value {
        Value::Null => SetError::Missing("the item holds a plain value".to_owned()),
        other => refused(other),
    };
    let fresh = chosen == Chosen::None && family != Family::Xavu && !value.is_null();
    if fresh || (family == Family::Xavu && count == 0 && !value.is_null()) {
        list.push(root, Item::Fields(vec![(field.into(), value)]));
        return Ok(());
    }
    // Kamailio: a field of an item that is not there is neither made nor refused
    let Some(at) = among(chosen, count).and_then(|at| i64::try_from(at).ok()) else {
        return Ok(());
    };
    let Some(item) = list.item_mut(root, at) else {
        return Ok(());
    };
    let Item::Fields(fields) = item else {
        return Err(plain(&value));
    };
    let known = position(fields, field, if let Chosen::Number(n) = which { n } else { 0 });
    match (value, which) {
        (Value::Null, Chosen::All) => fields.retain(|(name, _)| **name != *field),
        (Value::Null, _) => {
            if let Some(at) = known {
                fields.remove(at);
            }
        }
        (value, Chosen::All) => {
            fields.retain(|(name, _)| **name != *field);
            fields.insert(0, (field.into(), value));
        }
        (value, Chosen::None) if family != Family::Xavu => fields.insert(0, (field.into(), value)),
        (value, _) => match known.and_then(|at| fields.get_mut(at)) {
            Some((_, place)) => *place = value,
            None if family == Family::Xavu => fields.insert(0, (field.into(), value)),
            None => return Err(refused(&value)),
        },
    }
    Ok(())
}
