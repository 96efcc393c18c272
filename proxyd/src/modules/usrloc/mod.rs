//! `loadmodule "usrloc"`: the user location table (Kamailio usrloc module).

pub(crate) mod attributes;
pub(crate) mod contact;
pub(crate) mod expire;
pub(crate) mod keepalive;
mod load;
pub(crate) mod matching;
mod persist;
pub(crate) mod profiles;
mod rows;
mod rpc;
pub(crate) mod store;
pub(crate) mod table;
mod texts;

use crate::ids::write_hex;
use crate::proxy::context::SocketId;
use crate::proxy::sockets::Listener;
use crate::proxy::sockets::Sockets;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Script;
use crate::script::module::State;
use keepalive::Keepalive;
use matching::Matching;
pub(crate) use rpc::aor_hash;
use shared::net::Transport;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::Order;
use table::Domain;
use table::Mode;
use table::Settings;
use table::Tables;

const KEEPALIVE: &str = "the proxy's own probing keeps contacts alive: see nathelper";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("nat_bflag", -1, "Branch flag that marks contacts behind NAT."),
        Param::Text("user_column", "username", "Column of user names."),
        Param::Text("domain_column", "domain", "Column of domains."),
        Param::Text("contact_column", "contact", "Column of contact URIs."),
        Param::Text("expires_column", "expires", "Column of the time a contact ends."),
        Param::Text("q_column", "q", "Column of preferences."),
        Param::Text("callid_column", "callid", "Column of Call-IDs."),
        Param::Text("cseq_column", "cseq", "Column of CSeq numbers."),
        Param::Text("methods_column", "methods", "Column of supported methods."),
        Param::Text("flags_column", "flags", "Column of internal flags."),
        Param::Text("cflags_column", "cflags", "Column of branch flags."),
        Param::Text("user_agent_column", "user_agent", "Column of User-Agents."),
        Param::Text("received_column", "received", "Column of source addresses."),
        Param::Text("socket_column", "socket", "Column of local sockets."),
        Param::Text("path_column", "path", "Column of Path vectors."),
        Param::Text("ruid_column", "ruid", "Column of record unique ids."),
        Param::Text("instance_column", "instance", "Column of SIP instance ids."),
        Param::Text("reg_id_column", "reg_id", "Column of reg-ids."),
        Param::Text("server_id_column", "server_id", "Column of server ids."),
        Param::Text(
            "connection_id_column",
            "connection_id",
            "Column of connection ids.",
        ),
        Param::Text("keepalive_column", "keepalive", "Column of the keepalive status."),
        Param::Text("partition_column", "partition", "Column of partition ids."),
        Param::Text(
            "last_modified_column",
            "last_modified",
            "Column of the time of the last change.",
        ),
        Param::Int("use_domain", 0, "Tell users of different domains apart."),
        Param::Int(
            "desc_time_order",
            0,
            "Order contacts by time, the newest first, instead of by q.",
        ),
        Param::Int(
            "timer_interval",
            60,
            "Seconds between cleaning runs; contacts that ended are removed every second anyway.",
        ),
        Param::Text("db_url", "", "Database of the location tables."),
        Param::Int(
            "db_mode",
            0,
            "0 memory only, 1 write-through, 2 write-back, 3 database only, 4 load only.",
        ),
        Param::Int("db_load", 1, "Load contacts at start."),
        Param::Ignored("db_insert_update", "a row that exists is always updated"),
        Param::Int(
            "matching_mode",
            0,
            "What tells contacts apart: 0 contact, 1 contact and Call-ID, 2 contact and Path, 3 Call-ID.",
        ),
        Param::Int(
            "cseq_delay",
            20,
            "Seconds in which a REGISTER with the same CSeq is a retransmission.",
        ),
        Param::Ignored("fetch_rows", "rows are read one at a time"),
        Param::Int("hash_size", 10, "Shown by ul.dump; the table grows by itself."),
        Param::List(
            "preload",
            "Tables to load at start besides those that the script names.",
        ),
        Param::Ignored(
            "db_update_as_insert",
            "a row is inserted, or updated when it exists",
        ),
        Param::Ignored("db_check_update", "a row is inserted, or updated when it exists"),
        Param::Ignored(
            "timer_procs",
            "expired contacts are found without walking the table",
        ),
        Param::Text(
            "xavp_contact",
            "",
            "XAVP whose fields are kept with a contact and restored by lookup.",
        ),
        Param::Ignored("db_ops_ruid", "rows are always found by their ruid"),
        Param::Ignored(
            "handle_lost_tcp",
            "contacts of lost connections end with their lifetime or their keepalives",
        ),
        Param::Ignored("close_expired_tcp", "connections end by their own timer"),
        Param::Int("expires_type", 0, "1: dates are BIGINT seconds."),
        Param::Ignored("db_raw_fetch_type", "every database gets its own SQL"),
        Param::Ignored("db_insert_null", "all columns are always written"),
        Param::Ignored(
            "skip_remote_socket",
            "rows of other sockets are kept, and sent to from a socket that fits",
        ),
        Param::Ignored(
            "db_timer_clean",
            "rows of ended contacts are removed as the contacts are",
        ),
        Param::Ignored("rm_expired_delay", "rows of ended contacts are removed at once"),
        Param::Int("server_id_filter", 0, "Load only rows of this server."),
        Param::Int("version_table", 1, "Check the version of the location table."),
        Param::Int(
            "ka_mode",
            0,
            "Keepalives by this module: bit 1 all contacts, bit 2 those behind NAT, bit 3 UDP only.",
        ),
        Param::Text("ka_method", "OPTIONS", "Method of keepalives."),
        Param::Text("ka_from", "sip:server@kamailio.org", "From URI of keepalives."),
        Param::Ignored("ka_domain", "keepalives bear the contact's own URI in To"),
        Param::Ignored("ka_filter", KEEPALIVE),
        Param::Int(
            "ka_timeout",
            0,
            "Seconds without an answer after which a contact is removed; 0 never.",
        ),
        Param::Int("ka_interval", 40, "Seconds between keepalives to one contact."),
        Param::Ignored("ka_randomize", "keepalives are spread over the interval"),
        Param::Ignored("ka_loglevel", KEEPALIVE),
        Param::Ignored("ka_logmsg", KEEPALIVE),
        Param::Text(
            "ka_reply_codes",
            "0",
            "Replies that count as an answer: codes or classes, 0 all.",
        ),
        Param::Ignored("load_rank", "contacts are loaded before anything is received"),
        Param::Int(
            "db_clean_tcp",
            0,
            "Leave out contacts of stream transports when loading.",
        ),
    ],
    rpcs: rpc::RPCS,
    events: &["usrloc:contact-expired"],
    timers: &[
        ModuleTimer {
            name: "contacts that end",
            interval: |_| Some(1000),
            run: expire::run,
        },
        ModuleTimer {
            name: "keepalives",
            interval: keepalive::interval,
            run: keepalive::run,
        },
    ],
    init: Some(init),
    start: Some(start),
    stop: Some(stop),
    ..ModuleDef::new("usrloc", "Keeps the location of users.")
};

/// The state of the module.
pub(crate) struct Usrloc {
    tables: Arc<Tables>,
    ids: Arc<Ids>,
    /// Branch flag of contacts behind NAT, as a mask.
    pub(crate) nat_bflag: u32,
    /// How a REGISTER finds the contact it is about.
    pub(crate) matching: Matching,
    /// Seconds in which the same CSeq is a retransmission.
    pub(crate) cseq_delay: u32,
    /// XAVP kept with a contact.
    pub(crate) xavp_contact: Vec<u8>,
    /// Shown as Size by `ul.dump`.
    pub(crate) size: u64,
    /// Addresses compare with their case (registrar's parameter).
    pub(crate) case_sensitive: bool,
    server_id: u32,
    timer_interval: u32,
    keepalive: Keepalive,
}

/// A record unique id.
pub(crate) type Ruid = SmallVec<[u8; 48]>;

/// Makes record unique ids: `uloc-` start, process and a counter, in hexadecimal.
struct Ids {
    prefix: String,
    next: AtomicU64,
}

/// How long an answer waits for its commit in `db_mode` 1.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a change may wait to be written in `db_mode` 2.
const WRITE_BACK_DELAY: Duration = Duration::from_millis(200);

impl Usrloc {
    /// The table of this name.
    pub(crate) fn open(&self, name: &[u8]) -> Arc<Domain> {
        self.tables.open(name)
    }

    /// Every table in use.
    pub(crate) fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// Whether the domain belongs to an address.
    pub(crate) fn use_domain(&self) -> bool {
        self.tables.settings.use_domain
    }

    /// The `server_id` of this proxy.
    pub(crate) fn server_id(&self) -> u32 {
        self.server_id
    }

    /// Seconds between the module's runs, for what is done at that pace.
    pub(crate) fn timer_interval(&self) -> u32 {
        self.timer_interval
    }

    /// A new record unique id.
    pub(crate) fn new_ruid(&self) -> Ruid {
        let mut digits = [0; 16];
        write_hex(self.ids.next.fetch_add(1, Ordering::Relaxed), &mut digits);
        let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(0);
        let mut ruid = Ruid::from_slice(self.ids.prefix.as_bytes());
        ruid.extend_from_slice(digits.get(first..).unwrap_or_default());
        ruid
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let refuse = |name: &'static str, why: String| InitError::Param { name, why };
    let number = init.int("db_mode");
    let mode = Mode::of(number).ok_or_else(|| refuse("db_mode", format!("{number} is not 0 to 4")))?;
    let mut db_url = init.text("db_url");
    if db_url.is_empty() && mode != Mode::Memory {
        // Kamailio: the compiled-in URL; ours is the file that the daemon makes.
        db_url = format!(
            "sqlite:///{}",
            shared::paths::Places::find(None, &shared::paths::environment)
                .database()
                .display()
        );
    }
    let number = init.int("matching_mode");
    let matching =
        Matching::of(number).ok_or_else(|| refuse("matching_mode", format!("{number} is not 0 to 3")))?;
    let server_id = init.program.server_id() as u32;
    let settings = Settings {
        mode,
        db_url,
        columns: rows::COLUMNS.iter().map(|(param, _)| init.text(param)).collect(),
        use_domain: init.int("use_domain") != 0,
        seconds: init.int("expires_type") != 0,
        order: if init.int("desc_time_order") != 0 {
            Order::Newest
        } else {
            Order::Q
        },
        attributes: !init.text("xavp_contact").is_empty(),
        load: init.int("db_load") != 0 || mode == Mode::LoadOnly,
        check_version: init.int("version_table") != 0,
        clean_tcp: init.int("db_clean_tcp") != 0,
        server_id: (init.int("server_id_filter") != 0).then_some(server_id),
        delay: WRITE_BACK_DELAY,
    };
    let previous = init.previous::<Usrloc>();
    let tables = match &previous {
        Some(previous) if previous.tables.settings == settings => Arc::clone(&previous.tables),
        _ => Arc::new(Tables::new(settings, init.seed)?),
    };
    tables.open(b"location");
    for name in init.program.literals("domain") {
        tables.open(name);
    }
    for name in init.list("preload") {
        tables.open(name.as_bytes());
    }
    if let Some(previous) = previous
        .as_ref()
        // to adopt is to write: a trial has what its own database holds
        .filter(|previous| !init.trial && !Arc::ptr_eq(&previous.tables, &tables))
    {
        tables.adopt(&previous.tables);
    }
    show_statistics(init, &tables);
    let registrar = init.modules.iter().find(|loaded| loaded.def.name == "registrar");
    let case_sensitive = registrar.is_some_and(|loaded| {
        let set = loaded
            .params
            .values
            .iter()
            .rev()
            .find(|(name, _)| *name == "case_sensitive");
        matches!(set, Some((_, crate::script::module::ParamValue::Int(n))) if *n != 0)
    });
    let ids = previous.map_or_else(
        || Arc::new(Ids::new(init.wall)),
        |previous| Arc::clone(&previous.ids),
    );
    Ok(Arc::new(Usrloc {
        tables,
        ids,
        nat_bflag: bit(init.int("nat_bflag")),
        matching,
        cseq_delay: u32::try_from(init.int("cseq_delay")).unwrap_or(0),
        xavp_contact: init.text("xavp_contact").into_bytes(),
        size: 1u64 << init.int("hash_size").clamp(1, 24),
        case_sensitive,
        server_id,
        timer_interval: u32::try_from(init.int("timer_interval")).unwrap_or(60).max(1),
        keepalive: keepalive(init),
    }))
}

fn keepalive(init: &Init<'_>) -> Keepalive {
    let seconds = |name| u32::try_from(init.int(name).max(0)).unwrap_or(u32::MAX);
    let codes = init.text("ka_reply_codes");
    Keepalive {
        mode: init.int("ka_mode"),
        method: init.text("ka_method").into_bytes(),
        from: init.text("ka_from").into_bytes(),
        interval: seconds("ka_interval").max(1),
        timeout: seconds("ka_timeout"),
        codes: codes
            .split(',')
            .filter_map(|code| code.trim().parse().ok())
            .filter(|code| *code > 0)
            .collect(),
    }
}

/// The socket that a contact's text names, if it is still ours.
pub(crate) fn socket_of(text: &[u8], sockets: &Sockets) -> Option<SocketId> {
    let colon = memchr::memchr(b':', text)?;
    let transport = Transport::from_bytes(text.get(..colon)?)?;
    let place = std::str::from_utf8(text.get(colon + 1..)?).ok()?;
    if let Ok(address) = place.parse::<SocketAddr>()
        && let Some(id) = sockets.find(transport, address)
    {
        return Some(id);
    }
    // `sock_mode` 1 stores what the socket shows.
    let (host, port) = place.rsplit_once(':')?;
    let shows = |l: &Listener| l.transport == transport && l.host_text == host && l.port_text == port;
    sockets.position(shows)
}

/// The mask of a flag number; none for -1.
pub(crate) fn bit(flag: i64) -> u32 {
    u32::try_from(flag)
        .ok()
        .and_then(|flag| 1u32.checked_shl(flag))
        .unwrap_or(0)
}

impl Ids {
    fn new(wall: Duration) -> Self {
        let prefix = format!("uloc-{:x}-{:x}-", wall.as_secs(), std::process::id());
        Self {
            prefix,
            next: AtomicU64::new(1),
        }
    }
}

fn show_statistics(init: &Init<'_>, tables: &Arc<Tables>) {
    type Read = fn(&Domain) -> i64;
    let shown: [(&str, Read); 3] = [
        ("users", |domain| domain.counts().users as i64),
        ("contacts", |domain| domain.counts().contacts as i64),
        ("expires", |domain| domain.expired.value()),
    ];
    for domain in tables.all().iter() {
        for (suffix, read) in shown {
            let weak = Arc::downgrade(domain);
            let value = move || weak.upgrade().map_or(0, |domain| read(&domain));
            init.statistics
                .gauge("usrloc", &format!("{}_{suffix}", domain.name), value);
        }
    }
    let weak: Weak<Tables> = Arc::downgrade(tables);
    let users = move || {
        weak.upgrade()
            .map_or(0, |t| t.all().iter().map(|d| d.counts().users as i64).sum())
    };
    init.statistics.gauge("usrloc", "registered_users", users);
}

fn start(script: &Arc<Script>) -> Result<(), InitError> {
    match script.states.get::<Usrloc>() {
        Some(usrloc) => Ok(usrloc.tables.start()?),
        None => Ok(()),
    }
}

fn stop(script: &Script) {
    if let Some(usrloc) = script.states.get::<Usrloc>() {
        usrloc.tables.stop();
    }
}
