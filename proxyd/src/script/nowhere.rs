//! A host with nothing behind it: variables of another message than the one under way are read on it.

use super::host::Host;
use super::host::Intent;
use super::host::Job;
use super::host::LocalRequest;
use super::host::Matched;
use super::host::Millis;
use super::host::RelayOptions;
use super::host::RouteId;
use super::host::Scope;
use super::host::TransactionView;
use super::lists::Lists;
use super::module::Code;
use super::module::Env;
use super::module::RouteKind;
use super::module::Script;
use super::program::Format;
use super::value::Value;
use super::vars::Vars;
use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::proxy::context::Target;
use crate::proxy::sockets::Sockets;
use std::time::Duration;

/// A text with variables of another message, or the value of one; its lists are those of the message under way. Empty is null.
pub fn expand_of(env: &Env<'_>, mut ctx: Context, format: &Format) -> Value<'static> {
    let mut lists: Lists = env.lists.clone();
    let mut host = Nowhere {
        sockets: env.host.sockets().clone(),
        intent: Intent::default(),
        wall: env.host.wall(),
    };
    let there = Env {
        ctx: &mut ctx,
        lists: &mut lists,
        vars: &mut Vars::default(),
        script: env.script,
        host: &mut host,
        route: env.route,
        rc: env.rc,
    };
    match format.value(&there) {
        Value::Str(text) if text.is_empty() => Value::Null,
        value => value.into_owned(),
    }
}

/// A text with variables that need no message, such as `$env(x)` and `$def(x)`; others are empty.
pub fn expand_alone(script: &Script, wall: Duration, format: &Format) -> Vec<u8> {
    let mut host = Nowhere {
        sockets: Sockets::default(),
        intent: Intent::default(),
        wall,
    };
    let there = Env {
        ctx: &mut Context::default(),
        lists: &mut Lists::default(),
        vars: &mut Vars::default(),
        script,
        host: &mut host,
        route: RouteKind::EVENT,
        rc: 0,
    };
    format.expand(&there).into_owned()
}

struct Nowhere {
    sockets: Sockets,
    intent: Intent,
    wall: Duration,
}

impl Host for Nowhere {
    fn now(&self) -> Millis {
        0
    }

    fn wall(&self) -> Duration {
        self.wall
    }

    fn random(&mut self) -> u64 {
        0
    }

    fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    fn worker(&self) -> (usize, u32) {
        (0, std::process::id())
    }

    fn resolve(&mut self, _uri: &[u8], _socket: Option<SocketId>) -> Option<Target> {
        None
    }

    fn send(&mut self, _target: &Target, _bytes: &[u8]) -> bool {
        false
    }

    fn reply_stateless(&mut self, _scope: Scope<'_>, _status: u16, _reason: &[u8]) -> Code {
        Code::FALSE
    }

    fn reply(&mut self, _scope: Scope<'_>, _status: u16, _reason: &[u8]) -> Code {
        Code::FALSE
    }

    fn forward(&mut self, _scope: Scope<'_>, _target: Option<Target>) -> Code {
        Code::FALSE
    }

    fn local_tag(&mut self, _ctx: &Context) -> Vec<u8> {
        Vec::new()
    }

    fn new_transaction(&mut self, _scope: Scope<'_>) -> Code {
        Code::FALSE
    }

    fn check_transaction(&mut self, _scope: Scope<'_>) -> Matched {
        Matched::None
    }

    fn precheck_transaction(&mut self, _ctx: &Context) -> bool {
        false
    }

    fn relay(&mut self, _scope: Scope<'_>, _options: RelayOptions) -> Code {
        Code::FALSE
    }

    fn transaction_reply(&mut self, _scope: Scope<'_>, _status: u16, _reason: &[u8]) -> Code {
        Code::FALSE
    }

    fn release_transaction(&mut self) {}

    fn cancel_branches(&mut self, _scope: Scope<'_>, _which: u32) -> Code {
        Code::FALSE
    }

    fn drop_replies(&mut self) {}

    fn intent(&mut self) -> &mut Intent {
        &mut self.intent
    }

    fn transaction(&self) -> Option<TransactionView<'_>> {
        None
    }

    fn transaction_request(&mut self) -> Option<&mut Context> {
        None
    }

    fn originate(&mut self, _request: LocalRequest) -> Code {
        Code::FALSE
    }

    fn suspend(&mut self, _scope: Scope<'_>) -> Option<(u32, u32)> {
        None
    }

    fn resume(&mut self, _id: (u32, u32), _route: RouteId) -> Code {
        Code::FALSE
    }

    fn spawn(&mut self, _job: Job) {}

    fn http_reply(&mut self, _ctx: &Context, _bytes: &[u8]) -> bool {
        false
    }
}
