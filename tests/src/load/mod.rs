//! The load generator: one thread that drives a SIP server over UDP and checks every reply.

mod batch;
mod callee;
mod engine;
pub mod floor;
mod flow;
mod histogram;
mod message;
pub mod process;

use std::net::SocketAddr;

use serde::Deserialize;
use serde::Serialize;

pub use engine::run;
pub(crate) use flow::PASSWORD;

/// What one transaction of the load consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// OPTIONS answered 200 by the script.
    Options,
    /// REGISTER of a user that had no contact.
    RegisterNew,
    /// REGISTER that refreshes the contact the user has.
    RegisterRefresh,
    /// REGISTER, its challenge, and REGISTER with credentials.
    RegisterDigest,
    /// REGISTER with credentials over the nonce of an earlier challenge.
    RegisterNonceReused,
    /// INVITE to a user without contact: 404 and ACK.
    InviteUnknown,
    /// INVITE, 180, 200, ACK, BYE, 200, relayed both ways; the generator is caller and callee.
    Call,
}

impl Load {
    /// Every load by the name the command line gives it.
    pub const ALL: &[(&str, Self)] = &[
        ("options", Self::Options),
        ("register-new", Self::RegisterNew),
        ("register-refresh", Self::RegisterRefresh),
        ("register-digest", Self::RegisterDigest),
        ("register-nonce-reused", Self::RegisterNonceReused),
        ("invite-unknown", Self::InviteUnknown),
        ("call", Self::Call),
    ];

    /// Looks a load up by name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(_, load)| load)
    }
}

/// How fast transactions begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as one ends, with this many open at a time.
    Window(usize),
    /// This many a second, whatever the server does.
    Rate(f64),
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to send.
    pub load: Load,
    /// How fast.
    pub pace: Pace,
    /// The server under load.
    pub server: SocketAddr,
    /// Where the generator calls and registers from.
    pub caller: SocketAddr,
    /// Where it answers calls.
    pub callee: SocketAddr,
    /// The domain of every user.
    pub domain: String,
    /// How many users take part, from number 0.
    pub users: u32,
    /// Whether the script challenges every request outside a dialog.
    pub challenged: bool,
    /// Begins no more transactions than this.
    pub count: Option<u64>,
    /// Measures for this long, unless `count` ends it first.
    pub seconds: f64,
    /// Runs unmeasured for this long before.
    pub warm_up: f64,
    /// The server's processes, whose cost is measured with that of their children.
    pub pids: Vec<u32>,
    /// Whether users register before the load begins.
    pub prepare: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Transactions that ended as they should.
    pub done: u64,
    /// Transactions without a final reply in time, or refused because the server has too much to do.
    pub lost: u64,
    /// Replies that are not what the request asks for.
    pub wrong: u64,
    /// The first few of them, in words.
    pub wrong_examples: Vec<String>,
    /// Transactions that could not begin at their time: every slot was taken, or the generator did not run.
    pub overrun: u64,
    /// Calls whose 200 came before their 180.
    pub overtaken: u64,
    /// Seconds measured.
    pub seconds: f64,
    /// Transactions a second.
    pub rate: f64,
    /// The server's processor time in microseconds per transaction.
    pub cpu_us: f64,
    /// The same from clock ticks, as a cross-check.
    pub cpu_us_by_ticks: f64,
    /// Share of one processor that the server used.
    pub cpu_share: f64,
    /// The generator's own share of one processor.
    pub own_cpu_share: f64,
    /// Median latency of a transaction in microseconds.
    pub p50_us: f64,
    /// Latency in microseconds that one in a hundred exceeds.
    pub p99_us: f64,
    /// The same of the median tenth of a second, which a stall of the machine leaves alone.
    pub usual_p99_us: f64,
    /// The server's resident bytes before and after.
    pub resident: (u64, u64),
}
