//! A scripted SIP user agent over UDP, TCP, TLS or WebSocket, IPv4 or IPv6: it sends what it is told and shows what arrives.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::time::Duration;

use crate::digest;
use crate::message::Message;
use crate::message::parameter;
use crate::message::uri;
use crate::secure::Identity;
use crate::secure::Stream;
use crate::wait;
use crate::web::Web;

/// How a user agent is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream that is opened on first use.
    Tcp,
    /// Such a stream under TLS.
    Tls,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// Returns the name as Via spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// Whether it is under TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }
}

/// What is known of a call or registration, from the side of this user agent.
#[derive(Clone, Debug, Default)]
pub struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
    cseq: u32,
    branch: String,
    sent: Option<Message>,
    received: Option<Message>,
    nonce_count: u32,
}

/// A user agent.
#[derive(Debug)]
pub struct Ua {
    /// Its name in the scenario, and its user part.
    pub name: String,
    /// How it is connected.
    pub transport: Transport,
    /// Where it listens.
    pub address: SocketAddr,
    server: SocketAddr,
    domain: String,
    udp: Option<UdpSocket>,
    listener: Option<TcpListener>,
    streams: Vec<(Box<dyn Stream>, Vec<u8>)>,
    identity: Option<Identity>,
    source: Option<SocketAddr>,
    inbox: VecDeque<Message>,
    seen: Vec<Vec<u8>>,
    dialogs: BTreeMap<String, Dialog>,
    tag: String,
    words: u32,
}

impl Ua {
    /// Opens a user agent at an address, for a server and a domain.
    pub fn open(
        name: &str,
        transport: Transport,
        address: SocketAddr,
        server: SocketAddr,
        domain: &str,
    ) -> io::Result<Self> {
        let (mut udp, mut listener) = (None, None);
        let address = match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                udp.insert(socket).local_addr()?
            }
            // What speaks WebSocket holds a port and never listens to it.
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                let socket = TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                listener.insert(socket).local_addr()?
            }
        };
        Ok(Self {
            name: name.to_owned(),
            transport,
            address,
            server,
            domain: domain.to_owned(),
            udp,
            listener,
            streams: Vec::new(),
            identity: None,
            source: None,
            inbox: VecDeque::new(),
            seen: Vec::new(),
            dialogs: BTreeMap::new(),
            tag: format!("t{name}{:x}", address.port()),
            words: 0,
        })
    }

    /// Says what it shows of itself under TLS.
    pub fn identify(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    /// Returns a word that this user agent has not used before, the same in each run at the same address.
    fn word(&mut self, prefix: &str) -> String {
        self.words += 1;
        format!("{prefix}{}{:x}x{:x}", self.name, self.address.port(), self.words)
    }

    /// Returns the URI at which it can be reached.
    pub fn contact(&self) -> String {
        match self.transport {
            Transport::Udp => format!("sip:{}@{}", self.name, self.address),
            Transport::Tcp => format!("sip:{}@{};transport=tcp", self.name, self.address),
            Transport::Tls => format!("sip:{}@{};transport=tls", self.name, self.address),
            Transport::Ws | Transport::Wss => format!("sip:{}@{};transport=ws", self.name, self.address),
        }
    }

    /// Returns the address of record.
    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.name, self.domain)
    }

    /// Returns where its connection to the server comes from, once there is one.
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.udp {
            return socket.send_to(bytes, self.server).map(|_| ());
        }
        if self.streams.is_empty() {
            let stream = TcpStream::connect_timeout(&self.server, wait::PATIENCE)?;
            stream.set_nodelay(true)?;
            self.source = Some(stream.local_addr()?);
            let stream = match &self.identity {
                Some(identity) => identity.connect(stream)?,
                None => {
                    stream.set_nonblocking(true)?;
                    Box::new(stream) as Box<dyn Stream>
                }
            };
            let stream = match self.transport {
                Transport::Ws | Transport::Wss => Box::new(Web::connect(stream, &self.server.to_string())?),
                _ => stream,
            };
            self.streams.push((stream, Vec::new()));
        }
        let Some((stream, _)) = self.streams.first_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        stream.write_all(bytes)
    }

    /// Starts or continues a dialog with a request; `extra` headers replace those of the same name.
    pub fn request(
        &mut self,
        dialog: &str,
        method: &str,
        to: &str,
        extra: &[(String, String)],
    ) -> io::Result<Message> {
        let mut known = match self.dialogs.remove(dialog) {
            Some(known) => known,
            None => Dialog {
                call_id: self.word("c"),
                local: format!("<{}>;tag={}", self.aor(), self.tag),
                ..Dialog::default()
            },
        };
        let own_branch = !matches!(method, "ACK" | "CANCEL") || (method == "ACK" && known.answered());
        if own_branch {
            known.branch = self.word("z9hG4bK");
        }
        if !matches!(method, "ACK" | "CANCEL") {
            known.cseq += 1;
        }
        let (sip_uri, remote) = known.addressee(method, to);
        let via = format!(
            "SIP/2.0/{} {};branch={};rport",
            self.transport.name(),
            self.address,
            known.branch
        );
        let mut message = Message {
            start: format!("{method} {sip_uri} SIP/2.0"),
            ..Message::default()
        };
        let mut put = |name: &str, value: String| message.headers.push((name.to_owned(), value));
        put("Via", via);
        for route in known.routes.iter().filter(|_| own_branch || method == "ACK") {
            put("Route", route.clone());
        }
        put("Max-Forwards", "70".to_owned());
        put("From", known.local.clone());
        put("To", remote);
        put("Call-ID", known.call_id.clone());
        put("CSeq", format!("{} {method}", known.cseq));
        if matches!(method, "INVITE" | "REGISTER" | "SUBSCRIBE" | "REFER" | "UPDATE") {
            put("Contact", format!("<{}>", self.contact()));
        }
        override_headers(&mut message, extra);
        if method != "ACK" && method != "CANCEL" {
            known.sent = Some(message.clone());
        }
        self.dialogs.insert(dialog.to_owned(), known);
        self.send_bytes(&message.write())?;
        Ok(message)
    }

    /// Sends the dialog's last request again with an answer to the challenge that came back.
    pub fn authorize(&mut self, dialog: &str, user: &str, password: &str) -> io::Result<Message> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        let branch = self.word("z9hG4bK");
        let known = self
            .dialogs
            .get_mut(dialog)
            .ok_or_else(|| invalid("no such dialog"))?;
        let mut message = known.sent.clone().ok_or_else(|| invalid("nothing was sent"))?;
        let reply = known
            .received
            .clone()
            .ok_or_else(|| invalid("nothing was received"))?;
        let (name, challenge) = match (reply.value("WWW-Authenticate"), reply.value("Proxy-Authenticate")) {
            (Some(challenge), _) => ("Authorization", challenge),
            (None, Some(challenge)) => ("Proxy-Authorization", challenge),
            (None, None) => return Err(invalid("the last reply is no challenge")),
        };
        known.nonce_count += 1;
        known.cseq += 1;
        known.branch = branch;
        let method = message.method().to_owned();
        let credentials = digest::answer(
            challenge,
            &method,
            message.uri(),
            user,
            password,
            known.nonce_count,
        );
        let credentials = credentials.ok_or_else(|| invalid("not a digest challenge"))?;
        let via = format!(
            "SIP/2.0/{} {};branch={};rport",
            self.transport.name(),
            self.address,
            known.branch
        );
        let renewed = [
            ("Via", via),
            ("CSeq", format!("{} {method}", known.cseq)),
            (name, credentials),
        ];
        override_headers(
            &mut message,
            &renewed.map(|(name, value)| (name.to_owned(), value)),
        );
        known.sent = Some(message.clone());
        self.send_bytes(&message.write())?;
        Ok(message)
    }

    /// Sends the dialog's last request again, byte for byte.
    pub fn resend(&mut self, dialog: &str) -> io::Result<()> {
        let sent = self.dialogs.get(dialog).and_then(|known| known.sent.clone());
        let sent = sent.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.send_bytes(&sent.write())
    }

    /// Answers a request; `extra` headers replace those of the same name.
    pub fn reply(
        &mut self,
        request: &Message,
        status: &str,
        extra: &[(String, String)],
    ) -> io::Result<Message> {
        let mut message = Message {
            start: format!("SIP/2.0 {status}"),
            ..Message::default()
        };
        for (name, value) in &request.headers {
            let copied = ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"];
            if copied.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                let untagged = name.eq_ignore_ascii_case("To") && parameter(value, "tag").is_none();
                let tag = if untagged && !status.starts_with("100") {
                    format!(";tag={}", self.tag)
                } else {
                    String::new()
                };
                message.headers.push((name.clone(), format!("{value}{tag}")));
            }
        }
        if request.method() == "INVITE" && status.starts_with(['1', '2']) {
            message
                .headers
                .push(("Contact".to_owned(), format!("<{}>", self.contact())));
        }
        override_headers(&mut message, extra);
        self.send_bytes(&message.write())?;
        Ok(message)
    }

    /// Takes over the called side of a dialog, so that this user agent can send requests within it.
    pub fn adopt(&mut self, dialog: &str, request: &Message) {
        let value = |name: &str| request.value(name).unwrap_or_default().to_owned();
        let known = Dialog {
            call_id: value("Call-ID"),
            local: format!("{};tag={}", value("To"), self.tag),
            remote: value("From"),
            target: uri(&value("Contact")).to_owned(),
            routes: request.values("Record-Route").map(str::to_owned).collect(),
            ..Dialog::default()
        };
        self.dialogs.insert(dialog.to_owned(), known);
    }

    /// Waits for the next message that is not a retransmission.
    pub fn receive(&mut self, limit: Duration) -> Option<Message> {
        wait::until(limit, || {
            self.poll();
            self.inbox.pop_front()
        })
    }

    /// Returns what has arrived and was not yet asked for.
    pub fn waiting(&mut self) -> Vec<Message> {
        self.poll();
        self.inbox.drain(..).collect()
    }

    /// Tells the dialog it belongs to about a reply.
    pub fn note(&mut self, reply: &Message) {
        let Some(known) = self
            .dialogs
            .values_mut()
            .find(|known| Some(known.call_id.as_str()) == reply.value("Call-ID"))
        else {
            return;
        };
        let to = reply.value("To").unwrap_or_default();
        if matches!(reply.method(), "INVITE" | "SUBSCRIBE") && parameter(to, "tag").is_some() {
            known.remote = to.to_owned();
            if let Some(contact) = reply.value("Contact") {
                known.target = uri(contact).to_owned();
                known.routes = reply.values("Record-Route").map(str::to_owned).collect();
                known.routes.reverse();
            }
        }
        known.received = Some(reply.clone());
    }

    fn poll(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        let mut whole = Vec::new();
        while let Some(Ok(length)) = self.udp.as_ref().map(|socket| socket.recv(&mut buffer)) {
            whole.push(buffer[..length].to_vec());
        }
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept) {
            let stream = match &self.identity {
                Some(identity) => identity.accept(stream),
                None => stream
                    .set_nonblocking(true)
                    .map(|()| Box::new(stream) as Box<dyn Stream>),
            };
            self.streams.extend(stream.map(|stream| (stream, Vec::new())));
        }
        for (stream, pending) in &mut self.streams {
            while let Ok(length) = stream.read(&mut buffer) {
                if length == 0 {
                    break;
                }
                pending.extend_from_slice(&buffer[..length]);
            }
            while let Some(length) = frame(pending) {
                whole.push(pending.drain(..length).collect());
            }
        }
        for bytes in whole {
            // The same bytes again are a retransmission (RFC 3261 §17).
            if self.transport == Transport::Udp && self.seen.contains(&bytes) {
                continue;
            }
            if let Some(message) = Message::read(&bytes) {
                self.inbox.push_back(message);
            }
            self.seen.push(bytes);
        }
    }
}

impl Dialog {
    /// Whether the last reply accepted the INVITE: its ACK is then a request of its own (RFC 3261 §13.2.2.4).
    fn answered(&self) -> bool {
        let status = self
            .received
            .as_ref()
            .and_then(Message::status)
            .unwrap_or_default();
        (200..300).contains(&status)
    }

    /// Returns the Request-URI and the To value of the next request.
    fn addressee(&self, method: &str, to: &str) -> (String, String) {
        let last_uri = self.sent.as_ref().map_or(to, |sent| sent.uri()).to_owned();
        let last_to = self
            .sent
            .as_ref()
            .and_then(|sent| sent.value("To"))
            .unwrap_or_default()
            .to_owned();
        match method {
            "CANCEL" => (last_uri, last_to),
            "ACK" if !self.answered() => {
                let received = self.received.as_ref().and_then(|reply| reply.value("To"));
                (last_uri, received.map_or(last_to, str::to_owned))
            }
            _ if !self.target.is_empty() => (self.target.clone(), self.remote.clone()),
            _ => (to.to_owned(), format!("<{to}>")),
        }
    }
}

/// Replaces headers of the same name where they stand and adds the others; an empty value removes.
fn override_headers(message: &mut Message, extra: &[(String, String)]) {
    let mut first = BTreeMap::new();
    for (name, value) in extra {
        if name == "Body" {
            message.body = value.replace("\\r\\n", "\r\n");
            continue;
        }
        let known = name.to_ascii_lowercase();
        if first.insert(known, ()).is_none() {
            let at = message
                .headers
                .iter()
                .position(|(had, _)| had.eq_ignore_ascii_case(name));
            message.headers.retain(|(had, _)| !had.eq_ignore_ascii_case(name));
            if !value.is_empty() {
                let at = at.unwrap_or(message.headers.len()).min(message.headers.len());
                message.headers.insert(at, (name.clone(), value.clone()));
            }
        } else {
            let at = message
                .headers
                .iter()
                .rposition(|(had, _)| had.eq_ignore_ascii_case(name));
            message.headers.insert(
                at.map_or(message.headers.len(), |at| at + 1),
                (name.clone(), value.clone()),
            );
        }
    }
}

/// Returns the length of the first whole message in a stream (RFC 3261 §18.3).
fn frame(pending: &[u8]) -> Option<usize> {
    let end = pending.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&pending[..end]).to_ascii_lowercase();
    let length = head.split("\r\n").find_map(|line| {
        let value = line
            .strip_prefix("content-length:")
            .or_else(|| line.strip_prefix("l:"))?;
        value.trim().parse::<usize>().ok()
    });
    let whole = end + length.unwrap_or(0);
    (pending.len() >= whole).then_some(whole)
}
