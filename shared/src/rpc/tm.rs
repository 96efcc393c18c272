//! Replies of `tm.*` and `sl.*`: transactions and stateless replies in numbers.

use serde::Deserialize;
use serde::Serialize;

/// Transactions in numbers: [`Stats`].
pub const STATS: &str = "tm.stats";
/// Transactions under way.
pub const LIST: &str = "tm.list";
/// Cancels a transaction: Call-ID, CSeq.
pub const CANCEL: &str = "tm.cancel";
/// Stateless replies by status.
pub const SL_STATS: &str = "sl.stats";

/// `tm.stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Alive now.
    pub current: u64,
    /// Of these, answered and waiting for retransmissions.
    pub waiting: u64,
    /// Ever.
    pub total: u64,
    /// Ever, of our own requests.
    pub total_local: u64,
    /// Replies received.
    pub rpl_received: u64,
    /// Replies made here.
    pub rpl_generated: u64,
    /// Replies sent.
    pub rpl_sent: u64,
    /// Ended by 6xx.
    #[serde(rename = "6xx")]
    pub s6xx: u64,
    /// Ended by 5xx.
    #[serde(rename = "5xx")]
    pub s5xx: u64,
    /// Ended by 4xx.
    #[serde(rename = "4xx")]
    pub s4xx: u64,
    /// Ended by 3xx.
    #[serde(rename = "3xx")]
    pub s3xx: u64,
    /// Ended by 2xx.
    #[serde(rename = "2xx")]
    pub s2xx: u64,
    /// Made.
    pub created: u64,
    /// Unmade.
    pub freed: u64,
    /// Unmade late.
    pub delayed_free: u64,
}
