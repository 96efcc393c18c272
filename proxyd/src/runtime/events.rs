//! Event routes about what the proxy itself sends (Kamailio tm, sl and corex modules, "Event Routes").

use super::host::Live;
use crate::proxy::context::Context;
use crate::script::exec::Verdict;
use crate::script::host::Scope;
use crate::script::lists::Lists;
use crate::script::module::RouteKind;
use crate::script::program::MessageEvent;
use crate::script::vars::Vars;
use shared::sip::Message;
use std::sync::Arc;

impl Live {
    /// Runs the route of an event on a message, when the script has one and is not in one already.
    fn on_event(
        &mut self,
        event: MessageEvent,
        message: impl FnOnce() -> Option<Context>,
    ) -> Option<(Verdict, Context)> {
        let route = self.script.program.message_event(event)?;
        if self.in_event {
            return None;
        }
        let mut ctx = message()?;
        let script = Arc::clone(&self.script);
        let (mut lists, mut vars) = (Lists::default(), Vars::default());
        self.in_event = true;
        let scope = Scope {
            ctx: &mut ctx,
            lists: &mut lists,
            vars: &mut vars,
            script: &script,
            route: RouteKind::EVENT,
        };
        let verdict = self.run(route, scope);
        self.in_event = false;
        Some((verdict, ctx))
    }

    /// Tells the script of a message that was sent or received.
    pub(super) fn tell(&mut self, event: MessageEvent, bytes: &[u8]) {
        self.on_event(event, || read(bytes));
    }

    /// `event_route[tm:local-request]`: the request to this next hop as the script leaves it, none when it drops it.
    pub(super) fn local_request(&mut self, bytes: Vec<u8>, next: &[u8]) -> Option<Vec<u8>> {
        let message = || {
            Some(Context {
                dst_uri: Some(next.to_vec()),
                ..read(&bytes)?
            })
        };
        match self.on_event(MessageEvent::Request, message) {
            None => Some(bytes),
            Some((Verdict { dropped: true, .. }, _)) => None,
            Some((_, ctx)) if ctx.lumps.is_empty() => Some(bytes),
            Some((_, ctx)) => Some(ctx.lumps.apply(&ctx.msg)),
        }
    }
}

fn read(bytes: &[u8]) -> Option<Context> {
    Some(Context {
        msg: Message::parse(bytes).ok()?,
        ..Context::default()
    })
}
