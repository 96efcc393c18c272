//! Any bytes as a URI: what is written is read again as the same (RFC 3261 §19.1).

use shared::sip::Uri;

pub const SEEDS: &[&[u8]] = &[
    b"sip:alice:secret@atlanta.com:5060;transport=tcp;lr?subject=project%20x&priority=urgent",
    b"sips:%61;x?y@[2001:db8::9:1]:5061;maddr=1.2.3.4",
    b"tel:+1-201-555-0123;phone-context=example.com",
    b"urn:service:sos",
];

pub fn run(data: &[u8]) {
    let Ok(uri) = Uri::parse(data) else { return };
    let _ = (
        uri.param(b"transport"),
        uri.user_unescaped(),
        uri.port_or_default(),
        uri.header_iter().count(),
    );
    let written = uri.parts().to_vec();
    let again = Uri::parse(&written).expect("what is written can be read");
    assert_eq!(again.parts().to_vec(), written);
    assert!(uri.same(&uri) && uri.same(&again));
}
