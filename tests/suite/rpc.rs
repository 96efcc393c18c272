//! Remote procedure calls on the control socket: names and shapes as Kamailio's operators know them.

use std::thread;

use serde_json::Value;
use serde_json::json;
use tests::subject::RpcError;
use tests::subject::Subject;
use tests::ua::Ua;
use tests::wait;

use crate::support::House;

/// A method, its parameters, and places in the answer with the type that must stand there.
type Call = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, fn(&Value) -> bool)],
);

const CALLS: &[Call] = &[
    ("core.version", &[], &[("", Value::is_string)]),
    (
        "core.uptime",
        &[],
        &[
            ("/now", Value::is_string),
            ("/up_since", Value::is_string),
            ("/uptime", Value::is_number),
        ],
    ),
    (
        "core.info",
        &[],
        &[
            ("/version", Value::is_string),
            ("/id", Value::is_string),
            ("/compiler", Value::is_string),
        ],
    ),
    (
        "core.ps",
        &[],
        &[("/0", Value::is_number), ("/1", Value::is_string)],
    ),
    ("core.echo", &["a", "b"], &[("", Value::is_array)]),
    ("system.listMethods", &[], &[("/0", Value::is_string)]),
    ("stats.get_statistics", &["all"], &[("/0", Value::is_string)]),
    ("stats.get_statistics", &["usrloc:"], &[("/0", Value::is_string)]),
    ("stats.fetch", &["all"], &[("", Value::is_object)]),
    (
        "tm.stats",
        &[],
        &[
            ("/current", Value::is_number),
            ("/waiting", Value::is_number),
            ("/total", Value::is_number),
            ("/total_local", Value::is_number),
            ("/rpl_received", Value::is_number),
            ("/rpl_generated", Value::is_number),
            ("/rpl_sent", Value::is_number),
            ("/6xx", Value::is_number),
            ("/2xx", Value::is_number),
            ("/created", Value::is_number),
            ("/freed", Value::is_number),
        ],
    ),
    (
        "sl.stats",
        &[],
        &[
            ("/200", Value::is_number),
            ("/4xx", Value::is_number),
            ("/xxx", Value::is_number),
        ],
    ),
    (
        "ul.dump",
        &[],
        &[
            ("/Domains/0/Domain/Domain", Value::is_string),
            ("/Domains/0/Domain/Size", Value::is_number),
            ("/Domains/0/Domain/AoRs/0/Info/AoR", Value::is_string),
            ("/Domains/0/Domain/AoRs/0/Info/HashID", Value::is_number),
            (
                "/Domains/0/Domain/AoRs/0/Info/Contacts/0/Contact/Address",
                Value::is_string,
            ),
            (
                "/Domains/0/Domain/AoRs/0/Info/Contacts/0/Contact/Expires",
                Value::is_number,
            ),
            (
                "/Domains/0/Domain/AoRs/0/Info/Contacts/0/Contact/Ruid",
                Value::is_string,
            ),
            ("/Domains/0/Domain/Stats/Records", Value::is_number),
            ("/Domains/0/Domain/Stats/Max-Slots", Value::is_number),
        ],
    ),
    (
        "ul.dump",
        &["brief"],
        &[("/Domains/0/Domain/AoRs/0/AoR", Value::is_string)],
    ),
    (
        "ul.lookup",
        &["location", "alice"],
        &[
            ("/AoR", Value::is_string),
            ("/Contacts/0/Contact/Q", Value::is_number),
            ("/Contacts/0/Contact/Call-ID", Value::is_string),
            ("/Contacts/0/Contact/CSeq", Value::is_number),
            ("/Contacts/0/Contact/User-Agent", Value::is_string),
            ("/Contacts/0/Contact/Received", Value::is_string),
            ("/Contacts/0/Contact/Path", Value::is_string),
            ("/Contacts/0/Contact/State", Value::is_string),
            ("/Contacts/0/Contact/Flags", Value::is_number),
            ("/Contacts/0/Contact/CFlags", Value::is_number),
            ("/Contacts/0/Contact/Socket", Value::is_string),
            ("/Contacts/0/Contact/Methods", |value| !value.is_null()),
            ("/Contacts/0/Contact/Instance", Value::is_string),
            ("/Contacts/0/Contact/Reg-Id", Value::is_number),
            ("/Contacts/0/Contact/Last-Modified", Value::is_number),
        ],
    ),
];

#[test]
fn answers_have_the_known_shapes() {
    let house = House::open(&[], &[]);
    let mut phone = house.agent("alice");
    register(&mut phone);
    let mut wrong = Vec::new();
    for (method, params, places) in CALLS {
        match house.server.rpc(method, &json!(params)) {
            Ok(answer) => {
                for (place, fits) in *places {
                    if !answer.pointer(place).is_some_and(fits) {
                        wrong.push(format!("{method} {params:?} at {place:?}: {answer:#}"));
                    }
                }
            }
            Err(error) => wrong.push(format!("{method} {params:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn contacts_are_added_and_removed() {
    let house = House::open(&[], &[]);
    // Kamailio knows the table once the script has used it.
    register(&mut house.agent("alice"));
    let add = json!(["location", "bob", "sip:bob@192.0.2.1", 300, 0.5, ".", 0, 0, 4095]);
    house.server.rpc("ul.add", &add).unwrap();
    let bob = house
        .server
        .rpc("ul.lookup", &json!(["location", "bob"]))
        .unwrap();
    assert_eq!(
        bob.pointer("/Contacts/0/Contact/Address"),
        Some(&json!("sip:bob@192.0.2.1")),
        "{bob:#}"
    );
    house
        .server
        .rpc("ul.rm_contact", &json!(["location", "bob", "sip:bob@192.0.2.1"]))
        .unwrap();
    let gone = |answer| matches!(answer, Err(RpcError::Refused { code: 500, .. }));
    assert!(gone(house.server.rpc("ul.lookup", &json!(["location", "bob"]))));
    house.server.rpc("ul.rm", &json!(["location", "alice"])).unwrap();
    assert!(gone(house.server.rpc("ul.lookup", &json!(["location", "alice"]))));
}

#[test]
fn an_unknown_method_is_refused() {
    let house = House::open(&[], &[]);
    let expected = if house.server.subject() == Subject::Kamailio {
        500
    } else {
        -32_601
    };
    match house.server.rpc("no.such", &json!([])) {
        Err(RpcError::Refused { code, .. }) => assert_eq!(code, expected),
        other => panic!("{other:?}"),
    }
}

/// Calls everything the server lists, without parameters: it may refuse, but it must go on.
#[test]
fn every_method_answers() {
    let mut house = House::open(&[], &[]);
    let methods = house.server.rpc("system.listMethods", &json!([])).unwrap();
    let methods: Vec<&str> = methods
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        methods.contains(&"ul.dump") && methods.contains(&"core.version"),
        "{methods:?}"
    );
    // These end the server, wait for a message or start something that stops the test itself.
    let excepted = ["core.explain_live", "core.kill", "core.trap", "shv.set"];
    for method in methods.iter().filter(|method| !excepted.contains(method)) {
        if let Err(error @ (RpcError::Socket(_) | RpcError::Json(_))) = house.server.rpc(method, &json!([])) {
            panic!("{method}: {error}\n--- log\n{}", house.server.log());
        }
    }
    assert!(house.server.is_alive());
}

#[test]
fn a_live_message_is_explained_as_it_is_handled() {
    if Subject::chosen() == Subject::Kamailio {
        return;
    }
    let house = House::open(&[], &[]);
    let mut phone = house.agent("alice");
    let report = thread::scope(|scope| {
        let asked = scope.spawn(|| {
            house
                .server
                .rpc("core.explain_live", &json!(["method=REGISTER from=alice", 30]))
        });
        // the answer is about the first REGISTER after the question
        wait::until(wait::PATIENCE, || {
            register(&mut phone);
            asked.is_finished().then_some(())
        });
        asked.join().expect("an answer")
    });
    let report = report.expect("a REGISTER");
    assert_eq!(report["live"], json!(true));
    let message = report["message"].as_str().expect("the message");
    assert!(
        message.starts_with("REGISTER sip:test.lan SIP/2.0\r\n"),
        "{message}"
    );
    assert!(
        report["steps"].as_array().is_some_and(|steps| steps.len() > 3),
        "{report:#}"
    );
    assert_eq!(report["sent"][0]["line"], json!("SIP/2.0 200 OK"), "{report:#}");
    let nobody = house
        .server
        .rpc("core.explain_live", &json!(["method=NOTHING", 0]));
    assert!(
        matches!(nobody, Err(RpcError::Refused { code: 404, .. })),
        "{nobody:?}"
    );
}

pub(crate) fn register(phone: &mut Ua) {
    let to = format!("<{}>", phone.aor());
    phone
        .request("r", "REGISTER", "sip:test.lan", &[("To".to_owned(), to)])
        .unwrap();
    let reply = phone.receive(wait::PATIENCE).expect("a reply");
    assert_eq!(reply.status(), Some(200), "{reply:#?}");
}
