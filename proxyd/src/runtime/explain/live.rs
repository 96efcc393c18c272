//! `core.explain_live`: the next message of the network that fits a filter, as a worker handled it.

use super::report;
use crate::control::methods::RpcFault;
use crate::proxy::context::Source;
use crate::runtime::Runtime;
use crate::runtime::sandbox::Sent;
use crate::script::exec::Verdict;
use crate::script::exec::trace::Trace;
use crate::script::module::Script;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::json;
use shared::sip::Message;
use shared::sip::Uri;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How many may wait at once.
const MOST: usize = 8;

/// The longest wait.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a message must be to be explained: every condition `name=value` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Vec<(Name, String)>);

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Method,
    From,
    To,
    Ruri,
    CallId,
    Src,
    Status,
}

impl Filter {
    const NAMES: &[(&str, Name)] = &[
        ("method", Name::Method),
        ("from", Name::From),
        ("to", Name::To),
        ("ruri", Name::Ruri),
        ("callid", Name::CallId),
        ("src", Name::Src),
        ("status", Name::Status),
    ];

    /// Reads conditions with white space between them; none fits every request.
    pub(crate) fn parse(text: &str) -> Result<Self, RpcFault> {
        let condition = |word: &str| {
            let (name, value) = word.split_once('=')?;
            let (_, name) = Self::NAMES.iter().find(|(known, _)| *known == name)?;
            Some((*name, value.to_owned()))
        };
        let conditions = text.split_whitespace().map(|word| {
            condition(word).ok_or_else(|| {
                let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                RpcFault::bad_request(format!("{word:?} is not NAME=VALUE with a name of {names}"))
            })
        });
        conditions.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a message fits; replies only when their status is asked for.
    fn fits(&self, msg: &Message, source: &Source) -> bool {
        let of_reply = self.0.iter().any(|(name, _)| *name == Name::Status);
        if msg.is_reply() != of_reply {
            return false;
        }
        self.0.iter().all(|(name, value)| match name {
            Name::Method => msg.method().as_bytes().eq_ignore_ascii_case(value.as_bytes()),
            Name::From => msg.from().is_some_and(|from| is_uri(from.uri, value)),
            Name::To => msg.to().is_some_and(|to| is_uri(to.uri, value)),
            Name::Ruri => !of_reply && is_uri(msg.request_uri(), value),
            Name::CallId => msg.call_id() == value.as_bytes(),
            Name::Src => source.peer.to_string() == *value || source.peer.ip().to_string() == *value,
            Name::Status => msg.status().to_string() == *value || is_class(value, msg.status()),
        })
    }
}

/// Whether a value is the whole URI, its `user@host`, its user or its host.
fn is_uri(uri: &[u8], value: &str) -> bool {
    if uri == value.as_bytes() {
        return true;
    }
    let Ok(uri) = Uri::parse(uri) else { return false };
    let user = uri.user.unwrap_or_default();
    match value.split_once('@') {
        Some((name, host)) => user == name.as_bytes() && uri.host.eq_ignore_ascii_case(host.as_bytes()),
        None => user == value.as_bytes() || uri.host.eq_ignore_ascii_case(value.as_bytes()),
    }
}

/// `4xx`.
fn is_class(value: &str, status: u16) -> bool {
    value
        .strip_suffix("xx")
        .is_some_and(|class| class == (status / 100).to_string())
}

/// A message as a worker handled it.
pub(crate) struct Handled {
    /// As it came.
    pub(crate) message: Vec<u8>,
    pub(crate) source: Source,
    pub(crate) script: Arc<Script>,
    pub(crate) trace: Box<Trace>,
    /// How the request route ended; none when it did not run.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) sent: Vec<Sent>,
}

/// Whoever asked for a message.
pub(crate) type Asker = SyncSender<Handled>;

/// Who waits for which message.
#[derive(Default)]
pub(crate) struct Watch {
    /// How many wait, read by workers for each message.
    count: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Numbers given so far.
    last: u64,
    askers: Vec<(u64, Filter, Asker)>,
}

impl Watch {
    /// Whoever waits for this message, and waits no longer.
    pub(crate) fn taken(&self, msg: &Message, source: &Source) -> Option<Asker> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let fits = |(_, filter, _): &(u64, Filter, Asker)| filter.fits(msg, source);
        let at = waiting.askers.iter().position(fits)?;
        let (_, _, asker) = waiting.askers.swap_remove(at);
        self.count.store(waiting.askers.len(), Ordering::Relaxed);
        Some(asker)
    }

    /// Enters an asker under a number.
    fn add(&self, filter: &Filter, asker: Asker) -> Result<u64, RpcFault> {
        let mut waiting = self.waiting.lock();
        if waiting.askers.len() >= MOST {
            return Err(RpcFault::failed(format!(
                "{MOST} others wait for a message already"
            )));
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.askers.push((number, filter.clone(), asker));
        self.count.store(waiting.askers.len(), Ordering::Relaxed);
        Ok(number)
    }

    /// Takes out who gave up.
    fn remove(&self, number: u64) {
        let mut waiting = self.waiting.lock();
        waiting.askers.retain(|(known, ..)| *known != number);
        self.count.store(waiting.askers.len(), Ordering::Relaxed);
    }
}

/// Waits for a message that fits and tells what was done with it.
pub(crate) fn explain_live(runtime: &Runtime, filter: &Filter, wait: Duration) -> Result<Value, RpcFault> {
    let wait = wait.min(PATIENCE);
    let (asker, answer) = sync_channel(1);
    let number = runtime.watch.add(filter, asker)?;
    let Ok(handled) = answer.recv_timeout(wait) else {
        runtime.watch.remove(number);
        return Err(RpcFault::not_found(format!(
            "no such message came within {} s",
            wait.as_secs()
        )));
    };
    let Handled {
        message,
        source,
        script,
        trace,
        verdict,
        sent,
    } = handled;
    let mut answer = report(runtime, &script, &source, &trace, verdict, &sent);
    if let Some(fields) = answer.as_object_mut() {
        if message.starts_with(b"SIP/2.0 ") {
            let end = if sent.is_empty() { "taken in" } else { "passed on" };
            fields.insert("end".to_owned(), json!(end));
        }
        fields.insert("live".to_owned(), json!(true));
        let message = String::from_utf8_lossy(&message);
        fields.insert("message".to_owned(), json!(message));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::net::Transport;
    use std::net::SocketAddr;

    #[test]
    fn conditions_choose_messages() {
        let request = b"INVITE sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
            From: \"Al\" <sip:al@a.test>;tag=1\r\nTo: <sip:bob@b.test:5070>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
        let reply = b"SIP/2.0 486 Busy\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\
            From: <sip:al@a.test>;tag=1\r\nTo: <sip:bob@b.test>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
        let source = Source {
            peer: SocketAddr::from(([192, 0, 2, 1], 5070)),
            local: SocketAddr::from(([127, 0, 0, 1], 5060)),
            transport: Transport::Udp,
            socket: 0,
            conn: None,
        };
        let request = Message::parse(request.to_vec()).expect("a request");
        let reply = Message::parse(reply.to_vec()).expect("a reply");
        for (filter, of_request, of_reply) in [
            ("", true, false),
            ("method=invite", true, false),
            ("method=BYE", false, false),
            ("from=al", true, false),
            ("from=sip:al@a.test to=bob@b.test", true, false),
            ("from=al to=al", false, false),
            ("ruri=b.test", true, false),
            ("callid=c1 src=192.0.2.1", true, false),
            ("src=192.0.2.1:5070", true, false),
            ("src=192.0.2.1:5071", false, false),
            ("status=486 method=INVITE", false, true),
            ("status=4xx", false, true),
            ("status=5xx", false, false),
        ] {
            let parsed = Filter::parse(filter).expect(filter);
            assert_eq!(parsed.fits(&request, &source), of_request, "{filter}");
            assert_eq!(parsed.fits(&reply, &source), of_reply, "{filter}");
        }
        assert!(Filter::parse("method").is_err());
        assert!(Filter::parse("colour=red").is_err());
    }

    #[test]
    fn few_may_wait() {
        let watch = Watch::default();
        let filter = Filter(Vec::new());
        let add = || watch.add(&filter, sync_channel(1).0);
        let numbers: Vec<u64> = (0..MOST).map(|_| add().expect("room")).collect();
        assert!(add().is_err());
        numbers.iter().for_each(|number| watch.remove(*number));
        assert_eq!(watch.count.load(Ordering::Relaxed), 0);
    }
}
