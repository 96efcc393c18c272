//! Plays every file of tests/scenarios on the chosen subject.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use tests::scenario;
use tests::subject::Subject;

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
    let (queue, failures) = (
        Mutex::new(files.into_iter().rev().collect::<Vec<_>>()),
        Mutex::new(Vec::new()),
    );
    // Most of the time is spent in waiting: four conversations at once keep two processors busy.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(file) = queue.lock().expect("no holder panics").pop() else {
                        break;
                    };
                    if let Err(error) = scenario::run(&file, subject) {
                        failures.lock().expect("no holder panics").push(error.to_string());
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no holder panicked");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} failed\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
