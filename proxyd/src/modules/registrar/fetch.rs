//! reg_fetch_contacts() and `$ulc(profile=>attr)` (Kamailio registrar module).

use super::aor;
use super::states;
use crate::modules::usrloc::aor_hash;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::expire::seconds;
use crate::modules::usrloc::profiles;
use crate::modules::usrloc::profiles::Profile;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::value::Value;

pub(super) fn reg_fetch_contacts(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return Code::FALSE;
    };
    let domain = usrloc.open(&call.text(0));
    let (uri, profile) = (call.text_owned(1), call.text_owned(2));
    let Some(aor) = aor::extract(&uri, registrar, usrloc.use_domain()) else {
        crate::log::error(
            "registrar",
            format_args!("failed to parse AoR [{}]", String::from_utf8_lossy(&uri)),
        );
        return Code::FALSE;
    };
    let now = seconds(call.env.host.wall());
    let alive = |contact: &Contact<'_>| registrar.use_expired || contact.is_alive(now);
    let found = domain.read(&aor, |contacts| {
        contacts.filter(alive).map(Contact::to_owned).collect::<Vec<_>>()
    });
    match found {
        Ok(contacts) if !contacts.is_empty() => {
            profiles::set(&profile, &domain.name, &aor, contacts);
            Code::TRUE
        }
        _ => {
            profiles::free(&profile);
            Code::FALSE
        }
    }
}

pub(super) fn reg_free_contacts(call: &mut Call<'_, '_>) -> Code {
    profiles::free(&call.text(0));
    Code::TRUE
}

/// An attribute of `$ulc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attr {
    Aor,
    Domain,
    AorHash,
    Addr,
    Path,
    Received,
    Expires,
    CallId,
    Q,
    CSeq,
    Flags,
    CFlags,
    UserAgent,
    Socket,
    Modified,
    Methods,
    Count,
    Ruid,
    RegId,
    Instance,
    ConId,
    ServerId,
}

const ATTRS: [(&str, Attr); 22] = [
    ("aor", Attr::Aor),
    ("domain", Attr::Domain),
    ("aorhash", Attr::AorHash),
    ("addr", Attr::Addr),
    ("path", Attr::Path),
    ("received", Attr::Received),
    ("expires", Attr::Expires),
    ("callid", Attr::CallId),
    ("q", Attr::Q),
    ("cseq", Attr::CSeq),
    ("flags", Attr::Flags),
    ("cflags", Attr::CFlags),
    ("user_agent", Attr::UserAgent),
    ("socket", Attr::Socket),
    ("modified", Attr::Modified),
    ("methods", Attr::Methods),
    ("count", Attr::Count),
    ("ruid", Attr::Ruid),
    ("regid", Attr::RegId),
    ("instance", Attr::Instance),
    ("conid", Attr::ConId),
    ("server_id", Attr::ServerId),
];

struct Ulc {
    profile: Box<[u8]>,
    attr: Attr,
}

pub(super) fn compile_ulc(inner: &PvInner<'_>) -> Result<PvData, String> {
    let text = String::from_utf8_lossy(inner.text);
    let (profile, attr) = text.split_once("=>").ok_or("needs the form profile=>attr")?;
    let attr = attr.trim();
    let found = ATTRS
        .iter()
        .find(|(name, _)| *name == attr)
        .map(|(_, attr)| *attr);
    let attr = found.ok_or_else(|| {
        let known: Vec<&str> = ATTRS.iter().map(|(name, _)| *name).collect();
        format!("unknown attribute {attr:?}: known are {}", known.join(", "))
    })?;
    Ok(PvData::Other(Box::new(Ulc {
        profile: profile.trim().as_bytes().into(),
        attr,
    })))
}

pub(super) fn ulc<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some(ulc) = spec.other::<Ulc>() else {
        return Value::Null;
    };
    let index = spec.at(env).unwrap_or(0);
    profiles::with(&ulc.profile, |profile| attribute(profile, ulc.attr, index)).unwrap_or_default()
}

fn attribute(profile: &Profile, attr: Attr, index: i64) -> Value<'static> {
    let contact = usize::try_from(index)
        .ok()
        .and_then(|index| profile.contacts.get(index));
    let int = |n: u32| Value::Int(n.into());
    match (attr, contact) {
        (Attr::Count, _) => Value::Int(profile.contacts.len() as i64),
        (Attr::Aor, _) => Value::owned(&*profile.aor),
        (Attr::Domain, _) => Value::owned(profile.domain.as_bytes()),
        (Attr::AorHash, _) => int(aor_hash(&profile.aor)),
        (_, None) => Value::Null,
        (attr, Some(contact)) => {
            let contact = contact.view();
            match attr {
                Attr::Addr => Value::owned(contact.address()),
                Attr::Path => Value::owned(contact.path),
                Attr::Received => Value::owned(contact.received()),
                Attr::Expires => int(contact.expires()),
                Attr::CallId => Value::owned(contact.call_id()),
                Attr::Q => Value::Int(contact.q().into()),
                Attr::CSeq => int(contact.cseq()),
                Attr::Flags => int(contact.flags()),
                Attr::CFlags => int(contact.cflags()),
                Attr::UserAgent => Value::owned(contact.user_agent),
                Attr::Socket => Value::text_or_null(contact.socket).into_owned(),
                Attr::Modified => int(contact.modified()),
                Attr::Methods => int(contact.methods()),
                Attr::Ruid => Value::owned(contact.ruid()),
                Attr::RegId => int(contact.reg_id()),
                Attr::Instance => Value::text_or_null(contact.instance()).into_owned(),
                Attr::ConId => contact
                    .connection()
                    .and_then(|id| i64::try_from(id).ok())
                    .map_or(Value::Null, Value::Int),
                Attr::ServerId => int(contact.server_id()),
                Attr::Count | Attr::Aor | Attr::Domain | Attr::AorHash => Value::Null,
            }
        }
    }
}
