//! Plays every file of tests/differential on Debian's Kamailio and then on proxyd, and compares what was seen.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tests::record;
use tests::scenario;
use tests::site::Site;
use tests::subject::Subject;

use crate::support::in_parallel;

#[test]
fn kamailio_and_proxyd_agree() {
    let kamailio = Subject::Kamailio.program();
    assert!(
        kamailio.exists(),
        "skipped: {} is not installed (Debian: kamailio), so nothing was compared",
        kamailio.display()
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential");
    let only = env::var("CASE").unwrap_or_default();
    let mut files = Vec::new();
    for subject in fs::read_dir(folder)
        .expect("the folder is part of the project")
        .flatten()
    {
        let cases = fs::read_dir(subject.path()).into_iter().flatten().flatten();
        files.extend(cases.map(|entry| entry.path()));
    }
    files.retain(|path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "sip") && path.to_string_lossy().contains(&only)
    });
    files.sort();
    assert!(!files.is_empty(), "no case is named like {only:?}");
    let failures = in_parallel(files, compare);
    assert!(
        failures.is_empty(),
        "{} differ\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// Plays one case on both at the same addresses, one after the other.
fn compare(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let site = Site::new();
    let play =
        |subject| scenario::play(file, subject, &site).map_err(|error| format!("{subject:?} at {error}"));
    let kamailio = play(Subject::Kamailio)?;
    if env::var_os("SHOW").is_some() {
        return Err(format!(
            "{} on Kamailio\n{}",
            file.display(),
            kamailio.lines().join("\n")
        ));
    }
    let proxyd = play(Subject::Proxyd)
        .map_err(|error| format!("{error}\nwhere Kamailio shows\n{}", kamailio.lines().join("\n")))?;
    let found = record::difference(&kamailio.lines(), &proxyd.lines());
    let meant = scenario::differences(&text, &site);
    if found == meant {
        return Ok(());
    }
    let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let unlike = if meant.is_empty() {
        String::new()
    } else {
        let unlike = record::difference(&meant, &found).join("\n");
        format!("\nunlike the DIFFERS of the file:\n{unlike}")
    };
    Err(format!(
        "{} (- Kamailio, + proxyd)\n{}{unlike}",
        file.display(),
        found.join("\n")
    ))
}
