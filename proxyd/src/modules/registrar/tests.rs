//! REGISTER after REGISTER against an empty location table.

use super::MODULE;
use crate::control::methods::Methods;
use crate::modules::usrloc;
use crate::script::module::Init;
use crate::script::module::Loaded;
use crate::script::module::ModuleDef;
use crate::script::module::ParamValue;
use crate::script::module::Params;
use crate::script::module::State;
use crate::script::module::States;
use crate::script::program::Program;
use crate::script::testing::Stage;
use crate::script::value::Value;
use crate::stats::Statistics;
use shared::sip::Message;
use std::sync::Arc;
use std::time::Duration;

/// A script that loads both modules with parameters: `("registrar", "min_expires", "60")`; numbers are numbers.
struct Bench {
    stage: Stage,
    statistics: Arc<Statistics>,
    sent: u32,
}

fn loaded(def: &'static ModuleDef, params: &[(&str, &'static str, &str)]) -> Loaded {
    let own = params.iter().filter(|(module, ..)| *module == def.name);
    let values = own.map(|(_, name, value)| {
        (
            *name,
            value
                .parse()
                .map_or_else(|_| ParamValue::Text(value.as_bytes().to_vec()), ParamValue::Int),
        )
    });
    Loaded {
        def,
        params: Params {
            values: values.collect(),
            ..Params::default()
        },
    }
}

const WALL: Duration = Duration::from_secs(1_700_000_000);

impl Bench {
    fn new(params: &[(&str, &'static str, &str)]) -> Self {
        let modules = [loaded(&usrloc::MODULE, params), loaded(&MODULE, params)];
        let (statistics, methods) = (Arc::new(Statistics::new()), Arc::new(Methods::new()));
        let (program, mut states) = (Program::default(), States::default());
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut stage = Stage::options();
        for module in &modules {
            let make = module.def.init.unwrap();
            let mut init = Init {
                trial: false,
                module,
                modules: &modules,
                states: &states,
                previous: None,
                program: &program,
                statistics: &statistics,
                methods: &methods,
                control: tokio.handle(),
                run_dir: std::path::Path::new("/tmp"),
                parse: &|_| Err("none here".to_owned()),
                wall: WALL,
                seed: 1,
            };
            let state: State = make(&mut init).unwrap();
            states.insert(state.clone());
            stage = stage.with(state);
        }
        Self {
            stage,
            statistics,
            sent: 0,
        }
    }

    fn load(&mut self, message: &str) {
        self.stage.ctx.reset(self.stage.ctx.source, self.stage.ctx.id + 1);
        self.stage.ctx.msg = Message::parse(message.replace('\n', "\r\n")).unwrap();
        self.stage.host.replies.clear();
        self.stage.lists.clear();
    }

    /// A REGISTER of alice with these header lines; `call` is Call-ID and CSeq number.
    fn load_register(&mut self, call: (&str, u32), lines: &[&str]) {
        self.sent += 1;
        let extra: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let message = format!(
            "REGISTER sip:test.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK{}\nFrom: <sip:alice@test.lan>;tag=f\n\
             To: <sip:alice@test.lan>\nCall-ID: {}\nCSeq: {} REGISTER\n{extra}Content-Length: 0\n\n",
            self.sent, call.0, call.1
        );
        self.load(&message);
    }

    /// Result, status and header lines of save().
    fn register(&mut self, call: (&str, u32), lines: &[&str]) -> (i32, u16, String) {
        self.load_register(call, lines);
        let code = self.stage.call(&MODULE, "save", &["location"]);
        self.outcome(code)
    }

    fn outcome(&self, code: i32) -> (i32, u16, String) {
        let status = self.stage.host.replies.last().map_or(0, |reply| reply.status);
        (
            code,
            status,
            String::from_utf8_lossy(&self.stage.ctx.reply_headers).replace("\r\n", "\n"),
        )
    }

    fn contacts(&mut self) -> String {
        let (code, status, headers) = self.register(("query", 1), &[]);
        assert_eq!((code, status), (4, 200));
        headers.trim_end().trim_start_matches("Contact: ").to_owned()
    }

    fn request(&mut self, method: &str, uri: &str) {
        self.load(&format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKx\nFrom: <sip:x@test.lan>;tag=f\n\
             To: <{uri}>\nCall-ID: q\nCSeq: 1 {method}\nContent-Length: 0\n\n"
        ));
    }

    fn lookup(&mut self, uri: &str) -> (i32, String, Option<String>, Vec<String>) {
        self.request("OPTIONS", uri);
        let code = self.stage.call(&MODULE, "lookup", &["location"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ctx = &self.stage.ctx;
        (
            code,
            text(ctx.uri()),
            ctx.dst_uri.as_deref().map(text),
            ctx.branches.iter().map(|b| text(&b.uri)).collect(),
        )
    }
}

#[test]
fn bindings_come_change_and_go() {
    let mut bench = Bench::new(&[]);
    let ok = |code, contacts: &str| {
        (
            code,
            200,
            if contacts.is_empty() {
                String::new()
            } else {
                format!("Contact: {contacts}\n")
            },
        )
    };
    assert_eq!(
        bench.register(("c", 1), &["Contact: <sip:a@h>", "Expires: 600"]),
        ok(1, "<sip:a@h>;expires=600")
    );
    assert_eq!(bench.contacts(), "<sip:a@h>;expires=600");
    assert_eq!(
        bench.register(("c", 2), &["Contact: <sip:a@h>", "Expires: 300"]),
        ok(2, "<sip:a@h>;expires=300")
    );
    let both = "<sip:b@h>;q=0.5;expires=600, <sip:a@h>;expires=300";
    assert_eq!(
        bench.register(("d", 1), &["Contact: <sip:b@h>;q=0.5", "Expires: 600"]),
        ok(1, both)
    );
    assert_eq!(
        bench.register(("c", 3), &["Contact: <sip:a@h>;expires=0"]),
        ok(3, "<sip:b@h>;q=0.5;expires=600")
    );
    assert_eq!(bench.register(("e", 1), &["Contact: *", "Expires: 0"]), ok(3, ""));
    assert_eq!(bench.contacts(), "");
    assert_eq!(
        bench.register(("f", 1), &["Contact: <sip:z@h>", "Expires: 0"]),
        ok(1, "")
    );
    assert_eq!(bench.statistics.value("accepted_regs"), Some(8));
}

#[test]
fn lifetimes_have_defaults_and_bounds() {
    let params = [
        ("registrar", "default_expires", "1800"),
        ("registrar", "min_expires", "60"),
        ("registrar", "max_expires", "3600"),
    ];
    let mut bench = Bench::new(&params);
    for (index, (param, header, expected)) in [
        (";expires=100", "", 100),
        ("", "Expires: 200", 200),
        ("", "", 1800),
        (";expires=100", "Expires: 200", 100),
        (";expires=5", "", 60),
        ("", "Expires: 99999", 3600),
        (";expires=99999", "", 3600),
        (";expires=abc", "", 1800),
        (";expires=", "", 1800),
        (";expires=\"700\"", "", 700),
        ("", "Expires: -5", 1800),
        (";expires=99999999999", "", 1800),
    ]
    .into_iter()
    .enumerate()
    {
        let contact = format!("Contact: <sip:a{index}@h>{param}");
        let lines: Vec<&str> = [contact.as_str(), header]
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect();
        bench.register(("x", index as u32), &["Contact: *", "Expires: 0"]);
        let (_, _, headers) = bench.register(("c", 1), &lines);
        assert_eq!(
            headers,
            format!("Contact: <sip:a{index}@h>;expires={expected}\n"),
            "{param} {header}"
        );
    }
}

#[test]
fn a_refused_register_changes_nothing() {
    let params = [
        ("registrar", "min_expires_mode", "1"),
        ("registrar", "max_contacts", "2"),
        ("registrar", "retry_after", "30"),
        ("registrar", "use_path", "1"),
    ];
    let mut bench = Bench::new(&params);
    bench.register(("c", 10), &["Contact: <sip:a@h>", "Expires: 600"]);
    let before = "<sip:a@h>;expires=600";
    for (lines, code, status, error) in [
        (
            &["Contact: *"][..],
            -1,
            400,
            "* used in contact and expires is not zero",
        ),
        (
            &["Contact: *", "Expires: 60"],
            -1,
            400,
            "* used in contact and expires is not zero",
        ),
        (
            &["Contact: *, <sip:x@h>", "Expires: 0"],
            -1,
            400,
            "* used in contact and more than 1 contact",
        ),
        (
            &["Contact: <sip:x@h>, *", "Expires: 0"],
            -1,
            400,
            "* used in contact and more than 1 contact",
        ),
        (&["Contact: x@h"], -1, 400, "Contact parse error"),
        (&["Contact: <sip:x@h"], -1, 400, "Contact parse error"),
        (
            &["Contact: <sip:x@h>;q=1.5"],
            -1,
            400,
            "Invalid q param in contact",
        ),
        (
            &["Contact: <sip:x@h>, <sip:y@h>;q=abc"],
            -1,
            400,
            "Invalid q param in contact",
        ),
        (&["Contact: <sip:x@h>;expires=5"], -1, 423, "Interval too brief"),
        (
            &["Contact: <sip:x@h>, <sip:a@h>;expires=5"],
            -1,
            423,
            "Interval too brief",
        ),
        (
            &["Contact: <sip:x@h>, <sip:y@h>"],
            -2,
            503,
            "Too many registered contacts",
        ),
        (
            &["Contact: <sip:x@h>", "Path: <sip:p;lr>"],
            -1,
            420,
            "No support for found Path indicated",
        ),
        (
            &["Contact: <sip:x@h>", "Path: junk", "Supported: path"],
            -1,
            400,
            "Path parse error",
        ),
        (
            &["Contact: <sip:x@h>", "Require: outbound"],
            -1,
            420,
            "No support for Outbound on server",
        ),
    ] {
        let (got, answered, headers) = bench.register(("d", 1), lines);
        assert_eq!((got, answered), (code, status), "{lines:?}");
        assert!(
            headers.contains(&format!("P-Registrar-Error: {error}\n")),
            "{lines:?}: {headers}"
        );
        assert_eq!(bench.contacts(), before, "{lines:?}");
    }
    // The same Call-ID: the first contact is new, the second too old, so neither counts.
    let (code, status, headers) = bench.register(("c", 9), &["Contact: <sip:new@h>, <sip:a@h>"]);
    let expected = format!("Contact: {before}\nP-Registrar-Error: Invalid CSeq number\n");
    assert_eq!((code, status, headers), (-1, 400, expected));
    let (_, _, headers) = bench.register(("d", 2), &["Contact: <sip:x@h>, <sip:y@h>, <sip:z@h>"]);
    assert!(headers.ends_with("Retry-After: 30\n"), "{headers}");
    let (_, _, headers) = bench.register(("d", 3), &["Contact: <sip:x@h>;expires=5"]);
    assert!(
        headers.contains("\nMin-Expires: 60\nP-Registrar-Error"),
        "{headers}"
    );
    assert_eq!(bench.statistics.value("rejected_regs"), Some(17));
}

#[test]
fn a_retransmission_is_answered_and_changes_nothing() {
    let mut bench = Bench::new(&[]);
    bench.register(("c", 10), &["Contact: <sip:a@h>", "Expires: 600"]);
    let again = bench.register(("c", 10), &["Contact: <sip:a@h>", "Expires: 300"]);
    assert_eq!(again, (1, 200, "Contact: <sip:a@h>;expires=600\n".to_owned()));
    bench.stage.host.wall += Duration::from_secs(21);
    assert_eq!(bench.register(("c", 10), &["Contact: <sip:a@h>"]).1, 400);
    assert_eq!(
        bench
            .register(("other", 1), &["Contact: <sip:a@h>", "Expires: 300"])
            .0,
        2
    );
}

#[test]
fn flags_of_save() {
    let mut bench = Bench::new(&[]);
    bench.register(("c", 1), &["Contact: <sip:a@h>, <sip:b@h>", "Expires: 600"]);
    bench.load_register(("d", 1), &["Contact: <sip:c@h>", "Expires: 600"]);
    assert_eq!(bench.stage.call(&MODULE, "save", &["location", "0x04"]), 1);
    assert_eq!(bench.contacts(), "<sip:c@h>;expires=600");
    bench.load_register(("e", 1), &["Contact: <sip:c@h>", "Expires: 700"]);
    assert_eq!(bench.stage.call(&MODULE, "save", &["location", "2"]), 2);
    assert_eq!(bench.outcome(2), (2, 0, String::new()));
    assert_eq!(bench.stage.call(&MODULE, "reg_send_reply", &[]), 1);
    assert_eq!(
        bench.outcome(2),
        (2, 200, "Contact: <sip:c@h>;expires=700\n".to_owned())
    );
    bench.load_register(("f", 1), &["Contact: <sip:c@h>", "Expires: 800"]);
    bench.stage.call(&MODULE, "save", &["location", "0x12"]);
    assert_eq!(
        bench.outcome(2),
        (2, 0, "Contact: <sip:c@h>;expires=800\n".to_owned())
    );
    bench.load_register(("g", 1), &["Contact: <sip:o@h>"]);
    assert_eq!(
        bench
            .stage
            .call(&MODULE, "save", &["location", "0x00", "sip:other@foo"]),
        1
    );
    assert_eq!(bench.lookup("sip:other@foo").1, "sip:o@h");
    bench.load_register(("g", 2), &["Contact: <sip:o@h>"]);
    assert_eq!(bench.stage.call(&MODULE, "save", &["location", "0", "junk"]), -1);
    assert!(bench.outcome(-1).2.contains("Error while parsing AOR"));
}

#[test]
fn gruus_and_instances() {
    let mut bench = Bench::new(&[]);
    let contact = "Contact: <sip:a@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    let (_, _, headers) = bench.register(("c", 1), &[contact, "Supported: gruu", "Expires: 600"]);
    let start =
        "Contact: <sip:a@h>;expires=600;pub-gruu=\"sip:alice@test.lan;gr=urn:uuid:1\";temp-gruu=\"sip:uloc-";
    assert!(headers.starts_with(start), "{headers}");
    assert!(
        headers.ends_with("-dd7f25d6@test.lan;gr\";+sip.instance=\"<urn:uuid:1>\";reg-id=1\n"),
        "{headers}"
    );
    // The same flow from elsewhere takes the place of the old contact.
    assert_eq!(
        bench
            .register(
                ("d", 1),
                &["Contact: <sip:a@elsewhere>;+sip.instance=\"<urn:uuid:1>\";reg-id=1"]
            )
            .0,
        2
    );
    assert_eq!(
        bench.lookup("sip:alice@test.lan;gr=urn:uuid:1").1,
        "sip:a@elsewhere"
    );
    assert_eq!(bench.lookup("sip:alice@test.lan;gr=urn:uuid:2").0, -1);
    assert_eq!(bench.lookup("sip:alice@test.lan;gr").0, -3);
    let temporary = headers
        .split("temp-gruu=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    assert_eq!(bench.lookup(temporary).1, "sip:a@elsewhere");
    assert_eq!(bench.lookup(&temporary.replace("dd7f25d6", "dd7f25d7")).0, -3);
}

#[test]
fn lookup_goes_by_q_path_and_source() {
    let params = [
        ("registrar", "use_path", "1"),
        ("registrar", "path_mode", "1"),
        ("registrar", "path_use_received", "1"),
        ("usrloc", "nat_bflag", "6"),
    ];
    let mut bench = Bench::new(&params);
    assert_eq!(bench.lookup("sip:alice@test.lan").0, -1);
    bench.register(
        ("c", 1),
        &[
            "Contact: <sip:low@h>;q=0.1, <sip:none@h>, <sip:high@h>;q=0.9",
            "Expires: 600",
        ],
    );
    let branches = vec!["sip:low@h".to_owned(), "sip:none@h".to_owned()];
    assert_eq!(
        bench.lookup("sip:Alice@test.lan"),
        (1, "sip:high@h".to_owned(), None, branches)
    );
    assert_eq!((bench.stage.ctx.q, bench.stage.ctx.branches[0].q), (900, 100));
    bench.register(("x", 1), &["Contact: *", "Expires: 0"]);
    let path = "Path: <sip:p1:5070;lr;received=sip:9.9.9.9:7>, <sip:p2;lr>";
    let (_, _, headers) = bench.register(
        ("d", 1),
        &["Contact: <sip:a@h>", path, "Supported: path", "Expires: 600"],
    );
    assert!(
        headers.ends_with(
            ";received=\"sip:9.9.9.9:7\"\nPath: <sip:p1:5070;lr;received=sip:9.9.9.9:7>, <sip:p2;lr>\n"
        ),
        "{headers}"
    );
    let hop = Some("sip:p1:5070;lr;received=sip:9.9.9.9:7".to_owned());
    assert_eq!(
        bench.lookup("sip:alice@test.lan"),
        (1, "sip:a@h".to_owned(), hop, vec![])
    );
    assert_eq!(bench.stage.ctx.bflags, 64);
    assert_eq!(bench.stage.ctx.send_socket, Some(0));
    bench.register(
        ("e", 1),
        &[
            "Contact: <sip:b@h>;q=1;received=\"sip:8.8.8.8:5\"",
            "Expires: 600",
        ],
    );
    assert_eq!(
        bench.lookup("sip:alice@test.lan").2.as_deref(),
        Some("sip:8.8.8.8:5")
    );
    bench.stage.host.wall += Duration::from_secs(600);
    assert_eq!(bench.lookup("sip:alice@test.lan").0, -1);
}

#[test]
fn methods_are_heeded_when_asked_for() {
    let mut bench = Bench::new(&[("registrar", "method_filtering", "1")]);
    bench.register(
        ("c", 1),
        &[
            "Contact: <sip:a@h>",
            "Allow: INVITE, ACK",
            "Allow: BYE",
            "Expires: 600",
        ],
    );
    assert_eq!(bench.lookup("sip:alice@test.lan").0, -2);
    bench.request("INVITE", "sip:alice@test.lan");
    assert_eq!(bench.stage.call(&MODULE, "lookup", &["location"]), 1);
    bench.register(
        ("c", 2),
        &[
            "Contact: <sip:a@h>;methods=\"OPTIONS\"",
            "Allow: INVITE",
            "Expires: 600",
        ],
    );
    assert_eq!(bench.lookup("sip:alice@test.lan").0, 1);
}

#[test]
fn what_is_known_of_a_user() {
    let mut bench = Bench::new(&[("registrar", "xavp_cfg", "reg"), ("registrar", "xavp_rcd", "rcd")]);
    bench.register(
        ("c1", 1),
        &["Contact: <sip:a@h>;q=0.2, <sip:b@h>;q=0.7", "Expires: 600"],
    );
    let registered = |bench: &mut Bench, args: &[&str]| bench.stage.call(&MODULE, "registered", args);
    bench.request("OPTIONS", "sip:alice@test.lan");
    assert_eq!(registered(&mut bench, &["location"]), 1);
    assert_eq!(registered(&mut bench, &["location", "sip:nobody@x"]), -1);
    assert_eq!(registered(&mut bench, &["location", "junk"]), -1);
    for (field, value, option, expected) in [
        ("match_callid", "c1", "1", 1),
        ("match_callid", "cX", "1", -1),
        ("match_contact", "sip:b@h", "4", 1),
        ("match_callid", "cX", "4", 1),
    ] {
        bench.request("OPTIONS", "sip:alice@test.lan");
        let fields = vec![(field.as_bytes().into(), Value::owned(value.as_bytes()))];
        bench
            .stage
            .lists
            .xavp
            .push(b"reg", crate::script::lists::Item::Fields(fields));
        assert_eq!(
            registered(&mut bench, &["location", "sip:alice@test.lan", option]),
            expected,
            "{field} {value}"
        );
    }
    assert_eq!(
        bench
            .stage
            .call(&MODULE, "reg_from_user", &["location", "sip:alice@test.lan", "0"]),
        -1
    );
    bench.register(("c2", 1), &["Contact: <sip:c@127.0.0.2:5060>", "Expires: 600"]);
    assert_eq!(
        bench
            .stage
            .call(&MODULE, "reg_from_user", &["location", "sip:alice@test.lan", "3"]),
        1
    );
    assert_eq!(
        bench.stage.call(
            &MODULE,
            "reg_fetch_contacts",
            &["location", "sip:alice@test.lan", "p"]
        ),
        1
    );
    usrloc::profiles::with(b"p", |profile| assert_eq!(profile.contacts.len(), 3)).unwrap();
    assert_eq!(bench.stage.call(&MODULE, "reg_free_contacts", &["p"]), 1);
    assert_eq!(
        bench
            .stage
            .call(&MODULE, "unregister", &["location", "sip:alice@test.lan", "nope"]),
        -3
    );
    assert_eq!(bench.stage.call(&MODULE, "unregister", &["location", "junk"]), -1);
    assert_eq!(
        bench
            .stage
            .call(&MODULE, "unregister", &["location", "sip:alice@test.lan"]),
        1
    );
    assert_eq!(bench.contacts(), "");
    assert_eq!(
        bench.stage.call(
            &MODULE,
            "reg_fetch_contacts",
            &["location", "sip:alice@test.lan", "p"]
        ),
        -1
    );
}

#[test]
fn a_contact_that_was_rewritten_is_stored_as_it_became() {
    let mut bench = Bench::new(&[]);
    bench.load_register(("c", 1), &["Contact: <sip:a@192.168.1.9:7>", "Expires: 600"]);
    assert_eq!(
        bench
            .stage
            .call(&crate::modules::nathelper::MODULE, "fix_nated_contact", &[]),
        1
    );
    assert_eq!(bench.stage.call(&MODULE, "save", &["location"]), 1);
    assert_eq!(bench.contacts(), "<sip:a@127.0.0.2:5060>;expires=600");
}
