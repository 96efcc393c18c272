//! Which transaction a request belongs to: its own, made when it is new, or the one it repeats (RFC 3261 §17.2.3).

use super::host::Live;
use super::reply::reply_target;
use super::transaction::Kind;
use super::transaction::Server;
use super::transaction::Transaction;
use crate::modules::tm::Tm;
use crate::proxy::context::Failure;
use crate::proxy::request::parts;
use crate::script::host::Matched;
use crate::script::host::Scope;
use crate::script::host::TimerOverrides;
use crate::script::module::Code;
use crate::transaction::action::Action;
use crate::transaction::action::ServerEvent;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::key::Lookup;
use crate::transaction::non_invite_server::NonInviteServer;
use crate::transaction::table::Inserted;
use crate::transaction::timer::Timers;
use shared::sip::Method;

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
    /// Makes the server transaction of the request under way.
    pub(crate) fn begin_transaction(&mut self, scope: Scope<'_>) -> Code {
        if self.current.is_some() {
            return Code::TRUE;
        }
        let ctx = scope.ctx;
        let kind = match ctx.msg.method() {
            Method::Ack => return Code::FALSE,
            method => Kind::from(method),
        };
        let table = &self.runtime.transactions;
        let lookup = Lookup::request(&parts(&ctx.msg), table.hashers());
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
            Transaction { intent, ..new }
        });
        match inserted {
            Inserted::New(_, guard) => {
                self.current = Some(guard);
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
    fn absorb(&mut self, transaction: &std::sync::Arc<parking_lot::Mutex<Transaction>>, event: ServerEvent) {
        let mut guard = transaction.lock_arc();
        let t = &mut *guard;
        let reliable = t.reply_to.is_reliable();
        let actions = t.server.on(event, self.now, &t.timers, reliable);
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

    /// Looks for the transaction of the request under way.
    pub(crate) fn match_transaction(&mut self, scope: Scope<'_>) -> Matched {
        if self.current.is_some() {
            return Matched::None;
        }
        let msg = &scope.ctx.msg;
        let runtime = std::sync::Arc::clone(&self.runtime);
        let table = &runtime.transactions;
        let parts = parts(msg);
        match msg.method() {
            Method::Cancel => {
                if let Some(found) = table.find(&Lookup::request(&parts, table.hashers())) {
                    self.absorb(&found.transaction, ServerEvent::Request);
                    return Matched::Retransmission;
                }
                match table.find(&Lookup::cancelled(&parts, table.hashers())) {
                    Some(_) => Matched::Related,
                    None => Matched::None,
                }
            }
            Method::Ack => {
                if let Some(found) = table.find(&Lookup::request(&parts, table.hashers())) {
                    let accepted = found.transaction.lock().status / 100 == 2;
                    if accepted {
                        return Matched::EndToEndAck;
                    }
                    self.absorb(&found.transaction, ServerEvent::Ack);
                    return Matched::Retransmission;
                }
                // Kamailio: an ACK with a branch of its own belongs to no transaction here
                Matched::None
            }
            _ => match table.find(&Lookup::request(&parts, table.hashers())) {
                Some(found) => {
                    self.absorb(&found.transaction, ServerEvent::Request);
                    Matched::Retransmission
                }
                None => Matched::None,
            },
        }
    }
}
