//! `$tls_*`: the connection a message came by, and the certificates on it.

use super::certificate::Alternative;
use super::certificate::Certificate;
use super::certificate::Part;
use super::certificate::line;
use super::certificate::part;
use super::certificate::pem;
use super::certificate::url_escaped;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::value::Value;
use shared::net::Secured;
use shared::net::Verdict;
use std::sync::Arc;

/// What TLS settled for the connection that the message came by.
pub(super) fn secured(env: &Env<'_>) -> Option<Arc<Secured>> {
    env.host.secured(env.ctx.source.conn?)
}

fn text(text: Option<String>) -> Value<'static> {
    text.map_or(Value::Null, |text| Value::owned(text.into_bytes()))
}

fn of(env: &Env<'_>, read: fn(&Secured) -> Option<String>) -> Value<'static> {
    text(secured(env).and_then(|secured| read(&secured)))
}

fn peer(env: &Env<'_>, read: fn(&Certificate) -> Option<String>) -> Value<'static> {
    let certificate = || read(&Certificate::read(secured(env)?.peer.as_deref()?)?);
    text(certificate())
}

fn own(env: &Env<'_>, read: fn(&Certificate) -> Option<String>) -> Value<'static> {
    let certificate = || read(&Certificate::read(secured(env)?.own.as_deref()?)?);
    text(certificate())
}

fn peer_der(env: &Env<'_>) -> Option<Vec<u8>> {
    secured(env)?.peer.as_deref().map(<[u8]>::to_vec)
}

fn own_der(env: &Env<'_>) -> Option<Vec<u8>> {
    secured(env)?.own.as_deref().map(<[u8]>::to_vec)
}

fn verdict(env: &Env<'_>, wanted: Verdict) -> Value<'static> {
    match secured(env) {
        None => Value::Null,
        Some(secured) => Value::Int(i64::from(secured.peer.is_some() && secured.verdict == wanted)),
    }
}

fn first(certificate: &Certificate, kind: Alternative) -> Option<String> {
    certificate.alternatives(kind).into_iter().next()
}

/// The rows.
#[rustfmt::skip]
pub(super) static PVS: &[Pv] = &[
    Pv::plain(&["tls_version"], "Version of TLS: TLSv1.3.", |env, _| of(env, |s| Some(s.version.to_owned()))),
    Pv::plain(&["tls_description"], "One line about the cipher suite, with its end.", |env, _| of(env, |s| Some(s.description.clone()))),
    Pv::plain(&["tls_cipher_info"], "Cipher suite as OpenSSL names it.", |env, _| of(env, |s| Some(s.cipher.to_owned()))),
    Pv::plain(&["tls_cipher_bits"], "Bits of its key.", |env, _| secured(env).map_or(Value::Null, |s| Value::Int(i64::from(s.bits)))),
    Pv::plain(&["tls_peer_server_name"], "The server name that the peer asked for.", |env, _| of(env, |s| s.server_name.clone())),
    Pv::plain(&["tls_peer_verified"], "1 when the peer's certificate is trusted.", |env, _| verdict(env, Verdict::Verified)),
    Pv::plain(&["tls_peer_revoked"], "1 when it was revoked.", |env, _| verdict(env, Verdict::Revoked)),
    Pv::plain(&["tls_peer_expired"], "1 when its time is over.", |env, _| verdict(env, Verdict::Expired)),
    Pv::plain(&["tls_peer_selfsigned"], "1 when it is its own issuer and not trusted.", |env, _| verdict(env, Verdict::SelfSigned)),
    Pv::plain(&["tls_peer_notBefore"], "When the peer's certificate begins.", |env, _| peer(env, |c| Some(c.not_before()))),
    Pv::plain(&["tls_peer_notAfter"], "When it ends.", |env, _| peer(env, |c| Some(c.not_after()))),
    Pv::plain(&["tls_peer_raw_cert"], "The peer's certificate as PEM (RFC 7468).", |env, _| text(peer_der(env).map(|der| pem(&der)))),
    Pv::plain(&["tls_my_raw_cert"], "Our certificate as PEM.", |env, _| text(own_der(env).map(|der| pem(&der)))),
    Pv::plain(&["tls_peer_urlencoded_cert"], "The peer's certificate as PEM, escaped for URLs.", |env, _| text(peer_der(env).map(|der| url_escaped(&pem(&der))))),
    Pv::plain(&["tls_my_urlencoded_cert"], "Our certificate as PEM, escaped for URLs.", |env, _| text(own_der(env).map(|der| url_escaped(&pem(&der))))),
    Pv::plain(&["tls_peer_version"], "Version of the peer's certificate, less one.", |env, _| peer(env, |c| Some(c.version().to_string()))),
    Pv::plain(&["tls_my_version"], "Version of our certificate, less one.", |env, _| own(env, |c| Some(c.version().to_string()))),
    Pv::plain(&["tls_peer_serial"], "Serial number of the peer's certificate.", |env, _| peer(env, |c| Some(c.serial()))),
    Pv::plain(&["tls_my_serial"], "Serial number of ours.", |env, _| own(env, |c| Some(c.serial()))),
    Pv::plain(&["tls_peer_subject"], "Whom the peer's certificate names: /C=DE/CN=sip.example.com.", |env, _| peer(env, |c| Some(line(c.subject())))),
    Pv::plain(&["tls_peer_issuer"], "Its issuer.", |env, _| peer(env, |c| Some(line(c.issuer())))),
    Pv::plain(&["tls_my_subject"], "Whom our certificate names.", |env, _| own(env, |c| Some(line(c.subject())))),
    Pv::plain(&["tls_my_issuer"], "Its issuer.", |env, _| own(env, |c| Some(line(c.issuer())))),
    Pv::plain(&["tls_peer_subject_cn"], "Common name in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::CommonName))),
    Pv::plain(&["tls_peer_issuer_cn"], "Common name of its issuer.", |env, _| peer(env, |c| part(c.issuer(), Part::CommonName))),
    Pv::plain(&["tls_my_subject_cn"], "Common name in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::CommonName))),
    Pv::plain(&["tls_my_issuer_cn"], "Common name of its issuer.", |env, _| own(env, |c| part(c.issuer(), Part::CommonName))),
    Pv::plain(&["tls_peer_subject_locality"], "Locality in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::Locality))),
    Pv::plain(&["tls_peer_issuer_locality"], "Locality of its issuer.", |env, _| peer(env, |c| part(c.issuer(), Part::Locality))),
    Pv::plain(&["tls_my_subject_locality"], "Locality in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::Locality))),
    Pv::plain(&["tls_my_issuer_locality"], "Locality of its issuer.", |env, _| own(env, |c| part(c.issuer(), Part::Locality))),
    Pv::plain(&["tls_peer_subject_country"], "Country in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::Country))),
    Pv::plain(&["tls_peer_issuer_country"], "Country of its issuer.", |env, _| peer(env, |c| part(c.issuer(), Part::Country))),
    Pv::plain(&["tls_my_subject_country"], "Country in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::Country))),
    Pv::plain(&["tls_my_issuer_country"], "Country of its issuer.", |env, _| own(env, |c| part(c.issuer(), Part::Country))),
    Pv::plain(&["tls_peer_subject_state"], "State in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::State))),
    Pv::plain(&["tls_peer_issuer_state"], "State of its issuer.", |env, _| peer(env, |c| part(c.issuer(), Part::State))),
    Pv::plain(&["tls_my_subject_state"], "State in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::State))),
    Pv::plain(&["tls_my_issuer_state"], "State of its issuer.", |env, _| own(env, |c| part(c.issuer(), Part::State))),
    Pv::plain(&["tls_peer_subject_organization"], "Organization in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::Organization))),
    Pv::plain(&["tls_peer_issuer_organization"], "Organization of its issuer.", |env, _| peer(env, |c| part(c.issuer(), Part::Organization))),
    Pv::plain(&["tls_my_subject_organization"], "Organization in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::Organization))),
    Pv::plain(&["tls_my_issuer_organization"], "Organization of its issuer.", |env, _| own(env, |c| part(c.issuer(), Part::Organization))),
    Pv::plain(&["tls_peer_subject_unit"], "Unit in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::Unit))),
    Pv::plain(&["tls_peer_issuer_unit"], "Unit of its issuer.", |env, _| peer(env, |c| part(c.issuer(), Part::Unit))),
    Pv::plain(&["tls_my_subject_unit"], "Unit in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::Unit))),
    Pv::plain(&["tls_my_issuer_unit"], "Unit of its issuer.", |env, _| own(env, |c| part(c.issuer(), Part::Unit))),
    Pv::plain(&["tls_peer_subject_uid"], "User id in the peer's certificate.", |env, _| peer(env, |c| part(c.subject(), Part::Uid))),
    Pv::plain(&["tls_my_subject_uid"], "User id in our certificate.", |env, _| own(env, |c| part(c.subject(), Part::Uid))),
    Pv::plain(&["tls_peer_san_email"], "First alternative name of the peer that is an address of electronic mail.", |env, _| peer(env, |c| first(c, Alternative::Email))),
    Pv::plain(&["tls_my_san_email"], "The same of our certificate.", |env, _| own(env, |c| first(c, Alternative::Email))),
    Pv::plain(&["tls_peer_san_hostname"], "First alternative name of the peer that is a host.", |env, _| peer(env, |c| first(c, Alternative::Hostname))),
    Pv::plain(&["tls_my_san_hostname"], "The same of our certificate.", |env, _| own(env, |c| first(c, Alternative::Hostname))),
    Pv::plain(&["tls_peer_san_uri"], "First alternative name of the peer that is a URI.", |env, _| peer(env, |c| first(c, Alternative::Uri))),
    Pv::plain(&["tls_my_san_uri"], "The same of our certificate.", |env, _| own(env, |c| first(c, Alternative::Uri))),
    Pv::plain(&["tls_peer_san_ip"], "First alternative name of the peer that is an IP address.", |env, _| peer(env, |c| first(c, Alternative::Ip))),
    Pv::plain(&["tls_my_san_ip"], "The same of our certificate.", |env, _| own(env, |c| first(c, Alternative::Ip))),
];
