//! TLS on a stream: the handshake and what it settled (RFC 3261 §26.3.1, RFC 5246, RFC 8446).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::CipherSuite;
use rustls::ClientConfig;
use rustls::CommonState;
use rustls::ProtocolVersion;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use shared::net::Secured;
use shared::net::Verdict;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::TlsConnector;
use tokio_rustls::TlsStream;

/// Judges the certificates that a peer shows, its own first, at a wall time.
pub type Judge = Arc<dyn Fn(&[CertificateDer<'static>], Duration) -> Verdict + Send + Sync>;

/// One side of TLS as an operator configured it.
#[derive(Clone)]
pub struct Profile<C> {
    /// Keys, authorities, versions.
    pub config: Arc<C>,
    /// The certificate that is shown.
    pub own: Option<CertificateDer<'static>>,
    /// The server name that is asked for.
    pub server_name: Option<String>,
    /// What is thought of the peer.
    pub judge: Judge,
}

/// Finds how a connection is to be secured.
pub trait Profiles: Send + Sync {
    /// For a connection accepted at `local`, whose peer asks for a server of this name.
    fn server(&self, local: SocketAddr, name: Option<&str>) -> Option<Profile<ServerConfig>>;
    /// For a connection made to `remote`.
    fn client(&self, remote: SocketAddr) -> Option<Profile<ClientConfig>>;
}

fn unconfigured() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "TLS is not configured")
}

/// The handshake of a connection that was accepted.
pub(super) async fn accept(
    profiles: &dyn Profiles,
    stream: TcpStream,
    local: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, Secured)> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let name = start.client_hello().server_name().map(str::to_owned);
    let profile = profiles.server(local, name.as_deref()).ok_or_else(unconfigured)?;
    let stream = start.into_stream(Arc::clone(&profile.config)).await?;
    let secured = settled(stream.get_ref().1, &profile, name);
    Ok((stream.into(), secured))
}

/// The handshake of a connection that was made.
pub(super) async fn connect(
    profiles: &dyn Profiles,
    stream: TcpStream,
    remote: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, Secured)> {
    let profile = profiles.client(remote).ok_or_else(unconfigured)?;
    let name = match &profile.server_name {
        Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        None => ServerName::from(remote.ip()),
    };
    let connector = TlsConnector::from(Arc::clone(&profile.config));
    let stream = connector.connect(name, stream).await?;
    let secured = settled(stream.get_ref().1, &profile, profile.server_name.clone());
    Ok((stream.into(), secured))
}

fn settled<C>(state: &CommonState, profile: &Profile<C>, server_name: Option<String>) -> Secured {
    let chain = state.peer_certificates().unwrap_or_default();
    let suite = state
        .negotiated_cipher_suite()
        .and_then(|suite| Suite::of(suite.suite()));
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    Secured {
        version,
        cipher: suite.map_or("", |suite| suite.name),
        description: suite.map(|suite| suite.description(version)).unwrap_or_default(),
        bits: suite.map_or(0, |suite| suite.bits),
        server_name,
        peer: chain.first().map(|certificate| certificate.to_vec()),
        own: profile.own.as_ref().map(|certificate| certificate.to_vec()),
        verdict: if chain.is_empty() {
            Verdict::Refused
        } else {
            (profile.judge)(chain, crate::clock::wall())
        },
    }
}

/// A cipher suite in OpenSSL's words.
struct Suite {
    suite: CipherSuite,
    name: &'static str,
    exchange: &'static str,
    authentication: &'static str,
    cipher: &'static str,
    bits: u16,
}

const fn suite(
    suite: CipherSuite,
    name: &'static str,
    (exchange, authentication): (&'static str, &'static str),
    (cipher, bits): (&'static str, u16),
) -> Suite {
    Suite {
        suite,
        name,
        exchange,
        authentication,
        cipher,
        bits,
    }
}

const ANY: (&str, &str) = ("any", "any");
const ECDSA: (&str, &str) = ("ECDH", "ECDSA");
const RSA: (&str, &str) = ("ECDH", "RSA");
const AES_256: (&str, u16) = ("AESGCM(256)", 256);
const AES_128: (&str, u16) = ("AESGCM(128)", 128);
const CHACHA: (&str, u16) = ("CHACHA20/POLY1305(256)", 256);

/// Every suite that can be settled on.
#[rustfmt::skip]
const SUITES: &[Suite] = &[
    suite(CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", ANY, AES_256),
    suite(CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", ANY, AES_128),
    suite(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", ANY, CHACHA),
    suite(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", ECDSA, AES_256),
    suite(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256", ECDSA, AES_128),
    suite(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305", ECDSA, CHACHA),
    suite(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", RSA, AES_256),
    suite(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", RSA, AES_128),
    suite(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", RSA, CHACHA),
];

impl Suite {
    fn of(wanted: CipherSuite) -> Option<&'static Self> {
        SUITES.iter().find(|row| row.suite == wanted)
    }

    /// As `openssl ciphers -v` prints it.
    fn description(&self, version: &str) -> String {
        let Self {
            name,
            exchange,
            authentication,
            cipher,
            ..
        } = self;
        format!("{name:<30} {version} Kx={exchange:<8} Au={authentication:<5} Enc={cipher:<22} Mac=AEAD\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_its_name() {
        for suite in rustls::crypto::ring::default_provider().cipher_suites {
            assert!(Suite::of(suite.suite()).is_some(), "{:?}", suite.suite());
        }
    }

    #[test]
    fn a_suite_is_described_as_openssl_does() {
        let rows = [
            (
                CipherSuite::TLS13_AES_256_GCM_SHA384,
                "TLSv1.3",
                "TLS_AES_256_GCM_SHA384         TLSv1.3 Kx=any      Au=any   Enc=AESGCM(256)            Mac=AEAD\n",
            ),
            (
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                "TLSv1.2",
                "ECDHE-RSA-AES256-GCM-SHA384    TLSv1.2 Kx=ECDH     Au=RSA   Enc=AESGCM(256)            Mac=AEAD\n",
            ),
        ];
        for (suite, version, expected) in rows {
            assert_eq!(Suite::of(suite).unwrap().description(version), expected);
        }
    }
}
