//! What the tests of several modules need.

use crate::script::testing::Bench;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Url;
use shared::db::schema;
use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Qop;

/// An SQLite file with some of the tables.
pub(crate) struct Db {
    _dir: tempfile::TempDir,
    pub(crate) connection: Box<dyn Backend>,
    pub(crate) url: String,
}

impl Db {
    /// Makes the tables and runs the statements.
    pub(crate) fn new(tables: &[&str], sql: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.db");
        let mut connection = shared::db::open_with(&Url::sqlite(&path), Access::Create).expect("a new file");
        let tables = ["version"]
            .iter()
            .chain(tables)
            .map(|name| schema::table(name).expect("a known table"));
        schema::create(&mut *connection, &tables.collect::<Vec<_>>()).expect("tables");
        for sql in sql {
            connection.raw(sql, &[]).expect("a statement");
        }
        Self {
            _dir: dir,
            connection,
            url: format!("sqlite:///{}", path.display()),
        }
    }
}

/// Puts a request of alice in place whose credentials were accepted; module auth is loaded.
pub(crate) fn authorized_request(bench: &mut Bench, uri: &str) {
    let request = |line: &str| {
        format!(
            "OPTIONS {uri} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\nFrom: <sip:alice@a.lan>;tag=f\n\
             To: <sip:x@y>\nCall-ID: c\nCSeq: 1 OPTIONS\n{line}Content-Length: 0\n\n"
        )
    };
    bench.receive(&request(""));
    bench.call("proxy_challenge", &["r", "0"]);
    let challenge = String::from_utf8(bench.host.replies.pop().expect("a challenge").headers).expect("text");
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a nonce");
    let h1 = digest::ha1(Algorithm::Md5, b"alice", b"r", b"secret");
    let h2 = digest::ha2(Algorithm::Md5, b"OPTIONS", uri.as_bytes(), Qop::None);
    let response = digest::response(&h1, nonce.as_bytes(), Qop::None, &h2);
    let line = format!(
        "Proxy-Authorization: Digest username=\"alice\", realm=\"r\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{}\"\n",
        response.as_str()
    );
    bench.receive(&request(&line));
    assert_eq!(bench.call("pv_proxy_authenticate", &["r", "secret", "0"]), 1);
}
