//! `loadmodule "dispatcher"`: sets of destinations, shared out and probed (Kamailio module dispatcher, version 5.6).

mod destination;
mod from_list;
mod hash;
mod latency;
mod load;
mod mark;
mod ping;
mod pv;
mod rpc;
mod select;
mod sets;

use crate::modules::database::Database;
use crate::proxy::context::SocketId;
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
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::program::Format;
use crate::script::program::PvRef;
use arc_swap::ArcSwap;
use destination::Destination;
use destination::Thresholds;
use parking_lot::Mutex;
use select::Step;
use sets::Columns;
use sets::Inherit;
use sets::Sets;
use shared::db::schema;
use shared::net::Transport;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

const FORWARDING: Routes = Routes::REQUEST.or(Routes::FAILURE).or(Routes::EVENT);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text(
            "list_file",
            "/etc/kamailio/dispatcher.list",
            "The file with the sets, when there is no db_url.",
        ),
        Param::Text("db_url", "", "The database with the sets."),
        Param::Text("table_name", "dispatcher", "Its table."),
        Param::Text("setid_col", "setid", "Column of the set's number."),
        Param::Text("destination_col", "destination", "Column of the URI."),
        Param::Text("flags_col", "flags", "Column of the flags."),
        Param::Text("priority_col", "priority", "Column of the priority."),
        Param::Text("attrs_col", "attrs", "Column of the attributes."),
        Param::Text(
            "ds_db_extra_attrs",
            "",
            "Further columns as attributes: name=column;…",
        ),
        Param::Int("force_dst", 1, "Replaces a next hop that is set already."),
        Param::Int("flags", 0, "1: only the user of a URI is hashed; 2: failover."),
        Param::Int(
            "use_default",
            0,
            "The last destination is for when no other is left.",
        ),
        Param::Text("xavp_dst", "_dsdst_", "The XAVP of the selected destinations."),
        Param::Int(
            "xavp_dst_mode",
            0,
            "1: without attrs; 2: with socket; 4: with sockname.",
        ),
        Param::Text("xavp_ctx", "_dsctx_", "The XAVP of the selection: cnt."),
        Param::Int("xavp_ctx_mode", 0, "1: without cnt."),
        Param::Text("hash_pvar", "", "The text that algorithm 7 hashes."),
        Param::Pv("setid_pvname", "", "Gets the set that ds_is_from_list() matched."),
        Param::Pv(
            "attrs_pvname",
            "",
            "Gets the attributes that ds_is_from_list() matched.",
        ),
        Param::Text("ds_ping_method", "OPTIONS", "Method of pings."),
        Param::Text("ds_ping_from", "sip:dispatcher@localhost", "From URI of pings."),
        Param::Int("ds_ping_interval", 0, "Seconds between pings; 0: none."),
        Param::Int(
            "ds_ping_fr_timer",
            0,
            "Milliseconds to wait for an answer to a ping; 0: tm's fr_timer.",
        ),
        Param::Text("ds_ping_socket", "", "Socket of pings."),
        Param::Int(
            "ds_probing_threshold",
            1,
            "Failures until a destination is inactive.",
        ),
        Param::Int("ds_inactive_threshold", 1, "Answers until it is active again."),
        Param::Text(
            "ds_ping_reply_codes",
            "",
            "Further good answers: code=403;class=3;…",
        ),
        Param::Int(
            "ds_probing_mode",
            0,
            "0: probes what is to be probed; 1: all; 2: inactive; 3: keeps probing.",
        ),
        Param::Int("ds_ping_latency_stats", 0, "Measures how long answers take."),
        Param::Int("ds_retain_latency_stats", 0, "Keeps the figures over a reload."),
        Param::Int(
            "ds_latency_estimator_alpha",
            100,
            "Weight of one answer, in thousandths.",
        ),
        Param::Int("ds_hash_size", 0, "Above 0: calls are counted, for algorithm 10."),
        Param::Int(
            "ds_hash_expire",
            7200,
            "Seconds until an answered call no longer counts.",
        ),
        Param::Int(
            "ds_hash_initexpire",
            7200,
            "Seconds until an unanswered call no longer counts.",
        ),
        Param::Int(
            "ds_hash_check_interval",
            30,
            "Seconds between looks for calls that expired.",
        ),
        Param::Text("outbound_proxy", "", "Next hop of pings."),
        Param::Text("ds_default_socket", "", "Socket for destinations without one."),
        Param::Text("ds_default_sockname", "", "The same, by name."),
        Param::Int("event_callback_mode", 0, "1: event routes run only for pings."),
        Param::Int(
            "ds_attrs_none",
            0,
            "Destinations without attributes have none=yes.",
        ),
        Param::Int(
            "ds_load_mode",
            0,
            "1: a destination that cannot be used stops the load.",
        ),
        Param::Int(
            "reload_delta",
            0,
            "Reloads are never refused; taken for compatibility.",
        ),
        Param::Ignored(
            "ds_dns_mode",
            "names are looked up at load and every ds_dns_interval",
        ),
        Param::Ignored("ds_dns_interval", "names are looked up when the sets are loaded"),
        Param::Ignored("ds_dns_ttl", "the resolver's own times count"),
        Param::Ignored("ds_dns_match_all", "all addresses of a name are matched"),
        Param::Ignored("ds_timer_mode", "timers have a worker of their own"),
        Param::Ignored("event_callback", "embedded languages are not supported"),
    ],
    functions: &[
        Function {
            names: &["ds_select_dst"],
            args: &[Arg::Int("set"), Arg::Int("alg"), Arg::OptInt("limit")],
            routes: FORWARDING.or(Routes::BRANCH),
            doc: "Sets the next hop to a destination of the set.",
            call: |call| select::select(call, Place::Dst),
        },
        Function {
            names: &["ds_select_domain"],
            args: &[Arg::Int("set"), Arg::Int("alg"), Arg::OptInt("limit")],
            routes: FORWARDING.or(Routes::BRANCH),
            doc: "Sets host and port of the Request-URI to a destination of the set.",
            call: |call| select::select(call, Place::Domain),
        },
        Function::anywhere(
            &["ds_select"],
            &[Arg::Int("set"), Arg::Int("alg"), Arg::OptInt("limit")],
            "Puts destinations of the set in the XAVP only.",
            |call| select::select(call, Place::List),
        ),
        Function::anywhere(
            &["ds_select_routes"],
            &[Arg::Text("rules"), Arg::Text("mode"), Arg::OptInt("limit")],
            "Selects from several sets: set=alg;…, to d (next hop), r (Request-URI) or x (XAVP).",
            select::select_routes,
        ),
        Function {
            names: &["ds_next_dst"],
            args: &[],
            routes: FORWARDING.or(Routes::BRANCH),
            doc: "Sets the next hop to the next destination selected; false when there is none.",
            call: |call| select::take(call, Step::Next, Place::Dst),
        },
        Function {
            names: &["ds_next_domain"],
            args: &[],
            routes: FORWARDING.or(Routes::BRANCH),
            doc: "Sets the Request-URI to the next destination selected.",
            call: |call| select::take(call, Step::Next, Place::Domain),
        },
        Function {
            names: &["ds_set_dst"],
            args: &[],
            routes: FORWARDING.or(Routes::BRANCH),
            doc: "Sets the next hop to the destination selected.",
            call: |call| select::take(call, Step::Current, Place::Dst),
        },
        Function {
            names: &["ds_set_domain"],
            args: &[],
            routes: FORWARDING.or(Routes::BRANCH),
            doc: "Sets the Request-URI to the destination selected.",
            call: |call| select::take(call, Step::Current, Place::Domain),
        },
        Function::anywhere(
            &["ds_mark_dst"],
            &[Arg::OptText("state")],
            "Gives the destination used last a state: a, i, d or t, and p to probe it.",
            mark::mark_dst,
        ),
        Function::anywhere(
            &["ds_mark_addr"],
            &[Arg::Text("state"), Arg::Int("set"), Arg::Text("uri")],
            "Gives a destination a state.",
            mark::mark_addr,
        ),
        Function::anywhere(
            &["ds_list_exists", "ds_list_exist"],
            &[Arg::Int("set")],
            "True when there is such a set.",
            from_list::exists,
        ),
        Function::anywhere(
            &["ds_is_from_list"],
            &[Arg::OptInt("set"), Arg::OptInt("mode"), Arg::OptText("uri")],
            "True when the source, or the URI, is a destination of the set; of any set without one or with -1.",
            from_list::is_from_list,
        ),
        Function::anywhere(
            &["ds_is_active"],
            &[Arg::Int("set"), Arg::OptText("uri")],
            "True when a destination of the set, or this one, is active.",
            from_list::is_active,
        ),
        Function::anywhere(
            &["ds_load_update"],
            &[],
            "Ends the load of a call at BYE and CANCEL; confirms it at a 2xx to INVITE.",
            mark::load_update,
        ),
        Function::anywhere(
            &["ds_load_unset"],
            &[],
            "Ends the load of the call.",
            mark::load_unset,
        ),
        Function::anywhere(
            &["ds_dsg_fetch"],
            &[Arg::Int("set")],
            "Names the set that $dsg(…) tells of.",
            pv::fetch,
        ),
        Function::anywhere(&["ds_reload"], &[], "Reads the sets anew.", reload),
    ],
    pvs: pv::PVS,
    rpcs: rpc::RPCS,
    events: &["dispatcher:dst-down", "dispatcher:dst-up"],
    timers: &[
        ModuleTimer {
            name: "dispatcher pings",
            interval: ping::interval,
            run: ping::run,
        },
        ModuleTimer {
            name: "dispatcher call load",
            interval: expiry_interval,
            run: expire,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("dispatcher", "Sets of destinations: load balancing and failover.")
};

/// What a selection sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The next hop.
    Dst,
    /// Host and port of the Request-URI.
    Domain,
    /// Nothing but the list.
    List,
}

/// Where the sets are read from.
enum Origin {
    File(PathBuf),
    Database(Arc<Database>, Columns),
}

/// The module's state.
struct Dispatcher {
    sets: ArcSwap<Sets>,
    /// Held while sets are replaced.
    changing: Mutex<()>,
    origin: Origin,
    seed: u64,
    flags: i64,
    force_dst: bool,
    use_default: bool,
    strict: bool,
    xavp_dst: Vec<u8>,
    xavp_dst_mode: i64,
    xavp_ctx: Vec<u8>,
    xavp_ctx_mode: i64,
    attrs_none: bool,
    hash_pvar: Option<Format>,
    set_pv: Option<Arc<PvRef>>,
    attrs_pv: Option<Arc<PvRef>>,
    default_socket: String,
    default_socket_name: String,
    thresholds: Thresholds,
    loads: Arc<load::Loads>,
    hash_size: i64,
    init_expire: Millis,
    expire: Millis,
    check_interval: Millis,
    latency_stats: bool,
    retain_latency: bool,
    event_mode: i64,
    ping: ping::Options,
    ping_active: AtomicI64,
}

impl Dispatcher {
    /// The attributes of a destination as scripts and operators see them.
    fn attributes<'d>(&self, destination: &'d Destination) -> Option<&'d [u8]> {
        match &*destination.attributes.body {
            [] => self.attrs_none.then_some(b"none=yes"),
            body => Some(body),
        }
    }

    /// `flags` 2.
    fn failover(&self) -> bool {
        self.flags & 2 != 0
    }

    fn counts_loads(&self) -> bool {
        self.hash_size > 0
    }

    /// `flags` 1.
    fn hashed(&self) -> hash::UriPart {
        if self.flags & 1 != 0 {
            hash::UriPart::User
        } else {
            hash::UriPart::Whole
        }
    }

    /// The socket to send to a destination from.
    fn socket_of(&self, env: &Env<'_>, destination: &Destination) -> Option<SocketId> {
        let attributes = &destination.attributes;
        socket_named(env, &attributes.socket_name)
            .or_else(|| socket_at(env, &attributes.socket))
            .or_else(|| socket_named(env, self.default_socket_name.as_bytes()))
            .or_else(|| socket_at(env, self.default_socket.as_bytes()))
    }

    /// Reads the sets as they are written down.
    fn read(&self) -> Result<Sets, String> {
        let records = match &self.origin {
            Origin::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                sets::parse_list(&text).map_err(|why| format!("{}: {why}", path.display()))?
            }
            Origin::Database(database, columns) => database
                .with(|db| sets::load_table(db, columns))
                .map_err(|e| e.to_string())?,
        };
        Sets::build(&records, self.strict, self.seed)
    }

    /// Puts new sets in the place of the old ones.
    fn replace(&self, make: impl FnOnce(&Sets) -> Result<Sets, String>, keep: Inherit) -> Result<(), String> {
        let _alone = self.changing.lock();
        let old = self.sets.load_full();
        let new = make(&old)?;
        new.inherit(&old, keep);
        self.sets.store(Arc::new(new));
        Ok(())
    }

    /// Reads the sets anew; the old ones stay when that fails.
    fn reload(&self) -> Result<(), String> {
        let keep = if self.retain_latency {
            Inherit::Latency
        } else {
            Inherit::Loads
        };
        self.replace(|_| self.read(), keep)
    }
}

fn socket_named(env: &Env<'_>, name: &[u8]) -> Option<SocketId> {
    if name.is_empty() {
        return None;
    }
    let named = |listener: &crate::proxy::sockets::Listener| {
        listener.name.as_ref().is_some_and(|n| n.as_bytes() == name)
    };
    env.host.sockets().position(named)
}

/// The socket of `transport:address:port`.
fn socket_at(env: &Env<'_>, text: &[u8]) -> Option<SocketId> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    let (transport, address) = match text.split_once(':') {
        Some((name, rest)) if Transport::from_bytes(name.as_bytes()).is_some() => {
            (Transport::from_bytes(name.as_bytes())?, rest)
        }
        _ => (Transport::Udp, text),
    };
    let whole = address.parse::<SocketAddr>().ok();
    let address = whole.or_else(|| Some((address.parse::<IpAddr>().ok()?, 5060).into()))?;
    env.host.sockets().find(transport, address)
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let origin = if init.is_set("db_url") {
        let pairs = init.text("ds_db_extra_attrs");
        let pairs = pairs.split(';').filter_map(|pair| pair.split_once('='));
        let columns = Columns {
            table: init.text("table_name"),
            set: init.text("setid_col"),
            destination: init.text("destination_col"),
            flags: init.text("flags_col"),
            priority: init.text("priority_col"),
            attrs: init.text("attrs_col"),
            extra: pairs
                .map(|(name, column)| (name.trim().to_owned(), column.trim().to_owned()))
                .collect(),
        };
        let database = Database::shared(&init.text("db_url"))?;
        if let Some(layout) = schema::table("dispatcher") {
            database.check_version(&columns.table, layout)?;
        }
        Origin::Database(database, columns)
    } else {
        Origin::File(PathBuf::from(init.text("list_file")))
    };
    let hash_pvar = init.text("hash_pvar");
    let hash_pvar = match &*hash_pvar {
        "" => None,
        text => Some((init.parse)(text.as_bytes()).map_err(|why| InitError::Param {
            name: "hash_pvar",
            why,
        })?),
    };
    let seconds = |name: &str| u64::try_from(init.int(name)).unwrap_or(0).saturating_mul(1000);
    let threshold = |name: &str| u32::try_from(init.int(name)).unwrap_or(1).max(1);
    let state = Dispatcher {
        sets: ArcSwap::default(),
        changing: Mutex::default(),
        origin,
        seed: init.seed,
        flags: init.int("flags"),
        force_dst: init.int("force_dst") != 0,
        use_default: init.int("use_default") != 0,
        strict: init.int("ds_load_mode") != 0,
        xavp_dst: init.text("xavp_dst").into_bytes(),
        xavp_dst_mode: init.int("xavp_dst_mode"),
        xavp_ctx: init.text("xavp_ctx").into_bytes(),
        xavp_ctx_mode: init.int("xavp_ctx_mode"),
        attrs_none: init.int("ds_attrs_none") != 0,
        hash_pvar,
        set_pv: init.pv("setid_pvname"),
        attrs_pv: init.pv("attrs_pvname"),
        default_socket: init.text("ds_default_socket"),
        default_socket_name: init.text("ds_default_sockname"),
        thresholds: Thresholds {
            probing: threshold("ds_probing_threshold"),
            inactive: threshold("ds_inactive_threshold"),
        },
        loads: init
            .previous::<Dispatcher>()
            .map(|old| Arc::clone(&old.loads))
            .unwrap_or_default(),
        hash_size: init.int("ds_hash_size"),
        init_expire: seconds("ds_hash_initexpire"),
        expire: seconds("ds_hash_expire"),
        check_interval: seconds("ds_hash_check_interval"),
        latency_stats: init.int("ds_ping_latency_stats") != 0,
        retain_latency: init.int("ds_retain_latency_stats") != 0,
        event_mode: init.int("event_callback_mode"),
        ping: ping::Options::new(init)?,
        ping_active: AtomicI64::new(1),
    };
    let sets = state.read().map_err(InitError::Refused)?;
    if let Some(previous) = init.previous::<Dispatcher>() {
        sets.inherit(&previous.sets.load(), Inherit::All);
    }
    state.sets.store(Arc::new(sets));
    Ok(Arc::new(state))
}

fn reload(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dispatcher>() else {
        return Code::FALSE;
    };
    match state.reload() {
        Ok(()) => Code::TRUE,
        Err(why) => {
            crate::log::error("dispatcher", format_args!("reload: {why}"));
            Code::FALSE
        }
    }
}

fn expiry_interval(script: &crate::script::module::Script) -> Option<Millis> {
    let state = script.states.get::<Dispatcher>()?;
    (state.counts_loads() && state.check_interval > 0).then_some(state.check_interval)
}

fn expire(env: &mut Env<'_>) {
    if let Some(state) = env.state::<Dispatcher>() {
        state.loads.expire(&state.sets.load(), env.host.now());
    }
}

#[cfg(test)]
mod tests;
