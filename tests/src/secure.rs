//! TLS for user agents that trust everybody, and the certificates of a scenario, made by openssl.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::SignatureScheme;
use rustls::StreamOwned;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;

/// What a user agent shows of itself: as a client where it has a certificate, as a server only then.
#[derive(Clone, Debug)]
pub struct Identity {
    client: Arc<ClientConfig>,
    server: Option<Arc<ServerConfig>>,
    server_name: String,
}

impl Identity {
    /// Takes `NAME.pem` and `NAME.key` of a folder, where they are; asks servers for `server_name`.
    pub fn new(folder: &Path, name: &str, server_name: &str) -> io::Result<Self> {
        let (certificate, key) = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting));
        let (client, server) = if certificate.exists() {
            let chain = || CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect);
            let read = |error| io::Error::other(format!("{}: {error}", certificate.display()));
            let private = || PrivateKeyDer::from_pem_file(&key).map_err(io::Error::other);
            let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_no_client_auth()
                .with_single_cert(chain().map_err(read)?, private()?);
            let client = client.with_client_auth_cert(chain().map_err(read)?, private()?);
            (
                client.map_err(io::Error::other)?,
                Some(Arc::new(server.map_err(io::Error::other)?)),
            )
        } else {
            (client.with_no_client_auth(), None)
        };
        Ok(Self {
            client: Arc::new(client),
            server,
            server_name: server_name.to_owned(),
        })
    }

    /// Secures a connection that was made; the handshake is over when it returns.
    pub fn connect(&self, mut stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        stream.set_read_timeout(Some(crate::wait::PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        stream.set_nonblocking(true)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }

    /// Secures a connection that was accepted; the handshake goes on with each look at it.
    pub fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        let config = self.server.clone().ok_or(io::ErrorKind::Unsupported)?;
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        stream.set_nonblocking(true)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// A stream with or without TLS that never waits.
pub trait Stream: Read + Write + Debug {}

impl<T: Read + Write + Debug> Stream for T {}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Makes `ca.pem`, and for each name `NAME.pem` issued by it with `NAME.key`; serial numbers follow from 1000.
pub fn make_certificates(folder: &Path, names: &[&str]) -> io::Result<()> {
    if !folder.join("ca.pem").exists() {
        openssl(
            folder,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 30 \
             -set_serial 999 -subj /C=DE/O=Example/CN=Authority",
        )?;
    }
    for (name, serial) in names.iter().zip(1000..) {
        fs::write(
            folder.join("extensions"),
            format!(
                "subjectAltName=DNS:{name}.test,URI:sip:{name}.test,IP:127.0.0.1,email:{name}@test\n\
                 basicConstraints=CA:FALSE\n"
            ),
        )?;
        openssl(
            folder,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr \
                 -subj /C=DE/ST=Berlin/O=Example/CN={name}.test"
            ),
        )?;
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 30 -extfile extensions \
                 -out {name}.pem"
            ),
        )?;
    }
    Ok(())
}

fn openssl(folder: &Path, arguments: &str) -> io::Result<()> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("openssl {arguments}: {said}")))
}
