//! `handle_subscribe()`: SUBSCRIBE (RFC 6665 §4.2.1).

use super::Handled;
use super::Presence;
use super::answer::Refusal;
use super::answer::answer;
use super::answer::refuse;
use super::notify;
use super::package::Package;
use super::package::Presentity;
use super::package::Standing;
use super::package::Status;
use super::subscription::DialogId;
use super::subscription::Subscription;
use super::subscriptions::Mode;
use super::watchers;
use super::watchers::Change;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::scan::CommaList;

/// `handle_subscribe([watcher])`.
pub(super) fn handle_subscribe(call: &mut Call<'_, '_>) -> Code {
    let watcher = call.has(0).then(|| call.text_owned(0));
    let Some(state) = call.state::<Presence>() else {
        return Code::FALSE;
    };
    let env = &mut *call.env;
    state.handled.lock().remove(&env.host.worker().0);
    let served = if env.ctx.msg.to_tag().is_empty() {
        begin(state, env, watcher.as_deref())
    } else {
        refresh(state, env)
    };
    match served {
        Ok(()) => Code::TRUE,
        Err(refusal) => refuse(state, env, &refusal),
    }
}

/// The lifetime that the request is granted, s.
fn lifetime(state: &Presence, msg: &Message, package: &dyn Package) -> Result<u32, Refusal> {
    let asked = msg.expires().unwrap_or_else(|| package.default_expires());
    let asked = asked.min(state.max_expires);
    match state.min_expires {
        least if asked == 0 || asked >= least => Ok(asked),
        least if state.forces_min_expires => Ok(least),
        least => Err(Refusal::TooBrief(least)),
    }
}

fn contact(msg: &Message) -> Option<&[u8]> {
    let value = msg.first(HeaderName::Contact)?;
    let uri = NameAddr::parse(value).ok()?.uri;
    Uri::parse(uri).is_ok().then_some(uri)
}

/// A SUBSCRIBE that begins a dialog.
fn begin(state: &Presence, env: &mut Env<'_>, watcher: Option<&[u8]>) -> Result<(), Refusal> {
    let (package, event_id) = state.package_of(&env.ctx.msg).ok_or(Refusal::BadEvent)?;
    let expires = lifetime(state, &env.ctx.msg, &*package)?;
    let mut subscription = read(state, env, &*package, watcher).ok_or(Refusal::BadRequest)?;
    let now = env.host.wall().as_secs();
    let standing = match package.rules() {
        None => Standing::ACTIVE,
        Some(rules) => {
            let presentity = notify::presentity_of(&subscription.presentity).ok_or(Refusal::BadRequest)?;
            rules.standing(&presentity, &String::from_utf8_lossy(&subscription.watcher()))?
        }
    };
    subscription.event_id = event_id;
    subscription.expires = expires;
    subscription.ends = now.saturating_add(expires.into());
    subscription.status = standing.status;
    subscription.reason = standing.reason.to_owned();
    let seen = subscription.clone();
    let is_kept = expires > 0 && standing.status != Status::Terminated;
    if is_kept {
        // Kamailio: the first NOTIFY of a subscription that memory keeps has CSeq 2.
        subscription.local_cseq = u32::from(state.subscriptions.mode != Mode::Database);
        if state.delete_same {
            forget_same(state, &subscription, now)?;
        }
        if !state.subscriptions.add(subscription.clone())? {
            return Err(Refusal::TooMany);
        }
    }
    if package.records_watchers() {
        state.heed(watchers::record(
            state,
            &subscription,
            i64::try_from(now).unwrap_or(i64::MAX),
        ));
    }
    accept(state, env, &subscription);
    state.show(env, seen);
    if expires > 0 {
        watchers::tell(state, env.host, &subscription, Change::Is("subscribe"));
    }
    let body = notify::body(state, &*package, &subscription, now);
    if is_kept {
        notify::tell(state, env.host, &*package, &subscription, body);
    } else {
        notify::tell_last(env.host, &*package, subscription, body);
    }
    Ok(())
}

/// What a SUBSCRIBE says of its subscription; none when it lacks something.
fn read(
    state: &Presence,
    env: &mut Env<'_>,
    package: &dyn Package,
    watcher: Option<&[u8]>,
) -> Option<Subscription> {
    let to_tag = env.host.local_tag(env.ctx);
    let msg = &env.ctx.msg;
    let of = |uri: &[u8]| notify::presentity_of(uri);
    let (from, to) = (of(msg.from()?.uri)?, of(msg.to()?.uri)?);
    let Presentity { user, domain } = match watcher {
        Some(uri) => of(uri)?,
        None => from.clone(),
    };
    let (socket, local_contact) = local(state, env)?;
    let route_set: Vec<&[u8]> = msg
        .all(HeaderName::RecordRoute)
        .flat_map(|header| CommaList::new(msg.value(header)))
        .collect();
    Some(Subscription {
        dialog: DialogId {
            call_id: msg.call_id().into(),
            to_tag: to_tag.into(),
            from_tag: msg.from_tag().into(),
        },
        presentity: of(env.ctx.uri())?.uri(),
        watcher_user: user,
        watcher_domain: domain,
        to_user: to.user,
        to_domain: to.domain,
        from_user: from.user,
        from_domain: from.domain,
        event: package.name().to_owned(),
        event_id: Vec::new(),
        local_cseq: 0,
        remote_cseq: msg.cseq()?.number,
        contact: contact(msg)?.to_vec(),
        record_route: route_set.join(&b","[..]),
        expires: 0,
        ends: 0,
        status: Status::Pending,
        reason: String::new(),
        version: 1,
        socket,
        local_contact,
        user_agent: msg.first(HeaderName::UserAgent).unwrap_or_default().to_vec(),
    })
}

/// The socket that the request came by, and how we are reached there.
fn local(state: &Presence, env: &Env<'_>) -> Option<(String, Vec<u8>)> {
    let listener = env.host.sockets().get(env.ctx.source.socket)?;
    let (transport, host, port) = (
        listener.transport.as_str(),
        &listener.host_text,
        &listener.port_text,
    );
    let contact = if state.server_address.is_empty() {
        format!("sip:{host}:{port};transport={transport}")
    } else {
        state.server_address.clone()
    };
    Some((format!("{transport}:{host}:{port}"), contact.into_bytes()))
}

/// `delete_same_subs`: another subscription of the same Call-ID to the same presentity gives way.
fn forget_same(state: &Presence, new: &Subscription, now: u64) -> Result<(), Refusal> {
    for one in state.subscriptions.watching(&new.presentity, &new.event, now)? {
        if one.dialog.call_id == new.dialog.call_id && one.dialog != new.dialog {
            state.subscriptions.remove(&one.dialog, now)?;
        }
    }
    Ok(())
}

/// A SUBSCRIBE within a dialog: it prolongs the subscription or ends it.
fn refresh(state: &Presence, env: &mut Env<'_>) -> Result<(), Refusal> {
    let msg = &env.ctx.msg;
    let (package, _) = state.package_of(msg).ok_or(Refusal::BadEvent)?;
    let expires = lifetime(state, msg, &*package)?;
    let dialog = DialogId {
        call_id: msg.call_id().into(),
        to_tag: msg.to_tag().into(),
        from_tag: msg.from_tag().into(),
    };
    let now = env.host.wall().as_secs();
    let known = state
        .subscriptions
        .find(&dialog, now)?
        .ok_or(Refusal::NoSubscription)?;
    if known.event != package.name() || known.ends <= now {
        return Err(Refusal::NoSubscription);
    }
    let cseq = msg.cseq().ok_or(Refusal::BadRequest)?.number;
    if cseq.saturating_add(state.cseq_offset) <= known.remote_cseq {
        return Err(Refusal::BadRequest);
    }
    // RFC 6665 §4.4.1: a new Contact is where NOTIFY goes from now on.
    let target = contact(msg).unwrap_or(&known.contact).to_vec();
    let renew = |subscription: &mut Subscription| {
        subscription.remote_cseq = cseq;
        subscription.contact = target;
        subscription.expires = expires;
        subscription.ends = now.saturating_add(expires.into());
    };
    if expires > 0 {
        let renewed = state
            .subscriptions
            .update(&dialog, now, renew)?
            .ok_or(Refusal::NoSubscription)?;
        accept(state, env, &renewed);
        state.show(env, renewed.clone());
        let body = notify::body(state, &*package, &renewed, now);
        notify::tell(state, env.host, &*package, &renewed, body);
        return Ok(());
    }
    let mut ended = state
        .subscriptions
        .remove(&dialog, now)?
        .ok_or(Refusal::NoSubscription)?;
    renew(&mut ended);
    accept(state, env, &ended);
    state.show(env, ended.clone());
    watchers::tell(state, env.host, &ended, Change::Gone);
    let body = notify::body(state, &*package, &ended, now);
    notify::tell_last(env.host, &*package, ended, body);
    Ok(())
}

fn accept(state: &Presence, env: &mut Env<'_>, subscription: &Subscription) {
    let expires = subscription.expires.to_string();
    let lines = [
        b"Expires: ",
        expires.as_bytes(),
        b"\r\nContact: <",
        &subscription.local_contact,
        b">\r\n",
    ]
    .concat();
    answer(env, state.accepted_status, b"OK", &lines);
}

impl Presence {
    /// Makes a subscription readable as `$subs(…)` for the rest of this message.
    fn show(&self, env: &Env<'_>, subscription: Subscription) {
        if !self.shows_subscriptions {
            return;
        }
        let handled = Handled {
            message: env.ctx.id,
            subscription,
            answer: None,
        };
        self.handled.lock().insert(env.host.worker().0, handled);
    }
}
