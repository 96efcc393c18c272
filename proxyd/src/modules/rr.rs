//! `loadmodule "rr"`: staying in the path of a dialog and following it (RFC 3261 §16.4, §16.6 step 4, §16.12).

use crate::modules::nathelper::contact::source_uri;
use crate::modules::outbound::Flow;
use crate::modules::outbound::Forged;
use crate::modules::outbound::Outbound;
use crate::proxy::context::RecordRouteForm;
use crate::proxy::context::RecordRouteIntent;
use crate::proxy::context::Source;
use crate::proxy::loose_route;
use crate::proxy::loose_route::Direction;
use crate::proxy::loose_route::Mode;
use crate::proxy::record_route::Double;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Hook;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::Routes;
use crate::script::module::State;
use crate::script::value::Value;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::Uri;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

/// The module's parameters.
struct Rr {
    full_lr: bool,
    ftag: bool,
    double: Double,
    add_username: bool,
}

const FORWARDING: Routes = Routes::REQUEST
    .or(Routes::BRANCH)
    .or(Routes::FAILURE)
    .or(Routes::EVENT);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int("enable_full_lr", 0, "Writes ;lr=on instead of ;lr."),
        Param::Int(
            "append_fromtag",
            1,
            "Adds ;ftag= with the From tag; is_direction() needs it.",
        ),
        Param::Int(
            "enable_double_rr",
            1,
            "Two headers when transport or socket change: 0 never, 2 always.",
        ),
        Param::Int("add_username", 0, "Adds the user of the Request-URI."),
        Param::Ignored("ignore_user", "a user part never keeps a URI from being ours"),
        Param::Ignored(
            "enable_socket_mismatch_warning",
            "a Route that names no socket of ours is met without a warning",
        ),
        Param::Ignored("custom_user_avp", "the user part is that of the Request-URI"),
        Param::Ignored(
            "force_send_socket",
            "the socket of the second Route is always used",
        ),
        Param::Ignored(
            "flow_token_secret",
            "flow tokens are made with the process's own key",
        ),
        Param::Ignored("ignore_sips", "sips: follows the Request-URI"),
        Param::Ignored("sockname_mode", "sockets are named by address"),
        Param::Ignored("loose_route_mode", "given with loose_route_mode()"),
    ],
    functions: &[
        Function {
            names: &["record_route"],
            args: &[Arg::OptText("params")],
            routes: FORWARDING,
            doc: "Adds a Record-Route, with further parameters if given.",
            call: record_route,
        },
        Function {
            names: &["record_route_preset"],
            args: &[Arg::Text("outbound"), Arg::OptText("inbound")],
            routes: FORWARDING,
            doc: "Adds a Record-Route (or two) with this text as host, port and parameters.",
            call: record_route_preset,
        },
        Function {
            names: &["record_route_advertised_address"],
            args: &[Arg::Text("address")],
            routes: FORWARDING,
            doc: "Adds a Record-Route with this address.",
            call: record_route_advertised_address,
        },
        Function {
            names: &["remove_record_route"],
            args: &[],
            routes: FORWARDING,
            doc: "Takes the Record-Route of this proxy back.",
            call: remove_record_route,
        },
        Function {
            names: &["add_rr_param"],
            args: &[Arg::Text("param")],
            routes: FORWARDING,
            doc: "Adds a parameter, with its semicolon, to the Record-Route.",
            call: add_rr_param,
        },
        Function {
            names: &["loose_route"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Follows the Route headers; true when the request is to be relayed along them.",
            call: loose_route_full,
        },
        Function {
            names: &["loose_route_preloaded"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Like loose_route(), also true for a request outside a dialog that has only our Route.",
            call: loose_route_preloaded,
        },
        Function {
            names: &["loose_route_mode"],
            args: &[Arg::Int("mode")],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Like loose_route(); bit 1 of mode does not repair what strict routers do, bit 2 does not follow flow tokens.",
            call: loose_route_mode,
        },
        Function::anywhere(
            &["check_route_param"],
            &[Arg::Regex("re")],
            "True when the parameters of our Route match.",
            check_route_param,
        ),
        Function::anywhere(
            &["is_direction"],
            &[Arg::Text("dir")],
            "True when the request goes downstream (from the caller) or upstream.",
            is_direction,
        ),
        Function::anywhere(
            &["rr_next_hop_route"],
            &[],
            "True when the next hop was set from a Route header.",
            rr_next_hop_route,
        ),
    ],
    pvs: &[
        Pv::plain(&["rr_count"], "Number of Record-Route headers.", rr_count),
        Pv::plain(
            &["rr_top_count"],
            "2 when the topmost Record-Route is one of a pair, 1 when single, 0 when there is none.",
            rr_top_count,
        ),
        Pv {
            names: &["rdir"],
            param: PvParam::Required,
            doc: "$rdir(id): 1 downstream, 2 upstream; $rdir(name): the words.",
            compile: None,
            get: rdir,
            set: None,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("rr", "Record-Route and loose routing.")
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    Ok(Arc::new(Rr {
        full_lr: init.int("enable_full_lr") != 0,
        ftag: init.int("append_fromtag") != 0,
        double: match init.int("enable_double_rr") {
            0 => Double::Off,
            1 => Double::OnChange,
            2 => Double::Always,
            _ => {
                return Err(InitError::Param {
                    name: "enable_double_rr",
                    why: "is none of 0, 1, 2".into(),
                });
            }
        },
        add_username: init.int("add_username") != 0,
    }))
}

/// Asks for a Record-Route; a second one is refused, as Kamailio refuses it.
fn want(call: &mut Call<'_, '_>, form: RecordRouteForm, params: Vec<u8>) -> Code {
    let Some(rr) = call.state::<Rr>() else {
        return Code::FALSE;
    };
    let outbound = call.state::<Outbound>();
    let outbound = outbound.filter(|outbound| outbound.is_wanted(call.env));
    let ctx = &mut *call.env.ctx;
    if ctx.record_route.is_some() {
        return Code::FALSE;
    }
    let user = if let Some(outbound) = outbound {
        outbound.token(&ctx.source)
    } else if rr.add_username {
        Uri::parse(ctx.uri())
            .ok()
            .and_then(|uri| uri.user)
            .unwrap_or_default()
            .to_vec()
    } else {
        Vec::new()
    };
    ctx.record_route = Some(RecordRouteIntent {
        form,
        user,
        ftag: rr.ftag,
        full_lr: rr.full_lr,
        // Kamailio: one flow, one header
        double: if outbound.is_some() {
            Double::Off
        } else {
            rr.double
        },
        params,
    });
    Code::TRUE
}

fn record_route(call: &mut Call<'_, '_>) -> Code {
    let params = call.text_owned(0);
    want(call, RecordRouteForm::Sockets, params)
}

fn record_route_preset(call: &mut Call<'_, '_>) -> Code {
    let second = call.has(1).then(|| call.text_owned(1));
    let form = RecordRouteForm::Preset(call.text_owned(0), second);
    want(call, form, Vec::new())
}

fn record_route_advertised_address(call: &mut Call<'_, '_>) -> Code {
    let form = RecordRouteForm::Advertised(call.text_owned(0));
    want(call, form, Vec::new())
}

fn remove_record_route(call: &mut Call<'_, '_>) -> Code {
    let ctx = &mut *call.env.ctx;
    ctx.rr_params.clear();
    Code::from(ctx.record_route.take().is_some())
}

fn add_rr_param(call: &mut Call<'_, '_>) -> Code {
    let param = call.text_owned(0);
    call.env.ctx.rr_params.extend_from_slice(&param);
    Code::TRUE
}

/// Whether flow tokens are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tokens {
    Followed,
    Skipped,
}

/// The flow that our Route names.
enum Named {
    Nothing,
    Forged,
    Flow(Flow),
}

fn named_flow(env: &Env<'_>, own: Option<&[u8]>) -> Named {
    let (Some(outbound), Some(own)) = (env.state::<Outbound>(), own) else {
        return Named::Nothing;
    };
    let user = Uri::parse(own).ok().and_then(|uri| uri.user);
    match outbound.flow(user.unwrap_or_default()) {
        Ok(None) => Named::Nothing,
        // RFC 5626 §5.3: what came by the flow does not go back along it
        Ok(Some(flow)) if flow.peer == env.ctx.source.peer => Named::Nothing,
        Ok(Some(flow)) => Named::Flow(flow),
        Err(Forged) => Named::Forged,
    }
}

/// Sends the request along a flow, and nowhere else.
fn take_flow(env: &mut Env<'_>, flow: &Flow) {
    let uri = source_uri(&Source {
        peer: flow.peer,
        transport: flow.transport,
        ..Source::default()
    });
    let socket = env.host.sockets().find(flow.transport, flow.local);
    let ctx = &mut *env.ctx;
    ctx.set_dst_uri(Some(uri));
    ctx.send_socket = socket;
    ctx.switches.flow = true;
}

/// `loose_route()`: 1 and 2 true, by Route or by flow; -1 no, -2 for a forged flow token, -3 for our own Route alone.
fn follow(call: &mut Call<'_, '_>, mode: Mode, tokens: Tokens) -> Code {
    let env = &mut *call.env;
    let mut lumps = std::mem::take(&mut env.ctx.lumps);
    let local = |uri: &Uri<'_>| env.is_own_route(uri);
    let verdict = loose_route::loose_route(&env.ctx.msg, env.ctx.uri(), mode, local, &mut lumps);
    let own = verdict.own.map(<[u8]>::to_vec);
    let second = verdict.second.and_then(|text| socket_of(env, text));
    let (new_uri, dst_uri) = (
        verdict.uri.map(<[u8]>::to_vec),
        verdict.dst_uri.map(<[u8]>::to_vec),
    );
    let named = match tokens {
        Tokens::Followed => named_flow(env, own.as_deref()),
        Tokens::Skipped => Named::Nothing,
    };
    let mut code = Code(verdict.code as i32);
    let ctx = &mut *env.ctx;
    ctx.lumps = lumps;
    ctx.route_uri = own;
    ctx.send_socket = second.or(ctx.send_socket);
    if let Some(uri) = new_uri {
        ctx.set_uri(uri);
    }
    if dst_uri.is_some() {
        ctx.set_dst_uri(dst_uri);
    }
    match named {
        Named::Nothing => {}
        Named::Forged => return Code(-2),
        Named::Flow(flow) => {
            take_flow(env, &flow);
            code = Code(2);
        }
    }
    let ctx = &mut *env.ctx;
    if ctx.route_uri.is_some() && !ctx.msg.to_tag().is_empty() {
        for hook in env.script.hooks() {
            if let Hook::LooseRouted(run) = hook {
                run(env);
            }
        }
    }
    code
}

/// The listening socket that a Route URI of ours names.
fn socket_of(env: &Env<'_>, text: &[u8]) -> Option<crate::proxy::context::SocketId> {
    let uri = Uri::parse(text).ok()?;
    let transport = match uri.param(b"transport").flatten() {
        Some(name) => Transport::from_bytes(name)?,
        None => Transport::Udp,
    };
    let ip: IpAddr = std::str::from_utf8(uri.host_bare()).ok()?.parse().ok()?;
    env.host
        .sockets()
        .find(transport, SocketAddr::new(ip, uri.port_or_default()))
}

fn loose_route_full(call: &mut Call<'_, '_>) -> Code {
    follow(call, Mode::Full, Tokens::Followed)
}

fn loose_route_preloaded(call: &mut Call<'_, '_>) -> Code {
    let preloaded = Code(loose_route::Code::Preloaded as i32);
    match follow(call, Mode::Full, Tokens::Followed) {
        code if code == preloaded => Code::TRUE,
        code => code,
    }
}

/// Bit 1: the Request-URI is not taken for a strict router's; bit 2: flow tokens are not looked at.
fn loose_route_mode(call: &mut Call<'_, '_>) -> Code {
    let bits = call.int(0);
    let mode = if bits & 1 == 0 {
        Mode::Full
    } else {
        Mode::LooseOnly
    };
    let tokens = if bits & 2 == 0 {
        Tokens::Followed
    } else {
        Tokens::Skipped
    };
    follow(call, mode, tokens)
}

fn check_route_param(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call.regex(0) else {
        return Code::FALSE;
    };
    let Some(own) = call.env.ctx.route_uri.as_deref() else {
        return Code::FALSE;
    };
    // the parameters with their first semicolon, as an expression may begin with one
    let params = memchr::memchr(b';', own)
        .and_then(|at| own.get(at..))
        .unwrap_or_default();
    Code::from(!params.is_empty() && regex.is_match(params))
}

fn direction(env: &Env<'_>) -> Direction {
    match env.ctx.route_uri.as_deref() {
        Some(own) => loose_route::direction(own, env.ctx.msg.from_tag()),
        None => Direction::Downstream,
    }
}

fn is_direction(call: &mut Call<'_, '_>) -> Code {
    let wanted = match &*call.text(0) {
        b"downstream" => Direction::Downstream,
        b"upstream" => Direction::Upstream,
        other => {
            let other = String::from_utf8_lossy(other);
            crate::log::error(
                "rr",
                format_args!("is_direction: {other:?} is neither downstream nor upstream"),
            );
            return Code::FALSE;
        }
    };
    Code::from(direction(call.env) == wanted)
}

fn rr_next_hop_route(call: &mut Call<'_, '_>) -> Code {
    Code::from(call.env.ctx.dst_uri.is_some() && call.env.ctx.msg.first(HeaderName::Route).is_some())
}

fn rr_count<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    Value::Int(i64::try_from(env.ctx.msg.record_routes().count()).unwrap_or(0))
}

fn rr_top_count<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    let double = |value: &[u8]| value.windows(5).any(|w| w == b";r2=o");
    Value::Int(match env.ctx.msg.record_routes().next() {
        None => 0,
        Some(top) if double(top.bytes) => 2,
        Some(_) => 1,
    })
}

fn rdir<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let words = &*spec.text(env) == b"name";
    match (direction(env), words) {
        (Direction::Downstream, false) => Value::Int(1),
        (Direction::Upstream, false) => Value::Int(2),
        (Direction::Downstream, true) => Value::text(b"downstream"),
        (Direction::Upstream, true) => Value::text(b"upstream"),
    }
}
