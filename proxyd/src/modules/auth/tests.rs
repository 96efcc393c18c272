//! The module on a fake proxy.

use super::MODULE;
use crate::script::testing::Bench;
use shared::digest;
use shared::digest::Algorithm;
use shared::digest::Qop;
use std::time::Duration;

fn request(method: &str, extra: &str) -> String {
    format!(
        "{method} sip:x@test.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:alice@test.lan>;tag=f\n\
         To: <sip:x@test.lan>\nCall-ID: c\nCSeq: 1 {method}\n{extra}Content-Length: 4\n\nbody"
    )
}

fn param(line: &str, name: &str) -> String {
    let from = line.split(&format!("{name}=\"")).nth(1).unwrap_or_default();
    from.split('"').next().unwrap_or_default().to_owned()
}

struct Client<'a> {
    header: &'a str,
    user: &'a str,
    realm: &'a str,
    algorithm: Algorithm,
    qop: Option<(&'a str, &'a str)>,
    password: &'a str,
}

const ALICE: Client<'static> = Client {
    header: "Proxy-Authorization",
    user: "alice",
    realm: "r",
    algorithm: Algorithm::Md5,
    qop: None,
    password: "secret",
};

impl Client<'_> {
    fn line(&self, nonce: &str, method: &str) -> String {
        let h1 = digest::ha1(
            self.algorithm,
            self.user.as_bytes(),
            self.realm.as_bytes(),
            self.password.as_bytes(),
        );
        let (cnonce, body) = (&b"c"[..], &b"body"[..]);
        let qop = match self.qop {
            None => Qop::None,
            Some(("auth", nc)) => Qop::Auth {
                nc: nc.as_bytes(),
                cnonce,
            },
            Some((_, nc)) => Qop::AuthInt {
                nc: nc.as_bytes(),
                cnonce,
                body,
            },
        };
        let h2 = digest::ha2(self.algorithm, method.as_bytes(), b"sip:x@test.lan", qop);
        let response = digest::response(&h1, nonce.as_bytes(), qop, &h2);
        let quality = self.qop.map_or(String::new(), |(qop, nc)| {
            format!(", qop={qop}, nc={nc}, cnonce=\"c\"")
        });
        format!(
            "{}: Digest username=\"{}\", realm=\"{}\", nonce=\"{nonce}\", uri=\"sip:x@test.lan\", response=\"{}\", algorithm={}{quality}\n",
            self.header,
            self.user,
            self.realm,
            response.as_str(),
            self.algorithm.as_str()
        )
    }
}

fn challenged(bench: &mut Bench, method: &str, flags: &str) -> String {
    bench.receive(&request(method, ""));
    assert_eq!(bench.call("auth_challenge", &["r", flags]), 1);
    assert!(bench.ctx.reply_headers.is_empty());
    String::from_utf8(bench.host.replies.last().unwrap().headers.clone()).unwrap()
}

fn check(bench: &mut Bench, method: &str, line: &str) -> i32 {
    bench.receive(&request(method, line));
    bench.call("pv_auth_check", &["r", "secret", "0", "0"])
}

#[test]
fn challenges_look_as_kamailios() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    for (method, flags, status, before, after) in [
        (
            "REGISTER",
            "0",
            401,
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"",
            "\"\r\n",
        ),
        (
            "INVITE",
            "1",
            407,
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"",
            "\", qop=\"auth\"\r\n",
        ),
        (
            "INVITE",
            "3",
            407,
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"",
            "\", qop=\"auth-int\"\r\n",
        ),
        (
            "INVITE",
            "17",
            407,
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"",
            "\", qop=\"auth\", stale=true\r\n",
        ),
    ] {
        let line = challenged(&mut bench, method, flags);
        assert!(line.starts_with(before) && line.ends_with(after), "{line}");
        assert_eq!(bench.host.replies.last().unwrap().status, status);
    }
    bench.receive(&request("INVITE", ""));
    assert_eq!(bench.call("www_challenge", &["r", "0", "SHA-256, MD5"]), 1);
    let lines = String::from_utf8(bench.host.replies.last().unwrap().headers.clone()).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert!(
        lines[0].ends_with(", algorithm=SHA-256") && lines[1].ends_with(", algorithm=MD5"),
        "{lines:?}"
    );
    assert_eq!(param(lines[0], "nonce"), param(lines[1], "nonce"));
    for (realm, flags, replies) in [("", "0", 1), ("", "4", 0)] {
        bench.host.replies.clear();
        assert_eq!(bench.call("www_challenge", &[realm, flags]), -1);
        assert_eq!(bench.host.replies.len(), replies);
    }
}

#[test]
fn codes_tell_what_is_wrong() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    let nonce = param(&challenged(&mut bench, "MESSAGE", "1"), "nonce");
    let wrong = Client {
        password: "no",
        ..ALICE
    };
    let elsewhere = Client {
        realm: "other",
        ..ALICE
    };
    let sha = Client {
        algorithm: Algorithm::Sha256,
        ..ALICE
    };
    let auth = Client {
        qop: Some(("auth", "00000001")),
        ..ALICE
    };
    let int = Client {
        qop: Some(("auth-int", "00000001")),
        ..ALICE
    };
    let odd = Client {
        qop: Some(("odd", "00000001")),
        ..ALICE
    };
    let table = [
        (String::new(), -5),
        (ALICE.line(&nonce, "MESSAGE"), 1),
        (auth.line(&nonce, "MESSAGE"), 1),
        (int.line(&nonce, "MESSAGE"), 1),
        (odd.line(&nonce, "MESSAGE"), -1),
        (sha.line(&nonce, "MESSAGE"), -1),
        (wrong.line(&nonce, "MESSAGE"), -2),
        (ALICE.line(&nonce, "INVITE"), -2),
        (elsewhere.line(&nonce, "MESSAGE"), -5),
        (ALICE.line("forged", "MESSAGE"), -1),
        (ALICE.line("", "MESSAGE"), -1),
        (
            elsewhere.line(&nonce, "MESSAGE") + &ALICE.line(&nonce, "MESSAGE"),
            1,
        ),
        ("Proxy-Authorization: Digest realm=\"r\"\n".to_owned(), -1),
        ("Proxy-Authorization: \n".to_owned(), -1),
        ("Proxy-Authorization: Basic cjpy\n".to_owned(), -5),
    ];
    for (line, expected) in table {
        assert_eq!(check(&mut bench, "MESSAGE", &line), expected, "{line}");
    }
    for method in ["ACK", "CANCEL", "PRACK"] {
        assert_eq!(check(&mut bench, method, ""), 1);
    }
    bench.host.wall += Duration::from_secs(301);
    assert_eq!(check(&mut bench, "MESSAGE", &ALICE.line(&nonce, "MESSAGE")), -4);
    assert_eq!(bench.call("auth_challenge", &["r", "1"]), 1);
    let again = String::from_utf8(bench.host.replies.last().unwrap().headers.clone()).unwrap();
    assert!(again.ends_with("qop=\"auth\", stale=true\r\n"), "{again}");
}

#[test]
fn identity_is_checked_when_asked() {
    let mut bench = Bench::new(&[(&MODULE, &[]), (&crate::modules::siputils::MODULE, &[])]);
    let nonce = param(&challenged(&mut bench, "MESSAGE", "0"), "nonce");
    let bob = Client { user: "bob", ..ALICE };
    bench.receive(&request("MESSAGE", &bob.line(&nonce, "MESSAGE")));
    assert_eq!(bench.call("pv_auth_check", &["r", "secret", "0", "1"]), -8);
    assert_eq!(bench.call("is_user", &["bob"]), -1);
    assert_eq!(bench.call("pv_auth_check", &["r", "secret", "0", "0"]), 1);
    assert_eq!(bench.call("is_user", &["bob"]), 1);
    assert_eq!(bench.call("is_user", &["alice"]), -1);
    let ha1 = digest::ha1(Algorithm::Md5, b"bob", b"r", b"secret");
    assert_eq!(bench.call("pv_proxy_authenticate", &["r", ha1.as_str(), "1"]), 1);
    assert_eq!(bench.call("pv_www_authenticate", &["r", ha1.as_str(), "1"]), -5);
}

#[test]
fn accepted_credentials_are_removed() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    let nonce = param(&challenged(&mut bench, "MESSAGE", "0"), "nonce");
    let elsewhere = Client {
        realm: "other",
        ..ALICE
    };
    let lines = elsewhere.line(&nonce, "MESSAGE") + &ALICE.line(&nonce, "MESSAGE");
    assert_eq!(check(&mut bench, "MESSAGE", &lines), 1);
    assert_eq!(bench.call("has_credentials", &["other"]), 1);
    assert_eq!(bench.call("has_credentials", &["none"]), -1);
    assert_eq!(bench.call("consume_credentials", &[]), 1);
    let left = String::from_utf8(bench.ctx.lumps.apply(&bench.ctx.msg)).unwrap();
    assert!(
        left.contains("realm=\"other\"") && !left.contains("realm=\"r\""),
        "{left}"
    );
    bench.receive(&request(
        "MESSAGE",
        "Proxy-Authorization: Digest realm=\"r\", nonce=\"x\"\n",
    ));
    assert_eq!(bench.call("consume_credentials", &[]), -1);
}

#[test]
fn only_offered_hashes_are_taken() {
    let mut bench = Bench::new(&[(&MODULE, &[("algorithm", "SHA-256"), ("add_authinfo_hdr", "1")])]);
    let line = challenged(&mut bench, "MESSAGE", "0");
    assert!(line.ends_with(", algorithm=SHA-256\r\n"), "{line}");
    let nonce = param(&line, "nonce");
    let sha = Client {
        algorithm: Algorithm::Sha256,
        ..ALICE
    };
    assert_eq!(check(&mut bench, "MESSAGE", &ALICE.line(&nonce, "MESSAGE")), -1);
    assert_eq!(check(&mut bench, "MESSAGE", &sha.line(&nonce, "MESSAGE")), 1);
    let info = String::from_utf8(bench.ctx.reply_headers.clone()).unwrap();
    assert!(
        info.starts_with("Authentication-Info: nextnonce=\"") && info.contains("rspauth=\""),
        "{info}"
    );
    bench.receive(&request("MESSAGE", ""));
    assert_eq!(bench.call("auth_algorithm", &["md5"]), 1);
    assert_eq!(bench.call("auth_challenge", &["r", "0"]), 1);
    let nonce = param(
        std::str::from_utf8(&bench.host.replies.last().unwrap().headers).unwrap(),
        "nonce",
    );
    assert_eq!(check(&mut bench, "MESSAGE", &ALICE.line(&nonce, "MESSAGE")), 1);
    assert_eq!(bench.call("auth_algorithm", &["SHA-1"]), -1);
}

#[test]
fn nonces_outlive_a_reload() {
    let mut old = Bench::new(&[(&MODULE, &[("nonce_count", "1"), ("nc_array_order", "4")])]);
    let nonce = param(&challenged(&mut old, "MESSAGE", "1"), "nonce");
    let first = Client {
        qop: Some(("auth", "00000001")),
        ..ALICE
    }
    .line(&nonce, "MESSAGE");
    assert_eq!(check(&mut old, "MESSAGE", &first), 1);
    let params: &[(&'static str, &str)] = &[("nonce_count", "1"), ("nc_array_order", "4")];
    let mut new = Bench::try_new(&[(&MODULE, params)], Some(&old.script.states)).expect("reloads");
    assert_eq!(check(&mut new, "MESSAGE", &first), -4);
    let second = Client {
        qop: Some(("auth", "00000002")),
        ..ALICE
    }
    .line(&nonce, "MESSAGE");
    assert_eq!(check(&mut new, "MESSAGE", &second), 1);
    assert!(Bench::try_new(&[(&MODULE, &[("nonce_expire", "-1")])], None).is_err());
    let mut other = Bench::new(&[(&MODULE, &[("auth_checks_no_dlg", "8")])]);
    let nonce = param(&challenged(&mut other, "MESSAGE", "1"), "nonce");
    let line = ALICE.line(&nonce, "MESSAGE");
    assert_eq!(check(&mut other, "MESSAGE", &line), 1);
    other.ctx.source.peer.set_ip([10, 0, 0, 1].into());
    assert_eq!(other.call("pv_auth_check", &["r", "secret", "0", "0"]), -4);
}
