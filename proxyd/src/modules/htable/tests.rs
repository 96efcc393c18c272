//! The module as scripts, operators and the database see it.

use super::Htable;
use super::MODULE;
use super::table::Life;
use crate::modules::testing::Db;
use crate::script::compile::parse_format;
use crate::script::testing::Bench;
use crate::script::value::Value;
use serde_json::json;
use shared::db::Select;

const REQUEST: &str = "OPTIONS sip:x@y SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: <sip:alice@a>;tag=f\nTo: <sip:x@y>\nCall-ID: c\nCSeq: 1 OPTIONS\n\n";

fn tables(definitions: &[&str], db: Option<&Db>) -> Bench {
    let mut params: Vec<(&'static str, &str)> = definitions.iter().map(|text| ("htable", *text)).collect();
    params.extend(db.map(|db| ("db_url", db.url.as_str())));
    params.push(("db_expires", "1"));
    let mut bench = Bench::new(&[(&MODULE, &params)]);
    bench.receive(REQUEST);
    bench
}

/// The text of a format in which null is `<null>`.
fn read(bench: &mut Bench, text: &str) -> String {
    let format =
        parse_format(text.as_bytes(), &bench.script.modules, &bench.script.program).expect("a format");
    let mut out = Vec::new();
    format.print(&bench.env(), &mut out);
    String::from_utf8(out).expect("text")
}

fn set(bench: &mut Bench, table: &str, key: &str, value: Value<'static>) {
    let env = bench.env();
    let table = env.state::<Htable>().unwrap().table(table.as_bytes()).unwrap();
    table
        .set(key.as_bytes(), value, Life::Defined, env.host.wall().as_secs())
        .unwrap();
}

#[test]
fn pseudo_variables_read_tables() {
    let mut bench = tables(
        &["h=>size=4;", "i=>size=4;initval=5;", "e=>size=8;autoexpire=100"],
        None,
    );
    set(&mut bench, "h", "v1", Value::owned(*b"abc"));
    set(&mut bench, "h", "c::v2", Value::owned(*b"abd"));
    set(&mut bench, "h", "v3", Value::Int(7));
    set(&mut bench, "e", "k", Value::Int(1));
    for (text, expected) in [
        (
            "$sht(h=>v1) $sht(h=>none) $sht(nosuch=>v1) $sht(i=>none)",
            "abc <null> <null> 5",
        ),
        ("$sht(h=>$ci::v2)", "abd"),
        (
            "$shtinc(i=>c) $shtinc(i=>c) $shtdec(i=>d) $shtinc(h=>none) $shtinc(h=>v1) $shtinc(h=>v3)",
            "6 7 4 <null> <null> 8",
        ),
        (
            "$shtcn(h=>~~^v) $shtcn(h=>%~v) $shtcn(h=>~%3) $shtcn(h=>==v1) $shtcn(h=>v)",
            "2 2 1 1 3",
        ),
        (
            "$shtcv(h=>~~^ab) $shtcv(h=>==7) $shtcv(h=>eq8) $shtcv(h=>eqabc) $shtcv(h=>**) $shtcv(h=>[)",
            "2 0 1 0 3 0",
        ),
        ("$shtex(h=>v1) $shtex(e=>k) $shtex(e=>none)", "0 100 0"),
        ("$shtitkey(x) $shtrecord(key)", "<null> "),
    ] {
        assert_eq!(read(&mut bench, text), expected, "{text}");
    }
}

#[test]
fn functions_change_tables() {
    let mut bench = tables(
        &["h=>size=4;", "i=>size=4;initval=5;", "e=>size=8;autoexpire=100"],
        None,
    );
    for (key, value) in [("v1", "abc"), ("v2", "abd"), ("w", "x"), ("s", "text")] {
        set(&mut bench, "h", key, Value::owned(value.as_bytes()));
    }
    set(&mut bench, "h", "n", Value::Int(2));
    for (name, args, code, shown, expected) in [
        ("sht_match_name", &["h", "eq", "v1"][..], 1, "", ""),
        ("sht_has_name", &["h", "re", "^zz"], -1, "", ""),
        ("sht_has_str_value", &["h", "sw", "ab"], 1, "", ""),
        ("sht_match_name", &["h", "xx", "v"], -1, "", ""),
        ("sht_rm", &["h", "v1"], 1, "$sht(h=>v1)", "<null>"),
        ("sht_rm", &["h", "v1"], 1, "", ""),
        ("sht_rm", &["zz", "v1"], -1, "", ""),
        ("sht_rm_name_re", &["h=>^v"], 1, "$sht(h=>v2)", "<null>"),
        ("sht_rm_name_re", &["h"], -1, "", ""),
        ("sht_rm_value_re", &["h=>2"], 1, "$sht(h=>n)", "2"),
        ("sht_rm_name", &["h", "sw", "w"], 1, "$sht(h=>w)", "<null>"),
        ("sht_rm_value", &["h", "ew", "xt"], 1, "$sht(h=>s)", "<null>"),
        (
            "sht_setxs",
            &["e", "xs", "val", "33"],
            1,
            "$sht(e=>xs) $shtex(e=>xs)",
            "val 33",
        ),
        (
            "sht_setxi",
            &["e", "xi", "12", "34"],
            1,
            "$sht(e=>xi) $shtex(e=>xi)",
            "12 34",
        ),
        ("sht_inc", &["e", "xi"], 1, "$sht(e=>xi)", "13"),
        ("sht_dec", &["e", "none"], -1, "", ""),
        ("sht_is_null", &["h", "none"], 1, "", ""),
        ("sht_is_null", &["h", "n"], -2, "", ""),
        ("sht_is_null", &["i", "none"], -1, "", ""),
        ("sht_is_null", &["zz", "n"], 2, "", ""),
        ("sht_lock", &["h=>a"], 1, "", ""),
        ("sht_unlock", &["h=>a"], 1, "", ""),
        ("sht_unlock", &["h=>a"], -1, "", ""),
        ("sht_reset", &["h"], 1, "$shtcn(h=>.*)", "0"),
    ] {
        assert_eq!(bench.call(name, args), code, "{name} {args:?}");
        assert_eq!(read(&mut bench, shown), expected, "{name} {args:?}");
    }
}

#[test]
fn iterators_walk_by_slot() {
    let mut bench = tables(&["h=>size=8;"], None);
    for key in ["a", "k16", "k"] {
        set(&mut bench, "h", key, Value::owned(key.as_bytes()));
    }
    assert_eq!(bench.call("sht_iterator_next", &["i"]), -1);
    assert_eq!(bench.call("sht_iterator_start", &["i", "nosuch"]), -1);
    assert_eq!(bench.call("sht_iterator_start", &["i", "h"]), 1);
    let mut seen = Vec::new();
    while bench.call("sht_iterator_next", &["i"]) == 1 {
        seen.push(read(&mut bench, "$shtitkey(i)=$shtitval(i)"));
    }
    assert_eq!(seen, ["k16=k16", "k=k", "a=a"]);
    assert_eq!(bench.call("sht_iterator_end", &["i"]), 1);
    bench.call("sht_iterator_start", &["i", "h"]);
    bench.call("sht_iterator_next", &["i"]);
    assert_eq!(bench.call("sht_iterator_seti", &["i", "9"]), 1);
    assert_eq!(read(&mut bench, "$shtitval(i) $sht(h=>k16)"), "9 9");
    assert_eq!(bench.call("sht_iterator_rm", &["i"]), 1);
    assert_eq!(read(&mut bench, "$shtitkey(i) $sht(h=>k16)"), "k <null>");
    bench.call("sht_rm", &["h", "a"]);
    assert_eq!(bench.call("sht_iterator_rm", &["i"]), -2);
    assert_eq!(bench.call("sht_iterator_end", &["i"]), 1);
    for (name, code) in [("1", 1), ("2", 1), ("3", 1), ("4", 1), ("5", -1), ("4", 1)] {
        assert_eq!(bench.call("sht_iterator_start", &[name, "h"]), code, "{name}");
    }
}

#[test]
fn operators_see_and_change_tables() {
    let mut bench = tables(&["h=>size=4;", "e=>size=8;autoexpire=100;updateexpire=0"], None);
    for (method, params, expected) in [
        (
            "htable.sets",
            json!(["h", "x", "11"]),
            json!("Ok. Key set to new value."),
        ),
        (
            "htable.seti",
            json!(["h", "num", 7]),
            json!("Ok. Key set to new value."),
        ),
        (
            "htable.get",
            json!(["h", "x"]),
            json!({"item": {"name": "x", "value": "11", "flags": 2, "expire": "NEVER"}}),
        ),
        (
            "htable.get",
            json!(["h", "num"]),
            json!({"item": {"name": "num", "value": 7, "flags": 0, "expire": "NEVER"}}),
        ),
        (
            "htable.get",
            json!(["h", "zz"]),
            json!({"fault": "500 Key name doesn't exist in htable."}),
        ),
        (
            "htable.get",
            json!(["nosuch", "x"]),
            json!({"fault": "500 No such htable"}),
        ),
        (
            "htable.dump",
            json!([]),
            json!({"fault": "500 No htable name given"}),
        ),
        (
            "htable.dump",
            json!(["h"]),
            json!([
                {"entry": 4, "size": 1, "slot": [{"name": "num", "value": 7, "type": "int"}]},
                {"entry": 7, "size": 1, "slot": [{"name": "x", "value": "11", "type": "str"}]},
            ]),
        ),
        (
            "htable.setxs",
            json!(["e", "a", "b", 5]),
            json!("Ok. Key set to new value."),
        ),
        ("htable.setex", json!(["e", "zz", 5]), json!("Ok")),
        (
            "htable.listTables",
            json!([]),
            json!([
                {"name": "e", "dbtable": "", "dbmode": 0, "expire": 100, "updateexpire": 0, "size": 256, "dmqreplicate": 0},
                {"name": "h", "dbtable": "", "dbmode": 0, "expire": 0, "updateexpire": 1, "size": 16, "dmqreplicate": 0},
            ]),
        ),
        (
            "htable.stats",
            json!([]),
            json!([
                {"name": "e", "slots": 256, "all": 1, "min": 0, "max": 1},
                {"name": "h", "slots": 16, "all": 2, "min": 0, "max": 1},
            ]),
        ),
        ("htable.delete", json!(["h", "x"]), json!("Ok. Key deleted.")),
        (
            "htable.delete",
            json!(["h", "x"]),
            json!({"fault": "404 Key not found in htable."}),
        ),
        (
            "htable.store",
            json!(["h"]),
            json!({"fault": "500 No htable db_url"}),
        ),
        (
            "htable.reload",
            json!(["h"]),
            json!({"fault": "500 No htable db_url"}),
        ),
        ("htable.flush", json!(["h"]), json!("Ok. Htable flushed.")),
        ("htable.dump", json!(["h"]), json!([])),
    ] {
        let answer = bench.rpc(&MODULE, method, params.as_array().unwrap());
        assert_eq!(answer, expected, "{method} {params}");
    }
    let shown = bench.rpc(&MODULE, "htable.get", &[json!("e"), json!("a")]);
    let expire = shown["item"]["expire"].as_str().unwrap();
    assert!(shared::db::from_local(expire).is_some(), "{expire}");
}

#[test]
fn tables_come_from_the_database_and_go_back() {
    let rows = [
        "INSERT INTO htable (key_name, key_type, value_type, key_value, expires) VALUES ('k1', 0, 0, 'val', 0), ('n1', 0, 1, '12', 0), \
         ('arr', 1, 0, 'a0', 0), ('arr', 1, 0, 'a1', 0), ('bad', 0, 1, 'x', 0), ('old', 0, 0, 'x', 1000), ('fut', 0, 0, 'x', 2000000000)",
        "INSERT INTO subscriber (username, domain, password) VALUES ('alice', 'test.lan', 'pw')",
    ];
    let mut db = Db::new(&["htable", "subscriber"], &rows);
    let definitions = [
        "db=>size=4;dbtable=htable;dbmode=1;",
        "ex=>size=4;autoexpire=10;dbtable=htable",
        "c=>size=4;dbtable=subscriber;cols='username,domain,password';coldelim=';'",
        "one=>size=4;dbtable=subscriber;cols='username,id'",
    ];
    let mut bench = tables(&definitions, Some(&db));
    for (text, expected) in [
        (
            "$sht(db=>k1) $sht(db=>n1) $sht(db=>arr[0]) $sht(db=>arr[1]) $sht(db=>arr::size) $sht(db=>old) $sht(db=>bad)",
            "val 12 a0 a1 2 x 0",
        ),
        (
            "$sht(ex=>old) $sht(ex=>fut) $shtex(ex=>k1) $shtex(ex=>fut)",
            "<null> x 10 300000000",
        ),
        ("$sht(c=>alice) $sht(one=>alice)", "test.lan;pw 1"),
    ] {
        assert_eq!(read(&mut bench, text), expected, "{text}");
    }
    set(&mut bench, "db", "new", Value::owned(*b"n'v"));
    assert_eq!(
        bench.rpc(&MODULE, "htable.store", &[json!("db")]),
        "Ok. Htable successfully stored to DB."
    );
    assert_eq!(db.connection.count(&Select::from("htable")).unwrap(), 9);
    assert_eq!(
        bench.rpc(&MODULE, "htable.store", &[json!("c")]),
        json!({"fault": "500 No database htable"})
    );
    set(&mut bench, "db", "lost", Value::Int(1));
    assert_eq!(
        bench.rpc(&MODULE, "htable.reload", &[json!("db")]),
        "Ok. Htable reloaded."
    );
    assert_eq!(
        read(&mut bench, "$sht(db=>lost) $sht(db=>new) $sht(db=>arr[1])"),
        "<null> n'v a1"
    );
    db.connection.raw("DROP TABLE htable", &[]).unwrap();
    assert!(bench.rpc(&MODULE, "htable.reload", &[json!("db")])["fault"].is_string());
    assert_eq!(
        read(&mut bench, "$sht(db=>new)"),
        "n'v",
        "a failed reload leaves everything"
    );
}

#[test]
fn items_outlive_a_reload_of_the_script() {
    let mut old = tables(&["h=>size=4;"], None);
    set(&mut old, "h", "k", Value::Int(5));
    let params: &[(&'static str, &str)] = &[("htable", "h=>size=8;initval=1"), ("htable", "new=>size=4")];
    let mut new = Bench::try_new(&[(&MODULE, params)], Some(&old.script.states)).expect("reloads");
    new.receive(REQUEST);
    assert_eq!(
        read(&mut new, "$sht(h=>k) $sht(h=>none) $sht(new=>k)"),
        "5 1 <null>"
    );
    for bad in [
        &[("htable", "h")][..],
        &[("htable", "h=>size=4"), ("htable", "h=>size=4")],
    ] {
        assert!(Bench::try_new(&[(&MODULE, bad)], None).is_err());
    }
    (super::MODULE.timers[0].run)(&mut new.env());
}
