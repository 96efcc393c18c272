//! `$http_req(…)`: what a script says of its next question.

use crate::modules::http::Request;
use crate::modules::http::Settings;
use crate::script::module::Env;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;
use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

/// The methods that a script may choose.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// What `$http_req` and `$http_time` can be asked for.
const PARTS: [&str; 16] = [
    "all",
    "hdr",
    "body",
    "method",
    "timeout",
    "username",
    "password",
    "authmethod",
    "suspend",
    "follow_redirect",
    "tls_ca_path",
    "tls_client_cert",
    "tls_client_key",
    "tcp_keepalive",
    "tcp_ka_idle",
    "tcp_ka_interval",
];
const TIMES: [&str; 1] = ["total"];

/// A question in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    headers: Vec<u8>,
    body: Vec<u8>,
    method: Option<String>,
    timeout: Option<Duration>,
    username: Option<String>,
    password: Option<String>,
    authmethod: i64,
    pub(super) suspends: bool,
    redirects: Option<bool>,
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Query {
    const fn new() -> Self {
        Self {
            headers: Vec::new(),
            body: Vec::new(),
            method: None,
            timeout: None,
            username: None,
            password: None,
            authmethod: 3,
            suspends: true,
            redirects: None,
            authorities: None,
            certificate: None,
            key: None,
        }
    }

    /// How the server is spoken to, where that is not as the module says.
    pub(super) fn settings(&self, general: &Settings) -> Settings {
        let own = self.certificate.clone().zip(self.key.clone());
        Settings {
            timeout: self.timeout.unwrap_or(general.timeout),
            redirects: self.redirects.unwrap_or(general.redirects),
            authorities: self.authorities.clone().or_else(|| general.authorities.clone()),
            own: own.or_else(|| general.own.clone()),
            ..general.clone()
        }
    }

    pub(super) fn request(self, url: String) -> Request {
        let password = self.password.unwrap_or_default();
        Request {
            method: self.method,
            url,
            headers: self.headers,
            body: self.body,
            credentials: self.username.map(|user| (user, password)),
            authmethod: self.authmethod,
        }
    }

    /// Sets one of [`PARTS`].
    fn set(&mut self, part: &str, value: &Value<'_>) -> Result<(), SetError> {
        let wrong = || SetError::Value(String::from_utf8_lossy(&value.to_text()).into_owned());
        let text = || {
            let text = value.to_text();
            (!value.is_null() && !text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
        };
        match part {
            "all" if value.is_null() => *self = Self::new(),
            "all" => return Err(wrong()),
            "hdr" if value.is_null() => self.headers.clear(),
            "hdr" => {
                self.headers.extend_from_slice(&value.to_text());
                self.headers.extend_from_slice(b"\r\n");
            }
            "body" => self.body = text().unwrap_or_default().into_bytes(),
            "method" => {
                let method = text();
                if method.as_deref().is_some_and(|method| !METHODS.contains(&method)) {
                    return Err(wrong());
                }
                self.method = method;
            }
            "timeout" => {
                let ms = u64::try_from(value.to_int()).map_err(|_| wrong())?;
                self.timeout = (ms > 0).then(|| Duration::from_millis(ms));
            }
            "username" => self.username = text(),
            "password" => self.password = text(),
            "authmethod" if value.is_null() => self.authmethod = 3,
            "authmethod" => self.authmethod = value.to_int(),
            "suspend" => self.suspends = value.is_null() || value.to_int() != 0,
            "follow_redirect" => self.redirects = (!value.is_null()).then(|| value.to_int() != 0),
            "tls_ca_path" => self.authorities = text().map(PathBuf::from),
            "tls_client_cert" => self.certificate = text().map(PathBuf::from),
            "tls_client_key" => self.key = text().map(PathBuf::from),
            // connections are not kept: there is nothing to keep alive
            _ => {}
        }
        Ok(())
    }
}

thread_local! {
    /// What this worker's script has said.
    static NEXT: RefCell<Query> = const { RefCell::new(Query::new()) };
}

/// The question, and an empty one in its place.
pub(super) fn take() -> Query {
    NEXT.replace(Query::new())
}

fn compile_one_of(inner: &PvInner<'_>, parts: &[&str]) -> Result<PvData, String> {
    let at = parts.iter().position(|part| part.as_bytes() == inner.text);
    let at = at.and_then(|at| i64::try_from(at).ok());
    at.map(PvData::Number)
        .ok_or_else(|| format!("it is one of {}", parts.join(" ")))
}

/// Reads the parentheses of `$http_req`.
pub(super) fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    compile_one_of(inner, &PARTS)
}

/// Reads the parentheses of `$http_time`.
pub(super) fn compile_time(inner: &PvInner<'_>) -> Result<PvData, String> {
    compile_one_of(inner, &TIMES)
}

/// Assigns to `$http_req`.
pub(super) fn set(_: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let PvData::Number(at) = &spec.data else {
        return Err(SetError::Missing("http_req".to_owned()));
    };
    let part = usize::try_from(*at).ok().and_then(|at| PARTS.get(at));
    NEXT.with_borrow_mut(|next| next.set(part.copied().unwrap_or_default(), &value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general() -> Settings {
        Settings {
            timeout: Duration::from_millis(500),
            redirects: false,
            user_agent: "x".to_owned(),
            most: None,
            verify: true,
            authorities: None,
            own: Some((PathBuf::from("a"), PathBuf::from("b"))),
            proxy: None,
            keeps: false,
        }
    }

    #[test]
    fn parts_make_a_request() {
        let mut query = Query::new();
        for (part, value) in [
            ("hdr", "X-A: 1"),
            ("hdr", "X-B: 2"),
            ("body", "data"),
            ("method", "PUT"),
            ("timeout", "100"),
            ("username", "u"),
            ("password", "p"),
            ("authmethod", "1"),
            ("suspend", "0"),
            ("follow_redirect", "1"),
            ("tls_ca_path", "/ca"),
            ("tcp_keepalive", "1"),
        ] {
            assert_eq!(query.set(part, &Value::text(value.as_bytes())), Ok(()), "{part}");
        }
        assert!(!query.suspends);
        assert_eq!(
            query.settings(&general()),
            Settings {
                timeout: Duration::from_millis(100),
                redirects: true,
                authorities: Some(PathBuf::from("/ca")),
                ..general()
            }
        );
        let request = query.clone().request("http://a".to_owned());
        assert_eq!(request.headers, b"X-A: 1\r\nX-B: 2\r\n");
        assert_eq!(
            (request.method.as_deref(), &*request.body),
            (Some("PUT"), &b"data"[..])
        );
        assert_eq!(request.credentials, Some(("u".to_owned(), "p".to_owned())));
        assert_eq!(query.set("hdr", &Value::Null), Ok(()));
        assert_eq!(query.clone().request(String::new()).headers, b"");
        assert_eq!(query.set("all", &Value::Null), Ok(()));
        assert_eq!(query, Query::new());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut query = Query::new();
        for (part, value) in [
            ("all", Value::Int(1)),
            ("method", Value::text(b"BREW")),
            ("timeout", Value::Int(-1)),
        ] {
            assert!(query.set(part, &value).is_err(), "{part}");
        }
        assert_eq!(query, Query::new());
    }
}
