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
    ("ps", Names),
    ("rpcmethods", Ends),
    ("stats -n usrloc", Ends),
    ("srv sockets", Same),
    ("srv aliases", Ends),
    ("srv modules", Ends),
    ("srv version", Ends),
    ("ul add alice sip:alice@192.0.2.1", Same),
    ("ul show alice", Names),
    ("ul showdb", Ends),
    ("ul rm alice", Same),
    ("address reload", Ends),
    ("address dump", Ends),
    ("domain reload", Same),
    ("dispatcher reload", Ends),
    ("dispatcher list", Ends),
    ("htable list", Ends),
    ("htable dump a", Same),
    ("dialog stats", Ends),
    ("mtree list rates", Ends),
    ("pike list", Ends),
    ("jsonrpc core.echo a b", Same),
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
    let text = format!(
        "[main]\n[db]\ntype=sqlite\ndbpath={}\n[jsonrpc]\ntransport={transport}\npath={}\nrplnamebase=kamcli_reply\nrpldir=/tmp\n\
         srvaddr={}\nrcvaddr={}/kamcli.sock\n[apiban]\n",
        target.folder.path().join("test.db").display(),
        target.fifo().display(),
        target.datagram().display(),
        target.folder.path().display(),
    );
    fs::write(target.folder.path().join("kamcli.ini"), text).expect("a folder of our own");
}

fn say(target: &Target, line: &[String]) -> Outcome {
    let config = target.folder.path().join("kamcli.ini");
    let options = ["-c".to_owned(), config.display().to_string()];
    target.run("kamcli", &[&options[..], line].concat())
}
