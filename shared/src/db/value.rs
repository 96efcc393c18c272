//! A cell of a table, in the types of Kamailio's DB API (`lib/srdb1`: int, double, string, blob, time).

use std::borrow::Cow;
use std::fmt;

use super::time;

/// What one cell holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// SQL NULL.
    #[default]
    Null,
    /// Any integer.
    Int(i64),
    /// Any floating point number.
    Double(f64),
    /// Text; nearly always UTF-8, but what peers send is kept as it came.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
    /// A point in time, in seconds since 1970 UTC. Each engine stores it as Kamailio does: a Julian day on SQLite,
    /// local `YYYY-MM-DD HH:MM:SS` on MySQL and PostgreSQL, seconds in dbtext.
    DateTime(i64),
}

/// What a column was declared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Integers of any width.
    Int,
    /// Floating point.
    Double,
    /// Text.
    Text,
    /// Bytes.
    Blob,
    /// Date and time.
    DateTime,
}

impl Value {
    /// Makes text of bytes or a string.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }

    /// Tells whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The integer it is or spells.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) | Self::DateTime(n) => Some(*n),
            // `as` saturates, which is what an out-of-range REAL in an integer column deserves.
            Self::Double(d) => Some(*d as i64),
            Self::Text(t) | Self::Blob(t) => std::str::from_utf8(t).ok()?.trim().parse().ok(),
            Self::Null => None,
        }
    }

    /// The number it is or spells.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Self::Int(n) | Self::DateTime(n) => Some(*n as f64),
            Self::Double(d) => Some(*d),
            Self::Text(t) | Self::Blob(t) => std::str::from_utf8(t).ok()?.trim().parse().ok(),
            Self::Null => None,
        }
    }

    /// Its bytes, when it is text or a blob.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(t) | Self::Blob(t) => Some(t),
            Self::Null | Self::Int(_) | Self::Double(_) | Self::DateTime(_) => None,
        }
    }

    /// Its text, when it is text in UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The point in time it is: a date, seconds since 1970, or `YYYY-MM-DD HH:MM:SS` in local time.
    pub fn as_time(&self) -> Option<i64> {
        match self {
            Self::DateTime(t) | Self::Int(t) => Some(*t),
            Self::Double(d) => Some(*d as i64),
            Self::Text(_) => time::from_local(self.as_str()?),
            Self::Null | Self::Blob(_) => None,
        }
    }

    /// Writes it as an operator reads it: empty for NULL, local time for dates.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Null => Cow::Borrowed(b""),
            Self::Int(n) => Cow::Owned(n.to_string().into_bytes()),
            Self::Double(d) => Cow::Owned(d.to_string().into_bytes()),
            Self::Text(t) | Self::Blob(t) => Cow::Borrowed(t),
            Self::DateTime(t) => Cow::Owned(time::to_local(*t).into_bytes()),
        }
    }

    /// Turns it into what a column of `kind` holds, where that loses nothing; otherwise leaves it.
    pub fn coerced(&self, kind: Kind) -> Cow<'_, Self> {
        let changed = match (self, kind) {
            (Self::Text(_), Kind::Int) => self.as_int().map(Self::Int),
            (Self::Text(_) | Self::Int(_), Kind::Double) => self.as_double().map(Self::Double),
            (Self::Text(_) | Self::Int(_), Kind::DateTime) => self.as_time().map(Self::DateTime),
            (Self::Text(t), Kind::Blob) => Some(Self::Blob(t.clone())),
            (Self::Blob(t), Kind::Text) => Some(Self::Text(t.clone())),
            (Self::Int(_) | Self::Double(_) | Self::DateTime(_), Kind::Text) => {
                Some(Self::Text(self.to_bytes().into_owned()))
            }
            (Self::DateTime(t), Kind::Int) => Some(Self::Int(*t)),
            (Self::Double(d), Kind::Int) if d.fract() == 0.0 => Some(Self::Int(*d as i64)),
            _ => None,
        };
        changed.map_or(Cow::Borrowed(self), Cow::Owned)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into_bytes())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Self {
        Self::Text(text.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(text: &[u8; N]) -> Self {
        Self::Text(text.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(text: Vec<u8>) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(flag.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_what_it_spells() {
        assert_eq!(Value::from("42").as_int(), Some(42));
        assert_eq!(Value::from("x").as_int(), None);
        assert_eq!(Value::Double(1e300).as_int(), Some(i64::MAX));
        assert_eq!(Value::Null.as_bytes(), None);
        assert_eq!(Value::from(None::<&str>), Value::Null);
        assert_eq!(Value::DateTime(7).as_time(), Some(7));
        assert_eq!(Value::Text(vec![0xff]).as_str(), None);
        assert_eq!(Value::Null.to_string(), "");
    }

    #[test]
    fn coerces_only_without_loss() {
        assert_eq!(*Value::from("7").coerced(Kind::Int), Value::Int(7));
        assert_eq!(*Value::from("seven").coerced(Kind::Int), Value::from("seven"));
        assert_eq!(*Value::Int(7).coerced(Kind::Text), Value::from("7"));
        assert_eq!(*Value::Double(1.5).coerced(Kind::Int), Value::Double(1.5));
        assert_eq!(*Value::Null.coerced(Kind::Int), Value::Null);
    }
}
