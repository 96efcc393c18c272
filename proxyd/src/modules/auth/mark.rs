//! What is known of the message that this worker handles, from one function of the module to the next.

use shared::digest::Algorithm;
use std::cell::Cell;

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// [`crate::proxy::context::Context::id`].
    message: u64,
    /// The credentials could not be checked, by no fault of theirs.
    failed: bool,
    /// `auth_algorithm()`.
    algorithm: Option<Algorithm>,
}

thread_local! {
    static MARK: Cell<Option<Mark>> = const { Cell::new(None) };
}

fn current(message: u64) -> Mark {
    let mark = MARK.try_with(Cell::get).ok().flatten();
    mark.filter(|mark| mark.message == message).unwrap_or(Mark {
        message,
        ..Mark::default()
    })
}

fn store(mark: Mark) {
    // A thread that ends marks nothing more.
    let _ = MARK.try_with(|cell| cell.set(Some(mark)));
}

/// Remembers that the database failed: a challenge would make the client doubt its password.
pub(super) fn fail(message: u64) {
    store(Mark {
        failed: true,
        ..current(message)
    });
}

/// Whether it failed.
pub(super) fn failed(message: u64) -> bool {
    current(message).failed
}

/// Chooses the hash of the challenges to this message.
pub(super) fn choose(message: u64, algorithm: Algorithm) {
    store(Mark {
        algorithm: Some(algorithm),
        ..current(message)
    });
}

/// The hash chosen for this message.
pub(super) fn chosen(message: u64) -> Option<Algorithm> {
    current(message).algorithm
}
