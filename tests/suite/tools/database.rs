//! Commands that need only the database, with every exit code.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::home::Home;

const DOMAIN: [(&str, &str); 1] = [("SIP_DOMAIN", "example.org")];

#[test]
fn users_are_added_changed_shown_and_removed() {
    let home = Home::new();
    let run = |line: &str| home.run_with(line, &DOMAIN, "");
    assert_eq!(
        run("add 61312341234 supersecretpassword").ok(),
        "added 61312341234@example.org\n"
    );
    run("add 61312341234 other").fails(4, "`61312341234@example.org` exists already");
    assert_eq!(home.cell("SELECT password FROM subscriber"), "");
    assert_eq!(
        home.cell("SELECT ha1 FROM subscriber"),
        md5("61312341234:example.org:supersecretpassword")
    );
    assert_eq!(
        home.cell("SELECT ha1b FROM subscriber"),
        md5("61312341234@example.org:example.org:supersecretpassword")
    );
    run("passwd 61312341234 new").ok();
    assert_eq!(
        home.cell("SELECT ha1 FROM subscriber"),
        md5("61312341234:example.org:new")
    );
    assert_eq!(run("show 61312341234").ok(), "1\t61312341234\texample.org\tha1\n");
    run("passwd nobody x").fails(3, "no subscriber `nobody@example.org`");
    run("show nobody").fails(3, "no subscriber `nobody@example.org`");
    run("acl grant 61312341234 int").ok();
    run("alias_db add 1000 61312341234").ok();
    run("rm 61312341234").ok();
    for table in ["subscriber", "grp", "dbaliases"] {
        assert_eq!(
            home.cell(&format!("SELECT count(*) FROM {table}")),
            "0",
            "{table}"
        );
    }
    run("rm 61312341234").fails(3, "no subscriber");
}

#[test]
fn removing_several_users_is_all_or_nothing() {
    let home = Home::new();
    home.run("add a@x.org p").ok();
    home.run("rm a@x.org b@x.org").fails(3, "no subscriber `b@x.org`");
    assert_eq!(home.cell("SELECT count(*) FROM subscriber"), "1");
}

#[test]
fn a_user_without_a_domain() {
    let home = Home::new();
    let run = home.run("add alice secret");
    assert!(run.err.contains("no SIP_DOMAIN"), "{run:?}");
    run.ok();
    // The hash of a guessed realm might open nothing.
    assert_eq!(home.cell("SELECT password FROM subscriber"), "secret");
    home.run("show alice").ok();
    home.run("add bob@a.org x").ok();
    assert_eq!(home.run("show bob").ok(), "2\tbob\ta.org\tha1\n");
    home.run("add bob@b.org x").ok();
    home.run("show bob").fails(2, "say which of bob@a.org, bob@b.org");
}

#[test]
fn passwords_come_in_four_ways() {
    let home = Home::new();
    let digest = |user: &str| home.cell(&format!("SELECT ha1 FROM subscriber WHERE username='{user}'"));
    home.run_with("add a@x.org --password-stdin", &[], "pw\n").ok();
    assert_eq!(digest("a"), md5("a:x.org:pw"));
    let out = home.run("add b@x.org --generate").ok();
    let made = out.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(digest("b"), md5(&format!("b:x.org:{made}")));
    home.run("add c@x.org").fails(2, "no password for c@x.org");
    home.run("add c@x.org ''").fails(2, "password is empty");
    home.run("add d@x.org -secret").ok();
    assert_eq!(digest("d"), md5("d:x.org:-secret"));
    home.run_with("add e@x.org pw", &[("STORE_PLAINTEXT_PW", "1")], "")
        .ok();
    assert_eq!(
        home.cell("SELECT password FROM subscriber WHERE username='e'"),
        "pw"
    );
    home.run("passwd e@x.org neu").ok();
    assert_eq!(
        home.cell("SELECT password FROM subscriber WHERE username='e'"),
        "neu"
    );
    home.run_with("passwd e@x.org neu", &[("STORE_PLAINTEXT_PW", "0")], "")
        .ok();
    assert_eq!(
        home.cell("SELECT password FROM subscriber WHERE username='e'"),
        ""
    );
}

#[test]
fn the_resource_file_is_kamctls() {
    let home = Home::new();
    home.write(
        "proxyctlrc",
        "# comment\nSIP_DOMAIN=\"rc.org\"\nSTORE_PLAINTEXT_PW=1\n",
    );
    home.run("add alice pw").ok();
    assert_eq!(home.cell("SELECT domain || password FROM subscriber"), "rc.orgpw");
    home.run_with("add bob pw", &DOMAIN, "").ok();
    assert_eq!(
        home.run("-o csv show bob@example.org").ok(),
        "id,username,domain,stored\n2,bob,example.org,plaintext\n"
    );
}

#[test]
fn addresses_are_checked_before_they_are_written() {
    let home = Home::new();
    home.run("address add 200 10.0.1.102 32 5060 'Carrier IP address'")
        .ok();
    assert_eq!(
        home.run("address show").ok(),
        "1\t200\t10.0.1.102\t32\t5060\tCarrier IP address\n"
    );
    let refused = [
        ("address add 200 10.0.1.102 32 5060", 4, "exists already"),
        ("address add 200 10.0.1.102 33 5060", 2, "mask 33 is out of range"),
        ("address add 200 10.0.1.102 24", 2, "the network is 10.0.1.0/24"),
        ("address add 200 10.0.1.102 32 70000", 2, "`70000` is not a port"),
        (
            "address add 200 10.0.1.1020",
            2,
            "`10.0.1.1020` is not an IP address",
        ),
        ("address add x 10.0.1.1", 2, "the group is `x`"),
        (
            "address rm 200 10.9.9.9",
            3,
            "no address `10.9.9.9` of group `200`",
        ),
        ("trusted add 300.1.1.1", 2, "is not an IP address"),
        ("trusted add 1.1.1.1 sctpx", 2, "the transport is `sctpx`"),
        ("dispatcher add 1 192.0.2.1", 2, "is not a SIP URI"),
        ("dispatcher add 1 sip:192.0.2.1:70000", 2, "is not a SIP URI"),
        ("domain add 'a b'", 2, "neither a domain name nor an IP address"),
        ("ul add alice 'not a uri'", 2, "is not a SIP URI"),
        ("add 'a b' pw", 2, "user name `a b`"),
        ("add a@b@c pw", 2, "user name `a@b`"),
        ("sets nobody x y", 3, "no column `x`"),
        ("db show nothing", 3, "no table `nothing`"),
        ("avp rm", 1, "say --yes to confirm"),
    ];
    for (line, code, part) in refused {
        home.run(line).fails(code, part);
    }
    assert_eq!(home.cell("SELECT count(*) FROM address"), "1");
    home.run("address rm 200 10.0.1.102").ok();
    assert_eq!(home.cell("SELECT count(*) FROM address"), "0");
}

#[test]
fn a_database_that_does_not_serve() {
    let home = Home::empty();
    home.run("add a@x.org p")
        .fails(6, "create it with `dbctl create`");
    home.write(
        "proxyd.db",
        "this is a text, and long enough to be taken for what it is not at all",
    );
    home.run("show").fails(6, "is not an SQLite database");

    let home = Home::new();
    home.db()
        .raw(
            "UPDATE version SET table_version=3 WHERE table_name='subscriber'",
            &[],
        )
        .unwrap();
    home.run("add a@x.org p")
        .fails(6, "version 3, wanted is 7: run `dbctl migrate`");
    home.run("address show").ok();

    let home = Home::new();
    home.run("db roexec 'DELETE FROM subscriber'")
        .fails(2, "run it with `proxyctl db exec`");
    fs::set_permissions(home.path("proxyd.db"), Permissions::from_mode(0o440)).unwrap();
    let run = home.run("add a@x.org p");
    // The superuser may write what nobody may.
    if run.code != 0 {
        run.fails(6, "read-only");
    }
}

#[test]
fn passwords_are_neither_mistyped_options_nor_lost() {
    let home = Home::new();
    for word in ["-g", "--generte"] {
        home.run(&format!("add alice@example.org {word}"))
            .fails(2, "looks like an option");
    }
    home.run("add alice@example.org -secret").ok();
    let said = home.run("--quiet add bob@example.org --generate").ok();
    let password = said.trim_end();
    assert_eq!(password.len(), 20, "{said:?}");
    assert_eq!(
        home.cell("SELECT ha1 FROM subscriber WHERE username = 'bob'"),
        md5(&format!("bob:example.org:{password}"))
    );
    assert_eq!(home.run("--quiet passwd bob@example.org new").ok(), "");
}

#[test]
fn wrong_usage() {
    let home = Home::new();
    for line in [
        "",
        "nothing",
        "add",
        "address",
        "address add",
        "--output xml show",
        "debug x",
    ] {
        let run = home.run(line);
        assert_eq!(run.code, 2, "{run:?}");
    }
    for line in [
        "--help",
        "--version",
        "address --help",
        "address add --help",
        "help",
    ] {
        let run = home.run(line);
        assert_eq!(run.code, 0, "{run:?}");
    }
}

#[test]
fn modules_have_pages() {
    let home = Home::new();
    let run = home.run("help module maxfwd.so");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("mf_process_maxfwd_header"), "{run:?}");
    assert!(!run.out.contains("t_relay"), "{run:?}");
    let names = home.run("help module");
    assert!(names.out.lines().any(|name| name == "registrar"), "{names:?}");
    for name in names.out.lines() {
        assert_eq!(home.run(&format!("help module {name}")).code, 0, "{name}");
    }
    assert_eq!(home.run("help module no_such_module").code, 3);
}

#[test]
fn every_command_has_examples() {
    fn walk(command: &clap::Command, path: &str, bare: &mut Vec<String>) {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !help.contains("Examples:") || !help.contains("proxyctl") {
            bare.push(path.to_owned());
        }
        for sub in command.get_subcommands() {
            walk(sub, &format!("{path} {}", sub.get_name()), bare);
        }
    }
    let mut bare = Vec::new();
    walk(&proxyctl::command(), "proxyctl", &mut bare);
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn the_other_nouns() {
    let home = Home::new();
    let run = |line: &str| home.run_with(line, &DOMAIN, "");
    run("add alice pw").ok();
    let lines = [
        ("acl grant alice int ld", "alice@example.org is in int, ld\n"),
        ("acl revoke alice ld", "alice@example.org is out of ld\n"),
        (
            "alias_db add 1000 alice",
            "1000@example.org is an alias of alice@example.org\n",
        ),
        ("alias_db show 1000", "1000\texample.org\talice\texample.org\n"),
        ("alias_db list alice", "1000\texample.org\talice\texample.org\n"),
        ("alias_db rm 1000", "removed alias 1000@example.org\n"),
        (
            "speeddial add alice 11 sip:bob@example.org Bob",
            "11@example.org of alice@example.org calls sip:bob@example.org\n",
        ),
        (
            "speeddial list alice",
            "1\talice\texample.org\t11\texample.org\tsip:bob@example.org\t\t\tBob\n",
        ),
        (
            "speeddial rm alice 11",
            "removed 11@example.org of alice@example.org\n",
        ),
        (
            "avp add alice@example.org fwd 0 sip:b@c.org",
            "added fwd of alice@example.org\n",
        ),
        ("avp rm -u alice@example.org -a fwd", "removed 1 preferences\n"),
        ("domain add example.org", "added example.org\n"),
        ("domain rm example.org", "removed example.org\n"),
        ("trusted add 192.0.2.1 udp '^sip:' tag", "added 192.0.2.1 udp\n"),
        ("trusted show", "1\t192.0.2.1\tudp\t^sip:\t\ttag\t0\n"),
        ("trusted rm 192.0.2.1", "removed 192.0.2.1\n"),
        (
            "dispatcher add 1 sip:192.0.2.1:5060 0 5 weight=1 'gw one'",
            "added sip:192.0.2.1:5060 to set 1\n",
        ),
        (
            "dispatcher show",
            "1\t1\tsip:192.0.2.1:5060\t0\t5\tweight=1\tgw one\n",
        ),
        ("dispatcher rm 1", "removed destination 1\n"),
        (
            "dialplan addrule 1 0 1 ^0 0 '^0(.*)$' '+49\\1' nat",
            "added a rule of priority 0 to dialplan 1\n",
        ),
        ("dialplan show 1", "1\t1\t0\t1\t^0\t0\t^0(.*)$\t+49\\1\tnat\n"),
        (
            "dialplan rmrule 1 0",
            "removed the rules in dialplan 1 with priority 0\n",
        ),
        ("mtree add mtree 49 x", "added 49 to mtree\n"),
        ("mtree show mtree", "1\t49\tx\n"),
        ("mtree add other 49 x", "added 49 to other\n"),
        ("mtree rm other 49", "removed 49 from other\n"),
        ("lcr show_gws", ""),
        ("lcr show_routes", ""),
        (
            "acc initdb",
            "added acc.src_user, acc.src_domain, acc.src_ip, acc.dst_ouser, acc.dst_user, acc.dst_domain, missed_calls.src_user, missed_calls.src_domain, missed_calls.src_ip, missed_calls.dst_ouser, missed_calls.dst_user, missed_calls.dst_domain\n",
        ),
        ("acc initdb", "every column is there already\n"),
        ("acc recent", ""),
        ("dialog showdb", ""),
        ("ul showdb", ""),
        ("ul dbclean", "removed 0 expired contacts\n"),
        ("db exec 'SELECT count(*) AS n FROM subscriber'", "1\n"),
        (
            "db smatch subscriber username alice --output csv",
            "id,username,domain,password,ha1,ha1b\n1,alice,example.org,,",
        ),
        ("db version location", "location\t9\n"),
        (
            "subscriber set alice username carol",
            "set username of alice@example.org\n",
        ),
        ("subscriber list", "1\tcarol\texample.org\tha1\n"),
    ];
    for (line, expected) in lines {
        let out = run(line).ok();
        assert!(
            out == expected || out.starts_with(expected) && line.contains("csv"),
            "{line}: {out}"
        );
    }
}

#[test]
fn writers_at_once_lose_nothing() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let home = &home;
            scope.spawn(move || {
                for n in 0..5 {
                    home.run(&format!("add u{worker}-{n}@x.org pw")).ok();
                    home.run(&format!("address add {worker} 10.0.0.{n}")).ok();
                }
            });
        }
    });
    assert_eq!(home.cell("SELECT count(*) FROM subscriber"), "20");
    assert_eq!(home.cell("SELECT count(*) FROM address"), "20");
}

fn md5(text: &str) -> String {
    shared::digest::hash(shared::digest::Algorithm::Md5, &[text.as_bytes()])
        .as_str()
        .to_owned()
}
