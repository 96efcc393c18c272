//! kamcli over the datagram socket and the FIFO; `tests/run` asks for this where it is installed, for it is no package of Debian's.

use std::fs;

use super::Like::Ends;
use super::Like::Names;
use super::Like::Numbers;
use super::Like::Same;
use super::Line;
use super::Outcome;
use super::Target;
use super::compare;
use super::targets;

/// What goes to the server alone. Each line, here and below, is one that kamcli has and that Kamailio carries out.
const SERVER: &[Line] = &[
    ("uptime", Numbers),
    ("ps", Ends),
    ("rpcmethods", Ends),
    ("stats -n usrloc", Same),
    ("stats -n -s registered_users", Same),
    ("srv sockets", Same),
    ("srv aliases", Same),
    ("srv modules", Same),
    ("srv version", Ends),
    ("srv runinfo", Names),
    ("srv debug", Same),
    ("srv rpchelp no.such", Same),
    ("ul add alice sip:alice@192.0.2.1", Same),
    ("ul show alice", Names),
    ("ul show", Names),
    ("ul show --brief", Same),
    ("ul showdb", Same),
    ("ul rm alice", Same),
];

/// What changes and shows the database, and what the servers make of it.
const TABLES: &[Line] = &[
    ("subscriber add alice secret", Same),
    ("subscriber show alice", Same),
    ("subscriber passwd alice secret2", Same),
    ("subscriber setattrs alice ha1b x", Same),
    ("group grant alice ld", Same),
    ("group show alice", Numbers),
    ("subscriber rm --yes alice", Same),
    ("aliasdb add bob@test.lan 100@test.lan", Same),
    ("aliasdb show bob@test.lan", Same),
    ("aliasdb rm bob@test.lan 100@test.lan", Same),
    ("speeddial add bob@test.lan 11@test.lan sip:carol@test.lan", Same),
    ("speeddial show bob@test.lan", Same),
    ("speeddial rm bob@test.lan 11@test.lan", Same),
    ("address add 200 192.0.2.7", Same),
    ("address showdb", Same),
    ("address reload", Same),
    ("domain add test.lan", Same),
    ("domain showdb", Numbers),
    ("domain reload", Same),
    ("domain list", Same),
    ("dispatcher add 1 sip:127.0.0.1:25001", Same),
    ("dispatcher showdb", Same),
    ("dispatcher reload", Same),
    ("dispatcher list", Same),
    ("dispatcher rm 1 sip:127.0.0.1:25001", Same),
    ("htable list-tables", Same),
    ("htable sets a key value", Same),
    ("htable seti a number 7", Same),
    ("htable get a key", Same),
    ("htable list a", Same),
    ("htable rm --yes a key", Same),
    ("htable flush a", Same),
    ("htable stats", Same),
    ("dialog list", Same),
    ("dialog stats_active", Same),
    ("dialog terminate a b c", Same),
    ("dialplan list 1", Same),
    ("dialplan reload", Same),
    ("mtree list rates", Same),
    ("mtree reload rates", Same),
    ("pike list", Same),
    ("tcp list", Same),
    ("tcp info", Names),
    ("shm stats", Names),
    ("jsonrpc core.echo a b", Same),
    ("jsonrpc --dry-run core.echo a b", Same),
    ("jsonrpc no.such", Same),
];

#[test]
fn kamcli_prints_the_same() {
    let targets = targets(None);
    let both = [SERVER, TABLES].concat();
    for (transport, lines) in [("socket", &*both), ("fifo", SERVER)] {
        for target in &targets {
            configure(target, transport);
        }
        compare(&targets, lines, say);
    }
}

fn configure(target: &Target, transport: &str) {
    let folder = target.folder.path().display();
    // From the FIFO it reads text where its other formats want bytes.
    let format = if transport == "fifo" { "raw" } else { "json" };
    let url = "%(type)s+%(driver)s:///%(dbpath)s";
    let text = format!(
        "[main]\ndomain=test.lan\n[db]\ntype=sqlite\ndriver=pysqlite\ndbpath={folder}/test.db\nrwurl={url}\nrourl={url}\nadminurl={url}\n\
         outformat=table\n[ctl]\ntype=jsonrpc\nkamgroup=root\n[jsonrpc]\ntransport={transport}\npath={}\nrplnamebase=kamcli_{}\nrpldir=/tmp\n\
         srvaddr={}\nrcvaddr={folder}/kamcli.sock\noutformat={format}\n[shell]\n[apiban]\n",
        target.fifo().display(),
        target.server.pid(),
        target.datagram().display(),
    );
    fs::write(target.folder.path().join("kamcli.ini"), text).expect("a folder of our own");
}

fn say(target: &Target, line: &[String]) -> Outcome {
    let config = target.folder.path().join("kamcli.ini");
    let options = ["-c".to_owned(), config.display().to_string()];
    let outcome = target.run("kamcli", &[&options[..], line].concat());
    // What kamcli cannot do at all would be the same with every server.
    assert_eq!(outcome.code, Some(0), "{line:?}: {}", outcome.text);
    assert!(!outcome.text.contains("Traceback"), "{line:?}: {}", outcome.text);
    outcome
}
