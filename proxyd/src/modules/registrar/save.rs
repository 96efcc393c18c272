//! save(): a REGISTER into the location table (RFC 3261 §10.3), all of it or nothing.

use super::Outbound;
use super::PathMode;
use super::Registrar;
use super::answer::answer;
use super::answer::answer_when_safe;
use super::aor;
use super::details::keep_details;
use super::facts::Facts;
use super::outcome::Refusal;
use super::register::Register;
use super::reply;
use super::reply::Gruu;
use super::request::PathVector;
use super::request::Request;
use super::states;
use crate::modules::nathelper::contact::rewritten;
use crate::modules::usrloc::COMMIT_TIMEOUT;
use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::contact::OwnedContact;
use crate::modules::usrloc::store::Contacts;
use crate::modules::usrloc::table::Domain;
use crate::modules::usrloc::table::Ticket;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::value::print_int;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Uri;

/// Flags of save().
pub(super) const MEMORY_ONLY: i64 = 0x01;
pub(super) const NO_REPLY: i64 = 0x02;
pub(super) const ONE_CONTACT: i64 = 0x04;
pub(super) const EXACT_EXPIRES: i64 = 0x08;
pub(super) const PREPARE_REPLY: i64 = 0x10;

/// The end of a REGISTER that was heeded.
pub(super) struct Saved {
    pub(super) code: i32,
    pub(super) ticket: Option<Ticket>,
}

/// What the reply lists.
#[derive(Default)]
struct Listed {
    headers: Vec<u8>,
    /// The contacts, when the script wants their details.
    details: Vec<OwnedContact>,
}

pub(super) fn save(call: &mut Call<'_, '_>) -> Code {
    let Some((registrar, usrloc)) = states(call) else {
        return Code::FALSE;
    };
    let flags = flags_of(&call.text(1));
    let uri = call.has(2).then(|| call.text_owned(2));
    if !call.env.may_write() {
        let table = call.text_owned(0);
        return explain_save(call.env, flags, &table);
    }
    let domain = usrloc.open(&call.text(0));
    let env = &mut *call.env;
    let facts = Facts::collect(env, registrar, usrloc, flags);
    let mut listed = Listed {
        headers: Vec::with_capacity(256),
        details: Vec::new(),
    };
    // What nathelper made of the Contact is what is stored.
    let rewritten = rewritten(env.ctx);
    let result = run(
        rewritten.as_ref().unwrap_or(&env.ctx.msg),
        uri.as_deref(),
        registrar,
        usrloc,
        &domain,
        &facts,
        &mut listed,
    );
    let Listed { mut headers, details } = listed;
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
    for contact in details {
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
        .all(HeaderName::Contact)
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

fn flags_of(text: &[u8]) -> i64 {
    match text {
        [b'0', b'x' | b'X', hex @ ..] => std::str::from_utf8(hex)
            .ok()
            .and_then(|hex| i64::from_str_radix(hex, 16).ok())
            .unwrap_or(0),
        decimal => crate::script::value::leading_int(decimal).unwrap_or(0),
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
    listed: &mut Listed,
) -> Result<Saved, Refusal> {
    let Listed { headers, details } = listed;
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

    let mut list = |headers: &mut Vec<u8>, contacts: Contacts<'_>| {
        reply::write_contacts(headers, contacts.clone(), facts.now, registrar, gruu);
        *details = facts.details(contacts);
    };
    let result = if request.contacts.is_empty() && !request.star {
        let read = domain.read(&aor, |contacts| list(headers, contacts));
        let saved = Saved {
            code: 4,
            ticket: None,
        };
        read.map(|()| (Ok(saved), None))
    } else if let Err((refusal, _)) = &path {
        let read = domain.read(&aor, |contacts| list(headers, contacts));
        read.map(|()| (Err(*refusal), None))
    } else {
        let edited = domain.edit(&aor, |edit| {
            let result = register.apply(edit);
            if result
                .as_ref()
                .map_or_else(|refusal| refusal.lists_contacts(), |_| true)
            {
                list(headers, edit.contacts());
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
    if !registrar.gruu || !request.knows_gruu {
        return None;
    }
    let uri = Uri::parse(to).ok()?;
    Some(Gruu {
        user: uri.user?,
        host: uri.host,
    })
}

fn write_outbound(headers: &mut Vec<u8>, request: &Request<'_>, registrar: &Registrar) {
    if registrar.outbound == Outbound::Off {
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
