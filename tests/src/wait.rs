//! Waiting for a condition with a deadline: the one place of the tests that pauses.

use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long a test waits for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again and again until `ready` gives a value or the time is over.
pub fn until<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at a condition, never instead of one"
)]
fn pause() {
    thread::sleep(Duration::from_millis(2));
}
