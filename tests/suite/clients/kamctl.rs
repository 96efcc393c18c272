//! kamctl over the FIFO, with the database in SQLite and in MariaDB.

use std::env;
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

/// What changes and shows the database, and what the servers make of it.
const TABLES: &[Line] = &[
    ("add alice secret", Same),
    ("add alice secret", Same),
    ("add bob@other.lan secret", Same),
    ("show alice", Same),
    ("passwd alice newsecret", Same),
    ("sets alice ha1b x", Same),
    ("acl grant alice ld int", Numbers),
    ("acl show alice", Numbers),
    ("acl revoke alice ld", Numbers),
    ("alias_db add 100@test.lan alice@test.lan", Same),
    ("alias_db show 100@test.lan", Same),
    ("alias_db list alice@test.lan", Same),
    ("alias_db rm 100@test.lan", Same),
    (
        "speeddial add alice@test.lan 11@test.lan sip:bob@test.lan bob",
        Same,
    ),
    ("speeddial list alice@test.lan", Same),
    ("speeddial rm alice@test.lan 11@test.lan", Same),
    ("avp add alice@test.lan color 0 blue", Numbers),
    ("avp list -u alice@test.lan", Numbers),
    ("avp rm -u alice@test.lan -a color", Same),
    ("domain add test.lan", Numbers),
    ("domain showdb", Numbers),
    ("domain reload", Same),
    ("domain show", Same),
    ("domain rm test.lan", Same),
    ("trusted add 192.0.2.9 any ^sip:.*$ tag", Same),
    ("trusted show", Same),
    ("trusted rm 192.0.2.9", Same),
    ("address add 200 10.0.1.102 32 5060 carrier", Same),
    ("address add 1 192.0.2.0 24 0 net", Same),
    ("address show", Same),
    ("address reload", Same),
    ("address dump", Numbers),
    ("address rm 200 10.0.1.102", Same),
    ("dispatcher add 1 sip:192.0.2.11:5060 0 5 weight=50 first", Same),
    ("dispatcher show", Same),
    ("dispatcher reload", Same),
    ("dispatcher dump", Same),
    ("dispatcher rm 1", Same),
    ("dialog showdb", Same),
    ("dialplan addrule 1 1 0 123 0 123 456", Same),
    ("dialplan show 1", Same),
    ("dialplan reload", Same),
    ("dialplan rmrule 1 1", Same),
    ("mtree add rates 49 germany", Same),
    ("mtree show rates", Same),
    ("mtree reload rates", Same),
    ("mtree dump rates", Same),
    ("mtree rm rates 49", Same),
    ("acc showdb", Same),
    ("db show domain", Same),
    ("db smatch subscriber username alice", Same),
    ("db exec 'select count(*) from subscriber'", Same),
    ("rm alice", Same),
    ("rm nobody", Same),
];

/// What goes to the server alone.
const SERVER: &[Line] = &[
    ("ul add alice sip:alice@192.0.2.1:5060", Same),
    ("ul add alice@test.lan sip:alice@192.0.2.2:5060 300", Same),
    (
        "ul add carol sip:carol@192.0.2.3 300 'sip:edge.test.lan;lr'",
        Same,
    ),
    ("ul show alice", Names),
    ("ul show", Names),
    ("ul show --brief", Ends),
    ("online", Same),
    ("ul rm alice sip:alice@192.0.2.2:5060", Same),
    ("ul rm alice", Same),
    ("ul rm nobody", Same),
    ("ul show nobody", Same),
    ("alias add 200 sip:200@192.0.2.4", Same),
    ("alias show 200", Names),
    ("alias rm 200", Same),
    ("dialog show", Same),
    ("srv sockets", Same),
    ("srv aliases", Numbers),
    ("srv rpclist", Ends),
    ("srv debug", Same),
    ("srv debug 2", Same),
    ("srv modules", Same),
    ("srv version", Ends),
    ("ps", Names),
    ("psa", Names),
    ("uptime", Numbers),
    ("stats", Ends),
    ("stats usrloc", Same),
    ("stats tcp", Numbers),
    ("stats pike", Same),
    ("stats dialog", Same),
    ("stats shmem", Numbers),
    ("stats nothere", Same),
    ("rpc core.version", Ends),
    ("rpc core.echo a 1 s:2", Same),
    ("rpc no.such", Same),
    ("cisco_restart sip:alice@127.0.0.1:9", Same),
    ("ping nowhere", Names),
    ("nonsense", Same),
];

#[test]
fn kamctl_prints_the_same_with_sqlite() {
    let targets = targets(None);
    for target in &targets {
        configure(target);
    }
    compare(&targets, &[TABLES, SERVER].concat(), say);
}

#[test]
fn kamctl_prints_the_same_with_mariadb() {
    let Ok(url) = env::var("TEST_MYSQL_URL") else {
        assert!(env::var_os("CI_DATABASES").is_none(), "TEST_MYSQL_URL is not set");
        return;
    };
    let targets = targets(Some(&url));
    for target in &targets {
        configure(target);
    }
    compare(&targets, TABLES, say);
}

/// Writes the resource file that kamctl reads from its home.
fn configure(target: &Target) {
    let engine = match target.database.strip_prefix("mysql://") {
        None => format!(
            "DBENGINE=SQLITE\nDB_PATH={}\n",
            target.folder.path().join("test.db").display()
        ),
        Some(rest) => {
            let (account, place) = rest.split_once('@').expect("user and host");
            let (user, password) = account.split_once(':').expect("user and password");
            let (host, name) = place.split_once('/').expect("host and database");
            let (host, port) = host.split_once(':').expect("host and port");
            format!(
                "DBENGINE=MYSQL\nDBHOST={host}\nDBPORT={port}\nDBNAME={name}\nDBRWUSER={user}\nDBRWPW={password}\n\
                 DBROUSER={user}\nDBROPW={password}\n"
            )
        }
    };
    let fifo = target.fifo();
    let text = format!("SIP_DOMAIN=test.lan\nRPCFIFOPATH={}\n{engine}", fifo.display());
    fs::write(target.folder.path().join(".kamctlrc"), text).expect("a folder of our own");
}

fn say(target: &Target, line: &[String]) -> Outcome {
    target.run("kamctl", line)
}
