//! Probing contacts with requests of our own: who answers is alive (Kamailio usrloc `ka_*`, nathelper `natping_*`).

use super::Usrloc;
use super::contact::Contact;
use super::contact::OwnedContact;
use super::expire::seconds;
use super::table::Domain;
use crate::modules::usrloc::table::Tables;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::module::Env;
use crate::script::module::Script;
use shared::net::Transport;
use shared::sip::NameAddr;
use shared::sip::scan::CommaList;
use std::sync::Arc;

/// ka_mode: all contacts, those behind NAT, datagrams only.
const ALL: i64 = 1;
const NATED: i64 = 2;
const DATAGRAMS: i64 = 4;

/// What `ka_*` say.
#[derive(Debug, Clone, Default)]
pub(super) struct Keepalive {
    pub(super) mode: i64,
    pub(super) method: Vec<u8>,
    pub(super) from: Vec<u8>,
    pub(super) interval: u32,
    pub(super) timeout: u32,
    /// Statuses, or their first digits, that count; empty: all.
    pub(super) codes: Vec<u16>,
}

/// The interval of the timer: every second, a part of the table.
pub(super) fn interval(script: &Script) -> Option<u64> {
    script
        .states
        .get::<Usrloc>()
        .filter(|usrloc| usrloc.keepalive.mode != 0)
        .map(|_| 1000)
}

/// Runs on the timer.
pub(super) fn run(env: &mut Env<'_>) {
    let Some(usrloc) = env.state::<Usrloc>() else {
        return;
    };
    let keepalive = &usrloc.keepalive;
    let wanted = |contact: &Contact<'_>| {
        (keepalive.mode & ALL != 0 || keepalive.mode & NATED != 0 && contact.cflags() & usrloc.nat_bflag != 0)
            && (keepalive.mode & DATAGRAMS == 0 || is_datagram(contact))
    };
    let now = seconds(env.host.wall());
    for (domain, contact) in share_of_table(usrloc.tables(), now, keepalive.interval, wanted) {
        if !remove_silent(&domain, contact.view(), now, keepalive.timeout) {
            probe(
                env,
                contact.view(),
                &keepalive.method,
                &keepalive.from,
                keepalive.codes.clone(),
            );
        }
    }
}

/// The contacts whose turn it is this second, so that an interval sees each contact once and no second sees too many.
pub(crate) fn share_of_table(
    tables: &Tables,
    now: u32,
    interval: u32,
    wanted: impl Fn(&Contact<'_>) -> bool,
) -> Vec<(Arc<Domain>, OwnedContact)> {
    let interval = u64::from(interval.max(1));
    let turn = u64::from(now) % interval;
    let mut found = Vec::new();
    for domain in tables.all().iter() {
        let shards = domain.store().shards() as u64;
        for shard in (turn * shards / interval)..((turn + 1) * shards / interval) {
            domain.store().each_in_shard(shard as usize, |contacts| {
                let alive = contacts.filter(|contact| contact.is_alive(now) && wanted(contact));
                found.extend(alive.map(|contact| (Arc::clone(domain), contact.to_owned())));
            });
        }
    }
    found
}

/// Removes a contact that has not answered for so long; true when it did.
pub(crate) fn remove_silent(domain: &Domain, contact: Contact<'_>, now: u32, timeout: u32) -> bool {
    if timeout == 0 || now.saturating_sub(contact.last_keepalive()) <= timeout {
        return false;
    }
    let removed = domain.edit(contact.aor(), |edit| {
        let at = edit.contacts().position(|known| known.ruid() == contact.ruid());
        at.map(|at| edit.remove(at)).is_some()
    });
    removed.is_ok_and(|(removed, _)| removed)
}

/// Whether a contact is reached by datagrams.
pub(crate) fn is_datagram(contact: &Contact<'_>) -> bool {
    contact.connection().is_none() && (contact.socket.is_empty() || contact.socket.starts_with(b"udp:"))
}

/// The next hop to a contact: the first of its Path, else where it was seen, else its own address.
pub(crate) fn next_hop<'a>(contact: Contact<'a>) -> &'a [u8] {
    let first = CommaList::new(contact.path)
        .next()
        .and_then(|value| NameAddr::parse(value).ok());
    match (first, contact.received()) {
        (Some(hop), _) => hop.uri,
        (None, received @ [_, ..]) => received,
        (None, _) => contact.address(),
    }
}

/// Sends a request to a contact and notes its answer with the contact; `codes` are those that count, none: all.
pub(crate) fn probe(env: &mut Env<'_>, contact: Contact<'_>, method: &[u8], from: &[u8], codes: Vec<u16>) {
    let mut headers = Vec::new();
    if !contact.path.is_empty() {
        headers.extend_from_slice(b"Route: ");
        headers.extend_from_slice(contact.path);
        headers.extend_from_slice(b"\r\n");
    }
    let (ruid, started) = (
        contact.ruid().to_vec(),
        std::time::Duration::from_millis(env.host.now()),
    );
    let request = LocalRequest {
        method: method.to_vec(),
        uri: contact.address().to_vec(),
        dst_uri: Some(next_hop(contact).to_vec()),
        from: from.to_vec(),
        from_tag: Some(ruid.clone()),
        to: contact.address().to_vec(),
        to_tag: None,
        call_id: None,
        cseq: 1,
        headers,
        body: Vec::new(),
        timers: crate::script::host::TimerOverrides::default(),
        socket: crate::modules::usrloc::socket_of(contact.socket, env.host.sockets()),
        no_ack: false,
        done: Some(Box::new(move |reply| note(reply, &ruid, started, &codes))),
    };
    env.host.originate(request);
}

fn note(reply: &mut LocalReply<'_>, ruid: &[u8], started: std::time::Duration, codes: &[u16]) {
    let counts = codes.is_empty()
        || codes
            .iter()
            .any(|code| *code == reply.status || *code == reply.status / 100);
    if reply.message.is_none() || !counts {
        return;
    }
    let Some(usrloc) = reply.script.states.get::<Usrloc>() else {
        return;
    };
    let elapsed = std::time::Duration::from_millis(reply.host.now()).saturating_sub(started);
    let now = seconds(reply.host.wall());
    let micros = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
    for domain in usrloc.tables().all().iter() {
        if domain.store().answered(ruid, now, micros) {
            return;
        }
    }
}

/// Reads a URI's transport: what a datagram may be sent by.
pub(crate) fn transport_of(uri: &[u8]) -> Transport {
    let uri = shared::sip::Uri::parse(uri).ok();
    uri.and_then(|uri| uri.param(b"transport").flatten().and_then(Transport::from_bytes))
        .unwrap_or(Transport::Udp)
}
