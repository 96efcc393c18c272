//! `proxyctl ping` of a registered user: the daemon sends the OPTIONS, over the transport that the phone has.

use std::thread;

use serde_json::Value;
use tests::scenario::DOMAIN;
use tests::subject::Subject;
use tests::ua::Transport;
use tests::ua::Ua;
use tests::wait;

use super::home::Home;
use crate::rpc::register;
use crate::support::House;

#[test]
fn phones_are_asked_over_their_transport() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open(&[], &[]);
    let home = Home::empty();
    for (name, transport, status) in [
        ("alice", Transport::Udp, "200 Here"),
        ("bob", Transport::Tcp, "486 Busy"),
    ] {
        let address = house.site.user_agent(false);
        let mut phone = Ua::open(name, transport, address, house.site.server, DOMAIN).unwrap();
        register(&mut phone);
        let socket = house.server.run_folder().join("control.sock");
        let line = format!("--socket {} -o json ping {name} --timeout 20", socket.display());
        let run = thread::scope(|scope| {
            let asked = scope.spawn(|| home.run(&line));
            let options = phone.receive(wait::PATIENCE).expect("OPTIONS");
            assert_eq!(options.method(), "OPTIONS", "{options:#?}");
            phone.reply(&options, status, &[]).unwrap();
            asked.join().expect("an answer")
        });
        let rows: Value = serde_json::from_str(&run.ok()).unwrap();
        assert_eq!(rows[0]["uri"], phone.contact());
        let (code, reason) = status.split_once(' ').unwrap();
        assert_eq!(rows[0]["status"].to_string(), code);
        assert_eq!(rows[0]["reason"], reason);
    }
}
