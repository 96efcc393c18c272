//! `loadmodule "dialog"`: calls as a whole: their state, variables, profiles and end (Kamailio module dialog).

mod bye;
mod functions;
mod profile;
mod pv;
mod record;
mod rpc;
mod table;
mod track;

use crate::script::module::Arg;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvParam;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::program::PvRef;
use crate::stats::Counter;
use functions::FlagAction;
use profile::Profile;
use record::ANSWERED;
use record::EARLY;
use std::sync::Arc;
use table::Table;

const MEMORY: &str = "dialogs are kept in memory, and over a reload of the script";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[
        Param::Text("rr_param", "did", "Name of the Record-Route parameter."),
        Param::Pv("timeout_avp", "", "Seconds that a dialog may last."),
        Param::Int(
            "default_timeout",
            43200,
            "Seconds that a dialog may last otherwise.",
        ),
        Param::Int("early_timeout", 300, "Seconds until it must be answered."),
        Param::Int("noack_timeout", 60, "Seconds until the ACK must have come."),
        Param::Text("profiles_with_value", "", "Profiles that count by value: name;…"),
        Param::Text("profiles_no_value", "", "Profiles that only count: name;…"),
        Param::Int(
            "dlg_flag",
            -1,
            "The message flag of INVITEs whose dialogs are followed without dlg_manage().",
        ),
        Param::Int("send_bye", 0, "1: BYE is sent when the time is over."),
        Param::Ignored("end_timeout", "what is over is shown for five seconds"),
        Param::Ignored("enable_stats", "dialogs are always counted"),
        Param::Ignored("hash_size", "the table grows as needed"),
        Param::Ignored("dlg_extra_hdrs", "given with dlg.end_dlg"),
        Param::Ignored("dlg_match_mode", "Call-ID and tags decide"),
        Param::Ignored(
            "detect_spirals",
            "an INVITE that comes again is of the same dialog",
        ),
        Param::Ignored("db_url", MEMORY),
        Param::Ignored("db_mode", MEMORY),
        Param::Ignored("db_update_period", MEMORY),
        Param::Ignored("db_fetch_rows", MEMORY),
        Param::Ignored("db_skip_load", MEMORY),
        Param::Ignored("table_name", MEMORY),
        Param::Ignored("call_id_column", MEMORY),
        Param::Ignored("from_uri_column", MEMORY),
        Param::Ignored("from_tag_column", MEMORY),
        Param::Ignored("to_uri_column", MEMORY),
        Param::Ignored("to_tag_column", MEMORY),
        Param::Ignored("from_cseq_column", MEMORY),
        Param::Ignored("to_cseq_column", MEMORY),
        Param::Ignored("from_route_column", MEMORY),
        Param::Ignored("to_route_column", MEMORY),
        Param::Ignored("from_contact_column", MEMORY),
        Param::Ignored("to_contact_column", MEMORY),
        Param::Ignored("from_sock_column", MEMORY),
        Param::Ignored("to_sock_column", MEMORY),
        Param::Ignored("h_id_column", MEMORY),
        Param::Ignored("h_entry_column", MEMORY),
        Param::Ignored("state_column", MEMORY),
        Param::Ignored("start_time_column", MEMORY),
        Param::Ignored("timeout_column", MEMORY),
        Param::Ignored("sflags_column", MEMORY),
        Param::Ignored("toroute_name_column", MEMORY),
        Param::Ignored("vars_table_name", MEMORY),
        Param::Ignored("vars_h_id_column", MEMORY),
        Param::Ignored("vars_h_entry_column", MEMORY),
        Param::Ignored("vars_key_column", MEMORY),
        Param::Ignored("vars_value_column", MEMORY),
        Param::Ignored("bridge_controller", "calls are not bridged"),
        Param::Ignored("bridge_contact", "calls are not bridged"),
        Param::Ignored("initial_cbs_inscript", "modules see dialogs as the script does"),
        Param::Ignored("dlg_filter_mode", "nothing is filtered"),
        Param::Ignored("wait_ack", "negative replies end a dialog at once"),
        Param::Ignored("ka_timer", "dialogs are not probed"),
        Param::Ignored("ka_interval", "dialogs are not probed"),
        Param::Ignored("ka_failed_limit", "dialogs are not probed"),
        Param::Ignored("timeout_noreset", "a re-INVITE does not prolong a dialog"),
        Param::Ignored("timer_procs", "timers have a worker of their own"),
        Param::Ignored("enable_dmq", "there is one node"),
        Param::Ignored("enable_dmq_ka_iflags_sync", "there is one node"),
        Param::Ignored("track_cseq_updates", "CSeq numbers are left alone"),
        Param::Ignored("lreq_callee_headers", "requests of our own carry what is needed"),
        Param::Ignored("event_callback", "embedded languages are not supported"),
        Param::Ignored("h_id_start", "numbers begin at random"),
        Param::Ignored("h_id_step", "numbers grow by one"),
        Param::Ignored("keep_proxy_rr", "routes that name us are left out of BYE"),
        Param::Ignored("bye_early_code", "only answered calls are ended"),
        Param::Ignored("bye_early_reason", "only answered calls are ended"),
        Param::Ignored("dlg_ctxiuid_mode", "dialogs have numbers"),
        Param::Ignored("debug_variables", "dlg.list shows them"),
        Param::Ignored("dlg_mode", MEMORY),
        Param::Ignored("dmq_peer_id", "there is one node"),
    ],
    functions: &[
        Function {
            names: &["dlg_manage"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Follows the dialog that an INVITE begins; within a dialog, true when it is known.",
            call: track::dlg_manage,
        },
        Function::anywhere(
            &["is_known_dlg"],
            &[],
            "True when the message is of a dialog that is followed.",
            functions::is_known_dlg,
        ),
        Function::anywhere(
            &["set_dlg_profile"],
            &[Arg::Text("profile"), Arg::OptText("value")],
            "Counts the dialog in a profile.",
            profile::set,
        ),
        Function::anywhere(
            &["unset_dlg_profile"],
            &[Arg::Text("profile"), Arg::OptText("value")],
            "Counts the dialog in the profile no more.",
            profile::unset,
        ),
        Function::anywhere(
            &["is_in_profile"],
            &[Arg::Text("profile"), Arg::OptText("value")],
            "True when the dialog is counted in the profile.",
            profile::is_in,
        ),
        Function::anywhere(
            &["get_profile_size"],
            &[
                Arg::Text("profile"),
                Arg::Text("value-or-size"),
                Arg::OptPv("size"),
            ],
            "Counts the dialogs in a profile, with a value if one is given.",
            profile::size,
        ),
        Function::anywhere(
            &["dlg_setflag"],
            &[Arg::Int("flag")],
            "Sets a flag of the dialog.",
            |call| functions::flag(call, FlagAction::Set),
        ),
        Function::anywhere(
            &["dlg_resetflag"],
            &[Arg::Int("flag")],
            "Clears a flag of the dialog.",
            |call| functions::flag(call, FlagAction::Reset),
        ),
        Function::anywhere(
            &["dlg_isflagset"],
            &[Arg::Int("flag")],
            "True when a flag of the dialog is set.",
            |call| functions::flag(call, FlagAction::Ask),
        ),
        Function::anywhere(
            &["dlg_bye"],
            &[Arg::Text("side")],
            "Sends BYE to the caller, the callee or all.",
            functions::dlg_bye,
        ),
        Function::anywhere(
            &["dlg_set_timeout"],
            &[Arg::Int("timeout"), Arg::OptInt("h_entry"), Arg::OptInt("h_id")],
            "Sets how many seconds the dialog may last from now.",
            functions::set_timeout,
        ),
        Function::anywhere(
            &["dlg_get"],
            &[Arg::Text("callid"), Arg::Text("ftag"), Arg::Text("ttag")],
            "True when there is such a dialog.",
            functions::get,
        ),
        Function::anywhere(
            &["dlg_get_var"],
            &[
                Arg::Text("callid"),
                Arg::Text("ftag"),
                Arg::Text("ttag"),
                Arg::Text("name"),
                Arg::Pv("dst"),
            ],
            "Reads a variable of another dialog.",
            functions::get_var,
        ),
        Function::anywhere(
            &["dlg_set_var"],
            &[
                Arg::Text("callid"),
                Arg::Text("ftag"),
                Arg::Text("ttag"),
                Arg::Text("name"),
                Arg::Text("value"),
            ],
            "Sets a variable of another dialog.",
            functions::set_var,
        ),
        Function::anywhere(
            &["dlg_set_property", "dlg_reset_property"],
            &[Arg::Text("attr")],
            "True in a dialog; ka-src, ka-dst and timeout-noreset have no effect.",
            functions::property,
        ),
    ],
    pvs: &[
        Pv::plain(
            &["DLG_count"],
            "How many calls are answered and not over.",
            pv::count,
        ),
        Pv::plain(
            &["DLG_status"],
            "State of the dialog that a request is within: 3, 4 or 5.",
            pv::status,
        ),
        Pv::plain(&["DLG_lifetime"], "Seconds since it was answered.", pv::lifetime),
        Pv::class(
            &["dlg"],
            "A part of the dialog: $dlg(callid), $dlg(state), …",
            pv::compile,
            pv::attribute,
        ),
        Pv::class(
            &["dlg_ctx"],
            "How the dialog is handled: $dlg_ctx(timeout_bye), $dlg_ctx(timeout_route), …",
            pv::compile_context,
            pv::context,
        )
        .settable(pv::set_context),
        Pv {
            names: &["dlg_var"],
            param: PvParam::Required,
            doc: "A variable of the dialog.",
            compile: None,
            get: pv::variable,
            set: Some(pv::set_variable),
        },
    ],
    rpcs: rpc::RPCS,
    events: &["dialog:start", "dialog:end", "dialog:failed"],
    timers: &[ModuleTimer {
        name: "dialogs",
        interval: track::interval,
        run: track::run,
    }],
    hooks: &[
        Hook::RequestForwarded(track::request_forwarded),
        Hook::LooseRouted(track::loose_routed),
        Hook::EndToEndAck(track::end_to_end_ack),
        Hook::ResponseForwarded(track::response_forwarded),
        Hook::ResponseOut(track::response_out),
    ],
    init: Some(init),
    ..ModuleDef::new("dialog", "Calls as a whole.")
};

/// What is counted over time.
struct Counts {
    processed: Arc<Counter>,
    expired: Arc<Counter>,
    failed: Arc<Counter>,
}

/// The module's state.
struct Dialogs {
    table: Arc<Table>,
    counts: Counts,
    profiles: Vec<Profile>,
    rr_param: String,
    timeout_pv: Option<Arc<PvRef>>,
    default_timeout: u64,
    early_timeout: u64,
    noack_timeout: u64,
    send_bye: bool,
    /// `dlg_flag`.
    flag: Option<u32>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let seconds = |name: &str| u64::try_from(init.int(name)).unwrap_or(0).max(1);
    let profiles: Vec<Profile> = profile::parse(&init.text("profiles_with_value"), true)
        .chain(profile::parse(&init.text("profiles_no_value"), false))
        .collect();
    let counts = Counts {
        processed: init.statistics.counter("dialog", "processed_dialogs"),
        expired: init.statistics.counter("dialog", "expired_dialogs"),
        failed: init.statistics.counter("dialog", "failed_dialogs"),
    };
    let previous = init.previous::<Dialogs>();
    let table = previous
        .as_ref()
        .map_or_else(|| Arc::new(Table::new(init.seed)), |old| Arc::clone(&old.table));
    if let Some(old) = previous {
        table
            .all()
            .iter()
            .for_each(|dialog| profile::recount(&profiles, &old.profiles, dialog));
    }
    for (name, states) in [("active_dialogs", &ANSWERED[..]), ("early_dialogs", &[EARLY])] {
        let table = Arc::clone(&table);
        let count = move || i64::try_from(table.count(states)).unwrap_or(i64::MAX);
        init.statistics.gauge("dialog", name, count);
    }
    Ok(Arc::new(Dialogs {
        table,
        counts,
        profiles,
        rr_param: init.text("rr_param"),
        timeout_pv: init.pv("timeout_avp"),
        default_timeout: seconds("default_timeout"),
        early_timeout: seconds("early_timeout"),
        noack_timeout: seconds("noack_timeout"),
        send_bye: init.int("send_bye") != 0,
        flag: u32::try_from(init.int("dlg_flag")).ok().filter(|flag| *flag < 32),
    }))
}
