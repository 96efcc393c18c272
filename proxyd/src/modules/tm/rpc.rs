//! `tm.stats` and its kin.

use crate::control::methods::RpcCall;
use crate::control::methods::RpcResult;
use crate::script::module::Rpc;
use crate::script::module::Script;
use std::sync::Arc;

pub(super) static RPCS: &[Rpc] = &[Rpc {
    name: "tm.stats",
    doc: "Counts of transactions and replies.",
    call: stats,
}];

fn stats(_call: &RpcCall<'_>, _script: &Arc<Script>) -> RpcResult {
    Ok(serde_json::Value::Null.into())
}
