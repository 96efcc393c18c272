//! `tls.options` and `tls.reload`; the connections themselves are listed by the runtime.

use super::Tls;
use super::settings::Method;
use super::settings::VerifyClient;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcResult;
use crate::log;
use crate::script::module::Rpc;
use crate::script::module::Script;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) static RPCS: &[Rpc] = &[
    Rpc {
        name: "tls.options",
        doc: "Shows the module's parameters.",
        call: options,
    },
    Rpc {
        name: "tls.reload",
        doc: "Reads tls.cfg, certificates and keys anew; connections that are open stay as they are.",
        call: reload,
    },
];

fn state(script: &Script) -> Result<&Tls, RpcFault> {
    super::of(script).ok_or_else(|| RpcFault::failed("module tls is not loaded"))
}

/// Kamailio's names in its order; what belongs to OpenSSL alone is left out.
fn options(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let tls = state(script)?;
    let settings = &tls.defaults;
    let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let verify_client = match settings.verify_client {
        None | Some(VerifyClient::Off) => "off",
        Some(VerifyClient::On) => "on",
        Some(VerifyClient::Optional) => "optional",
        Some(VerifyClient::OptionalNoCa) => "optional_no_ca",
    };
    Ok(json!({
        "method": settings.method.unwrap_or(Method::Both).name(),
        "verify_certificate": i64::from(settings.verify_certificate == Some(true)),
        "require_certificate": i64::from(settings.require_certificate == Some(true)),
        "verify_client": verify_client,
        "private_key": file(&settings.private_key),
        "ca_list": file(&settings.ca_list),
        "certificate": file(&settings.certificate),
        "config": file(&tls.config),
    })
    .into())
}

fn reload(_: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    let tls = state(script)?;
    if tls.config.is_none() {
        return Err(RpcFault::failed("No TLS configuration file configured"));
    }
    let profiles = tls.read().map_err(|error| {
        log::error("tls", format_args!("{error}; what was in force stays"));
        RpcFault::failed(error)
    })?;
    tls.profiles.store(Arc::new(profiles));
    log::info("tls", format_args!("TLS configuration reloaded"));
    Ok("Ok. TLS configuration reloaded.".into())
}
