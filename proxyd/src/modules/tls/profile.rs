//! Profiles in force: keys and certificates read, and which of them a connection has (RFC 6066 §3 for server names).

use super::settings::Method;
use super::settings::Place;
use super::settings::Section;
use super::settings::Settings;
use super::settings::Side;
use super::settings::VerifyClient;
use super::trust::Authorities;
use super::trust::Policy;
use super::trust::Trust;
use super::trust::TrustError;
use super::trust::certificates;
use rustls::ClientConfig;
use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::version::TLS13;
use shared::net::Verdict;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    /// Authorities or certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A private key; what is in it is not shown.
    #[error("private key {0}: {1}")]
    Key(String, String),
    /// A setting is missing.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// Certificate and key are not a pair, or are of a kind that cannot be used.
    #[error("certificate {0}: {1}")]
    Pair(String, rustls::Error),
    /// Versions and ciphers.
    #[error("{0}")]
    Versions(rustls::Error),
}

/// One side of TLS with everything read that it names.
pub(crate) struct Profile<C> {
    /// What rustls wants to know.
    pub(crate) config: Arc<C>,
    /// The certificate that is shown.
    pub(crate) own: Option<CertificateDer<'static>>,
    /// The server name that clients ask for, or that is asked for.
    pub(crate) server_name: Option<String>,
    names: Names,
    place: Place,
    authorities: Arc<Authorities>,
    side: Side,
}

impl<C> Profile<C> {
    /// Judges the certificates that a peer shows, its own first.
    pub(crate) fn judge(&self) -> Arc<dyn Fn(&[CertificateDer<'static>], Duration) -> Verdict + Send + Sync> {
        let (authorities, side) = (Arc::clone(&self.authorities), self.side);
        Arc::new(move |chain, now| authorities.verdict(chain, side, now))
    }
}

/// Which names a profile's server name stands for (`server_name_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Itself,
    AndBelow,
    Below,
}

impl Names {
    fn of(settings: &Settings) -> Self {
        match settings.server_name_mode {
            Some(1) => Self::AndBelow,
            Some(2) => Self::Below,
            _ => Self::Itself,
        }
    }

    fn fit(self, own: &str, asked: &str) -> bool {
        let below = || {
            let at = asked.len().checked_sub(own.len() + 1)?;
            let (label, rest) = (asked.get(..at)?, asked.get(at..)?);
            Some(!label.is_empty() && rest.strip_prefix('.')?.eq_ignore_ascii_case(own))
        };
        (self != Self::Below && own.eq_ignore_ascii_case(asked))
            || (self != Self::Itself && below().unwrap_or(false))
    }
}

/// Every profile, by side.
#[derive(Default)]
pub(crate) struct Profiles {
    servers: Vec<Profile<ServerConfig>>,
    clients: Vec<Profile<ClientConfig>>,
}

impl Profiles {
    /// Reads everything that the profiles name. `defaults` are the parameters of the module. `served`: sockets accept
    /// TLS, which needs a certificate.
    pub(super) fn read(
        sections: Vec<Section>,
        defaults: &Settings,
        served: bool,
    ) -> Result<Self, (String, ProfileError)> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut profiles = Self::default();
        for side in [Side::Server, Side::Client] {
            let (first, rest): (Vec<_>, Vec<_>) = sections
                .iter()
                .filter(|section| section.side == side)
                .partition(|section| section.place == Place::Default);
            let first = first
                .first()
                .map_or_else(Settings::default, |section| section.settings.clone());
            // Several connections may want the name that only one of them is for.
            let nameless = Settings {
                server_name: None,
                ..defaults.clone()
            };
            let first = first.or(if side == Side::Server { defaults } else { &nameless });
            let inherited = Settings {
                server_name: None,
                ..first.clone()
            };
            let rest = rest.into_iter().map(|section| {
                let settings = section.settings.clone().or(&inherited);
                (section.place, settings)
            });
            for (place, settings) in rest.chain([(Place::Default, first)]) {
                let named = |error| (name(side, place), error);
                match side {
                    Side::Server if settings.certificate.is_none() && !served => {}
                    Side::Server => profiles
                        .servers
                        .push(server(place, &settings, &provider).map_err(named)?),
                    Side::Client => profiles
                        .clients
                        .push(client(place, &settings, &provider).map_err(named)?),
                }
            }
        }
        Ok(profiles)
    }

    /// The profile of a connection accepted at `local`, whose peer asks for a server of this name.
    pub(crate) fn server(&self, local: SocketAddr, name: Option<&str>) -> Option<&Profile<ServerConfig>> {
        find(&self.servers, local, name)
    }

    /// The profile of a connection made to `remote`.
    pub(crate) fn client(&self, remote: SocketAddr) -> Option<&Profile<ClientConfig>> {
        find(&self.clients, remote, None)
    }
}

/// The first profile that fits; the default one is the last.
fn find<'p, C>(profiles: &'p [Profile<C>], at: SocketAddr, asked: Option<&str>) -> Option<&'p Profile<C>> {
    profiles.iter().find(|profile| {
        let named = match (&profile.server_name, asked) {
            (Some(own), Some(asked)) => Some(profile.names.fit(own, asked)),
            _ => None,
        };
        match profile.place {
            Place::Default => true,
            Place::Any => named == Some(true),
            Place::At(place) => {
                place.ip() == at.ip()
                    && (place.port() == 0 || place.port() == at.port())
                    && named != Some(false)
            }
        }
    })
}

/// A profile as `tls.cfg` names it.
fn name(side: Side, place: Place) -> String {
    let side = if side == Side::Server { "server" } else { "client" };
    match place {
        Place::Default => format!("{side}:default"),
        Place::Any => format!("{side}:any"),
        Place::At(address) => format!("{side}:{address}"),
    }
}

fn versions(method: Option<Method>) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    match method.unwrap_or(Method::Both) {
        Method::Both => &BOTH,
        Method::Tls12 => &BOTH[..1],
        Method::Tls13 => &BOTH[1..],
    }
}

/// The certificates and the key that are shown; none when no certificate is set.
fn shown(settings: &Settings) -> Result<Option<Shown>, ProfileError> {
    let Some(certificate) = &settings.certificate else {
        return Ok(None);
    };
    let key = settings
        .private_key
        .as_ref()
        .ok_or(ProfileError::Missing("private_key"))?;
    let chain = certificates(certificate)?;
    let fault =
        |error: &dyn std::fmt::Display| ProfileError::Key(key.display().to_string(), error.to_string());
    if is_world_readable(key) {
        crate::log::warning(
            "tls",
            format_args!(
                "private key {}: every user of this machine can read it",
                key.display()
            ),
        );
    }
    Ok(Some(Shown {
        chain,
        key: PrivateKeyDer::from_pem_file(key).map_err(|error| fault(&error))?,
        file: certificate.display().to_string(),
    }))
}

struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    file: String,
}

fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// How strictly a peer is checked, and whether it has to show a certificate; none: it is not asked.
fn demands(settings: &Settings) -> Option<(Policy, bool)> {
    let verify_client = settings.verify_client.unwrap_or(VerifyClient::Off);
    let required = settings.require_certificate == Some(true) || verify_client == VerifyClient::On;
    let verified = settings.verify_certificate == Some(true) || verify_client == VerifyClient::Optional;
    match verify_client {
        _ if required || verified => Some((Policy::Strict, required)),
        VerifyClient::OptionalNoCa => Some((Policy::Lenient, false)),
        _ => None,
    }
}

fn warn_of_nobody(side: Side, place: Place, authorities: &Authorities) {
    if authorities.is_empty() {
        let name = name(side, place);
        crate::log::warning(
            "tls",
            format_args!(
                "[{name}]: certificates are to be verified, and ca_list names no authority: none will pass"
            ),
        );
    }
}

fn server(
    place: Place,
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Profile<ServerConfig>, ProfileError> {
    let authorities = Arc::new(Authorities::read(settings, false, provider)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(settings.method))
        .map_err(ProfileError::Versions)?;
    let builder = match demands(settings) {
        None => builder.with_no_client_auth(),
        Some((policy, mandatory)) => {
            if policy == Policy::Strict {
                warn_of_nobody(Side::Server, place, &authorities);
            }
            builder.with_client_cert_verifier(Arc::new(Trust {
                authorities: Arc::clone(&authorities),
                policy,
                mandatory,
                provider: Arc::clone(provider),
            }))
        }
    };
    let shown = shown(settings)?.ok_or(ProfileError::Missing("certificate"))?;
    let own = shown.chain.first().cloned();
    let config = builder.with_single_cert(shown.chain, shown.key);
    Ok(Profile {
        config: Arc::new(config.map_err(|error| ProfileError::Pair(shown.file, error))?),
        own,
        server_name: settings.server_name.clone(),
        names: Names::of(settings),
        place,
        authorities,
        side: Side::Server,
    })
}

fn client(
    place: Place,
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Profile<ClientConfig>, ProfileError> {
    let strict = settings.verify_certificate == Some(true) || settings.require_certificate == Some(true);
    let authorities = Arc::new(Authorities::read(settings, strict, provider)?);
    if strict {
        warn_of_nobody(Side::Client, place, &authorities);
    }
    let trust = Trust {
        authorities: Arc::clone(&authorities),
        policy: if strict { Policy::Strict } else { Policy::Lenient },
        mandatory: true,
        provider: Arc::clone(provider),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(settings.method))
        .map_err(ProfileError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    let (config, own) = match shown(settings)? {
        None => (builder.with_no_client_auth(), None),
        Some(shown) => {
            let own = shown.chain.first().cloned();
            let config = builder.with_client_auth_cert(shown.chain, shown.key);
            (
                config.map_err(|error| ProfileError::Pair(shown.file, error))?,
                own,
            )
        }
    };
    Ok(Profile {
        config: Arc::new(config),
        own,
        server_name: settings.server_name.clone(),
        names: Names::of(settings),
        place,
        authorities,
        side: Side::Client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_may_stand_for_those_below() {
        for (names, asked, fits) in [
            (Names::Itself, "A.test", true),
            (Names::Itself, "b.a.test", false),
            (Names::AndBelow, "a.test", true),
            (Names::AndBelow, "b.a.TEST", true),
            (Names::AndBelow, "ba.test", false),
            (Names::Below, "a.test", false),
            (Names::Below, "b.a.test", true),
            (Names::Below, ".a.test", false),
        ] {
            assert_eq!(names.fit("a.test", asked), fits, "{names:?} {asked}");
        }
    }

    #[test]
    fn the_first_profile_that_fits_is_taken() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let at = |text: &str| Place::At(text.parse().unwrap());
        let profile = |place, server_name: Option<&str>| {
            let settings = Settings {
                server_name: server_name.map(str::to_owned),
                ..Settings::default()
            };
            client(place, &settings, &provider).unwrap()
        };
        let profiles = [
            profile(at("192.0.2.1:5061"), Some("a.test")),
            profile(at("192.0.2.1:5061"), None),
            profile(at("192.0.2.2:0"), None),
            profile(Place::Any, Some("b.test")),
            profile(Place::Default, None),
        ];
        for (address, asked, expected) in [
            ("192.0.2.1:5061", Some("a.test"), 0),
            ("192.0.2.1:5061", Some("x.test"), 1),
            ("192.0.2.1:5061", None, 0),
            ("192.0.2.2:7", None, 2),
            ("192.0.2.9:5061", Some("b.test"), 3),
            ("192.0.2.9:5061", Some("c.test"), 4),
            ("192.0.2.9:5061", None, 4),
        ] {
            let found = find(&profiles, address.parse().unwrap(), asked).unwrap();
            let place = profiles.iter().position(|profile| std::ptr::eq(profile, found));
            assert_eq!(place, Some(expected), "{address} {asked:?}");
        }
    }

    #[test]
    fn what_a_peer_must_show() {
        let settings = |verify: bool, require: bool, client| Settings {
            verify_certificate: Some(verify),
            require_certificate: Some(require),
            verify_client: client,
            ..Settings::default()
        };
        for (settings, expected) in [
            (settings(false, false, None), None),
            (settings(true, false, None), Some((Policy::Strict, false))),
            (settings(false, true, None), Some((Policy::Strict, true))),
            (
                settings(false, false, Some(VerifyClient::On)),
                Some((Policy::Strict, true)),
            ),
            (
                settings(false, false, Some(VerifyClient::Optional)),
                Some((Policy::Strict, false)),
            ),
            (
                settings(false, false, Some(VerifyClient::OptionalNoCa)),
                Some((Policy::Lenient, false)),
            ),
        ] {
            assert_eq!(demands(&settings), expected);
        }
    }

    #[test]
    fn a_server_needs_a_certificate_and_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("certificate.pem");
        std::fs::write(&certificate, super::super::certificate::tests::PEM).unwrap();
        let fault = |settings: &Settings| {
            let (name, error) = Profiles::read(Vec::new(), settings, true).err().unwrap();
            format!("{name}: {error}")
        };
        assert_eq!(
            fault(&Settings::default()),
            "server:default: certificate is not set"
        );
        let settings = Settings {
            certificate: Some(certificate.clone()),
            ..Settings::default()
        };
        assert_eq!(fault(&settings), "server:default: private_key is not set");
        let settings = Settings {
            private_key: Some(certificate),
            ..settings
        };
        assert!(
            fault(&settings).starts_with("server:default: private key /"),
            "{}",
            fault(&settings)
        );
        assert!(Profiles::read(Vec::new(), &Settings::default(), false).is_ok());
    }
}
