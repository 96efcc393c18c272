//! Watcher information documents (RFC 3858).

use crate::modules::presence::Watcher;
use crate::modules::xml::Document;
use crate::modules::xml::Element;

const WATCHERINFO: &str = "urn:ietf:params:xml:ns:watcherinfo";

/// Tells of the watchers of a resource.
pub(super) fn document(
    resource: &str,
    package: &str,
    version: u32,
    state: &str,
    watchers: &[Watcher],
) -> Vec<u8> {
    let mut list = Element::new("watcher-list", &[("resource", resource), ("package", package)]);
    for watcher in watchers {
        let attributes = [
            ("id", &*watcher.id),
            ("event", watcher.event),
            ("status", watcher.status),
        ];
        list = list.with(Element::new("watcher", &attributes).with_text(&watcher.uri));
    }
    let version = version.to_string();
    let root = Element::new("watcherinfo", &[("version", &version), ("state", state)])
        .in_namespace(WATCHERINFO)
        .with(list);
    Document::new(root).write()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kamailio 5.6.3 wrote it.
    #[test]
    fn watchers_are_listed() {
        let watcher = Watcher {
            id: "c-1@dr".into(),
            uri: "sip:a@test.lan".into(),
            event: "subscribe",
            status: "active",
        };
        let text = document("sip:bob@test.lan", "presence", 2, "partial", &[watcher]);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "<?xml version=\"1.0\"?>\n<watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" version=\"2\" state=\"partial\">\n  \
             <watcher-list resource=\"sip:bob@test.lan\" package=\"presence\">\n    \
             <watcher id=\"c-1@dr\" event=\"subscribe\" status=\"active\">sip:a@test.lan</watcher>\n  </watcher-list>\n</watcherinfo>\n"
        );
    }
}
