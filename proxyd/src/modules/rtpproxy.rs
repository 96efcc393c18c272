//! `loadmodule "rtpproxy"`: accepted so that scripts start; no media relay is ever asked (Kamailio module rtpproxy).

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
        Function {
            names: &["rtpproxy_offer"],
            args: &[Arg::OptText("flags"), Arg::OptText("ip_address")],
            routes: Routes::ANY,
            doc: "Offers SDP to a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpproxy_answer"],
            args: &[Arg::OptText("flags"), Arg::OptText("ip_address")],
            routes: Routes::ANY,
            doc: "Answers SDP at a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpproxy_manage"],
            args: &[Arg::OptText("flags"), Arg::OptText("ip_address")],
            routes: Routes::ANY,
            doc: "Offers, answers or deletes, by the message.",
            call: manage,
        },
        Function {
            names: &["rtpproxy_destroy", "unforce_rtp_proxy"],
            args: &[Arg::OptText("flags")],
            routes: Routes::ANY,
            doc: "Ends a session at a relay.",
            call: no_relay,
        },
        Function {
            names: &["rtpproxy_stream2uac"],
            args: &[Arg::Text("prompt"), Arg::Int("count")],
            routes: Routes::ANY,
            doc: "Plays a prompt.",
            call: no_relay,
        },
        Function {
            names: &["rtpproxy_stream2uas"],
            args: &[Arg::Text("prompt"), Arg::Int("count")],
            routes: Routes::ANY,
            doc: "Plays a prompt.",
            call: no_relay,
        },
        Function {
            names: &["rtpproxy_stop_stream2uac"],
            args: &[],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["rtpproxy_stop_stream2uas"],
            args: &[],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["start_recording"],
            args: &[],
            routes: Routes::ANY,
            doc: "Asks a relay to do so.",
            call: no_relay,
        },
        Function {
            names: &["set_rtp_proxy_set"],
            args: &[Arg::Int("setid")],
            routes: Routes::ANY,
            doc: "Chooses a set of relays.",
            call: choose_set,
        },
    ],
    rpcs: &[Rpc {
        name: "rtpproxy.list",
        doc: "Lists the relays: none.",
        call: list,
    }],
    ..ModuleDef::new(
        "rtpproxy",
        "Media relays; accepted, each call is answered as if none was there.",
    )
};

/// Kamailio: what happens when no relay answers.
fn no_relay(call: &mut Call<'_, '_>) -> Code {
    let call_id = String::from_utf8_lossy(call.env.ctx.msg.call_id());
    log::error(
        "rtpproxy",
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
