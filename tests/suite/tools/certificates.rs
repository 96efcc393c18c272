//! Certificates that `tls` makes, looked at with openssl(1).

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::home::Home;

fn openssl(home: &Home, line: &str) -> String {
    let mut command = Command::new("openssl");
    let output = command
        .args(line.split(' '))
        .current_dir(home.path(""))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}");
    text.into_owned()
}

#[test]
fn an_authority_signs_for_names_and_addresses() {
    let home = Home::empty();
    home.run("tls rootCA --name 'Example/CA' --days 30").ok();
    for (name, check) in [
        ("sip.example.org", "-verify_hostname"),
        ("192.0.2.1", "-verify_ip"),
    ] {
        home.run(&format!("tls userCERT {name}")).ok();
        let files = format!("-CAfile tls/{name}/{name}-calist.pem tls/{name}/{name}-cert.pem");
        openssl(&home, &format!("verify -x509_strict {check} {name} {files}"));
    }
    let mode = |file: &str| home.path(file).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("tls/rootCA/private/cakey.pem"), 0o600);
    assert_eq!(mode("tls/192.0.2.1/192.0.2.1-privkey.pem"), 0o600);
}

#[test]
fn a_certificate_signs_itself() {
    let home = Home::empty();
    home.run("tls gen-certs sip.example.org --days 30").ok();
    let text = openssl(&home, "x509 -noout -text -in tls/proxyd-selfsigned.pem");
    assert!(text.contains("DNS:sip.example.org"), "{text}");
    assert_eq!(text.matches("Basic Constraints").count(), 1, "{text}");
    home.run("tls gen-certs").fails(1, "say --yes");
    home.run("--yes tls gen-certs").ok();
}
