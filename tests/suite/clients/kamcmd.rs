//! kamcmd over BINRPC: single commands, its formats, its prompt.

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use super::Like::Ends;
use super::Like::Names;
use super::Like::Numbers;
use super::Like::Same;
use super::Line;
use super::Outcome;
use super::Target;
use super::compare;
use super::targets;
use crate::support::words;

const LINES: &[Line] = &[
    ("core.version", Ends),
    ("core.info", Names),
    ("core.uptime", Numbers),
    ("core.echo a b 17", Same),
    ("core.ps", Ends),
    ("core.psx", Names),
    ("core.psa", Names),
    ("core.pwd", Same),
    ("core.arg", Ends),
    ("core.shmmem", Names),
    ("core.shmmem m", Names),
    ("core.shmmem x", Same),
    ("core.tcp_info", Names),
    ("core.tcp_list", Same),
    ("core.sockets_list", Same),
    ("core.aliases_list", Names),
    ("core.modules", Ends),
    ("core.printi 7", Same),
    ("core.udp4_raw_info", Same),
    ("corex.list_sockets", Same),
    ("corex.list_aliases", Same),
    ("corex.debug", Same),
    ("system.listMethods", Ends),
    ("system.methodHelp no.such", Same),
    ("ctl.connections", Same),
    ("ctl.listen", Same),
    ("ctl.who", Same),
    ("ps", Ends),
    ("ls", Ends),
    ("ver", Ends),
    ("who", Same),
    ("help core.version", Ends),
    ("stats.get_statistics usrloc:", Same),
    ("stats.get_statistics all", Ends),
    ("stats.fetch usrloc.registered_users", Same),
    ("stats.fetchn usrloc.registered_users", Same),
    ("stats.get_statistics no_such", Same),
    ("stats.reset_statistics all", Same),
    ("tm.stats", Names),
    ("sl.stats", Ends),
    ("cnt.get sl 200_replies", Same),
    ("cnt.var_list usrloc", Same),
    (
        "ul.add location dave sip:dave@192.0.2.1 300 1.0 . 0 0 4294967295",
        Same,
    ),
    ("ul.lookup location dave", Names),
    ("ul.lookup location nobody", Same),
    ("ul.lookup nowhere nobody", Same),
    ("ul.dump", Names),
    ("ul.dump brief", Same),
    ("ul.rm_contact location dave sip:dave@192.0.2.1", Same),
    ("ul.rm location nobody", Same),
    ("ul.flush", Same),
    ("ul.db_users location", Ends),
    ("permissions.addressReload", Ends),
    ("permissions.addressDump", Same),
    ("permissions.subnetDump", Same),
    ("permissions.trustedDump", Names),
    ("domain.reload", Same),
    ("domain.dump", Same),
    ("dispatcher.list", Ends),
    ("dispatcher.add 3 sip:127.0.0.1:25009", Same),
    ("dispatcher.list", Same),
    ("dispatcher.list full", Same),
    ("dispatcher.set_state dp 3 sip:127.0.0.1:25009", Same),
    ("dispatcher.set_state zz 3 all", Same),
    ("dispatcher.list short", Same),
    ("dispatcher.ping_active", Same),
    ("dispatcher.ping_active 0", Same),
    ("dispatcher.hash 4 alice", Same),
    ("dispatcher.remove 3 sip:127.0.0.1:25009", Same),
    ("dispatcher.reload", Same),
    ("dispatcher.set_state ip 1 sip:192.0.2.11:5060", Same),
    ("dialplan.dump 1", Ends),
    ("htable.sets a one first", Same),
    ("htable.seti a two 2", Same),
    ("htable.get a one", Same),
    ("htable.get a two", Same),
    ("htable.get a none", Same),
    ("htable.get none none", Same),
    ("htable.dump a", Same),
    ("htable.setex b k 60", Same),
    ("htable.delete a one", Same),
    ("htable.flush a", Same),
    ("htable.listTables", Same),
    ("htable.stats", Same),
    ("mtree.list rates", Ends),
    ("dlg.list", Same),
    ("dlg.stats_active", Same),
    ("dlg.terminate_dlg a b c", Same),
    ("pike.list", Same),
    ("pike.top", Same),
    ("cfg.get core debug", Same),
    ("cfg.get custom greeting", Same),
    ("cfg.sets custom greeting hi", Same),
    ("cfg.get custom greeting", Same),
    ("cfg.get custom none", Same),
    ("cfg.set_now_int custom number 8", Same),
    ("cfg.set_delayed_int custom number 9", Same),
    ("cfg.get custom number", Same),
    ("cfg.diff", Same),
    ("cfg.rollback", Same),
    ("cfg.diff", Same),
    ("cfg.set_delayed_string custom greeting later", Same),
    ("cfg.set_delayed_int custom number 10", Same),
    ("cfg.diff", Same),
    ("cfg.commit", Same),
    ("cfg.get custom", Same),
    ("cfg.list custom", Same),
    ("cfg.help custom greeting", Same),
    ("cfg.help core debug", Same),
    ("cfg.help custom none", Same),
    ("cfg.seti custom none 1", Same),
    (
        "uac.reg_add u9 n test.lan rn carrier.lan carrier.lan rn pw . sip:127.0.0.1:25009 600 0 0 . .",
        Same,
    ),
    (
        "uac.reg_add u9 n test.lan rn carrier.lan carrier.lan rn pw . sip:127.0.0.1:25009 600 0 0 . .",
        Same,
    ),
    ("uac.reg_info l_uuid u9", Names),
    ("uac.reg_info l_uuid none", Same),
    ("uac.reg_info none u9", Same),
    ("uac.reg_dump", Names),
    ("uac.reg_disable l_uuid u9", Same),
    ("uac.reg_enable l_uuid u9", Same),
    ("uac.reg_refresh none", Same),
    ("uac.reg_active 0", Same),
    ("core.tcp_options", Ends),
    ("shm.stats", Names),
    ("no.such", Same),
    ("tm.t_uac_start OPTIONS bad . . x", Same),
];

#[test]
fn kamcmd_prints_the_same() {
    let targets = targets(None);
    compare(&targets, LINES, say);
    compare(
        &targets,
        &[("core.uptime", Numbers), ("core.echo a b", Same)],
        format,
    );
    compare(&targets, &[("core.echo a b", Same), ("no.such", Same)], prompt);
}

fn socket(target: &Target) -> [String; 2] {
    ["-s".to_owned(), format!("unix:{}", target.ctl().display())]
}

fn say(target: &Target, line: &[String]) -> Outcome {
    target.run("kamcmd", &[&socket(target), line].concat())
}

/// With `-f`.
fn format(target: &Target, line: &[String]) -> Outcome {
    let format = ["-f".to_owned(), "<%v>\\n".to_owned()];
    target.run("kamcmd", &[&format[..], &socket(target), line].concat())
}

/// At its prompt.
fn prompt(target: &Target, line: &[String]) -> Outcome {
    let mut kamcmd = Command::new("kamcmd")
        .args(socket(target))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kamcmd is installed");
    let mut input = kamcmd.stdin.take().expect("it was asked for");
    writeln!(input, "{}\nquit", line.join(" ")).expect("it reads");
    drop(input);
    let output = kamcmd.wait_with_output().expect("it ends");
    Outcome {
        text: words(&output),
        code: output.status.code(),
    }
}
