//! Who may use the control sockets, what is written down about it, and that no client can stall or end the daemon.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::thread;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::subject::built;
use tests::ua::Transport;
use tests::ua::Ua;
use tests::wait;

/// More connections than are served at once.
const MANY: usize = 2_000;

/// A daemon with every transport of the control plane open.
struct House {
    server: Server,
    site: Site,
    folder: TempDir,
}

impl House {
    fn open(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:///{}", folder.path().join("test.db").display());
        let created = std::process::Command::new(built("t-dbctl"))
            .args(["--quiet", "--db-url", &database, "create", "--all"])
            .status();
        assert!(created.unwrap().success());
        let site = Site::new();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let launch = Launch {
            script: Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/clients/clients.cfg"),
            listen: site.listen().into_iter().take(2).collect(),
            defines: vec![
                format!("DBURL=\"{database}\""),
                format!("CTL=\"unix:{}\"", path("ctl")),
            ],
            options: options
                .iter()
                .map(|option| option.replace("FOLDER", &folder.path().display().to_string()))
                .collect(),
            folder: Some(folder.path().join("server")),
            ..Launch::default()
        };
        let server = Server::start(Subject::Proxyd, &launch).unwrap_or_else(|error| panic!("{error}"));
        let house = Self { server, site, folder };
        let mut sockets = vec![house.control()];
        if options.contains(&"--monitor-socket") {
            sockets.push(house.monitor());
        }
        // They open one after the other, behind those of SIP.
        for socket in sockets {
            let accepts = || UnixStream::connect(&socket).ok();
            assert!(
                wait::until(wait::PATIENCE, accepts).is_some(),
                "{}",
                house.server.log()
            );
        }
        house
    }

    fn monitor(&self) -> PathBuf {
        self.folder.path().join("monitor.sock")
    }

    fn control(&self) -> PathBuf {
        self.server.run_folder().join("control.sock")
    }

    /// It still answers calls and requests.
    fn is_well(&mut self) {
        assert!(self.server.is_alive(), "{}", self.server.log());
        let answer = wait::until(wait::PATIENCE, || {
            self.server.rpc("core.echo", &json!(["a"])).ok()
        });
        assert_eq!(answer, Some(json!(["a"])), "{}", self.server.log());
        let mut phone = Ua::open(
            "alice",
            Transport::Udp,
            self.site.user_agent(false),
            self.site.server,
            "test.lan",
        )
        .unwrap();
        phone.request("o", "OPTIONS", "sip:test.lan", &[]).unwrap();
        let reply = phone.receive(wait::PATIENCE).expect("a reply");
        assert_eq!(reply.status(), Some(200));
    }
}

/// Calls a method over a socket and returns the whole reply.
fn call(socket: &Path, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).to_string();
    // HTTP/1.0 knows no chunks.
    let answer = exchange(socket, &post(&body).replace("HTTP/1.1", "HTTP/1.0"));
    let (_, json) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn post(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn exchange(socket: &Path, text: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    // A server that has heard enough does not read the rest.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn sockets_have_the_mode_and_owner_asked_for() {
    let user = fs::metadata("/proc/self").unwrap().uid();
    let group = fs::metadata("/proc/self").unwrap().gid();
    let house = House::open(&[
        "--control-mode",
        "0600",
        "--control-user",
        &user.to_string(),
        "--control-group",
        &group.to_string(),
        "--monitor-socket",
        "FOLDER/monitor.sock",
        "--monitor-mode",
        "0666",
    ]);
    let of = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.mode() & 0o777, found.uid(), found.gid())
    };
    assert_eq!(of(&house.control()), (0o600, user, group));
    assert_eq!(of(&house.monitor()), (0o666, user, group));
}

#[test]
fn a_group_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(built("t-proxyd"))
        .args([
            "-DD",
            "-E",
            "-l",
            &Site::new().listen()[0],
            "--control-group",
            "no-such-group-here",
        ])
        .arg("--home")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("`no-such-group-here` is not in /etc/group"),
        "{said}"
    );
}

#[test]
fn a_socket_for_monitoring_only_reads() {
    let house = House::open(&["--monitor-socket", "FOLDER/monitor.sock"]);
    let monitor = house.monitor();
    let table = [
        ("core.version", json!([]), true),
        ("ul.dump", json!([]), true),
        ("stats.get_statistics", json!(["all"]), true),
        ("system.listMethods", json!([]), true),
        (
            "ul.add",
            json!(["location", "a", "sip:a@b", 0, 1, ".", 0, 0, 0]),
            false,
        ),
        ("core.kill", json!([]), false),
        ("core.arg", json!([]), false),
        ("htable.sets", json!(["a", "k", "v"]), false),
        ("no.such", json!([]), false),
    ];
    for (method, params, is_allowed) in table {
        let reply = call(&monitor, method, &params);
        let code = reply.pointer("/error/code").and_then(Value::as_i64);
        assert_eq!(code, (!is_allowed).then_some(403), "{method}: {reply}");
    }
    let batch = exchange(
        &monitor,
        &post(
            r#"[{"jsonrpc":"2.0","method":"core.kill","id":1},{"jsonrpc":"2.0","method":"core.echo","id":2}]"#,
        ),
    );
    assert!(batch.contains("403") && batch.contains("\"id\":2"), "{batch}");
    let mut house = house;
    house.is_well();

    let house = House::open(&[
        "--monitor-socket",
        "FOLDER/monitor.sock",
        "--monitor-methods",
        "ul.*,core.version",
    ]);
    let monitor = house.monitor();
    assert!(call(&monitor, "ul.flush", &json!([])).get("result").is_some());
    assert_eq!(call(&monitor, "core.uptime", &json!([]))["error"]["code"], 403);
}

#[test]
fn changes_are_written_down_with_their_caller() {
    let house = House::open(&[]);
    house.server.rpc("ul.dump", &json!([])).unwrap();
    house
        .server
        .rpc("htable.sets", &json!(["a", "key", "value", "secret"]))
        .unwrap();
    let _ = house
        .server
        .rpc("htable.sets", &json!(["none", "key\n", "value"]));
    assert!(house.server.await_log("rpc htable.sets(\"none\""));
    let log = house.server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("rpc ")).collect();
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let caller = format!("by uid {uid}, gid ");
    let own = format!("pid {} over http: ", std::process::id());
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains("htable.sets(\"a\", \"key\", \"value\", …)"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("htable.sets(\"none\", \"key\\n\", \"value\")"),
        "{}",
        lines[1]
    );
    for line in &lines {
        assert!(line.contains(&caller) && line.contains(&own), "{line}");
    }
    assert!(lines[0].ends_with("done") && lines[1].contains("500"), "{log}");

    let datagram = UnixDatagram::bind(house.folder.path().join("own")).unwrap();
    let flush = r#"{"method":"htable.flush","params":["a"],"id":1}"#;
    let socket = house.server.run_folder().join("kamailio_rpc.sock");
    datagram.send_to(flush.as_bytes(), socket).unwrap();
    let kamcmd = std::process::Command::new("kamcmd")
        .arg("-s")
        .arg(format!("unix:{}", house.folder.path().join("ctl").display()))
        .args(["htable.flush", "b"])
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut kamcmd = kamcmd.unwrap();
    assert!(kamcmd.wait().unwrap().success());
    for (table, process, transport) in [
        ("a", std::process::id(), "datagram"),
        ("b", kamcmd.id(), "binrpc"),
    ] {
        assert!(house.server.await_log(&format!("rpc htable.flush(\"{table}\")")));
        let log = house.server.log();
        let line = log
            .lines()
            .find(|line| line.contains(&format!("flush(\"{table}\")")));
        let own = format!("pid {process}");
        assert!(
            line.is_some_and(|line| [&*caller, &own, transport].iter().all(|word| line.contains(word))),
            "{log}"
        );
    }
}

#[test]
fn garbage_and_halves_do_no_harm() {
    let mut house = House::open(&[]);
    let control = house.control();
    let huge = "x".repeat(2 << 20);
    let deep = "[".repeat(100_000);
    let calls: Vec<String> = (0..2_000)
        .map(|id| format!(r#"{{"jsonrpc":"2.0","method":"core.echo","id":{id}}}"#))
        .collect();
    let requests = [
        "\0\0\0\0".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nX: {huge}"),
        post(&huge),
        post(&deep),
        post("{\"jsonrpc\":6}"),
        post("{\"jsonrpc\":\"2.0\",\"method\":7,\"id\":{}}"),
        post("null"),
        post(&format!("[{}]", calls.join(","))),
        post("{\"jsonrpc\":\"2.0\",\"method\":\"core.echo\",\"params\":\"x\",\"id\":1}"),
    ];
    for request in &requests {
        let start: String = request.chars().take(40).collect();
        let answer = exchange(&control, request);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 ") && !answer.contains("\"result\""),
            "{start:?}: {answer}"
        );
    }
    // Half a request, and a body that never ends, held open while others are served.
    let halves: Vec<UnixStream> = [
        "POST / HT",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ]
    .iter()
    .map(|half| {
        let mut stream = UnixStream::connect(&control).unwrap();
        stream.write_all(half.as_bytes()).unwrap();
        stream
    })
    .collect();
    house.is_well();
    drop(halves);

    let fifo = house.server.run_folder().join("kamailio_rpc.fifo");
    let datagram = house.server.run_folder().join("kamailio_rpc.sock");
    let ctl = house.folder.path().join("ctl");
    let nameless = UnixDatagram::unbound().unwrap();
    let texts = [
        "{\"jsonrpc\":6}",
        "{",
        "}}}}",
        "\u{0}",
        "[[[[",
        "{\"method\":\"core.echo\",\"reply_name\":\"../x\"}",
        &deep,
    ];
    for text in texts {
        fs::write(&fifo, text).unwrap();
        nameless
            .send_to(&text.as_bytes()[..text.len().min(60_000)], &datagram)
            .unwrap();
        let mut binrpc = UnixStream::connect(&ctl).unwrap();
        let _ = binrpc.write_all(text.as_bytes());
        let mut binrpc = UnixStream::connect(&ctl).unwrap();
        // A packet that promises four gigabytes.
        let _ = binrpc.write_all(b"\xa1\x1f\xff\xff\xff\xff\0\0\0\0");
        let mut http = TcpStream::connect(house.site.server).unwrap();
        http.write_all(post(text).replace("POST / ", "POST /RPC ").as_bytes())
            .unwrap();
        http.shutdown(Shutdown::Write).unwrap();
    }
    // What the braces left open in the FIFO is left out, and the call behind it is read.
    fs::write(&fifo, r#"{"method":"htable.sets","params":["a","fifo","v"]}"#).unwrap();
    assert!(house.server.await_log("rpc htable.sets(\"a\", \"fifo\", \"v\")"));
    house.is_well();
}

#[test]
fn connections_are_bounded() {
    let mut house = House::open(&[]);
    let sockets = [house.control(), house.folder.path().join("ctl")];
    for socket in &sockets {
        let held: Vec<UnixStream> = (0..MANY)
            .filter_map(|_| UnixStream::connect(socket).ok())
            .collect();
        let open = fs::read_dir(format!("/proc/{}/fd", house.server.pid()))
            .unwrap()
            .count();
        assert!(
            open < MANY / 2,
            "{open} descriptors for {} connections",
            held.len()
        );
        // Those that are silent make room for those that are not.
        assert_eq!(
            call(&house.control(), "core.echo", &json!(["b"]))["result"],
            json!(["b"])
        );
        let kamcmd = std::process::Command::new("kamcmd")
            .arg("-s")
            .arg(format!("unix:{}", house.folder.path().join("ctl").display()))
            .args(["core.echo", "c"])
            .output();
        assert_eq!(kamcmd.unwrap().stdout, b"c\n");
        drop(held);
        house.is_well();
    }
}

#[test]
fn a_reader_that_stops_holds_nobody() {
    let mut house = House::open(&[]);
    for n in 0..2_000 {
        let params = json!(["a", format!("key{n}"), "v".repeat(200)]);
        house.server.rpc("htable.sets", &params).unwrap();
    }
    let body = r#"{"jsonrpc":"2.0","method":"htable.dump","params":["a"],"id":1}"#;
    let stalled: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = UnixStream::connect(house.control()).unwrap();
            stream.write_all(post(body).as_bytes()).unwrap();
            stream
        })
        .collect();
    house.is_well();
    house
        .server
        .rpc("htable.sets", &json!(["a", "key1", "new"]))
        .unwrap();
    drop(stalled);
}

/// Calls everything the daemon lists, with parameters of several kinds: it may refuse, but it must go on.
#[test]
fn every_method_stands_any_parameters() {
    let mut house = House::open(&[]);
    let methods = house.server.rpc("system.listMethods", &json!([])).unwrap();
    let kinds = [
        json!([]),
        json!(["a", "b", "c", "d", "e", "f"]),
        json!([-1, 0, 1.5, 99_999_999_999_i64, true, null]),
        json!([[], {}, "", "\u{0}", "é\r\n", "x".repeat(5_000)]),
    ];
    let mut called = 0;
    for method in methods.as_array().unwrap().iter().filter_map(Value::as_str) {
        // One ends the daemon, as it should, the other waits for a message.
        if matches!(method, "core.kill" | "core.explain_live") {
            continue;
        }
        for params in &kinds {
            let reply = call(&house.control(), method, params);
            assert!(
                reply.get("result").is_some() || reply.pointer("/error/message").is_some(),
                "{method} {params}: {reply}"
            );
            called += 1;
        }
    }
    assert!(called > 400, "{called}");
    assert!(!house.server.log().contains("BUG"), "{}", house.server.log());
    house.is_well();
}

/// Eight shells add, reload and remove while phones register: nothing is lost and nobody sees an error.
#[test]
fn shells_and_phones_at_once() {
    let mut house = House::open(&[]);
    let url = format!("sqlite:///{}", house.folder.path().join("test.db").display());
    let control = house.control();
    let proxyctl = |words: &[&str]| {
        let output = std::process::Command::new(built("t-proxyctl"))
            .args(["--db-url", &url, "--socket"])
            .arg(&control)
            .args(words)
            .env("HOME", house.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{words:?}: {}",
            crate::support::words(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let (stop, site) = (std::sync::atomic::AtomicBool::new(false), &house.site);
    let registered = thread::scope(|scope| {
        let phones: Vec<_> = (0..2)
            .map(|phone| {
                let stop = &stop;
                scope.spawn(move || {
                    let name = format!("phone{phone}");
                    let address = site.user_agent(false);
                    let mut phone =
                        Ua::open(&name, Transport::Udp, address, site.server, "test.lan").unwrap();
                    let mut count = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let to = format!("<{}>", phone.aor());
                        phone
                            .request(
                                &format!("r{count}"),
                                "REGISTER",
                                "sip:test.lan",
                                &[("To".to_owned(), to)],
                            )
                            .unwrap();
                        let reply = phone.receive(wait::PATIENCE).expect("a reply");
                        assert_eq!(reply.status(), Some(200), "{reply:#?}");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let shells: Vec<_> = (0..8)
            .map(|shell| {
                let proxyctl = &proxyctl;
                scope.spawn(move || {
                    for round in 0..5 {
                        let user = format!("user{shell}-{round}@test.lan");
                        proxyctl(&["add", &user, "secret"]);
                        let address = format!("10.{shell}.{round}.1");
                        proxyctl(&["address", "add", "7", &address]);
                        proxyctl(&["address", "reload"]);
                        if round % 2 == 1 {
                            proxyctl(&["rm", &user]);
                            proxyctl(&["address", "rm", "7", &address]);
                        }
                    }
                })
            })
            .collect();
        for shell in shells {
            shell.join().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        phones
            .into_iter()
            .map(|phone| phone.join().unwrap())
            .sum::<usize>()
    });
    assert!(registered > 10, "{registered}");
    assert_eq!(proxyctl(&["show"]).lines().count(), 8 * 3);
    assert_eq!(proxyctl(&["address", "show"]).lines().count(), 8 * 3);
    let dump = house.server.rpc("permissions.addressDump", &json!([])).unwrap();
    assert_eq!(
        dump.as_array().map(Vec::len),
        Some(8 * 3),
        "the daemon has what the database has"
    );
    house.is_well();
}
