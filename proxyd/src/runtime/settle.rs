//! After each event: what a transaction gives back, when it is looked at next, and its end.

use super::Guard;
use super::TransactionId;
use super::host::Live;
use super::transaction::Rest;
use super::transaction::Transaction;

impl Live {
    /// Arms the timer for what is due next, or takes an ended transaction out of the table.
    pub(crate) fn settle(&mut self, mut guard: Guard) {
        self.release_messages(&mut guard);
        if !guard.waiting && guard.is_answered() && guard.server.is_settled() {
            guard.waiting = true;
            self.runtime.counters.tm_waits();
        }
        if guard.is_over() {
            let (id, waiting) = (guard.id, guard.waiting);
            self.release_request(&mut guard);
            drop(guard);
            return self.end(id, waiting);
        }
        if guard.is_answered() {
            self.release_request(&mut guard);
        }
        let (id, end) = (guard.id, guard.end());
        let deadline = end.unwrap_or_else(|| guard.next_deadline());
        if deadline != guard.armed {
            guard.armed = deadline;
            self.runtime.transactions.arm(id, deadline);
        }
        if let Some(end) = end {
            guard.finish(end);
        }
    }

    /// Time has passed for what is left of a transaction.
    pub(crate) fn tick_rest(&mut self, rest: Rest) {
        let (id, end) = (rest.id, rest.end);
        drop(rest);
        if end > self.now {
            self.runtime.transactions.arm(id, end);
        } else {
            self.end(id, true);
        }
    }

    fn end(&self, id: TransactionId, waiting: bool) {
        if self.runtime.transactions.remove(id).is_some() {
            self.runtime.counters.tm_freed(waiting);
        }
    }

    /// Takes back the copies that are not sent again.
    fn release_messages(&mut self, t: &mut Transaction) {
        if !t.server.repeats() {
            self.buffers.put(std::mem::take(&mut t.reply));
        }
        for branch in t
            .branches
            .iter_mut()
            .filter(|branch| !branch.client.needs_request())
        {
            self.buffers.put(std::mem::take(&mut branch.sent));
        }
    }

    /// Takes back the request and the replies to choose from, once no route will ask for them.
    fn release_request(&mut self, t: &mut Transaction) {
        let replies = t.branches.iter_mut().filter_map(|branch| branch.reply.take());
        let contexts = replies.chain(t.request.take());
        contexts.for_each(|context| self.runtime.spares.put(context));
    }
}
