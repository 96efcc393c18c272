//! Requests from the script: `$uac_req(…)`, `uac_req_send()`, `event_route[uac:reply]`.

use super::Uac;
use super::auth;
use super::auth::Credential;
use super::auth::Form;
use crate::log;
use crate::proxy::context::SocketId;
use crate::script::exec;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;
use shared::sip::Message;

/// The number of the first CSeq, as Kamailio's.
const CSEQ: u32 = 10;

/// What `$uac_req` holds, for one worker; it stays until it is set anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    texts: [Vec<u8>; TEXTS.len()],
    numbers: [i64; NUMBERS.len()],
}

const TEXTS: [&str; 12] = [
    "method", "ruri", "furi", "turi", "ouri", "hdrs", "body", "sock", "callid", "auser", "apasswd", "evparam",
];
const NUMBERS: [&str; 5] = ["evroute", "evcode", "evtype", "flags", "cseqno"];

/// A key of `$uac_req`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    All,
    Text(usize),
    Number(usize),
}

impl Template {
    fn text(&self, name: &str) -> &[u8] {
        let at = TEXTS.iter().position(|known| *known == name);
        at.and_then(|at| self.texts.get(at))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        let at = NUMBERS.iter().position(|known| *known == name);
        at.and_then(|at| self.numbers.get(at)).copied().unwrap_or(0)
    }

    fn set_number(&mut self, name: &str, value: i64) {
        let at = NUMBERS.iter().position(|known| *known == name);
        if let Some(slot) = at.and_then(|at| self.numbers.get_mut(at)) {
            *slot = value;
        }
    }
}

/// Reads the key in the parentheses.
pub(super) fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let name = std::str::from_utf8(inner.text).unwrap_or_default();
    let text = TEXTS.iter().position(|known| *known == name).map(Key::Text);
    let number = NUMBERS.iter().position(|known| *known == name).map(Key::Number);
    let all = (name == "all").then_some(Key::All);
    let key = text
        .or(number)
        .or(all)
        .ok_or_else(|| format!("{name:?} is no part of $uac_req"))?;
    Ok(PvData::Other(Box::new(key)))
}

/// Reads `$uac_req(key)`.
pub(super) fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (Some(state), Some(key)) = (env.state::<Uac>(), spec.other::<Key>()) else {
        return Value::Null;
    };
    let templates = state.templates.lock();
    let template = templates.get(&env.host.worker().0);
    match key {
        Key::All => Value::Null,
        Key::Text(at) => match template
            .and_then(|t| t.texts.get(*at))
            .filter(|text| !text.is_empty())
        {
            Some(text) => Value::owned(&**text),
            None => Value::Null,
        },
        Key::Number(at) => Value::Int(template.and_then(|t| t.numbers.get(*at)).copied().unwrap_or(0)),
    }
}

/// Assigns to `$uac_req(key)`.
pub(super) fn write(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let missing = || SetError::Missing("uac is not loaded".into());
    let state = env.state::<Uac>().ok_or_else(missing)?;
    let key = spec.other::<Key>().ok_or_else(missing)?;
    let mut templates = state.templates.lock();
    let template = templates.entry(env.host.worker().0).or_default();
    match key {
        Key::All => *template = Template::default(),
        Key::Text(at) => {
            if let Some(slot) = template.texts.get_mut(*at) {
                *slot = value.into_text().into_owned();
            }
        }
        Key::Number(at) => {
            if let Some(slot) = template.numbers.get_mut(*at) {
                *slot = value.to_int();
            }
        }
    }
    Ok(())
}

/// `uac_req_send()`.
pub(super) fn send(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<Uac>() else {
        return Code::FALSE;
    };
    let template = state
        .templates
        .lock()
        .get(&call.env.host.worker().0)
        .cloned()
        .unwrap_or_default();
    if template.text("method").is_empty() || template.text("ruri").is_empty() {
        log::error(
            "uac",
            format_args!("uac_req_send: $uac_req(method) and $uac_req(ruri) must be set"),
        );
        return Code::FALSE;
    }
    let env = &mut *call.env;
    let token =
        |env: &mut Env<'_>| format!("{:016x}{:016x}", env.host.random(), env.host.random()).into_bytes();
    let call_id = match template.text("callid") {
        b"" => token(env),
        text => text.to_vec(),
    };
    let from_tag = token(env);
    let socket = socket(env, template.text("sock")).or_else(|| socket(env, state.default_socket.as_bytes()));
    let own = template.number("cseqno");
    let cseq = u32::try_from(own).ok().filter(|n| *n > 0).unwrap_or(CSEQ);
    let sent = Sent {
        template,
        call_id,
        from_tag,
        socket,
        cseq,
        answer: Vec::new(),
    };
    let request = sent.request();
    env.host.originate(request)
}

/// The socket of `transport:address:port`.
pub(super) fn socket(env: &Env<'_>, text: &[u8]) -> Option<SocketId> {
    env.host.sockets().named(std::str::from_utf8(text).ok()?)
}

/// A request on its way, with what a second attempt needs.
#[derive(Clone)]
struct Sent {
    template: Template,
    call_id: Vec<u8>,
    from_tag: Vec<u8>,
    socket: Option<SocketId>,
    cseq: u32,
    /// The header line that answers a challenge.
    answer: Vec<u8>,
}

impl Sent {
    fn request(self) -> LocalRequest {
        let text = |name: &str| self.template.text(name).to_vec();
        let or = |name: &str| {
            if self.template.text(name).is_empty() {
                text("ruri")
            } else {
                text(name)
            }
        };
        let in_brackets = |uri: Vec<u8>| {
            if uri.contains(&b'<') {
                uri
            } else {
                [b"<", &*uri, b">"].concat()
            }
        };
        let mut headers = text("hdrs");
        if !headers.is_empty() && !headers.ends_with(b"\n") {
            headers.extend_from_slice(b"\r\n");
        }
        headers.extend_from_slice(&self.answer);
        LocalRequest {
            method: text("method"),
            uri: text("ruri"),
            dst_uri: Some(text("ouri")).filter(|uri| !uri.is_empty()),
            from: in_brackets(or("furi")),
            from_tag: Some(self.from_tag.clone()),
            to: in_brackets(or("turi")),
            call_id: Some(self.call_id.clone()),
            cseq: self.cseq,
            headers,
            body: text("body"),
            socket: self.socket,
            done: Some(Box::new(move |reply: &mut LocalReply<'_>| self.answered(reply))),
            ..LocalRequest::default()
        }
    }

    /// The end of an attempt: the event route hears of it, a challenge is answered once.
    fn answered(self, reply: &mut LocalReply<'_>) {
        if self.template.number("evroute") != 0 {
            tell(&self.template, reply);
        }
        let (true, Some(message)) = (
            matches!(reply.status, 401 | 407) && self.answer.is_empty(),
            reply.message,
        ) else {
            return;
        };
        let (user, password) = (self.template.text("auser"), self.template.text("apasswd"));
        if user.is_empty() {
            return;
        }
        let form = if self.template.number("flags") & 1 == 1 {
            Form::Ha1
        } else {
            Form::Plain
        };
        let who = Credential {
            user: user.to_vec(),
            realm: Vec::new(),
            password: password.to_vec(),
            form,
        };
        let cnonce = format!("{:016x}", reply.host.random());
        let request = auth::Request {
            method: self.template.text("method"),
            uri: self.template.text("ruri"),
            body: self.template.text("body"),
            cnonce: cnonce.as_bytes(),
        };
        let line =
            auth::challenges(message).find_map(|asked| auth::answer(reply.status, &asked, &who, &request));
        let Some(answer) = line else {
            log::error(
                "uac",
                format_args!("uac_req_send: no challenge of the reply can be answered"),
            );
            return;
        };
        let again = Self {
            answer,
            cseq: self.cseq.saturating_add(1),
            ..self
        };
        reply.host.originate(again.request());
    }
}

/// Runs `event_route[uac:reply]` on the reply, or on the request when none came.
fn tell(template: &Template, reply: &mut LocalReply<'_>) {
    let script = reply.script;
    let (Some(state), Some(route)) = (
        script.states.get::<Uac>(),
        script.program.event_route("uac:reply"),
    ) else {
        return;
    };
    let msg = match reply.message {
        Some(message) => Ok(message.clone()),
        None => Message::parse(reply.request),
    };
    let Ok(msg) = msg else { return };
    let mut template = template.clone();
    template.set_number("evcode", reply.status.into());
    template.set_number("evtype", if reply.message.is_some() { 1 } else { 2 });
    let worker = reply.host.worker().0;
    let before = state.templates.lock().insert(worker, template);
    reply.with_message(msg, |env| exec::run(route, env));
    let mut templates = state.templates.lock();
    match before {
        Some(before) => templates.insert(worker, before),
        None => templates.remove(&worker),
    };
}
