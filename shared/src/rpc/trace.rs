//! The subscription `trace`: messages as they come and go.

use serde::Deserialize;
use serde::Serialize;

/// Subscribes: conditions `name=value` with white space between them; each notification is a [`Traced`].
pub const TRACE: &str = "trace";
/// Ends the subscription.
pub const UNTRACE: &str = "untrace";

/// What is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Traced {
    /// A message.
    Message(Box<Message>),
    /// Messages left out here because they were not taken fast enough.
    Dropped {
        /// How many.
        dropped: u64,
    },
}

/// A message that came or went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// When, in the daemon's time zone: `2026-11-23T03:02:41.123456+00:00`.
    pub time: String,
    /// Which way.
    pub direction: Direction,
    /// Who sent it: `udp:192.0.2.7:5060`.
    pub source: String,
    /// Whom it was sent to.
    pub destination: String,
    /// The method, of a reply that of CSeq.
    pub method: String,
    /// The Request-URI of a request.
    pub request_uri: Option<String>,
    /// The status of a reply.
    pub status: Option<u16>,
    /// The reason phrase of a reply.
    pub reason: Option<String>,
    /// The number in CSeq.
    pub cseq: Option<u32>,
    /// The Call-ID.
    pub call_id: String,
    /// The URI in From.
    pub from: String,
    /// The URI in To.
    pub to: String,
    /// Bytes.
    pub size: usize,
    /// The whole of it, credentials masked.
    pub message: String,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It came.
    In,
    /// It left.
    Out,
}
