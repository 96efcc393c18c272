//! What leaves the proxy as an operator or a script wants it: requests of its own, their ACK, `onsend_route`, advertised names.

use std::thread;

use serde_json::Value;
use serde_json::json;
use tests::message::Message;
use tests::subject::Subject;
use tests::ua::Ua;
use tests::wait;

use crate::support::House;

const SCRIPT: &str = r#"
loadmodule "tm"
loadmodule "sl"
loadmodule "pv"
loadmodule "rr"
loadmodule "textops"
loadmodule "xlog"
request_route {
    if ($hdr(X-To) == $null) {
        sl_send_reply("404", "Not Found");
        exit;
    }
    if ($hdr(X-Advertise) != $null) {
        set_advertised_address("$hdr(X-Advertise)");
        set_advertised_port(5099);
    }
    record_route();
    $du = "sip:" + $hdr(X-To);
    t_relay();
}
onsend_route {
    if ($hdr(X-Drop) == $sndto(port)) drop;
    xlog("L_ERR", "onsend $sndto(sproto) $sndto(ip) $sndfrom(port) $snd(len)\n");
}
event_route[tm:local-request] {
    append_hf("X-Own: $rm\r\n");
}
event_route[tm:local-ack-sent] {
    xlog("L_ERR", "acknowledged $rs $cs\n");
}
event_route[sl:local-response] {
    xlog("L_ERR", "answered $rs\n");
}
"#;

/// The next message that is no provisional reply.
fn next(agent: &mut Ua) -> Message {
    let last = || {
        let message = agent.receive(wait::PATIENCE)?;
        (message.status().is_none_or(|status| status >= 200)).then_some(message)
    };
    wait::until(wait::PATIENCE, last).expect("a message")
}

#[test]
fn requests_leave_as_the_script_wants() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open_text(SCRIPT, &[]);
    let (mut alice, mut bob) = (house.agent("alice"), house.agent("bob"));
    let header = |name: &str, value: String| (name.to_owned(), value);
    let to = header("X-To", bob.address.to_string());
    let named = [to.clone(), header("X-Advertise", "sip.test.lan".to_owned())];
    alice.request("a", "OPTIONS", "sip:bob@test.lan", &named).unwrap();
    let options = next(&mut bob);
    let via = options.value("Via").expect("a Via");
    assert!(via.starts_with("SIP/2.0/UDP sip.test.lan:5099;"), "{via}");
    let route = options.value("Record-Route").expect("a Record-Route");
    assert!(route.starts_with("<sip:sip.test.lan:5099;"), "{route}");
    bob.reply(&options, "200 OK", &[]).unwrap();
    let server = house.site.server;
    assert!(
        house
            .server
            .await_log(&format!("onsend udp {} {}", server.ip(), server.port()))
    );

    let dropped = [to, header("X-Drop", bob.address.port().to_string())];
    alice
        .request("b", "OPTIONS", "sip:bob@test.lan", &dropped)
        .unwrap();
    let answers = [next(&mut alice), next(&mut alice)];
    let mut statuses: Vec<_> = answers.iter().filter_map(Message::status).collect();
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        [200, 477],
        "the first goes through, the second is dropped"
    );
    assert!(bob.waiting().is_empty());
    alice.request("c", "OPTIONS", "sip:bob@test.lan", &[]).unwrap();
    assert_eq!(next(&mut alice).status(), Some(404));
    assert!(house.server.await_log("answered 404"));
}

#[test]
fn operators_send_cancel_and_answer() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open_text(SCRIPT, &[]);
    let (mut alice, mut bob) = (house.agent("alice"), house.agent("bob"));
    let (server, to) = (&house.server, bob.address.to_string());
    let headers = "From: <sip:al@test.lan>;tag=x\r\nTo: <sip:bob@test.lan>\r\nCall-ID: own-1\r\n";
    let invite = |method: &str| {
        let params = json!(["INVITE", format!("sip:bob@{to}"), ".", ".", headers]);
        server.rpc(method, &params)
    };
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| invite("tm.t_uac_wait"));
        let invite = next(&mut bob);
        assert_eq!(invite.value("X-Own"), Some("INVITE"));
        bob.reply(&invite, "200 Fine", &[]).unwrap();
        let ack = next(&mut bob);
        assert_eq!((ack.method(), ack.value("CSeq")), ("ACK", Some("10 ACK")));
        asked.join().expect("an answer").expect("a reply")
    });
    assert_eq!((&answer[0], &answer[1]), (&json!(200), &json!("Fine")));
    assert!(server.await_log("acknowledged 200 10"));

    invite("tm.t_uac_start").expect("sent");
    let second = next(&mut bob);
    bob.reply(&second, "180 Ringing", &[]).unwrap();
    let cancelled = || server.rpc("tm.cancel", &json!(["own-1", "10"])).ok();
    assert!(wait::until(wait::PATIENCE, cancelled).is_some());
    let cancel = next(&mut bob);
    assert_eq!(cancel.method(), "CANCEL");
    bob.reply(&cancel, "200 OK", &[]).unwrap();
    bob.reply(&second, "487 Request Terminated", &[]).unwrap();

    let header = ("X-To".to_owned(), bob.address.to_string());
    let call = alice
        .request("call", "INVITE", "sip:bob@test.lan", &[header])
        .unwrap();
    let third = wait::until(wait::PATIENCE, || {
        Some(next(&mut bob)).filter(|m| m.method() == "INVITE")
    });
    assert!(third.is_some());
    let call_id = call.value("Call-ID").expect("a Call-ID");
    let rows = server.rpc("tm.list", &json!([])).expect("transactions");
    let row = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["callid"] == json!(call_id)));
    assert_eq!(row.map(|row| &row["method"]), Some(&json!("INVITE")), "{rows:#}");
    let params = json!([486, "Not now", call_id, "1 INVITE", "t", "X-Why: tea"]);
    let answered: Value = server.rpc("tm.reply_callid", &params).expect("answered");
    assert_eq!(answered, json!({}));
    let reply = next(&mut alice);
    assert_eq!((reply.status(), reply.value("X-Why")), (Some(486), Some("tea")));
}
