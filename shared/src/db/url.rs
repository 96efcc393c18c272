//! Database URLs such as `mysql://user:password@host:3306/kamailio` (Kamailio's `db_url` parameters).

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use super::Engine;

/// Where a database is and who asks; printing hides the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Which engine serves it.
    pub engine: Engine,
    /// Account, if one is named.
    pub user: Option<String>,
    /// Password, decoded.
    pub password: Option<String>,
    /// Server; empty for files.
    pub host: String,
    /// Port of the server, when it is not the engine's own.
    pub port: Option<u16>,
    /// Name of the database, path of the file or folder.
    pub name: String,
    /// What follows `?`: `sslmode`, `socket`.
    pub options: Vec<(String, String)>,
}

/// Why a database URL cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `scheme://`.
    #[error(
        "database URL `{0}` has no scheme: write sqlite:///path, mysql://…, postgres://… or text:///folder"
    )]
    NoScheme(String),
    /// A scheme of no known engine.
    #[error(
        "database URL begins with `{0}://`: known are sqlite, mysql, postgres (also pgsql, postgresql) and text"
    )]
    Scheme(String),
    /// No file, folder or database name.
    #[error("database URL `{0}` names no {1}")]
    NoName(String, &'static str),
    /// A bad port.
    #[error("database URL has the port `{0}`: a port is a number from 1 to 65535")]
    Port(String),
    /// `[group]`, which reads `my.cnf` in Kamailio.
    #[error(
        "database URL names the my.cnf group `{0}`, which is not read: write user, password, host and database"
    )]
    Group(String),
    /// Brackets which do not close.
    #[error("database URL has a `[` without `]` in its host")]
    Brackets,
}

impl Url {
    /// Makes the URL of an SQLite file.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self::local(Engine::Sqlite, path.as_ref().to_string_lossy().into_owned())
    }

    /// Makes the URL of a folder of dbtext files.
    pub fn text(path: impl AsRef<Path>) -> Self {
        Self::local(Engine::Text, path.as_ref().to_string_lossy().into_owned())
    }

    /// The file or folder, for engines that have one.
    pub fn path(&self) -> Option<PathBuf> {
        match self.engine {
            Engine::Sqlite | Engine::Text => Some(PathBuf::from(&self.name)),
            Engine::MySql | Engine::Postgres => None,
        }
    }

    /// The port, or that of the engine.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(match self.engine {
            Engine::Postgres => 5432,
            Engine::MySql | Engine::Sqlite | Engine::Text => 3306,
        })
    }

    /// The value of an option after `?`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Writes it with its password, for a tool that has to hand it on.
    pub fn to_secret_string(&self) -> String {
        self.written(self.password.as_deref().map(encode).as_deref())
    }

    fn local(engine: Engine, name: String) -> Self {
        Self {
            engine,
            user: None,
            password: None,
            host: String::new(),
            port: None,
            name,
            options: Vec::new(),
        }
    }

    fn written(&self, password: Option<&str>) -> String {
        let mut text = format!("{}://", self.engine.scheme());
        if let Some(user) = &self.user {
            text.push_str(&encode(user));
            if let Some(password) = password {
                text.push(':');
                text.push_str(password);
            }
            text.push('@');
        }
        if self.host.contains(':') {
            text.push_str(&format!("[{}]", self.host));
        } else {
            text.push_str(&self.host);
        }
        if let Some(port) = self.port {
            text.push_str(&format!(":{port}"));
        }
        if self.path().is_none() {
            text.push('/');
        }
        text.push_str(&self.name);
        for (index, (name, value)) in self.options.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(&format!("{name}={}", encode(value)));
        }
        text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(self.password.as_ref().map(|_| "***")))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once("://") else {
            // A password may stand anywhere in what is no URL: only a word that cannot hold one is repeated.
            let shown = if text.contains('@') { "…" } else { text };
            return Err(UrlError::NoScheme(shown.to_owned()));
        };
        let engine = Engine::from_scheme(scheme).ok_or_else(|| UrlError::Scheme(scheme.to_owned()))?;
        match engine {
            Engine::Sqlite | Engine::Text => {
                let what = if engine == Engine::Sqlite {
                    "file"
                } else {
                    "folder"
                };
                let name = if engine == Engine::Text {
                    rest.trim_end_matches('/')
                } else {
                    rest
                };
                if name.is_empty() {
                    return Err(UrlError::NoName(text.to_owned(), what));
                }
                Ok(Self::local(engine, name.to_owned()))
            }
            Engine::MySql | Engine::Postgres => parse_server(engine, rest),
        }
    }
}

fn parse_server(engine: Engine, rest: &str) -> Result<Url, UrlError> {
    let mut url = Url::local(engine, String::new());
    // A password may hold `/`, `?` and `@`: the last `@` ends the account.
    let place = match rest.rsplit_once('@') {
        Some((account, place)) => {
            let (user, password) = match account.split_once(':') {
                Some((user, password)) => (user, Some(decode(password))),
                None => (account, None),
            };
            url.user = Some(decode(user));
            url.password = password;
            place
        }
        None => rest,
    };
    let (place, options) = place.split_once('?').unwrap_or((place, ""));
    let (host, name) = place.split_once('/').unwrap_or((place, ""));
    let port = match host.strip_prefix('[') {
        Some(inner) => {
            let (inner, port) = inner.split_once(']').ok_or(UrlError::Brackets)?;
            if inner.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(UrlError::Group(inner.to_owned()));
            }
            url.host = inner.to_owned();
            port.strip_prefix(':')
        }
        None => {
            let (host, port) = host.split_once(':').map_or((host, None), |(h, p)| (h, Some(p)));
            url.host = if host.is_empty() {
                "localhost".to_owned()
            } else {
                decode(host)
            };
            port
        }
    };
    url.port = match port {
        None | Some("") => None,
        Some(digits) => match digits.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(UrlError::Port(digits.to_owned())),
        },
    };
    url.name = decode(name);
    for option in options.split('&').filter(|o| !o.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        url.options.push((decode(name), decode(value)));
    }
    if url.name.is_empty() {
        return Err(UrlError::NoName(url.to_string(), "database"));
    }
    Ok(url)
}

/// Decodes `%41`; a `%` that begins no such pair stays, for Kamailio's URLs are not encoded.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes
            .get(at + 1..at + 3)
            .and_then(|p| std::str::from_utf8(p).ok());
        let decoded = pair.filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()));
        match decoded.and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_hides() {
        let table = [
            (
                "sqlite:///etc/kamailio/kamailio.db",
                "sqlite:///etc/kamailio/kamailio.db",
            ),
            ("sqlite://rel.db", "sqlite://rel.db"),
            (
                "mysql://kamailio:kamailiorw@localhost/kamailio",
                "mysql://kamailio:***@localhost/kamailio",
            ),
            ("mysql://u@db:3307/k", "mysql://u@db:3307/k"),
            ("mysql:///k", "mysql://localhost/k"),
            ("pgsql://u:p@[::1]:5433/k", "postgres://u:***@[::1]:5433/k"),
            (
                "postgresql://u:p@h/k?sslmode=require",
                "postgres://u:***@h/k?sslmode=require",
            ),
            ("text:///var/db/", "text:///var/db"),
        ];
        for (text, shown) in table {
            let url: Url = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("kamailiorw"));
        }
    }

    #[test]
    fn decodes_passwords() {
        let table = [
            ("p%40ss%3Aw", "p@ss:w"),
            ("a@b", "a@b"),
            ("100%", "100%"),
            ("x%zz", "x%zz"),
            ("a:b/c?d", "a:b/c?d"),
        ];
        for (written, meant) in table {
            let url: Url = format!("mysql://u:{written}@h/k").parse().unwrap();
            assert_eq!(url.password.as_deref(), Some(meant));
            assert_eq!(url.to_secret_string().parse::<Url>().unwrap(), url);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        let table = [
            ("kamailio.db", "has no scheme"),
            ("oracle://x", "`oracle://`"),
            ("sqlite://", "names no file"),
            ("mysql://u:secret@h", "names no database"),
            ("mysql://h:99999/k", "`99999`"),
            ("mysql://[kamailio]/k", "my.cnf group `kamailio`"),
            ("mysql://[::1/k", "without `]`"),
        ];
        for (text, part) in table {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(
                error.contains(part) && !error.contains("secret"),
                "{text}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(mysql|sqlite|text|pgsql)://\\PC{0,40}") {
            if let Ok(url) = text.parse::<Url>() {
                prop_assert_eq!(url.to_secret_string().parse::<Url>().unwrap(), url);
            }
        }
    }
}
