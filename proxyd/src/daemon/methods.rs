//! The methods that operators call: the daemon's own, and those of the script in force.

use super::Inner;
use crate::control::core_rpcs;
use crate::control::core_rpcs::Status;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcDef;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::control::stats_rpcs;
use crate::runtime::explain;
use crate::runtime::explain::live::explain_live;
use crate::runtime::filter::Filter;
use crate::runtime::status::Running;
use crate::runtime::tls;
use crate::runtime::tm_rpcs;
use crate::runtime::websocket;
use crate::script::module::Script;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A method that belongs to no module: name, help, what it does.
type Own = (&'static str, &'static str, fn(&Inner, &RpcCall<'_>) -> RpcResult);

const OWN: [Own; 3] = [
    (
        "core.reload",
        "Compiles the script anew and swaps it in: tells the sockets opened and closed, and what needs a restart.",
        |inner, _| match inner.reload() {
            Ok(reloaded) => Ok(RpcReply::from(serde_json::json!(reloaded))),
            Err(error) => Err(RpcFault::failed(error.to_string())),
        },
    ),
    (
        "core.explain",
        "Runs a request through the script and tells each step and what would be sent, without doing it. \
         Parameters: message, source such as udp:192.0.2.1:5060 (empty: that of the Via), file of another script.",
        Inner::explain,
    ),
    (
        "core.explain_live",
        "Waits for a message and tells each step of the script it took and what was sent. Parameters: conditions \
         (method= from= to= ruri= callid= src= status=), seconds to wait (60).",
        Inner::explain_live,
    ),
];

/// Names and helps of the methods that belong to no module.
pub(crate) fn own() -> impl Iterator<Item = (&'static str, &'static str)> {
    OWN.iter().map(|&(name, doc, _)| (name, doc))
}

impl Inner {
    /// Makes the daemon's own methods callable.
    pub(super) fn add_methods(self: &Arc<Self>) {
        let (runtime, methods) = (&self.runtime, &self.methods);
        methods.add(stats_rpcs::methods(&runtime.statistics));
        let status: Arc<dyn Status> = Arc::new(Running::new(Arc::clone(runtime), self.children));
        methods.add(core_rpcs::methods(&status));
        methods.add(tls::methods(runtime));
        methods.add(websocket::methods(runtime));
        methods.add(tm_rpcs::methods(runtime));
        methods.add(OWN.map(|(name, doc, run)| {
            let inner = Arc::clone(self);
            RpcDef::new(name, doc, move |call: &RpcCall<'_>| run(&inner, call))
        }));
    }

    /// Makes the script's RPC methods callable.
    pub(super) fn publish(&self, script: &Arc<Script>) {
        let rows = script.modules.iter().flat_map(|module| module.def.rpcs);
        let defs: Vec<RpcDef> = rows
            .map(|rpc| {
                let (script, call) = (Arc::clone(script), rpc.call);
                RpcDef::new(rpc.name, rpc.doc, move |request: &RpcCall<'_>| {
                    call(request, &script)
                })
            })
            .collect();
        self.methods.set_script(defs);
    }

    /// `core.explain`: through the script in force, or through one that is compiled for this alone.
    fn explain(&self, call: &RpcCall<'_>) -> RpcResult {
        let message = call.str(0)?;
        let source = call.opt_str(1)?.filter(|text| !text.is_empty());
        let script = match call.opt_str(2)?.filter(|text| !text.is_empty()) {
            None => self.runtime.script.load_full(),
            Some(file) => Arc::new(self.other_script(Path::new(&*file))?),
        };
        Ok(explain::explain(&self.runtime, &script, &message, source.as_deref())?.into())
    }

    /// `core.explain_live`: the next message of the network that fits.
    fn explain_live(&self, call: &RpcCall<'_>) -> RpcResult {
        let filter = Filter::parse(&call.opt_str(0)?.unwrap_or_default())?;
        let seconds = call.opt_int(1)?.and_then(|n| u64::try_from(n).ok()).unwrap_or(60);
        Ok(explain_live(&self.runtime, &filter, Duration::from_secs(seconds))?.into())
    }
}
