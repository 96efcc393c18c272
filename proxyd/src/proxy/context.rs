//! What a script works on: one message, the edits recorded for it, where it came from and where it shall go.

use super::branch::Branch;
use super::branch::TooManyBranches;
use super::branch::USUAL_BRANCHES;
use super::record_route::Double;
use crate::proxy::sockets::Listener;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::header::auth::Auth;
use std::net::SocketAddr;

/// Names a listening socket: its index in [`super::sockets::Sockets`].
pub type SocketId = u16;

/// Names a connection of a stream transport.
pub type ConnId = u64;

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The peer.
    pub peer: SocketAddr,
    /// Our end: the address the datagram or connection arrived at.
    pub local: SocketAddr,
    /// The transport it arrived by.
    pub transport: Transport,
    /// The listening socket.
    pub socket: SocketId,
    /// The connection, on stream transports.
    pub conn: Option<ConnId>,
}

/// Where a message shall be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The peer.
    pub peer: SocketAddr,
    /// The transport to use.
    pub transport: Transport,
    /// The socket to send from; none: the first of that transport and family.
    pub socket: Option<SocketId>,
    /// The connection to reuse, if it is still open.
    pub conn: Option<ConnId>,
}

impl Target {
    /// Whether the transport delivers by itself.
    pub fn is_reliable(&self) -> bool {
        self.transport.is_reliable()
    }
}

/// Switches a script turns on for its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Switches {
    /// `force_rport()`: the reply goes to the source port (RFC 3581 §4).
    pub force_rport: bool,
    /// `add_local_rport()`: our own Via asks for rport.
    pub local_rport: bool,
    /// `set_forward_no_connect()`: send on an open connection or not at all.
    pub forward_no_connect: bool,
    /// `set_reply_no_connect()`.
    pub reply_no_connect: bool,
    /// `set_reply_close()`: close the connection after the reply.
    pub reply_close: bool,
    /// `set_forward_close()`.
    pub forward_close: bool,
    /// The request goes along a flow of RFC 5626, or not at all.
    pub flow: bool,
    /// `reply_to_via`: replies go to the address in the Via, not to the source.
    pub reply_to_via: bool,
    /// `sip_warning`: replies made here tell what was received from where.
    pub sip_warning: bool,
}

/// What core parameters say of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// `force_rport`, `local_rport`, `reply_to_via`, `sip_warning`.
    pub switches: Switches,
    /// `max_branches`.
    pub most_branches: usize,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            switches: Switches::default(),
            most_branches: USUAL_BRANCHES,
        }
    }
}

/// A Record-Route asked for by the script; written when the next hop is known, for it may need one for each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRouteIntent {
    /// How we name ourselves.
    pub form: RecordRouteForm,
    /// User part, or empty.
    pub user: Vec<u8>,
    /// Adds `;ftag=`.
    pub ftag: bool,
    /// `;lr=on` instead of `;lr`.
    pub full_lr: bool,
    /// When to write two.
    pub double: Double,
    /// Parameters given with the function, each with its `;`; those of `add_rr_param()` are in [`Context::rr_params`].
    pub params: Vec<u8>,
}

/// How a Record-Route names this proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordRouteForm {
    /// By its sockets.
    Sockets,
    /// By this address.
    Advertised(Vec<u8>),
    /// By these texts: the outbound side's, the inbound side's.
    Preset(Vec<u8>, Option<Vec<u8>>),
}

/// One message under way, with everything a script may change about it (Kamailio's `sip_msg`).
#[derive(Debug, Clone)]
pub struct Context {
    /// The message as received; edits are in `lumps`.
    pub msg: Message,
    /// Edits for the forwarded message.
    pub lumps: Lumps,
    /// Header lines for replies made here (`append_to_reply`), each ended by CRLF.
    pub reply_headers: Vec<u8>,
    /// Where it came from.
    pub source: Source,
    /// The new Request-URI, once a script changed it.
    pub new_uri: Option<Vec<u8>>,
    /// `$du`: the next hop, when it is not the Request-URI's.
    pub dst_uri: Option<Vec<u8>>,
    /// The Request-URI or next hop was set since the last relay: `t_relay()` sends a branch there.
    pub uri_is_new: bool,
    /// `$pv(path)`: Path vector of the chosen contact, put in Route headers (RFC 3327).
    pub path: Option<Vec<u8>>,
    /// q of the first branch in thousandths; -1 unset.
    pub q: i32,
    /// +sip.instance of the chosen contact.
    pub instance: Option<Vec<u8>>,
    /// ruid of the chosen contact.
    pub ruid: Option<Vec<u8>>,
    /// User-Agent of the chosen contact.
    pub location_ua: Option<Vec<u8>>,
    /// `$fs`: the socket to send from.
    pub send_socket: Option<SocketId>,
    /// Branches besides the first (`append_branch`).
    pub branches: Vec<Branch>,
    /// Message flags (`setflag`).
    pub flags: u32,
    /// Flags of the first branch (`setbflag`).
    pub bflags: u32,
    /// Flags of the script (`setsflag`).
    pub sflags: u32,
    /// Names of the message flags 32 and above (`setxflag`), two words.
    pub xflags: [u32; 2],
    /// Switches.
    pub switches: Switches,
    /// How many branches it may have, its own Request-URI among them (`max_branches`).
    pub most_branches: usize,
    /// Set by loose_route(): the URI of our own topmost Route, for `$route_uri` and `check_route_param`.
    pub route_uri: Option<Vec<u8>>,
    /// The Record-Route to be written.
    pub record_route: Option<RecordRouteIntent>,
    /// Text to be added to the parameters of our Record-Route (`add_rr_param`).
    pub rr_params: Vec<u8>,
    /// The message as all branches share it, while a branch route has its edits applied (`t_msg_apply_changes`).
    pub before_branch: Option<Box<Message>>,
    /// Body of the reply made here (`set_reply_body`).
    pub reply_body: Option<ReplyBody>,
    /// The last status sent for this request by a reply made here; 0 none.
    pub answered: u16,
    /// Where the header with the credentials begins that an authentication function accepted.
    pub authorized: Option<u32>,
    /// Why the last relay or forward failed, for `sl_reply_error()`.
    pub failure: Failure,
    /// `change_reply_status()`: what a reply's status line becomes.
    pub new_status: Option<(u16, Vec<u8>)>,
    /// `set_advertised_address()` and its kin: how our Via and Record-Route name us.
    pub advertised: Option<Box<Advertised>>,
    /// What is about to be sent, while `onsend_route` runs.
    pub sending: Option<Box<Sending>>,
    /// Counts the messages this worker handled; names the message in logs and per-message caches.
    pub id: u64,
}

/// Host and port that stand for those of the socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Where it goes.
    pub target: Target,
    /// Our end.
    pub local: SocketAddr,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Why a request could not be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failure {
    /// It could, or nothing was tried.
    #[default]
    None,
    /// The next hop has no address, or none that can be read.
    Unresolvable,
    /// The transport refused.
    Send,
    /// There is no socket of the transport that the next hop asks for.
    NoSocket,
    /// The Request-URI cannot be read.
    BadUri,
    /// The Request-URI's scheme leads nowhere by itself: tel, urn and the like (RFC 3261 §8.2.2.1).
    UnsupportedScheme,
    /// No branch was left to send to.
    NoBranches,
    /// Too many transactions, or out of another bound.
    Overload,
    /// The request itself is wrong.
    BadRequest,
    /// The flow to the client is gone (RFC 5626 §5.3.1).
    Flow,
}

impl Failure {
    /// The status and reason of the reply that tells the sender (Kamailio's texts), from `SL` or `TM`.
    pub fn reply(self, origin: &str) -> (u16, String) {
        let (status, text) = match self {
            Self::Unresolvable => (478, "Unresolvable destination"),
            Self::Send => (477, "Unfortunately error on sending to next hop occurred"),
            Self::BadUri => (479, "Regretfully, we were not able to process the URI"),
            Self::UnsupportedScheme => (416, "Unsupported URI Scheme"),
            Self::BadRequest => (400, "Bad Request"),
            Self::Flow => (430, "Flow Failed"),
            Self::Overload => (503, "Service Unavailable"),
            Self::None | Self::NoBranches | Self::NoSocket => {
                (500, "I'm terribly sorry, server error occurred")
            }
        };
        (status, format!("{text} ({}/{origin})", self.number()))
    }

    /// Its number: what the reason names, and what `t_relay()` returns with a minus.
    pub fn number(self) -> u16 {
        match self {
            Self::Unresolvable => 478,
            Self::Send => 477,
            Self::BadUri => 479,
            Self::UnsupportedScheme => 416,
            Self::BadRequest => 400,
            Self::Flow => 430,
            Self::Overload => 503,
            Self::NoSocket => 7,
            Self::NoBranches => 6,
            Self::None => 1,
        }
    }
}

/// A body that replaces the received one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyBody {
    /// The bytes; empty removes the body.
    pub body: Vec<u8>,
    /// The Content-Type, when it changes.
    pub content_type: Option<Vec<u8>>,
}

impl Default for Source {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            peer: nowhere,
            local: nowhere,
            transport: Transport::Udp,
            socket: 0,
            conn: None,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self {
            msg: Message::default(),
            lumps: Lumps::default(),
            reply_headers: Vec::new(),
            source: Source::default(),
            new_uri: None,
            dst_uri: None,
            uri_is_new: true,
            path: None,
            q: -1,
            instance: None,
            ruid: None,
            location_ua: None,
            send_socket: None,
            branches: Vec::new(),
            flags: 0,
            bflags: 0,
            sflags: 0,
            xflags: [0; 2],
            switches: Switches::default(),
            most_branches: USUAL_BRANCHES,
            route_uri: None,
            record_route: None,
            rr_params: Vec::new(),
            before_branch: None,
            reply_body: None,
            answered: 0,
            authorized: None,
            failure: Failure::None,
            new_status: None,
            advertised: None,
            sending: None,
            id: 0,
        }
    }
}

/// The request that a route sees which no request began.
pub const NOBODY: &[u8] = b"OPTIONS sip:you@kamailio.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nFrom: <sip:you@kamailio.org>;tag=123\r\n\
To: <sip:you@kamailio.org>\r\nCall-ID: 123\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

impl Context {
    /// The message and where it came from, without what a script did to it.
    pub fn as_received(&self) -> Self {
        Self {
            msg: self.msg.clone(),
            source: self.source,
            ..Self::default()
        }
    }

    /// The Request-URI as it stands: changed by the script or received.
    pub fn uri(&self) -> &[u8] {
        self.new_uri.as_deref().unwrap_or_else(|| self.msg.request_uri())
    }

    /// Sets the Request-URI; the next relay sends a branch there.
    pub fn set_uri(&mut self, uri: Vec<u8>) {
        self.new_uri = Some(uri);
        self.uri_is_new = true;
    }

    /// Writes the message with its edits and reads it again; false leaves everything as it was.
    pub fn apply_changes(&mut self) -> bool {
        if self.msg.is_request() && self.new_uri.is_some() {
            let uri = self.uri().to_vec();
            self.lumps.set_request_uri(&self.msg, &uri);
        }
        let bytes = self.lumps.apply(&self.msg);
        self.set_message(bytes)
    }

    /// Replaces the message, a request by a request; edits recorded for the old one are forgotten.
    pub fn set_message(&mut self, bytes: Vec<u8>) -> bool {
        let was_request = self.msg.is_request();
        match Message::parse(bytes) {
            Ok(msg) if msg.is_request() == was_request => {
                self.msg = msg;
                self.lumps.clear();
                true
            }
            _ => false,
        }
    }

    /// Takes what the core parameters of the script say.
    pub fn begin(&mut self, defaults: Defaults) {
        self.switches = defaults.switches;
        self.most_branches = defaults.most_branches;
    }

    /// Adds a branch, unless there are enough; the Request-URI counts as one.
    pub fn append_branch(&mut self, branch: Branch) -> Result<(), TooManyBranches> {
        if self.branches.len() + 1 >= self.most_branches {
            return Err(TooManyBranches);
        }
        self.branches.push(branch);
        Ok(())
    }

    /// Takes [`NOBODY`] for the message under way.
    pub fn show_nobody(&mut self) {
        if self.msg.reparse(NOBODY).is_err() {
            self.msg.clear();
        }
    }

    /// Makes a branch the request's own target; the socket stays where the branch names none.
    pub fn aim(&mut self, branch: Branch) {
        self.set_uri(branch.uri);
        self.set_dst_uri(branch.dst_uri);
        self.path = branch.path;
        self.q = branch.q;
        self.bflags = branch.flags;
        self.send_socket = branch.socket.or(self.send_socket);
        self.instance = branch.instance;
        self.ruid = branch.ruid;
        self.location_ua = branch.location_ua;
    }

    /// Sets or clears the next hop; the next relay sends a branch there.
    pub fn set_dst_uri(&mut self, uri: Option<Vec<u8>>) {
        self.uri_is_new |= uri.is_some();
        self.dst_uri = uri;
    }

    /// The credentials of the request that an authentication function accepted.
    pub fn accepted_credentials(&self) -> Option<Auth<'_>> {
        let field = self.authorized?;
        let headers = self.msg.all(HeaderName::Authorization);
        let mut headers = headers.chain(self.msg.all(HeaderName::ProxyAuthorization));
        let header = headers.find(|header| header.field.start == field)?;
        Auth::parse(self.msg.value(header)).ok()
    }

    /// Makes it ready for the next message of the same worker; buffers are kept.
    pub fn reset(&mut self, source: Source, id: u64) {
        self.lumps.clear();
        self.reply_headers.clear();
        self.source = source;
        self.new_uri = None;
        self.dst_uri = None;
        self.uri_is_new = true;
        self.path = None;
        self.q = -1;
        self.instance = None;
        self.ruid = None;
        self.location_ua = None;
        self.send_socket = None;
        self.branches.clear();
        self.flags = 0;
        self.bflags = 0;
        self.sflags = 0;
        self.xflags = [0; 2];
        self.begin(Defaults::default());
        self.route_uri = None;
        self.record_route = None;
        self.rr_params.clear();
        self.before_branch = None;
        self.reply_body = None;
        self.answered = 0;
        self.authorized = None;
        self.failure = Failure::None;
        self.new_status = None;
        self.advertised = None;
        self.sending = None;
        self.id = id;
    }

    /// A socket as the script wants it named in this message; none when it is named as ever.
    pub fn named_as(&self, listener: &Listener) -> Option<Listener> {
        let advertised = self.advertised.as_ref()?;
        let host = advertised
            .host
            .clone()
            .unwrap_or_else(|| listener.host_text.clone());
        let port = advertised
            .port
            .or_else(|| listener.port_text.parse().ok())
            .unwrap_or_else(|| listener.address.port());
        let name = listener.name.clone();
        Some(Listener::new(
            listener.transport,
            listener.address,
            Some((host, port)),
            name,
        ))
    }
}
