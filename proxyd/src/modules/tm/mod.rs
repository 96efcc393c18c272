//! `loadmodule "tm"`: stateful relaying and replies (RFC 3261 §16, §17).

mod contacts;
mod relay;
mod reply;
mod rpc;
mod timers;
pub(crate) mod uac;

use crate::proxy::response::Rules;
use crate::script::module::Arg;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use std::sync::Arc;

const SENDING: Routes = Routes::REQUEST
    .or(Routes::FAILURE)
    .or(Routes::EVENT)
    .or(Routes::BRANCH_FAILURE);
const AFTER: Routes = Routes::FAILURE.or(Routes::BRANCH_FAILURE).or(Routes::EVENT);

/// The module's parameters, as transactions use them; times in milliseconds.
pub(crate) struct Tm {
    /// Until the first provisional reply.
    pub(crate) fr_timer: u32,
    /// Until the final reply to an INVITE, from its first provisional reply.
    pub(crate) fr_inv_timer: u32,
    /// T1.
    pub(crate) retr_timer1: u32,
    /// T2.
    pub(crate) retr_timer2: u32,
    /// How long an ended transaction absorbs retransmissions.
    pub(crate) wt_timer: u32,
    /// Longest life of an INVITE transaction.
    pub(crate) max_inv_lifetime: u32,
    /// Longest life of another transaction.
    pub(crate) max_noninv_lifetime: u32,
    /// Answer INVITEs with 100 by ourselves.
    pub(crate) auto_inv_100: bool,
    /// Reason of that 100.
    pub(crate) auto_inv_100_reason: String,
    /// Start fr_inv_timer anew with each provisional reply.
    pub(crate) restart_fr_on_each_reply: bool,
    /// Let 6xx not end other branches.
    pub(crate) disable_6xx_block: bool,
    /// How the best reply is chosen.
    pub(crate) rules: Rules,
    /// Status sent when no branch answered.
    pub(crate) reply_408_code: u16,
    /// Its reason.
    pub(crate) reply_408_reason: String,
    /// Reason header in CANCELs made here.
    pub(crate) local_cancel_reason: bool,
    /// Reason headers of a received CANCEL go into ours.
    pub(crate) e2e_cancel_reason: bool,
    /// CANCEL without a transaction: 0 forward, 1 forward when no INVITE, 2 drop.
    pub(crate) unmatched_cancel: i64,
    /// Pass 100 upstream.
    pub(crate) relay_100: bool,
    /// The `$xavp()` that `t_load_contacts()` keeps branches in; empty when the script names none.
    contacts_avp: Vec<u8>,
    /// The one that further flows of a device are kept in; empty when the script names none.
    contact_flows_avp: Vec<u8>,
    /// What `tm.stats` shows.
    counts: rpc::Counts,
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("fr_timer", 30_000, "Until the first provisional reply, ms."),
        Param::Int("fr_inv_timer", 120_000, "Until the final reply to an INVITE, ms."),
        Param::Int("retr_timer1", 500, "First retransmission interval (T1), ms."),
        Param::Int("retr_timer2", 4_000, "Largest retransmission interval (T2), ms."),
        Param::Int(
            "wt_timer",
            5_000,
            "How long an ended transaction absorbs retransmissions, ms.",
        ),
        Param::Int(
            "max_inv_lifetime",
            180_000,
            "Longest life of an INVITE transaction, ms.",
        ),
        Param::Int(
            "max_noninv_lifetime",
            32_000,
            "Longest life of another transaction, ms.",
        ),
        Param::Int("auto_inv_100", 1, "Answer INVITEs with 100."),
        Param::Text(
            "auto_inv_100_reason",
            "trying -- your call is important to us",
            "Reason of that 100.",
        ),
        Param::Ignored(
            "failure_reply_mode",
            "a failure route always sees the replies of its own leg",
        ),
        Param::Int(
            "restart_fr_on_each_reply",
            1,
            "Start fr_inv_timer anew with each provisional reply.",
        ),
        Param::Int("disable_6xx_block", 0, "A 6xx does not end the other branches."),
        Param::Int(
            "aggregate_challenges",
            1,
            "Several 401 and 407 become one reply made here, with all their challenges.",
        ),
        Param::Int(
            "remap_503_500",
            1,
            "An upstream 503 goes out as 500 (RFC 3261 §16.7).",
        ),
        Param::Int(
            "faked_reply_prio",
            0,
            "What a 408 made here loses in the choice of the best reply: with 2000 any reply received goes first.",
        ),
        Param::Int("reply_408_code", 408, "Status sent when no branch answered."),
        Param::Text("reply_408_reason", "Request Timeout", "Its reason."),
        Param::Int("local_cancel_reason", 1, "Reason header in CANCELs made here."),
        Param::Int(
            "e2e_cancel_reason",
            1,
            "Reason headers of a received CANCEL go into ours.",
        ),
        Param::Ignored("ac_extra_hdrs", "ACK and CANCEL carry what RFC 3261 gives them"),
        Param::Int(
            "unmatched_cancel",
            0,
            "CANCEL without a transaction: 0 forward, 2 drop.",
        ),
        Param::Ignored(
            "cancel_b_method",
            "a CANCEL waits for a provisional reply (RFC 3261 §9.1)",
        ),
        Param::Int("relay_100", 0, "Pass 100 upstream."),
        Param::Int("default_code", 500, "Status of t_reply when none is given."),
        Param::Text("default_reason", "Server Internal Error", "Its reason."),
        Param::Pv(
            "fr_timer_avp",
            "",
            "Variable that overrides fr_timer, in seconds.",
        ),
        Param::Pv(
            "fr_inv_timer_avp",
            "",
            "Variable that overrides fr_inv_timer, in seconds.",
        ),
        Param::Text(
            "contacts_avp",
            "",
            "The $xavp() in which t_load_contacts() keeps branches; without it there is no serial forking by q.",
        ),
        Param::Text(
            "contact_flows_avp",
            "",
            "The $xavp() in which t_next_contacts() keeps further flows of a +sip.instance for t_next_contact_flow().",
        ),
        Param::Text(
            "xavp_contact",
            "",
            "Fields added to a contact loaded by t_load_contacts.",
        ),
        Param::Ignored("via1_matching", "requests always match by their whole top Via"),
        Param::Ignored("ruri_matching", "RFC 2543 requests always match by Request-URI"),
        Param::Ignored("callid_matching", "requests always match by Call-ID"),
        Param::Ignored(
            "callid_cseq_matching",
            "requests always match by Call-ID and CSeq",
        ),
        Param::Ignored(
            "pass_provisional_replies",
            "provisional replies always run their hooks",
        ),
        Param::Ignored("unix_tx_timeout", "the old FIFO protocol is gone"),
        Param::Ignored("blst_503", "destinations are not put on a blocklist"),
        Param::Ignored("blst_503_def_timeout", "destinations are not put on a blocklist"),
        Param::Ignored("blst_503_min_timeout", "destinations are not put on a blocklist"),
        Param::Ignored("blst_503_max_timeout", "destinations are not put on a blocklist"),
        Param::Ignored("blst_methods_add", "destinations are not put on a blocklist"),
        Param::Ignored("blst_methods_lookup", "destinations are not put on a blocklist"),
        Param::Ignored(
            "reparse_invite",
            "CANCEL and ACK are always made from the INVITE as it was sent",
        ),
        Param::Ignored("reparse_on_dns_failover", "each try writes its message anew"),
        Param::Ignored("dns_reuse_rcv_socket", "the socket of the first try is kept"),
        Param::Ignored("headers_mode", "all headers are kept"),
        Param::Ignored("local_ack_mode", "the ACK of a local 2xx goes to the next hop"),
        Param::Ignored("local_ack_branch_mode", "each ACK has a branch of its own"),
        Param::Ignored("enable_uac_fr", "local requests have the same timers"),
        Param::Ignored("evlreq_mode", "event_route[tm:local-request] runs always"),
        Param::Ignored("evcb_local_ack_sent", "KEMI languages are not embedded"),
        Param::Ignored("event_callback", "KEMI languages are not embedded"),
        Param::Ignored("event_callback_lres_sent", "KEMI languages are not embedded"),
        Param::Ignored("exec_time_check", "exec is not part of this proxy"),
        Param::Ignored("delayed_reply", "t_reply always leaves at once"),
        Param::Ignored("on_sl_reply", "replies without a transaction pass reply_route"),
        Param::Ignored("rich_redirect", "contacts of a redirect always carry q"),
        Param::Ignored("reply_relay_mode", "the final reply is relayed once"),
        Param::Ignored("reply_matching", "replies match by branch"),
        Param::Ignored("noisy_ctimer", "Timer C always cancels and answers 408"),
        Param::Ignored("failure_exec_mode", "failure_route runs once a leg ended"),
        Param::Ignored("e2e_cancel_hop_by_hop", "CANCEL is hop by hop (RFC 3261 §9.2)"),
        Param::Ignored("failover_reply_codes", "DNS failover follows RFC 3263 §4.3"),
    ],
    functions: &[
        Function::anywhere(
            &["t_uac_send"],
            &[
                Arg::Text("method"),
                Arg::Text("ruri"),
                Arg::Text("nexthop"),
                Arg::Text("socket"),
                Arg::Text("headers"),
                Arg::OptText("body"),
            ],
            "Sends a request of our own; a dot behind the method: a 2xx is not acknowledged.",
            uac::t_uac_send,
        ),
        Function::anywhere(
            &["t_clean"],
            &[],
            "True: transactions that are over are freed at once.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["t_use_uac_headers"],
            &[],
            "True: our ACK and CANCEL always have the headers of the request as it was sent.",
            |_| Code::TRUE,
        ),
        Function::anywhere(
            &["t_is_retr_async_reply"],
            &[],
            "False: replies do not wait.",
            |_| Code::FALSE,
        ),
        Function {
            names: &["t_relay_to_proxy"],
            args: &[Arg::Text("proxy"), Arg::OptText("flags")],
            routes: SENDING,
            doc: "Relays to proto:host:port; flags as of t_relay_to().",
            call: relay::t_relay_to,
        },
        Function {
            names: &["t_relay"],
            args: &[Arg::OptText("host"), Arg::OptText("port")],
            routes: SENDING,
            doc: "Forwards in a transaction, to host and port when given; false when nothing could be sent.",
            call: relay::t_relay,
        },
        Function {
            names: &["t_relay_to_udp", "t_forward_nonack_udp"],
            args: &[Arg::OptText("host"), Arg::OptText("port")],
            routes: SENDING,
            doc: "Forwards over UDP.",
            call: relay::t_relay_to_udp,
        },
        Function {
            names: &["t_relay_to_tcp", "t_forward_nonack_tcp"],
            args: &[Arg::OptText("host"), Arg::OptText("port")],
            routes: SENDING,
            doc: "Forwards over TCP.",
            call: relay::t_relay_to_tcp,
        },
        Function {
            names: &["t_relay_to_tls", "t_forward_nonack_tls"],
            args: &[Arg::OptText("host"), Arg::OptText("port")],
            routes: SENDING,
            doc: "Forwards over TLS.",
            call: relay::t_relay_to_tls,
        },
        Function {
            names: &["t_relay_to"],
            args: &[Arg::OptText("proxy"), Arg::OptText("flags")],
            routes: SENDING,
            doc: "Forwards to proto:host:port; flag bits: 1 no 100, 2 no error reply, 4 no DNS failover.",
            call: relay::t_relay_to,
        },
        Function {
            names: &["t_forward_nonack"],
            args: &[Arg::OptText("host"), Arg::OptText("port")],
            routes: SENDING,
            doc: "Forwards in the transaction made by t_newtran.",
            call: relay::t_relay,
        },
        Function {
            names: &["t_replicate"],
            args: &[Arg::OptText("uri"), Arg::OptText("port")],
            routes: SENDING,
            doc: "Sends a copy elsewhere; its replies go nowhere.",
            call: relay::t_replicate,
        },
        Function {
            names: &["t_replicate_udp"],
            args: &[Arg::Text("host"), Arg::Text("port")],
            routes: SENDING,
            doc: "Sends a copy over UDP.",
            call: relay::t_replicate_udp,
        },
        Function {
            names: &["t_replicate_tcp"],
            args: &[Arg::Text("host"), Arg::Text("port")],
            routes: SENDING,
            doc: "Sends a copy over TCP.",
            call: relay::t_replicate_tcp,
        },
        Function {
            names: &["t_relay_cancel"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "Forwards a CANCEL when its INVITE is known; true when there is nothing to do.",
            call: relay::t_relay_cancel,
        },
        Function {
            names: &["t_newtran"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Makes the transaction; false for a retransmission.",
            call: relay::t_newtran,
        },
        Function {
            names: &["t_check_trans"],
            args: &[],
            routes: Routes::REQUEST
                .or(Routes::ONREPLY)
                .or(Routes::REPLY)
                .or(Routes::EVENT),
            doc: "True when the request belongs to a transaction; a retransmission ends the script.",
            call: relay::t_check_trans,
        },
        Function {
            names: &["t_lookup_request"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "True when a transaction of this request exists.",
            call: relay::t_lookup_request,
        },
        Function {
            names: &["t_lookup_cancel"],
            args: &[Arg::OptInt("flag")],
            routes: Routes::REQUEST,
            doc: "True when the INVITE that a CANCEL is for is known.",
            call: relay::t_lookup_cancel,
        },
        Function::anywhere(&["t_exists"], &[], "True within a transaction.", relay::t_exists),
        Function {
            names: &["t_save_lumps"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "True; a transaction keeps all that was changed in its request.",
            call: |_| Code::TRUE,
        },
        Function {
            names: &["t_release"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Lets go of the transaction after a reply of our own.",
            call: relay::t_release,
        },
        Function {
            names: &["t_reply", "t_send_reply"],
            args: &[Arg::Text("code"), Arg::Text("reason")],
            routes: SENDING.or(Routes::BRANCH).or(Routes::ONREPLY),
            doc: "Answers in the transaction.",
            call: reply::t_reply,
        },
        Function {
            names: &["t_reply_error"],
            args: &[],
            routes: SENDING,
            doc: "Answers with what the last failure was.",
            call: reply::t_reply_error,
        },
        Function {
            names: &["t_retransmit_reply"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "Sends the last reply of the transaction again.",
            call: reply::t_retransmit_reply,
        },
        Function {
            names: &["t_on_failure"],
            args: &[Arg::Route("failure_route", Routes::FAILURE)],
            routes: SENDING.or(Routes::ONREPLY).or(Routes::BRANCH),
            doc: "Names the route to run when every branch failed.",
            call: reply::t_on_failure,
        },
        Function {
            names: &["t_on_reply"],
            args: &[Arg::Route("onreply_route", Routes::ONREPLY)],
            routes: SENDING.or(Routes::ONREPLY).or(Routes::BRANCH),
            doc: "Names the route that replies run.",
            call: reply::t_on_reply,
        },
        Function {
            names: &["t_on_branch"],
            args: &[Arg::Route("branch_route", Routes::BRANCH)],
            routes: SENDING.or(Routes::ONREPLY),
            doc: "Names the route that each branch runs before it is sent.",
            call: reply::t_on_branch,
        },
        Function {
            names: &["t_on_branch_failure"],
            args: &[Arg::Route("branch_failure_route", Routes::BRANCH_FAILURE)],
            routes: SENDING.or(Routes::ONREPLY),
            doc: "Names the route to run when one branch failed: event_route[tm:branch-failure:NAME].",
            call: reply::t_on_branch_failure,
        },
        Function::anywhere(
            &["t_is_set"],
            &[Arg::Text("target")],
            "True when a branch_route, failure_route or onreply_route is named.",
            reply::t_is_set,
        ),
        Function::anywhere(
            &["t_check_status"],
            &[Arg::Regex("re")],
            "True when the status of the reply matches.",
            reply::t_check_status,
        ),
        Function::anywhere(
            &["t_grep_status"],
            &[Arg::Int("code")],
            "True when a branch got this status.",
            reply::t_grep_status,
        ),
        Function::anywhere(
            &["t_get_status_code"],
            &[],
            "The status sent upstream last, -1 when none.",
            reply::t_get_status_code,
        ),
        Function::anywhere(
            &["t_is_canceled"],
            &[],
            "True when the caller sent CANCEL.",
            reply::t_is_canceled,
        ),
        Function::anywhere(
            &["t_is_expired"],
            &[],
            "True when the longest life of the transaction is over.",
            reply::t_is_expired,
        ),
        Function {
            names: &["t_branch_timeout"],
            args: &[],
            routes: AFTER.or(Routes::REQUEST),
            doc: "True when the failed branch ended by a timer.",
            call: reply::t_branch_timeout,
        },
        Function {
            names: &["t_branch_replied"],
            args: &[],
            routes: AFTER.or(Routes::REQUEST),
            doc: "True when the failed branch had received a reply.",
            call: reply::t_branch_replied,
        },
        Function::anywhere(
            &["t_any_timeout"],
            &[],
            "True when any branch ended by a timer.",
            reply::t_any_timeout,
        ),
        Function::anywhere(
            &["t_any_replied"],
            &[],
            "True when any branch received a reply.",
            reply::t_any_replied,
        ),
        Function {
            names: &["t_drop_replies"],
            args: &[Arg::OptText("mode")],
            routes: Routes::FAILURE,
            doc: "Forgets the replies of the branches tried so far, in mode `n` none.",
            call: reply::t_drop_replies,
        },
        Function::anywhere(
            &["t_set_fr"],
            &[Arg::Int("fr_inv_timeout"), Arg::OptInt("fr_timeout")],
            "Sets fr_inv_timer and fr_timer of this transaction, ms; 0 keeps one.",
            timers::t_set_fr,
        ),
        Function::anywhere(&["t_reset_fr"], &[], "Undoes t_set_fr.", timers::t_reset_fr),
        Function::anywhere(
            &["t_set_retr"],
            &[Arg::Int("retr_t1"), Arg::Int("retr_t2")],
            "Sets the retransmission intervals of this transaction, ms.",
            timers::t_set_retr,
        ),
        Function::anywhere(&["t_reset_retr"], &[], "Undoes t_set_retr.", timers::t_reset_retr),
        Function::anywhere(
            &["t_set_max_lifetime"],
            &[Arg::Int("inv_lifetime"), Arg::Int("noninv_lifetime")],
            "Sets the longest life of this transaction, ms.",
            timers::t_set_max_lifetime,
        ),
        Function::anywhere(
            &["t_reset_max_lifetime"],
            &[],
            "Undoes t_set_max_lifetime.",
            timers::t_reset_max_lifetime,
        ),
        Function::anywhere(
            &["t_set_auto_inv_100"],
            &[Arg::Int("on")],
            "Switches the automatic 100 of this transaction.",
            timers::t_set_auto_inv_100,
        ),
        Function::anywhere(
            &["t_set_disable_6xx"],
            &[Arg::Int("on")],
            "A 6xx does not end the other branches.",
            timers::t_set_disable_6xx,
        ),
        Function::anywhere(
            &["t_set_disable_failover"],
            &[Arg::Int("on")],
            "No DNS failover for this transaction.",
            timers::t_set_disable_failover,
        ),
        Function::anywhere(
            &["t_set_disable_internal_reply"],
            &[Arg::Int("on")],
            "t_relay sends no error reply by itself.",
            timers::t_set_disable_internal_reply,
        ),
        Function::anywhere(
            &["t_set_no_e2e_cancel_reason", "t_disable_e2e_cancel_reason"],
            &[Arg::Int("on")],
            "Reason headers of a received CANCEL are left out of ours.",
            timers::t_set_no_e2e_cancel_reason,
        ),
        Function::anywhere(
            &["t_cell_append_branches"],
            &[Arg::Int("tindex"), Arg::Int("tlabel")],
            "Sends the request that $T(id_index) and $T(id_label) named to the branches of this message, too.",
            relay::t_cell_append_branches,
        ),
        Function {
            names: &["t_msg_apply_changes"],
            args: &[],
            routes: Routes::BRANCH,
            doc: "Makes the edits of this branch real, for what its route does next.",
            call: relay::t_msg_apply_changes,
        },
        Function::anywhere(
            &["t_set_no_auto_ack"],
            &[Arg::Int("on")],
            "In event_route[tm:local-request]: a 2xx to the INVITE is not acknowledged by itself.",
            timers::t_set_no_auto_ack,
        ),
        Function {
            names: &["t_load_contacts"],
            args: &[Arg::OptInt("mode")],
            routes: Routes::REQUEST.or(Routes::FAILURE),
            doc: "Puts the branches aside in order of q, for t_next_contacts; mode 1: one after another, drawn by lot with q as the weight.",
            call: contacts::t_load_contacts,
        },
        Function {
            names: &["t_next_contacts"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::FAILURE),
            doc: "Takes the branches with the next highest q; false when none are left.",
            call: contacts::t_next_contacts,
        },
        Function {
            names: &["t_next_contact_flow"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::BRANCH_FAILURE),
            doc: "After a branch has failed: adds another flow of the same +sip.instance; -2 when there is none.",
            call: contacts::t_next_contact_flow,
        },
    ],
    rpcs: rpc::RPCS,
    events: &[
        "tm:branch-failure",
        "tm:local-request",
        "tm:local-response",
        "tm:local-ack-sent",
    ],
    init: Some(init),
    ..ModuleDef::new("tm", "Relays and answers in transactions.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let millis = |name: &'static str| {
        u32::try_from(init.int(name)).map_err(|_| InitError::Param {
            name,
            why: "is not a time in milliseconds".into(),
        })
    };
    let reply_408_code = u16::try_from(init.int("reply_408_code"))
        .ok()
        .filter(|code| (400..=699).contains(code));
    Ok(Arc::new(Tm {
        fr_timer: millis("fr_timer")?,
        fr_inv_timer: millis("fr_inv_timer")?,
        retr_timer1: millis("retr_timer1")?.max(1),
        retr_timer2: millis("retr_timer2")?.max(1),
        wt_timer: millis("wt_timer")?,
        max_inv_lifetime: millis("max_inv_lifetime")?,
        max_noninv_lifetime: millis("max_noninv_lifetime")?,
        auto_inv_100: init.int("auto_inv_100") != 0,
        auto_inv_100_reason: init.text("auto_inv_100_reason"),
        restart_fr_on_each_reply: init.int("restart_fr_on_each_reply") != 0,
        disable_6xx_block: init.int("disable_6xx_block") != 0,
        rules: Rules {
            aggregate_challenges: init.int("aggregate_challenges") != 0,
            remap_503_500: init.int("remap_503_500") != 0,
            faked_reply_prio: i32::try_from(init.int("faked_reply_prio")).map_err(|_| InitError::Param {
                name: "faked_reply_prio",
                why: "is out of range".into(),
            })?,
        },
        reply_408_code: reply_408_code.ok_or(InitError::Param {
            name: "reply_408_code",
            why: "is no status between 400 and 699".into(),
        })?,
        reply_408_reason: init.text("reply_408_reason"),
        local_cancel_reason: init.int("local_cancel_reason") != 0,
        e2e_cancel_reason: init.int("e2e_cancel_reason") != 0,
        unmatched_cancel: init.int("unmatched_cancel"),
        relay_100: init.int("relay_100") != 0,
        contacts_avp: init.text("contacts_avp").into_bytes(),
        contact_flows_avp: init.text("contact_flows_avp").into_bytes(),
        counts: rpc::Counts::new(init.statistics),
    }))
}

/// Bits of [`crate::script::host::Intent::disable`].
pub(crate) mod disable {
    /// A 6xx does not end the other branches.
    pub(crate) const SIX_XX: u32 = 1;
    /// No DNS failover.
    pub(crate) const FAILOVER: u32 = 2;
    /// No error reply by `t_relay` itself.
    pub(crate) const INTERNAL_REPLY: u32 = 4;
    /// Reason headers of a CANCEL stay here.
    pub(crate) const CANCEL_REASON: u32 = 8;
    /// A 2xx to an INVITE of our own is not acknowledged here.
    pub(crate) const AUTO_ACK: u32 = 16;
}
