//! Which transaction a request belongs to: its own, made when it is new, or the one it repeats (RFC 3261 §17.2.3).

use super::host::Live;
use super::reply::reply_target;
use super::transaction::Finished;
use super::transaction::Guard;
use super::transaction::Kind;
use super::transaction::Server;
use super::transaction::Slot;
use super::transaction::Transaction;
use crate::modules::tm::Tm;
use crate::proxy::context::Context;
use crate::proxy::context::Failure;
use crate::proxy::request::parts;
use crate::script::host::Matched;
use crate::script::host::Scope;
use crate::script::host::TimerOverrides;
use crate::script::module::Code;
use crate::transaction::action::Action;
use crate::transaction::action::ServerEvent;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::key;
use crate::transaction::key::Lookup;
use crate::transaction::non_invite_server::NonInviteServer;
use crate::transaction::table::Inserted;
use crate::transaction::timer::Timers;
use parking_lot::Mutex;
use shared::sip::Method;
use std::sync::Arc;

/// The timers of a transaction: the module's, with what the script set for this one.
pub(crate) fn timers(tm: Option<&Tm>, overrides: &TimerOverrides) -> Timers {
    let base = tm.map_or_else(Timers::default, |tm| Timers {
        retr_timer1: tm.retr_timer1,
        retr_timer2: tm.retr_timer2,
        fr_timer: tm.fr_timer,
        fr_inv_timer: tm.fr_inv_timer,
        wt_timer: tm.wt_timer,
        max_inv_lifetime: tm.max_inv_lifetime,
        max_noninv_lifetime: tm.max_noninv_lifetime,
        // Kamailio: an accepted INVITE is kept for wt_timer, not 64*T1; a later 2xx goes on by its Via
        accepted: tm.wt_timer,
        restart_fr_on_each_reply: tm.restart_fr_on_each_reply,
    });
    Timers {
        retr_timer1: overrides.retr_t1.unwrap_or(base.retr_timer1),
        retr_timer2: overrides.retr_t2.unwrap_or(base.retr_timer2),
        fr_timer: overrides.fr.unwrap_or(base.fr_timer),
        fr_inv_timer: overrides.fr_inv.unwrap_or(base.fr_inv_timer),
        max_inv_lifetime: overrides.max_inv.unwrap_or(base.max_inv_lifetime),
        max_noninv_lifetime: overrides.max_noninv.unwrap_or(base.max_noninv_lifetime),
        ..base
    }
}

impl Live {
    /// What the request under way is looked up by, made once for each message.
    pub(super) fn lookup(&mut self, ctx: &Context) -> Lookup {
        let table = &self.runtime.transactions;
        *self
            .lookup
            .get_or_insert_with(|| Lookup::request(&parts(&ctx.msg), table.hashers()))
    }

    /// Makes the server transaction of the request under way.
    pub(crate) fn begin_transaction(&mut self, scope: Scope<'_>) -> Code {
        if self.current.is_some() {
            return Code::TRUE;
        }
        if scope.ctx.msg.method() == Method::Ack {
            return match self.match_transaction(scope) {
                Matched::Retransmission => Code::EXIT,
                _ => Code::FALSE,
            };
        }
        let ctx = scope.ctx;
        let kind = Kind::from(ctx.msg.method());
        let lookup = self.lookup(ctx);
        let table = &self.runtime.transactions;
        let label = rand::Rng::next_u32(&mut self.random);
        let tm = scope.script.states.get::<Tm>();
        let intent = std::mem::take(&mut self.intent);
        let timers = timers(tm, &intent.timers);
        let (now, script) = (self.now, &self.script);
        let reply_to = reply_target(ctx);
        let inserted = table.insert(&lookup, label, |id| {
            let server = match kind {
                Kind::Invite => Server::Invite(InviteServer::new(now, &timers)),
                Kind::Cancel | Kind::Other => Server::NonInvite(NonInviteServer::new(now, &timers)),
            };
            let new = Transaction::new(id, kind, server, timers, reply_to, script);
            Slot::Active(Box::new(Transaction { intent, ..new }))
        });
        match inserted {
            Inserted::New(_, slot) => {
                self.current = Guard::try_from(slot).ok();
                self.runtime.counters.tm_created();
                Code::TRUE
            }
            Inserted::Known(found) => {
                self.absorb(&found.transaction, ServerEvent::Request);
                Code::EXIT
            }
            Inserted::Full => {
                ctx.failure = Failure::Overload;
                self.runtime.counters.overload();
                Code::FALSE
            }
        }
    }

    /// Lets a known transaction handle a copy of its request or its ACK.
    fn absorb(&mut self, slot: &Arc<Mutex<Slot>>, event: ServerEvent) {
        let mut guard = match Guard::lock(slot) {
            Ok(guard) => guard,
            Err(rest) => return self.absorb_late(&rest, event),
        };
        let t = &mut *guard;
        let actions = t.server.on(event, self.now, &t.timers, t.reply_to.is_reliable());
        for action in actions.iter() {
            if action == Action::RetransmitResponse && !t.reply.is_empty() {
                self.outbox
                    .send_with(&self.endpoints.sockets, &t.reply_to, |out| {
                        out.extend_from_slice(&t.reply)
                    });
            }
        }
        self.settle(guard);
    }

    /// The same for one that is answered: its last reply goes out again.
    fn absorb_late(&mut self, rest: &Finished, event: ServerEvent) {
        if event == ServerEvent::Request && !rest.reply.is_empty() {
            self.outbox
                .send_with(&self.endpoints.sockets, &rest.reply_to, |out| {
                    out.extend_from_slice(&rest.reply)
                });
        }
    }

    /// Looks for the transaction of the request under way.
    pub(crate) fn match_transaction(&mut self, scope: Scope<'_>) -> Matched {
        if self.current.is_some() {
            return Matched::None;
        }
        let (lookup, method) = (self.lookup(scope.ctx), scope.ctx.msg.method());
        if let Some(found) = self.runtime.transactions.find(&lookup) {
            if method == Method::Ack && is_accepted(&found.transaction) {
                return Matched::EndToEndAck;
            }
            let event = if method == Method::Ack {
                ServerEvent::Ack
            } else {
                ServerEvent::Request
            };
            self.absorb(&found.transaction, event);
            return Matched::Retransmission;
        }
        // Kamailio: an ACK with a branch of its own belongs to no transaction here
        let related =
            method == Method::Cancel && self.runtime.transactions.find(&lookup.cancelled()).is_some();
        if related { Matched::Related } else { Matched::None }
    }

    /// The request of the transaction that a reply or a CANCEL belongs to, as it arrived.
    pub(super) fn find_related(&self, ctx: &Context) -> Option<Context> {
        let table = &self.runtime.transactions;
        let found = if ctx.msg.is_reply() {
            let own = ctx
                .msg
                .top_via()
                .and_then(|via| key::Branch::read(via.branch()?))?;
            table.by_id(own.id)
        } else {
            table.find(&Lookup::request(&parts(&ctx.msg), table.hashers()).cancelled())
        };
        let guard = Guard::lock(&found?.transaction).ok()?;
        guard.request.as_ref().map(|request| request.as_received())
    }
}

fn is_accepted(slot: &Arc<Mutex<Slot>>) -> bool {
    match Guard::lock(slot) {
        Ok(guard) => guard.status / 100 == 2,
        Err(rest) => rest.accepted,
    }
}
