//! `loadmodule "uac"`: other names in From and To, answers to challenges, requests and registrations of our own
//! (Kamailio module uac).

pub(crate) mod auth;
mod lookup;
mod record;
mod register;
mod replace;
mod request;
mod rpc;
mod store;

use crate::log;
use crate::modules::database::Database;
use crate::script::host::Millis;
use crate::script::module::Arg;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::program::PvRef;
use ahash::AHashMap;
use auth::Credential;
use auth::Form;
use lookup::Action;
use parking_lot::Mutex;
use record::DISABLED;
use record::ONLINE;
use record::Profile;
use record::Record;
use record::Records;
use replace::End;
use replace::Restore;
use shared::db::Error;
use shared::db::schema;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

const NAMES: Routes = Routes::REQUEST
    .or(Routes::BRANCH)
    .or(Routes::FAILURE)
    .or(Routes::EVENT);
const SHORT: &[Arg] = &[Arg::Text("display-or-uri"), Arg::OptText("uri")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[
        Param::Text(
            "rr_from_store_param",
            "vsf",
            "Record-Route parameter for the From URI.",
        ),
        Param::Text(
            "rr_to_store_param",
            "vst",
            "Record-Route parameter for the To URI.",
        ),
        Param::Text(
            "restore_mode",
            "auto",
            "none; manual: replies; auto: replies and requests of the dialog.",
        ),
        Param::Text("restore_passwd", "", "Hides the URIs in those parameters."),
        Param::List("credential", "user:realm:password."),
        Param::Pv(
            "auth_realm_avp",
            "",
            "Realm for uac_auth(); empty: the one asked for.",
        ),
        Param::Pv("auth_username_avp", "", "User for uac_auth()."),
        Param::Pv("auth_password_avp", "", "Password for uac_auth()."),
        Param::Text(
            "reg_db_url",
            "",
            "The database with registrations at other servers.",
        ),
        Param::Text("reg_db_table", "uacreg", "Its table."),
        Param::Text("reg_contact_addr", "", "Host, port and parameters of Contact."),
        Param::Int(
            "reg_timer_interval",
            90,
            "Seconds between looks at what is to be renewed.",
        ),
        Param::Int(
            "reg_retry_interval",
            0,
            "Seconds until a failed one is tried again; 0: never.",
        ),
        Param::Int(
            "reg_random_delay",
            0,
            "Spreads first registrations over so many seconds.",
        ),
        Param::Int("reg_keep_callid", 0, "1: renewals keep their Call-ID."),
        Param::Int(
            "reg_active",
            1,
            "0: nothing is registered until uac.reg_active 1.",
        ),
        Param::Int("reg_use_domain", 0, "1: users are looked up with their domain."),
        Param::Text("default_socket", "", "The socket to send from."),
        Param::Ignored("restore_dlg", "the Record-Route parameter is used"),
        Param::Ignored(
            "restore_from_avp",
            "what was received is kept with the transaction",
        ),
        Param::Ignored("restore_to_avp", "what was received is kept with the transaction"),
        Param::Ignored("reg_hash_size", "the table grows as needed"),
        Param::Ignored("reg_gc_interval", "what is removed goes at once"),
        Param::Ignored("reload_delta", "reloads are never refused"),
        Param::Ignored("event_callback", "embedded languages are not supported"),
    ],
    functions: &[
        Function {
            names: &["uac_replace_from"],
            args: SHORT,
            routes: NAMES,
            doc: "Replaces the From URI, or display name and URI; an empty URI stays, an empty name goes.",
            call: |call| replace::replace(call, End::From),
        },
        Function {
            names: &["uac_replace_to"],
            args: SHORT,
            routes: NAMES,
            doc: "Replaces the To URI, or display name and URI.",
            call: |call| replace::replace(call, End::To),
        },
        Function {
            names: &["uac_restore_from"],
            args: &[],
            routes: NAMES,
            doc: "Restores the From URI by the Route.",
            call: |call| replace::restore_now(call, End::From),
        },
        Function {
            names: &["uac_restore_to"],
            args: &[],
            routes: NAMES,
            doc: "Restores the To URI by the Route.",
            call: |call| replace::restore_now(call, End::To),
        },
        Function {
            names: &["uac_auth", "uac_auth_mode"],
            args: &[Arg::OptInt("mode")],
            routes: Routes::FAILURE.or(Routes::BRANCH_FAILURE),
            doc: "Answers the challenge of a 401 or 407; t_relay() then sends the request again.",
            call: auth::uac_auth,
        },
        Function::anywhere(
            &["uac_req_send"],
            &[],
            "Sends the request that $uac_req(…) describes.",
            request::send,
        ),
        Function::anywhere(
            &["uac_reg_lookup"],
            &[Arg::Text("uuid"), Arg::Pv("dst")],
            "Sets dst to the local URI of a registration.",
            lookup::by_uuid,
        ),
        Function::anywhere(
            &["uac_reg_lookup_uri"],
            &[Arg::Text("uri"), Arg::Pv("dst")],
            "Sets dst to the l_uuid of the registration of a local user.",
            lookup::by_uri,
        ),
        Function::anywhere(
            &["uac_reg_status"],
            &[Arg::Text("uuid")],
            "1 registered, -1 unknown, -2 under way, -3 disabled, -99 not registered.",
            lookup::status,
        ),
        Function {
            names: &["uac_reg_request_to"],
            args: &[Arg::Text("user"), Arg::Int("mode")],
            routes: NAMES,
            doc: "Directs the request to the server of a registration, with its credentials.",
            call: lookup::request_to,
        },
        Function::anywhere(
            &["uac_reg_enable"],
            &[Arg::Text("attr"), Arg::Text("val")],
            "Begins a registration again.",
            |call| lookup::change(call, Action::Enable),
        ),
        Function::anywhere(
            &["uac_reg_disable"],
            &[Arg::Text("attr"), Arg::Text("val")],
            "Ends a registration.",
            |call| lookup::change(call, Action::Disable),
        ),
        Function::anywhere(
            &["uac_reg_send_register"],
            &[Arg::Text("attr"), Arg::Text("val")],
            "Registers now.",
            |call| lookup::change(call, Action::Register),
        ),
        Function::anywhere(
            &["uac_reg_send_unregister"],
            &[Arg::Text("attr"), Arg::Text("val")],
            "Unregisters now.",
            |call| lookup::change(call, Action::Unregister),
        ),
        Function::anywhere(
            &["uac_reg_refresh"],
            &[Arg::Text("luuid")],
            "Reads one row anew.",
            lookup::refresh,
        ),
    ],
    pvs: &[Pv::class(
        &["uac_req"],
        "A part of the request for uac_req_send(); all: every part.",
        request::compile,
        request::read,
    )
    .settable(request::write)],
    rpcs: rpc::RPCS,
    events: &["uac:reply"],
    timers: &[ModuleTimer {
        name: "uac registrations",
        interval: register::interval,
        run: register::run,
    }],
    hooks: &[
        Hook::LooseRouted(replace::loose_routed),
        Hook::ResponseForwarded(replace::response_forwarded),
    ],
    init: Some(init),
    ..ModuleDef::new(
        "uac",
        "Acting as a user agent: names, credentials, requests, registrations.",
    )
};

/// The module's state.
struct Uac {
    from_param: Vec<u8>,
    to_param: Vec<u8>,
    restore: Restore,
    password: Vec<u8>,
    credentials: Vec<Credential>,
    auth_user: Option<Arc<PvRef>>,
    auth_realm: Option<Arc<PvRef>>,
    auth_password: Option<Arc<PvRef>>,
    contact_addr: String,
    default_socket: String,
    /// `$uac_req` by worker.
    templates: Mutex<AHashMap<usize, request::Template>>,
    registrations: Option<Registrations>,
}

/// Registrations at other servers.
struct Registrations {
    database: Arc<Database>,
    table: String,
    contact_addr: String,
    records: Arc<Mutex<Records>>,
    interval: u64,
    retry: u64,
    random_delay: u64,
    seed: u64,
    keep_call_id: bool,
    use_domain: bool,
    active: AtomicI64,
    next_round: AtomicU64,
}

impl Registrations {
    fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) != 0
    }

    /// Switches registering on or off; gives what it was.
    fn set_active(&self, mode: i64) -> i64 {
        self.active.swap(mode, Ordering::Relaxed)
    }

    /// Whether it is time to look at all of them.
    fn begin_round(&self, now: Millis) -> bool {
        if now < self.next_round.load(Ordering::Relaxed) {
            return false;
        }
        self.next_round
            .store(now.saturating_add(self.interval.max(1) * 1000), Ordering::Relaxed);
        true
    }

    /// The registration of a local user.
    fn by_local(&self, user: &[u8], domain: &[u8]) -> Option<Profile> {
        let records = self.records.lock();
        let fits = |record: &&Record| {
            let profile = &record.profile;
            let same = |text: &str| text.as_bytes().eq_ignore_ascii_case(domain);
            profile.l_username.as_bytes() == user
                && (!self.use_domain || domain.is_empty() || same(&profile.l_domain))
        };
        records.values().find(fits).map(|record| record.profile.clone())
    }

    /// Changes the record that an attribute names.
    fn change(&self, name: &str, value: &str, action: Action) -> Result<(), &'static str> {
        let mut records = self.records.lock();
        let found = records
            .values_mut()
            .find(|record| record.profile.field(name) == Some(value));
        found.map(|record| action.apply(record)).ok_or("no such record")
    }

    /// Reads one row; false when there is none.
    fn refresh(&self, uuid: &str, now: u64) -> Result<bool, Error> {
        let rows = self
            .database
            .with(|db| record::load(db, &self.table, Some(uuid)))?;
        let mut found = false;
        for profile in rows {
            found |= self.put(profile, now);
        }
        Ok(found)
    }

    /// Reads the table; rows that are gone are unregistered, those that are the same go on.
    fn reload(&self, now: u64) -> Result<(), Error> {
        let rows = self.database.with(|db| record::load(db, &self.table, None))?;
        let kept: Vec<String> = rows.iter().map(|profile| profile.l_uuid.clone()).collect();
        for profile in rows {
            self.put(profile, now);
        }
        let mut records = self.records.lock();
        for record in records
            .values_mut()
            .filter(|record| !kept.contains(&record.profile.l_uuid))
        {
            Action::Unregister.apply(record);
            record.leaving = true;
        }
        Ok(())
    }

    /// Enters a row; false when it cannot be used.
    fn put(&self, mut profile: Profile, now: u64) -> bool {
        if let Some(flaw) = profile.flaw() {
            log::error(
                "uac",
                format_args!("{flaw} - ignoring record {:?}", profile.l_uuid),
            );
            return false;
        }
        if profile.contact_addr.is_empty() && self.contact_addr.is_empty() {
            log::error(
                "uac",
                format_args!(
                    "no contact_addr, nor reg_contact_addr - ignoring record {:?}",
                    profile.l_uuid
                ),
            );
            return false;
        }
        let mut records = self.records.lock();
        if profile.reg_delay == 0 && self.random_delay > 0 {
            let spread = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(records.len() as u64 * 0x9e37_79b9);
            profile.reg_delay = (spread >> 33) % self.random_delay;
        }
        match records.get_mut(&profile.l_uuid) {
            Some(known) => {
                let same = Profile {
                    reg_delay: known.profile.reg_delay,
                    ..profile.clone()
                } == known.profile;
                known.leaving = false;
                if !same {
                    *known = Record::new(profile, now);
                }
            }
            None => {
                records.insert(profile.l_uuid.clone(), Record::new(profile, now));
            }
        }
        true
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let restore = match &*init.text("restore_mode") {
        "none" => Restore::None,
        "manual" => Restore::Manual,
        "auto" => Restore::Auto,
        other => {
            let why = format!("{other:?} is none of none, manual, auto");
            return Err(InitError::Param {
                name: "restore_mode",
                why,
            });
        }
    };
    let credentials = init.list("credential").into_iter().map(|text| {
        let mut parts = text.splitn(3, ':').map(|part| part.as_bytes().to_vec());
        let (user, realm, password) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Credential {
            user,
            realm,
            password,
            form: Form::Plain,
        })
    });
    let why = || InitError::Param {
        name: "credential",
        why: "is not user:realm:password".into(),
    };
    let credentials = credentials.collect::<Option<Vec<_>>>().ok_or_else(why)?;
    let previous = init.previous::<Uac>();
    let registrations = if init.is_set("reg_db_url") {
        Some(registrations(init, previous.as_deref())?)
    } else {
        None
    };
    let templates = previous
        .map(|old| old.templates.lock().clone())
        .unwrap_or_default();
    Ok(Arc::new(Uac {
        from_param: init.text("rr_from_store_param").into_bytes(),
        to_param: init.text("rr_to_store_param").into_bytes(),
        restore,
        password: init.text("restore_passwd").into_bytes(),
        credentials,
        auth_user: init.pv("auth_username_avp"),
        auth_realm: init.pv("auth_realm_avp"),
        auth_password: init.pv("auth_password_avp"),
        contact_addr: init.text("reg_contact_addr"),
        default_socket: init.text("default_socket"),
        templates: Mutex::new(templates),
        registrations,
    }))
}

fn registrations(init: &Init<'_>, previous: Option<&Uac>) -> Result<Registrations, InitError> {
    let database = Database::shared(&init.text("reg_db_url"))?;
    let table = init.text("reg_db_table");
    if let Some(layout) = schema::table("uacreg") {
        database.check_version(&table, layout)?;
    }
    let seconds = |name: &str| u64::try_from(init.int(name)).unwrap_or(0);
    let old = previous.and_then(|uac| uac.registrations.as_ref());
    let registrations = Registrations {
        database,
        table,
        contact_addr: init.text("reg_contact_addr"),
        records: old.map(|old| Arc::clone(&old.records)).unwrap_or_default(),
        interval: seconds("reg_timer_interval"),
        retry: seconds("reg_retry_interval"),
        random_delay: seconds("reg_random_delay"),
        seed: init.seed,
        keep_call_id: init.int("reg_keep_callid") != 0,
        use_domain: init.int("reg_use_domain") != 0,
        active: AtomicI64::new(init.int("reg_active")),
        next_round: AtomicU64::new(0),
    };
    registrations.reload(init.wall.as_secs())?;
    let counts: [(&str, fn(&Record) -> bool); 3] = [
        ("regactive", |record| record.flags & ONLINE != 0),
        ("regdisabled", |record| record.flags & DISABLED != 0),
        ("regtotal", |_| true),
    ];
    for (name, fits) in counts {
        let records = Arc::clone(&registrations.records);
        let count = move || records.lock().values().filter(|record| fits(record)).count();
        let value = move || i64::try_from(count()).unwrap_or(i64::MAX);
        init.statistics.gauge("uac", name, value);
    }
    Ok(registrations)
}
