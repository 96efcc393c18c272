//! Expires, Min-Expires and the `expires` parameter: seconds (RFC 3261 §20.19, §10.2.1.1).

use crate::sip::scan::number;
use crate::sip::scan::trim;

/// Reads delta-seconds; a larger number than fits counts as 2^32-1, `None` is no number.
pub fn parse(value: &[u8]) -> Option<u32> {
    let value = trim(value);
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| number(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds() {
        for (input, expected) in [
            ("3600", Some(3600)),
            (" 0 ", Some(0)),
            ("99999999999999", Some(u32::MAX)),
            ("", None),
            ("1h", None),
            ("-1", None),
        ] {
            assert_eq!(super::parse(input.as_bytes()), expected, "{input:?}");
        }
    }
}
