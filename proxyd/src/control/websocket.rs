//! JSON-RPC 2.0 over WebSocket on the control socket: calls go to the method table, subscriptions to their own module.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use jsonrpsee::core::middleware::Batch;
use jsonrpsee::core::middleware::BatchEntry;
use jsonrpsee::core::middleware::Notification;
use jsonrpsee::core::middleware::RpcServiceT;
use jsonrpsee::core::server::BatchResponseBuilder;
use jsonrpsee::core::server::ResponsePayload;
use jsonrpsee::server::BatchRequestConfig;
use jsonrpsee::server::MethodResponse;
use jsonrpsee::server::Server;
use jsonrpsee::server::ServerConfig;
use jsonrpsee::server::StopHandle;
use jsonrpsee::server::TowerService;
use jsonrpsee::server::TowerServiceBuilder;
use jsonrpsee::server::middleware::rpc::RpcServiceBuilder;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::Id;
use jsonrpsee::types::Request;
use serde_json::Value;
use shared::rpc::code;
use tower::layer::util::Identity;
use tower::layer::util::Stack;

use super::methods::Methods;
use super::methods::Peer;
use super::methods::RpcCall;
use super::methods::RpcFault;
use super::methods::RpcReply;
use super::places::Place;
use super::socket::Control;
use super::socket::ControlOptions;

type Layers = Stack<DispatchLayer, Identity>;

/// Makes the service of one WebSocket.
#[derive(Clone)]
pub(super) struct WebSocket {
    builder: TowerServiceBuilder<Layers, Identity>,
    subscriptions: jsonrpsee::server::Methods,
    stop: StopHandle,
}

impl WebSocket {
    pub(super) fn new(control: &Control, options: &ControlOptions, stop: StopHandle) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let config = ServerConfig::builder()
            .max_request_body_size(small(options.max_request))
            .max_response_body_size(small(options.max_response))
            .max_subscriptions_per_connection(8)
            .set_message_buffer_capacity(256)
            .set_batch_request_config(BatchRequestConfig::Limit(1000))
            .build();
        let pushed = control.subscriptions.method_names().map(str::to_owned).collect();
        let layer = DispatchLayer(Arc::new(Shared {
            methods: control.methods.clone(),
            pushed,
            max_response: options.max_response,
        }));
        let middleware = RpcServiceBuilder::new().layer(layer);
        let builder = Server::builder()
            .set_config(config)
            .set_rpc_middleware(middleware)
            .to_service_builder();
        Self {
            builder,
            subscriptions: control.subscriptions.clone(),
            stop,
        }
    }

    pub(super) fn service(&self) -> TowerService<Layers, Identity> {
        self.builder
            .clone()
            .build(self.subscriptions.clone(), self.stop.clone())
    }
}

struct Shared {
    methods: Arc<Methods>,
    /// Methods that jsonrpsee serves itself, as it has to for subscriptions.
    pushed: HashSet<String>,
    max_response: usize,
}

#[derive(Clone)]
pub(super) struct DispatchLayer(Arc<Shared>);

impl<S> tower::Layer<S> for DispatchLayer {
    type Service = Dispatch<S>;

    fn layer(&self, inner: S) -> Dispatch<S> {
        Dispatch {
            inner,
            shared: self.0.clone(),
        }
    }
}

#[derive(Clone)]
pub(super) struct Dispatch<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Dispatch<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    async fn run(self, request: Request<'_>) -> MethodResponse {
        if self.shared.pushed.contains(request.method_name()) {
            return self.inner.call(request).await;
        }
        let id = request.id().into_owned();
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.unwrap_or_else(Peer::internal);
        let method = request.method_name().to_owned();
        let params = match request.params().parse::<Option<Value>>() {
            Ok(Some(Value::Array(list))) => list,
            Ok(Some(Value::Object(map))) => map.into_iter().map(|(_, value)| value).collect(),
            Ok(_) => Vec::new(),
            Err(e) => return MethodResponse::error(id, e),
        };
        let shared = self.shared;
        let limit = shared.max_response;
        let place = request.extensions().get::<Arc<Place>>().cloned();
        let _under_way = place.as_deref().map(Place::begin);
        let called = tokio::task::spawn_blocking(move || {
            let call = RpcCall {
                method: &method,
                params: &params,
                peer: &peer,
            };
            let unknown = || {
                Err(RpcFault::new(
                    code::METHOD_NOT_FOUND,
                    format!("Method not found: {method:?}"),
                ))
            };
            shared
                .methods
                .dispatch(&call)
                .unwrap_or_else(unknown)
                .and_then(RpcReply::into_value)
        });
        match called.await {
            Ok(Ok(value)) => MethodResponse::response(id, ResponsePayload::success(value), limit),
            Ok(Err(fault)) => refuse(id, &fault),
            Err(_) => refuse(id, &RpcFault::new(code::INTERNAL_ERROR, "the method failed")),
        }
    }
}

fn refuse(id: Id<'_>, fault: &RpcFault) -> MethodResponse {
    MethodResponse::error(
        id,
        ErrorObjectOwned::owned(fault.code, fault.message.to_string(), None::<()>),
    )
}

impl<S> RpcServiceT for Dispatch<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.clone().run(request)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let mut replies = BatchResponseBuilder::new_with_limit(this.shared.max_response);
            let mut calls = 0;
            for entry in batch {
                let reply = match entry {
                    Ok(BatchEntry::Call(request)) => this.clone().run(request).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        this.notification(notification).await;
                        continue;
                    }
                    Err(e) => {
                        let (error, id) = e.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                calls += 1;
                if let Err(too_large) = replies.append(reply) {
                    return too_large;
                }
            }
            if calls == 0 {
                MethodResponse::notification()
            } else {
                MethodResponse::from_batch(replies.finish())
            }
        }
    }

    /// Runs it: jsonrpsee itself would only acknowledge it.
    fn notification<'a>(&self, n: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        let params = n.params.map(std::borrow::Cow::into_owned);
        let mut request = Request::owned(n.method.to_string(), params, Id::Null);
        request.extensions = n.extensions;
        async move {
            this.run(request).await;
            MethodResponse::notification()
        }
    }
}
