//! The store against a naive model.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn store(order: Order) -> Store {
    Store::new(2, order, RandomState::with_seed(7))
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        user: u8,
        contact: u8,
        expires: u32,
        q: i16,
        agent: u8,
    },
    Remove {
        user: u8,
        contact: u8,
    },
    Clear {
        user: u8,
    },
    Expire {
        now: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, 0u8..4, 0u32..50, -1i16..4, 0u8..3)
            .prop_map(|(user, contact, expires, q, agent)| Step::Put { user, contact, expires, q, agent }),
        2 => (0u8..6, 0u8..4).prop_map(|(user, contact)| Step::Remove { user, contact }),
        1 => (0u8..6).prop_map(|user| Step::Clear { user }),
        2 => (0u32..60).prop_map(|now| Step::Expire { now }),
    ]
}

/// What the store should be: per user its contacts in order.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    address: String,
    expires: u32,
    q: i16,
    agent: String,
}

fn insert(list: &mut Vec<Plain>, contact: Plain) {
    let at = list.iter().take_while(|known| known.q >= contact.q).count();
    list.insert(at, contact);
}

#[derive(Default)]
struct Log(Mutex<Vec<(String, bool)>>);

impl Sink for Log {
    fn put(&self, contact: Contact<'_>, _: bool) -> u64 {
        self.0
            .lock()
            .push((String::from_utf8_lossy(contact.ruid()).into_owned(), true));
        1
    }
    fn remove(&self, contact: Contact<'_>) {
        self.0
            .lock()
            .push((String::from_utf8_lossy(contact.ruid()).into_owned(), false));
    }
}

proptest! {
    #[test]
    fn behaves_as_a_map_of_lists(steps in proptest::collection::vec(step(), 0..120)) {
        let store = store(Order::Q);
        let log = Log::default();
        let mut model: BTreeMap<u8, Vec<Plain>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put { user, contact, expires, q, agent } => {
                    let (aor, address) = (format!("user{user}"), format!("sip:{contact}@10.0.0.{contact}"));
                    let (ruid, agent) = (format!("r-{user}-{contact}"), "phone ".repeat(usize::from(agent)));
                    let binding = Binding {
                        aor: aor.as_bytes(), address: address.as_bytes(), ruid: ruid.as_bytes(),
                        user_agent: agent.as_bytes(), expires, q, ..Binding::default()
                    };
                    let plain = Plain { address: address.clone(), expires, q, agent: agent.clone() };
                    store.edit(aor.as_bytes(), &log, |edit| {
                        let at = edit.contacts().position(|c| c.address() == address.as_bytes());
                        match at {
                            Some(at) => edit.update(at, &binding).unwrap(),
                            None => edit.insert(&binding).unwrap(),
                        }
                    });
                    let list = model.entry(user).or_default();
                    match list.iter().position(|c| c.address == address) {
                        Some(at) => {
                            list[at] = plain;
                            // One whose neighbours allow it stays where it is.
                            if !list.is_sorted_by(|one, next| one.q >= next.q) {
                                let plain = list.remove(at);
                                insert(list, plain);
                            }
                        }
                        None => insert(list, plain),
                    }
                }
                Step::Remove { user, contact } => {
                    let (aor, address) = (format!("user{user}"), format!("sip:{contact}@10.0.0.{contact}"));
                    store.edit(aor.as_bytes(), &log, |edit| {
                        let at = edit.contacts().position(|c| c.address() == address.as_bytes());
                        if let Some(at) = at { edit.remove(at) }
                    });
                    model.entry(user).or_default().retain(|c| c.address != address);
                }
                Step::Clear { user } => {
                    store.edit(format!("user{user}").as_bytes(), &log, |edit| edit.clear());
                    model.remove(&user);
                }
                Step::Expire { now } => {
                    let mut gone = 0;
                    store.expire(now, &log, &mut |_| gone += 1);
                    let before: usize = model.values().map(Vec::len).sum();
                    model.values_mut().for_each(|list| list.retain(|c| c.expires == 0 || c.expires > now));
                    prop_assert_eq!(before - model.values().map(Vec::len).sum::<usize>(), gone);
                }
            }
            model.retain(|_, list| !list.is_empty());
            for user in 0..6 {
                let expected = model.get(&user).cloned().unwrap_or_default();
                let found: Vec<Plain> = store.read(format!("user{user}").as_bytes(), |contacts| {
                    contacts.map(|c| Plain {
                        address: String::from_utf8_lossy(c.address()).into_owned(),
                        expires: c.expires(), q: c.q(),
                        agent: String::from_utf8_lossy(c.user_agent).into_owned(),
                    }).collect()
                });
                prop_assert_eq!(found, expected);
                for contact in 0..4 {
                    let known = model.get(&user).is_some_and(|l| l.iter().any(|c| c.address.starts_with(&format!("sip:{contact}@"))));
                    let ruid = format!("r-{user}-{contact}");
                    prop_assert_eq!(store.read_ruid(ruid.as_bytes(), |_| ()).is_some(), known);
                }
            }
            let counts = store.counts();
            prop_assert_eq!((counts.users, counts.contacts), (model.len(), model.values().map(Vec::len).sum()));
            // The journal, replayed, is the store.
            let mut rows = std::collections::BTreeSet::new();
            for (ruid, put) in log.0.lock().iter() {
                if *put { rows.insert(ruid.clone()); } else { rows.remove(ruid); }
            }
            prop_assert_eq!(rows.len(), counts.contacts);
        }
        let texts: usize = store.shards.iter().map(|s| s.read().texts.len()).sum();
        prop_assert!(texts <= 2 * store.shards());
    }
}

#[test]
fn the_newest_stands_first_when_asked_for() {
    let store = store(Order::Newest);
    let put = |address: &str, q| {
        store.edit(b"bob", &NoSink, |edit| {
            let binding = Binding {
                aor: b"bob",
                address: address.as_bytes(),
                ruid: address.as_bytes(),
                q,
                ..Binding::default()
            };
            match edit.contacts().position(|c| c.address() == address.as_bytes()) {
                Some(at) => edit.update(at, &binding),
                None => edit.insert(&binding),
            }
        })
    };
    for (address, q) in [("a", 900), ("b", 1), ("c", 500), ("a", 900)] {
        put(address, q).unwrap();
    }
    let order = store.read(b"bob", |c| {
        c.flat_map(|c| c.address().to_vec()).collect::<Vec<_>>()
    });
    assert_eq!(order, b"acb");
}

#[test]
fn a_refused_binding_changes_nothing() {
    let store = store(Order::Q);
    let long = vec![b'x'; 70_000];
    let binding = Binding {
        aor: b"bob",
        call_id: &long,
        user_agent: b"phone",
        ..Binding::default()
    };
    assert_eq!(
        store.edit(b"bob", &NoSink, |edit| edit.insert(&binding)),
        Err(TooLong)
    );
    assert_eq!(store.counts(), Counts::default());
    assert!(store.shards.iter().all(|shard| shard.read().texts.len() == 0));
}

#[test]
fn a_permanent_contact_that_gets_an_end_does_end() {
    let store = store(Order::Q);
    let put = |expires| {
        let binding = Binding {
            aor: b"bob",
            address: b"a",
            ruid: b"1",
            expires,
            ..Binding::default()
        };
        store.edit(b"bob", &NoSink, |edit| match edit.contacts().len() {
            0 => edit.insert(&binding),
            _ => edit.update(0, &binding),
        })
    };
    put(10).unwrap();
    put(0).unwrap();
    assert_eq!(store.expire(20, &NoSink, &mut |_| ()), 0);
    put(30).unwrap();
    assert_eq!(store.expire(29, &NoSink, &mut |_| ()), 0);
    assert_eq!(store.expire(30, &NoSink, &mut |_| ()), 1);
}

#[test]
fn the_queue_stays_as_small_as_the_table() {
    let store = store(Order::Q);
    for round in 1..10_000u32 {
        store
            .edit(b"bob", &NoSink, |edit| {
                edit.clear();
                edit.insert(&Binding {
                    aor: b"bob",
                    ruid: b"1",
                    expires: round,
                    ..Binding::default()
                })
            })
            .unwrap();
    }
    assert!(store.shards.iter().map(|s| s.read().queue.len()).sum::<usize>() < 100);
    assert_eq!(store.expire(9_999, &NoSink, &mut |_| ()), 1);
}

#[test]
fn a_keepalive_answer_is_noted() {
    let store = store(Order::Q);
    store
        .edit(b"bob", &NoSink, |e| {
            e.insert(&Binding {
                aor: b"bob",
                ruid: b"u-1",
                ..Binding::default()
            })
        })
        .unwrap();
    assert!(store.answered(b"u-1", 77, 1500));
    assert!(!store.answered(b"u-2", 77, 1500));
    let seen = store.read_ruid(b"u-1", |c| (c.keepalive(), c.last_keepalive(), c.roundtrip()));
    assert_eq!(seen, Some((true, 77, 1500)));
}
