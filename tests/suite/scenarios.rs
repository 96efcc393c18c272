//! Plays every file of tests/scenarios on the chosen subject.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tests::scenario;
use tests::subject::Subject;

use crate::support::in_parallel;

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let only = env::var("SCENARIO").unwrap_or_default();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is part of the project")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sip"))
        .filter(|path| {
            path.file_stem()
                .is_some_and(|name| name.to_string_lossy().contains(&only))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario is named like {only:?}");
    let subject = Subject::chosen();
    let failures = in_parallel(files, |file| {
        scenario::run(file, subject).map_err(|error| error.to_string())
    });
    assert!(
        failures.is_empty(),
        "{} failed\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
