//! Timers and switches of one transaction: `t_set_fr`, `t_set_retr`, `t_set_max_lifetime`, `t_set_disable_*`.

use super::disable;
use crate::script::module::Call;
use crate::script::module::Code;

/// An argument in milliseconds; 0 and below mean: keep.
fn millis(call: &Call<'_, '_>, n: usize) -> Option<u32> {
    u32::try_from(call.int(n)).ok().filter(|ms| *ms > 0)
}

pub(super) fn t_set_fr(call: &mut Call<'_, '_>) -> Code {
    let (fr_inv, fr) = (millis(call, 0), millis(call, 1));
    let timers = &mut call.env.host.intent().timers;
    timers.fr_inv = fr_inv.or(timers.fr_inv);
    timers.fr = fr.or(timers.fr);
    Code::TRUE
}

pub(super) fn t_reset_fr(call: &mut Call<'_, '_>) -> Code {
    let timers = &mut call.env.host.intent().timers;
    (timers.fr, timers.fr_inv) = (None, None);
    Code::TRUE
}

pub(super) fn t_set_retr(call: &mut Call<'_, '_>) -> Code {
    let (t1, t2) = (millis(call, 0), millis(call, 1));
    let timers = &mut call.env.host.intent().timers;
    timers.retr_t1 = t1.or(timers.retr_t1);
    timers.retr_t2 = t2.or(timers.retr_t2);
    Code::TRUE
}

pub(super) fn t_reset_retr(call: &mut Call<'_, '_>) -> Code {
    let timers = &mut call.env.host.intent().timers;
    (timers.retr_t1, timers.retr_t2) = (None, None);
    Code::TRUE
}

pub(super) fn t_set_max_lifetime(call: &mut Call<'_, '_>) -> Code {
    let (inv, noninv) = (millis(call, 0), millis(call, 1));
    let timers = &mut call.env.host.intent().timers;
    timers.max_inv = inv.or(timers.max_inv);
    timers.max_noninv = noninv.or(timers.max_noninv);
    Code::TRUE
}

pub(super) fn t_reset_max_lifetime(call: &mut Call<'_, '_>) -> Code {
    let timers = &mut call.env.host.intent().timers;
    (timers.max_inv, timers.max_noninv) = (None, None);
    Code::TRUE
}

pub(super) fn t_set_auto_inv_100(call: &mut Call<'_, '_>) -> Code {
    let on = call.int(0) != 0;
    call.env.host.intent().no_auto_100 = !on;
    Code::TRUE
}

fn switch(call: &mut Call<'_, '_>, bit: u32) -> Code {
    let on = call.int(0) != 0;
    let disable = &mut call.env.host.intent().disable;
    if on {
        *disable |= bit
    } else {
        *disable &= !bit
    }
    Code::TRUE
}

pub(super) fn t_set_disable_6xx(call: &mut Call<'_, '_>) -> Code {
    switch(call, disable::SIX_XX)
}

pub(super) fn t_set_disable_failover(call: &mut Call<'_, '_>) -> Code {
    switch(call, disable::FAILOVER)
}

pub(super) fn t_set_disable_internal_reply(call: &mut Call<'_, '_>) -> Code {
    switch(call, disable::INTERNAL_REPLY)
}

pub(super) fn t_set_no_e2e_cancel_reason(call: &mut Call<'_, '_>) -> Code {
    switch(call, disable::CANCEL_REASON)
}

pub(super) fn t_set_no_auto_ack(call: &mut Call<'_, '_>) -> Code {
    switch(call, disable::AUTO_ACK)
}
