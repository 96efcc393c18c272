//! Presence documents: several publications made one, what is left of one that was taken back (RFC 3863, RFC 4479).

use crate::modules::xml::Document;
use crate::modules::xml::Element;
use crate::modules::xml::Node;
use std::collections::BTreeSet;

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";

/// Whether a body is a presence document.
pub(super) fn is_presence(body: &[u8]) -> bool {
    parse(body).is_some()
}

fn parse(body: &[u8]) -> Option<Document> {
    let document = Document::parse(body).ok()?;
    (document.root.local_name() == "presence").then_some(document)
}

/// Joins documents, the newest first: one that has a tuple of a newer one is outdated and left out.
/// What would make more than `most` bytes is left out too.
pub(super) fn merge(bodies: &[&[u8]], most: usize) -> Option<Vec<u8>> {
    let mut room = most;
    let documents = bodies.iter().filter_map(|body| {
        room = room.checked_sub(body.len())?;
        parse(body)
    });
    let mut merged: Option<Document> = None;
    let mut known = BTreeSet::new();
    for document in documents {
        let ids: BTreeSet<String> = ids(&document.root);
        if !known.is_disjoint(&ids) {
            continue;
        }
        known.extend(ids);
        match &mut merged {
            None => merged = Some(document),
            Some(merged) => append(&mut merged.root, &document.root),
        }
    }
    merged.map(|document| document.write())
}

fn ids(root: &Element) -> BTreeSet<String> {
    let ids = root.named("tuple").filter_map(|tuple| tuple.attribute("id"));
    ids.map(str::to_owned).collect()
}

fn append(root: &mut Element, other: &Element) {
    root.children.extend(other.children.iter().map(|node| match node {
        Node::Element(element) => Node::Element(element.adopted(&other.namespaces)),
        other => other.clone(),
    }));
}

/// What watchers are told when a publication is taken back: its tuples, closed.
pub(super) fn offline(body: &[u8]) -> Option<Vec<u8>> {
    let root = parse(body)?.root;
    let bare = |element: &Element| Element {
        children: Vec::new(),
        ..element.adopted(&root.namespaces)
    };
    let mut closed = Element {
        children: Vec::new(),
        ..root.clone()
    };
    for tuple in root.named("tuple") {
        let mut copy = bare(tuple);
        for status in tuple.named("status") {
            let mut state = bare(status);
            for basic in status.named("basic") {
                state = state.with(Element::new(&basic.name, &[]).with_text("closed"));
            }
            copy = copy.with(state);
        }
        closed = closed.with(copy);
    }
    Some(Document::new(closed).write())
}

/// The document whose element says what stands last in the list.
pub(super) fn most_important<'a>(
    bodies: &[&'a [u8]],
    element: &str,
    priorities: &[String],
) -> Option<&'a [u8]> {
    let importance = |body: &&[u8]| {
        let said = parse(body).and_then(|document| find(&document.root, element));
        let place = said.and_then(|text| priorities.iter().position(|one| *one == text));
        place.map_or(0, |at| at + 1)
    };
    // Of equals the newest: `max_by_key` takes the last.
    bodies.iter().rev().copied().max_by_key(importance)
}

/// The text of the first element of this name, at any depth.
fn find(element: &Element, name: &str) -> Option<String> {
    element.elements().find_map(|child| {
        if child.local_name() == name {
            Some(child.text())
        } else {
            find(child, name)
        }
    })
}

/// What is said of someone who published nothing (`force_dummy_presence`).
pub(super) fn dummy(presentity: &str) -> Vec<u8> {
    let status = Element::new("status", &[]).with(Element::new("basic", &[]).with_text("open"));
    let person = Element::new("dm:person", &[("id", "p-1")])
        .with(Element::new("rpid:activities", &[]))
        .with(Element::new("dm:note", &[]).with_text("Available"));
    let mut root = Element::new("presence", &[("entity", presentity)])
        .in_namespace(PIDF)
        .with(Element::new("tuple", &[("id", "t-1")]).with(status))
        .with(Element::new("note", &[]).with_text("Available"))
        .with(person);
    for (prefix, uri) in [("dm", DATA_MODEL), ("rpid", RPID)] {
        root.namespaces.push((prefix.to_owned(), uri.to_owned()));
    }
    let mut document = Document::new(root);
    document.encoding = Some("UTF-8".to_owned());
    document.write()
}

/// Whether a tuple has this basic status.
pub(super) fn has_basic(body: &[u8], wanted: &str) -> bool {
    let Some(document) = parse(body) else {
        return false;
    };
    let statuses = document
        .root
        .named("tuple")
        .flat_map(|tuple| tuple.named("status"));
    let mut basics = statuses.flat_map(|status| status.named("basic"));
    basics.any(|basic| basic.text().trim() == wanted)
}

/// Whether a person does this; none: nothing is said of what they do.
pub(super) fn has_activity(body: &[u8], wanted: &str) -> Option<bool> {
    let root = parse(body)?.root;
    let mut said = root
        .named("person")
        .flat_map(|person| person.named("activities"))
        .peekable();
    said.peek()?;
    Some(said.any(|activities| activities.named(wanted).next().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inner: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@test.lan\">{inner}</presence>\r\n"
        )
        .into_bytes()
    }

    fn merged(bodies: &[Vec<u8>]) -> String {
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        String::from_utf8(merge(&bodies, 65_536).unwrap()).unwrap()
    }

    const OPEN: &str = "<tuple id=\"t1\"><status><basic>open</basic></status></tuple>";

    /// As Kamailio 5.6.3 merged them.
    #[test]
    fn documents_are_joined_newest_first() {
        let newest =
            document("<tuple id=\"t2\"><status><basic>closed</basic></status></tuple><note>away</note>");
        let older = document(
            "<tuple id=\"t1\"><status><basic>open</basic></status><contact priority=\"0.8\">sip:bob@h1</contact></tuple>",
        );
        let outdated = document("<note>gone</note><tuple id=\"t2\"/>");
        assert_eq!(
            merged(&[newest, older, outdated]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@test.lan\">\n  <tuple id=\"t2\">\n    <status>\n      \
             <basic>closed</basic>\n    </status>\n  </tuple>\n  <note>away</note>\n  \
             <tuple xmlns=\"urn:ietf:params:xml:ns:pidf\" id=\"t1\">\n    <status>\n      <basic>open</basic>\n    </status>\n    \
             <contact priority=\"0.8\">sip:bob@h1</contact>\n  </tuple>\n</presence>\n"
        );
        assert_eq!(merge(&[b"nonsense"], 65_536), None);
        let (one, two) = (document(OPEN), document("<note>n</note>"));
        let (both, alone) = (merge(&[&two, &one], 65_536), merge(&[&two, &one], two.len()));
        assert!(has_basic(&both.unwrap(), "open"));
        assert!(!has_basic(&alone.unwrap(), "open"));
    }

    #[test]
    fn what_is_taken_back_is_closed() {
        let body = document(&format!("{OPEN}<note>x</note>"));
        assert_eq!(
            String::from_utf8(offline(&body).unwrap()).unwrap(),
            "<?xml version=\"1.0\"?>\n\
             <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@test.lan\">\n  \
             <tuple xmlns=\"urn:ietf:params:xml:ns:pidf\" id=\"t1\">\n    <status xmlns=\"urn:ietf:params:xml:ns:pidf\">\n      \
             <basic>closed</basic>\n    </status>\n  </tuple>\n</presence>\n"
        );
        assert_eq!(offline(b"<other/>"), None);
    }

    #[test]
    fn the_most_important_is_chosen() {
        let priorities = ["Available", "Ringing", "On the Phone"].map(str::to_owned);
        let say = |note: &str| document(&format!("<tuple id=\"t\"><note>{note}</note></tuple>"));
        let bodies = ["Ringing", "On the Phone", "zz", "Available"].map(say);
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let chosen = |bodies: &[&[u8]]| most_important(bodies, "note", &priorities).map(<[u8]>::to_vec);
        assert_eq!(chosen(&bodies).as_deref(), bodies.get(1).copied());
        assert_eq!(chosen(&bodies[2..]).as_deref(), bodies.get(3).copied());
        assert_eq!(
            chosen(&[bodies[2], b"newer".as_slice()]).as_deref(),
            bodies.get(2).copied()
        );
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn documents_are_asked() {
        let person = "<dm:person xmlns:dm=\"d\" xmlns:r=\"r\" id=\"p\"><r:activities><r:busy/></r:activities></dm:person>";
        let body = document(&format!("{OPEN}{person}"));
        assert!(has_basic(&body, "open") && !has_basic(&body, "closed"));
        assert_eq!(has_activity(&body, "busy"), Some(true));
        assert_eq!(has_activity(&body, "away"), Some(false));
        assert_eq!(has_activity(&document(OPEN), "away"), None);
        let dummy = dummy("sip:bob@test.lan");
        assert!(is_presence(&dummy) && has_basic(&dummy, "open"));
        assert_eq!(has_activity(&dummy, "busy"), Some(false));
    }
}
