//! What the rows of rtpengine and rtpproxy share: no media relay is ever asked.

use crate::control::methods::RpcCall;
use crate::control::methods::RpcResult;
use crate::log;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Script;
use shared::sip::Method;
use std::sync::Arc;

/// Kamailio: what happens when no relay answers. `module` is the name the log line carries.
pub(super) fn no_relay(module: &str, call: &mut Call<'_, '_>) -> Code {
    let call_id = String::from_utf8_lossy(call.env.ctx.msg.call_id());
    log::error(
        module,
        format_args!("{}: no available proxies for callid={call_id}", call.name),
    );
    Code::FALSE
}

/// The same for messages with a body and for those that end a session; false for others.
pub(super) fn manage(module: &str, call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    let ends = msg.is_request() && matches!(msg.method(), Method::Bye | Method::Cancel);
    if msg.body().is_empty() && !ends {
        Code::FALSE
    } else {
        no_relay(module, call)
    }
}

/// Any set of relays may be chosen.
pub(super) fn choose_set(_call: &mut Call<'_, '_>) -> Code {
    Code::TRUE
}

/// The relays: none.
pub(super) fn list(_: &RpcCall<'_>, _: &Arc<Script>) -> RpcResult {
    Ok(serde_json::json!([]).into())
}
