//! `handle_publish()`: PUBLISH (RFC 3903).

use super::Presence;
use super::answer::Refusal;
use super::answer::answer;
use super::answer::refuse;
use super::notify;
use super::package::Package;
use super::publications::Kept;
use super::publications::Publication;
use super::publications::Subject;
use crate::script::host::Host;
use crate::script::lists::Lists;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::sip::HeaderName;
use std::sync::Arc;

/// Largest body that is kept, bytes.
pub(crate) const BODY_MAX: usize = 65_536;

/// `handle_publish([sender])`.
pub(super) fn handle_publish(call: &mut Call<'_, '_>) -> Code {
    let sender = call.text_owned(0);
    let Some(state) = call.state::<Presence>() else {
        return Code::FALSE;
    };
    let env = &mut *call.env;
    match publish(state, env, sender) {
        Ok(told) => {
            told.tell(state, env.host);
            Code::TRUE
        }
        Err(refusal) => refuse(state, env, &refusal),
    }
}

/// What watchers have to hear.
enum Told {
    Nothing,
    Changed {
        subject: Subject,
        package: Arc<dyn Package>,
        body: Option<Vec<u8>>,
        sender: Vec<u8>,
    },
}

impl Told {
    fn tell(self, state: &Presence, host: &mut dyn Host) {
        if let Self::Changed {
            subject,
            package,
            body,
            sender,
        } = self
        {
            notify::tell_all(
                state,
                host,
                &*package,
                &subject.presentity,
                body.as_deref(),
                &sender,
            );
        }
    }
}

fn publish(state: &Presence, env: &mut Env<'_>, sender: Vec<u8>) -> Result<Told, Refusal> {
    let msg = &env.ctx.msg;
    let (package, _) = state.package_of(msg).ok_or(Refusal::BadEvent)?;
    let body = msg.body();
    let etag = msg.first(HeaderName::SipIfMatch).map(<[u8]>::to_vec);
    if body.len() > BODY_MAX {
        return Err(Refusal::TooLarge);
    }
    if body.is_empty() && etag.is_none() {
        return Err(Refusal::InvalidRequest);
    }
    if !body.is_empty() && !package.accepts(body) {
        return Err(Refusal::UnsupportedBody(package.content_type()));
    }
    let uri = env.ctx.uri();
    let presentity = notify::presentity_of(uri).ok_or(Refusal::BadRequest)?;
    let asked = msg.expires().unwrap_or_else(|| package.default_expires());
    let expires = asked.min(state.max_expires);
    let now = env.host.wall().as_secs();
    let publication = Publication {
        subject: Subject {
            presentity: state.known_as(&presentity),
            event: package.name().to_owned(),
        },
        etag: crate::ids::token().to_vec(),
        ends: now.saturating_add(expires.into()),
        received: now,
        body: body.to_vec(),
        sender,
        priority: priority(state, env.lists, now),
    };
    let told = match (etag, expires) {
        (None, 0) => {
            accept(state, env, 0, &publication.etag);
            return Ok(Told::Nothing);
        }
        (None, _) => {
            if state.publications.add(publication.clone())? == Kept::TooMany {
                return Err(Refusal::TooMany);
            }
            accept(state, env, expires, &publication.etag);
            None
        }
        (Some(etag), 0) => {
            let last = last_words(state, &*package, &publication.subject, &etag, now)?;
            if !state.publications.remove(&publication.subject, &etag)? {
                return Err(Refusal::NoMatch);
            }
            accept(state, env, 0, &etag);
            last
        }
        (Some(etag), _) => {
            if !state.publications.replace(&etag, &publication, now)? {
                return Err(Refusal::NoMatch);
            }
            accept(state, env, expires, &publication.etag);
            None
        }
    };
    let subject = publication.subject;
    let body = told.or_else(|| notify::published(state, &*package, &subject.presentity, now));
    Ok(Told::Changed {
        subject,
        package,
        body,
        sender: publication.sender,
    })
}

/// What the publications say when this one is about to be taken back; none: as if it had never been.
fn last_words(
    state: &Presence,
    package: &dyn Package,
    subject: &Subject,
    etag: &[u8],
    now: u64,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut found = state.publications.of(subject, now)?;
    for one in found.iter_mut().filter(|one| one.etag == etag) {
        match package.offline(&one.body) {
            Some(offline) => one.body = offline,
            None => return Ok(None),
        }
    }
    let bodies: Vec<&[u8]> = found.iter().map(|one| one.body.as_slice()).collect();
    Ok(package.document(&subject.presentity, &bodies))
}

/// Documents without a priority of their own go by time, where priorities are set at all.
fn priority(state: &Presence, lists: &Lists, now: u64) -> i64 {
    if state.xavp_cfg.is_empty() {
        return 0;
    }
    state
        .setting(lists, b"priority")
        .unwrap_or_else(|| i64::try_from(now).unwrap_or(i64::MAX))
}

fn accept(state: &Presence, env: &mut Env<'_>, expires: u32, etag: &[u8]) {
    let shown = expires.saturating_sub(state.expires_offset).to_string();
    let lines = [b"Expires: ", shown.as_bytes(), b"\r\nSIP-ETag: ", etag, b"\r\n"].concat();
    answer(env, 200, b"OK", &lines);
}
