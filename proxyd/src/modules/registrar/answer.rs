//! The reply to a REGISTER: sent at once, by the thread that commits, or by reg_send_reply().

use super::Registrar;
use super::outcome::Refusal;
use super::reply;
use super::save::NO_REPLY;
use super::save::PREPARE_REPLY;
use super::save::Saved;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Routes;
use std::cell::RefCell;

/// A reply that save() was told not to send.
struct Held {
    message: u64,
    status: u16,
    reason: &'static str,
    headers: Vec<u8>,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// Leaves the answer to the thread that writes the change down: the worker goes on with other messages, and their
/// changes share a commit. False when the answer has to be waited for here.
pub(super) fn answer_when_safe(
    env: &mut Env<'_>,
    registrar: &Registrar,
    saved: &Saved,
    headers: &[u8],
) -> bool {
    let Some(ticket) = saved.ticket.as_ref().filter(|ticket| ticket.is_pending()) else {
        return false;
    };
    if env.route.meets(Routes::REPLY.or(Routes::ONREPLY)) || ticket.is_congested() {
        return false;
    }
    let mut hold = |status, reason: &str, headers: &[u8]| {
        let before = env.ctx.reply_headers.len();
        env.ctx.reply_headers.extend_from_slice(headers);
        let (host, scope) = env.split();
        let held = host.held_reply(scope, status, reason.as_bytes());
        env.ctx.reply_headers.truncate(before);
        held
    };
    let mut why = Vec::new();
    reply::write_refusal(&mut why, Refusal::Unavailable, registrar, b"");
    let (status, reason) = Refusal::Unavailable.status();
    let (Some(done), Some(failed)) = (hold(200, "OK", headers), hold(status, reason, &why)) else {
        return false;
    };
    env.ctx.answered = 200;
    ticket
        .clone()
        .then(Box::new(move |safe| if safe { done() } else { failed() }));
    true
}

/// Sends the reply, or keeps it for reg_send_reply(); there is nothing to answer in a reply's route.
pub(super) fn answer(env: &mut Env<'_>, flags: i64, status: u16, reason: &'static str, headers: Vec<u8>) {
    if env.route.meets(Routes::REPLY.or(Routes::ONREPLY)) {
        return;
    }
    if flags & NO_REPLY == 0 {
        env.ctx.reply_headers.extend_from_slice(&headers);
        let (host, scope) = env.split();
        host.reply(scope, status, reason.as_bytes());
        return;
    }
    if flags & PREPARE_REPLY != 0 {
        env.ctx.reply_headers.extend_from_slice(&headers);
        return;
    }
    HELD.set(Some(Held {
        message: env.ctx.id,
        status,
        reason,
        headers,
    }));
}

pub(super) fn reg_send_reply(call: &mut Call<'_, '_>) -> Code {
    let held = HELD.take().filter(|held| held.message == call.env.ctx.id);
    let (status, reason) = match held {
        Some(held) => {
            call.env.ctx.reply_headers.extend_from_slice(&held.headers);
            (held.status, held.reason)
        }
        None => (200, "OK"),
    };
    let (host, scope) = call.split();
    host.reply(scope, status, reason.as_bytes())
}
