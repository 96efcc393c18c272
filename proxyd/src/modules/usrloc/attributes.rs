//! Attributes that a script keeps with a contact (usrloc parameter `xavp_contact`), packed into one text.

use crate::script::lists::Item;
use crate::script::lists::Owned;
use crate::script::value::Value;
use std::borrow::Cow;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute<'a> {
    /// A string.
    Text(&'a [u8]),
    /// An integer.
    Int(i64),
}

impl Attribute<'_> {
    /// Its text.
    pub(super) fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(n) => Cow::Owned(n.to_string().into_bytes()),
        }
    }
}

/// Packs one attribute behind the others: name, kind, value, with their lengths; false when one is too long.
pub(super) fn push(packed: &mut Vec<u8>, name: &[u8], value: &Attribute<'_>) -> bool {
    let text = value.text();
    let (Ok(name_len), Ok(len)) = (u8::try_from(name.len()), u16::try_from(text.len())) else {
        return false;
    };
    packed.push(name_len);
    packed.extend_from_slice(name);
    packed.push(u8::from(matches!(value, Attribute::Int(_))));
    packed.extend_from_slice(&len.to_le_bytes());
    packed.extend_from_slice(&text);
    true
}

/// Packs the fields of an `$xavp` item.
pub(crate) fn pack(item: &Item) -> Vec<u8> {
    let mut packed = Vec::new();
    let Item::Fields(fields) = item else { return packed };
    for (name, value) in fields {
        match value {
            Value::Null => continue,
            Value::Int(n) => push(&mut packed, name, &Attribute::Int(*n)),
            Value::Str(text) => push(&mut packed, name, &Attribute::Text(text)),
        };
    }
    packed
}

/// The packed attributes in order.
pub(super) fn iter(packed: &[u8]) -> impl Iterator<Item = (&[u8], Attribute<'_>)> {
    let mut rest = packed;
    std::iter::from_fn(move || {
        let (name_len, tail) = rest.split_first()?;
        let (name, tail) = tail.split_at_checked(usize::from(*name_len))?;
        let (kind, tail) = tail.split_first()?;
        let (len, tail) = tail.split_first_chunk()?;
        let (text, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        rest = tail;
        let number = || crate::script::value::leading_int(text).unwrap_or(0);
        Some((
            name,
            if *kind == 1 {
                Attribute::Int(number())
            } else {
                Attribute::Text(text)
            },
        ))
    })
}

/// The `$xavp` item that packed attributes were made of.
pub(crate) fn unpack(packed: &[u8]) -> Item {
    let owned = |value| -> Owned {
        match value {
            Attribute::Int(n) => Value::Int(n),
            Attribute::Text(text) => Value::owned(text),
        }
    };
    Item::Fields(
        iter(packed)
            .map(|(name, value)| (name.into(), owned(value)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were() {
        let item = Item::Fields(vec![
            (Box::from(&b"two"[..]), Value::owned(*b"zwei")),
            (Box::from(&b"one"[..]), Value::Int(-1)),
            (Box::from(&b"empty"[..]), Value::owned(*b"")),
        ]);
        assert_eq!(unpack(&pack(&item)), item);
        assert_eq!(pack(&Item::Plain(Value::Int(1))), b"");
        assert_eq!(iter(b"\x03ab").count(), 0, "what is cut off is left out");
    }
}
