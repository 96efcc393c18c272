//! What a REGISTER asks for (RFC 3261 §10.3, RFC 3327, RFC 5626, RFC 5627).

use super::Outbound;
use super::PathMode;
use super::Registrar;
use super::outcome::Refusal;
use crate::modules::usrloc::contact::ALL_METHODS;
use shared::sip::Contact;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::params::unquote;
use shared::sip::scan::is_token;
use shared::sip::scan::trim;
use smallvec::SmallVec;
use std::borrow::Cow;

/// A REGISTER, read.
pub(super) struct Request<'m> {
    /// The contacts, those of one header from its end.
    pub(super) contacts: SmallVec<[Asked<'m>; 2]>,
    /// `Contact: *`.
    pub(super) star: bool,
    /// URI of To.
    pub(super) to: &'m [u8],
    pub(super) call_id: &'m [u8],
    pub(super) cseq: u32,
    pub(super) user_agent: &'m [u8],
    /// Methods of Allow.
    pub(super) methods: u32,
    /// Value of Expires.
    pub(super) expires: Option<&'m [u8]>,
    /// Supported or Require name `path`.
    pub(super) knows_path: bool,
    /// Supported names `gruu`.
    pub(super) knows_gruu: bool,
    /// Supported or Require name `outbound`.
    pub(super) knows_outbound: bool,
    /// Require names `outbound`.
    requires_outbound: bool,
}

/// One contact of a REGISTER.
pub(super) struct Asked<'m> {
    pub(super) address: &'m [u8],
    /// The expires parameter, as it stands.
    pub(super) expires: Option<Cow<'m, [u8]>>,
    /// The q parameter, as it stands.
    pub(super) q: Option<Cow<'m, [u8]>>,
    pub(super) received: Cow<'m, [u8]>,
    pub(super) instance: Cow<'m, [u8]>,
    pub(super) reg_id: u32,
    /// Methods of the parameter of that name.
    pub(super) methods: Option<u32>,
}

/// Longest text of a message that is kept with a contact.
const TEXT_MAX: usize = 60_000;

impl<'m> Request<'m> {
    /// Reads a REGISTER as far as no table is needed.
    pub(super) fn read(msg: &'m Message, registrar: &Registrar) -> Result<Self, Refusal> {
        let supported = option_tags(msg, HeaderName::Supported);
        let required = option_tags(msg, HeaderName::Require);
        let mut request = Self {
            contacts: SmallVec::new(),
            star: false,
            to: msg.to().map_or(b"", |to| to.uri),
            call_id: msg.call_id(),
            cseq: msg.cseq().map_or(0, |cseq| cseq.number),
            user_agent: msg
                .first(HeaderName::UserAgent)
                .filter(|text| !text.is_empty())
                .unwrap_or(b"n/a"),
            methods: ALL_METHODS,
            expires: msg.first(HeaderName::Expires),
            knows_path: (supported | required) & PATH != 0,
            knows_gruu: supported & GRUU != 0,
            knows_outbound: (supported | required) & OUTBOUND != 0,
            requires_outbound: required & OUTBOUND != 0,
        };
        let mut allowed = None;
        for header in msg.all(HeaderName::Allow) {
            let bits = method_bits(msg.value(header)).ok_or(Refusal::MessageParse)?;
            allowed = Some(allowed.unwrap_or(0) | bits);
        }
        request.methods = allowed.unwrap_or(ALL_METHODS);
        let (mut header, mut first) = (None, 0);
        for value in msg.values(HeaderName::Contact) {
            if header != Some(value.header) {
                (header, first) = (Some(value.header), request.contacts.len());
            }
            let contact = value.contact().map_err(|_| Refusal::ContactParse)?;
            if contact.is_star() {
                request.star = true;
                continue;
            }
            Uri::parse(contact.uri()).map_err(|_| Refusal::ContactParse)?;
            if contact.uri().len() > registrar.contact_max_size.min(TEXT_MAX) {
                return Err(Refusal::TooLong);
            }
            // Kamailio: the contacts of one header are taken from its end
            request.contacts.insert(first, Asked::read(&contact)?);
        }
        request.check(msg, registrar)?;
        Ok(request)
    }

    fn check(&self, msg: &Message, registrar: &Registrar) -> Result<(), Refusal> {
        if self.star {
            // §10.3 step 6: a star stands alone, with an Expires of zero.
            if !self.contacts.is_empty() || msg.contacts().count() > 1 {
                return Err(Refusal::StarContacts);
            }
            if self.expires.is_none_or(|value| number(value) != Some(0)) {
                return Err(Refusal::StarExpires);
            }
        }
        let texts = self
            .contacts
            .iter()
            .flat_map(|asked| [asked.received.len(), asked.instance.len()]);
        if texts
            .chain([self.call_id.len(), self.user_agent.len()])
            .any(|len| len > TEXT_MAX)
        {
            return Err(Refusal::TooLong);
        }
        let has_reg_id = |asked: &&Asked<'_>| asked.reg_id > 0 && !asked.instance.is_empty();
        match registrar.outbound {
            Outbound::Off if self.requires_outbound => return Err(Refusal::OutboundOff),
            Outbound::Required if !self.knows_outbound => return Err(Refusal::OutboundRequired),
            Outbound::Off => return Ok(()),
            Outbound::Supported | Outbound::Required => {}
        }
        // RFC 5626 §6: one flow a REGISTER, and every hop of it knows what a flow is.
        if self.knows_outbound && self.contacts.iter().filter(has_reg_id).count() > 0 {
            if self.contacts.len() > 1 {
                return Err(Refusal::RegIds);
            }
            if !first_hop_knows_outbound(msg) {
                return Err(Refusal::FirstHop);
            }
        }
        Ok(())
    }

    /// Whether a flow of RFC 5626 is being registered.
    pub(super) fn uses_outbound(&self, registrar: &Registrar) -> bool {
        registrar.outbound != Outbound::Off
            && self.knows_outbound
            && self
                .contacts
                .iter()
                .any(|asked| asked.reg_id > 0 && !asked.instance.is_empty())
    }
}

impl<'m> Asked<'m> {
    fn read(contact: &Contact<'m>) -> Result<Self, Refusal> {
        let mut asked = Self {
            address: contact.uri(),
            expires: None,
            q: None,
            received: Cow::Borrowed(b""),
            instance: Cow::Borrowed(b""),
            reg_id: 0,
            methods: None,
        };
        for param in contact.param_iter() {
            let value = || unquote(param.value.unwrap_or_default());
            match param.name.len() {
                1 if param.name.eq_ignore_ascii_case(b"q") => asked.q = Some(value()),
                7 if param.name.eq_ignore_ascii_case(b"expires") => asked.expires = Some(value()),
                7 if param.name.eq_ignore_ascii_case(b"methods") => {
                    asked.methods = Some(method_bits(&value()).ok_or(Refusal::MessageParse)?)
                }
                8 if param.name.eq_ignore_ascii_case(b"received") => asked.received = value(),
                13 if param.name.eq_ignore_ascii_case(b"+sip.instance") => asked.instance = value(),
                6 if param.name.eq_ignore_ascii_case(b"reg-id") => {
                    asked.reg_id = number(&value()).unwrap_or(0)
                }
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// The Path of a REGISTER as it is stored, and the source address that its first hop tells.
pub(super) struct PathVector<'m> {
    /// All Path values.
    pub(super) text: Cow<'m, [u8]>,
    /// The `received` parameter of the first one.
    pub(super) received: Cow<'m, [u8]>,
}

impl<'m> PathVector<'m> {
    /// No Path.
    pub(super) const NONE: PathVector<'static> = PathVector {
        text: Cow::Borrowed(b""),
        received: Cow::Borrowed(b""),
    };

    /// Reads the Path headers, when they are to be heeded; the text comes along when the mode forbids them.
    pub(super) fn read(
        msg: &'m Message,
        registrar: &Registrar,
        supported: bool,
    ) -> Result<Self, (Refusal, Self)> {
        if !registrar.use_path {
            return Ok(Self::NONE);
        }
        let mut vector = Self::NONE;
        for header in msg.all(HeaderName::Path) {
            let value = msg.value(header);
            if vector.text.is_empty() {
                vector.text = Cow::Borrowed(value);
            } else {
                let text = vector.text.to_mut();
                text.push(b',');
                text.extend_from_slice(value);
            }
        }
        for (index, value) in msg.paths().enumerate() {
            let addr = value.name_addr().ok().filter(|_| value.bytes.contains(&b'<'));
            let Some(uri) = addr.and_then(|addr| Uri::parse(addr.uri).ok()) else {
                return Err((Refusal::PathParse, Self::NONE));
            };
            if index > 0 {
                continue;
            }
            // RFC 3327 §5: what goes to the contact is loosely routed.
            if uri.param(b"lr").is_none() {
                return Err((Refusal::PathParse, Self::NONE));
            }
            if registrar.path_use_received
                && let Some(Some(received)) = uri.param(b"received")
            {
                vector.received = shared::sip::params::unescape(received);
            }
        }
        if vector.text.len() > TEXT_MAX {
            return Err((Refusal::TooLong, Self::NONE));
        }
        if registrar.path_mode == PathMode::Strict && !vector.text.is_empty() && !supported {
            return Err((Refusal::PathUnsupported, vector));
        }
        Ok(vector)
    }
}

const PATH: u8 = 1;
const GRUU: u8 = 2;
const OUTBOUND: u8 = 4;

/// Which of the option tags that matter here a header lists.
fn option_tags(msg: &Message, header: HeaderName) -> u8 {
    let items = msg
        .all(header)
        .flat_map(|header| msg.value(header).split(|byte| *byte == b','));
    items.fold(0, |tags, item| {
        let item = trim(item);
        let is = |tag: &[u8]| item.eq_ignore_ascii_case(tag);
        tags | match item.len() {
            4 if is(b"path") => PATH,
            4 if is(b"gruu") => GRUU,
            8 if is(b"outbound") => OUTBOUND,
            _ => 0,
        }
    })
}

/// The client itself is the previous hop, or the proxy nearest to it says `ob` in its Path (RFC 5626 §6).
fn first_hop_knows_outbound(msg: &Message) -> bool {
    if msg.vias().count() <= 1 {
        return true;
    }
    let nearest = msg.paths().last();
    let uri = nearest
        .and_then(|value| NameAddr::parse(value.bytes).ok())
        .map(|addr| addr.uri);
    uri.and_then(|uri| Uri::parse(uri).ok())
        .is_some_and(|uri| uri.param(b"ob").is_some())
}

/// An unsigned decimal that fills the text; none when it is something else or too large.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    shared::sip::scan::number(trim(text))
}

/// Kamailio's bit for all methods that have none of their own.
const OTHER_METHOD: u32 = 1 << 19;

/// The bit of a method.
pub(super) fn method_bit(method: Method<'_>) -> u32 {
    match method.bit() {
        0 => OTHER_METHOD,
        bit => bit,
    }
}

/// The bits of the methods that a list names; none when something in it is no method.
fn method_bits(list: &[u8]) -> Option<u32> {
    let mut methods = list
        .split(|b| *b == b',')
        .map(trim)
        .filter(|name| !name.is_empty());
    methods.try_fold(0, |bits, name| {
        let is_token = name.iter().all(|byte| is_token(*byte));
        is_token.then(|| bits | method_bit(Method::from_bytes(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_methods() {
        for (text, expected) in [
            ("600", Some(600)),
            (" 7 ", Some(7)),
            ("", None),
            ("abc", None),
            ("-5", None),
            ("99999999999", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
        for (list, expected) in [
            ("INVITE, ACK", Some(5)),
            ("INVITE, OPTIONS, FOO", Some(524_801)),
            ("", Some(0)),
            ("MESSAGE,", Some(256)),
            ("INV ITE", None),
        ] {
            assert_eq!(method_bits(list.as_bytes()), expected, "{list}");
        }
    }
}
