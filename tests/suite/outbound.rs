//! RFC 5626 at the edge: flows are named in Path, followed, and answered 430 when they are gone; STUN keeps them open.

use std::net::UdpSocket;

use serde_json::json;
use tests::scenario::DOMAIN;
use tests::subject::Subject;
use tests::ua::Transport;
use tests::ua::Ua;
use tests::wait;

use crate::support::House;

const EDGE: &str = r#"
loadmodule "tm"
loadmodule "sl"
loadmodule "pv"
loadmodule "outbound"
loadmodule "rr"
loadmodule "path"
loadmodule "stun"
modparam("outbound", "flow_token_secret", "a secret of this test")
request_route {
    if (method == "REGISTER") {
        add_path();
        $du = "sip:" + $hdr(X-Registrar);
        t_relay();
        exit;
    }
    loose_route();
    switch ($rc) {
        case -2:
            sl_send_reply("403", "Forbidden");
            exit;
        case 2:
            t_relay();
            exit;
    }
    sl_send_reply("404", "Not Found");
}
"#;

#[test]
fn a_flow_leads_to_its_client_until_it_is_gone() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open_text(EDGE, &[]);
    let mut registrar = house.agent("registrar");
    let (server, address) = (house.site.server, house.site.user_agent(false));
    let mut client = Ua::open("alice", Transport::Tcp, address, server, DOMAIN).expect("a free port");
    let contact = format!("<{}>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"", client.contact());
    let extra = [
        ("Contact".to_owned(), contact),
        ("Supported".to_owned(), "path, outbound".to_owned()),
        ("X-Registrar".to_owned(), registrar.address.to_string()),
    ];
    client.request("r", "REGISTER", "sip:test.lan", &extra).unwrap();
    let register = registrar.receive(wait::PATIENCE).expect("the REGISTER");
    let path = register.value("Path").expect("a Path").to_owned();
    assert!(path.contains('@') && path.contains(";ob"), "{path}");
    registrar.reply(&register, "200 OK", &[]).unwrap();
    assert_eq!(
        client.receive(wait::PATIENCE).and_then(|reply| reply.status()),
        Some(200)
    );

    let mut ask = |dialog: &str, route: &str| {
        let route = [("Route".to_owned(), route.to_owned())];
        registrar
            .request(dialog, "OPTIONS", "sip:alice@192.0.2.1", &route)
            .unwrap();
    };
    ask("there", &path);
    let options = client
        .receive(wait::PATIENCE)
        .expect("the request along the flow");
    assert_eq!(options.method(), "OPTIONS");
    client.reply(&options, "200 OK", &[]).unwrap();

    let foreign = path.replacen("sip:", "sip:.", 1);
    ask("unknown", &foreign);
    let tampered = {
        let at = path.find("sip:").expect("a URI") + 4;
        let other = if path[at..].starts_with('A') { "B" } else { "A" };
        format!("{}{other}{}", &path[..at], &path[at + 1..])
    };
    ask("tampered", &tampered);
    let mut statuses = Vec::new();
    wait::until(wait::PATIENCE, || {
        statuses.extend(registrar.waiting().iter().filter_map(|reply| reply.status()));
        (statuses.len() >= 3).then_some(())
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 404]);

    drop(client);
    let closed = || {
        let list = house.server.rpc("core.tcp_list", &json!([])).ok()?;
        list.as_array().is_none_or(Vec::is_empty).then_some(())
    };
    assert!(wait::until(wait::PATIENCE, closed).is_some());
    let route = [("Route".to_owned(), path)];
    registrar
        .request("gone", "OPTIONS", "sip:alice@192.0.2.1", &route)
        .unwrap();
    let reply = registrar.receive(wait::PATIENCE).expect("an answer");
    assert_eq!(reply.status(), Some(430), "{reply:#?}");
}

#[test]
fn stun_is_answered_on_the_sip_port() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open_text(EDGE, &[]);
    let socket = UdpSocket::bind(house.site.user_agent(false)).expect("a free port");
    socket.set_read_timeout(Some(wait::PATIENCE)).expect("a timeout");
    let request = *b"\x00\x01\x00\x00\x21\x12\xa4\x420123456789ab";
    socket.send_to(&request, house.site.server).expect("sent");
    let mut answer = [0; 64];
    let (size, from) = socket.recv_from(&mut answer).expect("an answer");
    assert_eq!((size, from), (32, house.site.server));
    assert_eq!(answer[..2], [1, 1]);
    assert_eq!(answer[4..20], request[4..20]);
    let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
    assert_eq!(
        Ok(port),
        socket.local_addr().map(|address| address.port()).map_err(|_| ())
    );
}
