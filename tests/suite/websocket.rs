//! SIP over WebSocket (RFC 7118): handshakes that are refused, frames of every kind, bounds, how connections end.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;
use serde_json::json;
use tests::wait;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::client;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::House;

const SCRIPT: &str = r#"
tcp_accept_no_cl=yes
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
modparam("websocket", "ping_application_data", "there?")
modparam("websocket", "keepalive_timeout", KEEPALIVE)
request_route {
    if (method == "MESSAGE") ws_close(4000, "enough");
    else sl_send_reply("200", "$pr $ws_conid");
}
event_route[xhttp:request] {
    set_reply_close();
    if (ws_handle_handshake()) xlog("L_ERR", "upgraded\n");
}
event_route[websocket:closed] { xlog("L_ERR", "closed $pr $si $ws_conid\n"); }
"#;

fn open(keepalive: u32) -> House {
    House::open_text(&SCRIPT.replace("KEEPALIVE", &keepalive.to_string()), &[])
}

fn request(method: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} sip:a@test.lan SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
         Call-ID: 1\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl House {
    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.site.server).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        stream
    }

    fn browser(&self) -> WebSocket<TcpStream> {
        let mut request = format!("ws://{}/", self.site.server)
            .into_client_request()
            .unwrap();
        let protocol = HeaderValue::from_static("sip");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, answer) = client(request, self.dial()).unwrap();
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "sip");
        assert!(!answer.headers().contains_key("Content-Length"));
        socket
    }

    fn dump(&self) -> Vec<String> {
        let answer = self.server.rpc("ws.dump", &json!([])).unwrap();
        let lines: Vec<String> = serde_json::from_value(answer["connections"].clone()).unwrap();
        assert_eq!(
            answer["info"],
            json!({"wscounter": lines.len(), "truncated": "no"})
        );
        lines
    }

    fn handshake(&self, headers: &str) -> String {
        let mut stream = self.dial();
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        // A refusal closes the connection.
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// The close frame that ends a connection.
fn last(socket: &mut WebSocket<TcpStream>) -> (CloseCode, String) {
    loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            let frame = frame.unwrap();
            // Answers, as a browser does.
            while socket.read().is_ok() {}
            return (frame.code, frame.reason.to_string());
        }
    }
}

fn answered(socket: &mut WebSocket<TcpStream>) -> String {
    let text = socket.read().unwrap().into_text().unwrap().to_string();
    text.lines().next().unwrap().to_owned()
}

#[test]
fn what_is_no_handshake_is_refused() {
    let house = open(0);
    let asked = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n";
    for (headers, status, hint) in [
        (
            format!("{asked}Sec-WebSocket-Version: 8\r\n"),
            "426 Upgrade Required",
            "Sec-WebSocket-Version: 13\r\n",
        ),
        (
            asked.to_owned(),
            "400 Bad Request",
            "Sec-WebSocket-Version: 13\r\n",
        ),
        (
            asked.replace("sip", "chat"),
            "400 Bad Request",
            "Sec-WebSocket-Protocol: sip\r\n",
        ),
    ] {
        let answer = house.handshake(&headers);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains(hint), "{answer}");
    }
    let right = format!("{asked}Sec-WebSocket-Version: 13\r\n");
    house.server.rpc("ws.disable", &json!([])).unwrap();
    assert!(
        house
            .handshake(&right)
            .starts_with("HTTP/1.1 503 Service Unavailable\r\n")
    );
    house.server.rpc("ws.enable", &json!([])).unwrap();
    // The answer arrives before the connection is taken over.
    let browser = house.browser();
    let expected = json!([
        "websocket:ws_failed_handshakes = 4",
        "websocket:ws_successful_handshakes = 1"
    ]);
    let mut counted = Value::Null;
    wait::until(wait::PATIENCE, || {
        counted = house
            .server
            .rpc("stats.get_statistics", &json!(["websocket:"]))
            .unwrap();
        (counted == expected).then_some(())
    });
    assert_eq!(counted, expected);
    drop(browser);
}

#[test]
fn frames_carry_messages() {
    let house = open(0);
    let mut browser = house.browser();
    let options = request("OPTIONS", b"");
    let text = String::from_utf8(options.clone()).unwrap();
    browser.send(Message::text(text.clone())).unwrap();
    assert_eq!(answered(&mut browser), "SIP/2.0 200 ws 1");
    browser.send(Message::binary(options)).unwrap();
    assert_eq!(answered(&mut browser), "SIP/2.0 200 ws 1");
    // A binary body is not text, and comes as it is.
    browser
        .send(Message::binary(request("OPTIONS", &[0, 255, 254])))
        .unwrap();
    assert_eq!(answered(&mut browser), "SIP/2.0 200 ws 1");
    browser.send(Message::Ping("hello".into())).unwrap();
    assert_eq!(browser.read().unwrap(), Message::Pong("hello".into()));
    house.server.rpc("ws.ping", &json!([1])).unwrap();
    assert_eq!(browser.read().unwrap(), Message::Ping("".into()));
    house.server.rpc("ws.pong", &json!([1])).unwrap();
    assert_eq!(browser.read().unwrap(), Message::Pong("".into()));
    let lines = house.dump();
    let local = browser.get_ref().local_addr().unwrap();
    let expected = format!(
        "1: ws:127.0.0.1:{} -> ws:{} (state: OPEN,  last used ",
        local.port(),
        house.site.server
    );
    assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{lines:?}");
    assert!(lines[0].ends_with("s ago, sub-protocol: sip)"), "{lines:?}");
    let connections = house.server.rpc("core.tcp_list", &json!([])).unwrap();
    assert_eq!(connections[0]["type"], "WS", "{connections:#}");
    let sockets = house.server.rpc("core.sockets_list", &json!([])).unwrap();
    assert!(!sockets.to_string().contains("\"ws\""), "{sockets:#}");
}

#[test]
fn either_side_ends_it() {
    let house = open(0);
    let mut browser = house.browser();
    browser.send(Message::binary(request("MESSAGE", b""))).unwrap();
    assert_eq!(last(&mut browser), (CloseCode::from(4000), "enough".to_owned()));
    assert!(house.server.await_log("closed ws 127.0.0.1 1"));
    let mut browser = house.browser();
    house.server.rpc("ws.close", &json!([2])).unwrap();
    assert_eq!(
        last(&mut browser),
        (CloseCode::Normal, "Normal closure".to_owned())
    );
    assert!(house.server.await_log("closed ws 127.0.0.1 2"));
    drop(house.browser());
    assert!(house.server.await_log("closed ws 127.0.0.1 3"));
    assert_eq!(house.dump(), Vec::<String>::new());
    let unknown = house.server.rpc("ws.close", &json!([2])).unwrap_err().to_string();
    assert!(unknown.contains("Unknown connection ID"), "{unknown}");
}

#[test]
fn what_is_too_big_or_no_text_is_refused() {
    let house = open(0);
    let mut browser = house.browser();
    // The proxy may close while this is still being written.
    let _ = browser.send(Message::binary(vec![b'x'; 4 << 20]));
    assert_eq!(last(&mut browser).0, CloseCode::Size);
    let mut browser = house.browser();
    // A masked text frame of one byte that is not UTF-8.
    browser
        .get_mut()
        .write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff])
        .unwrap();
    assert_eq!(last(&mut browser).0, CloseCode::Invalid);
    let mut browser = house.browser();
    // A frame that is not masked.
    browser.get_mut().write_all(&[0x81, 0x01, b'x']).unwrap();
    assert_eq!(last(&mut browser).0, CloseCode::Protocol);
}

#[test]
fn who_does_not_answer_a_ping_is_gone() {
    let house = open(1);
    let mut browser = house.browser();
    assert_eq!(browser.read().unwrap(), Message::Ping("there?".into()));
    // The next look sends the Pong.
    assert_eq!(browser.read().unwrap(), Message::Ping("there?".into()));
    // From here on nothing is sent.
    let mut rest = Vec::new();
    browser.get_mut().read_to_end(&mut rest).unwrap();
    assert!(house.server.await_log("closed ws 127.0.0.1 1"));
    assert_eq!(Value::from(house.dump()), json!([]));
}
