//! `loadmodule "nathelper"`: clients behind NAT, without a media relay (Kamailio nathelper module).

pub(crate) mod contact;
mod ping;
mod sdp;
mod uac_test;

use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::modules::usrloc::bit;
use crate::script::module::Arg;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::ModuleTimer;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::module::Routes;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::program::PvRef;
use crate::script::value::Value;
use shared::sip::Uri;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

const EDITING: Routes = Routes::REQUEST
    .or(Routes::ONREPLY)
    .or(Routes::REPLY)
    .or(Routes::BRANCH)
    .or(Routes::FAILURE);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text("force_socket", "", "Socket of pings by UDP."),
        Param::Int(
            "natping_interval",
            0,
            "Seconds in which every contact is pinged once; 0 never.",
        ),
        Param::Int(
            "ping_nated_only",
            0,
            "Ping only contacts with usrloc's nat_bflag.",
        ),
        Param::Ignored(
            "natping_processes",
            "pings are spread over the interval by themselves",
        ),
        Param::Ignored(
            "natping_socket",
            "source addresses are not forged; force_socket chooses one of ours",
        ),
        Param::Pv(
            "received_avp",
            "",
            "Where fix_nated_register() puts the source address.",
        ),
        Param::Int(
            "sipping_bflag",
            -1,
            "Branch flag of contacts that are pinged with a request instead of a datagram.",
        ),
        Param::Text("sipping_from", "", "From URI of such requests."),
        Param::Text("sipping_method", "OPTIONS", "Method of such requests."),
        Param::Int(
            "natping_disable_bflag",
            -1,
            "Branch flag of contacts that are never pinged.",
        ),
        Param::Text(
            "nortpproxy_str",
            "a=nortpproxy:yes\r\n",
            "SDP line that fix_nated_sdp() adds with flag 4.",
        ),
        Param::Int(
            "keepalive_timeout",
            0,
            "Seconds without an answer to requests after which a contact is removed.",
        ),
        Param::Ignored("udpping_from_path", "source addresses are not forged"),
        Param::Int(
            "ignore_path",
            0,
            "Ping where the contact was seen, not along its Path.",
        ),
        Param::Int(
            "append_sdp_oldmediaip",
            1,
            "fix_nated_sdp() notes the addresses it replaced.",
        ),
        Param::Int(
            "filter_server_id",
            0,
            "Ping only contacts that this server saved.",
        ),
        Param::Int("nat_addr_mode", 1, "1: reserved networks count as private too."),
        Param::Text("alias_name", "alias", "Name of the URI parameter of aliases."),
    ],
    functions: &[
        Function {
            names: &["nat_uac_test"],
            args: &[Arg::Int("flags")],
            routes: EDITING,
            doc: "Whether the sender seems to be behind NAT, by any of the tests asked for.",
            call: uac_test::nat_uac_test,
        },
        Function::anywhere(
            &["is_rfc1918"],
            &[Arg::Text("ip_address")],
            "Whether an address is private.",
            uac_test::is_rfc1918,
        ),
        Function {
            names: &["fix_nated_contact"],
            args: &[],
            routes: EDITING,
            doc: "Puts the source address in the Contact; false without one.",
            call: contact::fix_nated_contact,
        },
        Function {
            names: &["set_contact_alias"],
            args: &[Arg::OptInt("trim")],
            routes: EDITING,
            doc: "Adds ;alias=ip~port~transport of the source to the Contact URI.",
            call: contact::set_contact_alias,
        },
        Function {
            names: &["add_contact_alias"],
            args: &[
                Arg::OptText("ip_addr"),
                Arg::OptText("port"),
                Arg::OptText("proto"),
            ],
            routes: EDITING,
            doc: "The same, of a given place, or of the source where it differs.",
            call: contact::add_contact_alias,
        },
        Function {
            names: &["handle_ruri_alias"],
            args: &[Arg::OptInt("mode")],
            routes: Routes::REQUEST.or(Routes::BRANCH).or(Routes::FAILURE),
            doc: "Makes the alias of the Request-URI the next hop: 2 there is none, -1 a bad one.",
            call: contact::handle_ruri_alias,
        },
        Function {
            names: &["set_alias_to_pv"],
            args: &[Arg::Pv("target_avp")],
            routes: EDITING,
            doc: "Assigns the alias of the Contact as a URI.",
            call: contact::set_alias_to_pv,
        },
        Function {
            names: &["fix_nated_register"],
            args: &[],
            routes: Routes::REQUEST,
            doc: "Puts the source address as a URI in received_avp, for save().",
            call: contact::fix_nated_register,
        },
        Function {
            names: &["add_rcv_param"],
            args: &[Arg::OptInt("flag")],
            routes: Routes::REQUEST,
            doc: "Adds the source address to the Contact headers, or with a flag to their URIs.",
            call: contact::add_rcv_param,
        },
        Function {
            names: &["fix_nated_sdp"],
            args: &[Arg::Int("flags"), Arg::OptText("ip_address")],
            routes: EDITING,
            doc: "Edits the session description: 1 direction, 2 media address, 4 mark, 8 origin.",
            call: sdp::fix_nated_sdp,
        },
    ],
    pvs: &[
        Pv::plain(&["rr_count"], "How many Record-Routes the message has.", rr_count),
        Pv::plain(
            &["rr_top_count"],
            "2 when the topmost Record-Route is a double one, 1 when it is single.",
            rr_top_count,
        ),
    ],
    rpcs: &[Rpc {
        name: "nathelper.enable_ping",
        doc: "Switch pings on or off. Parameters: 0 or 1.",
        call: enable_ping,
    }],
    timers: &[ModuleTimer {
        name: "NAT pings",
        interval: ping::interval,
        run: ping::run,
    }],
    init: Some(init),
    ..ModuleDef::new("nathelper", "Helps clients behind NAT.")
};

/// The state of the module.
pub(crate) struct Nathelper {
    force_socket: Vec<u8>,
    natping_interval: u32,
    ping_nated_only: bool,
    received_avp: Option<Arc<PvRef>>,
    sipping_bflag: u32,
    sipping_from: Vec<u8>,
    sipping_method: Vec<u8>,
    natping_disable_bflag: u32,
    nortpproxy_str: Vec<u8>,
    keepalive_timeout: u32,
    ignore_path: bool,
    append_sdp_oldmediaip: bool,
    filter_server_id: bool,
    reserved: bool,
    alias_name: Vec<u8>,
    enabled: AtomicBool,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let seconds = |name| u32::try_from(init.int(name).max(0)).unwrap_or(u32::MAX);
    let (interval, flag) = (seconds("natping_interval"), bit(init.int("sipping_bflag")));
    let needs_from = interval > 0 && flag != 0;
    if needs_from && init.text("sipping_from").is_empty() {
        return Err(InitError::Param {
            name: "sipping_from",
            why: "is needed beside sipping_bflag".to_owned(),
        });
    }
    if interval > 0 && !init.modules.iter().any(|loaded| loaded.def.name == "usrloc") {
        let why = "needs loadmodule \"usrloc\", whose contacts it pings".to_owned();
        return Err(InitError::Param {
            name: "natping_interval",
            why,
        });
    }
    Ok(Arc::new(Nathelper {
        force_socket: init.text("force_socket").into_bytes(),
        natping_interval: interval,
        ping_nated_only: init.int("ping_nated_only") != 0,
        received_avp: init.pv("received_avp"),
        sipping_bflag: flag,
        sipping_from: init.text("sipping_from").into_bytes(),
        sipping_method: init.text("sipping_method").into_bytes(),
        natping_disable_bflag: bit(init.int("natping_disable_bflag")),
        nortpproxy_str: init.text("nortpproxy_str").into_bytes(),
        keepalive_timeout: seconds("keepalive_timeout"),
        ignore_path: init.int("ignore_path") != 0,
        append_sdp_oldmediaip: init.int("append_sdp_oldmediaip") != 0,
        filter_server_id: init.int("filter_server_id") != 0,
        reserved: init.int("nat_addr_mode") != 0,
        alias_name: init.text("alias_name").into_bytes(),
        enabled: AtomicBool::new(true),
    }))
}

fn enable_ping(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let Some(nathelper) = script.states.get::<Nathelper>() else {
        return Err(RpcFault::failed("module nathelper is not loaded"));
    };
    if nathelper.natping_interval == 0 {
        return Err(RpcFault::failed("NATping disabled"));
    }
    let Ok(Some(value)) = call.opt_str(0) else {
        return Err(RpcFault::failed("No parameter"));
    };
    let on = crate::script::value::leading_int(value.as_bytes()).unwrap_or(0) != 0;
    nathelper.enabled.store(on, Ordering::Relaxed);
    Ok(RpcReply::empty())
}

fn rr_count<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    Value::Int(env.ctx.msg.record_routes().count() as i64)
}

fn rr_top_count<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    let top = env.ctx.msg.record_routes().next();
    let Some(uri) = top.and_then(|value| value.name_addr().ok()).map(|addr| addr.uri) else {
        return Value::Int(0);
    };
    let double = Uri::parse(uri).is_ok_and(|uri| uri.param(b"r2").is_some());
    Value::Int(if double { 2 } else { 1 })
}
