//! Contacts that a script holds on to, read with `$ulc(profile=>attr)` (Kamailio registrar, `reg_fetch_contacts`).

use super::contact::OwnedContact;
use std::cell::RefCell;

/// Contacts under a name.
pub(crate) struct Profile {
    name: Box<[u8]>,
    /// The address they belong to.
    pub(crate) aor: Box<[u8]>,
    /// The table they are of.
    pub(crate) domain: Box<str>,
    /// Its contacts, in order.
    pub(crate) contacts: Vec<OwnedContact>,
}

thread_local! {
    /// Kamailio: a profile lives in its process until it is freed or fetched anew; a worker is our process.
    static PROFILES: RefCell<Vec<Profile>> = const { RefCell::new(Vec::new()) };
}

/// Keeps contacts under a name, in place of what was there.
pub(crate) fn set(name: &[u8], domain: &str, aor: &[u8], contacts: Vec<OwnedContact>) {
    let profile = Profile {
        name: name.into(),
        aor: aor.into(),
        domain: domain.into(),
        contacts,
    };
    PROFILES.with_borrow_mut(|profiles| {
        profiles.retain(|known| *known.name != *name);
        profiles.push(profile);
    });
}

/// Lets go of the contacts of a name.
pub(crate) fn free(name: &[u8]) {
    PROFILES.with_borrow_mut(|profiles| profiles.retain(|known| *known.name != *name));
}

/// Shows a profile.
pub(crate) fn with<R>(name: &[u8], look: impl FnOnce(&Profile) -> R) -> Option<R> {
    PROFILES.with_borrow(|profiles| profiles.iter().find(|known| *known.name == *name).map(look))
}
