//! `loadmodule "auth"`: digest challenges and what all authentication modules share (RFC 3261 §22, RFC 7616, RFC 8760).

mod authenticate;
mod challenge;
pub(crate) mod credentials;
mod mark;
mod nonce;
#[cfg(test)]
mod tests;

use crate::script::host::Host;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use nonce::Nonces;
use nonce::Tracker;
use shared::digest::Algorithm;
use shared::sip::Method;
use std::sync::Arc;

pub(crate) use credentials::Identity;
pub(crate) use credentials::Proven;
pub(crate) use credentials::Refusal;
pub(crate) use credentials::Role;
pub(crate) use credentials::admit;
pub(crate) use credentials::is_own;
pub(crate) use credentials::split_user;

const CHALLENGING: Routes = Routes::REQUEST
    .or(Routes::FAILURE)
    .or(Routes::EVENT)
    .or(Routes::BRANCH_FAILURE);
const CHECKING: Routes = CHALLENGING.or(Routes::BRANCH);

/// What the module works with.
pub(crate) struct Auth {
    nonces: Nonces,
    /// The secret, for the script that follows this one.
    secret: Box<[u8]>,
    algorithm: Option<Algorithm>,
    realm_prefix: Box<[u8]>,
    force_stateless_reply: bool,
    use_domain: bool,
    add_authinfo: bool,
    checks: Checks,
}

/// Which parts of a request its nonce is tied to: 1 Request-URI, 2 Call-ID, 4 From tag, 8 source address.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    register: i64,
    no_dialog: i64,
    in_dialog: i64,
}

/// The parts of one request that its nonce is tied to; those that do not count are empty.
struct Ties<'m> {
    uri: &'m [u8],
    call_id: &'m [u8],
    from_tag: &'m [u8],
    address: [u8; 16],
}

impl Ties<'_> {
    fn parts(&self) -> [&[u8]; 4] {
        [self.uri, self.call_id, self.from_tag, &self.address]
    }
}

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text(
            "secret",
            "",
            "Key of the nonces; random when not given, and kept over a reload.",
        ),
        Param::Int("nonce_expire", 300, "How long a nonce is good for, s."),
        Param::Int(
            "nonce_auth_max_drift",
            3,
            "How far in the future a nonce may seem to be made, s.",
        ),
        Param::Ignored("qop", "what challenges ask for is said by their flags"),
        Param::Text(
            "algorithm",
            "",
            "Hash of the challenges: MD5 or SHA-256; when given it is named in them.",
        ),
        Param::Int(
            "nonce_count",
            0,
            "Demand that nc rises with each request of a nonce.",
        ),
        Param::Int("one_time_nonce", 0, "Let a nonce serve once."),
        Param::Int(
            "nc_array_size",
            1 << 20,
            "Nonces whose nc is remembered, a byte each.",
        ),
        Param::Int("nc_array_order", 20, "The same as a power of 2."),
        Param::Int(
            "otn_in_flight_no",
            1 << 20,
            "Nonces remembered for one_time_nonce, a bit each.",
        ),
        Param::Int("otn_in_flight_order", 20, "The same as a power of 2."),
        Param::Int(
            "auth_checks_register",
            0,
            "Parts of a REGISTER that its nonce is tied to: 1 URI, 2 Call-ID, 4 From tag, 8 source address.",
        ),
        Param::Int("auth_checks_no_dlg", 0, "The same for requests outside dialogs."),
        Param::Int("auth_checks_in_dlg", 0, "The same for requests within dialogs."),
        Param::Text("realm_prefix", "", "Prefix taken off realms."),
        Param::Int(
            "use_domain",
            0,
            "pv_auth_check compares domains with the realm too.",
        ),
        Param::Int(
            "force_stateless_reply",
            0,
            "Challenge without a transaction even where there is one.",
        ),
        Param::Int("add_authinfo_hdr", 0, "Add Authentication-Info to replies."),
        Param::Ignored("nid_pool_no", "all workers share one lock-free table of nonces"),
    ],
    functions: &[
        Function {
            names: &["www_challenge"],
            args: &[Arg::Text("realm"), Arg::Int("flags"), Arg::OptText("algorithms")],
            routes: CHALLENGING,
            doc: "Challenges with 401; flags 1 qop=auth, 2 qop=auth-int, 4 no 500 on failure, 16 stale=true.",
            call: challenge::www_challenge,
        },
        Function {
            names: &["proxy_challenge"],
            args: &[Arg::Text("realm"), Arg::Int("flags"), Arg::OptText("algorithms")],
            routes: CHALLENGING,
            doc: "Challenges with 407; flags as for www_challenge.",
            call: challenge::proxy_challenge,
        },
        Function {
            names: &["auth_challenge"],
            args: &[Arg::Text("realm"), Arg::Int("flags"), Arg::OptText("algorithms")],
            routes: CHALLENGING,
            doc: "Challenges with 401 for a REGISTER, else with 407.",
            call: challenge::auth_challenge,
        },
        Function {
            names: &["pv_www_authenticate"],
            args: &[
                Arg::Text("realm"),
                Arg::Text("password"),
                Arg::Int("flags"),
                Arg::OptText("method"),
            ],
            routes: CHECKING,
            doc: "True when Authorization fits this password; flags 1 the password is a HA1.",
            call: authenticate::pv_www_authenticate,
        },
        Function {
            names: &["pv_proxy_authenticate"],
            args: &[
                Arg::Text("realm"),
                Arg::Text("password"),
                Arg::Int("flags"),
                Arg::OptText("method"),
            ],
            routes: CHECKING,
            doc: "True when Proxy-Authorization fits this password; flags 1 the password is a HA1.",
            call: authenticate::pv_proxy_authenticate,
        },
        Function {
            names: &["pv_auth_check"],
            args: &[
                Arg::Text("realm"),
                Arg::Text("password"),
                Arg::Int("flags"),
                Arg::Int("checks"),
            ],
            routes: CHECKING,
            doc: "The first for REGISTER, the second for the rest; checks 1: the user must be that of To or From.",
            call: authenticate::pv_auth_check,
        },
        Function {
            names: &["consume_credentials"],
            args: &[],
            routes: Routes::REQUESTS,
            doc: "Removes the accepted credentials from the request.",
            call: consume_credentials,
        },
        Function {
            names: &["has_credentials"],
            args: &[Arg::Text("realm")],
            routes: Routes::REQUESTS,
            doc: "True when there are credentials for the realm, right or wrong.",
            call: has_credentials,
        },
        Function {
            names: &["auth_get_www_authenticate"],
            args: &[Arg::Text("realm"), Arg::Int("flags"), Arg::Pv("result")],
            routes: Routes::ANY,
            doc: "Puts a WWW-Authenticate line into a variable.",
            call: challenge::auth_get_www_authenticate,
        },
        Function {
            names: &["auth_algorithm"],
            args: &[Arg::Text("algorithm")],
            routes: CHALLENGING,
            doc: "Chooses the hash of the challenges to this request: MD5 or SHA-256.",
            call: auth_algorithm,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("auth", "Challenges and checks digest credentials.")
};

/// Wall time in the seconds that nonces are dated with.
fn seconds(host: &dyn Host) -> u32 {
    u32::try_from(host.wall().as_secs()).unwrap_or(u32::MAX)
}

impl Auth {
    /// The realm without the prefix that stands for nothing.
    pub(crate) fn strip<'r>(&self, realm: &'r [u8]) -> &'r [u8] {
        if self.realm_prefix.is_empty() {
            return realm;
        }
        let (head, rest) = realm
            .split_at_checked(self.realm_prefix.len())
            .unwrap_or((b"", realm));
        if head.eq_ignore_ascii_case(&self.realm_prefix) {
            rest
        } else {
            realm
        }
    }

    /// The parts of the request that its nonce is tied to; none when it is tied to nothing.
    fn ties<'m>(&self, env: &'m Env<'_>) -> Option<Ties<'m>> {
        let msg = &env.ctx.msg;
        let checks = if msg.method() == Method::Register {
            self.checks.register
        } else if msg.to_tag().is_empty() {
            self.checks.no_dialog
        } else {
            self.checks.in_dialog
        };
        let part = |bit: i64, text: &'m [u8]| if checks & bit != 0 { text } else { b"" };
        let address = match env.ctx.source.peer.ip() {
            _ if checks & 8 == 0 => [0; 16],
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(ip) => ip.octets(),
        };
        let (uri, call_id) = (part(1, msg.request_uri()), part(2, msg.call_id()));
        (checks & 15 != 0).then(|| Ties {
            uri,
            call_id,
            from_tag: part(4, msg.from_tag()),
            address,
        })
    }

    /// Tells the challenge that follows that the fault is ours.
    pub(crate) fn fail(&self, env: &Env<'_>) {
        mark::fail(env.ctx.id);
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let previous = init.previous::<Auth>();
    let given = init.text("secret");
    let secret: Box<[u8]> = match (&previous, given.is_empty()) {
        (_, false) => given.into_bytes().into(),
        // Nonces stay good over a reload.
        (Some(previous), true) => previous.secret.clone(),
        (None, true) => Box::new(crate::ids::token()),
    };
    let bounded = |name: &'static str| -> Result<u32, InitError> {
        u32::try_from(init.int(name)).map_err(|_| InitError::Param {
            name,
            why: "must not be negative".to_owned(),
        })
    };
    let tracker = Tracker::new(
        (init.int("nonce_count") != 0).then(|| order(init, "nc_array_size", "nc_array_order")),
        (init.int("one_time_nonce") != 0).then(|| order(init, "otn_in_flight_no", "otn_in_flight_order")),
        u32::try_from(init.wall.as_secs()).unwrap_or(u32::MAX),
        init.seed as u32,
    );
    let tracker = match (
        tracker,
        previous.and_then(|previous| previous.nonces.tracker.clone()),
    ) {
        (Some(new), Some(old)) if new.is_like(&old) => Some(old),
        (new, _) => new.map(Arc::new),
    };
    let nonces = Nonces::new(
        &secret,
        bounded("nonce_expire")?,
        bounded("nonce_auth_max_drift")?,
        tracker,
    );
    let algorithm = match init.text("algorithm").as_str() {
        "" => None,
        name => Some(
            Algorithm::from_bytes(name.as_bytes()).ok_or_else(|| InitError::Param {
                name: "algorithm",
                why: format!("{name:?} is neither MD5 nor SHA-256"),
            })?,
        ),
    };
    let checks = Checks {
        register: init.int("auth_checks_register"),
        no_dialog: init.int("auth_checks_no_dlg"),
        in_dialog: init.int("auth_checks_in_dlg"),
    };
    Ok(Arc::new(Auth {
        nonces,
        secret,
        algorithm,
        realm_prefix: init.text("realm_prefix").into_bytes().into(),
        force_stateless_reply: init.int("force_stateless_reply") != 0,
        use_domain: init.int("use_domain") != 0,
        add_authinfo: init.int("add_authinfo_hdr") != 0,
        checks,
    }))
}

/// The power of 2 that a size is rounded down to, or that is given directly.
fn order(init: &Init<'_>, size: &str, order: &str) -> u32 {
    if init.is_set(size) {
        u64::try_from(init.int(size))
            .ok()
            .and_then(u64::checked_ilog2)
            .unwrap_or(0)
    } else {
        u32::try_from(init.int(order)).unwrap_or(0)
    }
}

fn consume_credentials(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Auth>() else {
        return Code::FALSE;
    };
    if credentials::consume(state, call.env) {
        return Code::TRUE;
    }
    if !matches!(
        call.env.ctx.msg.method(),
        Method::Ack | Method::Cancel | Method::Prack
    ) {
        crate::log::error(
            "auth",
            format_args!("no authorized credentials found (error in scripts)"),
        );
    }
    Code::FALSE
}

fn has_credentials(call: &mut Call<'_, '_>) -> Code {
    credentials::present(call.env, &call.text(0)).into()
}

fn auth_algorithm(call: &mut Call<'_, '_>) -> Code {
    let name = call.text(0);
    let Some(algorithm) = Algorithm::from_bytes(&name) else {
        let name = String::from_utf8_lossy(&name);
        crate::log::error(
            "auth",
            format_args!("auth_algorithm: {name:?} is neither MD5 nor SHA-256"),
        );
        return Code::FALSE;
    };
    mark::choose(call.env.ctx.id, algorithm);
    Code::TRUE
}
