//! The module on an SQLite file.

use super::MODULE;
use crate::script::testing::Bench;
use crate::script::value::Value;
use serde_json::json;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Url;
use shared::db::schema;

fn database(dir: &tempfile::TempDir) -> (Box<dyn Backend>, String) {
    let path = dir.path().join("a.db");
    let mut db = shared::db::open_with(&Url::sqlite(&path), Access::Create).unwrap();
    let tables = ["version", "address", "trusted"].map(|name| schema::table(name).unwrap());
    schema::create(&mut *db, &tables).unwrap();
    db.raw(
        "INSERT INTO address (grp, ip_addr, mask, port, tag) VALUES (1, '127.0.0.1', 32, 0, 'one'), \
         (3, '127.0.0.0', 28, 0, 'net'), (4, '10.0.0.1', 32, 0, NULL), (5, 'host.example', 32, 0, 'dom'), (6, '1.2.3.4', 33, 0, 'bad')",
        &[],
    )
    .unwrap();
    db.raw(
        "INSERT INTO trusted (src_ip, proto, from_pattern, ruri_pattern, tag, priority) VALUES \
         ('127.0.0.1', 'any', '^sip:a@', NULL, 'tr', 0), ('127.0.0.1', 'udp', NULL, NULL, 'all', 1), ('127.0.0.1', 'odd', NULL, NULL, 'odd', 1)",
        &[],
    )
    .unwrap();
    (db, format!("sqlite:///{}", path.display()))
}

const REQUEST: &str = "REGISTER sip:x@test.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:a@test.lan>;tag=f\n\
    To: <sip:a@test.lan>\nCall-ID: c\nCSeq: 1 REGISTER\nContact: <sip:a@1.2.3.4:5070;x=y>\nContent-Length: 0\n\n";

#[test]
fn addresses_and_peers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, url) = database(&dir);
    let params: &[(&'static str, &str)] = &[
        ("db_url", &url),
        ("db_mode", "1"),
        ("peer_tag_avp", "$avp(s:7)"),
        ("load_backends", "7"),
    ];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    bench.receive(REQUEST);
    let mut check = |name: &str, args: &[&str], code: i32, tag: Option<&str>| {
        bench.lists.clear();
        assert_eq!(bench.call(name, args), code, "{name} {args:?}");
        let found = bench.lists.avps(b"7").next().cloned();
        assert_eq!(
            found,
            tag.map(|tag| Value::owned(tag.as_bytes())),
            "{name} {args:?}"
        );
    };
    check("allow_source_address", &[], 1, Some("one"));
    check("allow_source_address", &["2"], -1, None);
    check("allow_source_address", &["3"], 1, Some("net"));
    check("allow_source_address", &["-1"], -1, None);
    check("allow_source_address_group", &[], 1, Some("one"));
    check("allow_address", &["3", "127.0.0.15", "99"], 1, Some("net"));
    check("allow_address", &["3", "127.0.0.16", "99"], -1, None);
    check("allow_address", &["3", "127.0.0.15", "65536"], -1, None);
    check("allow_address", &["5", "HOST.example", "0"], 1, Some("dom"));
    check("allow_address", &["4", "10.0.0.1", "0"], 1, None);
    check("allow_address_group", &["10.0.0.1", "0"], 4, None);
    check("allow_trusted", &[], 1, Some("all"));
    check("allow_trusted", &["127.0.0.1", "tcp", "sip:a@x"], 1, Some("tr"));
    check("allow_trusted", &["127.0.0.1", "tcp", "sip:b@x"], -1, None);
    check("allow_trusted", &["127.0.0.1", "zzz"], -1, None);

    let dump = bench.rpc(&MODULE, "permissions.addressDump", &[]);
    assert_eq!(
        dump,
        json!([
            {"table": 0, "group": 1, "item": {"ip": "127.0.0.1", "port": 0, "tag": "one"}},
            {"table": 1, "group": 4, "item": {"ip": "10.0.0.1", "port": 0, "tag": "NULL"}},
        ])
    );
    let subnets = bench.rpc(&MODULE, "permissions.subnetDump", &[]);
    assert_eq!(
        subnets,
        json!([{"id": 0, "group": 3, "item": {"ip": "127.0.0.0", "mask": 28, "port": 0, "tag": "net"}}])
    );
    let domains = bench.rpc(&MODULE, "permissions.domainDump", &[]);
    assert_eq!(domains[0]["item"]["domain_name"], "host.example");
    let trusted = bench.rpc(&MODULE, "permissions.trustedDump", &[]);
    assert_eq!(
        trusted[1]["item"],
        json!({"ip": "127.0.0.1", "proto": 0, "pattern": "^sip:a@", "ruri_pattern": "NULL", "tag": "tr", "priority": 0})
    );
    db.raw("INSERT INTO address (grp, ip_addr) VALUES (9, '9.9.9.9')", &[])
        .unwrap();
    assert_eq!(bench.call("allow_address_group", &["9.9.9.9", "1"]), -1);
    for _ in 0..3 {
        assert_eq!(bench.rpc(&MODULE, "permissions.addressReload", &[]), "Reload OK");
    }
    assert_eq!(bench.call("allow_address_group", &["9.9.9.9", "1"]), 9);
    db.raw("DROP TABLE address", &[]).unwrap();
    let failed = bench.rpc(&MODULE, "permissions.addressReload", &[]);
    assert!(
        failed["fault"].as_str().unwrap().starts_with("500 Reload failed"),
        "{failed}"
    );
    assert_eq!(bench.call("allow_address_group", &["9.9.9.9", "1"]), 9);
    assert_eq!(bench.rpc(&MODULE, "permissions.trustedReload", &[]), "Reload OK");
}

#[test]
fn all_tags_and_a_table_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, url) = database(&dir);
    let params: &[(&'static str, &str)] = &[
        ("db_url", &url),
        ("peer_tag_mode", "1"),
        ("peer_tag_avp", "$avp(t)"),
    ];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    bench.receive(REQUEST);
    assert_eq!(bench.call("allow_trusted", &[]), 2);
    assert_eq!(bench.lists.avps(b"t").count(), 2);
    db.raw("DELETE FROM trusted", &[]).unwrap();
    assert_eq!(bench.call("allow_trusted", &[]), -1);
    assert_eq!(
        bench.rpc(&MODULE, "permissions.trustedDump", &[]),
        json!({"fault": "500 No trusted table"})
    );
}

#[test]
fn files_of_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("reg").display().to_string();
    std::fs::write(dir.path().join("reg.deny"), "ALL : \"^sip:.*@1\\.2\\.3\\.4$\"\n").unwrap();
    std::fs::write(dir.path().join("port.deny"), "ALL : \"4:5070$\"\n").unwrap();
    std::fs::write(dir.path().join("addresses"), "1 127.0.0.1\nnonsense\n").unwrap();
    let file = dir.path().join("addresses").display().to_string();
    let params: &[(&'static str, &str)] = &[
        ("address_file", &file),
        ("default_deny_file", "/nonexistent/deny"),
    ];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    bench.receive(REQUEST);
    let port = dir.path().join("port").display().to_string();
    for (name, args, code) in [
        ("allow_source_address", &[][..], 1),
        ("allow_register", &[base.as_str()], -1),
        ("allow_register", &[&port], 1),
        ("allow_register_include_port", &[&port], -1),
        ("allow_register", &["/nonexistent/a", "/nonexistent/b"], 1),
        ("allow_routing", &[], 1),
        ("allow_routing", &[&base], 1),
        ("allow_uri", &[&base, "sip:x@1.2.3.4;lr"], -1),
        ("allow_uri", &[&base, "sip:x@1.2.3.5"], 1),
        ("allow_uri", &[&base, "nonsense"], -1),
        ("allow_refer_to", &[&base], -1),
    ] {
        assert_eq!(bench.call(name, args), code, "{name} {args:?}");
    }
    let test = |uri: &str| [json!(base), json!("sip:a@b"), json!(uri)];
    assert_eq!(
        bench.rpc(&MODULE, "permissions.testUri", &test("sip:c@1.2.3.4")),
        "Denied"
    );
    assert_eq!(
        bench.rpc(&MODULE, "permissions.allowUri", &test("sip:c@1.2.3.5")),
        "Allowed"
    );
    assert_eq!(
        bench.rpc(
            &MODULE,
            "permissions.testUri",
            &[json!("/nonexistent/x"), json!("a"), json!("b")]
        ),
        "Denied"
    );
    assert!(
        bench.rpc(&MODULE, "permissions.testUri", &[])["fault"]
            .as_str()
            .unwrap()
            .contains("Not enough parameters")
    );
}
