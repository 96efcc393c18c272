//! Digest: credentials read, and their response checked against a HA1 (RFC 7616 §3.4).

use std::hint::black_box;

use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Hex;
use shared::digest::Qop;
use shared::sip::header::auth::Auth;

use super::Operation;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "digest-read",
        prepare: || Box::new(|| assert!(Auth::parse(black_box(CREDENTIALS)).is_ok())),
    },
    Row {
        name: "digest-check",
        prepare: check,
    },
];

/// The example of RFC 2617 §3.5.
const CREDENTIALS: &[u8] = b"Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
    nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, cnonce=\"0a4f113b\", \
    response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";

fn check() -> Operation {
    let ha1 = digest::ha1(
        Algorithm::Md5,
        b"Mufasa",
        b"testrealm@host.com",
        b"Circle Of Life",
    );
    let auth = Auth::parse(CREDENTIALS).expect("the credentials are well formed");
    Box::new(move || assert!(fits(black_box(&ha1), black_box(&auth))))
}

fn fits(ha1: &Hex, auth: &Auth<'_>) -> bool {
    let qop = Qop::Auth {
        nc: auth.nc.unwrap_or_default(),
        cnonce: auth.cnonce.unwrap_or_default(),
    };
    let ha2 = digest::ha2(ha1.algorithm(), b"GET", auth.uri.unwrap_or_default(), qop);
    let expected = digest::response(ha1, auth.nonce.unwrap_or_default(), qop, &ha2);
    expected.matches(auth.response.unwrap_or_default())
}
