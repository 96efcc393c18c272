//! The project's own source files, for the tests that read them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// One source file.
pub(crate) struct Source {
    /// Its path from the root of the project.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Returns the numbered lines that are code and not test code: tests stand last.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        let tests_only = self.path.ends_with("tests.rs");
        let untested = numbered.take_while(move |(_, line)| !tests_only && !line.starts_with("#[cfg(test)]"));
        untested.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Returns the root of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests is a folder of the project")
        .to_owned()
}

/// Reads every Rust file of the project, sorted by path.
pub(crate) fn all() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["shared", "proxyd", "proxyctl", "dbctl", "tests"] {
        collect(&root, &root.join(folder), &["rs"], &mut found);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Reads every file with one of the extensions below a folder, leaving build results and hidden folders out.
pub(crate) fn collect(root: &Path, folder: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(root, &path, extensions, found);
        } else if extensions
            .iter()
            .any(|extension| path.extension().is_some_and(|had| had == *extension))
        {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            found.push(Source { path, text });
        }
    }
}
