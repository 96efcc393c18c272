//! The lines of earlier shells, in `~/.proxyctl_history`; lines that may hold a password are not kept.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

/// Lines that are kept.
pub(super) const MOST: usize = 1000;

/// Nouns before `add` that take no password.
const HARMLESS: [&str; 11] = [
    "address",
    "alias",
    "alias_db",
    "avp",
    "dispatcher",
    "domain",
    "mtree",
    "rpid",
    "speeddial",
    "trusted",
    "ul",
];

/// Where the lines are; none without a home.
pub(super) struct Past(Option<PathBuf>);

impl Past {
    pub(super) fn in_home(home: Option<String>) -> Self {
        let home = home.map(PathBuf::from).filter(|home| home.is_absolute());
        Self(home.map(|home| home.join(".proxyctl_history")))
    }

    /// The newest lines, the oldest of them first; the file is cut to them.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some(path) = &self.0 else { return Vec::new() };
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match lines.len().checked_sub(MOST) {
            None | Some(0) => lines,
            Some(surplus) => {
                let kept = lines.get(surplus..).unwrap_or_default().to_vec();
                // Where it cannot be written it stays as it is.
                let _ = fs::write(path, kept.join("\n") + "\n");
                kept
            }
        }
    }

    /// Keeps a line; a history that cannot be written is no reason to stop.
    pub(super) fn add(&self, line: &str) {
        if let Some(path) = self.0.as_deref().filter(|_| !is_secret(line)) {
            let _ = append(path, line);
        }
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{line}")
}

/// Whether a line may hold a password: of a new user, another one of a user, in a URL, in SQL.
fn is_secret(line: &str) -> bool {
    let mut before = "";
    line.split_whitespace().any(|word| {
        let noun = std::mem::replace(&mut before, word);
        match word {
            "add" => !HARMLESS.contains(&noun),
            "passwd" | "db" => true,
            word => word.starts_with("--db-url"),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_kept_but_no_passwords() {
        let home = tempfile::tempdir().unwrap();
        let past = Past::in_home(Some(home.path().display().to_string()));
        assert!(past.lines().is_empty());
        for line in [
            "ul show",
            "add alice secret",
            "passwd alice secret",
            "--home x add alice secret",
            "user add alice secret",
            "address add 1 10.0.0.1",
            "--db-url=mysql://u:p@h/d show",
            "ps",
        ] {
            past.add(line);
        }
        assert_eq!(past.lines(), ["ul show", "address add 1 10.0.0.1", "ps"]);
        let file = home.path().join(".proxyctl_history");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        (0..MOST).for_each(|n| past.add(&n.to_string()));
        let lines = past.lines();
        assert_eq!(
            (lines.len(), lines.first().map(String::as_str)),
            (MOST, Some("0"))
        );
        assert_eq!(fs::read_to_string(file).unwrap().lines().count(), MOST);
    }

    #[test]
    fn without_a_home_nothing_is_kept() {
        let past = Past::in_home(None);
        past.add("ps");
        assert!(past.lines().is_empty());
        assert!(Past::in_home(Some("relative".to_owned())).0.is_none());
    }
}
