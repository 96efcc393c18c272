//! Pings that keep NAT bindings open: four zero bytes, or a request (Kamailio nathelper, `natping_interval`).

use super::Nathelper;
use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::expire::seconds;
use crate::modules::usrloc::keepalive;
use crate::modules::usrloc::socket_of;
use crate::script::host::Millis;
use crate::script::module::Env;
use crate::script::module::Script;
use shared::net::Transport;
use std::sync::atomic::Ordering;

/// A datagram that no SIP element answers.
const EMPTY_PING: [u8; 4] = [0; 4];

/// Every second, for a part of the contacts.
pub(super) fn interval(script: &Script) -> Option<Millis> {
    let nathelper = script.states.get::<Nathelper>()?;
    (nathelper.natping_interval > 0 && script.states.get::<Usrloc>().is_some()).then_some(1000)
}

/// Runs on the timer.
pub(super) fn run(env: &mut Env<'_>) {
    let (Some(nathelper), Some(usrloc)) = (env.state::<Nathelper>(), env.state::<Usrloc>()) else {
        return;
    };
    if !nathelper.enabled.load(Ordering::Relaxed) {
        return;
    }
    let wanted = |contact: &Contact<'_>| {
        let flags = contact.cflags();
        (!nathelper.ping_nated_only || flags & usrloc.nat_bflag != 0)
            && flags & nathelper.natping_disable_bflag == 0
            && (!nathelper.filter_server_id || contact.server_id() == usrloc.server_id())
    };
    let now = seconds(env.host.wall());
    for (domain, contact) in
        keepalive::share_of_table(usrloc.tables(), now, nathelper.natping_interval, wanted)
    {
        let contact = contact.view();
        let with_request = nathelper.sipping_bflag != 0
            && (contact.cflags() & nathelper.sipping_bflag != 0 || !nathelper.ping_nated_only);
        if with_request {
            if !keepalive::remove_silent(&domain, contact, now, nathelper.keepalive_timeout) {
                keepalive::probe(
                    env,
                    contact,
                    &nathelper.sipping_method,
                    &nathelper.sipping_from,
                    Vec::new(),
                );
            }
        } else if keepalive::is_datagram(&contact) {
            send_datagram(env, nathelper, contact);
        }
    }
}

fn send_datagram(env: &mut Env<'_>, nathelper: &Nathelper, contact: Contact<'_>) {
    let hop = match (nathelper.ignore_path, contact.received()) {
        (true, received @ [_, ..]) => received,
        (true, _) => contact.address(),
        (false, _) => keepalive::next_hop(contact),
    };
    if keepalive::transport_of(hop) != Transport::Udp {
        return;
    }
    let forced = socket_of(
        &[b"udp:", &nathelper.force_socket[..]].concat(),
        env.host.sockets(),
    )
    .or_else(|| socket_of(&nathelper.force_socket, env.host.sockets()));
    let socket = forced.or_else(|| socket_of(contact.socket, env.host.sockets()));
    if let Some(mut target) = env.host.resolve(hop, socket) {
        target.socket = socket.or(target.socket);
        env.host.send(&target, &EMPTY_PING);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
