//! When every branch has its final reply: the failure route, then the best of them upstream (RFC 3261 §16.7 steps 6 to 9).

use super::Guard;
use super::host::Live;
use super::transaction::Server;
use super::transaction::Transaction;
use crate::modules::tm::Tm;
use crate::modules::tm::disable;
use crate::proxy::context::Failure;
use crate::proxy::response;
use crate::proxy::response::Best;
use crate::proxy::response::Candidate;
use crate::proxy::response::Rules;
use crate::script::host::LocalReply;
use crate::script::host::RouteId;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::module::TransactionEnd;
use crate::script::vars::Vars;
use shared::sip::Message;
use shared::sip::status;
use std::sync::Arc;

impl Live {
    /// When every branch of the leg has failed: the failure route, then the best reply.
    pub(super) fn finish_leg(&mut self, mut guard: Guard, vars: &mut Vars) -> Guard {
        if guard.status >= 200 || guard.is_pending() {
            return guard;
        }
        let script = Arc::clone(&guard.script);
        let chosen = Self::choose(&guard, &script);
        let last = guard.branches.len().checked_sub(1);
        let Some(best) = chosen.map(Best::branch).or(last) else {
            return guard;
        };
        guard.current_branch = best;
        if matches!(guard.server, Server::Local) {
            let status = guard.branches.get(best).map_or(408, |branch| branch.status);
            let reply = guard
                .branches
                .get_mut(best)
                .and_then(|branch| branch.reply.take());
            return self.finish_local(guard, status, reply.as_ref().map(|ctx| &ctx.msg), vars);
        }
        let flags = |guard: &Guard| guard.request.as_ref().map_or(0, |request| request.flags);
        let before = flags(&guard);
        guard = self.leg_failed(guard, best, vars, &script);
        // Kamailio: a flag that accounting spends on the failed leg is still set in its failure route
        let spent = before & !flags(&guard);
        let route = guard.branches.get(best).and_then(|branch| branch.armed.failure);
        if let Some(route) = route {
            // Kamailio: these routes hold for the leg they were armed for
            guard.intent.armed.failure = None;
            guard.intent.armed.branch = None;
            guard.intent.armed.branch_failure = None;
            if let Some(request) = &mut guard.request {
                request.flags |= spent;
            }
            guard = self.run_failed(guard, route, RouteKind::FAILURE, vars);
            if let Some(request) = &mut guard.request {
                request.flags &= !spent;
            }
            if guard.status >= 200 || guard.is_pending() {
                return guard;
            }
        }
        let best = match Self::choose(&guard, &script) {
            Some(best) => best,
            None if chosen.is_none() => Best::Forward(best),
            None => {
                // the route has dropped all replies and put nothing in their place
                let (status, reason) = Failure::None.reply("TM");
                return self.send_made_here(guard, status, reason.as_bytes(), b"", vars);
            }
        };
        guard.current_branch = best.branch();
        self.send_best(guard, best, vars, &script)
    }

    /// When one branch has failed: the route armed by `t_on_branch_failure`.
    pub(super) fn branch_failed(&mut self, mut guard: Guard, number: usize, vars: &mut Vars) -> Guard {
        let branch = guard.branches.get_mut(number);
        let Some(route) = branch.and_then(|branch| branch.armed.branch_failure.take()) else {
            return guard;
        };
        if guard.status >= 200 || guard.replicate || matches!(guard.server, Server::Local) {
            return guard;
        }
        guard.current_branch = number;
        // Kamailio: branches that the route adds have routes of their own, or none
        guard.intent.armed.branch = None;
        guard.intent.armed.branch_failure = None;
        self.run_failed(guard, route, RouteKind::BRANCH_FAILURE, vars)
    }

    /// Runs a route on the request that a failed transaction keeps.
    fn run_failed(&mut self, guard: Guard, route: RouteId, kind: RouteKind, vars: &mut Vars) -> Guard {
        let failed = guard.branches.get(guard.current_branch);
        let failed_flags = failed.map(|branch| branch.flags);
        let (guard, _) = self.on_request(guard, vars, kind, |live, mut scope| {
            // Kamailio: what a failure route changes in the request holds for its own leg
            let request = &mut *scope.ctx;
            let lumps = request.lumps.clone();
            let reply_headers = request.reply_headers.clone();
            let bflags = request.bflags;
            request.bflags = failed_flags.unwrap_or(bflags);
            let target = (
                request.new_uri.clone(),
                request.dst_uri.clone(),
                request.path.clone(),
            );
            request.uri_is_new = false;
            request.branches.clear();
            live.prefix_log(scope.again());
            live.run(route, scope.again());
            let request = scope.ctx;
            request.lumps = lumps;
            request.reply_headers = reply_headers;
            request.bflags = bflags;
            (request.new_uri, request.dst_uri, request.path) = target;
        });
        guard
    }

    /// Tells modules that every branch of a leg has failed.
    fn leg_failed(&mut self, mut guard: Guard, best: usize, vars: &mut Vars, script: &Script) -> Guard {
        if !script.hooks().any(|hook| matches!(hook, Hook::LegFailed(_))) {
            return guard;
        }
        let reply = guard
            .branches
            .get_mut(best)
            .and_then(|branch| branch.reply.take());
        let status = guard.branches.get(best).map_or(408, |branch| branch.status);
        let made = made_here(status, script.states.get::<Tm>());
        let end = TransactionEnd {
            status: if reply.is_some() { status } else { made.0 },
            reason: reply.as_ref().map_or(&made.1[..], |ctx| ctx.msg.reason()),
            reply: reply.as_ref().map(|ctx| &ctx.msg),
            to_tag: reply.as_ref().map_or(b"", |ctx| ctx.msg.to_tag()),
        };
        let heard = guard.heard_uri();
        let (mut guard, _) = self.on_request(guard, vars, RouteKind::FAILURE, |live, mut scope| {
            let uri = std::mem::replace(&mut scope.ctx.new_uri, heard);
            for hook in script.hooks() {
                if let Hook::LegFailed(run) = hook {
                    run(&mut scope.again().env(live), &end);
                }
            }
            scope.ctx.new_uri = uri;
        });
        if let Some(branch) = guard.branches.get_mut(best) {
            branch.reply = reply;
        }
        guard
    }

    /// Sends the reply of the branch that was chosen, or makes the one that it never gave.
    fn send_best(&mut self, mut guard: Guard, choice: Best, vars: &mut Vars, script: &Script) -> Guard {
        let best = choice.branch();
        if guard.replicate {
            guard.status = guard.branches.get(best).map_or(408, |branch| branch.status);
            guard.server = Server::Local;
            return guard;
        }
        let status = guard.branches.get(best).map_or(408, |branch| branch.status);
        let reply = guard
            .branches
            .get_mut(best)
            .and_then(|branch| branch.reply.take());
        match (choice, reply) {
            (Best::Forward(_), Some(mut reply)) => {
                self.relay_reply(&mut guard, &mut reply, vars, script);
                if let Some(branch) = guard.branches.get_mut(best) {
                    branch.reply = Some(reply);
                }
                guard
            }
            (Best::Challenges(_), Some(reply)) => {
                if let Some(branch) = guard.branches.get_mut(best) {
                    branch.reply = Some(reply);
                }
                let reason = status::reason(status).as_bytes();
                let challenges = all_challenges(&guard);
                self.send_made_here(guard, status, reason, &challenges, vars)
            }
            (_, Some(_)) => self.send_made_here(guard, 500, response::UNAVAILABLE_REASON, b"", vars),
            (_, None) if guard.cancelled => self.send_made_here(guard, 487, b"Request Terminated", b"", vars),
            (_, None) => {
                let (status, reason) = made_here(status, script.states.get::<Tm>());
                self.send_made_here(guard, status, &reason, b"", vars)
            }
        }
    }

    /// Sends a final reply of our own, with these header lines besides those of the script.
    ///
    /// Kamailio: `tm:local-response` is not told of it.
    fn send_made_here(
        &mut self,
        mut guard: Guard,
        status: u16,
        reason: &[u8],
        headers: &[u8],
        vars: &mut Vars,
    ) -> Guard {
        let Some(mut request) = guard.request.take() else {
            return guard;
        };
        let lists = std::mem::take(&mut guard.lists);
        let before = request.reply_headers.len();
        request.reply_headers.extend_from_slice(headers);
        let bytes = self.write_answer(&mut request, status, reason);
        self.send_answer(&mut guard, status, bytes);
        request.reply_headers.truncate(before);
        guard.request = Some(request);
        guard.lists = lists;
        self.response_out(guard, status, reason, None, vars)
    }

    /// The best of the final replies (RFC 3261 §16.7 step 6).
    ///
    /// Kamailio: those of earlier legs of a serial fork had their turn, whatever `failure_reply_mode` says.
    fn choose(guard: &Transaction, script: &Script) -> Option<Best> {
        let first = guard.leg();
        let candidates = guard
            .branches
            .iter()
            .enumerate()
            .filter(|(number, branch)| *number >= first && branch.status >= 200 && !branch.dropped);
        let candidates = candidates.map(|(number, branch)| {
            (
                number,
                Candidate {
                    status: branch.status,
                    made_here: branch.reply.is_none(),
                },
            )
        });
        let rules = script
            .states
            .get::<Tm>()
            .map_or_else(Rules::default, |tm| tm.rules);
        response::choose(candidates, &rules)
    }

    /// Calls back whoever made a request of our own.
    pub(super) fn finish_local(
        &mut self,
        mut guard: Guard,
        status: u16,
        reply: Option<&Message>,
        _vars: &mut Vars,
    ) -> Guard {
        guard.status = status;
        if let (200..300, Some(reply), true) = (status, reply, guard.is_invite())
            && guard.intent.disable & disable::AUTO_ACK == 0
            && let Some(branch) = guard.branches.first()
        {
            // each copy of the reply is acknowledged
            self.acknowledge(&branch.sent, reply);
        }
        let Some(done) = guard.done.take() else {
            return guard;
        };
        let script = Arc::clone(&guard.script);
        let request = guard
            .branches
            .first()
            .map(|branch| branch.sent.clone())
            .unwrap_or_default();
        // the lock stays held: the callback may send requests, which are transactions of their own
        done(&mut LocalReply {
            status,
            message: reply,
            request: &request,
            host: self,
            script: &script,
        });
        guard
    }
}

/// The reply for a branch that gave none.
fn made_here(status: u16, tm: Option<&Tm>) -> (u16, Vec<u8>) {
    match (status, tm) {
        (408, Some(tm)) => (tm.reply_408_code, tm.reply_408_reason.clone().into_bytes()),
        (408, None) => (408, b"Request Timeout".to_vec()),
        _ => (500, b"Server Internal Error".to_vec()),
    }
}

/// The header lines of every challenge of the leg (RFC 3261 §16.7 step 7).
fn all_challenges(guard: &Transaction) -> Vec<u8> {
    let mut lines = Vec::new();
    let leg = guard.branches.get(guard.leg()..).unwrap_or_default();
    for reply in leg.iter().filter_map(|branch| branch.reply.as_ref()) {
        response::challenges(&reply.msg, &mut lines);
    }
    lines
}
