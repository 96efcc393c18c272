//! `loadmodule "enum"`: telephone numbers to URIs by DNS (Kamailio module enum; RFC 6116).

use crate::proxy::branch::Branch;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use shared::net::Naptr;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::Uri;
use std::sync::Arc;

/// The longest number, with its plus.
const LONGEST: usize = 20;
/// q of the first target, in thousandths, and how much less each further preference has.
const FIRST_Q: i32 = 990;
const LESS_Q: i32 = 10;

const SUFFIX: &[Arg] = &[Arg::OptText("suffix"), Arg::OptText("service")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Text(
            "domain_suffix",
            "e164.arpa.",
            "The domain that numbers are looked up under.",
        ),
        Param::Text("tel_uri_params", "", "What is appended to each new URI."),
        Param::Text("i_enum_suffix", "e164.arpa.", "The domain of i_enum_query()."),
        Param::Text("branchlabel", "i", "The label at which its tree branches off."),
        Param::Text(
            "bl_algorithm",
            "cc",
            "Where it does: cc, below the country code; the others need records that are not read here.",
        ),
    ],
    functions: &[
        Function {
            names: &["enum_query"],
            args: SUFFIX,
            routes: Routes::REQUEST,
            doc: "Looks up the number in the Request-URI: the best URI replaces it, the others become branches.",
            call: |call| {
                let number = user(call.env.ctx.uri());
                query(call, 0, number, Tree::User)
            },
        },
        Function {
            names: &["enum_pv_query"],
            args: &[
                Arg::Text("number"),
                Arg::OptText("suffix"),
                Arg::OptText("service"),
            ],
            routes: Routes::REQUEST,
            doc: "The same with a number given.",
            call: |call| {
                let number = call.text_owned(0);
                query(call, 1, number, Tree::User)
            },
        },
        Function {
            names: &["i_enum_query"],
            args: SUFFIX,
            routes: Routes::REQUEST,
            doc: "Like enum_query() in the infrastructure tree.",
            call: |call| {
                let number = user(call.env.ctx.uri());
                query(call, 0, number, Tree::Infrastructure)
            },
        },
        Function {
            names: &["is_from_user_enum"],
            args: SUFFIX,
            routes: Routes::REQUEST,
            doc: "Whether a URI that the number in From leads to has the address that the request came from.",
            call: is_from_user_enum,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("enum", "Telephone numbers to URIs, by DNS.")
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    User,
    Infrastructure,
}

struct Enum {
    suffix: String,
    infrastructure: String,
    label: String,
    params: Vec<u8>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    if init.text("bl_algorithm") != "cc" {
        return Err(InitError::Param {
            name: "bl_algorithm",
            why: "only cc is known".to_owned(),
        });
    }
    Ok(Arc::new(Enum {
        suffix: init.text("domain_suffix"),
        infrastructure: init.text("i_enum_suffix"),
        label: init.text("branchlabel"),
        params: init.text("tel_uri_params").into_bytes(),
    }))
}

fn user(uri: &[u8]) -> Vec<u8> {
    Uri::parse(uri).map_or_else(|_| Vec::new(), |uri| uri.user.unwrap_or_default().to_vec())
}

/// The digits of `+digits`; none when it is no international number.
fn digits(number: &[u8]) -> Option<&str> {
    let fits = (2..=LONGEST).contains(&number.len());
    let digits = number.strip_prefix(b"+").filter(|_| fits)?;
    let all = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)
}

/// How many digits the country code of a number has (ITU-T E.164, annex).
fn country_code(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..] => 2,
        [b'3', b'0'..=b'4' | b'6' | b'9', ..] => 2,
        [b'4', two, ..] if *two != b'2' => 2,
        [b'5', b'1'..=b'8', ..] => 2,
        [b'6', b'0'..=b'6', ..] => 2,
        [b'8', b'1' | b'2' | b'4' | b'6', ..] => 2,
        [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

/// The name of a number (RFC 6116 §3.2), with a label behind so many of its leading digits.
fn name(digits: &str, label: Option<(usize, &str)>, suffix: &str) -> String {
    let mut out = String::with_capacity(2 * digits.len() + suffix.len() + 8);
    for (from_end, digit) in digits.chars().rev().enumerate() {
        if let Some((at, label)) = label
            && digits.len() - from_end == at
        {
            out.push_str(label);
            out.push('.');
        }
        out.push(digit);
        out.push('.');
    }
    out.push_str(suffix.trim_start_matches('.'));
    out
}

/// Whether a record serves what is wanted: `E2U+sip`, `E2U+SERVICE:sip`, or one of `+sip+video:sip`.
fn serves(services: &[u8], wanted: &str) -> bool {
    let services = String::from_utf8_lossy(services).to_ascii_lowercase();
    let wanted = wanted.to_ascii_lowercase();
    let Some(offered) = services.strip_prefix("e2u+") else {
        return false;
    };
    match wanted.strip_prefix('+') {
        Some(several) => offered
            .split('+')
            .any(|offer| several.split('+').any(|one| one == offer)),
        None if wanted.is_empty() => offered == "sip",
        None => offered.strip_prefix(&*wanted).is_some_and(|rest| rest == ":sip"),
    }
}

/// Applies `!pattern!replacement!` with an `i` behind it or not to a number (RFC 3402 §3.2).
fn substituted(rule: &[u8], number: &[u8]) -> Option<Vec<u8>> {
    let (delimiter, rest) = rule.split_first()?;
    let parts: Vec<&[u8]> = rest.split(|byte| byte == delimiter).collect();
    let [pattern, replacement, flags] = parts[..] else {
        return None;
    };
    let options = Options {
        ignore_case: flags.contains(&b'i'),
        newline: false,
    };
    let groups = Regex::compile(pattern, options).ok()?.groups(number)?;
    let mut out = Vec::new();
    let mut bytes = replacement.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'\\', Some(digit @ b'0'..=b'9')) => {
                bytes.next();
                let group = groups.get(usize::from(digit - b'0')).cloned().flatten();
                out.extend_from_slice(group.and_then(|range| number.get(range)).unwrap_or_default());
            }
            (b'\\', Some(other)) => {
                bytes.next();
                out.push(*other);
            }
            _ => out.push(*byte),
        }
    }
    Some(out)
}

/// The URIs that records make of a number, with their q.
fn targets(mut records: Vec<Naptr>, number: &[u8], service: &str) -> Vec<(Vec<u8>, i32)> {
    records.retain(|record| record.flags.eq_ignore_ascii_case(b"u") && serves(&record.services, service));
    records.sort_by_key(|record| (record.order, record.preference));
    let (mut q, mut last) = (FIRST_Q, None);
    let mut found = Vec::new();
    for record in records {
        let uri = substituted(&record.regexp, number).filter(|uri| Uri::parse(uri).is_ok());
        let Some(uri) = uri else {
            let rule = String::from_utf8_lossy(&record.regexp).into_owned();
            crate::log::error("enum", format_args!("rule {rule:?} makes no URI"));
            continue;
        };
        let place = (record.order, record.preference);
        if last.is_some_and(|last| last != place) {
            q = (q - LESS_Q).max(0);
        }
        last = Some(place);
        found.push((uri, q));
    }
    found
}

fn refused(call: &Call<'_, '_>, number: &[u8]) -> Code {
    let number = String::from_utf8_lossy(number);
    crate::log::error(
        "enum",
        format_args!("{}: {number:?} is no number, +digits", call.name),
    );
    Code::FALSE
}

/// The suffix and the service in the arguments from `at` on.
fn wanted(call: &Call<'_, '_>, at: usize, general: &str) -> (String, String) {
    let text = |n: usize| String::from_utf8_lossy(&call.text(n)).into_owned();
    let suffix = if call.has(at) {
        text(at)
    } else {
        general.to_owned()
    };
    (suffix, text(at + 1))
}

fn query(call: &mut Call<'_, '_>, at: usize, number: Vec<u8>, tree: Tree) -> Code {
    let Some(state) = call.state::<Enum>() else {
        return Code::FALSE;
    };
    let Some(digits) = digits(&number) else {
        return refused(call, &number);
    };
    let (general, label) = match tree {
        Tree::User => (&state.suffix, None),
        Tree::Infrastructure => {
            let at = country_code(digits);
            (&state.infrastructure, Some((at, &*state.label)))
        }
    };
    let (suffix, service) = wanted(call, at, general);
    let records = call.env.host.naptr(&name(digits, label, &suffix));
    let mut first = true;
    for (mut uri, q) in targets(records, &number, &service) {
        uri.extend_from_slice(&state.params);
        if std::mem::take(&mut first) {
            call.env.ctx.set_uri(uri);
            call.env.ctx.q = q;
        } else {
            let new = Branch {
                q,
                ..Branch::new(uri)
            };
            if let Err(error) = call.env.ctx.append_branch(new) {
                crate::log::error("enum", format_args!("{}: {error}", call.name));
                break;
            }
        }
    }
    Code::from(!first)
}

fn is_from_user_enum(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Enum>() else {
        return Code::FALSE;
    };
    let number = call
        .env
        .ctx
        .msg
        .from()
        .map_or_else(Vec::new, |from| user(from.uri));
    let Some(digits) = digits(&number) else {
        return refused(call, &number);
    };
    let (suffix, service) = wanted(call, 0, &state.suffix);
    let records = call.env.host.naptr(&name(digits, None, &suffix));
    let source = call.env.ctx.source.peer.ip().to_canonical();
    let found = targets(records, &number, &service);
    let leads_to = |uri: &[u8], call: &mut Call<'_, '_>| {
        let target = call.env.host.resolve(uri, None);
        target.is_some_and(|target| target.peer.ip().to_canonical() == source)
    };
    Code::from(found.iter().any(|(uri, _)| leads_to(uri, call)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::context::Target;
    use crate::script::testing::Bench;
    use shared::net::Transport;

    fn record(order: u16, preference: u16, services: &str, regexp: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: b"u".to_vec(),
            services: services.as_bytes().to_vec(),
            regexp: regexp.as_bytes().to_vec(),
            ..Naptr::default()
        }
    }

    fn bench(records: &[(&str, Vec<Naptr>)], params: &[(&'static str, &str)]) -> Bench {
        let mut bench = Bench::new(&[(&MODULE, params)]);
        let records = records
            .iter()
            .map(|(name, list)| ((*name).to_owned(), list.clone()));
        bench.host.naptr = records.collect();
        bench.receive(
            "INVITE sip:+35831234567@a.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1\nFrom: <sip:+4312@a.lan>;tag=1\nTo: <sip:b@b>\n\
             Call-ID: c\nCSeq: 1 INVITE\n\n",
        );
        bench
    }

    #[test]
    fn numbers_have_names() {
        for (number, tree, expected) in [
            ("+35831234567", Tree::User, "7.6.5.4.3.2.1.3.8.5.3.e164.arpa."),
            (
                "+35831234567",
                Tree::Infrastructure,
                "7.6.5.4.3.2.1.3.i.8.5.3.e164.arpa.",
            ),
            (
                "+12125550100",
                Tree::Infrastructure,
                "0.0.1.0.5.5.5.2.1.2.i.1.e164.arpa.",
            ),
            ("+4312", Tree::Infrastructure, "2.1.i.3.4.e164.arpa."),
        ] {
            let digits = digits(number.as_bytes()).unwrap();
            let label = (tree == Tree::Infrastructure).then(|| (country_code(digits), "i"));
            assert_eq!(name(digits, label, "e164.arpa."), expected);
        }
        for number in ["35831234567", "+", "+1x", "+12345678901234567890", ""] {
            assert_eq!(digits(number.as_bytes()), None, "{number}");
        }
    }

    #[test]
    fn services_are_chosen() {
        for (services, wanted, expected) in [
            ("E2U+SIP", "", true),
            ("E2U+voice:sip", "", false),
            ("E2U+voice:sip", "voice", true),
            ("E2U+voice:sips", "voice", false),
            ("E2U+voice:sip+video:sip", "+sip+video:sip", true),
            ("E2U+tel", "+sip+video:sip", false),
            ("sip", "", false),
        ] {
            assert_eq!(
                serves(services.as_bytes(), wanted),
                expected,
                "{services} {wanted}"
            );
        }
    }

    #[test]
    fn rules_are_applied() {
        for (rule, expected) in [
            ("!^.*$!sip:info@example.com!", Some("sip:info@example.com")),
            ("!^\\+358(.*)$!sip:\\1@x!", Some("sip:31234567@x")),
            ("/^(.)(.*)$/sip:\\2\\\\@x/i", Some("sip:35831234567\\@x")),
            ("!^\\+1!sip:x@y!", None),
            ("!^.*$!sip:x@y", None),
            ("!(!x!", None),
            ("", None),
        ] {
            let made = substituted(rule.as_bytes(), b"+35831234567");
            assert_eq!(made.as_deref(), expected.map(str::as_bytes), "{rule}");
        }
    }

    #[test]
    fn the_best_uri_is_taken_and_others_follow() {
        let name = "7.6.5.4.3.2.1.3.8.5.3.e164.arpa.";
        let records = vec![
            record(10, 20, "E2U+sip", "!^.*$!sip:third@x!"),
            record(10, 10, "E2U+sip", "!^\\+(.*)$!sip:\\1@x!"),
            record(10, 10, "E2U+sip", "!^.*$!sip:second@x!"),
            record(5, 1, "E2U+tel", "!^.*$!tel:+1!"),
            record(5, 1, "E2U+sip", "!^.*$!no uri!"),
        ];
        let mut bench = bench(&[(name, records)], &[("tel_uri_params", ";npdi")]);
        assert_eq!(bench.call("enum_query", &[]), 1);
        assert_eq!(
            (bench.ctx.uri(), bench.ctx.q),
            (&b"sip:35831234567@x;npdi"[..], 990)
        );
        let branches: Vec<(&[u8], i32)> = bench.ctx.branches.iter().map(|b| (&*b.uri, b.q)).collect();
        assert_eq!(
            branches,
            [(&b"sip:second@x;npdi"[..], 990), (b"sip:third@x;npdi", 980)]
        );
        assert_eq!(bench.call("enum_query", &["other.arpa."]), -1);
        assert_eq!(bench.call("enum_pv_query", &["12"]), -1);
    }

    #[test]
    fn other_numbers_trees_and_callers() {
        let to = |uri: &str| vec![record(1, 1, "E2U+sip", &format!("!^.*$!{uri}!"))];
        let records = [
            ("2.1.3.4.e164.arpa.", to("sip:al@127.0.0.1:5070")),
            ("2.1.free.", to("sip:free@x")),
            ("7.6.5.4.3.2.1.3.i.8.5.3.e164.arpa.", to("sip:carrier@x")),
        ];
        let mut bench = bench(&records, &[]);
        assert_eq!(bench.call("i_enum_query", &[]), 1);
        assert_eq!(bench.ctx.uri(), b"sip:carrier@x");
        assert_eq!(bench.call("enum_pv_query", &["+12", "free."]), 1);
        assert_eq!(bench.ctx.uri(), b"sip:free@x");
        assert_eq!(bench.call("is_from_user_enum", &[]), -1);
        bench.host.resolves_to = Some(Target {
            peer: bench.ctx.source.peer,
            transport: Transport::Udp,
            socket: None,
            conn: None,
        });
        assert_eq!(bench.call("is_from_user_enum", &[]), 1);
        assert!(Bench::try_new(&[(&MODULE, &[("bl_algorithm", "txt")])], None).is_err());
    }
}
