//! Header lines of replies to REGISTER (RFC 3261 §10.3 step 8, in Kamailio's order of parameters).

use super::Registrar;
use super::outcome::Refusal;
use crate::modules::usrloc::aor_hash;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::contact::Q_UNSET;
use shared::sip::scan::write_number;

/// The user and host of the address of record, for the GRUUs of a client that knows them (RFC 5627).
#[derive(Clone, Copy)]
pub(super) struct Gruu<'a> {
    pub(super) user: &'a [u8],
    pub(super) host: &'a [u8],
}

/// Writes the Contact line of all contacts in force; nothing when there is none.
pub(super) fn write_contacts<'c>(
    out: &mut Vec<u8>,
    contacts: impl Iterator<Item = Contact<'c>>,
    now: u32,
    registrar: &Registrar,
    gruu: Option<Gruu<'_>>,
) {
    let start = out.len();
    for contact in contacts.filter(|contact| contact.is_alive(now)) {
        out.extend_from_slice(if out.len() == start { b"Contact: " } else { b", " });
        write_contact(out, contact, now, &registrar.received_param, gruu);
    }
    if out.len() > start {
        out.extend_from_slice(b"\r\n");
    }
}

fn write_contact(
    out: &mut Vec<u8>,
    contact: Contact<'_>,
    now: u32,
    received_param: &[u8],
    gruu: Option<Gruu<'_>>,
) {
    out.push(b'<');
    out.extend_from_slice(contact.address());
    out.push(b'>');
    if contact.q() != Q_UNSET {
        out.extend_from_slice(b";q=");
        write_q(out, contact.q());
    }
    out.extend_from_slice(b";expires=");
    // §20.19: the longest that can be said stands for a contact without an end.
    let remaining = if contact.expires() == 0 {
        u32::MAX
    } else {
        contact.remaining(now)
    };
    write_number(out, remaining.into());
    if !contact.received().is_empty() && !received_param.is_empty() {
        out.push(b';');
        out.extend_from_slice(received_param);
        write_value(out, &[contact.received()]);
    }
    if let (Some(gruu), [b'<', instance @ .., b'>']) = (gruu, contact.instance()) {
        let (user, host) = (gruu.user, gruu.host);
        out.extend_from_slice(b";pub-gruu");
        write_value(out, &[b"sip:", user, b"@", host, b";gr=", instance]);
        out.extend_from_slice(b";temp-gruu");
        let hash = reversed_hex(aor_hash(contact.aor()));
        write_value(out, &[b"sip:", contact.ruid(), b"-", &hash, b"@", host, b";gr"]);
    }
    if !contact.instance().is_empty() {
        out.extend_from_slice(b";+sip.instance");
        write_value(out, &[contact.instance()]);
        if contact.reg_id() > 0 {
            out.extend_from_slice(b";reg-id=");
            write_number(out, contact.reg_id().into());
        }
    }
}

fn write_value(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(b"=\"");
    for part in parts {
        out.extend(
            part.iter()
                .copied()
                .filter(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n')),
        );
    }
    out.push(b'"');
}

/// Writes q without needless digits: 0.5, 1, 0.123.
fn write_q(out: &mut Vec<u8>, q: i16) {
    let q = q.max(0).cast_unsigned();
    write_number(out, u64::from(q / 1000));
    let mut decimals = q % 1000;
    let mut unit = 100;
    if decimals > 0 {
        out.push(b'.');
    }
    while decimals > 0 {
        out.push(b'0' + (decimals / unit) as u8);
        decimals %= unit;
        unit = (unit / 10).max(1);
    }
}

/// The digits of a number in base 16, the lowest first, as Kamailio writes hashes in temporary GRUUs.
pub(super) fn reversed_hex(mut n: u32) -> smallvec::SmallVec<[u8; 8]> {
    let mut out = smallvec::SmallVec::new();
    loop {
        out.push(
            b"0123456789abcdef"
                .get((n & 15) as usize)
                .copied()
                .unwrap_or(b'0'),
        );
        n >>= 4;
        if n == 0 {
            return out;
        }
    }
}

/// Writes the lines that explain a refusal.
pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: Refusal, registrar: &Registrar, path: &[u8]) {
    match refusal {
        Refusal::TooBrief => {
            out.extend_from_slice(b"Min-Expires: ");
            write_number(out, registrar.min_expires.into());
            out.extend_from_slice(b"\r\n");
        }
        Refusal::PathUnsupported => {
            out.extend_from_slice(b"Unsupported: path\r\n");
            write_line(out, b"Path", path);
        }
        Refusal::OutboundOff => out.extend_from_slice(b"Unsupported: outbound\r\n"),
        Refusal::OutboundRequired => out.extend_from_slice(b"Require: outbound\r\n"),
        _ => {}
    }
    write_line(out, b"P-Registrar-Error", refusal.text().as_bytes());
    if refusal.status().0 >= 500 {
        write_retry_after(out, refusal, registrar);
    }
}

fn write_retry_after(out: &mut Vec<u8>, refusal: Refusal, registrar: &Registrar) {
    // What the database cannot take now it may take soon: a client should not wait for its next refresh.
    let seconds = if refusal == Refusal::Unavailable {
        registrar.retry_after.max(5)
    } else {
        registrar.retry_after
    };
    if seconds > 0 {
        out.extend_from_slice(b"Retry-After: ");
        write_number(out, seconds.into());
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes one header line; none for an empty value.
pub(super) fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if value.is_empty() {
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::usrloc::contact::Binding;
    use crate::modules::usrloc::contact::OwnedContact;

    fn shown(binding: &Binding<'_>, gruu: Option<Gruu<'_>>) -> String {
        let owned = OwnedContact::of(binding).unwrap();
        let mut out = Vec::new();
        write_contact(&mut out, owned.view(), 1000, b"received", gruu);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn contacts_read_as_in_kamailio() {
        let plain = Binding {
            aor: b"alice",
            address: b"sip:a@h",
            expires: 1600,
            ..Binding::default()
        };
        let instance = b"<urn:uuid:f81d4fae>";
        let full = Binding {
            q: 700,
            received: b"sip:9.8.7.6:555",
            instance,
            reg_id: 1,
            ruid: b"uloc-6b03b01f-6474-3",
            ..plain
        };
        let gruu = Some(Gruu {
            user: b"alice",
            host: b"test.lan",
        });
        for (binding, gruu, expected) in [
            (plain, None, "<sip:a@h>;expires=600"),
            (plain, gruu, "<sip:a@h>;expires=600"),
            (
                Binding { expires: 0, ..plain },
                None,
                "<sip:a@h>;expires=4294967295",
            ),
            (
                full,
                None,
                "<sip:a@h>;q=0.7;expires=600;received=\"sip:9.8.7.6:555\";+sip.instance=\"<urn:uuid:f81d4fae>\";reg-id=1",
            ),
            (
                full,
                gruu,
                "<sip:a@h>;q=0.7;expires=600;received=\"sip:9.8.7.6:555\";pub-gruu=\"sip:alice@test.lan;gr=urn:uuid:f81d4fae\"\
                 ;temp-gruu=\"sip:uloc-6b03b01f-6474-3-dd7f25d6@test.lan;gr\";+sip.instance=\"<urn:uuid:f81d4fae>\";reg-id=1",
            ),
        ] {
            assert_eq!(shown(&binding, gruu), expected);
        }
    }

    #[test]
    fn q_has_no_needless_digits() {
        for (q, expected) in [
            (0, "0"),
            (1000, "1"),
            (500, "0.5"),
            (550, "0.55"),
            (123, "0.123"),
            (5, "0.005"),
            (50, "0.05"),
        ] {
            let mut out = Vec::new();
            write_q(&mut out, q);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
