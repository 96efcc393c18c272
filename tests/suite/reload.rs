//! `core.reload`: sockets open and close, calls go on, nothing is lost, and what fails changes nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tests::scenario::DOMAIN;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::ua::Transport;
use tests::ua::Ua;
use tests::wait;

use crate::support::start;

/// A server whose script can be written anew.
struct Reloading {
    site: Site,
    script: PathBuf,
    server: Server,
    _folder: TempDir,
}

/// Relays to the address in `X-To`, answers everything else with the reason of this script.
fn script(reason: &str, more: &str) -> String {
    format!(
        r#"{more}
loadmodule "tm"
loadmodule "sl"
loadmodule "rr"
loadmodule "pv"
request_route {{
    if ($hdr(X-To) != $null) {{
        if (method == "INVITE") record_route();
        $du = "sip:" + $hdr(X-To);
        t_relay();
        exit;
    }}
    if (loose_route()) {{
        t_relay();
        exit;
    }}
    if (method == "ACK") exit;
    sl_send_reply("200", "{reason}");
}}
"#
    )
}

impl Reloading {
    fn open(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("test.cfg");
        fs::write(&script, text).expect("a script");
        let site = Site::new();
        let launch = Launch {
            script: script.clone(),
            listen: site.listen(),
            folder: Some(folder.path().join("server")),
            ..Launch::default()
        };
        Self {
            server: start(&launch),
            site,
            script,
            _folder: folder,
        }
    }

    fn reload(&self, text: &str) -> Result<Value, String> {
        fs::write(&self.script, text).expect("a script");
        let answer = self.server.rpc("core.reload", &json!([]));
        answer.map_err(|error| error.to_string())
    }

    fn agent(&self, transport: Transport, server: SocketAddr) -> Ua {
        Ua::open("alice", transport, self.site.user_agent(false), server, DOMAIN).expect("a free port")
    }
}

/// The reason that an OPTIONS is answered with.
fn ask(agent: &mut Ua, dialog: &str) -> Option<String> {
    agent.request(dialog, "OPTIONS", &agent.aor(), &[]).ok()?;
    let reply = agent.receive(wait::PATIENCE)?;
    Some(reply.start.trim_start_matches("SIP/2.0 200 ").to_owned())
}

#[test]
fn sockets_follow_the_script() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = Reloading::open(&script("first", ""));
    let added = SocketAddr::new(house.site.server.ip(), 22_070);
    let lines = format!("listen=udp:{added}\nlisten=tcp:{added}\nchildren=3");
    let answer = house.reload(&script("second", &lines)).expect("a reload");
    let both = json!([format!("udp:{added}"), format!("tcp:{added}")]);
    assert_eq!(
        answer,
        json!({"opened": both, "closed": [], "at_restart": ["children"]})
    );
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut agent = house.agent(transport, added);
        assert_eq!(ask(&mut agent, "d").as_deref(), Some("second"), "{transport:?}");
    }
    let answer = house.reload(&script("third", "children=3")).expect("a reload");
    assert_eq!(answer, json!({"opened": [], "closed": both, "at_restart": []}));
    // nothing came by them that would not have ended: they close
    let free = || std::net::UdpSocket::bind(added).is_ok() && std::net::TcpListener::bind(added).is_ok();
    assert!(wait::until(wait::PATIENCE, || free().then_some(())).is_some());
    let mut agent = house.agent(Transport::Udp, house.site.server);
    assert_eq!(ask(&mut agent, "d").as_deref(), Some("third"));
}

#[test]
fn a_failed_reload_changes_nothing() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = Reloading::open(&script("first", ""));
    let mut agent = house.agent(Transport::Udp, house.site.server);
    let added = SocketAddr::new(house.site.server.ip(), 22_071);
    for (text, why) in [
        ("request_route { no_such_function(); }".to_owned(), "mistakes"),
        (
            script(
                "second",
                &format!("listen=udp:{added}\nlisten=udp:203.0.113.7:5060"),
            ),
            "203.0.113.7",
        ),
        (
            script(
                "second",
                &format!(
                    "listen=udp:{added}\nloadmodule \"pike\"\nmodparam(\"pike\", \"sampling_time_unit\", 0)"
                ),
            ),
            "sampling_time_unit",
        ),
    ] {
        let error = house.reload(&text).expect_err(why);
        assert!(error.contains(why), "{error}");
        assert_eq!(ask(&mut agent, why).as_deref(), Some("first"), "{why}");
        assert!(
            std::net::UdpSocket::bind(added).is_ok(),
            "{why}: the new socket stayed open"
        );
    }
    let sockets = house
        .server
        .rpc("core.sockets_list", &json!([]))
        .expect("sockets");
    assert_eq!(sockets.as_array().map(Vec::len), Some(4), "{sockets}");
}

#[test]
fn no_request_is_lost_and_calls_end_properly() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = Reloading::open(&script("ok", ""));
    let server = house.site.server;
    let mut caller = house.agent(Transport::Udp, server);
    let mut callee = house.agent(Transport::Udp, server);
    let to = [("X-To".to_owned(), callee.address.to_string())];
    caller.request("call", "INVITE", "sip:bob@test.lan", &to).unwrap();
    let invite = callee.receive(wait::PATIENCE).expect("the INVITE");
    callee.reply(&invite, "180 Ringing", &[]).unwrap();
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rounds = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut agent = house.agent(Transport::Udp, server);
            while !done.load(Ordering::Relaxed) {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                let answer = ask(&mut agent, &format!("d{number}"));
                assert_eq!(answer.as_deref(), Some("ok"), "request {number}");
            }
        });
        let mut round = 0;
        while round < 10 || (asked.load(Ordering::Relaxed) < 50 && !load.is_finished()) {
            round += 1;
            let added = SocketAddr::new(server.ip(), 22_080);
            let line = if round % 2 == 0 {
                format!("listen=udp:{added}")
            } else {
                String::new()
            };
            house.reload(&script("ok", &line)).expect("a reload");
        }
        done.store(true, Ordering::Relaxed);
        load.join().expect("every request answered");
        round
    });
    assert!(rounds >= 10);
    callee.reply(&invite, "200 OK", &[]).unwrap();
    let answered = wait::until(wait::PATIENCE, || {
        caller
            .waiting()
            .into_iter()
            .find(|reply| reply.status() == Some(200))
    });
    caller.note(&answered.expect("the call is answered"));
    caller.request("call", "ACK", "sip:bob@test.lan", &[]).unwrap();
    let ack = callee.receive(wait::PATIENCE).expect("the ACK");
    assert_eq!(ack.method(), "ACK");
    caller.request("call", "BYE", "sip:bob@test.lan", &[]).unwrap();
    let bye = callee.receive(wait::PATIENCE).expect("the BYE");
    assert_eq!(bye.method(), "BYE");
    callee.reply(&bye, "200 OK", &[]).unwrap();
    let ended = caller.receive(wait::PATIENCE).expect("the end");
    assert_eq!(ended.status(), Some(200));
}
