//! The module on a fake proxy.

use super::MODULE;
use super::XhttpProm;
use crate::script::module::InitError;
use crate::script::testing::Bench;
use std::time::Duration;

const PARAMETERS: &[(&str, &str)] = &[
    ("xhttp_prom_stats", "core:"),
    ("prom_counter", "name=cnt_first;"),
    ("prom_counter", "name=cnt_b; label=method:IP;"),
    ("prom_gauge", "name=gg; label=a"),
    ("prom_histogram", "name=hh; buckets=1"),
];

fn text(bench: &Bench) -> String {
    let state = bench.script.states.get::<XhttpProm>().unwrap();
    state.text(Duration::from_millis(1500))
}

#[test]
fn scripts_count() {
    let mut bench = Bench::new(&[(&MODULE, PARAMETERS)]);
    for (name, args, code) in [
        ("prom_counter_inc", &["cnt_first", "1"][..], 1),
        ("prom_counter_inc", &["cnt_b", "5", "OPTIONS", "127.0.0.1"], 1),
        ("prom_counter_inc", &["cnt_b", "5", "x"], -1),
        ("prom_counter_inc", &["nope", "5"], -1),
        ("prom_counter_inc", &["cnt_first", "-5"], -1),
        ("prom_gauge_set", &["gg", "-12.5", "v"], 1),
        ("prom_gauge_inc", &["gg", "2.5", "v"], 1),
        ("prom_gauge_set", &["gg", "junk", "w"], 1),
        ("prom_gauge_reset", &["gg", "z"], 1),
        ("prom_gauge_set", &["cnt_first", "3"], -1),
        ("prom_histogram_observe", &["hh", "0.5"], 1),
        ("prom_counter_reset", &["cnt_first"], 1),
    ] {
        assert_eq!(bench.call(name, args), code, "{name} {args:?}");
    }
    let state = bench.script.states.get::<XhttpProm>().unwrap();
    state.statistics.counter("core", "rcv-requests").add(3);
    let expected = "# User defined metrics\n\
         kamailio_cnt_first 0 1500\n\
         kamailio_cnt_b{method=\"OPTIONS\", IP=\"127.0.0.1\"} 5 1500\n\
         kamailio_gg{a=\"v\"} -10.000000 1500\n\
         kamailio_gg{a=\"w\"} 0.000000 1500\n\
         kamailio_gg{a=\"z\"} 0.000000 1500\n\
         kamailio_hh_bucket{le=\"1.000000\"} 1 1500\n\
         kamailio_hh_bucket{le=\"+Inf\"} 1 1500\n\
         kamailio_hh_sum 0.500000 1500\n\
         kamailio_hh_count 1 1500\n\
         \n\
         # Kamailio statistics for group: core:\n\
         kamailio_core_rcv_requests 3 1500\n";
    assert_eq!(text(&bench), expected);
    let reloaded = Bench::try_new(&[(&MODULE, PARAMETERS)], Some(&bench.script.states)).unwrap();
    assert!(text(&reloaded).contains("kamailio_gg{a=\"v\"} -10.000000"));
    bench.host.wall += Duration::from_secs(3601);
    (MODULE.timers[0].run)(&mut bench.env());
    assert!(!text(&bench).contains("kamailio_gg"));
}

#[test]
fn only_requests_for_metrics_are_answered() {
    let mut bench = Bench::new(&[(&MODULE, &[("timestamp_format", "sf")])]);
    for (url, code) in [("/metrics", 1), ("/metrics?x=1", -1), ("/", -1)] {
        bench.receive(&format!("GET {url} HTTP/1.1\nHost: h\nContent-Length: 0\n\n"));
        assert_eq!(bench.call("prom_check_uri", &[]), code, "{url}");
    }
    assert_eq!(text(&bench), "# User defined metrics\n");
}

#[test]
fn mistakes_are_told_at_start() {
    for parameters in [
        &[("prom_counter", "label=x")][..],
        &[("prom_counter", "name=a"), ("prom_gauge", "name=a")],
        &[("timestamp_format", "h")],
    ] {
        let started = Bench::try_new(&[(&MODULE, parameters)], None);
        assert!(matches!(started, Err(InitError::Param { .. })), "{parameters:?}");
    }
}
