//! `loadmodule "rtpproxy"`: accepted so that scripts start; no media relay is ever asked (Kamailio module rtpproxy).

use crate::modules::media_relay;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Rpc;

const UNUSED: &str = "media relays are not asked";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List("rtpproxy_sock", "Where relays listen; kept, not used."),
        Param::Ignored("db_url", UNUSED),
        Param::Ignored("extra_id_pv", UNUSED),
        Param::Ignored("ice_candidate_priority_avp", UNUSED),
        Param::Ignored("nortpproxy_str", UNUSED),
        Param::Ignored("rtp_inst_pvar", UNUSED),
        Param::Ignored("rtpproxy_disable_tout", UNUSED),
        Param::Ignored("rtpproxy_retr", UNUSED),
        Param::Ignored("rtpproxy_tout", UNUSED),
        Param::Ignored("table_name", UNUSED),
        Param::Ignored("timeout_socket", UNUSED),
        Param::Ignored("timeout_tag_pv", UNUSED),
    ],
    functions: &[
        Function::anywhere(
            &["rtpproxy_offer"],
            &[Arg::OptText("flags"), Arg::OptText("ip_address")],
            "Offers SDP to a relay.",
            no_relay,
        ),
        Function::anywhere(
            &["rtpproxy_answer"],
            &[Arg::OptText("flags"), Arg::OptText("ip_address")],
            "Answers SDP at a relay.",
            no_relay,
        ),
        Function::anywhere(
            &["rtpproxy_manage"],
            &[Arg::OptText("flags"), Arg::OptText("ip_address")],
            "Offers, answers or deletes, by the message.",
            manage,
        ),
        Function::anywhere(
            &["rtpproxy_destroy", "unforce_rtp_proxy"],
            &[Arg::OptText("flags")],
            "Ends a session at a relay.",
            no_relay,
        ),
        Function::anywhere(
            &["rtpproxy_stream2uac"],
            &[Arg::Text("prompt"), Arg::Int("count")],
            "Plays a prompt.",
            no_relay,
        ),
        Function::anywhere(
            &["rtpproxy_stream2uas"],
            &[Arg::Text("prompt"), Arg::Int("count")],
            "Plays a prompt.",
            no_relay,
        ),
        Function::anywhere(
            &["rtpproxy_stop_stream2uac"],
            &[],
            "Asks a relay to do so.",
            no_relay,
        ),
        Function::anywhere(
            &["rtpproxy_stop_stream2uas"],
            &[],
            "Asks a relay to do so.",
            no_relay,
        ),
        Function::anywhere(&["start_recording"], &[], "Asks a relay to do so.", no_relay),
        Function::anywhere(
            &["set_rtp_proxy_set"],
            &[Arg::Int("setid")],
            "Chooses a set of relays.",
            media_relay::choose_set,
        ),
    ],
    rpcs: &[Rpc {
        name: "rtpproxy.list",
        doc: "Lists the relays: none.",
        call: media_relay::list,
    }],
    ..ModuleDef::new(
        "rtpproxy",
        "Media relays; accepted, each call is answered as if none was there.",
    )
};

fn no_relay(call: &mut Call<'_, '_>) -> Code {
    media_relay::no_relay("rtpproxy", call)
}

fn manage(call: &mut Call<'_, '_>) -> Code {
    media_relay::manage("rtpproxy", call)
}
