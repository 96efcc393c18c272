//! Transformations as Kamailio 5.6.3 shows them.

use super::*;

fn run(value: Value<'static>, chain: &str) -> Value<'static> {
    let mut value = value;
    for one in chain.split("}{") {
        let (name, rest) = one
            .split_once(',')
            .map_or((one, None), |(name, rest)| (name, Some(rest)));
        let row = find(name.as_bytes()).unwrap_or_else(|| panic!("no transformation {name}"));
        let params: Vec<Value<'_>> = rest
            .map(|rest| {
                row.split_params(rest.as_bytes())
                    .into_iter()
                    .map(Value::text)
                    .collect()
            })
            .unwrap_or_default();
        assert!(params.len() >= row.params.0, "{one}: parameters");
        value = (row.apply)(value, &params).into_owned();
    }
    value
}

fn shown(value: &Value<'_>) -> String {
    if value.is_null() {
        "NULL".into()
    } else {
        String::from_utf8_lossy(&value.to_text()).into_owned()
    }
}

#[test]
fn kamailio_shows_the_same() {
    for (text, chain, expected) in include!("observed.in") {
        let found = run(Value::owned(text.as_bytes()), chain);
        assert_eq!(shown(&found), expected, "{text:?}{{{chain}}}");
    }
}

#[test]
fn null_stays_null_but_for_val_and_sql() {
    for table in TRANSFORMATIONS {
        for row in *table {
            let params = vec![Value::Int(1); row.params.1];
            let made = (row.apply)(Value::Null, &params);
            let expected = row.name.starts_with("val.") || row.name.starts_with("sql.");
            assert_eq!(!made.is_null(), expected, "{}", row.name);
        }
    }
    assert_eq!(run(Value::Null, "val.n0"), Value::Int(0));
    assert_eq!(run(Value::Null, "val.jsonqe"), Value::text(b"\"\""));
    assert_eq!(run(Value::Null, "sql.val"), Value::text(b"NULL"));
    assert_eq!(run(Value::Int(7), "sql.val"), Value::Int(7));
    assert_eq!(run(Value::text(b"it's"), "sql.val"), Value::text(b"'it\\'s'"));
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = TRANSFORMATIONS
        .iter()
        .flat_map(|table| table.iter().map(|row| row.name))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn where_documentation_and_5_6_3_differ_the_documentation_is_right() {
    for (text, chain, expected) in [
        ("abcdefgh", "s.fmtlines,4,2", "abcd\r\n  efgh"),
        (
            "sip:bob@h.lan:5070;transport=tcp;x",
            "uri.duri",
            "sip:h.lan:5070;transport=tcp",
        ),
        ("sip:bob:p@h.lan:5070;transport=tcp", "uri.saor", "sip:bob@h.lan"),
        (
            "sip:bob@h.lan:5070;transport=tcp;x",
            "uri.suri",
            "sip:bob@h.lan:5070;transport=tcp",
        ),
        ("tls:[::1]:5061", "sock.host", "[::1]"),
        ("{\"a\":{\"b\":[1,\"x\"]}}", "json.parse,a.b.1", "x"),
        ("{\"a.b\":{\"c\":7}}", "json.parsex,/a.b/c", "7"),
        ("{\"a\":true}", "json.parse,a", "true"),
        (
            "{\"a\":[1,\"x\",{\"b\":[]}]}",
            "json.parse,a",
            "[ 1, \"x\", { \"b\": [ ] } ]",
        ),
        ("a.b c/d-~_", "json.encode", "a%2Eb+c%2Fd-~_"),
        ("#", "json.encode", "#"),
        ("12 34\t56", "s.selectws,1", "34"),
        ("12 34\t56", "s.selectws,-1", "56"),
        ("abc", "s.charat,1", "b"),
        ("abc", "s.charat,3", ""),
        ("abc", "s.byte,1", "98"),
        ("abc", "s.byteat,-1", "-1"),
        ("4321", "s.intv", "4321"),
        ("a\r\n \tb\n c\r\nd", "s.rmhdws", "a b cd"),
        ("a\r\n \tb\n c", "s.rmhlws", "abc"),
        ("abc", "s.sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sip:a@b;x=1;y;X=2;z?h=1", "uri.rmparam,x", "sip:a@b;y;z?h=1"),
        ("sip:a@b;x", "uri.rmparam,x", "sip:a@b"),
        ("sip:a@b:5070", "uri.rmparam,x", "sip:a@b:5070"),
        ("1234", "num.fdigit", "0"),
    ] {
        assert_eq!(
            shown(&run(Value::owned(text.as_bytes()), chain)),
            expected,
            "{text}{{{chain}}}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text: Vec<u8>, a: Vec<u8>, b in -20i64..20) {
        for row in TRANSFORMATIONS.iter().flat_map(|table| table.iter()) {
            for params in [[Value::text(&a), Value::Int(b)], [Value::Int(b), Value::text(&a)]] {
                (row.apply)(Value::text(&text), &params);
                (row.apply)(Value::owned(text.clone()), &params);
            }
        }
    }
}
