//! JSON-RPC as scripts speak it: curl to the SIP port, datagrams, the FIFO by hand; curl to the control socket, which Kamailio lacks.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::Value;
use serde_json::json;
use tests::wait;

use super::Like::Ends;
use super::Like::Names;
use super::Like::Numbers;
use super::Like::Same;
use super::Line;
use super::Outcome;
use super::Target;
use super::compare;
use super::targets;

/// Requests; `METHOD [params]` is short for a whole call.
const LINES: &[Line] = &[
    ("core.version", Ends),
    ("core.uptime", Numbers),
    ("core.echo '[\"a\",1]'", Same),
    ("core.psx", Names),
    ("system.listMethods", Ends),
    ("stats.get_statistics '[\"usrloc:\"]'", Same),
    (
        "ul.add '[\"location\",\"eve\",\"sip:eve@192.0.2.5\",300,1.0,\".\",0,0,4095]'",
        Same,
    ),
    ("ul.lookup '[\"location\",\"eve\"]'", Names),
    ("ul.rm '[\"location\",\"eve\"]'", Same),
    ("ul.rm '[\"location\",\"eve\"]'", Same),
    ("htable.sets '[\"a\",\"k\",\"line\\nbreak\"]'", Same),
    ("htable.get '[\"a\",\"k\"]'", Same),
    ("htable.delete '[\"a\",\"k\"]'", Same),
    ("no.such", Same),
    ("core.echo '{\"first\":\"a\",\"second\":\"b\"}'", Same),
];

#[test]
fn json_is_the_same_over_every_transport() {
    let targets = targets(None);
    compare(&targets, LINES, over_http);
    compare(&targets, LINES, over_datagram);
    compare(&targets, LINES, over_fifo);
}

#[test]
fn curl_speaks_to_the_control_socket() {
    let [_, target] = targets(None);
    let call = call(&["core.echo".to_owned(), "[7]".to_owned()]);
    let socket = target.server.run_folder().join("control.sock");
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "10", "--unix-socket"])
            .arg(&socket)
            .args(arguments)
            .output()
            .expect("curl is installed");
        String::from_utf8(output.stdout).expect("text")
    };
    let answer: Value = serde_json::from_str(&curl(&["-d", &call, "http://localhost/"])).expect("JSON");
    assert_eq!(answer, json!({"jsonrpc": "2.0", "result": ["7"], "id": 1}));
    assert!(curl(&["http://localhost/health"]).contains("ok"));
    assert!(curl(&["http://localhost/metrics"]).contains("proxyd_"));
}

fn call(line: &[String]) -> String {
    let params: Value = line.get(1).map_or(json!([]), |text| {
        serde_json::from_str(text).expect("JSON in the table")
    });
    json!({"jsonrpc": "2.0", "method": line[0], "params": params, "id": 1}).to_string()
}

fn over_http(target: &Target, line: &[String]) -> Outcome {
    let url = format!("http://{}/RPC", target.site.server);
    let words = ["--silent", "--max-time", "10", "-d", &call(line), &url].map(str::to_owned);
    target.run("curl", &words)
}

fn over_datagram(target: &Target, line: &[String]) -> Outcome {
    let own = tempfile::tempdir_in(target.folder.path()).expect("a folder of our own");
    let socket = UnixDatagram::bind(own.path().join("s")).expect("a new socket");
    socket
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("a socket option");
    socket
        .send_to(call(line).as_bytes(), target.datagram())
        .expect("somebody listens");
    let mut answer = vec![0; 84_000];
    let length = socket.recv(&mut answer).expect("an answer");
    Outcome {
        text: String::from_utf8_lossy(&answer[..length]).into_owned(),
        code: None,
    }
}

fn over_fifo(target: &Target, line: &[String]) -> Outcome {
    let name = format!("proxyd_test_{}_{:?}", std::process::id(), target.server.subject());
    let reply = std::path::Path::new("/tmp").join(&name);
    let _ = fs::remove_file(&reply);
    let made = Command::new("mkfifo").args(["-m", "666"]).arg(&reply).status();
    assert!(made.expect("mkfifo").success());
    let mut whole: Value = serde_json::from_str(&call(line)).expect("a call");
    whole["reply_name"] = json!(name);
    fs::write(target.fifo(), whole.to_string()).expect("somebody reads");
    let text = fs::read_to_string(&reply).expect("an answer");
    let _ = fs::remove_file(&reply);
    Outcome { text, code: None }
}
