//! `core.explain_live`: the next message of the network that fits a filter, as a worker handled it.

use super::report;
use crate::control::methods::RpcFault;
use crate::proxy::context::Source;
use crate::runtime::Runtime;
use crate::runtime::filter::Filter;
use crate::runtime::masked::masked_bytes;
use crate::runtime::sandbox::Sent;
use crate::script::exec::Verdict;
use crate::script::exec::trace::Trace;
use crate::script::module::Script;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::json;
use shared::sip::Message;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How many may wait at once.
const MOST: usize = 8;

/// The longest wait.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A message as a worker handled it.
pub(crate) struct Handled {
    /// As it came.
    pub(crate) message: Vec<u8>,
    pub(crate) source: Source,
    pub(crate) script: Arc<Script>,
    pub(crate) trace: Box<Trace>,
    /// How the request route ended; none when it did not run.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) sent: Vec<Sent>,
}

/// Whoever asked for a message.
pub(crate) type Asker = SyncSender<Handled>;

/// Who waits for which message.
#[derive(Default)]
pub(crate) struct Watch {
    /// How many wait, read by workers for each message.
    count: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Numbers given so far.
    last: u64,
    askers: Vec<(u64, Filter, Asker)>,
}

impl Watch {
    /// Whoever waits for this message, and waits no longer.
    pub(crate) fn taken(&self, msg: &Message, source: &Source) -> Option<Asker> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let fits = |(_, filter, _): &(u64, Filter, Asker)| filter.fits(msg, source.peer);
        let at = waiting.askers.iter().position(fits)?;
        let (_, _, asker) = waiting.askers.swap_remove(at);
        self.count.store(waiting.askers.len(), Ordering::Relaxed);
        Some(asker)
    }

    /// Enters an asker under a number.
    fn add(&self, filter: &Filter, asker: Asker) -> Result<u64, RpcFault> {
        let mut waiting = self.waiting.lock();
        if waiting.askers.len() >= MOST {
            return Err(RpcFault::failed(format!(
                "{MOST} others wait for a message already"
            )));
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.askers.push((number, filter.clone(), asker));
        self.count.store(waiting.askers.len(), Ordering::Relaxed);
        Ok(number)
    }

    /// Takes out who gave up.
    fn remove(&self, number: u64) {
        let mut waiting = self.waiting.lock();
        waiting.askers.retain(|(known, ..)| *known != number);
        self.count.store(waiting.askers.len(), Ordering::Relaxed);
    }
}

/// Waits for a message that fits and tells what was done with it.
pub(crate) fn explain_live(runtime: &Runtime, filter: &Filter, wait: Duration) -> Result<Value, RpcFault> {
    let wait = wait.min(PATIENCE);
    let (asker, answer) = sync_channel(1);
    let number = runtime.watch.add(filter, asker)?;
    let Ok(handled) = answer.recv_timeout(wait) else {
        runtime.watch.remove(number);
        return Err(RpcFault::not_found(format!(
            "no such message came within {} s",
            wait.as_secs()
        )));
    };
    let Handled {
        message,
        source,
        script,
        trace,
        verdict,
        sent,
    } = handled;
    let mut answer = report(runtime, &script, &source, &trace, verdict, &sent);
    if let Some(fields) = answer.as_object_mut() {
        if message.starts_with(b"SIP/2.0 ") {
            let end = if sent.is_empty() { "taken in" } else { "passed on" };
            fields.insert("end".to_owned(), json!(end));
        }
        fields.insert("live".to_owned(), json!(true));
        fields.insert("message".to_owned(), json!(masked_bytes(&message)));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_may_wait() {
        let watch = Watch::default();
        let filter = Filter::parse("").expect("a filter");
        let add = || watch.add(&filter, sync_channel(1).0);
        let numbers: Vec<u64> = (0..MOST).map(|_| add().expect("room")).collect();
        assert!(add().is_err());
        numbers.iter().for_each(|number| watch.remove(*number));
        assert_eq!(watch.count.load(Ordering::Relaxed), 0);
    }
}
