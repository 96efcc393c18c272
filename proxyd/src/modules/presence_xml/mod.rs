//! `loadmodule "presence_xml"`: the event packages presence, presence.winfo and xcap-diff (Kamailio module presence_xml; RFC 3856, RFC 3857).

mod pidf;
mod rules;
#[cfg(test)]
mod tests;
mod winfo;

use super::database::Database;
use super::presence::BODY_MAX;
use super::presence::Package;
use super::presence::Presence;
use super::presence::Presentity;
use super::presence::Rules;
use super::presence::Standing;
use super::presence::Watcher;
use super::presence::presentity_of;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::State;
use rules::Handling;
use shared::db::Error;
use shared::db::Select;
use shared::db::schema;
use std::sync::Arc;

/// `doc_type` of presence rules in the table of XCAP documents.
const PRES_RULES: i64 = 2;

/// What the module works with: nothing beyond the packages it gave to presence.
struct PresenceXml;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["presence"],
    params: &[
        super::DB_URL,
        Param::Text("xcap_table", "xcap", "Table of XCAP documents."),
        Param::Int("disable_presence", 0, "1: the event presence is not served."),
        Param::Int("disable_winfo", 0, "1: the event presence.winfo is not served."),
        Param::Int("disable_xcapdiff", 0, "1: the event xcap-diff is not served."),
        Param::Int(
            "force_active",
            0,
            "1: everyone may watch; 0: the presence rules in the table say who may.",
        ),
        Param::Int(
            "integrated_xcap_server",
            0,
            "1: rules are read from the table; needed unless force_active is 1.",
        ),
        Param::Int(
            "force_dummy_presence",
            0,
            "1: who published nothing is said to be available.",
        ),
        Param::Int(
            "force_presence_single_body",
            0,
            "1: watchers are told the most important publication alone.",
        ),
        Param::Text(
            "presence_single_body_priorities",
            "Available|Ringing|On the Phone",
            "What the lookup element says, the most important last.",
        ),
        Param::Text(
            "presence_single_body_lookup_element",
            "note",
            "Element whose text gives the importance.",
        ),
        Param::Int(
            "default_expires",
            3600,
            "Lifetime of a SUBSCRIBE that asks for none, s.",
        ),
        Param::Int("passive_mode", 0, "1: no event is served."),
        Param::Ignored("disable_bla", "bridged line appearances are not served"),
        Param::Ignored("xcap_server", "rules are read from the table"),
        Param::Ignored(
            "xcapauth_userdel_reason",
            "a watcher whose rule is gone is pending",
        ),
    ],
    functions: &[
        Function::anywhere(
            &["pres_check_basic"],
            &[Arg::Text("presentity_uri"), Arg::Text("status")],
            "True when a tuple of the presentity has this basic status.",
            pres_check_basic,
        ),
        Function::anywhere(
            &["pres_check_activities"],
            &[Arg::Text("presentity_uri"), Arg::Text("activity")],
            "True when the presentity does this; -2 when it says nothing of what it does.",
            pres_check_activities,
        ),
    ],
    init: Some(init),
    ..ModuleDef::new(
        "presence_xml",
        "Presence documents, watcher information, presence rules.",
    )
};

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let missing = || InitError::Refused("presence has no state".to_owned());
    let presence = init.states.get::<Presence>().ok_or_else(missing)?;
    let is_set = |name: &str| init.int(name) != 0;
    if is_set("passive_mode") {
        return Ok(Arc::new(PresenceXml));
    }
    let rules = if is_set("force_active") {
        None
    } else if is_set("integrated_xcap_server") {
        Some(table_of_rules(init)?)
    } else {
        return Err(InitError::Param {
            name: "force_active",
            why: "rules are read from the database alone: set it to 1, or integrated_xcap_server to 1"
                .to_owned(),
        });
    };
    let default_expires = u32::try_from(init.int("default_expires")).unwrap_or(3600);
    let packages = presence.packages();
    if !is_set("disable_presence") {
        let single = is_set("force_presence_single_body").then(|| SingleBody {
            element: init.text("presence_single_body_lookup_element"),
            priorities: init
                .text("presence_single_body_priorities")
                .split('|')
                .map(str::to_owned)
                .collect(),
        });
        packages.add(Arc::new(PresencePackage {
            rules: rules.clone(),
            default_expires,
            dummy: is_set("force_dummy_presence"),
            single,
        }));
    }
    if !is_set("disable_winfo") {
        packages.add(Arc::new(WatcherInfo {
            default_expires,
            owner_only: rules.is_some(),
        }));
    }
    if !is_set("disable_xcapdiff") {
        packages.add(Arc::new(XcapDiff { default_expires }));
    }
    Ok(Arc::new(PresenceXml))
}

fn table_of_rules(init: &Init<'_>) -> Result<XcapRules, InitError> {
    let db = Database::shared(&super::db_url(init))?;
    let table = init.text("xcap_table");
    if let Some(layout) = schema::table("xcap") {
        db.check_version(&table, layout)?;
    }
    Ok(XcapRules { db, table })
}

/// Presence rules in the table of XCAP documents.
#[derive(Clone)]
struct XcapRules {
    db: Arc<Database>,
    table: String,
}

impl Rules for XcapRules {
    fn standing(&self, presentity: &Presentity, watcher: &str) -> Result<Standing, Error> {
        let select = Select::from(&self.table)
            .columns(&["doc"])
            .eq("username", &*presentity.user)
            .eq("domain", &*presentity.domain)
            .eq("doc_type", PRES_RULES);
        let rows = self.db.with(|db| db.query(&select))?;
        let decided = rows
            .iter()
            .filter_map(|row| rules::decide(row.bytes("doc")?, watcher.as_bytes()))
            .max();
        Ok(match decided {
            None | Some(Handling::Confirm) => Standing::PENDING,
            Some(Handling::Block) => Standing::REJECTED,
            Some(Handling::PoliteBlock) => Standing::POLITE_BLOCK,
            Some(Handling::Allow) => Standing::ACTIVE,
        })
    }
}

/// `presence` (RFC 3856).
struct PresencePackage {
    rules: Option<XcapRules>,
    default_expires: u32,
    dummy: bool,
    single: Option<SingleBody>,
}

/// How one of several documents is chosen (`force_presence_single_body`).
struct SingleBody {
    element: String,
    priorities: Vec<String>,
}

impl Package for PresencePackage {
    fn name(&self) -> &'static str {
        "presence"
    }

    fn content_type(&self) -> &'static str {
        "application/pidf+xml"
    }

    fn default_expires(&self) -> u32 {
        self.default_expires
    }

    fn accepts(&self, body: &[u8]) -> bool {
        pidf::is_presence(body)
    }

    fn document(&self, presentity: &Presentity, bodies: &[&[u8]]) -> Option<Vec<u8>> {
        if bodies.is_empty() && self.dummy {
            return Some(pidf::dummy(&String::from_utf8_lossy(&presentity.uri())));
        }
        match &self.single {
            Some(single) => {
                let chosen = pidf::most_important(bodies, &single.element, &single.priorities)?;
                pidf::merge(&[chosen], BODY_MAX)
            }
            None => pidf::merge(bodies, BODY_MAX),
        }
    }

    fn offline(&self, body: &[u8]) -> Option<Vec<u8>> {
        pidf::offline(body)
    }

    fn records_watchers(&self) -> bool {
        true
    }

    fn rules(&self) -> Option<&dyn Rules> {
        self.rules.as_ref().map(|rules| rules as &dyn Rules)
    }
}

/// `presence.winfo` (RFC 3857).
struct WatcherInfo {
    default_expires: u32,
    /// Where rules say who may watch, only the presentity learns who does (RFC 3857 §4.6).
    owner_only: bool,
}

impl Rules for WatcherInfo {
    fn standing(&self, presentity: &Presentity, watcher: &str) -> Result<Standing, Error> {
        let is_owner = presentity_of(watcher.as_bytes()).as_ref() == Some(presentity);
        Ok(if is_owner {
            Standing::ACTIVE
        } else {
            Standing::REJECTED
        })
    }
}

impl Package for WatcherInfo {
    fn name(&self) -> &'static str {
        "presence.winfo"
    }

    fn content_type(&self) -> &'static str {
        "application/watcherinfo+xml"
    }

    fn default_expires(&self) -> u32 {
        self.default_expires
    }

    fn accepts(&self, _body: &[u8]) -> bool {
        false
    }

    fn document(&self, _presentity: &Presentity, _bodies: &[&[u8]]) -> Option<Vec<u8>> {
        None
    }

    fn rules(&self) -> Option<&dyn Rules> {
        self.owner_only.then_some(self)
    }

    fn watched(&self) -> Option<&'static str> {
        Some("presence")
    }

    fn watcherinfo(&self, resource: &str, version: u32, state: &str, watchers: &[Watcher]) -> Vec<u8> {
        winfo::document(resource, "presence", version, state, watchers)
    }
}

/// `xcap-diff` (RFC 5875): what is published is passed on.
struct XcapDiff {
    default_expires: u32,
}

impl Package for XcapDiff {
    fn name(&self) -> &'static str {
        "xcap-diff"
    }

    fn content_type(&self) -> &'static str {
        "application/xcap-diff+xml"
    }

    fn default_expires(&self) -> u32 {
        self.default_expires
    }

    fn accepts(&self, body: &[u8]) -> bool {
        super::xml::Document::parse(body).is_ok()
    }

    fn document(&self, _presentity: &Presentity, bodies: &[&[u8]]) -> Option<Vec<u8>> {
        bodies.first().map(|newest| newest.to_vec())
    }
}

/// The documents that a call's presentity published.
fn published(call: &Call<'_, '_>) -> Vec<Vec<u8>> {
    let (Some(state), Some(presentity)) = (call.state::<Presence>(), presentity_of(&call.text(0))) else {
        return Vec::new();
    };
    let now = call.env.host.wall().as_secs();
    state.published(&presentity, "presence", now).unwrap_or_default()
}

fn pres_check_basic(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text(1);
    let wanted = String::from_utf8_lossy(&wanted);
    let mut bodies = published(call).into_iter();
    bodies.any(|body| pidf::has_basic(&body, &wanted)).into()
}

fn pres_check_activities(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text(1);
    let wanted = String::from_utf8_lossy(&wanted);
    let bodies = published(call);
    if bodies.is_empty() {
        return Code::FALSE;
    }
    let said: Vec<bool> = bodies
        .iter()
        .filter_map(|body| pidf::has_activity(body, &wanted))
        .collect();
    if said.is_empty() {
        return Code(-2);
    }
    said.contains(&true).into()
}
