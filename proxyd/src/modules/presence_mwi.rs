//! `loadmodule "presence_mwi"`: the event package message-summary (Kamailio module presence_mwi; RFC 3842).

use super::presence::Package;
use super::presence::Presence;
use super::presence::Presentity;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::State;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["presence"],
    params: &[Param::Int(
        "default_expires",
        3600,
        "Lifetime of a SUBSCRIBE that asks for none, s.",
    )],
    init: Some(init),
    ..ModuleDef::new("presence_mwi", "Message waiting indications.")
};

/// The module has no state beyond the package that it gave to presence.
struct PresenceMwi;

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let missing = || InitError::Refused("presence has no state".to_owned());
    let presence = init.states.get::<Presence>().ok_or_else(missing)?;
    presence.packages().add(Arc::new(MessageSummary {
        default_expires: u32::try_from(init.int("default_expires")).unwrap_or(3600),
    }));
    Ok(Arc::new(PresenceMwi))
}

/// `message-summary`: the newest publication is passed on as it is.
struct MessageSummary {
    default_expires: u32,
}

impl Package for MessageSummary {
    fn name(&self) -> &'static str {
        "message-summary"
    }

    fn content_type(&self) -> &'static str {
        "application/simple-message-summary"
    }

    fn default_expires(&self) -> u32 {
        self.default_expires
    }

    fn accepts(&self, body: &[u8]) -> bool {
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
        body.get(..16)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"messages-waiting"))
            && body.iter().all(is_text)
    }

    fn document(&self, _presentity: &Presentity, bodies: &[&[u8]]) -> Option<Vec<u8>> {
        bodies.first().map(|newest| newest.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_passed_on() {
        let package = MessageSummary { default_expires: 60 };
        for (body, accepted) in [
            ("Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n", true),
            ("messages-waiting: no\r\n", true),
            ("Messages", false),
            ("hello", false),
            ("Messages-Waiting: \u{1}", false),
        ] {
            assert_eq!(package.accepts(body.as_bytes()), accepted, "{body:?}");
        }
        let bob = Presentity {
            user: b"bob".to_vec(),
            domain: b"test.lan".to_vec(),
        };
        assert_eq!(
            package.document(&bob, &[b"new", b"old"]).as_deref(),
            Some(&b"new"[..])
        );
        assert_eq!(package.document(&bob, &[]), None);
    }
}
