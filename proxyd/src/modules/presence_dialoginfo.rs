//! `loadmodule "presence_dialoginfo"`: the event package dialog (Kamailio module presence_dialoginfo; RFC 4235).

use super::presence::Package;
use super::presence::Presence;
use super::presence::Presentity;
use super::xml::Document;
use super::xml::Element;
use super::xml::Node;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::State;
use std::collections::BTreeSet;
use std::sync::Arc;

const DIALOG_INFO: &str = "urn:ietf:params:xml:ns:dialog-info";

/// The states of a dialog, the most interesting last: a call that rings can still be picked up.
const STATES: [&str; 5] = ["terminated", "trying", "proceeding", "confirmed", "early"];

/// Where the number of the NOTIFY goes.
const UNNUMBERED: &[u8] = b" version=\"0\"";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["presence"],
    params: &[
        Param::Int(
            "force_single_dialog",
            0,
            "1: watchers are told the most interesting dialog alone.",
        ),
        Param::Int(
            "force_dummy_dialog",
            0,
            "1: where there are no dialogs a terminated one is told.",
        ),
        Param::Int(
            "default_expires",
            3600,
            "Lifetime of a SUBSCRIBE that asks for none, s.",
        ),
    ],
    init: Some(init),
    ..ModuleDef::new(
        "presence_dialoginfo",
        "Dialog states, for busy lamps and call pickup.",
    )
};

/// The module has no state beyond the package that it gave to presence.
struct PresenceDialoginfo;

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let missing = || InitError::Refused("presence has no state".to_owned());
    let presence = init.states.get::<Presence>().ok_or_else(missing)?;
    presence.packages().add(Arc::new(DialogInfo {
        single: init.int("force_single_dialog") != 0,
        dummy: init.int("force_dummy_dialog") != 0,
        default_expires: u32::try_from(init.int("default_expires")).unwrap_or(3600),
    }));
    Ok(Arc::new(PresenceDialoginfo))
}

/// `dialog`.
struct DialogInfo {
    single: bool,
    dummy: bool,
    default_expires: u32,
}

impl Package for DialogInfo {
    fn name(&self) -> &'static str {
        "dialog"
    }

    fn content_type(&self) -> &'static str {
        "application/dialog-info+xml"
    }

    fn default_expires(&self) -> u32 {
        self.default_expires
    }

    fn accepts(&self, body: &[u8]) -> bool {
        parse(body).is_some()
    }

    fn document(&self, presentity: &Presentity, bodies: &[&[u8]]) -> Option<Vec<u8>> {
        let mut dialogs = dialogs(bodies);
        if self.single {
            dialogs = dialogs.into_iter().max_by_key(interest).into_iter().collect();
        }
        if dialogs.is_empty() && bodies.is_empty() {
            if !self.dummy {
                return None;
            }
            let state = Element::new("state", &[]).with_text("terminated");
            dialogs.push(Element::new("dialog", &[("id", "none")]).with(state));
        }
        let entity = String::from_utf8_lossy(&presentity.uri()).into_owned();
        let attributes = [("version", "0"), ("state", "full"), ("entity", entity.as_str())];
        let mut root = Element::new("dialog-info", &attributes).in_namespace(DIALOG_INFO);
        root.children = dialogs.into_iter().map(Node::Element).collect();
        Some(Document::new(root).write())
    }

    fn addressed(&self, document: Vec<u8>, version: u32) -> Vec<u8> {
        let Some(at) = memchr::memmem::find(&document, UNNUMBERED) else {
            return document;
        };
        let (head, rest) = document.split_at(at);
        let rest = rest.get(UNNUMBERED.len()..).unwrap_or_default();
        [head, format!(" version=\"{version}\"").as_bytes(), rest].concat()
    }
}

fn parse(body: &[u8]) -> Option<Document> {
    let document = Document::parse(body).ok()?;
    (document.root.local_name() == "dialog-info").then_some(document)
}

/// The dialogs of all documents, the oldest first; of one that several tell of, what the newest says.
fn dialogs(bodies: &[&[u8]]) -> Vec<Element> {
    let mut known = BTreeSet::new();
    let mut newest_first = Vec::new();
    for root in bodies
        .iter()
        .filter_map(|body| parse(body))
        .map(|document| document.root)
    {
        let is_news = |dialog: &&Element| dialog.attribute("id").is_none_or(|id| !known.contains(id));
        let news: Vec<Element> = root
            .named("dialog")
            .filter(is_news)
            .map(|dialog| {
                let mut dialog = dialog.adopted(&root.namespaces);
                dialog
                    .namespaces
                    .retain(|(prefix, uri)| !prefix.is_empty() || uri != DIALOG_INFO);
                dialog
            })
            .collect();
        known.extend(
            news.iter()
                .filter_map(|dialog| dialog.attribute("id").map(str::to_owned)),
        );
        newest_first.push(news);
    }
    newest_first.into_iter().rev().flatten().collect()
}

/// How interesting a dialog is by its state.
fn interest(dialog: &Element) -> usize {
    let state = dialog.named("state").next().map(Element::text);
    let place = state.and_then(|state| STATES.iter().position(|one| *one == state.trim()));
    place.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: DialogInfo = DialogInfo {
        single: false,
        dummy: false,
        default_expires: 60,
    };

    fn body(dialogs: &[(&str, &str)]) -> String {
        let dialogs = dialogs
            .iter()
            .map(|(id, state)| format!("<dialog id=\"{id}\" call-id=\"c\"><state>{state}</state></dialog>"));
        format!(
            "<?xml version=\"1.0\"?><dialog-info xmlns=\"{DIALOG_INFO}\" version=\"9\" state=\"full\" entity=\"sip:bob@test.lan\">{}</dialog-info>",
            dialogs.collect::<String>()
        )
    }

    fn told(package: &DialogInfo, bodies: &[String]) -> Option<String> {
        let bob = Presentity {
            user: b"bob".to_vec(),
            domain: b"test.lan".to_vec(),
        };
        let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
        let document = package.document(&bob, &bodies)?;
        Some(String::from_utf8(package.addressed(document, 4)).unwrap())
    }

    /// As Kamailio 5.6.3 joined them.
    #[test]
    fn dialogs_are_joined_oldest_first() {
        let bodies = [
            body(&[("a", "terminated")]),
            body(&[("b", "confirmed"), ("x", "trying")]),
            body(&[("a", "early")]),
        ];
        let one = |id: &str, state: &str| {
            format!("  <dialog id=\"{id}\" call-id=\"c\">\n    <state>{state}</state>\n  </dialog>\n")
        };
        let expected = [one("b", "confirmed"), one("x", "trying"), one("a", "terminated")].concat();
        assert_eq!(
            told(&PACKAGE, &bodies).unwrap(),
            format!(
                "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"{DIALOG_INFO}\" version=\"4\" state=\"full\" entity=\"sip:bob@test.lan\">\n\
                 {expected}</dialog-info>\n"
            )
        );
        let single = DialogInfo {
            single: true,
            ..PACKAGE
        };
        let alone = told(&single, &bodies[1..]).unwrap();
        assert!(alone.contains("early") && !alone.contains("confirmed"), "{alone}");
    }

    #[test]
    fn without_dialogs_there_may_be_a_dummy() {
        assert_eq!(told(&PACKAGE, &[]), None);
        let dummy = DialogInfo {
            dummy: true,
            ..PACKAGE
        };
        assert!(told(&dummy, &[]).unwrap().contains("<state>terminated</state>"));
        assert!(PACKAGE.accepts(body(&[]).as_bytes()) && !PACKAGE.accepts(b"<other/>"));
    }
}
