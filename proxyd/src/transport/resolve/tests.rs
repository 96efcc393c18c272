//! Targets of URIs against a table of names.

use super::*;
use crate::transport::dns::Table;
use shared::net::Naptr;

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv {
        priority,
        weight,
        port,
        target: target.to_owned(),
    }
}

fn table() -> Table {
    let ips = |list: &[&str]| list.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpAddr>>();
    let mut t = Table::default();
    t.addresses.insert("a.test".into(), ips(&["10.0.0.1", "::7"]));
    t.addresses.insert("b.test".into(), ips(&["10.0.0.2"]));
    t.srv.insert(
        "_sip._udp.d.test".into(),
        vec![srv(20, 0, 5080, "a.test"), srv(10, 0, 5070, "b.test")],
    );
    t.srv
        .insert("_sip._tcp.d.test".into(), vec![srv(1, 0, 5090, "b.test")]);
    t.srv
        .insert("_sips._tcp.d.test".into(), vec![srv(1, 0, 5091, "b.test")]);
    let naptr = |order, services: &str, replacement: &str| Naptr {
        order,
        preference: 1,
        flags: b"S".to_vec(),
        services: services.into(),
        regexp: Vec::new(),
        replacement: replacement.into(),
    };
    let list = vec![
        naptr(2, "SIP+D2U", "_sip._udp.d.test"),
        naptr(1, "SIP+D2T", "_sip._tcp.d.test"),
    ];
    t.naptr.insert("d.test".into(), list);
    t.silent = vec!["dead.test".into(), "_sip._udp.dead.test".into()];
    t
}

fn resolver(options: ResolveOptions) -> Resolver {
    let runtime = tokio::runtime::Handle::current();
    Resolver::with_source(runtime, options, Dns::Table(table()), Hosts::new("/nonexistent"))
}

async fn shown(r: &Resolver, host: &str, port: u16, transport: &str, sips: bool) -> String {
    let transport = Transport::from_bytes(transport.as_bytes());
    let q = Question {
        host: host.as_bytes(),
        port: Some(port).filter(|p| *p > 0),
        transport,
        sips,
    };
    match r.lookup(&q, &mut || 0).await {
        Ok(t) => t
            .iter()
            .map(|t| format!("{}:{}", t.transport, t.addr))
            .collect::<Vec<_>>()
            .join(" "),
        Err(e) => e.to_string(),
    }
}

#[tokio::test]
async fn follows_rfc_3263() {
    let r = resolver(ResolveOptions::default());
    let udp = "udp:10.0.0.2:5070 udp:10.0.0.1:5080 udp:[::7]:5080";
    let table = [
        ("1.2.3.4", 0, "", false, "udp:1.2.3.4:5060".to_owned()),
        ("[::1]", 0, "tcp", false, "tcp:[::1]:5060".into()),
        ("::1", 7, "", true, "tls:[::1]:7".into()),
        ("1.2.3.4", 0, "tcp", true, "tls:1.2.3.4:5061".into()),
        (
            "a.test",
            5099,
            "",
            false,
            "udp:10.0.0.1:5099 udp:[::7]:5099".into(),
        ),
        (
            "A.TEST.",
            0,
            "tls",
            false,
            "tls:10.0.0.1:5061 tls:[::7]:5061".into(),
        ),
        (
            "d.test",
            0,
            "",
            false,
            format!("{udp} tcp:10.0.0.2:5090 tls:10.0.0.2:5091"),
        ),
        ("d.test", 0, "udp", false, udp.into()),
        ("d.test", 0, "", true, "tls:10.0.0.2:5091".into()),
        ("d.test", 5060, "", false, "host `d.test` has no address".into()),
        (
            "none.test",
            0,
            "",
            false,
            "host `none.test` has no address".into(),
        ),
        (
            "bad name",
            0,
            "",
            false,
            "host `bad name` is not a domain name".into(),
        ),
        (
            "localhost",
            0,
            "",
            false,
            "udp:127.0.0.1:5060 udp:[::1]:5060".into(),
        ),
    ];
    for (host, port, transport, sips, expected) in table {
        assert_eq!(
            shown(&r, host, port, transport, sips).await,
            expected,
            "{host} {port} {transport}"
        );
    }
    let r = resolver(ResolveOptions {
        naptr: true,
        ipv6: false,
        ..ResolveOptions::default()
    });
    let expected = "tcp:10.0.0.2:5090 udp:10.0.0.2:5070 udp:10.0.0.1:5080";
    assert_eq!(shown(&r, "d.test", 0, "", false).await, expected);
    let r = resolver(ResolveOptions {
        failover: false,
        ..ResolveOptions::default()
    });
    assert_eq!(shown(&r, "d.test", 0, "", false).await, "udp:10.0.0.2:5070");
}

#[test]
fn answers_are_kept_as_long_as_the_options_say() {
    let second = Duration::from_secs(1);
    let options = DnsOptions {
        ttl: (5 * second, 60 * second),
        ..DnsOptions::default()
    };
    for (ttl, expected) in [(0, 5), (30, 30), (3600, 60)] {
        assert_eq!(options.kept(ttl * second), expected * second, "{ttl}");
    }
    let usual = DnsOptions::default();
    assert_eq!(usual.kept(Duration::ZERO), second);
    assert_eq!(usual.kept_refused(30 * second), 30 * second);
    for (negative, expected) in [(0, 1), (9, 9)] {
        let options = DnsOptions {
            negative_ttl: Some(negative * second),
            ..DnsOptions::default()
        };
        assert_eq!(options.kept_refused(30 * second), expected * second);
    }
}

fn impatient() -> ResolveOptions {
    let patience = (Duration::from_millis(20), Duration::from_millis(30));
    ResolveOptions {
        patience,
        ..ResolveOptions::default()
    }
}

#[tokio::test]
async fn silence_is_bounded_and_remembered() {
    let r = resolver(impatient());
    let expected = "host `dead.test` cannot be resolved: no answer from the name server";
    let start = Instant::now();
    assert_eq!(shown(&r, "dead.test", 0, "", false).await, expected);
    assert!(start.elapsed() >= Duration::from_millis(30));
    let q = Question {
        host: b"dead.test",
        port: None,
        transport: None,
        sips: false,
    };
    assert!(r.lookup_cached(&q, &mut || 0).is_some_and(|known| known.is_err()));
}

#[tokio::test]
async fn the_cache_and_the_lookups_under_way_are_bounded() {
    let r = resolver(ResolveOptions {
        cache_limit: 4,
        pending_limit: 1,
        ..impatient()
    });
    for i in 0..50 {
        shown(&r, &format!("n{i}.test"), 0, "", false).await;
        assert!(r.len() <= 4);
    }
    let (first, second) = tokio::join!(
        shown(&r, "dead.test", 0, "", false),
        shown(&r, "a.test", 0, "", false)
    );
    assert!(first.contains("no answer"), "{first}");
    assert!(second.contains("too many"), "{second}");
    r.clear();
    assert!(r.is_empty());
}

#[test]
fn a_worker_waits_no_longer_than_its_patience() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let patience = (Duration::from_millis(20), Duration::from_secs(5));
    let options = ResolveOptions {
        patience,
        ..ResolveOptions::default()
    };
    let hosts = Hosts::new("/nonexistent");
    let r = Resolver::with_source(runtime.handle().clone(), options, Dns::Table(table()), hosts);
    let ask = |host: &str| {
        let q = Question {
            host: host.as_bytes(),
            port: None,
            transport: None,
            sips: false,
        };
        r.resolve(&q, &mut || 0)
    };
    assert_eq!(ask("dead.test"), Err(ResolveError::Timeout("dead.test".into())));
    assert_eq!(ask("b.test").unwrap().len(), 1);
    let q = Question {
        host: b"a.test",
        port: None,
        transport: None,
        sips: false,
    };
    let (tx, rx) = std::sync::mpsc::channel();
    r.prefetch(&q, move || tx.send(()).unwrap());
    rx.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(r.lookup_cached(&q, &mut || 0).unwrap().is_ok());
}
