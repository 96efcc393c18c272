//! The module on an SQLite file.

use super::MODULE;
use super::record::Outcome;
use crate::script::module::Hook;
use crate::script::module::TransactionEnd;
use crate::script::testing::Bench;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Select;
use shared::db::Url;
use shared::db::Value;
use shared::db::schema;
use shared::sip::Message;

fn database(dir: &tempfile::TempDir) -> (Box<dyn Backend>, String) {
    let path = dir.path().join("a.db");
    let mut db = shared::db::open_with(&Url::sqlite(&path), Access::Create).unwrap();
    let tables = ["version", "acc", "missed_calls"].map(|name| schema::table(name).unwrap());
    schema::create(&mut *db, &tables).unwrap();
    for table in ["acc", "missed_calls"] {
        db.raw(
            &format!("ALTER TABLE {table} ADD COLUMN src_user VARCHAR(64) DEFAULT ''"),
            &[],
        )
        .unwrap();
    }
    (db, format!("sqlite:///{}", path.display()))
}

fn request(method: &str, to_tag: &str) -> String {
    format!(
        "{method} sip:x@test.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:alice@test.lan>;tag=f\n\
         To: <sip:x@test.lan>{to_tag}\nCall-ID: c\nCSeq: 1 {method}\nContent-Length: 0\n\n"
    )
}

fn end(bench: &mut Bench, status: u16, reply: Option<&Message>) {
    let reason = reply.map_or(&b"By Hand"[..], Message::reason);
    let end = TransactionEnd {
        status,
        reason,
        reply,
        to_tag: b"t",
    };
    for hook in MODULE.hooks {
        if let Hook::ResponseOut(run) = hook {
            run(&mut bench.env(), &end);
        }
    }
}

fn rows(db: &mut dyn Backend, table: &str) -> Vec<Vec<String>> {
    let columns = [
        "method",
        "from_tag",
        "to_tag",
        "callid",
        "sip_code",
        "sip_reason",
        "src_user",
    ];
    let rows = db
        .query(&Select::from(table).columns(&columns).order_by("id"))
        .unwrap();
    rows.iter()
        .map(|row| row.cells().iter().map(Value::to_string).collect())
        .collect()
}

#[test]
fn transactions_leave_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, url) = database(&dir);
    let params: &[(&'static str, &str)] = &[
        ("db_url", &url),
        ("db_flag", "1"),
        ("db_missed_flag", "2"),
        ("failed_transaction_flag", "3"),
        ("failed_filter", "404, 407"),
        ("log_flag", "1"),
        ("log_extra", "from=$fu;m=$rm"),
        ("db_extra", "src_user=$fU"),
        ("report_ack", "1"),
        ("detect_direction", "1"),
    ];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    let busy = Message::parse(&b"SIP/2.0 486 Busy There\r\nContent-Length: 0\r\n\r\n"[..]).unwrap();
    for (method, flags, status, reply) in [
        ("INVITE", 0b0010, 200, None),
        ("INVITE", 0b0000, 200, None),
        ("INVITE", 0b0110, 486, Some(&busy)),
        ("INVITE", 0b1110, 486, Some(&busy)),
        ("INVITE", 0b1010, 404, None),
        ("MESSAGE", 0b1110, 603, None),
        ("CANCEL", 0b0010, 200, None),
        ("ACK", 0b0010, 200, None),
    ] {
        bench.receive(&request(method, ""));
        bench.ctx.flags = flags;
        end(&mut bench, status, reply);
        if flags & 0b100 != 0 && method == "INVITE" {
            assert_eq!(bench.ctx.flags, flags & !0b100, "the missed flag is spent");
        }
    }
    let row = |method: &str, code: &str, reason: &str| {
        [method, "f", "t", "c", code, reason, "alice"]
            .map(str::to_owned)
            .to_vec()
    };
    let missed = row("INVITE", "486", "Busy There");
    assert_eq!(rows(&mut *db, "missed_calls"), [missed.clone(), missed.clone()]);
    assert_eq!(
        rows(&mut *db, "acc"),
        [
            row("INVITE", "200", "OK"),
            missed,
            row("MESSAGE", "603", "Decline")
        ]
    );
    db.raw("DELETE FROM acc", &[]).unwrap();

    bench.receive(&request("ACK", ";tag=b"));
    bench.ctx.flags = 2;
    bench.ctx.route_uri = Some(b"sip:127.0.0.1;lr;ftag=other".to_vec());
    for hook in MODULE.hooks {
        if let Hook::EndToEndAck(run) = hook {
            run(&mut bench.env());
        }
    }
    assert_eq!(bench.call("acc_db_request", &["404 Not here", "acc"]), 1);
    assert_eq!(bench.call("acc_request", &["no status", "acc"]), 1);
    assert_eq!(bench.call("acc_log_request", &["200 fine"]), 1);
    let swapped = |code: &str, reason: &str| {
        ["ACK", "b", "f", "c", code, reason, "alice"]
            .map(str::to_owned)
            .to_vec()
    };
    let expected = [
        swapped("200", "OK"),
        swapped("404", "Not here"),
        swapped("", "no status"),
    ];
    assert_eq!(rows(&mut *db, "acc"), expected);
    let time = db.query(&Select::from("acc").columns(&["time"])).unwrap();
    assert_eq!(time.first().unwrap().at(0), Some(&Value::DateTime(1_700_000_000)));
    let class = db.raw("SELECT typeof(time) FROM acc LIMIT 1", &[]).unwrap();
    assert_eq!(class.rows.first().unwrap().at(0).unwrap().to_string(), "real");
}

#[test]
fn rows_wait_for_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (db, url) = database(&dir);
    drop(db);
    let params: &[(&'static str, &str)] = &[("db_url", &url), ("db_flag", "1")];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    let path = dir.path().join("a.db");
    bench.receive(&request("INVITE", ""));
    assert_eq!(bench.call("acc_db_request", &["1", "nosuch"]), 1);
    let state = std::sync::Arc::clone(
        bench
            .script
            .states
            .get::<super::Acc>()
            .unwrap()
            .writer
            .as_ref()
            .unwrap(),
    );
    assert_eq!(bench.call("acc_db_request", &["200 one", "acc"]), 1);
    state.drain();
    let mut db = shared::db::open(&Url::sqlite(&path)).unwrap();
    let count = db.count(&Select::from("acc")).unwrap();
    assert_eq!(count, 1, "a row that cannot be written does not stop the others");
}

#[test]
fn legs_and_further_times() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, url) = database(&dir);
    for sql in ["ADD COLUMN leg VARCHAR(64)", "ADD COLUMN at VARCHAR(64)"] {
        db.raw(&format!("ALTER TABLE acc {sql}"), &[]).unwrap();
    }
    let params: &[(&'static str, &str)] = &[
        ("db_url", &url),
        ("multi_leg_info", "leg=$avp(l)"),
        ("time_mode", "4"),
        ("time_attr", "at"),
        ("time_format", "%Y/%m/%d %T %s%%"),
    ];
    let mut bench = Bench::new(&[(&MODULE, params)]);
    bench.receive(&request("INVITE", ""));
    for leg in ["one", "two"] {
        bench
            .lists
            .push_avp(b"l", crate::script::value::Value::owned(leg.as_bytes()));
    }
    assert_eq!(bench.call("acc_request", &["200 x", "acc"]), 1);
    let rows = db.query(&Select::from("acc").columns(&["leg", "at"])).unwrap();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.str("leg").unwrap(), row.str("at").unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            "two 2023/11/14 22:13:20 1700000000%",
            "one 2023/11/14 22:13:20 1700000000%"
        ]
    );
}

#[test]
fn parameters_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, url) = database(&dir);
    let start = |name: &'static str, value: &str| {
        let params: &[(&'static str, &str)] = &[("db_url", &url), (name, value)];
        Bench::try_new(&[(&MODULE, params)], None)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for (name, value, why) in [
        ("log_flag", "32", "flags are 0 to 31"),
        ("log_extra", "x", "NAME=$pv"),
        ("multi_leg_info", "x=$var(y)", "$avp(x)"),
        ("time_mode", "5", "0 to 4"),
        ("time_mode", "1", "needs it"),
        ("failed_filter", "x", "digit"),
    ] {
        let error = start(name, value).unwrap_err();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert!(start("log_flag", "31").is_ok());
    db.raw(
        "UPDATE version SET table_version = 3 WHERE table_name = 'acc'",
        &[],
    )
    .unwrap();
    assert!(start("log_flag", "1").unwrap_err().contains("version 3"));
    assert!(start("db_version_check", "0").is_ok());
}

#[test]
fn comments_may_begin_with_a_status() {
    for (comment, code, reason) in [
        ("404 Not Found here", "404", "Not Found here"),
        ("Some comment", "", "Some comment"),
        ("99 x", "", "99 x"),
        ("4040 x", "404", "0 x"),
        ("404", "404", ""),
        ("", "", ""),
    ] {
        let outcome = Outcome::from_comment(comment.as_bytes());
        assert_eq!(
            (&*outcome.code, &*outcome.reason),
            (code.as_bytes(), reason.as_bytes()),
            "{comment}"
        );
    }
}
