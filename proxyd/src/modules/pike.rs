//! `loadmodule "pike"`: addresses that send too much (Kamailio module pike).
//!
//! An address is counted byte by byte, as a path in a tree: a prefix gets a place of its own once the shorter one was
//! hit often enough. So a flood from many made-up addresses stays in few places, and memory is bounded.

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::log::Level;
use crate::script::host::Millis;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::stats::Counter;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde_json::json;
use shared::net::cidr;
use std::net::IpAddr;
use std::sync::Arc;

/// One part of the tree for each first byte of an address.
const SHARDS: usize = 256;
/// Prefixes remembered in each part.
const SHARD_MAX: usize = 8192;

const OK: Code = Code(1);
const BLOCKED: Code = Code(-1);
const NEWLY_BLOCKED: Code = Code(-2);

/// The first bytes of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix {
    v6: bool,
    length: u8,
    bytes: [u8; 16],
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// In the sampling time under way and in the one before.
    hits: u32,
    before: u32,
    blocked: bool,
    /// When it was hit last.
    touched: Millis,
}

type Shard = HashMap<Prefix, Node, ahash::RandomState>;

/// What the module works with.
pub(crate) struct Pike {
    shards: Box<[Mutex<Shard>]>,
    /// Requests allowed in a sampling time.
    density: u32,
    /// Hits of a prefix before the next byte gets a place of its own.
    expand: u32,
    sampling: Millis,
    latency: Millis,
    level: Level,
    blocked: Arc<Counter>,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("sampling_time_unit", 2, "Sampling time, s."),
        Param::Int(
            "reqs_density_per_unit",
            30,
            "Requests of an address allowed in a sampling time.",
        ),
        Param::Int(
            "remove_latency",
            120,
            "How long an address is remembered after its last request, s.",
        ),
        Param::Int(
            "pike_log_level",
            0,
            "Level at which blocking and unblocking is logged: 0 is WARNING.",
        ),
    ],
    functions: &[
        Function::anywhere(
            &["pike_check_req"],
            &[],
            "False when the sender floods: -2 the first time, then -1.",
            pike_check_req,
        ),
        Function::anywhere(
            &["pike_check_ip"],
            &[Arg::Text("address")],
            "The same for an address.",
            pike_check_ip,
        ),
    ],
    rpcs: &[
        Rpc {
            name: "pike.top",
            doc: "Lists addresses. Parameters: HOT (if none is given), WARM or ALL.",
            call: top,
        },
        Rpc {
            name: "pike.list",
            doc: "Lists addresses. Parameters: HOT (if none is given), WARM or ALL.",
            call: top,
        },
    ],
    timers: &[ModuleTimer {
        name: "sampling time",
        interval: |script| script.states.get::<Pike>().map(|pike| pike.sampling),
        run: sample,
    }],
    init: Some(init),
    ..ModuleDef::new("pike", "Detects addresses that send too many requests.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let positive = |name: &'static str| -> Result<u32, InitError> {
        let refuse = || InitError::Param {
            name,
            why: format!("{} is not above 0", init.int(name)),
        };
        u32::try_from(init.int(name))
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(refuse)
    };
    let density = positive("reqs_density_per_unit")?;
    let previous = init.previous::<Pike>();
    let copy = |at: usize| {
        previous
            .as_ref()
            .and_then(|pike| Some(pike.shards.get(at)?.lock().clone()))
    };
    Ok(Arc::new(Pike {
        shards: (0..SHARDS)
            .map(|at| Mutex::new(copy(at).unwrap_or_default()))
            .collect(),
        density,
        expand: density >> 2,
        sampling: Millis::from(positive("sampling_time_unit")?) * 1000,
        latency: Millis::from(positive("remove_latency")?) * 1000,
        level: Level::from_number(init.int("pike_log_level")),
        blocked: init.statistics.counter("pike", "blocked_ips"),
    }))
}

impl Prefix {
    fn of(ip: IpAddr) -> Self {
        let mut bytes = [0; 16];
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                bytes
                    .iter_mut()
                    .zip(ip.octets())
                    .for_each(|(to, from)| *to = from);
                Self {
                    v6: false,
                    length: 4,
                    bytes,
                }
            }
            IpAddr::V6(ip) => Self {
                v6: true,
                length: 16,
                bytes: ip.octets(),
            },
        }
    }

    /// Its first bytes.
    fn cut(self, length: u8) -> Self {
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(self.bytes)
            .take(length.into())
            .for_each(|(to, from)| *to = from);
        Self {
            length,
            bytes,
            ..self
        }
    }

    /// The address, when it is whole.
    fn address(self) -> Option<IpAddr> {
        match (self.v6, self.length) {
            (true, 16) => Some(IpAddr::from(self.bytes)),
            (false, 4) => self.bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
            _ => None,
        }
    }
}

impl Pike {
    fn is_hot(&self, node: &Node) -> bool {
        node.hits >= self.density || node.hits.saturating_add(node.before) / 2 >= self.density
    }

    /// Counts a request of an address.
    fn check(&self, ip: IpAddr, now: Millis) -> Code {
        let whole = Prefix::of(ip);
        let Some(shard) = self.shards.get(usize::from(whole.bytes[0])) else {
            return OK;
        };
        let mut shard = shard.lock();
        if let Some(node) = shard.get_mut(&whole) {
            node.hits = node.hits.saturating_add(1);
            node.touched = now;
            if node.blocked {
                return BLOCKED;
            }
            if !self.is_hot(node) {
                return OK;
            }
            node.blocked = true;
            drop(shard);
            self.blocked.inc();
            crate::log::write(self.level, "pike", format_args!("PIKE - BLOCKing ip {ip}"));
            return NEWLY_BLOCKED;
        }
        let room = shard.len() < SHARD_MAX;
        for length in (1..whole.length).rev() {
            let Some(node) = shard.get_mut(&whole.cut(length)) else {
                continue;
            };
            node.hits = node.hits.saturating_add(1);
            node.touched = now;
            if room && (node.hits >= self.expand || node.before >= self.expand) {
                let next = whole.cut(length + 1);
                // One more hit of a prefix in between is enough for the byte after it.
                let hits = if next == whole {
                    0
                } else {
                    self.expand.saturating_sub(1)
                };
                shard.insert(
                    next,
                    Node {
                        hits,
                        touched: now,
                        ..Node::default()
                    },
                );
            }
            return OK;
        }
        if room {
            shard.insert(
                whole.cut(1),
                Node {
                    hits: 1,
                    touched: now,
                    ..Node::default()
                },
            );
        }
        OK
    }

    /// Ends a sampling time: who kept within bounds is let in again, who was silent is forgotten.
    fn sample(&self, now: Millis) {
        for shard in &self.shards {
            let mut free = Vec::new();
            shard.lock().retain(|prefix, node| {
                node.before = std::mem::take(&mut node.hits);
                if node.blocked && node.before < self.density {
                    node.blocked = false;
                    free.extend(prefix.address());
                }
                now.saturating_sub(node.touched) <= self.latency
            });
            for ip in free {
                crate::log::write(self.level, "pike", format_args!("PIKE - UNBLOCKing ip {ip}"));
            }
        }
    }
}

fn pike_check_req(call: &mut Call<'_, '_>) -> Code {
    let Some(pike) = call.state::<Pike>() else {
        return OK;
    };
    pike.check(call.env.ctx.source.peer.ip(), call.env.host.now())
}

fn pike_check_ip(call: &mut Call<'_, '_>) -> Code {
    let Some(pike) = call.state::<Pike>() else {
        return OK;
    };
    let text = call.text(0);
    let ip = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| cidr::parse_ip(text).ok());
    let Some(ip) = ip else {
        crate::log::error(
            "pike",
            format_args!(
                "pike_check_ip: {:?} is no address",
                String::from_utf8_lossy(&text)
            ),
        );
        return OK;
    };
    pike.check(ip, call.env.host.now())
}

fn sample(env: &mut Env<'_>) {
    if let Some(pike) = env.state::<Pike>() {
        pike.sample(env.host.now());
    }
}

fn top(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let pike = script
        .states
        .get::<Pike>()
        .ok_or_else(|| RpcFault::failed("pike is not loaded"))?;
    let filter = call
        .opt_str(0)?
        .map_or_else(|| "HOT".to_owned(), |word| word.to_ascii_uppercase());
    if !["ALL", "HOT", "WARM"].contains(&filter.as_str()) {
        return Err(RpcFault::failed("Bad argument. Select: ALL, HOT or WARM"));
    }
    let now = crate::clock::now();
    let mut rows = Vec::new();
    for shard in &pike.shards {
        for (prefix, node) in shard.lock().iter() {
            let Some(ip) = prefix.address() else { continue };
            let status = if node.blocked || pike.is_hot(node) {
                "HOT"
            } else if node.hits.max(node.before) >= pike.expand {
                "WARM"
            } else {
                ""
            };
            let wanted = match filter.as_str() {
                "ALL" => true,
                "WARM" => status == "WARM",
                _ => status == "HOT",
            };
            if wanted {
                rows.push((ip, *node, status));
            }
        }
    }
    rows.sort_by_key(|(ip, ..)| *ip);
    let list: Vec<_> = rows
        .iter()
        .map(|(ip, node, status)| {
            let expires = (node.touched + pike.latency).saturating_sub(now) / 1000;
            json!({
                "ip_addr": ip.to_string(), "leaf_hits_prev": node.before, "leaf_hits_curr": node.hits,
                "expires": expires, "status": status,
            })
        })
        .collect();
    Ok(json!({"max_hits": pike.density, "list": list, "number_of_rows": list.len()}).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::methods::Peer;
    use crate::script::testing::Bench;

    fn bench(density: &str) -> Bench {
        let params: &[(&'static str, &str)] = &[("reqs_density_per_unit", density), ("remove_latency", "4")];
        Bench::new(&[(&MODULE, params)])
    }

    fn until_blocked(bench: &mut Bench, ip: &str) -> usize {
        (1..1000)
            .find(|_| bench.call("pike_check_ip", &[ip]) == -2)
            .expect("blocked at last")
    }

    #[test]
    fn addresses_are_blocked_after_as_many_requests_as_there() {
        for (density, first) in [
            (1, 5),
            (2, 6),
            (3, 7),
            (4, 8),
            (5, 9),
            (7, 11),
            (8, 12),
            (12, 17),
            (16, 22),
            (30, 39),
        ] {
            let mut bench = bench(&density.to_string());
            assert_eq!(until_blocked(&mut bench, "127.0.0.1"), first, "{density}");
            assert_eq!(bench.call("pike_check_ip", &["127.0.0.1"]), -1);
            assert_eq!(until_blocked(&mut bench, "127.0.0.2"), density + 1, "a neighbour");
        }
    }

    #[test]
    fn silence_is_rewarded() {
        let mut bench = bench("5");
        until_blocked(&mut bench, "2001:db8::1");
        (MODULE.timers[0].run)(&mut bench.env());
        assert_eq!(
            bench.call("pike_check_ip", &["2001:db8::1"]),
            -1,
            "it was over the bound"
        );
        (MODULE.timers[0].run)(&mut bench.env());
        assert_eq!(bench.call("pike_check_ip", &["2001:db8::1"]), 1);
        bench.host.now += 5_000;
        (MODULE.timers[0].run)(&mut bench.env());
        let pike = bench.env().state::<Pike>().unwrap();
        assert!(pike.shards.iter().all(|shard| shard.lock().is_empty()));
        assert_eq!(bench.call("pike_check_ip", &["nonsense"]), 1);
    }

    #[test]
    fn a_flood_of_addresses_takes_little_memory() {
        let bench = bench("2");
        let pike = bench.script.states.get::<Pike>().unwrap();
        for n in 0..200_000u32 {
            for _ in 0..2 {
                pike.check(
                    IpAddr::from((n.wrapping_mul(2_654_435_761) | 0x0a00_0000).to_be_bytes()),
                    0,
                );
            }
        }
        assert!(pike.shards.iter().all(|shard| shard.lock().len() <= SHARD_MAX));
    }

    #[test]
    fn operators_see_who_floods() {
        let mut bench = bench("5");
        until_blocked(&mut bench, "127.0.0.1");
        bench.call("pike_check_ip", &["127.0.0.2"]);
        let script = Arc::new(bench.script);
        let ask = |params: &[serde_json::Value]| {
            top(
                &RpcCall {
                    method: "pike.top",
                    params,
                    peer: &Peer::internal(),
                },
                &script,
            )
            .unwrap()
            .into_value()
            .unwrap()
        };
        let hot = ask(&[]);
        assert_eq!((&hot["max_hits"], &hot["number_of_rows"]), (&json!(5), &json!(1)));
        assert_eq!(
            (&hot["list"][0]["ip_addr"], &hot["list"][0]["status"]),
            (&json!("127.0.0.1"), &json!("HOT"))
        );
        assert_eq!(hot["list"][0]["leaf_hits_curr"], 5);
        assert_eq!(ask(&[json!("all")])["number_of_rows"], 2);
        assert_eq!(ask(&[json!("WARM")])["number_of_rows"], 0);
    }
}
