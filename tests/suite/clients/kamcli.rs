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

const LINES: &[Line] = &[
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
    ("subscriber add alice secret", Same),
    ("subscriber show alice", Same),
    ("subscriber passwd alice secret2", Same),
    ("subscriber setattr alice email_address a@test.lan", Same),
    ("group grant alice ld", Same),
    ("group showdb alice", Same),
    ("subscriber rm alice", Same),
    ("aliasdb add bob@test.lan 100@test.lan", Same),
    ("aliasdb show", Same),
    ("speeddial add bob@test.lan 11@test.lan sip:carol@test.lan", Same),
    ("speeddial show bob@test.lan", Same),
    ("address add 200 192.0.2.7", Same),
    ("address show", Same),
    ("address reload", Same),
    ("address dump", Numbers),
    ("address list", Numbers),
    ("domain add test.lan", Same),
    ("domain reload", Same),
    ("domain memlist", Same),
    ("dispatcher add 1 sip:127.0.0.1:25001", Same),
    ("dispatcher showdb", Same),
    ("dispatcher reload", Same),
    ("dispatcher list", Same),
    ("dispatcher rm 1 sip:127.0.0.1:25001", Same),
    ("htable listtables", Same),
    ("htable sets a key value", Same),
    ("htable get a key", Same),
    ("htable list a", Same),
    ("htable dump a", Same),
    ("htable rm a key", Same),
    ("htable stats", Same),
    ("dialog list", Same),
    ("dialog stats", Same),
    ("dialog terminate a b c", Same),
    ("dialplan show", Same),
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
    for transport in ["socket", "fifo"] {
        for target in &targets {
            configure(target, transport);
        }
        compare(&targets, LINES, say);
    }
}

fn configure(target: &Target, transport: &str) {
    let folder = target.folder.path().display();
    // From the FIFO it reads text where its other formats want bytes.
    let format = if transport == "fifo" { "raw" } else { "json" };
    let url = "%(type)s+%(driver)s:///%(dbpath)s";
    let text = format!(
        "[main]\ndomain=test.lan\n[db]\ntype=sqlite\ndriver=pysqlite\ndbpath={folder}/test.db\nrwurl={url}\nrourl={url}\nadminurl={url}\n\
         outformat=table\n[ctl]\ntype=jsonrpc\nkamgroup=root\n[jsonrpc]\ntransport={transport}\npath={}\nrplnamebase=kamcli_reply\nrpldir=/tmp\n\
         srvaddr={}\nrcvaddr={folder}/kamcli.sock\noutformat={format}\n[shell]\n[apiban]\n",
        target.fifo().display(),
        target.datagram().display(),
    );
    fs::write(target.folder.path().join("kamcli.ini"), text).expect("a folder of our own");
}

fn say(target: &Target, line: &[String]) -> Outcome {
    let config = target.folder.path().join("kamcli.ini");
    let options = ["-c".to_owned(), config.display().to_string()];
    let outcome = target.run("kamcli", &[&options[..], line].concat());
    // What kamcli cannot do at all would be the same with every server.
    assert!(!outcome.text.contains("Traceback"), "{line:?}: {}", outcome.text);
    outcome
}
