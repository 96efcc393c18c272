//! Default places, resource files in kamctlrc's manner, and the database they name.

mod rc;

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

pub use rc::{KEYS, Rc, RcError};

use crate::db::Engine;
use crate::db::Url;
use crate::db::UrlError;

/// Reads one variable of the environment; a test hands in another.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The folders a daemon and its tools share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What lasts: the database.
    pub data: PathBuf,
    /// What lasts until the next boot: the control socket, the pid file.
    pub run: PathBuf,
    /// What an operator writes: `proxyd.cfg`, `proxyctlrc`.
    pub config: PathBuf,
}

/// Resource file and environment as one: the environment wins.
pub struct Settings<'e> {
    rc: Rc,
    environment: Environment<'e>,
}

/// Why no database URL could be made of the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A bad URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// An engine we do not have.
    #[error("DBENGINE is `{0}`: known are SQLITE, MYSQL, PGSQL and DBTEXT")]
    Engine(String),
    /// A bad port.
    #[error("{0} is `{1}`: a port is a number from 1 to 65535")]
    Port(&'static str, String),
}

/// Reads the process's own environment; empty variables count as absent.
pub fn environment(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl Places {
    /// Chooses the folders: `--home`, `PROXYD_HOME`, the system's for root, the XDG ones for anyone else.
    pub fn find(home: Option<&Path>, environment: Environment<'_>) -> Self {
        let home = home
            .map(Path::to_owned)
            .or_else(|| environment("PROXYD_HOME").map(PathBuf::from));
        match home {
            Some(home) => Self {
                data: home.clone(),
                run: home.clone(),
                config: home,
            },
            None if user() == 0 => Self::system(),
            None => Self::of_user(environment),
        }
    }

    /// The folders of the system's own daemon.
    pub fn system() -> Self {
        Self {
            data: "/var/lib/proxyd".into(),
            run: "/run/proxyd".into(),
            config: "/etc/proxyd".into(),
        }
    }

    /// The embedded database.
    pub fn database(&self) -> PathBuf {
        self.data.join("proxyd.db")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// The control socket a tool should try: its own, or the system's when only that one exists.
    pub fn socket_in_use(&self) -> PathBuf {
        let (own, system) = (self.socket(), Self::system().socket());
        let is_home = self.data == self.run && self.run == self.config;
        if !is_home && !own.exists() && system.exists() {
            system
        } else {
            own
        }
    }

    /// The file with the daemon's process id.
    pub fn pid(&self) -> PathBuf {
        self.run.join("proxyd.pid")
    }

    /// The tools' resource file.
    pub fn rc(&self) -> PathBuf {
        self.config.join("proxyctlrc")
    }

    fn of_user(environment: Environment<'_>) -> Self {
        let home = environment("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute());
        // XDG Base Directory: values that are not absolute are to be ignored.
        let xdg = |name: &str| {
            environment(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let under = |name: &str, rest: &str| {
            xdg(name)
                .or_else(|| Some(home.as_ref()?.join(rest)))
                .map(|p| p.join("proxyd"))
        };
        let private = || env::temp_dir().join(format!("proxyd-{}", user()));
        let data = under("XDG_DATA_HOME", ".local/share").unwrap_or_else(private);
        let run = xdg("XDG_RUNTIME_DIR").map_or_else(|| data.clone(), |path| path.join("proxyd"));
        Self {
            run,
            config: under("XDG_CONFIG_HOME", ".config").unwrap_or_else(|| data.clone()),
            data,
        }
    }
}

impl<'e> Settings<'e> {
    /// Joins a resource file with the environment.
    pub fn new(rc: Rc, environment: Environment<'e>) -> Self {
        Self { rc, environment }
    }

    /// Reads the resource file `asked` for, or the one at its place; that one may be absent.
    pub fn load(
        asked: Option<&Path>,
        places: &Places,
        environment: Environment<'e>,
    ) -> Result<Self, RcError> {
        let named = asked
            .map(Path::to_owned)
            .or_else(|| environment("PROXYCTLRC").map(PathBuf::from));
        let rc = match named {
            Some(path) => Rc::read(&path, environment)?,
            None => match Rc::read(&places.rc(), environment) {
                Err(RcError::Missing(_)) => Rc::default(),
                read => read?,
            },
        };
        Ok(Self::new(rc, environment))
    }

    /// The value of a key: from the environment, else from the file.
    pub fn get(&self, key: &str) -> Option<String> {
        (self.environment)(key)
            .or_else(|| self.rc.get(key).map(str::to_owned))
            .filter(|value| !value.is_empty())
    }

    /// A switch: `1`, `yes`, `on`, `true` and `y` mean yes, other words no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        Some(
            ["1", "yes", "on", "true", "y"]
                .iter()
                .any(|word| word.eq_ignore_ascii_case(&value)),
        )
    }

    /// The database: the URL asked for, `DB_URL`, what `DBENGINE` and its companions name, or the embedded one.
    pub fn database(&self, asked: Option<&str>, places: &Places) -> Result<Url, SettingsError> {
        if let Some(url) = asked.map(str::to_owned).or_else(|| self.get("DB_URL")) {
            return Ok(url.parse()?);
        }
        let engine = match self.get("DBENGINE") {
            None => Engine::Sqlite,
            Some(name) => Engine::from_dbengine(&name).ok_or(SettingsError::Engine(name))?,
        };
        let path = self.get("DB_PATH");
        match engine {
            Engine::Sqlite => Ok(Url::sqlite(path.map_or_else(|| places.database(), PathBuf::from))),
            Engine::Text => Ok(Url::text(
                path.map_or_else(|| places.data.join("dbtext"), PathBuf::from),
            )),
            Engine::MySql | Engine::Postgres => {
                let user = self.get("DBRWUSER").unwrap_or_else(|| "kamailio".to_owned());
                let password = self.get("DBRWPW").unwrap_or_else(|| "kamailiorw".to_owned());
                self.server(engine, "DBHOST", "DBPORT", user, Some(password))
            }
        }
    }

    /// The same server as `url` with the rights to make databases: `DBROOTUSER` and `DBROOTPW`, `None` when neither is set.
    pub fn administrator(&self, url: &Url) -> Result<Option<Url>, SettingsError> {
        let (user, password) = (self.get("DBROOTUSER"), self.get("DBROOTPW"));
        if !url.engine.is_server() || (user.is_none() && password.is_none()) {
            return Ok(None);
        }
        let default = if url.engine == Engine::Postgres {
            "postgres"
        } else {
            "root"
        };
        let mut root = url.clone();
        root.user = Some(user.unwrap_or_else(|| default.to_owned()));
        root.password = password;
        if let Some(host) = self.get("DBROOTHOST") {
            root.host = host;
        }
        if let Some(port) = self.port("DBROOTPORT")? {
            root.port = Some(port);
        }
        root.name = String::new();
        Ok(Some(root))
    }

    fn server(
        &self,
        engine: Engine,
        host: &str,
        port: &'static str,
        user: String,
        password: Option<String>,
    ) -> Result<Url, SettingsError> {
        Ok(Url {
            engine,
            user: Some(user),
            password,
            host: self.get(host).unwrap_or_else(|| "localhost".to_owned()),
            port: self.port(port)?,
            name: self.get("DBNAME").unwrap_or_else(|| "kamailio".to_owned()),
            options: Vec::new(),
        })
    }

    fn port(&self, key: &'static str) -> Result<Option<u16>, SettingsError> {
        let Some(digits) = self.get(key) else {
            return Ok(None);
        };
        match digits.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(SettingsError::Port(key, digits)),
        }
    }
}

/// The effective user: who owns this process.
fn user() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        }
    }

    #[test]
    fn home_holds_everything() {
        let places = Places::find(Some(Path::new("/h")), &with(&[("PROXYD_HOME", "/other")]));
        assert_eq!(places.database(), Path::new("/h/proxyd.db"));
        assert_eq!(places.socket(), Path::new("/h/control.sock"));
        assert_eq!(places.socket_in_use(), Path::new("/h/control.sock"));
        assert_eq!(places.rc(), Path::new("/h/proxyctlrc"));
        let places = Places::find(None, &with(&[("PROXYD_HOME", "/other")]));
        assert_eq!(places.database(), Path::new("/other/proxyd.db"));
    }

    #[test]
    fn users_have_the_xdg_folders() {
        let places = Places::of_user(&with(&[
            ("HOME", "/home/a"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("XDG_CONFIG_HOME", "x"),
        ]));
        assert_eq!(places.data, Path::new("/home/a/.local/share/proxyd"));
        assert_eq!(places.run, Path::new("/run/user/7/proxyd"));
        assert_eq!(places.config, Path::new("/home/a/.config/proxyd"));
        assert_eq!(
            Places::of_user(&with(&[("HOME", "/home/a")])).run,
            Path::new("/home/a/.local/share/proxyd")
        );
        assert!(Places::of_user(&with(&[])).data.is_absolute());
    }

    #[test]
    fn databases_are_named_by_flag_environment_and_file() {
        let places = Places::find(Some(Path::new("/h")), &with(&[]));
        let mysql = "DBENGINE=MYSQL\nDBHOST=db\nDBPORT=3307\nDBRWPW='p w'\n";
        let table: [(&str, &[(&str, &str)], Option<&str>, &str); 8] = [
            ("", &[], None, "sqlite:///h/proxyd.db"),
            ("", &[], Some("sqlite:///x.db"), "sqlite:///x.db"),
            ("", &[("DB_PATH", "/tmp/a.db")], None, "sqlite:///tmp/a.db"),
            (
                "DBENGINE=SQLITE\nDB_PATH=/etc/k.db",
                &[],
                None,
                "sqlite:///etc/k.db",
            ),
            (mysql, &[], None, "mysql://kamailio:***@db:3307/kamailio"),
            (
                mysql,
                &[("DBNAME", "k"), ("DBHOST", "h")],
                None,
                "mysql://kamailio:***@h:3307/k",
            ),
            (
                mysql,
                &[("DBENGINE", "PGSQL")],
                None,
                "postgres://kamailio:***@db:3307/kamailio",
            ),
            ("DBENGINE=DBTEXT", &[], None, "text:///h/dbtext"),
        ];
        for (rc, variables, asked, expected) in table {
            let environment = with(variables);
            let settings = Settings::new(Rc::parse(rc, &environment), &environment);
            assert_eq!(
                settings.database(asked, &places).unwrap().to_string(),
                expected,
                "{rc}"
            );
        }
        let environment = with(&[("DBENGINE", "ORACLE"), ("DBPORT", "x")]);
        let settings = Settings::new(Rc::default(), &environment);
        assert!(
            settings
                .database(None, &places)
                .unwrap_err()
                .to_string()
                .contains("`ORACLE`")
        );
        let environment = with(&[("DBENGINE", "MYSQL"), ("DBPORT", "x")]);
        let settings = Settings::new(Rc::default(), &environment);
        assert!(
            settings
                .database(None, &places)
                .unwrap_err()
                .to_string()
                .contains("DBPORT is `x`")
        );
    }

    #[test]
    fn administrators_are_named_only_when_asked_for() {
        let url: Url = "mysql://u:p@db/k".parse().unwrap();
        let environment = with(&[("DBROOTPW", "r")]);
        let settings = Settings::new(Rc::default(), &environment);
        let root = settings.administrator(&url).unwrap().unwrap();
        assert_eq!(
            (root.user.as_deref(), root.password.as_deref(), root.name.as_str()),
            (Some("root"), Some("r"), "")
        );
        let none = with(&[]);
        assert_eq!(
            Settings::new(Rc::default(), &none).administrator(&url).unwrap(),
            None
        );
        assert_eq!(settings.administrator(&Url::sqlite("/a")).unwrap(), None);
    }
}
