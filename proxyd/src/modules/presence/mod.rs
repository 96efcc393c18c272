//! `loadmodule "presence"`: event state published and subscribed to (Kamailio module presence; RFC 3903, RFC 6665).

mod answer;
mod functions;
mod notify;
mod package;
mod publications;
mod publish;
mod pv;
mod refresh;
mod rpc;
mod subscribe;
mod subscription;
mod subscriptions;
mod table;
mod watchers;

use super::database::Database;
use super::database::is_gone;
use crate::script::module::Arg;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::Routes;
use crate::script::module::Script;
use crate::script::module::State;
use ahash::AHashMap;
pub(crate) use package::Package;
use package::Packages;
pub(crate) use package::Presentity;
pub(crate) use package::Rules;
pub(crate) use package::Standing;
pub(crate) use package::Watcher;
use parking_lot::Mutex;
use publications::Cache;
use publications::Publications;
use publications::Subject;
pub(crate) use publish::BODY_MAX;
use refresh::Task;
use shared::db::Error;
use shared::db::schema;
use shared::sip::HeaderName;
use shared::sip::Message;
use std::sync::Arc;
use subscription::Subscription;
use subscriptions::Mode;
use subscriptions::Subscriptions;

/// How often work that operators asked for is looked for, ms.
const TASKS: u64 = 50;

/// What the module works with.
pub(crate) struct Presence {
    packages: Packages,
    publications: Publications,
    subscriptions: Subscriptions,
    db: Arc<Database>,
    watchers_table: String,
    tasks: Mutex<Vec<Task>>,
    /// The subscription that each worker handled last, for `$subs` and `$notify_reply`.
    handled: Mutex<AHashMap<usize, Handled>>,
    shows_subscriptions: bool,
    /// Milliseconds between cleanings of publications and of subscriptions.
    clean_period: Option<u64>,
    update_period: Option<u64>,
    expires_offset: u32,
    min_expires: u32,
    forces_min_expires: bool,
    max_expires: u32,
    cseq_offset: u32,
    accepted_status: u16,
    server_address: String,
    timeout_rm_subs: bool,
    delete_same: bool,
    force_delete: bool,
    ignore_case: bool,
    xavp_cfg: String,
}

/// A subscription that was handled.
struct Handled {
    /// The message that it was handled in.
    message: u64,
    subscription: Subscription,
    /// The answer to its NOTIFY, while `event_route[presence:notify-reply]` runs.
    answer: Option<Message>,
}

const AT_ONCE: &str = "NOTIFY is sent at once";
const NO_DMQ: &str = "servers share state by the database (subs_db_mode 3, publ_cache 0)";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[
        super::DB_URL,
        Param::Text("presentity_table", "presentity", "Table of publications."),
        Param::Text(
            "active_watchers_table",
            "active_watchers",
            "Table of subscriptions.",
        ),
        Param::Text(
            "watchers_table",
            "watchers",
            "Table of watchers and their status.",
        ),
        Param::Int(
            "clean_period",
            100,
            "Seconds between looks for publications that have ended; 0: never.",
        ),
        Param::Int(
            "db_update_period",
            100,
            "Seconds between looks for subscriptions that have ended, and writes of mode 2; 0: never.",
        ),
        Param::Int(
            "cseq_offset",
            0,
            "How far the CSeq of a SUBSCRIBE within a dialog may lie back.",
        ),
        Param::Int(
            "expires_offset",
            0,
            "What a publisher is told less than it is granted, s.",
        ),
        Param::Int("max_expires", 3600, "Longest lifetime that is granted, s."),
        Param::Int("min_expires", 0, "Shortest lifetime of a subscription, s."),
        Param::Int(
            "min_expires_action",
            1,
            "A shorter one is 1: refused with 423; 2: made so long.",
        ),
        Param::Text(
            "server_address",
            "",
            "Contact of the server; empty: the socket that the request came by.",
        ),
        Param::Int(
            "subs_db_mode",
            2,
            "Subscriptions are 0: in memory, 1: written at once, 2: written at intervals, 3: in the database alone.",
        ),
        Param::Int(
            "publ_cache",
            1,
            "Memory holds 0: no publications, 1: which there are, 2: all, and the database none.",
        ),
        Param::Int(
            "timeout_rm_subs",
            1,
            "A NOTIFY without an answer ends its subscription.",
        ),
        Param::Int(
            "force_delete",
            0,
            "1: watchers are not told when a publication runs out.",
        ),
        Param::Text(
            "xavp_cfg",
            "",
            "$xavp whose fields priority and delete_subscription are obeyed.",
        ),
        Param::Int(
            "retrieve_order",
            0,
            "Documents are joined 0: newest first, 1: by retrieve_order_by.",
        ),
        Param::Text(
            "retrieve_order_by",
            "priority",
            "Columns of the table of publications, the greatest first.",
        ),
        Param::Int(
            "sip_uri_match",
            0,
            "1: URIs of presentities are compared without case.",
        ),
        Param::Int("pres_subs_mode", 1, "0: $subs is null after handle_subscribe()."),
        Param::Int(
            "delete_same_subs",
            0,
            "1: a new subscription ends others of its Call-ID to the same presentity.",
        ),
        Param::Int(
            "subs_respond_200",
            1,
            "SUBSCRIBE is answered 1: 200, 0: 202 (RFC 3265).",
        ),
        Param::Ignored("waitn_time", AT_ONCE),
        Param::Ignored("notifier_poll_rate", AT_ONCE),
        Param::Ignored("notifier_processes", AT_ONCE),
        Param::Ignored("startup_mode", "what the tables hold is read at start"),
        Param::Ignored("subs_htable_size", "the table grows as it needs"),
        Param::Ignored("pres_htable_size", "the table grows as it needs"),
        Param::Ignored(
            "send_fast_notify",
            "the first NOTIFY always tells the state (RFC 6665 §4.2.1.2)",
        ),
        Param::Ignored("enable_sphere_check", "a rule with a sphere applies to nobody"),
        Param::Ignored("fetch_rows", "rows are read one by one"),
        Param::Ignored("db_table_lock_type", "tables are not locked"),
        Param::Ignored("local_log_level", "see core.set_log_level"),
        Param::Ignored("local_log_facility", "one facility for all"),
        Param::Ignored("subs_remove_match", "a dialog is told by Call-ID and both tags"),
        Param::Ignored("timer_mode", "one timer for all"),
        Param::Ignored("default_socket", "NOTIFY leaves by the socket of its SUBSCRIBE"),
        Param::Ignored("enable_dmq", NO_DMQ),
        Param::Ignored("enable_pres_dmq", NO_DMQ),
        Param::Ignored("enable_pres_sync_dmq", NO_DMQ),
        Param::Ignored("enable_subs_dmq", NO_DMQ),
        Param::Ignored("enable_subs_sync_dmq", NO_DMQ),
        Param::Ignored("skip_notify_dmq", NO_DMQ),
        Param::Ignored("dmq_peer_id", NO_DMQ),
    ],
    functions: &[
        Function {
            names: &["handle_publish"],
            args: &[Arg::OptText("sender_uri")],
            routes: Routes::REQUEST,
            doc: "Serves a PUBLISH and tells watchers; the sender is not told. False when it was refused; answered always.",
            call: publish::handle_publish,
        },
        Function {
            names: &["handle_subscribe"],
            args: &[Arg::OptText("watcher_uri")],
            routes: Routes::REQUEST,
            doc: "Serves a SUBSCRIBE and sends NOTIFY; the watcher is the sender unless given. Answered always.",
            call: subscribe::handle_subscribe,
        },
        Function {
            names: &["pres_auth_status"],
            args: &[Arg::Text("watcher_uri"), Arg::Text("presentity_uri")],
            routes: Routes::REQUEST,
            doc: "What the rules grant: 1 active, 2 pending, 3 terminated, 4 waiting, 5 politely blocked.",
            call: functions::pres_auth_status,
        },
        Function::anywhere(
            &["pres_has_subscribers"],
            &[Arg::Text("presentity_uri"), Arg::Text("event")],
            "True when someone is subscribed to the event.",
            functions::pres_has_subscribers,
        ),
        Function::anywhere(
            &["pres_refresh_watchers"],
            &[
                Arg::Text("uri"),
                Arg::Text("event"),
                Arg::Int("type"),
                Arg::OptText("file_uri"),
                Arg::OptText("filename"),
            ],
            "Tells watchers of changes beside PUBLISH: type 0 in the rules, else in the published state.",
            functions::pres_refresh_watchers,
        ),
        Function::anywhere(
            &["pres_update_watchers"],
            &[Arg::Text("uri"), Arg::Text("event")],
            "Asks the rules about every watcher again.",
            functions::pres_update_watchers,
        ),
    ],
    pvs: &[
        Pv::class(
            &["subs"],
            "Of the subscription handled: uri, event, expires, status, reason, contact, callid and so on.",
            pv::compile,
            pv::subscription,
        ),
        Pv::class(
            &["notify_reply"],
            "A variable of the answer to a NOTIFY, in event_route[presence:notify-reply].",
            pv::compile_reply,
            pv::reply,
        ),
    ],
    rpcs: rpc::RPCS,
    events: &[notify::EVENT],
    timers: &[
        ModuleTimer {
            name: "presence: tasks of operators",
            interval: |script| script.states.get::<Presence>().map(|_| TASKS),
            run: refresh::run_tasks,
        },
        ModuleTimer {
            name: "presence: publications that end",
            interval: |script| script.states.get::<Presence>()?.clean_period,
            run: |env| {
                if let Some(state) = env.state::<Presence>() {
                    refresh::clean_publications(state, env.host);
                }
            },
        },
        ModuleTimer {
            name: "presence: subscriptions that end",
            interval: |script| script.states.get::<Presence>()?.update_period,
            run: |env| {
                if let Some(state) = env.state::<Presence>() {
                    refresh::clean_subscriptions(state, env.host);
                }
            },
        },
    ],
    init: Some(init),
    stop: Some(stop),
    ..ModuleDef::new("presence", "Serves PUBLISH and SUBSCRIBE, and sends NOTIFY.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let choice = |name: &'static str, of: &dyn Fn(i64) -> bool| {
        let value = init.int(name);
        let why = || format!("{value} is no mode");
        of(value)
            .then_some(value)
            .ok_or_else(|| InitError::Param { name, why: why() })
    };
    choice("subs_db_mode", &|n| Mode::of(n).is_some())?;
    choice("publ_cache", &|n| Cache::of(n).is_some())?;
    let mode = Mode::of(init.int("subs_db_mode")).unwrap_or(Mode::WriteBack);
    let cache = Cache::of(init.int("publ_cache")).unwrap_or(Cache::Index);
    let seconds = |name: &str| u32::try_from(init.int(name).max(0)).unwrap_or(u32::MAX);
    let period = |name: &str| {
        u64::try_from(init.int(name))
            .ok()
            .filter(|n| *n > 0)
            .map(|n| n.saturating_mul(1000))
    };
    let db = Database::shared(&super::db_url(init))?;
    let (publications_table, subscriptions_table, watchers_table) = (
        init.text("presentity_table"),
        init.text("active_watchers_table"),
        init.text("watchers_table"),
    );
    for (used, table, layout) in [
        (cache != Cache::Whole, &publications_table, "presentity"),
        (mode != Mode::Memory, &subscriptions_table, "active_watchers"),
        (true, &watchers_table, "watchers"),
    ] {
        if let (true, Some(layout)) = (used, schema::table(layout)) {
            db.check_version(table, layout)?;
        }
    }
    let order = if init.int("retrieve_order") == 0 {
        vec!["received_time".to_owned()]
    } else {
        let columns = init.text("retrieve_order_by");
        columns
            .split(',')
            .map(|column| column.trim().to_owned())
            .collect()
    };
    let ignore_case = init.int("sip_uri_match") != 0;
    let previous = init.previous::<Presence>();
    let held = previous.as_ref();
    let state = Presence {
        packages: Packages::default(),
        publications: Publications {
            cache,
            db: Arc::clone(&db),
            table: publications_table,
            order,
            index: Mutex::default(),
            memory: held
                .map(|held| Arc::clone(&held.publications.memory))
                .unwrap_or_default(),
        },
        subscriptions: Subscriptions {
            mode,
            db: Arc::clone(&db),
            table: subscriptions_table,
            ignore_case,
            memory: held
                .map(|held| Arc::clone(&held.subscriptions.memory))
                .unwrap_or_default(),
            serial: Mutex::default(),
        },
        db,
        watchers_table,
        tasks: Mutex::default(),
        handled: Mutex::default(),
        shows_subscriptions: init.int("pres_subs_mode") != 0,
        clean_period: period("clean_period"),
        update_period: period("db_update_period"),
        expires_offset: seconds("expires_offset"),
        min_expires: seconds("min_expires"),
        forces_min_expires: init.int("min_expires_action") == 2,
        max_expires: seconds("max_expires"),
        cseq_offset: seconds("cseq_offset"),
        accepted_status: if init.int("subs_respond_200") == 0 {
            202
        } else {
            200
        },
        server_address: init.text("server_address"),
        timeout_rm_subs: init.int("timeout_rm_subs") != 0,
        delete_same: init.int("delete_same_subs") != 0,
        force_delete: init.int("force_delete") != 0,
        ignore_case,
        xavp_cfg: init.text("xavp_cfg"),
    };
    state.publications.load()?;
    if held.is_none() {
        state.subscriptions.load(init.wall.as_secs())?;
    }
    Ok(Arc::new(state))
}

fn stop(script: &Script) {
    if let Some(state) = script.states.get::<Presence>() {
        state.heed(state.subscriptions.flush());
    }
}

impl Presence {
    /// The event packages, for modules that bring some.
    pub(crate) fn packages(&self) -> &Packages {
        &self.packages
    }

    /// What a presentity published to an event, the newest first; none when the database does not answer.
    pub(crate) fn published(&self, presentity: &Presentity, event: &str, now: u64) -> Option<Vec<Vec<u8>>> {
        let subject = Subject {
            presentity: self.known_as(presentity),
            event: event.to_owned(),
        };
        let found = self.heed(self.publications.of(&subject, now))?;
        Some(found.into_iter().map(|one| one.body).collect())
    }

    /// The event package that a request is about, and `id` of its Event.
    fn package_of(&self, msg: &Message) -> Option<(Arc<dyn Package>, Vec<u8>)> {
        let event = msg.first(HeaderName::Event)?;
        let end = memchr::memchr(b';', event).unwrap_or(event.len());
        let (name, params) = event.split_at_checked(end)?;
        let package = self.packages.find(name.trim_ascii())?;
        let id = shared::sip::params::find(params, b"id").flatten();
        Some((package, id.unwrap_or_default().to_vec()))
    }

    /// The presentity as publications know it.
    fn known_as(&self, presentity: &Presentity) -> Presentity {
        if self.ignore_case {
            Presentity {
                user: presentity.user.to_ascii_lowercase(),
                domain: presentity.domain.to_ascii_lowercase(),
            }
        } else {
            presentity.clone()
        }
    }

    /// The result of a look into the database; a failure is logged, an outage by the database itself.
    fn heed<T>(&self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                if !is_gone(&error) {
                    crate::log::error("presence", format_args!("{error}"));
                }
                None
            }
        }
    }
}

/// The presentity of a URI.
pub(crate) fn presentity_of(uri: &[u8]) -> Option<Presentity> {
    notify::presentity_of(uri)
}
