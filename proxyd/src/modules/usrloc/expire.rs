//! Contacts that end: removed every second, and told to `event_route[usrloc:contact-expired]`.

use super::Usrloc;
use super::contact::OwnedContact;
use super::profiles;
use crate::script::exec;
use crate::script::module::Env;

/// Runs on the timer.
pub(super) fn run(env: &mut Env<'_>) {
    let Some(usrloc) = env.state::<Usrloc>() else {
        return;
    };
    let now = seconds(env.host.wall());
    let in_database = now.is_multiple_of(usrloc.timer_interval());
    for domain in usrloc.tables().all().iter() {
        // Where every run is a query, they keep to the pace they were given.
        if !domain.is_in_memory() && !in_database {
            continue;
        }
        let mut gone = Vec::new();
        domain.expire(now, &mut |contact| gone.push(contact));
        for contact in gone {
            tell(env, &domain.name, contact);
        }
    }
}

/// Seconds since 1970 as contacts keep them: enough until 2106.
pub(crate) fn seconds(wall: std::time::Duration) -> u32 {
    u32::try_from(wall.as_secs()).unwrap_or(u32::MAX)
}

fn tell(env: &mut Env<'_>, table: &str, contact: OwnedContact) {
    let Some(route) = env.script.program.event_route("usrloc:contact-expired") else {
        return;
    };
    let aor = contact.view().aor().to_vec();
    profiles::set(b"exp", table, &aor, vec![contact]);
    let _ = exec::run(route, env);
    profiles::free(b"exp");
}
