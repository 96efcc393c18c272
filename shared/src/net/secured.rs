//! What TLS has settled for one connection, as scripts and operators ask for it (Kamailio tls module, `$tls_*`).

/// A connection under TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite as OpenSSL names it.
    pub cipher: &'static str,
    /// One line about key exchange, authentication, cipher and digest, as OpenSSL writes it.
    pub description: String,
    /// Bits of the key.
    pub bits: u16,
    /// The name that the connecting side asked for (RFC 6066 §3).
    pub server_name: Option<String>,
    /// The peer's certificate, DER.
    pub peer: Option<Vec<u8>>,
    /// Our own certificate, DER.
    pub own: Option<Vec<u8>>,
    /// What is to be thought of the peer's certificate; nothing is where it shows none.
    pub verdict: Verdict,
}

/// What came of checking a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Issued by an authority that is trusted, and in force.
    Verified,
    /// Its time is over.
    Expired,
    /// Its issuer has taken it back.
    Revoked,
    /// Issued by itself, and not among those that are trusted.
    SelfSigned,
    /// Anything else, also that nobody is trusted.
    Refused,
}
