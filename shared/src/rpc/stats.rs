//! Replies of `stats.*`: counters by group and name.

use std::collections::BTreeMap;

/// Counters as lines `group:name = value`: `all`, `group:` or names.
pub const GET_STATISTICS: &str = "stats.get_statistics";
/// Counters as [`Fetched`]: the same parameters.
pub const FETCH: &str = "stats.fetch";
/// Counters as [`Numbers`]: the same parameters.
pub const FETCHN: &str = "stats.fetchn";
/// Names of counters: `all`, a group or nothing.
pub const LIST: &str = "stats.list";
/// Sets counters to nothing: the same parameters as `stats.get_statistics`.
pub const RESET_STATISTICS: &str = "stats.reset_statistics";
/// The same, answering what they were.
pub const CLEAR_STATISTICS: &str = "stats.clear_statistics";

/// `group.name` to its value as text.
pub type Fetched = BTreeMap<String, String>;
/// `group.name` to its value.
pub type Numbers = BTreeMap<String, i64>;
