//! Every method of the daemon, called once with parameters that mean something, against the transcript `methods.txt`.
//!
//! A line is a method and its parameters, the indented one below it what comes of it: the shape of the answer, or `!` with code and
//! message of the refusal. `SELF` is a URI of the daemon. `UPDATE_SESSIONS=1` writes down what the daemon says now.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::RpcError;
use tests::subject::Server;
use tests::subject::Subject;
use tests::wait;

use super::home::Home;

/// Members of an object that are shown; one with more is a table.
const MEMBERS: usize = 16;

#[test]
fn every_method_answers_in_its_shape() {
    let (home, site) = (Home::new(), Site::new());
    let mut server = start(&home, &site);
    let file = beside("methods.txt");
    let expected = fs::read_to_string(&file).unwrap();
    let self_uri = format!("sip:{}", site.server);
    let (mut called, mut found) = (BTreeSet::new(), String::new());
    let methods = server
        .rpc("system.listMethods", &json!([]))
        .unwrap_or_else(|e| panic!("{e} {} {}", server.folder().display(), server.log()));
    for line in expected.lines().filter(|line| !line.starts_with(' ')) {
        let _ = writeln!(found, "{line}");
        let Some((method, params)) = line.split_once(" [") else {
            continue;
        };
        called.insert(method.to_owned());
        let params = format!("[{params}").replace("SELF", &self_uri);
        let params = serde_json::from_str(&params).unwrap_or_else(|error| panic!("{line}: {error}"));
        let _ = match server.rpc(method, &params) {
            Ok(answer) => writeln!(found, "    {}", shape(&answer)),
            Err(RpcError::Refused { code, message }) => {
                writeln!(found, "    ! {code} {}", message.trim_end())
            }
            Err(error) => panic!("{line}: {error}\n--- log\n{}", server.log()),
        };
    }
    let ended = wait::until(wait::PATIENCE, || (!server.is_alive()).then_some(()));
    assert!(ended.is_some(), "core.kill ends nothing");
    let missing: Vec<&str> = methods
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|method| !called.contains(*method))
        .collect();
    assert!(missing.is_empty(), "never called: {missing:?}");
    if env::var_os("UPDATE_SESSIONS").is_some() {
        fs::write(&file, found).unwrap();
    } else {
        let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
        assert!(
            expected == found,
            "UPDATE_SESSIONS=1 writes it anew: {differs:#?}"
        );
    }
}

/// A module that brings methods must be in the script, or they are in no transcript.
#[test]
fn the_script_loads_every_module_with_methods() {
    let script = fs::read_to_string(beside("methods.cfg")).unwrap();
    let reference = proxyd::reference::modules();
    let mut module = "";
    for line in reference.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            module = name;
        } else if line == "### RPCs" && module != "core" {
            let load = format!("loadmodule \"{module}.so\"");
            assert!(script.contains(&load), "{load} is missing");
        }
    }
}

fn start(home: &Home, site: &Site) -> Server {
    for line in [
        "dialplan addrule 1 0 regexp ^0 0 ^0(.*)$ +49\\1",
        "mtree add mtree 49 germany",
        "address add 1 192.0.2.1",
        "address add 1 192.0.2.128/25",
        "trusted add 192.0.2.1",
        "domain add test.lan",
    ] {
        home.run(line).ok();
    }
    let account = "INSERT INTO uacreg (l_uuid, l_username, l_domain, r_username, r_domain, realm, auth_username, auth_password, \
         auth_proxy, expires) VALUES ('row', 'a', 'test.lan', 'a', '192.0.2.1', 'test.lan', 'a', 'secret', 'sip:192.0.2.1', 600)";
    home.db().raw(account, &[]).unwrap();
    home.run("tls gen-certs test.lan").ok();
    let certificate = home.path("tls/proxyd-selfsigned.pem");
    let profile = format!(
        "[server:default]\ncertificate = {}\nprivate_key = {}\n",
        certificate.display(),
        certificate.with_extension("key").display()
    );
    let profiles = home.write("tls.cfg", &profile);
    let patterns = home.write("patterns", "[0]\n^a\n");
    let launch = Launch {
        script: beside("methods.cfg"),
        listen: site.listen().into_iter().take(2).collect(),
        defines: vec![
            format!("DBURL=\"sqlite:///{}\"", home.path("proxyd.db").display()),
            format!("PATTERNS=\"{}\"", patterns.display()),
            format!("PROFILES=\"{}\"", profiles.display()),
        ],
        ..Launch::default()
    };
    Server::start(Subject::Proxyd, &launch).unwrap_or_else(|error| panic!("{error}"))
}

/// An answer without what differs from run to run: words for scalars, the first element for a list.
fn shape(answer: &Value) -> Value {
    match answer {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("text"),
        Value::Array(list) => list.iter().take(1).map(shape).collect(),
        Value::Object(object) => {
            let members = object
                .iter()
                .take(if object.len() > MEMBERS { 1 } else { MEMBERS });
            let mut shown: Map<String, Value> = members
                .map(|(name, value)| (name.clone(), shape(value)))
                .collect();
            if object.len() > MEMBERS {
                shown.insert("…".to_owned(), json!("…"));
            }
            Value::Object(shown)
        }
    }
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("suite/tools")
        .join(name)
}
