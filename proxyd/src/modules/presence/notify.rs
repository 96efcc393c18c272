//! NOTIFY: what it says, how it is sent, what its answer means (RFC 6665 §4.2.2).

use super::Handled;
use super::Presence;
use super::package::Package;
use super::package::Presentity;
use super::package::Status;
use super::publications::Subject;
use super::subscription::Subscription;
use super::watchers;
use super::watchers::Change;
use crate::modules::usrloc::socket_of;
use crate::script::exec;
use crate::script::host::Host;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::lists::Item;
use crate::script::lists::Lists;
use shared::sip::Message;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::scan::CommaList;

/// The event that runs when a NOTIFY has been answered.
pub(super) const EVENT: &str = "presence:notify-reply";

/// The presentity of a URI.
pub(super) fn presentity_of(uri: &[u8]) -> Option<Presentity> {
    let uri = Uri::parse(uri).ok()?;
    Some(Presentity {
        user: uri.user_unescaped().into_owned(),
        domain: uri.host.to_vec(),
    })
}

/// What a subscription is told now; none: there is nothing to tell, or it is not to be told.
pub(super) fn body(
    state: &Presence,
    package: &dyn Package,
    subscription: &Subscription,
    now: u64,
) -> Option<Vec<u8>> {
    if !subscription.is_informed() {
        return None;
    }
    if package.watched().is_some() {
        return Some(watchers::full(state, package, subscription, now));
    }
    published(state, package, &presentity_of(&subscription.presentity)?, now)
}

/// What all publications of a presentity say together.
pub(super) fn published(
    state: &Presence,
    package: &dyn Package,
    presentity: &Presentity,
    now: u64,
) -> Option<Vec<u8>> {
    let subject = Subject {
        presentity: state.known_as(presentity),
        event: package.name().to_owned(),
    };
    let found = state.heed(state.publications.of(&subject, now))?;
    let bodies: Vec<&[u8]> = found.iter().map(|one| one.body.as_slice()).collect();
    package.document(presentity, &bodies)
}

/// Sends a kept subscription its NOTIFY.
pub(super) fn tell(
    state: &Presence,
    host: &mut dyn Host,
    package: &dyn Package,
    subscription: &Subscription,
    body: Option<Vec<u8>>,
) {
    let now = host.wall().as_secs();
    let advanced = state
        .subscriptions
        .update(&subscription.dialog, now, Subscription::advance);
    if let Some(Some(current)) = state.heed(advanced) {
        let number = current.version.saturating_sub(1);
        let body = body.map(|body| package.addressed(body, number));
        send(host, package, &current, body);
    }
}

/// Sends a subscription that is not kept, or no longer, its only or last NOTIFY.
pub(super) fn tell_last(
    host: &mut dyn Host,
    package: &dyn Package,
    mut subscription: Subscription,
    body: Option<Vec<u8>>,
) {
    let body = body.map(|body| package.addressed(body, subscription.version));
    subscription.advance();
    send(host, package, &subscription, body);
}

/// Tells every watcher of a presentity its state; one whose Contact is `sender` is left out.
pub(super) fn tell_all(
    state: &Presence,
    host: &mut dyn Host,
    package: &dyn Package,
    presentity: &Presentity,
    body: Option<&[u8]>,
    sender: &[u8],
) {
    let now = host.wall().as_secs();
    let found = state
        .subscriptions
        .watching(&presentity.uri(), package.name(), now);
    for one in state.heed(found).unwrap_or_default() {
        if one.is_informed() && (sender.is_empty() || one.contact != sender) {
            tell(state, host, package, &one, body.map(<[u8]>::to_vec));
        }
    }
}

fn send(host: &mut dyn Host, package: &dyn Package, subscription: &Subscription, body: Option<Vec<u8>>) {
    let request = request(host, package, subscription, body.unwrap_or_default());
    host.originate(request);
}

fn request(
    host: &dyn Host,
    package: &dyn Package,
    subscription: &Subscription,
    body: Vec<u8>,
) -> LocalRequest {
    let now = host.wall().as_secs();
    let mut headers = Vec::with_capacity(256);
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| headers.extend_from_slice(part));
        headers.extend_from_slice(b"\r\n");
    };
    let first = CommaList::new(&subscription.record_route).next();
    if first.is_some() {
        line(&[b"Route: ", &subscription.record_route]);
    }
    let id: &[u8] = if subscription.event_id.is_empty() {
        b""
    } else {
        b";id="
    };
    line(&[
        b"Event: ",
        subscription.event.as_bytes(),
        id,
        &subscription.event_id,
    ]);
    line(&[b"Contact: <", &subscription.local_contact, b">"]);
    let remaining = subscription.remaining(now);
    let stands = match (subscription.status, remaining, subscription.reason.as_str()) {
        (Status::Terminated, _, "") | (_, 0, _) => "terminated;reason=timeout".to_owned(),
        (Status::Terminated, _, reason) => format!("terminated;reason={reason}"),
        (status, seconds, _) => format!("{};expires={seconds}", status.name()),
    };
    line(&[b"Subscription-State: ", stands.as_bytes()]);
    if !body.is_empty() {
        line(&[b"Content-Type: ", package.content_type().as_bytes()]);
    }
    let in_brackets =
        |user: &[u8], domain: &[u8]| [b"<", &*super::package::uri_of(user, domain), b">"].concat();
    let next = first
        .and_then(|route| NameAddr::parse(route).ok())
        .map(|addr| addr.uri.to_vec());
    let sent = subscription.clone();
    LocalRequest {
        method: b"NOTIFY".to_vec(),
        uri: subscription.contact.clone(),
        dst_uri: next,
        from: in_brackets(&subscription.to_user, &subscription.to_domain),
        from_tag: Some(subscription.dialog.to_tag.to_vec()),
        to: in_brackets(&subscription.from_user, &subscription.from_domain),
        to_tag: Some(subscription.dialog.from_tag.to_vec()),
        call_id: Some(subscription.dialog.call_id.to_vec()),
        cseq: subscription.local_cseq,
        headers,
        body,
        socket: socket_of(subscription.socket.as_bytes(), host.sockets()),
        done: Some(Box::new(move |reply: &mut LocalReply<'_>| answered(reply, sent))),
        ..LocalRequest::default()
    }
}

/// A NOTIFY has been answered, or not in time: a watcher that knows nothing of the subscription, or is gone, ends it.
fn answered(reply: &mut LocalReply<'_>, subscription: Subscription) {
    let script = reply.script;
    let Some(state) = script.states.get::<Presence>() else {
        return;
    };
    let unwanted = run_event(state, reply, &subscription);
    let gone = match reply.status {
        404 | 481 => true,
        408 => state.timeout_rm_subs,
        _ => unwanted,
    };
    let now = reply.host.wall().as_secs();
    if !gone {
        return;
    }
    let removed = state.subscriptions.remove(&subscription.dialog, now);
    if let Some(Some(removed)) = state.heed(removed) {
        watchers::tell(state, reply.host, &removed, Change::Gone);
    }
}

/// Runs `event_route[presence:notify-reply]`; true when it wants the subscription to end.
fn run_event(state: &Presence, reply: &mut LocalReply<'_>, subscription: &Subscription) -> bool {
    let script = reply.script;
    let Some(route) = script.program.event_route(EVENT) else {
        return false;
    };
    let Ok(msg) = Message::parse(reply.request) else {
        return false;
    };
    let worker = reply.host.worker().0;
    let answer = reply.message.cloned();
    reply.with_message(msg, |env| {
        let handled = Handled {
            message: env.ctx.id,
            subscription: subscription.clone(),
            answer,
        };
        let before = state.handled.lock().insert(worker, handled);
        exec::run(route, env);
        let mut all = state.handled.lock();
        match before {
            Some(before) => all.insert(worker, before),
            None => all.remove(&worker),
        };
        drop(all);
        state.setting(env.lists, b"delete_subscription") == Some(1)
    })
}

impl Presence {
    /// A number in the list that `xavp_cfg` names.
    pub(super) fn setting(&self, lists: &Lists, name: &[u8]) -> Option<i64> {
        if self.xavp_cfg.is_empty() {
            return None;
        }
        let Some(Item::Fields(fields)) = lists.xavp.item(self.xavp_cfg.as_bytes(), 0) else {
            return None;
        };
        let found = fields.iter().find(|(field, _)| **field == *name);
        found.map(|(_, value)| value.to_int())
    }
}
