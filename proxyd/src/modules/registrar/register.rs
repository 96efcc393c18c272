//! The contacts of a REGISTER put in place of those there are, all of them or none (RFC 3261 §10.3 steps 6 and 7).

use super::Outbound;
use super::Registrar;
use super::aor::Aor;
use super::facts::Facts;
use super::outcome::Refusal;
use super::request::Asked;
use super::request::PathVector;
use super::request::Request;
use super::request::number;
use super::save::EXACT_EXPIRES;
use super::save::MEMORY_ONLY;
use super::save::ONE_CONTACT;
use super::save::Saved;
use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::contact::Binding;
use crate::modules::usrloc::matching::Found;
use crate::modules::usrloc::store::Edit;
use shared::sip::header::contact::q_thousandths;
use smallvec::SmallVec;

/// A REGISTER with all that decides what becomes of it.
pub(super) struct Register<'r, 'm> {
    pub(super) request: &'r Request<'m>,
    pub(super) registrar: &'r Registrar,
    pub(super) usrloc: &'r Usrloc,
    pub(super) facts: &'r Facts,
    pub(super) aor: &'r Aor,
    pub(super) path: Option<&'r PathVector<'m>>,
}

/// What becomes of one contact of a REGISTER.
struct Plan<'b> {
    binding: Binding<'b>,
    /// Seconds; 0: it is to be removed.
    lifetime: u32,
    /// What it meets among the contacts there are.
    found: Found,
}

impl Register<'_, '_> {
    /// Does all that is asked for; when any of it cannot be, nothing is changed (§10.3 step 7).
    pub(super) fn apply(&self, edit: &mut Edit<'_>) -> Result<Saved, Refusal> {
        if self.request.star {
            return self.remove_all(edit);
        }
        let plans = self.check(edit)?;
        let mut code = 1;
        for (index, plan) in plans.iter().enumerate() {
            let binding = &plan.binding;
            // The contacts before this one may have moved those that are there.
            let found = if index == 0 {
                plan.found
            } else {
                self.find(edit, binding)
            };
            let at = match found {
                Found::None => None,
                Found::At(at) => Some(at),
                // The same REGISTER once more, or a contact named twice in it: it is done.
                Found::Retransmission(_) | Found::Outdated => continue,
            };
            if plan.lifetime == 0 {
                if let Some(at) = at {
                    edit.remove(at);
                    code = 3;
                }
                continue;
            }
            let one = self.facts.flags & ONE_CONTACT != 0;
            let at = if one { keep_only(edit, at) } else { at };
            let result = match at {
                Some(at) => {
                    code = 2;
                    edit.update(at, binding)
                }
                None => {
                    code = 1;
                    edit.insert(&Binding {
                        ruid: &self.usrloc.new_ruid(),
                        ..*binding
                    })
                }
            };
            result.map_err(|_| Refusal::TooLong)?;
            // Kamailio: the first one that is stored is the one; what comes after it is not looked at.
            if one {
                break;
            }
        }
        Ok(Saved { code, ticket: None })
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
        })
    }

    /// Looks whether all of it can be done; answers what is to be done with each contact.
    fn check(&self, edit: &Edit<'_>) -> Result<SmallVec<[Plan<'_>; 1]>, Refusal> {
        let mut plans = SmallVec::new();
        let now = self.facts.now;
        let mut count = edit.contacts().filter(|contact| contact.is_alive(now)).count();
        let mut adds = false;
        for (index, asked) in self.request.contacts.iter().enumerate() {
            let lifetime = self.lifetime(asked)?;
            let binding = self.binding(asked, lifetime)?;
            let found = self.find(edit, &binding);
            let known = match found {
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
            plans.push(Plan {
                binding,
                lifetime,
                found,
            });
        }
        if self.facts.flags & ONE_CONTACT != 0 {
            count = usize::from(adds);
        }
        let max = self.facts.max_contacts as usize;
        if max > 0 && count > max && adds {
            return Err(Refusal::TooMany);
        }
        Ok(plans)
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
            // Kamailio: the largest header there can be is taken for none
            (None, None, Some(header)) => number(header).filter(|seconds| *seconds != u32::MAX),
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

    /// What is to be stored for a contact, but for its ruid.
    fn binding<'b>(&'b self, asked: &'b Asked<'_>, lifetime: u32) -> Result<Binding<'b>, Refusal> {
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
        let keeps_instance = registrar.gruu || registrar.outbound != Outbound::Off;
        let instance: &[u8] = if keeps_instance { &asked.instance } else { b"" };
        Ok(Binding {
            aor: self.aor,
            address: asked.address,
            ruid: b"",
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
            keepalive: cflags & self.usrloc.nat_bflag != 0,
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
