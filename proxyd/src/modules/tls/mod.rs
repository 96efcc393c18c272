//! `loadmodule "tls"`: certificates, keys and trust of TLS connections (Kamailio module tls; RFC 3261 §26.2, RFC 5922).

mod certificate;
mod profile;
mod pv;
mod rpc;
mod settings;
mod trust;

use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::program::Program;
use arc_swap::ArcSwap;
pub(crate) use profile::Profile;
pub(crate) use profile::Profiles;
use settings::Method;
use settings::Settings;
use settings::SettingsError;
use settings::VerifyClient;
use shared::net::Transport;
use shared::net::Verdict;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

const OPENSSL: &str = "a setting of OpenSSL, which is not used";
const CIPHERS: &str = "only the suites of TLS 1.3 and the ECDHE suites with AEAD of TLS 1.2 are spoken";
const MEMORY: &str = "a connection's queue is bounded by tcp_conn_wq_max";
const LOGGED: &str = "log levels are set by `debug` and the debugger module";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text(
            "ca_list",
            "",
            "File of the authorities that peers' certificates are verified by.",
        ),
        Param::Text("ca_path", "", "Folder of such files."),
        Param::Text(
            "certificate",
            "",
            "File of our certificate, followed by those of its issuers.",
        ),
        Param::Text("certificate2", "", "Refused: a profile has one certificate."),
        Param::Ignored("cipher_list", CIPHERS),
        Param::Ignored("cipher_suites", CIPHERS),
        Param::Ignored("con_ct_wq_max", MEMORY),
        Param::Text("config", "", "File of profiles: tls.cfg."),
        Param::Ignored(
            "connection_timeout",
            "idle connections end by tcp_connection_lifetime",
        ),
        Param::Text("crl", "", "File of revoked certificates."),
        Param::Ignored("ct_wq_blk_size", MEMORY),
        Param::Ignored("ct_wq_max", MEMORY),
        Param::Ignored("engine", OPENSSL),
        Param::Ignored("engine_algorithms", OPENSSL),
        Param::Ignored("engine_config", OPENSSL),
        Param::Ignored("event_callback", "embedded languages are not supported"),
        Param::Ignored("init_mode", OPENSSL),
        Param::Ignored("key_password_mode", OPENSSL),
        Param::Ignored("keylog_file", "keys are never written"),
        Param::Ignored("keylog_mode", "keys are never written"),
        Param::Ignored("keylog_peer", "keys are never written"),
        Param::Ignored("low_mem_threshold1", MEMORY),
        Param::Ignored("low_mem_threshold2", MEMORY),
        Param::Text("private_key", "", "File of the key of our certificate."),
        Param::Text("private_key2", "", "Refused: a profile has one certificate."),
        Param::Text(
            "private_key_password",
            "",
            "Refused: keys are read without a password.",
        ),
        Param::Text(
            "private_key_password2",
            "",
            "Refused: keys are read without a password.",
        ),
        Param::Ignored("provider_quirks", OPENSSL),
        Param::Ignored("provider_quirks_config", OPENSSL),
        Param::Ignored("rand_engine", OPENSSL),
        Param::Ignored("renegotiation", "it is never done"),
        Param::Int(
            "require_certificate",
            0,
            "1: who shows no certificate that passes gets no connection.",
        ),
        Param::Ignored("send_close_notify", "it is always sent"),
        Param::Text(
            "server_id",
            "",
            "Refused: profiles are chosen by address and server name.",
        ),
        Param::Text("server_name", "", "Server name that the default profile is for."),
        Param::Int(
            "server_name_mode",
            0,
            "0: that name; 1: and names below it; 2: only those.",
        ),
        Param::Ignored(
            "session_cache",
            "sessions of clients are kept in memory, the newest 256 of a profile",
        ),
        Param::Ignored(
            "session_id",
            "sessions of clients are kept in memory, the newest 256 of a profile",
        ),
        Param::Ignored("ssl_freelist_max_len", OPENSSL),
        Param::Ignored("ssl_max_send_fragment", OPENSSL),
        Param::Ignored("ssl_read_ahead", OPENSSL),
        Param::Ignored("ssl_release_buffers", OPENSSL),
        Param::Ignored("tls_debug", LOGGED),
        Param::Ignored("tls_disable_compression", "it is never done"),
        Param::Ignored("tls_force_run", OPENSSL),
        Param::Ignored("tls_log", LOGGED),
        Param::Text(
            "tls_method",
            "TLSv1.2+",
            "Versions that are spoken: TLSv1.2, TLSv1.3, TLSv1.2+ or TLSv1.3+.",
        ),
        Param::Int(
            "verify_certificate",
            0,
            "1: a certificate that does not pass ends the connection.",
        ),
        Param::Text(
            "verify_client",
            "off",
            "on, optional or optional_no_ca: whether clients are asked for certificates.",
        ),
        Param::Ignored("verify_depth", "chains are followed as far as RFC 5280 lets them"),
        Param::Text(
            "xavp_cfg",
            "",
            "Refused: profiles are chosen by address and server name.",
        ),
    ],
    functions: &[Function::anywhere(
        &["is_peer_verified"],
        &[],
        "True when the message came by TLS and the peer's certificate is trusted.",
        is_peer_verified,
    )],
    pvs: pv::PVS,
    rpcs: rpc::RPCS,
    init: Some(init),
    ..ModuleDef::new("tls", "TLS: certificates, keys and whom to trust.")
};

/// Parameters whose effect a script may count on, and that have none here.
const REFUSED: &[&str] = &[
    "certificate2",
    "private_key2",
    "private_key_password",
    "private_key_password2",
    "server_id",
    "xavp_cfg",
];

/// The state: the profiles in force and what they are read from.
pub(crate) struct Tls {
    /// The parameters, as the profiles of `tls.cfg` inherit them.
    defaults: Settings,
    /// `tls.cfg`.
    config: Option<PathBuf>,
    /// Where the script stands.
    folder: PathBuf,
    /// Whether sockets accept TLS.
    served: bool,
    profiles: ArcSwap<Profiles>,
}

impl Tls {
    /// The profiles in force.
    pub(crate) fn profiles(&self) -> Arc<Profiles> {
        self.profiles.load_full()
    }

    fn read(&self) -> Result<Profiles, String> {
        let sections = match &self.config {
            None => Vec::new(),
            Some(path) => {
                let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
                settings::parse(&text, &self.folder).map_err(|error| named(&error))?
            }
        };
        Profiles::read(sections, &self.defaults, self.served)
            .map_err(|(profile, error)| format!("profile [{profile}]: {error}"))
    }
}

/// Whether a script wants TLS at all: `enable_tls`, `disable_tls`.
pub(crate) fn is_enabled(program: &Program) -> bool {
    program.setting_int("enable_tls") == Some(1) && program.setting_int("disable_tls") != Some(1)
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let enabled = is_enabled(init.program);
    if let Some(name) = REFUSED.iter().find(|name| enabled && init.is_set(name)) {
        return Err(InitError::Param {
            name,
            why: "it is not supported".to_owned(),
        });
    }
    let secure = |transport| matches!(transport, None | Some(Transport::Tls | Transport::Wss));
    let listens = init.program.listens();
    let served =
        enabled && (listens.is_empty() || listens.iter().any(|listen| secure(listen.spec.transport)));
    let script = init.program.sources().names().next();
    let folder = script
        .and_then(Path::parent)
        .map(Path::to_owned)
        .unwrap_or_default();
    let config = Some(init.text("config")).filter(|text| !text.is_empty());
    let tls = Tls {
        defaults: defaults(init, &folder).map_err(|error| InitError::Refused(error.to_string()))?,
        config: config.map(|text| settings::path(&text, &folder)),
        folder,
        served,
        profiles: ArcSwap::default(),
    };
    if enabled {
        let profiles = tls.read().map_err(InitError::Refused)?;
        tls.profiles.store(Arc::new(profiles));
    }
    Ok(Arc::new(tls))
}

fn defaults(init: &Init<'_>, folder: &Path) -> Result<Settings, SettingsError> {
    let text = |name: &str| Some(init.text(name)).filter(|text| !text.is_empty());
    let file = |name: &str| text(name).map(|text| settings::path(&text, folder));
    Ok(Settings {
        method: Some(Method::parse(&init.text("tls_method"))?),
        verify_certificate: Some(init.int("verify_certificate") != 0),
        require_certificate: Some(init.int("require_certificate") != 0),
        verify_client: Some(VerifyClient::parse(&init.text("verify_client"))?),
        certificate: file("certificate"),
        private_key: file("private_key"),
        ca_list: file("ca_list"),
        ca_path: file("ca_path"),
        crl: file("crl"),
        server_name: text("server_name"),
        server_name_mode: Some(init.int("server_name_mode")),
    })
}

fn is_peer_verified(call: &mut Call<'_, '_>) -> Code {
    let Some(secured) = pv::secured(call.env) else {
        log::info(
            "tls",
            format_args!("is_peer_verified: the message did not come by TLS"),
        );
        return Code::FALSE;
    };
    if secured.peer.is_none() {
        log::info(
            "tls",
            format_args!("is_peer_verified: the peer has shown no certificate"),
        );
        return Code::FALSE;
    }
    Code::from(secured.verdict == Verdict::Verified)
}

/// The state of the module in a script.
pub(crate) fn of(script: &Script) -> Option<&Tls> {
    script.states.get::<Tls>()
}
