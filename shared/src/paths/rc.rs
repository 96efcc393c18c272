//! Resource files of `KEY=value` lines as a shell would read them (Kamailio's kamctlrc).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::iter::Peekable;
use std::path::Path;
use std::path::PathBuf;
use std::str::Chars;

use super::Environment;

/// Keys with a meaning here, each in a line; others are accepted and have none.
pub static KEYS: &[(&str, &str)] = &[
    ("ACL_GROUPS", "groups that `acl grant` accepts"),
    ("ALIASES_TYPE", "where aliases live: DB or UL"),
    ("CHARSET", "character set of a new MySQL database"),
    (
        "DBACCESSHOST",
        "another host from which the accounts may connect to MySQL",
    ),
    ("DBENGINE", "SQLITE, MYSQL, PGSQL or DBTEXT"),
    ("DBHOST", "host of the database server"),
    ("DBNAME", "name of the database"),
    ("DBPORT", "port of the database server"),
    ("DBROOTHOST", "host where the database administrator is known"),
    ("DBROOTPORT", "port where the database administrator is known"),
    ("DBROOTPW", "password of the database administrator"),
    ("DBROOTUSER", "the database administrator"),
    ("DBROPW", "password of the read-only account"),
    ("DBROUSER", "the read-only account"),
    ("DBRWPW", "password of the read and write account"),
    ("DBRWUSER", "the read and write account"),
    ("DB_PATH", "file of an SQLite database, folder of a dbtext one"),
    ("DB_URL", "the whole database URL, instead of the keys above"),
    ("DEFAULT_Q", "q value of contacts added by hand"),
    ("EXTRA_MODULES", "modules whose tables `create` adds on request"),
    ("FOREVER", "expiry of permanent contacts"),
    ("INSTALL_DBUID_TABLES", "yes, no or ask"),
    ("INSTALL_EXTRA_TABLES", "yes, no or ask"),
    ("INSTALL_PRESENCE_TABLES", "yes, no or ask"),
    ("PID_FILE", "file with the daemon's process id"),
    ("RPCFIFOPATH", "control socket or FIFO of the daemon"),
    ("SIP_DOMAIN", "domain of users named without one"),
    ("STANDARD_MODULES", "modules whose tables `create` makes"),
    ("STARTOPTIONS", "more options for the daemon"),
    ("STARTUP_CONFIG_FILE", "script the daemon is started with"),
    ("STORE_PLAINTEXT_PW", "1 stores passwords in plain text too"),
    ("USERCOL", "column with the user name"),
    ("VERBOSE", "1 says more"),
    ("VERIFY_ACL", "1 accepts only groups of ACL_GROUPS"),
    ("VERIFY_USER", "1 demands that a user exists"),
];

/// A resource file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rc {
    values: BTreeMap<String, String>,
    /// Lines, from 1, that are no `KEY=value`: a kamctlrc is a shell script and may hold anything.
    pub ignored: Vec<usize>,
}

/// Why a resource file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RcError {
    /// No such file.
    #[error("no resource file at `{0}`")]
    Missing(PathBuf),
    /// Another failure.
    #[error("cannot read resource file `{0}`: {1}")]
    Read(PathBuf, String),
}

impl Rc {
    /// Reads a file.
    pub fn read(path: &Path, environment: Environment<'_>) -> Result<Self, RcError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes), environment)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(RcError::Missing(path.to_owned())),
            Err(error) => Err(RcError::Read(path.to_owned(), error.to_string())),
        }
    }

    /// Reads text; `$KEY` and `${KEY}` mean an earlier key or a variable of the environment.
    pub fn parse(text: &str, environment: Environment<'_>) -> Self {
        let mut rc = Self::default();
        let (mut chars, mut line) = (text.chars().peekable(), 1);
        while chars.peek().is_some() {
            let start = line;
            match statement(&mut chars, &mut line, &|name| {
                rc.get(name).map(str::to_owned).or_else(|| environment(name))
            }) {
                Statement::Nothing => {}
                Statement::Assignment(key, value) => {
                    rc.values.insert(key, value);
                }
                Statement::Other => rc.ignored.push(start),
            }
        }
        rc
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}

enum Statement {
    Nothing,
    Assignment(String, String),
    Other,
}

fn statement(
    chars: &mut Peekable<Chars<'_>>,
    line: &mut usize,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Statement {
    while chars.next_if(|c| matches!(c, ' ' | '\t' | '\r' | ';')).is_some() {}
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        word.push(c);
    }
    if word == "export" {
        return match statement(chars, line, lookup) {
            Statement::Nothing => Statement::Other,
            other => other,
        };
    }
    let is_key = word.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if is_key && chars.next_if_eq(&'=').is_some() {
        let value = value(chars, line, lookup);
        return Statement::Assignment(word, value);
    }
    let nothing = word.is_empty() && matches!(chars.peek(), None | Some('\n' | '#'));
    skip_line(chars, line);
    if nothing {
        Statement::Nothing
    } else {
        Statement::Other
    }
}

fn value(
    chars: &mut Peekable<Chars<'_>>,
    line: &mut usize,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> String {
    let (mut out, mut quote) = (String::new(), None);
    while let Some(c) = chars.peek().copied() {
        match (quote, c) {
            (None, ' ' | '\t' | '\r' | ';' | '\n') => break,
            (_, '\n') => {
                *line += 1;
                out.push(c);
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '$') => {
                chars.next();
                out.push_str(&variable(chars, lookup));
                continue;
            }
            (None | Some('"'), '\\') => {
                chars.next();
                match chars.peek() {
                    Some('\n') => *line += 1,
                    Some(&next) => {
                        if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                            out.push('\\');
                        }
                        out.push(next);
                    }
                    None => {}
                }
            }
            _ => out.push(c),
        }
        chars.next();
    }
    if chars.peek().is_some_and(|c| *c != ';') {
        skip_line(chars, line);
    }
    out
}

fn variable(chars: &mut Peekable<Chars<'_>>, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let braced = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if braced {
        // `${KEY:-default}` and its kin: the default when KEY is unset.
        let mut rest = String::new();
        for c in chars.by_ref() {
            if c == '}' {
                break;
            }
            rest.push(c);
        }
        let default = rest.trim_start_matches([':', '-', '=']).to_owned();
        return lookup(&name).unwrap_or(default);
    }
    if name.is_empty() {
        "$".to_owned()
    } else {
        lookup(&name).unwrap_or_default()
    }
}

fn skip_line(chars: &mut Peekable<Chars<'_>>, line: &mut usize) {
    for c in chars.by_ref() {
        if c == '\n' {
            *line += 1;
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_a_shell_would() {
        let text = "# comment\nSIP_DOMAIN=example.org\n  export DBRWPW=\"p \\\"q\\\" $A#b\" # why\nDBROPW='$A \\'\nA=1; B=2\n\
                    STANDARD_MODULES=\"standard acc\n  lcr\"\nif [ x ]; then\nC=${SIP_DOMAIN}.x\nD=${E:-dflt}\n=x\nF=\nG=a\\ b\\\nc";
        let rc = Rc::parse(text, &|name| (name == "A").then(|| "env".to_owned()));
        let table = [
            ("SIP_DOMAIN", Some("example.org")),
            ("DBRWPW", Some("p \"q\" env#b")),
            ("DBROPW", Some("$A \\")),
            ("A", Some("1")),
            ("B", Some("2")),
            ("STANDARD_MODULES", Some("standard acc\n  lcr")),
            ("C", Some("example.org.x")),
            ("D", Some("dflt")),
            ("F", Some("")),
            ("G", Some("a bc")),
            ("missing", None),
        ];
        for (key, value) in table {
            assert_eq!(rc.get(key), value, "{key}");
        }
        assert_eq!(rc.ignored, [8, 11]);
    }

    #[test]
    fn keys_are_sorted() {
        assert!(KEYS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-Z='\"$\\\\{}#; \n\\-]{0,60}") {
            let _ = Rc::parse(&text, &|_| None);
        }
    }
}
