//! Addresses of record in the form that the location table compares (RFC 3261 §10.3 step 5).

use super::Registrar;
use shared::sip::Scheme;
use shared::sip::Uri;
use shared::sip::params::unescape;
use smallvec::SmallVec;

/// A canonical address of record.
pub(super) type Aor = SmallVec<[u8; 96]>;

/// Longest address that is taken: more than any user name and domain name may have.
const AOR_MAX: usize = 512;

/// The address of record that a URI names: user part without escapes, in lower case unless told otherwise, with the
/// domain where that tells users apart; all parameters removed. None when the URI is not one.
pub(super) fn extract(uri: &[u8], registrar: &Registrar, use_domain: bool) -> Option<Aor> {
    canonical(uri, &registrar.realm_prefix, registrar.case_sensitive, use_domain)
}

fn canonical(uri: &[u8], realm_prefix: &[u8], case_sensitive: bool, use_domain: bool) -> Option<Aor> {
    let uri = Uri::parse(uri).ok()?;
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel) {
        return None;
    }
    let mut aor = Aor::new();
    aor.extend_from_slice(&unescape(uri.user.unwrap_or_default()));
    if !case_sensitive {
        aor.make_ascii_lowercase();
    }
    if use_domain {
        let prefixed = uri
            .host
            .get(..realm_prefix.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(realm_prefix));
        let host = if prefixed {
            uri.host.get(realm_prefix.len()..).unwrap_or_default()
        } else {
            uri.host
        };
        if !aor.is_empty() {
            aor.push(b'@');
        }
        let start = aor.len();
        aor.extend_from_slice(host);
        // Host names have no case, whatever user names have.
        if let Some(host) = aor.get_mut(start..) {
            host.make_ascii_lowercase();
        }
    }
    (aor.len() <= AOR_MAX).then_some(aor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_without_case_and_escapes() {
        for (uri, plain, with_domain) in [
            ("sip:Alice@Test.LAN", Some("alice"), Some("alice@test.lan")),
            ("sip:al%69ce@test.lan;x=y", Some("alice"), Some("alice@test.lan")),
            (
                "sips:alice:pw@sip.test.lan:5061",
                Some("alice"),
                Some("alice@test.lan"),
            ),
            ("sip:test.lan", Some(""), Some("test.lan")),
            ("tel:+1234", Some("+1234"), Some("+1234@")),
            ("junk", None, None),
            ("mailto:a@b", None, None),
        ] {
            let text = |aor: Option<Aor>| aor.map(|aor| String::from_utf8_lossy(&aor).into_owned());
            assert_eq!(
                text(canonical(uri.as_bytes(), b"sip.", false, false)).as_deref(),
                plain,
                "{uri}"
            );
            assert_eq!(
                text(canonical(uri.as_bytes(), b"sip.", false, true)).as_deref(),
                with_domain,
                "{uri}"
            );
        }
        let aor = canonical(b"sip:Alice@Test.LAN", b"", true, true).unwrap();
        assert_eq!(&aor[..], b"Alice@test.lan");
        let long = [b"sip:".as_slice(), &[b'x'; 600], b"@h"].concat();
        assert_eq!(canonical(&long, b"", false, false), None);
    }
}
