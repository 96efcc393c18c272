//! Whom a profile trusts: the check of a peer's certificates (RFC 5280 §6, RFC 5922 §4).

use super::certificate::Certificate;
use super::settings::Settings;
use rustls::CertificateError;
use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::Error;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerified;
use rustls::server::danger::ClientCertVerifier;
use shared::net::Verdict;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The authorities of a profile.
#[derive(Debug)]
pub(super) struct Authorities {
    /// The certificates themselves: a peer that shows one of them is trusted, whatever else it may be.
    own: Vec<CertificateDer<'static>>,
    servers: Option<Arc<WebPkiServerVerifier>>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    /// A file that cannot be read, or holds something else.
    #[error("{0}: {1}")]
    File(String, String),
    /// A revocation list or an authority that cannot be used.
    #[error("ca_list and crl: {0}")]
    Verifier(String),
}

/// The certificates in a file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let fault =
        |error: &dyn std::fmt::Display| TrustError::File(path.display().to_string(), error.to_string());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| fault(&error))?;
    if found.is_empty() {
        return Err(fault(&"no certificate in it"));
    }
    Ok(found)
}

/// The certificates in the files of a folder; what is none is passed over, as OpenSSL does.
fn folder(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let entries = std::fs::read_dir(path)
        .map_err(|error| TrustError::File(path.display().to_string(), error.to_string()))?;
    let files = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    Ok(files
        .filter_map(|file| certificates(&file).ok())
        .flatten()
        .collect())
}

impl Authorities {
    /// Reads those of a profile. `system`: the machine's own count where the profile names none.
    pub(super) fn read(
        settings: &Settings,
        system: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        let mut own = Vec::new();
        if let Some(path) = &settings.ca_list {
            own.extend(certificates(path)?);
        }
        if let Some(path) = &settings.ca_path {
            own.extend(folder(path)?);
        }
        let mut roots = RootCertStore::empty();
        if own.is_empty() && system {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        roots.add_parsable_certificates(own.iter().cloned());
        let mut lists = Vec::new();
        if let Some(path) = &settings.crl {
            let read = CertificateRevocationListDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            lists = read.map_err(|error| TrustError::File(path.display().to_string(), error.to_string()))?;
        }
        if roots.is_empty() {
            return Ok(Self {
                own,
                servers: None,
                clients: None,
            });
        }
        let roots = Arc::new(roots);
        let verifier = |error: rustls::server::VerifierBuilderError| TrustError::Verifier(error.to_string());
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
            .with_crls(lists.clone())
            .allow_unknown_revocation_status()
            .build();
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(lists)
            .allow_unknown_revocation_status()
            .build();
        Ok(Self {
            own,
            servers: Some(servers.map_err(verifier)?),
            clients: Some(clients.map_err(verifier)?),
        })
    }

    /// Whether nobody is trusted.
    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_none()
    }

    /// Checks what a client shows.
    fn client(&self, chain: Chain<'_>, now: UnixTime) -> Result<(), Error> {
        if self.is_own(chain.0, now) {
            return Ok(());
        }
        let clients = self.clients.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        clients.verify_client_cert(chain.0, chain.1, now).map(|_| ())
    }

    /// Checks what a server shows.
    ///
    /// Kamailio: its name does not matter, unless the profile asks for one by `server_name` (RFC 5922 §7.2).
    fn server(&self, chain: Chain<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        if self.is_own(chain.0, now) {
            return Ok(());
        }
        let servers = self.servers.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        let checked = servers.verify_server_cert(chain.0, chain.1, name, &[], now);
        match checked {
            // The chain was followed before the name was looked at.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if matches!(name, ServerName::IpAddress(_)) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn is_own(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        self.own.contains(certificate)
            && Certificate::read(certificate).is_some_and(|read| read.is_in_force(now.as_secs()))
    }

    /// What is to be thought of the certificates that a peer has shown, its own first.
    pub(super) fn verdict(
        &self,
        chain: &[CertificateDer<'_>],
        side: super::settings::Side,
        now: Duration,
    ) -> Verdict {
        let Some((first, rest)) = chain.split_first() else {
            return Verdict::Refused;
        };
        let now = UnixTime::since_unix_epoch(now);
        // An address: its name does not matter.
        let nameless = ServerName::from(std::net::IpAddr::from([0; 4]));
        let checked = match side {
            super::settings::Side::Server => self.client(Chain(first, rest), now),
            super::settings::Side::Client => self.server(Chain(first, rest), &nameless, now),
        };
        match checked {
            Ok(()) => Verdict::Verified,
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Verdict::Expired,
            Err(Error::InvalidCertificate(CertificateError::Revoked)) => Verdict::Revoked,
            Err(_) if Certificate::read(first).is_some_and(|read| read.is_self_issued()) => {
                Verdict::SelfSigned
            }
            Err(_) => Verdict::Refused,
        }
    }
}

/// A peer's certificate and those it sent along.
#[derive(Clone, Copy)]
struct Chain<'a>(&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

/// What happens to a peer whose certificates do not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// There is no connection.
    Strict,
    /// There is one, and the script may ask.
    Lenient,
}

/// The check during a handshake.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) authorities: Arc<Authorities>,
    pub(super) policy: Policy,
    /// A client has to show a certificate.
    pub(super) mandatory: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Trust {
    fn judged(&self, checked: Result<(), Error>) -> Result<(), Error> {
        match self.policy {
            Policy::Strict => checked,
            Policy::Lenient => Ok(()),
        }
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = Chain(end_entity, intermediates);
        self.judged(self.authorities.server(chain, server_name, now))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ClientCertVerifier for Trust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let clients = self.authorities.clients.as_ref();
        clients.map_or(&[], |clients| clients.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judged(self.authorities.client(Chain(end_entity, intermediates), now))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}
