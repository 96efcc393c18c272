//! The interpreter: runs one route block of a compiled script.

use super::host::RouteId;
use super::module::Env;

/// How a route ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What it returned.
    pub code: i64,
    /// `exit` or `drop` ended the script, not only this route.
    pub exited: bool,
    /// `drop` was called: a reply goes no further, a branch is not sent.
    pub dropped: bool,
}

/// Runs a route block.
pub fn run(_route: RouteId, _env: &mut Env<'_>) -> Verdict {
    Verdict::default()
}
