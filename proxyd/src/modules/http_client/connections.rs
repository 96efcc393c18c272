//! Connections that a script names: `httpcon` and `config_file` (Kamailio module http_client).

use crate::modules::http::Client;
use crate::modules::http::Settings;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::time::Duration;

/// A server with how it is spoken to.
pub(super) struct Connection {
    pub(super) name: String,
    /// What stands before the URL of a call.
    pub(super) base: String,
    pub(super) credentials: Option<(String, String)>,
    pub(super) authmethod: i64,
    pub(super) failover: Option<String>,
    pub(super) settings: Settings,
    pub(super) client: Client,
    /// Where the last answer came from.
    pub(super) last_url: Mutex<String>,
}

/// What holds for connections that say nothing else.
pub(super) struct Defaults<'a> {
    pub(super) settings: &'a Settings,
    pub(super) authmethod: i64,
    /// What times are counted in; none: there is no limit of theirs.
    pub(super) unit: Option<Duration>,
}

/// Its parts as they are read.
struct Draft {
    unit: Option<Duration>,
    name: String,
    base: String,
    user: String,
    password: String,
    authmethod: i64,
    failover: Option<String>,
    own: (Option<PathBuf>, Option<PathBuf>),
    proxy: Option<String>,
    proxy_port: Option<u16>,
    settings: Settings,
}

impl Draft {
    fn new(name: &str, defaults: &Defaults<'_>) -> Self {
        let own = defaults.settings.own.clone();
        Self {
            unit: defaults.unit,
            name: name.to_owned(),
            base: String::new(),
            user: String::new(),
            password: String::new(),
            authmethod: defaults.authmethod,
            failover: None,
            own: (own.clone().map(|own| own.0), own.map(|own| own.1)),
            proxy: None,
            proxy_port: None,
            settings: defaults.settings.clone(),
        }
    }

    /// Reads one `name=value`.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = value.trim().trim_matches('"').to_owned();
        let number = || match text.as_str() {
            "yes" | "on" | "true" => Ok(1),
            "no" | "off" | "false" => Ok(0),
            text => text
                .parse::<u32>()
                .map_err(|_| format!("{name}: {text:?} is no number")),
        };
        let path = || (!text.is_empty()).then(|| PathBuf::from(&text));
        match name.trim() {
            "url" => self.base = text,
            "username" => self.user = text,
            "password" => self.password = text,
            "authmethod" => self.authmethod = number()?.into(),
            "keep_connections" => self.settings.keeps = number()? != 0,
            "useragent" => self.settings.user_agent = text,
            "verify_peer" => self.settings.verify = number()? != 0,
            "client_cert" => self.own.0 = path(),
            "client_key" => self.own.1 = path(),
            "timeout" => {
                let time = number()?.max(1);
                if let Some(unit) = self.unit {
                    self.settings.timeout = unit.saturating_mul(time);
                }
            }
            "maxdatasize" => self.settings.most = Some(number()?).filter(|most| *most > 0).map(u64::from),
            "httpredirect" | "http_follow_redirect" => self.settings.redirects = number()? != 0,
            "httpproxy" => self.proxy = Some(text),
            "httpproxyport" => {
                let port = u16::try_from(number()?).map_err(|_| format!("{name}: {text} is no port"))?;
                self.proxy_port = Some(port);
            }
            "failover" => self.failover = (!text.is_empty()).then_some(text),
            "verify_host" | "cipher_suites" | "tlsversion" => {}
            other => return Err(format!("{other:?} is no parameter of a connection")),
        }
        Ok(())
    }

    fn build(mut self) -> Result<Connection, String> {
        let wrong = |why: String| format!("connection {:?}: {why}", self.name);
        if self.base.is_empty() {
            return Err(wrong("it has no URL".to_owned()));
        }
        self.settings.own = match self.own {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("client_cert and client_key go together".to_owned())),
        };
        match (&self.proxy, self.proxy_port) {
            (None, None) => {}
            (Some(proxy), _) if proxy.is_empty() => self.settings.proxy = None,
            (_, Some(0)) => self.settings.proxy = None,
            (Some(proxy), Some(port)) => self.settings.proxy = Some(format!("{proxy}:{port}")),
            (Some(proxy), None) => self.settings.proxy = Some(proxy.clone()),
            (None, Some(_)) => return Err(wrong("httpproxyport needs httpproxy".to_owned())),
        }
        let client = Client::new(&self.settings).map_err(&wrong)?;
        let who = (self.user, self.password);
        Ok(Connection {
            name: self.name.clone(),
            base: self.base,
            credentials: (!who.0.is_empty()).then_some(who),
            authmethod: self.authmethod,
            failover: self.failover,
            settings: self.settings,
            client,
            last_url: Mutex::default(),
        })
    }
}

/// Reads `name=>scheme://[user:password@]host[/path][;param=value]…`.
pub(super) fn of_parameter(text: &str, defaults: &Defaults<'_>) -> Result<Connection, String> {
    let (name, rest) = text
        .split_once("=>")
        .ok_or_else(|| format!("{text:?}: expected name=>url"))?;
    let mut draft = Draft::new(name.trim(), defaults);
    let mut parts = rest.split(';');
    draft.base = parts.next().unwrap_or_default().trim().to_owned();
    for part in parts.filter(|part| !part.trim().is_empty()) {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?}: expected name=value"))?;
        draft.set(name, value)?;
    }
    draft.build()
}

/// Reads a file of `[name]` sections with a `name = value` on each line.
pub(super) fn of_file(text: &str, defaults: &Defaults<'_>) -> Result<Vec<Connection>, String> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| format!("line {number}: {why}");
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("`]` is missing"))?;
            drafts.push(Draft::new(name.trim(), defaults));
            continue;
        }
        let draft = drafts.last_mut().ok_or_else(|| wrong("a section is missing"))?;
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| wrong("expected name = value"))?;
        draft.set(name, value).map_err(|why| wrong(&why))?;
    }
    drafts.into_iter().map(Draft::build).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            timeout: Duration::from_secs(4),
            redirects: true,
            user_agent: "x".to_owned(),
            most: None,
            verify: true,
            authorities: None,
            own: None,
            proxy: Some("http://proxy:80".to_owned()),
            keeps: false,
        }
    }

    fn with_defaults<T>(read: impl FnOnce(&Defaults<'_>) -> T) -> T {
        read(&Defaults {
            settings: &settings(),
            authmethod: 3,
            unit: Some(Duration::from_secs(1)),
        })
    }

    #[test]
    fn parameters_are_read() {
        let read = |text| with_defaults(|defaults| of_parameter(text, defaults));
        let one =
            read("one=>http://u:p@a.test/api;timeout=12;failover=two;httpredirect=0;maxdatasize=9").unwrap();
        assert_eq!((&*one.name, &*one.base), ("one", "http://u:p@a.test/api"));
        assert_eq!((one.failover.as_deref(), one.authmethod), (Some("two"), 3));
        assert_eq!(
            one.settings,
            Settings {
                timeout: Duration::from_secs(12),
                redirects: false,
                most: Some(9),
                ..settings()
            }
        );
        for text in [
            "one",
            "one=>",
            "one=>http://a;x",
            "one=>http://a;nonsense=1",
            "one=>http://a;timeout=long",
            "one=>http://a;client_cert=a.pem",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_are_read() {
        let text = "# two\n[a]\nurl = https://a.test\ntimeout = 1\nverify_peer = no\nusername=u\npassword=\"p\"\n\n\
            [b]\nurl=http://b.test\nhttpproxy=http://other\nhttpproxyport=8042\nauthmethod=1\n";
        let all = with_defaults(|defaults| of_file(text, defaults)).unwrap();
        let [a, b] = &all[..] else {
            panic!("two connections")
        };
        assert_eq!((&*a.base, a.settings.verify), ("https://a.test", false));
        assert_eq!(a.credentials, Some(("u".to_owned(), "p".to_owned())));
        assert_eq!(b.settings.proxy.as_deref(), Some("http://other:8042"));
        assert_eq!((b.authmethod, &b.credentials), (1, &None));
        for (text, line) in [
            ("url=x", "line 1"),
            ("[a\n", "line 1"),
            ("[a]\nnothing\n", "line 2"),
        ] {
            let error = with_defaults(|defaults| of_file(text, defaults)).err().unwrap();
            assert!(error.starts_with(line), "{error}");
        }
    }
}
