//! The module on an SQLite file that others change.

use super::MODULE;
use crate::modules::auth;
use crate::script::testing::Bench;
use crate::script::value::Value;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Update;
use shared::db::Url;
use shared::db::schema;
use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Qop;

struct Fixture {
    _dir: tempfile::TempDir,
    db: Box<dyn Backend>,
    url: String,
}

fn fixture(extra: &[&str]) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut db = shared::db::open_with(&Url::sqlite(&path), Access::Create).unwrap();
    let tables = ["version", "subscriber"].map(|name| schema::table(name).unwrap());
    schema::create(&mut *db, &tables).unwrap();
    for sql in extra {
        db.raw(sql, &[]).unwrap();
    }
    Fixture {
        _dir: dir,
        db,
        url: format!("sqlite:///{}", path.display()),
    }
}

fn request(method: &str, from: &str, line: &str) -> String {
    format!(
        "{method} sip:x@r SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:{from}@r>;tag=f\n\
         To: <sip:{from}@r>\nCall-ID: c\nCSeq: 1 {method}\n{line}Content-Length: 0\n\n"
    )
}

fn attempt(bench: &mut Bench, user: &str, password: &str, algorithm: Algorithm, from: &str) -> i32 {
    bench.receive(&request("MESSAGE", from, ""));
    assert_eq!(bench.call("auth_check", &["r", "subscriber", "1"]), -5);
    bench.call("proxy_challenge", &["r", "0", "MD5,SHA-256"]);
    let challenge = String::from_utf8(bench.host.replies.pop().unwrap().headers).unwrap();
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let h1 = digest::ha1(algorithm, user.as_bytes(), b"r", password.as_bytes());
    let h2 = digest::ha2(algorithm, b"MESSAGE", b"sip:x@r", Qop::None);
    let response = digest::response(&h1, nonce.as_bytes(), Qop::None, &h2);
    let line = format!(
        "Proxy-Authorization: Digest username=\"{user}\", realm=\"r\", nonce=\"{nonce}\", uri=\"sip:x@r\", \
         algorithm={}, response=\"{}\"\n",
        algorithm.as_str(),
        response.as_str()
    );
    bench.receive(&request("MESSAGE", from, &line));
    bench.call("auth_check", &["r", "subscriber", "1"])
}

#[test]
fn plaintext_and_ha1_serve_alike() {
    let ha1 = digest::ha1(Algorithm::Md5, b"carol", b"r", b"c");
    let ha1b = digest::ha1b(Algorithm::Md5, b"carol", b"r", b"r", b"c");
    let sha = digest::ha1(Algorithm::Sha256, b"carol", b"r", b"c");
    let f = fixture(&[
        "ALTER TABLE subscriber ADD COLUMN ha1_sha256 VARCHAR(128) NOT NULL DEFAULT ''",
        "INSERT INTO subscriber (username, domain, password) VALUES ('alice', 'r', 'secret'), ('empty', 'r', '')",
        &format!(
            "INSERT INTO subscriber (username, domain, password, ha1, ha1b, ha1_sha256) VALUES ('carol', 'r', '', '{}', '{}', '{}')",
            ha1.as_str(),
            ha1b.as_str(),
            sha.as_str()
        ),
    ]);
    let stock: &[(&'static str, &str)] = &[
        ("db_url", &f.url),
        ("calculate_ha1", "1"),
        ("password_column", "password"),
        ("load_credentials", "$avp(s:mail)=domain;password"),
    ];
    let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, stock)]);
    let (md5, sha) = (Algorithm::Md5, Algorithm::Sha256);
    for (user, password, algorithm, from, expected) in [
        ("alice", "secret", md5, "alice", 1),
        ("alice", "secret", sha, "alice", 1),
        ("alice", "wrong", md5, "alice", -2),
        ("alice@r", "secret", md5, "alice", 1),
        ("alice", "secret", md5, "bob", -8),
        ("nobody", "secret", md5, "nobody", -3),
        ("empty", "", md5, "empty", -2),
        ("carol", "c", md5, "carol", 1),
        ("carol", "c", sha, "carol", 1),
        ("carol@r", "c", md5, "carol", 1),
        ("carol@r", "c", sha, "carol", -2),
    ] {
        bench.lists.clear();
        assert_eq!(
            attempt(&mut bench, user, password, algorithm, from),
            expected,
            "{user} {algorithm:?}"
        );
        let loaded = bench.lists.avps(b"mail").next().cloned();
        assert_eq!(
            loaded,
            matches!(expected, 1 | -8).then(|| Value::owned(*b"r")),
            "{user}"
        );
    }
    let plain: &[(&'static str, &str)] = &[("db_url", &f.url), ("use_domain", "1")];
    let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, plain)]);
    assert_eq!(attempt(&mut bench, "carol", "c", md5, "carol"), 1);
    assert_eq!(attempt(&mut bench, "carol@other", "c", md5, "carol"), -3);
    assert_eq!(attempt(&mut bench, "alice", "secret", md5, "alice"), -2);
}

#[test]
fn a_change_by_others_counts_at_once() {
    let mut f =
        fixture(&["INSERT INTO subscriber (username, domain, password) VALUES ('alice', 'r', 'one')"]);
    let params: &[(&'static str, &str)] = &[
        ("db_url", &f.url),
        ("calculate_ha1", "1"),
        ("password_column", "password"),
    ];
    let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, params)]);
    let check =
        |bench: &mut Bench, password: &str| attempt(bench, "alice", password, Algorithm::Md5, "alice");
    assert_eq!(check(&mut bench, "one"), 1);
    assert_eq!(check(&mut bench, "one"), 1);
    f.db.raw("UPDATE subscriber SET password = 'two'", &[]).unwrap();
    assert_eq!(check(&mut bench, "one"), -2);
    assert_eq!(check(&mut bench, "two"), 1);
    f.db.raw("DELETE FROM subscriber", &[]).unwrap();
    assert_eq!(check(&mut bench, "two"), -3);
    f.db.raw("DROP TABLE subscriber", &[]).unwrap();
    assert_eq!(check(&mut bench, "two"), -1);
    assert_eq!(bench.call("proxy_challenge", &["r", "0"]), -1);
    assert_eq!(bench.host.replies.pop().unwrap().status, 500);
}

/// A database that cannot tell of changes, as servers cannot, with these users and passwords of domain `r`.
fn untold(users: &[(&str, &str)]) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let mut db = shared::db::open_with(&Url::text(dir.path()), Access::Create).unwrap();
    let tables = ["version", "subscriber"].map(|name| schema::table(name).unwrap());
    schema::create(&mut *db, &tables).unwrap();
    for (user, password) in users {
        let row = Insert::into("subscriber")
            .set("username", *user)
            .set("domain", "r");
        db.insert(&row.set("password", *password)).unwrap();
    }
    let url = format!("text://{}", dir.path().display());
    Fixture { _dir: dir, db, url }
}

#[test]
fn users_of_a_batch_are_asked_for_at_once() {
    let Fixture { _dir, mut db, url } = untold(&[("alice", "a"), ("bob", "b"), ("carol", "c")]);
    let params: &[(&'static str, &str)] = &[
        ("db_url", &url),
        ("calculate_ha1", "1"),
        ("password_column", "password"),
    ];
    for use_domain in ["0", "1"] {
        let params = [params, &[("use_domain", use_domain)]].concat();
        let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, &params)]);
        let check =
            |bench: &mut Bench, user: &str, password| attempt(bench, user, password, Algorithm::Md5, user);
        let credentials = |name: &str, user: &str| {
            let line = format!("{name}: Digest username=\"{user}\", realm=\"r\"\n");
            request("MESSAGE", user, &line).replace('\n', "\r\n").into_bytes()
        };
        bench.host.batch = 1;
        bench.host.ahead = vec![
            credentials("Authorization", "bob"),
            b"username= is no message".to_vec(),
            credentials("Proxy-Authorization", "nobody@r"),
        ];
        assert_eq!(check(&mut bench, "alice", "a"), 1);
        db.update(&Update::table("subscriber").set("password", "new"))
            .unwrap();
        assert_eq!(check(&mut bench, "bob", "wrong"), -2);
        assert_eq!(check(&mut bench, "bob", "b"), 1, "asked for together with alice");
        assert_eq!(
            check(&mut bench, "carol", "new"),
            1,
            "asked for with those behind her"
        );
        assert_eq!(check(&mut bench, "bob", "new"), 1, "read again with carol");
        assert_eq!(check(&mut bench, "nobody", "x"), -3);
        bench.host.batch = 2;
        assert_eq!(check(&mut bench, "bob", "b"), -2);
        assert_eq!(check(&mut bench, "bob", "new"), 1);
        for (user, password) in [("alice", "a"), ("bob", "b"), ("carol", "c")] {
            let back = Update::table("subscriber").set("password", password);
            db.update(&back.eq("username", user)).unwrap();
        }
    }
}

#[test]
fn a_kept_password_gives_way_to_a_new_one() {
    let Fixture { _dir, mut db, url } = untold(&[("alice", "one")]);
    let params: &[(&'static str, &str)] = &[
        ("db_url", &url),
        ("calculate_ha1", "1"),
        ("password_column", "password"),
        ("cache_credentials", "60"),
    ];
    let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, params)]);
    let check =
        |bench: &mut Bench, password: &str| attempt(bench, "alice", password, Algorithm::Md5, "alice");
    assert_eq!(check(&mut bench, "one"), 1);
    db.update(&Update::table("subscriber").set("password", "two"))
        .unwrap();
    assert_eq!(check(&mut bench, "one"), 1, "kept");
    assert_eq!(check(&mut bench, "wrong"), -2);
    assert_eq!(check(&mut bench, "one"), -2, "read again for the wrong one");
    assert_eq!(check(&mut bench, "two"), 1);
    bench.host.wall += std::time::Duration::from_secs(61);
    db.delete(&Delete::from("subscriber").eq("username", "alice"))
        .unwrap();
    assert_eq!(check(&mut bench, "two"), -3);
}

#[test]
fn subscribers_are_found_by_uri() {
    let f = fixture(&["INSERT INTO subscriber (username, domain, password) VALUES ('alice', 'r', 'one')"]);
    let params: &[(&'static str, &str)] = &[("db_url", &f.url), ("load_credentials", "domain")];
    let mut bench = Bench::new(&[(&auth::MODULE, &[]), (&MODULE, params)]);
    bench.receive(&request("MESSAGE", "x", ""));
    for (uri, flags, expected, loaded) in [
        ("sip:alice@other", "0", 1, 1),
        ("sip:alice@other", "1", -2, 0),
        ("sip:alice@r", "1", 1, 1),
        ("sip:%61lice@r", "3", 1, 0),
        ("sip:bob@r", "0", -2, 0),
        ("sip:r", "0", -1, 0),
        ("nonsense", "0", -1, 0),
    ] {
        bench.lists.clear();
        assert_eq!(
            bench.call("is_subscriber", &[uri, "subscriber", flags]),
            expected,
            "{uri}"
        );
        assert_eq!(bench.lists.avps(b"domain").count(), loaded, "{uri}");
    }
}

#[test]
fn a_database_that_does_not_fit_stops_the_start() {
    let mut f = fixture(&[]);
    let start = |params: &[(&'static str, &str)]| {
        Bench::try_new(&[(&auth::MODULE, &[]), (&MODULE, params)], None)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert!(start(&[("db_url", &f.url), ("load_credentials", "x=1;;")]).is_ok());
    assert!(start(&[("db_url", &f.url), ("load_credentials", "$var(x)=domain")]).is_err());
    f.db.raw(
        "UPDATE version SET table_version = 6 WHERE table_name = 'subscriber'",
        &[],
    )
    .unwrap();
    assert!(start(&[("db_url", &f.url)]).unwrap_err().contains("version 6"));
    assert!(start(&[("db_url", &f.url), ("version_table", "0")]).is_ok());
    assert!(
        start(&[("db_url", "sqlite:////nonexistent/x.db")])
            .unwrap_err()
            .contains("/nonexistent/x.db")
    );
    assert!(start(&[("db_url", "nonsense")]).is_err());
}
