//! `loadmodule "uac_redirect"`: follows redirections, to contacts that filters let through (Kamailio module uac_redirect; RFC 3261 §8.1.3.4).

use super::acc;
use crate::proxy::branch::Branch;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::RouteKind;
use crate::script::module::State;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::header::contact::Contact;
use std::cell::RefCell;
use std::sync::Arc;

/// How many filters of one kind there may be.
const MOST_FILTERS: usize = 6;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["tm"],
    params: &[
        Param::Text(
            "default_filter",
            "accept",
            "What becomes of contacts that no filter matches: accept or deny.",
        ),
        Param::Text("deny_filter", "", "Contacts that match it are left out."),
        Param::Text(
            "accept_filter",
            "",
            "Contacts that match it are taken, whatever the other filter says.",
        ),
        Param::Text(
            "acc_function",
            "acc_log_request",
            "How redirections are accounted that get_redirects() gives a reason for: acc_log_request, acc_db_request, \
             acc_request or nothing.",
        ),
        Param::Text("acc_db_table", "acc", "The table for them."),
        Param::Int("bflags", 0, "Branch flags of the new branches."),
        Param::Int(
            "flags_hdr_mode",
            0,
            "The parameter flags of a contact: 0 is ignored, 1 replaces bflags, 2 is added to them.",
        ),
        Param::Int("q_value", 10, "q of contacts that have none, in thousandths."),
    ],
    functions: &[
        Function {
            names: &["set_deny_filter"],
            args: &[Arg::Text("filter"), Arg::Text("reset")],
            routes: RouteKind::FAILURE,
            doc: "Leaves out contacts that match too, for this message; forgets others first: reset_all, reset_default, reset_added.",
            call: |call| add_filter(call, Kind::Deny),
        },
        Function {
            names: &["set_accept_filter"],
            args: &[Arg::Text("filter"), Arg::Text("reset")],
            routes: RouteKind::FAILURE,
            doc: "Takes contacts that match too, for this message; forgets others first: reset_all, reset_default, reset_added.",
            call: |call| add_filter(call, Kind::Accept),
        },
        Function {
            names: &["get_redirects"],
            args: &[Arg::Text("max"), Arg::OptText("reason")],
            routes: RouteKind::FAILURE,
            doc: "Makes branches of the contacts of all 3xx replies, at most total[:of each], * is any; a reason has them accounted.",
            call: get_redirects,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("uac_redirect", "Follows redirections.")
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Accept,
    Deny,
}

/// Filters of both kinds.
#[derive(Debug, Clone, Default)]
struct Filters {
    accept: Vec<Regex>,
    deny: Vec<Regex>,
}

impl Filters {
    fn of(&mut self, kind: Kind) -> &mut Vec<Regex> {
        match kind {
            Kind::Accept => &mut self.accept,
            Kind::Deny => &mut self.deny,
        }
    }

    /// Whether a contact is taken.
    fn admit(&self, uri: &[u8], default: Kind) -> bool {
        if self.accept.iter().any(|filter| filter.is_match(uri)) {
            return true;
        }
        default == Kind::Accept && !self.deny.iter().any(|filter| filter.is_match(uri))
    }
}

/// How redirections are accounted.
struct Accounting {
    log: bool,
    table: Option<Vec<u8>>,
}

struct UacRedirect {
    default: Kind,
    filters: Filters,
    accounting: Option<Accounting>,
    bflags: u32,
    flags_mode: i64,
    q: i32,
}

/// The message that filters were set for: the batch and its number, and the filters in force for it with how many of each kind are
/// the module's.
struct Set {
    message: (u64, u64),
    filters: Filters,
    general: (usize, usize),
}

thread_local! {
    static SET: RefCell<Option<Set>> = const { RefCell::new(None) };
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let refuse = |name: &'static str, why: String| InitError::Param { name, why };
    let filter = |name: &'static str| match init.text(name) {
        text if text.is_empty() => Ok(Vec::new()),
        text => Regex::compile(text.as_bytes(), Options::CONDITION)
            .map(|regex| vec![regex])
            .map_err(|error| refuse(name, error.to_string())),
    };
    let default = match init.text("default_filter").as_str() {
        "accept" => Kind::Accept,
        "deny" => Kind::Deny,
        other => {
            return Err(refuse(
                "default_filter",
                format!("{other:?} is neither accept nor deny"),
            ));
        }
    };
    let table = || Some(init.text("acc_db_table").into_bytes());
    let accounting = match init.text("acc_function").as_str() {
        "" => None,
        "acc_log_request" => Some(Accounting {
            log: true,
            table: None,
        }),
        "acc_db_request" => Some(Accounting {
            log: false,
            table: table(),
        }),
        "acc_request" => Some(Accounting {
            log: true,
            table: table(),
        }),
        other => return Err(refuse("acc_function", format!("{other:?} accounts nothing"))),
    };
    let number = |name: &'static str, most: i64| {
        let n = init.int(name);
        let fits = (0..=most).contains(&n);
        fits.then_some(n)
            .ok_or_else(|| refuse(name, format!("{n} is not 0 to {most}")))
    };
    Ok(Arc::new(UacRedirect {
        default,
        filters: Filters {
            accept: filter("accept_filter")?,
            deny: filter("deny_filter")?,
        },
        accounting,
        bflags: u32::try_from(number("bflags", u32::MAX.into())?).unwrap_or(0),
        flags_mode: number("flags_hdr_mode", 2)?,
        q: i32::try_from(number("q_value", 1000)?).unwrap_or(0),
    }))
}

fn refused(call: &Call<'_, '_>, why: &str) -> Code {
    crate::log::error("uac_redirect", format_args!("{}: {why}", call.name));
    Code::FALSE
}

/// The message that the route is about.
fn message(call: &Call<'_, '_>) -> (u64, u64) {
    (call.env.host.batch(), call.env.ctx.id)
}

fn add_filter(call: &mut Call<'_, '_>, kind: Kind) -> Code {
    let Some(state) = call.state::<UacRedirect>() else {
        return Code::FALSE;
    };
    let text = call.text_owned(0);
    let Ok(filter) = Regex::compile(&text, Options::CONDITION) else {
        return refused(call, "the filter is no regular expression");
    };
    let (default, added) = match &*call.text(1) {
        b"" => (false, false),
        b"reset_all" => (true, true),
        b"reset_default" => (true, false),
        b"reset_added" => (false, true),
        _ => {
            return refused(
                call,
                "the second argument is none of reset_all, reset_default, reset_added",
            );
        }
    };
    let message = message(call);
    let fits = SET.with_borrow_mut(|set| {
        let set = match set {
            Some(set) if set.message == message => set,
            _ => set.insert(Set {
                message,
                filters: state.filters.clone(),
                general: (state.filters.accept.len(), state.filters.deny.len()),
            }),
        };
        let general = match kind {
            Kind::Accept => &mut set.general.0,
            Kind::Deny => &mut set.general.1,
        };
        let filters = set.filters.of(kind);
        if added {
            filters.truncate(*general);
        }
        if default {
            filters.drain(..*general);
            *general = 0;
        }
        let fits = filters.len() < MOST_FILTERS;
        if fits {
            filters.push(filter);
        }
        fits
    });
    if fits {
        Code::TRUE
    } else {
        refused(call, "there are too many filters")
    }
}

/// Reads `total[:of each]`; none for any number.
fn limits(text: &[u8]) -> Option<(Option<usize>, Option<usize>)> {
    let one = |text: &str| match text.trim() {
        "*" | "" => Some(None),
        number => number.parse().ok().map(|n: usize| (n > 0).then_some(n)),
    };
    let text = std::str::from_utf8(text).ok()?;
    let (total, each) = text.split_once(':').unwrap_or((text, "*"));
    Some((one(total)?, one(each)?))
}

/// A contact that is to be tried.
struct Wanted {
    uri: Vec<u8>,
    q: i32,
    flags: u32,
}

impl UacRedirect {
    /// The best contacts of a reply that the filters let through, at most so many.
    ///
    /// Kamailio: the best goes last, and of equal ones the first.
    fn contacts(&self, reply: &Message, filters: &Filters, most: usize) -> Vec<Wanted> {
        let mut best: Vec<Wanted> = Vec::new();
        for value in reply.values(HeaderName::Contact) {
            let Some(contact) = value.contact().ok().filter(|contact| !contact.is_star()) else {
                continue;
            };
            let (uri, q) = (contact.uri(), contact.q().map_or(self.q, i32::from));
            let full = best.len() >= most;
            if !filters.admit(uri, self.default) || full && best.first().is_none_or(|least| least.q >= q) {
                continue;
            }
            if full {
                best.remove(0);
            }
            let at = best.partition_point(|other| other.q < q);
            best.insert(
                at,
                Wanted {
                    uri: uri.to_vec(),
                    q,
                    flags: self.flags(&contact),
                },
            );
        }
        best
    }

    fn flags(&self, contact: &Contact<'_>) -> u32 {
        let own = contact.param(b"flags").flatten();
        let own = own.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
        match (self.flags_mode, own) {
            (1, Some(own)) => own,
            (2, Some(own)) => self.bflags | own,
            _ => self.bflags,
        }
    }
}

fn get_redirects(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<UacRedirect>() else {
        return Code::FALSE;
    };
    let Some((total, each)) = limits(&call.text(0)) else {
        return refused(call, "the limit is not total[:of each]");
    };
    let message = message(call);
    let filters = SET.with_borrow(|set| {
        let set = set.as_ref().filter(|set| set.message == message);
        set.map_or_else(|| state.filters.clone(), |set| set.filters.clone())
    });
    let mut wanted = Vec::new();
    if let Some(transaction) = call.env.host.transaction() {
        for tried in transaction.branches.iter().skip(transaction.first_branch) {
            let reply = tried.reply.filter(|_| (300..400).contains(&tried.status));
            let left = total.map_or(usize::MAX, |total| total - wanted.len());
            let most = each.unwrap_or(usize::MAX).min(left);
            wanted.extend(
                reply
                    .into_iter()
                    .flat_map(|reply| state.contacts(reply, &filters, most)),
            );
        }
    }
    let reason = call.text_owned(1);
    let mut count = 0;
    for one in wanted {
        let new = Branch {
            q: one.q,
            flags: one.flags,
            ..Branch::new(one.uri.clone())
        };
        if let Err(error) = call.env.ctx.append_branch(new) {
            refused(call, &error.to_string());
            break;
        }
        count += 1;
        if let Some(how) = state.accounting.as_ref().filter(|_| call.has(1)) {
            let uri = call.env.ctx.new_uri.replace(one.uri);
            acc::account(call.env, &reason, how.log, how.table.as_deref());
            call.env.ctx.new_uri = uri;
        }
    }
    Code::from(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Bench;

    const MOVED: &str = "SIP/2.0 302 Moved\nVia: SIP/2.0/UDP 127.0.0.1\nContact: <sip:a@x;p=1>, \"B\" <sip:b@x>;q=0.9;flags=4\n\
        Contact: <sip:c@denied.lan>;q=1, sip:d@x\n\n";

    fn chosen(params: &[(&'static str, &str)], most: usize) -> String {
        let bench = Bench::new(&[(&super::super::tm::MODULE, &[]), (&MODULE, params)]);
        let state = bench.script.states.get::<UacRedirect>().unwrap();
        let reply = Message::parse(MOVED.replace('\n', "\r\n")).unwrap();
        let contacts = state.contacts(&reply, &state.filters, most);
        let texts = contacts
            .iter()
            .map(|one| format!("{} {} {}", String::from_utf8_lossy(&one.uri), one.q, one.flags));
        texts.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn contacts_are_filtered_and_ordered() {
        for (params, most, expected) in [
            (
                &[][..],
                usize::MAX,
                "sip:d@x 10 0, sip:a@x;p=1 10 0, sip:b@x 900 0, sip:c@denied.lan 1000 0",
            ),
            (&[], 3, "sip:a@x;p=1 10 0, sip:b@x 900 0, sip:c@denied.lan 1000 0"),
            (&[], 1, "sip:c@denied.lan 1000 0"),
            (
                &[
                    ("deny_filter", "denied"),
                    ("bflags", "2"),
                    ("flags_hdr_mode", "2"),
                    ("q_value", "0"),
                ],
                usize::MAX,
                "sip:d@x 0 2, sip:a@x;p=1 0 2, sip:b@x 900 6",
            ),
            (
                &[
                    ("default_filter", "deny"),
                    ("accept_filter", "^sip:b"),
                    ("flags_hdr_mode", "1"),
                ],
                usize::MAX,
                "sip:b@x 900 4",
            ),
            (
                &[("deny_filter", "."), ("accept_filter", "sip:d")],
                usize::MAX,
                "sip:d@x 10 0",
            ),
        ] {
            assert_eq!(chosen(params, most), expected, "{params:?} {most}");
        }
    }

    #[test]
    fn limits_are_read() {
        for (text, expected) in [
            ("*", Some((None, None))),
            ("0", Some((None, None))),
            ("6:2", Some((Some(6), Some(2)))),
            ("*:2", Some((None, Some(2)))),
            ("6:*", Some((Some(6), None))),
            ("x", None),
            ("1:y", None),
            ("-1", None),
        ] {
            assert_eq!(limits(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn filters_hold_for_one_message() {
        let mut bench = Bench::new(&[
            (&super::super::tm::MODULE, &[]),
            (&MODULE, &[("deny_filter", "general")]),
        ]);
        let counts = || SET.with_borrow(|set| set.as_ref().map(|set| set.filters.deny.len()));
        for (id, filter, reset, code, expected) in [
            (1, "a", "", 1, 2),
            (1, "b", "", 1, 3),
            (1, "c", "reset_added", 1, 2),
            (1, "d", "reset_default", 1, 2),
            (1, "e", "reset_all", 1, 1),
            (1, "(", "", -1, 1),
            (1, "f", "nonsense", -1, 1),
            (2, "g", "", 1, 2),
        ] {
            bench.ctx.id = id;
            assert_eq!(bench.call("set_deny_filter", &[filter, reset]), code, "{filter}");
            assert_eq!(counts(), Some(expected), "{filter}");
        }
        for n in 2..MOST_FILTERS {
            assert_eq!(bench.call("set_deny_filter", &["x", ""]), 1, "{n}");
        }
        assert_eq!(bench.call("set_deny_filter", &["x", ""]), -1);
        assert_eq!(bench.call("get_redirects", &["nonsense"]), -1);
        assert_eq!(bench.call("get_redirects", &["*"]), -1);
    }

    #[test]
    fn wrong_parameters_are_refused() {
        for (name, value) in [
            ("default_filter", "maybe"),
            ("deny_filter", "("),
            ("acc_function", "acc_nothing"),
            ("flags_hdr_mode", "3"),
            ("q_value", "1001"),
        ] {
            let modules: [(&'static ModuleDef, &[(&'static str, &str)]); 2] =
                [(&super::super::tm::MODULE, &[]), (&MODULE, &[(name, value)])];
            assert!(Bench::try_new(&modules, None).is_err(), "{name}");
        }
    }
}
