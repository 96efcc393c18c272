//! What decides on a contact besides what the REGISTER says: the clock, the source, `$xavp(xavp_cfg)` (Kamailio registrar module).

use super::Registrar;
use super::socket::SocketText;
use super::socket::socket_of;
use crate::modules::usrloc::Usrloc;
use crate::modules::usrloc::attributes;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::contact::NO_CONNECTION;
use crate::modules::usrloc::contact::OwnedContact;
use crate::modules::usrloc::expire::seconds;
use crate::script::module::Env;
use crate::script::value::Value;

/// Why a contact is stored or refused besides what the message says.
pub(super) struct Facts {
    pub(super) now: u32,
    pub(super) random: u64,
    pub(super) flags: i64,
    /// Source address, where NAT was found.
    pub(super) received: Vec<u8>,
    pub(super) socket: SocketText,
    pub(super) connection: u64,
    pub(super) cflags: u32,
    pub(super) attributes: Vec<u8>,
    pub(super) q: Option<i16>,
    pub(super) expires: Option<u32>,
    pub(super) max_contacts: u32,
    /// Details of the contacts are wanted.
    pub(super) details: bool,
}

impl Facts {
    /// The contacts that count, when their details are wanted.
    pub(super) fn details<'c>(&self, contacts: impl Iterator<Item = Contact<'c>>) -> Vec<OwnedContact> {
        let wanted = contacts.filter(|contact| self.details && contact.is_alive(self.now));
        wanted.map(|contact| contact.to_owned()).collect()
    }

    /// Gathers it.
    pub(super) fn collect(env: &mut Env<'_>, registrar: &Registrar, usrloc: &Usrloc, flags: i64) -> Self {
        let random = env.host.random();
        let config = |name: &[u8]| -> Option<Value<'_>> {
            if registrar.xavp_cfg.is_empty() {
                return None;
            }
            let value = env.lists.xavp.field(&registrar.xavp_cfg, name)?;
            Some(value.borrow())
        };
        let integer = |name| match config(name) {
            Some(Value::Int(n)) => Some(n),
            _ => None,
        };
        let socket = match config(b"socket") {
            Some(Value::Str(text)) => SocketText::from_slice(&text),
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
