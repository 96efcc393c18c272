//! The generator's transactions: what each load sends next, and what it accepts as a reply (RFC 3261 §8.1, §13.2, §15.1).

use md5::Digest;
use md5::Md5;

use super::Load;
use super::Plan;
use super::batch::Outbox;
use super::message::Branch;
use super::message::Fields;
use super::message::Request;
use super::message::To;
use super::message::after;
use super::message::decimal;
use super::message::finish;
use super::message::hex;
use super::message::put;

/// What a reply did to its transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    Continues,
    /// It ended as it should.
    Done,
    /// The reply belongs to a transaction that is over: a retransmission.
    Late,
    /// The server has too much to do (503).
    Refused,
    /// The reply is wrong, for this reason.
    Wrong(&'static str),
}

/// One transaction, or one call, in flight.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    pub(crate) busy: bool,
    pub(crate) began: u64,
    pub(crate) measured: bool,
    serial: u32,
    stage: u8,
    method: Verb,
    user: u32,
    cseq: u32,
    ringing: bool,
    call_id: Vec<u8>,
    to: Vec<u8>,
    route: Vec<u8>,
    target: Vec<u8>,
    credentials: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verb {
    #[default]
    Options,
    Register,
    Invite,
    Ack,
    Bye,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
        }
    }
}

/// Writes requests and judges replies for one plan.
pub(crate) struct Flow {
    load: Load,
    challenged: bool,
    domain: String,
    domain_uri: Vec<u8>,
    sent_by: String,
    callee: String,
    session: Vec<u8>,
    run: u32,
    cseqs: Vec<u32>,
    ha1s: Vec<[u8; 32]>,
    nonces: Vec<Vec<u8>>,
    next_user: u32,
    users: u32,
    /// Calls whose 200 came before their 180.
    pub(crate) overtaken: u64,
}

/// The password of every user, as the database is seeded.
pub(crate) const PASSWORD: &str = "correct horse";

impl Flow {
    /// Prepares for a plan; `run` keeps the names of two runs apart.
    pub(crate) fn new(plan: &Plan, run: u32) -> Self {
        let ha1 = |user| {
            let mut name = Vec::new();
            decimal(&mut name, user, 7);
            put(
                &mut name,
                &[b":", plan.domain.as_bytes(), b":", PASSWORD.as_bytes()],
            );
            digest(&[b"u", &name])
        };
        let authenticated =
            plan.challenged || matches!(plan.load, Load::RegisterDigest | Load::RegisterNonceReused);
        let users = plan.users as usize;
        Self {
            load: plan.load,
            challenged: plan.challenged,
            domain: plan.domain.clone(),
            domain_uri: format!("sip:{}", plan.domain).into_bytes(),
            sent_by: plan.caller.to_string(),
            callee: plan.callee.to_string(),
            session: session(&plan.caller.ip().to_string()),
            run,
            cseqs: vec![0; users],
            ha1s: if authenticated {
                (0..plan.users).map(ha1).collect()
            } else {
                Vec::new()
            },
            nonces: vec![Vec::new(); users],
            next_user: 0,
            users: plan.users,
            overtaken: 0,
        }
    }

    /// Returns the load in force.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Changes to another load over the same users: how they are registered before the measurement.
    pub(crate) fn switch(&mut self, load: Load) {
        self.load = load;
        self.next_user = 0;
    }

    /// Begins the next transaction in a free slot.
    pub(crate) fn begin(&mut self, index: u32, slot: &mut Slot, out: &mut Outbox) {
        slot.serial = slot.serial.wrapping_add(1);
        slot.stage = 0;
        slot.ringing = false;
        slot.busy = true;
        slot.user = self.next_user;
        self.next_user = (self.next_user + 1) % self.users;
        slot.to.clear();
        slot.route.clear();
        slot.target.clear();
        slot.credentials.clear();
        slot.call_id.clear();
        hex(&mut slot.call_id, self.run, 8);
        let register = !matches!(self.load, Load::Options | Load::InviteUnknown | Load::Call);
        if register {
            slot.call_id.push(b'r');
            hex(&mut slot.call_id, slot.user, 7);
            slot.cseq = self.cseqs[slot.user as usize];
        } else {
            slot.call_id.push(b'd');
            hex(&mut slot.call_id, index, 5);
            hex(&mut slot.call_id, slot.serial, 8);
            slot.cseq = 0;
        }
        slot.call_id.extend_from_slice(b"@load.test");
        slot.method = match self.load {
            Load::Options => Verb::Options,
            Load::InviteUnknown | Load::Call => Verb::Invite,
            _ => Verb::Register,
        };
        if self.load == Load::RegisterNonceReused && !self.nonces[slot.user as usize].is_empty() {
            self.authorize(slot, b"");
        }
        self.send(index, slot, out);
    }

    /// Judges one message that arrived at the caller's socket.
    pub(crate) fn receive(
        &mut self,
        message: &[u8],
        slots: &mut [Slot],
        out: &mut Outbox,
    ) -> (Progress, Option<usize>) {
        let Some(fields) = Fields::read(message) else {
            return (Progress::Wrong("not a SIP message"), None);
        };
        let Some(branch) = Branch::read(fields.branch()) else {
            return (Progress::Wrong("the topmost Via is not the one sent"), None);
        };
        if branch.run != self.run {
            return (Progress::Late, None);
        }
        let index = branch.slot as usize;
        let Some(slot) = slots.get_mut(index) else {
            return (Progress::Wrong("a branch never sent"), None);
        };
        if !slot.busy || slot.serial != branch.serial || slot.stage > branch.stage {
            return (Progress::Late, None);
        }
        (self.judge(&fields, index as u32, slot, out), Some(index))
    }

    fn judge(&mut self, fields: &Fields<'_>, index: u32, slot: &mut Slot, out: &mut Outbox) -> Progress {
        if fields.vias != 1 {
            return Progress::Wrong("not exactly one Via");
        }
        if fields.call_id != slot.call_id {
            return Progress::Wrong("another Call-ID");
        }
        let mut cseq = Vec::with_capacity(24);
        decimal(&mut cseq, slot.cseq, 0);
        put(&mut cseq, &[b" ", slot.method.name().as_bytes()]);
        if fields.cseq != cseq {
            return Progress::Wrong("another CSeq");
        }
        if !after(fields.from, b";tag=").starts_with(b"f") {
            return Progress::Wrong("another From tag");
        }
        match (slot.method, fields.status) {
            (_, 100) => Progress::Continues,
            (_, status @ (401 | 407)) => self.challenge(status, fields, index, slot, out),
            (_, status) if status >= 200 && after(fields.to, b";tag=").is_empty() => {
                Progress::Wrong("a final reply without To tag")
            }
            (method, 503) => {
                if method == Verb::Invite {
                    self.acknowledge_failure(fields, index, slot, out);
                }
                Progress::Refused
            }
            (Verb::Options, 200) => Progress::Done,
            (Verb::Register, 200) => {
                let mut user = b"<sip:u".to_vec();
                decimal(&mut user, slot.user, 7);
                if !fields.contact.starts_with(&user) {
                    return Progress::Wrong("200 for REGISTER without the contact");
                }
                if slot.credentials.is_empty() && (self.challenged || self.authenticates()) {
                    return Progress::Wrong("REGISTER accepted without credentials");
                }
                self.cseqs[slot.user as usize] = slot.cseq;
                Progress::Done
            }
            (Verb::Invite, 404) if self.load == Load::InviteUnknown => {
                self.acknowledge_failure(fields, index, slot, out);
                Progress::Done
            }
            (Verb::Invite, 180) if self.load == Load::Call => {
                slot.ringing = true;
                Progress::Continues
            }
            (Verb::Invite, 200) if self.load == Load::Call => self.answered(fields, index, slot, out),
            (Verb::Bye, 200) => Progress::Done,
            _ => Progress::Wrong("an unexpected status"),
        }
    }

    fn authenticates(&self) -> bool {
        matches!(self.load, Load::RegisterDigest | Load::RegisterNonceReused)
    }

    fn challenge(
        &mut self,
        status: u16,
        fields: &Fields<'_>,
        index: u32,
        slot: &mut Slot,
        out: &mut Outbox,
    ) -> Progress {
        let expected = if slot.method == Verb::Register { 401 } else { 407 };
        if status != expected || !(self.challenged || self.authenticates()) {
            return Progress::Wrong("a challenge where none is due");
        }
        if self.load == Load::RegisterNonceReused && !slot.credentials.is_empty() && slot.stage == 0 {
            // The nonce has aged: the new one serves from here on.
            slot.credentials.clear();
        }
        if !slot.credentials.is_empty() {
            return Progress::Wrong("credentials refused");
        }
        if slot.method == Verb::Invite {
            self.acknowledge_failure(fields, index, slot, out);
        }
        self.nonces[slot.user as usize] = after(fields.challenge, b"nonce=\"").to_vec();
        self.authorize(slot, after(fields.challenge, b"qop=\""));
        slot.stage += 1;
        self.send(index, slot, out);
        Progress::Continues
    }

    /// Computes the credentials of the slot's next request (RFC 7616 §3.4.1).
    fn authorize(&self, slot: &mut Slot, qop: &[u8]) {
        let user = slot.user;
        let nonce = &self.nonces[user as usize];
        let mut uri = Vec::new();
        self.request_uri(slot, &mut uri);
        let ha1 = self.ha1s[user as usize];
        let ha2 = digest(&[slot.method.name().as_bytes(), b":", &uri]);
        let (count, own): (&[u8], &[u8]) = (b"00000001", b"0a4f113b");
        let response = if qop.is_empty() {
            digest(&[&ha1, b":", nonce, b":", &ha2])
        } else {
            digest(&[&ha1, b":", nonce, b":", count, b":", own, b":auth:", &ha2])
        };
        let text = &mut slot.credentials;
        text.clear();
        let header: &[u8] = if slot.method == Verb::Register {
            b"Authorization"
        } else {
            b"Proxy-Authorization"
        };
        put(text, &[header, b": Digest username=\"u"]);
        decimal(text, user, 7);
        put(
            text,
            &[
                b"\", realm=\"",
                self.domain.as_bytes(),
                b"\", nonce=\"",
                nonce,
                b"\", uri=\"",
                &uri,
            ],
        );
        put(text, &[b"\", response=\"", &response, b"\", algorithm=MD5"]);
        if !qop.is_empty() {
            put(text, &[b", qop=auth, nc=", count, b", cnonce=\"", own, b"\""]);
        }
        text.extend_from_slice(b"\r\n");
    }

    fn answered(&mut self, fields: &Fields<'_>, index: u32, slot: &mut Slot, out: &mut Outbox) -> Progress {
        // Two workers of a server may let the 200 overtake the 180: that is counted, and no mistake.
        self.overtaken += u64::from(!slot.ringing);
        if fields.record_routes != 1 {
            return Progress::Wrong("200 without exactly one Record-Route");
        }
        let target = after(fields.contact, b"<");
        if target.is_empty() {
            return Progress::Wrong("200 without Contact");
        }
        slot.to.extend_from_slice(fields.to);
        slot.route.extend_from_slice(fields.record_route);
        slot.target.extend_from_slice(target);
        slot.credentials.clear();
        slot.method = Verb::Ack;
        slot.stage += 1;
        self.write(index, slot, out);
        slot.method = Verb::Bye;
        slot.stage += 1;
        slot.cseq += 1;
        self.write(index, slot, out);
        Progress::Continues
    }

    /// Acknowledges a final reply other than 2xx in the INVITE's own transaction (RFC 3261 §17.1.1.3).
    fn acknowledge_failure(&self, fields: &Fields<'_>, index: u32, slot: &mut Slot, out: &mut Outbox) {
        slot.to.clear();
        slot.to.extend_from_slice(fields.to);
        slot.method = Verb::Ack;
        self.write(index, slot, out);
        slot.method = Verb::Invite;
        slot.to.clear();
    }

    fn send(&self, index: u32, slot: &mut Slot, out: &mut Outbox) {
        slot.cseq += 1;
        self.write(index, slot, out);
    }

    fn write(&self, index: u32, slot: &Slot, out: &mut Outbox) {
        out.push(|out| self.write_request(index, slot, out));
    }

    fn write_request(&self, index: u32, slot: &Slot, out: &mut Vec<u8>) {
        let mut uri = Vec::with_capacity(64);
        self.request_uri(slot, &mut uri);
        let in_dialog = !slot.route.is_empty();
        let to = if !slot.to.is_empty() {
            To::Value(&slot.to)
        } else {
            match slot.method {
                Verb::Options => To::Domain,
                Verb::Register => To::User(slot.user),
                _ => To::User(self.called(slot.user)),
            }
        };
        Request {
            method: slot.method.name(),
            uri: &uri,
            sent_by: &self.sent_by,
            branch: Branch {
                run: self.run,
                slot: index,
                serial: slot.serial,
                stage: slot.stage,
            },
            domain: &self.domain,
            from_user: slot.user,
            to,
            call_id: &slot.call_id,
            cseq: slot.cseq,
            route: &slot.route,
            max_forwards: 70,
        }
        .write(out);
        if slot.method != Verb::Ack {
            out.extend_from_slice(&slot.credentials);
        }
        match slot.method {
            Verb::Register => {
                out.extend_from_slice(b"Contact: <sip:u");
                decimal(out, slot.user, 7);
                // A phone that is to be called registers the callee's address.
                put(
                    out,
                    &[b"@", self.callee.as_bytes(), b";line=7f3a>\r\nExpires: 3600\r\n"],
                );
                finish(out, b"");
            }
            Verb::Invite => {
                out.extend_from_slice(b"Contact: <sip:u");
                decimal(out, slot.user, 7);
                put(out, &[b"@", self.sent_by.as_bytes(), b">\r\n"]);
                finish(out, &self.session);
            }
            Verb::Options if !in_dialog => {
                out.extend_from_slice(b"Accept: application/sdp\r\n");
                finish(out, b"");
            }
            _ => finish(out, b""),
        }
    }

    fn request_uri(&self, slot: &Slot, uri: &mut Vec<u8>) {
        if !slot.target.is_empty() {
            uri.extend_from_slice(&slot.target);
            return;
        }
        match slot.method {
            Verb::Options | Verb::Register => uri.extend_from_slice(&self.domain_uri),
            _ => {
                uri.extend_from_slice(b"sip:u");
                decimal(uri, self.called(slot.user), 7);
                put(uri, &[b"@", self.domain.as_bytes()]);
            }
        }
    }

    fn called(&self, caller: u32) -> u32 {
        match self.load {
            // Nobody has a number this high.
            Load::InviteUnknown => 5_000_000 + caller,
            _ => (caller + 1) % self.users,
        }
    }
}

/// Returns a session description of the usual size (RFC 8866).
pub(crate) fn session(address: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 3456 3456 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    )
    .into_bytes()
}

fn digest(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hash = Md5::new();
    for piece in pieces {
        hash.update(piece);
    }
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash.finalize()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    text
}
