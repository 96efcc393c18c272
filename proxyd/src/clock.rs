//! Wall and monotonic time; nobody else asks the machine for it.

use std::sync::LazyLock;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process started.
pub fn now() -> u64 {
    let elapsed = Instant::now().saturating_duration_since(*START);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Time since 1970-01-01 UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
