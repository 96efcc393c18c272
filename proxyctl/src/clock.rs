//! The time of day, for columns such as `last_modified`.

use std::thread;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a tool has no runtime to ask")]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// Waits before something is tried again.
#[expect(
    clippy::disallowed_methods,
    reason = "a tool that polls has no event to wait for"
)]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
