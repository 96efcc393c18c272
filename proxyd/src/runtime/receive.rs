//! One message from bytes to verdict: start reading here.

use super::Runtime;
use super::explain::live::Asker;
use super::explain::live::Handled;
use super::host::Live;
use crate::log::Level;
use crate::modules::stun;
use crate::proxy::context::Context;
use crate::proxy::context::Source;
use crate::proxy::context::Target;
use crate::script::exec::Verdict;
use crate::script::host::Host;
use crate::script::host::Intent;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::program::MessageEvent;
use crate::script::tap::Way;
use crate::script::vars::Vars;
use crate::transport::send_batch::Order;
use shared::rpc::trace::Direction;
use shared::sip::Method;
use shared::sip::Missing;
use std::sync::Arc;

/// What a worker needs to handle messages, one after the other.
pub(crate) struct Receiver {
    pub(crate) live: Live,
    pub(crate) ctx: Box<Context>,
    pub(crate) lists: Lists,
    pub(crate) vars: Vars,
    handled: u64,
}

impl Live {
    /// Names a message in every line that is logged for it (core parameter `log_prefix`).
    pub(super) fn prefix_log(&mut self, mut scope: Scope<'_>) {
        let Some(format) = scope.script.program.log_prefix() else {
            // A script that was reloaded may have none any more.
            if std::mem::take(&mut self.prefixed) {
                crate::log::set_prefix(|_| {});
            }
            return;
        };
        scope.route = RouteKind::REQUEST;
        let env = scope.env(self);
        crate::log::set_prefix(|prefix| format.print(&env, prefix));
        self.prefixed = true;
    }
}

impl Receiver {
    pub(crate) fn new(runtime: Arc<Runtime>, worker: usize) -> Self {
        let ctx = runtime.spares.take();
        Self {
            live: Live::new(runtime, worker),
            ctx,
            lists: Lists::default(),
            vars: Vars::default(),
            handled: 0,
        }
    }

    /// Reads the clock and takes up what a reload has changed, once for a batch.
    pub(crate) fn begin_batch(&mut self) {
        self.live.batch += 1;
        self.live.now = crate::clock::now();
        self.live.refresh();
    }

    /// Handles one message.
    pub(crate) fn message(&mut self, bytes: &[u8], source: Source) {
        if is_keepalive(bytes) {
            return;
        }
        if self.live.script.program.is_too_long(bytes.len()) {
            self.live.runtime.counters.bad_message();
            crate::log::debug(
                "core",
                format_args!("message from {} is too long: {} bytes", source.peer, bytes.len()),
            );
            return;
        }
        self.handled += 1;
        self.ctx.reset(source, self.handled);
        self.ctx.begin(self.live.script.program.defaults());
        self.lists.clear();
        let read = self.ctx.msg.reparse(bytes);
        let program = &self.live.script.program;
        if program.message_event(MessageEvent::Received).is_some()
            && program.setting_int("received_route_mode") == Some(1)
            && self.drops(MessageEvent::Received)
        {
            return;
        }
        if let Err(error) = read {
            if let Some(answer) = stun::answer(&self.live.script, bytes, source.peer) {
                let target = Target {
                    peer: source.peer,
                    transport: source.transport,
                    socket: Some(source.socket),
                    conn: source.conn,
                };
                self.live.send(&target, &answer);
                return;
            }
            self.live.runtime.counters.bad_message();
            self.drops(MessageEvent::ParseError);
            let wanted = self.live.script.program.setting_int("sip_parser_log");
            crate::log::write(
                wanted.map_or(Level::Debug, Level::from_number),
                "core",
                format_args!("message from {} is not SIP: {error}", source.peer),
            );
            return;
        }
        self.live.intent = Intent::default();
        self.live.lookup = None;
        if self.live.prefixed || self.live.script.program.log_prefix().is_some() {
            let script = Arc::clone(&self.live.script);
            let scope = Scope {
                ctx: &mut self.ctx,
                lists: &mut self.lists,
                vars: &mut self.vars,
                script: &script,
                route: RouteKind::REQUEST,
            };
            self.live.prefix_log(scope);
        }
        if self.ctx.msg.is_http() {
            self.http();
        } else {
            if self.live.runtime.tracers.is_any() {
                let way = Way {
                    direction: Direction::In,
                    transport: source.transport,
                    source: source.peer,
                    destination: source.local,
                    stateless: self.is_of_stateless_reply(),
                };
                self.live.runtime.tracers.tell(&self.ctx.msg, bytes, way);
            }
            match self.live.runtime.watch.taken(&self.ctx.msg, &self.ctx.source) {
                None => drop(self.sip()),
                Some(asker) => self.watched(bytes, source, &asker),
            }
        }
        debug_assert!(self.live.current.is_none());
    }

    fn sip(&mut self) -> Option<Verdict> {
        if self.ctx.msg.is_reply() {
            let msg = &self.ctx.msg;
            self.live.runtime.counters.reply_in(msg.status(), msg.method());
            if self.ctx.msg.mandatory().is_ok() {
                self.keep_sequence();
                if self.drops(MessageEvent::PreRouting) {
                    return None;
                }
                self.live
                    .receive_reply(&mut self.ctx, &mut self.lists, &mut self.vars);
            }
            None
        } else {
            self.live.runtime.counters.request_in(self.ctx.msg.method());
            self.request()
        }
    }

    /// Handles a message as any other, and tells who asked what was done with it.
    #[cold]
    fn watched(&mut self, bytes: &[u8], source: Source, asker: &Asker) {
        let script = Arc::clone(&self.live.script);
        self.vars.trace = Some(Box::default());
        self.live.outbox.copies = Some(Vec::new());
        let verdict = self.sip();
        let handled = Handled {
            message: bytes.to_vec(),
            source,
            script,
            trace: self.vars.trace.take().unwrap_or_default(),
            verdict,
            sent: self.live.outbox.copies.take().unwrap_or_default(),
        };
        // who asked may have gone
        let _ = asker.try_send(handled);
    }

    /// Lets requests to the port of a Via with `alias` use the connection that it came by (draft-ietf-sip-connect-reuse).
    fn take_alias(&self) {
        if let Some(conn) = self.ctx.source.conn
            && self.live.script.program.accepts_aliases()
            && let Some(via) = self.ctx.msg.top_via().filter(|via| via.alias())
        {
            let port = via.port.unwrap_or(self.ctx.source.transport.default_port());
            self.live.runtime.streams.add_alias(conn, port);
        }
    }

    /// Runs the request route; none when it did not run.
    fn request(&mut self) -> Option<Verdict> {
        match self.ctx.msg.mandatory() {
            Ok(()) => {}
            Err(missing) => {
                if self.ctx.msg.top_via().is_none() {
                    self.drops(MessageEvent::ParseError);
                }
                self.refuse(missing);
                return None;
            }
        }
        self.keep_sequence();
        if self.is_shed() {
            return None;
        }
        self.take_alias();
        if self.is_of_stateless_reply() {
            // the ACK of a reply without a transaction (RFC 3261 §8.2.7) is of no further use
            self.live.runtime.counters.sl_ack();
            let script = Arc::clone(&self.live.script);
            let (live, scope) = self.split(&script, RouteKind::EVENT);
            live.run_event("sl:filtered-ack", scope);
            return None;
        }
        if self.drops(MessageEvent::PreRouting) {
            return None;
        }
        let script = Arc::clone(&self.live.script);
        let route = script.program.request_route()?;
        let mut verdict = None;
        if self.admitted(&script) {
            let (live, scope) = self.split(&script, RouteKind::REQUEST);
            verdict = Some(live.run(route, scope));
        }
        self.finish();
        verdict
    }

    /// Whether it is the ACK of a reply without a transaction.
    fn is_of_stateless_reply(&self) -> bool {
        let msg = &self.ctx.msg;
        msg.method() == Method::Ack && self.live.runtime.keys.is_stateless_tag(msg.to_tag())
    }

    /// Runs the route of an event for this message, if there is one: whether that drops the message.
    fn drops(&mut self, event: MessageEvent) -> bool {
        let Some(route) = self.live.script.program.message_event(event) else {
            return false;
        };
        let script = Arc::clone(&self.live.script);
        let (live, scope) = self.split(&script, RouteKind::EVENT);
        live.run(route, scope).dropped
    }

    /// The proxy, and the message with what belongs to it.
    pub(super) fn split<'a>(&'a mut self, script: &'a Script, route: RouteKind) -> (&'a mut Live, Scope<'a>) {
        let scope = Scope {
            ctx: &mut self.ctx,
            lists: &mut self.lists,
            vars: &mut self.vars,
            script,
            route,
        };
        (&mut self.live, scope)
    }

    /// What is sent for this message stays in sequence with what is sent for others of its call.
    fn keep_sequence(&mut self) {
        self.live.outbox.order = Order::of_call(self.ctx.msg.call_id());
    }

    /// Asks the modules that look at each request first.
    fn admitted(&mut self, script: &Script) -> bool {
        let (live, mut scope) = self.split(script, RouteKind::REQUEST);
        script.hooks().all(|hook| match hook {
            Hook::RequestIn(run) => run(&mut scope.again().env(live)),
            _ => true,
        })
    }

    /// Gives the request to the transaction that the script made for it.
    fn finish(&mut self) {
        let Some(mut guard) = self.live.current.take() else {
            return;
        };
        if guard.branches.is_empty() && guard.status < 200 && !guard.is_suspended() {
            // Kamailio: a transaction that was neither answered nor relayed is dropped with a warning
            let id = guard.id;
            drop(guard);
            self.live.runtime.transactions.remove(id);
            return;
        }
        let fresh = self.live.runtime.spares.take();
        guard.request = Some(std::mem::replace(&mut self.ctx, fresh));
        guard.lists = std::mem::take(&mut self.lists);
        self.live.settle(guard);
    }

    /// Answers a request that lacks what every request must have (RFC 3261 §8.1.1, §21.5.6).
    fn refuse(&mut self, missing: Missing) {
        self.live.runtime.counters.bad_message();
        if self.ctx.msg.method() != Method::Ack && self.ctx.msg.top_via().is_some() {
            self.live
                .send_stateless_reply(&mut self.ctx, missing.status(), missing.reason().as_bytes());
        }
    }

    fn http(&mut self) {
        let script = Arc::clone(&self.live.script);
        if self.ctx.msg.headers().is_empty() {
            // Kamailio: what has no header is no message, and ends the connection
            if let Some(conn) = self.ctx.source.conn {
                self.live.runtime.streams.close(conn);
            }
            return;
        }
        if !crate::modules::xhttp::wants(&script, &self.ctx.msg) {
            crate::log::debug(
                "xhttp",
                format_args!("HTTP request from {} is not for the script", self.ctx.source.peer),
            );
            return;
        }
        let Self {
            live,
            ctx,
            lists,
            vars,
            ..
        } = self;
        let scope = Scope {
            ctx,
            lists,
            vars,
            script: &script,
            route: RouteKind::EVENT,
        };
        let ran: Option<Verdict> = live.run_event("xhttp:request", scope);
        if ran.is_none() {
            crate::log::debug(
                "xhttp",
                format_args!(
                    "HTTP request from {} and no event_route for it",
                    self.ctx.source.peer
                ),
            );
        }
        self.live.current = None;
    }
}

/// Runs the event routes of a start, before the first message.
pub(crate) fn run_start_events(runtime: &Arc<Runtime>) {
    let mut receiver = Receiver::new(Arc::clone(runtime), 0);
    receiver.begin_batch();
    let script = Arc::clone(&receiver.live.script);
    for event in ["htable:mod-init", "core:worker-one-init"] {
        let (live, scope) = receiver.split(&script, RouteKind::EVENT);
        scope.ctx.show_nobody();
        live.run_event(event, scope);
    }
    receiver.live.outbox.flush();
}

/// CRLF keepalives (RFC 5626 §4.4.1) and the zero bytes that some phones send.
fn is_keepalive(bytes: &[u8]) -> bool {
    bytes.len() <= 4 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0 | b' '))
}

#[cfg(test)]
mod tests {
    use crate::runtime::micro::Worker;

    #[test]
    fn a_message_that_is_too_long_is_dropped() {
        let mut worker = Worker::new("msg_recv_max_size=100\nrequest_route { exit; }");
        let dropped = |worker: &Worker| worker.counter("core:bad_msg_hdr");
        let mut message = b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n".to_vec();
        message.resize(100, b' ');
        worker.handle(&message);
        assert_eq!(dropped(&worker), Some(1));
        assert_eq!(worker.counter("core:rcv_requests"), Some(0));
        let short = message.get(..99).unwrap_or_default();
        worker.handle(short);
        assert_eq!(worker.counter("core:rcv_requests"), Some(1));
    }
}
