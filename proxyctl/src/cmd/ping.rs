//! `ping`: whether the daemon answers, or a SIP URI or a registered user does to OPTIONS (RFC 3261 §11).

use std::io;
use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use shared::report::Report;
use shared::rpc::core;
use shared::rpc::ul;
use shared::sip::Message;

use super::ul as location;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::clock;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl ping                            does the daemon answer
  proxyctl ping sip:192.0.2.7:5060         does a phone answer OPTIONS
  proxyctl ping alice                      every contact of a user

The daemon sends the request, over the connection or through the NAT that leads to a phone; the script loads tm. \
Without a daemon it goes to a URI from here, over UDP.";

/// How a daemon refuses that has no transactions.
const NO_TM: &str = "module tm is not loaded";

/// Whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// SIP URI, user, or nothing for the daemon
    target: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Where a request goes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Target {
    /// The Request-URI.
    uri: String,
    /// Where it is sent, if that is elsewhere.
    next_hop: Option<String>,
    /// The socket of the daemon that the phone knows.
    socket: Option<String>,
    /// The proxies before it, as a Route header has them.
    route: Option<String>,
}

/// Status and reason of a reply, and the milliseconds it took.
type Reply = (u16, String, f64);

/// Asks the daemon, a URI, or every contact of a user.
pub(crate) fn ping(context: &Context<'_>, ping: &Ping) -> Result<Answer, Error> {
    let Some(target) = &ping.target else {
        let start = Instant::now();
        let version = context.call(core::VERSION, &[])?;
        let ms = milliseconds(start);
        let words = format!("{} answers in {ms:.2} ms", version.as_str().unwrap_or("proxyd"));
        return Ok(Answer::new(words, json!({ "version": version, "ms": ms })));
    };
    let timeout = Duration::from_secs(ping.timeout);
    let mut report = Report::rows(&["uri", "status", "reason", "ms"]);
    let (mut silent, mut answered) = (None, false);
    let targets = if target.contains(':') {
        check::sip_uri(target)?;
        vec![Target {
            uri: target.clone(),
            ..Target::default()
        }]
    } else {
        contacts(context, target)?
    };
    for target in targets {
        match ask(context, &target, timeout) {
            Ok((status, reason, ms)) => {
                answered = true;
                report.push([json!(target.uri), json!(status), json!(reason), json!(ms)]);
            }
            Err(error) => {
                let why = match &error {
                    Error::NoAnswer { reason, .. } => reason.clone(),
                    other => other.to_string(),
                };
                report.push([json!(target.uri), Value::Null, json!(why), Value::Null]);
                silent = Some(error);
            }
        }
    }
    match silent {
        Some(error) if !answered => Err(error),
        _ => Ok(Answer::report(report)),
    }
}

fn contacts(context: &Context<'_>, user: &str) -> Result<Vec<Target>, Error> {
    let aor = location::aor(context, user)?;
    let found = location::lookup(context, location::Table::Location, &aor)?;
    let record: ul::Record = serde_json::from_value(found).map_err(|e| Error::Answer {
        method: ul::LOOKUP.to_owned(),
        reason: e.to_string(),
    })?;
    Ok(record
        .contacts
        .into_iter()
        .map(|entry| Target::of(entry.contact))
        .collect())
}

impl Target {
    /// A contact, by way of its Path (RFC 3327 §5.4), else where its REGISTER came from.
    fn of(contact: ul::Contact) -> Self {
        let set = |text: String| Some(text).filter(|text| text != ul::NOT_SET && !text.is_empty());
        let route = set(contact.path).map(|path| {
            if path.starts_with('<') {
                path
            } else {
                format!("<{path}>")
            }
        });
        let first = route.as_deref().and_then(|route| {
            let (uri, _) = route.strip_prefix('<')?.split_once('>')?;
            Some(uri.to_owned())
        });
        Self {
            uri: contact.address,
            next_hop: first.or(set(contact.received)),
            socket: set(contact.socket),
            route,
        }
    }
}

/// Asks by the daemon, whose connections and sockets lead to a phone; without one, or without tm there, from here.
fn ask(context: &Context<'_>, target: &Target, timeout: Duration) -> Result<Reply, Error> {
    if context.client().may_be_there() {
        match by_daemon(context, target, timeout) {
            Err(Error::Daemon(_)) => {}
            Err(Error::Fault(fault)) if fault.is_unknown_method() || fault.message == NO_TM => {}
            asked => return asked,
        }
    }
    directly(target, timeout)
}

fn by_daemon(context: &Context<'_>, target: &Target, timeout: Duration) -> Result<Reply, Error> {
    const METHOD: &str = "tm.t_uac_attrs";
    let parsed = check::sip_uri(&target.uri)?;
    let host = String::from_utf8_lossy(parsed.host);
    let mut headers = format!(
        "From: <sip:proxyctl@{host}>\r\nTo: <{}>\r\nAccept: application/sdp\r\n",
        target.uri
    );
    if let Some(route) = &target.route {
        headers += &format!("Route: {route}\r\n");
    }
    let params = [
        &format!("mode=wait;fr_timeout={}", timeout.as_millis()),
        "OPTIONS",
        &target.uri,
        target.next_hop.as_deref().unwrap_or("."),
        target.socket.as_deref().unwrap_or("."),
        &headers,
        "",
    ];
    let start = Instant::now();
    let answer = context
        .client()
        .patient(timeout)
        .call(METHOD, &params.map(|word| json!(word)))?;
    let fields: (u16, String, String, String, String, String) =
        serde_json::from_value(answer).map_err(|e| Error::Answer {
            method: METHOD.to_owned(),
            reason: e.to_string(),
        })?;
    match fields {
        // A reply without headers is the daemon's own.
        (status, reason, .., received) if received.is_empty() => Err(Error::NoAnswer {
            target: target.uri.clone(),
            reason: match status {
                408 => format!("nothing came back within {} s", timeout.as_secs()),
                _ => reason,
            },
        }),
        (status, reason, ..) => Ok((status, reason, milliseconds(start))),
    }
}

/// Sends OPTIONS over UDP, again every half second, and waits for a final answer.
fn directly(target: &Target, timeout: Duration) -> Result<Reply, Error> {
    let uri = target.uri.as_str();
    let no_answer = |reason: String| Error::NoAnswer {
        target: uri.to_owned(),
        reason,
    };
    let failed = |error: io::Error| no_answer(error.to_string());
    let address = address(target.next_hop.as_deref().unwrap_or(uri))?;
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).map_err(failed)?;
    socket.connect(address).map_err(failed)?;
    let ours = socket.local_addr().map_err(failed)?;
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .map_err(failed)?;
    let id: u64 = rand::random();
    let request = format!(
        "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ours};branch=z9hG4bK{id:x};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:proxyctl@{ours}>;tag={id:x}\r\nTo: <{uri}>\r\nCall-ID: {id:x}@proxyctl\r\nCSeq: 1 OPTIONS\r\n\
         Contact: <sip:proxyctl@{ours}>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    );
    let start = Instant::now();
    let mut buffer = vec![0; 65_535];
    let mut last = "nothing came back".to_owned();
    while start.elapsed() < timeout {
        if let Err(error) = socket.send(request.as_bytes()) {
            last = error.to_string();
        }
        match socket.recv(&mut buffer) {
            Ok(n) => {
                let reply = Message::parse(buffer.get(..n).unwrap_or_default()).ok();
                if let Some(reply) = reply.filter(|reply| reply.is_reply() && reply.status() >= 200) {
                    let reason = String::from_utf8_lossy(reply.reason()).into_owned();
                    return Ok((reply.status(), reason, milliseconds(start)));
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => {
                last = error.to_string();
                clock::pause(Duration::from_millis(200));
            }
        }
    }
    Err(no_answer(last))
}

fn address(uri: &str) -> Result<SocketAddr, Error> {
    let parsed = check::sip_uri(uri)?;
    let no_answer = |reason: String| Error::NoAnswer {
        target: uri.to_owned(),
        reason,
    };
    let other = match parsed.param(b"transport") {
        Some(Some(transport)) if !transport.eq_ignore_ascii_case(b"udp") => Some(transport),
        _ if parsed.scheme_name.eq_ignore_ascii_case(b"sips") => Some(&b"tls"[..]),
        _ => None,
    };
    if let Some(transport) = other {
        let transport = String::from_utf8_lossy(transport);
        return Err(no_answer(format!(
            "without a daemon that loads tm only UDP is asked, not {transport}"
        )));
    }
    let host = std::str::from_utf8(parsed.host).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = (bare, parsed.port.unwrap_or(5060))
        .to_socket_addrs()
        .map_err(|e| no_answer(e.to_string()))?;
    found
        .next()
        .ok_or_else(|| no_answer("its host has no address".to_owned()))
}

fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_reached_by_its_path_or_where_it_registered_from() {
        let target = |received: &str, path: &str| {
            let contact = json!({"Address": "sip:a@192.0.2.7", "Expires": 300, "Q": -1, "Call-ID": "c", "CSeq": 1,
                "User-Agent": "ua", "Received": received, "Path": path, "State": "CS_NEW", "Flags": 0, "CFlags": 0,
                "Socket": "udp:192.0.2.1:5060", "Methods": 0, "Ruid": "r", "Instance": ul::NOT_SET, "Reg-Id": 0,
                "Server-Id": 0, "Tcpconn-Id": -1, "Keepalive": 0, "Last-Keepalive": 0, "KA-Roundtrip": 0,
                "Last-Modified": 0});
            Target::of(serde_json::from_value(contact).unwrap())
        };
        let expected = |next_hop: Option<&str>, route: Option<&str>| Target {
            uri: "sip:a@192.0.2.7".to_owned(),
            next_hop: next_hop.map(str::to_owned),
            socket: Some("udp:192.0.2.1:5060".to_owned()),
            route: route.map(str::to_owned),
        };
        assert_eq!(target(ul::NOT_SET, ul::NOT_SET), expected(None, None));
        let seen = "sip:198.51.100.3:1024";
        assert_eq!(target(seen, ul::NOT_SET), expected(Some(seen), None));
        let two = "<sip:edge.example.org;lr>, <sip:b;lr>";
        let edge = Some("sip:edge.example.org;lr");
        assert_eq!(target(seen, two), expected(edge, Some(two)));
        assert_eq!(
            target(seen, "sip:edge.example.org;lr"),
            expected(edge, Some("<sip:edge.example.org;lr>"))
        );
    }
}
