//! Any bytes as a URI: what is written is read again as the same (RFC 3261 §19.1).
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::sip::Uri;

fuzz_target!(|data: &[u8]| {
    let Ok(uri) = Uri::parse(data) else { return };
    let _ = (uri.param(b"transport"), uri.user_unescaped(), uri.port_or_default(), uri.header_iter().count());
    let written = uri.to_vec();
    let again = Uri::parse(&written).expect("what is written can be read");
    assert_eq!(again.to_vec(), written);
    assert!(uri.same(&uri) && uri.same(&again));
});
