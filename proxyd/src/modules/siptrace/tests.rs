//! What is traced, in rows and in packets of HEP.

use super::*;
use crate::modules::testing::Db;
use crate::proxy::context::Target;
use crate::script::testing::Bench;
use serde_json::json;
use shared::db::Select;
use shared::net::Transport;
use std::net::SocketAddr;

const INVITE: &str = "INVITE sip:bob@b.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:al@a.lan>;tag=f\n\
    To: <sip:bob@b.lan>\nCall-ID: c\nCSeq: 1 INVITE\nContent-Length: 0\n\n";
const BUSY: &[u8] = b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\nFrom: <sip:al@a.lan>;tag=f\r\n\
    To: <sip:bob@b.lan>;tag=t\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

fn leaving(stateless: bool) -> Way {
    Way {
        direction: Direction::Out,
        transport: Transport::Udp,
        source: SocketAddr::from(([127, 0, 0, 1], 5060)),
        destination: SocketAddr::from(([127, 0, 0, 1], 5070)),
        stateless,
    }
}

fn see(bench: &Bench, bytes: &[u8], way: Way) {
    let state = bench.script.states.get::<Siptrace>().expect("loaded");
    if state.wants() {
        state.see(&Message::parse(bytes).expect("a message"), bytes, way);
    }
}

/// What the rows say, in order.
fn rows(db: &mut Db) -> Vec<String> {
    let select = Select::from("sip_trace")
        .columns(&[
            "method",
            "status",
            "fromip",
            "toip",
            "direction",
            "traced_user",
            "totag",
        ])
        .order_by("id");
    let rows = db.connection.query(&select).expect("rows");
    rows.iter()
        .map(|row| {
            let cells = row.cells().iter().map(ToString::to_string);
            cells.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn a_transaction_is_written_for_each_user() {
    let mut db = Db::new(&["sip_trace"], &[]);
    let url = db.url.clone();
    let mut bench = Bench::new(&[(
        &MODULE,
        &[
            ("db_url", &url),
            ("trace_on", "1"),
            ("trace_flag", "22"),
            ("traced_user_avp", "$avp(who)"),
        ],
    )]);
    bench.receive(INVITE);
    bench.ctx.flags = 1 << 22;
    bench.lists.push_avp(b"who", Value::owned(&b"al"[..]));
    assert_eq!(bench.call("sip_trace", &[]), 1);
    see(&bench, BUSY, leaving(false));
    deliver::deliver(&mut bench.env());
    let (came, left) = (
        "INVITE  udp:127.0.0.1:5070 udp:127.0.0.1:5060 in",
        "INVITE 486 udp:127.0.0.1:5060 udp:127.0.0.1:5070 out",
    );
    assert_eq!(
        rows(&mut db),
        [
            format!("{came}  "),
            format!("{came} al "),
            format!("{left}  t"),
            format!("{left} al t"),
        ]
    );
    let names = ["traced_requests", "traced_replies"].map(|name| format!("siptrace:{name}"));
    let counted = bench.script.states.get::<Siptrace>().expect("loaded");
    assert_eq!(
        (counted.requests.value(), counted.replies.value()),
        (1, 1),
        "{names:?}"
    );
}

#[test]
fn copies_go_as_they_are_or_encapsulated() {
    let to = Target {
        peer: SocketAddr::from(([127, 0, 0, 4], 9060)),
        transport: Transport::Udp,
        socket: None,
        conn: None,
    };
    for (params, args, begins) in [
        (&[("hep_mode_on", "0")][..], &[][..], &b"INVITE sip:bob@b.lan"[..]),
        (
            &[("hep_mode_on", "1"), ("hep_version", "3")],
            &["sip:127.0.0.4:9060", "x"],
            b"HEP3",
        ),
    ] {
        let mut all = vec![
            ("trace_on", "1"),
            ("trace_to_database", "0"),
            ("duplicate_uri", "sip:127.0.0.4:9060"),
        ];
        all.extend_from_slice(params);
        let mut bench = Bench::new(&[(&MODULE, &all)]);
        bench.host.resolves_to = Some(to);
        bench.receive(INVITE);
        assert_eq!(bench.call("sip_trace", args), 1);
        // only the message is traced, and only what the network showed is a message
        see(&bench, BUSY, leaving(true));
        deliver::deliver(&mut bench.env());
        let [(target, bytes)] = &bench.host.sent[..] else {
            panic!("{} were sent", bench.host.sent.len())
        };
        assert_eq!(*target, to);
        assert!(bytes.starts_with(begins), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn everything_is_traced_by_mode_and_turned_off_by_rpc() {
    let mut bench = Bench::new(&[(
        &MODULE,
        &[
            ("trace_to_database", "0"),
            ("duplicate_uri", "sip:127.0.0.4:9060"),
            ("trace_mode", "5"),
            ("hep_version", "3"),
        ],
    )]);
    bench.host.resolves_to = Some(Target {
        peer: SocketAddr::from(([127, 0, 0, 4], 9060)),
        transport: Transport::Udp,
        socket: None,
        conn: None,
    });
    for (param, expected) in [
        ("check", json!("Disabled")),
        ("on", json!("Enabled")),
        (
            "maybe",
            json!({ "fault": "500 Bad parameter (on, off or check)" }),
        ),
    ] {
        assert_eq!(bench.rpc(&MODULE, "siptrace.status", &[json!(param)]), expected);
    }
    see(&bench, BUSY, leaving(false));
    bench.rpc(&MODULE, "siptrace.status", &[json!("off")]);
    see(&bench, BUSY, leaving(false));
    deliver::deliver(&mut bench.env());
    let begins: Vec<&[u8]> = bench.host.sent.iter().map(|(_, bytes)| &bytes[..4]).collect();
    assert_eq!(begins, [b"SIP/", b"HEP3"]);
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let params: &[(&str, &str)] = &[("trace_on", "1"), ("trace_to_database", "0")];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    bench.receive(INVITE);
    for (name, args) in [
        ("sip_trace", &[][..]),
        ("sip_trace", &["no uri"]),
        ("sip_trace", &["sip:127.0.0.4", "", "x"]),
        ("sip_trace", &["sip:127.0.0.4", "", "d"]),
        ("sip_trace_mode", &["q"]),
        ("hlog", &["a line"]),
    ] {
        assert_eq!(bench.call(name, args), -1, "{name} {args:?}");
    }
    for (name, value) in [
        ("trace_flag", "32"),
        ("hep_version", "4"),
        ("duplicate_uri", "nowhere"),
        ("traced_user_avp", "$var(x)"),
        ("send_sock_addr", "x y"),
    ] {
        let refused = Bench::try_new(&[(&MODULE, &[("trace_to_database", "0"), (name, value)])], None);
        assert!(refused.is_err(), "{name}");
    }
}

#[test]
fn a_reload_keeps_what_is_followed() {
    let params: &[(&str, &str)] = &[
        ("trace_on", "0"),
        ("trace_to_database", "0"),
        ("duplicate_uri", "sip:127.0.0.4:9060"),
    ];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    bench.rpc(&MODULE, "siptrace.status", &[json!("on")]);
    bench.receive(INVITE);
    assert_eq!(bench.call("sip_trace_mode", &["transaction"]), 1);
    let after = Bench::try_new(&[(&MODULE, params)], Some(&bench.script.states)).expect("it starts");
    let state = after.script.states.get::<Siptrace>().expect("loaded");
    assert!(state.is_on() && state.shared.followed.is_any());
}
