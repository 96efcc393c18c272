//! Commands that call the daemon, here a socket that answers from a table.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;
use serde_json::json;

use super::home::Home;

/// Calls received, as method and parameters.
type Calls = Arc<Mutex<Vec<String>>>;

/// Listens at the home's control socket until the test ends.
fn serve(home: &Home) -> Calls {
    let listener = UnixListener::bind(home.path("control.sock")).unwrap();
    let calls = Calls::default();
    let seen = calls.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let call: Value = serde_json::from_slice(&body).unwrap();
            let method = call["method"].as_str().unwrap();
            seen.lock().unwrap().push(format!("{method} {}", call["params"]));
            let reply = match answer(method, &call["params"]) {
                Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": 1 }),
                Err((code, message)) => {
                    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": 1 })
                }
            };
            // In two chunks, as a long answer comes.
            let text = reply.to_string();
            let (a, b) = text.split_at(text.len() / 2);
            let http = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
                a.len(),
                b.len()
            );
            let _ = reader.into_inner().write_all(http.as_bytes());
        }
    });
    calls
}

fn contact(address: &str) -> Value {
    json!({"Contact": {"Address": address, "Expires": 300, "Q": -1, "Call-ID": "c", "CSeq": 1, "User-Agent": "ua",
        "Received": "[not set]", "Path": "[not set]", "State": "CS_NEW", "Flags": 0, "CFlags": 0, "Socket": "[not set]",
        "Methods": 0, "Ruid": "r", "Instance": "[not set]", "Reg-Id": 0, "Server-Id": 0, "Tcpconn-Id": -1,
        "Keepalive": 0, "Last-Keepalive": 0, "KA-Roundtrip": 0, "Last-Modified": 0}})
}

fn answer(method: &str, params: &Value) -> Result<Value, (i32, &'static str)> {
    Ok(match method {
        "core.version" => json!("proxyd 1.0"),
        "core.uptime" => json!({"now": "n", "up_since": "u", "uptime": 7}),
        "core.psx" => json!([{"IDX": 0, "PID": 7, "DSC": "main"}]),
        "core.echo" => params.clone(),
        "core.explain" => {
            json!({"source": params[1], "received_at": "udp:127.0.0.1:5060", "omitted": 0, "end": "exit",
            "steps": [{"file": "a.cfg", "line": 7, "depth": 1, "text": "if ($rU == 1) exit;", "what": "condition",
                "result": "true", "values": {"$rU": "1"}}],
            "sent": [{"kind": "relay", "line": "INVITE sip:b@192.0.2.2 SIP/2.0", "to": "udp:192.0.2.2:5060", "from": null,
                "message": params[0]}]})
        }
        "stats.get_statistics" => json!(["sl:200_replies = 3"]),
        "system.listMethods" => json!(["core.version", "ul.dump"]),
        "permissions.addressReload" => json!("Reload OK"),
        "permissions.addressDump" => {
            json!([{"table": 1, "group": 200, "item": {"ip": "10.0.0.1", "port": 0, "tag": "t"}}])
        }
        "permissions.subnetDump" => {
            json!([{"id": 0, "group": 1, "item": {"ip": "10.1.0.0", "mask": 16, "port": 0, "tag": ""}}])
        }
        "dispatcher.list" => json!({"NRSETS": 1, "RECORDS": [{"SET": {"ID": 1, "TARGETS": [
            {"DEST": {"URI": "sip:a", "FLAGS": "AX", "PRIORITY": 0, "ATTRS": {"BODY": "w=1"}}}]}}]}),
        "dispatcher.reload" => return Err((500, "no")),
        "ul.dump" if params == &json!(["brief"]) => {
            json!({"Domains": [{"Domain": {"Domain": "location", "Size": 1, "AoRs": [{"AoR": "a"}], "Stats": {"Records": 1, "Max-Slots": 1}}}]})
        }
        "ul.dump" => {
            let aors: Vec<Value> = (0..1200)
                .map(|n| json!({"Info": {"AoR": format!("u{n}"), "HashID": 1, "Contacts": [contact("sip:u@192.0.2.1")]}}))
                .collect();
            json!({"Domains": [{"Domain": {"Domain": "location", "Size": 1, "AoRs": aors, "Stats": {"Records": 1200, "Max-Slots": 1}}},
                {"Domain": {"Domain": "aliases", "Size": 1, "AoRs": [], "Stats": {"Records": 0, "Max-Slots": 0}}}]})
        }
        "ul.lookup" if params[1] == "alice" => {
            json!({"AoR": "alice", "Contacts": [contact("sip:a@192.0.2.1")]})
        }
        "ul.lookup" if params[1] == "eve" => return Err((500, "Domain missing in AOR")),
        "ul.rm_contact" if params[2] == "sip:gone@192.0.2.1" => return Err((404, "Contact not found")),
        "ul.lookup" => return Err((500, "AOR not found in location table")),
        "ul.add" | "ul.rm" | "ul.rm_contact" | "core.kill" => json!({}),
        _ => return Err((-32601, "Method not found")),
    })
}

#[test]
fn without_a_daemon() {
    let home = Home::new();
    for line in [
        "ps",
        "ul show",
        "ul.dump",
        "rpc core.version",
        "address reload",
        "reload",
        "online",
    ] {
        home.run(line)
            .fails(5, "proxyd is not running: no control socket at");
    }
    drop(UnixListener::bind(home.path("control.sock")).unwrap());
    home.run("ps").fails(5, "nobody listens at");
    home.run("address add 1 10.0.0.1").ok();
}

#[test]
fn calls_and_their_answers() {
    let home = Home::new();
    let calls = serve(&home);
    let table = [
        ("version", "proxyd\tproxyd 1.0\n"),
        ("ps", "0\t7\tmain\n"),
        ("uptime", "now\tn\nup_since\tu\nuptime\t7\n"),
        ("stats sl", "sl\t200_replies\t3\n"),
        ("core.echo 1 s:1 a -2 2.5", "1\n1\na\n-2\n2.5\n"),
        ("rpc core.version", "proxyd 1.0\n"),
        ("--output json core.version", "\"proxyd 1.0\"\n"),
        ("core.version --output json", "\"proxyd 1.0\"\n"),
        ("address dump", "200\t10.0.0.1\t\t0\tt\n1\t10.1.0.0\t16\t0\t\n"),
        ("dispatcher dump", "1\tsip:a\tAX\t0\tw=1\n"),
        ("ul show alice", "alice\tsip:a@192.0.2.1\t300\t\t\t\tua\n"),
        ("online", "a\n"),
        ("ul show --brief", "a\n"),
        ("alias show", ""),
        (
            "ul add alice sip:a@192.0.2.1",
            "added sip:a@192.0.2.1 to alice, permanent\n",
        ),
        (
            "ul rm alice sip:a@192.0.2.1",
            "removed sip:a@192.0.2.1 of alice\n",
        ),
        (
            "address add 1 10.0.0.1",
            "added 10.0.0.1/32 to group 1, live now\n",
        ),
        (
            "--no-reload address add 1 10.0.0.2",
            "added 10.0.0.2/32 to group 1\n",
        ),
        ("domain add x.org", "added x.org\n"),
    ];
    for (line, expected) in table {
        let out = home.run(line).ok();
        assert!(out.ends_with(expected), "{line}: {out:?}");
    }
    let calls = calls.lock().unwrap().clone();
    assert!(
        calls.contains(&"core.echo [1,\"1\",\"a\",-2,2.5]".to_owned()),
        "{calls:?}"
    );
    let add = r#"ul.add ["location","alice","sip:a@192.0.2.1",0,1.0,".",0,0,4294967295]"#;
    assert!(calls.contains(&add.to_owned()), "{calls:?}");
    assert_eq!(
        calls
            .iter()
            .filter(|call| call.starts_with("permissions.addressReload"))
            .count(),
        1,
        "{calls:?}"
    );
}

#[test]
fn a_message_explained() {
    let home = Home::new();
    let _calls = serve(&home);
    let file = home.write("invite.sip", "INVITE sip:1@x SIP/2.0\nVia: v\n");
    let file = file.display();
    assert_eq!(
        home.run(&format!("explain {file} --source udp:192.0.2.1:5060 -v"))
            .ok(),
        "from udp:192.0.2.1:5060 at udp:127.0.0.1:5060\na.cfg:7: if ($rU == 1) exit;\n    true; $rU is \"1\"\n\
         ends with exit\nwould relay INVITE sip:b@192.0.2.2 SIP/2.0 to udp:192.0.2.2:5060\n    INVITE sip:1@x SIP/2.0\n    Via: v\n"
    );
    let json: Value = serde_json::from_str(&home.run(&format!("-o json explain {file}")).ok()).unwrap();
    assert_eq!(json["sent"][0]["kind"], "relay");
    home.run("explain nowhere.sip").fails(1, "nowhere.sip");
}

#[test]
fn a_terminal_gets_a_view_that_refreshes() {
    let home = Home::new();
    let calls = serve(&home);
    let shown = home.on_terminal("monitor --interval 1 --count 2", "");
    let (first, second) = shown
        .split_once("\u{1b}[J")
        .expect("a screen that is written over");
    assert!(
        first.starts_with("\u{1b}[H") && first.contains(" uptime "),
        "{first}"
    );
    assert!(
        second.contains(" uptime ") && second.contains("per_second"),
        "{second}"
    );
    let looks = calls
        .lock()
        .unwrap()
        .iter()
        .filter(|call| call.starts_with("core.uptime"))
        .count();
    assert_eq!(looks, 2);
}

#[test]
fn a_shell_completes_and_remembers() {
    let home = Home::new();
    let _calls = serve(&home);
    for line in ["alias_db li\t\n", "ul.du\t brief\n", "add x@example.org y\n"] {
        home.on_terminal("shell", line);
    }
    let past = std::fs::read_to_string(home.path(".proxyctl_history")).unwrap();
    assert_eq!(past, "alias_db list\nul.dump brief\n");
}

#[test]
fn refusals() {
    let home = Home::new();
    let _calls = serve(&home);
    home.run("ul show bob").fails(
        3,
        "no registration of `bob`: `proxyctl online` shows who there is",
    );
    home.run("ping bob").fails(3, "no registration of `bob`");
    home.run("ul rm alice sip:gone@192.0.2.1").fails(
        3,
        "no contact `sip:gone@192.0.2.1` of `alice`: `proxyctl ul show alice` shows what there is",
    );
    home.run("ul show eve")
        .fails(1, "write user@domain, or set SIP_DOMAIN");
    home.run("domain show")
        .fails(3, "the script may not load its module");
    home.run("ul.dunp").fails(3, "did you mean `ul.dump`?");
    home.run("no.such")
        .fails(3, "`proxyctl srv rpclist` lists what there is");
    let run = home.run("--output json rpc no.such");
    let reply: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (run.code, &reply["error"]["code"], &reply["jsonrpc"]),
        (3, &json!(500), &json!("2.0"))
    );
    let run = home.run("dispatcher add 1 sip:192.0.2.1");
    assert!(
        run.err.contains("saved, but the daemon did not reload it"),
        "{run:?}"
    );
    run.ok();
}

#[test]
fn a_site_is_reloaded_once_and_waited_for() {
    let home = Home::new();
    home.write(
        "site.yaml",
        "addresses: [{group: 1, address: 10.0.0.1}, {group: 1, address: 10.0.0.2}]\nsubscribers: [{user: a@x.org, password: p}]\n",
    );
    home.run("apply -f site.yaml --wait 0").fails(
        5,
        "added 3, changed 0, removed 0 in the database, but the daemon does not serve it yet: proxyd is not running",
    );
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| home.run("apply -f site.yaml --wait 60"));
        let calls = serve(&home);
        (waiting.join().unwrap(), calls)
    });
    let (run, calls) = waiting;
    assert_eq!(run.ok(), "nothing to change\n");
    let told = || std::mem::take(&mut *calls.lock().unwrap());
    assert_eq!(told(), ["permissions.addressReload []", "core.version []"]);
    home.write(
        "site.yaml",
        "addresses: [{group: 1, address: 10.0.0.3}, {group: 1, address: 10.0.0.4}]\n",
    );
    let said = home.run("apply -f site.yaml --prune").ok();
    assert!(
        said.ends_with("added 2, changed 0, removed 2, live now\n"),
        "{said}"
    );
    assert_eq!(told(), ["permissions.addressReload []"]);
    home.run("apply -f site.yaml --prune").ok();
    home.run("apply -f site.yaml --prune --dry-run").ok();
    assert_eq!(told(), [""; 0]);
}

#[test]
fn a_dump_in_every_form() {
    let home = Home::new();
    let _calls = serve(&home);
    let plain = home.run("ul show").ok();
    assert_eq!(plain.lines().count(), 1200);
    let csv = home.run("-o csv ul dump").ok();
    assert_eq!(csv.lines().count(), 1201);
    let json: Value = serde_json::from_str(&home.run("-o json ul show").ok()).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(1200));
    assert_eq!(json[1199]["aor"], "u1199");
    let yaml = home.run("-o yaml ul show").ok();
    assert_eq!(
        yaml.lines().filter(|line| line.starts_with("- aor: ")).count(),
        1200
    );
    assert_eq!(home.run("-o table ul show").ok().lines().count(), 1204);
    let whole: Value = serde_json::from_str(&home.run("-o json ul.dump").ok()).unwrap();
    assert_eq!(whole["Domains"][0]["Domain"]["AoRs"][7]["Info"]["AoR"], "u7");
}

#[test]
fn a_socket_for_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let _calls = serve(&home);
    std::fs::set_permissions(home.path("control.sock"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let run = home.run("ps");
    // The superuser may connect where nobody may.
    if run.code != 0 {
        run.fails(5, "no permission for the control socket");
    }
}
