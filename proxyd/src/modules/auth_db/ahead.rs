//! Users whose credentials a batch of messages carries, so that a server is asked about all of them at once.

use crate::modules::auth;
use crate::script::host::Host;
use memchr::memmem;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::header::auth::Authorization;

/// Names in one statement; the rest are asked for together when the turn of the first of them comes.
const MAX: usize = 32;

/// The users of the messages that are still to be handled, behind `first`, each once.
pub(super) fn users(host: &dyn Host, first: &[u8]) -> Vec<Box<[u8]>> {
    let mut users = vec![Box::from(first)];
    let mut message = Message::default();
    host.each_ahead(&mut |bytes| {
        // Reading a message costs as much as this search costs for forty; a spelling that it misses is asked for in its turn.
        if users.len() >= MAX
            || memmem::find(bytes, b"username=").is_none()
            || message.reparse(bytes).is_err()
        {
            return;
        }
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            for header in message.all(name) {
                let Ok(credentials) = Authorization::parse(message.value(header)) else {
                    continue;
                };
                let username = credentials.username_text();
                let (user, _) = auth::split_user(&username);
                if !user.is_empty() && !users.iter().any(|known| **known == *user) {
                    users.push(Box::from(user));
                }
            }
        }
    });
    users
}
