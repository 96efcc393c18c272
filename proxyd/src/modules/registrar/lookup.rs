//! lookup(): from an address of record to its contacts (RFC 3261 §16.5, RFC 3327 §5.4, RFC 5627 §5.1).

use super::Registrar;
use super::aor;
use super::aor::Aor;
use super::details::keep_details;
use super::reply::reversed_hex;
use super::request::method_bit;
use super::states;
use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::aor_hash;
use crate::modules::usrloc::attributes;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::contact::OwnedContact;
use crate::modules::usrloc::contact::Q_UNSET;
use crate::modules::usrloc::expire::seconds;
use crate::modules::usrloc::socket_of;
use crate::modules::usrloc::store::Contacts;
use crate::modules::usrloc::table::Domain;
use crate::proxy::branch;
use crate::proxy::branch::Branch;
use crate::proxy::context::Context;
use crate::proxy::sockets::Sockets;
use crate::script::lists::Item;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::value::Value;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::scan::Cursor;
use shared::sip::scan::trim;

/// No contact.
const NONE: Code = Code(-1);
/// Contacts, but none that knows the method.
const NO_METHOD: Code = Code(-2);
/// The URI is wrong, or the database does not answer.
const ERROR: Code = Code(-3);

/// Where contacts go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Into {
    /// The first becomes the Request-URI, the others branches.
    RequestUri,
    /// All become branches.
    Branches,
}

pub(super) fn lookup(call: &mut Call<'_, '_>) -> Code {
    with_uri(call, Into::RequestUri)
}

pub(super) fn lookup_to_dset(call: &mut Call<'_, '_>) -> Code {
    with_uri(call, Into::Branches)
}

fn with_uri(call: &mut Call<'_, '_>, into: Into) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return ERROR;
    };
    let domain = usrloc.open(&call.text(0));
    let uri = call
        .has(1)
        .then(|| call.text_owned(1))
        .filter(|uri| !uri.is_empty());
    find(call.env, registrar, usrloc, &domain, uri.as_deref(), into)
}

/// What is known before contacts are seen.
struct Wanted {
    now: u32,
    /// Methods a contact must know; 0 any.
    methods: u32,
    /// Branch flags of which a contact must have one; 0 any.
    cflags: u32,
    instance: Vec<u8>,
    ruid: Vec<u8>,
    /// How many branches the request may have.
    most: usize,
}

fn find(
    env: &mut Env<'_>,
    registrar: &Registrar,
    usrloc: &Usrloc,
    domain: &Domain,
    uri: Option<&[u8]>,
    into: Into,
) -> Code {
    let mut wanted = Wanted {
        now: if registrar.use_expired {
            0
        } else {
            seconds(env.host.wall())
        },
        methods: 0,
        cflags: 0,
        instance: Vec::new(),
        ruid: Vec::new(),
        most: env.ctx.most_branches,
    };
    if registrar.method_filtering && env.ctx.msg.to_tag().is_empty() {
        wanted.methods = method_bit(env.ctx.msg.method());
    }
    if registrar.filter_flags
        && let Some(Value::Int(flags)) = env.lists.xavp.field(&registrar.xavp_cfg, b"rlf_bflags")
    {
        wanted.cflags = *flags as u32;
    }
    let target = uri.unwrap_or_else(|| env.ctx.uri());
    let Some(aor) = address(target, registrar, usrloc, domain, &mut wanted) else {
        crate::log::error(
            "registrar",
            format_args!("failed to parse AoR [{}]", String::from_utf8_lossy(target)),
        );
        return ERROR;
    };
    let path_local = |uri: &Uri<'_>| registrar.path_check_local && env.is_myself(uri.host_bare(), 0);
    let mut found = Found::default();
    let result = domain.read(&aor, |contacts| {
        found.take(
            contacts,
            &wanted,
            registrar,
            env.host.sockets(),
            into,
            !usrloc.xavp_contact.is_empty(),
            &path_local,
        )
    });
    let Ok(code) = result else { return ERROR };
    if code != Code::TRUE {
        return code;
    }
    found.apply(env.ctx);
    if !registrar.xavp_rcd.is_empty()
        && let Some(contact) = found.details.first()
    {
        keep_details(env, registrar, contact.view());
    }
    if !usrloc.xavp_contact.is_empty() {
        for contact in found
            .details
            .iter()
            .rev()
            .filter(|contact| !contact.view().attributes().is_empty())
        {
            env.lists.xavp.push(
                &usrloc.xavp_contact,
                attributes::unpack(contact.view().attributes()),
            );
        }
    }
    code
}

/// The address that a URI names: by its user and host, or by the GRUU that it is (RFC 5627 §5.1).
fn address(
    uri: &[u8],
    registrar: &Registrar,
    usrloc: &Usrloc,
    domain: &Domain,
    wanted: &mut Wanted,
) -> Option<Aor> {
    let parsed = Uri::parse(uri).ok()?;
    match parsed.param(b"gr").filter(|_| registrar.gruu) {
        None => {}
        Some(Some(instance)) if !instance.is_empty() => {
            let instance = shared::sip::params::unescape(instance);
            wanted.instance = [b"<", &*instance, b">"].concat();
        }
        Some(_) => {
            // A temporary one holds the ruid, and the hash of its address as a seal.
            let user = parsed.user?;
            let at = memchr::memrchr(b'-', user)?;
            let (ruid, seal) = (user.get(..at)?, user.get(at + 1..)?);
            wanted.ruid = ruid.to_vec();
            let aor = domain
                .store()
                .read_ruid(ruid, |contact| Aor::from_slice(contact.aor()))?;
            return (reversed_hex(aor_hash(&aor)).as_slice() == seal).then_some(aor);
        }
    }
    aor::extract(uri, registrar, usrloc.use_domain())
}

/// What a lookup changes in the request.
#[derive(Default)]
struct Found {
    first: Option<Branch>,
    others: Vec<Branch>,
    details: Vec<OwnedContact>,
}

impl Found {
    #[expect(
        clippy::too_many_arguments,
        reason = "it runs under the table's lock with everything looked up before"
    )]
    fn take(
        &mut self,
        contacts: Contacts<'_>,
        wanted: &Wanted,
        registrar: &Registrar,
        sockets: &Sockets,
        into: Into,
        keeps_attributes: bool,
        path_local: &dyn Fn(&Uri<'_>) -> bool,
    ) -> Code {
        let mut alive = false;
        for contact in contacts.filter(|contact| contact.is_alive(wanted.now)) {
            if !wanted.instance.is_empty() && contact.instance() != wanted.instance
                || !wanted.ruid.is_empty() && contact.ruid() != wanted.ruid
                || wanted.cflags != 0 && contact.cflags() & wanted.cflags == 0
            {
                continue;
            }
            alive = true;
            if !contact.allows(wanted.methods) {
                continue;
            }
            let full = self.others.len() + 2 > wanted.most;
            if full || (!registrar.append_branches && self.first.is_some()) {
                break;
            }
            if keeps_attributes || !registrar.xavp_rcd.is_empty() {
                self.details.push(contact.to_owned());
            }
            let branch = branch_of(contact, sockets, path_local);
            if self.first.is_none() && into == Into::RequestUri {
                self.first = Some(branch);
            } else {
                self.others.push(branch);
            }
        }
        match (self.first.is_some() || !self.others.is_empty(), alive) {
            (true, _) => Code::TRUE,
            (false, true) => NO_METHOD,
            (false, false) => NONE,
        }
    }

    fn apply(&mut self, ctx: &mut Context) {
        if let Some(first) = self.first.take() {
            ctx.aim(first);
        }
        for other in self.others.drain(..) {
            if ctx.append_branch(other).is_err() {
                crate::log::warning(
                    "registrar",
                    format_args!("more contacts than branches: the rest is left out"),
                );
                break;
            }
        }
    }
}

/// A contact as a target: behind NAT the next hop is where it was seen, behind proxies the first of its Path.
fn branch_of(contact: Contact<'_>, sockets: &Sockets, path_local: &dyn Fn(&Uri<'_>) -> bool) -> Branch {
    let optional = |text: &[u8]| (!text.is_empty()).then(|| text.to_vec());
    let (path, hop) = path_of(contact.path, path_local);
    Branch {
        uri: contact.address().to_vec(),
        dst_uri: hop.or_else(|| optional(contact.received())),
        path,
        q: if contact.q() == Q_UNSET {
            branch::Q_UNSET
        } else {
            contact.q().into()
        },
        flags: contact.cflags(),
        socket: socket_of(contact.socket, sockets),
        instance: optional(contact.instance()),
        ruid: optional(contact.ruid()),
        location_ua: optional(contact.user_agent),
    }
}

/// The Path to use and its first hop, without a first value that is this proxy itself.
fn path_of(path: &[u8], is_local: &dyn Fn(&Uri<'_>) -> bool) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let mut rest = path;
    loop {
        if rest.is_empty() {
            return (None, None);
        }
        let end = Cursor::new(rest).until_outside(b',').len();
        let (value, tail) = rest.split_at_checked(end).unwrap_or((rest, b""));
        let uri = NameAddr::parse(trim(value)).map_or(&b""[..], |addr| addr.uri);
        if Uri::parse(uri).is_ok_and(|uri| is_local(&uri)) {
            rest = trim(tail.get(1..).unwrap_or_default());
            continue;
        }
        return (
            Some(rest.to_vec()),
            Some(uri.to_vec()).filter(|uri| !uri.is_empty()),
        );
    }
}

pub(super) fn lookup_branches(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return ERROR;
    };
    let domain = usrloc.open(&call.text(0));
    let env = &mut *call.env;
    let plain = |branch: &Branch| *branch == Branch::new(branch.uri.clone());
    let (targets, kept): (Vec<Branch>, Vec<Branch>) =
        std::mem::take(&mut env.ctx.branches).into_iter().partition(plain);
    env.ctx.branches = kept;
    let code = find(env, registrar, usrloc, &domain, None, Into::RequestUri);
    for target in targets {
        // A branch that is no user of ours stays what it is.
        if find(env, registrar, usrloc, &domain, Some(&target.uri), Into::Branches) != Code::TRUE {
            let _ = env.ctx.append_branch(target);
        }
    }
    code
}

pub(super) fn lookup_xavp(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return ERROR;
    };
    let domain = usrloc.open(&call.text(0));
    let (uri, record, contact) = (call.text_owned(1), call.text_owned(2), call.text_owned(3));
    let env = &mut *call.env;
    let Some(aor) = aor::extract(&uri, registrar, usrloc.use_domain()) else {
        return ERROR;
    };
    let now = seconds(env.host.wall());
    let alive = |c: &Contact<'_>| registrar.use_expired || c.is_alive(now);
    let Ok(found) = domain.read(&aor, |all| {
        all.filter(alive).map(Contact::to_owned).collect::<Vec<_>>()
    }) else {
        return ERROR;
    };
    if found.is_empty() {
        return NONE;
    }
    let field = |name: &[u8], value: Value<'_>| (Box::from(name), value.into_owned());
    let fields = vec![
        field(b"aor", Value::text(&aor)),
        field(b"count", Value::Int(found.len() as i64)),
    ];
    env.lists.xavp.push(&record, Item::Fields(fields));
    for owned in found.iter().rev() {
        let view = owned.view();
        let (_, hop) = path_of(view.path, &|_| false);
        let next = hop.as_deref().unwrap_or_else(|| view.received());
        let fields = [
            (&b"uri"[..], Value::text(view.address())),
            (b"socket", Value::text_or_null(view.socket)),
            (b"dsturi", Value::text_or_null(next)),
        ];
        let fields = fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(n, v)| field(n, v))
            .collect();
        env.lists.xavp.push(&contact, Item::Fields(fields));
    }
    Code::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::sockets::Listener;
    use shared::net::Transport;
    use std::net::SocketAddr;

    #[test]
    fn a_path_gives_the_next_hop() {
        for (path, local, expected) in [
            ("", "", None),
            (
                "<sip:p1:5070;lr>,<sip:p2;lr>",
                "",
                Some(("<sip:p1:5070;lr>,<sip:p2;lr>", "sip:p1:5070;lr")),
            ),
            (
                "<sip:p1;lr>, <sip:p2;lr>",
                "p1",
                Some(("<sip:p2;lr>", "sip:p2;lr")),
            ),
            ("<sip:p1;lr>", "p1", None),
        ] {
            let (rest, hop) = path_of(path.as_bytes(), &|uri| uri.host == local.as_bytes());
            let text = |bytes: Option<Vec<u8>>| bytes.map(|b| String::from_utf8(b).unwrap());
            let expected = expected.map(|(rest, hop)| (rest.to_owned(), hop.to_owned()));
            assert_eq!(text(rest).zip(text(hop)), expected, "{path}");
        }
    }

    #[test]
    fn a_socket_is_found_by_what_is_stored() {
        let bound = SocketAddr::from(([10, 0, 0, 1], 5060));
        let sockets = Sockets {
            listeners: vec![
                Listener::new(Transport::Udp, bound, None, None),
                Listener::new(Transport::Tcp, bound, Some(("sip.test".into(), 5080)), None),
            ],
            ..Sockets::default()
        };
        for (text, expected) in [
            ("udp:10.0.0.1:5060", Some(0)),
            ("tcp:10.0.0.1:5060", Some(1)),
            ("tcp:sip.test:5080", Some(1)),
            ("udp:10.0.0.2:5060", None),
            ("", None),
            ("nonsense", None),
        ] {
            assert_eq!(socket_of(text.as_bytes(), &sockets), expected, "{text}");
        }
    }
}
