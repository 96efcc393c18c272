//! A transaction lent to a route or a hook, which may act on it and leaves it.

use super::Guard;
use super::host::Live;
use crate::script::host::Scope;
use crate::script::module::RouteKind;
use crate::script::vars::Vars;
use std::sync::Arc;

impl Live {
    /// Makes a transaction the current one while `work` is done.
    pub(super) fn lend<R>(&mut self, guard: Guard, work: impl FnOnce(&mut Self) -> R) -> (Guard, R) {
        self.current = Some(guard);
        let done = work(self);
        let Some(guard) = self.current.take() else {
            unreachable!("a route leaves its transaction")
        };
        (guard, done)
    }

    /// Does `work` on the request that a transaction keeps, with the transaction as the current one; none where it keeps
    /// none.
    pub(super) fn on_request<R>(
        &mut self,
        mut guard: Guard,
        vars: &mut Vars,
        route: RouteKind,
        work: impl FnOnce(&mut Self, Scope<'_>) -> R,
    ) -> (Guard, Option<R>) {
        let Some(mut request) = guard.request.take() else {
            return (guard, None);
        };
        let mut lists = std::mem::take(&mut guard.lists);
        let script = Arc::clone(&guard.script);
        let (mut guard, done) = self.lend(guard, |live| {
            let scope = Scope {
                ctx: &mut request,
                lists: &mut lists,
                vars,
                script: &script,
                route,
            };
            work(live, scope)
        });
        guard.request = Some(request);
        guard.lists = lists;
        (guard, Some(done))
    }
}
