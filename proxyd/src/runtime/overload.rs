//! Overload: while more arrives than can be handled, requests that would begin something new are refused, so that what has
//! begun can end (RFC 3261 §21.5.4).

use super::receive::Receiver;
use crate::script::host::Host;
use crate::script::host::Millis;
use shared::sip::Method;

/// How much of the receive queue is used when refusing begins, and when it ends, in percent: what comes to a full queue is
/// lost, whatever it is.
const BEGINS: u32 = 50;
const ENDS: u32 = 25;

/// Pause between two log lines about it, in milliseconds.
const QUIET: Millis = 10_000;

/// Who is refused shall try again after one to so many seconds, not all at once.
const RETRY_MAX: u64 = 8;

/// Whether a worker is under pressure.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    high: bool,
    told: Option<Millis>,
}

impl Pressure {
    /// Takes note of how much of the receive queue is used, in percent.
    pub(super) fn note(&mut self, used: u32, now: Millis) {
        let was = self.high;
        self.high = used >= if was { ENDS } else { BEGINS };
        if self.high && !was && self.told.is_none_or(|told| now >= told + QUIET) {
            self.told = Some(now);
            crate::log::warning(
                "core",
                format_args!(
                    "overload: {used} % of the receive queue is used, new requests are refused with 503 until it is {ENDS} %"
                ),
            );
        }
    }
}

impl Receiver {
    /// Whether the request is refused: it belongs to no dialog and to no transaction that there is.
    pub(super) fn is_shed(&mut self) -> bool {
        if !self.live.pressure.high {
            return false;
        }
        let Self { live, ctx, .. } = self;
        let begins = !matches!(ctx.msg.method(), Method::Ack | Method::Cancel | Method::Prack)
            && ctx.msg.to_tag().is_empty();
        if !begins {
            return false;
        }
        let lookup = live.lookup(ctx);
        if live.runtime.transactions.find(&lookup).is_some() {
            return false;
        }
        live.runtime.counters.overload();
        let seconds = 1 + live.random() % RETRY_MAX;
        let header = format!("Retry-After: {seconds}\r\n");
        ctx.reply_headers.extend_from_slice(header.as_bytes());
        live.send_stateless_reply(ctx, 503, b"Service Unavailable");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_ends_lower_than_it_begins() {
        let mut pressure = Pressure::default();
        let states = [0, 49, 50, 80, 30, 25, 24, 49, 50].map(|used| {
            pressure.note(used, 0);
            pressure.high
        });
        assert_eq!(states, [false, false, true, true, true, true, false, false, true]);
    }
}
