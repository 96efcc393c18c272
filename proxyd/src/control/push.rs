//! Subscriptions on the control socket's WebSocket: the rights of the caller, and a feed that is sent until one side ends it.

use std::future::Future;
use std::sync::Arc;

use jsonrpsee::core::server::PendingSubscriptionSink;
use jsonrpsee::core::server::RpcModule;
use jsonrpsee::server::Methods;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::Params;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::methods::Peer;
use super::methods::RpcCall;
use super::methods::RpcFault;
use super::places::Place;

/// Where notifications come from; dropping it ends what feeds it.
pub trait Feed: Send + 'static {
    /// What is told.
    type Item: Serialize;

    /// The next thing to tell; none: there will be no more.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
}

/// The method `name` subscribes, notifies by the same name, and `end` ends it.
pub fn subscription<F: Feed>(
    name: &'static str,
    end: &'static str,
    open: impl Fn(&RpcCall<'_>) -> Result<F, RpcFault> + Clone + Send + Sync + 'static,
) -> Methods
where
    F::Item: Send,
{
    let mut module = RpcModule::new(());
    let registered = module.register_subscription(name, name, end, move |params, pending, _, extensions| {
        let open = open.clone();
        async move {
            let peer = extensions.get::<Peer>().cloned();
            let place = extensions.get::<Arc<Place>>();
            let _under_way = place.map(|place| place.begin());
            let opened = opened(name, &params, &peer.unwrap_or_else(Peer::internal), &open);
            match opened {
                Ok(feed) => serve(feed, pending).await,
                Err(fault) => {
                    let fault = ErrorObjectOwned::owned(fault.code, fault.message.to_string(), None::<()>);
                    pending.reject(fault).await;
                }
            }
        }
    });
    debug_assert!(registered.is_ok(), "`{name}` and `{end}` are one");
    module.into()
}

fn opened<F>(
    method: &str,
    params: &Params<'_>,
    peer: &Peer,
    open: impl Fn(&RpcCall<'_>) -> Result<F, RpcFault>,
) -> Result<F, RpcFault> {
    if !peer.rights.allow(method) {
        return Err(RpcFault::forbidden(method));
    }
    let params: Vec<Value> = match params.parse::<Option<Vec<Value>>>() {
        Ok(params) => params.unwrap_or_default(),
        Err(error) => return Err(RpcFault::bad_request(error.message().to_owned())),
    };
    open(&RpcCall {
        method,
        params: &params,
        peer,
    })
}

async fn serve<F: Feed>(mut feed: F, pending: PendingSubscriptionSink)
where
    F::Item: Send,
{
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let told = tokio::select! {
            () = sink.closed() => return,
            told = feed.next() => told,
        };
        let Some(told) = told.and_then(|told| to_raw_value(&told).ok()) else {
            return;
        };
        if sink.send(told).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::methods::PeerTransport;
    use crate::control::rights::Rights;

    #[test]
    fn rights_and_parameters_are_looked_at() {
        let peer = |rights| Peer {
            rights,
            ..Peer::anonymous(PeerTransport::WebSocket, "")
        };
        let count = |call: &RpcCall<'_>| Ok(call.count());
        let table = [
            (Rights::All, Some("[1,2]"), Ok(2)),
            (Rights::All, None, Ok(0)),
            (Rights::Only(["trace".to_owned()].into()), Some("[]"), Ok(0)),
            (Rights::Reading, Some("[]"), Err(403)),
            (Rights::All, Some("{\"a\":1}"), Err(400)),
        ];
        for (rights, params, expected) in table {
            let found = opened("trace", &Params::new(params), &peer(rights.clone()), count);
            assert_eq!(
                found.map_err(|fault| fault.code),
                expected,
                "{rights:?} {params:?}"
            );
        }
    }
}
