//! Following dialogs: from the first INVITE to the BYE, or to the end of their time.

use super::Dialogs;
use super::profile;
use super::record::CONFIRMED;
use super::record::CONFIRMED_NA;
use super::record::DELETED;
use super::record::Dialog;
use super::record::EARLY;
use super::record::Inner;
use super::record::Leg;
use super::record::Shared;
use super::record::Side;
use super::record::UNCONFIRMED;
use crate::log;
use crate::proxy::context::Context;
use crate::proxy::context::SocketId;
use crate::script::exec;
use crate::script::host::Millis;
use crate::script::lists::Item;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::DialogStep;
use crate::script::module::Env;
use crate::script::module::Hook;
use crate::script::module::RouteKind;
use crate::script::module::Script;
use crate::script::module::TransactionEnd;
use crate::script::value::Value;
use parking_lot::Mutex;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Method;

/// Names that no script can spell: what was set before the dialog was made, and that a request is known to be in one.
pub(super) const PENDING_VARS: &[u8] = b"\0dlg_var";
pub(super) const PENDING_CTX: &[u8] = b"\0dlg_ctx";
/// Each by its number, with the value it was set with.
pub(super) const PENDING_PROFILES: &[u8] = b"\0dlg_profiles";
const KNOWN: &[u8] = b"\0dlg";

/// How long one that is over stays to be looked at.
const AFTER: u64 = 5;

/// The dialog that the message at hand belongs to.
pub(super) fn current(env: &Env<'_>) -> Option<(Shared, Side)> {
    let msg = &env.ctx.msg;
    env.state::<Dialogs>()?
        .table
        .find(msg.call_id(), msg.from_tag(), msg.to_tag())
}

/// Whether loose_route() or dlg_manage() found the request to be within a dialog.
pub(super) fn is_known(env: &Env<'_>) -> bool {
    env.lists.xavp.count(KNOWN) > 0
}

/// `dlg_manage()`.
pub(super) fn dlg_manage(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Dialogs>() else {
        return Code::FALSE;
    };
    let env = &mut *call.env;
    let msg = &env.ctx.msg;
    if !msg.to_tag().is_empty() {
        return Code::from(within(env));
    }
    if msg.method() != Method::Invite {
        return Code::FALSE;
    }
    if current(env).is_some_and(|(dialog, _)| dialog.state() < DELETED) {
        return Code::TRUE;
    }
    Code::from(follow(state, env))
}

/// Makes the dialog of an INVITE and names it in our Record-Route.
fn follow(state: &Dialogs, env: &mut Env<'_>) -> bool {
    let Some(dialog) = create(state, env) else {
        return false;
    };
    if env.script.has("rr") {
        let param = format!(";{}={}", state.rr_param, dialog.did());
        env.ctx.rr_params.extend_from_slice(param.as_bytes());
    }
    true
}

/// An INVITE about to leave: `dlg_flag` says that its dialog is to be followed.
pub(super) fn request_forwarded(env: &mut Env<'_>) {
    let Some(state) = env.state::<Dialogs>() else {
        return;
    };
    let flagged = state.flag.is_some_and(|flag| env.ctx.flags & 1 << flag != 0);
    let msg = &env.ctx.msg;
    if flagged && msg.method() == Method::Invite && msg.to_tag().is_empty() && current(env).is_none() {
        follow(state, env);
    }
}

fn create(state: &Dialogs, env: &mut Env<'_>) -> Option<Shared> {
    let msg = &env.ctx.msg;
    let Some(caller) = leg(msg, &socket_name(env, Some(env.ctx.source.socket))) else {
        log::error("dialog", format_args!("bad sip message or missing Contact hdr"));
        return None;
    };
    let caller = Leg {
        tag: msg.from_tag().to_vec(),
        ..caller
    };
    let lifetime = state.timeout_pv.as_ref().map(|pv| pv.read(env).to_int());
    let lifetime = lifetime
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0);
    let mut inner = Inner {
        state: UNCONFIRMED,
        caller,
        lifetime: lifetime.unwrap_or(state.default_timeout),
        ..Inner::default()
    };
    inner.timeout_bye = state.send_bye;
    if let Some(Item::Fields(fields)) = env.lists.xavp.item(PENDING_VARS, 0) {
        inner.variables = fields
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_text().into_owned()))
            .collect();
    }
    if let Some(Item::Fields(fields)) = env.lists.xavp.item(PENDING_CTX, 0) {
        for (name, value) in fields.iter().rev() {
            match &**name {
                b"timeout_bye" => inner.timeout_bye = value.to_int() != 0,
                b"timeout_route" => inner.timeout_route = value.to_text().into_owned(),
                b"flags" => inner.flags = value.to_int() as u32,
                _ => {}
            }
        }
    }
    env.lists.xavp.clear(PENDING_VARS);
    env.lists.xavp.clear(PENDING_CTX);
    let profiles = match env.lists.xavp.item(PENDING_PROFILES, 0) {
        Some(Item::Fields(fields)) => fields
            .iter()
            .filter_map(|(at, value)| {
                let at = std::str::from_utf8(at).ok()?.parse().ok()?;
                Some((at, value.to_text().into_owned()))
            })
            .collect(),
        _ => Vec::new(),
    };
    env.lists.xavp.clear(PENDING_PROFILES);
    let uri =
        |addr: Option<shared::sip::NameAddr<'_>>| addr.map(|addr| addr.uri.to_vec()).unwrap_or_default();
    let msg = &env.ctx.msg;
    let (from_uri, to_uri) = (uri(msg.from()), uri(msg.to()));
    let now = env.host.wall().as_secs();
    let made = state.table.insert(msg.call_id(), |h_entry, h_id| Dialog {
        h_entry,
        h_id,
        call_id: msg.call_id().to_vec(),
        from_uri,
        to_uri,
        ruri: env.ctx.uri().to_vec(),
        init_ts: now,
        inner: Mutex::new(inner),
    });
    match &made {
        Some(dialog) => {
            state.counts.processed.inc();
            for entry in profiles.into_iter().rev() {
                profile::enter(state, dialog, entry);
            }
            tell(env, DialogStep::Created);
        }
        None => log::error("dialog", format_args!("there are too many dialogs")),
    }
    made
}

/// Tells the other modules.
fn tell(env: &mut Env<'_>, step: DialogStep) {
    for hook in env.script.hooks() {
        if let Hook::Dialog(run) = hook {
            run(env, step);
        }
    }
}

/// What a request or a 2xx tells of its sender; none without a Contact.
fn leg(msg: &Message, socket: &str) -> Option<Leg> {
    let contact = msg.contacts().find_map(Result::ok)?.uri().to_vec();
    let mut route_set: Vec<Vec<u8>> = msg.record_routes().map(|route| route.bytes.to_vec()).collect();
    if msg.is_reply() {
        // RFC 3261 §12.1.2: towards the callee the routes are in the order of the reply, reversed
        route_set.reverse();
    }
    Some(Leg {
        tag: Vec::new(),
        contact,
        cseq: if msg.is_reply() {
            0
        } else {
            msg.cseq().map_or(0, |cseq| cseq.number)
        },
        route_set,
        socket: socket.to_owned(),
    })
}

fn socket_name(env: &Env<'_>, socket: Option<SocketId>) -> String {
    let listener = socket.and_then(|id| env.host.sockets().get(id));
    listener
        .map(|l| format!("{}:{}:{}", l.transport, l.host_text, l.port_text))
        .unwrap_or_default()
}

/// A request within a dialog: what it does to it; false when there is none.
pub(super) fn within(env: &mut Env<'_>) -> bool {
    let Some((dialog, side)) = current(env) else {
        return false;
    };
    let seen_before = is_known(env);
    if !seen_before {
        env.lists.xavp.push(KNOWN, Item::Plain(Value::Int(1)));
    }
    if env.ctx.msg.method() == Method::Ack {
        acknowledged(env, &dialog);
    }
    let msg = &env.ctx.msg;
    let (method, cseq) = (msg.method(), msg.cseq().map_or(0, |cseq| cseq.number));
    let ended = {
        let mut inner = dialog.inner.lock();
        match method {
            Method::Ack => {}
            _ => {
                let leg = if side == Side::Caller {
                    &mut inner.caller
                } else {
                    &mut inner.callee
                };
                leg.cseq = leg.cseq.max(cseq);
            }
        }
        method == Method::Bye && matches!(inner.state, CONFIRMED_NA | CONFIRMED)
    };
    if ended {
        end(env, &dialog, "dialog:end", DialogStep::Ended);
    }
    true
}

fn acknowledged(env: &mut Env<'_>, dialog: &Dialog) {
    {
        let mut inner = dialog.inner.lock();
        if inner.state != CONFIRMED_NA {
            return;
        }
        inner.state = CONFIRMED;
    }
    tell(env, DialogStep::Confirmed);
}

/// A request that came by our Route.
pub(super) fn loose_routed(env: &mut Env<'_>) {
    within(env);
}

/// The ACK to a 2xx, when the script does not ask for routes.
pub(super) fn end_to_end_ack(env: &mut Env<'_>) {
    if let Some((dialog, _)) = current(env) {
        acknowledged(env, &dialog);
    }
}

/// A reply to an INVITE on its way to the caller.
pub(super) fn response_forwarded(env: &mut Env<'_>) {
    let msg = &env.ctx.msg;
    let (status, to_tag) = (msg.status(), msg.to_tag().to_vec());
    if msg.method() != Method::Invite || to_tag.is_empty() || !(101..300).contains(&status) {
        return;
    }
    let Some((dialog, Side::Caller)) = current(env) else {
        return;
    };
    let now = env.host.wall().as_secs();
    let mut callee = leg(msg, &socket_name(env, Some(env.ctx.source.socket)));
    if let Some(callee) = &mut callee {
        // our own Record-Route came back with it; the rest leads to the callee
        callee.route_set.retain(|route| !super::bye::is_ours(env, route));
    }
    let started = {
        let mut inner = dialog.inner.lock();
        match (status, inner.state) {
            (101..=199, UNCONFIRMED) => {
                inner.state = EARLY;
                false
            }
            (200..=299, UNCONFIRMED | EARLY) => {
                inner.state = CONFIRMED_NA;
                inner.callee = Leg {
                    tag: to_tag,
                    ..callee.unwrap_or_default()
                };
                inner.start_ts = now;
                inner.timeout = now.saturating_add(inner.lifetime);
                true
            }
            _ => false,
        }
    };
    if started {
        exec::run_event("dialog:start", env);
    }
}

/// A final reply left for the caller: one that is no 2xx ends what was no dialog yet.
pub(super) fn response_out(env: &mut Env<'_>, end_of: &TransactionEnd<'_>) {
    let msg = &env.ctx.msg;
    if msg.method() == Method::Bye {
        if let Some((dialog, _)) = current(env) {
            close(env, &dialog);
        }
        return;
    }
    if end_of.status < 300 || msg.method() != Method::Invite || !msg.to_tag().is_empty() {
        return;
    }
    let Some((dialog, _)) = current(env) else { return };
    if dialog.state() < CONFIRMED_NA {
        if let Some(state) = env.state::<Dialogs>() {
            state.counts.failed.inc();
        }
        // The event route is run on the reply that ended it.
        let request = end_of
            .reply
            .map(|reply| std::mem::replace(&mut env.ctx.msg, reply.clone()));
        end(env, &dialog, "dialog:failed", DialogStep::Failed);
        if let Some(request) = request {
            env.ctx.msg = request;
        }
    }
}

/// The BYE that ended a dialog is answered, or will not be.
fn close(env: &mut Env<'_>, dialog: &Dialog) {
    if std::mem::take(&mut dialog.inner.lock().closing) {
        tell(env, DialogStep::Ended);
    }
}

/// Ends a dialog by a BYE of ours. Kamailio: the event route still sees it in the state that it had.
pub(super) fn end_by_bye(env: &mut Env<'_>, dialog: &Shared, how: DialogStep) {
    let now = env.host.wall().as_secs();
    let Ok(msg) = Message::parse(super::bye::nobody(dialog)) else {
        return;
    };
    if !mark_ended(dialog, now) {
        return;
    }
    let mut ctx = Context {
        msg,
        ..Context::default()
    };
    let mut inner = env.with(&mut ctx, RouteKind::EVENT);
    tell(&mut inner, DialogStep::Ending);
    exec::run_event("dialog:end", &mut inner);
    tell(&mut inner, how);
    dialog.inner.lock().state = DELETED;
    if let Some(state) = env.state::<Dialogs>() {
        profile::leave_all(state, dialog);
    }
}

/// Notes when a dialog ended; false when it has ended before.
fn mark_ended(dialog: &Dialog, now: u64) -> bool {
    let mut inner = dialog.inner.lock();
    if inner.state == DELETED || inner.end_ts > 0 {
        return false;
    }
    inner.end_ts = now;
    inner.timeout = 0;
    true
}

/// Ends a dialog: it counts no more, and the event route hears of it.
pub(super) fn end(env: &mut Env<'_>, dialog: &Shared, event: &str, how: DialogStep) {
    let now = env.host.wall().as_secs();
    if !mark_ended(dialog, now) {
        return;
    }
    if how != DialogStep::Failed {
        tell(env, DialogStep::Ending);
    }
    dialog.inner.lock().state = DELETED;
    if let Some(state) = env.state::<Dialogs>() {
        profile::leave_all(state, dialog);
    }
    exec::run_event(event, env);
    if how == DialogStep::Ended {
        dialog.inner.lock().closing = true;
    } else {
        tell(env, how);
    }
}

/// When to look at times and wishes.
pub(super) fn interval(script: &Script) -> Option<Millis> {
    script.states.get::<Dialogs>().map(|_| 1000)
}

/// Ends dialogs whose time is over or that an operator wants ended, and forgets those that are over.
pub(super) fn run(env: &mut Env<'_>) {
    let Some(state) = env.state::<Dialogs>() else {
        return;
    };
    let now = env.host.wall().as_secs();
    let gone = |dialog: &Dialog| {
        let inner = dialog.inner.lock();
        inner.state == DELETED && !inner.closing && inner.end_ts.saturating_add(AFTER) <= now
    };
    let due = |dialog: &Dialog| {
        let inner = dialog.inner.lock();
        let too_early =
            inner.state < CONFIRMED_NA && dialog.init_ts.saturating_add(state.early_timeout) <= now;
        let no_ack = inner.state == CONFIRMED_NA && inner.start_ts.saturating_add(state.noack_timeout) <= now;
        let over = matches!(inner.state, CONFIRMED_NA | CONFIRMED) && inner.timeout <= now;
        let unanswered = inner.closing && inner.end_ts.saturating_add(AFTER - 1) <= now;
        unanswered || inner.end_ts == 0 && (inner.end_wish.is_some() || too_early || no_ack || over)
    };
    for dialog in state.table.sweep(gone, due) {
        let (wish, is_up, bye, route) = {
            let mut inner = dialog.inner.lock();
            let is_up = matches!(inner.state, CONFIRMED_NA | CONFIRMED);
            (
                inner.end_wish.take(),
                is_up,
                inner.timeout_bye,
                inner.timeout_route.clone(),
            )
        };
        if let Ok(msg) = Message::parse(super::bye::nobody(&dialog)) {
            env.ctx.msg = msg;
        }
        if dialog.state() == DELETED {
            close(env, &dialog);
            continue;
        }
        if wish.is_none()
            && is_up
            && let Some(route) = env.script.program.route(&route)
        {
            exec::run(route, env);
        }
        if wish.is_none() {
            state.counts.expired.inc();
        }
        let wished = wish.is_some();
        if is_up && (wished || bye) {
            super::bye::send(env, &dialog, super::bye::Whom::Both, &wish.unwrap_or_default());
            let how = if wished {
                DialogStep::Ended
            } else {
                DialogStep::Expired
            };
            end_by_bye(env, &dialog, how);
        } else {
            end(env, &dialog, "dialog:end", DialogStep::Expired);
        }
    }
}

/// The Route header lines of a route set.
pub(super) fn route_lines(route_set: &[Vec<u8>]) -> Vec<u8> {
    let lines = route_set
        .iter()
        .map(|route| [HeaderName::Route.as_str().as_bytes(), b": ", route, b"\r\n"].concat());
    lines.collect::<Vec<_>>().concat()
}
