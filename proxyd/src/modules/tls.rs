//! `loadmodule "tls"`: accepted so that scripts start; a socket with TLS is refused by name (Kamailio module tls).

use crate::control::methods::RpcCall;
use crate::control::methods::RpcResult;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use serde_json::json;
use shared::net::Transport;
use std::sync::Arc;

const UNUSED: &str = "no socket speaks TLS";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Ignored("ca_list", UNUSED),
        Param::Ignored("ca_path", UNUSED),
        Param::Ignored("certificate", UNUSED),
        Param::Ignored("certificate2", UNUSED),
        Param::Ignored("cipher_list", UNUSED),
        Param::Ignored("cipher_suites", UNUSED),
        Param::Ignored("con_ct_wq_max", UNUSED),
        Param::Ignored("config", UNUSED),
        Param::Ignored("connection_timeout", UNUSED),
        Param::Ignored("crl", UNUSED),
        Param::Ignored("ct_wq_blk_size", UNUSED),
        Param::Ignored("ct_wq_max", UNUSED),
        Param::Ignored("engine", UNUSED),
        Param::Ignored("engine_algorithms", UNUSED),
        Param::Ignored("engine_config", UNUSED),
        Param::Ignored("event_callback", UNUSED),
        Param::Ignored("init_mode", UNUSED),
        Param::Ignored("key_password_mode", UNUSED),
        Param::Ignored("keylog_file", UNUSED),
        Param::Ignored("keylog_mode", UNUSED),
        Param::Ignored("keylog_peer", UNUSED),
        Param::Ignored("low_mem_threshold1", UNUSED),
        Param::Ignored("low_mem_threshold2", UNUSED),
        Param::Ignored("private_key", UNUSED),
        Param::Ignored("private_key2", UNUSED),
        Param::Ignored("private_key_password", UNUSED),
        Param::Ignored("private_key_password2", UNUSED),
        Param::Ignored("provider_quirks", UNUSED),
        Param::Ignored("provider_quirks_config", UNUSED),
        Param::Ignored("rand_engine", UNUSED),
        Param::Ignored("renegotiation", UNUSED),
        Param::Ignored("require_certificate", UNUSED),
        Param::Ignored("send_close_notify", UNUSED),
        Param::Ignored("server_id", UNUSED),
        Param::Ignored("server_name", UNUSED),
        Param::Ignored("server_name_mode", UNUSED),
        Param::Ignored("session_cache", UNUSED),
        Param::Ignored("session_id", UNUSED),
        Param::Ignored("ssl_freelist_max_len", UNUSED),
        Param::Ignored("ssl_max_send_fragment", UNUSED),
        Param::Ignored("ssl_read_ahead", UNUSED),
        Param::Ignored("ssl_release_buffers", UNUSED),
        Param::Ignored("tls_debug", UNUSED),
        Param::Ignored("tls_disable_compression", UNUSED),
        Param::Ignored("tls_force_run", UNUSED),
        Param::Ignored("tls_log", UNUSED),
        Param::Ignored("tls_method", UNUSED),
        Param::Ignored("verify_certificate", UNUSED),
        Param::Ignored("verify_client", UNUSED),
        Param::Ignored("verify_depth", UNUSED),
        Param::Ignored("xavp_cfg", UNUSED),
    ],
    functions: &[
        Function::anywhere(
            &["is_peer_verified"],
            &[],
            "False: no peer has shown a certificate.",
            nobody,
        ),
        Function::anywhere(
            &["tls_set_connect_server_id"],
            &[Arg::Text("srvid")],
            "False: no connection speaks TLS.",
            nobody,
        ),
    ],
    pvs: &[Pv {
        names: &[
            "tls_version",
            "tls_description",
            "tls_cipher_info",
            "tls_cipher_bits",
            "tls_peer_version",
            "tls_my_version",
            "tls_peer_serial",
            "tls_my_serial",
            "tls_peer_subject",
            "tls_peer_issuer",
            "tls_my_subject",
            "tls_my_issuer",
            "tls_peer_subject_cn",
            "tls_peer_issuer_cn",
            "tls_peer_subject_locality",
            "tls_peer_subject_country",
            "tls_peer_subject_state",
            "tls_peer_subject_organization",
            "tls_peer_subject_unit",
            "tls_peer_san_email",
            "tls_peer_san_hostname",
            "tls_peer_san_uri",
            "tls_peer_san_ip",
            "tls_peer_verified",
            "tls_peer_revoked",
            "tls_peer_expired",
            "tls_peer_selfsigned",
            "tls_peer_notBefore",
            "tls_peer_notAfter",
            "tls_peer_server_name",
            "tls_my_subject_cn",
        ],
        param: PvParam::None,
        doc: "Null: the message did not come by TLS.",
        compile: None,
        get: nothing,
        set: None,
    }],
    rpcs: &[
        Rpc {
            name: "tls.info",
            doc: "Shows how many connections there are.",
            call: info,
        },
        Rpc {
            name: "tls.list",
            doc: "Lists connections: none.",
            call: list,
        },
        Rpc {
            name: "tls.options",
            doc: "Lists options: none.",
            call: list,
        },
        Rpc {
            name: "tls.reload",
            doc: "Reads certificates anew: none.",
            call: reload,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("tls", "TLS; accepted while no socket wants it.")
};

struct Tls;

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let secure = |transport| matches!(transport, Some(Transport::Tls | Transport::Wss));
    match init
        .program
        .listens()
        .iter()
        .find(|listen| secure(listen.spec.transport))
    {
        Some(listen) => Err(InitError::Refused(format!(
            "listen={}: sockets with TLS are not served",
            listen.spec
        ))),
        None => Ok(Arc::new(Tls)),
    }
}

fn nobody(_call: &mut Call<'_, '_>) -> Code {
    Code::FALSE
}

fn nothing<'e>(_env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    Value::Null
}

fn info(_: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    Ok(json!({ "max_connections": 0, "opened_connections": 0, "clear_text_write_queued_bytes": 0 }).into())
}

fn list(_: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    Ok(json!([]).into())
}

fn reload(_: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    Ok("Ok. TLS configuration reloaded.".into())
}
