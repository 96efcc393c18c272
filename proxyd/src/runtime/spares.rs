//! What messages and transactions have done with, kept with its memory for the next ones.
//!
//! A context has half a dozen allocations and is freed by another thread than the one that made it, which costs an
//! allocator more than all else that a transaction asks of it.

use crate::proxy::context::Context;
use parking_lot::Mutex;

/// How many contexts are kept: as many as a burst needs, not as many as there are transactions.
const MOST: usize = 1024;

/// A context that grew beyond this gives its memory back.
const LARGE: usize = 8192;

/// How many buffers a worker keeps.
const MOST_BUFFERS: usize = 256;

/// What a new buffer has room for, and twice of which no kept buffer exceeds: most messages are smaller.
const ROOM: usize = 1536;

/// The contexts in reserve, of all workers.
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

/// One worker's buffers for messages that a transaction keeps until it is answered.
#[derive(Default)]
pub(crate) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(ROOM))
    }

    /// Gives one back.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        if (ROOM..=2 * ROOM).contains(&buffer.capacity()) && self.0.len() < MOST_BUFFERS {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
