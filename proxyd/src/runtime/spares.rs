//! Contexts that transactions have done with, kept with their buffers for the next message.
//!
//! A context has half a dozen allocations and is freed by another thread than the one that made it, which costs an
//! allocator more than all else that a transaction asks of it.

use crate::proxy::context::Context;
use parking_lot::Mutex;

/// How many are kept: as many as a burst needs, not as many as there are transactions.
const MOST: usize = 1024;

/// A context that grew beyond this gives its memory back.
const LARGE: usize = 8192;

/// The contexts in reserve.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a box goes in and the same box comes out")]
pub(crate) struct Spares(Mutex<Vec<Box<Context>>>);

impl Spares {
    /// A context to be reset and filled.
    pub(crate) fn take(&self) -> Box<Context> {
        let spare = self.0.lock().pop();
        spare.unwrap_or_default()
    }

    /// Gives one back; what it holds is of no use any more.
    pub(crate) fn put(&self, context: Box<Context>) {
        if context.msg.as_bytes().len() > LARGE {
            return;
        }
        let mut spares = self.0.lock();
        if spares.len() < MOST {
            spares.push(context);
        }
    }
}
