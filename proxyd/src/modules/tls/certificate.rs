//! A certificate as scripts read it: names, serial number, times (RFC 5280 §4.1), printed as OpenSSL prints them.

use crate::script::transform::coding::BASE64;
use crate::script::transform::coding::Padding;
use crate::script::transform::coding::to_base64;
use std::fmt::Write;
use std::net::IpAddr;
use x509_cert::der::Decode;
use x509_cert::der::Tag;
use x509_cert::der::Tagged;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

/// A part of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    CommonName,
    Country,
    Locality,
    Organization,
    State,
    Uid,
    Unit,
}

/// The parts that have a short name of their own.
const PARTS: &[(Part, &str, ObjectIdentifier)] = &[
    (Part::CommonName, "CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
    (Part::Country, "C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    (Part::Locality, "L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    (Part::State, "ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    (Part::Organization, "O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    (Part::Unit, "OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    (
        Part::Uid,
        "UID",
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"),
    ),
];

/// Its address is known to OpenSSL under this name.
const EMAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// A kind of alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alternative {
    Email,
    Hostname,
    Uri,
    Ip,
}

/// A certificate.
pub(super) struct Certificate(x509_cert::Certificate);

impl Certificate {
    /// Reads one; none when it cannot be read.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        x509_cert::Certificate::from_der(der).ok().map(Self)
    }

    /// Its version less one, as OpenSSL counts.
    pub(super) fn version(&self) -> i64 {
        i64::from(self.0.tbs_certificate().version() as u8)
    }

    /// Its serial number in decimal.
    pub(super) fn serial(&self) -> String {
        decimal(self.0.tbs_certificate().serial_number().as_bytes())
    }

    /// Whom it is about.
    pub(super) fn subject(&self) -> &Name {
        self.0.tbs_certificate().subject()
    }

    /// Who has issued it.
    pub(super) fn issuer(&self) -> &Name {
        self.0.tbs_certificate().issuer()
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject() == self.issuer()
    }

    /// Whether it is in force at a time, in seconds since 1970.
    pub(super) fn is_in_force(&self, now: u64) -> bool {
        let validity = self.0.tbs_certificate().validity();
        let seconds = |time: Time| time.to_unix_duration().as_secs();
        (seconds(validity.not_before)..=seconds(validity.not_after)).contains(&now)
    }

    /// From when on it is in force.
    pub(super) fn not_before(&self) -> String {
        date(self.0.tbs_certificate().validity().not_before)
    }

    /// Until when it is in force.
    pub(super) fn not_after(&self) -> String {
        date(self.0.tbs_certificate().validity().not_after)
    }

    /// Its alternative names of a kind, or all in order.
    pub(super) fn alternatives(&self, kind: Alternative) -> Vec<String> {
        let extension = self.0.tbs_certificate().get_extension::<SubjectAltName>();
        let Ok(Some((_, names))) = extension else {
            return Vec::new();
        };
        let text = |name: &GeneralName| match (kind, name) {
            (Alternative::Email, GeneralName::Rfc822Name(text))
            | (Alternative::Hostname, GeneralName::DnsName(text))
            | (Alternative::Uri, GeneralName::UniformResourceIdentifier(text)) => Some(text.to_string()),
            (Alternative::Ip, GeneralName::IpAddress(bytes)) => {
                address(bytes.as_bytes()).map(|ip| ip.to_string())
            }
            _ => None,
        };
        names.0.iter().filter_map(text).collect()
    }
}

/// A certificate in lines of 64 digits (RFC 7468 §5).
pub(super) fn pem(der: &[u8]) -> String {
    let digits = to_base64(der, BASE64, Padding::Wanted);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in digits.chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Every byte but letters, digits and `-_.~` as `%` and two digits.
pub(super) fn url_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

/// A part of a name; the first where there are several.
pub(super) fn part(name: &Name, wanted: Part) -> Option<String> {
    let (_, _, oid) = PARTS.iter().find(|(part, ..)| *part == wanted)?;
    let found = name.iter().find(|attribute| attribute.oid == *oid)?;
    Some(text(&found.value))
}

/// A whole name on one line: `/C=DE/O=Example/CN=sip.example.com`.
pub(super) fn line(name: &Name) -> String {
    let mut out = String::new();
    for attribute in name.iter() {
        let known = PARTS.iter().find(|(.., oid)| *oid == attribute.oid);
        let short = match known {
            Some((_, short, _)) => (*short).to_owned(),
            None if attribute.oid == EMAIL => "emailAddress".to_owned(),
            None => attribute.oid.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "/{short}={}", text(&attribute.value));
    }
    out
}

fn text(value: &x509_cert::attr::AttributeValue) -> String {
    match value.tag() {
        Tag::BmpString => {
            let (pairs, _) = value.value().as_chunks::<2>();
            String::from_utf16_lossy(
                &pairs
                    .iter()
                    .map(|pair| u16::from_be_bytes(*pair))
                    .collect::<Vec<_>>(),
            )
        }
        _ => String::from_utf8_lossy(value.value()).into_owned(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `Nov 23 09:05:52 2026 GMT`.
fn date(time: Time) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = time.to_date_time();
    let month = usize::from(at.month()).checked_sub(1).and_then(|n| MONTHS.get(n));
    format!(
        "{} {:2} {:02}:{:02}:{:02} {} GMT",
        month.copied().unwrap_or_default(),
        at.day(),
        at.hour(),
        at.minutes(),
        at.seconds(),
        at.year()
    )
}

/// A number of any size, big end first, in decimal.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let sum = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(sum % 10).unwrap_or(0);
            carry = sum / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits
        .iter()
        .rev()
        .map(|digit| char::from(b'0' + digit))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    /// Made by `openssl req -x509`, in force until 2126; its key is nowhere.
    pub(in crate::modules::tls) const PEM: &[u8] = include_bytes!("testdata/certificate.pem");

    #[test]
    fn a_certificate_is_written_as_pem() {
        let der = CertificateDer::from_pem_slice(PEM).unwrap();
        assert_eq!(pem(&der).as_bytes(), PEM);
        assert_eq!(url_escaped("-- A/b+c=\n"), "--%20A%2fb%2bc%3d%0a");
    }

    #[test]
    fn a_certificate_is_printed_as_openssl_does() {
        let der = CertificateDer::from_pem_slice(PEM).unwrap();
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(
            line(certificate.subject()),
            "/C=DE/ST=Berlin/L=Mitte/O=Example/OU=Voice/CN=sip.test"
        );
        assert_eq!(
            part(certificate.subject(), Part::CommonName).as_deref(),
            Some("sip.test")
        );
        assert_eq!(part(certificate.subject(), Part::Uid), None);
        assert!(certificate.is_self_issued());
        assert_eq!(certificate.version(), 2);
        assert_eq!(certificate.serial(), "88198423064325196104790");
        assert_eq!(
            certificate.alternatives(Alternative::Hostname),
            ["sip.test", "*.sip.test"]
        );
        assert_eq!(certificate.alternatives(Alternative::Uri), ["sip:sip.test"]);
        assert_eq!(certificate.alternatives(Alternative::Ip), ["127.0.0.1", "::1"]);
        assert_eq!(certificate.alternatives(Alternative::Email), ["a@sip.test"]);
        assert!(certificate.is_in_force(1_800_000_000));
        assert!(!certificate.is_in_force(1));
        assert!(
            certificate.not_after().ends_with(" GMT"),
            "{}",
            certificate.not_after()
        );
    }

    #[test]
    fn numbers_of_any_size() {
        for (bytes, expected) in [
            (&[][..], "0"),
            (&[0], "0"),
            (&[1, 0], "256"),
            (&[0xff; 8], "18446744073709551615"),
        ] {
            assert_eq!(decimal(bytes), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert!(Certificate::read(b"").is_none());
        assert!(Certificate::read(&[0x30; 40]).is_none());
    }
}
