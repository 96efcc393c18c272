//! Questions to a web server of the test, while the request waits.

use super::*;
use crate::modules::http::server::Server;
use crate::script::testing::Bench;

fn done(result: Result<Reply, Failure>) -> Done {
    Done {
        id: "1-2".to_owned(),
        result,
        took: Duration::from_micros(1500),
        waits: None,
        route: 0,
    }
}

fn reply() -> Reply {
    Reply {
        status: 200,
        reason: "OK".to_owned(),
        headers: vec![
            ("x-a".to_owned(), b"one".to_vec()),
            ("x-a".to_owned(), b"two".to_vec()),
        ],
        body: b"body".to_vec(),
        url: String::new(),
    }
}

fn read(bench: &mut Bench, name: &str) -> String {
    let row = MODULE
        .pvs
        .iter()
        .find(|row| row.names.contains(&name))
        .expect("a row");
    let spec = PvSpec {
        data: crate::script::module::PvData::Text(b"X-A"[..].into()),
        index: crate::script::module::Index::At(-1),
    };
    match (row.get)(&bench.env(), &spec) {
        Value::Null => "null".to_owned(),
        value => String::from_utf8_lossy(&value.to_text()).into_owned(),
    }
}

#[test]
fn the_route_sees_the_answer() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    let names = [
        "http_ok",
        "http_err",
        "http_rs",
        "http_rr",
        "http_rb",
        "http_bs",
        "http_ml",
        "http_hdr",
        "http_time",
        "http_req_id",
    ];
    let mut all = |shown: Option<Done>| {
        SHOWN.set(shown.map(Arc::new));
        let values: Vec<String> = names.iter().map(|name| read(&mut bench, name)).collect();
        SHOWN.set(None);
        values.join(" ")
    };
    assert_eq!(
        all(Some(done(Ok(reply())))),
        "1 null 200 OK body 4 43 two 1500 1-2"
    );
    assert_eq!(
        all(Some(done(Err(Failure::TIMEOUT)))),
        "0 Timeout was reached null null null null null null 1500 1-2"
    );
    assert_eq!(all(None), ["null"; 10].join(" "));
}

#[test]
fn a_question_is_asked_beside_the_worker() {
    let server = Server::start(&["HTTP/1.1 204 No Content\r\n\r\n"]);
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    bench.script.program = crate::script::testing::program("route[DONE] { exit; }");
    assert_eq!(bench.call("http_async_query", &[&server.url("/x"), "NONE"]), -1);
    assert_eq!(bench.call("http_async_query", &[&server.url("/x"), "DONE"]), 1);
    assert!(server.seen()[0].starts_with("GET /x HTTP/1.1\r\n"));
    let id = read(&mut bench, "http_req_id");
    let state = bench.script.states.get::<HttpAsync>().expect("loaded");
    let arrived = state
        .desk
        .arrived
        .lock()
        .front()
        .map(|done| (done.id.clone(), done.waits));
    assert_eq!(arrived, Some((id, None)));
    go_on(&mut bench.env());
    let state = bench.script.states.get::<HttpAsync>().expect("loaded");
    assert!(state.desk.arrived.lock().is_empty());
    let counts =
        [&state.requests, &state.replies, &state.errors, &state.timeouts].map(|counter| counter.value());
    assert_eq!(counts, [1, 1, 0, 0]);
}
