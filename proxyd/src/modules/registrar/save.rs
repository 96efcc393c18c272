//! save(): a REGISTER into the location table (RFC 3261 §10.3), all of it or nothing.

use super::PathMode;
use super::Registrar;
use super::aor;
use super::aor::Aor;
use super::outcome::Refusal;
use super::reply;
use super::reply::Gruu;
use super::request::Asked;
use super::request::PathVector;
use super::request::Request;
use super::request::number;
use super::states;
use crate::modules::nathelper::contact::is_rewritten;
use crate::modules::usrloc::COMMIT_TIMEOUT;
use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::attributes;
use crate::modules::usrloc::contact::Binding;
use crate::modules::usrloc::contact::NO_CONNECTION;
use crate::modules::usrloc::expire::seconds;
use crate::modules::usrloc::matching::Found;
use crate::modules::usrloc::store::Edit;
use crate::modules::usrloc::table::Domain;
use crate::modules::usrloc::table::Ticket;
use crate::proxy::context::Context;
use crate::script::lists::Item;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Routes;
use crate::script::value::Value;
use crate::script::value::print_int;
use shared::sip::Message;
use shared::sip::Uri;
use shared::sip::header::contact::q_thousandths;
use smallvec::SmallVec;
use std::cell::RefCell;

/// Flags of save().
const MEMORY_ONLY: i64 = 0x01;
const NO_REPLY: i64 = 0x02;
const ONE_CONTACT: i64 = 0x04;
const EXACT_EXPIRES: i64 = 0x08;
const PREPARE_REPLY: i64 = 0x10;

/// Why a contact is stored or refused besides what the message says.
struct Facts {
    now: u32,
    random: u64,
    flags: i64,
    /// Source address, where NAT was found.
    received: Vec<u8>,
    socket: SmallVec<[u8; 64]>,
    connection: u64,
    cflags: u32,
    attributes: Vec<u8>,
    q: Option<i16>,
    expires: Option<u32>,
    max_contacts: u32,
    /// Details of the last contact are wanted.
    details: bool,
}

/// The end of a REGISTER that was heeded.
struct Saved {
    code: i32,
    ticket: Option<Ticket>,
    details: Option<crate::modules::usrloc::contact::OwnedContact>,
}

/// A reply that save() was told not to send.
struct Held {
    message: u64,
    status: u16,
    reason: &'static str,
    headers: Vec<u8>,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

pub(super) fn save(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return Code::FALSE;
    };
    let table = call.text_owned(0);
    let flags = flags_of(&call.text(1));
    let uri = call.has(2).then(|| call.text_owned(2));
    if !call.env.may_write() {
        return explain_save(call.env, flags, &table);
    }
    let domain = usrloc.open(&table);
    let env = &mut *call.env;
    let facts = Facts::collect(env, registrar, usrloc, flags);
    let mut headers = Vec::with_capacity(256);
    // What nathelper made of the Contact is what is stored.
    let rewritten = is_rewritten(env.ctx).then(|| Message::parse(env.ctx.lumps.apply(&env.ctx.msg)).ok());
    let rewritten = rewritten.flatten();
    let result = run(
        rewritten.as_ref().unwrap_or(&env.ctx.msg),
        uri.as_deref(),
        registrar,
        usrloc,
        &domain,
        &facts,
        &mut headers,
    );
    let held = flags & NO_REPLY == 0
        && result
            .as_ref()
            .is_ok_and(|saved| answer_when_safe(env, registrar, saved, &headers));
    let result = result.and_then(|saved| match saved.ticket.clone().filter(|_| !held) {
        Some(ticket) if ticket.is_pending() => match ticket.wait(COMMIT_TIMEOUT) {
            Ok(()) => Ok(saved),
            Err(_) => {
                reply::write_refusal(&mut headers, Refusal::Unavailable, registrar, b"");
                Err(Refusal::Unavailable)
            }
        },
        _ => Ok(saved),
    });
    let (code, status, reason) = match &result {
        Ok(saved) => (saved.code, 200, "OK"),
        Err(refusal) => {
            let (status, reason) = refusal.status();
            (refusal.code(), status, reason)
        }
    };
    if result.is_ok() {
        registrar.accepted.inc()
    } else {
        registrar.rejected.inc()
    }
    if let Ok(Saved {
        details: Some(contact),
        ..
    }) = &result
    {
        keep_details(env, registrar, contact.view());
    }
    if !held {
        answer(env, flags, status, reason, headers);
    }
    Code(code)
}

/// Answers as if the contacts were stored, for a sandbox changes no table.
fn explain_save(env: &mut Env<'_>, flags: i64, table: &[u8]) -> Code {
    let contacts: Vec<String> = env
        .ctx
        .msg
        .all(shared::sip::HeaderName::Contact)
        .map(|header| String::from_utf8_lossy(env.ctx.msg.value(header)).into_owned())
        .collect();
    env.note(format_args!(
        "would save in {}: {}",
        String::from_utf8_lossy(table),
        if contacts.is_empty() {
            "nothing, only list contacts".to_owned()
        } else {
            contacts.join(", ")
        }
    ));
    answer(env, flags, 200, "OK", Vec::new());
    Code::TRUE
}

/// Leaves the answer to the thread that writes the change down: the worker goes on with other messages, and their
/// changes share a commit. False when the answer has to be waited for here.
fn answer_when_safe(env: &mut Env<'_>, registrar: &Registrar, saved: &Saved, headers: &[u8]) -> bool {
    let Some(ticket) = saved.ticket.as_ref().filter(|ticket| ticket.is_pending()) else {
        return false;
    };
    if env.route.meets(Routes::REPLY.or(Routes::ONREPLY)) || ticket.is_congested() {
        return false;
    }
    let mut hold = |status, reason: &str, headers: &[u8]| {
        let before = env.ctx.reply_headers.len();
        env.ctx.reply_headers.extend_from_slice(headers);
        let (host, scope) = env.split();
        let held = host.held_reply(scope, status, reason.as_bytes());
        env.ctx.reply_headers.truncate(before);
        held
    };
    let mut why = Vec::new();
    reply::write_refusal(&mut why, Refusal::Unavailable, registrar, b"");
    let (status, reason) = Refusal::Unavailable.status();
    let (Some(done), Some(failed)) = (hold(200, "OK", headers), hold(status, reason, &why)) else {
        return false;
    };
    env.ctx.answered = 200;
    ticket
        .clone()
        .then(Box::new(move |safe| if safe { done() } else { failed() }));
    true
}

fn flags_of(text: &[u8]) -> i64 {
    match text {
        [b'0', b'x' | b'X', hex @ ..] => std::str::from_utf8(hex)
            .ok()
            .and_then(|hex| i64::from_str_radix(hex, 16).ok())
            .unwrap_or(0),
        decimal => crate::script::value::leading_int(decimal).unwrap_or(0),
    }
}

/// Sends the reply, or keeps it for reg_send_reply(); there is nothing to answer in a reply's route.
fn answer(env: &mut Env<'_>, flags: i64, status: u16, reason: &'static str, headers: Vec<u8>) {
    if env.route.meets(Routes::REPLY.or(Routes::ONREPLY)) {
        return;
    }
    if flags & NO_REPLY == 0 {
        env.ctx.reply_headers.extend_from_slice(&headers);
        let (host, scope) = env.split();
        host.reply(scope, status, reason.as_bytes());
        return;
    }
    if flags & PREPARE_REPLY != 0 {
        env.ctx.reply_headers.extend_from_slice(&headers);
        return;
    }
    HELD.set(Some(Held {
        message: env.ctx.id,
        status,
        reason,
        headers,
    }));
}

pub(super) fn reg_send_reply(call: &mut Call<'_, '_>) -> Code {
    let held = HELD.take().filter(|held| held.message == call.env.ctx.id);
    let (status, reason) = match held {
        Some(held) => {
            call.env.ctx.reply_headers.extend_from_slice(&held.headers);
            (held.status, held.reason)
        }
        None => (200, "OK"),
    };
    let (host, scope) = call.split();
    host.reply(scope, status, reason.as_bytes())
}

impl Facts {
    fn collect(env: &mut Env<'_>, registrar: &Registrar, usrloc: &Usrloc, flags: i64) -> Self {
        let random = env.host.random();
        let config = |name: &[u8]| -> Option<Value<'_>> {
            if registrar.xavp_cfg.is_empty() {
                return None;
            }
            let Item::Fields(fields) = env.lists.xavp.item(&registrar.xavp_cfg, 0)? else {
                return None;
            };
            fields
                .iter()
                .find(|(field, _)| **field == *name)
                .map(|(_, value)| value.borrow())
        };
        let integer = |name| match config(name) {
            Some(Value::Int(n)) => Some(n),
            _ => None,
        };
        let socket = match config(b"socket") {
            Some(Value::Str(text)) => SmallVec::from_slice(&text),
            _ => socket_of(env.ctx, env.host.sockets(), registrar),
        };
        let attributes = match &usrloc.xavp_contact[..] {
            [] => Vec::new(),
            name => env
                .lists
                .xavp
                .item(name, 0)
                .map_or_else(Vec::new, attributes::pack),
        };
        let received = match &registrar.received_avp {
            Some(pv) => pv.read(env).into_text().into_owned(),
            None => Vec::new(),
        };
        let connection = integer(b"tcpconn_id")
            .and_then(|id| u64::try_from(id).ok())
            .or(env.ctx.source.conn);
        Self {
            now: seconds(env.host.wall()),
            random,
            flags,
            received,
            socket,
            connection: connection.unwrap_or(NO_CONNECTION),
            cflags: env.ctx.bflags,
            attributes,
            q: integer(b"q")
                .and_then(|q| i16::try_from(q).ok())
                .filter(|q| (0..=1000).contains(q)),
            expires: integer(b"expires").and_then(|n| u32::try_from(n).ok()),
            max_contacts: integer(b"max_contacts")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(registrar.max_contacts),
            details: !registrar.xavp_rcd.is_empty(),
        }
    }
}

/// The socket a REGISTER arrived at, as the table stores it: `udp:10.0.0.1:5060`.
fn socket_of(
    ctx: &Context,
    sockets: &crate::proxy::sockets::Sockets,
    registrar: &Registrar,
) -> SmallVec<[u8; 64]> {
    if ctx.flags & registrar.sock_flag != 0 && !registrar.sock_hdr_name.is_empty() {
        let header = ctx.msg.all_named(&registrar.sock_hdr_name).next();
        if let Some(header) = header {
            return SmallVec::from_slice(ctx.msg.value(header));
        }
    }
    let mut text = SmallVec::new();
    if let Some(listener) = sockets.get(ctx.source.socket) {
        let mut out = Vec::with_capacity(40);
        write_socket(&mut out, listener, registrar.advertise);
        text.extend_from_slice(&out);
    }
    text
}

pub(super) fn write_socket(out: &mut Vec<u8>, listener: &crate::proxy::sockets::Listener, advertise: bool) {
    out.extend_from_slice(listener.transport.as_str().as_bytes());
    out.push(b':');
    if advertise || listener.advertise.is_none() {
        out.extend_from_slice(listener.host_text.as_bytes());
        out.push(b':');
        out.extend_from_slice(listener.port_text.as_bytes());
    } else {
        // SocketAddr prints an IPv6 address in brackets, as the table has it.
        out.extend_from_slice(listener.address.to_string().as_bytes());
    }
}

/// Heeds a REGISTER: what it asks for is read and checked, then done at once; the reply's headers are written either way.
fn run(
    msg: &Message,
    uri: Option<&[u8]>,
    registrar: &Registrar,
    usrloc: &Usrloc,
    domain: &Domain,
    facts: &Facts,
    headers: &mut Vec<u8>,
) -> Result<Saved, Refusal> {
    let refuse = |headers: &mut Vec<u8>, refusal, path: &[u8]| {
        reply::write_refusal(headers, refusal, registrar, path);
        refusal
    };
    let request = Request::read(msg, registrar).map_err(|refusal| refuse(headers, refusal, b""))?;
    let to = uri.unwrap_or(request.to);
    let Some(aor) = aor::extract(to, registrar, usrloc.use_domain()) else {
        crate::log::error(
            "registrar",
            format_args!("failed to parse AoR [{}]", String::from_utf8_lossy(to)),
        );
        return Err(refuse(headers, Refusal::Aor, b""));
    };
    let path = PathVector::read(msg, registrar, request.knows_path);
    let gruu = gruu_of(&request, registrar, to);
    let register = Register {
        request: &request,
        registrar,
        usrloc,
        facts,
        aor: &aor,
        path: path.as_ref().ok(),
    };

    let result = if request.contacts.is_empty() && !request.star {
        let listed = domain.read(&aor, |contacts| {
            reply::write_contacts(headers, contacts, facts.now, registrar, gruu)
        });
        listed.map(|()| {
            (
                Ok(Saved {
                    code: 4,
                    ticket: None,
                    details: None,
                }),
                None,
            )
        })
    } else if let Err((refusal, _)) = &path {
        let listed = domain.read(&aor, |contacts| {
            reply::write_contacts(headers, contacts, facts.now, registrar, gruu)
        });
        listed.map(|()| (Err(*refusal), None))
    } else {
        let edited = domain.edit(&aor, |edit| {
            let result = register.apply(edit);
            if result
                .as_ref()
                .map_or_else(|refusal| refusal.lists_contacts(), |_| true)
            {
                reply::write_contacts(headers, edit.contacts(), facts.now, registrar, gruu);
            }
            result
        });
        edited.map(|(result, ticket)| (result, Some(ticket)))
    };
    let path_text = match &path {
        Ok(path) | Err((_, path)) => &*path.text,
    };
    match result.unwrap_or((Err(Refusal::Unavailable), None)) {
        (Ok(saved), ticket) => {
            if !path_text.is_empty() && !request.contacts.is_empty() {
                match registrar.path_mode {
                    PathMode::Off => {}
                    PathMode::Lazy if !request.knows_path => {}
                    PathMode::Lazy | PathMode::Strict => reply::write_line(headers, b"Path", path_text),
                }
            }
            write_outbound(headers, &request, registrar);
            let ticket = ticket.filter(|_| facts.flags & MEMORY_ONLY == 0);
            Ok(Saved { ticket, ..saved })
        }
        (Err(refusal), _) => {
            log_refusal(refusal, &aor);
            Err(refuse(headers, refusal, path_text))
        }
    }
}

fn log_refusal(refusal: Refusal, aor: &[u8]) {
    let aor = String::from_utf8_lossy(aor);
    match refusal {
        Refusal::TooMany => crate::log::info("registrar", format_args!("too many contacts for AOR <{aor}>")),
        Refusal::CSeq => crate::log::debug("registrar", format_args!("invalid cseq for aor <{aor}>")),
        _ => {}
    }
}

fn gruu_of<'m>(request: &Request<'m>, registrar: &Registrar, to: &'m [u8]) -> Option<Gruu<'m>> {
    let uri = Uri::parse(to)
        .ok()
        .filter(|_| registrar.gruu && request.knows_gruu)?;
    Some(Gruu {
        user: uri.user?,
        host: uri.host,
    })
}

fn write_outbound(headers: &mut Vec<u8>, request: &Request<'_>, registrar: &Registrar) {
    if registrar.outbound == super::Outbound::Off {
        return;
    }
    if request.uses_outbound(registrar) {
        // RFC 5626 §6: says that the flow is one.
        headers.extend_from_slice(b"Require: outbound\r\n");
        if registrar.flow_timer > 0 {
            headers.extend_from_slice(b"Flow-Timer: ");
            print_int(registrar.flow_timer.into(), headers);
            headers.extend_from_slice(b"\r\n");
        }
    }
    headers.extend_from_slice(b"Supported: outbound\r\n");
}

/// A REGISTER with all that decides what becomes of it.
struct Register<'r, 'm> {
    request: &'r Request<'m>,
    registrar: &'r Registrar,
    usrloc: &'r Usrloc,
    facts: &'r Facts,
    aor: &'r Aor,
    path: Option<&'r PathVector<'m>>,
}

impl Register<'_, '_> {
    /// Does all that is asked for; when any of it cannot be, nothing is changed (§10.3 step 7).
    fn apply(&self, edit: &mut Edit<'_>) -> Result<Saved, Refusal> {
        if self.request.star {
            return self.remove_all(edit);
        }
        let lifetimes = self.check(edit)?;
        let mut code = 1;
        let mut last = SmallVec::<[u8; 48]>::new();
        for (asked, lifetime) in self.request.contacts.iter().zip(lifetimes) {
            let binding = self.binding(asked, lifetime, b"")?;
            let found = self.find(edit, &binding);
            let at = match found {
                Found::None => None,
                Found::At(at) => Some(at),
                // The same REGISTER once more, or a contact named twice in it: it is done.
                Found::Retransmission(_) | Found::Outdated => continue,
            };
            if lifetime == 0 {
                if let Some(at) = at {
                    edit.remove(at);
                    code = 3;
                }
                continue;
            }
            let at = if self.facts.flags & ONE_CONTACT != 0 {
                keep_only(edit, at)
            } else {
                at
            };
            let result = match at {
                Some(at) => {
                    code = 2;
                    last.clear();
                    last.extend_from_slice(edit.contacts().nth(at).map_or(b"", |contact| contact.ruid()));
                    edit.update(at, &binding)
                }
                None => {
                    code = 1;
                    let mut ruid = Vec::with_capacity(32);
                    self.usrloc.write_ruid(&mut ruid);
                    last = SmallVec::from_slice(&ruid);
                    edit.insert(&Binding {
                        ruid: &ruid,
                        ..binding
                    })
                }
            };
            result.map_err(|_| Refusal::TooLong)?;
        }
        let details = self
            .facts
            .details
            .then(|| edit.contacts().find(|contact| *contact.ruid() == *last));
        Ok(Saved {
            code,
            ticket: None,
            details: details.flatten().map(|contact| contact.to_owned()),
        })
    }

    /// `Contact: *`: every binding goes, unless a newer REGISTER of the same Call-ID made one (§10.3 step 6).
    fn remove_all(&self, edit: &mut Edit<'_>) -> Result<Saved, Refusal> {
        let request = self.request;
        // Kamailio: an equal CSeq removes too; only what is newer is kept.
        if edit
            .contacts()
            .any(|contact| contact.call_id() == request.call_id && contact.cseq() > request.cseq)
        {
            return Err(Refusal::CSeq);
        }
        edit.clear();
        Ok(Saved {
            code: 3,
            ticket: None,
            details: None,
        })
    }

    /// Looks whether all of it can be done; answers how long each contact shall last, 0 for those to be removed.
    fn check(&self, edit: &Edit<'_>) -> Result<SmallVec<[u32; 2]>, Refusal> {
        let mut lifetimes = SmallVec::new();
        let now = self.facts.now;
        let mut count = edit.contacts().filter(|contact| contact.is_alive(now)).count();
        let mut adds = false;
        for (index, asked) in self.request.contacts.iter().enumerate() {
            let lifetime = self.lifetime(asked)?;
            let binding = self.binding(asked, lifetime, b"")?;
            let known = match self.find(edit, &binding) {
                Found::Outdated => return Err(Refusal::CSeq),
                Found::At(at) | Found::Retransmission(at) => edit
                    .contacts()
                    .nth(at)
                    .is_some_and(|contact| contact.is_alive(now)),
                Found::None => {
                    let earlier = self.request.contacts.get(..index).unwrap_or_default();
                    earlier
                        .iter()
                        .any(|other| other.address == asked.address && other.reg_id == asked.reg_id)
                }
            };
            match (known, lifetime) {
                (true, 0) => count = count.saturating_sub(1),
                (false, 1..) => count += 1,
                _ => {}
            }
            adds |= lifetime > 0;
            lifetimes.push(lifetime);
        }
        if self.facts.flags & ONE_CONTACT != 0 {
            count = usize::from(adds);
        }
        let max = self.facts.max_contacts as usize;
        if max > 0 && count > max && adds {
            return Err(Refusal::TooMany);
        }
        Ok(lifetimes)
    }

    fn find(&self, edit: &Edit<'_>, binding: &Binding<'_>) -> Found {
        self.usrloc
            .matching
            .find(edit.contacts(), binding, self.facts.now, self.usrloc.cseq_delay)
    }

    /// How long a contact shall last (§10.3 step 7): its parameter, else the header, else the default, within bounds.
    fn lifetime(&self, asked: &Asked<'_>) -> Result<u32, Refusal> {
        let registrar = self.registrar;
        let given = match (self.facts.expires, &asked.expires, self.request.expires) {
            (Some(expires), _, _) => Some(expires),
            (None, Some(param), _) => number(param),
            (None, None, Some(header)) => number(header),
            (None, None, None) => None,
        };
        if given == Some(0) {
            return Ok(0);
        }
        // Kamailio: what is no number counts as not given.
        let (seconds, percent) = match given {
            Some(seconds) => (seconds, registrar.expires_range),
            None => (registrar.default_expires, registrar.default_expires_range),
        };
        let percent = if self.facts.flags & EXACT_EXPIRES != 0 {
            0
        } else {
            percent
        };
        let span = u64::from(seconds) * u64::from(percent) / 100;
        let mut seconds = seconds - (self.facts.random % (span + 1)).min(span) as u32;
        if seconds < registrar.min_expires {
            if registrar.refuse_brief && given.is_some() {
                return Err(Refusal::TooBrief);
            }
            seconds = registrar.min_expires;
        }
        if registrar.max_expires > 0 {
            seconds = seconds.min(registrar.max_expires);
        }
        // A default of zero would make every REGISTER without a lifetime remove its contact.
        Ok(seconds.max(1))
    }

    fn binding<'b>(
        &'b self,
        asked: &'b Asked<'_>,
        lifetime: u32,
        ruid: &'b [u8],
    ) -> Result<Binding<'b>, Refusal> {
        let (facts, registrar) = (self.facts, self.registrar);
        let q = match (facts.q, &asked.q) {
            (Some(q), _) => q,
            (None, Some(text)) => q_thousandths(text)
                .and_then(|q| i16::try_from(q).ok())
                .ok_or(Refusal::Q)?,
            (None, None) => registrar.default_q,
        };
        let path = self.path;
        let path_received = path.map_or(&b""[..], |path| &path.received);
        let (received, cflags) = match (path_received, &asked.received[..], &facts.received[..]) {
            // The first proxy saw where the client is, and that it is behind NAT.
            (from_path @ [_, ..], _, _) => (from_path, facts.cflags | self.usrloc.nat_bflag),
            (_, param @ [_, ..], _) => (param, facts.cflags),
            (_, _, avp) => (avp, facts.cflags),
        };
        let keeps_instance = registrar.gruu || registrar.outbound != super::Outbound::Off;
        let instance: &[u8] = if keeps_instance { &asked.instance } else { b"" };
        Ok(Binding {
            aor: self.aor,
            address: asked.address,
            ruid,
            call_id: self.request.call_id,
            received,
            instance,
            attributes: &facts.attributes,
            path: path.map_or(b"", |path| &path.text),
            user_agent: self.request.user_agent,
            socket: &facts.socket,
            expires: facts.now.saturating_add(lifetime),
            modified: facts.now,
            cseq: self.request.cseq,
            q,
            flags: 0,
            cflags,
            methods: asked.methods.unwrap_or(self.request.methods),
            reg_id: if instance.is_empty() { 0 } else { asked.reg_id },
            server_id: self.usrloc.server_id(),
            connection: facts.connection,
            last_keepalive: facts.now,
            roundtrip: 0,
            keepalive: false,
            memory_only: facts.flags & MEMORY_ONLY != 0,
        })
    }
}

/// Removes every contact but one; answers where that one is now.
fn keep_only(edit: &mut Edit<'_>, kept: Option<usize>) -> Option<usize> {
    for at in (0..edit.contacts().len()).rev() {
        if Some(at) != kept {
            edit.remove(at);
        }
    }
    kept.map(|_| 0)
}

/// Puts details of a contact in `$xavp(xavp_rcd)`.
pub(super) fn keep_details(
    env: &mut Env<'_>,
    registrar: &Registrar,
    contact: crate::modules::usrloc::contact::Contact<'_>,
) {
    let now = seconds(env.host.wall());
    let all: [(i64, &[u8], Value<'_>); 5] = [
        (1, b"ruid", Value::text(contact.ruid())),
        (2, b"contact", Value::text(contact.address())),
        (4, b"expires", Value::Int(i64::from(contact.remaining(now)))),
        (8, b"received", Value::text_or_null(contact.received())),
        (16, b"path", Value::text_or_null(contact.path)),
    ];
    let wanted = all
        .into_iter()
        .filter(|(bit, _, value)| registrar.xavp_rcd_mask & bit == 0 && !value.is_null());
    let fields = wanted
        .map(|(_, name, value)| (Box::from(name), value.into_owned()))
        .collect();
    env.lists.xavp.push(&registrar.xavp_rcd, Item::Fields(fields));
}

pub(super) fn unregister(call: &mut Call<'_, '_>) -> Code {
    const NOT_FOUND: Code = Code(-3);
    let Some((registrar, usrloc)) = states(call) else {
        return Code::FALSE;
    };
    let domain = usrloc.open(&call.text(0));
    let uri = call.text_owned(1);
    let ruid = call
        .has(2)
        .then(|| call.text_owned(2))
        .filter(|ruid| !ruid.is_empty());
    let aor = match (&uri[..], &ruid) {
        ([], Some(ruid)) => match domain
            .store()
            .read_ruid(ruid, |contact| Aor::from_slice(contact.aor()))
        {
            Some(aor) => aor,
            None => return NOT_FOUND,
        },
        (uri, _) => match aor::extract(uri, registrar, usrloc.use_domain()) {
            Some(aor) => aor,
            None => {
                crate::log::error(
                    "registrar",
                    format_args!("failed to parse AoR [{}]", String::from_utf8_lossy(uri)),
                );
                return Code::FALSE;
            }
        },
    };
    let edited = domain.edit(&aor, |edit| match &ruid {
        None => {
            edit.clear();
            Code::TRUE
        }
        Some(ruid) => match edit.contacts().position(|contact| contact.ruid() == &ruid[..]) {
            Some(at) => {
                edit.remove(at);
                Code::TRUE
            }
            None => {
                crate::log::warning("registrar", format_args!("AOR/Contact not found"));
                NOT_FOUND
            }
        },
    });
    match edited {
        Ok((code, ticket)) if ticket.clone().wait(COMMIT_TIMEOUT).is_ok() => code,
        _ => Code(-2),
    }
}

pub(super) fn add_sock_hdr(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, _)) = states(call) else {
        return Code::FALSE;
    };
    let mut line = call.text_owned(0);
    let env = &mut *call.env;
    let Some(listener) = env.host.sockets().get(env.ctx.source.socket) else {
        return Code::FALSE;
    };
    if line.is_empty() {
        return Code::FALSE;
    }
    line.extend_from_slice(b": ");
    write_socket(&mut line, listener, registrar.advertise);
    line.extend_from_slice(b"\r\n");
    let Context { msg, lumps, .. } = &mut *env.ctx;
    lumps.append_header(msg, &line);
    Code::TRUE
}
