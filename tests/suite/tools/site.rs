//! `apply`, `import`, `export`, `shell`, and what is generated.

use std::process::Command;

use serde_json::Value;

use super::home::Home;

const SITE: &str = "\
domains: [{domain: example.org}]
subscribers:
  - user: alice@example.org
    password_env: ALICE
    groups: [int]
    aliases: [1000]
  - {user: 0049, domain: example.org, password: 0123}
  - {user: +49301234, domain: example.org, password_file: secret}
addresses:
  - {group: 200, address: 10.0.1.102, port: 5060, tag: Carrier}
  - {group: 200, address: 10.0.2.0/24}
trusted: [{src_ip: 192.0.2.10, proto: udp, from_pattern: '^sip:.*$'}]
speed_dials: [{user: alice@example.org, number: 11, uri: 'sip:bob@example.org'}]
dispatcher: [{set: 1, destination: 'sip:192.0.2.1:5060', priority: 5}]
";
const ALICE: [(&str, &str); 1] = [("ALICE", "geheim")];

#[test]
fn applying_twice_changes_nothing() {
    let home = Home::new();
    home.write("site.yaml", SITE);
    home.write("secret", "pw\n");
    let apply = |more: &str| home.run_with(&format!("apply -f site.yaml {more}"), &ALICE, "");
    assert!(
        apply("--dry-run")
            .ok()
            .ends_with("would be added 11, would be changed 0, would be removed 0\n")
    );
    assert_eq!(home.cell("SELECT count(*) FROM subscriber"), "0");
    assert!(apply("").ok().ends_with("added 11, changed 0, removed 0\n"));
    assert_eq!(apply("").ok(), "nothing to change\n");
    assert_eq!(apply("--prune").ok(), "nothing to change\n");
    let names = home
        .cell("SELECT group_concat(username, ' ') FROM (SELECT username FROM subscriber ORDER BY username)");
    assert_eq!(names, "+49301234 0049 alice");
    assert_eq!(home.cell("SELECT group_concat(password, '') FROM subscriber"), "");
    home.run("add bob@example.org x").ok();
    home.run("address add 1 10.9.9.9").ok();
    home.write(
        "site.yaml",
        &SITE
            .replace("tag: Carrier", "tag: Other")
            .replace("  - {group: 200, address: 10.0.2.0/24}\n", ""),
    );
    let json: Value = serde_json::from_str(&apply("--prune -o json").ok()).unwrap();
    assert_eq!(
        (&json["added"], &json["changed"], &json["removed"]),
        (&0.into(), &1.into(), &3.into())
    );
    assert_eq!(
        home.cell("SELECT count(*) FROM subscriber WHERE username='bob'"),
        "0"
    );
}

#[test]
fn a_bad_site_changes_nothing() {
    let home = Home::new();
    let table = [
        ("subscribers:\n  - usr: x\n", "site.yaml:2: unknown field `usr`"),
        ("nothing: []\n", "unknown field `nothing`"),
        (
            "addresses: [{group: 1, address: 10.0.0.1/24}]",
            "addresses[0]: 10.0.0.1/24 has host bits set",
        ),
        (
            "subscribers: [{user: a@x.org}]",
            "`a@x.org` is new and needs password",
        ),
        (
            "subscribers: [{user: a, password: p}]",
            "subscribers[0]: user `a` has no domain",
        ),
        (
            "subscribers: [{user: a@x.org, password_env: NONE}]",
            "no variable of the environment `NONE`",
        ),
        (
            "domains: [{domain: x.org}, {domain: x.org}]",
            "domain `x.org` is listed already at site.yaml: domains[0]",
        ),
        ("domains: [", "site.yaml:1: "),
    ];
    for (text, part) in table {
        home.write("site.yaml", text);
        let run = home.run("apply -f site.yaml");
        assert!(run.code == 2 || run.code == 3, "{run:?}");
        assert!(run.err.contains(part), "{part}: {run:?}");
    }
    home.run("apply -f absent.yaml").fails(3, "no file `absent.yaml`");
    assert_eq!(home.cell("SELECT count(*) FROM domain"), "0");
}

#[test]
fn what_is_exported_is_what_is_imported() {
    let (here, there) = (Home::new(), Home::new());
    here.write("site.yaml", SITE);
    here.write("secret", "pw");
    here.run_with("apply -f site.yaml", &ALICE, "").ok();
    let yaml = here.run("export").ok();
    assert!(
        there
            .run_with("apply -f -", &[], &yaml)
            .ok()
            .ends_with("added 11, changed 0, removed 0\n")
    );
    assert_eq!(there.run("export").ok(), yaml);
    let json = here.run("export -o json").ok();
    assert_eq!(
        there.run_with("apply -f - --prune", &[], &json).ok(),
        "nothing to change\n"
    );
    for form in ["-o csv", "--lines"] {
        let there = Home::new();
        let list = here.run(&format!("export subscribers {form}")).ok();
        assert_eq!(
            there.run_with("import -", &[], &list).ok(),
            "added 3, changed 0, left as they are 0\n"
        );
        there
            .run_with("import -", &[], &list)
            .fails(4, "exists already: nothing was imported");
        assert_eq!(
            there.run_with("import - --update", &[], &list).ok(),
            "added 0, changed 0, left as they are 3\n"
        );
        assert_eq!(
            there.run_with("import - --skip", &[], &list).ok(),
            "added 0, changed 0, left as they are 3\n"
        );
    }
    let list = here.run("export addresses -o csv").ok();
    assert_eq!(
        there
            .run_with("import - --section addresses --skip", &[], &list)
            .ok(),
        "added 0, changed 0, left as they are 2\n"
    );
}

#[test]
fn imports_are_all_or_nothing() {
    let home = Home::new();
    let run = home.run_with("import -", &[], "user,domain,password\na,x.org,p\nb c,x.org,p\n");
    run.fails(2, "line 3: user name `b c`");
    let run = home.run_with("import -", &[], "user,domain,password\na,x.org,p\nb,x.org\n");
    run.fails(2, "-:3: 2 cells, the header has 3");
    assert_eq!(home.cell("SELECT count(*) FROM subscriber"), "0");
    let rows: String = (0..2000)
        .map(|n| format!("{{\"user\":\"u{n}@x.org\",\"password\":\"p{n}\"}}\n"))
        .collect();
    home.run_with("import -", &[], &rows).ok();
    assert_eq!(home.cell("SELECT count(*) FROM subscriber"), "2000");
}

#[test]
fn a_row_that_is_listed_twice_is_named_with_both_places() {
    let home = Home::new();
    let run = home.run_with("import -", &[], "user,domain,password\na,x.org,p\na,x.org,q\n");
    run.fails(
        2,
        "-: line 3: subscriber `a@x.org` is listed already at -: line 2",
    );
    home.write("a.yaml", "addresses: [{group: 1, address: 10.0.0.1}]\n");
    home.write("b.yaml", "addresses: [{group: 1, address: 10.0.0.1, mask: 32}]\n");
    home.run("apply -f a.yaml -f b.yaml").fails(
        2,
        "b.yaml: addresses[0]: address `10.0.0.1/32 in group 1` is listed already at a.yaml: addresses[0]",
    );
}

#[test]
fn who_is_pruned_leaves_nothing_behind() {
    let home = Home::new();
    for line in [
        "add a@x.org p",
        "add b@x.org p",
        "acl grant b@x.org int",
        "alias_db add 1000@x.org b@x.org",
        "speeddial add b@x.org 11 sip:a@x.org",
        "avp add b@x.org mail 0 box",
    ] {
        home.run(line).ok();
    }
    home.write("site.yaml", "subscribers: [{user: a@x.org}]\n");
    assert_eq!(
        home.run("apply -f site.yaml --prune").ok(),
        "- subscriber b@x.org\nadded 0, changed 0, removed 1\n"
    );
    for table in ["grp", "dbaliases", "speed_dial", "usr_preferences"] {
        assert_eq!(
            home.cell(&format!("SELECT count(*) FROM {table}")),
            "0",
            "{table}"
        );
    }
}

#[test]
fn what_moves_to_another_subscriber_outlives_the_pruned_one() {
    let home = Home::new();
    for line in [
        "add a@x.org p",
        "add b@x.org p",
        "alias_db add 1000@x.org b@x.org",
        "acl grant b@x.org int",
    ] {
        home.run(line).ok();
    }
    home.write(
        "site.yaml",
        "subscribers: [{user: a@x.org, aliases: [1000]}]\ngroups: [{user: b@x.org, group: int}]\n",
    );
    assert_eq!(
        home.run("apply -f site.yaml --prune").ok(),
        "- subscriber b@x.org\n+ group int of b@x.org\n+ alias 1000@x.org\nadded 2, changed 0, removed 1\n"
    );
    assert_eq!(home.cell("SELECT username FROM dbaliases"), "a");
    assert_eq!(home.run("apply -f site.yaml --prune").ok(), "nothing to change\n");
    home.write("site.yaml", "subscribers: [{user: a@x.org, aliases: []}]\n");
    assert_eq!(
        home.run("apply -f site.yaml --prune").ok(),
        "- alias 1000@x.org\nadded 0, changed 0, removed 1\n"
    );
}

#[test]
fn lists_in_csv_are_words_in_a_cell() {
    let home = Home::new();
    let imported = |text: &str| home.run_with("import -", &[], text);
    assert_eq!(
        imported("user,aliases,groups,password\na@x.org,0049 1000@y.org,int ld,p\nb@x.org,,,p\n").ok(),
        "added 6, changed 0, left as they are 0\n"
    );
    assert_eq!(
        home.cell("SELECT group_concat(alias_username || '@' || alias_domain) FROM dbaliases"),
        "0049@x.org,1000@y.org"
    );
    assert_eq!(home.cell("SELECT group_concat(grp) FROM grp"), "int,ld");
    for (text, part) in [
        ("c@x.org,p\n", "-:1: in the header line: unknown field `c@x.org`"),
        (
            "user,user,password\nc@x.org,d@x.org,p\n",
            "-:1: in the header line: duplicate field `user`",
        ),
        ("password\np\n", "-:1: in the header line: missing field `user`"),
    ] {
        imported(text).fails(2, part);
    }
    assert_eq!(imported("").ok(), "added 0, changed 0, left as they are 0\n");
}

#[test]
fn a_secret_that_is_not_there() {
    let home = Home::new();
    home.write(
        "site.yaml",
        "subscribers: [{user: a@x.org, password_file: a.secret}]\n",
    );
    home.run("apply -f site.yaml").fails(3, "a.secret`");
    home.write("a.secret", "\n");
    home.run("apply -f site.yaml")
        .fails(2, "no password in `a.secret`");
    home.write("a.secret", "p\n");
    home.run("apply -f site.yaml").ok();
    home.write(
        "site.yaml",
        "subscribers: [{user: a@x.org, password_env: SECRET}]\n",
    );
    home.run("apply -f site.yaml").fails(3, "`SECRET`");
    assert_eq!(
        home.run_with("apply -f site.yaml", &[("SECRET", "p")], "").ok(),
        "nothing to change\n"
    );
}

#[test]
fn a_shell_tells_a_failure_once() {
    let home = Home::new();
    for (line, code, part) in [
        ("show nobody@x.org", 3, "no subscriber `nobody@x.org`"),
        ("nonsense", 2, "unrecognized subcommand 'nonsense'"),
        ("show 'x", 2, "the quote ' does not end"),
        ("trap", 2, "there is no `trap`"),
        ("show --help", 0, ""),
    ] {
        let run = home.run_with("shell", &[], &format!("{line}\n"));
        assert_eq!(run.code, code, "{run:?}");
        assert!(part.is_empty() || run.err.matches(part).count() == 1, "{run:?}");
    }
}

#[test]
fn a_shell_reads_commands() {
    let home = Home::new();
    let script = "add a@x.org p\n# comment\nproxyctl show a\naddress add 1 10.0.0.1 32 0 'a b'\naddress show\nshow nobody\nexit\n";
    let run = home.run_with("-o csv shell", &[], script);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.out.contains("1,a,x.org,ha1\n") && run.out.contains("1,1,10.0.0.1,32,0,a b\n"),
        "{run:?}"
    );
}

#[test]
fn pages_and_completions() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            home.run(&format!("completions {shell}"))
                .ok()
                .contains("proxyctl")
        );
    }
    let said = home.run("man pages").ok();
    assert!(home.path("pages/proxyctl-address-add.1").exists());
    let pages = std::fs::read_dir(home.path("pages")).unwrap().count();
    assert_eq!(said, format!("{pages} pages in pages\n"));
}

#[test]
fn bash_completes_commands_and_values() {
    let home = Home::empty();
    let script = home.run("completions bash").ok();
    home.write("completions", &script);
    for (words, expected) in [
        ("proxyctl ul sh", "show showdb"),
        ("proxyctl dispatcher mem", "memadd memrm"),
        ("proxyctl --output j", "json"),
    ] {
        let (last, before) = {
            let mut words = words.split(' ').rev();
            (words.next().unwrap(), words.next().unwrap())
        };
        let line = format!(
            "source completions; COMP_WORDS=({words}); COMP_CWORD=2; _proxyctl proxyctl {last} {before}; echo ${{COMPREPLY[@]}}"
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &line])
            .current_dir(home.path(""))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            expected,
            "{words}"
        );
    }
}
