//! `loadmodule "permissions"`: source addresses against groups of the address table, and its reload.

use std::net::Ipv4Addr;

use rusqlite::Connection;
use serde_json::json;
use tests::tables;
use tests::wait;

use crate::support::House;

const SCRIPT: &str = r#"
debug=2
log_stderror=yes
children=1
auto_aliases=no
alias="test.lan"
loadmodule "db_sqlite.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "jsonrpcs.so"
loadmodule "permissions.so"
modparam("permissions", "db_url", DBURL)
modparam("permissions", "load_backends", 1)
modparam("permissions", "reload_delta", 0)
request_route {
    if (allow_source_address("200")) {
        sl_send_reply("200", "Carrier");
        exit;
    }
    if (allow_address("300", "10.1.2.3", "5060")) {
        sl_send_reply("202", "Office");
        exit;
    }
    sl_send_reply("403", "Forbidden");
}
"#;

#[test]
fn addresses_are_checked_and_reloaded() {
    let house = House::open_text(SCRIPT, &[]);
    let mut phone = house.agent("caller");
    let mut asked = 0;
    let mut status = || {
        asked += 1;
        phone
            .request(&format!("d{asked}"), "OPTIONS", "sip:test.lan", &[])
            .unwrap();
        phone.receive(wait::PATIENCE).and_then(|reply| reply.status())
    };
    assert_eq!(status(), Some(403));
    let database = Connection::open(house.folder.path().join("test.db")).unwrap();
    tables::add_address(&database, 300, "10.1.0.0", 16).unwrap();
    assert_eq!(status(), Some(403), "a row counts once it is loaded");
    house.server.rpc("permissions.addressReload", &json!([])).unwrap();
    assert_eq!(status(), Some(202));
    tables::add_address(&database, 200, &house.site.server.ip().to_string(), 32).unwrap();
    house.server.rpc("permissions.addressReload", &json!([])).unwrap();
    assert_eq!(status(), Some(200));
    let dump = house.server.rpc("permissions.addressDump", &json!([])).unwrap();
    assert!(
        dump.to_string().contains(&house.site.server.ip().to_string()),
        "{dump:#}"
    );
    let dump = house.server.rpc("permissions.subnetDump", &json!([])).unwrap();
    assert!(dump.to_string().contains("10.1.0.0"), "{dump:#}");
}

/// However large a table is, calls are handled while it is read again.
#[test]
fn a_reload_has_a_break_every_128_rows() {
    const ROWS: u32 = 1000;
    let house = House::open_text(&SCRIPT.replace("debug=2", "debug=3"), &[]);
    let database = Connection::open(house.folder.path().join("test.db")).unwrap();
    for row in 0..ROWS {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + row);
        tables::add_address(&database, 200, &address.to_string(), 32).unwrap();
    }
    house.server.rpc("permissions.addressReload", &json!([])).unwrap();
    assert!(house.server.await_log("addressReload: 1000 rows, 7 breaks"));
}

#[test]
fn so_has_that_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("addresses");
    std::fs::write(&file, "200 10.1.0.0 16\n".repeat(300)).unwrap();
    let param = format!(
        "modparam(\"permissions\", \"address_file\", \"{}\")\n",
        file.display()
    );
    let script = SCRIPT
        .replace("debug=2", "debug=3")
        .replace("request_route", &(param + "request_route"));
    let house = House::open_text(&script, &[]);
    house.server.rpc("permissions.addressReload", &json!([])).unwrap();
    assert!(house.server.await_log("addressReload: 300 rows, 2 breaks"));
}
