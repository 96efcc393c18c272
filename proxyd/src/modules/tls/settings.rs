//! What an operator says of TLS: parameters of the module, and the profiles of `tls.cfg` (Kamailio module tls, "TLS configuration file").

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

/// A mistake in `tls.cfg`, or in a parameter that means the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SettingsError {
    /// A line that is neither a profile nor a setting.
    #[error("line {0}: neither a profile in brackets nor `name = value`")]
    Line(usize),
    /// A profile in brackets that is none.
    #[error(
        "line {0}: {1:?} is no profile: write [server:default], [server:any], [server:192.0.2.1:5061] or [client:…]"
    )]
    Profile(usize, String),
    /// The same profile again.
    #[error("line {0}: profile [{1}] appears twice")]
    Twice(usize, String),
    /// A setting before the first profile.
    #[error("line {0}: setting outside of a profile")]
    Outside(usize),
    /// A setting that nobody knows.
    #[error("line {0}: unknown setting {1:?}")]
    Unknown(usize, String),
    /// A value that does not fit.
    #[error("{name} = {value:?}: {why}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// The versions of TLS that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// TLS 1.2 and 1.3.
    Both,
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl Method {
    pub(super) fn parse(text: &str) -> Result<Self, SettingsError> {
        match text {
            "" | "SSLv23" | "TLSv1+" | "TLSv1.0+" | "TLSv1.1+" | "TLSv1.2+" => Ok(Self::Both),
            "TLSv1.2" => Ok(Self::Tls12),
            "TLSv1.3" | "TLSv1.3+" => Ok(Self::Tls13),
            _ => Err(SettingsError::Value {
                name: "method",
                value: text.to_owned(),
                why: "only TLSv1.2, TLSv1.3, TLSv1.2+ and wider ranges can be spoken",
            }),
        }
    }

    /// Its name as `tls.options` shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Both => "TLSv1.2+",
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// Whether a client is asked for its certificate (`verify_client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VerifyClient {
    Off,
    On,
    Optional,
    OptionalNoCa,
}

impl VerifyClient {
    pub(super) fn parse(text: &str) -> Result<Self, SettingsError> {
        match text {
            "" | "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "optional" => Ok(Self::Optional),
            "optional_no_ca" => Ok(Self::OptionalNoCa),
            _ => Err(SettingsError::Value {
                name: "verify_client",
                value: text.to_owned(),
                why: "it is off, on, optional or optional_no_ca",
            }),
        }
    }
}

/// The settings of one profile; what is absent comes from the default profile, and from the parameters then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) method: Option<Method>,
    pub(super) verify_certificate: Option<bool>,
    pub(super) require_certificate: Option<bool>,
    pub(super) verify_client: Option<VerifyClient>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) private_key: Option<PathBuf>,
    pub(super) ca_list: Option<PathBuf>,
    pub(super) ca_path: Option<PathBuf>,
    pub(super) crl: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) server_name_mode: Option<i64>,
}

impl Settings {
    /// These, completed by others.
    pub(super) fn or(self, others: &Self) -> Self {
        Self {
            method: self.method.or(others.method),
            verify_certificate: self.verify_certificate.or(others.verify_certificate),
            require_certificate: self.require_certificate.or(others.require_certificate),
            verify_client: self.verify_client.or(others.verify_client),
            certificate: self.certificate.or_else(|| others.certificate.clone()),
            private_key: self.private_key.or_else(|| others.private_key.clone()),
            ca_list: self.ca_list.or_else(|| others.ca_list.clone()),
            ca_path: self.ca_path.or_else(|| others.ca_path.clone()),
            crl: self.crl.or_else(|| others.crl.clone()),
            server_name: self.server_name.or_else(|| others.server_name.clone()),
            server_name_mode: self.server_name_mode.or(others.server_name_mode),
        }
    }

    fn set(&mut self, number: usize, name: &str, value: &str, folder: &Path) -> Result<(), SettingsError> {
        let file = || Some(path(value, folder));
        match name {
            "method" | "tls_method" => self.method = Some(Method::parse(value)?),
            "verify_certificate" | "verify_cert" => {
                self.verify_certificate = Some(yes("verify_certificate", value)?);
            }
            "require_certificate" | "require_cert" => {
                self.require_certificate = Some(yes("require_certificate", value)?);
            }
            "verify_client" => self.verify_client = Some(VerifyClient::parse(value)?),
            "certificate" | "cert_file" => self.certificate = file(),
            "private_key" | "pkey_file" => self.private_key = file(),
            "ca_list" | "calist_file" => self.ca_list = file(),
            "ca_path" => self.ca_path = file(),
            "crl" => self.crl = file(),
            "server_name" => self.server_name = Some(value.to_owned()),
            "server_name_mode" => self.server_name_mode = value.parse().ok(),
            // They choose among ciphers and chains that are not spoken here, as the parameters of these names.
            "cipher_list" | "verify_depth" => {}
            "private_key_password" | "pkey_password" => {
                return Err(SettingsError::Value {
                    name: "private_key_password",
                    value: "…".to_owned(),
                    why: "a private key with a password cannot be read",
                });
            }
            "server_id"
            | "certificate2"
            | "cert_file2"
            | "private_key2"
            | "pkey_file2"
            | "private_key_password2"
            | "pkey_password2" => {
                return Err(SettingsError::Value {
                    name: "server_id, certificate2 and private_key2",
                    value: value.to_owned(),
                    why: "they are not supported: give each certificate a profile with its server_name",
                });
            }
            _ => return Err(SettingsError::Unknown(number, name.to_owned())),
        }
        Ok(())
    }
}

/// A file as an operator names it: beside the script, unless it begins with `/` or with a dot.
pub(super) fn path(text: &str, folder: &Path) -> PathBuf {
    if text.starts_with('.') {
        PathBuf::from(text)
    } else {
        folder.join(text)
    }
}

fn yes(name: &'static str, value: &str) -> Result<bool, SettingsError> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "enable" | "on" | "1" => Ok(true),
        "no" | "false" | "disable" | "off" | "0" => Ok(false),
        _ => Err(SettingsError::Value {
            name,
            value: value.to_owned(),
            why: "it is yes or no",
        }),
    }
}

/// The side of a connection that a profile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It was accepted.
    Server,
    /// It was made.
    Client,
}

/// Which connections of its side a profile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Those that no other is for.
    Default,
    /// Those that ask for its server name, at any address.
    Any,
    /// Those at this address; port 0 is any.
    At(SocketAddr),
}

/// A profile of `tls.cfg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) side: Side,
    pub(super) place: Place,
    pub(super) settings: Settings,
}

/// Reads `tls.cfg`; files it names stand beside the script.
pub(super) fn parse(text: &str, folder: &Path) -> Result<Vec<Section>, SettingsError> {
    let mut sections: Vec<Section> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = uncommented(line).trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or(SettingsError::Line(number))?.trim();
            let (side, place) =
                heading(name).ok_or_else(|| SettingsError::Profile(number, name.to_owned()))?;
            // Several profiles at one place differ in their server names.
            let same = |section: &Section| section.side == side && section.place == place;
            if place == Place::Default && sections.iter().any(same) {
                return Err(SettingsError::Twice(number, name.to_owned()));
            }
            let settings = Settings::default();
            sections.push(Section {
                side,
                place,
                settings,
            });
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(SettingsError::Line(number))?;
        let section = sections.last_mut().ok_or(SettingsError::Outside(number))?;
        let value = value.trim().trim_matches('"');
        section.settings.set(number, name.trim(), value, folder)?;
    }
    Ok(sections)
}

/// A line up to a `#` or `;` outside of quotes.
fn uncommented(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        !quoted && matches!(c, '#' | ';')
    });
    line.get(..end.unwrap_or(line.len())).unwrap_or(line)
}

fn heading(name: &str) -> Option<(Side, Place)> {
    let (side, place) = name.split_once(':')?;
    let side = match side.trim() {
        "server" | "srv" | "s" => Side::Server,
        "client" | "cli" | "c" => Side::Client,
        _ => return None,
    };
    let place = match place.trim() {
        "default" | "def" | "*" => Place::Default,
        "any" | "all" => Place::Any,
        address => Place::At(address.parse().or_else(|_| bare(address)).ok()?),
    };
    Some((side, place))
}

fn bare(address: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    address.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/etc/proxyd";

    #[test]
    fn the_file_is_read_as_kamailio_reads_it() {
        let text = "# a comment\n[server:default]\nmethod = TLSv1.2+ # more\nverify_certificate = no\n\
                    private_key = key.pem\ncertificate = \"/etc/tls/c;.pem\"\n\n[client:default]\nrequire_cert=yes\n\
                    [server:192.0.2.1:5061]\nserver_name=a.test\n[server:192.0.2.1:5061]\nserver_name=b.test\n\
                    server_name_mode=1\n[server:any]\nserver_name = c.test\n[client:[::1]:5061]\nca_list=./ca.pem\n";
        let sections = parse(text, Path::new(FOLDER)).unwrap();
        let places: Vec<_> = sections.iter().map(|s| (s.side, s.place)).collect();
        let at = |text: &str| Place::At(text.parse().unwrap());
        assert_eq!(
            places,
            [
                (Side::Server, Place::Default),
                (Side::Client, Place::Default),
                (Side::Server, at("192.0.2.1:5061")),
                (Side::Server, at("192.0.2.1:5061")),
                (Side::Server, Place::Any),
                (Side::Client, at("[::1]:5061")),
            ]
        );
        let first = &sections[0].settings;
        assert_eq!(
            (first.method, first.verify_certificate),
            (Some(Method::Both), Some(false))
        );
        assert_eq!(first.private_key, Some("/etc/proxyd/key.pem".into()));
        assert_eq!(first.certificate, Some("/etc/tls/c;.pem".into()));
        assert_eq!(sections[1].settings.require_certificate, Some(true));
        assert_eq!(sections[3].settings.server_name_mode, Some(1));
        assert_eq!(sections[5].settings.ca_list, Some("./ca.pem".into()));
    }

    #[test]
    fn mistakes_are_named() {
        let rows = [
            ("x", "line 1: neither"),
            ("method=TLSv1.2", "line 1: setting outside"),
            ("[server:nowhere]", "line 1: \"server:nowhere\" is no profile"),
            (
                "[server:default]\n[server:default]",
                "line 2: profile [server:default] appears twice",
            ),
            (
                "[server:default]\ncolour=red",
                "line 2: unknown setting \"colour\"",
            ),
            (
                "[server:default]\nmethod=TLSv1",
                "method = \"TLSv1\": only TLSv1.2",
            ),
            (
                "[server:default]\nmethod=SSLv3",
                "method = \"SSLv3\": only TLSv1.2",
            ),
            (
                "[server:default]\nverify_cert=maybe",
                "verify_certificate = \"maybe\": it is yes or no",
            ),
            (
                "[server:default]\npkey_password=secret",
                "a private key with a password cannot be read",
            ),
            ("[server:default]\nserver_id=a", "not supported"),
        ];
        for (text, expected) in rows {
            let error = parse(text, Path::new(FOLDER)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
