//! The timer worker: deadlines of transactions, intervals of modules, continued transactions.

use super::Runtime;
use super::receive::Receiver;
use super::transaction::Guard;
use crate::proxy::context::Source;
use crate::script::module::ModuleTimer;
use crate::script::module::RouteKind;
use crate::transaction::key::Id;
use std::sync::Arc;
use std::time::Duration;

/// How often it looks at least, and so what a retransmission may be late. A look takes 20 µs from a worker on the same processor, for
/// which one call in a hundred waits when there are a hundred looks a second.
const TICK: Duration = Duration::from_millis(20);

/// Runs until the daemon stops.
pub(crate) fn serve(runtime: &Arc<Runtime>, worker: usize) {
    let mut receiver = Receiver::new(Arc::clone(runtime), worker);
    let mut due = Vec::new();
    let mut intervals = Intervals::default();
    let mut pause = TICK;
    while !runtime.is_stopping() {
        std::thread::park_timeout(pause);
        receiver.begin_batch();
        let now = receiver.live.now;
        runtime.transactions.expired(now, &mut due);
        for found in due.drain(..) {
            match Guard::lock(&found.transaction) {
                Ok(guard) => receiver.live.tick(guard, &mut receiver.vars),
                Err(rest) => receiver.live.tick_rest(rest),
            }
        }
        for ((index, label), route) in runtime.resumed.take() {
            let found = runtime.transactions.by_id(Id { index, label });
            let guard = found.and_then(|found| Guard::lock(&found.transaction).ok());
            if let Some(guard) = guard {
                receiver.live.go_on(guard, route, &mut receiver.vars);
            }
        }
        for errand in runtime.errands.take() {
            errand(&mut receiver.live, &mut receiver.vars);
        }
        for bytes in runtime.ended.unsent.take() {
            receiver.live.fail_unsent(&bytes, &mut receiver.vars);
        }
        for row in runtime.ended.closed.take() {
            receiver.live.websocket_closed(&row, &mut receiver.vars);
        }
        pause = TICK.min(intervals.run(&mut receiver, now));
        receiver.live.outbox.flush();
    }
}

/// When each module timer runs next.
#[derive(Default)]
struct Intervals {
    next: Vec<(&'static str, u64)>,
}

impl Intervals {
    /// Runs those that are due; returns how long the others have time.
    fn run(&mut self, receiver: &mut Receiver, now: u64) -> Duration {
        let mut earliest = u64::MAX;
        let script = Arc::clone(&receiver.live.script);
        for timer in script.modules.iter().flat_map(|module| module.def.timers) {
            let Some(interval) = (timer.interval)(&script).filter(|ms| *ms > 0) else {
                continue;
            };
            let Some((_, at)) = self.next.iter_mut().find(|(name, _)| *name == timer.name) else {
                self.next.push((timer.name, now + interval));
                earliest = earliest.min(now + interval);
                continue;
            };
            if *at <= now {
                *at = now + interval;
                run_one(receiver, &script, timer);
            }
            earliest = earliest.min(*at);
        }
        Duration::from_millis(earliest.saturating_sub(now))
    }
}

fn run_one(receiver: &mut Receiver, script: &crate::script::module::Script, timer: &ModuleTimer) {
    let (live, scope) = receiver.split(script, RouteKind::EVENT);
    scope.ctx.reset(Source::default(), 0);
    scope.ctx.show_nobody();
    (timer.run)(&mut scope.env(live));
}
