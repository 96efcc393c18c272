//! `loadmodule "rtpengine"`: accepted so that scripts start; no media relay is ever asked (Kamailio module rtpengine).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcResult;
use crate::log;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::Rpc;
use crate::script::module::Script;
use shared::sip::Method;
use std::sync::Arc;

const UNUSED: &str = "media relays are not asked";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List("rtpengine_sock", "Where relays listen; kept, not used."),
        Param::Ignored("aggressive_redetection", UNUSED),
        Param::Ignored("control_cmd_tos", UNUSED),
        Param::Ignored("db_url", UNUSED),
        Param::Ignored("disabled_col", UNUSED),
        Param::Ignored("dmq_peer_id", UNUSED),
        Param::Ignored("dtmf_event", UNUSED),
        Param::Ignored("dtmf_event_callid", UNUSED),
        Param::Ignored("dtmf_event_duration", UNUSED),
        Param::Ignored("dtmf_event_source_ip", UNUSED),
        Param::Ignored("dtmf_event_source_label", UNUSED),
        Param::Ignored("dtmf_event_source_tag", UNUSED),
        Param::Ignored("dtmf_event_tags", UNUSED),
        Param::Ignored("dtmf_event_timestamp", UNUSED),
        Param::Ignored("dtmf_event_type", UNUSED),
        Param::Ignored("dtmf_event_volume", UNUSED),
        Param::Ignored("dtmf_events_sock", UNUSED),
        Param::Ignored("enable_dmq", UNUSED),
        Param::Ignored("event_callback", UNUSED),
        Param::Ignored("extra_id_pv", UNUSED),
        Param::Ignored("force_send_interface", UNUSED),
        Param::Ignored("hash_algo", UNUSED),
        Param::Ignored("hash_table_size", UNUSED),
        Param::Ignored("hash_table_tout", UNUSED),
        Param::Ignored("media_duration", UNUSED),
        Param::Ignored("mos_A_label_pv", UNUSED),
        Param::Ignored("mos_B_label_pv", UNUSED),
        Param::Ignored("mos_average_A_pv", UNUSED),
        Param::Ignored("mos_average_B_pv", UNUSED),
        Param::Ignored("mos_average_jitter_A_pv", UNUSED),
        Param::Ignored("mos_average_jitter_B_pv", UNUSED),
        Param::Ignored("mos_average_jitter_pv", UNUSED),
        Param::Ignored("mos_average_packetloss_A_pv", UNUSED),
        Param::Ignored("mos_average_packetloss_B_pv", UNUSED),
        Param::Ignored("mos_average_packetloss_pv", UNUSED),
        Param::Ignored("mos_average_pv", UNUSED),
        Param::Ignored("mos_average_roundtrip_A_pv", UNUSED),
        Param::Ignored("mos_average_roundtrip_B_pv", UNUSED),
        Param::Ignored("mos_average_roundtrip_leg_A_pv", UNUSED),
        Param::Ignored("mos_average_roundtrip_leg_B_pv", UNUSED),
        Param::Ignored("mos_average_roundtrip_pv", UNUSED),
        Param::Ignored("mos_average_samples_A_pv", UNUSED),
        Param::Ignored("mos_average_samples_B_pv", UNUSED),
        Param::Ignored("mos_average_samples_pv", UNUSED),
        Param::Ignored("mos_max_A_pv", UNUSED),
        Param::Ignored("mos_max_B_pv", UNUSED),
        Param::Ignored("mos_max_at_A_pv", UNUSED),
        Param::Ignored("mos_max_at_B_pv", UNUSED),
        Param::Ignored("mos_max_at_pv", UNUSED),
        Param::Ignored("mos_max_jitter_A_pv", UNUSED),
        Param::Ignored("mos_max_jitter_B_pv", UNUSED),
        Param::Ignored("mos_max_jitter_pv", UNUSED),
        Param::Ignored("mos_max_packetloss_A_pv", UNUSED),
        Param::Ignored("mos_max_packetloss_B_pv", UNUSED),
        Param::Ignored("mos_max_packetloss_pv", UNUSED),
        Param::Ignored("mos_max_pv", UNUSED),
        Param::Ignored("mos_max_roundtrip_A_pv", UNUSED),
        Param::Ignored("mos_max_roundtrip_B_pv", UNUSED),
        Param::Ignored("mos_max_roundtrip_leg_A_pv", UNUSED),
        Param::Ignored("mos_max_roundtrip_leg_B_pv", UNUSED),
        Param::Ignored("mos_max_roundtrip_pv", UNUSED),
        Param::Ignored("mos_min_A_pv", UNUSED),
        Param::Ignored("mos_min_B_pv", UNUSED),
        Param::Ignored("mos_min_at_A_pv", UNUSED),
        Param::Ignored("mos_min_at_B_pv", UNUSED),
        Param::Ignored("mos_min_at_pv", UNUSED),
        Param::Ignored("mos_min_jitter_A_pv", UNUSED),
        Param::Ignored("mos_min_jitter_B_pv", UNUSED),
        Param::Ignored("mos_min_jitter_pv", UNUSED),
        Param::Ignored("mos_min_packetloss_A_pv", UNUSED),
        Param::Ignored("mos_min_packetloss_B_pv", UNUSED),
        Param::Ignored("mos_min_packetloss_pv", UNUSED),
        Param::Ignored("mos_min_pv", UNUSED),
        Param::Ignored("mos_min_roundtrip_A_pv", UNUSED),
        Param::Ignored("mos_min_roundtrip_B_pv", UNUSED),
        Param::Ignored("mos_min_roundtrip_leg_A_pv", UNUSED),
        Param::Ignored("mos_min_roundtrip_leg_B_pv", UNUSED),
        Param::Ignored("mos_min_roundtrip_pv", UNUSED),
        Param::Ignored("ping_interval", UNUSED),
        Param::Ignored("ping_mode", UNUSED),
        Param::Ignored("queried_nodes_limit", UNUSED),
        Param::Ignored("read_sdp_pv", UNUSED),
        Param::Ignored("rtp_inst_pvar", UNUSED),
        Param::Ignored("rtpengine_allow_op", UNUSED),
        Param::Ignored("rtpengine_disable_tout", UNUSED),
        Param::Ignored("rtpengine_retr", UNUSED),
        Param::Ignored("rtpengine_tout_ms", UNUSED),
        Param::Ignored("setid_avp", UNUSED),
        Param::Ignored("setid_col", UNUSED),
        Param::Ignored("setid_default", UNUSED),
        Param::Ignored("table_name", UNUSED),
        Param::Ignored("url_col", UNUSED),
        Param::Ignored("weight_col", UNUSED),
        Param::Ignored("write_sdp_pv", UNUSED),
        Param::Ignored("write_sdp_pv_mode", UNUSED),
        Param::Ignored("wsapi", UNUSED),
    ],
    functions: &[
        Function {
            names: &["rtpengine_offer"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Offers SDP to a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_answer"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Answers SDP at a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_delete"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Ends a session at a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_destroy"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Ends a session at a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_query"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay for figures.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_info"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Sends SDP for information.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_connect"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Connects two sessions.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_unsubscribe"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Ends a subscription.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_subscribe_answer"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Answers a subscription.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_manage"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Offers, answers or deletes, by the message.",
            call: manage,
        },
        Function {
            names: &["block_dtmf"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["unblock_dtmf"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["block_media"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["unblock_media"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["play_dtmf"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["play_media"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["stop_media"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["silence_media"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["unsilence_media"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["start_forwarding"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["stop_forwarding"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["start_recording"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["stop_recording"],
            args: &[Arg::OptText("flags"), Arg::OptText("via-branch")],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_query_v"],
            args: &[Arg::Text("fmt"), Arg::Pv("var")],
            routes: Routes::ANY,
            doc: "Asks a relay for figures.",
            call: no_relay,
        },
        Function {
            names: &["rtpengine_subscribe_request"],
            args: &[
                Arg::Text("flags"),
                Arg::Pv("sdp"),
                Arg::Pv("to_tag"),
                Arg::Text("streams"),
                Arg::OptText("via-branch"),
            ],
            routes: Routes::ANY,
            doc: "Subscribes to media.",
            call: no_relay,
        },
        Function {
            names: &["set_rtpengine_set"],
            args: &[Arg::Int("setid"), Arg::OptInt("setid")],
            routes: Routes::ANY,
            doc: "Chooses a set of relays.",
            call: choose_set,
        },
    ],
    rpcs: &[Rpc {
        name: "rtpengine.show",
        doc: "Lists the relays: none.",
        call: list,
    }],
    ..ModuleDef::new(
        "rtpengine",
        "Media relays; accepted, each call is answered as if none was there.",
    )
};

/// Kamailio: what happens when no relay answers.
fn no_relay(call: &mut Call<'_, '_>) -> Code {
    let call_id = String::from_utf8_lossy(call.env.ctx.msg.call_id());
    log::error(
        "rtpengine",
        format_args!("{}: no available proxies for callid={call_id}", call.name),
    );
    Code::FALSE
}

fn manage(call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    let ends = msg.is_request() && matches!(msg.method(), Method::Bye | Method::Cancel);
    if msg.body().is_empty() && !ends {
        Code::FALSE
    } else {
        no_relay(call)
    }
}

fn choose_set(_call: &mut Call<'_, '_>) -> Code {
    Code::TRUE
}

fn list(_: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    Ok(serde_json::json!([]).into())
}
