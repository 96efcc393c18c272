//! Debian's sipp as a foreign user agent: registers with digest, calls, cancels, waits in vain, is refused.

use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use tests::subject::is_open;
use tests::wait;

use crate::support::House;

const PASSWORD: &str = "s3cret phrase";

#[test]
fn registers_with_digest() {
    let house = open();
    register(&house, "bob", "192.0.2.7:5060");
    let answer = house
        .server
        .rpc("ul.lookup", &serde_json::json!(["location", "bob"]))
        .unwrap();
    assert_eq!(
        answer.pointer("/Contacts/0/Contact/Address"),
        Some(&"sip:bob@192.0.2.7:5060".into()),
        "{answer:#}"
    );
}

#[test]
fn a_call_is_answered_and_ended() {
    play("answer", "call");
}

#[test]
fn a_call_is_cancelled() {
    play("ring", "cancel");
}

#[test]
fn a_call_is_not_answered() {
    play("ring", "no_answer");
}

#[test]
fn a_call_finds_the_line_busy() {
    play("refuse", "busy");
}

fn open() -> House {
    House::open(
        &["WITH_AUTH", "WITH_SHORT_TIMERS"],
        &[("alice", PASSWORD), ("bob", PASSWORD)],
    )
}

/// Lets one sipp call another through the server.
fn play(called: &str, caller: &str) {
    let house = open();
    let (phone, address) = callee(&house, called);
    register(&house, "bob", &address);
    let caller = sipp(
        &house,
        caller,
        &["-s", "alice", "-au", "alice", "-key", "called", "bob"],
    );
    finish(&house, caller, "the caller");
    finish(&house, phone, "the called");
}

fn register(house: &House, user: &str, contact: &str) {
    let child = sipp(
        house,
        "register",
        &["-s", user, "-au", user, "-key", "contact", contact],
    );
    finish(house, child, "the registration");
}

/// Starts a phone and waits until it listens.
fn callee(house: &House, scenario: &str) -> (Child, String) {
    let port = {
        let socket = std::net::UdpSocket::bind((house.site.server.ip(), 0)).unwrap();
        socket.local_addr().unwrap().port()
    };
    let address = format!("{}:{port}", house.site.server.ip());
    let child = sipp(house, scenario, &["-p", &port.to_string()]);
    let open = wait::until(wait::PATIENCE, || {
        is_open(&format!("udp:{address}")).then_some(())
    });
    assert!(open.is_some(), "sipp does not listen on {address}");
    (child, address)
}

fn sipp(house: &House, scenario: &str, more: &[&str]) -> Child {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("suite/sipp/{scenario}.xml"));
    let errors = house.folder.path().join(format!("{scenario}.log"));
    let mut command = Command::new("sipp");
    command
        .arg("-sf")
        .arg(file)
        .args(["-i", &house.site.server.ip().to_string()])
        .args(more);
    command.args(["-ap", PASSWORD]);
    command.args([
        "-m",
        "1",
        "-nostdin",
        "-timeout",
        "20s",
        "-timeout_error",
        "-trace_err",
    ]);
    command
        .arg("-error_file")
        .arg(errors)
        .arg(house.site.server.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir(house.folder.path());
    command
        .env("TERM", "dumb")
        .spawn()
        .expect("sipp is installed (Debian: sip-tester)")
}

fn finish(house: &House, mut child: Child, who: &str) {
    let status = wait::until(wait::PATIENCE * 3, || child.try_wait().ok().flatten());
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let mut errors = String::new();
    for entry in std::fs::read_dir(house.folder.path()).unwrap().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "log")
        {
            errors.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    let fine = status.is_some_and(|status| status.success());
    assert!(
        fine,
        "{who}: sipp ended with {status:?}\n{errors}\n--- log\n{}",
        house.server.log()
    );
}
