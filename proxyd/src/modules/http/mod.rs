//! The HTTP client of the modules that ask web servers (RFC 9110, RFC 9112); its thread waits for the answer.

mod failure;
#[cfg(test)]
pub(super) mod server;

use crate::modules::uac::auth;
use crate::script::transform::coding;
use crate::script::transform::coding::Padding;
pub(crate) use failure::Failure;
pub(crate) use failure::meaning;
use shared::sip::header::auth::Auth;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;
use ureq::ResponseExt;
use ureq::config::AutoHeaderValue;
use ureq::http;
use ureq::http::HeaderName;
use ureq::http::HeaderValue;
use ureq::http::Method;
use ureq::tls::Certificate;
use ureq::tls::ClientCert;
use ureq::tls::PrivateKey;
use ureq::tls::RootCerts;
use ureq::tls::TlsConfig;

/// The longest body that is read where nothing says less, in bytes.
const MOST: u64 = 10 << 20;

/// `authmethod`: credentials are sent at once, without a challenge.
const BASIC_ALONE: i64 = 1;

/// The certificates that this machine trusts.
static SYSTEM: LazyLock<RootCerts> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs().certs;
    RootCerts::from(found.iter().map(|der| Certificate::from_der(der).to_owned()))
});

/// How servers are spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    /// For all of it: the name, the connection, the answer.
    pub(crate) timeout: Duration,
    /// Follow redirects.
    pub(crate) redirects: bool,
    pub(crate) user_agent: String,
    /// The longest body, bytes; none: what fits [`MOST`].
    pub(crate) most: Option<u64>,
    /// Check the certificate of the server.
    pub(crate) verify: bool,
    /// A file, or a folder, of authorities; none: those of the machine.
    pub(crate) authorities: Option<PathBuf>,
    /// Certificate and key that are shown.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
    /// Host and port of a proxy.
    pub(crate) proxy: Option<String>,
    /// Connections are kept for the next request.
    pub(crate) keeps: bool,
}

/// One request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// Its method; none: GET, or POST with a body.
    pub(crate) method: Option<String>,
    /// `http://` or `https://`; may hold a user and a password.
    pub(crate) url: String,
    /// Header lines, divided by line ends.
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// User and password.
    pub(crate) credentials: Option<(String, String)>,
    /// How they may be sent, Kamailio's bits: 1 basic, 2 digest.
    pub(crate) authmethod: i64,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// Where it was found in the end.
    pub(crate) url: String,
}

impl Reply {
    /// The values of a header.
    pub(crate) fn values<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let named = move |header: &&(String, Vec<u8>)| header.0.as_bytes().eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| &value[..])
    }
}

/// Speaks to servers in one way.
pub(crate) struct Client {
    agent: ureq::Agent,
    most: u64,
}

impl Client {
    /// Reads the certificates; an error tells which file is wrong.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let roots = match &settings.authorities {
            _ if !settings.verify => RootCerts::from([]),
            None => SYSTEM.clone(),
            Some(path) => RootCerts::from(certificates(path)?),
        };
        let own = match &settings.own {
            None => None,
            Some((certificate, key)) => {
                let shown = certificates(certificate)?;
                let key = PrivateKey::from_pem(&file(key)?)
                    .map_err(|error| format!("{}: {error}", key.display()))?;
                Some(ClientCert::new_with_certs(&shown, key))
            }
        };
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(roots)
            .client_cert(own)
            .disable_verification(!settings.verify)
            .build();
        let proxy = match &settings.proxy {
            None => None,
            Some(text) => Some(ureq::Proxy::new(text).map_err(|error| format!("{text:?}: {error}"))?),
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(settings.timeout))
            .max_redirects(if settings.redirects { 10 } else { 0 })
            .max_redirects_will_error(settings.redirects)
            .user_agent(AutoHeaderValue::Provided(Arc::new(settings.user_agent.clone())))
            .max_idle_connections(if settings.keeps { 16 } else { 0 })
            .proxy(proxy)
            .tls_config(tls)
            .build();
        Ok(Self {
            agent: config.into(),
            most: settings.most.unwrap_or(MOST).min(MOST),
        })
    }

    /// Sends a request and waits for the answer; a challenge is answered where there are credentials.
    pub(crate) fn fetch(&self, request: &Request) -> Result<Reply, Failure> {
        let (url, within) = without_credentials(&request.url);
        let who = request.credentials.clone().or(within);
        let basic = who.as_ref().map(|(user, password)| basic(user, password));
        let at_once = basic.clone().filter(|_| request.authmethod == BASIC_ALONE);
        let reply = self.send(request, &url, at_once.as_deref())?;
        let (401, Some((user, password))) = (reply.status, who) else {
            return Ok(reply);
        };
        let digest = (request.authmethod != BASIC_ALONE)
            .then(|| digest(&reply, request, &url, &user, &password))
            .flatten();
        let offers_basic = || {
            reply
                .values(b"WWW-Authenticate")
                .any(|value| starts_with(value, b"Basic"))
        };
        let answer = digest.or_else(|| basic.filter(|_| at_once.is_none() && offers_basic()));
        match answer {
            Some(answer) => self.send(request, &url, Some(&answer)),
            None => Ok(reply),
        }
    }

    fn send(&self, request: &Request, url: &str, authorization: Option<&[u8]>) -> Result<Reply, Failure> {
        let method = method(request);
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Failure::BAD_URL)?;
        if !["http://", "https://"]
            .iter()
            .any(|scheme| starts_with(url.as_bytes(), scheme.as_bytes()))
        {
            return Err(Failure::scheme_of(url));
        }
        let mut built = http::Request::builder().method(method).uri(url);
        let mut typed = false;
        for (name, value) in header_lines(&request.headers) {
            typed |= name.eq_ignore_ascii_case(b"Content-Type");
            let name = HeaderName::from_bytes(name).map_err(|_| Failure::BAD_URL)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| Failure::BAD_URL)?;
            built = built.header(name, value);
        }
        if !request.body.is_empty() && !typed {
            built = built.header("Content-Type", "application/x-www-form-urlencoded");
        }
        if let Some(authorization) = authorization {
            let value = HeaderValue::from_bytes(authorization).map_err(|_| Failure::BAD_URL)?;
            built = built.header("Authorization", value);
        }
        let answer = if request.body.is_empty() {
            self.agent.run(built.body(()).map_err(|_| Failure::BAD_URL)?)
        } else {
            self.agent
                .run(built.body(&request.body[..]).map_err(|_| Failure::BAD_URL)?)
        };
        let mut answer = answer.map_err(|error| Failure::of(&error))?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(self.most)
            .read_to_vec()
            .map_err(|error| Failure::of(&error))?;
        let headers = answer.headers().iter();
        Ok(Reply {
            status: answer.status().as_u16(),
            reason: answer.status().canonical_reason().unwrap_or_default().to_owned(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body,
            url: answer.get_uri().to_string(),
        })
    }
}

fn method(request: &Request) -> &str {
    match &request.method {
        Some(method) => method,
        None if request.body.is_empty() => "GET",
        None => "POST",
    }
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|own| own.eq_ignore_ascii_case(start))
}

/// Names and values of header lines.
fn header_lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// A URL without its user and password, and those.
fn without_credentials(url: &str) -> (String, Option<(String, String)>) {
    let found = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (who, host) = authority.rsplit_once('@')?;
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        let bare = format!("{scheme}://{host}{path}");
        Some((bare, Some((user.to_owned(), password.to_owned()))))
    });
    found.unwrap_or_else(|| (url.to_owned(), None))
}

/// The credentials of RFC 7617.
fn basic(user: &str, password: &str) -> Vec<u8> {
    let pair = format!("{user}:{password}");
    let mut out = b"Basic ".to_vec();
    out.extend(coding::to_base64(
        pair.as_bytes(),
        coding::BASE64,
        Padding::Wanted,
    ));
    out
}

/// The answer to a digest challenge (RFC 7616).
fn digest(reply: &Reply, request: &Request, url: &str, user: &str, password: &str) -> Option<Vec<u8>> {
    let uri: http::Uri = url.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let who = auth::Credential {
        user: user.into(),
        realm: Vec::new(),
        password: password.into(),
        form: auth::Form::Plain,
    };
    let cnonce = crate::ids::token();
    let answered = auth::Request {
        method: method(request).as_bytes(),
        uri: path.as_bytes(),
        body: &request.body,
        cnonce: &cnonce,
    };
    let challenges = reply.values(b"WWW-Authenticate");
    let challenges = challenges.filter_map(|value| Auth::parse(value).ok());
    let line = challenges
        .filter(|challenge| challenge.is_digest() && challenge.nonce.is_some())
        .find_map(|challenge| auth::answer(401, &challenge, &who, &answered))?;
    let value = line.strip_prefix(b"Authorization: ")?;
    Some(value.trim_ascii_end().to_vec())
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The certificates of a file, or of the files of a folder.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let files = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.is_file());
        files
    } else {
        vec![path.to_owned()]
    };
    let mut found = Vec::new();
    for one in files {
        for item in ureq::tls::parse_pem(&file(&one)?) {
            match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => found.push(certificate),
                Ok(_) => {}
                Err(error) => return Err(format!("{}: {error}", one.display())),
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{}: it holds no certificate", path.display()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use server::Server;

    pub(crate) fn settings() -> Settings {
        Settings {
            timeout: Duration::from_secs(5),
            redirects: false,
            user_agent: "tester".to_owned(),
            most: None,
            verify: true,
            authorities: None,
            own: None,
            proxy: None,
            keeps: false,
        }
    }

    #[test]
    fn what_is_asked_and_answered() {
        let server = Server::start(&[
            "HTTP/1.1 200 OK\r\nX-A: one\r\nX-A: two\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        ]);
        let client = Client::new(&settings()).unwrap();
        let reply = client
            .fetch(&Request {
                url: server.url("/a?b=c"),
                ..Request::default()
            })
            .unwrap();
        assert_eq!(
            (reply.status, &*reply.reason, &*reply.body),
            (200, "OK", &b"hello"[..])
        );
        let values: Vec<&[u8]> = reply.values(b"x-a").collect();
        assert_eq!(values, [b"one", b"two"]);
        let reply = client
            .fetch(&Request {
                url: server.url("/p"),
                headers: b"X-B: 1\r\nContent-Type: text/x\n".to_vec(),
                body: b"data".to_vec(),
                ..Request::default()
            })
            .unwrap();
        assert_eq!((reply.status, &*reply.body), (404, &b"no"[..]));
        let seen = server.seen();
        assert!(seen[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", seen[0]);
        assert!(seen[0].contains("user-agent: tester\r\n"), "{}", seen[0]);
        assert!(
            seen[1].starts_with("POST /p HTTP/1.1\r\n") && seen[1].ends_with("\r\n\r\ndata"),
            "{}",
            seen[1]
        );
        assert!(seen[1].contains("content-type: text/x\r\n"), "{}", seen[1]);
    }

    #[test]
    fn challenges_are_answered_by_the_best_way_offered() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        for (challenges, authmethod, expected) in [
            (
                "WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth\"\r\n",
                3,
                &[
                    "",
                    "authorization: Digest username=\"u\", realm=\"x\", nonce=\"n\", uri=\"/\", qop=auth",
                ][..],
            ),
            (
                "WWW-Authenticate: Basic realm=\"x\"\r\n",
                3,
                &["", "authorization: Basic dTpw\r\n"],
            ),
            ("", 1, &["authorization: Basic dTpw\r\n"]),
            ("", 3, &[""]),
        ] {
            let first = format!("HTTP/1.1 401 No\r\n{challenges}Content-Length: 0\r\n\r\n");
            let server = Server::start(&[&first, ok]);
            let reply = Client::new(&settings()).unwrap().fetch(&Request {
                url: server.url("/").replace("://", "://u:p@"),
                authmethod,
                ..Request::default()
            });
            let status = if expected.len() == 2 { 200 } else { 401 };
            assert_eq!(reply.unwrap().status, status, "{challenges}");
            let seen = server.seen();
            assert_eq!(seen.len(), expected.len(), "{challenges}");
            for (seen, expected) in seen.iter().zip(expected) {
                assert!(seen.contains(expected), "{seen}");
                assert_eq!(expected.is_empty(), !seen.contains("authorization"), "{seen}");
            }
        }
    }

    #[test]
    fn failures_have_the_numbers_of_curl() {
        let redirect = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            "x".repeat(100)
        );
        let answers = [&[redirect; 11][..], &[&*long], &["nonsense\r\n\r\n"]].concat();
        let server = Server::start(&answers);
        let few = Settings {
            redirects: true,
            most: Some(10),
            timeout: Duration::from_millis(500),
            ..settings()
        };
        let client = Client::new(&few).unwrap();
        let fetch = |url: &str| {
            client
                .fetch(&Request {
                    url: url.to_owned(),
                    ..Request::default()
                })
                .map(|reply| reply.status)
                .map_err(|failure| failure.code)
        };
        assert_eq!(fetch(&server.url("/")), Err(47));
        assert_eq!(fetch(&server.url("/long")), Err(23));
        assert_eq!(fetch(&server.url("/nonsense")), Err(8));

        assert_eq!(fetch("foo bar"), Err(3));
        assert_eq!(fetch("ftp://127.0.0.1/"), Err(1));
        assert_eq!(fetch("http://127.0.0.1:1/"), Err(7));
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(
            fetch(&format!("http://{}/", silent.local_addr().unwrap())),
            Err(28)
        );
    }

    #[test]
    fn files_that_are_wrong_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();
        for authorities in [empty.clone(), dir.path().join("none.pem"), dir.path().to_owned()] {
            let wrong = Settings {
                authorities: Some(authorities.clone()),
                ..settings()
            };
            let error = Client::new(&wrong).err().expect("refused");
            assert!(error.starts_with(&*authorities.to_string_lossy()), "{error}");
        }
        let wrong = Settings {
            proxy: Some("http://".to_owned()),
            ..settings()
        };
        assert!(Client::new(&wrong).is_err());
    }

    #[test]
    fn urls_lose_their_credentials() {
        for (url, bare, who) in [
            ("http://a/b@c", "http://a/b@c", None),
            ("http://u:p@a:80/b", "http://a:80/b", Some(("u", "p"))),
            ("https://u@a?x", "https://a?x", Some(("u", ""))),
            ("nothing", "nothing", None),
        ] {
            let (got, credentials) = without_credentials(url);
            let credentials = credentials
                .as_ref()
                .map(|(user, password)| (&**user, &**password));
            assert_eq!((&*got, credentials), (bare, who), "{url}");
        }
    }
}
