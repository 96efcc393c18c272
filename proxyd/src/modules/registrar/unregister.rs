//! unregister(): contacts removed by the script.

use super::aor;
use super::aor::Aor;
use super::states;
use crate::modules::usrloc::COMMIT_TIMEOUT;
use crate::script::module::Call;
use crate::script::module::Code;

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
