//! Order in the house: first lines, sorted tables, paths that documents name, and no test left out.

use std::fs;

use crate::sources;

#[test]
fn every_file_opens_with_a_sentence() {
    let silent: Vec<String> = sources::all()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! ") && !source.text.starts_with("#!"))
        .map(|source| source.path)
        .collect();
    assert!(
        silent.is_empty(),
        "without an opening `//!` sentence: {silent:#?}"
    );
}

#[test]
fn no_test_is_left_out() {
    let word = concat!("#[", "ignore");
    let mut found = Vec::new();
    for source in sources::all() {
        let lines = source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(word));
        found.extend(lines.map(|(index, _)| format!("{}:{}", source.path, index + 1)));
    }
    assert!(
        found.is_empty(),
        "assert today's answer inside gap! instead: {found:?}"
    );
}

#[test]
fn modules_are_sorted_and_complete() {
    let folder = sources::root().join("proxyd/src/modules");
    let text =
        fs::read_to_string(folder.join("mod.rs")).expect("the table of modules is part of the project");
    let declared: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ")
                .strip_prefix("mod ")
        })
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect();
    let mut sorted = declared.clone();
    sorted.sort_unstable();
    assert_eq!(declared, sorted, "modules are declared in alphabetical order");
    let listed: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.trim()
                .trim_end_matches(',')
                .trim_start_matches('&')
                .strip_suffix("::MODULE")
        })
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(listed, sorted, "MODULES is in alphabetical order");
    let missing: Vec<&&str> = declared
        .iter()
        .filter(|name| {
            let file = fs::read_to_string(folder.join(format!("{name}.rs")));
            let file = file.or_else(|_| fs::read_to_string(folder.join(format!("{name}/mod.rs"))));
            file.unwrap_or_default().contains("static MODULE: ModuleDef") && !listed.contains(name)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "not in MODULES, so nothing can load them: {missing:?}"
    );
}

#[test]
fn paths_named_in_documents_exist() {
    let root = sources::root();
    let mut documents = Vec::new();
    sources::collect(&root, &root, &["md"], &mut documents);
    let rooms = [
        "proxyd/",
        "proxyctl/",
        "dbctl/",
        "shared/",
        "tests/",
        "docs/",
        "etc/",
    ];
    let mut broken = Vec::new();
    for document in documents {
        for quoted in document.text.split('`').skip(1).step_by(2) {
            let path = quoted.split([':', ' ']).next().unwrap_or_default();
            // A capital NAME stands for a name that the reader chooses.
            let example = path
                .split(['/', '.'])
                .any(|part| part == "NAME" || part == "FAMILY" || part == "NOUN");
            let plain = path
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
            if plain
                && !example
                && rooms.iter().any(|room| path.starts_with(room))
                && !root.join(path).exists()
            {
                broken.push(format!("{}: {path}", document.path));
            }
        }
        for link in document
            .text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = link.split('#').next().unwrap_or_default();
            let folder = root.join(&document.path);
            let near = folder.parent().map(|folder| folder.join(path));
            if !path.is_empty() && !path.contains("://") && !near.is_some_and(|near| near.exists()) {
                broken.push(format!("{}: {link}", document.path));
            }
        }
    }
    assert!(broken.is_empty(), "documents name what is not there: {broken:#?}");
}

#[test]
fn no_line_ends_in_blanks() {
    let mut found = Vec::new();
    for source in sources::all() {
        let lines = source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.ends_with([' ', '\t']));
        found.extend(lines.map(|(index, _)| format!("{}:{}", source.path, index + 1)));
        if !source.text.ends_with('\n') {
            found.push(format!("{}: no newline at the end", source.path));
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

/// What reads a core parameter by its name: `setting…("name")`, or a helper of the daemon or the compiler.
const READERS: [&str; 9] = [
    "setting(",
    "settings(",
    "setting_int(",
    "setting_text(",
    "is_set(",
    "count(program,",
    "some(program,",
    "seconds(program,",
    "switch(program,",
];

/// Core parameters that the grammar takes itself.
const OF_THE_GRAMMAR: [&str; 2] = ["cfgengine", "listen"];

#[test]
fn core_parameters_are_read_or_said_to_have_no_effect() {
    let mut table = String::new();
    let mut others = String::new();
    for source in sources::all() {
        let code = source.code().map(|(_, line)| line).collect::<String>();
        if source.path == "proxyd/src/script/core_params.rs" {
            table = code;
        } else if source.path.starts_with("proxyd/src/") {
            others.extend(code.chars().filter(|c| !c.is_whitespace()));
        }
    }
    let rows = table.split("row(&[\"").skip(1);
    let names: Vec<&str> = rows.filter_map(|row| row.split('"').next()).collect();
    assert!(
        names.len() > 50,
        "the table of core parameters is not where it was"
    );
    let unread: Vec<&&str> = names
        .iter()
        .filter(|name| !OF_THE_GRAMMAR.contains(name))
        .filter(|name| {
            let mut readers = READERS.iter().map(|reader| format!("{reader}\"{name}\""));
            !readers.any(|reading| others.contains(&reading))
        })
        .collect();
    assert!(
        unread.is_empty(),
        "rows of core parameters that nothing reads; make them act, or say why they do not: {unread:?}"
    );
}
