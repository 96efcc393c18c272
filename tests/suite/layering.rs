//! Who may name whom: the rules of STYLE.md §3 as a table of folder, forbidden words and reason.

use crate::sources;
use crate::sources::Source;

struct Rule {
    /// Files under this path.
    within: &'static str,
    /// Except those under these.
    except: &'static [&'static str],
    /// May not contain any of these words.
    forbidden: &'static [&'static str],
    reason: &'static str,
}

const ASYNC_ROOMS: &[&str] = &[
    "proxyd/src/transport",
    "proxyd/src/control",
    "proxyd/src/runtime",
    "proxyd/src/daemon.rs",
    "proxyd/src/script/module/init.rs",
    "proxyd/src/script/testing.rs",
    "proxyctl/src/client.rs",
    "shared/src/db/sqlx",
    "tests",
];

const RULES: &[Rule] = &[
    Rule {
        within: "shared/src/net",
        except: &[],
        forbidden: &["crate::sip", "crate::db", "crate::rpc", "crate::digest"],
        reason: "net is below sip, db and rpc",
    },
    Rule {
        within: "shared/src/sip",
        except: &[],
        forbidden: &[
            "crate::db",
            "crate::rpc",
            "crate::digest",
            "crate::report",
            "crate::paths",
        ],
        reason: "sip knows net alone",
    },
    Rule {
        within: "shared/src/db",
        except: &[],
        forbidden: &["crate::sip", "crate::rpc"],
        reason: "db knows net alone",
    },
    Rule {
        within: "shared/src/rpc",
        except: &[],
        forbidden: &["crate::sip", "crate::db", "crate::digest"],
        reason: "rpc is wire types, no input or output",
    },
    Rule {
        within: "shared/src/digest.rs",
        except: &[],
        forbidden: &["crate::"],
        reason: "digest arithmetic stands alone",
    },
    Rule {
        within: "shared/src",
        except: &["shared/src/db/sqlx"],
        forbidden: &["async fn", "thread::spawn", "SystemTime::now", "Instant::now"],
        reason: "shared has no async in its face, no threads, no clock",
    },
    Rule {
        within: "proxyd/src/script",
        except: &[],
        forbidden: &[
            "crate::transaction",
            "crate::modules",
            "crate::transport",
            "crate::runtime",
            "std::net::UdpSocket",
            "std::net::TcpStream",
            "crate::control::socket",
            "crate::control::core_rpcs",
            "crate::control::stats_rpcs",
            "crate::control::websocket",
        ],
        reason: "the script language knows the message context and the rows of RPCs: no sockets",
    },
    Rule {
        within: "proxyd/src/transaction",
        except: &[],
        forbidden: &[
            "crate::script",
            "crate::proxy",
            "crate::modules",
            "crate::transport",
            "crate::control",
            "crate::runtime",
            "Instant::now",
            "std::net::UdpSocket",
        ],
        reason: "transactions are pure machines: time is an argument, actions are results",
    },
    Rule {
        within: "proxyd/src/proxy",
        except: &[],
        forbidden: &[
            "crate::script",
            "crate::modules",
            "crate::transport",
            "crate::control",
            "crate::runtime",
            "Instant::now",
        ],
        reason: "proxy behaviour is pure; it may name transaction",
    },
    Rule {
        within: "proxyd/src/modules",
        except: &[],
        forbidden: &[
            "crate::transport",
            "crate::runtime",
            "crate::transaction",
            "crate::daemon",
            "crate::control::socket",
            "crate::control::core_rpcs",
            "crate::control::stats_rpcs",
            "crate::control::websocket",
        ],
        reason: "a module sees Host and what it needs",
    },
    Rule {
        within: "proxyd/src/transport",
        except: &[],
        forbidden: &[
            "crate::script",
            "crate::transaction",
            "crate::proxy",
            "crate::modules",
            "crate::control",
            "crate::runtime",
            "shared::db",
            "shared::rpc",
            "shared::digest",
        ],
        reason: "transport knows framing, not meaning",
    },
    Rule {
        within: "proxyd/src/control",
        except: &[],
        forbidden: &[
            "crate::transaction",
            "crate::proxy",
            "crate::modules",
            "crate::transport",
            "crate::runtime",
        ],
        reason: "control knows script::module and shared::rpc",
    },
    Rule {
        within: "",
        except: ASYNC_ROOMS,
        forbidden: &["tokio::", "async_trait"],
        reason: "synchronous inside, async at the edge",
    },
    Rule {
        within: "proxyd/src",
        except: &["proxyd/src/clock.rs"],
        forbidden: &["SystemTime::now"],
        reason: "wall time comes from clock.rs",
    },
    Rule {
        within: "proxyd/src",
        except: &["proxyd/src/ids.rs", "proxyd/src/runtime"],
        forbidden: &["rand::"],
        reason: "chance comes from ids.rs and from the worker's generator",
    },
    Rule {
        within: "",
        except: &[
            "shared/src/rpc",
            "proxyctl/src/site",
            "proxyctl/src/stream.rs",
            "tests",
        ],
        forbidden: &[
            "derive(Serialize",
            "derive(Deserialize",
            "Serialize)]",
            "Deserialize)]",
        ],
        reason: "wire types live in shared::rpc",
    },
    Rule {
        within: "dbctl/src",
        except: &[],
        forbidden: &["shared::rpc"],
        reason: "the database tool never talks to the daemon",
    },
    Rule {
        within: "tests",
        except: &["tests/suite/layering.rs", "tests/fuzz", "tests/src/micro"],
        forbidden: &["shared::sip"],
        reason: "our parser must not grade itself",
    },
    Rule {
        within: "",
        except: &["tests/suite/layering.rs"],
        forbidden: &["use crate::{", "use std::{", "super::super"],
        reason: "one `use` per module, so that nothing hides from this test",
    },
];

#[test]
fn nobody_names_what_is_above() {
    let sources = sources::all();
    let mut broken = Vec::new();
    for rule in RULES {
        let covered = |source: &&Source| {
            source.path.starts_with(rule.within)
                && !rule.except.iter().any(|except| source.path.starts_with(except))
        };
        for source in sources.iter().filter(covered) {
            for (number, line) in source.code() {
                for word in rule.forbidden.iter().filter(|word| names(line, word)) {
                    broken.push(format!("{}:{number}: {word}: {}", source.path, rule.reason));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} broken\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn every_rule_covers_something() {
    let sources = sources::all();
    for rule in RULES {
        assert!(
            sources.iter().any(|source| source.path.starts_with(rule.within)),
            "{} is no place",
            rule.within
        );
    }
}

#[test]
fn names_are_whole_words() {
    assert!(names("use crate::proxy::branch;", "crate::proxy"));
    assert!(!names("use crate::proxy_protocol;", "crate::proxy"));
    assert!(!names("operand::x", "rand::"));
}

/// Whether a line contains a word that no letter continues on either side.
fn names(line: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open_end = !word.ends_with(part);
        (open_end || !after.is_some_and(part)) && (!word.starts_with(part) || !before.is_some_and(part))
    })
}
