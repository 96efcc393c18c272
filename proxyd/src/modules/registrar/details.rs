//! `$xavp(xavp_rcd)`: the details of a contact, for the script (Kamailio registrar module).

use super::Registrar;
use crate::modules::usrloc::contact::Contact;
use crate::modules::usrloc::expire::seconds;
use crate::script::lists::Item;
use crate::script::module::Env;
use crate::script::value::Value;

/// Puts details of a contact in `$xavp(xavp_rcd)`.
///
/// Kamailio: there is one item, in which those of the last contact stand before the others'.
pub(super) fn keep_details(env: &mut Env<'_>, registrar: &Registrar, contact: Contact<'_>) {
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
    let fields: Vec<_> = wanted
        .map(|(_, name, value)| (Box::from(name), value.into_owned()))
        .collect();
    let name = &registrar.xavp_rcd;
    match env.lists.xavp.item_mut(name, 0) {
        Some(Item::Fields(known)) => drop(known.splice(..0, fields)),
        _ => env.lists.xavp.push(name, Item::Fields(fields)),
    }
}
