//! Who may watch: presence rules as XCAP clients store them (RFC 4745 common policy, RFC 5025).

use crate::modules::xml::Document;
use crate::modules::xml::Element;
use shared::sip::Uri;

/// What a rule says of a watcher; where several apply the greatest holds (RFC 4745 §10.2, RFC 5025 §3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Handling {
    /// `block`: refused.
    Block,
    /// `confirm`: pending until the presentity decides.
    Confirm,
    /// `polite-block`: accepted, and told nothing.
    PoliteBlock,
    /// `allow`.
    Allow,
}

impl Handling {
    fn of(text: &str) -> Option<Self> {
        match text.trim() {
            "block" => Some(Self::Block),
            "confirm" => Some(Self::Confirm),
            "polite-block" => Some(Self::PoliteBlock),
            "allow" => Some(Self::Allow),
            _ => None,
        }
    }
}

/// What the rules say of a watcher; none: no rule applies.
pub(super) fn decide(document: &[u8], watcher: &[u8]) -> Option<Handling> {
    let document = Document::parse(document).ok()?;
    let watcher = Address::of(watcher)?;
    let rules = document.root.named("rule").filter(|rule| applies(rule, &watcher));
    let handlings = rules
        .flat_map(|rule| rule.named("actions"))
        .flat_map(|actions| actions.named("sub-handling"));
    handlings
        .filter_map(|handling| Handling::of(&handling.text()))
        .max()
}

/// Whether every condition of a rule holds; one that is not known does not (RFC 4745 §7).
fn applies(rule: &Element, watcher: &Address) -> bool {
    rule.named("conditions")
        .flat_map(Element::elements)
        .all(|condition| {
            condition.local_name() == "identity" && condition.elements().any(|one| is_named(one, watcher))
        })
}

/// `<one id=…>`, `<many domain=…>` with its `<except>`.
fn is_named(identity: &Element, watcher: &Address) -> bool {
    let is_id = |element: &Element| {
        element
            .attribute("id")
            .and_then(|id| Address::of(id.as_bytes()))
            .is_some_and(|id| id == *watcher)
    };
    let is_domain = |element: &Element| {
        element
            .attribute("domain")
            .is_some_and(|domain| watcher.domain.eq_ignore_ascii_case(domain.as_bytes()))
    };
    match identity.local_name() {
        "one" => is_id(identity),
        "many" => {
            let within = identity.attribute("domain").is_none() || is_domain(identity);
            within
                && !identity
                    .named("except")
                    .any(|except| is_id(except) || is_domain(except))
        }
        _ => false,
    }
}

/// Whom a URI names: parameters and the scheme tell nobody apart.
#[derive(PartialEq, Eq)]
struct Address {
    user: Vec<u8>,
    domain: Vec<u8>,
}

impl Address {
    fn of(uri: &[u8]) -> Option<Self> {
        let uri = Uri::parse(uri).ok()?;
        Some(Self {
            user: uri.user_unescaped().into_owned(),
            domain: uri.host.to_ascii_lowercase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_generous_rule_holds() {
        let rules = br#"<cp:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules" xmlns:cp="urn:ietf:params:xml:ns:common-policy">
<cp:rule id="a"><cp:conditions><cp:identity><cp:one id="sip:a@test.lan"/><cp:one id="sip:%62@test.lan"/></cp:identity></cp:conditions>
<cp:actions><sub-handling>allow</sub-handling></cp:actions></cp:rule>
<cp:rule id="b"><cp:conditions><cp:identity><cp:many domain="far.lan"><cp:except id="sip:x@far.lan"/></cp:many></cp:identity></cp:conditions>
<cp:actions><sub-handling>polite-block</sub-handling></cp:actions></cp:rule>
<cp:rule id="c"><cp:conditions><cp:identity><cp:many><cp:except domain="bad.lan"/></cp:many></cp:identity></cp:conditions>
<cp:actions><sub-handling> confirm </sub-handling></cp:actions></cp:rule>
<cp:rule id="d"><cp:conditions><cp:identity><cp:many/></cp:identity></cp:conditions><cp:actions><sub-handling>block</sub-handling></cp:actions></cp:rule>
<cp:rule id="e"><cp:conditions><cp:identity><cp:many/></cp:identity><cp:sphere value="work"/></cp:conditions>
<cp:actions><sub-handling>allow</sub-handling></cp:actions></cp:rule></cp:ruleset>"#;
        for (watcher, expected) in [
            ("sip:a@test.lan", Some(Handling::Allow)),
            ("sip:b@TEST.lan;x=y", Some(Handling::Allow)),
            ("sip:z@far.lan", Some(Handling::PoliteBlock)),
            ("sip:x@far.lan", Some(Handling::Confirm)),
            ("sip:x@bad.lan", Some(Handling::Block)),
            ("nonsense", None),
        ] {
            assert_eq!(decide(rules, watcher.as_bytes()), expected, "{watcher}");
        }
        assert_eq!(decide(b"<ruleset/>", b"sip:a@test.lan"), None);
        assert_eq!(decide(b"nonsense", b"sip:a@test.lan"), None);
    }
}
