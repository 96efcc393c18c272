//! `proxyctl trace`: live messages in every form, without credentials, and without harm by who does not read.

use std::path::PathBuf;
use std::process::Output;
use std::thread;

use serde_json::Value;
use tests::subject::Subject;
use tests::ua::Ua;
use tests::wait;

use crate::support::House;
use crate::support::tool;
use crate::support::words;

/// Follows until `--count` is reached; the phone registers until then.
fn traced(house: &House, phone: &mut Ua, arguments: &[&str]) -> Output {
    let socket = socket(house);
    let line = [&["--socket", &socket, "trace"], arguments].concat();
    thread::scope(|scope| {
        let told = scope.spawn(|| tool("t-proxyctl", house.folder.path(), &line));
        // only what comes after the subscription is told
        wait::until(wait::PATIENCE, || {
            register(phone);
            told.is_finished().then_some(())
        });
        told.join().expect("an end")
    })
}

fn socket(house: &House) -> String {
    let socket: PathBuf = house.server.run_folder().join("control.sock");
    socket.display().to_string()
}

fn register(phone: &mut Ua) {
    let secret = "Digest username=\"alice\", realm=\"test.lan\", response=\"0123456789abcdef\"";
    let to = format!("<{}>", phone.aor());
    let headers = [("To", to.as_str()), ("Authorization", secret)].map(|(n, v)| (n.to_owned(), v.to_owned()));
    phone.request("r", "REGISTER", "sip:test.lan", &headers).unwrap();
    let reply = phone.receive(wait::PATIENCE).expect("a reply");
    assert_eq!(reply.status(), Some(200), "{reply:#?}");
}

#[test]
fn messages_are_told_in_every_form() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open(&[], &[]);
    let mut phone = house.agent("alice");
    let mut said = |form: &str| {
        let output = traced(
            &house,
            &mut phone,
            &[
                "--output",
                form,
                "--quiet",
                "-v",
                "--count",
                "2",
                "method=REGISTER",
                "from=alice",
            ],
        );
        let text = words(&output);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("0123456789abcdef"), "{text}");
        text
    };
    let json = said("json");
    let messages: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    let [request, reply] = messages.as_slice() else {
        panic!("{json}")
    };
    let field = |name: &str| (&request[name], &reply[name]);
    assert_eq!(field("direction"), (&"in".into(), &"out".into()));
    assert_eq!(field("method"), (&"REGISTER".into(), &"REGISTER".into()));
    assert_eq!(field("status"), (&Value::Null, &200.into()));
    assert_eq!(request["call_id"], reply["call_id"]);
    assert_eq!(request["source"], reply["destination"]);
    assert!(
        request["message"]
            .as_str()
            .is_some_and(|text| text.contains("\r\nAuthorization: ***\r\n")),
        "{request:#}"
    );
    for form in ["table", "plain"] {
        let ladder = said(form);
        let lines: Vec<&str> = ladder.lines().collect();
        assert!(lines[0].trim_end().ends_with("proxyd"), "{ladder}");
        assert!(
            lines[1].starts_with("#1 ") && lines[1].contains("alice@"),
            "{ladder}"
        );
        assert!(
            lines[2].contains("REGISTER test.lan") && lines[2].contains("▶│"),
            "{ladder}"
        );
        assert!(ladder.contains("│◀") && ladder.contains(" 200 OK "), "{ladder}");
        assert!(ladder.contains("    Authorization: ***"), "{ladder}");
    }
    let csv = said("csv");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(
        csv.starts_with("time,direction,source,destination,method,"),
        "{csv}"
    );
    let yaml = said("yaml");
    assert_eq!(yaml.lines().filter(|line| *line == "---").count(), 2, "{yaml}");
}

#[test]
fn it_ends_in_time_and_refuses_what_is_no_filter() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open(&[], &[]);
    let socket = socket(&house);
    let say = |arguments: &[&str]| {
        let line = [&["--socket", &socket, "trace"], arguments].concat();
        tool("t-proxyctl", house.folder.path(), &line)
    };
    let output = say(&["--seconds", "1", "from=nobody"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(words(&output).contains("no such message came"), "{output:?}");
    let output = say(&["colour=red"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(words(&output).contains("colour=red"), "{output:?}");
    let absent = tool(
        "t-proxyctl",
        house.folder.path(),
        &["--socket", "nowhere", "trace"],
    );
    assert_eq!(absent.status.code(), Some(5), "{absent:?}");
}
