//! BINRPC as kamcmd speaks it (Kamailio module ctl): packets of typed records, seen on the wire.
//!
//! A packet is `0xA1`, a byte of kind and lengths, the body's length, a cookie, the body. A record's first byte holds its
//! type in the low four bits and its size in the three above; the highest bit says that those three count the bytes
//! of a length that follows. A structure begins with a record of size 0 and ends with one that has the highest bit.

use serde_json::Map;
use serde_json::Value;

const MAGIC: u8 = 0xa1;
const INT: u8 = 0;
const STR: u8 = 1;
const DOUBLE: u8 = 2;
const STRUCT: u8 = 3;
const ARRAY: u8 = 4;
const AVP: u8 = 5;
const BYTES: u8 = 6;
/// How deep structures may lie in each other.
const DEEPEST: usize = 32;
/// The longest call.
pub(super) const LONGEST: usize = 1 << 20;

/// The kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Reply,
    Fault,
}

/// Why a packet cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("not a BINRPC packet")]
    Magic,
    #[error("packet of {0} bytes is too long")]
    TooLong(usize),
    #[error("record cut short")]
    Short,
    #[error("record of unknown type {0}")]
    Type(u8),
    #[error("structures nested too deep")]
    Deep,
    #[error("structure not closed, or closed twice")]
    Unbalanced,
}

/// The head of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) cookie: Vec<u8>,
    /// Bytes of the head itself, and of the body behind it.
    pub(super) len: usize,
    pub(super) body: usize,
}

/// Reads a packet's head; `None` until more bytes come.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, WireError> {
    match bytes.first() {
        None => return Ok(None),
        Some(&MAGIC) => {}
        Some(_) => return Err(WireError::Magic),
    }
    let Some(&flags) = bytes.get(1) else {
        return Ok(None);
    };
    let kind = match flags >> 4 {
        0 => Kind::Request,
        1 => Kind::Reply,
        3 => Kind::Fault,
        other => return Err(WireError::Type(other)),
    };
    let (len_size, cookie_size) = (usize::from(flags >> 2 & 3) + 1, usize::from(flags & 3) + 1);
    let len = 2 + len_size + cookie_size;
    let (Some(number), Some(cookie)) = (bytes.get(2..2 + len_size), bytes.get(2 + len_size..len)) else {
        return Ok(None);
    };
    let body = number.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    if body > LONGEST {
        return Err(WireError::TooLong(body));
    }
    Ok(Some(Head {
        kind,
        cookie: cookie.to_vec(),
        len,
        body,
    }))
}

/// Writes a packet.
pub(super) fn packet(kind: Kind, cookie: &[u8], body: &[u8]) -> Vec<u8> {
    let cookie = cookie
        .get(..cookie.len().min(4))
        .filter(|c| !c.is_empty())
        .unwrap_or(&[0]);
    let len = be_bytes(body.len() as u64, 1);
    let kind = match kind {
        Kind::Request => 0,
        Kind::Reply => 1,
        Kind::Fault => 3,
    };
    // At most four bytes each: two bits hold their number less one.
    let lengths = ((len.len() - 1) << 2 | (cookie.len() - 1)) as u8;
    let mut out = vec![MAGIC, kind << 4 | lengths];
    out.extend_from_slice(&len);
    out.extend_from_slice(cookie);
    out.extend_from_slice(body);
    out
}

/// A number in as few bytes as hold it, but at least `least`.
fn be_bytes(n: u64, least: usize) -> Vec<u8> {
    let bytes = n.to_be_bytes();
    let skip = bytes
        .iter()
        .take_while(|b| **b == 0)
        .count()
        .min(bytes.len() - least);
    bytes.iter().skip(skip).copied().collect()
}

/// Writes a value as the body of a reply: a list is a sequence of records, an empty structure nothing at all.
pub(super) fn reply_body(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Object(members) if members.is_empty() => {}
        Value::Array(list)
            if !list.is_empty() && list.iter().all(|v| named(v).is_some_and(|(_, v)| v.is_object())) =>
        {
            // Kamailio: structures that hold one named structure each make one with repeated names.
            structure(&mut out, |out| list.iter().for_each(|v| element(out, v)));
        }
        Value::Array(list) => list.iter().for_each(|v| record(&mut out, v)),
        other => record(&mut out, other),
    }
    out
}

/// Writes a fault: code and message.
pub(super) fn fault_body(code: i32, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    int(&mut out, INT, code.into());
    text(&mut out, STR, message);
    out
}

/// Writes a call, as a client does.
#[cfg(test)]
pub(super) fn call_body(method: &str, params: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, STR, method);
    params.iter().for_each(|v| record(&mut out, v));
    out
}

fn structure(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(STRUCT);
    fill(out);
    out.push(0x80 | STRUCT);
}

fn record(out: &mut Vec<u8>, value: &Value) {
    match value {
        // Kamailio: so kamcmd shows it
        Value::Null => text(out, STR, "<null string>"),
        Value::Bool(b) => int(out, INT, i64::from(*b)),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) if i32::try_from(i).is_ok() => int(out, INT, i),
            (None, Some(f)) if f.abs() < f64::from(i32::MAX / 1000) => {
                int(out, DOUBLE, (f * 1000.0).round() as i64);
            }
            // Clients hold numbers in 32 bits: what does not fit travels as text.
            _ => text(out, STR, &n.to_string()),
        },
        Value::String(s) => text(out, STR, s),
        Value::Array(list) => structure(out, |out| list.iter().for_each(|v| element(out, v))),
        Value::Object(members) => structure(out, |out| {
            for (name, value) in members {
                text(out, AVP, name);
                record(out, value);
            }
        }),
    }
}

/// An element of a list: a structure of one member is that member.
fn element(out: &mut Vec<u8>, value: &Value) {
    match named(value) {
        Some((name, value)) => {
            text(out, AVP, name);
            record(out, value);
        }
        None => record(out, value),
    }
}

fn named(value: &Value) -> Option<(&String, &Value)> {
    value
        .as_object()
        .filter(|m| m.len() == 1)
        .and_then(|m| m.iter().next())
}

fn int(out: &mut Vec<u8>, kind: u8, n: i64) {
    // A negative number fills the four bytes of a C int.
    let bytes = if n < 0 {
        (n as i32).to_be_bytes().to_vec()
    } else {
        be_bytes(n as u64, 0)
    };
    out.push((bytes.len() as u8) << 4 | kind);
    out.extend_from_slice(&bytes);
}

fn text(out: &mut Vec<u8>, kind: u8, s: &str) {
    // Texts end with a zero byte, which counts.
    let s = s.split('\0').next().unwrap_or_default();
    let len = s.len() + 1;
    if len < 8 {
        out.push((len as u8) << 4 | kind);
    } else {
        let len = be_bytes(len as u64, 1);
        out.push(0x80 | (len.len() as u8) << 4 | kind);
        out.extend_from_slice(&len);
    }
    out.extend_from_slice(s.as_bytes());
    out.push(0);
}

/// Reads the records of a body.
pub(super) fn read(body: &[u8]) -> Result<Vec<Value>, WireError> {
    let mut reader = Reader { rest: body };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        match reader.next(0)? {
            Record::Value(value) => values.push(value),
            Record::Name(name) => values.push(Value::from(name)),
            Record::End => return Err(WireError::Unbalanced),
        }
    }
    Ok(values)
}

struct Reader<'a> {
    rest: &'a [u8],
}

enum Record {
    Value(Value),
    Name(String),
    End,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn next(&mut self, depth: usize) -> Result<Record, WireError> {
        let &[first] = self.take(1)? else {
            return Err(WireError::Short);
        };
        let (long, size, kind) = (first & 0x80 != 0, usize::from(first >> 4 & 7), first & 0x0f);
        if matches!(kind, STRUCT | ARRAY) {
            if long {
                return Ok(Record::End);
            }
            if depth >= DEEPEST {
                return Err(WireError::Deep);
            }
            return self.members(kind, depth + 1).map(Record::Value);
        }
        let len = if long { number(self.take(size)?)? } else { size };
        let bytes = self.take(len)?;
        let text = || {
            let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
            String::from_utf8_lossy(bytes).into_owned()
        };
        Ok(match kind {
            INT => Record::Value(Value::from(signed(bytes)?)),
            DOUBLE => Record::Value(Value::from(f64::from(signed(bytes)?) / 1000.0)),
            STR | BYTES => Record::Value(Value::from(text())),
            AVP => Record::Name(text()),
            other => return Err(WireError::Type(other)),
        })
    }

    fn members(&mut self, kind: u8, depth: usize) -> Result<Value, WireError> {
        let (mut map, mut list, mut name) = (Map::new(), Vec::new(), None);
        loop {
            match self.next(depth)? {
                Record::End => break,
                Record::Name(n) => name = Some(n),
                Record::Value(value) => match name.take() {
                    Some(name) => {
                        map.insert(name, value);
                    }
                    None => list.push(value),
                },
            }
        }
        Ok(if kind == ARRAY || map.is_empty() && !list.is_empty() {
            list.into()
        } else {
            map.into()
        })
    }
}

fn number(bytes: &[u8]) -> Result<usize, WireError> {
    if bytes.len() > 4 {
        return Err(WireError::Short);
    }
    let n = bytes.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    if n > LONGEST {
        Err(WireError::TooLong(n))
    } else {
        Ok(n)
    }
}

fn signed(bytes: &[u8]) -> Result<i32, WireError> {
    if bytes.len() > 4 {
        return Err(WireError::Short);
    }
    Ok(bytes.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) as i32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn bodies_are_those_seen_on_the_wire() {
        let table = [
            (json!({}), ""),
            (json!([]), ""),
            (json!("abc"), "41 61 62 63 00"),
            (json!([300]), "20 01 2c"),
            (json!([1, ""]), "10 01 11 00"),
            (json!(null), "91 0e 3c 6e 75 6c 6c 20 73 74 72 69 6e 67 3e 00"),
            (
                json!({ "Tcpconn-Id": -1 }),
                "03 95 0b 54 63 70 63 6f 6e 6e 2d 49 64 00 40 ff ff ff ff 83",
            ),
            (json!({ "Q": 0, "q": 0.5 }), "03 25 51 00 00 25 71 00 22 01 f4 83"),
            (
                json!({ "AoRs": [{ "AoR": "a" }] }),
                "03 55 41 6f 52 73 00 03 45 41 6f 52 00 21 61 00 83 83",
            ),
            (
                json!([{ "size": 1, "slot": [{ "name": "k", "value": 5 }] }]),
                "03 55 73 69 7a 65 00 10 01 55 73 6c 6f 74 00 03 03 55 6e 61 6d 65 00 21 6b 00 65 76 61 6c 75 65 00 10 05 83 83 83",
            ),
            (
                json!([{ "s": { "p": 0 } }, { "s": { "p": 1 } }]),
                "03 25 73 00 03 25 70 00 00 83 25 73 00 03 25 70 00 10 01 83 83",
            ),
            (json!(4_000_000_000_u64), "91 0b 34 30 30 30 30 30 30 30 30 30 00"),
        ];
        for (value, expected) in table {
            assert_eq!(hex(&reply_body(&value)), expected, "{value}");
        }
        assert_eq!(hex(&fault_body(400, "no")), "20 01 90 31 6e 6f 00");
        let packet = packet(Kind::Fault, &[1, 2, 3, 4], &[7; 300]);
        assert_eq!(hex(&packet[..8]), "a1 37 01 2c 01 02 03 04");
    }

    #[test]
    fn calls_are_read() {
        let bytes = [
            0xa1, 0x03, 0x1e, 0x66, 0x3a, 0x75, 0x5c, 0x91, 0x0a, 0x63, 0x6f, 0x72, 0x65, 0x2e, 0x65, 0x63,
            0x68, 0x6f, 0x00, 0x21, 0x61, 0x00, 0x10, 0x03, 0x21, 0x34, 0x00, 0x22, 0x09, 0xc4, 0x20, 0x01,
            0x2c, 0x30, 0x01, 0x11, 0x70,
        ];
        for n in 0..7 {
            assert_eq!(head(&bytes[..n]), Ok(None), "{n}");
        }
        let head = head(&bytes).unwrap().unwrap();
        assert_eq!((head.kind, head.len, head.body), (Kind::Request, 7, 30));
        let values = read(&bytes[7..37]).unwrap();
        assert_eq!(
            Value::from(values),
            json!(["core.echo", "a", 3, "4", 2.5, 300, 70000])
        );
        assert_eq!(super::head(b"\xa2\x03"), Err(WireError::Magic));
        assert!(super::head(&[0xa1, 0x0c, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    }

    #[test]
    fn broken_bodies_are_refused() {
        for body in [
            &[0x21, 0x61][..],
            &[0x83],
            &[0x03],
            &[0x0f],
            &[0x50, 1, 2, 3, 4, 5],
            &[0x03; 100],
        ] {
            assert!(read(body).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&body);
            let _ = head(&body);
        }

        #[test]
        fn scalars_survive(texts in proptest::collection::vec("[a-zé]{0,300}", 0..4), n: i32) {
            let mut values: Vec<Value> = texts.into_iter().map(Value::from).collect();
            values.push(n.into());
            prop_assert_eq!(read(&reply_body(&Value::from(values.clone()))).unwrap(), values);
        }
    }
}
