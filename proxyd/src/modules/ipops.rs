//! `loadmodule "ipops"`: addresses told apart, compared and looked up (Kamailio ipops; RFC 1918, RFC 6890, RFC 4291).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::program::Format;
use crate::script::value::Value;
use crate::script::value::leading_int;
use shared::net::cidr;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::ToSocketAddrs;

const IP: &[Arg] = &[Arg::Text("ip")];
const PAIR: &[Arg] = &[Arg::Text("ip1"), Arg::Text("ip2")];
const TYPED: &[Arg] = &[Arg::Text("ip"), Arg::Pv("result")];
const NAMED: &[Arg] = &[Arg::Text("hostname"), Arg::Text("ipaddr")];

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    functions: &[
        Function::anywhere(
            &["is_ip"],
            IP,
            "True for an address, IPv6 also in brackets.",
            |call| is(call, |_| true),
        ),
        Function::anywhere(
            &["is_pure_ip"],
            IP,
            "True for an address without brackets.",
            |call| is(call, |kind| kind != Kind::Reference),
        ),
        Function::anywhere(&["is_ipv4"], IP, "True for an IPv4 address.", |call| {
            is(call, |kind| kind == Kind::V4)
        }),
        Function::anywhere(
            &["is_ipv6"],
            IP,
            "True for an IPv6 address without brackets.",
            |call| is(call, |kind| kind == Kind::V6),
        ),
        Function::anywhere(
            &["is_ipv6_reference"],
            IP,
            "True for an IPv6 address in brackets.",
            |call| is(call, |kind| kind == Kind::Reference),
        ),
        Function::anywhere(
            &["ip_type"],
            IP,
            "1 IPv4, 2 IPv6, 3 IPv6 in brackets, -1 else.",
            ip_type,
        ),
        Function::anywhere(
            &["detailed_ip_type"],
            TYPED,
            "Assigns what an address is for.",
            |call| detailed(call, |_| true),
        ),
        Function::anywhere(
            &["detailed_ipv4_type"],
            TYPED,
            "Assigns what an IPv4 address is for.",
            |call| detailed(call, |ip| ip.is_ipv4()),
        ),
        Function::anywhere(
            &["detailed_ipv6_type"],
            TYPED,
            "Assigns what an IPv6 address is for.",
            |call| detailed(call, |ip| ip.is_ipv6()),
        ),
        Function::anywhere(
            &["compare_ips"],
            PAIR,
            "True when addresses are the same.",
            |call| compare(call, true),
        ),
        Function::anywhere(
            &["compare_pure_ips"],
            PAIR,
            "True when addresses without brackets are the same.",
            |call| compare(call, false),
        ),
        Function::anywhere(
            &["is_ip_rfc1918"],
            IP,
            "True for a private IPv4 address.",
            is_private,
        ),
        Function::anywhere(
            &["is_in_subnet"],
            &[Arg::Text("ip"), Arg::Text("subnets")],
            "True when an address is in one of the prefixes between commas.",
            is_in_subnet,
        ),
        Function::anywhere(
            &["dns_sys_match_ip", "dns_int_match_ip"],
            NAMED,
            "True when a name has an address; -4 when it has others.",
            dns_match,
        ),
        Function::anywhere(
            &["dns_query"],
            &[Arg::Text("hostname"), Arg::Text("pvid")],
            "Looks a name up for $dns(pvid=>key).",
            dns_query,
        ),
        Function::anywhere(
            &["dns_set_local_ttl"],
            &[Arg::Int("vttl")],
            "Accepted: the resolver keeps records as long as they say.",
            |_| Code::TRUE,
        ),
    ],
    pvs: &[Pv::class(
        &["dns"],
        "What dns_query() found: pvid=>count, ipv4, ipv6, addr[n], type[n].",
        compile_dns,
        read_dns,
    )],
    ..ModuleDef::new("ipops", "Addresses told apart, compared and looked up.")
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    V4,
    V6,
    Reference,
}

/// An address with its kind.
fn parse(text: &[u8]) -> Option<(IpAddr, Kind)> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some((IpAddr::V6(inner.parse().ok()?), Kind::Reference));
    }
    match text.parse().ok()? {
        IpAddr::V4(ip) => Some((IpAddr::V4(ip), Kind::V4)),
        IpAddr::V6(ip) => Some((IpAddr::V6(ip), Kind::V6)),
    }
}

fn is(call: &Call<'_, '_>, fits: impl FnOnce(Kind) -> bool) -> Code {
    Code::from(parse(&call.text(0)).is_some_and(|(_, kind)| fits(kind)))
}

fn ip_type(call: &mut Call<'_, '_>) -> Code {
    match parse(&call.text(0)) {
        Some((_, Kind::V4)) => Code(1),
        Some((_, Kind::V6)) => Code(2),
        Some((_, Kind::Reference)) => Code(3),
        None => Code::FALSE,
    }
}

/// What prefixes are for, the narrower before the wider; all else is public.
const V4_KINDS: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(255, 255, 255, 255), 32, "BROADCAST"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "RESERVED"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "TEST-NET"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6TO4-RELAY"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "TEST-NET"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "TEST-NET"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "LINK-LOCAL"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "PRIVATE"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "TEST-NET"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "PRIVATE"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "SHARED"),
    (Ipv4Addr::new(0, 0, 0, 0), 8, "RESERVED"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "PRIVATE"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "LOOPBACK"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "MULTICAST"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "RESERVED"),
];

const V6_KINDS: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "UNSPECIFIED"),
    (Ipv6Addr::LOCALHOST, 128, "LOOPBACK"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPV4MAP"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "DISCARD"),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, "BMWG"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "TEREDO"),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "DOCUMENTATION",
    ),
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28, "ORCHID"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6TO4"),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        "LINK-LOCAL-UNICAST",
    ),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "MULTICAST"),
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "UNIQUE-LOCAL-UNICAST",
    ),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, "GLOBAL-UNICAST"),
];

fn kind_of(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(ip) => {
            let within = |net: Ipv4Addr, bits: u32| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= bits;
            V4_KINDS
                .iter()
                .find(|(net, bits, _)| within(*net, *bits))
                .map_or("PUBLIC", |(.., kind)| kind)
        }
        IpAddr::V6(ip) => {
            let within = |net: Ipv6Addr, bits: u32| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= bits;
            V6_KINDS
                .iter()
                .find(|(net, bits, _)| within(*net, *bits))
                .map_or("RESERVED", |(.., kind)| kind)
        }
    }
}

fn detailed(call: &mut Call<'_, '_>, fits: impl FnOnce(&IpAddr) -> bool) -> Code {
    match parse(&call.text(0)).map(|(ip, _)| ip).filter(fits) {
        Some(ip) => Code::from(call.assign(1, Value::text(kind_of(ip).as_bytes()))),
        None => Code::FALSE,
    }
}

fn compare(call: &Call<'_, '_>, brackets: bool) -> Code {
    let (Some(first), Some(second)) = (parse(&call.text(0)), parse(&call.text(1))) else {
        return Code::FALSE;
    };
    let bare = first.1 != Kind::Reference && second.1 != Kind::Reference;
    Code::from(first.0 == second.0 && (brackets || bare))
}

fn is_private(call: &mut Call<'_, '_>) -> Code {
    let private = |ip| {
        if let IpAddr::V4(ip) = ip {
            ip.is_private()
        } else {
            false
        }
    };
    Code::from(parse(&call.text(0)).is_some_and(|(ip, _)| private(ip)))
}

fn is_in_subnet(call: &mut Call<'_, '_>) -> Code {
    let Some((ip, _)) = parse(&call.text(0)) else {
        return Code::FALSE;
    };
    let list = call.text(1);
    let list = String::from_utf8_lossy(&list);
    // Kamailio: host bits under the mask are not looked at
    Code::from(
        list.split(',')
            .filter_map(|text| cidr::parse_truncated(text.trim()).ok())
            .any(|net| net.contains(&ip)),
    )
}

/// The addresses of a name by the system's resolver; it may take as long as that takes.
fn addresses(name: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in (name, 0).to_socket_addrs().into_iter().flatten() {
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    found
}

fn dns_match(call: &mut Call<'_, '_>) -> Code {
    let (name, address) = (call.text(0), call.text(1));
    let (Ok(name), Some((wanted, _))) = (std::str::from_utf8(&name), parse(&address)) else {
        return Code(-3);
    };
    let found = addresses(name);
    match (found.is_empty(), found.contains(&wanted)) {
        (_, true) => Code::TRUE,
        (true, false) => Code(-2),
        (false, false) => Code(-4),
    }
}

/// The most results that are kept by worker.
const MOST_RESULTS: usize = 32;

/// What `dns_query()` found: a name and addresses.
type Result = (Box<[u8]>, Vec<IpAddr>);

thread_local! {
    static RESULTS: RefCell<Vec<Result>> = const { RefCell::new(Vec::new()) };
}

fn dns_query(call: &mut Call<'_, '_>) -> Code {
    let (name, id) = (call.text(0), call.text(1));
    let Ok(name) = std::str::from_utf8(&name) else {
        return Code::FALSE;
    };
    let found = addresses(name);
    let some = !found.is_empty();
    RESULTS.with_borrow_mut(|results| {
        results.retain(|(known, _)| **known != *id);
        results.truncate(MOST_RESULTS - 1);
        results.insert(0, ((*id).into(), found));
    });
    Code::from(some)
}

/// A compiled `pvid=>key[n]`.
struct Asked {
    id: Box<[u8]>,
    key: Key,
}

enum Key {
    Count,
    V4,
    V6,
    Address(Place),
    Type(Place),
}

enum Place {
    At(i64),
    Format(Format),
}

fn compile_dns(inner: &PvInner<'_>) -> std::result::Result<PvData, String> {
    let wrong = || {
        format!(
            "{:?} is not written pvid=>count, ipv4, ipv6, addr[n] or type[n]",
            String::from_utf8_lossy(inner.text)
        )
    };
    let arrow = memchr::memmem::find(inner.text, b"=>").ok_or_else(wrong)?;
    let (id, key) = (
        inner.text.get(..arrow).ok_or_else(wrong)?,
        inner.text.get(arrow + 2..).ok_or_else(wrong)?,
    );
    let (name, index) = match memchr::memchr(b'[', key) {
        Some(open) => (
            key.get(..open),
            key.get(open + 1..).and_then(|rest| rest.strip_suffix(b"]")),
        ),
        None => (Some(key), Some(b"0".as_slice())),
    };
    let index = index.ok_or_else(wrong)?;
    let place = if index.contains(&b'$') {
        Place::Format((inner.parse)(index)?)
    } else {
        Place::At(leading_int(index).ok_or_else(wrong)?)
    };
    let key = match name {
        Some(b"count") => Key::Count,
        Some(b"ipv4") => Key::V4,
        Some(b"ipv6") => Key::V6,
        Some(b"addr") => Key::Address(place),
        Some(b"type") => Key::Type(place),
        _ => return Err(wrong()),
    };
    Ok(PvData::Other(Box::new(Asked { id: id.into(), key })))
}

fn read_dns<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some(asked) = spec.other::<Asked>() else {
        return Value::Null;
    };
    let at = |place: &Place| {
        let text: Cow<'_, [u8]>;
        let n = match place {
            Place::At(n) => *n,
            Place::Format(format) => {
                text = format.expand(env);
                leading_int(&text).unwrap_or(0)
            }
        };
        usize::try_from(n).ok()
    };
    RESULTS.with_borrow(|results| {
        let Some((_, found)) = results.iter().find(|(id, _)| *id == asked.id) else {
            return Value::Null;
        };
        match &asked.key {
            Key::Count => Value::Int(found.len() as i64),
            Key::V4 => Value::Int(i64::from(found.iter().any(IpAddr::is_ipv4))),
            Key::V6 => Value::Int(i64::from(found.iter().any(IpAddr::is_ipv6))),
            Key::Address(place) => match at(place).and_then(|at| found.get(at)) {
                Some(ip) => Value::owned(ip.to_string().into_bytes()),
                None => Value::Null,
            },
            Key::Type(place) => match at(place).and_then(|at| found.get(at)) {
                Some(ip) => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
                None => Value::Null,
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn kamailio_answers_the_same() {
        let mut stage = Stage::options();
        for (name, args, expected) in [
            ("is_ip", &["1.2.3.4"][..], 1),
            ("is_ip", &["[::1]"], 1),
            ("is_ip", &["x"], -1),
            ("is_pure_ip", &["[::1]"], -1),
            ("is_ipv4", &["::1"], -1),
            ("is_ipv6", &["::1"], 1),
            ("is_ipv6_reference", &["[::1]"], 1),
            ("ip_type", &["1.2.3.4"], 1),
            ("ip_type", &["::1"], 2),
            ("ip_type", &["[::1]"], 3),
            ("ip_type", &["x"], -1),
            ("compare_ips", &["1.2.3.4", "1.2.3.4"], 1),
            ("compare_ips", &["::1", "[0::1]"], 1),
            ("compare_pure_ips", &["::1", "[::1]"], -1),
            ("is_ip_rfc1918", &["10.1.1.1"], 1),
            ("is_in_subnet", &["10.1.2.3", "1.1.1.0/24, 10.0.0.0/8"], 1),
            ("is_in_subnet", &["10.1.2.3", "10.1.2.3"], 1),
            ("is_in_subnet", &["x", "10.0.0.0/8"], -1),
            ("is_in_subnet", &["10.1.2.3", "junk"], -1),
            ("is_in_subnet", &["9.1.2.3", "10.0.0.0/8"], -1),
            ("is_in_subnet", &["10.0.123.123", "10.0.123.1/24"], 1),
            ("dns_sys_match_ip", &["127.0.0.1", "127.0.0.1"], 1),
            ("dns_sys_match_ip", &["127.0.0.1", "127.0.0.2"], -4),
            ("dns_query", &["127.0.0.1", "q"], 1),
        ] {
            assert_eq!(stage.call(&MODULE, name, args), expected, "{name}{args:?}");
        }
    }

    #[test]
    fn addresses_have_purposes() {
        for (text, expected) in [
            ("192.168.1.2", "PRIVATE"),
            ("8.8.8.8", "PUBLIC"),
            ("100.64.0.1", "SHARED"),
            ("127.0.0.1", "LOOPBACK"),
            ("255.255.255.255", "BROADCAST"),
            ("2001:db8::1", "DOCUMENTATION"),
            ("fe80::1", "LINK-LOCAL-UNICAST"),
            ("::", "UNSPECIFIED"),
            ("2001:4860::8888", "GLOBAL-UNICAST"),
            ("fd00::1", "UNIQUE-LOCAL-UNICAST"),
        ] {
            assert_eq!(kind_of(text.parse().expect(text)), expected, "{text}");
        }
    }
}
