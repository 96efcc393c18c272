//! More than a server can handle: what is new is refused, what has begun goes on, and afterwards all is as before.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::json;
use tests::subject::Subject;
use tests::subject::signal;
use tests::wait;

use crate::support::House;

/// As many as fill the receive queue that proxyd asks for, whatever the kernel grants of it.
const FLOOD: usize = 8000;

const SCRIPT: &str = r#"
loadmodule "sl"
request_route { sl_send_reply("200", "OK"); }
"#;

fn request(method: &str, branch: &str, to_tag: &str) -> String {
    format!(
        "{method} sip:test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@test>;tag=f\r\nTo: <sip:bob@test>{to_tag}\r\nCall-ID: {branch}\r\nCSeq: 1 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn new_requests_are_refused_while_the_queue_is_long() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open_text(SCRIPT, &[]);
    let phone = UdpSocket::bind(house.site.user_agent(false)).unwrap();
    phone.connect(house.site.server).unwrap();
    phone.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let pid = house.server.pid().to_string();
    signal("STOP", &pid);
    phone.send(request("BYE", "begun", ";tag=t").as_bytes()).unwrap();
    for n in 0..FLOOD {
        phone
            .send(request("OPTIONS", &format!("new{n}"), "").as_bytes())
            .unwrap();
    }
    signal("CONT", &pid);
    let (mut refused, mut ended) = (0, false);
    let mut buffer = [0; 4096];
    let recovered = wait::until(wait::PATIENCE, || {
        phone.send(request("OPTIONS", "probe", "").as_bytes()).unwrap();
        if !ended {
            // the flood's replies may leave no room for its own in the phone's buffer
            phone.send(request("BYE", "begun", ";tag=t").as_bytes()).unwrap();
        }
        while let Ok(length) = phone.recv(&mut buffer) {
            let reply = String::from_utf8_lossy(&buffer[..length]);
            let is_ok = reply.starts_with("SIP/2.0 200 ");
            if reply.starts_with("SIP/2.0 503 ") {
                assert!(reply.contains("\r\nRetry-After: "), "{reply}");
                refused += 1;
            }
            assert!(is_ok || !reply.contains("Call-ID: begun"), "{reply}");
            ended |= is_ok && reply.contains("Call-ID: begun");
            if ended && is_ok && reply.contains("Call-ID: probe") {
                return Some(());
            }
        }
        None
    });
    assert!(recovered.is_some(), "{}", house.server.log());
    assert!(refused > 0, "nothing was refused");
    let counted = house
        .server
        .rpc("stats.fetch", &json!(["core:overload"]))
        .unwrap();
    assert!(counted.to_string().contains("overload"), "{counted}");
    assert!(!counted.to_string().contains("\"0\""), "{counted}");
    assert!(house.server.log().contains("overload: "));
}
