//! `loadmodule "cfgutils"`: chance, locks, global flags, waiting (Kamailio cfgutils).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::host::RouteId;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvParam;
use crate::script::module::Routes;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::transform::coding::core_hash_of;
use crate::script::value::Value;
use parking_lot::Condvar;
use parking_lot::Mutex;
use shared::digest::Algorithm;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const KEYS: &[Arg] = &[Arg::Text("key"), Arg::OptText("key2")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    fixed: &["initial_gflags"],
    params: &[
        Param::Int(
            "initial_probability",
            10,
            "Probability of rand_event(), in percent.",
        ),
        Param::Text(
            "hash_file",
            "",
            "File whose change cfgutils.check_config_hash tells.",
        ),
        Param::Int("initial_gflags", 0, "Global flags at the start."),
        Param::Int("lock_set_size", 0, "Number of locks as a power of two; 0: none."),
    ],
    functions: &[
        Function::anywhere(&["rand_event"], &[], "True by chance.", rand_event),
        Function::anywhere(
            &["rand_set_prob"],
            &[Arg::Int("probability")],
            "Sets the probability of rand_event().",
            rand_set_prob,
        ),
        Function::anywhere(
            &["rand_reset_prob"],
            &[],
            "Gives the probability its first value.",
            rand_reset_prob,
        ),
        Function::anywhere(
            &["rand_get_prob"],
            &[],
            "The probability as return code.",
            rand_get_prob,
        ),
        Function::anywhere(
            &["sleep"],
            &[Arg::Int("time")],
            "Waits so many seconds; the worker does nothing else meanwhile.",
            |call| wait(call, Duration::from_secs),
        ),
        Function::anywhere(
            &["usleep"],
            &[Arg::Int("time")],
            "Waits so many microseconds.",
            |call| wait(call, Duration::from_micros),
        ),
        Function::anywhere(&["abort"], &[], "Aborts the server.", |_| std::process::abort()),
        Function::anywhere(
            &["pkg_status", "pkg_summary", "shm_status", "shm_summary"],
            &[],
            "Accepted: memory is the system's.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["set_gflag"],
            &[Arg::Flag("flag")],
            "Sets a global flag.",
            |call| global_flag(call, |flags, bit| flags.fetch_or(bit, Relaxed)),
        ),
        Function::anywhere(
            &["reset_gflag"],
            &[Arg::Flag("flag")],
            "Clears a global flag.",
            |call| global_flag(call, |flags, bit| flags.fetch_and(!bit, Relaxed)),
        ),
        Function::anywhere(
            &["is_gflag"],
            &[Arg::Flag("flag")],
            "True when a global flag is set.",
            is_gflag,
        ),
        Function::anywhere(&["lock"], KEYS, "Takes the lock of a key, waiting for it.", lock),
        Function::anywhere(
            &["trylock"],
            KEYS,
            "Takes the lock of a key if it is free.",
            trylock,
        ),
        Function::anywhere(&["unlock"], KEYS, "Frees the lock of a key.", unlock),
        Function::anywhere(
            &["check_route_exists"],
            &[Arg::Text("route")],
            "True when there is such a route.",
            check_route_exists,
        ),
        Function::anywhere(
            &["route_if_exists"],
            &[Arg::Text("route")],
            "Runs a route if there is one; its result.",
            route_if_exists,
        ),
        Function::anywhere(
            &["core_hash"],
            &[Arg::Text("string1"), Arg::Text("string2"), Arg::Int("size")],
            "A hash of two texts within 2^size, plus 1.",
            core_hash,
        ),
    ],
    pvs: &[Pv {
        names: &["RANDOM"],
        param: PvParam::None,
        doc: "A random number.",
        compile: None,
        get: |env, _| {
            env.state::<Utilities>()
                .map_or(Value::Null, |utilities| Value::Int(utilities.random() >> 33))
        },
        set: None,
    }],
    rpcs: &[
        Rpc {
            name: "cfgutils.rand_set_prob",
            doc: "Sets the probability of rand_event(), in percent.",
            call: rpc_set_prob,
        },
        Rpc {
            name: "cfgutils.rand_reset_prob",
            doc: "Gives the probability its first value.",
            call: rpc_reset_prob,
        },
        Rpc {
            name: "cfgutils.check_config_hash",
            doc: "Tells whether hash_file changed.",
            call: rpc_check_hash,
        },
        Rpc {
            name: "cfgutils.get_config_hash",
            doc: "The hash of hash_file at the start.",
            call: rpc_get_hash,
        },
        Rpc {
            name: "cfgutils.rand_set_prop",
            doc: "Sets the probability of rand_event(), in percent.",
            call: rpc_set_prob,
        },
        Rpc {
            name: "cfgutils.rand_get_prob",
            doc: "The probability of rand_event(), in percent.",
            call: rpc_get_prob,
        },
        Rpc {
            name: "cfgutils.set_gflag",
            doc: "Sets the global flags of a bitmask.",
            call: |call, script| rpc_change_gflags(call, script, |flags, mask| flags | mask),
        },
        Rpc {
            name: "cfgutils.reset_gflag",
            doc: "Clears the global flags of a bitmask.",
            call: |call, script| rpc_change_gflags(call, script, |flags, mask| flags & !mask),
        },
        Rpc {
            name: "cfgutils.is_gflag",
            doc: "TRUE when every global flag of a bitmask is set, else FALSE.",
            call: rpc_is_gflag,
        },
        Rpc {
            name: "cfgutils.get_gflags",
            doc: "The global flags.",
            call: rpc_gflags,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("cfgutils", "Chance, locks, global flags, waiting.")
};

struct Utilities {
    first_probability: i64,
    probability: AtomicI64,
    flags: Arc<AtomicU32>,
    locks: Vec<(Mutex<bool>, Condvar)>,
    hash: Option<(String, Vec<u8>)>,
    seed: AtomicU64,
}

impl Utilities {
    /// A number below 2^64, good enough for chance (SplitMix64).
    fn random(&self) -> i64 {
        let mut z = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::from_ne_bytes(((z ^ (z >> 31)) & (u64::MAX >> 1)).to_ne_bytes())
    }

    /// The lock of a key; none when there are no locks.
    fn lock_of(&self, first: &[u8], second: &[u8]) -> Option<&(Mutex<bool>, Condvar)> {
        let hash = core_hash_of(&[first, second]) as usize;
        self.locks.get(hash.checked_rem(self.locks.len())?)
    }
}

fn file_hash(path: &str) -> Result<Vec<u8>, std::io::Error> {
    Ok(shared::digest::hash(Algorithm::Md5, &[&std::fs::read(path)?])
        .as_bytes()
        .to_vec())
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let size = init.int("lock_set_size");
    if !(0..=20).contains(&size) {
        return Err(InitError::Param {
            name: "lock_set_size",
            why: format!("{size} is not between 0 and 20"),
        });
    }
    let path = init.text("hash_file");
    let hash = if path.is_empty() {
        None
    } else {
        let hash = file_hash(&path).map_err(|error| InitError::Io {
            path: path.clone(),
            error,
        })?;
        Some((path, hash))
    };
    let locks = if size == 0 { 0 } else { 1usize << size };
    let first_probability = init.int("initial_probability");
    if !(0..=100).contains(&first_probability) {
        let why = format!("{first_probability} is no percentage");
        return Err(InitError::Param {
            name: "initial_probability",
            why,
        });
    }
    let flags = match init.previous::<Utilities>() {
        Some(old) => Arc::clone(&old.flags),
        None => Arc::new(AtomicU32::new(
            u32::try_from(init.int("initial_gflags")).unwrap_or(0),
        )),
    };
    Ok(Arc::new(Utilities {
        first_probability,
        probability: AtomicI64::new(first_probability),
        flags,
        locks: (0..locks).map(|_| Default::default()).collect(),
        hash,
        seed: AtomicU64::new(init.seed),
    }))
}

fn rand_event(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Utilities>() else {
        return Code::FALSE;
    };
    Code::from(state.random() % 100 < state.probability.load(Relaxed))
}

fn rand_set_prob(call: &mut Call<'_, '_>) -> Code {
    let percent = call.int(0);
    match call.state::<Utilities>() {
        Some(state) if (0..=100).contains(&percent) => {
            state.probability.store(percent, Relaxed);
            Code::TRUE
        }
        _ => {
            crate::log::error("cfgutils", format_args!("incorrect probability {percent}"));
            Code::FALSE
        }
    }
}

fn rand_reset_prob(call: &mut Call<'_, '_>) -> Code {
    if let Some(state) = call.state::<Utilities>() {
        state.probability.store(state.first_probability, Relaxed);
    }
    Code::TRUE
}

fn rand_get_prob(call: &mut Call<'_, '_>) -> Code {
    let percent = call
        .state::<Utilities>()
        .map_or(0, |state| state.probability.load(Relaxed));
    // Kamailio: a probability of 0 ends the script, as any function's 0 does
    Code(i32::try_from(percent).unwrap_or(0))
}

/// The longest wait, whatever a script asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

fn wait(call: &mut Call<'_, '_>, unit: fn(u64) -> Duration) -> Code {
    let time = unit(u64::try_from(call.int(0)).unwrap_or(0)).min(LONGEST_WAIT);
    #[expect(clippy::disallowed_methods, reason = "the script asks its worker to wait")]
    std::thread::sleep(time);
    Code::TRUE
}

fn bit(number: i64) -> Option<u32> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number < 32)
        .map(|number| 1 << number)
}

fn global_flag(call: &mut Call<'_, '_>, change: impl FnOnce(&AtomicU32, u32) -> u32) -> Code {
    match (call.state::<Utilities>(), bit(call.int(0))) {
        (Some(state), Some(bit)) => {
            change(&state.flags, bit);
            Code::TRUE
        }
        _ => Code::FALSE,
    }
}

fn is_gflag(call: &mut Call<'_, '_>) -> Code {
    match (call.state::<Utilities>(), bit(call.int(0))) {
        (Some(state), Some(bit)) => Code::from(state.flags.load(Relaxed) & bit != 0),
        _ => Code::FALSE,
    }
}

/// A lock left behind by a script that ended without `unlock()` is taken over after this.
const PATIENCE: Duration = Duration::from_secs(5);

fn with_lock(call: &Call<'_, '_>, work: impl FnOnce(&Mutex<bool>, &Condvar) -> Code) -> Code {
    let found = call
        .state::<Utilities>()
        .and_then(|state| state.lock_of(&call.text(0), &call.text(1)));
    match found {
        Some((held, freed)) => work(held, freed),
        None => {
            crate::log::error(
                "cfgutils",
                format_args!("{}: there are no locks: see parameter lock_set_size", call.name),
            );
            Code::FALSE
        }
    }
}

fn lock(call: &mut Call<'_, '_>) -> Code {
    with_lock(call, |held, freed| {
        let mut held = held.lock();
        if freed
            .wait_while_for(&mut held, |held| *held, PATIENCE)
            .timed_out()
        {
            crate::log::warning(
                "cfgutils",
                format_args!("a lock was held for {} s and is taken over", PATIENCE.as_secs()),
            );
        }
        *held = true;
        Code::TRUE
    })
}

fn trylock(call: &mut Call<'_, '_>) -> Code {
    with_lock(call, |held, _| {
        let mut held = held.lock();
        let free = !*held;
        *held = true;
        Code::from(free)
    })
}

fn unlock(call: &mut Call<'_, '_>) -> Code {
    with_lock(call, |held, freed| {
        *held.lock() = false;
        freed.notify_one();
        Code::TRUE
    })
}

/// The block `route[NAME]` that argument 0 names.
fn find_route(call: &Call<'_, '_>) -> Option<RouteId> {
    let name = call.text(0);
    call.env
        .script
        .program
        .find_route(Routes::REQUEST, std::str::from_utf8(&name).ok()?)
}

fn check_route_exists(call: &mut Call<'_, '_>) -> Code {
    Code::from(find_route(call).is_some())
}

fn route_if_exists(call: &mut Call<'_, '_>) -> Code {
    let Some(route) = find_route(call) else {
        return Code::FALSE;
    };
    let verdict = crate::script::exec::run(route, call.env);
    if verdict.exited {
        Code::EXIT
    } else {
        Code(i32::try_from(verdict.code).unwrap_or(-1))
    }
}

fn core_hash(call: &mut Call<'_, '_>) -> Code {
    // Kamailio: 2^1 without a size, and 2^32 is 2^0
    let bits = match u32::try_from(call.int(2)) {
        Ok(size) if size > 0 => size % 32,
        _ => 1,
    };
    let within = core_hash_of(&[&call.printed(0), &call.printed(1)]) & ((1 << bits) - 1);
    // Kamailio: one more, for 0 would end the script
    Code(i32::try_from(within).unwrap_or(0).saturating_add(1))
}

fn state(script: &Arc<Script>) -> Result<&Utilities, RpcFault> {
    script
        .states
        .get::<Utilities>()
        .ok_or_else(|| RpcFault::failed("module cfgutils is not loaded"))
}

fn rpc_set_prob(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let percent = call.int(0).map_err(invalid)?;
    if !(0..=100).contains(&percent) {
        return Err(RpcFault::failed("Invalid Percent"));
    }
    state(script)?.probability.store(percent, Relaxed);
    Ok(RpcReply::empty())
}

fn rpc_reset_prob(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let state = state(script)?;
    state.probability.store(state.first_probability, Relaxed);
    Ok(RpcReply::empty())
}

const NO_HASH: &str = "No hash file";

fn rpc_check_hash(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let Some((path, known)) = &state(script)?.hash else {
        return Err(RpcFault::failed(NO_HASH));
    };
    match file_hash(path) {
        Ok(now) if now == *known => Ok(RpcReply::from(
            "The actual config file hash is identical to the stored one.",
        )),
        Ok(_) => Err(RpcFault::failed(
            "The actual config file hash is not identical to the stored one.",
        )),
        Err(why) => Err(RpcFault::failed(format!("{path}: {why}"))),
    }
}

fn rpc_get_hash(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    match &state(script)?.hash {
        Some((_, hash)) => Ok(RpcReply::Value(String::from_utf8_lossy(hash).into())),
        None => Err(RpcFault::failed(NO_HASH)),
    }
}

fn rpc_get_prob(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let percent = state(script)?.probability.load(Relaxed);
    Ok(RpcReply::Value(
        format!("actual probability: {percent} percent").into(),
    ))
}

/// A bitmask, decimal or hexadecimal.
fn mask(call: &RpcCall<'_>) -> Result<u32, RpcFault> {
    let mask = call.int(0).map_err(invalid)?;
    u32::try_from(mask).map_err(|_| invalid(()))
}

fn invalid<T>(_: T) -> RpcFault {
    RpcFault::failed("Invalid Parameters")
}

fn rpc_change_gflags(call: &RpcCall<'_>, script: &Arc<Script>, change: fn(u32, u32) -> u32) -> RpcResult {
    let mask = mask(call)?;
    let flags = &state(script)?.flags;
    flags.update(Relaxed, Relaxed, |flags| change(flags, mask));
    Ok(RpcReply::empty())
}

fn rpc_is_gflag(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let mask = mask(call)?;
    let set = state(script)?.flags.load(Relaxed) & mask == mask;
    Ok(RpcReply::from(if set { "TRUE" } else { "FALSE" }))
}

fn rpc_gflags(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let flags = state(script)?.flags.load(Relaxed);
    Ok(RpcReply::Value(format!("0x{flags:X} ({flags})").into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    fn utilities() -> Arc<Utilities> {
        Arc::new(Utilities {
            first_probability: 10,
            probability: AtomicI64::new(10),
            flags: Arc::default(),
            locks: (0..4).map(|_| Default::default()).collect(),
            hash: None,
            seed: AtomicU64::new(1),
        })
    }

    #[test]
    fn kamailio_answers_the_same() {
        let mut stage = Stage::options().with(utilities());
        for (name, args, expected) in [
            ("set_gflag", &["1"][..], 1),
            ("is_gflag", &["1"], 1),
            ("is_gflag", &["2"], -1),
            ("reset_gflag", &["1"], 1),
            ("is_gflag", &["1"], -1),
            ("rand_set_prob", &["50"], 1),
            ("rand_get_prob", &[], 50),
            ("rand_set_prob", &["101"], -1),
            ("rand_reset_prob", &[], 1),
            ("rand_get_prob", &[], 10),
            ("lock", &["x"], 1),
            ("trylock", &["x"], -1),
            ("unlock", &["x"], 1),
            ("trylock", &["x"], 1),
            ("check_route_exists", &["NO"], -1),
            ("route_if_exists", &["NO"], -1),
            ("core_hash", &["a", "b", "8"], 220),
            ("core_hash", &["abc", "", "16"], 24387),
            ("core_hash", &["Hello World", "", "16"], 64815),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
        }
        assert_eq!(Stage::options().call(&MODULE, "lock", &["x"]), -1);
    }

    #[test]
    fn chance_follows_its_probability() {
        let mut stage = Stage::options().with(utilities());
        for (percent, least, most) in [("0", 0, 0), ("100", 1000, 1000), ("50", 400, 600)] {
            stage.call(&MODULE, "rand_set_prob", &[percent]);
            let hits = (0..1000)
                .filter(|_| stage.call(&MODULE, "rand_event", &[]) == 1)
                .count();
            assert!((least..=most).contains(&hits), "{percent}: {hits}");
        }
    }
}
