//! `{s.*}`: hashes, encodings and escapes (Kamailio transformations cookbook; RFC 3261 §25.1, RFC 4180, RFC 4648).

use super::number;
use super::text;
use crate::script::module::Transformation;
use crate::script::value::Value;
use sha2::Digest;
use shared::digest::Algorithm;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "s.md5",
        params: (0, 0),
        doc: "MD5 in hexadecimal.",
        apply: md5,
    },
    Transformation {
        name: "s.sha1",
        params: (0, 0),
        doc: "SHA-1 in hexadecimal.",
        apply: sha1,
    },
    Transformation {
        name: "s.sha256",
        params: (0, 0),
        doc: "SHA-256 in hexadecimal.",
        apply: sha256,
    },
    Transformation {
        name: "s.sha384",
        params: (0, 0),
        doc: "SHA-384 in hexadecimal.",
        apply: sha384,
    },
    Transformation {
        name: "s.sha512",
        params: (0, 0),
        doc: "SHA-512 in hexadecimal.",
        apply: sha512,
    },
    Transformation {
        name: "s.corehash",
        params: (0, 1),
        doc: "Kamailio's hash, masked with n-1 when n is given.",
        apply: corehash,
    },
    Transformation {
        name: "s.encode.7bit",
        params: (0, 0),
        doc: "GSM 7-bit packing in hexadecimal.",
        apply: encode_7bit,
    },
    Transformation {
        name: "s.decode.7bit",
        params: (0, 0),
        doc: "Text of GSM 7-bit packing in hexadecimal.",
        apply: decode_7bit,
    },
    Transformation {
        name: "s.encode.hexa",
        params: (0, 0),
        doc: "Hexadecimal.",
        apply: encode_hexa,
    },
    Transformation {
        name: "s.decode.hexa",
        params: (0, 0),
        doc: "Text of hexadecimal.",
        apply: decode_hexa,
    },
    Transformation {
        name: "s.encode.base58",
        params: (0, 0),
        doc: "Base 58.",
        apply: encode_base58,
    },
    Transformation {
        name: "s.decode.base58",
        params: (0, 0),
        doc: "Text of base 58.",
        apply: decode_base58,
    },
    Transformation {
        name: "s.encode.base64",
        params: (0, 0),
        doc: "Base 64.",
        apply: encode_base64,
    },
    Transformation {
        name: "s.decode.base64",
        params: (0, 0),
        doc: "Text of base 64.",
        apply: decode_base64,
    },
    Transformation {
        name: "s.encode.base64t",
        params: (0, 0),
        doc: "Base 64 without padding.",
        apply: encode_base64t,
    },
    Transformation {
        name: "s.decode.base64t",
        params: (0, 0),
        doc: "Text of base 64, padded or not.",
        apply: decode_base64t,
    },
    Transformation {
        name: "s.encode.base64url",
        params: (0, 0),
        doc: "Base 64 for URLs.",
        apply: encode_base64url,
    },
    Transformation {
        name: "s.decode.base64url",
        params: (0, 0),
        doc: "Text of base 64 for URLs.",
        apply: decode_base64url,
    },
    Transformation {
        name: "s.encode.base64urlt",
        params: (0, 0),
        doc: "Base 64 for URLs without padding.",
        apply: encode_base64urlt,
    },
    Transformation {
        name: "s.decode.base64urlt",
        params: (0, 0),
        doc: "Text of base 64 for URLs, padded or not.",
        apply: decode_base64url,
    },
    Transformation {
        name: "s.escape.common",
        params: (0, 0),
        doc: "Backslashes before quotes, backslashes and zeros.",
        apply: escape_common,
    },
    Transformation {
        name: "s.unescape.common",
        params: (0, 0),
        doc: "Without those backslashes.",
        apply: unescape_common,
    },
    Transformation {
        name: "s.escape.user",
        params: (0, 0),
        doc: "Escaped for the user part of a URI.",
        apply: escape_user,
    },
    Transformation {
        name: "s.unescape.user",
        params: (0, 0),
        doc: "Text of an escaped user part.",
        apply: unescape_percent,
    },
    Transformation {
        name: "s.escape.param",
        params: (0, 0),
        doc: "Escaped for a URI parameter.",
        apply: escape_param,
    },
    Transformation {
        name: "s.unescape.param",
        params: (0, 0),
        doc: "Text of an escaped URI parameter.",
        apply: unescape_percent,
    },
    Transformation {
        name: "s.escape.csv",
        params: (0, 0),
        doc: "A quoted CSV field.",
        apply: escape_csv,
    },
    Transformation {
        name: "s.urlencode.param",
        params: (0, 0),
        doc: "Escaped for a URL's query.",
        apply: urlencode,
    },
    Transformation {
        name: "s.urldecode.param",
        params: (0, 0),
        doc: "Text of a part of a URL's query.",
        apply: urldecode,
    },
];

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Appends two digits for each byte.
fn push_hex(bytes: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(digits[usize::from(byte >> 4)]);
        out.push(digits[usize::from(byte & 15)]);
    }
}

/// The bytes that digits spell; a single digit at the end is left out as there.
pub(crate) fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    digits
        .chunks_exact(2)
        .map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?))
        .collect()
}

/// Makes text of text; null stays null.
fn map<'v>(value: Value<'v>, make: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Value<'v> {
    text(value)
        .and_then(|text| make(&text))
        .map_or(Value::Null, Value::owned)
}

fn hex_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    push_hex(bytes, LOWER, &mut out);
    Some(out)
}

fn md5<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        Some(shared::digest::hash(Algorithm::Md5, &[text]).as_bytes().to_vec())
    })
}

fn sha1<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| hex_of(&sha1::Sha1::digest(text)))
}

fn sha256<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| hex_of(&sha2::Sha256::digest(text)))
}

fn sha384<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| hex_of(&sha2::Sha384::digest(text)))
}

fn sha512<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| hex_of(&sha2::Sha512::digest(text)))
}

/// Kamailio's core hash: words of four bytes, which have a sign, each folded into itself and summed.
pub(crate) fn core_hash(text: &[u8]) -> u32 {
    core_hash_of(&[text])
}

/// The same of several texts, each beginning a word.
pub(crate) fn core_hash_of(texts: &[&[u8]]) -> u32 {
    let fold = |word: u32| word ^ (word >> 3);
    let signed = |byte: u8| i32::from(byte.cast_signed()).cast_unsigned();
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0u32, |sum, byte| (sum << 8).wrapping_add(signed(*byte)))
    };
    let mut sum = 0u32;
    for text in texts {
        let words = text.chunks_exact(4);
        sum = sum.wrapping_add(fold(number(words.remainder())));
        sum = words.fold(sum, |sum, word| sum.wrapping_add(fold(number(word))));
    }
    sum.wrapping_add(sum >> 11)
        .wrapping_add((sum >> 13).wrapping_add(sum >> 23))
}

fn corehash<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let hash = core_hash(&text);
    let masked = match number(params, 0).and_then(|size| u32::try_from(size).ok()) {
        Some(size) if size > 0 => hash & (size - 1),
        _ => hash,
    };
    Value::owned(super::string::decimal(i64::from(masked)))
}

fn encode_7bit<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        let (mut packed, mut held, mut bits) = (Vec::with_capacity(text.len()), 0u32, 0u32);
        for byte in text {
            held |= u32::from(byte & 0x7f) << bits;
            bits += 7;
            if bits >= 8 {
                packed.push((held & 0xff) as u8);
                held >>= 8;
                bits -= 8;
            }
        }
        if bits > 0 {
            packed.push((held & 0xff) as u8);
        }
        let mut out = Vec::with_capacity(packed.len() * 2);
        push_hex(&packed, UPPER, &mut out);
        Some(out)
    })
}

fn decode_7bit<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        let packed = from_hex(text)?;
        let (mut out, mut held, mut bits) = (Vec::with_capacity(packed.len() * 8 / 7 + 1), 0u32, 0u32);
        for byte in packed {
            held |= u32::from(byte) << bits;
            bits += 8;
            while bits >= 7 {
                out.push((held & 0x7f) as u8);
                held >>= 7;
                bits -= 7;
            }
        }
        if out.last() == Some(&0) {
            out.pop();
        }
        Some(out)
    })
}

fn encode_hexa<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, hex_of)
}

fn decode_hexa<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, from_hex)
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Base 58 takes time with the square of the length.
const LONGEST_BASE58: usize = 4096;

/// Writes a number of one base in another: digits with the highest first.
fn rebase(digits: impl Iterator<Item = u32>, from: u32, to: u32) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new(); // the lowest first
    for digit in digits {
        let mut carry = digit;
        for place in &mut out {
            carry += u32::from(*place) * from;
            *place = (carry % to) as u8;
            carry /= to;
        }
        while carry > 0 {
            out.push((carry % to) as u8);
            carry /= to;
        }
    }
    out.reverse();
    out
}

fn encode_base58<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        if text.len() > LONGEST_BASE58 {
            return None;
        }
        let zeros = text.iter().take_while(|byte| **byte == 0).count();
        let digits = rebase(text.iter().map(|byte| u32::from(*byte)), 256, 58);
        let mut out = vec![b'1'; zeros];
        out.extend(digits.iter().filter_map(|digit| BASE58.get(usize::from(*digit))));
        Some(out)
    })
}

fn decode_base58<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        if text.len() > LONGEST_BASE58 {
            return None;
        }
        let place = |byte: &u8| {
            BASE58
                .iter()
                .position(|known| known == byte)
                .and_then(|at| u32::try_from(at).ok())
        };
        let digits = text.iter().map(place).collect::<Option<Vec<u32>>>()?;
        let zeros = text.iter().take_while(|byte| **byte == b'1').count();
        let mut out = vec![0; zeros];
        out.extend(rebase(digits.into_iter(), 58, 256));
        Some(out)
    })
}

pub(crate) const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The digits for URLs.
pub(crate) const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What the end of a base 64 text looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// `=` up to a multiple of four.
    Wanted,
    /// None written, any read.
    Optional,
}

/// Base 64 of bytes (RFC 4648 §4, §5).
pub(crate) fn to_base64(bytes: &[u8], digits: &[u8; 64], padding: Padding) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, at| {
            word << 8 | group.get(at).copied().map_or(0, u32::from)
        });
        for at in 0..4 {
            if at <= group.len() {
                out.push(digits[(word >> (18 - 6 * at)) as usize & 63]);
            } else if padding == Padding::Wanted {
                out.push(b'=');
            }
        }
    }
    out
}

/// The bytes of a base 64 text.
pub(crate) fn of_base64(text: &[u8], digits: &[u8; 64], padding: Padding) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    if padding == Padding::Wanted && !text.len().is_multiple_of(4) || text.len() - end > 2 {
        return None;
    }
    let (mut out, mut held, mut bits) = (Vec::with_capacity(end * 3 / 4), 0u32, 0u32);
    for byte in text.get(..end)? {
        let digit = digits.iter().position(|known| known == byte)?;
        held = (held << 6 | digit as u32) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
    }
    Some(out)
}

fn encode_base64<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| Some(to_base64(text, BASE64, Padding::Wanted)))
}

fn encode_base64t<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| Some(to_base64(text, BASE64, Padding::Optional)))
}

fn encode_base64url<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| Some(to_base64(text, BASE64_URL, Padding::Wanted)))
}

fn encode_base64urlt<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| Some(to_base64(text, BASE64_URL, Padding::Optional)))
}

fn decode_base64<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| of_base64(text, BASE64, Padding::Wanted))
}

fn decode_base64t<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| of_base64(text, BASE64, Padding::Optional))
}

fn decode_base64url<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| of_base64(text, BASE64_URL, Padding::Optional))
}

/// Escapes quotes, backslashes and zeros by a backslash.
pub(crate) fn escape_quotes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for byte in text {
        match byte {
            b'\'' | b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0 => out.extend_from_slice(b"\\0"),
            other => out.push(*other),
        }
    }
    out
}

fn escape_common<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| Some(escape_quotes(text)))
}

fn unescape_common<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        let mut out = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => match bytes.next() {
                    Some(b'0') => out.push(0),
                    Some(b) if matches!(b, b'\'' | b'"' | b'\\') => out.push(*b),
                    Some(b) => out.extend_from_slice(&[b'\\', *b]),
                    None => out.push(b'\\'),
                },
                other => out.push(*other),
            }
        }
        Some(out)
    })
}

/// Escapes as `%xx` every byte that `plain` does not let through.
pub(crate) fn escape_percent(text: &[u8], plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for byte in text {
        if plain(*byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            push_hex(&[*byte], LOWER, &mut out);
        }
    }
    out
}

/// RFC 3261 §25.1 `unreserved`.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

fn escape_user<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    // Kamailio: `/` is escaped although user-unreserved has it
    map(value, |text| {
        Some(escape_percent(text, |byte| {
            is_unreserved(byte) || b"&=+$,;?".contains(&byte)
        }))
    })
}

fn escape_param<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        Some(escape_percent(text, |byte| {
            is_unreserved(byte) || b"[]/:&+$".contains(&byte)
        }))
    })
}

fn unescape_percent<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            at += 1;
            if *byte == b'%' {
                out.extend(from_hex(text.get(at..at + 2)?)?);
                at += 2;
            } else {
                out.push(*byte);
            }
        }
        Some(out)
    })
}

fn escape_csv<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        let mut out = Vec::with_capacity(text.len() + 2);
        out.push(b'"');
        for byte in text {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
        Some(out)
    })
}

fn urlencode<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        Some(escape_percent(text, |byte| {
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
        }))
    })
}

fn urldecode<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    map(value, |text| {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            at += 1;
            match (byte, text.get(at..at + 2).and_then(from_hex)) {
                (b'%', Some(escaped)) => {
                    out.extend(escaped);
                    at += 2;
                }
                (b'+', _) => out.push(b' '),
                (other, _) => out.push(*other),
            }
        }
        Some(out)
    })
}
