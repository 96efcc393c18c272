//! A registration at another server: its row in the table `uacreg` and how far it is.

use super::auth::Credential;
use super::auth::Form;
use shared::db::Backend;
use shared::db::Error;
use shared::db::Row;
use shared::db::Select;
use std::collections::BTreeMap;

/// Not registered and not to be.
pub(super) const DISABLED: i64 = 1;
/// A REGISTER is on its way.
pub(super) const ONGOING: i64 = 2;
/// Registered.
pub(super) const ONLINE: i64 = 4;
/// A REGISTER with credentials is on its way.
pub(super) const AUTH_SENT: i64 = 8;
/// Was begun at least once.
pub(super) const INITIALISED: i64 = 16;

/// What an operator provides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Profile {
    pub(super) l_uuid: String,
    pub(super) l_username: String,
    pub(super) l_domain: String,
    pub(super) r_username: String,
    pub(super) r_domain: String,
    pub(super) realm: String,
    pub(super) auth_username: String,
    pub(super) auth_password: String,
    pub(super) auth_ha1: String,
    pub(super) auth_proxy: String,
    pub(super) expires: u32,
    pub(super) flags: i64,
    pub(super) reg_delay: u64,
    pub(super) contact_addr: String,
    pub(super) contact_user: String,
    pub(super) socket: String,
}

/// What is to be done at the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wish {
    /// What the time asks for.
    #[default]
    None,
    /// Register now.
    Register,
    /// Unregister now.
    Unregister,
}

/// A profile and its state.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) profile: Profile,
    pub(super) flags: i64,
    /// Wall seconds at which the registration ends; after a failure, until which nothing is tried.
    pub(super) timer_expires: u64,
    /// Wall seconds at which it was loaded.
    pub(super) reg_init: u64,
    pub(super) call_id: String,
    pub(super) from_tag: String,
    pub(super) cseq: u32,
    pub(super) wish: Wish,
    /// Removed from the table: it goes when it is unregistered.
    pub(super) leaving: bool,
}

/// All of them by `l_uuid`.
pub(super) type Records = BTreeMap<String, Record>;

impl Profile {
    /// Why it cannot be used.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        match self {
            p if p.l_uuid.is_empty() => Some("no l_uuid"),
            p if p.r_username.is_empty() || p.r_domain.is_empty() => Some("no r_username or r_domain"),
            p if p.auth_proxy.is_empty() => Some("no auth_proxy"),
            p if p.auth_password.is_empty() && p.auth_ha1.is_empty() => Some("no password"),
            p if p.expires == 0 => Some("expires is 0"),
            _ => None,
        }
    }

    /// The URI that is registered.
    pub(super) fn contact(&self, own_address: &str) -> String {
        let address = if self.contact_addr.is_empty() {
            own_address
        } else {
            &self.contact_addr
        };
        if self.contact_user.is_empty() {
            format!("sip:{}@{address}", self.l_uuid)
        } else {
            format!("sip:{}@{address};line={}", self.contact_user, self.l_uuid)
        }
    }

    /// Who we are for the server.
    pub(super) fn credential(&self) -> Credential {
        let (password, form) = match &*self.auth_ha1 {
            "" => (&self.auth_password, Form::Plain),
            _ => (&self.auth_ha1, Form::Ha1),
        };
        Credential {
            user: self.auth_username.clone().into_bytes(),
            realm: self.realm.clone().into_bytes(),
            password: password.clone().into_bytes(),
            form,
        }
    }

    /// The value of a field that records can be looked up by.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        Some(match name {
            "l_uuid" => &self.l_uuid,
            "l_username" => &self.l_username,
            "r_username" => &self.r_username,
            "auth_username" => &self.auth_username,
            _ => return None,
        })
    }
}

impl Record {
    /// A record that nothing was done for yet.
    pub(super) fn new(profile: Profile, now: u64) -> Self {
        let flags = profile.flags & DISABLED;
        Self {
            profile,
            flags,
            timer_expires: now,
            reg_init: now,
            ..Self::default()
        }
    }

    /// Whether a REGISTER is due: so early that it is renewed before it ends.
    pub(super) fn is_due(&self, now: u64, interval: u64) -> bool {
        self.flags & (DISABLED | ONGOING) == 0
            && self.timer_expires <= now.saturating_add(interval).saturating_add(3)
            && now >= self.reg_init.saturating_add(self.profile.reg_delay)
    }
}

const COLUMNS: [&str; 15] = [
    "l_uuid",
    "l_username",
    "l_domain",
    "r_username",
    "r_domain",
    "realm",
    "auth_username",
    "auth_password",
    "auth_ha1",
    "auth_proxy",
    "expires",
    "flags",
    "reg_delay",
    "contact_addr",
    "socket",
];

/// Reads the table, or one row of it.
pub(super) fn load(db: &mut dyn Backend, table: &str, only: Option<&str>) -> Result<Vec<Profile>, Error> {
    // older tables have no contact_user
    let has_user = db
        .columns(table)?
        .iter()
        .any(|column| column.name == "contact_user");
    let mut wanted = COLUMNS.to_vec();
    if has_user {
        wanted.push("contact_user");
    }
    let mut select = Select::from(table).columns(&wanted);
    if let Some(uuid) = only {
        select = select.eq("l_uuid", uuid);
    }
    let mut profiles = Vec::new();
    db.each(&select, &mut |row| {
        profiles.push(profile(row));
        Ok(())
    })?;
    Ok(profiles)
}

fn profile(row: Row<'_>) -> Profile {
    let text = |name: &str| row.get(name).map(ToString::to_string).unwrap_or_default();
    let int = |name: &str| row.int(name).unwrap_or(0);
    Profile {
        l_uuid: text("l_uuid"),
        l_username: text("l_username"),
        l_domain: text("l_domain"),
        r_username: text("r_username"),
        r_domain: text("r_domain"),
        realm: text("realm"),
        auth_username: text("auth_username"),
        auth_password: text("auth_password"),
        auth_ha1: text("auth_ha1"),
        auth_proxy: text("auth_proxy"),
        expires: u32::try_from(int("expires")).unwrap_or(0),
        flags: int("flags"),
        reg_delay: u64::try_from(int("reg_delay")).unwrap_or(0),
        contact_addr: text("contact_addr"),
        contact_user: text("contact_user"),
        socket: text("socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            l_uuid: "u1".into(),
            r_username: "ru".into(),
            r_domain: "rd.lan".into(),
            auth_proxy: "sip:127.0.0.1".into(),
            auth_password: "ap".into(),
            expires: 60,
            ..Profile::default()
        }
    }

    #[test]
    fn contacts_are_named_by_uuid() {
        let mut profile = profile();
        assert_eq!(profile.contact("1.2.3.4:5"), "sip:u1@1.2.3.4:5");
        profile.contact_addr = "9.9.9.9".into();
        profile.contact_user = "me".into();
        assert_eq!(profile.contact("1.2.3.4:5"), "sip:me@9.9.9.9;line=u1");
        assert_eq!(profile.flaw(), None);
        profile.auth_password.clear();
        assert_eq!(profile.flaw(), Some("no password"));
    }

    #[test]
    fn renewal_comes_before_the_end() {
        let mut record = Record::new(
            Profile {
                reg_delay: 5,
                ..profile()
            },
            100,
        );
        assert!(!record.is_due(104, 10) && record.is_due(105, 10));
        record.timer_expires = 200;
        assert!(!record.is_due(186, 10) && record.is_due(187, 10));
        record.flags = ONGOING;
        assert!(!record.is_due(300, 10));
    }
}
