//! registered() and reg_from_user(): what is known of a user, without routing there (Kamailio registrar module).

use super::Registrar;
use super::aor;
use super::details::keep_details;
use super::states;
use crate::modules::usrloc::attributes;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::contact::OwnedContact;
use crate::modules::usrloc::expire::seconds;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::net::Transport;
use shared::sip::Uri;
use std::net::IpAddr;

/// match_option: which values of `xavp_cfg` a contact must have.
const MATCH_CALL_ID: i64 = 1;
const MATCH_RECEIVED: i64 = 2;
const MATCH_CONTACT: i64 = 4;

/// match_action: what to do with the contact found.
const RESTORE_ATTRIBUTES: i64 = 1;
const SKIP_DETAILS: i64 = 2;

pub(super) fn registered(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return Code::FALSE;
    };
    let domain = usrloc.open(&call.text(0));
    let uri = call
        .has(1)
        .then(|| call.text_owned(1))
        .filter(|uri| !uri.is_empty());
    let (option, action) = (call.opt_int(2).unwrap_or(0), call.opt_int(3).unwrap_or(0));
    let env = &mut *call.env;
    let target = match &uri {
        Some(uri) => &uri[..],
        None if env.ctx.msg.is_reply() => env.ctx.msg.to().map_or(&b""[..], |to| to.uri),
        None => env.ctx.uri(),
    };
    let Some(aor) = aor::extract(target, registrar, usrloc.use_domain()) else {
        crate::log::error(
            "registrar",
            format_args!("failed to parse AoR [{}]", String::from_utf8_lossy(target)),
        );
        return Code::FALSE;
    };
    let matching = Match::read(env, registrar, option);
    let now = seconds(env.host.wall());
    let keeps = !registrar.xavp_rcd.is_empty() || !usrloc.xavp_contact.is_empty();
    let found: Result<Option<Option<OwnedContact>>, _> = domain.read(&aor, |mut contacts| {
        let contact = contacts
            .find(|contact| (registrar.use_expired || contact.is_alive(now)) && matching.holds(contact));
        contact.map(|contact| keeps.then(|| contact.to_owned()))
    });
    let Ok(Some(details)) = found else {
        return Code::FALSE;
    };
    if let Some(contact) = details {
        let view = contact.view();
        if !usrloc.xavp_contact.is_empty()
            && action & RESTORE_ATTRIBUTES != 0
            && !view.attributes().is_empty()
        {
            env.lists
                .xavp
                .push(&usrloc.xavp_contact, attributes::unpack(view.attributes()));
        }
        if !registrar.xavp_rcd.is_empty() && action & SKIP_DETAILS == 0 {
            keep_details(env, registrar, view);
        }
    }
    Code::TRUE
}

/// What a contact must have; an option without a value in `xavp_cfg` asks for nothing.
#[derive(Default)]
struct Match {
    call_id: Option<Vec<u8>>,
    received: Option<Vec<u8>>,
    contact: Option<Vec<u8>>,
}

impl Match {
    fn read(env: &Env<'_>, registrar: &Registrar, option: i64) -> Self {
        let field = |bit, name: &[u8]| {
            let wanted = option & bit != 0;
            let found = env.lists.xavp.field(&registrar.xavp_cfg, name);
            found.filter(|_| wanted).map(|value| value.to_text().into_owned())
        };
        Self {
            call_id: field(MATCH_CALL_ID, b"match_callid"),
            received: field(MATCH_RECEIVED, b"match_received"),
            contact: field(MATCH_CONTACT, b"match_contact"),
        }
    }

    fn holds(&self, contact: &Contact<'_>) -> bool {
        let fits =
            |wanted: &Option<Vec<u8>>, value: &[u8]| wanted.as_deref().is_none_or(|wanted| wanted == value);
        fits(&self.call_id, contact.call_id())
            && fits(&self.received, contact.received())
            && fits(&self.contact, contact.address())
    }
}

/// mode: the port must match too.
const WITH_PORT: i64 = 1;
/// mode: the transport must match too.
const WITH_TRANSPORT: i64 = 2;

pub(super) fn reg_from_user(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return Code::FALSE;
    };
    let domain = usrloc.open(&call.text(0));
    let (uri, mode) = (call.text_owned(1), call.int(2));
    let Some(aor) = aor::extract(&uri, registrar, usrloc.use_domain()) else {
        return Code::FALSE;
    };
    let (now, source) = (seconds(call.env.host.wall()), call.env.ctx.source);
    let from_there = |contact: Contact<'_>| {
        let place = if contact.received().is_empty() {
            contact.address()
        } else {
            contact.received()
        };
        let Ok(uri) = Uri::parse(place) else { return false };
        let ip = std::str::from_utf8(uri.host_bare())
            .ok()
            .and_then(|host| host.parse::<IpAddr>().ok());
        let transport = uri
            .param(b"transport")
            .flatten()
            .and_then(Transport::from_bytes)
            .unwrap_or(Transport::Udp);
        ip == Some(source.peer.ip())
            && (mode & WITH_PORT == 0 || uri.port_or_default() == source.peer.port())
            && (mode & WITH_TRANSPORT == 0 || transport == source.transport)
    };
    let found = domain.read(&aor, |contacts| {
        contacts.filter(|contact| contact.is_alive(now)).any(from_there)
    });
    Code::from(found.unwrap_or(false))
}
