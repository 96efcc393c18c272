//! Which contact a REGISTER is about (RFC 3261 §10.3 step 7, RFC 5626 §6, Kamailio `matching_mode`).

use super::contact::Binding;
use super::contact::Contact;
use shared::sip::Uri;

/// `matching_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    /// The contact URI.
    Contact,
    /// The contact URI and the Call-ID.
    ContactCallId,
    /// The contact URI and the Path.
    ContactPath,
    /// The Call-ID.
    CallId,
}

/// What a binding meets among the contacts of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: it is new.
    None,
    /// The contact at this position, which it replaces.
    At(usize),
    /// The contact at this position, made by the very same REGISTER a moment ago.
    Retransmission(usize),
    /// A contact with a higher CSeq in the same Call-ID: this REGISTER came too late (§10.3 step 7).
    Outdated,
}

impl Matching {
    /// The mode of this number.
    pub(crate) fn of(number: i64) -> Option<Self> {
        [
            Self::Contact,
            Self::ContactCallId,
            Self::ContactPath,
            Self::CallId,
        ]
        .get(usize::try_from(number).ok()?)
        .copied()
    }

    /// Finds the contact that a binding replaces; `cseq_delay` is the time in which it may be a retransmission.
    pub(crate) fn find<'a>(
        self,
        contacts: impl Iterator<Item = Contact<'a>> + Clone,
        new: &Binding<'_>,
        now: u32,
        cseq_delay: u32,
    ) -> Found {
        let Some(at) = self.position(contacts.clone(), new) else {
            return Found::None;
        };
        let Some(old) = contacts.clone().nth(at) else {
            return Found::None;
        };
        if old.call_id() != new.call_id || new.cseq > old.cseq() {
            return Found::At(at);
        }
        if new.cseq == old.cseq() && now.saturating_sub(old.modified()) <= cseq_delay && cseq_delay > 0 {
            return Found::Retransmission(at);
        }
        Found::Outdated
    }

    /// Where the contact stands that a binding is the same as.
    pub(crate) fn position<'a>(
        self,
        contacts: impl Iterator<Item = Contact<'a>> + Clone,
        new: &Binding<'_>,
    ) -> Option<usize> {
        if !new.instance.is_empty() {
            return contacts
                .clone()
                .position(|old| old.reg_id() == new.reg_id && old.instance() == new.instance);
        }
        if self == Self::CallId {
            return contacts.clone().position(|old| old.call_id() == new.call_id);
        }
        let rest = |old: &Contact<'_>| match self {
            Self::Contact | Self::CallId => true,
            Self::ContactCallId => old.call_id() == new.call_id,
            Self::ContactPath => old.path == new.path,
        };
        let exact = contacts
            .clone()
            .position(|old| old.address() == new.address && rest(&old));
        if exact.is_some() {
            return exact;
        }
        let mut contacts = contacts.peekable();
        contacts.peek()?;
        let address = Uri::parse(new.address).ok()?;
        contacts.position(|old| same(&old, &address) && rest(&old))
    }
}

/// Whether a contact's URI equals another by §19.1.4.
///
/// Kamailio: a parameter that only one of them has tells them apart, as phones behind one address rely on it
/// (`;line=`, `;rinstance=`); host names, schemes and escapes compare as the RFC says.
fn same(old: &Contact<'_>, new: &Uri<'_>) -> bool {
    let Ok(old) = Uri::parse(old.address()) else {
        return false;
    };
    let names = |one: &Uri<'_>, two: &Uri<'_>| one.param_iter().all(|param| two.param(param.name).is_some());
    old.same(new) && names(&old, new) && names(new, &old)
}

#[cfg(test)]
mod tests {
    use super::super::contact::OwnedContact;
    use super::*;

    fn binding(address: &'static str, call_id: &'static str, cseq: u32) -> Binding<'static> {
        Binding {
            address: address.as_bytes(),
            call_id: call_id.as_bytes(),
            cseq,
            modified: 100,
            ..Binding::default()
        }
    }

    fn find(mode: Matching, old: &[Binding<'_>], new: &Binding<'_>, now: u32) -> Found {
        let owned: Vec<OwnedContact> = old.iter().map(|b| OwnedContact::of(b).unwrap()).collect();
        mode.find(owned.iter().map(OwnedContact::view), new, now, 20)
    }

    #[test]
    fn uris_compare_as_uris() {
        for (old, new, same) in [
            ("sip:a@h", "sip:a@h", true),
            ("sip:a@H.example", "sip:a@h.EXAMPLE", true),
            ("sip:%61@h", "sip:a@h", true),
            ("sip:a@h;transport=TCP", "sip:a@h;transport=tcp", true),
            ("sip:a@h;x=1;y=2", "sip:a@h;y=2;x=1", true),
            ("sip:A@h", "sip:a@h", false),
            ("sip:a@h", "sip:a@h:5060", false),
            ("sip:a@h", "sip:a@h;line=1", false),
            ("sips:a@h", "sip:a@h", false),
            ("<nonsense", "sip:a@h", false),
        ] {
            let found = find(
                Matching::Contact,
                &[binding(old, "1", 1)],
                &binding(new, "2", 1),
                100,
            );
            assert_eq!(
                found,
                if same { Found::At(0) } else { Found::None },
                "{old} {new}"
            );
        }
    }

    #[test]
    fn an_identical_uri_wins_over_an_equal_one() {
        let old = [binding("sip:a@H", "1", 1), binding("sip:a@h", "1", 1)];
        assert_eq!(
            find(Matching::Contact, &old, &binding("sip:a@h", "2", 1), 100),
            Found::At(1)
        );
    }

    #[test]
    fn cseq_decides_within_a_call_id() {
        for (call_id, cseq, now, expected) in [
            ("1", 11, 100, Found::At(0)),
            ("1", 10, 120, Found::Retransmission(0)),
            ("1", 10, 121, Found::Outdated),
            ("1", 9, 100, Found::Outdated),
            ("2", 1, 100, Found::At(0)),
        ] {
            let old = [binding("sip:a@h", "1", 10)];
            let mut new = binding("sip:a@h", "1", cseq);
            new.call_id = call_id.as_bytes();
            assert_eq!(
                find(Matching::Contact, &old, &new, now),
                expected,
                "{call_id} {cseq} {now}"
            );
        }
    }

    #[test]
    fn modes_and_instances() {
        let old = [
            Binding {
                path: b"<sip:p1;lr>",
                ..binding("sip:a@h", "1", 1)
            },
            Binding {
                instance: b"<urn:uuid:x>",
                reg_id: 2,
                ..binding("sip:b@h", "2", 1)
            },
        ];
        let new = binding("sip:a@h", "9", 5);
        assert_eq!(find(Matching::Contact, &old, &new, 0), Found::At(0));
        assert_eq!(find(Matching::ContactCallId, &old, &new, 0), Found::None);
        assert_eq!(find(Matching::ContactPath, &old, &new, 0), Found::None);
        assert_eq!(
            find(
                Matching::ContactPath,
                &old,
                &Binding {
                    path: b"<sip:p1;lr>",
                    ..new
                },
                0
            ),
            Found::At(0)
        );
        assert_eq!(
            find(Matching::CallId, &old, &binding("sip:x@y", "2", 5), 0),
            Found::At(1)
        );
        let flow = Binding {
            instance: b"<urn:uuid:x>",
            reg_id: 2,
            ..binding("sip:c@elsewhere", "3", 1)
        };
        assert_eq!(find(Matching::Contact, &old, &flow, 0), Found::At(1));
        assert_eq!(
            find(Matching::Contact, &old, &Binding { reg_id: 3, ..flow }, 0),
            Found::None
        );
    }
}
