//! A JSON-RPC subscription over WebSocket on the control socket (RFC 6455).

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tungstenite::Message;
use tungstenite::WebSocket;

use super::Client;
use super::SILENCE;
use crate::Error;
use crate::error::Fault;

/// What the daemon tells until this is dropped.
pub(crate) struct Subscription {
    client: Client,
    method: String,
    socket: WebSocket<UnixStream>,
}

impl Client {
    /// Subscribes.
    pub(crate) fn subscribe(&self, method: &str, params: &[Value]) -> Result<Subscription, Error> {
        let io = UnixStream::connect(self.socket()).map_err(|e| self.refused(&e))?;
        let set = io
            .set_read_timeout(Some(SILENCE))
            .and_then(|()| io.set_write_timeout(Some(SILENCE)));
        set.map_err(|e| self.broken(&e))?;
        let (mut socket, _) =
            tungstenite::client("ws://localhost/", io).map_err(|error| self.broken(&error))?;
        let call = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
        let sent = socket.send(Message::text(call.to_string()));
        sent.map_err(|error| self.broken(&error))?;
        let mut subscription = Subscription {
            client: self.clone(),
            method: method.to_owned(),
            socket,
        };
        let Some(reply) = subscription.read()? else {
            return Err(self.broken(&"it does not answer").into());
        };
        match reply.get("error") {
            None => Ok(subscription),
            Some(error) => Err(Fault {
                method: method.to_owned(),
                code: error
                    .get("code")
                    .and_then(Value::as_i64)
                    .and_then(|code| i32::try_from(code).ok())
                    .unwrap_or(i32::MIN),
                message: error
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                hint: String::new(),
            }
            .into()),
        }
    }
}

impl Subscription {
    /// The next thing told; none when there was nothing within `wait`.
    pub(crate) fn next(&mut self, wait: Duration) -> Result<Option<Value>, Error> {
        let set = self
            .socket
            .get_ref()
            .set_read_timeout(Some(wait.max(Duration::from_millis(1))));
        set.map_err(|error| self.client.broken(&error))?;
        let told = self.read()?;
        Ok(told.and_then(|mut told| told.pointer_mut("/params/result").map(Value::take)))
    }

    /// The next message as JSON; none when there was none in time.
    fn read(&mut self) -> Result<Option<Value>, Error> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text)
                        .map(Some)
                        .map_err(|error| Error::Answer {
                            method: self.method.clone(),
                            reason: error.to_string(),
                        });
                }
                Ok(Message::Close(_)) => {
                    return Err(self.client.broken(&"it has ended the connection").into());
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(self.client.broken(&error).into()),
            }
        }
    }
}
