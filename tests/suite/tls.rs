//! TLS against OpenSSL's own client, the limits of a handshake, certificates that are exchanged or refused.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;
use tests::scenario::DOMAIN;
use tests::secure;
use tests::secure::Identity;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::subject::is_open;
use tests::ua::Transport;
use tests::ua::Ua;
use tests::wait;

use crate::support::start;

/// A server with TLS and a folder of certificates.
struct Secured {
    site: Site,
    folder: TempDir,
    server: Server,
}

/// What every profile of these tests begins with.
const SERVER: &str = "[server:default]\nmethod=TLSv1.2+\ncertificate=server.pem\nprivate_key=server.key\n";

/// Tells of the certificates; relays what has somewhere to go.
const ROUTE: &str = r#"
loadmodule "tls.so"
loadmodule "jsonrpcs.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "corex.so"
modparam("tls", "config", "tls.cfg")
enable_tls=yes
tcp_connect_timeout=2
request_route {
    if ($hdr(X-To) != $null) { $ru = $hdr(X-To); t_relay(); exit; }
    sl_send_reply("200", "$tls_my_serial $tls_peer_serial $tls_peer_verified$tls_peer_expired$tls_peer_selfsigned$tls_peer_revoked");
}
"#;

impl Secured {
    fn open(config: &str, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        secure::make_certificates(folder.path(), names).unwrap();
        fs::write(folder.path().join("tls.cfg"), config).unwrap();
        let script = folder.path().join("test.cfg");
        fs::write(&script, ROUTE).unwrap();
        let site = Site::new();
        let listen = vec![format!("udp:{}", site.server), format!("tls:{}", site.server_tls)];
        let server = start(&Launch {
            script,
            listen,
            folder: Some(folder.path().join("server")),
            ..Launch::default()
        });
        Self { site, folder, server }
    }

    fn phone(&self, name: &str) -> Ua {
        let address = self.site.user_agent(false);
        let mut phone = Ua::open(name, Transport::Tls, address, self.site.server_tls, DOMAIN).unwrap();
        phone.identify(Identity::new(self.folder.path(), name, DOMAIN).unwrap());
        phone
    }

    /// The reason that an OPTIONS of a new phone is answered with; none when it gets no connection.
    fn ask(&self, name: &str) -> Option<String> {
        let mut phone = self.phone(name);
        phone.request("dialog", "OPTIONS", &phone.aor(), &[]).ok()?;
        let reply = phone.receive(wait::PATIENCE / 4)?;
        Some(reply.start.trim_start_matches("SIP/2.0 200 ").to_owned())
    }
}

#[test]
fn openssl_is_answered() {
    let house = Secured::open(SERVER, &["server"]);
    for (version, sni) in [("-tls1_2", "N/A"), ("-tls1_3", "sip.test")] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", version, "-connect"]);
        client.arg(house.site.server_tls.to_string());
        match sni {
            "N/A" => client.arg("-noservername"),
            name => client.args(["-servername", name]),
        };
        client
            .arg("-CAfile")
            .arg(house.folder.path().join("ca.pem"))
            .arg("-verify_return_error");
        let mut client = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = format!(
            "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1;rport\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: {version}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        client
            .stdin
            .as_mut()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
        let mut answer = [0; 15];
        client.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "SIP/2.0 200 100");
        let list = house.server.rpc("tls.list", &json!([])).unwrap();
        let row = &list[0];
        assert_eq!(
            (&row["sni"], &row["state"]),
            (&json!(sni), &json!("established")),
            "{list:#}"
        );
        let cipher = row["cipher"].as_str().unwrap();
        assert!(cipher.contains(&format!("TLSv1.{}", &version[6..])), "{cipher}");
        assert_eq!(
            house.server.rpc("tls.kill", &json!([row["id"]])).unwrap(),
            json!("OK")
        );
        // Its other end is closed, so the client ends by itself.
        assert!(wait::until(wait::PATIENCE, || client.try_wait().unwrap()).is_some());
    }
    let gone = wait::until(wait::PATIENCE, || {
        (house.server.rpc("tls.list", &json!([])).unwrap() == json!([])).then_some(())
    });
    assert!(gone.is_some());
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let house = Secured::open(SERVER, &["server"]);
    let began = Instant::now();
    let mut silent = TcpStream::connect(house.site.server_tls).unwrap();
    silent.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let info = || house.server.rpc("tls.info", &json!([])).unwrap();
    let counted = wait::until(wait::PATIENCE, || {
        (info()["opened_connections"] == 1).then_some(())
    });
    assert!(counted.is_some());
    assert_eq!(silent.read(&mut [0; 9]).unwrap(), 0);
    assert!(began.elapsed().as_secs() >= 1);
    let mut plain = TcpStream::connect(house.site.server_tls).unwrap();
    plain.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    plain.write_all(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n").unwrap();
    // An alert at most, and then the end.
    let mut alert = Vec::new();
    plain.read_to_end(&mut alert).unwrap();
    assert!(alert.len() < 16, "{alert:?}");
    assert_eq!(house.ask("nobody").as_deref(), Some("1000 <null> 0000"));
}

#[test]
fn a_reload_is_for_new_connections() {
    let house = Secured::open(SERVER, &["server", "second"]);
    let mut before = house.phone("nobody");
    let mut ask = |dialog: &str| {
        before.request(dialog, "OPTIONS", &before.aor(), &[]).unwrap();
        before.receive(wait::PATIENCE).unwrap().start
    };
    assert_eq!(ask("one"), "SIP/2.0 200 1000 <null> 0000");
    let config = house.folder.path().join("tls.cfg");
    fs::write(&config, SERVER.replace("server.", "second.")).unwrap();
    let reload = || house.server.rpc("tls.reload", &json!([]));
    assert_eq!(reload().unwrap(), json!("Ok. TLS configuration reloaded."));
    assert_eq!(ask("two"), "SIP/2.0 200 1000 <null> 0000");
    assert_eq!(house.ask("nobody").as_deref(), Some("1001 <null> 0000"));
    // What cannot be read changes nothing.
    fs::write(&config, SERVER.replace("server.", "third.")).unwrap();
    let refused = reload().unwrap_err().to_string();
    assert!(
        refused.contains("[server:default]") && refused.contains("third.pem"),
        "{refused}"
    );
    assert_eq!(house.ask("nobody").as_deref(), Some("1001 <null> 0000"));
}

#[test]
fn clients_show_what_is_asked_for() {
    let asked = |settings: &str| format!("{SERVER}ca_list=ca.pem\n{settings}");
    let house = Secured::open(
        &asked("require_certificate=yes\n"),
        &["server", "alice", "mallory"],
    );
    // Mallory's is issued by another authority.
    let elsewhere = tempfile::tempdir().unwrap();
    secure::make_certificates(elsewhere.path(), &["mallory"]).unwrap();
    for file in ["mallory.pem", "mallory.key"] {
        fs::copy(elsewhere.path().join(file), house.folder.path().join(file)).unwrap();
    }
    let answers = |house: &Secured| ["alice", "mallory", "nobody"].map(|name| house.ask(name));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(answers(&house), [some("1000 1001 1000"), None, None]);
    let change = |settings: &str| {
        fs::write(house.folder.path().join("tls.cfg"), asked(settings)).unwrap();
        house.server.rpc("tls.reload", &json!([])).unwrap();
    };
    change("verify_certificate=yes\n");
    assert_eq!(
        answers(&house),
        [some("1000 1001 1000"), None, some("1000 <null> 0000")]
    );
    change("verify_client=optional_no_ca\n");
    let all = [
        some("1000 1001 1000"),
        some("1000 1000 0000"),
        some("1000 <null> 0000"),
    ];
    assert_eq!(answers(&house), all);
    // One that is trusted itself needs no issuer.
    change("verify_client=optional\nca_list=mallory.pem\n");
    assert_eq!(
        answers(&house),
        [None, some("1000 1000 1000"), some("1000 <null> 0000")]
    );
}

/// Sends to a phone that listens, by the profile `[client:default]` with these settings; the status.
fn relayed(settings: &str) -> Option<u16> {
    let config = format!("{SERVER}[client:default]\nmethod=TLSv1.2+\n{settings}");
    let house = Secured::open(&config, &["server", "bob"]);
    let (mut caller, mut bob) = (house.phone("nobody"), house.phone("bob"));
    let to = [("X-To".to_owned(), bob.contact())];
    caller.request("dialog", "MESSAGE", &bob.aor(), &to).unwrap();
    let mut reply = None;
    wait::until(wait::PATIENCE, || {
        if let Some(request) = bob.waiting().pop() {
            bob.reply(&request, "200 OK", &[]).unwrap();
        }
        reply = caller.waiting().pop().and_then(|reply| reply.status());
        reply.filter(|status| *status >= 200)
    })
}

#[test]
fn servers_are_verified_where_that_is_asked_for() {
    for (settings, expected) in [
        ("", 200),
        ("verify_certificate=yes\nca_list=ca.pem\n", 200),
        (
            "verify_certificate=yes\nca_list=ca.pem\nserver_name=bob.test\n",
            200,
        ),
        (
            "verify_certificate=yes\nca_list=ca.pem\nserver_name=eve.test\n",
            500,
        ),
        ("verify_certificate=yes\nca_list=server.pem\n", 500),
    ] {
        assert_eq!(relayed(settings), Some(expected), "{settings}");
    }
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    secure::make_certificates(folder.path(), &["server"]).unwrap();
    let script = folder.path().join("test.cfg");
    let site = Site::new();
    let said = |config: &str, script_text: &str| {
        fs::write(folder.path().join("tls.cfg"), config).unwrap();
        fs::write(&script, script_text).unwrap();
        let launch = Launch {
            script: script.clone(),
            listen: vec![format!("tls:{}", site.server_tls)],
            ..Launch::default()
        };
        // Its sockets are open for a moment.
        match Server::start(Subject::Proxyd, &launch) {
            Err(error) => error.to_string(),
            Ok(mut server) => {
                let ended = wait::until(wait::PATIENCE, || (!server.is_alive()).then_some(()));
                assert!(ended.is_some(), "{config}");
                server.log()
            }
        }
    };
    for (config, expected) in [
        (
            "[server:default]\n",
            "profile [server:default]: certificate is not set",
        ),
        (
            "[server:default]\nmethod=TLSv1\n",
            "only TLSv1.2, TLSv1.3, TLSv1.2+",
        ),
        (
            "[server:default]\ncertificate=server.pem\nprivate_key=ca.key\n",
            "keys may not be consistent",
        ),
        (
            "[server:default]\nprivate_key_password=hush\n",
            "a private key with a password",
        ),
    ] {
        let error = said(config, ROUTE);
        assert!(error.contains(expected), "{config}: {error}");
        assert!(
            !error.contains("hush") && !error.contains("PRIVATE KEY"),
            "{error}"
        );
    }
    let error = said("", "enable_tls=yes\nrequest_route { exit; }\n");
    assert!(error.contains("enable_tls needs the module tls"), "{error}");
    assert!(!is_open(&format!("tls:{}", site.server_tls)));
}
