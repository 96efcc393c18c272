//! Registering at other servers: REGISTER, answering challenges, renewal (RFC 3261 §10.2).

use super::Uac;
use super::auth;
use super::record::AUTH_SENT;
use super::record::DISABLED;
use super::record::INITIALISED;
use super::record::ONGOING;
use super::record::ONLINE;
use super::record::Record;
use super::record::Wish;
use super::request;
use crate::log;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::host::Millis;
use crate::script::module::Env;
use crate::script::module::Script;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Uri;

/// The number of the first CSeq, as Kamailio's.
const CSEQ: u32 = 10;

/// How often wishes are looked at; the times of registrations are looked at every `reg_timer_interval`.
const TICK: Millis = 1000;

/// When to look.
pub(super) fn interval(script: &Script) -> Option<Millis> {
    script
        .states
        .get::<Uac>()?
        .registrations
        .is_some()
        .then_some(TICK)
}

/// Sends what is due.
pub(super) fn run(env: &mut Env<'_>) {
    let Some(state) = env.state::<Uac>() else { return };
    let Some(registrations) = &state.registrations else {
        return;
    };
    if !registrations.is_active() {
        return;
    }
    let now = env.host.wall().as_secs();
    let round = registrations.begin_round(env.host.now());
    let mut due = Vec::new();
    {
        let mut records = registrations.records.lock();
        records.retain(|_, record| {
            !(record.leaving && record.wish == Wish::None && record.flags & ONGOING == 0)
        });
        for record in records.values_mut() {
            match record.wish {
                Wish::Unregister => due.push((begin(record, env), 0)),
                Wish::Register => due.push((begin(record, env), record.profile.expires)),
                Wish::None if round && !record.leaving && record.is_due(now, registrations.interval) => {
                    due.push((begin(record, env), record.profile.expires));
                }
                Wish::None => {}
            }
        }
    }
    for (record, expires) in due {
        let request = register(state, env, &record, expires, &[]);
        env.host.originate(request);
    }
}

/// Marks a record as being worked on, with a call of its own.
fn begin(record: &mut Record, env: &mut Env<'_>) -> Record {
    let keep = env
        .state::<Uac>()
        .and_then(|state| state.registrations.as_ref())
        .is_some_and(|r| r.keep_call_id);
    if !keep || record.call_id.is_empty() || record.flags & ONLINE == 0 {
        record.call_id = format!("{:016x}{:016x}", env.host.random(), env.host.random());
        record.cseq = CSEQ;
    } else {
        record.cseq = record.cseq.saturating_add(1);
    }
    record.from_tag = format!("{:016x}", env.host.random());
    record.flags = (record.flags | ONGOING | INITIALISED) & !AUTH_SENT;
    record.wish = Wish::None;
    record.clone()
}

/// The REGISTER of a record.
fn register(state: &Uac, env: &Env<'_>, record: &Record, expires: u32, answer: &[u8]) -> LocalRequest {
    let profile = &record.profile;
    let aor = format!("<sip:{}@{}>", profile.r_username, profile.r_domain).into_bytes();
    let contact = profile.contact(&state.contact_addr);
    let mut headers = format!("Contact: <{contact}>\r\nExpires: {expires}\r\n").into_bytes();
    headers.extend_from_slice(answer);
    let socket = request::socket(env, profile.socket.as_bytes());
    let uuid = profile.l_uuid.clone();
    LocalRequest {
        method: b"REGISTER".to_vec(),
        uri: target(record),
        dst_uri: Some(profile.auth_proxy.clone().into_bytes()),
        from: aor.clone(),
        from_tag: Some(record.from_tag.clone().into_bytes()),
        to: aor,
        call_id: Some(record.call_id.clone().into_bytes()),
        cseq: record.cseq,
        headers,
        socket: socket.or_else(|| request::socket(env, state.default_socket.as_bytes())),
        done: Some(Box::new(move |reply: &mut LocalReply<'_>| {
            answered(reply, &uuid, expires)
        })),
        ..LocalRequest::default()
    }
}

fn target(record: &Record) -> Vec<u8> {
    format!("sip:{}", record.profile.r_domain).into_bytes()
}

/// What is to be done after an answer.
enum Next {
    Done,
    Again(Record, u32, Vec<u8>),
}

fn answered(reply: &mut LocalReply<'_>, uuid: &str, expires: u32) {
    let script = reply.script;
    let Some(state) = script.states.get::<Uac>() else {
        return;
    };
    let Some(registrations) = &state.registrations else {
        return;
    };
    let now = reply.host.wall().as_secs();
    let cnonce = format!("{:016x}", reply.host.random());
    let next = {
        let mut records = registrations.records.lock();
        let Some(record) = records.get_mut(uuid) else {
            return;
        };
        judge(
            state,
            registrations.retry,
            record,
            reply,
            expires,
            now,
            cnonce.as_bytes(),
        )
    };
    if let Next::Again(record, expires, answer) = next {
        let (mut ctx, mut lists, mut vars) = Default::default();
        let env = Env {
            ctx: &mut ctx,
            lists: &mut lists,
            vars: &mut vars,
            script,
            host: &mut *reply.host,
            route: crate::script::module::RouteKind::EVENT,
            rc: 0,
        };
        let request = register(state, &env, &record, expires, &answer);
        env.host.originate(request);
    }
}

/// Changes a record by an answer.
fn judge(
    state: &Uac,
    retry: u64,
    record: &mut Record,
    reply: &LocalReply<'_>,
    expires: u32,
    now: u64,
    cnonce: &[u8],
) -> Next {
    let uuid = record.profile.l_uuid.clone();
    match (reply.status, reply.message) {
        (200..=299, Some(message)) => {
            record.flags &= !(ONGOING | AUTH_SENT | ONLINE);
            if expires == 0 {
                record.flags |= DISABLED;
                record.timer_expires = 0;
            } else {
                let granted =
                    granted(message, &record.profile.contact(&state.contact_addr)).unwrap_or(expires);
                record.flags |= ONLINE;
                record.timer_expires = now.saturating_add(granted.into());
            }
            return Next::Done;
        }
        (401 | 407, Some(message)) => {
            let who = record.profile.credential();
            let fits = |realm: &[u8]| who.realm.is_empty() || who.realm == realm;
            let challenge = auth::challenges(message).find(|challenge| fits(&challenge.realm_text()));
            let Some(challenge) = challenge else {
                log::error(
                    "uac",
                    format_args!(
                        "registration {uuid}: the realm asked for is not {:?}",
                        record.profile.realm
                    ),
                );
                return fail(record, retry, now);
            };
            if record.flags & AUTH_SENT != 0 && !challenge.is_stale() {
                log::error(
                    "uac",
                    format_args!(
                        "registration {uuid}: the credentials were refused ({})",
                        reply.status
                    ),
                );
                return fail(record, retry, now);
            }
            let uri = target(record);
            let request = auth::Request {
                method: b"REGISTER",
                uri: &uri,
                body: b"",
                cnonce,
            };
            let Some(answer) = auth::answer(reply.status, &challenge, &who, &request) else {
                log::error(
                    "uac",
                    format_args!("registration {uuid}: the challenge cannot be answered"),
                );
                return fail(record, retry, now);
            };
            record.flags |= AUTH_SENT;
            record.cseq = record.cseq.saturating_add(1);
            return Next::Again(record.clone(), expires, answer);
        }
        (423, Some(message)) => {
            // RFC 3261 §10.2.8
            let least = message
                .first(HeaderName::MinExpires)
                .and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
            if let Some(least) = least.filter(|least: &u32| *least > expires && expires > 0) {
                record.cseq = record.cseq.saturating_add(1);
                return Next::Again(record.clone(), least, Vec::new());
            }
        }
        _ => {}
    }
    log::error(
        "uac",
        format_args!("registration {uuid}: failed with {}", reply.status),
    );
    fail(record, retry, now)
}

/// Tries again after `reg_retry_interval`, or never.
fn fail(record: &mut Record, retry: u64, now: u64) -> Next {
    record.flags &= !(ONGOING | AUTH_SENT | ONLINE);
    if retry == 0 {
        record.flags |= DISABLED;
    } else {
        record.timer_expires = now.saturating_add(retry);
    }
    Next::Done
}

/// The time that the server grants our contact.
fn granted(message: &Message, own: &str) -> Option<u32> {
    let wanted = Uri::parse(own.as_bytes()).ok()?;
    let ours = message.contacts().filter_map(Result::ok).find(|contact| {
        contact
            .parsed_uri()
            .is_ok_and(|uri| uri.user == wanted.user && uri.host.eq_ignore_ascii_case(wanted.host))
    });
    ours.and_then(|contact| contact.expires())
        .or_else(|| message.expires())
}
