//! `loadmodule "permissions"`: source addresses against groups of the address table, and its reload.

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
