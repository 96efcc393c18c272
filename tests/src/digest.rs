//! Credentials of the test's own user agent (RFC 7616 §3.4), with MD5 and SHA-256.

use md5::Digest;
use md5::Md5;
use sha2::Sha256;

/// Answers a challenge with the value of an Authorization header; none when the challenge is not a digest one.
pub fn answer(
    challenge: &str,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
    count: u32,
) -> Option<String> {
    let challenge = challenge.strip_prefix("Digest ")?;
    let field = |name: &str| {
        let parts = crate::message::split_list(challenge);
        let found = parts.iter().find_map(|part| {
            let (known, value) = part.split_once('=')?;
            known
                .trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().trim_matches('"').to_owned())
        });
        found.unwrap_or_default()
    };
    let (realm, nonce, opaque, algorithm) = (
        field("realm"),
        field("nonce"),
        field("opaque"),
        field("algorithm"),
    );
    let hash = |text: String| match algorithm.to_ascii_uppercase().as_str() {
        "SHA-256" => hex(&Sha256::digest(text.as_bytes())),
        _ => hex(&Md5::digest(text.as_bytes())),
    };
    let ha1 = hash(format!("{user}:{realm}:{password}"));
    let ha2 = hash(format!("{method}:{uri}"));
    let mut value =
        format!("Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\"");
    if field("qop").split(',').any(|kind| kind.trim() == "auth") {
        let own = "0a4f113b";
        let response = hash(format!("{ha1}:{nonce}:{count:08x}:{own}:auth:{ha2}"));
        value.push_str(&format!(
            ", response=\"{response}\", qop=auth, nc={count:08x}, cnonce=\"{own}\""
        ));
    } else {
        value.push_str(&format!(
            ", response=\"{}\"",
            hash(format!("{ha1}:{nonce}:{ha2}"))
        ));
    }
    if !algorithm.is_empty() {
        value.push_str(&format!(", algorithm={algorithm}"));
    }
    if !opaque.is_empty() {
        value.push_str(&format!(", opaque=\"{opaque}\""));
    }
    Some(value)
}

/// Returns MD5(user:realm:password) as the subscriber table holds it.
pub fn ha1(user: &str, realm: &str, password: &str) -> String {
    hex(&Md5::digest(format!("{user}:{realm}:{password}").as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn example_of_rfc_7616() {
        let challenge = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, \
                         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\"";
        let value = answer(challenge, "GET", "/dir/index.html", "Mufasa", "Circle of Life", 1).unwrap();
        assert!(
            value.starts_with("Digest username=\"Mufasa\", realm=\"http-auth@example.org\""),
            "{value}"
        );
        assert!(value.contains("qop=auth, nc=00000001"), "{value}");
        assert_eq!(answer("Basic realm=\"x\"", "GET", "/", "u", "p", 1), None);
    }
}
