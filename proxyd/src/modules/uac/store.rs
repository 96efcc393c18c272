//! How a Record-Route carries a URI that was replaced (parameters `rr_from_store_param`, `rr_to_store_param`,
//! `restore_passwd`): the bytes in which old and new differ, so that either gives the other.

use crate::script::transform::coding::BASE64;
use crate::script::transform::coding::Padding;
use crate::script::transform::coding::of_base64;
use crate::script::transform::coding::to_base64;

/// The difference of two URIs; base 64 with `-` at its end, as `=` may not stand in a parameter.
pub(super) fn encode(old: &[u8], new: &[u8], password: &[u8]) -> Vec<u8> {
    let at = |text: &[u8], at: usize| text.get(at).copied().unwrap_or(0);
    let length = old.len().max(new.len());
    let bytes: Vec<u8> = (0..length)
        .map(|i| at(old, i) ^ at(new, i) ^ key(password, i))
        .collect();
    let mut text = to_base64(&bytes, BASE64, Padding::Optional);
    text.resize(text.len().next_multiple_of(4), b'-');
    text
}

/// The other URI of a pair; none when the text is not one of ours.
pub(super) fn decode(text: &[u8], uri: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'-').map_or(0, |at| at + 1);
    let bytes = of_base64(text.get(..end)?, BASE64, Padding::Optional)?;
    let other = bytes
        .iter()
        .enumerate()
        .map(|(i, byte)| byte ^ key(password, i) ^ uri.get(i).copied().unwrap_or(0));
    let other: Vec<u8> = other.take_while(|byte| *byte != 0).collect();
    (!other.is_empty() && uri.len() <= bytes.len()).then_some(other)
}

fn key(password: &[u8], at: usize) -> u8 {
    at.checked_rem(password.len())
        .and_then(|at| password.get(at))
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kamailio 5.6.3 wrote them.
    #[test]
    fn parameters_are_kamailios() {
        for (old, new, password, expected) in [
            (
                "sip:a@test.lan",
                "sip:anonymous@anonymous.invalid",
                "",
                "AAAAAAAuGwsKGUEZEi5hbm9ueW1vdXMuaW52YWxpZA--",
            ),
            ("sip:xP@test.lan", "sip:xn@xo.lan", "", "AAAAAAA+AAwKXRhPAmFu"),
            ("sip:xP@xP.lan", "sip:xn@xo.lan", "", "AAAAAAA+AAA/AAAAAA--"),
            (
                "sip:xP@test.lan",
                "sip:xn@xo.lan",
                "secret",
                "c2VjcmVKc2lpL307cQQN",
            ),
            ("sip:a@test.lan", "sip:q@r.s", "secret", "c2VjcnV0dS5jBksYEgs-"),
        ] {
            let text = encode(old.as_bytes(), new.as_bytes(), password.as_bytes());
            assert_eq!(String::from_utf8_lossy(&text), expected);
            let decode = |uri: &str| decode(&text, uri.as_bytes(), password.as_bytes());
            assert_eq!(decode(old).as_deref(), Some(new.as_bytes()));
            assert_eq!(decode(new).as_deref(), Some(old.as_bytes()));
        }
        assert_eq!(decode(b"no base 64!", b"sip:a@b", b""), None);
        assert_eq!(decode(b"AAAA", b"sip:longer@than.that", b""), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>, uri: Vec<u8>, password: Vec<u8>) {
            decode(&text, &uri, &password);
        }
    }
}
