//! XML documents as trees that can be joined, read with bounds and without entities, written as libxml2 lays them out.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use std::fmt::Write;

/// Elements within elements; deeper documents are refused.
const DEPTH_MAX: usize = 64;
/// Nodes of a document; larger ones are refused.
const NODES_MAX: usize = 20_000;

/// Why a text is no document that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum XmlError {
    /// It is not well-formed, or not in an encoding that is read.
    #[error("not well-formed: {0}")]
    Malformed(String),
    /// A document type declaration: entities are not expanded here.
    #[error("a document type declaration")]
    Doctype,
    /// Too deep or too many nodes.
    #[error("too large")]
    TooLarge,
}

fn malformed(why: impl ToString) -> XmlError {
    XmlError::Malformed(why.to_string())
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// `encoding` of its declaration.
    pub(super) encoding: Option<String>,
    /// Comments and instructions before the root.
    prolog: Vec<Node>,
    /// Its root element.
    pub(super) root: Element,
}

/// What stands in an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// An element.
    Element(Element),
    /// Text.
    Text(String),
    /// `<![CDATA[…]]>`.
    CData(String),
    /// `<!--…-->`.
    Comment(String),
    /// `<?…?>`.
    Instruction(String),
}

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Its name as written, prefix and all.
    pub(super) name: String,
    /// The namespaces it declares: prefix (empty for the default) and URI.
    pub(super) namespaces: Vec<(String, String)>,
    /// Its other attributes.
    pub(super) attributes: Vec<(String, String)>,
    /// What it holds.
    pub(super) children: Vec<Node>,
}

impl Document {
    /// A document without an encoding.
    pub(super) fn new(root: Element) -> Self {
        Self {
            encoding: None,
            prolog: Vec::new(),
            root,
        }
    }

    /// Reads a document: UTF-8, or what is declared as ISO-8859-1.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => read(text),
            Err(error) => {
                let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                match read(&text)? {
                    document if document.is_encoded_in("ISO-8859-1") => Ok(document),
                    _ => Err(malformed(error)),
                }
            }
        }
    }

    fn is_encoded_in(&self, name: &str) -> bool {
        self.encoding
            .as_ref()
            .is_some_and(|encoding| encoding.eq_ignore_ascii_case(name))
    }

    /// Writes it, indented where no text would change by that.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = String::from("<?xml version=\"1.0\"");
        if let Some(encoding) = &self.encoding {
            let _ = write!(out, " encoding=\"{encoding}\"");
        }
        out.push_str("?>\n");
        let writer = Writer {
            ascii: !self.is_encoded_in("UTF-8"),
        };
        for node in &self.prolog {
            writer.node(node, 0, Layout::Indented, &mut out);
            out.push('\n');
        }
        writer.element(&self.root, 0, Layout::Indented, &mut out);
        out.push('\n');
        out.into_bytes()
    }
}

impl Element {
    /// An element with attributes.
    pub(super) fn new(name: &str, attributes: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            name: name.to_owned(),
            attributes: attributes.iter().map(owned).collect(),
            ..Self::default()
        }
    }

    /// The same in a default namespace that it declares.
    pub(super) fn in_namespace(mut self, uri: &str) -> Self {
        self.namespaces.push((String::new(), uri.to_owned()));
        self
    }

    /// The same with a child.
    pub(super) fn with(mut self, child: Self) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    /// The same with text.
    pub(super) fn with_text(mut self, text: &str) -> Self {
        self.children.push(Node::Text(text.to_owned()));
        self
    }

    /// Its name without the prefix.
    pub(super) fn local_name(&self) -> &str {
        split(&self.name).1
    }

    /// An attribute by its name without prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(n, _)| split(n).1 == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The elements in it.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The elements in it of this name, whatever their prefix.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.elements()
            .filter(move |element| element.local_name() == name)
    }

    /// The text in it.
    pub(super) fn text(&self) -> String {
        let parts = self.children.iter().filter_map(|node| match node {
            Node::Text(text) | Node::CData(text) => Some(text.as_str()),
            _ => None,
        });
        parts.collect()
    }

    /// A copy to stand elsewhere: it declares the namespaces that it used from `outer`.
    pub(super) fn adopted(&self, outer: &[(String, String)]) -> Self {
        let mut copy = self.clone();
        let mut scope: Vec<&str> = Vec::new();
        let mut missing = Vec::new();
        self.missing(&mut scope, outer, &mut missing);
        copy.namespaces.extend(missing);
        copy
    }

    /// Collects the namespaces used in it that neither it nor what is in it declares.
    fn missing<'a>(
        &'a self,
        scope: &mut Vec<&'a str>,
        outer: &[(String, String)],
        missing: &mut Vec<(String, String)>,
    ) {
        let before = scope.len();
        scope.extend(self.namespaces.iter().map(|(prefix, _)| prefix.as_str()));
        let of_attributes = self.attributes.iter().map(|(name, _)| split(name).0);
        let used =
            std::iter::once(split(&self.name).0).chain(of_attributes.filter(|prefix| !prefix.is_empty()));
        for prefix in used {
            let known = scope.contains(&prefix) || missing.iter().any(|(name, _)| name == prefix);
            let declared = outer.iter().rev().find(|(name, _)| name == prefix);
            if let (false, Some(found)) = (known, declared) {
                missing.push(found.clone());
            }
        }
        for child in self.elements() {
            child.missing(scope, outer, missing);
        }
        scope.truncate(before);
    }
}

/// Prefix and local part of a name.
fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

fn read(text: &str) -> Result<Document, XmlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut encoding = None;
    let (mut prolog, mut root) = (Vec::new(), None);
    let mut open: Vec<Element> = Vec::new();
    let mut nodes = 0;
    loop {
        nodes += 1;
        if nodes > NODES_MAX || open.len() > DEPTH_MAX {
            return Err(XmlError::TooLarge);
        }
        let node = match reader.read_event().map_err(malformed)? {
            Event::Eof => break,
            Event::DocType(_) => return Err(XmlError::Doctype),
            Event::Decl(decl) => {
                if nodes > 1 {
                    return Err(malformed("a declaration within"));
                }
                encoding = decl
                    .encoding()
                    .transpose()
                    .map_err(malformed)?
                    .map(|name| name.into_owned());
                let known = ["UTF-8", "US-ASCII", "ISO-8859-1"];
                if encoding
                    .as_ref()
                    .is_some_and(|name| !known.iter().any(|k| k.eq_ignore_ascii_case(name)))
                {
                    return Err(malformed("its encoding"));
                }
                continue;
            }
            Event::Start(start) => {
                if root.is_some() {
                    return Err(malformed("a second root"));
                }
                open.push(element(&start)?);
                continue;
            }
            Event::Empty(start) => Node::Element(element(&start)?),
            Event::End(_) => Node::Element(open.pop().ok_or_else(|| malformed("an end without a start"))?),
            Event::Text(text) => Node::Text(text.xml10_content().into_owned()),
            Event::CData(text) => Node::CData(text.xml10_content().into_owned()),
            Event::Comment(text) => Node::Comment(text.xml10_content().into_owned()),
            Event::PI(text) => Node::Instruction(text.into_inner().into_owned()),
            Event::GeneralRef(name) => Node::Text(match name.resolve_char_ref().map_err(malformed)? {
                Some(character) => character.to_string(),
                None => resolve_predefined_entity(&name)
                    .ok_or_else(|| malformed("an unknown entity"))?
                    .to_owned(),
            }),
        };
        match (open.last_mut(), node) {
            (Some(parent), node) => add(&mut parent.children, node),
            (None, Node::Element(element)) if root.is_none() => root = Some(element),
            (None, Node::Text(text)) if text.trim_ascii().is_empty() => {}
            (None, node @ (Node::Comment(_) | Node::Instruction(_))) => {
                if root.is_none() {
                    prolog.push(node);
                }
            }
            (None, _) => return Err(malformed("something beside the root")),
        }
    }
    match (root, open.is_empty()) {
        (Some(root), true) => Ok(Document {
            encoding,
            prolog,
            root,
        }),
        _ => Err(malformed("it ends too early")),
    }
}

/// Adds a node; text joins text before it.
fn add(children: &mut Vec<Node>, node: Node) {
    match (children.last_mut(), node) {
        (Some(Node::Text(before)), Node::Text(text)) => before.push_str(&text),
        (_, node) => children.push(node),
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, XmlError> {
    let name = start.name().as_ref().to_owned();
    if !is_name(&name) {
        return Err(malformed(format!("{name:?} is no name")));
    }
    let mut element = Element {
        name,
        ..Element::default()
    };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(malformed)?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(malformed)?
            .into_owned();
        match attribute.key.as_ref() {
            "xmlns" => element.namespaces.push((String::new(), value)),
            name if !is_name(name) => return Err(malformed(format!("{name:?} is no name"))),
            name => match name.strip_prefix("xmlns:") {
                Some(prefix) => element.namespaces.push((prefix.to_owned(), value)),
                None => element.attributes.push((name.to_owned(), value)),
            },
        }
    }
    Ok(element)
}

fn is_name(text: &str) -> bool {
    let starts = |c: char| c.is_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '\u{b7}');
    text.starts_with(starts) && text.chars().all(goes_on)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Indented,
    AsItIs,
}

struct Writer {
    /// Other characters than ASCII's are written as numbers: true in every encoding.
    ascii: bool,
}

impl Writer {
    fn element(&self, element: &Element, level: usize, layout: Layout, out: &mut String) {
        out.push('<');
        out.push_str(&element.name);
        for (prefix, uri) in &element.namespaces {
            out.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
            out.push_str(prefix);
            self.quoted(uri, out);
        }
        for (name, value) in &element.attributes {
            out.push(' ');
            out.push_str(name);
            self.quoted(value, out);
        }
        if element.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        let is_text = |node: &Node| matches!(node, Node::Text(_) | Node::CData(_));
        let inner = match layout {
            Layout::Indented if !element.children.iter().any(is_text) => Layout::Indented,
            _ => Layout::AsItIs,
        };
        for child in &element.children {
            if inner == Layout::Indented {
                indent(level + 1, out);
            }
            self.node(child, level + 1, inner, out);
        }
        if inner == Layout::Indented {
            indent(level, out);
        }
        out.push_str("</");
        out.push_str(&element.name);
        out.push('>');
    }

    fn node(&self, node: &Node, level: usize, layout: Layout, out: &mut String) {
        match node {
            Node::Element(element) => self.element(element, level, layout, out),
            Node::Text(text) => self.escaped(text, Place::Content, out),
            Node::CData(text) => {
                let _ = write!(out, "<![CDATA[{text}]]>");
            }
            Node::Comment(text) => {
                let _ = write!(out, "<!--{text}-->");
            }
            Node::Instruction(text) => {
                let _ = write!(out, "<?{text}?>");
            }
        }
    }

    fn quoted(&self, value: &str, out: &mut String) {
        out.push_str("=\"");
        self.escaped(value, Place::Attribute, out);
        out.push('"');
    }

    fn escaped(&self, text: &str, place: Place, out: &mut String) {
        for character in text.chars() {
            match (character, place) {
                ('&', _) => out.push_str("&amp;"),
                ('<', _) => out.push_str("&lt;"),
                ('>', _) => out.push_str("&gt;"),
                ('"', Place::Attribute) => out.push_str("&quot;"),
                ('\r', _) | ('\n' | '\t', Place::Attribute) => {
                    let _ = write!(out, "&#{};", u32::from(character));
                }
                _ if self.ascii && !character.is_ascii() => {
                    let _ = write!(out, "&#x{:X};", u32::from(character));
                }
                _ => out.push(character),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Place {
    Content,
    Attribute,
}

fn indent(level: usize, out: &mut String) {
    out.push('\n');
    for _ in 0..level {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> String {
        match Document::parse(text.as_bytes()) {
            Ok(document) => String::from_utf8(document.write()).unwrap(),
            Err(error) => format!("{error}"),
        }
    }

    /// As libxml2 2.9.14 wrote them for Kamailio 5.6.3.
    #[test]
    fn documents_are_laid_out_as_libxml2_does() {
        for (input, expected) in [
            ("<a/>", "<?xml version=\"1.0\"?>\n<a/>\n"),
            ("<a></a>", "<?xml version=\"1.0\"?>\n<a/>\n"),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<a x=\"&quot;&lt;&gt;&apos;\"><b>o&gt;p</b><!-- c --></a>\r\n",
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a x=\"&quot;&lt;&gt;'\">\n  <b>o&gt;p</b>\n  <!-- c -->\n</a>\n",
            ),
            (
                "<?xml version=\"1.0\"?>\n<!-- hi -->\n<a>\r\n\t<b><c>1</c></b></a>",
                "<?xml version=\"1.0\"?>\n<!-- hi -->\n<a>\n\t<b><c>1</c></b></a>\n",
            ),
            (
                "<a>Zo\u{eb} &#8364; <![CDATA[a<b]]></a>",
                "<?xml version=\"1.0\"?>\n<a>Zo&#xEB; &#x20AC; <![CDATA[a<b]]></a>\n",
            ),
            (
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><a b='1' xmlns='u'>\u{eb}</a>",
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<a xmlns=\"u\" b=\"1\">\u{eb}</a>\n",
            ),
        ] {
            assert_eq!(again(input), expected);
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for input in [
            "",
            "hello",
            "<a",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "<1/>",
            "<a b=1/>",
            "<a b='1' b='2'/>",
            "<a>&x;</a>",
            "<a b='&x;'/>",
            "<?xml version='1.0' encoding='UTF-16'?><a/>",
        ] {
            assert!(
                matches!(Document::parse(input.as_bytes()), Err(XmlError::Malformed(_))),
                "{input:?}: {}",
                again(input)
            );
        }
        let laughs = "<!DOCTYPE a [<!ENTITY l \"ll\">]><a>&l;</a>";
        assert_eq!(Document::parse(laughs.as_bytes()), Err(XmlError::Doctype));
        for input in ["<a>".repeat(100), format!("<a>{}</a>", "<b/>".repeat(NODES_MAX))] {
            assert_eq!(Document::parse(input.as_bytes()), Err(XmlError::TooLarge));
        }
        assert!(Document::parse(b"<a>\xe9</a>").is_err());
        let latin = Document::parse(b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xe9</a>").unwrap();
        assert_eq!(latin.root.text(), "\u{e9}");
    }

    #[test]
    fn copies_declare_the_namespaces_they_use() {
        let document = Document::parse(
            b"<r xmlns='u' xmlns:d='v' xmlns:x='w'><d:a x:k='1' xml:lang='en'><d:b/><c xmlns='z'/><e/></d:a></r>",
        );
        let root = document.unwrap().root;
        let copy = root.elements().next().unwrap().adopted(&root.namespaces);
        let text = String::from_utf8(Document::new(copy).write()).unwrap();
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "<d:a xmlns:d=\"v\" xmlns:x=\"w\" xmlns=\"u\" x:k=\"1\" xml:lang=\"en\">"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Document::parse(&bytes);
        }

        #[test]
        fn what_is_written_reads_the_same(text in "(<a[ a-c='&;]{0,6}>|</a>|[a-c&;<\u{e9}]{0,3}){0,8}") {
            if let Ok(document) = Document::parse(text.as_bytes()) {
                let written = document.write();
                let read = Document::parse(&written).expect("what we write is well-formed");
                prop_assert_eq!(read.write(), written);
            }
        }
    }
}
