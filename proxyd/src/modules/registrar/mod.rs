//! `loadmodule "registrar"`: REGISTER saved, users looked up (RFC 3261 §10.3, Kamailio registrar module).

mod answer;
mod aor;
mod details;
mod facts;
mod fetch;
mod lookup;
mod outcome;
mod register;
mod registered;
mod reply;
mod request;
mod save;
mod socket;
mod unregister;

use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::bit;
use crate::modules::usrloc::contact::Q_UNSET;
use crate::script::module::Arg;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::program::PvRef;
use crate::stats::Counter;
use std::sync::Arc;

const SAVING: Routes = Routes::REQUEST
    .or(Routes::FAILURE)
    .or(Routes::REPLY)
    .or(Routes::ONREPLY)
    .or(Routes::EVENT);
const LOOKING: Routes = Routes::REQUEST
    .or(Routes::FAILURE)
    .or(Routes::BRANCH_FAILURE)
    .or(Routes::EVENT);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["usrloc", "sl"],
    params: &[
        Param::Int(
            "default_expires",
            3600,
            "Seconds a contact lasts when the REGISTER does not say.",
        ),
        Param::Int(
            "default_expires_range",
            0,
            "Percent by which the default may be shortened at random.",
        ),
        Param::Int(
            "expires_range",
            0,
            "Percent by which asked lifetimes may be shortened at random.",
        ),
        Param::Int("min_expires", 60, "The shortest lifetime; 0 any."),
        Param::Int(
            "min_expires_mode",
            0,
            "A shorter lifetime is 0 lengthened, 1 refused with 423.",
        ),
        Param::Int("max_expires", 0, "The longest lifetime; 0 any."),
        Param::Int(
            "default_q",
            -1,
            "q of contacts that have none, in thousandths; -1 none.",
        ),
        Param::Text("realm_prefix", "", "Prefix cut from domains."),
        Param::Int("append_branches", 1, "lookup makes branches of further contacts."),
        Param::Int("case_sensitive", 0, "Addresses compare with their case."),
        Param::Pv(
            "received_avp",
            "",
            "Holds the source address of a REGISTER behind NAT, as a URI.",
        ),
        Param::Text(
            "received_param",
            "received",
            "Parameter that shows it in the 200; empty: not shown.",
        ),
        Param::Int("max_contacts", 0, "Contacts an address may have; 0 any number."),
        Param::Int("retry_after", 0, "Retry-After of 5xx replies; 0 none."),
        Param::Int("sock_flag", -1, "Message flag: take the socket from a header."),
        Param::Text("sock_hdr_name", "", "That header."),
        Param::Int("sock_mode", 0, "1: store the advertised address of the socket."),
        Param::Int(
            "method_filtering",
            0,
            "lookup leaves out contacts that do not know the method.",
        ),
        Param::Int("use_path", 0, "Handle Path headers (RFC 3327)."),
        Param::Int(
            "path_mode",
            2,
            "Path in the reply: 0 never, 1 when supported, 2 refused unless supported.",
        ),
        Param::Int(
            "path_use_received",
            0,
            "The received parameter of the first Path is the source address.",
        ),
        Param::Int(
            "path_check_local",
            0,
            "lookup skips a first Path hop that is this proxy.",
        ),
        Param::Ignored("reg_callid_avp", "obsolete: registered() has match_option"),
        Param::Text(
            "xavp_cfg",
            "",
            "XAVP with settings for one call of save, lookup or registered.",
        ),
        Param::Text(
            "xavp_rcd",
            "",
            "XAVP that gets details of the contacts saved or found.",
        ),
        Param::Int(
            "xavp_rcd_mask",
            0,
            "Details left out: 1 ruid, 2 contact, 4 expires, 8 received, 16 path.",
        ),
        Param::Int(
            "gruu_enabled",
            1,
            "Keep +sip.instance and hand out GRUUs (RFC 5627).",
        ),
        Param::Int("outbound_mode", 0, "RFC 5626: 0 off, 1 supported, 2 required."),
        Param::Ignored("regid_mode", "reg-id always counts beside +sip.instance"),
        Param::Int("flow_timer", 0, "Flow-Timer of 200s with outbound; 0 none."),
        Param::Int("contact_max_size", 512, "Longest contact URI."),
        Param::Ignored("event_callback", "KEMI languages are not embedded"),
        Param::Int(
            "lookup_filter_mode",
            0,
            "lookup leaves out: 1 contacts without the flags asked for; 2, closed connections, is found out when sending.",
        ),
        Param::Int("use_expired_contacts", 0, "lookup uses contacts that ended too."),
        Param::Ignored("aor_avp", "removed: save, lookup and registered take a URI"),
    ],
    functions: &[
        Function {
            names: &["save"],
            args: &[Arg::Literal("domain"), Arg::OptText("flags"), Arg::OptText("uri")],
            routes: SAVING,
            doc: "Handles a REGISTER and answers it: 1 inserted, 2 updated, 3 deleted, 4 only asked; -1 refused, -2 too many.",
            call: save::save,
        },
        Function {
            names: &["reg_send_reply"],
            args: &[],
            routes: LOOKING,
            doc: "Sends the reply that save() with flag 0x02 held back.",
            call: answer::reg_send_reply,
        },
        Function {
            names: &["unregister"],
            args: &[Arg::Literal("domain"), Arg::Text("uri"), Arg::OptText("ruid")],
            routes: Routes::ANY,
            doc: "Removes the contacts of a user, or the one with this ruid: -1 bad URI, -2 error, -3 not found.",
            call: unregister::unregister,
        },
        Function {
            names: &["add_sock_hdr"],
            args: &[Arg::Text("hdr_name")],
            routes: Routes::REQUEST,
            doc: "Adds a header with the socket the REGISTER arrived at.",
            call: socket::add_sock_hdr,
        },
        Function {
            names: &["lookup"],
            args: &[Arg::Literal("domain"), Arg::OptText("uri")],
            routes: LOOKING,
            doc: "Sends the request to the user's contacts: -1 none, -2 none that knows the method, -3 error.",
            call: lookup::lookup,
        },
        Function {
            names: &["lookup_to_dset"],
            args: &[Arg::Literal("domain"), Arg::OptText("uri")],
            routes: LOOKING,
            doc: "Like lookup, but all contacts become further branches.",
            call: lookup::lookup_to_dset,
        },
        Function {
            names: &["lookup_branches"],
            args: &[Arg::Literal("domain")],
            routes: LOOKING,
            doc: "Like lookup, for the Request-URI and for every branch that is only a URI.",
            call: lookup::lookup_branches,
        },
        Function {
            names: &["lookup_xavp"],
            args: &[
                Arg::Literal("domain"),
                Arg::Text("uri"),
                Arg::Literal("rxname"),
                Arg::Literal("cxname"),
            ],
            routes: Routes::ANY,
            doc: "Puts what is known of a user in two XAVPs.",
            call: lookup::lookup_xavp,
        },
        Function {
            names: &["registered"],
            args: &[
                Arg::Literal("domain"),
                Arg::OptText("uri"),
                Arg::OptInt("match_option"),
                Arg::OptInt("match_action"),
            ],
            routes: Routes::ANY,
            doc: "Whether a user has a contact.",
            call: registered::registered,
        },
        Function {
            names: &["reg_from_user"],
            args: &[Arg::Literal("domain"), Arg::Text("uri"), Arg::Int("mode")],
            routes: Routes::ANY,
            doc: "Whether the message came from where the user registered.",
            call: registered::reg_from_user,
        },
        Function {
            names: &["reg_fetch_contacts"],
            args: &[Arg::Literal("domain"), Arg::Text("uri"), Arg::Literal("profile")],
            routes: Routes::ANY,
            doc: "Fetches a user's contacts for $ulc(profile=>attr).",
            call: fetch::reg_fetch_contacts,
        },
        Function {
            names: &["reg_free_contacts"],
            args: &[Arg::Literal("profile")],
            routes: Routes::ANY,
            doc: "Lets go of what was fetched.",
            call: fetch::reg_free_contacts,
        },
    ],
    pvs: &[Pv::class(
        &["ulc"],
        "An attribute of a fetched contact: $ulc(profile=>attr).",
        fetch::compile_ulc,
        fetch::ulc,
    )],
    init: Some(init),
    ..ModuleDef::new("registrar", "Registers users and finds them.")
};

/// The state of the module: its parameters.
pub(crate) struct Registrar {
    default_expires: u32,
    default_expires_range: u32,
    expires_range: u32,
    min_expires: u32,
    refuse_brief: bool,
    max_expires: u32,
    default_q: i16,
    realm_prefix: Vec<u8>,
    append_branches: bool,
    case_sensitive: bool,
    received_avp: Option<Arc<PvRef>>,
    received_param: Vec<u8>,
    max_contacts: u32,
    retry_after: u32,
    sock_flag: u32,
    sock_hdr_name: Vec<u8>,
    advertise: bool,
    method_filtering: bool,
    use_path: bool,
    path_mode: PathMode,
    path_use_received: bool,
    path_check_local: bool,
    xavp_cfg: Vec<u8>,
    xavp_rcd: Vec<u8>,
    xavp_rcd_mask: i64,
    gruu: bool,
    outbound: Outbound,
    flow_timer: u32,
    contact_max_size: usize,
    filter_flags: bool,
    use_expired: bool,
    accepted: Arc<Counter>,
    rejected: Arc<Counter>,
}

/// `path_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathMode {
    /// 0: not in the reply.
    Off,
    /// 1: in the reply when the client says that it knows Path.
    Lazy,
    /// 2: refused unless it says so.
    Strict,
}

/// `outbound_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outbound {
    /// 0: not known here.
    Off,
    /// 1: for those who know it.
    Supported,
    /// 2: for everybody.
    Required,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let number = |name: &str| u32::try_from(init.int(name).max(0)).unwrap_or(u32::MAX);
    let mode = |name: &'static str| -> Result<usize, InitError> {
        let given = init.int(name);
        usize::try_from(given)
            .ok()
            .filter(|mode| *mode <= 2)
            .ok_or_else(|| InitError::Param {
                name,
                why: format!("{given} is not 0, 1 or 2"),
            })
    };
    let statistics = init.statistics;
    for (name, value) in [
        ("max_expires", init.int("max_expires")),
        ("max_contacts", init.int("max_contacts")),
        ("default_expire", init.int("default_expires")),
        ("default_expires_range", init.int("default_expires_range")),
        ("expires_range", init.int("expires_range")),
    ] {
        statistics.gauge("registrar", name, move || value);
    }
    let (min, max) = (number("min_expires"), number("max_expires"));
    if max > 0 && max < min {
        return Err(InitError::Param {
            name: "max_expires",
            why: format!("{max} is less than min_expires {min}"),
        });
    }
    Ok(Arc::new(Registrar {
        default_expires: number("default_expires"),
        default_expires_range: number("default_expires_range").min(100),
        expires_range: number("expires_range").min(100),
        min_expires: min,
        refuse_brief: init.int("min_expires_mode") != 0,
        max_expires: max,
        default_q: i16::try_from(init.int("default_q"))
            .ok()
            .filter(|q| (0..=1000).contains(q))
            .unwrap_or(Q_UNSET),
        realm_prefix: init.text("realm_prefix").into_bytes(),
        append_branches: init.int("append_branches") != 0,
        case_sensitive: init.int("case_sensitive") != 0,
        received_avp: init.pv("received_avp"),
        received_param: init.text("received_param").into_bytes(),
        max_contacts: number("max_contacts"),
        retry_after: number("retry_after"),
        sock_flag: bit(init.int("sock_flag")),
        sock_hdr_name: init
            .text("sock_hdr_name")
            .trim_end_matches(':')
            .as_bytes()
            .to_vec(),
        advertise: init.int("sock_mode") != 0,
        method_filtering: init.int("method_filtering") != 0,
        use_path: init.int("use_path") != 0,
        path_mode: match mode("path_mode")? {
            0 => PathMode::Off,
            1 => PathMode::Lazy,
            _ => PathMode::Strict,
        },
        path_use_received: init.int("path_use_received") != 0,
        path_check_local: init.int("path_check_local") != 0,
        xavp_cfg: init.text("xavp_cfg").into_bytes(),
        xavp_rcd: init.text("xavp_rcd").into_bytes(),
        xavp_rcd_mask: init.int("xavp_rcd_mask"),
        gruu: init.int("gruu_enabled") != 0,
        outbound: match mode("outbound_mode")? {
            0 => Outbound::Off,
            1 => Outbound::Supported,
            _ => Outbound::Required,
        },
        flow_timer: number("flow_timer"),
        contact_max_size: number("contact_max_size") as usize,
        filter_flags: init.int("lookup_filter_mode") & 1 != 0,
        use_expired: init.int("use_expired_contacts") != 0,
        accepted: statistics.counter("registrar", "accepted_regs"),
        rejected: statistics.counter("registrar", "rejected_regs"),
    }))
}

/// Both states that every function here needs.
fn states<'a>(call: &crate::script::module::Call<'_, 'a>) -> Option<(&'a Registrar, &'a Usrloc)> {
    Some((call.state::<Registrar>()?, call.state::<Usrloc>()?))
}

#[cfg(test)]
mod tests;
