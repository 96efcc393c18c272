//! Destinations, algorithms and states without a network.

use super::*;
use crate::script::lists::Item;
use crate::script::module::PvData;
use crate::script::module::PvSpec;
use crate::script::testing::Bench;
use crate::script::value::Value;

const LIST: &str = "\
1 sip:127.0.0.11:5060 0 0 weight=50;duid=a;maxload=2;rweight=10
1 sip:127.0.0.12:5060 0 0 duid=b
1 sip:127.0.0.13:5060;transport=tcp 8 0 weight=10;duid=c
1 sip:127.0.0.14:5060 0 5 duid=d;weight=20
1 sip:127.0.0.16:5061 0 3
2 sip:127.0.0.15 4 1 rweight=30
4 sip:127.0.0.21 1
4 sip:127.0.0.22 2
4 sip:127.0.0.23 10
4 sip:127.0.0.24 4
4 sip:127.0.0.25
5 sip:127.0.0.1 0 0 a=1
";

fn bench(params: &[(&'static str, &str)]) -> (Bench, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dispatcher.list");
    std::fs::write(&path, LIST).unwrap();
    let path = path.display().to_string();
    let mut all = vec![("list_file", &*path)];
    all.extend(params.iter().copied());
    (Bench::new(&[(&MODULE, &all)]), dir)
}

fn options(bench: &mut Bench, call_id: &str) {
    bench.receive(&format!(
        "OPTIONS sip:u@t.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:a@t.lan>;tag=1\n\
         To: <sip:b@t.lan>\nCall-ID: {call_id}\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n"
    ));
    bench.lists.clear();
}

fn selected(bench: &Bench) -> Vec<String> {
    let uri = |item: &Item| match item {
        Item::Fields(fields) => {
            let field = fields
                .iter()
                .find(|(name, _)| **name == *b"uri")
                .map(|(_, value)| value.clone());
            let text = String::from_utf8_lossy(&field.unwrap_or(Value::Null).to_text()).into_owned();
            text.trim_start_matches("sip:127.0.0.")
                .get(..2)
                .unwrap_or_default()
                .to_owned()
        }
        Item::Plain(_) => String::new(),
    };
    bench.lists.xavp.items(b"_dsdst_").map(uri).collect()
}

/// The orders that Kamailio 5.6.3 was seen to choose.
#[test]
fn algorithms_choose_as_in_kamailio() {
    let (mut bench, _dir) = bench(&[("flags", "2")]);
    for (algorithm, call_id, expected) in [
        ("0", "call-0@host.example.com", "12 11 14 16 13"),
        ("0", "call-1@host.example.com", "16 13 12 11 14"),
        ("0", "call-3@host.example.com", "14 16 13 12 11"),
        ("1", "x", "11 14 16 13 12"),
        ("2", "x", "14 16 13 12 11"),
        ("3", "x", "12 11 14 16 13"),
        ("4", "x", "14 16 13 12 11"),
        ("4", "x", "16 13 12 11 14"),
        ("5", "x", "13 12 11 14 16"),
        ("8", "x", "14 16 13 12 11"),
        ("11", "x", "11 14 16 13 12"),
        ("99", "x", "14 16 13 12 11"),
    ] {
        options(&mut bench, call_id);
        assert_eq!(bench.call("ds_select_dst", &["1", algorithm]), 1);
        assert_eq!(
            selected(&bench).join(" "),
            expected,
            "algorithm {algorithm} {call_id}"
        );
    }
    options(&mut bench, "x");
    for (set, algorithm, expected) in [("4", "8", 1), ("2", "4", -1), ("77", "4", -1)] {
        assert_eq!(bench.call("ds_select_dst", &[set, algorithm]), expected, "{set}");
    }
    assert_eq!(selected(&bench), ["25", "23", "22"]);
}

#[test]
fn failover_walks_the_list() {
    let (mut bench, _dir) = bench(&[("flags", "2")]);
    options(&mut bench, "x");
    assert_eq!(bench.call("ds_select_domain", &["1", "8", "2"]), 1);
    assert_eq!(bench.ctx.uri(), b"sip:u@127.0.0.14:5060");
    assert_eq!(bench.call("ds_mark_dst", &[]), 1);
    assert_eq!(bench.call("ds_mark_dst", &["x"]), -1);
    assert_eq!(bench.call("ds_next_dst", &[]), 1);
    assert_eq!(bench.ctx.dst_uri.as_deref(), Some(&b"sip:127.0.0.16:5061"[..]));
    assert_eq!(bench.call("ds_next_domain", &[]), -1);
    let state = bench.script.states.get::<Dispatcher>().unwrap();
    assert_eq!(
        state.sets.load().find(1, b"sip:127.0.0.14:5060").unwrap().state(),
        "IX"
    );
}

#[test]
fn without_failover_one_is_chosen() {
    let (mut bench, _dir) = bench(&[]);
    options(&mut bench, "x");
    assert_eq!(bench.call("ds_select_dst", &["1", "4"]), 1);
    assert!(selected(&bench).is_empty());
    assert_eq!(bench.call("ds_next_dst", &[]), -1);
    assert_eq!(bench.call("ds_select_dst", &["1", "12"]), 1);
    assert_eq!(bench.ctx.branches.len(), 4);
}

#[test]
fn routes_combine_sets() {
    let (mut bench, _dir) = bench(&[("flags", "2")]);
    options(&mut bench, "x");
    assert_eq!(bench.call("ds_select_routes", &["2=4;4=8;1=8", "ruri", "5"]), 1);
    assert_eq!(selected(&bench), ["25", "23", "22", "14", "16"]);
    assert_eq!(bench.call("ds_select_routes", &["bad", "d"]), -1);
    assert_eq!(bench.call("ds_select_routes", &["9=4", "d"]), -1);
}

#[test]
fn sources_are_recognised() {
    let (mut bench, _dir) = bench(&[]);
    options(&mut bench, "x");
    for (args, expected) in [
        (&[] as &[&str], 1),
        (&["5"], 1),
        (&["-1"], 1),
        (&["2"], -1),
        (&["5", "0"], -1),
        (&["1", "0", "sip:127.0.0.12"], -1),
        (&["1", "0", "sip:127.0.0.12:5060"], 1),
        (&["1", "1", "sip:127.0.0.12:5061"], 1),
        (&["1", "2", "sip:127.0.0.12:5060;transport=tcp"], 1),
        (&["1", "0", "sip:127.0.0.12:5060;transport=tcp"], -1),
        (&["4", "4", "sip:127.0.0.21"], -1),
        (&["4", "4", "sip:127.0.0.23"], 1),
        (&["1", "1", "bad"], -1),
    ] {
        assert_eq!(bench.call("ds_is_from_list", args), expected, "{args:?}");
    }
    assert_eq!(bench.call("ds_is_active", &["2"]), -1);
    assert_eq!(bench.call("ds_is_active", &["4", "sip:127.0.0.25"]), 1);
    assert_eq!(bench.call("ds_list_exists", &["99"]), -1);
}

#[test]
fn calls_go_where_there_are_fewest() {
    let (mut bench, _dir) = bench(&[("flags", "2"), ("ds_hash_size", "4")]);
    let invite = |bench: &mut Bench, call_id: &str, method: &str| {
        bench.receive(&format!(
            "{method} sip:u@t.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\nFrom: <sip:a@t.lan>;tag=1\n\
             To: <sip:b@t.lan>\nCall-ID: {call_id}\nCSeq: 1 {method}\nContent-Length: 0\n\n"
        ));
        bench.lists.clear();
    };
    let mut first = Vec::new();
    for call in ["c1", "c2"] {
        invite(&mut bench, call, "INVITE");
        bench.call("ds_select_dst", &["1", "10"]);
        first.extend(selected(&bench).first().cloned());
    }
    assert_eq!(first, ["14", "16"]);
    let load = |bench: &Bench| {
        let state = bench.script.states.get::<Dispatcher>().unwrap();
        state
            .sets
            .load()
            .by_duid(1, b"d")
            .unwrap()
            .load
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(load(&bench), 1);
    invite(&mut bench, "c1", "BYE");
    assert_eq!(bench.call("ds_load_update", &[]), 1);
    assert_eq!(load(&bench), 0);
}

#[test]
fn a_set_tells_how_it_fares() {
    let (mut bench, _dir) = bench(&[]);
    options(&mut bench, "x");
    let figure = |bench: &mut Bench, key: &str| {
        let spec = PvSpec {
            data: PvData::Text(key.as_bytes().into()),
            ..PvSpec::default()
        };
        let dsg = MODULE.pvs.iter().find(|pv| pv.names == ["dsg"]).unwrap();
        let env = bench.env();
        (dsg.get)(&env, &spec).to_int()
    };
    assert_eq!(bench.call("ds_dsg_fetch", &["4"]), 1);
    let keys = ["count", "active", "inactive", "pactive", "pinactive"];
    assert_eq!(keys.map(|key| figure(&mut bench, key)), [5, 3, 2, 60, 40]);
    assert_eq!(bench.call("ds_dsg_fetch", &["77"]), 1);
    assert_eq!(figure(&mut bench, "count"), 0, "null: there is no such set");
}
